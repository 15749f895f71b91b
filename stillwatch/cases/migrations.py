"""How the tables of a case store came to be what they are: numbered steps, never edited once released.

A store knows by `schema_version` how many of them it has seen. A new step is a function at the end of `STEPS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, inspect, select, text

from stillwatch.cases.schema import CASES, ENTRIES, IMPORTS, THINGS, VERSION
from stillwatch.errors import InputError


def _first(connection: Connection) -> None:
    for table in (CASES, ENTRIES, THINGS, IMPORTS):
        table.create(connection)


def _second(connection: Connection) -> None:
    # The first cut did not note which entries a file brought, and no signature covered its notes.
    IMPORTS.drop(connection)
    IMPORTS.create(connection)


STEPS: Sequence[Callable[[Connection], None]] = (_first, _second)

_LOCK = (
    0x5741_5443_4800  # any number that only we take: PostgreSQL's advisory locks are one space for a database
)


def migrate(connection: Connection, name: str, steps: Sequence[Callable[[Connection], None]] = STEPS) -> None:
    """Bring the tables to the newest version, inside the transaction of `connection`.

    Raises
    ------
    InputError
        They are newer than this program.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"select pg_advisory_xact_lock({_LOCK})"))
    found = version(connection)
    if found is None:
        VERSION.create(connection)
        connection.execute(VERSION.insert().values(version=0))
        found = 0
    refuse_newer(found, name, steps)
    for number, step in enumerate(steps[found:], found + 1):
        step(connection)
        connection.execute(VERSION.update().values(version=number))


def version(connection: Connection) -> int | None:
    """The version of the tables; None where there are none yet."""
    if not inspect(connection).has_table(VERSION.name):
        return None
    return int(connection.execute(select(VERSION.c.version)).scalar_one())


def refuse_newer(found: int, name: str, steps: Sequence[Callable[[Connection], None]] = STEPS) -> None:
    """Raise InputError where the tables are newer than this program."""
    if found > len(steps):
        raise InputError(
            f"{name}: the case store has schema version {found}, this program knows {len(steps)}; "
            "a newer version of stillwatch wrote it: upgrade with pip install -U stillwatch"
        )
