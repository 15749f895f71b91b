"""What is still to be done about a case: who was told and has not answered, what is to be put right, and by when."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import date
from typing import Literal

from stillwatch.cases.claims import answered, fallen, last_delivery, moment, name_of, questions
from stillwatch.cases.corrections import ARRIVED, corrections_due
from stillwatch.records import Case, Notice

State = Literal["overdue", "due", "open", "done"]
_ORDER: tuple[State, ...] = ("overdue", "due", "open", "done")
SOON = 7
"""Days before its date from which a thing is called due."""


@dataclass(frozen=True, slots=True)
class Followup:
    """One line of the register."""

    case: str
    what: Literal["notice", "answer", "correction", "retention"]
    """A notice at one addressee; an answer that a party was asked for; a correction that did not arrive yet; evidence
    that is kept beyond its date."""
    who: str
    """An addressee or a party; of evidence, who collected it."""
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
    """Title of the notice, the name of the finding, or what the evidence is."""
    reference: str
    """Id of the notice (of the correction, once it is written), finding or evidence; empty for the whole case."""


def followups(
    case: Case,
    today: date,
    *,
    done: bool = False,
    here: Callable[[str, str], bool] = lambda case, sha256: True,
) -> list[Followup]:
    """The register of one case, the most urgent first.

    Parameters
    ----------
    case
        With its notices, deliveries, questions and answers.
    today
        Decides what is overdue. A thing is overdue on the day after its date.
    done
        Whether to list what needs nothing any more.
    here
        Whether a case has the bytes of an item (id, sha256); what an import left out need not be deleted.
    """
    gone = fallen(case)
    rows = [
        *_notices(case, today, gone.keys()),
        *_answers(case, today, gone.keys()),
        *_corrections(case, today),
        *_retention(case, today, here),
    ]
    rows.sort(key=lambda r: (_ORDER.index(r.state), r.due or "9999", r.what, r.who))
    return [r for r in rows if done or r.state != "done"]


def all_followups(
    cases: Iterable[Case],
    today: date,
    *,
    done: bool = False,
    here: Callable[[str, str], bool] = lambda case, sha256: True,
) -> list[Followup]:
    """The registers of several cases as one."""
    rows = [row for case in cases for row in followups(case, today, done=done, here=here)]
    return sorted(rows, key=lambda r: (_ORDER.index(r.state), r.due or "9999", r.case, r.what, r.who))


def _notices(case: Case, today: date, gone: Collection[str]) -> Iterable[Followup]:
    for notice in case.notices:
        told = {d.addressee for d in case.deliveries if d.notice == notice.id}
        fell = notice.kind != "correction" and bool(notice.findings) and set(notice.findings) <= set(gone)
        for addressee in dict.fromkeys((*notice.addressees, *sorted(told - set(notice.addressees)))):
            row = _notice(case, notice, addressee, today, fell)
            # Whether a correction arrived stands in a line of its own; an answer to it is rarely asked for.
            if notice.kind != "correction" or row.due:
                yield row


def _notice(case: Case, notice: Notice, addressee: str, today: date, fell: bool) -> Followup:
    last = last_delivery(case, notice.id, addressee)
    next_ = last.due if last is not None else ""
    # Of a copy it is asked only that it arrives; and nobody has to answer claims that no longer stand.
    copy = addressee in notice.distribution and addressee not in notice.addressees
    settling = ARRIVED if copy else ("answered",)
    over = fell or (last is not None and last.event in settling and not next_)
    # The date of the latest record counts, then the one by which the notice asked for an answer.
    due = "" if over else next_ or ("" if copy else notice.due)
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


def _answers(case: Case, today: date, gone: Collection[str]) -> Iterable[Followup]:
    names = {f.id: name_of(f) for f in case.findings}
    nothing = case.status == "withdrawn" or (bool(names) and names.keys() <= set(gone))
    for asked in questions(case):
        replied = answered(case, asked)
        # What was withdrawn needs no answer any more. It is taken all the same.
        fell = asked.finding in gone if asked.finding else nothing
        over = replied or fell
        yield Followup(
            case=case.id,
            what="answer",
            who=asked.party,
            state="done" if over else _state(asked.due, today),
            due=asked.due[:10],
            days=_days(asked.due, today),
            last="answered" if replied else "withdrawn" if fell else "asked",
            at=asked.at,
            about=names.get(asked.finding, "the whole case"),
            reference=asked.finding,
        )


def _corrections(case: Case, today: date) -> Iterable[Followup]:
    for due in corrections_due(case):
        since = moment(due.since, "withdrawal").date()
        last, at = "a finding was withdrawn", due.since
        if due.written is not None:
            last, at = "correction not delivered", due.written.created_at
        if due.last is not None:
            last, at = f"correction {due.last.event}", due.last.at
        yield Followup(
            case=case.id,
            what="correction",
            who=due.who or "everybody who has it",
            # Whoever relies on a claim that no longer stands should know today.
            state="overdue" if today > since else "due",
            due=since.isoformat(),
            days=(since - today).days,
            last=last,
            at=at,
            about=due.notice.title,
            reference=(due.written or due.notice).id,
        )


def _retention(case: Case, today: date, here: Callable[[str, str], bool]) -> Iterable[Followup]:
    deleted = {step.evidence for step in case.custody if step.action == "deleted"}
    for item in case.evidence:
        days = _days(item.retain_until, today)
        if item.sha256 in deleted or days is None or days >= 0:
            continue
        if here(case.id, item.sha256):
            yield Followup(
                case=case.id,
                what="retention",
                who=item.collected_by,
                state="overdue",
                due=item.retain_until,
                days=days,
                last="kept",
                at=item.collected_at,
                about=f"{item.role}: {item.origin}",
                reference=item.sha256,
            )


def _state(due: str, today: date) -> State:
    days = _days(due, today)
    if days is None:
        return "open"
    return "overdue" if days < 0 else "due" if days <= SOON else "open"


def _days(due: str, today: date) -> int | None:
    return (moment(due, "date of a follow-up").date() - today).days if due else None
