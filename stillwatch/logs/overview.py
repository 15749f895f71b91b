"""What a workspace holds, and which methods can work on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from stillwatch.engine.schema import ACCOUNTS, ACTIONS, EXCHANGES
from stillwatch.engine.tables import Workspace
from stillwatch.errors import InputError
from stillwatch.logs.ledger import Ledger
from stillwatch.logs.texts import count
from stillwatch.records import Card


@dataclass(frozen=True, slots=True)
class Column:
    """How well one column is filled."""

    table: str
    name: str
    filled: int
    """Rows with a value (an empty list is none)."""
    rows: int


@dataclass(frozen=True, slots=True)
class Model:
    """One requested model."""

    name: str
    exchanges: int
    accounts: int
    first_time: int
    last_time: int


@dataclass(frozen=True, slots=True)
class Description:
    """What a workspace holds. Times are microseconds since 1970, UTC."""

    exchanges: int
    accounts: int
    organizations: int
    first_time: int | None
    last_time: int | None
    days: dict[str, int]
    """Day -> exchanges."""
    models: tuple[Model, ...]
    """Most used first."""
    operations: dict[str, int]
    columns: tuple[Column, ...]
    files: tuple[tuple[str, str, bool], ...]
    """Name, format, and whether it went through to its end."""
    parts: int
    bytes: int
    texts: int
    quarantine: tuple[tuple[str, int], ...]
    """Reason and rows, most frequent first."""

    @property
    def missing(self) -> tuple[str, ...]:
        """Columns of exchanges, accounts and actions without any value, as ``table.column``."""
        return tuple(f"{c.table}.{c.name}" for c in self.columns if not c.filled)


@dataclass(frozen=True, slots=True)
class Need:
    """One entry of a card's `access`, held against the workspace."""

    access: str
    """As the card writes it: ``table.column``, any of several with ``|``."""
    rows: int
    """Rows that have it; of several columns the best filled counts."""
    of: int
    present: bool


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a method can work on this workspace."""

    method: str
    title: str
    runs: bool
    needs: tuple[Need, ...]
    why: str
    """Why it cannot run; empty where it can."""


def describe(workspace: Workspace | Path) -> Description:
    """Counts, spans, models, columns and quarantine of a workspace.

    Raises
    ------
    InputError
        There is no workspace.
    """
    workspace = _existing(workspace)
    parts = workspace.parts()
    ledger = Ledger(workspace)
    try:
        files, reasons, listed = ledger.file_names(), ledger.reasons(), ledger.parts()
    finally:
        ledger.close()
    columns = _columns(workspace)
    with duckdb.connect(config={"threads": 2}) as engine:
        _views(engine, workspace)
        totals = engine.execute(
            "select count(*), count(distinct account_id), count(distinct organization_id), min(time), max(time) "
            "from exchanges"
        ).fetchall()[0]
        models = engine.execute(
            "select coalesce(request_model, '(not given)'), count(*), count(distinct account_id), min(time), max(time) "
            "from exchanges group by 1 order by 2 desc, 1"
        ).fetchall()
        operations = engine.execute(
            "select coalesce(operation, '(not given)'), count(*) from exchanges group by 1 order by 2 desc, 1"
        ).fetchall()
    days: dict[str, int] = {}
    for part in listed:
        days[part.day] = days.get(part.day, 0) + part.rows
    return Description(
        exchanges=totals[0],
        accounts=totals[1],
        organizations=totals[2],
        first_time=totals[3],
        last_time=totals[4],
        days=dict(sorted(days.items())),
        models=tuple(Model(*row) for row in models),
        operations=dict(operations),
        columns=columns,
        files=tuple(files),
        parts=len(parts),
        bytes=sum(part.bytes for part in listed),
        texts=count(workspace),
        quarantine=tuple(reasons),
    )


def quarantined(workspace: Workspace | Path, limit: int | None = None) -> list[tuple[str, int, str]]:
    """File, line and reason of every row in quarantine; the row itself is not kept.

    Raises
    ------
    InputError
        There is no workspace.
    """
    ledger = Ledger(_existing(workspace))
    try:
        return ledger.quarantined(limit)
    finally:
        ledger.close()


def check(workspace: Workspace | Path, cards: Sequence[Card]) -> list[Readiness]:
    """For every method card, which of the columns it needs have values here, hence whether it can run and why not.

    Parameters
    ----------
    cards
        Cards whose `access` entries are ``table.column`` (tables: exchanges, accounts, actions); ``a|b``: one of them
        is enough.

    Raises
    ------
    InputError
        There is no workspace, or a card names a column that does not exist.
    """
    workspace = _existing(workspace)
    filled = {f"{c.table}.{c.name}": (c.filled, c.rows) for c in _columns(workspace)}
    found = []
    for card in cards:
        needs = []
        for access in card.access:
            names = [name.strip() for name in access.split("|")]
            unknown = [name for name in names if name not in filled]
            if unknown:
                raise InputError(f"method {card.name}: its card names {unknown[0]!r}, which is no column")
            best = max(names, key=lambda name: filled[name][0])
            rows, of = filled[best]
            needs.append(Need(access, rows, of, rows > 0))
        lacking = [_lacking(need) for need in needs if not need.present]
        found.append(Readiness(card.name, card.title, not lacking, tuple(needs), "; ".join(lacking)))
    return found


def _lacking(need: Need) -> str:
    table = need.access.split(".", 1)[0]
    names = " or ".join(name.strip().split(".", 1)[1] for name in need.access.split("|"))
    if not need.of:
        return f"no {table} were imported, so no {names}"
    return f"no {names} in {need.of:,} {table}"


def _existing(workspace: Workspace | Path) -> Workspace:
    return (workspace if isinstance(workspace, Workspace) else Workspace(Path(workspace))).must_exist()


def _columns(workspace: Workspace) -> tuple[Column, ...]:
    """Filled rows of every column: scalars from the Parquet footers alone, lists by reading them."""
    found: list[Column] = []
    tables = {
        "exchanges": (EXCHANGES, workspace.parts()),
        "accounts": (ACCOUNTS, [p for p in [workspace.accounts] if p.exists()]),
        "actions": (ACTIONS, [p for p in [workspace.actions] if p.exists()]),
    }
    with duckdb.connect(config={"threads": 2}) as engine:
        for table, (schema, paths) in tables.items():
            rows = sum(pq.read_metadata(path).num_rows for path in paths)
            held = {name for path in paths for name in pq.read_schema(path).names}
            made = ", ".join(
                "0"  # a column that came with a later schema version
                if f.name not in held
                else f'count(*) filter (len("{f.name}") > 0)'
                if str(f.type).startswith("list")
                else f'count("{f.name}")'
                for f in schema
            )
            counts: Sequence[int] = [0] * len(schema)
            if paths:
                counts = engine.execute(
                    f"select {made} from read_parquet($paths, hive_partitioning = false, union_by_name = true)",
                    {"paths": [str(p) for p in paths]},
                ).fetchall()[0]
            found += [Column(table, f.name, n, rows) for f, n in zip(schema, counts, strict=True)]
    return tuple(found)


def _views(engine: duckdb.DuckDBPyConnection, workspace: Workspace) -> None:
    parts = [str(p) for p in workspace.parts()]
    if parts:
        engine.register("exchanges", engine.read_parquet(parts, hive_partitioning=False, union_by_name=True))
    else:
        engine.register("exchanges", EXCHANGES.empty_table())
