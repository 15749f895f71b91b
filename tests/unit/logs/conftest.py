"""Files for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import pytest
from logs_samples import READERS

from stillwatch.logs import rows
from stillwatch.logs.readers import _json


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    """An engine that has every reader's macros."""
    with closing(duckdb.connect(config={"threads": 1})) as db:
        db.execute("set TimeZone = 'UTC'")
        db.execute(_json.macros() + rows.MACROS)
        for reader in READERS.values():
            if macros := getattr(reader, "MACROS", ""):
                db.execute(macros)
        yield db


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, bytes], Path]:
    def write_file(name: str, content: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write_file
