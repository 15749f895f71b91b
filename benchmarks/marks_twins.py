"""Twins: the size under thrown coins, the power by effect and pairs, and the e-value watched every day.

    python benchmarks/marks_twins.py [--throws 10000] [--trials 400] [--paths 2000] [--days 200]

Size: the distances of a set of pairs are fixed and the coins are thrown again and again, as the test's null has it; the
share of throws with p at most alpha stands beside the largest share that the lattice of this set allows. The text form
is tried on real answers of three models to the same instructions (needs STILLWATCH_DATA): the third is the suspect, the
first two are twins of one another. Intervals are exact 95% ones, with the throw or the path as the unit.
"""

from __future__ import annotations

import argparse
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from scipy import stats

from stillwatch.attribution.randomized import twins
from stillwatch.stats.intervals import clopper_pearson
from stillwatch.stats.sums import coins_log_pvalue

ALPHAS = (0.05, 0.01, 0.001)
EFFECTS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
PAIRS = (25, 50, 100, 200, 500, 1000)
BINS = 20


def share(hits: int, runs: int) -> str:
    low, high = clopper_pearson(hits, runs)
    return f"{hits / runs:.4f} ({low:.4f} to {high:.4f})"


# -- size ------------------------------------------------------------------------------------------------------------


def size(title: str, distances: np.ndarray, throws: int) -> None:
    """p over thrown coins, against the exact law of p on its lattice."""
    rng = np.random.default_rng(1)
    signs = rng.choice([-1.0, 1.0], (throws, distances.size))
    logs = np.array([twins.test(distances * row).log_pvalue for row in signs])
    weights = twins._weights(distances[distances != 0])
    top = int(weights.sum())
    lattice = np.exp([coins_log_pvalue(weights, total) for total in range(top, -1, -1)])
    cells = []
    for alpha in ALPHAS:
        allowed = lattice[lattice <= alpha].max(initial=0.0)
        cells.append(f"{share(int((logs <= math.log(alpha)).sum()), throws)} of {allowed:.4f}")
    print(f"{title:<44}{distances.size:>6}  {'  '.join(cells)}  {uniform(np.exp(logs), lattice):.3f}")


def uniform(p: np.ndarray, lattice: np.ndarray) -> float:
    """Chi-square over about 20 bins of the lattice, each with its exact probability."""
    edges = [0.0]
    for value in lattice:
        if value - edges[-1] >= 1 / BINS:
            edges.append(float(value))
    edges[-1] = 1.0
    counts = np.histogram(p, np.array(edges) * (1 + 1e-9))[0]
    return float(stats.chisquare(counts, np.diff(edges) * p.size).pvalue)


def sets() -> Iterator[tuple[str, np.ndarray]]:
    rng = np.random.default_rng(2)
    yield "normal distances", np.abs(rng.normal(size=12))
    yield "normal distances", np.abs(rng.normal(size=60))
    yield "heavy tails", np.abs(rng.standard_t(2, 60))
    yield "heavy tails", np.abs(rng.standard_t(2, 300))
    yield "half of them equal, some 0", np.r_[np.ones(30), np.zeros(5), np.abs(rng.normal(size=30))]


def real() -> list[tuple[str, str, str]]:
    """The first 600 characters of three models' answers to each instruction of AlpacaEval."""
    folder = os.environ.get("STILLWATCH_DATA")
    if not folder:
        return []
    rows = pq.read_table(Path(folder) / "responses/alpaca_eval.parquet").to_pylist()
    models = sorted({row["model"] for row in rows})[:3]
    by_prompt: dict[int, dict[str, str]] = {}
    for row in rows:
        if row["model"] in models:
            by_prompt.setdefault(row["prompt_id"], {})[row["model"]] = row["output"][:600]
    return [(f[models[0]], f[models[1]], f[models[2]]) for f in by_prompt.values() if len(f) == 3]


# -- power -----------------------------------------------------------------------------------------------------------


def power(trials: int) -> None:
    print(f"\nPower: share of {trials} trials with p at most 0.001, and with e at least 1,000 at the end")
    print(f"{'served answer ahead by':<26}{'prefer it':>10}" + "".join(f"{n:>14}" for n in PAIRS))
    for effect in EFFECTS:
        cells = []
        for n in PAIRS:
            rng = np.random.default_rng([3, n, int(100 * effect)])
            found = [twins.test(rng.normal(effect, 1.0, n)) for _ in range(trials)]
            by_p = np.mean([f.log_pvalue <= math.log(1e-3) for f in found])
            by_e = np.mean([f.log_evalue >= math.log(1e3) for f in found])
            cells.append(f"{by_p:>8.2f} /{by_e:>4.2f}")
        print(f"{effect:>10.2f} spreads {stats.norm.cdf(effect):>17.1%}" + "".join(cells), flush=True)


