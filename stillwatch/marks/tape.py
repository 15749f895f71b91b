"""Everything is counted once: windows of token ids as 64-bit fingerprints, and a tape of those already seen.

A mark draws its randomness from a window of ids. The same window again gives the same draw, so a text that repeats
itself repeats one draw and not many: counted again, unmarked text passes for marked under one key in five. The tape
therefore runs over the whole corpus and not over each document.

Two windows share a fingerprint by chance with probability 2^-64; one of them is then not counted. Fingerprints are
no secret and no digest: whoever can choose token ids can make them collide, which only leaves out pairs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stillwatch.errors import InputError
from stillwatch.marks._compiled import compiled

U = np.uint64
LIMIT = 1 << 26
"""Fingerprints that a tape remembers by default; it then takes 1 GiB (`Tape.memory`)."""

Ids = NDArray[np.int64]
Prints = NDArray[np.uint64]
Flags = NDArray[np.bool_]


def documents(tokens: ArrayLike, ends: ArrayLike | None = None) -> tuple[Ids, Ids]:
    """Token ids and document ends as contiguous int64, checked.

    Parameters
    ----------
    tokens
        Whole numbers (n,), 0 or above: all documents, one after the other.
    ends
        Whole numbers (documents,): one past the last token of each document, rising, the last one n. None: one
        document.

    Raises
    ------
    InputError
        Not one-dimensional, not whole numbers, an id below 0, or ends that do not end at n.
    """
    ids = _whole(tokens, "tokens")
    if ids.size and ids.min() < 0:
        raise InputError(f"token ids are 0 or above, found {int(ids.min())}")
    stops = np.array([ids.size], np.int64) if ends is None else _whole(ends, "ends")
    if stops.size == 0 or stops[0] < 0 or (np.diff(stops) < 0).any() or stops[-1] != ids.size:
        raise InputError(
            f"ends rise and the last one is the number of tokens, {ids.size}; found "
            f"{int(stops[-1]) if stops.size else 'none'} as the last"
        )
    return ids, stops


def windows(tokens: ArrayLike, width: int, ends: ArrayLike | None = None) -> tuple[Prints, Flags]:
    """The ids that stand before each token, as one number, and where all of them exist.

    Parameters
    ----------
    tokens, ends
        As in `documents`. A window never crosses the start of its document.
    width
        Ids in a window, 0 or above; 0: every window is the empty one.

    Returns
    -------
    fingerprints
        uint64 (n,). Of ``tokens[i - width : i]`` in order; ids before the start of the document count as -1.
    whole
        bool (n,). True where the document holds `width` ids before token i.
    """
    ids, stops = documents(tokens, ends)
    if width < 0:
        raise InputError(f"width is 0 or above, found {width}")
    prints, whole = np.empty(ids.size, U), np.empty(ids.size, np.bool_)
    _windows(ids, stops, width, prints, whole)
    return prints, whole


def with_target(fingerprints: Prints, tokens: ArrayLike) -> Prints:
    """Fingerprints of (window, token), uint64 (n,): what a green list is asked about. Any numbers stand for windows."""
    ids = _whole(tokens, "tokens")
    if ids.shape != fingerprints.shape:
        raise InputError(f"one token a window, found {ids.shape} for {fingerprints.shape}")
    out = np.empty(ids.size, U)
    _with_target(np.ascontiguousarray(fingerprints, U), ids, out)
    return out


def first_of(fingerprints: Prints, tape: Tape | None = None) -> Flags:
    """True where a fingerprint occurs for the first time, bool (n,); with a tape also over what that has seen.

    Without a tape it takes 16 to 32 bytes a fingerprint while it works.
    """
    if tape is not None:
        return tape.first(fingerprints)
    tape = Tape(limit=max(1, len(fingerprints)))
    tape._table = np.zeros(max(1 << 10, 2 << (len(fingerprints) - 1).bit_length()), U)
    return tape.first(fingerprints)


class Tape:
    """Remembers fingerprints, so that a corpus can be read in pieces.

    One tape serves one scheme with its parameters: what two of them ask about may look the same.

    Parameters
    ----------
    limit
        Most fingerprints to remember, 1 or above. The table grows by doubling and is at most half full: it takes
        between 16 and 32 bytes a fingerprint, and while it grows half as much again. Behind the limit a new
        fingerprint is not told from an old one, so that nothing counts twice: it is answered False and counted in
        `dropped`.

    Attributes
    ----------
    size
        Fingerprints remembered.
    dropped
        Fingerprints answered False because the tape was full; those seen before are not among them.

    Examples
    --------
    >>> tape = Tape(limit=1000)
    >>> tape.first(np.array([5, 6, 5], np.uint64)).tolist()
    [True, True, False]
    >>> tape.first(np.array([6, 7], np.uint64)).tolist()
    [False, True]
    """

    def __init__(self, limit: int = LIMIT) -> None:
        if limit < 1:
            raise InputError(f"limit is 1 or above, found {limit}")
        self.limit = limit
        self.size = 0
        self.dropped = 0
        self._table = np.zeros(1 << 10, U)

    @property
    def memory(self) -> int:
        """Bytes of the table now."""
        return int(self._table.nbytes)

    def first(self, fingerprints: Prints) -> Flags:
        """True where a fingerprint was not seen before, here or in an earlier call; bool (n,)."""
        prints = np.ascontiguousarray(fingerprints, U)
        if prints.ndim != 1:
            raise InputError(f"fingerprints are one-dimensional, found {prints.ndim} dimensions")
        out = np.empty(prints.size, np.bool_)
        done = 0
        while done < prints.size:
            room = min(len(self._table) // 2, self.limit)
            done, self.size, dropped = _first(prints, done, self._table, self.size, room, self.limit, out)
            self.dropped += dropped
            if done < prints.size:
                larger = np.zeros(2 * len(self._table), U)
                _move(self._table, larger)
                self._table = larger
        return out


def _whole(values: ArrayLike, name: str) -> Ids:
    array: NDArray[Any] = np.asarray(values)
    if array.size == 0:
        array = array.astype(np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InputError(
            f"{name}: expected whole numbers in one dimension, found {array.dtype} in {array.ndim}"
        )
    return np.ascontiguousarray(array, np.int64)


@compiled
def _mix(x):
    """splitmix64's finaliser (Steele, Lea, Flood 2014), a bijection."""
    x = (x ^ (x >> U(30))) * U(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> U(27))) * U(0x94D049BB133111EB)
    return x ^ (x >> U(31))


