"""Exact tail of a sum of independent draws from one known list of whole numbers, right however far out.

The law of the sum is a power of the list's generating function. It is taken with a discrete Fourier transform after
tilting: every value v gets the weight exp(t v), with t such that the mean of the tilted sum is what was observed. The
terms that matter are then the largest of the transform, so that its rounding error, 1e-16 of the largest, is 1e-10 of
the tail, whether that is 1e-3 or 1e-3000.

References
----------
Bahadur, R. R., Ranga Rao, R. (1960). On deviations of the sample mean. Annals of Mathematical Statistics 31: the
tilting; here the tilted sum is not approximated by a normal law but computed.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from stillwatch.errors import InputError, InsufficientData
from stillwatch.stats._arrays import FloatArray

_PLAIN = 1e-5  # above it the untilted transform has ten digits
_STEEPEST = 200.0


def drawn_sum_log_pvalues(
    values: NDArray[np.int64], draws: int, observed: NDArray[np.int64], *, doubt: float = 0.0
) -> FloatArray:
    """Decide for each observed sum whether it is too large for `draws` draws from `values`, put back each time.

    *Null.* Each draw takes every place of `values` with the same probability, independently of the others.

    Parameters
    ----------
    values
        Whole numbers (places,), at least one.
    draws
        1 or above.
    observed
        Whole numbers (sums,).
    doubt
        Added to every logarithm, 0 or above. Where the draws are known to have kept to an event of probability q
        (all different, say), -log q makes the p-value valid, because P(A | E) is at most P(A) / P(E).

    Returns
    -------
    float64 (sums,): log P(sum >= observed), at most 0, and minus infinity where no draw could give the sum.

    Raises
    ------
    InputError
        Not whole numbers, no draw, or a list so wide that the law has more than 2^26 values.
    InsufficientData
        No value to draw from.

    Examples
    --------
    Two dice that show 12, and a thousand coins that all show heads:

    >>> two = drawn_sum_log_pvalues(np.arange(1, 7), 2, np.array([12]))
    >>> round(math.exp(two[0]) * 36, 9)
    1.0
    >>> heads = drawn_sum_log_pvalues(np.array([0, 1]), 1000, np.array([1000]))
    >>> round(float(heads[0]) / math.log(2), 6)
    -1000.0
    """
    listed, seen = np.asarray(values), np.asarray(observed)
    if listed.size == 0:
        raise InsufficientData(1, 0, "values to draw from")
    if listed.dtype.kind not in "iu" or seen.dtype.kind not in "iu" or listed.ndim != 1 or seen.ndim != 1:
        raise InputError(
            f"values and observed are whole numbers in one dimension, found {listed.dtype}, {seen.dtype}"
        )
    if draws < 1 or not doubt >= 0:
        raise InputError(f"draws is 1 or above and doubt 0 or above, found {draws} and {doubt:g}")
    low = int(listed.min())
    reach = int(listed.max()) - low
    size = draws * reach + 1
    if size > 1 << 26:
        raise InputError(f"the sum of {draws} draws has {size} possible values, at most 2^26 are computed")
    weights = np.bincount((listed - low).astype(np.int64)) / listed.size
    length = 1 << size.bit_length()
    law = np.fft.irfft(np.fft.rfft(weights, length) ** draws, length)[:size]
    tails = np.cumsum(np.maximum(law, 0.0)[::-1])[::-1]
    out = np.empty(seen.size)
    for i, total in enumerate(seen.tolist()):
        above = total - draws * low
        if above <= 0:
            out[i] = 0.0
        elif above >= size:
            out[i] = -math.inf
        elif tails[above] > _PLAIN:
            out[i] = math.log(tails[above])
        else:
            out[i] = _tilted(weights, draws, above, length)
    return np.minimum(out + doubt, 0.0)


def _tilted(weights: FloatArray, draws: int, above: int, length: int) -> float:
    """log P(sum >= above) for draws from 0 .. reach with these weights; `above` lies over the mean."""
    places = np.arange(weights.size, dtype=np.float64)
    with np.errstate(divide="ignore"):
        logs = np.log(weights)

    def tilt(t: float) -> tuple[FloatArray, float]:
        peak = float(np.max(logs + t * places))
        tilted = np.exp(logs + t * places - peak)
        total = float(tilted.sum())
        return tilted / total, peak + math.log(total)

    def mean(t: float) -> float:
        return draws * float(tilt(t)[0] @ places)

    low, high = 0.0, 1.0 / weights.size
    while mean(high) < above and high < _STEEPEST:
        low, high = high, 2.0 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if mean(middle) < above else (low, middle)
    tilted, log_total = tilt(high)
    law = np.fft.irfft(np.fft.rfft(tilted, length) ** draws, length)[above : draws * (weights.size - 1) + 1]
    rest = float(np.maximum(law, 0.0) @ np.exp(-high * np.arange(law.size)))
    return draws * log_total - high * above + math.log(rest)
