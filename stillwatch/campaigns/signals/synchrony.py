"""Synchrony: do the accounts of a group ask within the same seconds, more than their own habits explain?"""

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
    name="synchrony",
    version="1",
    title="synchrony",
    question="acts as one",
    null="In all minutes but ten, given its own pattern within the minute, a member's requests lie where those of the "
    "others of the group do with at most gamma times the odds of a random turn around the minute, of its own habits at "
    "other times, or of everybody else's requests at that moment, whichever is most.",
    unit="account and minute",
    access=("exchanges.time",),
    sources=(
        "Cao et al. 2014, SynchroTrap (CCS), for acting together in time as a sign of one hand",
        "Amarasingham et al. 2012 (J. Neurophysiol. 107), for nulls that keep rates and jitter only fine time",
        "Waudby-Smith, Ramdas 2024 (JRSS B) and Shafer 2021 (JRSS A), for bets on bounded means",
    ),
    assumptions=(
        "within a minute nothing but chance, habit or what moves everybody brings honest accounts together",
        "moments that are the group's alone (a call to a whole class, one release) fill at most ten minutes of the log",
        "the sample of others is large enough to show a moment that is everybody's",
    ),
    looks_same=(
        "one company's jobs that a queue starts at changing times",
        "users of a service that pushes one event to all of them at once",
        "a fleet of agents that wait for the same upstream signal",
    ),
)
PROPOSES = False
VALUES = Values("times")
WINDOW = 60 * SECOND
BINS = 30
"""Two seconds each."""
SPARED = 10
"""Minutes in which an honest group may have had a moment in common."""


def steps() -> list[Step]:
    """None: the scan reads the times."""
    return []


def test(
    times: NDArray[np.int64],
    owner: NDArray[np.int64],
    others: NDArray[np.int64],
    *,
    seed: int,
    gamma: float = 3.0,
) -> TestResult:
    """Do the members' requests fall into the same two seconds more than chance, habit and the crowd explain?

    *Null*: `CARD.null`. The e-value comes from bets, see `stats.coincidence.bet_on_places`.

    Parameters
    ----------
    times, owner
        Shape (exchanges,). int64 microseconds and the member of each, sorted by member and time.
    others
        Sorted times of a sample of everybody else's exchanges.
    gamma
        1 or above.

    Raises
    ------
    InsufficientData
        Fewer than five members, 20 bets, or eleven minutes in which two members can be compared.
    """
    bets = bet_on_places(
        times,
        owner,
        others,
        window=WINDOW,
        bins=BINS,
        apart=False,
        gamma=gamma,
        spared=SPARED,
        rng=np.random.default_rng(seed),
    )
    return places_result(
        CARD,
        bets,
        gamma=gamma,
        seed=seed,
        effect_name="requests within the same two seconds, per expected, less 1",
        note=f"minutes compared: {bets.windows}, of which the {SPARED} that speak loudest are left out",
    )


def simulate(rng: np.random.Generator, *, effect: float, n: int) -> dict[str, Any]:
    """`n` bursty accounts over five days; with `effect`, 60 batches besides, in which each takes part that often."""
    days = 5
    at, who = bursty_accounts(rng, n, 30, days)
    batches = rng.random(60) * days * DAY
    member, batch = np.nonzero(rng.random((n, 60)) < 0.7 * effect)
    late = batches[batch] + rng.exponential(2 * SECOND, len(batch))
    times, owner = by_member([at, late], [who, member])
    others = np.sort((rng.random(60_000) * days * DAY).astype(np.int64))
    return {"times": times, "owner": owner, "others": others, "seed": int(rng.integers(2**31))}
