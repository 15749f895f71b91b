"""Exchanges of every version of the schema are read together: what came later is null in what was written before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stillwatch.engine import schema
from stillwatch.engine.duckdb import Engine

LATER = {2: ["opening_digest"]}
"""Columns that each version brought."""


def rows_of(*numbers: int) -> pa.Table:
    rows: list[dict[str, Any]] = [
        dict.fromkeys(schema.EXCHANGES.names)
        | {
            "exchange_id": n,
            "account_id": 7,
            "time": n * 1_000,
            "turns": 2,
            "opening_digest": 100 + n,
            "shingles": [n],
        }
        for n in numbers
    ]
    return pa.Table.from_pylist(rows, schema=schema.EXCHANGES)


def written(folder: Path, version: int, *numbers: int) -> Path:
    """A part as that version wrote it."""
    gone = [c for v, columns in LATER.items() if v > version for c in columns]
    path = folder / f"v{version}-{numbers[0]}.parquet"
    pq.write_table(rows_of(*numbers).drop_columns(gone), path)
    return path


def read(files: list[Path]) -> pa.Table:
    with Engine(threads=1) as engine:
        engine.parquet("exchanges", files, schema.EXCHANGES)
        return engine.read("select * from exchanges order by exchange_id")


def test_each_version_names_what_it_changed_and_is_covered_here() -> None:
    assert set(schema.MIGRATIONS) == set(LATER) == set(range(2, schema.SCHEMA_VERSION + 1))
    for version, columns in LATER.items():
        assert all(c in schema.EXCHANGES.names and c in schema.MIGRATIONS[version] for c in columns)


def test_a_log_of_version_1_is_read_with_nulls(tmp_path: Path) -> None:
    found = read([written(tmp_path, 1, 1, 2)])
    assert sorted(found.column_names) == sorted(schema.EXCHANGES.names)
    assert found["opening_digest"].to_pylist() == [None, None]
    assert found.schema.field("opening_digest").type == pa.int64()
    assert found["turns"].to_pylist() == [2, 2] and found["shingles"].to_pylist() == [[1], [2]]


@pytest.mark.parametrize("turn", [1, -1], ids=["older first", "newer first"])
def test_mixed_versions_keep_what_each_has(tmp_path: Path, turn: int) -> None:
    files = [written(tmp_path, 1, 1, 2), written(tmp_path, 2, 3, 4), written(tmp_path, 1, 5)][::turn]
    found = read(files)
    assert found["exchange_id"].to_pylist() == [1, 2, 3, 4, 5]
    assert found["opening_digest"].to_pylist() == [None, None, 103, 104, None]
    assert found.schema.field("opening_digest").type == pa.int64()
    assert sorted(found.column_names) == sorted(schema.EXCHANGES.names)


def test_a_log_of_this_version_is_read_as_it_stands(tmp_path: Path) -> None:
    assert read([written(tmp_path, schema.SCHEMA_VERSION, 1, 2)]).equals(rows_of(1, 2))


@pytest.mark.parametrize("column", ["turns", "finish_reason", "temperature"])
def test_a_column_that_is_missing_is_null_of_its_own_type(tmp_path: Path, column: str) -> None:
    pq.write_table(rows_of(1).drop_columns([column]), tmp_path / "a.parquet")
    found = read([tmp_path / "a.parquet"])
    assert found[column].to_pylist() == [None]
    assert found.schema.field(column).type == schema.EXCHANGES.field(column).type
