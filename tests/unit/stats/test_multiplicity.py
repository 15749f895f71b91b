"""Families of hypotheses: hand-worked tables, and the error rates they promise."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from stillwatch.errors import InputError
from stillwatch.stats.multiplicity import (
    benjamini_hochberg,
    e_benjamini_hochberg,
    holm,
    log_evalue_needed,
)

log_ps = st.lists(st.floats(-1e4, 0), min_size=1, max_size=30)
alphas = st.sampled_from([0.01, 0.05, 0.2])

ADJUST = [holm, benjamini_hochberg]


def test_holm_by_hand() -> None:
    """0.01 * 3; 0.03 * 2; 0.04 * 1, but not below the one before."""
    assert holm(np.log([0.01, 0.04, 0.03])) == pytest.approx(np.log([0.03, 0.06, 0.06]))
    assert holm(np.log([0.5, 0.9])) == pytest.approx([0.0, 0.0])


def test_benjamini_hochberg_by_hand() -> None:
    """The 15 p-values of Benjamini & Hochberg (1995), section 4: four are rejected at 0.05; Holm rejects three."""
    table = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344]
    table += [0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    assert (benjamini_hochberg(np.log(table)) <= math.log(0.05)).sum() == 4
    assert (holm(np.log(table)) <= math.log(0.05)).sum() == 3
    assert benjamini_hochberg(np.log([0.01, 0.04, 0.03])) == pytest.approx(np.log([0.03, 0.04, 0.04]))


def test_e_bh_by_hand() -> None:
    """m = 4, alpha = 0.05: one alone needs 80, two 40 each, three 26.7 each, four 20 each."""
    assert log_evalue_needed(4, 0.05) == pytest.approx(math.log(80))
    assert log_evalue_needed(4, 0.05, 2) == pytest.approx(math.log(40))

    def rejected(*evalues: float) -> list[bool]:
        return e_benjamini_hochberg(np.log(evalues), 0.05).rejected.tolist()

    assert rejected(79, 1, 1, 1) == [False] * 4
    assert rejected(1, 80.1, 1, 1) == [False, True, False, False]
    assert rejected(41, 1, 41, 1) == [True, False, True, False]
    # Neither would do alone, nor with one other: the third pulls both in.
    assert rejected(30, 27, 29, 1) == [True, True, True, False]
    assert rejected(21, 21, 21, 21) == [True] * 4
    assert e_benjamini_hochberg(np.log([30, 27, 29, 1]), 0.05).log_threshold == pytest.approx(
        math.log(80 / 3)
    )
    assert e_benjamini_hochberg(np.log([1, 1, 1, 1]), 0.05).log_threshold == pytest.approx(math.log(80))


@pytest.mark.parametrize("resamples", [19, 99, 199, 999, 9_999])
def test_an_e_value_at_its_ceiling_reaches_the_line(resamples: int) -> None:
    """log(B + 1) and log(m) - log(alpha) may differ in the last bit though B + 1 = m / alpha."""
    for m in range(1, 50):
        alpha = m / (resamples + 1)
        if alpha < 1:
            evalues = np.full(m, -math.inf)
            evalues[0] = math.log(resamples + 1)
            assert e_benjamini_hochberg(evalues, alpha).rejected[0]


def test_a_family_of_none() -> None:
    assert holm([]).size == benjamini_hochberg([]).size == 0
    nobody = e_benjamini_hochberg([], 0.05)
    assert nobody.rejected.size == 0
    assert nobody.log_threshold == pytest.approx(math.log(20))


@given(log_ps, alphas)
def test_e_bh_on_one_over_p_is_bh(values: list[float], alpha: float) -> None:
    """Wang & Ramdas (2022), section 4: with e = 1 / p the two procedures agree."""
    found = e_benjamini_hochberg(-np.array(values), alpha).rejected
    adjusted = benjamini_hochberg(values)
    clear = np.abs(adjusted - math.log(alpha)) > 1e-9
    assert (found == (adjusted <= math.log(alpha)))[clear].all()


@given(log_ps)
def test_adjusting_never_helps_and_keeps_the_order(values: list[float]) -> None:
    logs = np.array(values)
    order = np.argsort(logs, kind="stable")
    strict, loose = holm(logs), benjamini_hochberg(logs)
    assert (logs <= loose + 1e-9).all()
    assert (loose <= strict + 1e-9).all()
    for adjusted in (strict, loose):
        assert (adjusted <= 0).all()
        assert (np.diff(adjusted[order]) >= 0).all()


@given(log_ps, st.randoms(use_true_random=False))
def test_the_order_given_does_not_matter(values: list[float], random: object) -> None:
    places = list(range(len(values)))
    random.shuffle(places)  # type: ignore[attr-defined]
    logs = np.array(values)
    for adjust in ADJUST:
        assert adjust(logs[places]) == pytest.approx(adjust(logs)[places])
    assert (
        e_benjamini_hochberg(-logs[places], 0.05).rejected
        == e_benjamini_hochberg(-logs, 0.05).rejected[places]
    ).all()


@given(st.lists(st.floats(-10, 20), min_size=1, max_size=20), st.floats(0, 10), st.data())
def test_more_evidence_never_rejects_less(values: list[float], more: float, data: st.DataObject) -> None:
    one = data.draw(st.integers(0, len(values) - 1))
    raised = list(values)
    raised[one] += more
    before = e_benjamini_hochberg(values, 0.05).rejected
    assert (e_benjamini_hochberg(raised, 0.05).rejected >= before).all()


def allowed(trials: int, alpha: float) -> int:
    return int(stats.binom.ppf(0.999, trials, alpha))


def false_discovery_rate(
    reject: Callable[[np.ndarray], np.ndarray], draws: np.ndarray, nulls: int
) -> np.ndarray:
    """Share of false rejections among the rejected, one number per row; the first `nulls` columns are nulls."""
    masks = np.array([reject(row) for row in draws])
    return masks[:, :nulls].sum(axis=1) / np.maximum(masks.sum(axis=1), 1)


def test_e_bh_under_the_worst_dependence() -> None:
    """All nulls share one e-value that is 1 / alpha with chance alpha: all fall together, and still alpha holds."""
    trials, m, alpha = 4000, 50, 0.05
    fall = np.random.default_rng(1).random(trials) < alpha
    draws = np.where(fall[:, np.newaxis], -math.log(alpha), -math.inf) * np.ones(m)
    rate = false_discovery_rate(lambda row: e_benjamini_hochberg(row, alpha).rejected, draws, m)
    assert rate.sum() <= allowed(trials, alpha)
    assert rate.mean() > 0.9 * fall.mean()  # the bound is attained


def test_e_bh_with_true_effects_among_dependent_nulls() -> None:
    """30 nulls that share a factor, with the sign of half of them turned, beside 20 large true effects."""
    trials, alpha = 3000, 0.1
    r = np.random.default_rng(2)
    signs = np.where(np.arange(30) % 2, 1.0, -1.0)
    z = 0.9 * r.normal(size=(trials, 1)) * signs + math.sqrt(1 - 0.81) * r.normal(size=(trials, 30))
    loge = np.hstack([2.0 * z - 2.0, np.full((trials, 20), 50.0)])
    rate = false_discovery_rate(lambda row: e_benjamini_hochberg(row, alpha).rejected, loge, 30)
    assert rate.mean() <= alpha * 30 / 50 + 3.3 * rate.std() / math.sqrt(trials)
    assert rate.max() > 0


def test_bh_under_independence() -> None:
    trials, alpha = 3000, 0.1
    r = np.random.default_rng(3)
    logs = np.hstack([np.log1p(-r.random((trials, 40))), np.full((trials, 10), -30.0)])
    rate = false_discovery_rate(lambda row: benjamini_hochberg(row) <= math.log(alpha), logs, 40)
    assert rate.mean() == pytest.approx(alpha * 40 / 50, abs=4 * rate.std() / math.sqrt(trials))


@pytest.mark.parametrize("shared", [0.0, 0.9])
def test_holm_rarely_rejects_any_null(shared: float) -> None:
    trials, alpha = 4000, 0.05
    r = np.random.default_rng(4)
    z = math.sqrt(shared) * r.normal(size=(trials, 1)) + math.sqrt(1 - shared) * r.normal(size=(trials, 20))
    logs = np.hstack([stats.norm.logsf(z), np.full((trials, 5), -200.0)])
    masks = np.array([holm(row) <= math.log(alpha) for row in logs])
    assert masks[:, 20:].all()
    assert masks[:, :20].any(axis=1).sum() <= allowed(trials, alpha)


@pytest.mark.parametrize("adjust", ADJUST)
@pytest.mark.parametrize("bad", [[math.nan], [-math.inf], [0.1], [[-1.0, -2.0]], ["p"]])
def test_what_is_no_family_of_p_values_is_refused(adjust: Callable[..., object], bad: list[object]) -> None:
    with pytest.raises(InputError):
        adjust(bad)


@pytest.mark.parametrize("bad", [[math.nan], [math.inf], [[1.0]], 1.0])
def test_what_is_no_family_of_e_values_is_refused(bad: object) -> None:
    with pytest.raises(InputError):
        e_benjamini_hochberg(bad, 0.05)  # type: ignore[arg-type]


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, 20.0, math.nan])
def test_what_is_no_alpha_is_refused(alpha: float) -> None:
    with pytest.raises(InputError, match="alpha"):
        e_benjamini_hochberg([1.0], alpha)
    with pytest.raises(InputError, match="alpha"):
        log_evalue_needed(3, alpha)


@pytest.mark.parametrize(("m", "rejections"), [(0, 1), (-1, 1), (3, 0), (3, 4)])
def test_what_is_no_count_is_refused(m: int, rejections: int) -> None:
    with pytest.raises(InputError):
        log_evalue_needed(m, 0.05, rejections)
