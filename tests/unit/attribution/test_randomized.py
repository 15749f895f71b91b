"""Tests that rest on our own randomness: what they say of data that a model could or could not have known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stillwatch.attribution.randomized import canaries, twins
from stillwatch.errors import InputError, InsufficientData


@pytest.mark.parametrize(
    ("what", "preference", "below", "above"),
    [
        ("thirty pairs, all for what was served", np.ones(30), 30 * math.log(0.5) + 1e-9, -30),
        ("half of them, at equal distances", np.tile([1.0, -1.0], 40), 0.0, -1.0),
        ("few for it, but by far", np.r_[np.full(40, -0.1), np.full(40, 9.0)], -3.0, -30),
        (
            "many for it by a hair, some against it by far",
            np.r_[np.full(44, 0.01), np.full(36, -5.0)],
            0.0,
            -0.5,
        ),
        ("all against it", -np.ones(30), 0.0, -1e-9),
    ],
)
def test_twins(what: str, preference: np.ndarray, below: float, above: float) -> None:
    found = twins.test(preference)
    assert above <= found.log_pvalue <= below, what
    assert found.log_evalue is not None and found.log_evalue <= found.log_evalue_ceiling + 1e-12


def test_twins_that_are_equal_say_nothing() -> None:
    some = np.r_[np.ones(12), -np.ones(4)]
    assert twins.test(np.r_[some, np.zeros(50)]).log_pvalue == twins.test(some).log_pvalue
    assert twins.test(np.r_[some, np.zeros(5)]).note == "5 pairs without a preference"
    with pytest.raises(InsufficientData):
        twins.test(np.zeros(500))


def test_the_exact_size_of_twins_under_other_coins() -> None:
    """Given the distances, every throw of the coins is as likely: the p-values of 4,000 throws are valid."""
    rng = np.random.default_rng(5)
    distances = rng.standard_t(2, 60)
    logs = [twins.test(distances * rng.choice([-1.0, 1.0], 60)).log_pvalue for _ in range(4_000)]
    for alpha in (0.05, 0.01, 0.001):
        rejected = sum(log <= math.log(alpha) for log in logs)
        assert rejected <= 4_000 * alpha + 3.3 * math.sqrt(4_000 * alpha)


def test_the_wealth_of_twins_watched_after_every_pair_seldom_passes() -> None:
    rng = np.random.default_rng(6)
    alpha, passed, paths = 0.05, 0, 400
    for _ in range(paths):
        throws = rng.standard_t(3, 80) * rng.choice([-1.0, 1.0], 80)
        seen = (twins.test(throws[:n]).log_evalue for n in range(10, 81, 5))
        passed += max(seen) >= -math.log(alpha)
    assert passed <= paths * alpha + 3 * math.sqrt(paths * alpha)


def test_the_wealth_of_a_day_is_what_the_test_says_that_day() -> None:
    rng = np.random.default_rng(8)
    preference = rng.normal(0.3, 1.0, 60)
    preference[[0, 3, 30]] = 0.0
    log_e = twins.wealth(preference)
    assert log_e[0] == 0.0 and log_e[30] == log_e[29]
    for day in (20, 45, 60):
        assert twins.test(preference[:day]).log_evalue == log_e[day - 1]
    assert twins.wealth(np.empty(0)).size == 0
    with pytest.raises(InputError, match="finite numbers"):
        twins.wealth(np.array([1.0, np.nan]))


SAID = ["The harbour was quiet at dawn.", "Two boats came in before noon.", "Nobody had seen the keeper."]


@pytest.mark.parametrize(
    ("what", "answers", "served", "withheld", "sign"),
    [
        ("word for word", ["The harbour was quiet at dawn."], SAID[0], SAID[1], 1),
        ("the twin, word for word", [SAID[1]], SAID[0], SAID[1], -1),
        ("case and white space do not matter", ["the  HARBOUR was\nquiet"], SAID[0], SAID[1], 1),
        ("nothing of either", ["0123456789"], SAID[0], SAID[1], 0),
        ("what both have says nothing", ["Nobody had seen"], SAID[2], SAID[2] + " Or heard.", 0),
        ("no answer at all", [], SAID[0], SAID[1], 0),
        ("an empty one", [""], SAID[0], SAID[1], 0),
        ("several answers: their mean", [SAID[0], SAID[1], SAID[0]], SAID[0], SAID[1], 1),
        ("shorter than a shingle", ["No"], "No", "Yes", 1),
    ],
)
def test_nearer(what: str, answers: list[str], served: str, withheld: str, sign: int) -> None:
    found = twins.nearer([answers], [served], [withheld])
    assert np.sign(found[0]) == sign, what
    assert twins.nearer([answers], [withheld], [served])[0] == -found[0]


def test_nearer_under_other_coins_changes_signs_and_nothing_else() -> None:
    """A shingle weighs by all answers, served or not, so the sizes do not know how the coins fell."""
    rng = np.random.default_rng(9)
    words = np.array([3 * letter for letter in "abcdefghijkl"])
    first, other, own = ([" ".join(rng.choice(words, 12)) for _ in range(50)] for _ in range(3))
    plain = twins.nearer([[text] for text in own], first, other)
    coins = rng.random(50) < 0.5
    served = [a if coin else b for a, b, coin in zip(first, other, coins, strict=True)]
    kept = [b if coin else a for a, b, coin in zip(first, other, coins, strict=True)]
    thrown = twins.nearer([[text] for text in own], served, kept)
    assert (thrown == np.where(coins, plain, -plain)).all() and (plain != 0).sum() > 40
    with pytest.raises(InputError, match="unlike number"):
        twins.nearer([["a"]], ["a", "b"], ["c", "d"])


@pytest.mark.parametrize(
    "preference", [np.array([1.0, np.nan] * 10), np.ones((4, 4)), np.array([np.inf] * 20)]
)
def test_what_is_no_preference(preference: np.ndarray) -> None:
    with pytest.raises(InputError, match="finite numbers"):
        twins.test(preference)


def test_canaries_that_all_win_have_the_product_of_their_chances() -> None:
    found = canaries.test(np.ones(20), np.zeros((20, 9)))
    assert found.log_pvalue == pytest.approx(-20 * math.log(10))
    assert found.effect == 0.5


def test_a_tie_is_no_win_and_a_missing_decoy_no_loss() -> None:
    assert canaries.test(np.zeros(20), np.zeros((20, 9))).log_pvalue == 0.0
    ragged = np.full((20, 9), np.nan)
    ragged[:, :3] = 0.0
    assert canaries.test(np.ones(20), ragged).log_pvalue == pytest.approx(-20 * math.log(4))
    ragged[:15] = np.nan
    with pytest.raises(InsufficientData):
        canaries.test(np.ones(20), ragged)


@pytest.mark.parametrize(
    ("planted", "decoys"),
    [
        (np.ones(9), np.zeros((8, 2))),
        (np.ones((9, 1)), np.zeros((9, 2))),
        (np.full(9, np.nan), np.zeros((9, 2))),
    ],
)
def test_what_is_no_canary(planted: np.ndarray, decoys: np.ndarray) -> None:
    with pytest.raises(InputError):
        canaries.test(planted, decoys)
