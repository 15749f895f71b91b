"""What the hash-based schemes share: keys as words, the ids before a token, and which contexts repeat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stillwatch.errors import InputError
from stillwatch.marks._compiled import compiled
from stillwatch.marks.tape import Flags, Ids, Tape, documents, first_of, windows

Words = NDArray[np.uint64]


def key_words(keys: Sequence[int], bits: int = 64) -> Words:
    """Keys as uint64 (keys,); no key ever stands in a message.

    Raises
    ------
    InputError
        A key that is no whole number from 0 to 2^bits - 1.
    """
    for i, key in enumerate(keys):
        if isinstance(key, bool) or not isinstance(key, (int, np.integer)) or not 0 <= int(key) < 1 << bits:
            raise InputError(
                f"a key is a whole number of at most {bits} bits, 0 or above; key {i} is not one"
            )
    return np.array([int(key) for key in keys], np.uint64)


def layer_keys(keys: Sequence[Sequence[int]]) -> NDArray[np.uint64]:
    """Keys of several layers as uint64 (keys, layers); signed 64-bit ones wrap.

    Raises
    ------
    InputError
        Keys of unlike depth, of no layer, with equal layers, or not whole numbers of 64 bits.
    """
    depths = {len(key) for key in keys}
    if len(depths) > 1 or 0 in depths:
        raise InputError(f"keys have one number of layers, 1 or above; found {sorted(depths)}")
    for i, key in enumerate(keys):
        if any(not isinstance(k, (int, np.integer)) or not -(1 << 63) <= int(k) < 1 << 64 for k in key):
            raise InputError(f"a layer key is a whole number of 64 bits; key {i} holds something else")
        if len({int(k) % (1 << 64) for k in key}) < len(key):
            raise InputError(
                f"the layers of one key differ; key {i} has two equal ones, which count one draw twice"
            )
    words = [[int(k) % (1 << 64) for k in key] for key in keys]
    return np.array(words, np.uint64).reshape(len(keys), depths.pop() if depths else 0)


def contexts_once(
    tokens: ArrayLike, ends: ArrayLike | None, width: int, from_start: bool, tape: Tape | None
) -> tuple[Words, Words]:
    """Each context once, uint64 (width, m), and the token that first followed it, (m,).

    Ids before the start of a document are -1; without `from_start` tokens that lack a whole context are left out.
    """
    ids, stops = documents(tokens, ends)
    if width < 1:
        raise InputError(f"context_width is 1 or above, found {width}")
    prints, whole = windows(ids, width, stops)
    at = np.arange(ids.size) if from_start else np.flatnonzero(whole)
    at = at[first_of(prints[at], tape)]
    return before(ids, stops, at, width, -1), ids[at].astype(np.uint64)


def last_ids(contexts: ArrayLike, width: int, missing: int = -1) -> Ids:
    """The last `width` ids of contexts (k,) or (B, k), oldest first, int64 (B, width); `missing`: those they lack."""
    given = np.atleast_2d(np.asarray(contexts, np.int64))
    last = given[:, max(0, given.shape[1] - width) :]
    return np.concatenate([np.full((len(given), width - last.shape[1]), missing, np.int64), last], axis=1)


def before(ids: Ids, stops: Ids, at: NDArray[np.intp], width: int, missing: int) -> Words:
    """The `width` ids before each of the tokens `at`, oldest first, as 32-bit words: uint64 (width, len(at)).

    `missing` stands for ids before the start of the document; -1 becomes 2^32 - 1.
    """
    out = np.empty((width, at.size), np.uint64)
    _before(ids, stops, at.astype(np.int64), missing, out)
    return out


def repeats(prints: Words, stops: Ids, history: int) -> Flags:
    """True where the same context stood at one of the `history` tokens before, in the same document; bool (n,).

    Generation leaves a repeated context unmarked. Exact: the last place of every context is remembered.
    """
    out = np.zeros(prints.size, np.bool_)
    longest = int(np.diff(stops, prepend=0).max()) if stops.size else 0
    size = 16
    while size < 2 * longest:
        size *= 2
    table, last, owner = np.empty(size, np.uint64), np.empty(size, np.int64), np.full(size, -1, np.int64)
    _repeats(prints, stops, history, table, last, owner, out)
    return out


@compiled
def _before(ids, stops, at, missing, out):
    width, document, begin = out.shape[0], 0, 0
    mask = np.uint64(0xFFFFFFFF)
    for k in range(len(at)):
        i = at[k]
        while stops[document] <= i:
            begin = stops[document]
            document += 1
        for j in range(width):
            place = i - width + j
            out[j, k] = np.uint64(ids[place] if place >= begin else missing) & mask


@compiled
def _repeats(prints, stops, history, table, last, owner, out):
    mask, begin = np.uint64(len(table) - 1), 0
    for document in range(len(stops)):
        for i in range(begin, stops[document]):
            x = prints[i]
            slot = ((x ^ (x >> np.uint64(32))) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(20)) & mask
            while owner[slot] == document and table[slot] != x:
                slot = (slot + np.uint64(1)) & mask
            if owner[slot] == document:
                out[i] = i - last[slot] <= history
            else:
                owner[slot], table[slot] = document, x
            last[slot] = i
        begin = stops[document]
