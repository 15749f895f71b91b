"""Speed of the sketch kernel beside datasketch MinHash plus winnowing in plain Python, in the same run.

    python benchmarks/sketch.py [--megabytes 16]

CPU seconds of this process on one thread, the best of several runs; ratios are what to compare between machines. Texts
are the prompts of people of 200 to 2,000 characters under STILLWATCH_DATA, else made up from a word list.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasketch import MinHash

from stillwatch.text.sketch import sketch

FILES = ("human_arena_hard", "human_nq_open", "human_prism", "human_system_prompts")
WORDS = """please write a short story about the people who live near the old bridge and explain why they never cross it
give me three reasons in simple words then list what would change if the river were dry use an honest tone"""


def prompts() -> tuple[str, list[str]]:
    """Where the texts come from, and the texts."""
    folder = os.environ.get("STILLWATCH_DATA")
    if folder:
        tables = [
            pq.read_table(Path(folder) / "prompts" / f"{name}.parquet", columns=["prompt"]) for name in FILES
        ]
        every = [text for table in tables for text in table["prompt"].to_pylist()]
        return "prompts of people", [text for text in every if 200 <= len(text) <= 2000]
    rng = np.random.default_rng(1)
    texts = [
        " ".join(rng.choice(WORDS.split(), int(rng.integers(40, 400)))).capitalize() + "."
        for _ in range(1500)
    ]
    return "made-up text", [f"“{text}” — ok" if i % 7 == 0 else text for i, text in enumerate(texts)]


def peer(texts: list[str]) -> int:
    """What the kernel replaces: lower case, word 3-grams into MinHash, winnowing over 32 characters, window 32."""
    total = 0
    for text in texts:
        text = " ".join(text.lower().split())
        words = text.split(" ")
        minhash = MinHash(num_perm=32)
        minhash.update_batch([" ".join(words[i : i + 3]).encode() for i in range(max(1, len(words) - 2))])
        data = text.encode()
        hashes = [blake2b(data[i : i + 32], digest_size=8).digest() for i in range(max(1, len(data) - 31))]
        kept: list[bytes] = []
        for i in range(max(1, len(hashes) - 31)):
            least = min(hashes[i : i + 32])
            if not kept or least != kept[-1]:
                kept.append(least)
        total += len(set(kept))
    return total


def cpu(work: Callable[[], object], runs: int) -> float:
    """Least CPU seconds of several runs."""
    best = float("inf")
    for _ in range(runs):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--megabytes", type=float, default=16.0, help="text for the kernel in each run")
    wanted = options.parse_args().megabytes * 1e6
    source, texts = prompts()
    groups = {
        "all": texts,
        "ASCII only": [text for text in texts if text.isascii()],
        "with non-ASCII": [text for text in texts if not text.isascii()],
    }
    pa.set_cpu_count(1)
    print(f"{source}, 200 to 2,000 characters; MB of UTF-8 text per CPU second on one core")
    print(f"{'texts':<16}{'rows':>7}{'kernel':>9}{'with text':>11}{'peer':>8}{'ratio':>8}")
    for name, group in groups.items():
        size = sum(len(text.encode()) for text in group)
        times = max(1, round(wanted / size))
        column = pa.array(group * times, pa.large_string())
        sketch(column[:10], None, key=bytes(32))
        fast = size * times / 1e6 / cpu(lambda column=column: sketch(column, None, key=bytes(32)), 9)
        kept = (
            size
            * times
            / 1e6
            / cpu(lambda column=column: sketch(column, None, key=bytes(32), with_text=True), 5)
        )
        few = group[:: max(1, len(group) // 200)]
        slow = sum(len(text.encode()) for text in few) / 1e6 / cpu(lambda few=few: peer(few), 2)
        print(f"{name:<16}{len(group):>7}{fast:>9.1f}{kept:>11.1f}{slow:>8.2f}{fast / slow:>7.0f}x")


if __name__ == "__main__":
    main()
