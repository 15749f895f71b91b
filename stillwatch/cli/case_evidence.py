"""``stillwatch case delete-evidence``: the bytes of an item go, its record and the reason stay."""

from __future__ import annotations

from typing import Annotated

import typer

from stillwatch.cli import _filing, output
from stillwatch.cli._options import HOME, ByOption, CaseArgument, StoreOption, WorkspaceOption

_LEAST = 6
"""Digits that name an item. Nothing brings it back, so it is not guessed."""


def delete_evidence(
    case: CaseArgument,
    sha256: Annotated[str, typer.Argument(help="sha256 of the item, or its first characters.")],
    reason: Annotated[str, typer.Option(help="Why it is deleted, such as: kept long enough.")],
    by: ByOption = "",
    workspace: WorkspaceOption = HOME,
    store: StoreOption = "",
) -> None:
    """Delete the bytes of an item of evidence for good. Its record and the reason stay in the journal."""
    from stillwatch.errors import InputError

    if not reason.strip():
        raise InputError("evidence is deleted for a reason, which the journal keeps: --reason")
    with _filing.store(workspace, store) as cases:
        matching = [e.sha256 for e in cases.get(case).evidence if e.sha256.startswith(sha256)]
        if len(sha256) < _LEAST or len(matching) != 1:
            what = "fits several items" if len(matching) > 1 else "is no item"
            what = f"is shorter than {_LEAST} characters, so no item" if len(sha256) < _LEAST else what
            raise InputError(f"{sha256[:80]!r} {what} of {case}; see: stillwatch case show {case}")
        record = cases.delete_evidence(case, matching[0], reason, by=_filing.whoever(by))
        others = cases.holders(record.evidence)
    output.line(f"evidence {record.evidence[:12]} is deleted from {case}")
    if others:
        output.line(f"The same bytes stay in {', '.join(others)}")
    output.line(f"Next: stillwatch case verify {case}")


def add_to(app: typer.Typer) -> None:
    """Put this command under a noun."""
    app.command("delete-evidence")(delete_evidence)
