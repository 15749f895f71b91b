"""What training moved, weighed by a key's lists: what is kept of two models, the bound, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stillwatch.attribution.randomized import green_mass
from stillwatch.errors import InputError

SIZE = 200


def logs(rng: np.random.Generator, places: int) -> np.ndarray:
    raw = rng.normal(0.0, 2.0, (places, SIZE))
    return (raw - np.log(np.exp(raw).sum(axis=1, keepdims=True))).astype(np.float32)


def test_a_shift_keeps_what_moved_most_at_the_first_place_of_each_context() -> None:
    rng = np.random.default_rng(0)
    document = np.array([5, 9, 5, 7, 9, 8, 6])
    ours, theirs = logs(rng, 5), logs(rng, 5)
    found = green_mass.shift([document], [2], iter([ours]), iter([theirs]), width=1, kept=12)
    # Asked from place 2 on: its context is 9; then 5 (stood before as a context, at place 1), 7, 9 (again), 8.
    assert found.contexts[:, 0].tolist() == [9, 7, 8]
    moved = np.exp(ours) - np.exp(theirs)
    for row, place in enumerate([0, 2, 4]):
        most = np.sort(np.argsort(-np.abs(moved[place]))[:12])
        np.testing.assert_array_equal(found.tokens[row], most)
        np.testing.assert_allclose(found.weights[row], moved[place, most], rtol=1e-6)


def test_a_key_has_no_part_in_what_is_kept_and_no_document_is_an_answer() -> None:
    none = green_mass.shift([], [], iter([]), iter([]), width=2)
    assert none.contexts.shape == (0, 2) and none.tokens.shape == (0, green_mass.KEPT)


def test_the_bound_is_above_the_true_tail() -> None:
    """Weights of 30 contexts: what 20,000 draws of random lists take of them."""
    rng = np.random.default_rng(1)
    weights, share, lists = rng.normal(0.0, 0.1, (30, 40)), 0.25, 20_000
    flags = rng.random((lists, 30, 1, 40)).argpartition(10, axis=3)[..., :10]
    sums = np.take_along_axis(np.broadcast_to(weights[None, :, None], (lists, 30, 1, 40)), flags, 3).sum(
        (1, 2, 3)
    )
    for level in (0.2, 0.05, 0.01, 0.001):
        line = float(np.quantile(sums, 1 - level))
        assert math.exp(green_mass.log_bound(weights.ravel(), line, share)) >= level
    assert green_mass.log_bound(weights.ravel(), share * weights.sum() - 0.01, share) == 0.0
    far = green_mass.log_bound(weights.ravel(), share * weights.sum() + 8.0, share)
    assert -20 < far < -8


def test_a_context_whose_list_is_the_same_for_every_key_is_left_out() -> None:
    """Hugging Face's left hash seeds the list after id 0 with 0, whatever the key is."""
    given = green_mass.simulate(np.random.default_rng(3), effect=1.0, n=60)
    lean = green_mass.test(**given)
    given["contexts"] = np.vstack([given["contexts"], np.zeros((1, 1), np.int64)])
    every = green_mass.favoured(given["scheme"], given["parameters"], given["vocabulary"])
    tokens = given["tokens"][:1]
    listed = every(given["key"], np.zeros((1, 1), np.int64), np.array([0, tokens.shape[1]]), tokens[0])
    for key in given["decoys"][:20]:
        same = every(key, np.zeros((1, 1), np.int64), np.array([0, tokens.shape[1]]), tokens[0])
        np.testing.assert_array_equal(same, listed)
    given["tokens"] = np.vstack([given["tokens"], tokens])
    given["weights"] = np.vstack([given["weights"], np.where(listed, 0.5, 0.0)[None].astype(np.float32)])
    again = green_mass.test(**given)
    assert (again.n, again.statistic, again.log_pvalue) == (lean.n, lean.statistic, lean.log_pvalue)


def test_several_keys_on_one_reading_are_each_as_by_themselves() -> None:
    given = green_mass.simulate(np.random.default_rng(4), effect=0.3, n=60)
    keys = {"one": given.pop("key"), "other": 12345}
    found = green_mass.every(**given, keys=keys)
    assert found == {name: green_mass.test(**given, key=key) for name, key in keys.items()}
    assert found["one"].log_pvalue < found["other"].log_pvalue  # type: ignore[operator]


def test_what_has_no_lists_is_refused() -> None:
    given = green_mass.simulate(np.random.default_rng(0), effect=0.0, n=30)
    with pytest.raises(InputError, match="no list"):
        green_mass.test(**{**given, "scheme": "vllm_gumbel", "parameters": {}})
    with pytest.raises(InputError, match="decoy"):
        green_mass.test(**{**given, "decoys": given["decoys"][:10]})
