"""Does a window of queries come from the benign pool? Maximum mean discrepancy, by stream and by account."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_array

from stillwatch.errors import InsufficientData
from stillwatch.lab.baselines._reading import DAY, Openings, everybody, old, opened, openings, table
from stillwatch.text.sketch import MINHASH

NAME = "MMD window test"
SOURCE = (
    "arXiv 2606.05725 and its code (LabRAI/mmd-llm-mea-detection, 8bf1aa1): unbiased MMD with Gaussian kernels at "
    "1/2, 1, 2 and 4 times the median distance, 20 reference draws a window, 1,000 benign windows. Adapted: the "
    "embedding is TF-IDF and SVD of hashed MinHash values and not bge-small, since no text is kept; the kernel is its "
    "average over 512 random Fourier features; the threshold is the 99.7th percentile of benign windows scored as the "
    "others are (the code takes the 95th of single draws, which came to 0.3% false alarms); benign traffic is what old "
    "accounts asked on the log's first day, first questions only. The pooled form cuts the whole stream into windows, "
    "and form:pooled_windows flags accounts most of whose questions lie in flagged ones: the method names no account."
)
WINDOW = 1500
ACCOUNT_WINDOW = 100
"""Of one account; the smallest size that the paper reports."""
POOL = 16_000
FITTED = 8_000
"""Questions of all accounts on which the embedding is fitted. Not the pool: an embedding that has seen the benign
questions and no others would tell the two apart by that alone, and bge-small has seen neither."""
LEAST_POOL = 400
BENIGN_WINDOWS = 1000
DRAWS = 20
PERCENTILE = 99.7
TOKENS = 1 << 16
DIMENSIONS = 64
FREQUENCIES = 128
BANDWIDTHS = (0.5, 1.0, 2.0, 4.0)
BLOCK = 16_384


def flag(workspace: Path, *, log: Path | None, seed: int) -> pa.Table:
    """Accounts whose windows of 100 first questions lie, on average, above the threshold.

    `score` is that average as a multiple of the threshold, null for accounts with fewer questions.

    Raises
    ------
    InsufficientData
        Old accounts asked fewer than `LEAST_POOL` questions on the first day.
    """
    rng = np.random.default_rng(seed)
    with opened(workspace) as engine:
        accounts = everybody(engine)
        asked = openings(engine, accounts)
        aged = old(engine, accounts)
    pool = benign_pool(asked, aged, rng)
    others = np.setdiff1d(rng.choice(len(asked.time), min(FITTED, len(asked.time)), replace=False), pool)
    embed = Embedding(asked.minhash[others if len(others) >= LEAST_POOL else pool], rng)
    features = embed(asked.minhash[pool])
    reference, calibration = features[::2], features[1::2]
    width = min(WINDOW, len(reference) // 2)
    by_account, by_stream = account_windows(asked), stream_windows(asked, width)
    sums = [
        np.zeros((int(w.max(initial=-1)) + 1, features.shape[1]), np.float32) for w in (by_account, by_stream)
    ]
    for a in range(0, len(asked.account), BLOCK):
        made = embed(asked.minhash[a : a + BLOCK])
        for total, window in zip(sums, (by_account, by_stream), strict=True):
            total += add_up(window[a : a + BLOCK], made, len(total))
    limit = threshold(reference, calibration, ACCOUNT_WINDOW, rng)
    multiple = discrepancy(sums[0], ACCOUNT_WINDOW, reference, rng) / limit
    owner = np.zeros(len(multiple), np.int64)
    owner[by_account[by_account >= 0]] = asked.account[by_account >= 0]
    windows = np.bincount(owner, minlength=len(accounts))
    score = np.where(windows, np.bincount(owner, multiple, len(accounts)) / np.maximum(windows, 1), np.nan)
    stream_limit = threshold(reference, calibration, width, rng)
    over = discrepancy(sums[1], width, reference, rng) > stream_limit
    inside = np.append(over, False)[by_stream]  # -1, in no window, is the False at the end
    questions = np.bincount(asked.account, minlength=len(accounts))
    share = np.bincount(asked.account, inside, len(accounts)) / np.maximum(questions, 1)
    return table(
        accounts,
        score,
        score > 1,
        more={"form:pooled_windows": share > 0.5},
        notes={
            "pool": len(pool),
            "accounts_tested": int(np.sum(windows > 0)),
            "account_windows": len(multiple),
            "account_windows_flagged": int(np.sum(multiple > 1)),
            "stream_window": width,
            "stream_windows": len(over),
            "stream_windows_flagged": int(over.sum()),
        },
    )


def benign_pool(asked: Openings, aged: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.int64]:
    """Rows of `asked` that stand for benign traffic, shuffled: what old accounts asked on the first day.

    Raises
    ------
    InsufficientData
        They are fewer than `LEAST_POOL`.
    """
    first_day = asked.time < asked.time.min(initial=np.iinfo(np.int64).max - DAY) + DAY
    pool = rng.permutation(np.flatnonzero(first_day & aged[asked.account]))[:POOL]
    if len(pool) < LEAST_POOL:
        raise InsufficientData(LEAST_POOL, len(pool), "first questions of old accounts on the first day")
    return pool


def account_windows(asked: Openings) -> NDArray[np.int64]:
    """Number of each row's window of `ACCOUNT_WINDOW` questions of one account; -1 outside of a full one."""
    starts = asked.starts
    size = np.diff(starts)
    full = size // ACCOUNT_WINDOW
    place = np.arange(len(asked.account)) - np.repeat(starts[:-1], size)
    window = np.repeat(np.cumsum(full) - full, size) + place // ACCOUNT_WINDOW
    return np.where(place < np.repeat(full * ACCOUNT_WINDOW, size), window, -1)


