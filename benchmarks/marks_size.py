"""How often unmarked text is called marked: every reader under wrong keys, beside the published detectors.

    python benchmarks/marks_size.py [--keys 1000] [--tokens 20000] [--vllm V --sglang S] [--only textseal_gumbel ...]

Texts are real and unmarked by these keys (`marks_texts.py`, needs STILLWATCH_DATA); keys are drawn at random, and a key
is what is repeated: intervals are binomial in the number of keys. Cells are shares of keys whose p is at most alpha, p
by the exact tail; `!` marks a share with alpha below its exact 99% interval. `KS` is the p of Kolmogorov and Smirnov's
test that the p-values of the keys are uniform; for it the p of a count lies at random between that of the count and
that of the next one. Published detectors are those of `marks_peers.py`; V and S are folders as in
`tests/golden/hash_marks.py`.
"""

from __future__ import annotations

import argparse
import inspect
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import marks_peers
import marks_texts
import numpy as np
from scipy import stats

from stillwatch import plugins
from stillwatch.errors import InsufficientData
from stillwatch.marks import reading
from stillwatch.marks.table_reading import TableReading
from stillwatch.stats.intervals import clopper_pearson
from stillwatch.stats.multiplicity import holm

ALPHAS = (0.05, 0.01, 1e-5)
SIZE = marks_texts.VOCABULARY
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "transformers_red_green": [{}, {"scheme": "selfhash", "context_width": 4}],
    "vllm_sbw": [{}, {"scheme": "lefthash"}],
}
"""Parameters beside the defaults."""
Text = marks_texts.Text


@dataclass(frozen=True, slots=True)
class Row:
    """One detector on one text."""

    title: str
    kind: str
    pairs: float
    logs: np.ndarray
    uniform: float
    seconds: float

    def hits(self, alpha: float) -> int:
        return int((self.logs <= math.log(alpha)).sum())

    def line(self) -> str:
        cells = []
        for alpha in ALPHAS:
            low, _ = clopper_pearson(self.hits(alpha), len(self.logs), 0.99)
            cells.append(f"{self.hits(alpha) / len(self.logs):>8.4f}{'!' if low > alpha else ' '}")
        least = self.logs.min() / math.log(10)
        return (
            f"{self.title:<34}{self.kind:<22}{self.pairs:>7.0f}{len(self.logs):>6}{''.join(cells)}"
            f"{least:>9.1f}{self.uniform:>9.3f}{self.seconds:>8.1f}"
        )


def keys_of(scheme: ModuleType, count: int) -> list[Any]:
    """Random keys of the kind that the scheme takes, as its own simulation draws them."""
    rng = np.random.default_rng(20_261_124)
    return [scheme.simulate(rng, effect=0.0, n=1)["key"] for _ in range(count)]


def ours(scheme: ModuleType, text: Text, keys: list[Any], given: dict[str, Any]) -> tuple[float, Any, float]:
    """Pairs (the median over keys), log p of each key, and the p of their uniformity."""
    ids, ends = text
    needs = inspect.signature(scheme.read).parameters
    more = {"vocab_size": SIZE} if "vocab_size" in needs else {}
    found = scheme.read(ids, keys, ends=ends, **more, **given)
    tail = getattr(scheme, "log_pvalues", reading.log_pvalues)
    logs = tail(found)
    p = np.exp(logs)
    if isinstance(found, TableReading) or getattr(found, "law", "") == "binomial":
        above = np.exp(tail(replace(found, statistic=found.statistic + 1)))
        p = above + np.random.default_rng(7).random(p.size) * (p - above)
    return float(np.median(found.scored)), logs, float(stats.kstest(p, "uniform").pvalue)


def published(peer: marks_peers.Peer, kind: str, text: Text, keys: list[Any]) -> list[Row]:
    began = time.process_time()
    found = peer(text, keys)
    took = time.process_time() - began
    return [
        Row(f"  {title}", kind, n, logs, float(stats.kstest(np.exp(logs), "uniform").pvalue), took)
        for title, (n, logs) in found.items()
    ]


def summary(rows: list[Row]) -> str:
    """How many cells of our readers lie outside the central binomial interval of alpha."""
    lines = []
    for alpha in ALPHAS[:2]:
        for level in (0.95, 0.99):
            low, high = stats.binom.interval(level, len(rows[0].logs), alpha)
            above = sum(row.hits(alpha) > high for row in rows)
            below = sum(row.hits(alpha) < low for row in rows)
            lines.append(
                f"alpha {alpha:g}: of {len(rows)} cells {above} above and {below} below the {level:.0%} interval, "
                f"{low:.0f} to {high:.0f} of {len(rows[0].logs)} keys"
            )
        total, keys = sum(row.hits(alpha) for row in rows), sum(len(row.logs) for row in rows)
        lines.append(f"alpha {alpha:g}: all cells together {total / keys:.4f}")
    found = sum(row.hits(1e-5) for row in rows)
    lines.append(
        f"alpha 1e-05: {found} keys in all cells, {1e-5 * sum(len(r.logs) for r in rows):.1f} expected"
    )
    adjusted = np.exp(holm(np.log([max(row.uniform, 1e-300) for row in rows])))
    least = int(np.argmin([row.uniform for row in rows]))
    lines.append(
        f"uniformity: smallest KS p {rows[least].uniform:.2g} ({rows[least].title}, {rows[least].kind}), "
        f"{adjusted.min():.2g} after Holm over {len(rows)}"
    )
    return "\n".join(lines)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--keys", type=int, default=1000)
    options.add_argument("--tokens", type=int, default=20_000)
    for name in ("vllm", "sglang"):
        options.add_argument(f"--{name}", type=Path, help=f"folder of {name}, see above")
    options.add_argument("--only", nargs="*", default=[], help="names of schemes")
    chosen = options.parse_args()
    tokenizer, found = marks_texts.texts(chosen.tokens)
    print(f"about {chosen.tokens} tokens of each text, ids: {tokenizer}; {chosen.keys} random wrong keys")
    print(marks_peers.packages_agree(found["human text"]), flush=True)
    others = marks_peers.peers(chosen.vllm, chosen.sglang)
    head = "".join(f"{a:>8g} " for a in ALPHAS)
    print(f"{'reader':<34}{'text':<22}{'pairs':>7}{'keys':>6}{head}{'least':>9}{'KS p':>9}{'CPU s':>8}")
    rows: list[Row] = []
    for name, scheme in plugins.find("marks.schemes").items():
        if chosen.only and name not in chosen.only:
            continue
        keys = keys_of(scheme, chosen.keys)
        for given in VARIANTS.get(name, [{}]):
            for kind, text in found.items():
                began = time.process_time()
                title = " ".join([name, *(f"{v}" for v in given.values())])
                try:
                    pairs, logs, uniform = ours(scheme, text, keys, given)
                except InsufficientData as refused:
                    print(f"{title:<34}{kind:<22}too little: {refused}")
                    continue
                rows.append(Row(title, kind, pairs, logs, uniform, time.process_time() - began))
                print(rows[-1].line(), flush=True)
        for kind, text in found.items() if name in others else []:
            print("\n".join(row.line() for row in published(others[name], kind, text, keys)), flush=True)
    print("least: log10 of the smallest p. Our readers:")
    print(summary(rows))


if __name__ == "__main__":
    main()
