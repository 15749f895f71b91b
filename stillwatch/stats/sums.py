"""Exact upper tails of sums of independent whole numbers whose laws are known: weighted fair coins, and ranks.

The law of the sum is built by adding one summand after the other. Every step adds non-negative numbers, so even the
far tail is right to about n rounding errors. Below 1e-280 the Chernoff bound is given instead: never too small.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from stillwatch.errors import InputError

LARGEST = 50_000_000
"""Cells of summands times sum, above which the exact law is not built (a second or so) and the bound is given."""
_SMALL = 1e-280


def coins_log_pvalue(weights: npt.ArrayLike, total: int) -> float:
    """Log probability that fair coins, each worth its weight when it falls on heads, are worth `total` or more.

    *Null.* Independent fair coins.

    Parameters
    ----------
    weights
        Whole numbers (n,), 0 or above; known before the coins fell.
    total
        Sum of the weights of those that fell on heads.

    Returns
    -------
    Natural logarithm, at most 0. Exact, or the Chernoff bound where the exact law would be too large or too small.

    Examples
    --------
    >>> round(coins_log_pvalue([1, 1, 1, 1], 4) / math.log(2), 6)
    -4.0
    """
    w = _whole(weights, "weights")
    if not 0 <= total <= int(w.sum()):
        raise InputError(
            f"the total lies between 0 and the sum of the weights, {int(w.sum())}; found {total}"
        )

    def log_mgf(t: float) -> float:
        return float(np.logaddexp(0.0, t * w).sum() - w.size * math.log(2))

    return _tail(w, total, 2, log_mgf)


def ranks_log_pvalue(sizes: npt.ArrayLike, total: int) -> float:
    """Log probability that independent ranks, each uniform on 0 to its size, sum to `total` or more.

    *Null.* Each rank is uniform and independent of the others, as the number of decoys that a true one beats when
    both were drawn alike.

    Parameters
    ----------
    sizes
        Whole numbers (n,), 0 or above: the largest value of each rank.
    total
        Sum of the ranks.

    Examples
    --------
    >>> round(math.exp(ranks_log_pvalue([9, 9], 18)), 6)
    0.01
    """
    m = _whole(sizes, "sizes")
    if not 0 <= total <= int(m.sum()):
        raise InputError(f"the total lies between 0 and the sum of the sizes, {int(m.sum())}; found {total}")
    kinds, counts = np.unique(m, return_counts=True)

    def log_mgf(t: float) -> float:
        each = [logsumexp(t * np.arange(k + 1)) - math.log(k + 1) for k in kinds.tolist()]
        return float(np.dot(counts, each))

    return _tail(m, total, 0, log_mgf)


def _tail(values: npt.NDArray[np.int64], total: int, coins: int, log_mgf) -> float:  # type: ignore[no-untyped-def]
    if total <= 0:
        return 0.0
    top = int(values.sum())
    if values.size * (top + 1) <= LARGEST:
        law = np.zeros(top + 1)
        _build(values, law, coins == 2)
        tail = float(law[total:][::-1].sum())  # the smallest first
        if tail > _SMALL:
            return min(math.log(tail), 0.0)
    if total == top:  # every summand at its largest: one product
        each = np.log(np.where(values > 0, 2, 1)) if coins == 2 else np.log(values + 1.0)
        return -float(each.sum())
    found = minimize_scalar(lambda t: log_mgf(t) - t * total, bounds=(0.0, 50.0), method="bounded")
    return min(float(found.fun), 0.0)


def _whole(values: npt.ArrayLike, name: str) -> npt.NDArray[np.int64]:
    array = np.asarray(values)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iu" or array.min() < 0:
        raise InputError(f"{name} are whole numbers, 0 or above, at least one of them")
    return array.astype(np.int64)


@njit(cache=True, nogil=True)
def _build(values, law, coins):  # type: ignore[no-untyped-def]
    law[0] = 1.0
    top = 0
    for k in values:
        if k == 0:
            continue
        if coins:
            for s in range(top, -1, -1):
                half = 0.5 * law[s]
                law[s] = half
                law[s + k] += half
        else:
            share = 1.0 / (k + 1)
            old = law[: top + 1].copy()
            for s in range(top + k + 1):
                law[s] = 0.0
            for s in range(top + 1):
                part = old[s] * share
                for j in range(k + 1):
                    law[s + j] += part
        top += k
