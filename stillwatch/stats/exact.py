"""Exact tails of the binomial, Poisson and hypergeometric laws, right however far out.

``scipy.stats.binom.logsf`` and ``poisson.logsf`` take the logarithm of a probability that has already underflowed
and give minus infinity below about 1e-308. Here the smaller of the two tails is summed as its first term times
``1 + r1 + r1 r2 + ...`` (the ratios of neighbouring terms), and the first term comes from Loader's saddle-point form,
whose parts do not cancel. The larger tail is one minus the smaller one. Time grows with the standard deviation of
the law (5 ms at 10^9 trials), memory is bounded.

References
----------
Loader, C. (2000). Fast and accurate computation of binomial probabilities. Bell Labs technical memorandum.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from stillwatch.errors import InputError, InsufficientData
from stillwatch.records import Alternative
from stillwatch.stats import _arrays
from stillwatch.stats._arrays import FloatArray

_CHUNK = 1 << 16
_FIRST = (
    512  # terms at first; most tails end within twelve standard deviations, and chunks double up to _CHUNK
)
_NEGLIGIBLE = 2.0**-60
_LARGEST = 2**53  # whole numbers above it are not exact in float64


def binomial_log_pvalue(
    successes: int, trials: int, probability: float, alternative: Alternative = "greater"
) -> float:
    """Decide whether `successes` are too many (too few) for independent trials of one known probability.

    *Null.* Every trial succeeds with `probability`, independently. The number of successes is then binomial.

    Parameters
    ----------
    successes, trials
        Whole numbers, ``0 <= successes <= trials``, ``trials >= 1``.
    probability
        In (0, 1), known beforehand and not estimated from these trials.
    alternative
        ``greater`` is P(X >= successes), ``less`` is P(X <= successes), ``two-sided`` is min(1, 2 min of both).

    Returns
    -------
    Natural logarithm of the p-value, at most 0.

    Raises
    ------
    InputError
        Not whole numbers, out of range, or not finite.
    InsufficientData
        No trial.

    *Wrong when* trials depend on one another: repeated n-grams, or accounts of one group, are not trials.

    Examples
    --------
    >>> round(binomial_log_pvalue(10, 10, 0.5) / math.log(2), 9)
    -10.0
    """
    n = _whole(trials, "trials")
    k = _whole(successes, "successes")
    p = _arrays.in_unit_interval(probability, "probability")
    if n < 1:
        raise InsufficientData(1, n, "trials")
    if k > n:
        raise InputError(f"successes is at most trials = {n}, found {k}")
    q = 1.0 - p
    return _p_value(
        k,
        low=0,
        high=n,
        mode=int((n + 1) * p),
        log_pmf=lambda x: _binomial_log_pmf(x, n, p, q),
        up=lambda x: (n - x) / (x + 1.0) * (p / q),
        down=lambda x: x / (n - x + 1.0) * (q / p),
        alternative=alternative,
    )


def poisson_log_pvalue(count: int, mean: float, alternative: Alternative = "greater") -> float:
    """Decide whether `count` events are too many (too few) for a known mean.

    *Null.* Events come independently and their number has mean `mean`. The count is then Poisson.

    Parameters
    ----------
    count
        Whole number, at least 0.
    mean
        Above 0, known beforehand.
    alternative
        As in `binomial_log_pvalue`.

    Returns
    -------
    Natural logarithm of the p-value, at most 0.

    Raises
    ------
    InputError
        Not a whole number, out of range, or not finite.

    *Wrong when* events come in bursts, as requests of people do: the variance then exceeds the mean.
    """
    k = _whole(count, "count")
    mu = float(_arrays.finite(mean, "mean"))
    if not 0 < mu <= _LARGEST:
        raise InputError(f"mean lies in (0, 2^53], found {mu:g}")
    return _p_value(
        k,
        low=0,
        high=_LARGEST,
        mode=int(mu),
        log_pmf=lambda x: _poisson_log_pmf(x, mu),
        up=lambda x: mu / (x + 1.0),
        down=lambda x: x / mu,
        alternative=alternative,
    )


def hypergeometric_log_pvalue(
    overlap: int, population: int, marked: int, draws: int, alternative: Alternative = "greater"
) -> float:
    """Decide whether a draw without replacement holds too many (too few) marked things: Fisher's exact test.

    *Null.* Every set of `draws` things out of `population`, of which `marked` are marked, is equally likely. The
    number of marked ones among them is then hypergeometric.

    Parameters
    ----------
    overlap
        Marked things among those drawn.
    population, marked, draws
        Whole numbers; ``marked`` and ``draws`` at most ``population``.
    alternative
        As in `binomial_log_pvalue`.

    Returns
    -------
    Natural logarithm of the p-value, at most 0; exactly 0 where the margins leave only one possible overlap.

    Raises
    ------
    InputError
        Not whole numbers, or an overlap that these margins do not allow.
    InsufficientData
        Nothing drawn.
    """
    size = _whole(population, "population")
    m = _whole(marked, "marked")
    n = _whole(draws, "draws")
    k = _whole(overlap, "overlap")
    if n < 1:
        raise InsufficientData(1, n, "draws")
    if m > size or n > size:
        raise InputError(f"marked and draws are at most population = {size}, found {m} and {n}")
    low, high = max(0, n + m - size), min(n, m)
    if not low <= k <= high:
        raise InputError(f"overlap lies between {low} and {high} for these margins, found {k}")
    others = size - m - n  # may be negative; others + x + 1 is not, within the support

    def log_pmf(x: int) -> float:
        p, q = n / size, (size - n) / size
        return (
            _binomial_log_pmf(x, m, p, q)
            + _binomial_log_pmf(n - x, size - m, p, q)
            - _binomial_log_pmf(n, size, p, q)
        )

    return _p_value(
        k,
        low=low,
        high=high,
        mode=(n + 1) * (m + 1) // (size + 2),
        log_pmf=log_pmf,
        up=lambda x: (m - x) / (x + 1.0) * ((n - x) / (others + x + 1.0)),
        down=lambda x: x / (m - x + 1.0) * ((others + x) / (n - x + 1.0)),
        alternative=alternative,
    )


Ratio = Callable[[FloatArray], FloatArray]


def _p_value(
    k: int,
    *,
    low: int,
    high: int,
    mode: int,
    log_pmf: Callable[[int], float],
    up: Ratio,
    down: Ratio,
    alternative: Alternative,
) -> float:
    """log P(X >= k), log P(X <= k), or twice the smaller; terms fall on both sides of the mode."""

    def at_least(x: int) -> float:
        if x <= low:
            return 0.0
        if x > mode:
            return min(0.0, log_pmf(x) + _log_series(up, x, 1, high - x))
        return _log_complement(log_pmf(x - 1) + _log_series(down, x - 1, -1, x - 1 - low))

    def at_most(x: int) -> float:
        if x >= high:
            return 0.0
        if x < mode:
            return min(0.0, log_pmf(x) + _log_series(down, x, -1, x - low))
        return _log_complement(log_pmf(x + 1) + _log_series(up, x + 1, 1, high - x - 1))

    if alternative == "greater":
        return at_least(k)
    if alternative == "less":
        return at_most(k)
    if alternative == "two-sided":
        return min(0.0, math.log(2.0) + min(at_least(k), at_most(k)))
    raise InputError(f"alternative is greater, less or two-sided, found {alternative!r}")


def _log_series(ratio: Ratio, start: int, step: int, terms: int) -> float:
    """log(1 + r(start) + r(start) r(start + step) + ...), at most `terms` ratios, all at most 1 and falling."""
    total, last, done, size = 1.0, 1.0, 0, _FIRST
    while done < terms:
        count = min(size, terms - done)
        size = min(2 * size, _CHUNK)
        x = start + step * (done + np.arange(count, dtype=np.float64))
        ratios = ratio(x)
        products = last * np.cumprod(ratios)
        total += float(products.sum())
        last, next_ratio = float(products[-1]), float(ratios[-1])
        done += count
        # What is left is below a geometric series of the last ratio.
        if last * next_ratio <= _NEGLIGIBLE * total * (1.0 - next_ratio):
            break
    return math.log(total)


def _log_complement(log_p: float) -> float:
    """log(1 - exp(log_p)); near 0 and near 1 without loss."""
    return math.log1p(-math.exp(log_p)) if log_p < -math.log(2.0) else math.log(-math.expm1(log_p))


def _binomial_log_pmf(x: int, n: int, p: float, q: float) -> float:
    """Loader (2000), equation 4."""
    if x == 0:
        return n * math.log1p(-p) if n else 0.0
    if x == n:
        return n * math.log(p)
    parts = _stirling_error(n) - _stirling_error(x) - _stirling_error(n - x)
    deviance = _deviance(x, n * p) + _deviance(n - x, n * q)
    # In floats: x (n - x) may exceed what an integer division keeps.
    return parts - deviance - 0.5 * (math.log(2.0 * math.pi) + math.log(x) + math.log1p(-x / n))


def _poisson_log_pmf(x: int, mean: float) -> float:
    if x == 0:
        return -mean
    return -_stirling_error(x) - _deviance(x, mean) - 0.5 * math.log(2.0 * math.pi * x)


def _deviance(x: int, mean: float) -> float:
    """x log(x / mean) + mean - x, without the cancellation near x = mean."""
    u = (mean - x) / x
    return x * (u - math.log1p(u)) if u > -0.5 else x * math.log(x / mean) + mean - x


def _stirling_error(x: int) -> float:
    """log x! minus Stirling's formula."""
    if x < 16:
        return math.lgamma(x + 1.0) - (x + 0.5) * math.log(x) + x - 0.5 * math.log(2.0 * math.pi)
    y = 1.0 / (float(x) * float(x))
    return (1 / 12 - (1 / 360 - (1 / 1260 - (1 / 1680 - y / 1188) * y) * y) * y) / x


def _whole(value: int, name: str) -> int:
    number = float(_arrays.finite(value, name))
    if number != int(number) or not 0 <= number <= _LARGEST:
        raise InputError(f"{name} is a whole number from 0 to 2^53, found {value}")
    return int(number)
