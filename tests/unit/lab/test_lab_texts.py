"""Texts named by integers: same name same text, and no long fixed run in a varied one."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillwatch.lab import grammar
from stillwatch.lab.texts import LONGEST, Range, Texts, _slots, mix


@pytest.fixture(scope="module")
def texts() -> tuple[Texts, dict]:
    t = Texts()
    return t, grammar.fill(t)


def _draw(texts: Texts, where, seeds, k=1) -> list[str]:
    n = len(seeds)
    return texts.render(
        np.full(n, where.lo), np.full(n, where.span), np.full(n, k), np.asarray(seeds, np.uint64)
    ).to_pylist()


def test_a_name_gives_the_same_text_in_any_company(texts):
    t, ranges = texts
    together = _draw(t, ranges["chat"], range(1, 50), k=3)
    alone = [_draw(t, ranges["chat"], [s], k=3)[0] for s in range(1, 50)]
    assert together == alone
    assert len(set(together)) == 49


def test_k_sentences_stand_one_after_the_other(texts):
    t, ranges = texts
    one, three = _draw(t, ranges["document"], [9])[0], _draw(t, ranges["document"], [9], k=3)[0]
    assert three.startswith(one + " ")
    assert three.count("{") == 0


def test_seed_zero_is_the_original():
    t = Texts()
    t.words("word", ["river"])
    t.words("word_capital", ["River"])
    where = t.vary(["Tell me about the history of the old harbour in winter, please."], "word")
    assert _draw(t, where, [0]) == ["Tell me about the history of the old harbour in winter, please."]
    assert "river" in _draw(t, where, [5])[0].lower()


def test_no_rows():
    t = Texts()
    where = t.copy(["a"])
    assert _draw(t, where, []) == []


@pytest.mark.parametrize("kind", ["chat", "follow", "task", "system", "document", "batch", "code", "wrapper"])
def test_fixed_text_of_the_grammar_is_shorter_than_a_shingle(texts, kind):
    for template in grammar.RANGES[kind]:
        fixed = re.split(r"\{\w+\}", template)
        assert max(len(f.encode()) for f in fixed) <= LONGEST, template


@given(st.text(min_size=0, max_size=400))
@settings(max_examples=200, deadline=None)
def test_slots_lose_no_character(text):
    parts = _slots(text)
    assert "".join(parts) == text
    assert len(parts) % 2 == 1


def test_a_text_that_cannot_be_varied_is_left_out():
    t = Texts()
    t.words("word", ["river"])
    t.words("word_capital", ["River"])
    kept = t.vary(
        [
            "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17",
            "用中文写一首关于秋天的诗，要有三个段落",
            "Hello there",
        ],
        "word",
    )
    assert kept.span == 2  # one run of letters without a space is one slot


def test_mix_is_splitmix64():
    # First outputs of SplitMix64 with state 0, as in the reference implementation.
    state = np.array([0, 0x9E3779B97F4A7C15], np.uint64)
    assert [hex(x) for x in mix(state)] == ["0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4"]


def test_every_wrapper_asks_for_reasoning_and_hardly_two_share_a_shingle(texts):
    from stillwatch.text.sketch import ELICITATION, sketch

    t, ranges = texts
    where = ranges["wrapper"]
    one = [
        text
        for i in range(where.span)
        for text in _draw(t, Range(where.lo + i, 1), np.arange(1, 40) * 7919 + i)
    ]
    table = sketch(pa.array(one), None, key=b"k" * 32).table
    assert all(flags & ELICITATION["articulated_reasoning"] for flags in table["elicitation"].to_pylist())
    seen = [s for shingles in table["shingles"].to_pylist() for s in shingles]
    assert len(seen) - len(set(seen)) <= 0.03 * len(seen)  # a few slots agree by chance
