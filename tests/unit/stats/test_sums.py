"""Exact tails of sums, held against enumeration, the binomial law, and bounds far out."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from stillwatch.errors import InputError
from stillwatch.stats import sums
from stillwatch.stats.exact import binomial_log_pvalue
from stillwatch.stats.sums import coins_log_pvalue, ranks_log_pvalue


@pytest.mark.parametrize("weights", [[1, 1, 1], [3, 0, 2, 5, 5], [7], [0, 0, 4]])
def test_coins_are_enumerated(weights: list[int]) -> None:
    worth = [
        sum(w for w, heads in zip(weights, falls, strict=True) if heads)
        for falls in product((0, 1), repeat=len(weights))
    ]
    for total in range(sum(weights) + 1):
        wanted = np.mean([x >= total for x in worth])
        assert math.exp(coins_log_pvalue(weights, total)) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("sizes", [[1, 2], [0, 3, 3], [4], [2, 2, 2, 1]])
def test_ranks_are_enumerated(sizes: list[int]) -> None:
    every = [sum(r) for r in product(*(range(m + 1) for m in sizes))]
    for total in range(sum(sizes) + 1):
        wanted = np.mean([x >= total for x in every])
        assert math.exp(ranks_log_pvalue(sizes, total)) == pytest.approx(wanted, rel=1e-12)


def test_equal_weights_are_the_binomial_law_far_out() -> None:
    for total in (600, 800, 950, 1000):
        assert coins_log_pvalue([1] * 1000, total) == pytest.approx(
            binomial_log_pvalue(total, 1000, 0.5), rel=1e-9
        )
        assert coins_log_pvalue([3] * 1000, 3 * total) == pytest.approx(
            binomial_log_pvalue(total, 1000, 0.5), rel=1e-9
        )


def test_beyond_what_floats_hold_the_bound_is_never_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    got, exact = coins_log_pvalue([1] * 3000, 2600), binomial_log_pvalue(2600, 3000, 0.5)
    assert exact < math.log(1e-280) and exact <= got < 0.99 * exact
    assert coins_log_pvalue([2] * 3000, 6000) == pytest.approx(-3000 * math.log(2))
    assert ranks_log_pvalue([9] * 400, 3600) == pytest.approx(-400 * math.log(10))
    rng = np.random.default_rng(1)
    sizes = rng.integers(1, 20, 60)
    exact_tails = {t: ranks_log_pvalue(sizes, t) for t in (300, 400, 450, int(sizes.sum()) - 40)}
    monkeypatch.setattr(sums, "LARGEST", 0)
    for total, tail in exact_tails.items():
        bound = ranks_log_pvalue(sizes, total)
        assert tail <= bound <= 0
        assert bound <= 0.7 * tail or tail > -3


def test_large_sums_follow_the_normal_law() -> None:
    rng = np.random.default_rng(2)
    weights = rng.integers(1, 33, 900)
    mean, sd = weights.sum() / 2, math.sqrt((weights**2).sum()) / 2
    for z in (1.0, 2.0):
        assert math.exp(coins_log_pvalue(weights, round(mean + z * sd))) == pytest.approx(
            stats.norm.sf(z), rel=0.03
        )


@pytest.mark.parametrize("weights", [[], [[1]], [1.5], [-1, 2]])
def test_what_is_no_weight(weights: list) -> None:
    for function in (coins_log_pvalue, ranks_log_pvalue):
        with pytest.raises(InputError, match="whole numbers"):
            function(weights, 0)


@pytest.mark.parametrize("total", [-1, 4])
def test_a_total_that_cannot_be(total: int) -> None:
    for function in (coins_log_pvalue, ranks_log_pvalue):
        with pytest.raises(InputError, match="between 0 and"):
            function([1, 2], total)
