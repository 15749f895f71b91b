"""`stillwatch watermark detect` on many short documents: tokens a second, keys a second and peak memory, one thread.

    python benchmarks/marks_detect.py [--documents 1000000] [--tokens 30] [--many 1000] [--folder DIR]

Each row is one run of the command in a process of its own; CPU seconds and peak memory are those that the system
counted for it. Documents are made up: ids with frequencies as in text (Zipf), so that nearly every context of four ids
is new and the tape is as full as it gets. Of the first 2,000 documents every tenth carries the mark of the first key in
half of its tokens: too few to be found among a million, enough among the 20,000 of the row with every key. What is not
reading keys (start, parsing, tape) is what the rows without decoys take.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stillwatch.marks.keys import Master, Scope
from stillwatch.marks.register import Register
from stillwatch.marks.schemes import vllm_gumbel

VOCABULARY = 49_152
WIDTH = 4
MARKED = 10
"""One document in so many carries the mark."""
BLOCK = 10_000
CANDIDATES = 64
"""Tokens among which the mark chooses."""
MEGABYTE = 1 << 20


def documents(n: int, length: int, key: int, seed: int) -> np.ndarray:
    """Token ids (n, length), int32."""
    rng = np.random.default_rng(seed)
    shares = np.cumsum(np.arange(2.0, VOCABULARY + 2) ** -1.1)
    ids = np.searchsorted(shares, rng.random((n, length)) * shares[-1]).astype(np.int64)
    rows = np.arange(0, n, MARKED)
    for at in range(WIDTH, length):
        tried = np.searchsorted(shares, rng.random((rows.size, CANDIDATES)) * shares[-1])
        u = np.stack(
            [chosen_uniforms(ids[r, at - WIDTH : at], t, key) for r, t in zip(rows, tried, strict=True)]
        )
        best = tried[np.arange(rows.size), u.argmax(axis=1)]
        ids[rows, at] = np.where(rng.random(rows.size) < 0.5, best, ids[rows, at])
    return ids.astype(np.int32)


def chosen_uniforms(context: np.ndarray, tokens: np.ndarray, key: int) -> np.ndarray:
    return vllm_gumbel.uniforms(context, key, int(tokens.max()) + 1, WIDTH)[0][tokens]


def corpus(folder: Path, n: int, length: int, key: int) -> dict[str, Path]:
    """The same documents as Parquet and as JSON lines; unmarked but for the first 2,000."""
    parquet, lines = folder / "documents.parquet", folder / "documents.jsonl"
    rng = np.random.default_rng(0)
    shares = np.cumsum(np.arange(2.0, VOCABULARY + 2) ** -1.1)
    marked = documents(min(n, 2_000), length, key, 1)
    schema = pa.schema([("tokens", pa.list_(pa.int32(), length))])
    with pq.ParquetWriter(parquet, schema) as writer, lines.open("w") as file:
        for first in range(0, n, BLOCK):
            count = min(BLOCK, n - first)
            ids = np.searchsorted(shares, rng.random((count, length)) * shares[-1]).astype(np.int32)
            if first == 0:
                ids[: len(marked)] = marked[:count]
            column = pa.FixedSizeListArray.from_arrays(pa.array(ids.ravel()), length)
            writer.write_table(pa.table([column], schema=schema))
            file.writelines(json.dumps({"tokens": row}) + "\n" for row in ids.tolist())
    return {"Parquet": parquet, "JSON lines": lines}


def run(workspace: Path, *words: object) -> dict[str, Any]:
    """One run of the command: its summary and keys, CPU and wall seconds, peak memory in MB."""
    code = "from stillwatch.cli.main import run; run()"
    typed = [sys.executable, "-c", code, "watermark", "detect", *map(str, words), "--json"]
    environment = os.environ | {"NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    began = time.perf_counter()
    with subprocess.Popen(
        [*typed, "--workspace", str(workspace)], stdout=subprocess.PIPE, env=environment, text=True
    ) as process:
        assert process.stdout is not None
        last: list[dict[str, Any]] = []
        for line in process.stdout:
            row = json.loads(line)
            if row["kind"] != "document":
                last.append(row)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the command ended with code {process.returncode}")
    return {
        "keys": [row for row in last if row["kind"] == "key"],
        "summary": last[-1],
        "cpu": used.ru_utime + used.ru_stime,
        "wall": time.perf_counter() - began,
        "peak": used.ru_maxrss * 1024 / MEGABYTE,
    }


def say(name: str, found: dict[str, Any], keys: int) -> None:
    tokens, cpu = found["summary"]["tokens"], found["cpu"]
    named = sum(row.get("carries", False) for row in found["keys"])
    pairs = max(row["pairs"] for row in found["keys"])
    print(
        f"| {name} | {found['summary']['documents']:,} | {tokens / 1e6:.1f} M | {keys:,} | {cpu:.0f} | "
        f"{found['wall']:.0f} | {tokens / cpu / 1e3:,.0f} k | {tokens * keys / cpu / 1e6:.1f} M | "
        f"{found['peak']:,.0f} | {pairs / 1e6:.1f} M | {named} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--tokens", type=int, default=30, help="in a document")
    parser.add_argument("--many", type=int, default=1_000, help="keys in the run with many")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        master = Master.create(folder / "marks" / "key")
        register = Register(folder / "marks" / "register.jsonl")
        for i in range(given.many):
            key = master.key("vllm_gumbel", Scope(tenant=f"o-{i}"))
            register.begin(master, key, {"context_width": WIDTH}, device="cpu", by="benchmark")
        first = master.key("vllm_gumbel", Scope(tenant="o-0"))
        files = corpus(folder, given.documents, given.tokens, first.reveal()[0])
        few = corpus(folder_of(folder, "few"), given.documents // 50, given.tokens, first.reveal()[0])
        one = ("--only", first.fingerprint)
        print(
            "| run | documents | tokens | keys read | CPU s | wall s | tokens/CPU s | token-keys/CPU s | peak MB "
            "| pairs | keys named |\n|---|" + "---:|" * 10
        )
        say("Parquet, no decoys", run(folder, files["Parquet"], *one, "--decoys", 0), 1)
        say("Parquet, 200 decoys", run(folder, files["Parquet"], *one), 201)
        say("JSON lines, no decoys", run(folder, files["JSON lines"], *one, "--decoys", 0), 1)
        words = ("--decoys", 0, "--per-document")
        say("JSON lines, no decoys, per document", run(folder, files["JSON lines"], *one, *words), 1)
        say("Parquet, every key, 200 decoys", run(folder, few["Parquet"]), given.many + 200)


def folder_of(folder: Path, name: str) -> Path:
    place = folder / name
    place.mkdir()
    return place


if __name__ == "__main__":
    main()
