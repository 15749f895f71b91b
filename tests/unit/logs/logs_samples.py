"""Small logs to import, and what a workspace holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from stillwatch import plugins
from stillwatch.engine.schema import EXCHANGES
from stillwatch.engine.tables import Workspace

START = 1_793_491_200  # 2026-11-01
SECOND = START * 1_000_000
READERS = plugins.find("logs.readers")


def record(i: int, *, account: str | None = None, text: str | None = None) -> dict[str, Any]:
    """One LiteLLM record; `i` makes its id, its time (one a second) and its text."""
    return {
        "id": f"chatcmpl-{i}",
        "call_type": "acompletion",
        "status": "success",
        "startTime": START + i,
        "endTime": START + i + 1.5,
        "model": "m-1",
        "messages": [
            {"role": "system", "content": "Answer briefly."},
            {
                "role": "user",
                "content": text or f"Question {i} about number {i * 7919 % 1000} and its neighbours",
            },
        ],
        "model_parameters": {"temperature": 0.5},
        "metadata": {
            "user_api_key_hash": f"hash-{i % 7}",
            "user_api_key_user_id": account or f"user-{i % 7}",
        },
        "requester_ip_address": f"10.0.{i % 250}.9",
        "response": {"model": "m-1", "choices": [{"finish_reason": "stop", "message": {"content": "ok"}}]},
    }


def lines(records: Iterable[Any]) -> bytes:
    return "".join(json.dumps(r) + "\n" for r in records).encode()


def read(workspace: Path) -> pa.Table:
    """The exchanges that count, by source line."""
    parts = Workspace(workspace).parts()
    tables = [pq.ParquetFile(p).read() for p in parts]
    found = pa.concat_tables(tables) if tables else EXCHANGES.empty_table()
    assert found.schema.equals(EXCHANGES)
    return found.sort_by([("time", "ascending"), ("source_line", "ascending")])


def run(engine: duckdb.DuckDBPyConnection, reader: ModuleType, records: list[Any]) -> list[dict[str, Any]]:
    """What a reader makes of records."""
    given = pa.array([json.dumps(r) for r in records], pa.large_string())
    numbers = pa.array(range(1, len(records) + 1), pa.int64())
    engine.register("lines", pa.table({"line": given, "source_line": numbers}))
    try:
        return engine.sql(reader.SQL).to_arrow_table().sort_by("source_line").to_pylist()
    finally:
        engine.unregister("lines")


def together(
    reader: ModuleType, given: list[Any]
) -> Callable[[duckdb.DuckDBPyConnection], list[dict[str, Any]]]:
    """Run many one-row records at once, the first time: binding a reader's SELECT costs more than running it."""
    kept: list[dict[str, Any]] = []

    def rows_of(engine: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
        if not kept:
            kept.extend(run(engine, reader, given))
            assert [r["source_line"] for r in kept] == list(range(1, len(given) + 1))
        return kept

    return rows_of


def one(engine: duckdb.DuckDBPyConnection, reader: ModuleType, given: Any) -> dict[str, Any]:
    (found,) = run(engine, reader, [given])
    return found
