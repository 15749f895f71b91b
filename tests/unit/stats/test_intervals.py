"""Intervals: tables, exact coverage, and why the unit matters."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from stillwatch.errors import InputError, InsufficientData
from stillwatch.stats.intervals import bootstrap_by_unit, clopper_pearson


def test_clopper_pearson_by_hand() -> None:
    """0 of n: the upper end solves (1 - p)^n = 0.025. 3 of 10: from the tables."""
    assert clopper_pearson(0, 10) == pytest.approx((0.0, 1 - 0.025**0.1))
    assert clopper_pearson(10, 10) == pytest.approx((0.025**0.1, 1.0))
    assert clopper_pearson(3, 10) == pytest.approx((0.06674, 0.65245), abs=1e-5)
    assert clopper_pearson(1, 1, 0.9) == pytest.approx((0.05, 1.0))


@pytest.mark.parametrize("level", [0.8, 0.95])
@pytest.mark.parametrize("n", [1, 7, 25])
def test_clopper_pearson_covers_at_every_share(n: int, level: float) -> None:
    """Exactly: the chance of the outcomes whose interval holds p is at least the level, for 199 values of p."""
    ends = np.array([clopper_pearson(k, n, level) for k in range(n + 1)])
    for p in np.linspace(0.005, 0.995, 199):
        inside = (ends[:, 0] <= p) & (p <= ends[:, 1])
        assert stats.binom.pmf(np.arange(n + 1), n, p)[inside].sum() >= level - 1e-12


@given(n=st.integers(1, 10**6), data=st.data())
def test_clopper_pearson_holds_the_share_and_is_symmetric(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    low, high = clopper_pearson(k, n)
    assert 0.0 <= low <= k / n <= high <= 1.0
    assert clopper_pearson(n - k, n) == pytest.approx((1 - high, 1 - low), abs=1e-9)


@pytest.mark.parametrize(
    ("k", "n", "level"), [(-1, 5, 0.95), (6, 5, 0.95), (1.5, 5, 0.95), (1, 5, 0.0), (1, 5, 1.0)]
)
def test_what_is_no_share_is_refused(k: float, n: int, level: float) -> None:
    with pytest.raises(InputError):
        clopper_pearson(k, n, level)  # type: ignore[arg-type]


def test_no_unit_is_too_little() -> None:
    with pytest.raises(InsufficientData):
        clopper_pearson(0, 0)


def accounts(seed: int, groups: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Accounts of one group are one decision: all of them found, or none."""
    r = np.random.default_rng(seed)
    sizes = r.integers(4, 16, groups)
    return np.repeat((r.random(groups) < 0.7).astype(float), sizes), np.repeat(np.arange(groups), sizes)


def test_the_unit_decides_the_coverage() -> None:
    trials, held = 80, {"group": 0, "account": 0}
    for t in range(trials):
        values, groups = accounts(t)
        for name, units in (("group", groups), ("account", np.arange(values.size))):
            low, high = bootstrap_by_unit(values, units, np.mean, np.random.default_rng(t), 200, 0.9)
            held[name] += low <= 0.7 <= high
    assert held["group"] >= stats.binom.ppf(0.001, trials, 0.87)
    assert held["account"] < 0.7 * trials


def test_it_resamples_whole_units() -> None:
    """Every resample holds each unit's rows complete, and as many units as there are."""
    values = np.array([10.0, 11.0, 12.0, 20.0, 30.0, 31.0, 40.0, 50.0])
    units = np.array(["a", "a", "a", "b", "c", "c", "d", "e"])
    whole = {10: 3, 20: 1, 30: 2, 40: 1, 50: 1}
    seen: list[np.ndarray] = []

    def statistic(rows: np.ndarray) -> float:
        seen.append(rows)
        return float(rows.mean())

    bootstrap_by_unit(values, units, statistic, np.random.default_rng(1), 150)
    for rows in seen:
        tens = rows // 10 * 10
        for ten, size in whole.items():
            assert (tens == ten).sum() % size == 0
            assert len({(tens == ten).sum() / size, *((rows == ten + i).sum() for i in range(size))}) == 1
    assert {sum((rows // 10 * 10 == t).sum() / s for t, s in whole.items()) for rows in seen} == {4.0, 5.0}
    # 4: the leave-one-out samples that BCa corrects with


def test_the_order_of_rows_does_not_matter() -> None:
    values, units = accounts(3)
    mixed = np.random.default_rng(4).permutation(values.size)
    one = bootstrap_by_unit(values, units, np.mean, np.random.default_rng(5), 300)
    two = bootstrap_by_unit(values[mixed], units[mixed], np.mean, np.random.default_rng(5), 300)
    assert one == pytest.approx(two)


def test_rows_may_have_columns() -> None:
    r = np.random.default_rng(6)
    hits, sizes = r.integers(0, 5, 40), r.integers(5, 9, 40)
    low, high = bootstrap_by_unit(
        np.column_stack([hits, sizes]),
        np.arange(40),
        lambda rows: rows[:, 0].sum() / rows[:, 1].sum(),
        r,
        300,
    )
    assert low < hits.sum() / sizes.sum() < high


def test_where_nothing_varies_the_interval_is_a_point() -> None:
    assert bootstrap_by_unit(np.ones(20), np.arange(20), np.mean, np.random.default_rng(7), 200) == (1.0, 1.0)


def test_same_seed_same_answer() -> None:
    values, units = accounts(8)
    one, two = (bootstrap_by_unit(values, units, np.median, np.random.default_rng(9), 200) for _ in range(2))
    assert one == two


def test_fewer_than_five_units_are_too_little() -> None:
    with pytest.raises(InsufficientData, match="5 units, found 4"):
        bootstrap_by_unit(np.arange(400.0), np.arange(400) % 4, np.mean, np.random.default_rng(1))


@pytest.mark.parametrize(
    ("values", "units"),
    [
        (np.full(10, math.nan), np.arange(10)),
        (np.full(10, math.inf), np.arange(10)),
        (np.ones(10), np.arange(9)),
        (np.ones((2, 2, 2)), np.arange(2)),
        (np.ones(10), np.ones((10, 2))),
    ],
)
def test_what_has_no_units_is_refused(values: np.ndarray, units: np.ndarray) -> None:
    with pytest.raises(InputError):
        bootstrap_by_unit(values, units, np.mean, np.random.default_rng(1))


def test_a_statistic_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(InputError, match="must be finite"):
        bootstrap_by_unit(np.ones(10), np.arange(10), lambda rows: math.nan, np.random.default_rng(1))
    with pytest.raises(InputError, match="n_resamples"):
        bootstrap_by_unit(np.ones(10), np.arange(10), np.mean, np.random.default_rng(1), 10)
