"""The database of a case store: SQLite or PostgreSQL through SQLAlchemy, with transactions that mean the same on both.

A write holds the database (SQLite, ``begin immediate``) or the row of its case (PostgreSQL, ``for update``) until it is
committed, and a commit is on the disk (``synchronous = full``; PostgreSQL's default). A read sees one moment. A file
that may not be written can still be read.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event, exc, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import NullPool

from stillwatch import extras
from stillwatch.cases import migrations
from stillwatch.errors import InputError, IntegrityError, StillwatchError

WAIT = 120.0
"""Seconds that a writer waits for the others."""
_FILES = 0x5741_5443_4801  # as in migrations.py: any number that only we take
EXAMPLE = "postgresql+pg8000://USER:PASSWORD@HOST/DATABASE"
_QUERY = ("application_name", "unix_sock")
"""What may stand after the ``?`` of a URL."""


class Database:
    """One database. `name` is how errors call it, without its password.

    Parameters
    ----------
    place
        The file of an SQLite database, or a URL: ``postgresql+pg8000://USER:PASSWORD@HOST/DATABASE``.

    Raises
    ------
    InputError
        The URL is none of these, the database cannot be reached, or its tables are newer than this program.
    MissingExtra
        PostgreSQL without ``stillwatch[postgres]``.
    """

    def __init__(self, place: Path | str) -> None:
        parsed = URL.create("sqlite", database=str(place)) if isinstance(place, Path) else parse(place)
        self.name = (
            str(parsed.database)
            if _is_sqlite(parsed)
            else parsed.set(query={}).render_as_string(hide_password=True)
        )
        self._engine = self._sqlite(parsed) if _is_sqlite(parsed) else self._postgres(parsed)
        try:
            self._migrate()
        except BaseException:
            self.close()
            raise

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._engine.dialect.name

    def close(self) -> None:
        """Give back every connection."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees the database as it is at this moment, whatever others write meanwhile."""
        with self._told("was not read"), self._engine.connect() as connection:
            if self.dialect == "postgresql":
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction: all of the block is committed, or none of it."""
        with self._told("was not written; it is as it was"), self._engine.connect() as connection:
            connection = connection.execution_options(stillwatch_writes=True)
            with connection.begin():
                if self.dialect == "postgresql":
                    connection.execute(text(f"set local lock_timeout = {int(WAIT * 1000)}"))
                yield connection

    def _sqlite(self, url: URL) -> Engine:
        path = Path(str(url.database))
        try:
            frozen = path.exists() and not _writable(path)
            if not frozen:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                path.touch(0o600)  # SQLite's own files beside it take over its mode
        except OSError as problem:
            raise InputError(f"{path}: the case store cannot be opened: {problem.strerror}") from problem
        # A connection for each transaction: none is ever shared between threads or over a fork.
        if frozen:
            engine = create_engine(
                "sqlite://", poolclass=NullPool, hide_parameters=True, creator=lambda: _read_only(path)
            )
        else:
            engine = create_engine(
                url, poolclass=NullPool, hide_parameters=True, connect_args={"timeout": WAIT}
            )

        def connected(connection: Any, _: Any) -> None:
            connection.isolation_level = None  # `begin` is ours, see below
            if frozen:
                return
            cursor = connection.cursor()
            for pragma in ("journal_mode = wal", "synchronous = full", "foreign_keys = on"):
                cursor.execute(f"pragma {pragma}")
            cursor.close()

        def begin(connection: Connection) -> None:
            writes = connection.get_execution_options().get("stillwatch_writes")
            connection.exec_driver_sql("begin immediate" if writes else "begin")

        event.listen(engine, "connect", connected)
        event.listen(engine, "begin", begin)
        return engine

    def _postgres(self, url: URL) -> Engine:
        extras.need("pg8000")
        return create_engine(url, hide_parameters=True, pool_size=1, pool_pre_ping=True)

    def _migrate(self) -> None:
        with self.reading() as connection:
            found = migrations.version(connection)
        if found == len(migrations.STEPS):
            return
        with self.writing() as connection:
            migrations.migrate(connection, self.name)

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Errors of the database as ours: its own words, never the values or the password."""
        try:
            yield
        except StillwatchError:
            raise
        except exc.DBAPIError as problem:
            words = _words(problem.orig)
            if isinstance(problem.orig, sqlite3.DatabaseError) and (
                "malformed" in words or "not a database" in words
            ):
                raise IntegrityError(f"{self.name}: the case store", "of a whole database", words) from None
            raise InputError(f"{self.name}: the case store {what}: {words}") from None
        except (OSError, exc.SQLAlchemyError) as problem:
            raise InputError(f"{self.name}: the case store {what}: {_words(problem)}") from None
        except Exception as problem:
            # pg8000 lets some errors of a connection through as its own.
            if type(problem).__module__.partition(".")[0] in ("pg8000", "scramp"):
                raise InputError(f"{self.name}: the case store {what}: {_words(problem)}") from None
            raise


