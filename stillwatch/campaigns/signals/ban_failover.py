"""Failover: do accounts of a group begin when others of it have been stopped?

An account begins at its first exchange with the group's material (or at its first exchange, for a group that
something else proposed). Whoever had begun before the first account of the group was stopped says nothing, and so does
the stopped account itself, which had begun before it was stopped. Of the others it counts who began within two days
after a stop, against matched accounts and the same two days.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwatch.campaigns.evidence import member_result, planted_pool
from stillwatch.campaigns.reading import Values
from stillwatch.engine.steps import Step
from stillwatch.errors import InsufficientData
from stillwatch.records import Card, TestResult
from stillwatch.stats.sequential import HISTORY, LEAST_BETS, predict_events

CARD = Card(
    name="ban_failover",
    version="1",
    title="failover after a stop",
    question="acts as one",
    null="Of the accounts that had not begun when the first of the group was stopped, a member is at most gamma times "
    "as likely, in odds, as an account drawn from the matched pool to have begun within 48 hours after a stop.",
    unit="account",
    access=("actions.time", "actions.rung", "exchanges.time"),
    sources=(
        "Provider reports of 2026 on a second pool of accounts that took over soon after the first was banned",
        "Joint advisory AA26-251A (as paraphrased in public tools) on automatic failover when blocked",
        "Shafer 2021, Testing by betting (JRSS A), for the e-value",
    ),
    assumptions=(
        "honest members of a group begin after a stop at most gamma times as often as matched accounts",
        "the time of a stop does not follow from accounts of the group that are about to begin",
    ),
    looks_same=(
        "a prompt that spreads quickly while some of its users are being stopped",
        "a company whose blocked key is replaced by several new accounts",
        "customers of a reseller that was stopped and moved them to accounts of their own",
    ),
)
VALUES = Values("starts", ("first_time",), table="first_seen", scoped=True)
PROPOSES = False
STOPPING = (
    "ban",
    "banned",
    "block",
    "blocked",
    "close",
    "closed",
    "deactivate",
    "deactivated",
    "disable",
    "disabled",
    "revoke",
    "revoked",
    "suspend",
    "suspended",
    "terminate",
    "terminated",
)
"""Rungs, in lower case, that stop an account. Lower bursts, quotas and step-up verification do not."""
HOURS = 48
"""An account that begins so many hours after a stop, or fewer, began after it."""
SHIFTS = 999
LEAST_MEMBERS = HISTORY + LEAST_BETS
_WINDOW = HOURS * 3_600_000_000
_AT_ONCE = 1_000_000


def steps() -> list[Step]:
    """No step of its own: it reads ``first_seen`` (account_id, family, first_time), made for each scope."""
    return []


def test(
    starts: NDArray[np.float64],
    members: NDArray[np.int64],
    strata: NDArray[np.int64],
    *,
    interventions: NDArray[np.int64],
    seed: int,
    gamma: float = 3.0,
) -> TestResult:
    """Do members begin after accounts of the group were stopped more than matched accounts begin in the same hours?

    *Null*: `CARD.null`. The note gives two more readings of the same starts, which are no part of the e-value because
    their nulls are others: how many members began in the 48 hours *before* a stop, and in how many of `SHIFTS` circular
    shifts of all stops over the log at least as many members began (p = (1 + c) / (1 + B)).

    Parameters
    ----------
    starts
        Shape (pool,), microseconds; NaN: never began.
    members, strata, gamma
        As in `stats.sequential.predict_events`.
    interventions
        Microseconds at which accounts of the group were stopped, see `STOPPING`.

    Raises
    ------
    InsufficientData
        Nobody of the group was stopped; fewer than five members began after the first stop; or everybody who began
        after it did so within 48 hours of one.
    """
    stops = np.unique(interventions)
    if not len(stops):
        raise InsufficientData(1, 0, "actions that stopped an account of the group")
    since = _since(starts, stops)
    events = np.where(np.isnan(since), -1, since <= _WINDOW).astype(np.int8)
    known = int((events[members] >= 0).sum())
    if known < LEAST_MEMBERS:
        raise InsufficientData(LEAST_MEMBERS, known, "members that began after the first stop")
    rng = np.random.default_rng(seed)
    bets = predict_events(events, members, strata, gamma=gamma, rng=rng)
    note = _note(starts, starts[members], stops, rng)
    return member_result(CARD, bets, gamma=gamma, seed=seed, note=note)


def _since(starts: NDArray[np.float64], stops: NDArray[np.int64]) -> NDArray[np.float64]:
    """Microseconds from the last stop to each start; NaN where no stop came before it, or nothing began."""
    last = np.searchsorted(stops, starts, "left") - 1  # NaN sorts behind everything
    return np.where((last >= 0) & ~np.isnan(starts), starts - stops[np.maximum(last, 0)], np.nan)


def _note(
    starts: NDArray[np.float64],
    of_members: NDArray[np.float64],
    stops: NDArray[np.int64],
    rng: np.random.Generator,
) -> str:
    of_members = of_members[~np.isnan(of_members)]
    after = int((_since(of_members, stops) <= _WINDOW).sum())
    before = int((_since(-of_members, -stops[::-1]) <= _WINDOW).sum())
    said = (
        f"{after} members began within {HOURS} hours after a stop, {before} within {HOURS} hours before one"
    )
    low = min(np.nanmin(starts), stops[0])
    span = max(np.nanmax(starts), stops[-1]) - low + 1
    turns = np.r_[0.0, rng.uniform(0, span, SHIFTS)]
    parts = np.array_split(turns, 1 + SHIFTS * len(of_members) // _AT_ONCE)
    counts = np.concatenate([_began(of_members - low - part[:, None], stops - low, span) for part in parts])
    as_many = int((counts[1:] >= counts[0]).sum())
    return (
        f"{said}; with the stops shifted over the log as many or more, p = {(1 + as_many) / (1 + SHIFTS):.3g}"
    )


def _began(starts: NDArray[np.float64], stops: NDArray[np.int64], span: float) -> NDArray[np.int64]:
    """How many began within the window after a stop, on a circle of length `span`: the data and their shifts alike.

    `starts` has shape (shifts, members); the result (shifts,).
    """
    round_about = np.r_[stops[-1] - span, stops]
    return (_since(starts % span, round_about) <= _WINDOW).sum(axis=1)


def simulate(rng: np.random.Generator, *, effect: float, n: int) -> dict[str, Any]:
    """Starts over 60 days and stops on day 20; the share `effect` of the group begins the day after."""
    day = 86_400_000_000
    pool, members, strata = planted_pool(rng, n)
    starts = rng.uniform(0, 60 * day, len(pool))
    stops = np.sort(rng.uniform(20 * day, 20.5 * day, 3)).astype(np.int64)
    after = members[rng.random(n) < 0.9 * effect]
    starts[after] = stops[-1] + rng.uniform(0, 1.5 * day, len(after))
    seed = int(rng.integers(2**31))
    return {"starts": starts, "members": members, "strata": strata, "interventions": stops, "seed": seed}
