"""A planted campaign by its parameters: who its accounts are, what they send, and when.

Nothing but behaviour tells a row of a campaign from an honest one: every card, client, model, parameter, refusal and
signature occurs among honest accounts too. What the parameters stand for was reported by providers in 2026: one
prompt in every request, residential proxies, virtual cards, disposable mail, live rerouting, capture and replay,
failover after a ban. Sizes of groups and hours of a day are chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from stillwatch.errors import InputError
from stillwatch.lab import harvest
from stillwatch.lab.arrivals import DAY, HOUR
from stillwatch.lab.people import BUILDER, CAMPAIGN, REASONING, RESIDENTIAL, people
from stillwatch.lab.rows import converse
from stillwatch.lab.world import NONE, START, World

Wrapper = Literal["fixed", "paraphrased", "none"]
Traffic = Literal["harvest", "reroute", "replay", "session"]
Start = Literal["at once", "slow"]
Cover = Literal["none", "bought", "full"]

ACCOUNTS_PER_CARD = 14
ACCOUNTS_PER_DEVICE = 10
BANNED = 0.8
"""Share of the first of two pools that is suspended; the rest goes on."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A campaign, one factor a field; the default is the one that `stillwatch lab build hydra` plants.

    Parameters
    ----------
    name
        In the truth.
    accounts
        Of all pools together.
    rate
        Requests an account and day while the account is active, campaign and resold together.
    share
        Part of them that belongs to the campaign. The total stays, so that an account with a small share is matched
        to honest heavy users.
    wrapper
        ``fixed``: one text in every request. ``paraphrased``: every request carries another wording of it, in which
        most words stay and no long run does. ``none``.
    traffic
        ``harvest``: a list of single tasks split over the accounts, flat round the clock. ``reroute``: live requests
        of one product's users, in their days and conversations, whose turns are scattered over the accounts.
        ``replay``: stored answers of other systems, to be cleaned or graded. ``session``: stored conversations
        replayed turn by turn through an agent's harness, silent until a free trial ends.
    pools
        2: in the middle of the log most accounts of the first pool are suspended and fall silent, and the second,
        registered before and silent until then, takes over within hours.
    operators
        2: one proxy (cards, devices) serves two operators with wrappers and lists of their own. A third of the
        accounts carries the first, a third the second, a third both.
    start
        ``slow``: the campaign's own requests grow from nothing to their rate over a week, so that shares are lower.
    pivot
        Share of the accounts that move to a newly released model within a day of its release; 0: they adopt it like
        everybody. Only in a world with a release.
    cover
        ``none``: accounts opened within days, a card for a dozen of them. ``bought``: opened over two years, as those
        of everybody are, and bought; the cards are still shared. ``full``: payment, mail and plans as those of honest
        builders besides; their addresses are still those of homes. Nobody reported the last two; a detector should
        say when it is blind.
    """

    name: str = "hydra"
    accounts: int = 200
    rate: float = 26.0
    share: float = 0.8
    wrapper: Wrapper = "fixed"
    traffic: Traffic = "harvest"
    pools: int = 1
    operators: int = 1
    start: Start = "at once"
    pivot: float = 0.0
    cover: Cover = "none"

    def __post_init__(self) -> None:
        _among("wrapper", self.wrapper, get_args(Wrapper))
        _among("traffic", self.traffic, get_args(Traffic))
        _among("pools", self.pools, (1, 2))
        _among("operators", self.operators, (1, 2))
        _among("start", self.start, get_args(Start))
        _among("cover", self.cover, get_args(Cover))
        for name, value, least, most in (
            ("accounts", self.accounts, 2, 1_000_000),
            ("rate", self.rate, 0.1, 10_000),
            ("share", self.share, 0.01, 1),
            ("pivot", self.pivot, 0, 1),
        ):
            if not least <= value <= most:
                raise InputError(f"a campaign's {name} is {least:g} to {most:g}, found {value!r}")


def plant(world: World, plan: Plan) -> None:
    """Add the accounts of one campaign and all their requests."""
    rng, aside = world.rng(plan.name), world.rng(plan.name + " aside")
    n = plan.accounts
    created = START - (2 + 10 * rng.random(n)) * DAY if plan.cover == "none" else None
    columns = people(world, rng, n, BUILDER if plan.cover == "full" else CAMPAIGN, created=created)
    if plan.cover != "full":
        cards = max(1, round(n / ACCOUNTS_PER_CARD))
        columns["payment"] = world.take("payment", cards)[rng.integers(cards, size=n)]
        columns["card"] = np.where(columns["card"] == NONE, 2, columns["card"])
    proxies = 3000 + rng.choice(RESIDENTIAL, (3, n), replace=False)
    columns["home"], columns["second"] = proxies[0], proxies[1]
    columns["signup_prefix"] = np.where(rng.random(n) < 0.7, proxies[0], proxies[2])
    operator = _operators(aside, plan)
    columns["sampling"] = np.full(n, 0.08)
    columns["refusal"] = np.minimum(0.02 * aside.lognormal(0, 0.6, n), 0.3)
    if plan.operators > 1:
        machines = world.take("device", max(1, n // ACCOUNTS_PER_DEVICE))
        columns["device"] = np.where(
            columns["device"] == NONE, NONE, machines[aside.integers(len(machines), size=n)]
        )
    if plan.traffic == "reroute":  # its reasoning is what they are after
        columns["model"] = np.where(aside.random(n) < 0.6, REASONING, columns["model"])
    if plan.traffic == "session":
        # The free trial ends for everybody at once.
        columns["opens"] = 0.2 * world.seconds + 6 * HOUR * aside.random(n)
    banned = _failover(world, aside, plan, columns) if plan.pools > 1 else np.zeros(0, int)
    if plan.pivot and world.release is not None:
        moves = aside.random(n) < plan.pivot
        columns["adopts"] = np.where(moves, world.release + DAY * aside.random(n), np.nan)
    who = world.add_accounts("campaign", columns, campaign=plan.name, group=plan.name)
    for i in banned:
        world.act(who[i], columns["closes"][i], "suspend", "abuse")
    harvest.send(world, rng, aside, plan, who, operator)
    # What is resold looks like the people it comes from.
    converse(world, rng, who, np.full(n, plan.rate * (1 - plan.share)))


def _operators(rng: np.random.Generator, plan: Plan) -> np.ndarray:
    """Which operators an account carries: a table of (accounts, operators)."""
    if plan.operators == 1:
        return np.ones((plan.accounts, 1), bool)
    third = rng.permutation(plan.accounts) % 3
    return np.stack([third != 1, third != 0], axis=1)


def _failover(
    world: World, rng: np.random.Generator, plan: Plan, columns: dict[str, np.ndarray]
) -> np.ndarray:
    """The second half of the accounts takes over from the first; gives the accounts that are suspended."""
    n = plan.accounts
    at = (0.5 + 0.05 * rng.random()) * world.seconds
    first = rng.permutation(n) < n - n // 2
    banned = np.flatnonzero(first & (rng.random(n) < BANNED))
    closes = np.full(n, np.inf)
    closes[banned] = at + 2 * HOUR * rng.random(len(banned))
    columns["closes"] = closes
    columns["opens"] = np.where(first, columns.get("opens", -np.inf), at + HOUR * (1 + 5 * rng.random(n)))
    return banned


def _among(name: str, value: object, known: tuple[object, ...]) -> None:
    if value not in known:
        raise InputError(f"a campaign's {name} is one of {', '.join(map(str, known))}, found {value!r}")
