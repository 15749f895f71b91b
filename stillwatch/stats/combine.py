"""From p to e and back, and the rules by which e-values may be merged.

An e-value is a non-negative statistic whose mean under the null is at most 1, so that it exceeds ``1 / alpha`` with
probability at most alpha (Markov). Functions that merge work along the first axis: shape (k,) gives a float, shape
(k, m) gives m merged values. e = 0 is the logarithm minus infinity.

References
----------
Vovk, V. and Wang, R. (2021). E-values: calibration, combination and applications. Ann. Statist. 49, 1736-1754.
Wang, R. and Ramdas, A. (2022). False discovery rate control with e-values. J. R. Stat. Soc. B 84, 822-852.
Gruenwald, P., de Heide, R. and Koolen, W. (2024). Safe testing. J. R. Stat. Soc. B 86, 1091-1128.
"""

from __future__ import annotations

import math
from typing import NamedTuple, overload

import numpy as np
import numpy.typing as npt

from stillwatch.errors import InputError, InsufficientData
from stillwatch.stats import _arrays
from stillwatch.stats._arrays import FloatArray

# 1/2!, 1/3!, ...: the all-mixture calibrator near p = 1, where its closed form is 0 / 0.
_SERIES = np.array([1.0 / math.factorial(k + 2) for k in range(20)])


class SoftRank(NamedTuple):
    """A resampled e-value and the largest it could have been."""

    log_evalue: float | FloatArray
    log_ceiling: float
    """``log(B + 1)``: print it beside the e-value."""


@overload
def p_to_e(log_pvalue: float, *, kappa: float | None = None) -> float: ...
@overload
def p_to_e(log_pvalue: FloatArray, *, kappa: float | None = None) -> FloatArray: ...
def p_to_e(log_pvalue: float | FloatArray, *, kappa: float | None = None) -> float | FloatArray:
    """Calibrate p-values into e-values (Vovk & Wang 2021, section 2 and appendix B).

    With `kappa`, ``e = kappa p^(kappa - 1)``; without, the mixture of that over all kappa in (0, 1),
    ``e = (1 - p + p ln p) / (p (ln p)^2)``, which needs no choice and grows as ``1 / (p (ln p)^2)``.

    Parameters
    ----------
    log_pvalue
        A float or an array of any shape; natural logarithms, at most 0.
    kappa
        In (0, 1), chosen before the data were seen. Its e-value at a given p is largest for
        ``kappa = -1 / ln p``; choosing it by the p at hand is cheating.

    Returns
    -------
    Natural logarithms of e-values, shaped as given.

    Raises
    ------
    InputError
        A NaN, an infinity or a value above 0; kappa outside (0, 1).
    """
    x = -_arrays.log_pvalues(log_pvalue, "log_pvalue")
    if kappa is not None:
        _arrays.in_unit_interval(kappa, "kappa")
        return _arrays.unwrap(np.asarray(math.log(kappa) + (1.0 - kappa) * x))  # type: ignore[no-any-return]
    # In x = -ln p the mixture is (e^x - 1 - x) / x^2 = sum over k of x^k / (k + 2)!.
    near = np.polynomial.polynomial.polyval(np.minimum(x, 1.0), _SERIES)
    far = np.maximum(x, 1.0)
    loge = np.where(x < 1.0, np.log(near), far + np.log1p(-(1.0 + far) * np.exp(-far)) - 2.0 * np.log(far))
    return _arrays.unwrap(np.asarray(loge))  # type: ignore[no-any-return]


@overload
def evalue_to_pvalue(log_evalue: float) -> float: ...
@overload
def evalue_to_pvalue(log_evalue: FloatArray) -> FloatArray: ...
def evalue_to_pvalue(log_evalue: float | FloatArray) -> float | FloatArray:
    """The p-value ``min(1, 1 / e)``: the only admissible way back (Vovk & Wang 2021, Proposition 2.2).

    Raises
    ------
    InputError
        A NaN or plus infinity.
    """
    loge = _arrays.log_evalues(log_evalue, "log_evalue")
    return _arrays.unwrap(np.asarray(np.minimum(0.0, -loge)))  # type: ignore[no-any-return]


