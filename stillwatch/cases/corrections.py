"""Which notices carried a finding that has since been withdrawn or corrected, and still need a correction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from stillwatch.cases.claims import moment, withdrawal_of
from stillwatch.records import Case, Notice


@dataclass(frozen=True, slots=True)
class CorrectionDue:
    """A notice whose readers rely on something that no longer stands."""

    notice: Notice
    findings: tuple[str, ...]
    """Ids of its findings that were withdrawn or corrected since, and that no correction named yet."""
    since: str
    """When the first of them was withdrawn."""


def corrections_due(case: Case) -> tuple[CorrectionDue, ...]:
    """Every notice that still needs a correction, the oldest first.

    A correction counts when it names the notice and the finding and is no older than the withdrawal. What a correction
    itself says of findings that were withdrawn before it is no claim; what was withdrawn after it is.
    """
    due = []
    for notice in sorted(case.notices, key=lambda n: moment(n.created_at, "notice")):
        gone = [
            f for f in notice.findings if _withdrawn_after(case, notice, f) and not _told(case, notice, f)
        ]
        if gone:
            times = [w.at for f in gone if (w := withdrawal_of(case, f)) is not None]
            due.append(CorrectionDue(notice, tuple(gone), min(times, key=lambda t: moment(t, "withdrawal"))))
    return tuple(due)


def _withdrawn_after(case: Case, notice: Notice, finding: str) -> bool:
    gone = withdrawal_of(case, finding)
    if gone is None:
        return False
    return notice.kind != "correction" or _when(notice) < moment(gone.at, "withdrawal")


def _told(case: Case, notice: Notice, finding: str) -> bool:
    gone = withdrawal_of(case, finding)
    return gone is not None and any(
        other.kind == "correction"
        and notice.id in other.corrects
        and finding in other.findings
        and _when(other) >= moment(gone.at, "withdrawal")
        for other in case.notices
    )


def _when(notice: Notice) -> datetime:
    return moment(notice.created_at, "notice")
