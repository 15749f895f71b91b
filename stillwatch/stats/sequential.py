"""E-values from bets on the next member of a group (testing by betting, Shafer 2021; Waudby-Smith & Ramdas 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stillwatch.errors import InputError, InsufficientData

HISTORY = 3
"""Members that are only looked at before the first bet."""
LEAST_BETS = 2


@dataclass(frozen=True, slots=True)
class MemberBets:
    """What the bets on one group came to. Logarithms are natural."""

    log_evalue: float
    log_ceiling: float
    """Log e-value had every bet been won."""
    bets: int
    wins: int
    """Wins in the first order drawn."""
    expected: float
    """Mean share of the matched pool that would have won the same bets, before gamma is applied; 0 to 1."""


def predict_members(
    values: NDArray[np.float64] | NDArray[np.int64],
    members: NDArray[np.int64],
    strata: NDArray[np.int64],
    *,
    gamma: float,
    rng: np.random.Generator,
    orders: int = 8,
    coverage: float = 0.8,
    most: int = 400,
) -> MemberBets:
    """Do the members of a group resemble one another more than matched accounts could?

    The members are shown one by one in random order. Before each, a set is predicted from those already seen: for
    numbers the shortest interval that holds `coverage` of them, for codes the fewest codes that do. A bet is placed
    that the next member falls into the set.

    *Null*: given the members seen so far, the next member has at most `gamma` times the odds of an account drawn at
    random from what is left of its stratum (members included) to fall into the predicted set. The wealth is then a
    non-negative supermartingale started at 1 (Ville 1939), and so is its mean over several orders' final values an
    e-value. With ``gamma=1`` the null is plain sampling without replacement; ``gamma`` above 1 is the sensitivity
    parameter of Rosenbaum (2002, ch. 4): how much likelier an honest group may be to be alike.

    Parameters
    ----------
    values
        Shape (pool,). Floats (NaN: missing) are numbers, integers (negative: missing) are codes.
    members
        Shape (group,). Positions of the group's accounts in the pool.
    strata
        Shape (pool,). Matching stratum of each account, 0 or above.
    gamma
        1 or above.
    orders
        Random orders whose e-values are averaged (valid under any dependence; Vovk & Wang 2021, section 3).
    coverage
        Share of the members seen that a predicted set has to hold, in (0, 1].
    most
        Members used at most; a larger group is represented by a random part of it.

    Raises
    ------
    InsufficientData
        Fewer than ``HISTORY + LEAST_BETS`` members have a value.
    """
    numeric, known, members, strata, sizes = _check(values, members, strata, gamma)
    if not 0 < coverage <= 1:
        raise InputError(f"coverage must lie in (0, 1], found {coverage}")
    codes = known if numeric else _dense(known)
    by_stratum, starts = _sorted_by_stratum(codes, strata, len(sizes))
    logs, ceilings = np.empty(orders), np.empty(orders)
    wins = bets = 0
    expected = 0.0
    for i in range(orders):
        drawn = rng.permutation(members)[:most]
        kernel = _bet_on_interval if numeric else _bet_on_codes
        logs[i], ceilings[i], w, b, mean = kernel(
            codes[drawn], strata[drawn], by_stratum, starts, gamma, coverage, HISTORY
        )
        if i == 0:
            wins, bets, expected = w, b, mean
    return MemberBets(_log_mean(logs), _log_mean(ceilings), bets, wins, expected)


def predict_events(
    events: NDArray[np.int8],
    members: NDArray[np.int64],
    strata: NDArray[np.int64],
    *,
    gamma: float,
    rng: np.random.Generator,
    orders: int = 8,
    most: int = 400,
) -> MemberBets:
    """Does an event that was fixed beforehand happen to more members than to matched accounts?

    *Null*: as for `predict_members`, with the fixed event in place of the predicted set.

    Parameters
    ----------
    events
        Shape (pool,). 1: happened, 0: did not, negative: not known.

    Raises
    ------
    InsufficientData
        Fewer than ``HISTORY + LEAST_BETS`` members are known.
    """
    _, values, members, strata, sizes = _check(events.astype(np.int64), members, strata, gamma)
    happened = np.bincount(strata, weights=values == 1, minlength=len(sizes))
    logs, ceilings = np.empty(orders), np.empty(orders)
    wins = bets = 0
    expected = 0.0
    for i in range(orders):
        drawn = rng.permutation(members)[:most]
        logs[i], ceilings[i], w, b, mean = _bet_on_event(
            values[drawn], strata[drawn], happened, sizes.astype(np.float64), gamma
        )
        if i == 0:
            wins, bets, expected = w, b, mean
    return MemberBets(_log_mean(logs), _log_mean(ceilings), bets, wins, expected)


def _check(
    values: NDArray[Any], members: NDArray[np.int64], strata: NDArray[np.int64], gamma: float
) -> tuple[bool, NDArray[Any], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Drop what is missing; return (numeric, values, members, strata, stratum sizes) over the known accounts."""
    if gamma < 1:
        raise InputError(f"gamma must be 1 or above, found {gamma}")
    if values.shape != strata.shape or values.ndim != 1:
        raise InputError(f"values {values.shape} and strata {strata.shape} must be vectors of one length")
    if len(np.unique(members)) != len(members):
        raise InputError("a member is listed twice")
    numeric = values.dtype.kind == "f"
    known = ~np.isnan(values) if numeric else values >= 0
    position = np.cumsum(known) - 1
    members = position[members[known[members]]].astype(np.int64)
    if len(members) < HISTORY + LEAST_BETS:
        raise InsufficientData(HISTORY + LEAST_BETS, len(members), "members with a value")
    strata = np.unique(strata[known], return_inverse=True)[1].astype(np.int64)
    values = values[known].astype(np.float64 if numeric else np.int64)
    return numeric, values, members, strata, np.bincount(strata)


