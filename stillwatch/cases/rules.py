"""What must hold of a record before it is added, or taken in: what it refers to is there, and its dates are dates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime
from typing import Protocol

from stillwatch.cases.chain import canonical
from stillwatch.cases.events import Record, rank, read_document
from stillwatch.cases.evidence import MAX_EVIDENCE
from stillwatch.cases.reading import loads, read
from stillwatch.errors import InputError
from stillwatch.records import (
    Answer,
    Asked,
    CaseStatus,
    Custody,
    Delivery,
    Evidence,
    Finding,
    Indicator,
    Note,
    Notice,
    Revocation,
    Seal,
    Share,
    Withdrawal,
)


class Holder(Protocol):
    """What the rules ask of a case so far: of the end of its chain, or of the entries that were checked before."""

    case: str
    status: CaseStatus

    def has(self, kind: str, identity: str) -> bool: ...

    def document(self, kind: str, identity: str) -> str: ...


def check_open(holder: Holder, records: Sequence[Record]) -> None:
    """A closed case takes no new finding, but one that corrects another, and no indicator.

    Raises
    ------
    InputError
        The case is closed for one of these records.
    """
    if holder.status not in ("closed", "withdrawn"):
        return
    corrections = {r.replaced_by for r in records if isinstance(r, Withdrawal)}
    for record in records:
        if isinstance(record, Indicator) or (isinstance(record, Finding) and record.id not in corrections):
            raise InputError(
                f"case {holder.case} is {holder.status}; open another: stillwatch case open TITLE"
            )


def check(holder: Holder, record: Record | Seal) -> None:
    """Refuse a record that would not make sense in this case, whether it is added here or stands in a portable file.

    Raises
    ------
    InputError
        It refers to something that the case does not have, lacks a word that it needs, or has a date that is none.
    """
    case = holder.case
    match record:
        case Finding():
            if record.run:
                _needs(holder, "run", record.run, f"finding {record.id[:12]}", "add the run with it")
        case Evidence():
            _check_evidence(case, record)
        case Custody():
            _needs(holder, "evidence", record.evidence, "custody")
            if record.action == "deleted":
                _words(case, "a deletion", record.note, "a reason")
            _moment(case, "custody", record.at)
        case Note():
            _words(case, "a note", record.text)
            _moment(case, "a note", record.at)
        case Asked():
            _party(holder, record.party, record.finding)
            _moment(case, "a question", record.at)
            _day(case, "an answer is due", record.due)
            _not_before(case, "an answer is due", record.due, "it was asked for", record.at)
        case Answer():
            _party(holder, record.party, record.finding)
            _words(case, "an answer", record.statement)
            _moment(case, "an answer", record.received_at)
            for sha256 in record.evidence:
                _needs(holder, "evidence", sha256, "the answer")
        case Withdrawal():
            _check_withdrawal(holder, record)
        case Notice():
            for finding in record.findings:
                _needs(holder, "finding", finding, "the notice")
            for notice in record.corrects:
                _needs(holder, "notice", notice, "the notice")
            _moment(case, "a notice", record.created_at)
            if record.due:
                _day(case, "a notice asks for an answer", record.due)
                _not_before(
                    case, "a notice asks for an answer", record.due, "it was written", record.created_at
                )
        case Delivery():
            _check_delivery(holder, record)
        case Revocation():
            _needs(holder, "indicator", record.indicator, "what was taken back")
            _moment(case, "what was taken back", record.at)
        case Share():
            for finding in record.findings:
                _needs(holder, "finding", finding, "what was shared")
            _moment(case, "what was shared", record.at)
            _moment(case, "the version of what was shared", record.version)
        case Indicator():
            _time(case, "an indicator is valid from", record.valid_from)
            _time(case, "an indicator is valid until", record.valid_until)
        case Seal():
            _moment(case, "a seal", record.at)
        case _:
            pass


def first_stands(case: str, values: object, asked: Evidence) -> Evidence:
    """The record under which the case has these bytes already.

    Parameters
    ----------
    values
        That record, as its entry has it.

    Raises
    ------
    InputError
        It is laxer than what is asked for now, and what stands in a journal cannot be changed.
    """
    name = f"case {case}: evidence {asked.sha256[:12]}"
    stands = read(Evidence, loads(canonical(values), name), name)
    if rank(asked.tlp) > rank(stands.tlp):
        raise InputError(
            f"{name}: it is in the case as {stands.tlp} already, which is laxer than {asked.tlp}"
        )
    if asked.retain_until and (not stands.retain_until or asked.retain_until < stands.retain_until):
        kept = f"until {stands.retain_until}" if stands.retain_until else "for ever"
        raise InputError(
            f"{name}: it is in the case to be kept {kept} already, not until {asked.retain_until}"
        )
    return stands


def check_bytes(case: str, record: Evidence, size: int) -> None:
    """The bytes of an item have the size that its record says.

    Raises
    ------
    InputError
        They have not.
    """
    if size != record.size:
        raise InputError(
            f"case {case}: evidence {record.sha256[:12]}: the record says {record.size} bytes, the file has {size}"
        )


def _check_evidence(case: str, record: Evidence) -> None:
    item = f"case {case}: evidence {record.sha256[:12]}"
    if not re.fullmatch("[0-9a-f]{64}", record.sha256):
        raise InputError(f"{item}: expected a sha256 in 64 hexadecimal digits, found {record.sha256[:80]!r}")
    if record.size > MAX_EVIDENCE:
        raise InputError(f"{item}: larger than {MAX_EVIDENCE >> 30} GiB")
    _moment(case, "evidence", record.collected_at)
    if record.retain_until:
        _day(case, "evidence is kept", record.retain_until)
    for sha256 in record.derived_from:
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            raise InputError(f"{item}: it is derived from {sha256[:80]!r}, which is no sha256")


def _check_withdrawal(holder: Holder, record: Withdrawal) -> None:
    _needs(holder, "finding", record.finding, "the withdrawal")
    _words(holder.case, "a withdrawal", record.reason, "a reason")
    _moment(holder.case, "a withdrawal", record.at)
    if holder.has("withdrawal", record.finding):
        raise InputError(
            f"case {holder.case}: finding {record.finding[:12]} was withdrawn or corrected before"
        )
    if record.replaced_by:
        _needs(holder, "finding", record.replaced_by, "the withdrawal")
        if record.replaced_by == record.finding:
            raise InputError(f"case {holder.case}: a finding cannot take its own place")
        _check_related(holder, record.finding, record.replaced_by)


def _check_related(holder: Holder, old: str, new: str) -> None:
    """What takes the place of a finding is about some of the same accounts, or the same text."""
    both = [holder.document("finding", one) for one in (old, new)]
    if not all(both):
        return  # one of them was left out of an import
    was, now = (
        read_document("finding", i, t, f"case {holder.case}") for i, t in zip((old, new), both, strict=True)
    )
    accounts, others = _accounts(was), _accounts(now)
    if was.subject == now.subject or accounts is None or others is None:
        return
    if accounts & others or _material(was) & _material(now):
        return
    raise InputError(
        f"case {holder.case}: {was.subject} and {now.subject} share no account and no text, so that one cannot take "
        "the place of the other: withdraw the first without --replaced-by; the other is a finding of its own"
    )


def _accounts(finding: Finding) -> set[str] | None:
    """All its accounts; None where it does not list all of them."""
    listed = finding.details.get("members")
    if not isinstance(listed, list) or len(listed) != finding.details.get("accounts"):
        return None
    return {str(member.get("account")) for member in listed if isinstance(member, dict)}


def _material(finding: Finding) -> set[str]:
    """The pieces of text by which its exchanges are told."""
    held = finding.details.get("material")
    shingles = held.get("shingles") if isinstance(held, dict) else None
    return {str(one) for one in shingles} if isinstance(shingles, list) else set()


def _check_delivery(holder: Holder, record: Delivery) -> None:
    _needs(holder, "notice", record.notice, "the delivery")
    _moment(holder.case, "a delivery", record.at)
    if record.due:
        _day(holder.case, "a follow-up is due", record.due)
        _not_before(holder.case, "a follow-up is due", record.due, "of what it follows", record.at)
    if text := holder.document("notice", record.notice):
        notice = read_document("notice", record.notice, text, f"case {holder.case}")
        if record.addressee not in (*notice.addressees, *notice.distribution):
            known = ", ".join((*notice.addressees, *notice.distribution)) or "nobody"
            raise InputError(
                f"case {holder.case}: notice {record.notice[:12]} is addressed to {known}, not to {record.addressee!r}"
            )


def _needs(holder: Holder, kind: str, identity: str, what: str, advice: str = "") -> None:
    if not holder.has(kind, identity):
        tail = f"; {advice}" if advice else ""
        raise InputError(
            f"case {holder.case}: {what} refers to {kind} {identity[:80]!r}, which is not in it{tail}"
        )


def _party(holder: Holder, party: str, finding: str) -> None:
    if not party.strip():
        raise InputError(f"case {holder.case}: who is asked or answers needs a name")
    if finding:
        _needs(holder, "finding", finding, "the answer")


def _words(case: str, what: str, text: str, needs: str = "words") -> None:
    if not text.strip():
        raise InputError(f"case {case}: {what} needs {needs}")


def _day(case: str, what: str, text: str) -> None:
    try:
        if date.fromisoformat(text).isoformat() == text:
            return
    except ValueError:
        pass
    raise InputError(f"case {case}: {what} by a date such as 2026-12-31, found {text[:40]!r}")


def _time(case: str, what: str, text: str) -> None:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            f"case {case}: {what} a day or a time such as 2026-12-31, found {text[:40]!r}"
        ) from None


def _not_before(case: str, what: str, day: str, since: str, at: str) -> None:
    """A day to come is none before the thing itself; both are dates already, or are refused as none elsewhere."""
    try:
        first = datetime.fromisoformat(at).date()
    except ValueError:
        return
    if date.fromisoformat(day) < first:
        raise InputError(f"case {case}: {what} by {day}, which is before the day {since}, {first}")


def _moment(case: str, what: str, text: str) -> None:
    try:
        if datetime.fromisoformat(text).tzinfo is not None:
            return
    except ValueError:
        pass
    raise InputError(
        f"case {case}: {what} needs a time with its zone, such as 2026-11-24T09:30:00+00:00, "
        f"found {text[:40]!r}"
    )
