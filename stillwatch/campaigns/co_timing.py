"""What the signals of co-timing share: from bets on places to a result, and honest accounts for `simulate`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stillwatch.records import Assumption, Card, Null, TestResult
from stillwatch.stats.coincidence import PlaceBets

SECOND = 1_000_000
DAY = 86_400 * SECOND


def places_result(
    card: Card, bets: PlaceBets, *, gamma: float, seed: int, effect_name: str, note: str = ""
) -> TestResult:
    """The bets on one group as a TestResult; the effect is what was found per what was expected, less 1."""
    clocks = f"{bets.clocks} of {bets.members} members keep a clock; for them windows are averaged"
    return TestResult(
        test=f"{card.name}@{card.version}",
        statistic=bets.found,
        null=Null(card.null.replace("gamma", f"{gamma:g}", 1), "betting", card.unit),
        n=bets.bets,
        unit="account-windows",
        log_evalue=bets.log_evalue,
        log_evalue_ceiling=max(bets.log_ceiling, bets.log_evalue),
        effect=bets.effect,
        effect_name=effect_name,
        interval=bets.interval,
        assumptions=tuple(Assumption(text) for text in card.assumptions),
        seed=seed,
        note="; ".join(part for part in (note, clocks if bets.clocks else "") if part),
    )


def by_member(
    times: list[NDArray[np.float64]], owner: list[NDArray[np.int64]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Whole microseconds and their members, sorted by member and time."""
    at, who = np.concatenate(times), np.concatenate(owner)
    order = np.lexsort((at, who))
    return at[order].astype(np.int64), who[order].astype(np.int64)


def bursty_accounts(
    rng: np.random.Generator, accounts: int, sessions: float, days: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Independent accounts, none of them Poisson: sessions at random times, four requests a session, uneven gaps."""
    count = 1 + rng.poisson(sessions * rng.gamma(2, 0.5, accounts))
    start, who = rng.random(count.sum()) * days * DAY, np.repeat(np.arange(accounts), count)
    size = rng.geometric(0.25, len(start))
    since = np.cumsum(rng.lognormal(np.log(40), 0.9, size.sum()) * SECOND)
    first = np.cumsum(size) - size
    return np.repeat(start, size) + since - np.repeat(since[first], size), np.repeat(who, size)
