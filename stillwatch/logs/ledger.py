"""What of which log is in the workspace: one SQLite file whose transactions decide what counts.

A Parquet part counts once the transaction that lists it, together with the block it came from, is committed; a file
that no transaction lists is an orphan of an interrupted import and is removed at the next one.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stillwatch.engine.tables import Workspace
from stillwatch.errors import InputError

SCHEMA = """
create table if not exists meta (name text primary key, value text not null) without rowid;
create table if not exists files (
    sha256 text not null, format text not null, block_bytes integer not null, name text not null,
    finished integer not null default 0, primary key (sha256, format, block_bytes)) without rowid;
create table if not exists blocks (
    sha256 text not null, format text not null, block_bytes integer not null, number integer not null,
    added integer not null, duplicates integer not null, quarantined integer not null,
    primary key (sha256, format, block_bytes, number)) without rowid;
create table if not exists parts (
    path text primary key, day text not null, rows integer not null, bytes integer not null,
    first_time integer not null, last_time integer not null) without rowid;
create index if not exists parts_by_day on parts (day);
create table if not exists quarantine (
    file text not null, line integer not null, reason text not null, kind text not null default 'exchange');
create index if not exists quarantine_by_reason on quarantine (reason);
"""
VERSION = "1"


@dataclass(frozen=True, slots=True)
class Part:
    """One Parquet file of exchanges; `path` is relative to the workspace's exchanges folder."""

    path: str
    day: str
    rows: int
    bytes: int
    first_time: int
    last_time: int


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the rows of a block: their sum is the number of rows read."""

    added: int = 0
    duplicates: int = 0
    quarantined: int = 0


BlockKey = tuple[str, str, int]
"""sha256 of the file, name of the reader, block size."""


class Ledger:
    """The ledger of one workspace; see the module's docstring."""

    def __init__(self, workspace: Workspace) -> None:
        self._db = sqlite3.connect(workspace.ledger, timeout=60, isolation_level=None)
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = full")
        self._db.executescript(SCHEMA)
        found = self._db.execute("select value from meta where name = 'version'").fetchone()
        if found is None:
            self._db.execute("insert or ignore into meta values ('version', ?)", (VERSION,))
        elif found[0] != VERSION:
            raise InputError(
                f"{workspace.ledger}: written by another version of this program "
                f"(ledger version {found[0]}, this program writes {VERSION})"
            )
        workspace.ledger.chmod(0o600)

    def close(self) -> None:
        self._db.close()

    def finished(self, key: BlockKey) -> bool:
        """The whole file went through before."""
        row = self._db.execute(
            "select finished from files where sha256 = ? and format = ? and block_bytes = ?", key
        ).fetchone()
        return bool(row and row[0])

    def blocks(self, key: BlockKey) -> dict[int, Counts]:
        """Blocks of the file that are in, by number."""
        rows = self._db.execute(
            "select number, added, duplicates, quarantined from blocks "
            "where sha256 = ? and format = ? and block_bytes = ?",
            key,
        )
        return {number: Counts(*counts) for number, *counts in rows}

    def begin_file(self, key: BlockKey, name: str) -> None:
        self._db.execute(
            "insert or ignore into files (sha256, format, block_bytes, name) values (?, ?, ?, ?)",
            (*key, name),
        )

    def finish_file(self, key: BlockKey) -> None:
        self._db.execute(
            "update files set finished = 1 where sha256 = ? and format = ? and block_bytes = ?", key
        )

    def commit_block(
        self,
        key: BlockKey | None,
        number: int,
        counts: Counts,
        parts: Sequence[Part],
        quarantined: Iterable[tuple[str, int, str]],
    ) -> None:
        """From here on the block's rows count. `key` is None for input that cannot be recognised again (a pipe)."""
        with self._transaction():
            if key is not None:
                self._db.execute(
                    "insert into blocks values (?, ?, ?, ?, ?, ?, ?)",
                    (*key, number, counts.added, counts.duplicates, counts.quarantined),
                )
            self._db.executemany("insert into parts values (?, ?, ?, ?, ?, ?)", map(_row, parts))
            self._db.executemany("insert into quarantine (file, line, reason) values (?, ?, ?)", quarantined)

    def replace_parts(self, old: Sequence[Part], new: Part) -> None:
        """A merge: the old parts stop counting and the new one counts, at once."""
        with self._transaction():
            self._db.executemany("delete from parts where path = ?", ((part.path,) for part in old))
            self._db.execute("insert into parts values (?, ?, ?, ?, ?, ?)", _row(new))

    def quarantine(self, kind: str, file: str, rows: Iterable[tuple[str, int, str]]) -> None:
        """Replace the quarantined rows of one file of a reference table (`kind`: accounts or actions)."""
        with self._transaction():
            self._db.execute("delete from quarantine where kind = ? and file = ?", (kind, file))
            self._db.executemany(
                "insert into quarantine (file, line, reason, kind) values (?, ?, ?, ?)",
                ((*row, kind) for row in rows),
            )

    def parts(self, first: int | None = None, last: int | None = None) -> list[Part]:
        """Parts that count, oldest first; with `first` and `last` those whose times overlap that span."""
        where, values = "", ()
        if first is not None and last is not None:
            where, values = "where last_time >= ? and first_time <= ?", (first, last)
        return [
            Part(*row)
            for row in self._db.execute(f"select * from parts {where} order by day, first_time, path", values)
        ]

    def quarantined(self, limit: int | None = None) -> list[tuple[str, int, str]]:
        """File, line and reason of the rows in quarantine."""
        tail = "" if limit is None else f" limit {int(limit)}"
        return self._db.execute(
            f"select file, line, reason from quarantine order by file, line{tail}"
        ).fetchall()

    def reasons(self) -> list[tuple[str, int]]:
        """Reasons of quarantine with their numbers of rows, most frequent first."""
        return self._db.execute(
            "select reason, count(*) from quarantine group by reason order by count(*) desc, reason"
        ).fetchall()

    def file_names(self) -> list[tuple[str, str, bool]]:
        """Name, format and whether it went through, of every file that was imported."""
        rows = self._db.execute("select name, format, finished from files order by name")
        return [(name, form, bool(done)) for name, form, done in rows]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._db.execute("rollback")
            raise
        self._db.execute("commit")


@contextmanager
def only_one(root: Path) -> Iterator[None]:
    """Hold the workspace for one import.

    Raises
    ------
    InputError
        Another import holds it.
    """
    path = root / "import.lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as taken:
            owner = os.read(handle, 32).decode("ascii", "replace").strip()
            raise InputError(
                f"{root}: another import is running here (process {owner or 'unknown'}); wait for it to end"
            ) from taken
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)  # also gives the lock back


def _row(part: Part) -> tuple[str, str, int, int, int, int]:
    return (part.path, part.day, part.rows, part.bytes, part.first_time, part.last_time)
