"""The register: what is overdue, what is due soon, and what is settled."""

from __future__ import annotations

import dataclasses
from datetime import date
from typing import Any

import pytest
from documents_samples import EVIDENCE, GOOD, OLD, OPEN, STATEMENT, TODAY, case, request

from stillwatch.cases.followups import Followup, all_followups, followups
from stillwatch.cases.notices import make_notice
from stillwatch.errors import InputError
from stillwatch.records import Answer, Asked, Case, Custody, Delivery, Withdrawal


def sent(*deliveries: tuple[str, str, str, str], due: str = "2026-12-08", **more: Any) -> Case:
    """A case with one notice to two desks, and what was recorded of it: (addressee, time, event, next date)."""
    held = case(asked=(), answers=(), withdrawals=(), **more)
    notice, _ = make_notice(
        held, "alert", request(addressees=("A", "B"), due=due, created_at="2026-11-10T09:00:00Z", findings=(GOOD.id,)),
        today=TODAY,
    )  # fmt: skip
    records = tuple(Delivery(notice.id, to, at, "x", event, "", next_) for to, at, event, next_ in deliveries)  # type: ignore[arg-type]
    return dataclasses.replace(held, notices=(notice,), deliveries=records)


def of(rows: list[Followup], who: str) -> Followup:
    return next(r for r in rows if r.who == who)


def test_a_notice_that_nobody_delivered() -> None:
    row = of(followups(sent(), TODAY), "A")
    assert (row.what, row.last, row.state, row.due, row.days) == (
        "notice",
        "not delivered",
        "open",
        "2026-12-08",
        14,
    )


@pytest.mark.parametrize(
    ("today", "state"),
    [
        (date(2026, 11, 30), "open"),
        (date(2026, 12, 1), "due"),
        (date(2026, 12, 8), "due"),
        (date(2026, 12, 9), "overdue"),
    ],
)
def test_a_thing_is_overdue_on_the_day_after_its_date(today: date, state: str) -> None:
    assert of(followups(sent(("A", "2026-11-11", "delivered", "")), today), "A").state == state


def test_the_latest_record_counts_whatever_the_order_and_zone() -> None:
    held = sent(
        ("A", "2026-11-12T01:00:00+03:00", "acknowledged", "2026-12-20"),
        ("A", "2026-11-11T23:30:00Z", "answered", ""),
        ("B", "2026-11-11T08:00:00Z", "delivered", ""),
    )
    rows = followups(held, TODAY, done=True)
    assert of(rows, "A").state == "done"
    assert of(rows, "B").last == "delivered"
    assert [r.who for r in followups(held, TODAY)] == ["B"]


def test_of_two_records_at_one_time_the_later_filed_counts() -> None:
    held = sent(("A", "2026-11-11", "delivered", ""), ("A", "2026-11-11", "answered", ""))
    assert of(followups(held, TODAY, done=True), "A").last == "answered"


def test_an_answer_with_a_next_date_is_not_the_end() -> None:
    row = of(followups(sent(("A", "2026-11-11", "answered", "2026-11-20")), TODAY), "A")
    assert (row.state, row.due, row.days) == ("overdue", "2026-11-20", -4)


def test_somebody_who_got_it_without_being_an_addressee() -> None:
    assert of(followups(sent(("C", "2026-11-11", "delivered", "")), TODAY), "C").what == "notice"


def test_questions_to_parties() -> None:
    rows = followups(case(withdrawals=()), TODAY, done=True)
    waiting = of(rows, "Umbra Cloud")
    assert (waiting.what, waiting.state, waiting.days, waiting.about) == ("answer", "overdue", -4, "c-0be2")
    assert of(rows, "Acme Tutoring").state == "done"


def test_only_the_latest_question_to_a_party_counts() -> None:
    again = Asked("Umbra Cloud", OPEN.id, "2026-11-21", "2026-12-20")
    rows = [r for r in followups(case(asked=(*case().asked, again)), TODAY) if r.who == "Umbra Cloud"]
    assert [(r.state, r.due) for r in rows] == [("open", "2026-12-20")]


def test_an_answer_to_the_whole_case_answers_every_question() -> None:
    answer = Answer("Umbra Cloud", "", STATEMENT, "2026-11-21", "x")
    assert of(followups(case(answers=(answer,)), TODAY, done=True), "Umbra Cloud").state == "done"
    other = dataclasses.replace(answer, finding=GOOD.id)
    assert of(followups(case(answers=(other,)), TODAY), "Umbra Cloud").state == "overdue"


