"""Readers whose engines draw with torch: against a plain rewriting, and what each promises."""

from __future__ import annotations

import functools
import math
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from stillwatch.errors import InputError, InsufficientData
from stillwatch.marks.reading import log_pvalues, together
from stillwatch.marks.schemes import markllm_exp, markllm_kgw, transformers_red_green
from stillwatch.marks.tape import Tape

SIZE = 300
KEYS = [15485863, 2**62 + 7, 600, 3 * 2**33, 1]
UNIGRAM = {"scheme": "selfhash", "context_width": 1}
"""One list for all contexts: each token is counted once, which leaves no power in so small a vocabulary."""
READERS: list[tuple[ModuleType, dict[str, Any]]] = [
    (transformers_red_green, {}),
    (transformers_red_green, UNIGRAM),
    (transformers_red_green, {"scheme": "selfhash", "context_width": 3, "gamma": 0.5}),
    (markllm_kgw, {}),
    (markllm_kgw, {"prefix_length": 2}),
    (markllm_kgw, {"prefix_length": 3, "f_scheme": "additive", "gamma": 0.25}),
    (markllm_kgw, {"prefix_length": 2, "f_scheme": "skip"}),
    (markllm_exp, {}),
    (markllm_exp, {"prefix_length": 1}),
]
each_reader = pytest.mark.parametrize(
    ("scheme", "given"), READERS, ids=[f"{m.CARD.name}-{g}" for m, g in READERS]
)


