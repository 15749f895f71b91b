"""Daily aggregates: what one day adds to the tables from which a scan proposes, as integers.

Summed over the days of a window they give, row for row, the tables that a scan of these days makes of the exchanges
themselves, so a day that has been read once need not be read again to propose groups. A day's aggregates depend on
nothing but that day's exchanges.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from stillwatch.campaigns import steps
from stillwatch.campaigns.signals import shared_infrastructure, shared_prompt
from stillwatch.engine import schema
from stillwatch.engine.duckdb import Engine
from stillwatch.engine.steps import Step, most_frequent
from stillwatch.engine.tables import Workspace
from stillwatch.identity.keys import sync_folder

PAIRS_A_PASS = 10_000_000
"""Text of a day is aggregated in passes of about so many shingles: 24 bytes each in memory."""
DAY = 86_400_000_000

ACCOUNTS = pa.schema(
    [
        ("account_id", pa.int64()),
        ("model", pa.string()),
        ("exchanges", pa.int64()),
        ("first_time", pa.int64()),
        ("last_time", pa.int64()),
    ]
)
VALUES = pa.schema(
    [("account_id", pa.int64()), ("kind", pa.int8()), ("value", pa.int64()), ("uses", pa.int64())]
)
TEXT = pa.schema([("account_id", pa.int64()), ("shingle", pa.int64()), ("uses", pa.int32())])
TABLES = {"accounts": ACCOUNTS, "values": VALUES, "shingles": TEXT}

_DAY_ACCOUNTS = """
select x.account_id as account_id, coalesce(x.response_model, x.request_model) as model, count(*) as exchanges,
       min(x.time) as first_time, max(x.time) as last_time
from exchanges as x
group by 1, 2
order by 1, 2 nulls first"""

_VALUE_KINDS = ("client_prefix", "tls_fingerprint")
_DAY_VALUES = (
    "\nunion all\n".join(
        f"select x.account_id as account_id, {i} as kind, x.{kind} as value, count(*) as uses from exchanges as x "
        f"where x.{kind} is not null group by 1, 3"
        for i, kind in enumerate(_VALUE_KINDS)
    )
    + "\norder by 1, 2, 3"
)

_DAY_SHINGLES = """
select r.account_id as account_id, r.shingle as shingle, count(*) as uses
from (select x.account_id as account_id, unnest(x.shingles) as shingle from exchanges as x) as r
where (r.shingle & 1023) % {parts} = {part}
group by 1, 2
order by 2, 1"""

POPULATION = """
select c.account_id as account_id, c.exchanges as exchanges, c.first_time as first_time, c.last_time as last_time,
       m.value as model
from (
    select d.account_id as account_id, sum(d.exchanges)::bigint as exchanges, min(d.first_time) as first_time,
           max(d.last_time) as last_time
    from day_accounts as d
    group by d.account_id
) as c
left join (
    select t.account_id as account_id, t.model as value
    from (
        select g.account_id as account_id, g.model as model,
               row_number() over (partition by g.account_id order by sum(g.exchanges) desc, g.model) as place
        from day_accounts as g
        where g.model is not null
        group by g.account_id, g.model
    ) as t
    where t.place = 1
) as m on m.account_id = c.account_id"""


def _main_value(kind: int) -> str:
    return f"""
    select t.account_id as account_id, t.value as value
    from (
        select g.account_id as account_id, g.value as value,
               row_number() over (partition by g.account_id order by sum(g.uses) desc, g.value) as place
        from day_values as g
        where g.kind = {kind}
        group by g.account_id, g.value
    ) as t
    where t.place = 1"""


def _main_values(step: Step) -> str:
    """The step itself, with its most frequent values taken from the days instead of the exchanges."""
    sql = step.sql
    for i, kind in enumerate(_VALUE_KINDS):
        asked = most_frequent("exchanges", "account_id", f"e.{kind}")
        if asked not in sql:
            raise RuntimeError(f"main_values no longer asks for {kind} as these aggregates give it")
        sql = sql.replace(asked, _main_value(i))
    return sql


_REPEATED = f"""
select r.account_id as account_id, r.shingle as shingle, sum(r.uses)::bigint as uses
from day_shingles as r
where (r.shingle & 1023) % {{parts}} = {{part}}
group by r.account_id, r.shingle
having sum(r.uses) >= {shared_prompt.LEAST_USES}"""


def answers() -> dict[str, tuple[str, str]]:
    """SQL of a scan's step -> the table of aggregates that answers it, and the SELECT that does."""
    main = next(s for s in shared_infrastructure.steps() if s.name == "main_values")
    return {
        steps.POPULATION.sql: ("accounts", POPULATION),
        main.sql: ("values", _main_values(main)),
        shared_prompt.steps(1)[0].sql: ("shingles", _REPEATED),
    }