def lock_files(connection: Connection, *, alone: bool = False) -> None:
    """Hold the folder of evidence until the transaction ends: with others who add, or alone, to remove files.

    A transaction takes it after the row of its case. In SQLite, whoever writes is alone anyway.
    """
    if connection.dialect.name == "postgresql":
        shared = "" if alone else "_shared"
        connection.execute(text(f"select pg_advisory_xact_lock{shared}({_FILES})"))


def parse(url: str) -> URL:
    """The URL of a case store. Nothing of what was given is repeated in an error: it may be a password.

    Raises
    ------
    InputError
        It is none.
    """
    try:
        parsed = make_url(url.strip())
    except (exc.ArgumentError, ValueError):
        raise InputError(f"the case store's URL cannot be read; expected {EXAMPLE}") from None
    name = parsed.drivername.lower()
    parsed = parsed.set(drivername="postgresql+pg8000" if name in ("postgresql", "postgres") else name)
    if parsed.drivername not in ("sqlite", "postgresql+pg8000"):
        raise InputError(f"a case store is kept in sqlite or postgresql+pg8000, found {name}")
    if not parsed.database:
        raise InputError(f"the case store's URL does not name a database; expected {EXAMPLE}")
    if "@" in (parsed.host or ""):
        raise InputError("the case store's URL has more than one @; write one in a password as %40")
    if not _is_sqlite(parsed) and set(parsed.query) - set(_QUERY):
        raise InputError(
            f"the case store's URL: after the ? stand {' and '.join(_QUERY)} only; user and password stand before "
            "the host"
        )
    return parsed


def _is_sqlite(url: URL) -> bool:
    return url.drivername == "sqlite"


def _writable(path: Path) -> bool:
    # SQLite makes files of its own beside the database, for readers too.
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def _read_only(path: Path) -> sqlite3.Connection:
    """A connection where nothing can be written, not even the files by which readers and writers know of each other."""
    where = f"file:{quote(str(path.absolute()))}?mode=ro"
    opened = sqlite3.connect(where, uri=True, timeout=WAIT, check_same_thread=False)
    try:
        opened.execute("select count(*) from sqlite_master").fetchone()
    except sqlite3.OperationalError:
        opened.close()
    else:
        return opened
    beside = path.with_name(f"{path.name}-wal")
    if beside.exists() and beside.stat().st_size:
        raise InputError(
            f"{path}: cannot be read here, because {beside.name} holds changes that are not in it yet; read a copy of "
            "the folder that may be written"
        )
    return sqlite3.connect(f"{where}&immutable=1", uri=True, timeout=WAIT, check_same_thread=False)


def _words(problem: BaseException | None) -> str:
    """What the database said; of PostgreSQL only the message, because its details hold values."""
    if problem is not None and problem.args and isinstance(problem.args[0], dict):
        return str(problem.args[0].get("M", type(problem).__name__))
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror
    return str(problem)
