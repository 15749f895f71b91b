"""Parquet parts of exchanges by day: written under another name, made durable, renamed, and only then listed."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stillwatch.engine.schema import EXCHANGES
from stillwatch.engine.tables import Workspace
from stillwatch.identity.keys import sync_folder
from stillwatch.logs.ledger import Ledger, Part

DAY = 86_400_000_000
SMALL_ROWS = 500_000
"""Parts below this are merged when a day has several."""
_ROW_GROUP = 65_536
# Random 64-bit numbers do not repeat within a part: a dictionary for them is work for nothing.
_DICTIONARY = [
    f.name
    for f in EXCHANGES
    if pa.types.is_string(f.type) or (f.name.endswith("_id") and f.name != "exchange_id")
]


def write(workspace: Workspace, rows: pa.Table) -> list[Part]:
    """Write exchanges as one durable part a day; they count once the ledger lists them.

    Parameters
    ----------
    rows
        Table of EXCHANGES columns.
    """
    if not rows.num_rows:
        return []
    rows = rows.sort_by("time")
    days = np.asarray(rows["time"]) // DAY
    starts = np.flatnonzero(np.r_[True, days[1:] != days[:-1]])
    ends = np.r_[starts[1:], len(days)]
    parts = []
    for start, end in zip(starts, ends, strict=True):
        day = str(np.datetime64(int(days[start]), "D"))
        parts.append(_write_one(workspace, day, iter([rows.slice(start, end - start)])))
    return parts


def remove_orphans(workspace: Workspace, ledger: Ledger) -> int:
    """Delete part files that the ledger does not list; returns how many."""
    listed = {part.path for part in ledger.parts()}
    orphans = [
        p
        for p in workspace.exchanges.glob("day=*/*")
        if str(p.relative_to(workspace.exchanges)) not in listed
    ]
    for path in orphans:
        path.unlink()
    return len(orphans)


def merge(workspace: Workspace, ledger: Ledger, least: int = 2) -> int:
    """Merge the small parts of every day that has at least `least` of them; returns the number of merged days.

    Memory stays at a few row groups. A crash leaves either the old parts or the new one counted, never both.
    """
    days: dict[str, list[Part]] = {}
    for part in ledger.parts():
        if part.rows < SMALL_ROWS:
            days.setdefault(part.day, []).append(part)
    merged = 0
    for day, old in days.items():
        if len(old) < least:
            continue
        new = _write_one(workspace, day, _read(workspace, old))
        ledger.replace_parts(old, new)
        for part in old:
            (workspace.exchanges / part.path).unlink()
        merged += 1
    return merged


def _read(workspace: Workspace, parts: list[Part]) -> Iterator[pa.Table]:
    for part in parts:
        with pq.ParquetFile(workspace.exchanges / part.path) as file:
            for batch in file.iter_batches(_ROW_GROUP):
                yield _current(pa.Table.from_batches([batch]))


def _current(rows: pa.Table) -> pa.Table:
    """Rows of any schema version as the present one: columns that came later are null."""
    held = set(rows.schema.names)
    columns = [rows[f.name] if f.name in held else pa.nulls(rows.num_rows, f.type) for f in EXCHANGES]
    return pa.table(columns, names=EXCHANGES.names).cast(EXCHANGES)


def _write_one(workspace: Workspace, day: str, tables: Iterator[pa.Table]) -> Part:
    folder = workspace.exchanges / f"day={day}"
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{uuid.uuid4().hex}.parquet"
    draft = folder / f".{name}.tmp"
    rows, first, last = 0, [], []
    try:
        with draft.open("xb") as sink:
            with pq.ParquetWriter(sink, EXCHANGES, compression="zstd", use_dictionary=_DICTIONARY) as writer:
                for table in tables:
                    writer.write_table(table, row_group_size=_ROW_GROUP)
                    rows += table.num_rows
                    span = pc.min_max(table["time"]).as_py()
                    first.append(span["min"])
                    last.append(span["max"])
            sink.flush()
            os.fsync(sink.fileno())
            size = sink.tell()
        draft.rename(folder / name)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(folder)
    sync_folder(workspace.exchanges)
    return Part(f"day={day}/{name}", day, rows, size, min(first), max(last))


def path_of(workspace: Workspace, part: Part) -> Path:
    """Where a part lies."""
    return workspace.exchanges / part.path
