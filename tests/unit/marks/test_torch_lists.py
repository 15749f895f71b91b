"""The loops against numpy's own MT19937 and a shuffle written out, and against the engines' golden vectors."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillwatch.marks import _torch_lists, lists

GOLDEN = Path(__file__).parents[2] / "golden"


def words(seed: int, count: int) -> np.ndarray:
    generator = np.random.MT19937()
    generator._legacy_seeding(seed & 0xFFFFFFFF)
    return generator.random_raw(count)


def shuffled(seed: int, size: int, steps: int) -> list[int]:
    """The first `steps` places of randperm(size), by the swaps themselves."""
    places = list(range(size))
    for i, word in enumerate(words(seed, steps).tolist()):
        other = i + word % (size - i)
        places[i], places[other] = places[other], places[i]
    return places[:steps]


def flags(seeds: list[int], tokens: list[list[int]], size: int, green: int) -> list[bool]:
    first = np.concatenate([[0], np.cumsum([len(t) for t in tokens])])
    flat = np.array([t for group in tokens for t in group], np.int64)
    out = np.empty(flat.size, np.bool_)
    _torch_lists.green_flags(np.array(seeds, np.uint64), first, flat, size, green, out)
    return out.tolist()


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 40), st.data(), st.integers(0, 2**40))
def test_every_token_of_small_lists(size: int, data: st.DataObject, seed: int) -> None:
    green = data.draw(st.integers(1, size))
    on = set(shuffled(seed, size, green))
    expected = [x in on for x in range(size)]
    assert flags([seed] * size, [[x] for x in range(size)], size, green) == expected  # each by itself
    assert flags([seed], [list(range(size))], size, green) == expected  # all together
    assert set(lists.green_list(seed, size, green).tolist()) == on


@pytest.mark.parametrize("green", [1, 623, 624, 625, 1248, 1300, 1301])
@pytest.mark.parametrize("together", [1, 24, 25, 1301])
def test_lists_that_end_around_a_block_of_words(green: int, together: int) -> None:
    size = 1301
    for seed in (0, 1, 5489, 2**32 - 1, 2**35 + 7):
        on = set(shuffled(seed, size, green))
        groups = [list(range(i, min(size, i + together))) for i in range(0, size, together)]
        expected = [x in on for x in range(size)]
        assert flags([seed] * len(groups), groups, size, green) == expected


def test_a_real_vocabulary() -> None:
    rng = np.random.default_rng(4)
    seeds = rng.integers(0, 2**32, 12).tolist()
    tokens = [rng.choice(151_936, k, replace=False).tolist() for k in (1, 1, 2, 3, 24, 25, 60, 1, 1, 1, 1, 7)]
    expected = []
    for seed, group in zip(seeds, tokens, strict=True):
        listed = shuffled(seed, 151_936, 37_984)
        assert lists.green_list(seed, 151_936, 37_984).tolist() == listed
        on = set(listed)
        expected += [x in on for x in group]
    assert flags(seeds, tokens, 151_936, 37_984) == expected


def test_the_remainder_is_exact_at_its_edges() -> None:
    """Words next to multiples of what is left, for every vocabulary that engines have and its neighbours."""
    rng = np.random.default_rng(5)
    for left in [1, 2, 3, 255, 256, 257, 32_000, 49_152, 50_257, 128_256, 151_936, 256_000, 2**26 + 1]:
        most = (2**32 - 1) // left
        quotients = np.unique(np.concatenate([[0, 1, most], rng.integers(0, most + 1, 500)]))
        edges = (quotients[:, None] * left + np.array([-1, 0, 1])).ravel()
        word = edges[(edges >= 0) & (edges < 2**32)].astype(np.float64)
        rest = word - np.floor(word * ((1.0 - 2.0**-50) / left)) * left
        rest = np.where(rest >= left, rest - left, rest)
        assert (rest == word.astype(np.int64) % left).all()


def test_uniform_numbers() -> None:
    expected = ((words(77, 3000) % 2**24) * 2.0**-24).astype(np.float32)
    row, at = np.empty(3000, np.float32), np.array([0, 1, 623, 624, 1247, 1248, 2999])
    _torch_lists.uniforms(np.uint64(77), row)
    assert (row == expected).all()
    some = np.empty(at.size, np.float32)
    _torch_lists.uniforms_at(np.full(at.size, 77, np.uint64), at, some)
    assert (some == expected[at]).all()


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 2**64 - 1), st.integers(0, 2**27 - 1))
def test_the_seed_of_lefthash_is_that_of_whole_numbers(key: int, context: int) -> None:
    out = np.empty(1, np.uint64)
    _torch_lists.lefthash_seeds(np.uint64(key % (2**64 - 1)), np.array([context]), out)
    assert int(out[0]) == key * context % (2**64 - 1) % 2**32


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 2**63 - 1), st.lists(st.integers(0, 9), min_size=1, max_size=5))
def test_the_seed_of_selfhash_wraps_as_64_bits_do(key: int, window: list[int]) -> None:
    table = np.array([999_999, 0, 7, 500_000, 1_000_002, 3, 77_777, 12, 650_001, 42])
    last = int(table[window[-1]]) + 1
    products = [(key * (int(table[x]) + 1) * last + 2**63) % 2**64 - 2**63 for x in window]
    out = np.empty(1, np.uint64)
    _torch_lists.selfhash_seeds(np.uint64(key), table, np.array([window]), out)
    assert int(out[0]) == min(products) % (2**64 - 1) % 2**32


def script() -> ModuleType:
    """tests/golden/torch_marks.py, which makes the vectors."""
    spec = importlib.util.spec_from_file_location("torch_marks", GOLDEN / "torch_marks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["torch_marks"] = module
    spec.loader.exec_module(module)
    return module


CASES = json.loads((GOLDEN / "torch_marks.json").read_text(encoding="utf-8"))["cases"]


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c['name']}-{c['vocab_size']}")
def test_golden_vectors_of_the_engines(case: dict) -> None:
    made = script()
    contexts = np.array(case["contexts"], np.int64).reshape(len(case["tokens"]), -1)
    found = list(
        made.ours(
            case["name"],
            case["key"],
            case["vocab_size"],
            case["parameters"],
            contexts,
            np.array(case["tokens"]),
        )
    )
    scale = 2**24 if case["name"] == "markllm_exp" else 1
    assert [int(said * scale) for _, said in found] == case["said"]
    assert [made.digest(drawn) for drawn, _ in found[:5]] == case["digests"]


def test_every_list_of_the_engines_bit_for_bit() -> None:
    """2,000 random contexts of each case; `python tests/golden/torch_marks.py compare` takes 100,000."""
    missing = [
        name for name in ("torch", "transformers", "markllm") if importlib.util.find_spec(name) is None
    ]
    if missing:
        pytest.skip(
            f"{', '.join(missing)} not installed: lists were held against the golden vectors only, not the engines"
        )
    assert script().compare(2_000) == 0
    assert script().compare_marks(90) == 0


def test_the_digest_is_of_little_ends() -> None:
    assert script().digest(np.array([1, 2])) == hashlib.sha256(bytes([1, *[0] * 7, 2, *[0] * 7])).hexdigest()
