"""Exact tail of a weighted sum of two independent Gamma(n, 1) variables, right however far out.

With weights b < c, c times a Gamma(n, 1) variable is b times a Gamma(n + K, 1) variable, where K is negative binomial
with n successes of probability b / c (compare the Laplace transforms). So the tail of the sum is a mean of Poisson
tails over K. Nothing is subtracted, and the terms rise to one peak and fall.

References
----------
Moschopoulos, P. G. (1985). The distribution of the sum of independent gamma random variables. Annals of the
Institute of Statistical Mathematics 37: the general case.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.special import gammaln

from stillwatch.errors import InputError, InsufficientData
from stillwatch.stats._arrays import FloatArray
from stillwatch.stats.exact import poisson_log_pvalue

_DROP = 45.0  # terms e^-45 of the largest are left out


def two_gammas_log_pvalue(total: float, shape: int, share: float) -> float:
    """Decide whether `total` is too large for ``(1 - share) A + share B``, A and B independent Gamma(shape, 1).

    Parameters
    ----------
    total
        0 or above.
    shape
        Whole number, 1 or above.
    share
        In [0, 1].

    Returns
    -------
    log P((1 - share) A + share B >= total), at most 0.

    Raises
    ------
    InputError
        Out of range or not a number.
    InsufficientData
        `shape` below 1.

    Examples
    --------
    A share of 0 leaves Gamma(1, 1), whose tail is exp(-total):

    >>> two_gammas_log_pvalue(800.0, 1, 0.0)
    -800.0
    """
    if shape < 1:
        raise InsufficientData(1, shape, "scores")
    if not 0.0 <= share <= 1.0 or not 0.0 <= total < math.inf:
        raise InputError(f"share lies in [0, 1] and total is 0 or above, found {share:g} and {total:g}")
    if total == 0.0:
        return 0.0
    small, large = min(share, 1.0 - share), max(share, 1.0 - share)
    if small == 0.0:
        return poisson_log_pvalue(shape - 1, total / large, "less")
    if small == large:
        return poisson_log_pvalue(2 * shape - 1, total / small, "less")
    mean, p = total / small, small / large

    def log_term(k: int) -> float:
        return float(_log_negative_binomial(np.array([float(k)]), shape, p)[0]) + poisson_log_pvalue(
            2 * shape - 1 + k, mean, "less"
        )

    peak = _peak(log_term, int(shape / p) + int(mean) + 16)
    line = log_term(peak) - _DROP
    first = _edge(log_term, line, peak, -1)
    last = _edge(log_term, line, peak, 1)
    k = np.arange(first, last + 1, dtype=np.float64)
    at = 2.0 * shape - 1.0 + k
    # Poisson tails up the window: the first one exactly, then one term after the other.
    terms = at * math.log(mean) - mean - gammaln(at + 1.0)
    terms[0] = poisson_log_pvalue(2 * shape - 1 + first, mean, "less")
    logs = _log_negative_binomial(k, shape, p) + np.minimum(np.logaddexp.accumulate(terms), 0.0)
    return min(0.0, float(np.logaddexp.reduce(logs)))


def _peak(log_term: Callable[[int], float], most: int) -> int:
    """The place of the largest term of a sequence that rises to it and falls from it."""
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        if log_term(middle) < log_term(middle + 1):
            low = middle + 1
        else:
            high = middle
    return low


def _edge(log_term: Callable[[int], float], line: float, peak: int, step: int) -> int:
    """The first place on one side of the peak (step -1 or 1) where the terms are below `line`, or 0."""
    far = 1
    while peak + step * far > 0 and log_term(peak + step * far) > line:
        far *= 2
    near = far // 2
    while far - near > 1:
        middle = (far + near) // 2
        below = peak + step * middle <= 0 or log_term(peak + step * middle) <= line
        near, far = (near, middle) if below else (middle, far)
    return max(0, peak + step * far)


def _log_negative_binomial(k: FloatArray, n: int, p: float) -> FloatArray:
    """log of C(n + k - 1, k) p^n (1 - p)^k."""
    choose = gammaln(n + k) - gammaln(k + 1.0) - math.lgamma(float(n))
    out: FloatArray = choose + n * math.log(p) + k * math.log1p(-p)
    return out
