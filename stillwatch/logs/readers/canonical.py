"""Parquet and CSV whose columns have this program's own names (`stillwatch.engine.schema`).

Names are those of RAW, or those of EXCHANGES for identifiers (``account_id`` with the real account in it). Only time
and account must be there; a value of the wrong kind becomes null. In CSV a list is a JSON array.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from stillwatch.engine.schema import RAW
from stillwatch.logs.readers import _json, _names

NAME = "canonical"
TITLE = "Parquet or CSV with the columns of stillwatch.engine.schema"
INPUT = "table"

ALSO = {
    "account": "account_id",
    "credential": "credential_id",
    "organization": "organization_id",
    "end_user": "end_user_id",
    "conversation": "conversation_id",
    "client_address": "client_prefix",
    "record_id": "exchange_id",
}
"""RAW column -> the name under which it may also come."""


def select(columns: Sequence[str]) -> str:
    """The SELECT over ``rows`` for a table that has these columns."""
    there = set(columns)
    made = []
    for field in RAW:
        name = field.name if field.name in there else ALSO.get(field.name, "")
        if field.name == "source_line":
            made.append("source_line")
        elif field.name == "record_id":
            given = f"nullif({_text(name)}, '')" if name in there else "null"
            # Without an id of its own a row is known by all it says.
            others = ", ".join(_text(c) for c in sorted(there - {"source_line"}))
            made.append(f"coalesce({given}, sw_line(concat_ws(chr(31), {others}))) as record_id")
        elif name not in there:
            made.append(f"null::{_json.sql_type(field.type)} as {field.name}")
        else:
            made.append(f"{_value(field, name)} as {field.name}")
    problem = "null::varchar as problem"
    return f"select {', '.join(made)}, {problem} from rows"


def missing(columns: Sequence[str]) -> list[str]:
    """The columns that must be there and are not."""
    return [c for c in ("time", "account") if c not in columns and ALSO.get(c, "") not in columns]


def sniff(sample: bytes, name: str) -> float:
    """How surely this is such a table: 0 to 1."""
    columns = [column.lower() for column in _names.header(sample)]
    if not missing(columns):
        return 0.9
    # Parquet that nobody else knows is read here, where it is said which column is missing.
    return 0.1 if sample.startswith(b"PAR1") else 0.0


def _value(field: pa.Field, name: str) -> str:
    text = _text(name)
    if field.name == "time":
        return f"sw_time(trim({text}))"
    if pa.types.is_string(field.type):
        return f"nullif({text}, '')"
    if pa.types.is_list(field.type):
        return f"sw_list({text})"
    if pa.types.is_boolean(field.type):
        return f"try_cast({text} as boolean)"
    if pa.types.is_floating(field.type):
        return f"try_cast({text} as double)"
    # 12.0 is a count that went through a spreadsheet
    return f"try_cast(try_cast({text} as decimal(38, 3)) as bigint)"


def _text(name: str) -> str:
    quoted = '"' + name.replace('"', '""') + '"'
    return f"sw_cell({quoted})"