def _dense(values: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.unique(values, return_inverse=True)[1].astype(np.float64)


def _sorted_by_stratum(
    values: NDArray[np.float64], strata: NDArray[np.int64], count: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    order = np.lexsort((values, strata))
    return values[order], np.searchsorted(strata[order], np.arange(count + 1)).astype(np.int64)


def _log_mean(logs: NDArray[np.float64]) -> float:
    top = float(np.max(logs))
    return top + float(np.log(np.mean(np.exp(logs - top))))


@njit(cache=True, nogil=True)
def _stake(won, placed, share, gamma):  # type: ignore[no-untyped-def]
    """Bound of the null on the chance to win, and the chance we bet on (never below the bound, so never against)."""
    bound = gamma * share / (1.0 + (gamma - 1.0) * share)
    belief = (won + 1.0) / (placed + 2.0)
    return bound, max(bound, belief)


@njit(cache=True, nogil=True)
def _bet_on_interval(values, strata, pool, starts, gamma, coverage, history):  # type: ignore[no-untyped-def]
    log_e = log_top = total = 0.0
    won = placed = 0
    for t in range(history, len(values)):
        seen = np.sort(values[:t])
        need = max(2, int(np.ceil(coverage * t)))
        best, low, high = np.inf, seen[0], seen[-1]
        for i in range(t - need + 1):
            if seen[i + need - 1] - seen[i] < best:
                best, low, high = seen[i + need - 1] - seen[i], seen[i], seen[i + need - 1]
        s = strata[t]
        part = pool[starts[s] : starts[s + 1]]
        inside = np.searchsorted(part, high, "right") - np.searchsorted(part, low, "left")
        left = len(part)
        for j in range(t):
            if strata[j] == s:
                left -= 1
                if low <= values[j] <= high:
                    inside -= 1
        if inside == left or inside == 0:
            continue  # everybody or nobody left would win: there is nothing to bet on
        share = inside / left
        bound, chance = _stake(won, placed, share, gamma)
        win = low <= values[t] <= high
        log_e += np.log(chance / bound) if win else np.log((1 - chance) / (1 - bound))
        log_top += np.log(max(bound, (placed + 1.0) / (placed + 2.0)) / bound)
        won += win
        placed += 1
        total += share
    return log_e, log_top, won, placed, total / max(placed, 1)


@njit(cache=True, nogil=True)
def _bet_on_codes(values, strata, pool, starts, gamma, coverage, history):  # type: ignore[no-untyped-def]
    log_e = log_top = total = 0.0
    won = placed = 0
    for t in range(history, len(values)):
        seen = np.sort(values[:t])
        codes = np.empty(t)
        counts = np.zeros(t, np.int64)
        k = 0
        for i in range(t):
            if i == 0 or seen[i] != seen[i - 1]:
                codes[k] = seen[i]
                k += 1
            counts[k - 1] += 1
        order = np.argsort(-counts[:k], kind="mergesort")
        s = strata[t]
        part = pool[starts[s] : starts[s + 1]]
        covered = inside = 0
        win = False
        chosen = np.zeros(k, np.bool_)
        for i in order:
            if covered >= coverage * t:
                break
            covered += counts[i]
            chosen[i] = True
            inside += np.searchsorted(part, codes[i], "right") - np.searchsorted(part, codes[i], "left")
            win = win or codes[i] == values[t]
        left = len(part)
        for j in range(t):
            if strata[j] == s:
                left -= 1
                if chosen[np.searchsorted(codes[:k], values[j])]:
                    inside -= 1
        if inside == left or inside == 0:
            continue
        share = inside / left
        bound, chance = _stake(won, placed, share, gamma)
        log_e += np.log(chance / bound) if win else np.log((1 - chance) / (1 - bound))
        log_top += np.log(max(bound, (placed + 1.0) / (placed + 2.0)) / bound)
        won += win
        placed += 1
        total += share
    return log_e, log_top, won, placed, total / max(placed, 1)


@njit(cache=True, nogil=True)
def _bet_on_event(values, strata, happened, sizes, gamma):  # type: ignore[no-untyped-def]
    log_e = log_top = total = 0.0
    won = placed = 0
    inside, left = happened.copy(), sizes.copy()
    for t in range(len(values)):
        s = strata[t]
        share = inside[s] / left[s]
        win = values[t] == 1
        if 0.0 < share < 1.0:
            bound, chance = _stake(won, placed, share, gamma)
            log_e += np.log(chance / bound) if win else np.log((1 - chance) / (1 - bound))
            log_top += np.log(max(bound, (placed + 1.0) / (placed + 2.0)) / bound)
            won += win
            placed += 1
            total += share
        left[s] -= 1
        inside[s] -= win
    return log_e, log_top, won, placed, total / max(placed, 1)
