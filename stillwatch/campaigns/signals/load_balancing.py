"""Load balancing: is the stream of all members together more even than independent accounts could make it?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwatch.campaigns.co_timing import DAY, SECOND, bursty_accounts, by_member, places_result
from stillwatch.campaigns.reading import Values
from stillwatch.engine.steps import Step
from stillwatch.records import Card, TestResult
from stillwatch.stats.coincidence import bet_on_places

CARD = Card(
    name="load_balancing",
    version="1",
    title="even pooled arrivals",
    question="acts as one",
    null="Given its own pattern within a window, a member's requests lie in the gaps that the other members leave with "
    "at most gamma times the odds of a random turn around the window or of its own habits in other windows.",
    unit="account and window",
    access=("exchanges.time",),
    sources=(
        "Provider reports of 2026 on traffic that resembles load balancing",
        "Amarasingham et al. 2012 (J. Neurophysiol. 107), for nulls that keep rates and jitter only fine time",
        "Waudby-Smith, Ramdas 2024 (JRSS B) and Shafer 2021 (JRSS A), for bets on bounded means",
    ),
    assumptions=(
        "honest accounts do not wait for one another: no queue or limit is shared by the group alone",
        "accounts that keep a clock are told by their even gaps; for them windows are averaged",
    ),
    looks_same=(
        "customers of one gateway that queues their requests or limits their common rate",
        "one company's workers over a shared quota",
        "a test set split evenly over the keys of one team",
    ),
)
PROPOSES = False
VALUES = Values("times")
WINDOWS = (5, 10, 30, 60, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 21_600, 43_200, 86_400)
"""Seconds; each divides the day."""
BINS = 500
EVENTS = 48
"""Requests of all members that a window should hold: enough to see that they are even, few enough for a steady rate."""
REACH = 0.5
"""How far a request keeps the next away, in mean gaps of the pooled stream; 0.35 and 0.7 found less."""


def steps() -> list[Step]:
    """None: the scan reads the times."""
    return []


def window_of(times: NDArray[np.int64]) -> int:
    """Microseconds of the shortest window that holds `EVENTS` requests on a mean active day.

    It depends on the number of requests and of days alone, which no turn within a window changes.
    """
    a_day = len(times) / max(1, len(np.unique(times // DAY)))
    return next((w for w in WINDOWS if a_day * w / WINDOWS[-1] >= EVENTS), WINDOWS[-1]) * SECOND


def test(
    times: NDArray[np.int64],
    owner: NDArray[np.int64],
    others: NDArray[np.int64],
    *,
    seed: int,
    gamma: float = 3.0,
) -> TestResult:
    """Do the members' requests keep out of one another's way, as those of one dispatcher do?

    *Null*: `CARD.null`. What moves many at once only brings requests together, so `others` are not needed to excuse it.

    Parameters
    ----------
    times, owner
        Shape (exchanges,). int64 microseconds and the member of each, sorted by member and time.
    others
        Not read.
    gamma
        1 or above.

    Raises
    ------
    InsufficientData
        Fewer than five members or 20 bets.
    """
    window = window_of(times)
    bets = bet_on_places(
        times,
        owner,
        None,
        window=window,
        bins=BINS,
        apart=True,
        reach=REACH,
        gamma=gamma,
        rng=np.random.default_rng(seed),
    )
    return places_result(
        CARD,
        bets,
        gamma=gamma,
        seed=seed,
        effect_name="requests in the gaps of the others, per expected, less 1",
        note=f"windows of {window // SECOND} s compared: {bets.windows}",
    )


def simulate(rng: np.random.Generator, *, effect: float, n: int) -> dict[str, Any]:
    """`n` bursty accounts over five days; the share `effect` of their requests comes from one even stream instead."""
    days = 5
    at, who = bursty_accounts(rng, n, 15, days)
    own = rng.random(len(at)) >= effect
    even = np.cumsum(rng.gamma(16, 1 / 16, (~own).sum()))
    even *= days * DAY / (even[-1] + 1) if len(even) else 1
    times, owner = by_member([at[own], even], [who[own], rng.integers(0, n, len(even))])
    return {
        "times": times,
        "owner": owner,
        "others": np.zeros(0, np.int64),
        "seed": int(rng.integers(2**31)),
    }
