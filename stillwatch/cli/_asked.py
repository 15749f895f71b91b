"""What a suspect is asked about by ``stillwatch model attribute``, read from the ledger and from files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillwatch.cli import _json_rows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from stillwatch.attribution.suspect import Document
    from stillwatch.marks.canaries import ProbeSet
    from stillwatch.marks.keys import Master

PROMPT_TOKENS = 160
"""Tokens of an answer that a suspect is asked for."""


@dataclass
class Asked:
    """Everything that the tests of a plan ask."""

    served: list[Document] = field(default_factory=list)
    plain: list[Document] = field(default_factory=list)
    fresh: list[Document] = field(default_factory=list)
    """Probes that carry a mark and were served to nobody."""
    twins: list[tuple[str, str, str]] = field(default_factory=list)
    written: list[Document] = field(default_factory=list)
    """Text that the suspect wrote before."""
    written_after: list[str] = field(default_factory=list)
    """The prompts of `written`, or none at all."""
    prompts: list[str] = field(default_factory=list)
    """To be asked now."""
    canaries: ProbeSet | None = None

    def probes(self) -> dict[str, dict[str, Any]]:
        """The part of a plan that names them."""
        from stillwatch.attribution.plan import probe

        lists: dict[str, tuple[str, Sequence[Any]]] = {
            "served answers": ("predictions after what was served", [_said(d) for d in self.served]),
            "fresh marked text": ("predictions after it", [_said(d) for d in self.fresh]),
            "plain text": ("predictions after it", [_said(d) for d in self.plain]),
            "its own text": ("marks in it", [_said(d) for d in self.written]),
            "its own answers": ("marks in answers to these prompts", self.prompts),
            "served twins": ("which of the two it prefers", self.twins),
        }
        found = {name: probe(what, items) for name, (what, items) in lists.items() if items}
        if self.canaries:
            found["canaries"] = probe("which way it says them", self.canaries.questions())
            found["canaries"]["commitment"] = self.canaries.commitment()
        return found


def from_ledger(
    asked: Asked,
    folder: Path,
    master: Master,
    marks: Sequence[str],
    *,
    limit: int,
    seed: int,
    prompts: Path | None,
) -> None:
    """Served answers and twins of a ledger."""
    import numpy as np

    from stillwatch.attribution.served import marked, with_twins
    from stillwatch.attribution.suspect import Document
    from stillwatch.marks.ledger import Ledger

    known = prompts_by_exchange(prompts) if prompts else {}
    with Ledger(folder, master) as ledger:
        for one in marked(ledger, marks, limit=limit, seed=seed):
            tokens = None if one.tokens is None else np.asarray(one.tokens, np.int64)
            asked.served.append(Document(one.text, tokens, marked=True))
        for one in with_twins(ledger, limit=10 * limit, seed=seed):
            asked.twins.append((known.get(one.exchange_id, ""), one.text or "", one.withheld or ""))


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


def _said(document: Document) -> NDArray[np.int64] | str:
    return document.text or "" if document.tokens is None else document.tokens


def plain_document(text: str) -> Document:
    """A text without a mark of ours."""
    from stillwatch.attribution.suspect import Document

    return Document(text, None)