def text(seed: int = 0, count: int = 900, documents: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Ids as frequent as in text, 0 among them, half of it said twice; documents of unlike length."""
    rng = np.random.default_rng(seed)
    tokens = np.minimum(rng.zipf(1.3, count) - 1, SIZE - 1)
    tokens[count // 2 : count // 2 + 200] = tokens[:200]
    return tokens, np.append(np.sort(rng.integers(0, count, documents - 1)), count)


@functools.cache
def words(seed: int, count: int) -> list[int]:
    generator = np.random.MT19937()
    generator._legacy_seeding(seed % 2**32)
    return generator.random_raw(count).tolist()


@functools.cache
def shuffled(seed: int, size: int, steps: int | None = None) -> list[int]:
    places = list(range(size))
    for i, word in enumerate(words(seed, size - 1 if steps is None else steps)):
        other = i + word % (size - i)
        places[i], places[other] = places[other], places[i]
    return places[:steps]


def seed_of(scheme: ModuleType, given: dict[str, Any], key: int, window: list[int]) -> int:
    """The seed for the window's last id, whose context the others are; as the engines' pages say."""
    *context, token = window
    if scheme is markllm_exp:
        return key * (math.prod(context) % SIZE) % 2**32
    if scheme is markllm_kgw:
        how = given.get("f_scheme", "time")
        one = {"time": math.prod(context), "additive": sum(context), "skip": context[0]}[how] % SIZE
        return key * shuffled(key, SIZE)[one] % SIZE
    if given.get("scheme") != "selfhash":
        return key * context[-1] % (2**64 - 1) % 2**32
    table = shuffled(key, 1_000_003, SIZE)
    products = [key * (table[x] + 1) * (table[token] + 1) for x in window]
    return min((p + 2**63) % 2**64 - 2**63 for p in products) % (2**64 - 1) % 2**32


def plainly(scheme: ModuleType, given: dict[str, Any], key: int) -> tuple[int, float]:
    """Scored and statistic, one window after the other."""
    tokens, ends = text()
    width = given.get("prefix_length", 4 if scheme is markllm_exp else 1)
    if given.get("scheme") == "selfhash":
        width = given["context_width"] - 1
    gamma = given.get("gamma", 0.5 if scheme is markllm_kgw else 0.25)
    seen, scored, total, begin = set(), 0, 0.0, 0
    for end in ends.tolist():
        for i in range(begin + width, end):
            window = tokens[i - width : i + 1].tolist()
            seed = seed_of(scheme, given, key, window)
            once = seed if scheme is markllm_exp else (seed, window[-1])
            if seed == 0 or once in seen:
                continue
            seen.add(once)
            scored += 1
            if scheme is markllm_exp:
                total -= math.log1p(-(words(seed, window[-1] + 1)[-1] % 2**24) / 2**24)
            else:
                total += window[-1] in shuffled(seed, SIZE, int(gamma * SIZE))
        begin = end
    return scored, total


@each_reader
def test_a_reading_is_what_the_formulas_say(scheme: ModuleType, given: dict[str, Any]) -> None:
    tokens, ends = text()
    found = scheme.read(tokens, KEYS, ends=ends, vocab_size=SIZE, **given)
    for i, key in enumerate(KEYS):
        scored, total = plainly(scheme, given, key)
        assert found.scored[i] == scored, key
        assert found.statistic[i] == pytest.approx(total, rel=1e-12), key


@each_reader
def test_a_corpus_in_pieces_is_read_as_a_whole(scheme: ModuleType, given: dict[str, Any]) -> None:
    tokens, ends = text()
    whole = scheme.read(tokens, KEYS, ends=ends, vocab_size=SIZE, **given)
    tape, pieces = Tape(), []
    for a, b in [(0, 4), (4, 5), (5, 12)]:
        begin = int(ends[a - 1]) if a else 0
        part, stops = tokens[begin : ends[b - 1]], ends[a:b] - begin
        pieces.append(scheme.read(part, KEYS, ends=stops, vocab_size=SIZE, tape=tape, **given))
    read = together(pieces)
    assert read.scored.tolist() == whole.scored.tolist()
    assert read.statistic == pytest.approx(whole.statistic, rel=1e-12)


@each_reader
def test_saying_it_again_changes_nothing(scheme: ModuleType, given: dict[str, Any]) -> None:
    tokens, ends = text()
    once = scheme.read(tokens, KEYS, ends=ends, vocab_size=SIZE, **given)
    again = np.concatenate([ends + tokens.size * i for i in range(5)])
    five = scheme.read(np.tile(tokens, 5), KEYS, ends=again, vocab_size=SIZE, **given)
    assert five.scored.tolist() == once.scored.tolist()
    assert five.statistic.tolist() == once.statistic.tolist()


@each_reader
def test_one_key_of_many_is_read_as_by_itself(scheme: ModuleType, given: dict[str, Any]) -> None:
    tokens, ends = text()
    many = scheme.read(tokens, KEYS, ends=ends, vocab_size=SIZE, **given)
    one = scheme.read(tokens, KEYS[1:2], ends=ends, vocab_size=SIZE, **given)
    assert (one.scored[0], one.statistic[0]) == (many.scored[1], many.statistic[1])


def answers(scheme: ModuleType, given: dict[str, Any], key: int) -> tuple[np.ndarray, np.ndarray]:
    """Marked text: 40 answers of 24 tokens from a flat model."""
    rng = np.random.default_rng(8)
    ids = rng.integers(1, SIZE, (40, 28))
    for at in range(4, 28):
        logits = rng.normal(0, 1, (40, SIZE)).astype(np.float32)
        made = scheme.mark(logits, ids[:, :at], key, **given)
        ids[:, at] = made if made.ndim == 1 else np.argmax(made + rng.gumbel(size=made.shape), axis=1)
    return ids.ravel(), np.arange(1, 41) * 28


@pytest.mark.parametrize(("scheme", "given"), [r for r in READERS if r[1] != UNIGRAM])
def test_what_is_marked_is_found_under_its_key_alone(scheme: ModuleType, given: dict[str, Any]) -> None:
    key = 123_456_791
    tokens, ends = answers(scheme, given, key)
    logs = log_pvalues(scheme.read(tokens, [key, *range(1001, 1101, 2)], ends=ends, vocab_size=SIZE, **given))
    assert logs[0] < math.log(1e-7)
    assert logs[1:].min() > math.log(1e-4)
    assert scheme.test(tokens, key, ends=ends, vocab_size=SIZE, **given).log_pvalue == logs[0]


@each_reader
def test_too_little_text_gives_no_number(scheme: ModuleType, given: dict[str, Any]) -> None:
    with pytest.raises(InsufficientData):
        scheme.test([5, 6, 7, 8, 9] * 50, 15485863, vocab_size=SIZE, **given)
    with pytest.raises(InsufficientData):
        scheme.test([], 15485863, vocab_size=SIZE, **given)


@each_reader
@pytest.mark.parametrize("key", [0, -98_765_432_123, 2**64 + 98_765_432_123])
def test_a_refused_key_is_not_shown(scheme: ModuleType, given: dict[str, Any], key: int) -> None:
    with pytest.raises(InputError) as refused:
        scheme.read(text()[0], [7, key], vocab_size=SIZE, **given)
    assert "98765432123" not in str(refused.value) and "98_765" not in str(refused.value)


@each_reader
def test_no_key_is_in_a_reading(scheme: ModuleType, given: dict[str, Any]) -> None:
    key = 987_654_321_987
    assert str(key) not in repr(scheme.read(text()[0], [key], vocab_size=SIZE, **given))


@each_reader
def test_parameters_out_of_range_are_refused(scheme: ModuleType, given: dict[str, Any]) -> None:
    tokens = text()[0]
    with pytest.raises(InputError, match="no id 299"):
        scheme.read(tokens, [7], vocab_size=SIZE - 1, **given)
    with pytest.raises(InputError, match="vocab_size"):
        scheme.read(tokens, [7], vocab_size=1, **given)
    with pytest.raises(InputError, match="no key"):
        scheme.read(tokens, [], vocab_size=SIZE, **given)
    width = "context_width" if scheme is transformers_red_green else "prefix_length"
    with pytest.raises(InputError, match=width):
        scheme.read(tokens, [7], vocab_size=SIZE, **(given | {width: 0}))
    if scheme is not markllm_exp:
        for gamma in (0.0, 1.0, 0.001):
            with pytest.raises(InputError, match="gamma"):
                scheme.read(tokens, [7], vocab_size=SIZE, **(given | {"gamma": gamma}))
    with pytest.raises(InputError, match="logits"):
        scheme.mark(np.zeros(SIZE, np.int64), [1, 2, 3, 4], 7)


def test_other_words_for_a_scheme_are_refused() -> None:
    with pytest.raises(InputError, match="lefthash or selfhash"):
        transformers_red_green.read([1, 2], [7], vocab_size=SIZE, scheme="anchored")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="f_scheme"):
        markllm_kgw.read([1, 2], [7], vocab_size=SIZE, f_scheme="min")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="63"):
        transformers_red_green.read([1, 2], [2**63], vocab_size=SIZE, scheme="selfhash", context_width=2)


@pytest.mark.parametrize("scheme", [transformers_red_green, markllm_kgw])
def test_marking_adds_delta_to_a_green_list_and_changes_nothing_it_was_given(scheme: ModuleType) -> None:
    logits = np.random.default_rng(1).normal(0, 1, (3, SIZE)).astype(np.float32)
    before, context = logits.copy(), np.array([[9], [8], [9]])
    made = scheme.mark(logits, context, 15485863, delta=1.5, gamma=0.25)
    assert (logits == before).all() and made.dtype == np.float32
    added = made != logits
    assert added.sum(axis=1).tolist() == [75, 75, 75]
    assert (made[added] == logits[added] + np.float32(1.5)).all()
    assert (added[0] == added[2]).all() and (added[0] != added[1]).any()
    one = scheme.mark(logits[1], [8], 15485863, delta=1.5, gamma=0.25)
    assert one.shape == (SIZE,) and (one == made[1]).all()


def test_selfhash_marks_only_the_likely() -> None:
    logits = np.random.default_rng(2).normal(0, 1, SIZE)
    made = transformers_red_green.mark(logits, [4, 5, 6], 15485863, scheme="selfhash", context_width=4)
    added = np.flatnonzero(made != logits)
    assert 0 < added.size < 40
    assert set(added) <= set(np.argsort(-logits)[:40].tolist())


def test_a_context_that_is_too_short_is_left_unmarked_as_by_the_engine() -> None:
    logits = np.random.default_rng(3).normal(0, 1, SIZE)
    for made in (
        transformers_red_green.mark(logits, [4, 5], 7, scheme="selfhash", context_width=4),
        transformers_red_green.mark(logits, [4, 5], 7, context_width=3),
        markllm_kgw.mark(logits, [4, 5], 7, prefix_length=3),
    ):
        assert (made == logits).all()
    with pytest.raises(InputError, match="at least 4 ids"):
        markllm_exp.mark(logits, [4, 5], 7)


def test_the_gumbel_choice_is_the_largest_u_to_the_one_over_p() -> None:
    rng = np.random.default_rng(4)
    logits = rng.normal(0, 2, (50, SIZE))
    context = rng.integers(1, SIZE, (50, 4))
    made = markllm_exp.mark(logits, context, 15485863)
    likely = markllm_exp.mark(logits, context, 15485863, top_k=5)
    for row, ids, chosen, among in zip(logits, context, made, likely, strict=True):
        seed = 15485863 * (math.prod(ids.tolist()) % SIZE) % 2**32
        u = np.array(words(seed, SIZE)) % 2**24 / 2**24
        p = np.exp(row - row.max())
        p /= p.sum()
        assert chosen == np.argmax(u ** (1 / p))
        top = np.argsort(-row)[:5]
        assert among == top[np.argmax(u[top] ** (1 / p[top]))]


def test_a_key_that_reaches_few_lists_has_fewer_pairs() -> None:
    tokens, ends = text()
    found = markllm_kgw.read(tokens, [7, 2, 100, 300], ends=ends, vocab_size=SIZE)
    assert found.scored[0] > found.scored[1] > found.scored[2] > found.scored[3] == 0
