"""JSON lines that a person gives a command: read whole, each bad line named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each line of a file as where it stands (``probe.jsonl:12``) and its values; empty lines are passed over.

    Raises
    ------
    InputError
        The file cannot be read.
    FormatError
        A line is no JSON object.
    """
    from stillwatch.errors import FormatError, InputError

    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise InputError(f"{path}: cannot be read: {problem}") from problem
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as problem:
            raise FormatError(f"not JSON: {problem.msg}", str(path), number) from problem
        if not isinstance(row, dict):
            raise FormatError("a JSON object is expected on each line", str(path), number)
        yield f"{path}:{number}", row


def text_of(row: dict[str, Any], where: str, *, name: str = "text") -> str | None:
    """A text of a row, or None.

    Raises
    ------
    InputError
        There is something else in its place.
    """
    from stillwatch.errors import InputError

    found = row.get(name)
    if found is not None and not isinstance(found, str):
        raise InputError(f"{where}: {name} is text, found {type(found).__name__}")
    return found


def tokens_of(row: dict[str, Any], where: str, *, name: str = "tokens") -> list[int] | None:
    """Token ids of a row, or None.

    Raises
    ------
    InputError
        There is something else in their place.
    """
    from stillwatch.errors import InputError

    found = row.get(name)
    whole = isinstance(found, list) and all(type(t) is int and 0 <= t < 1 << 32 for t in found)
    if found is not None and not whole:
        raise InputError(f"{where}: {name} is a list of token ids, 0 or above")
    return found
