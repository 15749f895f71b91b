"""What the commands of ``stillwatch watermark ledger`` share: the folder, its policy, the journal, times and names."""

from __future__ import annotations

import json as json_
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from stillwatch.marks.ledger import Policy

LedgerOption = Annotated[
    Path | None,
    typer.Option("--ledger", help="Folder of the ledger.", show_default="marks/ledger in the workspace"),
]


def folder_of(ledger: Path | None, workspace: Path) -> Path:
    return ledger or workspace / "marks" / "ledger"


def policy_of(folder: Path) -> Policy:
    """What `ledger policy` said last for this ledger; the narrowest if it said nothing."""
    from stillwatch.errors import InputError
    from stillwatch.marks.ledger import Policy

    path = folder / "policy.json"
    if not path.exists():
        return Policy()
    try:
        return Policy(**json_.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError) as problem:
        raise InputError(f"{path}: not a policy of keeping: {problem}") from problem


def journal(workspace: Path, kind: str, said: dict[str, Any]) -> None:
    from stillwatch.cases.journal import Journal
    from stillwatch.engine.tables import Workspace

    workspace.mkdir(parents=True, exist_ok=True)
    Journal(Workspace(workspace).journal).append(kind, said)


def parsed(name: str) -> int | None:
    """The number of an account's pseudonym; None if it is no pseudonym but a name."""
    from stillwatch.errors import InputError
    from stillwatch.identity.pseudonyms import parse

    try:
        kind, number = parse(name)
    except InputError:
        return None
    return number if kind == "account" else None


def when(micros: int) -> str:
    return datetime.fromtimestamp(micros / 1e6, UTC).isoformat(timespec="seconds")
