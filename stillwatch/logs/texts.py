"""The text of shared shingles, kept encrypted as evidence: 32 normalised bytes each, and only what several share.

While blocks come in, a shingle that two accounts of one block have is a candidate and its text is sealed away; at the
end of an import the candidates that fewer than LEAST_ACCOUNTS accounts of the whole workspace share are deleted.
Material that is never within one block at two accounts keeps no text; it still counts as a shingle.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from stillwatch.engine.duckdb import Engine
from stillwatch.engine.schema import EXCHANGES
from stillwatch.engine.tables import Workspace
from stillwatch.errors import IntegrityError
from stillwatch.identity import Keys
from stillwatch.text.sketch import SHINGLE_BYTES, Sketch

LEAST_ACCOUNTS = 5
_NONCE = 12


def offer(
    workspace: Workspace, keys: Keys, engine: duckdb.DuckDBPyConnection, accounts: pa.Array, made: Sketch
) -> int:
    """Seal the texts of this block's candidates; returns how many are new.

    Parameters
    ----------
    accounts
        Account of each row (int64), parallel to `made`, which was made with its text.
    """
    shingles = made.table["shingles"].combine_chunks()
    owners = np.repeat(np.asarray(accounts), np.asarray(shingles.value_lengths().fill_null(0)))
    values = np.asarray(shingles.flatten())
    if not len(values):
        return 0
    engine.register(
        "block", pa.table({"shingle": values, "account": owners, "place": np.arange(len(values))})
    )
    try:
        shared = engine.sql(
            "select shingle, min(place) as place from block group by shingle having min(account) <> max(account)"
        ).to_arrow_table()
    finally:
        engine.unregister("block")
    if not shared.num_rows:
        return 0
    with closing(_open(workspace.texts)) as store:
        store.execute("create temp table offered (shingle integer primary key, place integer not null)")
        store.executemany(
            "insert into offered values (?, ?)",
            zip(shared["shingle"].to_pylist(), shared["place"].to_pylist(), strict=True),
        )
        fresh = store.execute(
            "select shingle, place from offered where shingle not in (select shingle from texts)"
        ).fetchall()
        if not fresh:
            return 0
        seal = _cipher(keys)
        found = _texts(made, np.array([place for _, place in fresh]))
        with store:
            store.executemany(
                "insert or ignore into texts values (?, ?)",
                (
                    (shingle, _sealed(seal, shingle, text))
                    for (shingle, _), text in zip(fresh, found, strict=True)
                ),
            )
    return len(fresh)


def settle(workspace: Workspace, parts: Sequence[Path], memory_limit: str, threads: int) -> int:
    """Delete candidates that fewer than LEAST_ACCOUNTS accounts share; returns how many texts stay."""
    if not workspace.texts.exists():
        return 0
    with closing(_open(workspace.texts)) as store:
        candidates = np.fromiter((s for (s,) in store.execute("select shingle from texts")), np.int64)
        kept: list[int] = []
        if len(candidates) and parts:
            # This engine may spill: it sees integers only.
            with Engine(memory_limit=memory_limit, threads=threads) as engine:
                engine.parquet("exchanges", parts, EXCHANGES)
                engine.table("candidates", pa.table({"shingle": candidates}))
                kept = engine.read(
                    "select shingle from (select account_id, unnest(shingles) as shingle from exchanges) as rows "
                    "semi join candidates using (shingle) group by shingle "
                    f"having count(distinct account_id) >= {LEAST_ACCOUNTS}"
                )["shingle"].to_pylist()
        with store:
            store.execute("create temp table kept (shingle integer primary key)")
            store.executemany("insert into kept values (?)", ((shingle,) for shingle in kept))
            store.execute("delete from texts where shingle not in (select shingle from kept)")
        return len(kept)


def count(workspace: Workspace) -> int:
    """How many texts are kept."""
    if not workspace.texts.exists():
        return 0
    with closing(_open(workspace.texts)) as store:
        return store.execute("select count(*) from texts").fetchone()[0]


def texts(workspace: Workspace | Path, shingles: Sequence[int]) -> dict[int, str]:
    """The kept texts of shingles: 32 bytes of normalised text each, bytes cut within a character shown as U+FFFD.

    Shingles whose text was not kept are left out.

    Raises
    ------
    IntegrityError
        A text does not open: another key, or somebody changed the store.
    """
    from cryptography.exceptions import InvalidTag

    workspace = workspace if isinstance(workspace, Workspace) else Workspace(workspace)
    found: dict[int, str] = {}
    if not workspace.texts.exists() or not len(shingles):
        return found
    seal = _cipher(Keys(workspace.key_file))
    with closing(_open(workspace.texts)) as store:
        wanted = list(dict.fromkeys(int(s) for s in shingles))
        for start in range(0, len(wanted), 30_000):
            some = wanted[start : start + 30_000]
            marks = ",".join("?" * len(some))
            for shingle, sealed in store.execute(f"select * from texts where shingle in ({marks})", some):
                try:
                    text = seal.decrypt(sealed[:_NONCE], sealed[_NONCE:], str(shingle).encode())
                except InvalidTag as bad:
                    raise IntegrityError(
                        f"{workspace.texts}: text of shingle {shingle}",
                        "sealed with this workspace's key",
                        "another",
                    ) from bad
                found[shingle] = text.decode("utf-8", "replace")
    return found


def _texts(made: Sketch, places: np.ndarray) -> list[bytes]:
    """The bytes behind places in the flattened shingles."""
    lengths = np.asarray(made.shingle_offsets.value_lengths().fill_null(0))
    row = np.searchsorted(np.cumsum(lengths), places, side="right")
    begin = np.asarray(made.shingle_offsets.flatten())[places]
    data, bounds = _flat(made.normalised)
    starts = bounds[row] + begin
    ends = np.minimum(starts + SHINGLE_BYTES, bounds[row + 1])
    return [data[a:b].tobytes() for a, b in zip(starts, ends, strict=True)]


def _flat(values: pa.LargeBinaryArray) -> tuple[np.ndarray, np.ndarray]:
    _, offsets, data = values.buffers()
    bounds = np.frombuffer(offsets, np.int64)[values.offset : values.offset + len(values) + 1]
    return np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8), bounds


def _cipher(keys: Keys):
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(keys.derive("texts"))


def _sealed(seal, shingle: int, text: bytes) -> bytes:
    nonce = os.urandom(_NONCE)
    return nonce + seal.encrypt(nonce, text, str(shingle).encode())


def _open(path: Path) -> sqlite3.Connection:
    store = sqlite3.connect(path, timeout=60)
    store.execute("pragma journal_mode = wal")
    store.execute("pragma synchronous = normal")
    store.execute("pragma secure_delete = on")
    store.execute("create table if not exists texts (shingle integer primary key, sealed blob not null)")
    path.chmod(0o600)
    return store
