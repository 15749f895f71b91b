"""Resampling tests: one callable for the data and for its null, and ``p = (1 + c) / (1 + B)``.

The data are one of the B + 1 arrangements that the null makes equally likely, so they count among those at least as
extreme as themselves. That makes p super-uniform for every B (a p of ``c / B`` is not, and can be 0).

References
----------
Phipson, B. and Smyth, G. (2010). Permutation p-values should never be zero. Stat. Appl. Genet. Mol. Biol. 9(1), 39.
Hemerik, J. and Goeman, J. (2018). Exact testing with random permutations. TEST 27, 811-825.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from stillwatch.errors import InputError, InsufficientData
from stillwatch.records import Alternative
from stillwatch.stats import _arrays
from stillwatch.stats._arrays import FloatArray

T = TypeVar("T")

ENUMERATED_UP_TO = 16
"""Differences up to which `sign_flip_test` enumerates all 2^n sign patterns."""
FEWEST_DIFFERENCES = 5
"""Below it no sign-flip p-value can reach 0.05."""
FEWEST_SHIFTS = 20
"""Below it no circular-shift p-value can reach 0.05."""
_CELLS = 1_000_000  # signs held at once: 8 MB


@dataclass(frozen=True, slots=True)
class Resampled:
    """The outcome of a resampling test."""

    statistic: float
    """Of the data."""
    log_pvalue: float
    n_resamples: int | None
    """B of ``(1 + c) / (1 + B)``; None where every arrangement was enumerated, so that p is exact."""
    null_statistics: FloatArray
    """Shape (B,), or all arrangements where they were enumerated (the data among them)."""
    alternative: Alternative


def permutation_test(
    statistic: Callable[[T], float],
    data: T,
    resample: Callable[[T, np.random.Generator], T],
    *,
    n_resamples: int = 999,
    rng: np.random.Generator,
    alternative: Alternative = "greater",
) -> Resampled:
    """Decide whether a statistic of the data is extreme among resamples that the null makes equally likely.

    *Null.* The data and their resamples are exchangeable: `resample` draws from a group of arrangements under which
    the law of the data does not change. The rank of the data among B resamples is then uniform.

    Parameters
    ----------
    statistic
        One callable for both, so that data and null cannot be treated differently.
    data
        Anything; `resample` must not change it.
    resample
        ``resample(data, rng)`` gives one arrangement, of the same kind as `data`.
    n_resamples
        B, at least 1; the smallest p-value is ``1 / (B + 1)``.
    rng
        Source of randomness.
    alternative
        ``greater``, ``less``, or ``two-sided``: min(1, twice the smaller).

    Returns
    -------
    Resampled

    Raises
    ------
    InputError
        A statistic, of the data or of a resample, that is not finite; B below 1.

    *Wrong when* the resamples share less than the data do under the null, such as repeats within a unit: permute units.
    """
    if n_resamples < 1:
        raise InputError(f"n_resamples is at least 1, found {n_resamples}")
    observed = _number(statistic(data), "of the data")
    null = np.empty(n_resamples)
    for b in range(n_resamples):
        null[b] = _number(statistic(resample(data, rng)), f"of resample {b}")
    return Resampled(observed, _log_pvalue(observed, null, alternative, 1), n_resamples, null, alternative)


def sign_flip_test(
    differences: npt.ArrayLike,
    *,
    n_resamples: int = 9_999,
    rng: np.random.Generator,
    alternative: Alternative = "greater",
) -> Resampled:
    """Decide whether paired differences lie on one side of 0 (Fisher's randomisation test of the mean).

    *Null.* Each difference is as likely to have the other sign, independently of the others: it is symmetric about
    0, as it is where a coin decided which of the pair is which. Up to 16 differences all 2^n sign patterns are
    enumerated and the p-value is exact; above, B are drawn.

    Parameters
    ----------
    differences
        Shape (n,), one per independent pair.
    n_resamples
        B, where patterns are drawn.
    rng
        Source of randomness; unused where patterns are enumerated.
    alternative
        As in `permutation_test`.

    Returns
    -------
    Resampled
        The statistic is the mean difference.

    Raises
    ------
    InputError
        A NaN or an infinity; not one-dimensional; B below 1.
    InsufficientData
        Fewer than five differences.

    *Wrong when* the differences are skewed under the null and no coin made the pairs, or pairs share a unit.
    """
    d = _arrays.finite(differences, "differences")
    if d.ndim != 1:
        raise InputError(f"differences has one dimension, found shape {d.shape}")
    if d.size < FEWEST_DIFFERENCES:
        raise InsufficientData(FEWEST_DIFFERENCES, d.size, "differences")
    if n_resamples < 1:
        raise InputError(f"n_resamples is at least 1, found {n_resamples}")
    observed = float(d.mean())
    if d.size <= ENUMERATED_UP_TO:
        bits = (np.arange(2**d.size)[:, np.newaxis] >> np.arange(d.size)) & 1
        null = (1.0 - 2.0 * bits) @ d / d.size
        return Resampled(observed, _log_pvalue(observed, null, alternative, 0), None, null, alternative)
    null = np.empty(n_resamples)
    rows = max(1, _CELLS // d.size)
    for first in range(0, n_resamples, rows):
        count = min(rows, n_resamples - first)
        signs = 1.0 - 2.0 * rng.integers(0, 2, size=(count, d.size), dtype=np.int8)
        null[first : first + count] = signs @ d / d.size
    return Resampled(observed, _log_pvalue(observed, null, alternative, 1), n_resamples, null, alternative)


def circular_shift_test(
    counts: npt.ArrayLike,
    statistic: Callable[[FloatArray], float],
    *,
    n_resamples: int = 999,
    rng: np.random.Generator,
    alternative: Alternative = "greater",
    step: int = 1,
) -> Resampled:
    """Decide whether series move together more than their own shapes explain.

    *Null.* The series are independent of one another, and each has the same law when it is turned around the circle
    by any multiple of `step`. Each row keeps its bursts and its total; only how the rows line up is resampled.

    Parameters
    ----------
    counts
        Shape (rows, bins): one series per independent unit, equal bins in time order.
    statistic
        Takes an array of that shape and gives one number.
    n_resamples
        B, at least 1.
    rng
        Source of randomness.
    alternative
        As in `permutation_test`.
    step
        Shifts are multiples of this many bins; it divides the number of bins. With bins of an hour, 24 keeps the
        rhythm of the day, which everybody shares, out of the answer.

    Returns
    -------
    Resampled

    Raises
    ------
    InputError
        A NaN or an infinity; not two-dimensional; a step that does not divide the bins.
    InsufficientData
        Fewer than two series, or fewer than 20 distinct ways to shift them against one another.

    *Wrong when* the series have a common trend or a common rhythm that `step` does not keep.
    """
    table = _arrays.finite(counts, "counts")
    if table.ndim != 2:
        raise InputError(f"counts has shape (rows, bins), found {table.shape}")
    rows, bins = table.shape
    if rows < 2:
        raise InsufficientData(2, rows, "series")
    if step < 1 or bins % step:
        raise InputError(f"step is at least 1 and divides the {bins} bins, found {step}")
    places = bins // step
    # Turning all rows together changes nothing, so one row may be held; in logarithms, rows may be many.
    if (rows - 1) * math.log(max(places, 1)) < math.log(FEWEST_SHIFTS):
        raise InsufficientData(FEWEST_SHIFTS, places ** (rows - 1), "distinct shifts")
    column = np.arange(bins)

    def shifted(array: FloatArray, random: np.random.Generator) -> FloatArray:
        shift = step * random.integers(0, places, size=(rows, 1))
        return np.take_along_axis(array, (column - shift) % bins, axis=1)

    return permutation_test(
        statistic, table, shifted, n_resamples=n_resamples, rng=rng, alternative=alternative
    )


def _log_pvalue(observed: float, null: FloatArray, alternative: Alternative, itself: int) -> float:
    """log of (itself + c) / (itself + B); `itself` is 0 where the null already holds the data."""
    # A resample equal to the data but summed in another order differs in the last bits: count it as a tie.
    slack = 1e-12 * max(abs(observed), float(np.abs(null).max()))
    total = itself + null.size
    above = (itself + int((null >= observed - slack).sum())) / total
    below = (itself + int((null <= observed + slack).sum())) / total
    tails = {"greater": above, "less": below, "two-sided": min(1.0, 2.0 * min(above, below))}
    if alternative not in tails:
        raise InputError(f"alternative is greater, less or two-sided, found {alternative!r}")
    return math.log(tails[alternative])


def _number(value: float, which: str) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise InputError(f"the statistic {which} is {number}; it must be finite")
    return number
