"""What every baseline reads of a workspace, and the table that every baseline gives back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stillwatch.engine import schema
from stillwatch.engine.duckdb import Engine
from stillwatch.engine.tables import Workspace
from stillwatch.text.sketch import MINHASH

DAY = 86_400_000_000
OLD = 90 * DAY
"""An account is old if it was opened this long before the log begins. Where a baseline needs benign traffic, old
accounts stand for it: that needs no truth, and it is kind to the baseline as long as campaigns use young accounts."""
OPENING = "coalesce(x.turns, 1) <= 1 and len(x.minhash) = " + str(MINHASH)
"""First questions only: a later request repeats its conversation, which published methods never saw."""


def opened(workspace: Path) -> Engine:
    """An engine with the views ``exchanges`` and ``accounts`` of a workspace.

    Raises
    ------
    InputError
        No log was imported here.
    """
    place = Workspace(Path(workspace)).must_exist()
    engine = Engine(threads=1)  # with more, sums of doubles come in another order and differ in the last bit
    try:
        engine.parquet("exchanges", place.parts(), schema.EXCHANGES)
        engine.parquet("accounts", [place.accounts] if place.accounts.exists() else [], schema.ACCOUNTS)
    except BaseException:
        engine.close()
        raise
    return engine


def everybody(engine: Engine) -> NDArray[np.int64]:
    """Pseudonyms of all accounts that sent a request, ascending."""
    return engine.read("select distinct account_id from exchanges order by account_id")[
        "account_id"
    ].to_numpy()


@dataclass(frozen=True, slots=True)
class Openings:
    """First questions by account and time."""

    account: NDArray[np.int64]
    """Place of the account in `everybody`, shape (n,), ascending."""
    time: NDArray[np.int64]
    minhash: NDArray[np.int32]
    """Shape (n, 32)."""

    @property
    def starts(self) -> NDArray[np.int64]:
        """Where each account begins, and at the end the number of rows."""
        first = np.flatnonzero(np.diff(self.account, prepend=-1))
        return np.append(first, len(self.account))


def openings(engine: Engine, accounts: NDArray[np.int64]) -> Openings:
    """Memory: about 300 bytes a first question."""
    rows = engine.read(
        f"select x.account_id, x.time, x.exchange_id, x.minhash from exchanges as x where {OPENING}"
    )
    account = np.searchsorted(accounts, rows["account_id"].to_numpy())
    order = np.lexsort((rows["exchange_id"].to_numpy(), rows["time"].to_numpy(), account))
    return Openings(account[order], rows["time"].to_numpy()[order], sketches(rows["minhash"])[order])


def sketches(column: pa.ChunkedArray) -> NDArray[np.int32]:
    """MinHash lists of full length as a matrix, shape (n, 32)."""
    flat = [np.asarray(chunk.flatten()) for chunk in column.chunks]
    return np.concatenate([*flat, np.empty(0, np.int32)]).reshape(-1, MINHASH)


def old(engine: Engine, accounts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which accounts were opened long before the log begins; everybody where no account has a date.

    Shape (len(accounts),).
    """
    rows = engine.read(
        f"select a.account_id as account_id from accounts as a where a.created_at + {OLD} "
        "<= (select min(x.time) from exchanges as x)"
    )
    dated = engine.read("select count(created_at) as n from accounts")["n"][0].as_py()
    return np.isin(accounts, rows["account_id"].to_numpy()) if dated else np.ones(len(accounts), bool)


def table(
    accounts: NDArray[np.int64],
    score: NDArray[np.float64],
    flagged: NDArray[np.bool_],
    group: pa.Array | None = None,
    *,
    more: Mapping[str, NDArray | pa.Array] | None = None,
    notes: Mapping[str, object] | None = None,
) -> pa.Table:
    """The table of a baseline (see `stillwatch.lab.baselines`); NaN in a score becomes null."""
    columns: dict[str, pa.Array] = {
        "account_id": pa.array(accounts, pa.int64()),
        "score": pa.array(np.asarray(score, np.float64), from_pandas=True),
        "flagged": pa.array(np.asarray(flagged, bool)),
        "group": pa.nulls(len(accounts), pa.string()) if group is None else group,
    }
    for name, values in (more or {}).items():
        columns[name] = pa.array(values, from_pandas=True) if isinstance(values, np.ndarray) else values
    made = pa.table(columns)
    return made.replace_schema_metadata({"stillwatch.notes": json.dumps(notes)}) if notes else made
