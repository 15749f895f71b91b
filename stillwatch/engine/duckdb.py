"""The embedded engine: runs named SELECTs over Parquet under a memory limit."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from stillwatch.engine.steps import Step
from stillwatch.errors import EngineError, InputError


class Engine:
    """A DuckDB connection with a bound on memory, a place to spill and no clock.

    Parameters
    ----------
    memory_limit
        As DuckDB writes it, such as ``"1GB"``. Arrow tables handed out come on top of it.
    threads
        1 or above.
    """

    def __init__(self, *, memory_limit: str = "1GB", threads: int = 2) -> None:
        if not memory_limit.strip()[
            :1
        ].isdigit():  # DuckDB takes "none" and anything negative for no limit at all
            raise InputError(f"memory limit {memory_limit!r}: expected a size such as 1GB")
        self._spill = Path(tempfile.mkdtemp(prefix="stillwatch-"))
        self.steps: list[Step] = []
        self._db = duckdb.connect(":memory:")
        try:
            self._db.execute(f"set threads = {int(threads)}")
            self._db.execute(f"set memory_limit = '{memory_limit.replace(chr(39), '')}'")
        except duckdb.Error as error:
            self.close()
            raise InputError(f"memory limit {memory_limit!r} or threads {threads!r}: {error}") from None
        self._db.execute(f"set temp_directory = '{self._spill}'")
        self._db.execute("set preserve_insertion_order = false")
        self._db.execute("set enable_progress_bar = false")
        self._db.execute("set TimeZone = 'UTC'")

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()
        shutil.rmtree(self._spill, ignore_errors=True)

    def parquet(self, name: str, files: Sequence[Path], columns: pa.Schema) -> None:
        """Name a set of Parquet files; with no files, an empty table of these columns.

        Files of an earlier schema version lack the columns that came later (`engine.schema.MIGRATIONS`): those are
        null there.
        """
        if not files:
            self.table(name, columns.empty_table())
            return
        listed = ", ".join("'" + str(f).replace("'", "''") + "'" for f in files)
        source = f"read_parquet([{listed}], union_by_name=true, hive_partitioning=false)"
        try:
            held = set().union(*(pq.read_schema(f).names for f in files))
        except (pa.ArrowException, OSError) as error:
            raise EngineError(
                "duckdb", name, str(error).splitlines()[0], f"select * from {source}"
            ) from error
        kinds = {pa.int64(): "bigint", pa.int32(): "integer", pa.string(): "varchar", pa.float64(): "double"}
        later = [
            f"null::{kinds[c.type]} as {c.name}" for c in columns if c.name not in held and c.type in kinds
        ]
        self._do(name, f"create or replace view {name} as select {', '.join(['*', *later])} from {source}")

    def table(self, name: str, rows: pa.Table) -> None:
        """Copy an Arrow table into the engine."""
        self._db.register("_incoming", rows)
        self._do(name, f"create or replace table {name} as select * from _incoming")
        self._db.unregister("_incoming")

    def run(self, steps: Iterable[Step]) -> None:
        """Materialise each step as a table of its name."""
        for step in steps:
            self.steps.append(step)
            self._do(step.name, f"create or replace table {step.name} as {step.render(0)}")
            for part in range(1, step.passes):
                self._do(step.name, f"insert into {step.name} {step.render(part)}")

    def read(self, sql: str, name: str = "read") -> pa.Table:
        """The rows of a SELECT as an Arrow table."""
        try:
            return self._db.sql(sql).to_arrow_table()
        except duckdb.Error as error:
            raise EngineError("duckdb", name, str(error).splitlines()[0], sql) from error

    def drop(self, *names: str) -> None:
        for name in names:
            self._do(name, f"drop table if exists {name}")

    def _do(self, name: str, sql: str) -> None:
        try:
            self._db.execute(sql)
        except duckdb.Error as error:
            raise EngineError("duckdb", name, str(error).splitlines()[0], sql) from error