def stream_windows(asked: Openings, width: int) -> NDArray[np.int64]:
    """Number of each row's window of `width` questions of everybody in order of time; -1 in the incomplete last."""
    n = len(asked.time)
    window = np.empty(n, np.int64)
    window[np.argsort(asked.time, kind="stable")] = np.arange(n) // width
    return np.where(window < n // width, window, -1)


class Embedding:
    """Sketches to features whose inner product is the kernel.

    Parameters
    ----------
    seen
        MinHash of the questions that give document frequencies, axes and the median distance, shape (p, 32).
    """

    def __init__(self, seen: NDArray[np.int32], rng: np.random.Generator) -> None:
        token = _tokens(seen)
        self._idf = (
            np.log((1 + len(seen)) / (1 + np.bincount(token.ravel(), minlength=TOKENS))).astype(np.float32)
            + 1
        )
        weighted = self._weighted(seen)
        # Halko, Martinsson, Tropp 2011: the leading right singular vectors by random projection, two power steps
        probe = weighted @ rng.standard_normal((TOKENS, DIMENSIONS + 16)).astype(np.float32)
        for _ in range(2):
            probe = weighted @ (weighted.T @ np.linalg.qr(probe)[0])
        small = weighted.T @ np.linalg.qr(probe)[0]
        turn = np.linalg.eigh(small.T @ small)[1][:, ::-1][:, :DIMENSIONS]
        axes = small @ turn
        self._axes = axes / np.maximum(np.linalg.norm(axes, axis=0), 1e-9)
        z = self._place(seen[:2000])
        squared = np.maximum(2 - 2 * (z @ z.T), 0)[np.triu_indices(len(z), 1)]
        positive = squared[squared > 1e-6]
        width = float(np.sqrt(np.median(positive))) if len(positive) else 1.0
        draws = [rng.standard_normal((DIMENSIONS, FREQUENCIES)) / (b * width) for b in BANDWIDTHS]
        self._frequencies = np.concatenate(draws, axis=1).astype(np.float32)

    def __call__(self, minhash: NDArray[np.int32]) -> NDArray[np.float32]:
        """Features of length 1, shape (n, 1024)."""
        angle = self._place(minhash) @ self._frequencies
        scale = np.float32(1 / np.sqrt(angle.shape[1]))
        return np.concatenate([np.cos(angle), np.sin(angle)], axis=1) * scale

    def _place(self, minhash: NDArray[np.int32]) -> NDArray[np.float32]:
        z = self._weighted(minhash) @ self._axes
        return z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-9)

    def _weighted(self, minhash: NDArray[np.int32]) -> csr_array:
        token = _tokens(minhash)
        ends = np.arange(len(token) + 1) * MINHASH
        return csr_array((self._idf[token.ravel()], token.ravel(), ends), shape=(len(token), TOKENS))


def threshold(
    reference: NDArray[np.float32], calibration: NDArray[np.float32], size: int, rng: np.random.Generator
) -> float:
    """99.7th percentile of the discrepancy of benign windows, drawn iid from one pool as the paper draws them."""
    windows = _draw(calibration, size, BENIGN_WINDOWS, rng)
    return max(float(np.percentile(discrepancy(windows, size, reference, rng), PERCENTILE)), 1e-12)


def discrepancy(
    windows: NDArray[np.float32], size: int, reference: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Unbiased MMD^2 of each window, the mean over `DRAWS` reference windows of its size (Gretton et al. 2012, eq. 3).

    Parameters
    ----------
    windows
        Sums of the features of `size` questions, shape (w, d). A feature vector has length 1, so the kernel of a
        question with itself is 1 and leaves the sums of the kernel by subtraction.
    """
    drawn = _draw(reference, size, 10 * DRAWS, rng)
    within, apart = size * (size - 1), size * size
    own = (np.einsum("ij,ij->i", windows, windows, dtype=np.float64) - size) / within
    theirs = (np.einsum("ij,ij->i", drawn, drawn, dtype=np.float64) - size) / within
    cross = (windows @ drawn.T).astype(np.float64) / apart
    pick = rng.integers(len(drawn), size=(len(windows), DRAWS))
    return own + (theirs[pick] - 2 * np.take_along_axis(cross, pick, axis=1)).mean(axis=1)


def add_up(window: NDArray[np.int64], features: NDArray[np.float32], windows: int) -> NDArray[np.float32]:
    """Sums of the features by window, shape (windows, d); window -1 is left out."""
    held = np.flatnonzero(window >= 0)
    one = np.ones(len(held), np.float32)
    return csr_array((one, (window[held], held)), shape=(windows, len(window))) @ features


def _draw(
    features: NDArray[np.float32], size: int, windows: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Sums of the features of windows of `size` different rows each."""
    out = []
    for first in range(0, windows, 100):
        drawn = np.zeros((min(100, windows - first), len(features)), np.float32)
        # the places of the `size` smallest of random numbers are a sample without replacement
        kept = np.argpartition(rng.random(drawn.shape, np.float32), size - 1, axis=1)[:, :size]
        np.put_along_axis(drawn, kept, 1, axis=1)
        out.append(drawn @ features)
    return np.concatenate(out)


def _tokens(minhash: NDArray[np.int32]) -> NDArray[np.int64]:
    """A value at a place is one token; multiplicative hashing (Knuth) to `TOKENS` numbers."""
    place = np.arange(MINHASH, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (minhash.astype(np.uint32).astype(np.uint64) + place) * np.uint64(0xD6E8FEB86659FD93)
    return (mixed >> np.uint64(48)).astype(np.int64)
