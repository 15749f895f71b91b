"""What several commands do with cases: open the store, and file a scan."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from dataclasses import dataclass
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
    who, ready = whoever(by), read_scan(found, workspace)
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


@dataclass(frozen=True, slots=True)
class Ready:
    """A saved scan, with all that is filed of it in memory: nothing of it can be missing once a case is open."""

    scan: Scan
    members: bytes
    steps: bytes
    head: str
    """Of the workspace's journal."""
    entries: int


def read_scan(scan: Scan, workspace: Path) -> Ready:
    """What is to be filed of a saved scan, read and checked before anything is written.

    Raises
    ------
    InputError
        A file of the scan cannot be read.
    IntegrityError
        The workspace's journal does not hold.
    """
    from stillwatch.cases.journal import Journal
    from stillwatch.engine.tables import Workspace
    from stillwatch.errors import InputError

    place = Workspace(workspace)
    journal = Journal(place.journal)
    entries = journal.verify()
    try:
        folder = place.scans / (place.scans / "latest").read_text("utf-8").strip()
        members, steps = ((folder / name).read_bytes() for name in ("members.parquet", "steps.sql"))
    except OSError as problem:
        raise InputError(
            f"{problem.filename}: the scan cannot be filed without it: {problem.strerror}; scan again: "
            "stillwatch campaigns scan"
        ) from problem
    return Ready(scan, members, steps, journal.head(), entries)


def file_scan(cases: CaseStore, case: str, ready: Ready, *, everything: bool, by: str) -> tuple[int, int]:
    """File the supported findings of a saved scan (or every one), its run, its tables and the workspace's head.

    Returns
    -------
    tuple
        How many findings were filed, and how many of them are new.
    """
    scan = ready.scan
    # What the findings cite is there before they are. The members are pseudonyms of accounts: they stay with the
    # provider unless somebody says otherwise.
    tables = (
        (
            "members.parquet",
            ready.members,
            "application/vnd.apache.parquet",
            "members",
            "TLP:AMBER+STRICT",
            True,
        ),
        ("steps.sql", ready.steps, "application/sql", "method as run", "TLP:AMBER", False),
    )
    for name, data, media_type, role, tlp, personal in tables:
        cases.add_evidence(
            case, data, media_type=media_type, role=role, origin=f"scan {scan.run.id[:12]}, {name}", by=by,
            tlp=tlp, personal_data=personal,  # type: ignore[arg-type]
        )  # fmt: skip
    findings = scan.findings if everything else scan.supported
    added = cases.add_many(case, [scan.run, *findings], by=by)
    if ready.entries:
        cases.note_workspace(case, ready.head, ready.entries, by=by)
    return len(findings), sum(added[1:])
