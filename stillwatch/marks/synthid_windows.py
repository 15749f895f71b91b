"""Which pairs of context and token the two published forms of SynthID-Text are read from, as hashes of 64 bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stillwatch.errors import InputError
from stillwatch.marks import _synthid
from stillwatch.marks._pairs import Flags, Ids, Words, repeats
from stillwatch.marks.tape import Tape, documents, first_of

ONE = np.uint64(1)


def pairs_once(
    tokens: ArrayLike,
    ends: ArrayLike | None,
    ngram_len: int,
    history: int,
    from_start: bool,
    start: np.uint64,
    tape: Tape | None,
) -> Words:
    """Hash, from `start`, of each distinct pair of a context that does not repeat and its token: uint64 (m,).

    Two pairs of one hash share every g-value under every key; they are one pair here.
    """
    ids, stops = documents(tokens, ends)
    hashes, whole = context_hashes(ids, stops, ngram_len, start)
    use = np.ones(ids.size, np.bool_) if from_start else whole
    at = np.flatnonzero(use & ~repeated(hashes, use, stops, history))
    out = np.empty(at.size, np.uint64)
    _synthid.step(hashes[at], ids[at], out)
    return out[first_of(out, tape)]


def context_hashes(ids: Ids, stops: Ids, ngram_len: int, start: np.uint64) -> tuple[Words, Flags]:
    """Hash of the ids before each token, zeros before the start of a document; and where all of them exist."""
    if ngram_len < 2:
        raise InputError(f"ngram_len is 2 or above, found {ngram_len}")
    hashes, whole = np.empty(ids.size, np.uint64), np.empty(ids.size, np.bool_)
    _synthid.window_hashes(ids, stops, ngram_len - 1, start, 0, hashes, whole)
    return hashes, whole


def repeated(hashes: Words, use: Flags, stops: Ids, history: int) -> Flags:
    """The engine's context mask, negated: True where one of the last `history` contexts in use had the same hash.

    The engine's history begins with zeros, so that a hash of 0 counts as seen until `history` contexts have passed.
    """
    if history < 0:
        raise InputError(f"context_history_size is 0 or above, found {history}")
    place = np.append(0, np.cumsum(use))
    ends = place[stops]
    at = np.flatnonzero(use)
    seen = repeats(hashes[at], ends, history)
    nth = (
        np.arange(at.size) - np.append(0, ends[:-1])[np.searchsorted(ends, np.arange(at.size), side="right")]
    )
    out = np.zeros(hashes.size, np.bool_)
    out[at] = seen | ((hashes[at] == 0) & (nth < history))
    return out


def after_contexts(windows: Ids, tokens: NDArray[np.int64], start: np.uint64) -> Words:
    """Hash, from `start`, of each window (B, width) with each of the tokens behind it: uint64 (B, tokens)."""
    rows, width = windows.shape
    ids = np.append(windows, np.zeros((rows, 1), np.int64), axis=1).ravel()
    hashes, whole = np.empty(ids.size, np.uint64), np.empty(ids.size, np.bool_)
    _synthid.window_hashes(ids, np.arange(1, rows + 1) * (width + 1), width, start, 0, hashes, whole)
    out = np.empty(rows * tokens.size, np.uint64)
    _synthid.step(np.repeat(hashes[width :: width + 1], tokens.size), np.tile(tokens, rows), out)
    return out.reshape(rows, tokens.size)
