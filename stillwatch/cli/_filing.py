"""What several commands do with cases: open the store, and file a scan."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING

from stillwatch.cli import output

if TYPE_CHECKING:
    from stillwatch.campaigns import Scan
    from stillwatch.cases.store import CaseStore

NEW = "new"
"""As the id of a case: open one."""


def store(workspace: Path, url: str, *, create: bool = False) -> CaseStore:
    """The case store of a workspace, or of the database at this URL with the workspace's files and key."""
    from stillwatch.cases.store import CaseStore
    from stillwatch.engine.tables import Workspace

    if url:
        return CaseStore(url, folder=Workspace(workspace).cases)
    return CaseStore(workspace, create=create)


def whoever(by: str) -> str:
    """Who does this: as given, or the name of the user who runs the program."""
    if by:
        return by
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def latest_scan(workspace: Path) -> Scan:
    """The scan that was saved last in a workspace."""
    from stillwatch import campaigns

    return campaigns.latest(workspace)


def file_in(found: Scan, workspace: Path, url: str, case: str, *, everything: bool, by: str) -> None:
    """File a saved scan in a case, or in a new one, and say so."""
    who = whoever(by)
    with store(workspace, url, create=True) as cases:
        if case == NEW:
            case = cases.open(title_of(found), subjects=[f.subject for f in found.supported], by=who).id
        filed, fresh = file_scan(cases, case, found, workspace, everything=everything, by=who)
    output.note(f"{case}: {output.count(filed, 'finding')} filed, {fresh} of them new")


def title_of(scan: Scan) -> str:
    """The title of a case that is opened for a scan."""
    names = [f.subject for f in scan.supported]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return (
        f"Campaigns in a log: {', '.join(names[:3])}{more}" if names else "Campaigns in a log: none supported"
    )


def file_scan(
    cases: CaseStore, case: str, scan: Scan, workspace: Path, *, everything: bool, by: str
) -> tuple[int, int]:
    """File the supported findings of a saved scan (or every one), its run, its tables and the workspace's head.

    Returns
    -------
    tuple
        How many findings were filed, and how many of them are new.
    """
    from stillwatch.cases.journal import Journal
    from stillwatch.engine.tables import Workspace

    place = Workspace(workspace)
    # What the findings cite is there before they are.
    folder = place.scans / (place.scans / "latest").read_text("utf-8").strip()
    # The members are pseudonyms of accounts: they stay with the provider unless somebody says otherwise.
    tables = (
        ("members.parquet", "application/vnd.apache.parquet", "members", "TLP:AMBER+STRICT", True),
        ("steps.sql", "application/sql", "method as run", "TLP:AMBER", False),
    )
    for name, media_type, role, tlp, personal in tables:
        cases.add_evidence(
            case, folder / name, media_type=media_type, role=role, origin=f"scan {scan.run.id[:12]}, {name}", by=by,
            tlp=tlp, personal_data=personal,  # type: ignore[arg-type]
        )  # fmt: skip
    findings = scan.findings if everything else scan.supported
    added = cases.add_many(case, [scan.run, *findings], by=by)
    journal = Journal(place.journal)
    if entries := journal.verify():
        cases.note_workspace(case, journal.head(), entries, by=by)
    return len(findings), sum(added[1:])