def test_a_correction_is_due_at_everybody_who_got_the_notice() -> None:
    held = sent()
    held = dataclasses.replace(
        held, withdrawals=(Withdrawal(GOOD.id, "2026-11-23T10:00:00Z", "x", "wrong."),)
    )
    rows = [r for r in followups(held, TODAY) if r.what == "correction"]
    assert [(r.who, r.state, r.days) for r in rows] == [
        (who, "overdue", -1) for who in ("A", "B", "Partner desk")
    ]
    assert followups(held, TODAY)[0].what == "correction"
    assert {r.last for r in rows} == {"a finding was withdrawn"}


def test_a_correction_stays_in_the_register_until_it_arrived() -> None:
    held = dataclasses.replace(
        sent(), withdrawals=(Withdrawal(GOOD.id, "2026-11-23T10:00:00Z", "x", "wrong."),)
    )
    correction, _ = make_notice(
        held, "correction", request(addressees=(), distribution=(), due=""), today=TODAY
    )
    held = dataclasses.replace(held, notices=(*held.notices, correction))
    rows = followups(held, TODAY)
    assert [(r.what, r.who, r.last) for r in rows] == [
        ("correction", who, "correction not delivered") for who in ("A", "B", "Partner desk")
    ]
    assert {r.reference for r in rows} == {correction.id}
    records = tuple(
        Delivery(correction.id, who, "2026-11-24T11:00:00Z", "x", event)  # type: ignore[arg-type]
        for who, event in (("A", "delivered"), ("B", "failed"))
    )
    left = followups(dataclasses.replace(held, deliveries=records), TODAY)
    assert [(r.who, r.last) for r in left] == [
        ("B", "correction failed"),
        ("Partner desk", "correction not delivered"),
    ]


def test_nobody_is_chased_for_what_was_withdrawn() -> None:
    asked = (Asked("Acme Tutoring", GOOD.id, "2026-11-10", "2026-11-12"),)
    held = dataclasses.replace(sent(("A", "2026-11-11", "delivered", "2026-11-13")), asked=asked)
    assert {(r.what, r.state) for r in followups(held, TODAY)} == {
        ("notice", "overdue"), ("notice", "open"), ("answer", "overdue")
    }  # fmt: skip
    gone = dataclasses.replace(
        held, withdrawals=(Withdrawal(GOOD.id, "2026-11-23T10:00:00Z", "x", "wrong."),)
    )
    assert {r.what for r in followups(gone, TODAY)} == {"correction"}
    everything = followups(gone, TODAY, done=True)
    assert {(r.what, r.state) for r in everything} == {
        ("correction", "overdue"), ("notice", "done"), ("answer", "done")
    }  # fmt: skip
    assert next(r.last for r in everything if r.what == "answer") == "withdrawn"


def test_a_copy_is_settled_once_it_arrived() -> None:
    assert of(followups(sent(("Partner desk", "2026-11-11", "failed", "")), TODAY), "Partner desk").due == ""
    assert "Partner desk" not in [
        r.who for r in followups(sent(("Partner desk", "2026-11-11", "delivered", "")), TODAY)
    ]


def test_evidence_that_is_kept_beyond_its_date_is_a_line_of_its_own() -> None:
    old = dataclasses.replace(EVIDENCE, sha256="cd" * 32, retain_until="2026-11-23")
    last_day = dataclasses.replace(EVIDENCE, sha256="ef" * 32, retain_until="2026-11-24")
    held = case(asked=(), answers=(), notices=(), evidence=(EVIDENCE, old, last_day))
    (row,) = followups(held, TODAY)
    assert (row.what, row.state, row.due, row.days, row.reference) == (
        "retention", "overdue", "2026-11-23", -1, "cd" * 32
    )  # fmt: skip
    assert row.about == "findings of the scan: campaigns scan"
    assert followups(held, TODAY, here=lambda case, sha256: sha256 != "cd" * 32) == []
    gone = Custody("cd" * 32, "2026-11-24T08:00:00Z", "x", "deleted")
    assert followups(dataclasses.replace(held, custody=(*held.custody, gone)), TODAY) == []


def test_a_case_with_nothing_to_do() -> None:
    assert followups(case(asked=(), answers=(), notices=()), TODAY) == []


def test_several_cases_are_one_register_with_the_most_urgent_first() -> None:
    first = case(asked=(Asked("P", OLD.id, "2026-11-01", "2026-12-30"),), withdrawals=(), answers=())
    second = dataclasses.replace(case(withdrawals=(), answers=()), id="C-2")
    rows = all_followups([first, second], TODAY)
    assert [(r.case, r.state) for r in rows] == [("C-2", "overdue"), ("C-2", "due"), ("C-1", "open")]


def test_a_date_that_is_none_is_an_error_that_names_it() -> None:
    with pytest.raises(InputError, match="date of a follow-up: expected an ISO day or time, found 'soon'"):
        followups(case(asked=(Asked("P", OPEN.id, "2026-11-01", "soon"),)), TODAY)
