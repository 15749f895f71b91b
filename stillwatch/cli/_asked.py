"""What a suspect is asked about by ``stillwatch model attribute``, read from files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillwatch.cli import _json_rows

if TYPE_CHECKING:
    from stillwatch.attribution.asking import Asked
    from stillwatch.attribution.candidates import Candidates
    from stillwatch.attribution.suspect import Document, Suspect
    from stillwatch.marks.canaries import ProbeSet
    from stillwatch.marks.keys import Master
    from stillwatch.marks.register import Register, Serving
    from stillwatch.marks.twins_published import Published
    from stillwatch.models.protocol import Model


@dataclass(frozen=True, slots=True)
class Given:
    """Files and numbers that decide what is asked, as options of the command."""

    workspace: Path
    ledger: Path | None
    probe: Path | None
    texts: Path | None
    ask: Path | None
    canaries: Path | None
    prompts: Path | None
    twins_published: Path | None
    only: list[str]
    decoys: int
    limit: int
    seed: int
    head: str
    """Digest of an entry of the register that was noted elsewhere; empty: none was."""


def materials(
    given: Given, master_of: Callable[[], Master]
) -> tuple[Asked, list[Candidates], list[str], list[str]]:
    """What is asked, the keys it is held against, which keys had to be left out, and what else is to be known."""
    from stillwatch.attribution.asking import Asked, from_ledger
    from stillwatch.attribution.candidates import Candidates, candidates
    from stillwatch.errors import InputError
    from stillwatch.marks.register import Register

    asked, groups = Asked(), list[Candidates]()
    left_out, notes = list[str](), list[str]()
    folder = given.ledger or given.workspace / "marks" / "ledger"
    if given.head or folder.exists() or given.probe or given.texts or given.ask:
        master, register = master_of(), Register(given.workspace / "marks" / "register.jsonl")
        register.verify([master], head=given.head)
        late = register.entered_after(given.head) if given.head else []
        groups, left_out = candidates(_servings(register, given.only), master, decoys=given.decoys, late=late)
        if folder.exists():
            notes = from_ledger(
                asked, folder, master, [name for g in groups for name in g.keys],
                limit=given.limit, seed=given.seed,
                prompts=prompts_by_exchange(given.prompts) if given.prompts else {},
                said=published_of(given.twins_published) if given.twins_published else None,
                scopes=register.scopes(),
            )  # fmt: skip
        elif given.ledger:
            raise InputError(f"{given.ledger}: there is no ledger")
    if given.twins_published and not folder.exists():
        raise InputError(f"--twins-published is about the twins of the ledger, and {folder} is none")
    for path, take in ((given.probe, from_probe), (given.texts, from_texts), (given.ask, from_prompts)):
        if path:
            take(asked, path)
    if given.canaries:
        asked.canaries = canaries_of(given.canaries)
    if not asked.probes():
        raise InputError(
            "there is nothing to ask: the ledger keeps no answer of a key that served; give --ledger, --probe, "
            "--texts, --ask or --canaries"
        )
    if not groups and (asked.served or asked.fresh or asked.plain or asked.written or asked.prompts):
        raise InputError("no key that served can be read; see: stillwatch watermark key list --all")
    return asked, groups, left_out, notes


def _servings(register: Register, only: list[str]) -> list[Serving]:
    from stillwatch.errors import InputError

    found = register.servings()
    for name in only:
        if len({s.fingerprint for s in found if s.fingerprint.startswith(name)}) != 1:
            raise InputError(f"no single key begins with {name!r}; see: stillwatch watermark key list --all")
    return [s for s in found if not only or any(s.fingerprint.startswith(name) for name in only)]


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


def published_of(path: Path) -> Published:
    """What was published of days of twins: the lines of ``stillwatch watermark twins commit`` and ``tally``."""
    from stillwatch.marks.twins_published import published

    return published(_json_rows.rows(path))


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


def for_base(asked: Asked, suspect: Suspect, base: Model) -> None:
    """Plain probes are read by the base too, if it fits the suspect; said before the plan is committed."""
    from stillwatch.attribution.moved import fitting
    from stillwatch.errors import InputError

    if not asked.plain:
        raise InputError("--base reads plain text that nobody was served: --probe, lines without a key")
    fitting(suspect, base, asked.plain)
    asked.moved = list(asked.plain)


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
