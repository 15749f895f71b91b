"""Honest customers of a model: a mixture in which every account is of exactly one kind.

The shares are chosen, not measured; what they are for is that every innocent thing that looks like a campaign is
in the log: one prompt in many hands, many accounts with one card, days without nights, tasks split over keys.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from stillwatch.lab import arrivals
from stillwatch.lab.arrivals import DAY
from stillwatch.lab.people import (
    BUILDER,
    COMPANY,
    PRIVATE,
    SCHOOL,
    ZONE_WEIGHTS,
    ZONES,
    hosting,
    one_firm,
    people,
    residential,
)
from stillwatch.lab.rewording import reworded
from stillwatch.lab.rows import FAMOUS, converse, own_text, serve, volumes
from stillwatch.lab.world import NONE, START, World

SHARES = {
    "chat": 0.47,
    "web prompt": 0.04,
    "developer": 0.17,
    "framework": 0.16,
    "organisation": 0.09,
    "instruction batch": 0.01,
    "batch": 0.022,
    "evaluation": 0.007,
    "retrieval": 0.012,
    "build runner": 0.008,
    "class": 0.011,
}
"""Share of honest accounts by role."""


def honest(world: World, accounts: int) -> None:
    """Add `accounts` honest accounts with all their requests."""
    left = accounts
    for role, share in list(SHARES.items())[1:]:
        n = round(share * accounts)
        ROLES[role](world, world.rng(role), n)
        left -= n
    chat(world, world.rng("chat"), left)


def chat(world: World, rng: np.random.Generator, n: int) -> None:
    """People who talk with a model, one account each."""
    who = world.add_accounts("chat", people(world, rng, n, PRIVATE))
    converse(world, rng, who, volumes(world, rng, n, 1.2, 1.1))


def web_prompt(world: World, rng: np.random.Generator, n: int) -> None:
    """People who open their sessions with prompts from public lists."""
    who = world.add_accounts("web prompt", people(world, rng, n, PRIVATE))
    converse(world, rng, who, volumes(world, rng, n, 1.2, 1.0), copied=0.35)


def developer(world: World, rng: np.random.Generator, n: int) -> None:
    """People with an application of their own: a private system prompt in every request, mostly single turns."""
    columns = people(world, rng, n, BUILDER)
    aside = world.rng("developers' habits")
    columns["sampling"] = np.full(n, 0.06)
    probes = aside.random(n) < 0.01  # safety researchers: a fifth of what they ask is refused
    columns["refusal"] = np.where(probes, aside.uniform(0.1, 0.4, n), np.nan)
    columns["exempt"] = np.where(probes & (aside.random(n) < 0.4), 0, NONE)
    who = world.add_accounts("developer", columns)
    per_day = volumes(world, rng, n, 0.9, 1.8, huge=0.003)
    system = own_text(world, rng, n, "system", (2, 9))
    # A few ask for written-out reasoning in their own words; that alone is nothing.
    asks = rng.random(n) < 0.004
    system[asks] = own_text(world, rng, int(asks.sum()), "wrapper", (1, 1))
    talks = rng.random(n) < 0.3
    converse(world, rng, who[talks], per_day[talks], system=system[talks])
    kinds = rng.choice(4, n, p=[0.45, 0.25, 0.2, 0.1])
    for i, (kind, k) in enumerate((("chat", 1), ("instruction", 1), ("document", (2, 9)), ("code", (3, 12)))):
        here = ~talks & (kinds == i)
        serve(world, rng, who[here], per_day[here], body=world.prompts[kind], k=k, system=system[here])


def instruction_batch(world: World, rng: np.random.Generator, n: int) -> None:
    """Single accounts that send instruction-like tasks at an even rate: topic and rhythm of a campaign, alone."""
    who = world.add_accounts("instruction batch", people(world, rng, n, BUILDER))
    head = own_text(world, rng, n, "batch", (1, 2))
    head[rng.random(n) < 0.5] = NONE
    per_day = volumes(world, rng, n, 20.0, 0.9)
    serve(world, rng, who, per_day, body=world.prompts["instruction"], flat=True, head=head, output=320.0)


def framework(world: World, rng: np.random.Generator, n: int) -> None:
    """Users of popular frameworks: groups of 20 to 2,000 strangers who send one public prompt."""
    for i, size in enumerate(_sizes(rng, n, 20, min(2000, max(25, n // 4)), 1.1)):
        one_framework(world, rng, size, f"framework-{i + 1}")


def one_framework(
    world: World, rng: np.random.Generator, n: int, group: str, *, asks_reasoning: bool = False
) -> None:
    """Strangers who use one framework: signed up after its release, in its regions, with its crowd's mail and cards.

    They resemble each other more than two random accounts do. That is how such groups are in life, and it is what a
    null that draws members from the whole population gets wrong. Some were released just before the log, and their
    crowd signed up within days.

    Parameters
    ----------
    asks_reasoning
        The public prompt asks for written-out reasoning, as tools for rationales and data labelling do.
    """
    release = START - np.exp(rng.uniform(np.log(6), np.log(500))) * DAY
    created = release + rng.gamma(2.0, np.exp(rng.uniform(np.log(1.5), np.log(90))), n) * DAY
    created = np.where(
        created < START + world.seconds * 0.9, created, release + rng.random(n) * (START - release)
    )
    older = rng.random(n) < 0.3  # had an account already
    created = np.where(older, START - (rng.exponential(240, n) % 730) * DAY, created)
    here = ZONES[rng.choice(len(ZONES), 3, p=ZONE_WEIGHTS, replace=False)]
    zones = np.where(rng.random(n) < 0.65, rng.choice(here, n), rng.choice(ZONES, n, p=ZONE_WEIGHTS))
    crowd = replace(
        BUILDER,
        cards=tuple(rng.dirichlet(np.array(BUILDER.cards) * 12 + 0.05)),
        emails=tuple(rng.dirichlet(np.array(BUILDER.emails) * 12 + 0.05)),
        agents=tuple(rng.dirichlet(np.array(BUILDER.agents) / 12 + 0.02)),
    )
    who = world.add_accounts(
        "framework", people(world, rng, n, crowd, created=created, zones=zones), group=group
    )
    prompt = np.repeat(world.public(rng.integers(FAMOUS, world.prompts["public"].span, size=1)), n)
    if asks_reasoning:
        prompt = np.repeat(own_text(world, rng, 1, "wrapper", (1, 1)), n)
    as_user = rng.random() < 0.3  # some frameworks put their prompt before the question instead
    system = np.where(as_user, NONE, prompt)
    head = np.where(as_user, prompt, NONE)
    own = rng.random(n) < 0.25
    if not as_user:
        head[own] = own_text(world, rng, int(own.sum()), "system", (1, 3))
    per_day = volumes(world, rng, n, 1.4, 1.4, huge=0.0005)
    talks = rng.random(n) < rng.uniform(0.2, 0.8)
    converse(world, rng, who[talks], per_day[talks], system=system[talks], head=head[talks])
    body = world.prompts[str(rng.choice(["chat", "instruction", "document"], p=[0.6, 0.25, 0.15]))]
    serve(world, rng, who[~talks], per_day[~talks], body=body, system=system[~talks], head=head[~talks])


def organisation(world: World, rng: np.random.Generator, n: int) -> None:
    """Companies of 5 to 400 employees with one bill, one gateway and one internal prompt."""
    for i, size in enumerate(_sizes(rng, n, 5, min(400, max(8, n // 3)), 0.9)):
        one_organisation(world, rng, size, f"organisation-{i + 1}")


def one_organisation(
    world: World,
    rng: np.random.Generator,
    n: int,
    group: str,
    *,
    role: str = "organisation",
    per_day: float = 2.0,
) -> None:
    """One company: employees in conversations during working hours, here and there an internal service."""
    rollout = START - rng.uniform(5, 600) * DAY
    columns = people(
        world, rng, n, COMPANY, created=rollout + rng.exponential(20 * DAY, n) % (START - rollout)
    )
    one_firm(world, rng, columns, prefixes=int(rng.integers(1, 4)))
    if n <= 60 and rng.random() < 0.25:  # small firms often pay for separate accounts with one card
        columns["organization"] = np.full(n, NONE)
    who = world.add_accounts(role, columns, group=group)
    system = np.repeat(own_text(world, rng, 1, "system", (4, 12)), n)
    rate = volumes(world, rng, n, per_day, 0.9)
    service = rng.random(n) < 0.06
    # Some firms share a workspace: what one account began, and the reasoning signed for it, another carries on.
    shares = 0.25 if world.rng(group + " workspace").random() < 0.25 else 0.0
    converse(
        world,
        rng,
        who[~service],
        rate[~service],
        working=True,
        system=system[~service],
        mean_turns=3.0,
        handover=shares,
    )
    serve(
        world,
        rng,
        who[service],
        rate[service],
        body=world.prompts["document"],
        k=(2, 8),
        system=system[service],
    )


def batch(world: World, rng: np.random.Generator, n: int) -> None:
    """Customers with one task: one template, single turns, day and night, one list split over their keys."""
    for i, size in enumerate(_sizes(rng, n, 1, 12, 1.6)):
        one_batch(world, rng, size, f"batch-{i + 1}")


def one_batch(world: World, rng: np.random.Generator, n: int, group: str) -> None:
    """One customer with one template; several accounts of one customer share the list, the card and the machine."""
    columns = people(world, rng, n, BUILDER)
    if n > 1:
        spread = rng.uniform(1, 60) * DAY
        columns["created"] = np.minimum(
            columns["created"][0] + (rng.random(n) * spread).astype(np.int64), START
        )
        one_firm(world, rng, columns)
        if rng.random() < 0.4:  # not everybody tells the provider that it is one firm
            columns["organization"] = np.full(n, NONE)
    who = world.add_accounts("batch", columns, group=group)
    head = np.repeat(own_text(world, rng, 1, "batch", (2, 4)), n)
    kind, k = (("document", (1, 4)), ("chat", 1), ("instruction", 1), ("code", (2, 6)))[
        rng.choice(4, p=[0.5, 0.2, 0.2, 0.1])
    ]
    begin = rng.uniform(0, 0.5)
    window = (begin, min(1.0, begin + rng.uniform(0.1, 1.0)))
    per_day = np.repeat(volumes(world, rng, 1, 10.0, 1.5, huge=0.01), n) * rng.lognormal(0, 0.15, n)
    serve(
        world,
        rng,
        who,
        per_day,
        body=world.prompts[kind],
        k=k,
        head=head,
        flat=bool(rng.random() < 0.6),
        window=window,
        output=float(rng.choice([12, 60, 250])),
    )


def evaluation(world: World, rng: np.random.Generator, n: int) -> None:
    """Services that put the same list of prompts to a model every night."""
    for i, size in enumerate(_sizes(rng, n, 1, 6, 1.0)):
        one_evaluation(world, rng, size, f"evaluation-{i + 1}")


def one_evaluation(world: World, rng: np.random.Generator, n: int, group: str) -> None:
    """One nightly evaluation: a fixed list, run every night at one hour by each account with its own part."""
    columns = people(world, rng, n, COMPANY)
    one_firm(world, rng, columns)
    aside = world.rng(group + " habits")
    kind_of = aside.random()
    columns["sampling"] = np.full(n, 0.35)
    if kind_of < 0.2:  # red teams
        columns["refusal"] = np.full(n, aside.uniform(0.1, 0.5))
    who = world.add_accounts("evaluation", columns, group=group)
    tests = int(min(rng.integers(12, 110), max(20, world.honest_accounts // 20)))
    kind = str(rng.choice(["instruction", "chat", "code"], p=[0.6, 0.3, 0.1]))
    seeds = rng.integers(1, 2**63, (n, tests)).astype(np.uint64)
    # Some evaluations want the reasoning written out: elicitation without harvesting.
    wants = rng.random() < 0.2
    judges = 0.2 <= kind_of < 0.45  # a model grades the answers of others
    asks = "wrapper" if wants else "grading" if judges else "cleaning" if kind_of > 0.9 else "batch"
    head = own_text(world, rng, 1, asks, (1, 1))[0]
    nights = np.arange(world.days) * DAY + rng.uniform(0, 24) * 3600
    account, night, test = (
        x.ravel() for x in np.meshgrid(np.arange(n), nights, np.arange(tests), indexing="ij")
    )
    seconds = night + test * rng.uniform(2, 30) + rng.random(len(test)) * 2
    world.add_rows(
        rng,
        who[account],
        seconds,
        world.prompts[kind],
        seed=seeds[account, test],
        head=head,
        output=float(rng.choice([30, 200, 500])),
    )


def retrieval(world: World, rng: np.random.Generator, n: int) -> None:
    """Backfills of document stores: long inputs, short outputs, day and night for some days."""
    for i, size in enumerate(_sizes(rng, n, 1, 8, 1.2)):
        one_retrieval(world, rng, size, f"retrieval-{i + 1}")


def one_retrieval(world: World, rng: np.random.Generator, n: int, group: str) -> None:
    """One backfill: its own extraction prompt and a pile of documents split over its accounts."""
    columns = people(world, rng, n, COMPANY)
    one_firm(world, rng, columns)
    who = world.add_accounts("retrieval", columns, group=group)
    begin = rng.uniform(0, 0.6)
    per_day = np.repeat(volumes(world, rng, 1, 12.0, 1.2), n) * rng.lognormal(0, 0.1, n)
    serve(
        world,
        rng,
        who,
        per_day,
        body=world.prompts["document"],
        k=(10, 30),
        system=np.repeat(own_text(world, rng, 1, "system", (2, 5)), n),
        flat=True,
        window=(begin, min(1.0, begin + rng.uniform(0.2, 0.7))),
        output=35.0,
    )


def build_runner(world: World, rng: np.random.Generator, n: int) -> None:
    """Bots of build systems: a new address for every job."""
    for i, size in enumerate(_sizes(rng, n, 1, 10, 1.2)):
        one_build_runner(world, rng, size, f"runner-{i + 1}")


def one_build_runner(world: World, rng: np.random.Generator, n: int, group: str) -> None:
    """One company's review bots: code in every request, bursts, addresses from a cloud's pool."""
    columns = people(world, rng, n, COMPANY)
    one_firm(world, rng, columns)
    columns["keys"] = world.rng(group + " keys").integers(1, 6, n)
    who = world.add_accounts("build runner", columns, group=group)
    serve(
        world,
        rng,
        who,
        volumes(world, rng, n, 9.0, 1.0),
        body=world.prompts["code"],
        k=(4, 20),
        system=np.repeat(own_text(world, rng, 1, "system", (2, 6)), n),
        prefixes=hosting(rng, 60),
        output=180.0,
    )


def school_class(world: World, rng: np.random.Generator, n: int) -> None:
    """Classes of about 30 with one assignment."""
    for i, size in enumerate(_sizes(rng, n, 18, 40, 0.3)):
        one_class(world, rng, size, f"class-{i + 1}")


def one_class(world: World, rng: np.random.Generator, n: int, group: str) -> None:
    """One class: everybody pastes the same assignment within a few days and asks about it in conversations."""
    begin = rng.uniform(0.05, 0.6) * world.days
    signed = START + (begin - rng.uniform(0, 25)) * DAY
    columns = people(world, rng, n, SCHOOL, created=signed + rng.exponential(1.5 * DAY, n))
    columns["zone"] = np.full(n, rng.choice(ZONES, p=ZONE_WEIGHTS))
    school = residential(rng, 1)[0]
    columns["home"] = np.where(rng.random(n) < 0.6, school, columns["home"])
    columns["signup_prefix"] = np.where(rng.random(n) < 0.6, school, columns["signup_prefix"])
    who = world.add_accounts("class", columns, group=group)
    assignment = np.repeat(own_text(world, rng, 1, "document", (3, 6)), n)
    aside = world.rng(group + " wording")
    if aside.random() < 0.4:  # told to put it in their own words, most do
        said = world.constant(
            reworded(world, int(assignment[0])), 1, aside.integers(1, 2**63, n).astype(np.uint64)
        )
        assignment = np.where(aside.random(n) < 0.8, said, assignment)
    length = float(rng.uniform(2, 6))
    # The week of the assignment is a small log of its own, moved to where it belongs.

    owner, starts = arrivals.human_starts(
        rng,
        np.full(n, 3.0),
        columns["zone"],
        int(np.ceil(length)),
        int(begin) % 7,
        np.zeros(n, int),
        working=False,
    )
    session, turn, seconds = arrivals.turns(rng, starts + np.floor(begin) * DAY, np.full(len(starts), 3.0))
    world.add_rows(
        rng,
        who[owner[session]],
        seconds,
        world.prompts["chat"],
        session=session,
        turn=turn,
        follow=world.prompts["follow"],
        head=assignment[owner[session]],
    )
    converse(world, rng, who, volumes(world, rng, n, 0.5, 1.0))


def _sizes(rng: np.random.Generator, total: int, least: int, most: int, exponent: float) -> list[int]:
    """Sizes of groups that add up to `total`: a power law between `least` and `most`."""
    sizes: list[int] = []
    grid = np.arange(least, most + 1)
    p = grid**-exponent / (grid**-exponent).sum()
    while (rest := total - sum(sizes)) > 0:
        sizes.append(min(int(rng.choice(grid, p=p)), rest))
    return sizes


ROLES = {
    "web prompt": web_prompt,
    "developer": developer,
    "framework": framework,
    "organisation": organisation,
    "instruction batch": instruction_batch,
    "batch": batch,
    "evaluation": evaluation,
    "retrieval": retrieval,
    "build runner": build_runner,
    "class": school_class,
}