def average_evalues(log_evalues: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> float | FloatArray:
    """Merge e-values of one null under *any* dependence: their mean (Vovk & Wang 2021, section 3).

    Parameters
    ----------
    log_evalues
        Shape (k,) or (k, m), natural logarithms.
    weights
        Shape (k,), non-negative, chosen before the data were seen; scaled to sum to 1. Equal by default.

    Returns
    -------
    A float, or shape (m,).

    Raises
    ------
    InputError
        A NaN or plus infinity; weights that are negative, all zero or of the wrong shape.
    InsufficientData
        k = 0.
    """
    loge = _stacked(log_evalues)
    share = np.ones(loge.shape[0]) if weights is None else _arrays.finite(weights, "weights")
    if share.shape != (loge.shape[0],) or (share < 0).any() or not share.any():
        raise InputError(
            f"weights: expected {loge.shape[0]} values of at least 0, one above 0; found {share}"
        )
    # A weight of 0 drops its e-value; log(0) + (-inf) would be fine too, but warns.
    kept = share > 0
    logw = np.log(share[kept] / share.sum()).reshape(-1, *[1] * (loge.ndim - 1))
    return _log_sum(loge[kept] + logw)


def product_evalues(log_evalues: npt.ArrayLike) -> float | FloatArray:
    """Merge e-values of one null that are *sequentially independent*: their product.

    Valid only where each factor is an e-value given everything that the earlier ones saw: independent samples, or
    fresh days with the group frozen beforehand. E-values of one and the same data, however different the
    statistics, are not: average those. A product of dependent e-values has a mean above 1 and proves nothing.

    Parameters
    ----------
    log_evalues
        Shape (k,) or (k, m), in the order in which they were taken.

    Raises
    ------
    InputError
        A NaN or plus infinity.
    InsufficientData
        k = 0.
    """
    return _arrays.unwrap(np.asarray(_stacked(log_evalues).sum(axis=0)))  # type: ignore[no-any-return]


def minimum(log_evalues: npt.ArrayLike) -> float | FloatArray:
    """The e-value against "at least one of the k nulls holds": the smallest, under any dependence.

    Whichever null it is that holds, the smallest is at most its e-value, whose mean is at most 1. So a claim that
    needs all k parts (acts as one *and* harvests) is made with this and never with a mean.

    Parameters
    ----------
    log_evalues
        Shape (k,) or (k, m): k parts of m claims.

    Raises
    ------
    InputError
        A NaN or plus infinity.
    InsufficientData
        k = 0.
    """
    return _arrays.unwrap(np.asarray(_stacked(log_evalues).min(axis=0)))  # type: ignore[no-any-return]


def soft_rank_evalue(observed: npt.ArrayLike, resampled: npt.ArrayLike) -> SoftRank:
    """The e-value of a non-negative statistic among its resamples: ``(B + 1) T0 / (T0 + T1 + ... + TB)``.

    *Null.* T0, T1, ..., TB are exchangeable. Their sum does not tell which is which, so each has the mean of
    sum / (B + 1) given the sum, and the e-value has mean 1 exactly. Where all are 0 it is 1.

    Parameters
    ----------
    observed
        T0: a float or shape (m,), non-negative, in any unit. A statistic that may be negative needs a monotone
        map first (``exp(r T)``, Wang & Ramdas 2022, section 6.5) and the same one for data and resamples.
    resampled
        T1..TB: shape (B,) or (B, m), drawn as the observed one, B >= 1.

    Returns
    -------
    SoftRank
        The e-value never exceeds the ceiling B + 1, reached only where every resample gives 0.

    Raises
    ------
    InputError
        A NaN, an infinity or a negative value; shapes that do not belong together.
    InsufficientData
        No resample.
    """
    t0, t = _arrays.finite(observed, "observed"), _arrays.finite(resampled, "resampled")
    if t.ndim != t0.ndim + 1 or t.shape[1:] != t0.shape:
        raise InputError(f"resampled has shape (B, *observed.shape); found {t.shape} beside {t0.shape}")
    if t.shape[0] < 1:
        raise InsufficientData(1, 0, "resamples")
    if (t0 < 0).any() or (t < 0).any():
        raise InputError(
            "observed and resampled are at least 0; map a signed statistic first, such as exp(r T)"
        )
    draws = t.shape[0] + 1
    largest = np.maximum(t0, t.max(axis=0))
    scale = np.where(largest > 0, largest, 1.0)  # sums of large finite values would overflow
    own = t0 / scale
    total = own + (t / scale).sum(axis=0)
    with np.errstate(divide="ignore"):
        loge = np.where(
            total > 0, math.log(draws) + np.log(own) - np.log(np.where(total > 0, total, 1.0)), 0.0
        )
    return SoftRank(_arrays.unwrap(np.asarray(loge)), math.log(draws))


def _stacked(log_evalues: npt.ArrayLike) -> FloatArray:
    loge = _arrays.log_evalues(log_evalues)
    if loge.ndim == 0:
        raise InputError("log_evalues has shape (k,) or (k, m); found a single number")
    if loge.shape[0] == 0:
        raise InsufficientData(1, 0, "e-values")
    return loge


def _log_sum(loge: FloatArray) -> float | FloatArray:
    return _arrays.unwrap(np.asarray(np.logaddexp.reduce(loge, axis=0)))  # type: ignore[no-any-return]
