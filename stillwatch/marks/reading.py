"""What a scheme saw in a text under one or many keys, and the exact tail of that without a mark.

Counts of green tokens have a binomial tail, sums of ``-log(1 - u)`` the tail of Gamma(n, 1), which is a Poisson sum:
``P(Gamma(n, 1) >= s) = P(Poisson(s) <= n - 1)``. Both stay numbers however far out (`stats.exact`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stillwatch.errors import InputError, InsufficientData
from stillwatch.records import Assumption, Card, Null, TestResult
from stillwatch.stats.exact import binomial_log_pvalue, poisson_log_pvalue

NEED = 20
"""Scored pairs below which no number is given."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one scheme counted, an entry for each key; the keys themselves are not in it.

    Attributes
    ----------
    law
        ``binomial``: `statistic` counts green draws, each green with probability `gamma`. ``gamma``: `statistic` is
        a sum of `scored` scores, each standard exponential.
    scored
        int64 (keys,). Pairs that were counted, after everything that repeats was left out.
    statistic
        float64 (keys,). Green draws, or the sum of the scores.
    gamma
        Probability of green without the mark, in (0, 1); None for the law ``gamma``.
    draws
        Independent draws for each scored pair (the depth of SynthID); 1 for the others.
    """

    law: Literal["binomial", "gamma"]
    scored: NDArray[np.int64]
    statistic: NDArray[np.float64]
    gamma: float | None = None
    draws: int = 1

    def __post_init__(self) -> None:
        if self.scored.ndim != 1 or self.scored.shape != self.statistic.shape:
            raise InputError(
                f"scored and statistic hold one entry a key, found {self.scored.shape} and {self.statistic.shape}"
            )
        if (self.law == "binomial") != (self.gamma is not None):
            raise InputError("gamma belongs to the binomial law, and only to it")


def together(readings: Sequence[Reading]) -> Reading:
    """The pieces of a corpus as one reading; they share a `Tape`, or a window in two of them counts twice.

    Raises
    ------
    InputError
        No reading, or readings of another law or of other numbers of keys.
    """
    if not readings:
        raise InputError("no reading to put together")
    one = readings[0]
    for other in readings[1:]:
        alike = (other.law, other.gamma, other.draws) == (one.law, one.gamma, one.draws)
        if not alike or other.scored.shape != one.scored.shape:
            raise InputError("readings of one scheme, with the same parameters and keys, go together")
    scored, statistic = one.scored.copy(), one.statistic.copy()
    for other in readings[1:]:
        scored += other.scored
        statistic += other.statistic
    return replace(one, scored=scored, statistic=statistic)


def log_pvalues(reading: Reading, *, need: int = NEED) -> NDArray[np.float64]:
    """How improbable each key's count is without the mark: natural logarithm, float64 (keys,), finite, at most 0.

    *Null.* The key was drawn at random and the text does not depend on it. Green draws are then independent, or, for
    several tokens after one context, drawn from one list without replacement: their sum is one of independent trials
    of unequal chances (the generating function of a hypergeometric count has only real roots), whose upper tail is
    at most the binomial one from the mean plus 1 on (Hoeffding 1956). So p is exact where each context has one token
    and conservative elsewhere, at every level that a count of the mean plus 1 does not reach.

    Parameters
    ----------
    reading
        What a scheme's `read` gave.
    need
        Scored pairs that a key must have; at least 1.

    Raises
    ------
    InsufficientData
        A key has fewer scored pairs than `need`.

    *Wrong when* pairs that repeat were counted again, or contexts whose list does not depend on the key were.

    References
    ----------
    Hoeffding, W. (1956). On the distribution of the number of successes in independent trials. Annals of
    Mathematical Statistics 27.

    Examples
    --------
    >>> one = Reading("binomial", np.array([100]), np.array([60.0]), gamma=0.25)
    >>> round(float(log_pvalues(one)[0]), 2)
    -29.65
    """
    least = int(reading.scored.min()) if reading.scored.size else 0
    if least < max(1, need):
        raise InsufficientData(max(1, need), least, "scored pairs of context and token")
    logs = np.empty(len(reading.scored))
    for i, (n, seen) in enumerate(zip(reading.scored.tolist(), reading.statistic.tolist(), strict=True)):
        if reading.gamma is not None:
            logs[i] = binomial_log_pvalue(int(seen), n * reading.draws, reading.gamma)
        else:
            logs[i] = poisson_log_pvalue(n - 1, seen, "less") if seen > 0 else 0.0
    return logs


def result(card: Card, reading: Reading, *, note: str = "") -> TestResult:
    """The test of a single key: its count with the exact tail, signed with the card of the scheme.

    `effect` is the share of green above what chance gives, or the mean score less 1. `n` counts scored pairs.

    Raises
    ------
    InsufficientData
        Fewer than `NEED` scored pairs.
    InputError
        The reading is not one of exactly one key.
    """
    if len(reading.scored) != 1:
        raise InputError(f"a test is of one key, found {len(reading.scored)}; see log_pvalues for many")
    log_p = float(log_pvalues(reading)[0])
    n, seen = int(reading.scored[0]), float(reading.statistic[0])
    mean = seen / (n * reading.draws)
    green = reading.gamma is not None
    return TestResult(
        test=f"{card.name}@{card.version}",
        statistic=seen,
        null=Null(card.null, "exact", card.unit),
        n=n,
        unit="scored pair of context and token",
        log_pvalue=log_p,
        effect=mean - (reading.gamma if reading.gamma is not None else 1.0),
        effect_name="share of green tokens above chance" if green else "mean score above 1",
        assumptions=tuple(Assumption(text) for text in card.assumptions),
        note=note,
    )
