"""Exact tails of sums of draws from a list, and of two weighted gammas, against enumeration and simulation."""

from __future__ import annotations

import doctest
import itertools
import math

import numpy as np
import pytest
from scipy import stats

from stillwatch.errors import InputError, InsufficientData
from stillwatch.stats import drawn_sums, gamma_sums
from stillwatch.stats.drawn_sums import drawn_sum_log_pvalues
from stillwatch.stats.exact import binomial_log_pvalue
from stillwatch.stats.gamma_sums import two_gammas_log_pvalue


@pytest.mark.parametrize("module", [drawn_sums, gamma_sums])
def test_examples_run(module: object) -> None:
    failed, tried = doctest.testmod(module)  # type: ignore[arg-type]
    assert (failed, tried > 0) == (0, True)


@pytest.mark.parametrize("values", [[0, 1], [3, 3, 7, -2], [5], [0, 0, 0, 1], [-4, 10, 11, 12, 12]])
@pytest.mark.parametrize("draws", [1, 2, 5])
def test_every_tail_is_that_of_the_enumeration(values: list[int], draws: int) -> None:
    sums = [sum(one) for one in itertools.product(values, repeat=draws)]
    observed = np.arange(min(sums) - 2, max(sums) + 3)
    found = drawn_sum_log_pvalues(np.array(values), draws, observed)
    for total, log_p in zip(observed.tolist(), found.tolist(), strict=True):
        share = sum(s >= total for s in sums) / len(sums)
        assert log_p == pytest.approx(math.log(share) if share else -math.inf, abs=1e-9)


@pytest.mark.parametrize("heads", [500, 540, 600, 700, 900, 990, 999, 1000])
def test_a_fair_coin_gives_the_binomial_tail_however_far_out(heads: int) -> None:
    found = drawn_sum_log_pvalues(np.array([0, 1]), 1000, np.array([heads]))[0]
    assert found == pytest.approx(binomial_log_pvalue(heads, 1000, 0.5), rel=1e-8)


def test_the_p_value_of_a_drawn_sum_is_valid() -> None:
    rng = np.random.default_rng(1)
    values = rng.integers(0, 30, 64)
    sums = rng.choice(values, (4000, 6)).sum(axis=1)
    p = np.exp(drawn_sum_log_pvalues(values, 6, sums))
    for alpha in (0.3, 0.05, 0.01):
        assert (p <= alpha).sum() <= stats.binom.ppf(0.999, 4000, alpha)


def test_draws_without_replacement_are_covered_by_the_doubt() -> None:
    rng = np.random.default_rng(2)
    values = rng.integers(0, 30, 24)
    doubt = -sum(math.log1p(-i / 24) for i in range(6))
    sums = np.array([rng.choice(values, 6, replace=False).sum() for _ in range(4000)])
    p = np.exp(drawn_sum_log_pvalues(values, 6, sums, doubt=doubt))
    assert p.max() <= 1.0
    for alpha in (0.3, 0.05, 0.01):
        assert (p <= alpha).sum() <= stats.binom.ppf(0.999, 4000, alpha)


def test_what_cannot_be_computed_is_refused() -> None:
    with pytest.raises(InsufficientData):
        drawn_sum_log_pvalues(np.array([], np.int64), 2, np.array([1]))
    for values, draws, doubt in (
        (np.array([0.5]), 2, 0.0),
        (np.array([1]), 0, 0.0),
        (np.array([1]), 1, -1.0),
    ):
        with pytest.raises(InputError):
            drawn_sum_log_pvalues(values, draws, np.array([1]), doubt=doubt)
    with pytest.raises(InputError, match="2\\^26"):
        drawn_sum_log_pvalues(np.array([0, 1 << 25]), 4, np.array([1]))


@pytest.mark.parametrize(("shape", "share"), [(1, 0.3), (10, 0.1), (60, 0.45), (60, 0.9), (300, 0.1)])
def test_two_gammas_are_like_simulated_ones(shape: int, share: float) -> None:
    rng = np.random.default_rng(shape)
    drawn = (1 - share) * rng.gamma(shape, size=200_000) + share * rng.gamma(shape, size=200_000)
    for level in (0.5, 0.9, 0.99):
        total = float(np.quantile(drawn, level))
        assert math.exp(two_gammas_log_pvalue(total, shape, share)) == pytest.approx(1 - level, rel=0.05)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_two_gammas_are_one_where_they_must_be(share: float) -> None:
    shape = 40 if share == 0.5 else 20
    total = 33.0
    expected = stats.gamma.logsf(2 * total if share == 0.5 else total, shape)
    assert two_gammas_log_pvalue(total, 20, share) == pytest.approx(expected, rel=1e-10)


def test_two_gammas_fall_and_stay_finite_far_out() -> None:
    logs = [two_gammas_log_pvalue(total, 50, 0.1) for total in (0.0, 10.0, 50.0, 90.0, 500.0, 5000.0)]
    assert logs[0] == 0.0
    assert all(math.isfinite(x) for x in logs)
    assert logs == sorted(logs, reverse=True)


def test_what_two_gammas_cannot_be_is_refused() -> None:
    with pytest.raises(InsufficientData):
        two_gammas_log_pvalue(1.0, 0, 0.1)
    for total, share in ((-1.0, 0.1), (math.inf, 0.1), (math.nan, 0.1), (1.0, 1.1), (1.0, math.nan)):
        with pytest.raises(InputError):
            two_gammas_log_pvalue(total, 3, share)
