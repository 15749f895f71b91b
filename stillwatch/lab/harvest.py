"""What the accounts of a campaign send for it: single tasks, other people's requests, stored answers or sessions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stillwatch.lab import arrivals
from stillwatch.lab.arrivals import DAY
from stillwatch.lab.rewording import reworded
from stillwatch.lab.rows import FAMOUS, own_text
from stillwatch.lab.texts import Range
from stillwatch.lab.world import NONE, World

if TYPE_CHECKING:
    from stillwatch.lab.campaign import Plan

TURNS = 3.0
"""Mean turns of a rerouted or replayed conversation."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """Requests before they are rows. `owner` is a place in the campaign's accounts; sessions are contiguous."""

    owner: np.ndarray
    seconds: np.ndarray
    operator: np.ndarray
    body: Range
    k: int | np.ndarray = 1
    turn: np.ndarray | None = None
    session: np.ndarray | None = None
    system: int = NONE
    output: float = 620.0


def send(
    world: World,
    rng: np.random.Generator,
    aside: np.random.Generator,
    plan: Plan,
    who: np.ndarray,
    operator: np.ndarray,
    *,
    campaign: bool = True,
) -> None:
    """Add the campaign's own rows.

    Parameters
    ----------
    rng, aside
        The campaign's main stream of random numbers, and one for what not every campaign has.
    operator
        Bool of shape (accounts, operators): whom an account carries.
    campaign
        What the truth says of the rows; False for an authorised customer.
    """
    kinds = ("cleaning", "grading") if plan.traffic == "replay" else ("wrapper",)
    wrappers = [own_text(world, rng, 1, kind, (1, 1))[0] for _ in range(plan.operators) for kind in kinds]
    before = rng.random(len(who)) < 0.5
    batch = {"harvest": _tasks, "reroute": _rerouted, "replay": _replayed, "session": _sessions}[
        plan.traffic
    ](world, rng, aside, plan, who, operator)
    n = len(batch.owner)
    first = np.ones(n, bool) if batch.turn is None else batch.turn == 1
    which = batch.operator * len(kinds)
    if len(kinds) > 1:
        which = which + aside.integers(len(kinds), size=n)
    text = np.full(n, NONE, np.int64)
    if plan.wrapper == "fixed":
        text = np.asarray(wrappers, np.int64)[which]
    elif plan.wrapper == "paraphrased":
        for i, wrapper in enumerate(wrappers):
            here = np.flatnonzero((which == i) & first)
            seeds = aside.integers(1, 2**63, len(here)).astype(np.uint64)
            text[here] = world.constant(reworded(world, wrapper), 1, seeds)
    world.add_rows(
        rng,
        who[batch.owner],
        batch.seconds,
        batch.body,
        k=batch.k,
        turn=batch.turn,
        session=batch.session,
        follow=world.prompts["follow"],
        system=batch.system,
        head=np.where(before[batch.owner], text, NONE),
        tail=np.where(before[batch.owner], NONE, text),
        output=batch.output * rng.lognormal(0, 0.2, len(who))[batch.owner],
        campaign=campaign,
    )


def _tasks(
    world: World,
    rng: np.random.Generator,
    aside: np.random.Generator,
    plan: Plan,
    who: np.ndarray,
    operator: np.ndarray,
) -> _Batch:
    """A list of tasks split over the accounts, day and night."""
    owner, seconds = _flat(world, rng, aside, plan, who)
    return _Batch(owner, seconds, _operator(aside, operator, owner), world.prompts["campaign"])


def _replayed(
    world: World,
    rng: np.random.Generator,
    aside: np.random.Generator,
    plan: Plan,
    who: np.ndarray,
    operator: np.ndarray,
) -> _Batch:
    """Stored answers of other systems: long requests, day and night."""
    owner, seconds = _flat(world, rng, aside, plan, who)
    length = aside.integers(3, 11, len(owner))
    served = _operator(aside, operator, owner)
    return _Batch(owner, seconds, served, world.prompts["document"], k=length, output=430.0)


