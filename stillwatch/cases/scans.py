"""A saved scan goes into a case: what it found, and the tables and statements that its findings cite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stillwatch.cases.journal import Journal
from stillwatch.cases.store import CaseStore
from stillwatch.engine.tables import Workspace
from stillwatch.errors import InputError
from stillwatch.records import Finding, Run


@dataclass(frozen=True, slots=True)
class Ready:
    """A saved scan, with all that is filed of it in memory: nothing of it can be missing once a case is open."""

    run: Run
    findings: tuple[Finding, ...]
    members: bytes
    steps: bytes
    head: str
    """Of the workspace's journal."""
    entries: int


def read_scan(run: Run, findings: Sequence[Finding], workspace: Path) -> Ready:
    """What is to be filed of the scan that was saved last, read and checked before anything is written.

    Raises
    ------
    InputError
        A file of the scan cannot be read.
    IntegrityError
        The workspace's journal does not hold.
    """
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
    return Ready(run, tuple(findings), members, steps, journal.head(), entries)


def file_scan(cases: CaseStore, case: str, ready: Ready, *, everything: bool, by: str) -> tuple[int, int]:
    """File the supported findings of a saved scan (or every one), its run, its tables and the workspace's head.

    Returns
    -------
    tuple
        How many findings were filed, and how many of them are new.
    """
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
            case, data, media_type=media_type, role=role, origin=f"scan {ready.run.id[:12]}, {name}", by=by,
            tlp=tlp, personal_data=personal,  # type: ignore[arg-type]
        )  # fmt: skip
    findings = [f for f in ready.findings if everything or f.decision == "supported"]
    added = cases.add_many(case, [ready.run, *findings], by=by)
    if ready.entries:
        cases.note_workspace(case, ready.head, ready.entries, by=by)
    return len(findings), sum(added[1:])
