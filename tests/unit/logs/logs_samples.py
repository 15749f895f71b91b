"""Small logs to import, and what a workspace holds."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stillwatch.engine.schema import EXCHANGES
from stillwatch.engine.tables import Workspace

START = 1_793_491_200  # 2026-11-01


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
