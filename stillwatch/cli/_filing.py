"""What several commands do with cases: open the store, and file a scan."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from stillwatch.cli import output

if TYPE_CHECKING:
    from stillwatch.campaigns import Scan
    from stillwatch.cases.store import CaseStore

NEW = "new"
"""As the id of a case: open one."""


def store(workspace: Path, url: str, *, create: bool = False, known: Sequence[str] = ()) -> CaseStore:
    """The case store of a workspace, or of the database at this URL with the workspace's files and key.

    `known` are public keys besides the workspace's own whose signature over a case is taken.
    """
    from stillwatch.cases.store import CaseStore
    from stillwatch.engine.tables import Workspace

    if url:
        return CaseStore(url, folder=Workspace(workspace).cases, known=known)
    return CaseStore(workspace, known=known, create=create)


def whoever(by: str) -> str:
    """Who does this: as given, or the name of the user who runs the program."""
    if by:
        return by
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def tell_author(by: str) -> None:
    """Say whose name a document bears, where nobody gave one."""
    if not by:
        output.note(f"from: {whoever(by)}, the user of this machine; --by says who writes it")


def day(text: str) -> date:
    """The day on which dates are judged: as given, or today."""
    from stillwatch.errors import InputError

    if not text:
        return datetime.now(UTC).date()
    try:
        return date.fromisoformat(text)
    except ValueError as problem:
        raise InputError(f"--today is a day such as 2026-11-24, found {text!r}") from problem


def latest_scan(workspace: Path) -> Scan:
    """The scan that was saved last in a workspace."""
    from stillwatch import campaigns

    return campaigns.latest(workspace)


def file_in(found: Scan, workspace: Path, url: str, case: str, *, everything: bool, by: str) -> None:
    """File a saved scan in a case, or in a new one, and say so."""
    from stillwatch.cases.scans import file_scan, read_scan

    who, ready = whoever(by), read_scan(found.run, found.findings, workspace)
    with store(workspace, url, create=True) as cases:
        if case == NEW:
            case = cases.open(title_of(found), subjects=[f.subject for f in found.supported], by=who).id
        filed, fresh = file_scan(cases, case, ready, everything=everything, by=who)
    output.note(f"{case}: {output.count(filed, 'finding')} filed, {fresh} of them new")


def title_of(scan: Scan) -> str:
    """The title of a case that is opened for a scan."""
    names = [f.subject for f in scan.supported]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return (
        f"Campaigns in a log: {', '.join(names[:3])}{more}" if names else "Campaigns in a log: none supported"
    )
