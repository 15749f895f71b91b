"""Honest groups that resemble a campaign, each kind with a role of its own in the truth.

What each kind shares with a campaign: a fixed list (evaluation, drift monitor, benchmark), one text in many hands
(framework, class, gateway), addresses that change (build runner), flat days (retrieval, batch), cards and devices and
conversations scattered over accounts (reseller), a move to a new model within hours (benchmark), everything but the
permission (authorised). Sizes are chosen, five accounts or more, so that a scan can propose them at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from stillwatch.lab import arrivals, harvest, population
from stillwatch.lab.arrivals import DAY, HOUR
from stillwatch.lab.campaign import Plan
from stillwatch.lab.people import BUILDER, COMPANY, ZONE_WEIGHTS, ZONES, hosting, one_firm, people
from stillwatch.lab.rows import converse, own_text, volumes
from stillwatch.lab.world import NONE, START, World

One = Callable[[World, np.random.Generator, int, str], None]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind: who adds one group of `n` accounts, the least and the largest size, and a bound on groups."""

    one: One
    least: int
    most: int
    groups: int = 1_000_000


def plant(world: World, groups: int, *, rate: float = 26.0) -> None:
    """Add `groups` groups of every kind, called ``alike <kind> <number>``; their role is ``alike <kind>``.

    `rate` is what every second authorised customer harvests an account and day, as the campaign beside it does.
    """
    for name, kind in kinds(rate).items():
        rng = world.rng("lookalike " + name)
        for i in range(min(groups, kind.groups)):
            first = len(world.roles)
            kind.one(world, rng, int(rng.integers(kind.least, kind.most + 1)), f"alike {name} {i + 1}")
            world.roles[first:] = [
                (n, f"alike {name}", campaign, group) for n, _, campaign, group in world.roles[first:]
            ]


def kinds(rate: float = 26.0) -> dict[str, Kind]:
    """Every kind by name."""
    return {
        "evaluation": Kind(population.one_evaluation, 5, 9),
        "build runner": Kind(population.one_build_runner, 5, 12),
        "retrieval": Kind(population.one_retrieval, 5, 9),
        "gateway": Kind(population.one_organisation, 8, 30),
        "drift monitor": Kind(one_drift_monitor, 5, 8),
        "benchmark": Kind(one_benchmark, 5, 12),
        "class": Kind(population.one_class, 18, 30),
        "reseller": Kind(one_reseller, 6, 25),
        "framework": Kind(population.one_framework, 20, 50),
        # Tools for rationales and labelling: the hardest innocent thing in a log, and a rare one.
        "rationale framework": Kind(partial(population.one_framework, asks_reasoning=True), 20, 50, groups=3),
        "batch": Kind(population.one_batch, 5, 14),
        "authorised": Kind(partial(one_authorised, rate=rate), 5, 12),
    }


def one_drift_monitor(world: World, rng: np.random.Generator, n: int, group: str) -> None:
    """One fixed list asked every few hours by several accounts, to see whether the model changed."""
    columns = people(world, rng, n, COMPANY)
    if rng.random() < 0.7:
        one_firm(world, rng, columns)
    if rng.random() < 0.4:
        columns["organization"] = np.full(n, NONE)
    columns["sampling"] = np.full(n, 0.3)
    who = world.add_accounts("drift monitor", columns, group=group)
    questions, every = int(rng.integers(6, 15)), float(rng.choice([4, 6, 8, 12])) * HOUR
    seeds = rng.integers(1, 2**63, questions).astype(np.uint64)
    rounds = np.arange(0, world.seconds, every) + rng.random() * every
    account, at, question = (
        x.ravel() for x in np.meshgrid(np.arange(n), rounds, np.arange(questions), indexing="ij")
    )
    late = rng.normal(0, 40, (n, len(rounds))).repeat(questions, axis=1).ravel()
    world.add_rows(
        rng,
        who[account],
        at + late + question * rng.uniform(1, 12) + rng.random(len(at)),
        world.prompts[str(rng.choice(["chat", "instruction"]))],
        seed=seeds[question],
        head=own_text(world, rng, 1, "batch", (1, 1))[0] if rng.random() < 0.5 else NONE,
        output=float(rng.choice([40, 200])),
    )


