"""Sorted runs: files of pairs (key, value) of 8 bytes each, sorted, looked up in place.

A run is a header of 24 bytes (magic, pairs, zero), all keys in rising order, then their values in the same order;
values of one key rise too. A look-up asks every 512th key, kept in memory, and then reads 4 kB of keys and the values:
16 kB of memory for each million pairs. The file is read and not mapped: whatever a mapping touches counts as memory of
the process, with what lies around it.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stillwatch.errors import IntegrityError
from stillwatch.identity.keys import sync_folder

Words = NDArray[np.uint64]
MAGIC = b"SWPAIRS1"
HEADER = struct.Struct("<8sQQ")
STEP = 512
PIECE = 1 << 19
"""Pairs that a merge holds at a time: 32 MB with everything it needs."""


class Run:
    """One file of sorted pairs.

    Raises
    ------
    IntegrityError
        The file is none, or not as long as it says.
    """

    __slots__ = ("_fences", "_handle", "n", "path")

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                magic, self.n, _ = HEADER.unpack(file.read(HEADER.size))
        except (OSError, struct.error):
            magic, self.n = b"", 0
        if magic != MAGIC or path.stat().st_size != HEADER.size + 16 * self.n or not self.n:
            raise IntegrityError(f"{path}", "of a run of sorted pairs", "something else; rebuild the index")
        self._handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        step = PIECE - PIECE % STEP
        self._fences = np.concatenate(
            [self.read(0, at, min(self.n, at + step))[::STEP].copy() for at in range(0, self.n, step)]
        )

    def read(self, part: int, start: int, stop: int) -> Words:
        """A copy of some keys (part 0) or values (part 1)."""
        at = HEADER.size + 8 * (self.n * part + start)
        data = os.pread(self._handle, 8 * (stop - start), at)
        if len(data) != 8 * (stop - start):
            raise IntegrityError(f"{self.path}", f"of {self.n} pairs", "a file that ends before")
        return np.frombuffer(data, np.uint64)

    def find(self, key: int) -> Words:
        """Values of a key, rising; uint64."""
        low, high = self.bounds(key)
        return self.read(1, low, high) if low < high else np.empty(0, np.uint64)

    def bounds(self, key: int) -> tuple[int, int]:
        """First place that is not below the key, first that is above it; one read where the key is no fence."""
        word = np.uint64(key)
        low, high = (int(self._fences.searchsorted(word, side)) for side in ("left", "right"))
        begin = max(0, low - 1) * STEP
        block = self.read(0, begin, min(self.n, begin + STEP))
        first = begin + int(block.searchsorted(word, "left"))
        if low < high:
            last = (high - 1) * STEP
            block, begin = self.read(0, last, min(self.n, last + STEP)), last
        return first, begin + int(block.searchsorted(word, "right"))

    def __del__(self) -> None:
        if (handle := getattr(self, "_handle", -1)) >= 0:
            os.close(handle)


def write_run(path: Path, keys: Words, values: Words) -> str:
    """Write pairs that are sorted already; blake2b of the file's pairs."""
    return _write(path, len(keys), iter([(keys, values)]))


def merge(path: Path, runs: Sequence[Run]) -> str:
    """Merge runs, given from old to new, into one; blake2b of its pairs.

    Values of an older run are below those of a newer one, so that pairs of one key need no sorting between runs and
    a key with any number of values costs no memory.
    """
    return _write(path, sum(run.n for run in runs), _pieces(runs))


def _pieces(runs: Sequence[Run]) -> Iterator[tuple[Words, Words]]:
    fences = np.sort(np.concatenate([run._fences for run in runs]))
    pivots = np.unique(fences[:: max(1, PIECE // STEP)])
    at = [0] * len(runs)
    for pivot in pivots.tolist():
        bounds = [run.bounds(pivot) for run in runs]
        yield _sorted(runs, at, [low for low, _ in bounds])
        # All pairs of the pivot itself, run by run, in blocks.
        for run, (low, high) in zip(runs, bounds, strict=True):
            for begin in range(low, high, PIECE):
                end = min(high, begin + PIECE)
                yield run.read(0, begin, end), run.read(1, begin, end)
        at = [high for _, high in bounds]
    yield _sorted(runs, at, [run.n for run in runs])


def _sorted(runs: Sequence[Run], start: Sequence[int], stop: Sequence[int]) -> tuple[Words, Words]:
    spans = [(run, a, b) for run, a, b in zip(runs, start, stop, strict=True) if a < b]
    if not spans:
        return np.empty(0, np.uint64), np.empty(0, np.uint64)
    keys = np.concatenate([run.read(0, a, b) for run, a, b in spans])
    values = np.concatenate([run.read(1, a, b) for run, a, b in spans])
    # Stable: of equal keys those of the older run, which are smaller, stay first.
    order = np.argsort(keys, kind="stable")
    return keys[order], values[order]


def _write(path: Path, n: int, pieces: Iterator[tuple[Words, Words]]) -> str:
    draft = path.with_suffix(".tmp")
    digests = hashlib.blake2b(digest_size=16), hashlib.blake2b(digest_size=16)
    try:
        with draft.open("wb") as file:
            file.write(HEADER.pack(MAGIC, n, 0))
            handle, done = file.fileno(), 0
            file.flush()
            for keys, values in pieces:
                for part, words, digest in ((0, keys, digests[0]), (1, values, digests[1])):
                    data = np.ascontiguousarray(words).data.cast("B") if len(words) else memoryview(b"")
                    digest.update(data)
                    _put(handle, data, HEADER.size + 8 * (n * part + done))
                done += len(keys)
            os.fsync(handle)
        os.replace(draft, path)  # noqa: PTH105
        sync_folder(path.parent)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return digests[0].hexdigest() + digests[1].hexdigest()


def digest_of(run: Run) -> str:
    """The same over a run that is there."""
    found = []
    for part in (0, 1):
        digest = hashlib.blake2b(digest_size=16)
        for begin in range(0, run.n, PIECE):
            digest.update(run.read(part, begin, min(run.n, begin + PIECE)).data.cast("B"))
        found.append(digest.hexdigest())
    return "".join(found)


def _put(handle: int, data: memoryview, at: int) -> None:
    done = 0
    while done < len(data):
        done += os.pwrite(handle, data[done:], at + done)
