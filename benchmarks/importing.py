"""Import speed: MB of log text a second and core, per format, as a ratio to a floor of the same run.

The floor is what no import can do without: reading and decompressing the file, and DuckDB's `json_valid` over its lines
(for CSV and Parquet: reading the columns once). Run: ``python benchmarks/importing.py [MB]``. The log is generated.
"""

from __future__ import annotations

import gzip
import json
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from stillwatch.logs import ingest
from stillwatch.logs.sources import expand, line_blocks

START = 1_793_491_200
ACCOUNTS = 2_000


def conversations(rng: np.random.Generator, rows: int) -> list[dict]:
    """Log rows of no format yet: prompts of about 700 bytes, answers of 900, a system prompt that many share."""
    words = np.array([f"{chr(97 + i % 26)}{i:x}{'aeiou'[i % 5] * (i % 4)}" for i in range(20_000)])
    systems = [" ".join(rng.choice(words, 60)) for _ in range(50)]
    account = rng.zipf(1.4, rows) % ACCOUNTS
    times = START + rng.uniform(0, 14 * 86_400, rows)
    made = []
    for i in range(rows):
        size = int(rng.gamma(2.0, 55)) + 1
        made.append(
            {
                "id": f"r-{i}",
                "time": float(times[i]),
                "account": f"user-{account[i]}",
                "system": systems[account[i] % 50],
                "prompt": " ".join(rng.choice(words, size)),
                "answer": " ".join(rng.choice(words, 140)),
                "address": f"10.{account[i] % 200}.{i % 250}.1",
            }
        )
    return made


def litellm(row: dict) -> dict:
    return {
        "id": row["id"],
        "trace_id": f"t-{row['id']}",
        "call_type": "acompletion",
        "status": "success",
        "startTime": row["time"],
        "endTime": row["time"] + 2,
        "model": "m",
        "model_group": "m",
        "prompt_tokens": 300,
        "completion_tokens": 200,
        "requester_ip_address": row["address"],
        "user_agent": "OpenAI/Python 2.1",
        "messages": [
            {"role": "system", "content": row["system"]},
            {"role": "user", "content": row["prompt"]},
        ],
        "response": {
            "model": "m",
            "choices": [{"finish_reason": "stop", "message": {"content": row["answer"]}}],
        },
        "model_parameters": {"temperature": 0.7, "max_tokens": 1000},
        "metadata": {"user_api_key_hash": f"h-{row['account']}", "user_api_key_user_id": row["account"]},
    }


def openai(row: dict) -> dict:
    messages = [{"role": "system", "content": row["system"]}, {"role": "user", "content": row["prompt"]}]
    answer = {"finish_reason": "stop", "message": {"role": "assistant", "content": row["answer"]}}
    return {
        "timestamp": row["time"],
        "account_id": row["account"],
        "client_ip": row["address"],
        "request": {"model": "m", "messages": messages, "temperature": 0.7},
        "response": {"id": row["id"], "model": "m", "choices": [answer], "usage": {"prompt_tokens": 300}},
    }


def otel(row: dict) -> dict:
    given = {
        "gen_ai.provider.name": "openai",
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "m",
        "enduser.id": row["account"],
        "client.address": row["address"],
        "gen_ai.system_instructions": json.dumps([{"type": "text", "content": row["system"]}]),
        "gen_ai.input.messages": json.dumps(
            [{"role": "user", "parts": [{"type": "text", "content": row["prompt"]}]}]
        ),
        "gen_ai.output.messages": json.dumps(
            [{"role": "assistant", "parts": [{"type": "text", "content": row["answer"]}]}]
        ),
    }
    span = {
        "traceId": row["id"],
        "spanId": "1",
        "startTimeUnixNano": str(int(row["time"] * 1e9)),
        "endTimeUnixNano": str(int(row["time"] * 1e9) + 2 * 10**9),
        "attributes": [{"key": k, "value": {"stringValue": v}} for k, v in given.items()],
    }
    return {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}


def cpu(work: Callable[[], object]) -> float:
    """Seconds of processor time, of all threads: the machine may be busy with something else."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def floor_lines(path: Path) -> None:
    (source,) = expand([path])
    with duckdb.connect(config={"threads": 2}) as engine:
        for block in line_blocks(source.text([0]), source.name):
            engine.register("lines", pa.table({"line": block.lines}))
            engine.sql("select count(*) filter (json_valid(line)) from lines").fetchall()
            engine.unregister("lines")


def floor_table(path: Path) -> None:
    if path.suffix == ".parquet":
        for _ in pq.ParquetFile(path).iter_batches():
            pass
    else:
        pa.csv.read_csv(path, parse_options=pa.csv.ParseOptions(newlines_in_values=True))


def main() -> None:
    megabytes = float(sys.argv[1]) if len(sys.argv) > 1 else 100
    rows = conversations(np.random.default_rng(1), int(megabytes * 1e6 / 2_350))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files: dict[str, tuple[Path, int]] = {}
        for form in (litellm, openai, otel):
            text = "".join(json.dumps(form(row)) + "\n" for row in rows).encode()
            path = folder / f"{form.__name__}.jsonl"
            path.write_bytes(text)
            files[form.__name__] = (path, len(text))
            if form is litellm:
                packed = folder / "litellm.jsonl.gz"
                packed.write_bytes(gzip.compress(text, 6))
                files["litellm, gzip"] = (packed, len(text))
        table = pa.Table.from_pylist(rows).drop_columns("answer").rename_columns(
            ["record_id", "time", "account", "system", "prompt", "client_address"]
        )  # fmt: skip
        pa.csv.write_csv(table, folder / "canonical.csv")
        files["CSV"] = (folder / "canonical.csv", (folder / "canonical.csv").stat().st_size)
        pq.write_table(table, folder / "canonical.parquet", compression="zstd")
        files["Parquet"] = (folder / "canonical.parquet", table.nbytes)
        ingest([folder / "canonical.parquet"], folder / "warm")  # compiled kernels are loaded
        print(f"{len(rows):,} rows; CPU seconds of all threads; MB are of uncompressed text")
        print(
            f"{'format':<14} {'MB':>6} {'import':>8} {'floor':>8} {'MB/s/core':>10} {'floor MB/s':>11} {'ratio':>6}"
        )
        for form, (path, size) in files.items():
            least = cpu(
                lambda path=path: (floor_table if path.suffix in (".csv", ".parquet") else floor_lines)(path)
            )
            took = cpu(lambda path=path: ingest([path], folder / f"w-{path.name}"))
            print(
                f"{form:<14} {size / 1e6:6.0f} {took:8.2f} {least:8.2f} {size / 1e6 / took:10.1f} "
                f"{size / 1e6 / least:11.1f} {took / least:6.1f}"
            )
            shutil.rmtree(folder / f"w-{path.name}")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        print(f"peak resident memory of the whole run, generated log included: {peak:.0f} MB")


if __name__ == "__main__":
    main()
