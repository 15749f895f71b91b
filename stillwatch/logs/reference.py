"""What is known about accounts and what was done about them: the tables beside the exchanges.

Rows are pseudonymised with the same kinds as the exchanges, so that they join. A row read again replaces the one that
was there: of an account, all of it; of an action, the one with the same account, time and rung.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from stillwatch.engine.schema import ACCOUNTS, ACTIONS
from stillwatch.engine.tables import Workspace
from stillwatch.errors import InputError, SchemaError
from stillwatch.identity import Pseudonyms
from stillwatch.identity.keys import sync_folder
from stillwatch.logs.ledger import Ledger
from stillwatch.logs.rows import YEAR_2100
from stillwatch.logs.sources import expand, peek
from stillwatch.logs.tables import TableBlock, csv_blocks, parquet_blocks

Kind = Literal["accounts", "actions"]

KINDS = {
    "account_id": "account",
    "organization_id": "organization",
    "payment_token": "payment",
    "device_token": "device",
    "signup_prefix": "client_prefix",
}
"""Column -> kind of identifier."""

_SCHEMAS = {"accounts": ACCOUNTS, "actions": ACTIONS}
_NEEDED = {"accounts": ("account_id",), "actions": ("account_id", "time")}
_ONE_ROW = {"accounts": ("account_id",), "actions": ("account_id", "time", "rung")}
_TIMES = ("created_at", "time", "expires_at", "reversed_at")


def read_reference(
    kind: Kind,
    file: str | Path,
    workspace: Workspace,
    ledger: Ledger,
    pseudonyms: Pseudonyms,
    engine: duckdb.DuckDBPyConnection,
) -> tuple[int, int]:
    """Read a file of accounts or actions into the workspace.

    Parameters
    ----------
    kind
        Which table it is.
    file
        CSV (also compressed) or Parquet; any column of the table may be missing but ``account_id`` and, for actions,
        ``time``. Other columns are not read.
    engine
        With the macros of `stillwatch.logs.rows`.

    Returns
    -------
    tuple of int
        Rows of the table after it, and rows quarantined. Memory: the whole table, about 200 bytes a row.

    Raises
    ------
    SchemaError
        A column that must be there is missing.
    """
    sources = expand([file])
    if len(sources) != 1:
        raise InputError(f"{file}: one file of {kind} at a time; this names {len(sources)}")
    name = sources[0].name
    used = [0]
    blocks: Iterator[TableBlock]
    if sources[0].is_parquet():
        blocks = parquet_blocks(sources[0], used)
    else:
        head, chunks = peek(sources[0].text(used))
        if not head.strip():
            raise InputError(f"{name}: is empty; expected a header with {', '.join(_NEEDED[kind])}")
        blocks = csv_blocks(chunks, name)
    schema, bad, tables = _SCHEMAS[kind], [], []
    for block in blocks:
        absent = [c for c in _NEEDED[kind] if c not in block.rows.column_names]
        if absent and not block.broken:
            raise SchemaError(
                absent[0], "a column of that name", ", ".join(block.rows.column_names[:14]), name
            )
        bad += [(name, row, reason) for row, reason in block.broken]
        if block.rows.num_rows:
            engine.register("rows", block.rows)
            try:
                found = engine.sql(_select(kind, block.rows.column_names)).to_arrow_table()
            finally:
                engine.unregister("rows")
            wrong = found.filter(pa.compute.is_valid(found["problem"]))
            bad += [
                (name, row, reason)
                for row, reason in zip(
                    wrong["source_line"].to_pylist(), wrong["problem"].to_pylist(), strict=True
                )
            ]
            good = found.filter(pa.compute.is_null(found["problem"])).combine_chunks()
            tables.append(_pseudonymised(good, schema, pseudonyms))
    path = workspace.accounts if kind == "accounts" else workspace.actions
    fresh = pa.concat_tables(tables) if tables else schema.empty_table()
    whole = _with_old(engine, path, fresh, _ONE_ROW[kind], schema)
    _write(path, whole)
    ledger.quarantine(kind, name, bad)
    return whole.num_rows, len(bad)


def _select(kind: Kind, columns: Sequence[str]) -> str:
    made, problems = [], []
    for field in _SCHEMAS[kind]:
        if field.name not in columns:
            made.append(f"null::{'varchar' if field.name in KINDS else _sql(field.type)} as {field.name}")
            continue
        text = f"nullif(trim(sw_cell(\"{field.name}\")), '')"
        if field.name == "signup_prefix":
            # a prefix joins with the exchanges' client_prefix; another kind of token is kept as it is
            made.append(f"coalesce(sw_prefix({text}), {text}) as {field.name}")
        elif field.name in KINDS or pa.types.is_string(field.type):
            made.append(f"{text} as {field.name}")
        elif field.name in _TIMES:
            made.append(f"sw_time({text}) as {field.name}")
            problems.append(
                f"when {text} is not null and (sw_time({text}) is null or sw_time({text}) "
                f"not between 0 and {YEAR_2100}) then '{field.name} is not a time'"
            )
        else:
            made.append(f"sw_finite(try_cast({text} as double)) as {field.name}")
            problems.append(
                f"when {text} is not null and sw_finite(try_cast({text} as double)) is null "
                f"then '{field.name} is not a number'"
            )
    for name in _NEEDED[kind]:
        problems.insert(0, f"when nullif(trim(sw_cell(\"{name}\")), '') is null then 'no {name}'")
    return f"select {', '.join(made)}, source_line, case {' '.join(problems)} end as problem from rows"


def _sql(kind: pa.DataType) -> str:
    return {pa.string(): "varchar", pa.float64(): "double"}.get(kind, "bigint")


def _pseudonymised(rows: pa.Table, schema: pa.Schema, pseudonyms: Pseudonyms) -> pa.Table:
    columns = []
    for field in schema:
        values = rows[field.name]
        if field.name in KINDS:
            values = pa.chunked_array([pseudonyms.map(KINDS[field.name], values)])
        columns.append(values.cast(field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def _with_old(
    engine: duckdb.DuckDBPyConnection, path: Path, fresh: pa.Table, one: Sequence[str], schema: pa.Schema
) -> pa.Table:
    old = pq.read_table(path, schema=schema) if path.exists() else schema.empty_table()
    engine.register("old_rows", old)
    engine.register("fresh_rows", fresh)
    try:
        # Of equal rows the last read stays.
        whole = engine.sql(
            "select * exclude (age, place, rank) from (select *, row_number() over (partition by "
            f"{', '.join(one)} order by age desc, place desc) as rank from ("
            "select *, 0 as age, row_number() over () as place from old_rows union all by name "
            "select *, 1 as age, row_number() over () as place from fresh_rows)) where rank = 1 "
            f"order by {', '.join(one)}"
        ).to_arrow_table()
    finally:
        engine.unregister("old_rows")
        engine.unregister("fresh_rows")
    return whole.select(schema.names).cast(schema)


def _write(path: Path, rows: pa.Table) -> None:
    draft = path.with_name(f".{path.name}.tmp")
    try:
        with draft.open("wb") as sink:
            pq.write_table(rows, sink, compression="zstd")
            sink.flush()
            os.fsync(sink.fileno())
        draft.rename(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
