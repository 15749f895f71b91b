"""Windows against tuples, the tape against a set."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillwatch.errors import InputError
from stillwatch.marks.tape import Tape, documents, first_of, windows, with_target

lengths = st.lists(st.integers(0, 12), min_size=1, max_size=8)
relaxed = settings(deadline=None, max_examples=60)


def text(sizes: list[int], seed: int, ids: int = 4) -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(seed).integers(0, ids, sum(sizes)), np.cumsum(sizes)


def tuples(tokens: np.ndarray, ends: np.ndarray, width: int) -> tuple[list[tuple[int, ...]], list[bool]]:
    """The window before each token and whether the document holds all of it."""
    found, whole, begin = [], [], 0
    for end in ends.tolist():
        for i in range(begin, end):
            found.append(tuple(int(tokens[j]) if j >= begin else -1 for j in range(i - width, i)))
            whole.append(i - begin >= width)
        begin = end
    return found, whole


@relaxed
@given(lengths, st.integers(0, 3), st.integers(0, 2**32))
def test_windows_are_equal_where_their_ids_are_and_stay_within_a_document(sizes, width, seed) -> None:
    tokens, ends = text(sizes, seed)
    prints, whole = windows(tokens, width, ends)
    expected, complete = tuples(tokens, ends, width)
    assert whole.tolist() == complete
    assert len(set(prints.tolist())) == len(set(expected))
    assert len(set(zip(prints.tolist(), expected, strict=True))) == len(set(expected))


def test_windows_of_another_width_or_order_differ() -> None:
    one, two = windows([5, 6, 7], 1)[0], windows([5, 6, 7], 2)[0]
    assert not set(one.tolist()) & set(two.tolist())
    assert windows([5, 6, 7], 2)[0][2] != windows([6, 5, 7], 2)[0][2]


def test_neighbouring_ids_do_not_collide() -> None:
    contexts = np.repeat(np.arange(400, dtype=np.uint64), 400)
    prints = with_target(contexts, np.tile(np.arange(400), 400))
    assert len(np.unique(prints)) == 160_000


@relaxed
@given(st.lists(st.integers(0, 30), max_size=200), st.integers(1, 5))
def test_the_tape_says_first_as_a_set_would_in_one_piece_or_several(values, pieces) -> None:
    prints, seen = np.array(values, np.uint64), set()
    expected = [not (x in seen or seen.add(x)) for x in values]
    assert first_of(prints).tolist() == expected
    tape = Tape()
    parts = [first_of(piece, tape) for piece in np.array_split(prints, pieces)]
    assert np.concatenate(parts).tolist() == expected
    assert (tape.size, tape.dropped) == (len(seen), 0)


def test_the_tape_grows_and_forgets_nothing() -> None:
    prints = np.random.default_rng(3).integers(0, 2**63, 20_000).astype(np.uint64)
    tape = Tape(limit=30_000)
    assert all(tape.first(piece).all() for piece in np.array_split(prints, 9))
    assert not tape.first(prints).any()
    assert tape.size == 20_000 and 16 * tape.size <= tape.memory <= 32 * tape.size


def test_a_full_tape_counts_nothing_twice_and_says_what_it_left_out() -> None:
    prints = np.arange(10, 3010, dtype=np.uint64)
    tape = Tape(limit=2000)
    assert tape.first(prints).tolist() == [True] * 2000 + [False] * 1000
    assert tape.dropped == 1000
    assert not tape.first(prints[:2000]).any()
    assert (tape.size, tape.dropped) == (2000, 1000)


def test_a_tape_of_a_limit_that_is_no_power_of_two_keeps_to_it() -> None:
    tape = Tape(limit=700)
    assert tape.first(np.arange(1, 1001, dtype=np.uint64)).sum() == 700


@pytest.mark.parametrize(
    ("tokens", "ends"),
    [
        ([1, -2, 3], None),
        ([1.5, 2.0], None),
        ([[1, 2]], None),
        ([1, 2, 3], [2]),
        ([1, 2, 3], [4]),
        ([1, 2, 3], [2, 1, 3]),
        ([1, 2, 3], [-1, 3]),
        ([1, 2, 3], []),
    ],
)
def test_what_is_no_text_is_refused(tokens, ends) -> None:
    with pytest.raises(InputError):
        documents(tokens, ends)


def test_no_text_at_all_is_a_text() -> None:
    prints, whole = windows([], 2, [0, 0])
    assert prints.size == whole.size == first_of(prints).size == 0


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Tape(limit=0),
        lambda: windows([1], -1),
        lambda: with_target(np.zeros(2, np.uint64), [1]),
        lambda: Tape().first(np.zeros((2, 2), np.uint64)),
    ],
)
def test_arguments_out_of_range_are_refused(wrong) -> None:
    with pytest.raises(InputError):
        wrong()
