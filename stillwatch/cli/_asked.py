"""What a suspect is asked about by ``stillwatch model attribute``, read from files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillwatch.cli import _json_rows

if TYPE_CHECKING:
    from stillwatch.attribution.asking import Asked
    from stillwatch.attribution.suspect import Document
    from stillwatch.marks.canaries import ProbeSet


def prompts_by_exchange(path: Path) -> dict[str, str]:
    """Prompts of a file of JSON lines with ``exchange_id`` and ``prompt``."""
    from stillwatch.errors import InputError

    found = {}
    for where, row in _json_rows.rows(path):
        name, prompt = row.get("exchange_id"), _json_rows.text_of(row, where, name="prompt")
        if not isinstance(name, str) or prompt is None:
            raise InputError(f"{where}: exchange_id and prompt are expected")
        found[name] = prompt
    return found


def from_probe(asked: Asked, path: Path) -> None:
    """Probe texts: JSON lines with ``text`` or ``tokens``; with ``key`` where they carry a mark."""
    for where, row in _json_rows.rows(path):
        document = _document(row, where, marked=bool(row.get("key")))
        (asked.fresh if document.marked else asked.plain).append(document)


def from_texts(asked: Asked, path: Path) -> None:
    """Text that the suspect wrote: JSON lines with ``text`` or ``tokens``, and ``prompt`` where it is known."""
    for where, row in _json_rows.rows(path):
        asked.written.append(_document(row, where, marked=False))
        if prompt := _json_rows.text_of(row, where, name="prompt"):
            asked.written_after.append(prompt)


def from_prompts(asked: Asked, path: Path) -> None:
    """Prompts that the suspect is to answer: JSON lines with ``prompt``."""
    from stillwatch.errors import InputError

    for where, row in _json_rows.rows(path):
        prompt = _json_rows.text_of(row, where, name="prompt")
        if not prompt:
            raise InputError(f"{where}: a prompt is expected")
        asked.prompts.append(prompt)


def canaries_of(path: Path) -> ProbeSet:
    """The probe set that ``stillwatch watermark canaries`` wrote."""
    from stillwatch.errors import InputError
    from stillwatch.marks.canaries import closed

    try:
        return closed(json.loads(path.read_text("utf-8"))["probes"])
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise InputError(f"{path}: not a probe set of canaries: {problem!r}") from problem


def _document(row: dict[str, Any], where: str, *, marked: bool) -> Document:
    import numpy as np

    from stillwatch.attribution.suspect import Document
    from stillwatch.errors import InputError

    text, tokens = _json_rows.text_of(row, where), _json_rows.tokens_of(row, where)
    if text is None and tokens is None:
        raise InputError(
            f"{where}: text or tokens are expected, found {', '.join(map(str, row)) or 'nothing'}"
        )
    return Document(text, None if tokens is None else np.array(tokens, np.int64), marked)