@dataclass(frozen=True, slots=True)
class Days:
    """The parts of exchanges by day, as the ledger lists them now."""

    files: dict[str, list[Path]] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)

    def parts(self, days: Iterable[str]) -> list[Path]:
        return [path for day in days for path in self.files.get(day, [])]


def read_days(place: Workspace) -> Days:
    """Read which days have exchanges; one small query, whatever the size of the log."""
    days = Days()
    with closing(
        sqlite3.connect(f"{place.ledger.resolve().as_uri()}?mode=ro", uri=True, timeout=60)
    ) as ledger:
        for path, day, rows in ledger.execute(
            "select path, day, rows from parts order by day, first_time, path"
        ):
            days.files.setdefault(day, []).append(place.exchanges / path)
            days.rows[day] = days.rows.get(day, 0) + rows
    return days


def aggregate(folder: Path, day: str, parts: Sequence[Path], *, memory_limit: str, threads: int) -> int:
    """Write the aggregates of one day, each file whole or not at all; the same exchanges give the same rows.

    Returns
    -------
    int
        Bytes written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with Engine(memory_limit=memory_limit, threads=threads) as engine:
        engine.parquet("exchanges", parts, schema.EXCHANGES)
        _write(folder / f"{day}.accounts.parquet", ACCOUNTS, [engine.read(_DAY_ACCOUNTS, "day_accounts")])
        _write(folder / f"{day}.values.parquet", VALUES, [engine.read(_DAY_VALUES, "day_values")])
        total = engine.read("select sum(len(shingles)) as n from exchanges")["n"][0].as_py() or 0
        passes = max(1, -(-int(total) // PAIRS_A_PASS))
        shingles = Step("day_shingles", _DAY_SHINGLES, "", passes)
        made = (engine.read(shingles.render(part), shingles.name) for part in range(passes))
        _write(folder / f"{day}.shingles.parquet", TEXT, made)
    return sum(path.stat().st_size for path in files_of(folder, day))


def files_of(folder: Path, day: str) -> list[Path]:
    return [folder / f"{day}.{name}.parquet" for name in TABLES]


def _write(path: Path, columns: pa.Schema, tables: Iterable[pa.Table]) -> None:
    draft = path.with_name(f".{path.name}.tmp")
    # Sorted shingles differ by fewer bits than they have, and a day has few accounts for many rows.
    packed = {"shingle": "DELTA_BINARY_PACKED"} if "shingle" in columns.names else {}
    with draft.open("wb") as sink:
        with pq.ParquetWriter(
            sink, columns, compression="zstd", use_dictionary=[c for c in columns.names if c not in packed],
            column_encoding=packed or None,
        ) as writer:  # fmt: skip
            for table in tables:
                writer.write_table(table.cast(columns))
        sink.flush()
        os.fsync(sink.fileno())
    draft.replace(path)
    sync_folder(path.parent)


class WindowEngine(Engine):
    """An engine on which a scan's own steps run, some answered from daily aggregates and some left empty.

    Proposing needs no shingle of the window and no exchange that carries some: that column reads as null, and the
    steps named in `blank` (which only feed tests) give no row.
    """

    blank: tuple[str, ...] = (
        "text_carriers",
        "word_carriers",
        "material_exchanges",
        "conversations",
        "scope",
    )

    def load(self, folder: Path, days: Sequence[str], parts: Sequence[Path]) -> None:
        """Name the aggregates of `days`, and their exchanges without shingles."""
        self.parquet("log", parts, schema.EXCHANGES)
        self._do(
            "exchanges",
            "create or replace view exchanges as select * replace (null::bigint[] as shingles) from log",
        )
        rows = {}
        for name, columns in TABLES.items():
            files = [folder / f"{day}.{name}.parquet" for day in days]
            self.parquet(f"day_{name}", files, columns)
            rows[name] = sum(pq.read_metadata(file).num_rows for file in files)
        self._passes = {name: max(1, -(-count // (4 * PAIRS_A_PASS))) for name, count in rows.items()}
        self._answers: Mapping[str, tuple[str, str]] = answers()

    def run(self, steps: Iterable[Step]) -> None:
        super().run(self._answered(step) for step in steps)

    def _answered(self, step: Step) -> Step:
        if step.sql in self._answers:
            table, sql = self._answers[step.sql]
            return Step(step.name, sql, step.why, self._passes[table] if "{part}" in sql else 1)
        if step.name in self.blank:
            return Step(step.name, f"select * from ({step.sql}) as nothing where false", step.why)
        return step
