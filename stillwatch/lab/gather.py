"""Puts pieces of text one after the other: the one loop of the lab that is compiled."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numba import njit


def gather(pieces: pa.LargeStringArray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of ``pieces[index[0]], pieces[index[1]], ...`` and where each of them ends.

    Arrow's `take` and `binary_join` do the same through an array of every piece; this takes a tenth of their time.
    """
    _, offsets, data = pieces.buffers()
    ends = np.frombuffer(offsets, np.int64)[pieces.offset : pieces.offset + len(pieces) + 1]
    source = np.frombuffer(data if data is not None else b"", np.uint8)
    out_ends = np.cumsum((ends[1:] - ends[:-1])[index])
    out = np.empty(int(out_ends[-1]) if len(out_ends) else 0, np.uint8)
    _copy(source, ends, index, out)
    return out, out_ends


def joined(pieces: pa.LargeStringArray, index: np.ndarray, counts: np.ndarray) -> pa.LargeStringArray:
    """One text per row of `counts[i]` pieces, 1 or more each, taken one after the other from `index`."""
    data, piece_ends = gather(pieces, index)
    ends = np.zeros(len(counts) + 1, np.int64)
    ends[1:] = piece_ends[np.cumsum(counts) - 1] if len(counts) else 0
    return pa.LargeStringArray.from_buffers(len(counts), pa.py_buffer(ends), pa.py_buffer(data))


@njit(cache=True, nogil=True)
def _copy(source: np.ndarray, ends: np.ndarray, index: np.ndarray, out: np.ndarray) -> None:
    at = 0
    for i in range(index.shape[0]):
        start, end = ends[index[i]], ends[index[i] + 1]
        length = end - start
        if length > 24:  # a block copy costs more than it saves below that
            out[at : at + length] = source[start:end]
        else:
            for b in range(length):
                out[at + b] = source[start + b]
        at += length
