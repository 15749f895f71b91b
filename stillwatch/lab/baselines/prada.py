"""Are the distances between an account's successive queries normal? PRADA, on text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray
from scipy.stats import shapiro

from stillwatch.lab.baselines._reading import everybody, old, opened, openings, table
from stillwatch.text.sketch import MINHASH

NAME = "PRADA"
SOURCE = (
    "Juuti, Szyller, Marchal, Asokan 2019, PRADA (EuroS&P, arXiv 1805.02628), algorithm 3, and the authors' code "
    "(SSGAalto/prada-protecting-against-dnn-model-stealing-attacks), whose delta of 0.9 is taken. Adapted to text: the "
    "distance is 1 minus the Jaccard likeness of two first questions as MinHash has it, in steps of 1/32, since no "
    "text and no image is kept; one growing set an account, since a language model predicts no class (as in the "
    "adaptation of arXiv 2606.05725); the first 1,000 first questions of an account; the test is made after every 50 "
    "queries, not after each. form:calibrated takes delta from old accounts, the 5th percentile, as that paper does."
)
DELTA = 0.9
LEAST = 100
"""Distances needed before the first test (the paper's |D| > 100)."""
EVERY = 50
MOST = 1000


def flag(workspace: Path, *, log: Path | None, seed: int) -> pa.Table:
    """Accounts whose distances ever failed to look normal; score: 1 - the least W of Shapiro and Wilk."""
    with opened(workspace) as engine:
        accounts = everybody(engine)
        asked = openings(engine, accounts)
        aged = old(engine, accounts)
    least = np.full(len(accounts), np.nan)
    starts = asked.starts
    for a, b in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):  # over accounts, not over rows
        if b - a > LEAST + 1:
            d = least_distances(asked.minhash[a : min(b, a + MOST)])
            least[asked.account[a]] = min(_w(d[:n]) for n in range(LEAST + 1, len(d) + 1, EVERY))
    known = least[aged & ~np.isnan(least)]
    calibrated = float(np.percentile(known, 5)) if len(known) >= 20 else np.nan
    return table(
        accounts,
        1 - least,
        least < DELTA,
        more={"form:calibrated": least < calibrated},
        notes={
            "tested": int(np.sum(~np.isnan(least))),
            "calibrated_delta": None if np.isnan(calibrated) else calibrated,
        },
    )


@njit(cache=True, nogil=True)
def least_distances(minhash: NDArray[np.int32]) -> NDArray[np.float64]:
    """Distance of each query but the first to the nearest one of the growing set.

    Parameters
    ----------
    minhash
        One account's first questions in order of time, shape (n, 32).

    Returns
    -------
    Shape (n - 1,), in [0, 1]. A query joins the set when its distance is above the threshold, which is raised to the
    mean less the standard deviation of the distances with which queries joined.
    """
    n = len(minhash)
    out = np.empty(max(n - 1, 0))
    grown = np.zeros(n, np.int64)
    size, total, squares, threshold = 1, 0.0, 0.0, 0.0
    for i in range(1, n):
        best = 0
        for j in range(size):
            same = 0
            for k in range(MINHASH):
                same += minhash[i, k] == minhash[grown[j], k]
            best = max(best, same)
        d = 1.0 - best / MINHASH
        out[i - 1] = d
        if d > threshold:
            grown[size] = i
            size += 1
            total += d
            squares += d * d
            mean = total / size  # the first query counts with distance 0
            threshold = max(threshold, mean - np.sqrt(max(squares / size - mean * mean, 0.0)))
    return out


def _w(distances: NDArray[np.float64]) -> float:
    """Shapiro and Wilk's W of the distances within three standard deviations; 1 where all are equal, as scipy says."""
    spread = np.abs(distances - distances.mean()) <= 3 * distances.std()
    kept = distances[spread]
    return float(shapiro(kept).statistic) if len(kept) >= 3 and np.ptp(kept) > 0 else 1.0
