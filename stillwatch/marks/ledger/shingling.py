"""The keyed shingles by which an answer is found when its text was altered."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np


def find(texts: Sequence[bytes | None], key: bytes, every: int) -> list[tuple[int, ...]]:
    """Shingles of each text, as uint64 values; empty for None.

    Parameters
    ----------
    texts
        UTF-8, or anything: what is no UTF-8 is read as the sketch reads it.
    key
        32 bytes.
    every
        Shingles that this number divides are kept, which is the same choice in every text; of a text that has none
        of those, the smallest is. 1: all; 0: none.
    """
    if not every or all(text is None for text in texts):
        return [()] * len(texts)
    import pyarrow as pa

    from stillwatch.text.sketch import sketch

    # Bytes: Arrow's strings would refuse half a character.
    column = sketch(pa.array(texts, pa.large_binary()), None, key=key).table["shingles"]
    rows = column.combine_chunks()
    if isinstance(rows, pa.ChunkedArray):
        rows = rows.chunk(0)
    values = rows.values.to_numpy(zero_copy_only=False).view(np.uint64)
    found = []
    for begin, end in pairwise(rows.offsets.to_numpy(zero_copy_only=False).tolist()):
        some = values[begin:end]
        kept = some[some % np.uint64(every) == 0].tolist() if end > begin else []
        if end > begin and not kept:
            kept = [int(some.min())]
        found.append(tuple(kept))
    return found
