"""What is still to be done about a case: who was told and has not answered, and by when."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Literal

from stillwatch.cases.claims import answered, last_delivery, moment, name_of, questions
from stillwatch.cases.corrections import corrections_due
from stillwatch.records import Case, Notice

State = Literal["overdue", "due", "open", "done"]
_ORDER: tuple[State, ...] = ("overdue", "due", "open", "done")
SOON = 7
"""Days before its date from which a thing is called due."""


@dataclass(frozen=True, slots=True)
class Followup:
    """One line of the register."""

    case: str
    what: Literal["notice", "answer", "correction"]
    """A notice at one addressee; an answer that a party was asked for; a correction that is still to be written."""
    who: str
    state: State
    due: str
    """ISO day; empty: none."""
    days: int | None
    """Days until `due`; below 0: since."""
    last: str
    """The last that is known, in words."""
    at: str
    """When that was."""
    about: str
    """Title of the notice, or the name of the finding."""
    reference: str
    """Id of the notice or the finding; empty for the whole case."""


def followups(case: Case, today: date, *, done: bool = False) -> list[Followup]:
    """The register of one case, the most urgent first.

    Parameters
    ----------
    case
        With its notices, deliveries, questions and answers.
    today
        Decides what is overdue. A thing is overdue on the day after its date.
    done
        Whether to list what needs nothing any more.
    """
    rows = [*_notices(case, today), *_answers(case, today), *_corrections(case, today)]
    rows.sort(key=lambda r: (_ORDER.index(r.state), r.due or "9999", r.what, r.who))
    return [r for r in rows if done or r.state != "done"]


def all_followups(cases: Iterable[Case], today: date, *, done: bool = False) -> list[Followup]:
    """The registers of several cases as one."""
    rows = [row for case in cases for row in followups(case, today, done=done)]
    return sorted(rows, key=lambda r: (_ORDER.index(r.state), r.due or "9999", r.case, r.what, r.who))


def _notices(case: Case, today: date) -> Iterable[Followup]:
    for notice in case.notices:
        told = {d.addressee for d in case.deliveries if d.notice == notice.id}
        for addressee in dict.fromkeys((*notice.addressees, *sorted(told - set(notice.addressees)))):
            yield _notice(case, notice, addressee, today)


def _notice(case: Case, notice: Notice, addressee: str, today: date) -> Followup:
    last = last_delivery(case, notice.id, addressee)
    over = last is not None and last.event == "answered" and not last.due
    # The date of the latest record counts, then the one by which the notice asked for an answer.
    due = "" if over else (last.due if last is not None and last.due else notice.due)
    return Followup(
        case=case.id,
        what="notice",
        who=addressee,
        state="done" if over else _state(due, today),
        due=due,
        days=_days(due, today),
        last=last.event if last is not None else "not delivered",
        at=last.at if last is not None else notice.created_at,
        about=notice.title,
        reference=notice.id,
    )


def _answers(case: Case, today: date) -> Iterable[Followup]:
    names = {f.id: name_of(f) for f in case.findings}
    for asked in questions(case):
        over = answered(case, asked)
        yield Followup(
            case=case.id,
            what="answer",
            who=asked.party,
            state="done" if over else _state(asked.due, today),
            due=asked.due[:10],
            days=_days(asked.due, today),
            last="answered" if over else "asked",
            at=asked.at,
            about=names.get(asked.finding, "the whole case"),
            reference=asked.finding,
        )


def _corrections(case: Case, today: date) -> Iterable[Followup]:
    for due in corrections_due(case):
        since = moment(due.since, "withdrawal").date()
        for addressee in due.notice.addressees or ("everybody who has it",):
            yield Followup(
                case=case.id,
                what="correction",
                who=addressee,
                # Whoever relies on a claim that no longer stands should know today.
                state="overdue" if today > since else "due",
                due=since.isoformat(),
                days=(since - today).days,
                last="a finding was withdrawn",
                at=due.since,
                about=due.notice.title,
                reference=due.notice.id,
            )


def _state(due: str, today: date) -> State:
    days = _days(due, today)
    if days is None:
        return "open"
    return "overdue" if days < 0 else "due" if days <= SOON else "open"


def _days(due: str, today: date) -> int | None:
    return (moment(due, "date of a follow-up").date() - today).days if due else None
