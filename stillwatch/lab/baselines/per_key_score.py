"""A suspicion score that each key carries along: rate, likeness to the previous prompt, gaps, volume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stillwatch.lab.baselines._reading import OPENING, everybody, opened, sketches, table
from stillwatch.text.sketch import MINHASH

NAME = "score by key"
SOURCE = (
    "honeypotllm 0.1.3 (PyPI), SuspicionScorer by default: rate 0.35, sequential likeness 0.30, gap "
    "0.20, volume 0.15, decay 0.05 an hour, flagged at 0.75. Adapted: time is the event's own and not the wall clock; "
    "likeness is the MinHash estimate for system and prompt together where the original takes word bigrams of the "
    "first 120 characters of the last message, so it is read between first questions only, and form:without_system "
    "reads it only where there is no system text; no cap on the number of keys."
)
THRESHOLD = 0.75
RATE, SEQUENTIAL, GAP, VOLUME = 0.35, 0.30, 0.20, 0.15
A_MINUTE, AN_HOUR, A_DAY = 30, 500, 5000
LEAST_GAP_MS = 500.0
LEAST_LIKENESS = 0.40
DECAY_AN_HOUR = 0.05
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000


def flag(workspace: Path, *, log: Path | None, seed: int) -> pa.Table:
    """Accounts one of whose keys ever reached 0.75; score: the highest that any of them reached.

    A key is the credential, or the account where the log names none.
    """
    with opened(workspace) as engine:
        accounts = everybody(engine)
        rows = engine.read(
            "select x.account_id, coalesce(x.credential_id, x.account_id) as key, x.time // 1000 as ms, "
            f"x.exchange_id, coalesce({OPENING}, false) as opening, x.system_digest is null as bare, "
            f"case when {OPENING} then x.minhash end as minhash from exchanges as x"
        )
    key = np.unique(rows["key"].to_numpy(), return_inverse=True)[1]
    ms = rows["ms"].to_numpy()
    order = np.lexsort((rows["exchange_id"].to_numpy(), ms, key))
    key, ms, account = key[order], ms[order], np.searchsorted(accounts, rows["account_id"].to_numpy())[order]
    opening = rows["opening"].to_numpy()[order]
    likeness = _likeness(rows["minhash"], order, opening, key)
    bare = np.where(rows["bare"].to_numpy()[order], likeness, 0.0)
    del rows, order
    highest = []
    for like in (likeness, bare):
        score = carried(key, ms, like)
        best = np.zeros(len(accounts))
        np.maximum.at(best, account, score)
        highest.append(best)
    return table(
        accounts,
        highest[0],
        highest[0] >= THRESHOLD,
        more={"form:without_system": highest[1] >= THRESHOLD},
    )


def carried(
    key: NDArray[np.int64], ms: NDArray[np.int64], likeness: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The score after each request.

    Parameters
    ----------
    key, ms
        Number of the key and time in milliseconds; sorted by key, then time. Shape (n,).
    likeness
        To the key's previous prompt; 0 where there is none. Shape (n,).

    Returns
    -------
    Shape (n,), in [0, 1].

    Notes
    -----
    One request turns the score s into min(1, max(0, s - decay) + gain). Such maps are clamps of s + a to [low, high],
    and two in a row are one again, so all prefixes of all keys are composed in log2(n) passes over arrays.
    """
    n = len(key)
    if not n:
        return np.zeros(0)
    first = np.flatnonzero(np.diff(key, prepend=-1))
    start = np.repeat(first, np.diff(np.append(first, n)))
    seen = np.arange(n) - start + 1
    # Keys lie more than a day apart on this line, so one search serves them all.
    line = (ms - ms.min()) + key * (np.int64(ms.max() - ms.min()) + 2 * DAY_MS)
    minute, hour, day = (
        np.arange(n) + 1 - np.searchsorted(line, line - width) for width in (MINUTE_MS, HOUR_MS, DAY_MS)
    )
    since = np.diff(ms, prepend=ms[:1])
    since[first] = 0
    rate = np.maximum.reduce(
        [(count - limit) / count for count, limit in ((minute, A_MINUTE), (hour, AN_HOUR), (day, A_DAY))]
    )
    gap = np.where((seen >= 5) & (minute >= 2), 1 - since / LEAST_GAP_MS, 0.0)
    volume = np.clip((day - 2 * A_DAY) / (8 * A_DAY), 0, 1)
    like = np.where((seen > 3) & (likeness >= LEAST_LIKENESS), likeness, 0.0)
    gain = RATE * np.maximum(rate, 0) + SEQUENTIAL * like + GAP * np.maximum(gap, 0) + VOLUME * volume
    shift = gain - DECAY_AN_HOUR * since / HOUR_MS
    low, high = np.minimum(gain, 1.0), np.ones(n)
    high[first] = low[first]  # a key starts at 0: its first map is constant
    step = 1
    while step < n and np.any(high > low):
        a, lo, hi = shift.copy(), low.copy(), high.copy()
        shift[step:] = a[:-step] + a[step:]
        low[step:] = np.clip(lo[:-step] + a[step:], lo[step:], hi[step:])
        high[step:] = np.clip(hi[:-step] + a[step:], lo[step:], hi[step:])
        step *= 2
    return low


def _likeness(
    minhash: pa.ChunkedArray, order: NDArray[np.int64], opening: NDArray[np.bool_], key: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Share of equal MinHash values with the same key's previous first question, 0 without one; in the order given."""
    out = np.zeros(len(order))
    values = sketches(minhash)
    unsorted = np.zeros(len(order), bool)
    unsorted[order] = opening
    rank = (
        np.cumsum(unsorted) - 1
    )  # null lists hold no values, so the matrix has rows for first questions only
    at = np.flatnonzero(opening)
    row = rank[order[at]]
    for a in range(1, len(at), 200_000):
        b = min(a + 200_000, len(at))
        same = np.count_nonzero(values[row[a:b]] == values[row[a - 1 : b - 1]], axis=1) / MINHASH
        out[at[a:b]] = np.where(key[at[a:b]] == key[at[a - 1 : b - 1]], same, 0.0)
    return out
