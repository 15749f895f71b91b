"""Where a workspace keeps its tables, and which columns they have."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest

from stillwatch.engine import schema
from stillwatch.engine.tables import Workspace
from stillwatch.errors import InputError


def test_no_workspace_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="start with: stillwatch logs import"):
        Workspace(tmp_path / "nowhere").must_exist()
    assert Workspace(tmp_path / "nowhere").parts() == []
    assert not (tmp_path / "nowhere").exists(), "asking made a folder"


def test_only_parts_of_the_ledger_count_and_days_come_in_order(tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    with closing(sqlite3.connect(place.ledger)) as ledger, ledger:
        ledger.execute("create table parts (path text, day text, first_time integer)")
        ledger.executemany(
            "insert into parts values (?, ?, ?)",
            [("b.parquet", "2026-11-03", 5), ("c.parquet", "2026-11-02", 9), ("a.parquet", "2026-11-02", 3)],
        )
    place.exchanges.mkdir()
    (place.exchanges / "left-behind.parquet").write_bytes(b"")
    assert place.must_exist().parts() == [
        place.exchanges / name for name in ("a.parquet", "c.parquet", "b.parquet")
    ]


def test_everything_lies_inside_the_one_folder(tmp_path: Path) -> None:
    place = Workspace(tmp_path / "w")
    named = [getattr(place, n) for n, v in vars(Workspace).items() if isinstance(v, property)]
    assert len(named) >= 10
    assert len(set(named)) == len(named), "two tables share a place"
    assert all(path.is_relative_to(place.root) for path in named)


def test_what_is_kept_holds_no_text_that_a_person_wrote() -> None:
    """Text of people and real identifiers are in RAW alone; the kept table has words of the protocol only."""
    kept = {f.name for f in schema.EXCHANGES if pa.types.is_string(f.type)}
    assert kept == {
        "route", "operation", "request_model", "response_model", "finish_reason", "source_file",
    }  # fmt: skip
    assert not {"prompt", "system", "account", "client_address", "tool_schema"} & set(schema.EXCHANGES.names)


@pytest.mark.parametrize("table", ["RAW", "EXCHANGES", "ACCOUNTS", "ACTIONS"])
def test_columns_are_named_once_and_times_are_integers(table: str) -> None:
    columns: pa.Schema = getattr(schema, table)
    assert len(set(columns.names)) == len(columns.names)
    for name in ("time", "created_at", "expires_at", "reversed_at"):
        if name in columns.names:
            assert columns.field(name).type == pa.int64()
