"""What the first bytes of a log tell about it: the names of its columns, or the keys of its first object.

The sample of a Parquet file, which has its column names at its end, is ``PAR1`` and those names as a line of CSV.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence

_TOKEN = re.compile(r'"(?P<text>(?:[^"\\]|\\.)*)"(?P<key>\s*:)?|(?P<open>[{\[])|(?P<close>[}\]])', re.DOTALL)


def parquet_sample(columns: Sequence[str]) -> bytes:
    """The sample of a Parquet file with these columns."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(columns)
    return b"PAR1" + line.getvalue().encode("utf-8", "replace")


def header(sample: bytes) -> list[str]:
    """The columns of a table; empty where the sample is JSON, or no text."""
    text = sample.removeprefix(b"PAR1").split(b"\n", 1)[0].decode("utf-8", "replace")
    if text.lstrip().startswith(("{", "[")) or "\0" in text:
        return []
    try:
        return [column.strip() for column in next(csv.reader([text]), [])]
    except csv.Error:
        return []


def names(sample: bytes) -> set[str]:
    """The columns of a table, or the keys of the first JSON object as far as the sample goes."""
    if columns := header(sample):
        return set(columns)
    text = sample.decode("utf-8", "replace").lstrip().removeprefix("[").lstrip()
    if not text.startswith("{"):
        return set()
    try:
        return set(json.JSONDecoder(strict=False).raw_decode(text)[0])
    except (ValueError, RecursionError):
        return _outer_keys(text)


def _outer_keys(text: str) -> set[str]:
    """Keys of an object that breaks off."""
    found: set[str] = set()
    depth = 0
    for token in _TOKEN.finditer(text):
        depth += bool(token["open"]) - bool(token["close"])
        if depth == 1 and token["key"]:
            found.add(token["text"])
        if depth == 0:
            break
    return found


def as_lines(select: str, columns: Sequence[str]) -> str:
    """A SELECT over ``lines`` as one over ``rows``: each row is a JSON object of its columns."""
    # the engine's names differ in more than case
    once = {c.lower(): c for c in reversed(columns) if c and c != "source_line"}
    pairs = ", ".join(f"{_quoted(c, chr(39))}: {_quoted(c, chr(34))}" for c in reversed(once.values()))
    return (
        f"with lines as materialized (select to_json({{{pairs}}})::varchar as line, source_line from rows) "
        f"select * from ({select})"
    )


def _quoted(name: str, mark: str) -> str:
    return mark + name.replace(mark, mark * 2) + mark
