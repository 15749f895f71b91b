"""The exact tail of a reading, against scipy where that still has numbers, and beyond."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from stillwatch.errors import InputError, InsufficientData
from stillwatch.marks.reading import NEED, Reading, log_pvalues, result, together
from stillwatch.marks.schemes.transformers_red_green import CARD


def binomial(scored: list[int], green: list[float], gamma: float = 0.25, draws: int = 1) -> Reading:
    return Reading("binomial", np.array(scored), np.array(green, float), gamma, draws)


def gamma_law(scored: list[int], sums: list[float]) -> Reading:
    return Reading("gamma", np.array(scored), np.array(sums, float))


def test_tails_are_those_of_scipy() -> None:
    green = log_pvalues(binomial([100, 2000, 30], [40, 500, 0]))
    assert green == pytest.approx([stats.binom.logsf(39, 100, 0.25), stats.binom.logsf(499, 2000, 0.25), 0.0])
    sums = log_pvalues(gamma_law([100, 30], [150.0, 12.5]))
    assert sums == pytest.approx([stats.gamma.logsf(150, 100), stats.gamma.logsf(12.5, 30)], rel=1e-9)
    layers = log_pvalues(binomial([50], [800], gamma=0.5, draws=30))
    assert layers == pytest.approx([stats.binom.logsf(799, 1500, 0.5)])


def test_tails_stay_numbers_where_probabilities_do_not() -> None:
    far = log_pvalues(gamma_law([300, 20], [9000.0, 5000.0]))
    k = np.arange(300)
    terms = k * math.log(9000.0) - np.array([math.lgamma(x + 1.0) for x in k])
    assert far[0] == pytest.approx(-9000.0 + np.logaddexp.reduce(terms), rel=1e-10)
    assert np.isfinite(far).all() and np.isfinite(log_pvalues(binomial([5000], [5000]))).all()


def test_a_sum_of_nothing_has_p_one() -> None:
    assert log_pvalues(gamma_law([25], [0.0]))[0] == 0.0


def test_several_tokens_of_one_list_are_bounded_by_the_binomial_tail() -> None:
    """Counts without replacement, added over contexts: the law by convolution, against the tail that is reported."""
    size, green, asked = 40, 10, [1, 2, 5, 12, 20, 30, 40, 3, 3]
    law = np.array([1.0])
    for tokens in asked:
        law = np.convolve(law, stats.hypergeom.pmf(np.arange(tokens + 1), size, green, tokens))
    n = sum(asked)
    exact = law[::-1].cumsum()[::-1]
    above = range(math.ceil(n * green / size + 1), n + 1)
    reported = np.exp([log_pvalues(binomial([n], [x]))[0] for x in above])
    assert (exact[above.start :] <= reported + 1e-12).all()
    assert reported[0] > 0.3


def test_too_little_is_refused() -> None:
    with pytest.raises(InsufficientData, match=str(NEED)):
        log_pvalues(binomial([NEED - 1], [10]))
    with pytest.raises(InsufficientData):
        log_pvalues(binomial([500, 3], [125, 1]))
    with pytest.raises(InsufficientData):
        log_pvalues(binomial([0], [0]), need=0)
    assert log_pvalues(binomial([3], [1]), need=1).shape == (1,)


def test_a_result_says_what_was_counted() -> None:
    found = result(CARD, binomial([400], [160]))
    assert found.test == "transformers_red_green@1"
    assert (found.n, found.statistic) == (400, 160.0)
    assert found.effect == pytest.approx(0.15)
    assert found.null.method == "exact" and found.null.hypothesis == CARD.null
    with pytest.raises(InputError):
        result(CARD, binomial([400, 400], [160, 100]))


def test_pieces_go_together_where_they_are_of_one_kind() -> None:
    whole = together([binomial([100, 90], [30, 20]), binomial([10, 5], [2, 1])])
    assert whole.scored.tolist() == [110, 95] and whole.statistic.tolist() == [32.0, 21.0]
    for other in (gamma_law([1, 1], [1, 1]), binomial([1, 1], [1, 1], gamma=0.5), binomial([1], [1])):
        with pytest.raises(InputError):
            together([binomial([100, 90], [30, 20]), other])
    with pytest.raises(InputError):
        together([])


def test_a_reading_that_cannot_be_is_refused() -> None:
    with pytest.raises(InputError):
        Reading("binomial", np.array([1, 2]), np.array([1.0]), 0.5)
    with pytest.raises(InputError):
        Reading("binomial", np.array([1]), np.array([1.0]))
    with pytest.raises(InputError):
        Reading("gamma", np.array([1]), np.array([1.0]), 0.5)