@compiled
def _add(h, token):
    return _mix(h + U(token) * U(2) + U(0x9E3779B97F4A7C15))


@compiled
def _windows(ids, stops, width, prints, whole):
    begin = 0
    for stop in stops:
        for i in range(begin, stop):
            h = U(width)
            for j in range(i - width, i):
                h = _add(h, ids[j] if j >= begin else -1)
            prints[i] = h
            whole[i] = i - begin >= width
        begin = stop


@compiled
def _with_target(prints, ids, out):
    for i in range(len(ids)):
        out[i] = _add(_mix(prints[i] ^ U(0xD1B54A32D192ED03)), ids[i])


@compiled
def _first(prints, begin, table, size, room, limit, out):
    """Answers prints[begin:] until `room` is used up while more is allowed.

    0 marks an empty slot, and another number stands for the fingerprint 0.
    """
    mask, dropped = U(len(table) - 1), 0
    for i in range(begin, len(prints)):
        x = prints[i] if prints[i] != U(0) else U(0x9E3779B97F4A7C15)
        slot = _mix(x) & mask
        while table[slot] != U(0) and table[slot] != x:
            slot = (slot + U(1)) & mask
        if table[slot] == x:
            out[i] = False
        elif size < room:
            table[slot] = x
            size += 1
            out[i] = True
        elif room < limit:
            return i, size, dropped
        else:
            out[i] = False
            dropped += 1
    return len(prints), size, dropped


@compiled
def _move(table, larger):
    mask = U(len(larger) - 1)
    for x in table:
        if x != U(0):
            slot = _mix(x) & mask
            while larger[slot] != U(0):
                slot = (slot + U(1)) & mask
            larger[slot] = x
