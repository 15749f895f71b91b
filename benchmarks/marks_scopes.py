"""Through whose key did the text leave? 100 scopes, one guilty or none: is the right one named, how often a wrong one?

    python benchmarks/marks_scopes.py [--scopes 100] [--trials 400] [--null-trials 1000] [--only red-green ...]
    python benchmarks/marks_scopes.py --predictions P.npz --key-file K [--sizes 1000 2000 ..]

First the dose: predictions of a student are simulated, of which a share follows the mark of one key, and the number of
pairs is sought (by bisection, on runs of their own) at which the test of that key alone has power 0.99 at alpha
0.05 / scopes. At this number `which_scope` is then asked, with all scopes' keys and 200 decoys, drawn anew each time.
Intervals are exact 95% ones. With --predictions (an array ``ids``: context and predicted token of a real student of
transformers' lefthash mark, whose key is the number in K) a trial draws so many of its distinct pairs, and the scopes'
keys and decoys from a pool of keys that never served.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import marks_peers
import numpy as np

from stillwatch.attribution.randomized import radioactivity
from stillwatch.marks import lists, reading
from stillwatch.marks.schemes import synthid_table, transformers_red_green, vllm_gumbel
from stillwatch.stats.intervals import clopper_pearson

VOCABULARY = 512
DECOYS = radioactivity.FEWEST_DECOYS
Choose = Callable[[np.random.Generator, np.ndarray, np.ndarray, Any], np.ndarray]


@dataclass(frozen=True, slots=True)
class Case:
    """A mark, how it chooses a token, and the share of predictions that follow it."""

    scheme: Any
    width: int
    parameters: Mapping[str, Any]
    layers: int
    share: float
    choose: Choose

    @property
    def name(self) -> str:
        return str(self.scheme.CARD.name)

    def keys(self, rng: np.random.Generator, count: int) -> list[Any]:
        drawn = rng.integers(1, 2**62, (count, max(1, self.layers)))
        return drawn.tolist() if self.layers else drawn[:, 0].tolist()

    def predictions(self, rng: np.random.Generator, n: int, key: Any | None) -> np.ndarray:
        """Windows (n, width + 1): random contexts, then a token by frequency, or by the mark of `key`."""
        context, usual = (
            rng.integers(1, VOCABULARY, (n, self.width)),
            -1.1 * np.log(np.arange(2.0, VOCABULARY + 2)),
        )
        shares = np.cumsum(np.exp(usual))
        best = np.searchsorted(shares, rng.random(n) * shares[-1])
        if key is not None:
            at = np.flatnonzero(rng.random(n) < self.share)
            logits = usual + rng.normal(0.0, 1.0, (at.size, VOCABULARY))
            best[at] = self.choose(rng, logits, context[at], key)
        return np.column_stack([context, best])

    def log_pvalues(self, windows: np.ndarray, keys: list[Any]) -> np.ndarray:
        tokens, ends = flat(windows)
        found = self.scheme.read(tokens, keys, ends=ends, **self.parameters)
        tail = getattr(self.scheme, "log_pvalues", reading.log_pvalues)
        return np.asarray(tail(found))


def flat(windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return windows.ravel(), np.arange(1, len(windows) + 1) * windows.shape[1]


def sampled(rng: np.random.Generator, logits: np.ndarray) -> np.ndarray:
    return np.argmax(logits + rng.gumbel(size=logits.shape), axis=1)


CASES = {
    "red-green": Case(
        transformers_red_green,
        1,
        {"vocab_size": VOCABULARY},
        0,
        0.3,
        lambda rng, logits, context, key: sampled(
            rng, transformers_red_green.mark(logits, context, key, delta=2.0)
        ),
    ),
    "gumbel": Case(
        vllm_gumbel,
        4,
        {"from_start": False},
        0,
        0.05,
        lambda rng, logits, context, key: vllm_gumbel.mark(logits, context, key),
    ),
    "synthid": Case(
        synthid_table,
        4,
        {},
        30,
        0.1,
        lambda rng, logits, context, key: sampled(rng, synthid_table.mark(logits, context, key)),
    ),
}
"""The share of predictions that follow the mark stands fifth: a weak student, so that some hundred pairs are needed."""


def power(case: Case, seed: int, n: int, line: float, runs: int) -> int:
    """In how many runs the test of the guilty key alone is at most `line`."""
    rng, hits = np.random.default_rng([seed, n]), 0
    for _ in range(runs):
        (key,) = case.keys(rng, 1)
        hits += int(case.log_pvalues(case.predictions(rng, n, key), [key])[0] <= line)
    return hits


def dose(case: Case, line: float) -> int:
    """The smallest number of pairs, to a fiftieth, at which 1,000 runs have 990 below the line."""
    low, high = 50, 100
    while power(case, 1, high, line, 200) < 198:
        low, high = high, 2 * high
    while high - low > high // 50:
        middle = (low + high) // 2
        if power(case, 2, middle, line, 1000) >= 990:
            high = middle
        else:
            low = middle
    return high


def share(hits: int, runs: int) -> str:
    low, high = clopper_pearson(hits, runs)
    return f"{hits / runs:.4f} ({low:.4f} to {high:.4f}, {hits} of {runs})"


def asked(
    case: Case, rng: np.random.Generator, windows: np.ndarray, keys: list[Any], alpha: float
) -> str | None:
    tokens, ends = flat(windows)
    told, _ = radioactivity.which_scope(
        tokens,
        ends,
        {f"scope {i}": key for i, key in enumerate(keys)},
        decoys=case.keys(rng, DECOYS),
        scheme=case.name,
        parameters=case.parameters,
        alpha=alpha,
    )
    return told


def simulated(name: str, case: Case, chosen: argparse.Namespace) -> None:
    began, line = time.process_time(), math.log(chosen.alpha / chosen.scopes)
    n = dose(case, line)
    alone = power(case, 3, n, line, 2000)
    print(f"\n{name} ({case.name}, {case.share:.0%} of the predictions follow the mark)")
    print(
        f"  {n} pairs; power of the test of one key at {chosen.alpha:g} / {chosen.scopes}: {share(alone, 2000)}"
    )
    rng, right, wrong = np.random.default_rng(4), 0, 0
    for _ in range(chosen.trials):
        keys = case.keys(rng, chosen.scopes)
        guilty = int(rng.integers(chosen.scopes))
        told = asked(case, rng, case.predictions(rng, n, keys[guilty]), keys, chosen.alpha)
        right += told == f"scope {guilty}"
        wrong += told not in (None, f"scope {guilty}")
    print(f"  one guilty: the right scope named {share(right, chosen.trials)}")
    print(f"              a wrong scope named   {share(wrong, chosen.trials)}", flush=True)
    rng, false = np.random.default_rng(5), 0
    for _ in range(chosen.null_trials):
        windows = case.predictions(rng, n, None)
        false += asked(case, rng, windows, case.keys(rng, chosen.scopes), chosen.alpha) is not None
    print(f"  none guilty: any scope named      {share(false, chosen.null_trials)}")
    print(f"  {time.process_time() - began:.0f} CPU s", flush=True)


def real(chosen: argparse.Namespace) -> None:
    """Sub-samples of a student's predictions, its key among drawn ones; every list is drawn once for each key."""
    with np.load(chosen.predictions) as stored:
        windows = np.unique(np.asarray(stored["ids"], np.int64), axis=0)  # by context, then token
    key, size = json.loads(chosen.key_file.read_text(encoding="utf-8")), chosen.vocabulary
    starts = np.flatnonzero(np.diff(windows[:, 0], prepend=-1))
    pairs = lists.Pairs(windows[starts, 0], np.append(starts, len(windows)), windows[:, 1].copy())
    keys = [key, *CASES["red-green"].keys(np.random.default_rng(6), chosen.pool)]
    flags = np.array(
        [
            marks_peers.on_list(transformers_red_green._left_seeds(k, pairs.contexts), pairs, size // 4, size)
            for k in keys
        ]
    )
    line = math.log(chosen.alpha / chosen.scopes)
    print(f"{len(windows)} distinct pairs of a student; its key among {chosen.pool} drawn ones")
    for n in chosen.sizes:
        rng, alone, right, wrong = np.random.default_rng([7, n]), 0, 0, 0
        for _ in range(chosen.trials):
            part = rng.choice(len(windows), n, replace=False)
            others = rng.choice(chosen.pool, chosen.scopes - 1 + DECOYS, replace=False) + 1
            green = flags[np.r_[0, others]][:, part].sum(axis=1).astype(np.float64)
            seen = reading.Reading("binomial", np.full(green.size, n), green, gamma=(size // 4) / size)
            found = radioactivity.results(seen, [f"scope {i}" for i in range(chosen.scopes)])
            told, _ = radioactivity.named(found, alpha=chosen.alpha)
            one = reading.Reading("binomial", seen.scored[:1], green[:1], gamma=seen.gamma)
            alone += int(reading.log_pvalues(one)[0] <= line)
            right += told == "scope 0"
            wrong += told not in (None, "scope 0")
        print(f"  {n} pairs: the test of its key alone passes {share(alone, chosen.trials)}")
        print(f"    right {share(right, chosen.trials)}; wrong {share(wrong, chosen.trials)}", flush=True)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--scopes", type=int, default=100)
    options.add_argument("--alpha", type=float, default=0.05)
    options.add_argument("--trials", type=int, default=400)
    options.add_argument("--null-trials", type=int, default=1000)
    options.add_argument("--only", nargs="*", default=list(CASES), choices=list(CASES))
    options.add_argument("--predictions", type=Path, help="pairs of a real student, .npz")
    options.add_argument("--key-file", type=Path, help="the student's true key, one number")
    options.add_argument("--vocabulary", type=int, default=49_152)
    options.add_argument("--pool", type=int, default=600, help="keys that never served")
    options.add_argument("--sizes", type=int, nargs="*", default=[1000, 2000, 3000, 4000])
    chosen = options.parse_args()
    print(f"{chosen.scopes} scopes, {DECOYS} decoys, family-wise alpha {chosen.alpha:g}")
    if chosen.predictions:
        real(chosen)
        return
    for name in chosen.only:
        simulated(name, CASES[name], chosen)


if __name__ == "__main__":
    main()