def text_power(found: list[tuple[str, str, str]], trials: int) -> None:
    """Suspects whose own answer holds some sentences of what was served; the coins are thrown for each trial."""
    print(
        "\nText form: share of trials with p at most 0.001; the suspect's answer is a third model's, in which a share"
    )
    print("of the sentences stands as in the served answer")
    print(f"{'share of sentences':<26}{'prefer it':>10}" + "".join(f"{n:>14}" for n in PAIRS[:4]))
    for taken in (0.0, 0.02, 0.05, 0.1, 0.2):
        cells, prefer = [], []
        for n in PAIRS[:4]:
            rng, hits = np.random.default_rng([4, n, int(100 * taken)]), 0
            runs = max(20, trials // 10)
            for _ in range(runs):
                rows = [found[i] for i in rng.choice(len(found), n, replace=False)]
                coins = rng.random(len(rows)) < 0.5
                served = [a if coin else b for (a, b, _), coin in zip(rows, coins, strict=True)]
                kept = [b if coin else a for (a, b, _), coin in zip(rows, coins, strict=True)]
                said = [
                    [mixed(rng, own, text, taken)] for (_, _, own), text in zip(rows, served, strict=True)
                ]
                preference = twins.nearer(said, served, kept)
                prefer.append(np.mean(preference[preference != 0] > 0))
                hits += twins.test(preference).log_pvalue <= math.log(1e-3)
            cells.append(f"{hits / runs:>14.2f}")
        print(f"{taken:<26.0%}{np.mean(prefer):>10.1%}" + "".join(cells), flush=True)


def mixed(rng: np.random.Generator, own: str, served: str, taken: float) -> str:
    """`own` with each sentence replaced by one of `served` with probability `taken`."""
    mine, theirs = (re.split(r"(?<=[.!?])\s+", text) for text in (own, served))
    return " ".join(theirs[rng.integers(len(theirs))] if rng.random() < taken else one for one in mine)


# -- watched daily ---------------------------------------------------------------------------------------------------


def path(
    rng: np.random.Generator, days: int, kind: str, effect: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Preferences in the order of the coins, and how many there are by the end of each day: about five a day."""
    by_day = np.cumsum(rng.poisson(5, days))
    n = int(by_day[-1])
    if kind == "reacts":
        # Somebody who sees every coin and makes the next distance large after three losses in a row.
        signs = rng.choice([-1.0, 1.0], n)
        lost = np.convolve(signs < 0, np.ones(3))[:n] == 3
        return signs * np.where(np.r_[False, lost[:-1]], 20.0, 1.0), by_day
    return rng.standard_t(2 if kind == "heavy tails" else 200, n) + effect, by_day


def watched(paths: int, days: int) -> None:
    print(
        f"\ne-value looked at every evening for {days} days, about five pairs a day, {paths} null paths each:"
    )
    print(
        f"{'':<16}{'ever at 20 (alpha .05)':>34}{'ever at 100 (alpha .01)':>32}{'after each pair, at 20':>32}"
    )
    for number, kind in enumerate(("normal", "heavy tails", "reacts")):
        rng = np.random.default_rng([5, number])
        evening, always = np.empty(paths), np.empty(paths)
        for i in range(paths):
            preference, by_day = path(rng, days, kind)
            log_e = np.r_[0.0, twins.wealth(preference)]
            evening[i], always[i] = log_e[by_day].max(), log_e.max()
        cells = [share(int((evening >= math.log(a)).sum()), paths) for a in (20, 100)]
        cells.append(share(int((always >= math.log(20)).sum()), paths))
        print(f"{kind:<16}" + "".join(f"{cell:>32}" for cell in cells), flush=True)
    print("\nDay on which the e-value first stands at 1,000 (median of 200 paths; none: not within the days)")
    for effect in EFFECTS[1:]:
        rng, first = np.random.default_rng([6, int(100 * effect)]), []
        for _ in range(200):
            preference, by_day = path(rng, days, "normal", effect)
            hit = np.flatnonzero(np.r_[0.0, twins.wealth(preference)][by_day] >= math.log(1e3))
            first.append(int(hit[0]) + 1 if hit.size else days + 1)
        day = float(np.median(first))
        print(f"  {effect:.2f} spreads: {f'day {day:.0f}' if day <= days else 'none'}")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--throws", type=int, default=10_000)
    options.add_argument("--trials", type=int, default=400)
    options.add_argument("--paths", type=int, default=2_000)
    options.add_argument("--days", type=int, default=200)
    chosen = options.parse_args()
    print(
        f"Size over {chosen.throws} throws: share at most alpha (interval) of the largest that the lattice allows"
    )
    print(f"{'pairs':<44}{'n':>6}  {'  '.join(f'{a:<36g}' for a in ALPHAS)}  chi-square p")
    for title, distances in sets():
        size(title, distances, chosen.throws)
    found = real()
    if found:
        rows = found[:200]
        own, one, other = ([row[i] for row in rows] for i in (2, 0, 1))
        size("real answers, text form", np.abs(twins.nearer([[o] for o in own], one, other)), chosen.throws)
    else:
        print("STILLWATCH_DATA is not set: the text form was not tried on real answers")
    power(chosen.trials)
    if found:
        text_power(found, chosen.trials)
    watched(chosen.paths, chosen.days)


if __name__ == "__main__":
    main()
