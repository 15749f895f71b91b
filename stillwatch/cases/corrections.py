"""Who was told of a finding that no longer stands, and has no correction of it yet.

A correction is due at each of them until it was delivered there: one that was written and lies in a folder has put
nothing right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from stillwatch.cases.claims import Fallen, fallen, last_delivery, moment
from stillwatch.records import Case, Delivery, Notice

ARRIVED = ("delivered", "acknowledged", "answered")
"""Events that say that a notice is where it should be."""


@dataclass(frozen=True, slots=True)
class CorrectionDue:
    """One of those who were told, and what they still believe."""

    notice: Notice
    who: str
    """Empty: the notice was addressed to nobody, and so may be anywhere."""
    findings: tuple[str, ...]
    """Ids of its findings that no longer stand, and of which nothing was delivered to them since."""
    since: str
    """When the first of these fell."""
    written: Notice | None
    """The correction that tells them of all these and waits to be delivered; None: it has still to be written."""
    last: Delivery | None
    """The latest that was recorded of `written` at them."""


@dataclass(frozen=True, slots=True)
class Unwritten:
    """One correction that has still to be written. All its readers got all the notices that it names."""

    notices: tuple[Notice, ...]
    addressees: tuple[str, ...]
    distribution: tuple[str, ...]


def corrections_due(case: Case) -> tuple[CorrectionDue, ...]:
    """Everybody who still waits for a correction, the oldest notice first.

    A correction counts when it names the notice and the finding, is addressed to them, is no older than the
    withdrawal and was delivered. What a correction says of findings that fell before it is no claim; what it says in
    their place is, and so is due if that falls.
    """
    gone = fallen(case)
    due = []
    for notice in sorted(case.notices, key=_when):
        wrong = [f for f in notice.findings if f in gone and _claims(notice, gone[f])]
        for who in (recipients(notice) or ("",)) if wrong else ():
            told = {f: _tellings(case, notice, gone[f], who) for f in wrong}
            left = [f for f in wrong if not any(_arrived(case, c, who) for c in told[f])]
            if not left:
                continue
            whole = [c for c in told[left[0]] if all(c in told[f] for f in left)]
            written = max(whole, key=_when, default=None)
            due.append(
                CorrectionDue(
                    notice=notice,
                    who=who,
                    findings=tuple(left),
                    since=min((gone[f].word.at for f in left), key=lambda t: moment(t, "withdrawal")),
                    written=written,
                    last=last_delivery(case, written.id, who) if written is not None else None,
                )
            )
    return tuple(due)


def unwritten(case: Case, to: Sequence[str] = ()) -> tuple[Unwritten, ...]:
    """The corrections that have still to be written, so that nobody reads of a notice that they did not get.

    Parameters
    ----------
    to
        Those to whom it goes; of the notices then only those that every one of them got, or that were addressed to
        nobody. Empty: everybody.
    """
    lack: dict[str, list[str]] = {}
    for due in corrections_due(case):
        if due.written is None:
            lack.setdefault(due.notice.id, []).append(due.who)
    groups: dict[tuple[tuple[str, ...], tuple[str, ...]], list[Notice]] = {}
    for notice in case.notices:
        if notice.id not in lack:
            continue
        if to:
            if set(to) <= set(lack[notice.id]) or lack[notice.id] == [""]:
                groups.setdefault((tuple(to), ()), []).append(notice)
            continue
        addressees = tuple(a for a in notice.addressees if a in lack[notice.id])
        copies = tuple(a for a in notice.distribution if a in lack[notice.id] and a not in addressees)
        groups.setdefault((addressees, copies), []).append(notice)
    return tuple(Unwritten(tuple(held), *who) for who, held in groups.items())


def recipients(notice: Notice) -> tuple[str, ...]:
    """Everybody to whom a notice goes: addressees, then those who get a copy."""
    return tuple(dict.fromkeys((*notice.addressees, *notice.distribution)))


def superseded(case: Case, notice: Notice) -> str:
    """When the first finding of a notice fell after it was written; empty: all of them stand."""
    gone: Mapping[str, Fallen] = fallen(case)
    times = [gone[f].word.at for f in notice.findings if f in gone and _claims(notice, gone[f])]
    return min(times, key=lambda t: moment(t, "withdrawal"), default="")


def _claims(notice: Notice, gone: Fallen) -> bool:
    """Whether a notice carries this finding as a claim, and not as one that it corrects."""
    return notice.kind != "correction" or _when(notice) < moment(gone.word.at, "withdrawal")


def _tellings(case: Case, notice: Notice, gone: Fallen, who: str) -> list[Notice]:
    """Corrections that tell somebody that this finding of this notice fell."""
    return [
        other
        for other in case.notices
        if other.kind == "correction"
        and notice.id in other.corrects
        and gone.word.finding in other.findings
        and _when(other) >= moment(gone.word.at, "withdrawal")
        and (who in recipients(other) if who else recipients(other))
    ]


def _arrived(case: Case, notice: Notice, who: str) -> bool:
    """Whether a notice is where it should be; without a name, everywhere where it should be."""
    places = (who,) if who else recipients(notice)
    return all(
        any((d.notice, d.addressee) == (notice.id, place) and d.event in ARRIVED for d in case.deliveries)
        and (last := last_delivery(case, notice.id, place)) is not None
        and last.event != "failed"
        for place in places
    )


def _when(notice: Notice) -> datetime:
    return moment(notice.created_at, "notice")
