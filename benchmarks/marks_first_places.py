"""How often a model that knows no key is accused by what it predicts on marked answers: runs far into the tail.

    python benchmarks/marks_first_places.py [--runs 20000]

The simulation of `tests/unit/attribution/test_first_places.py`, compiled: a teacher with a memory of two tokens writes
12 answers of 40 tokens under lists drawn anew for each run, and reads them again without any list; every context counts
at its first place of an answer, every pair of context and token once. p is the exact tail of a binomial count, as in
the product. Under the null p is at most a level as often as that level says.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
from numba import njit

from stillwatch.stats.exact import binomial_log_pvalue
from stillwatch.stats.intervals import clopper_pearson

SIZE, SHARE, BIAS, PROMPT, LENGTH, ANSWERS = 96, 0.25, 3.0, 4, 40, 12
SHARPNESS = {"12% right": 1.0, "52% right": 3.5, "70% right": 6.0}


@njit(cache=True)
def runs(rng: np.random.Generator, number: int, one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Of each run pairs that count, favoured ones, predictions that were right, and predictions; int64 (number, 4)."""
    best = np.empty((SIZE, SIZE), np.int64)
    for a in range(SIZE):
        for b in range(SIZE):
            best[a, b] = np.argmax(one[a] + two[b])
    found = np.zeros((number, 4), np.int64)
    listed = np.empty((SIZE, SIZE), np.bool_)
    kept = np.empty((SIZE, SIZE), np.bool_)
    old = np.empty(SIZE, np.bool_)
    green = int(SHARE * SIZE)
    for run in range(number):
        for a in range(SIZE):
            order = rng.permutation(SIZE)
            listed[a] = False
            for k in range(green):
                listed[a, order[k]] = True
        kept[:] = False
        for _ in range(ANSWERS):
            old[:] = False
            before, last = rng.integers(0, SIZE), rng.integers(0, SIZE)
            old[before] = True
            for _ in range(PROMPT - 2):
                before, last = last, rng.integers(0, SIZE)
                old[before] = True
            for _ in range(LENGTH):
                guess = best[last, before]
                most, chosen = -np.inf, 0
                for t in range(SIZE):
                    drawn = one[last, t] + two[before, t] - np.log(-np.log(rng.random()))
                    if listed[last, t]:
                        drawn += BIAS
                    if drawn > most:
                        most, chosen = drawn, t
                if not old[last]:
                    kept[last, guess] = True
                old[last] = True
                found[run, 2] += guess == chosen
                found[run, 3] += 1
                before, last = last, chosen
        for a in range(SIZE):
            for t in range(SIZE):
                if kept[a, t]:
                    found[run, 0] += 1
                    found[run, 1] += listed[a, t]
    return found


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--runs", type=int, default=20_000)
    given = asked.parse_args()
    print("| model | runs | predictions right | mean score, spread | 0.05 | 0.01 | 0.001 | 1e-4 | 1e-5 |")
    print("|---|---:|---:|---:|---|---|---|---|---|")
    for name, sharp in SHARPNESS.items():
        one, two = np.random.default_rng(7).normal(0.0, sharp, (2, SIZE, SIZE))
        begun = time.process_time()
        n, favoured, right, every = runs(np.random.default_rng(20_261_124), given.runs, one, two).T
        pairs, place = np.unique(np.stack([favoured, n]), axis=1, return_inverse=True)
        p = np.exp([binomial_log_pvalue(int(k), int(m), SHARE) for k, m in pairs.T])[place]
        score = (favoured - SHARE * n) / np.sqrt(n * SHARE * (1 - SHARE))
        told = []
        for level in (0.05, 0.01, 1e-3, 1e-4, 1e-5):
            count = int((p <= level).sum())
            low, high = clopper_pearson(count, given.runs)
            told.append(f"{count / given.runs:.2g} [{low:.2g}, {high:.2g}]")
        seen = f"{right.sum() / every.sum():.0%}"
        print(
            f"| {name} | {given.runs:,} | {seen} | {score.mean():+.3f}, {score.std():.3f} | {' | '.join(told)} |"
        )
        print(f"{name}: {time.process_time() - begun:.0f} CPU s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
