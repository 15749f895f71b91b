"""Many hypotheses at once: Holm and Benjamini-Hochberg for p-values, e-BH for e-values.

References
----------
Holm, S. (1979). A simple sequentially rejective multiple test procedure. Scand. J. Statist. 6, 65-70.
Benjamini, Y. and Hochberg, Y. (1995). Controlling the false discovery rate. J. R. Stat. Soc. B 57, 289-300.
Wang, R. and Ramdas, A. (2022). False discovery rate control with e-values. J. R. Stat. Soc. B 84, 822-852.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stillwatch.errors import InputError
from stillwatch.stats import _arrays
from stillwatch.stats._arrays import FloatArray

# A soft-rank e-value at its ceiling B + 1 may equal the threshold m / alpha exactly; the two logarithms then differ
# in their last bit. This slack moves alpha by one part in 10^12.
_LAST_BITS = 1e-12


class Rejections(NamedTuple):
    """What e-BH rejects, and the line it drew."""

    rejected: npt.NDArray[np.bool_]
    """One flag per hypothesis, in the order given."""
    log_threshold: float
    """Logarithm of the e-value from which on a hypothesis was rejected; where none was, what one alone needs."""


def holm(log_pvalues: npt.ArrayLike) -> FloatArray:
    """Adjusted p-values that control the chance of *any* false rejection, under any dependence (Holm 1979).

    Parameters
    ----------
    log_pvalues
        Shape (m,), natural logarithms, at most 0; m may be 0.

    Returns
    -------
    Shape (m,), in the same order: reject where it is at most ``log(alpha)``.

    Raises
    ------
    InputError
        A NaN, an infinity (p = 0 is never a p-value) or a value above 0; not one-dimensional.
    """
    logp = _one_dimensional(_arrays.log_pvalues(log_pvalues), "log_pvalues")
    order = np.argsort(logp, kind="stable")
    stepped = logp[order] + np.log(np.arange(logp.size, 0, -1))
    adjusted = np.empty_like(logp)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 0.0)
    return adjusted


def benjamini_hochberg(log_pvalues: npt.ArrayLike) -> FloatArray:
    """Adjusted p-values that control the false discovery rate of independent tests (Benjamini & Hochberg 1995).

    Valid for independent or positively regression-dependent p-values only; under any dependence use e-BH.

    Parameters
    ----------
    log_pvalues
        Shape (m,), natural logarithms, at most 0; m may be 0.

    Returns
    -------
    Shape (m,), in the same order: reject where it is at most ``log(alpha)``.

    Raises
    ------
    InputError
        A NaN, an infinity or a value above 0; not one-dimensional.
    """
    logp = _one_dimensional(_arrays.log_pvalues(log_pvalues), "log_pvalues")
    m = logp.size
    order = np.argsort(logp, kind="stable")
    stepped = logp[order] + (math.log(m) if m else 0.0) - np.log(np.arange(1, m + 1))
    adjusted = np.empty_like(logp)
    adjusted[order] = np.minimum(np.minimum.accumulate(stepped[::-1])[::-1], 0.0)
    return adjusted


def e_benjamini_hochberg(log_evalues: npt.ArrayLike, alpha: float) -> Rejections:
    """Decide which hypotheses to reject so that the false discovery rate is at most alpha (Wang & Ramdas 2022).

    Rejects the k hypotheses of the largest e-values, for the largest k with ``k e_[k] / m >= 1 / alpha``. Valid
    under any dependence between the e-values, so m must count every hypothesis that was looked at: leaving out the
    dull ones after looking breaks it.

    Parameters
    ----------
    log_evalues
        Shape (m,), natural logarithms; minus infinity is e = 0; m may be 0.
    alpha
        The bound on the false discovery rate, in (0, 1).

    Returns
    -------
    Rejections
        The mask and the line.

    Raises
    ------
    InputError
        A NaN or plus infinity; alpha outside (0, 1); not one-dimensional.

    Examples
    --------
    >>> e_benjamini_hochberg([math.log(50), math.log(45), math.log(3)], 0.05).rejected.tolist()
    [True, True, False]
    """
    loge = _one_dimensional(_arrays.log_evalues(log_evalues), "log_evalues")
    _arrays.in_unit_interval(alpha, "alpha")
    m = loge.size
    if m == 0:
        return Rejections(np.zeros(0, dtype=np.bool_), -math.log(alpha))
    order = np.argsort(-loge, kind="stable")
    needed = math.log(m) - math.log(alpha) - np.log(np.arange(1, m + 1))
    passing = np.flatnonzero(loge[order] >= needed - _LAST_BITS)
    k = int(passing[-1]) + 1 if passing.size else 0
    rejected = np.zeros(m, dtype=np.bool_)
    rejected[order[:k]] = True
    return Rejections(rejected, log_evalue_needed(m, alpha, max(k, 1)))


def log_evalue_needed(m: int, alpha: float, rejections: int = 1) -> float:
    """What e-BH asks of one e-value of `m` when `rejections` are rejected together: ``log(m / (alpha k))``.

    A resampled e-value never exceeds B + 1; where ``log(B + 1)`` lies below this line, say "too little resampling".

    Raises
    ------
    InputError
        m below 1; alpha outside (0, 1); rejections outside 1..m.
    """
    _arrays.in_unit_interval(alpha, "alpha")
    if m < 1:
        raise InputError(f"m counts hypotheses and is at least 1, found {m}")
    if not 1 <= rejections <= m:
        raise InputError(f"rejections lies between 1 and m = {m}, found {rejections}")
    return math.log(m) - math.log(alpha) - math.log(rejections)


def _one_dimensional(array: FloatArray, name: str) -> FloatArray:
    if array.ndim != 1:
        raise InputError(f"{name} has one dimension, one value per hypothesis; found shape {array.shape}")
    return array
