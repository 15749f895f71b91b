"""Green lists that are permutations of the vocabulary: what the marks have in common whose engines call ``randperm``.

A permutation is drawn from a 32-bit seed. Two contexts with one seed have one list, and a token is asked about it
once: pairs are counted once by seed and token, under each key for itself. Seed 0 is left out, because it is what
an id, a product or a key of 0 gives under every key: that list is known to all and says nothing about a key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stillwatch.errors import InputError
from stillwatch.marks import _torch_lists
from stillwatch.marks.tape import Flags, Ids, Prints, Tape, first_of, with_target


@dataclass(frozen=True, slots=True)
class Pairs:
    """Distinct pairs of context and token, by context.

    Attributes
    ----------
    contexts
        int64 (c,), rising.
    first
        int64 (c + 1,); context i has tokens[first[i] : first[i + 1]].
    tokens
        int64 (pairs,).
    """

    contexts: Ids
    first: Ids
    tokens: Ids


def checked_keys(keys: Sequence[int], most: int) -> list[int]:
    """Keys as Python integers from 1 to `most`; the message of an error does not show them."""
    found = [int(key) for key in keys]
    if not found:
        raise InputError("no key was given")
    if wrong := sum(not 1 <= key <= most for key in found):
        raise InputError(
            f"a key is a whole number from 1 to 2^{most.bit_length()} - 1; {wrong} of {len(found)} are not"
        )
    return found


def list_size(vocab_size: int, gamma: float, tokens: Ids) -> int:
    """Green tokens in a list, ``int(gamma * vocab_size)``; checks the three against one another.

    Raises
    ------
    InputError
        gamma is not in (0, 1), or the list is empty, or an id is not in the vocabulary.
    """
    if not 2 <= vocab_size < 1 << 27:
        raise InputError(f"vocab_size lies between 2 and 2^27, found {vocab_size}")
    size = int(vocab_size * gamma)
    if not 0 < gamma < 1 or size < 1:
        raise InputError(
            f"gamma lies between 0 and 1 and leaves a green token, found {gamma:g} of {vocab_size}"
        )
    if tokens.size and tokens.max() >= vocab_size:
        raise InputError(
            f"vocab_size {vocab_size} has no id {int(tokens.max())}; give the size in the configuration of the model"
        )
    return size


def distinct_pairs(contexts: Ids, tokens: Ids, usable: Flags, tape: Tape | None = None) -> Pairs:
    """Each pair of context and token once, by context; with a tape only those it has not seen.

    Parameters
    ----------
    contexts, tokens
        int64 (n,), 0 or above: what the seed is made of, and the token that followed.
    usable
        bool (n,). Pairs to count at all.
    """
    contexts, tokens = contexts[usable], tokens[usable]
    new = first_of(with_target(contexts.astype(np.uint64), tokens), tape)
    return _grouped(contexts[new], tokens[new])


def count_green(
    seeds: Prints, pairs: Pairs, vocab_size: int, green: int, *, key: int = 0, tape: Tape | None = None
) -> tuple[int, int]:
    """Pairs that count under one key, and how many of them are green.

    Parameters
    ----------
    seeds
        uint64 (c,), mod 2^32: the seed of each context.
    pairs, vocab_size, green
        The pairs, the size of the vocabulary and of a list.
    key, tape
        Leave out what the tape has seen under this key. Only where contexts that differ share a seed under some key
        by rule and not by chance; otherwise the tape belongs to `distinct_pairs`, which needs one entry for all keys.

    Returns
    -------
    scored, green
    """
    pairs, seeds = merged(seeds, pairs)
    if tape is not None:
        of_pair = np.repeat(seeds, np.diff(pairs.first))
        new = tape.first(under_key(key, with_target(of_pair, pairs.tokens)))
        pairs = _grouped(of_pair[new].astype(np.int64), pairs.tokens[new])
        seeds = pairs.contexts.astype(np.uint64)
    flags = np.empty(pairs.tokens.size, np.bool_)
    _torch_lists.green_flags(seeds, pairs.first, pairs.tokens, vocab_size, green, flags)
    return flags.size, int(flags.sum())


def under_key(key: int, fingerprints: Prints) -> Prints:
    """Fingerprints that are those of one key only."""
    return with_target(fingerprints, np.full(len(fingerprints), key & 0x7FFFFFFFFFFFFFFF, np.int64))


def merged(seeds: Prints, pairs: Pairs) -> tuple[Pairs, Prints]:
    """`pairs` with contexts of one seed as one context, and the seed of each; those of seed 0 are left out."""
    distinct = np.unique(seeds)
    if distinct.size == seeds.size and distinct.size and distinct[0] > 0:
        return pairs, seeds
    of_pair = np.repeat(seeds, np.diff(pairs.first)).astype(np.int64)
    one = distinct_pairs(of_pair, pairs.tokens, of_pair > 0)
    return one, one.contexts.astype(np.uint64)


def green_list(seed: int, vocab_size: int, green: int) -> Ids:
    """The ids of one list, int64 (green,), in the order of the permutation."""
    places = np.empty(vocab_size, np.int64)
    _torch_lists.permutation(np.uint64(seed & 0xFFFFFFFF), vocab_size, green, places)
    return places[:green].copy()


def table(seed: int, size: int, settled: int) -> NDArray[np.int64]:
    """The first `settled` places of ``randperm(size)``, int64 (settled,)."""
    places = np.empty(size, np.int64)
    _torch_lists.permutation(np.uint64(seed & 0xFFFFFFFF), size, settled, places)
    return places[:settled].copy()


def rows_of(logits: NDArray[Any], context: ArrayLike) -> tuple[NDArray[Any], Ids, NDArray[Any]]:
    """Logits (B, V), ids (B, k) and a copy of the logits to change, from one row or many; checked."""
    rows = np.atleast_2d(np.asarray(logits))
    before = np.atleast_2d(np.asarray(context, np.int64))
    if rows.dtype.kind != "f" or rows.ndim != 2 or before.ndim != 2 or len(before) != len(rows):
        raise InputError(
            f"logits are floats (V,) or (B, V) with a context for each row, found {rows.dtype} {rows.shape} "
            f"and {before.shape}"
        )
    if before.size and before.min() < 0:
        raise InputError("token ids are 0 or above")
    return rows, before, rows.copy()


def _grouped(contexts: Ids, tokens: Ids) -> Pairs:
    order = np.lexsort((tokens, contexts))
    contexts, tokens = contexts[order], tokens[order]
    starts = np.flatnonzero(np.diff(contexts, prepend=-1))
    return Pairs(contexts[starts], np.append(starts, contexts.size), tokens)
