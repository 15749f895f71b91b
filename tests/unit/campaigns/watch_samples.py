"""Small random logs for the tests of watching, and the tables that a full scan makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stillwatch.campaigns import steps
from stillwatch.campaigns.daily import DAY, WindowEngine
from stillwatch.campaigns.signals import shared_infrastructure, shared_prompt
from stillwatch.engine import schema
from stillwatch.engine.duckdb import Engine
from stillwatch.engine.steps import Step

START = 20_000
"""Number of the first day since 1970."""


def day_name(number: int) -> str:
    return str(np.datetime64(START + number, "D"))


def exchanges(rng: np.random.Generator, day: int, rows: int, *, accounts: int = 5) -> pa.Table:
    """Exchanges of few accounts with few distinct values, so that ties, repeats and nulls are the rule."""

    def some(values: np.ndarray, missing: float) -> pa.Array:
        return pa.array(values, mask=rng.random(rows) < missing)

    lists = [np.unique(rng.integers(-15, 15, rng.integers(0, 9))).tolist() for _ in range(rows)]
    have = {
        "exchange_id": pa.array(rng.integers(-(2**62), 2**62, rows)),
        "time": pa.array((START + day) * DAY + rng.integers(0, DAY, rows)),
        "account_id": pa.array(rng.integers(-accounts, accounts, rows) * 1_000_003),
        "request_model": some(rng.choice(["a", "b", "c"], rows), 0.2),
        "response_model": some(rng.choice(["a", "b-1"], rows), 0.6),
        "client_prefix": some(rng.integers(-3, 3, rows), 0.2),
        "tls_fingerprint": some(rng.integers(0, 2, rows), 0.5),
        "organization_id": some(rng.integers(0, 3, rows), 0.7),
        "shingles": pa.array([None if rng.random() < 0.1 else x for x in lists], pa.list_(pa.int64())),
        "minhash": pa.array(
            [None if rng.random() < 0.1 else rng.integers(-2, 2, 32).tolist() for _ in range(rows)],
            pa.list_(pa.int32()),
        ),
    }
    columns = [
        have[f.name].cast(f.type) if f.name in have else pa.nulls(rows, f.type) for f in schema.EXCHANGES
    ]
    return pa.Table.from_arrays(columns, schema=schema.EXCHANGES)


def write_days(folder: Path, rng: np.random.Generator, days: int, rows: int) -> dict[str, list[Path]]:
    """Two parts a day, as two imports leave them."""
    parts: dict[str, list[Path]] = {}
    for number in range(days):
        for part in range(2):
            path = folder / f"{number}-{part}.parquet"
            pq.write_table(exchanges(rng, number, int(rng.integers(rows // 2, rows))), path)
            parts.setdefault(day_name(number), []).append(path)
    return parts


def scan_steps() -> list[Step]:
    """Steps of a scan that daily aggregates answer, and one that reads what they made."""
    main = next(s for s in shared_infrastructure.steps() if s.name == "main_values")
    return [steps.POPULATION, main, *shared_prompt.steps(2)]


def tables(engine: Engine, names: Sequence[str]) -> dict[str, pa.Table]:
    return {name: engine.read(f"select * from {name} order by all") for name in names}


def by_scan(parts: Sequence[Path]) -> dict[str, pa.Table]:
    with Engine() as engine:
        engine.parquet("exchanges", parts, schema.EXCHANGES)
        engine.table("accounts", schema.ACCOUNTS.empty_table())
        made = scan_steps()
        engine.run(made)
        return tables(engine, [s.name for s in made])


def by_days(folder: Path, days: Sequence[str], parts: Sequence[Path]) -> dict[str, pa.Table]:
    with WindowEngine() as engine:
        engine.load(folder, days, parts)
        engine.table("accounts", schema.ACCOUNTS.empty_table())
        made = scan_steps()
        engine.run(made)
        return tables(engine, [s.name for s in made])