def one_benchmark(world: World, rng: np.random.Generator, n: int, group: str) -> None:
    """Several accounts run one public benchmark on the day on which a model comes out, and use it from then on.

    Half of the groups are one laboratory, half are strangers. Four benchmarks are in use, so that groups share lists.
    """
    columns = people(world, rng, n, BUILDER)
    if rng.random() < 0.5:
        one_firm(world, rng, columns)
    release = 0.5 * world.seconds if world.release is None else world.release
    start = release + HOUR * (0.5 + 8 * rng.random()) + rng.random(n) * 4 * HOUR
    if world.release is not None:
        columns["adopts"] = np.minimum(start, release + DAY)
    columns["sampling"] = np.full(n, 0.3)
    who = world.add_accounts("benchmark", columns, group=group)
    items = int(rng.integers(60, 160))
    public = np.random.default_rng([int(rng.integers(4)), 4])  # the same list whoever runs it
    seeds = public.integers(1, 2**63, 160).astype(np.uint64)[:items]
    account, item = (x.ravel() for x in np.meshgrid(np.arange(n), np.arange(items), indexing="ij"))
    world.add_rows(
        rng,
        who[account],
        start[account] + item * rng.uniform(8, 60) + 5 * rng.random(len(item)),
        world.prompts["instruction"],
        seed=seeds[item],
        head=world.constant(world.prompts["grading" if public.random() < 0.3 else "batch"], 1, seeds[:1])[0],
        output=float(rng.choice([60, 300, 600])),
    )
    converse(world, rng, who, volumes(world, rng, n, 0.8, 1.0))


def one_reseller(world: World, rng: np.random.Generator, n: int, group: str) -> None:
    """A proxy sells access to honest people: its cards and devices, their words and their days.

    Six in ten scatter requests over their accounts as load balancers do, so that an account gets conversations which
    it never saw begin, and reasoning that was signed for another; the rest give each customer an account.
    """
    opened = START - rng.uniform(3, 90) * DAY
    columns = people(world, rng, n, BUILDER, created=opened + (START - opened) * 0.5 * rng.random(n))
    cards = max(1, round(n / 10))
    columns["payment"] = world.take("payment", cards)[rng.integers(cards, size=n)]
    columns["card"] = np.where(columns["card"] == NONE, 2, columns["card"])
    if rng.random() < 0.5:
        columns["card"] = np.full(n, 2)
    machines = world.take("device", max(1, n // 8))
    columns["device"] = np.where(rng.random(n) < 0.3, NONE, machines[rng.integers(len(machines), size=n)])
    servers = hosting(rng, 3)
    columns["home"], columns["second"] = servers[rng.integers(3, size=n)], servers[rng.integers(3, size=n)]
    columns["keys"] = rng.integers(1, 4, n)
    zones = ZONES[rng.choice(len(ZONES), 2, p=ZONE_WEIGHTS, replace=False)]
    columns["zone"] = rng.choice(zones, n)
    scatters = rng.random() < 0.6
    who = world.add_accounts("reseller", columns, group=group)
    system = own_text(world, rng, 1, "system", (2, 4))[0] if rng.random() < 0.5 else NONE
    per_day = volumes(world, rng, 1, 9.0, 0.6)[0]
    if not scatters:
        converse(world, rng, who, volumes(world, rng, n, per_day, 0.4), system=system)
        return
    customers = max(4, round(n * per_day / 3))
    owner, starts = arrivals.human_starts(
        rng,
        np.full(customers, 3.0 * world.days / 2.6),
        rng.choice(zones, customers),
        world.days,
        0,
        np.zeros(customers, int),
        working=False,
    )
    _, turn, seconds = arrivals.turns(rng, starts, np.clip(rng.gamma(4, 0.65, customers), 1, 8)[owner])
    world.add_rows(
        rng,
        who[rng.integers(n, size=len(seconds))],
        seconds,
        world.prompts["chat"],
        turn=turn,
        follow=world.prompts["follow"],
        system=system,
        output=260.0,
    )


def one_authorised(world: World, rng: np.random.Generator, n: int, group: str, *, rate: float = 26.0) -> None:
    """A customer who makes training data with permission: harvests as a campaign does, and its accounts are exempt."""
    columns = people(world, rng, n, COMPANY)
    one_firm(world, rng, columns, prefixes=3)
    if rng.random() < 0.3:
        columns["organization"] = np.full(n, NONE)
    columns["exempt"] = np.full(n, 1)
    columns["refusal"] = np.minimum(0.02 * rng.lognormal(0, 0.6, n), 0.3)
    who = world.add_accounts("authorised", columns, group=group)
    volume = rate if rng.random() < 0.5 else 26.0 * rng.lognormal(0, 0.5)
    plan = Plan(group, n, float(volume), 1.0, traffic="replay" if rng.random() < 0.2 else "harvest")
    harvest.send(world, rng, world.rng(group), plan, who, np.ones((n, 1), bool), campaign=False)
