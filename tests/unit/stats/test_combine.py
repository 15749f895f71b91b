"""E-values: hand-worked cases of the papers, the mean of at most 1, and what may be merged how."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from stillwatch.errors import InputError, InsufficientData
from stillwatch.stats.combine import (
    average_evalues,
    evalue_to_pvalue,
    minimum,
    p_to_e,
    product_evalues,
    soft_rank_evalue,
)

log_p = st.floats(-1e6, 0)
log_e = st.one_of(st.floats(-1e3, 1e3), st.just(-math.inf))


def allowed(trials: int, alpha: float) -> int:
    return int(stats.binom.ppf(0.999, trials, alpha))


def test_calibrators_by_hand() -> None:
    """Vovk & Wang (2021), equations 2 and 3, at p = 0.01 and p = 0.05."""
    assert p_to_e(math.log(0.01), kappa=0.5) == pytest.approx(math.log(5))
    assert p_to_e(math.log(0.05), kappa=0.1) == pytest.approx(math.log(0.1 * 20**0.9))
    assert math.exp(p_to_e(math.log(0.01))) == pytest.approx(0.9439483 / 0.2120759, rel=1e-6)
    assert math.exp(p_to_e(math.log(0.05))) == pytest.approx(0.8002134 / 0.4487206, rel=1e-6)
    assert p_to_e(0.0) == pytest.approx(math.log(0.5))


def test_a_p_value_far_below_the_smallest_float_has_an_e_value() -> None:
    """At p = e^-5000 the mixture is (e^5000 - 5001) / 5000^2."""
    assert p_to_e(-5000.0) == pytest.approx(5000 - 2 * math.log(5000), rel=1e-14)
    assert p_to_e(-5000.0, kappa=0.5) == pytest.approx(math.log(0.5) + 2500, rel=1e-14)


@pytest.mark.parametrize("kappa", [None, 0.1, 0.5, 0.9])
def test_a_calibrator_has_mean_one(kappa: float | None) -> None:
    """Vovk & Wang (2021), Proposition 2.1: the integral over p in (0, 1) is 1; here over x = -ln p."""

    def density(x: float) -> float:
        return math.exp(p_to_e(-x, kappa=kappa) - x)

    near, _ = integrate.quad(density, 0, 50)
    far, _ = integrate.quad(density, 50, math.inf)
    assert near + far == pytest.approx(1.0, abs=1e-6)


def test_the_mixture_is_the_mean_over_kappa() -> None:
    for x in (1e-9, 0.3, 0.999999, 1.000001, 4.0, 40.0):
        mean, _ = integrate.quad(lambda k, x=x: math.exp(p_to_e(-x, kappa=k)), 0, 1)
        assert math.exp(p_to_e(-x)) == pytest.approx(mean, rel=1e-9)


@given(log_p, log_p, st.one_of(st.none(), st.floats(0.01, 0.99)))
def test_a_smaller_p_never_gives_a_smaller_e(a: float, b: float, kappa: float | None) -> None:
    low, high = sorted((a, b))
    assert p_to_e(low, kappa=kappa) >= p_to_e(high, kappa=kappa) - 1e-12 * abs(low)


@given(log_p, st.one_of(st.none(), st.floats(0.01, 0.99)))
def test_there_and_back_never_gains(p: float, kappa: float | None) -> None:
    assert p <= evalue_to_pvalue(p_to_e(p, kappa=kappa)) <= 0.0


def test_arrays_keep_their_shape_and_floats_stay_floats() -> None:
    values = np.array([[-0.5, -2.0], [-30.0, 0.0]])
    assert p_to_e(values).shape == (2, 2)
    assert p_to_e(values)[1, 0] == p_to_e(-30.0)
    assert type(p_to_e(-1.0)) is type(p_to_e(-1.0, kappa=0.5)) is type(evalue_to_pvalue(3.0)) is float
    assert type(average_evalues([1.0])) is type(product_evalues([1.0])) is type(minimum([1.0])) is float
    assert type(soft_rank_evalue(1.0, [1.0]).log_evalue) is float


def test_merging_by_hand() -> None:
    e = np.log([2.0, 4.0, 6.0])
    assert average_evalues(e) == pytest.approx(math.log(4))
    assert average_evalues(e, [1, 0, 1]) == pytest.approx(math.log(4))
    assert average_evalues(e, [2, 1, 1]) == pytest.approx(math.log(3.5))
    assert product_evalues(e) == pytest.approx(math.log(48))
    assert minimum(e) == pytest.approx(math.log(2))
    assert evalue_to_pvalue(math.log(20)) == pytest.approx(math.log(0.05))
    assert evalue_to_pvalue(math.log(0.5)) == 0.0


def test_merging_goes_down_the_columns() -> None:
    table = np.log([[2.0, 8.0], [4.0, 2.0]])
    assert average_evalues(table) == pytest.approx(np.log([3.0, 5.0]))
    assert product_evalues(table) == pytest.approx(np.log([8.0, 16.0]))
    assert minimum(table) == pytest.approx(np.log([2.0, 2.0]))


def test_a_lost_bet_is_zero_and_not_an_error() -> None:
    assert average_evalues([-math.inf, math.log(4)]) == pytest.approx(math.log(2))
    assert average_evalues([-math.inf, -math.inf]) == -math.inf
    assert average_evalues([-math.inf, 1.0], [0, 1]) == 1.0
    assert product_evalues([-math.inf, 700.0]) == -math.inf
    assert minimum([-math.inf, 700.0]) == -math.inf
    assert evalue_to_pvalue(-math.inf) == 0.0


def test_large_evalues_do_not_overflow() -> None:
    assert average_evalues([5000.0, 0.0]) == pytest.approx(5000 - math.log(2))
    assert product_evalues([5000.0] * 3) == 15000.0


@given(st.lists(log_e, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_merging_ignores_order_and_respects_bounds(values: list[float], random: object) -> None:
    mixed = list(values)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert average_evalues(mixed) == pytest.approx(average_evalues(values), rel=1e-9, abs=1e-9)
    assert product_evalues(mixed) == pytest.approx(product_evalues(values), rel=1e-9, abs=1e-9)
    assert minimum(mixed) == minimum(values) == min(values)
    assert minimum(values) <= average_evalues(values) + 1e-9
    assert average_evalues(values) <= max(values) + 1e-9


def test_the_growth_optimal_bet_on_a_gaussian() -> None:
    """Gruenwald et al. (2024): for N(0, 1) against N(mu, 1) the likelihood ratio exp(mu S - n mu^2 / 2) is the
    e-value; over days it is the product of its factors."""
    x = np.array([0.3, -1.2, 2.0])
    mu = 0.7
    factors = mu * x - mu**2 / 2
    assert product_evalues(factors) == pytest.approx(mu * x.sum() - 3 * mu**2 / 2)


def test_a_product_over_fresh_days_may_be_watched_for_ever() -> None:
    """Ville: the share of null paths that ever reach 20 is at most 1/20."""
    trials = 4000
    x = np.random.default_rng(1).normal(size=(200, trials))
    paths = np.cumsum(0.3 * x - 0.045, axis=0)
    assert product_evalues(0.3 * x - 0.045) == pytest.approx(paths[-1])
    assert (paths.max(axis=0) >= math.log(20)).sum() <= allowed(trials, 0.05)


def test_an_average_holds_under_the_worst_dependence() -> None:
    """Five e-values, one of which wins whatever the outcome: each has mean 1, and so has their average."""
    u = np.random.default_rng(2).random(20_000)
    table = np.full((5, u.size), -math.inf)
    for i in range(5):
        table[i, (u >= i / 100) & (u < (i + 1) / 100)] = math.log(100)
    merged = average_evalues(table)
    assert np.exp(merged).mean() <= 1 + 3.3 * np.exp(merged).std() / math.sqrt(u.size)
    for alpha in (0.05, 0.01):
        assert (merged >= -math.log(alpha) - 1e-12).sum() <= allowed(u.size, alpha)


@pytest.mark.parametrize("true_null", [0, 1])
def test_the_minimum_holds_when_either_null_does(true_null: int) -> None:
    """The other claim is true and its e-value huge."""
    trials = 20_000
    z = np.random.default_rng(3).normal(size=trials)
    table = np.full((2, trials), 500.0)
    table[true_null] = 1.5 * z - 1.5**2 / 2
    merged = minimum(table)
    for alpha in (0.05, 0.01, 0.001):
        assert (merged >= -math.log(alpha)).sum() <= allowed(trials, alpha)
    # The mean of the two, by contrast, would always reject.
    assert (average_evalues(table) >= math.log(1000)).all()


@pytest.mark.parametrize("kappa", [None, 0.5])
def test_calibrated_p_values_reject_at_most_alpha(kappa: float | None) -> None:
    trials = 20_000
    logs = p_to_e(np.log1p(-np.random.default_rng(4).random(trials)), kappa=kappa)
    for alpha in (0.05, 0.01, 0.001):
        assert (logs >= -math.log(alpha)).sum() <= allowed(trials, alpha)


def test_soft_rank_by_hand() -> None:
    """T0 = 6 among 1, 2, 3: 4 * 6 / 12 = 2."""
    rank = soft_rank_evalue(6.0, [1.0, 2.0, 3.0])
    assert rank.log_evalue == pytest.approx(math.log(2))
    assert rank.log_ceiling == pytest.approx(math.log(4))
    assert soft_rank_evalue(0.0, [1.0, 2.0]).log_evalue == -math.inf
    assert soft_rank_evalue(0.0, [0.0, 0.0]).log_evalue == 0.0
    assert soft_rank_evalue(5.0, np.zeros(19)).log_evalue == pytest.approx(math.log(20))


def test_soft_rank_of_many_groups_at_once() -> None:
    rank = soft_rank_evalue([6.0, 0.0], [[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]])
    assert rank.log_evalue == pytest.approx([math.log(2), 0.0])


def test_soft_rank_of_huge_statistics() -> None:
    assert soft_rank_evalue(1e308, np.full(9, 1e308)).log_evalue == pytest.approx(0.0)


@given(st.floats(0, 1e9), st.lists(st.floats(0, 1e9), min_size=1, max_size=20), st.floats(1e-6, 1e6))
def test_soft_rank_has_a_ceiling_and_no_unit(observed: float, resampled: list[float], factor: float) -> None:
    rank = soft_rank_evalue(observed, resampled)
    assert rank.log_evalue <= rank.log_ceiling + 1e-12
    scaled = soft_rank_evalue(observed * factor, [t * factor for t in resampled])
    if observed * factor > 1e-290:  # below, the product loses digits
        assert scaled.log_evalue == pytest.approx(rank.log_evalue, rel=1e-9, abs=1e-9)


def test_soft_rank_has_mean_one_and_the_right_size() -> None:
    trials = 20_000
    r = np.random.default_rng(5)
    t = np.exp(2 * r.normal(size=(100, trials)))
    loge = soft_rank_evalue(t[0], t[1:]).log_evalue
    e = np.exp(loge)
    assert e.mean() == pytest.approx(1.0, abs=4 * e.std() / math.sqrt(trials))
    for alpha in (0.05, 0.02, 0.01):
        assert (loge >= -math.log(alpha) - 1e-12).sum() <= allowed(trials, alpha)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 0.1])
def test_what_is_no_log_p_is_refused(bad: float) -> None:
    with pytest.raises(InputError):
        p_to_e(bad)


@pytest.mark.parametrize("kappa", [0.0, 1.0, -1.0, math.nan])
def test_what_is_no_kappa_is_refused(kappa: float) -> None:
    with pytest.raises(InputError, match="kappa"):
        p_to_e(-1.0, kappa=kappa)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_no_log_e_is_refused(bad: float) -> None:
    for merge in (average_evalues, product_evalues, minimum):
        with pytest.raises(InputError):
            merge([0.0, bad])
    with pytest.raises(InputError):
        evalue_to_pvalue(bad)


def test_nothing_to_merge_is_too_little() -> None:
    for merge in (average_evalues, product_evalues, minimum):
        with pytest.raises(InsufficientData):
            merge([])
        with pytest.raises(InputError, match="single number"):
            merge(1.0)
    with pytest.raises(InsufficientData):
        soft_rank_evalue(1.0, [])


@pytest.mark.parametrize("weights", [[1, -1], [0, 0], [1], [1, math.nan], [[1, 1]]])
def test_what_are_no_weights_is_refused(weights: list[object]) -> None:
    with pytest.raises(InputError, match="weights"):
        average_evalues([1.0, 2.0], weights)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("observed", "resampled"),
    [(-1.0, [1.0]), (1.0, [-1.0]), (math.nan, [1.0]), (1.0, 1.0), ([1.0, 2.0], [1.0])],
)
def test_what_has_no_soft_rank_is_refused(observed: object, resampled: object) -> None:
    with pytest.raises(InputError):
        soft_rank_evalue(observed, resampled)  # type: ignore[arg-type]