def _sessions(
    world: World,
    rng: np.random.Generator,
    aside: np.random.Generator,
    plan: Plan,
    who: np.ndarray,
    operator: np.ndarray,
) -> _Batch:
    """Stored conversations, replayed turn by turn at a machine's pace through a harness that honest people use too."""
    owner, starts = _flat(world, rng, aside, plan, who, turns=TURNS)
    counts = np.minimum(rng.geometric(1 / TURNS, len(owner)), 16)
    session = np.repeat(np.arange(len(owner)), counts)
    turn = np.arange(len(session)) - np.repeat(np.cumsum(counts) - counts, counts) + 1
    gap = np.where(turn == 1, 0.0, rng.lognormal(np.log(14.0), 0.4, len(session)))
    elapsed = np.cumsum(gap)
    seconds = starts[session] + elapsed - elapsed[np.cumsum(counts) - counts][session]
    harness = world.public(aside.integers(FAMOUS, world.prompts["public"].span, size=1))[0]
    served = _operator(aside, operator, owner)[session]
    return _Batch(
        owner[session],
        seconds,
        served,
        world.prompts["chat"],
        turn=turn,
        session=session,
        system=int(harness),
        output=330.0,
    )


def _rerouted(
    world: World,
    rng: np.random.Generator,
    aside: np.random.Generator,
    plan: Plan,
    who: np.ndarray,
    operator: np.ndarray,
) -> _Batch:
    """Live requests of one product's users: their days, their words, their conversations, but any account."""
    opens, closes = world.account("opens", who), world.account("closes", who)
    # Requests a second of all accounts together, hour by hour: pools come and go.
    hours = np.arange(world.days * 24) * 3600.0 + 1800.0
    active = (opens[:, None] <= hours) & (hours < closes[:, None])
    total = plan.rate * plan.share * active.sum() / 24
    users = max(5, round(total / world.days))
    zones = np.array([7, 8, 9])
    _, starts = arrivals.human_starts(
        rng,
        np.full(users, total / TURNS / users),
        zones[rng.choice(3, users, p=[0.2, 0.65, 0.15])],
        world.days,
        0,
        np.zeros(users, int),
        working=False,
    )
    kept = _paced(aside, plan, starts)
    starts = starts[kept]
    serves = aside.integers(operator.shape[1], size=len(starts))
    session, turn, seconds = arrivals.turns(rng, starts, np.full(len(starts), TURNS))
    served = serves[session]
    owner = aside.integers(len(who), size=len(seconds))
    for _ in range(200):
        wrong = ~operator[owner, served] | (seconds < opens[owner]) | (seconds >= closes[owner])
        if not wrong.any():
            break
        owner[wrong] = aside.integers(len(who), size=int(wrong.sum()))
    # The proxy sends no session: every request carries its history.
    return _Batch(owner, seconds, served, world.prompts["chat"], turn=turn, output=420.0)


def _flat(
    world: World,
    rng: np.random.Generator,
    aside: np.random.Generator,
    plan: Plan,
    who: np.ndarray,
    turns: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Times at a constant rate, of requests or of sessions; what an account sends while it is closed is left out."""
    per_day = np.full(len(who), plan.rate * plan.share / turns)
    owner, seconds = arrivals.flat_times(rng, per_day * (world.seconds - 0.0) / DAY, world.seconds)
    kept = _paced(aside, plan, seconds)
    return owner[kept], seconds[kept]


def _paced(rng: np.random.Generator, plan: Plan, seconds: np.ndarray) -> np.ndarray:
    """Which of the times are kept: all, or with a slow start a part that grows over a week."""
    if plan.start == "at once":
        return np.ones(len(seconds), bool)
    return rng.random(len(seconds)) < seconds / (7 * DAY)


def _operator(rng: np.random.Generator, operator: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """For whom each request is: one of those that its account carries."""
    if operator.shape[1] == 1:
        return np.zeros(len(owner), np.int64)
    both = operator.all(axis=1)[owner]
    return np.where(both, rng.integers(2, size=len(owner)), np.argmax(operator, axis=1)[owner])
