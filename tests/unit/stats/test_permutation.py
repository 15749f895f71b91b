"""Resampling tests: the formula, the enumeration by hand, and the guarantee by simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from stillwatch.errors import InputError, InsufficientData
from stillwatch.stats.permutation import circular_shift_test, permutation_test, sign_flip_test


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng(list(seed) or 0)


def shuffled(values: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return random.permutation(values)


def allowed(trials: int, alpha: float) -> int:
    return int(stats.binom.ppf(0.999, trials, alpha))


@pytest.mark.parametrize(("observed", "p"), [(10.0, 1 / 5), (2.5, 3 / 5), (2.0, 4 / 5), (-1.0, 1.0)])
def test_p_is_one_plus_c_over_one_plus_b(observed: float, p: float) -> None:
    """Resamples 1, 2, 3, 4; a tie counts against the claim."""
    queue = iter([1.0, 2.0, 3.0, 4.0])
    result = permutation_test(float, observed, lambda _, r: next(queue), n_resamples=4, rng=rng())
    assert math.exp(result.log_pvalue) == pytest.approx(p)
    assert result.null_statistics.tolist() == [1.0, 2.0, 3.0, 4.0]


def test_alternatives() -> None:
    def p(alternative: str) -> float:
        values = iter(range(1, 100))
        result = permutation_test(
            float, 3, lambda _, r: next(values), n_resamples=99 - 1, rng=rng(), alternative=alternative
        )
        return math.exp(result.log_pvalue)

    assert p("less") == pytest.approx(4 / 99)
    assert p("greater") == pytest.approx(97 / 99)
    assert p("two-sided") == pytest.approx(8 / 99)
    with pytest.raises(InputError, match="greater, less or two-sided"):
        p("larger")


def test_a_tie_summed_in_another_order_is_a_tie() -> None:
    """0.1 + 0.2 + 0.3 differs from 0.3 + 0.2 + 0.1 in the last bit; as a loss it would make p too small."""
    values = np.array([0.1, 0.2, 0.3])
    result = permutation_test(lambda x: x[0] + x[1] + x[2], values, shuffled, n_resamples=50, rng=rng())
    assert len(set(result.null_statistics)) > 1
    assert result.log_pvalue == 0.0


def test_one_callable_sees_the_data_and_every_resample() -> None:
    seen: list[float] = []

    def statistic(values: np.ndarray) -> float:
        seen.append(float(values[0]))
        return seen[-1]

    result = permutation_test(statistic, np.arange(5.0), shuffled, n_resamples=20, rng=rng(3))
    assert seen == [result.statistic, *result.null_statistics]


def test_p_is_super_uniform() -> None:
    """With ties: small counts in two groups of six."""
    trials = 1500
    group = np.repeat([0, 1], 6)

    def difference(values: np.ndarray) -> float:
        return float(values[group == 1].sum() - values[group == 0].sum())

    logs = np.array(
        [
            permutation_test(
                difference, rng(1, t).poisson(1.0, 12), shuffled, n_resamples=39, rng=rng(2, t)
            ).log_pvalue
            for t in range(trials)
        ]
    )
    for alpha in (0.5, 0.2, 0.1, 0.05, 0.025):
        assert (logs <= math.log(alpha) + 1e-12).sum() <= allowed(trials, alpha)
    assert logs.min() >= math.log(1 / 40) - 1e-12


def test_sign_flips_by_hand() -> None:
    exact = sign_flip_test([1, 2, 3, 4, 5], rng=rng())
    assert exact.n_resamples is None
    assert math.exp(exact.log_pvalue) == pytest.approx(1 / 32)
    assert exact.statistic == 3.0
    # Four of five: the pattern itself, and the five with the sum 3 or more.
    assert math.exp(sign_flip_test([1, 1, 1, 1, -1], rng=rng()).log_pvalue) == pytest.approx(6 / 32)
    assert math.exp(
        sign_flip_test([1, 1, 1, 1, -1], rng=rng(), alternative="less").log_pvalue
    ) == pytest.approx(31 / 32)
    assert math.exp(
        sign_flip_test([1, 2, 3, 4, 5], rng=rng(), alternative="two-sided").log_pvalue
    ) == pytest.approx(2 / 32)


def test_no_difference_is_no_evidence() -> None:
    assert sign_flip_test(np.zeros(7), rng=rng()).log_pvalue == 0.0
    assert sign_flip_test(np.zeros(30), rng=rng(), n_resamples=50).log_pvalue == 0.0


@given(st.lists(st.floats(-1e6, 1e6), min_size=5, max_size=9), st.randoms(use_true_random=False))
def test_sign_flips_agree_with_enumeration_and_ignore_order(values: list[float], random: object) -> None:
    found = sign_flip_test(values, rng=rng()).log_pvalue
    slack = 1e-12 * sum(map(abs, values)) / len(values)
    sums = [
        sum(s * v for s, v in zip(signs, values, strict=True)) / len(values)
        for signs in itertools.product((1, -1), repeat=len(values))
    ]
    close = [x for x in sums if abs(x - sum(values) / len(values)) <= 2 * slack]
    count = sum(x >= sum(values) / len(values) - slack for x in sums)
    # Differences that cancel up to the last bit may count as ties or not.
    assert count - len(close) <= round(math.exp(found) * len(sums)) <= count + len(close)
    mixed = list(values)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert sign_flip_test(mixed, rng=rng()).log_pvalue == pytest.approx(
        found, abs=math.log1p(len(close) / count)
    )


def test_sampled_signs_agree_with_enumerated_ones() -> None:
    d = rng(8).normal(0.45, 1.0, 18)
    bits = (np.arange(2**18)[:, np.newaxis] >> np.arange(18)) & 1
    exact = float((((1.0 - 2.0 * bits) @ d) >= d.sum() - 1e-12).mean())
    sampled = sign_flip_test(d, rng=rng(9), n_resamples=20_000)
    assert 0.005 < exact < 0.2
    assert sampled.n_resamples == 20_000
    assert math.exp(sampled.log_pvalue) == pytest.approx(exact, abs=4 * math.sqrt(exact / 20_000))


def test_many_differences_in_pieces() -> None:
    """More cells than are held at once: the pieces must fill the whole null."""
    result = sign_flip_test(np.ones(30_000), rng=rng(), n_resamples=99)
    assert result.null_statistics.std() == pytest.approx(1 / math.sqrt(30_000), rel=0.3)
    assert result.log_pvalue == pytest.approx(math.log(1 / 100))


def test_sign_flip_p_is_super_uniform() -> None:
    trials = 2000
    for n in (6, 20):
        logs = np.array(
            [
                sign_flip_test(rng(4, n, t).standard_cauchy(n), rng=rng(5, n, t), n_resamples=79).log_pvalue
                for t in range(trials)
            ]
        )
        for alpha in (0.3, 0.1, 0.05, 0.0125):
            assert (logs <= math.log(alpha) + 1e-12).sum() <= allowed(trials, alpha)


def together(counts: np.ndarray) -> float:
    """Sum of products of all pairs of rows."""
    total = counts.sum(axis=0)
    return float((total**2).sum() - (counts**2).sum())


def test_rows_keep_their_shape() -> None:
    counts = np.array([[5.0, 0.0, 0.0, 1.0, 2.0], [1.0, 2.0, 3.0, 4.0, 5.0], [0.0, 0.0, 9.0, 0.0, 0.0]])
    seen: list[np.ndarray] = []

    def statistic(table: np.ndarray) -> float:
        seen.append(table.copy())
        return 0.0

    circular_shift_test(counts, statistic, n_resamples=60, rng=rng(6))
    turns = [{tuple(np.roll(row, s)) for s in range(5)} for row in counts]
    assert all(tuple(table[i]) in turns[i] for table in seen for i in range(3))
    # Each row is turned on its own: more arrangements than turning all of them together has.
    assert len({table.tobytes() for table in seen}) > 5


def test_bursts_at_one_time_are_found_and_bursts_at_any_time_are_not() -> None:
    base = rng(7).poisson(1.0, (6, 120)).astype(float)
    one_time, any_time = base.copy(), base.copy()
    one_time[:, 50:53] += 8
    for i, start in enumerate((3, 30, 52, 71, 90, 110)):
        any_time[i, start : start + 3] += 8
    assert circular_shift_test(one_time, together, rng=rng(1)).log_pvalue == pytest.approx(math.log(1 / 1000))
    assert circular_shift_test(any_time, together, rng=rng(1)).log_pvalue > math.log(0.05)


def test_the_rhythm_of_the_day_is_kept_by_a_step_of_a_day() -> None:
    """People of one time zone move together by the hour; that is no sign of one hand."""
    rhythm = np.tile(1.0 + np.sin(np.arange(24) / 24 * 2 * np.pi), 14)
    counts = rng(12).poisson(3 * rhythm, (5, 24 * 14)).astype(float)
    assert circular_shift_test(counts, together, rng=rng(1), n_resamples=199).log_pvalue <= math.log(0.01)
    by_day = circular_shift_test(counts, together, rng=rng(1), n_resamples=199, step=24)
    assert by_day.log_pvalue > math.log(0.05)


def test_circular_shift_p_is_super_uniform() -> None:
    """Bursty rows, each with its own shape."""
    trials = 600
    logs = []
    for t in range(trials):
        r = rng(13, t)
        counts = r.poisson(r.gamma(0.3, 3.0, (3, 20))).astype(float)
        logs.append(circular_shift_test(counts, together, rng=r, n_resamples=39).log_pvalue)
    for alpha in (0.3, 0.1, 0.05, 0.025):
        assert (np.array(logs) <= math.log(alpha) + 1e-12).sum() <= allowed(trials, alpha)


def test_same_seed_same_answer() -> None:
    d = rng(20).normal(size=40)
    one, two = (sign_flip_test(d, rng=rng(21)).log_pvalue for _ in range(2))
    assert one == two


@pytest.mark.parametrize(
    "bad", [[1, 2, 3, 4, math.nan], [1, 2, 3, 4, math.inf], [[1, 2, 3, 4, 5]], ["a"] * 5]
)
def test_differences_that_are_not_numbers_are_refused(bad: list[object]) -> None:
    with pytest.raises(InputError):
        sign_flip_test(bad, rng=rng())  # type: ignore[arg-type]


def test_too_little_is_refused() -> None:
    with pytest.raises(InsufficientData, match="5 differences, found 4"):
        sign_flip_test([1, 2, 3, 4], rng=rng())
    with pytest.raises(InsufficientData, match="2 series, found 1"):
        circular_shift_test(np.ones((1, 50)), together, rng=rng())
    with pytest.raises(InsufficientData, match="20 distinct shifts, found 16"):
        circular_shift_test(np.ones((3, 4)), together, rng=rng())
    circular_shift_test(np.ones((3, 5)), together, rng=rng(), n_resamples=9)


def test_wrong_requests_are_refused() -> None:
    with pytest.raises(InputError, match="n_resamples"):
        permutation_test(float, 1.0, lambda x, r: x, n_resamples=0, rng=rng())
    with pytest.raises(InputError, match="n_resamples"):
        sign_flip_test(np.ones(20), n_resamples=0, rng=rng())
    with pytest.raises(InputError, match="of the data"):
        permutation_test(float, math.nan, lambda x, r: x, rng=rng())
    with pytest.raises(InputError, match="of resample 0"):
        permutation_test(float, 1.0, lambda x, r: math.nan, rng=rng())
    with pytest.raises(InputError, match="divides the 50 bins"):
        circular_shift_test(np.ones((3, 50)), together, rng=rng(), step=24)
    with pytest.raises(InputError, match="rows, bins"):
        circular_shift_test(np.ones(50), together, rng=rng())
