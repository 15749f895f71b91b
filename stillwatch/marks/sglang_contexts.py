"""Which tokens SGLang's two marks are read from, and the hash of what stands before them."""

from __future__ import annotations

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


def context_hash(context: ArrayLike, width: int) -> np.uint64:
    """Hash of the last `width` ids, or of all where there are fewer."""
    given = np.asarray(context, np.int64)
    ids = np.append(given[max(0, given.size - width) :], 0)
    out = np.empty(ids.size, np.uint64)
    _murmur.context_hashes(ids, np.array([ids.size]), width, out)
    return np.uint64(out[-1])


def log_uniform(hashed: Words) -> NDArray[np.float64]:
    """log of u = (hash + 1/2) / 2^32."""
    return np.log((hashed.astype(np.float64) + 0.5) / 2.0**32)
