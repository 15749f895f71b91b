"""Exact tails: against hand-worked cases, rational arithmetic far out, and their guarantee."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from stillwatch.errors import InputError, InsufficientData
from stillwatch.stats.exact import binomial_log_pvalue, hypergeometric_log_pvalue, poisson_log_pvalue


def log_of(number: Fraction) -> float:
    """Works on numerators of any length, where float(number) would be 0."""
    return math.log(number.numerator) - math.log(number.denominator)


def binomial_tail(low: int, high: int, n: int, p: Fraction) -> float:
    a, b = p.numerator, p.denominator
    ways = sum(math.comb(n, x) * a**x * (b - a) ** (n - x) for x in range(low, high + 1))
    return log_of(Fraction(ways, b**n))


def poisson_tail(low: int, high: int, mean: Fraction) -> float:
    return log_of(sum((mean**x / math.factorial(x) for x in range(low, high + 1)), Fraction(0))) - float(mean)


def hypergeometric_tail(low: int, high: int, population: int, marked: int, draws: int) -> float:
    ways = sum(math.comb(marked, x) * math.comb(population - marked, draws - x) for x in range(low, high + 1))
    return log_of(Fraction(ways, math.comb(population, draws)))


def test_binomial_by_hand() -> None:
    assert binomial_log_pvalue(10, 10, 0.5) == pytest.approx(-10 * math.log(2), rel=1e-14)
    assert binomial_log_pvalue(2, 3, 0.5) == pytest.approx(math.log(4 / 8), rel=1e-14)
    assert binomial_log_pvalue(2, 3, 0.5, "less") == pytest.approx(math.log(7 / 8), rel=1e-14)
    assert binomial_log_pvalue(9, 10, 0.5, "two-sided") == pytest.approx(math.log(22 / 1024), rel=1e-14)
    assert binomial_log_pvalue(5, 10, 0.5, "two-sided") == 0.0
    assert binomial_log_pvalue(0, 10, 0.3) == 0.0
    assert binomial_log_pvalue(10, 10, 0.3, "less") == 0.0


def test_poisson_by_hand() -> None:
    assert poisson_log_pvalue(0, 3.0) == 0.0
    assert poisson_log_pvalue(0, 3.0, "less") == pytest.approx(-3.0, rel=1e-14)
    assert poisson_log_pvalue(1, 3.0) == pytest.approx(math.log(-math.expm1(-3.0)), rel=1e-14)
    assert poisson_log_pvalue(0, 3.0, "two-sided") == pytest.approx(math.log(2) - 3.0, rel=1e-14)


def test_the_lady_tasting_tea() -> None:
    """Fisher (1935): four cups of eight, all four right by luck once in 70."""
    assert hypergeometric_log_pvalue(4, 8, 4, 4) == pytest.approx(math.log(1 / 70), rel=1e-14)
    assert hypergeometric_log_pvalue(3, 8, 4, 4) == pytest.approx(math.log(17 / 70), rel=1e-14)
    assert hypergeometric_log_pvalue(3, 8, 4, 4, "less") == pytest.approx(math.log(69 / 70), rel=1e-13)


def test_margins_that_leave_one_overlap_prove_nothing() -> None:
    assert hypergeometric_log_pvalue(4, 10, 10, 4) == 0.0
    assert hypergeometric_log_pvalue(4, 10, 4, 10, "two-sided") == 0.0
    assert hypergeometric_log_pvalue(0, 10, 0, 4) == 0.0


@pytest.mark.parametrize(
    ("k", "n", "p"),
    [
        (1001, 2000, Fraction(1, 2**13)),  # scipy.stats.binom.logsf: minus infinity
        (2000, 2000, Fraction(1, 8)),
        (900, 1000, Fraction(1, 2)),
        (501, 1000, Fraction(1, 2)),
        (3, 1000, Fraction(1, 2**20)),
        (999, 1000, Fraction(1023, 1024)),
    ],
)
def test_binomial_agrees_with_rational_arithmetic(k: int, n: int, p: Fraction) -> None:
    assert binomial_log_pvalue(k, n, float(p)) == pytest.approx(binomial_tail(k, n, n, p), rel=1e-11)
    assert binomial_log_pvalue(n - k, n, float(1 - p), "less") == pytest.approx(
        binomial_tail(k, n, n, p), rel=1e-11
    )


def test_a_tail_of_minus_five_thousand_is_exact() -> None:
    truth = binomial_tail(500, 1000, 1000, Fraction(1, 2**16))
    assert -5100 < truth < -4800
    assert binomial_log_pvalue(500, 1000, 2.0**-16) == pytest.approx(truth, rel=1e-12)
    assert binomial_log_pvalue(5000, 5000, math.exp(-1)) == pytest.approx(-5000.0, rel=1e-12)
    assert poisson_log_pvalue(0, 5000.0, "less") == -5000.0


@pytest.mark.parametrize(("k", "mean"), [(1500, Fraction(100)), (30, Fraction(1, 64)), (5, Fraction(9, 2))])
def test_poisson_agrees_with_rational_arithmetic_above(k: int, mean: Fraction) -> None:
    assert poisson_log_pvalue(k, float(mean)) == pytest.approx(poisson_tail(k, k + 200, mean), rel=1e-11)


@pytest.mark.parametrize(("k", "mean"), [(3, Fraction(800)), (100, Fraction(900)), (2, Fraction(9, 2))])
def test_poisson_agrees_with_rational_arithmetic_below(k: int, mean: Fraction) -> None:
    assert poisson_log_pvalue(k, float(mean), "less") == pytest.approx(poisson_tail(0, k, mean), rel=1e-11)


@given(data=st.data(), population=st.integers(1, 300))
def test_hypergeometric_agrees_with_rational_arithmetic(data: st.DataObject, population: int) -> None:
    marked = data.draw(st.integers(0, population))
    draws = data.draw(st.integers(1, population))
    low, high = max(0, marked + draws - population), min(marked, draws)
    k = data.draw(st.integers(low, high))
    above = hypergeometric_tail(k, high, population, marked, draws)
    below = hypergeometric_tail(low, k, population, marked, draws)
    found = [hypergeometric_log_pvalue(k, population, marked, draws, side) for side in ("greater", "less")]
    assert found == pytest.approx([above, below], rel=1e-9, abs=1e-13)


def test_a_large_hypergeometric_tail() -> None:
    """Two lists of 1,000 out of 100,000 that share 900."""
    truth = hypergeometric_tail(900, 1000, 100_000, 1000, 1000)
    assert truth < -4000
    assert hypergeometric_log_pvalue(900, 100_000, 1000, 1000) == pytest.approx(truth, rel=1e-11)


@given(n=st.integers(1, 10_000_000), p=st.floats(1e-6, 1 - 1e-6), where=st.floats(-6, 6))
def test_binomial_agrees_with_scipy_near_the_middle(n: int, p: float, where: float) -> None:
    k = min(max(round(n * p + where * math.sqrt(n * p * (1 - p))), 0), n)
    log_sf, log_cdf = (float(f) for f in (stats.binom.logsf(k - 1, n, p), stats.binom.logcdf(k, n, p)))
    assert binomial_log_pvalue(k, n, p) == pytest.approx(log_sf, rel=1e-6, abs=1e-9)
    assert binomial_log_pvalue(k, n, p, "less") == pytest.approx(log_cdf, rel=1e-6, abs=1e-9)


def test_counts_in_the_billions() -> None:
    """A fair coin: P(X >= n / 2) is 1/2 and half the middle term, sqrt(2 / (pi n)) (1 - 1 / (4 n)) to first order."""
    n = 10**9
    middle = math.sqrt(2 / (math.pi * n)) * (1 - 1 / (4 * n))
    assert binomial_log_pvalue(n // 2, n, 0.5) == pytest.approx(math.log(0.5 * (1 + middle)), abs=1e-10)
    # 12.6 standard deviations out; the sum in arithmetic of 60 digits. x log(x / mean) alone would lose nine of them.
    assert binomial_log_pvalue(500_200_000, n, 0.5) == pytest.approx(-83.46228033213870865, rel=1e-12)
    assert poisson_log_pvalue(n + 1, float(n)) == pytest.approx(math.log(0.5), abs=1e-4)


@pytest.mark.parametrize("alternative", ["greater", "less", "two-sided"])
@pytest.mark.parametrize("alpha", [0.5, 0.1, 0.05, 0.01])
def test_p_is_super_uniform_exactly(alternative: str, alpha: float) -> None:
    """P(p <= alpha) <= alpha, summed over every possible outcome of three laws."""
    laws: list[tuple[Callable[[int], float], Callable[[int], float], range]] = [
        (
            lambda k: binomial_log_pvalue(k, 30, 0.2, alternative),
            lambda k: stats.binom.pmf(k, 30, 0.2),
            range(31),
        ),
        (lambda k: poisson_log_pvalue(k, 4.5, alternative), lambda k: stats.poisson.pmf(k, 4.5), range(60)),
        (
            lambda k: hypergeometric_log_pvalue(k, 50, 12, 20, alternative),
            lambda k: stats.hypergeom.pmf(k, 50, 12, 20),
            range(13),
        ),
    ]
    for pvalue, mass, support in laws:
        assert sum(mass(k) for k in support if pvalue(k) <= math.log(alpha)) <= alpha + 1e-12


@given(n=st.integers(1, 400), p=st.floats(1e-9, 1 - 1e-9), data=st.data())
def test_more_successes_are_more_evidence(n: int, p: float, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n - 1))
    assert binomial_log_pvalue(k + 1, n, p) <= binomial_log_pvalue(k, n, p) <= 0.0
    assert binomial_log_pvalue(k, n, p, "less") <= binomial_log_pvalue(k + 1, n, p, "less") <= 0.0
    sides = binomial_log_pvalue(k, n, p), binomial_log_pvalue(k, n, p, "less")
    assert binomial_log_pvalue(k, n, p, "two-sided") == min(0.0, math.log(2) + min(sides))


@pytest.mark.parametrize(
    "call",
    [
        lambda: binomial_log_pvalue(11, 10, 0.5),
        lambda: binomial_log_pvalue(-1, 10, 0.5),
        lambda: binomial_log_pvalue(1.5, 10, 0.5),
        lambda: binomial_log_pvalue(1, 10, 0.0),
        lambda: binomial_log_pvalue(1, 10, 1.0),
        lambda: binomial_log_pvalue(1, 10, math.nan),
        lambda: binomial_log_pvalue(math.nan, 10, 0.5),
        lambda: binomial_log_pvalue(1, math.inf, 0.5),
        lambda: binomial_log_pvalue(1, 10, 0.5, "bigger"),
        lambda: poisson_log_pvalue(1, 0.0),
        lambda: poisson_log_pvalue(1, math.inf),
        lambda: poisson_log_pvalue(-1, 1.0),
        lambda: hypergeometric_log_pvalue(5, 10, 4, 6),
        lambda: hypergeometric_log_pvalue(0, 10, 8, 6),
        lambda: hypergeometric_log_pvalue(1, 10, 11, 6),
        lambda: hypergeometric_log_pvalue("two", 10, 4, 6),
    ],
)
def test_what_cannot_be_is_refused(call: Callable[[], float]) -> None:
    with pytest.raises(InputError):
        call()


def test_nothing_seen_is_too_little() -> None:
    with pytest.raises(InsufficientData):
        binomial_log_pvalue(0, 0, 0.5)
    with pytest.raises(InsufficientData):
        hypergeometric_log_pvalue(0, 10, 4, 0)
