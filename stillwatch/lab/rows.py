"""Two ways to send requests: people in sessions, services alone. Every kind of account is made of these."""

from __future__ import annotations

import numpy as np

from stillwatch.lab import arrivals
from stillwatch.lab.arrivals import DAY
from stillwatch.lab.texts import Range
from stillwatch.lab.world import NONE, START, World

COPIED = 0.004
"""Share of first questions that are copied from somewhere public, times `World.sharing`. Unanchored: no public
log says how often unrelated customers of a model send one text."""

FAMOUS = 400
"""Number of texts that people copy; the most popular ones are copied far more often than the rest."""


def volumes(
    world: World, rng: np.random.Generator, n: int, median: float, sigma: float, *, huge: float = 0.0
) -> np.ndarray:
    """Requests a day of `n` accounts: log-normal, with a Pareto tail for a share `huge` of them.

    Honest clients of huge volume are normal (in ServeGen's traces the busiest 1% of clients send most requests). The
    tail is cut at 3,000 a day, or where one account would be 3% of the log.
    """
    most = max(60.0, min(3000.0, 0.03 * 4.5 * world.honest_accounts))
    drawn = rng.lognormal(np.log(median), sigma, n)
    tail = rng.random(n) < huge
    drawn = np.where(tail, 400 * (1 + rng.pareto(1.1, n)), drawn)
    return np.minimum(drawn, most)


def converse(
    world: World,
    rng: np.random.Generator,
    accounts: np.ndarray,
    per_day: np.ndarray,
    *,
    mean_turns: float = 2.6,
    working: bool = False,
    body: Range | None = None,
    k: int = 1,
    system: int | np.ndarray = NONE,
    head: int | np.ndarray = NONE,
    copied: float | None = None,
    output: float = 260.0,
    handover: float = 0.0,
) -> None:
    """People chat: sessions by their own day, a growing history, now and then a copied text.

    `system` and `head` are constant texts, one for all or one per account; `copied` is the chance that a session opens
    with a text copied from the web (default `COPIED` times the world's sharing); `handover` is the chance that a
    conversation is carried on by a colleague, as in a workspace that a firm shares.
    """
    zone = world.account("zone", accounts)
    created = world.account("created", accounts)
    first_day = np.clip(-(-(created - START) // DAY), 0, world.days)
    habit = np.clip(rng.gamma(4, mean_turns / 4, len(accounts)), 1.0, 8.0)
    expected = per_day * world.days / habit
    owner, starts = arrivals.human_starts(rng, expected, zone, world.days, 0, first_day, working=working)
    session, turn, seconds = arrivals.turns(rng, starts, habit[owner])
    who = owner[session]
    system, head = _per_row(system, who), _per_row(head, who)
    chance = COPIED * world.sharing if copied is None else copied
    opens = np.flatnonzero((turn == 1) & (rng.random(len(turn)) < chance))
    head[opens] = copied_texts(world, rng, seconds[opens])
    sender = who
    if handover and len(accounts) > 1:
        aside = rng.spawn(1)[0]
        passed = aside.random(len(starts)) < handover
        colleague = (owner + aside.integers(1, len(accounts), len(starts))) % len(accounts)
        sender = np.where(passed[session] & (turn > 1), colleague[session], who)
    world.add_rows(
        rng,
        accounts[sender],
        seconds,
        body or world.prompts["chat"],
        k=k,
        session=session,
        turn=turn,
        follow=world.prompts["follow"],
        system=system,
        head=head,
        output=output * rng.lognormal(0, 0.2, len(accounts))[who],
    )


def serve(
    world: World,
    rng: np.random.Generator,
    accounts: np.ndarray,
    per_day: np.ndarray,
    *,
    body: Range,
    k: int | tuple[int, int] = 1,
    flat: bool = False,
    system: int | np.ndarray = NONE,
    head: int | np.ndarray = NONE,
    tail: int | np.ndarray = NONE,
    output: float = 200.0,
    window: tuple[float, float] = (0.0, 1.0),
    prefixes: np.ndarray | None = None,
    campaign: bool = False,
) -> None:
    """Programs call: single turns, no day of their own.

    Parameters
    ----------
    k
        Sentences of a body, or the least and the most.
    flat
        Constant rate instead of the processes of real clients.
    window
        The part of the log in which they run, as fractions.
    prefixes
        A pool from which every request takes an address anew, as build machines do.
    """
    begin, end = window[0] * world.seconds, window[1] * world.seconds
    expected = per_day * (end - begin) / DAY
    if flat:
        owner, seconds = arrivals.flat_times(rng, expected, end - begin)
    else:
        owner, seconds = arrivals.service_times(rng, world.clients, expected, end - begin)
    n = len(owner)
    head = _per_row(head, owner)
    if not campaign:
        opens = np.flatnonzero(rng.random(n) < COPIED * world.sharing * 0.25)
        head[opens] = copied_texts(world, rng, seconds[opens])
    world.add_rows(
        rng,
        accounts[owner],
        seconds + begin,
        body,
        k=rng.integers(k[0], k[1] + 1, n) if isinstance(k, tuple) else k,
        system=_per_row(system, owner),
        head=head,
        tail=_per_row(tail, owner),
        prefix=None if prefixes is None else prefixes[rng.integers(len(prefixes), size=n)],
        output=output * rng.lognormal(0, 0.2, len(accounts))[owner],
        campaign=campaign,
    )


def copied_texts(world: World, rng: np.random.Generator, seconds: np.ndarray) -> np.ndarray:
    """Copies of public texts, one for each time: some are always famous, some go round for a few days.

    A third are stock phrases.
    """
    n = len(seconds)
    which = np.minimum(rng.zipf(1.25, n), FAMOUS) - 1
    passing = rng.random(n) < 0.5
    which = np.where(passing, (which + 17 * (seconds // (3 * DAY)).astype(np.int64)) % FAMOUS, which)
    stock = rng.random(n) < 0.33
    out = np.empty(n, np.int64)
    out[~stock] = world.public(which[~stock])
    phrase = world.prompts["boilerplate"]
    out[stock] = world.constant(phrase, 1, (which[stock] % 40 + 1).astype(np.uint64))
    return out


def own_text(world: World, rng: np.random.Generator, n: int, kind: str, k: tuple[int, int]) -> np.ndarray:
    """`n` private constant texts of `k` sentences, such as the system prompts of `n` applications.

    With real prompts at hand half of the system prompts are whole real ones, varied.
    """
    seeds = rng.integers(1, 2**63, n).astype(np.uint64)
    lengths = rng.integers(k[0], k[1] + 1, n)
    index = world.constant(world.prompts[kind], lengths, seeds)
    if kind == "system" and "application" in world.prompts.ranges:
        whole = rng.random(n) < 0.5
        index[whole] = world.constant(world.prompts["application"], 1, seeds[whole])
    return index


def _per_row(value: int | np.ndarray, owner: np.ndarray) -> np.ndarray:
    if np.ndim(value) == 0:
        return np.full(len(owner), value, np.int64)
    return np.asarray(value, np.int64)[owner].copy()
