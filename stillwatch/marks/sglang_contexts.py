"""Which tokens SGLang's two marks are read from, and the hash of what stands before them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stillwatch.errors import InputError
from stillwatch.marks import _murmur
from stillwatch.marks._pairs import Words
from stillwatch.marks.tape import Tape, documents, first_of, with_target

WIDTH = 4
LIMIT = 4096
WIDEST = 64


def hashed_once(
    tokens: ArrayLike,
    ends: ArrayLike | None,
    prompts: ArrayLike | None,
    width: int,
    limit: int,
    tape: Tape | None,
) -> tuple[Words, Words]:
    """Hashes of contexts, each once, uint64 (m,), and the token that first followed each, (m,).

    Of each document the first `limit` distinct hashes behind the prompt count; see `sglang_gumbel.read`.
    """
    ids, stops = documents(tokens, ends)
    if not 1 <= width <= WIDEST:
        raise InputError(f"context_window lies between 1 and {WIDEST}, found {width}")
    if limit < 1:
        raise InputError(f"max_contexts is 1 or above, found {limit}")
    lengths = np.diff(stops, prepend=0)
    if prompts is None:
        skipped = np.minimum(width, lengths)
    else:
        skipped = np.asarray(prompts)
        if skipped.shape != stops.shape or skipped.dtype.kind not in "iu":
            raise InputError(f"prompts holds one length a document, found {skipped.shape} for {stops.size}")
        if (skipped < 0).any() or (skipped > lengths).any():
            raise InputError("a prompt is no longer than its document, and no shorter than 0")
    document = np.repeat(np.arange(stops.size), lengths)
    at = np.flatnonzero(np.arange(ids.size) - (stops - lengths)[document] >= skipped[document])
    hashes = np.empty(ids.size, np.uint64)
    _murmur.context_hashes(ids, stops, width, hashes)
    if lengths.size and lengths.max() > limit:
        own = first_of(with_target(hashes[at], document[at]))
        seen = np.cumsum(own)
        begins = np.searchsorted(at, stops - lengths)  # the first kept place of each document
        earlier = np.append(0, seen)[begins][document[at]]
        at = at[own & (seen - earlier <= limit)]
    at = at[first_of(with_target(hashes[at], np.zeros(at.size, np.int64)), tape)]
    return hashes[at], ids[at].astype(np.uint64) & np.uint64(0xFFFFFFFF)


def last_hashes(contexts: NDArray[np.int64], width: int) -> Words:
    """Hash of the last `width` ids of each context, or of all where there are fewer: (B, k) to (B,)."""
    rows, length = contexts.shape
    ids = np.append(contexts, np.zeros((rows, 1), np.int64), axis=1).ravel()
    out = np.empty(ids.size, np.uint64)
    _murmur.context_hashes(ids, np.arange(1, rows + 1) * (length + 1), width, out)
    return out[length :: length + 1].copy()


def vocabulary_hashes(contexts: Words, key: np.uint64, vocab_size: int) -> Words:
    """The hash of every token after each context hash, (B, V)."""
    out = np.empty(contexts.size * vocab_size, np.uint64)
    every = np.tile(np.arange(vocab_size, dtype=np.uint64), contexts.size)
    _murmur.hashes(np.repeat(contexts, vocab_size), every, key, out)
    return out.reshape(contexts.size, vocab_size)


def largest(logits: NDArray[Any], hashed: Words) -> NDArray[np.int64]:
    """The token of the largest log(u) / p of each row, u = (hash + 1/2) / 2^32."""
    rows = logits.astype(np.float64)
    u = (hashed.astype(np.float64) + 0.5) / 2.0**32
    return np.argmax(np.log(u) * np.exp(rows.max(axis=1, keepdims=True) - rows), axis=1)
