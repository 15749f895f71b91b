"""Notices: what they say, whom they do not name, how widely they may be shared, and what corrects them."""

from __future__ import annotations

import dataclasses
import io
import re
from typing import Any, get_args

import pytest
from documents_samples import (
    CREATED,
    EVIDENCE,
    GOOD,
    INDICATOR,
    OLD,
    OPEN,
    STATEMENT,
    TODAY,
    WRONG,
    case,
    finding,
    request,
    test_result,
)
from test_case_report import in_order, pdf_text, squeezed
from test_report import Page

from stillwatch.cases import content, fonts
from stillwatch.cases.as_html import as_html
from stillwatch.cases.as_pdf import as_pdf
from stillwatch.cases.as_text import as_text
from stillwatch.cases.content import Beside, Document, Paragraph, Table, string
from stillwatch.cases.corrections import corrections_due, recipients, unwritten
from stillwatch.cases.notices import document_of, make_notice
from stillwatch.errors import InputError
from stillwatch.records import Answer, Asked, Card, Case, Delivery, Finding, Notice, NoticeKind, Withdrawal

KINDS = [k for k in get_args(NoticeKind) if k != "correction"]
LATER = "2026-11-20T09:00:00+00:00"


def write(kind: Any = "demarche", of: Case | None = None, **more: Any) -> tuple[Notice, Document]:
    return make_notice(of if of is not None else case(), kind, request(**more), today=TODAY)


def said(document: Document) -> str:
    return " ".join(as_text(document).split())


def headings(document: Document) -> list[str]:
    return [string(s.title) for s in document.sections]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_its_parts_in_order(kind: str) -> None:
    notice, document = write(kind)
    assert headings(document) == [
        "Purpose",
        "What is known",
        "What is asserted",
        "What is unknown",
        "The risk to those who adopt a derived model",
        "What is asked",
        "Contact",
        "Annex: indicators",
        "Annex: what each paragraph rests on",
    ]
    assert notice.kind == document.kind == kind
    assert document_of(case(), notice) == document


def test_a_notice_says_what_is_known_asserted_unknown_and_asked() -> None:
    text = said(write()[1])
    for part in [
        "Office for Models",
        "Distribution: Partner desk",
        "Classification: none",
        "Sharing: TLP:AMBER: For the recipient's organisation and its clients",
        "Answer asked for by: 8 December 2026",
        "It is evidence, not an accusation.",
        "c-7f3a: 198 accounts and 71,204 exchanges. They were active between 2 November 2026 and 8 November 2026.",
        "Of these accounts' requests, 97% (95% to 98%) belong to it",
        "the chance of data as telling as these would be at most 1 in 10¹²",
        "41 of 57; of matched accounts, 10%",
        "It is evidence, not an accusation.",
        "Who runs these accounts, on whose behalf, and with what aim.",
        "c-7f3a: the data do not rule out a reseller.",
        "c-7f3a: the data cannot tell whether it is a school class.",
        "In published experiments, models trained on another model's answers took over its manner",
        "An answer is asked for by 8 December 2026.",
        "Answers and questions: abuse@provider.example",
        "shingle:9f3a77c1d2e4b5a6",
        "3 of 842",
        STATEMENT,
    ]:
        assert part in text, part


def test_the_answer_stands_beside_the_claim() -> None:
    panels = [b for s in write()[1].sections for b in s.blocks if isinstance(b, Beside)]
    assert len(panels) == 1
    assert "198 accounts act as one" in string(panels[0].claim.blocks[0].text)
    assert STATEMENT in string(panels[0].answer.blocks[0].text)


def test_no_answer_by_its_date_is_said() -> None:
    asked = (Asked("Acme Tutoring", GOOD.id, "2026-11-01", "2026-11-15"),)
    text = said(write(of=case(asked=asked, answers=()))[1])
    assert "No answer by 15 November 2026 from the party concerned, who was asked on 1 November 2026." in text


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_is_named_unless_the_author_gave_words(kind: str) -> None:
    text = said(write(kind)[1])
    assert "Acme" not in text and "Umbra" not in text
    assert "— the party concerned, received 19 November 2026" in text
    named = said(write(kind, names={"Acme Tutoring": "the operator", "c-7f3a": "Group One"})[1])
    assert "— the operator, received" in named
    assert "Group One: 198 accounts" in named


def test_the_authors_own_request_takes_the_place_of_the_usual_one() -> None:
    text = said(write(action="Please freeze 14 card tokens.", due="", contact="")[1])
    assert "Please freeze 14 card tokens." in text
    assert "No date is set for an answer." in text
    assert "No contact was given." in text


def test_findings_can_be_chosen_and_withdrawn_ones_cannot() -> None:
    assert write(findings=(GOOD.id[:10],))[0].findings == (GOOD.id,)
    assert write(findings=("c-7f3a",))[0].findings == (GOOD.id,)
    with pytest.raises(InputError, match="was withdrawn; only a correction may carry it"):
        write(findings=(OLD.id,))
    with pytest.raises(InputError, match="is no finding of case C-1"):
        write(findings=("c-nothing",))


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_supported_finding_that_stands_there_is_nothing_to_tell(kind: str) -> None:
    empty = case(findings=(OPEN,), withdrawals=(), answers=(), asked=(), indicators=())
    with pytest.raises(InputError, match="no supported finding stands, so there is nothing"):
        write(kind, empty)
    gone = (*case().withdrawals, Withdrawal(GOOD.id, "2026-11-20T12:00:00Z", "a", "wrong."))
    with pytest.raises(InputError, match="no supported finding stands, so there is nothing"):
        write(kind, case(withdrawals=gone))


@pytest.mark.parametrize("kind", ["alert", "demarche", "partner"])
@pytest.mark.parametrize("decision", ["inconclusive", "not supported", "not tested"])
def test_only_the_party_concerned_may_be_asked_about_what_is_not_supported(kind: str, decision: str) -> None:
    weak = dataclasses.replace(OPEN, decision=decision)  # type: ignore[arg-type]
    held = case(findings=(GOOD, weak), withdrawals=(), asked=(), answers=())
    with pytest.raises(
        InputError, match=f"is {decision}: a notice of kind {kind} carries findings that are supp"
    ):
        write(kind, held, findings=("c-0be2",))
    if decision != "inconclusive":
        with pytest.raises(InputError, match="carries findings that are supported or inconclusive"):
            write("disclosure", held, findings=("c-0be2",))


def test_a_question_to_the_party_concerned_claims_nothing() -> None:
    notice, document = write("disclosure", findings=("c-0be2",))
    assert notice.findings == (OPEN.id,)
    text = said(document)
    assert "It makes no claim." in text
    assert "Please tell us what explains what was counted here." in text
    assert "It cannot be told for these 12 accounts." in text
    titles = headings(document)
    assert "What is asked about, and not claimed" in titles
    assert not {"What is asserted", "The risk to those who adopt a derived model"} & set(titles)


def test_a_disclosure_of_both_keeps_the_claim_and_the_question_apart() -> None:
    titles = headings(write("disclosure", findings=("c-7f3a", "c-0be2"))[1])
    assert titles.index("What is asserted") + 1 == titles.index("What is asked about, and not claimed")


def test_the_purpose_says_harvesting_only_where_the_findings_do() -> None:
    other = finding(details={"campaign": "m-1"}, claim="The model prefers served answers.")
    for kind in ("alert", "demarche"):
        assert "shape of harvesting" in said(write(kind)[1])
        assert "harvest" not in said(write(kind, case(findings=(other,), withdrawals=(), indicators=()))[1])


def test_what_is_asked_for_has_to_make_sense() -> None:
    with pytest.raises(InputError, match="a notice is alert, demarche"):
        write("threat")
    with pytest.raises(InputError, match="date by which an answer is asked for: expected an ISO day"):
        write(due="next week")
    with pytest.raises(
        InputError, match="asked for by 2026-11-23, which is before the day of the notice, 2026-11-24"
    ):
        write(due="2026-11-23")
    assert write(due="2026-11-24")
    with pytest.raises(InputError, match="no messages in 'tlh'"):
        write(language="tlh")


def test_the_same_arguments_give_the_same_notice_and_another_time_another() -> None:
    assert write() == write()
    assert write()[0].id != write(created_at="2026-11-25T09:00:00Z")[0].id


# --- sharing ----------------------------------------------------------------------------------------------------


def stricter(tlp: Any) -> Case:
    return case(evidence=(dataclasses.replace(EVIDENCE, tlp=tlp),))


def test_a_notice_is_as_strict_as_the_strictest_thing_it_rests_on() -> None:
    assert write()[0].tlp == "TLP:AMBER"
    assert write(of=stricter("TLP:RED"))[0].tlp == "TLP:RED"
    assert write(of=case(indicators=(dataclasses.replace(INDICATOR, tlp="TLP:AMBER+STRICT"),)))[0].tlp == (
        "TLP:AMBER+STRICT"
    )


@pytest.mark.parametrize("wanted", ["TLP:GREEN", "TLP:CLEAR"])
def test_a_wider_notice_is_refused_unless_the_author_says_why(wanted: Any) -> None:
    with pytest.raises(
        InputError, match=r"more widely than it may be: case C-1 is TLP:AMBER\. Use TLP:AMBER"
    ):
        write(tlp=wanted)
    with pytest.raises(InputError, match="evidence abababababab of c-7f3a is TLP:RED"):
        write(of=stricter("TLP:RED"), tlp="TLP:AMBER")
    notice, document = write(tlp=wanted, wider_because="Agreed with the provider on 23 November.")
    assert notice.tlp == document.tlp == wanted
    assert "Shared more widely than the evidence, because: Agreed with the provider" in said(document)


def test_a_stricter_notice_is_allowed_and_an_unknown_mark_is_not() -> None:
    assert write(tlp="TLP:RED")[0].tlp == "TLP:RED"
    with pytest.raises(InputError, match="TLP is one of TLP:RED"):
        write(tlp="TLP:WHITE")


# --- corrections ------------------------------------------------------------------------------------------------


def told(**more: Any) -> Case:
    """A case in which a notice carried what was withdrawn afterwards."""
    before = case(withdrawals=())
    early, _ = make_notice(before, "alert", request(created_at="2026-11-10T09:00:00Z"), today=TODAY)
    fine, _ = make_notice(
        before, "partner", request(created_at="2026-11-11T09:00:00Z", findings=(GOOD.id,)), today=TODAY
    )
    return case(notices=(early, fine), **more)


def delivered(held: Case, notice: Notice, *who: str, event: Any = "delivered") -> Case:
    """The case with a notice in it, and with its delivery to these."""
    known = held if notice in held.notices else dataclasses.replace(held, notices=(*held.notices, notice))
    records = tuple(Delivery(notice.id, one, "2026-11-21T09:00:00Z", "x", event) for one in who)
    return dataclasses.replace(known, deliveries=(*known.deliveries, *records))


def waiting(held: Case) -> list[tuple[str, bool]]:
    """Who waits for a correction, and whether theirs is written."""
    return [(d.who, d.written is not None) for d in corrections_due(held)]


def test_notices_that_carried_what_was_withdrawn_need_a_correction() -> None:
    held = told()
    due = corrections_due(held)
    assert {d.notice.id for d in due} == {held.notices[0].id}
    assert [d.who for d in due] == ["Office for Models", "Partner desk"]
    assert set(due[0].findings) == {OLD.id, WRONG.id}
    assert due[0].since == "2026-11-12T12:00:00+00:00"
    assert corrections_due(case()) == ()


def test_a_correction_says_what_was_wrong_beside_what_was_answered_to_it() -> None:
    early = Answer("Acme Tutoring", OLD.id, "Half of these are not ours.", "2026-11-11", "analyst 2")
    late = Answer("Acme Tutoring", WRONG.id, "A school, as we said.", "2026-11-14", "analyst 2")
    held = told(answers=(*case().answers, early, late))
    notice, document = write("correction", held, created_at=LATER)
    assert notice.corrects == (held.notices[0].id,)
    # What is told in the place of a finding is relied on as well.
    assert set(notice.findings) == {OLD.id, WRONG.id, GOOD.id}
    text = said(document)
    for part in [
        "Alert: Harvesting of reasoning”",
        f"reference C-1 / {held.notices[0].id[:12]}).",
        "c-91d0 is withdrawn since 13 November 2026.",
        "Reason: The accounts are a school.",
        "The claim was: 16 accounts act as one",
        "c-7f3a is corrected since 12 November 2026.",
        "The claim was: 214 accounts act as one",
        "It now reads: 198 accounts act as one",
        "Please stop relying on the findings withdrawn here",
        STATEMENT,
        "“Half of these are not ours.” — the party concerned, received 11 November 2026, on the claim that this one",
        "“A school, as we said.” — the party concerned, received 14 November 2026",
    ]:
        assert part in text, part
    panels = [b for s in document.sections for b in s.blocks if isinstance(b, Beside)]
    assert [string(p.answer.blocks[0].text) for p in panels] == [STATEMENT, "A school, as we said."]
    assert "Nobody has been asked yet." not in text
    assert "Annex: indicators" not in headings(document)


def test_nobody_reads_in_a_correction_to_whom_else_a_notice_went() -> None:
    before = case(withdrawals=())
    made = [
        make_notice(before, kind, request(created_at=at, addressees=(who,), distribution=()), today=TODAY)[0]
        for kind, at, who in (
            ("alert", "2026-11-10T09:00:00Z", "Partner desk"),
            ("disclosure", "2026-11-10T10:00:00Z", "Acme Tutoring Ltd"),
        )
    ]  # fmt: skip
    held = case(notices=tuple(made))
    with pytest.raises(InputError, match="went to different people: one for each of --corrects"):
        write("correction", held, created_at=LATER, addressees=(), distribution=())
    with pytest.raises(InputError, match="need not read of each other's"):
        write("correction", held, created_at=LATER, addressees=(), corrects=tuple(n.id for n in made))
    for group, (own, other) in zip(
        unwritten(held),
        (("Partner desk", "Acme Tutoring Ltd"), ("Acme Tutoring Ltd", "Partner desk")),
        strict=True,
    ):
        ids = tuple(n.id for n in group.notices)
        notice, document = write(
            "correction", held, created_at=LATER, addressees=(), distribution=(), corrects=ids
        )
        assert notice.addressees == (own,)
        for page in (as_text(document), as_html(document)):
            assert own in page and other not in page
    notice, _ = write("correction", held, created_at=LATER, addressees=("Partner desk",), distribution=())
    assert notice.corrects == (made[0].id,)


def test_a_correction_goes_to_everybody_who_got_the_notice() -> None:
    notice, document = write("correction", told(), created_at=LATER, addressees=(), distribution=())
    assert (notice.addressees, notice.distribution) == (("Office for Models",), ("Partner desk",))
    assert "To: Office for Models" in said(document) and "Distribution: Partner desk" in said(document)


def test_a_notice_to_nobody_needs_somebody_to_be_corrected_at() -> None:
    loose, _ = make_notice(
        case(withdrawals=()),
        "alert",
        request(created_at="2026-11-10T09:00:00Z", addressees=(), distribution=()),
        today=TODAY,
    )
    held = case(notices=(loose,))
    with pytest.raises(InputError, match="was addressed to nobody: say with --to who has it"):
        write("correction", held, created_at=LATER, addressees=(), distribution=())
    notice, _ = write("correction", held, created_at=LATER, addressees=("Desk",), distribution=())
    assert waiting(delivered(held, notice)) == [("", True)]
    assert waiting(delivered(held, notice, "Desk")) == []


def test_a_correction_is_due_until_it_was_delivered_to_each() -> None:
    held = told()
    notice, _ = write("correction", held, created_at=LATER, addressees=(), distribution=())
    assert waiting(held) == [("Office for Models", False), ("Partner desk", False)]
    written = delivered(held, notice)
    assert waiting(written) == [("Office for Models", True), ("Partner desk", True)]
    with pytest.raises(InputError, match="no notice needs a correction"):
        write("correction", written)
    failed = delivered(written, notice, "Office for Models", event="failed")
    assert waiting(failed) == waiting(written)
    one = delivered(written, notice, "Office for Models")
    assert waiting(one) == [("Partner desk", True)]
    assert waiting(delivered(one, notice, "Partner desk", event="acknowledged")) == []


def test_a_correction_to_one_of_them_leaves_the_others_due() -> None:
    held = told()
    notice, _ = write("correction", held, created_at=LATER, addressees=("Partner desk",), distribution=())
    part = delivered(held, notice, "Partner desk")
    assert waiting(part) == [("Office for Models", False)]
    rest, _ = write("correction", part, created_at=LATER, addressees=(), distribution=())
    assert recipients(rest) == ("Office for Models",)


def test_a_correction_of_one_finding_leaves_the_notice_due_for_the_next() -> None:
    held = told(withdrawals=(Withdrawal(OLD.id, "2026-11-12T12:00:00Z", "a", "wrong.", GOOD.id),))
    notice, _ = write("correction", held, created_at=LATER)
    held = delivered(held, notice, *recipients(notice))
    again = Withdrawal(GOOD.id, "2026-11-22T12:00:00Z", "a", "wrong too.")
    later = dataclasses.replace(held, withdrawals=(*held.withdrawals, again))
    # Both first notices carried it as a claim, and so did the correction: it told it in the place of the other.
    assert {(d.notice.id, *d.findings) for d in corrections_due(later)} == {
        (n.id, GOOD.id) for n in later.notices
    }


def test_a_correction_follows_what_replaced_a_finding_to_what_stands() -> None:
    newest = finding(accounts=190)
    held = told(
        findings=(GOOD, OLD, WRONG, OPEN, newest),
        withdrawals=(*case().withdrawals, Withdrawal(GOOD.id, "2026-11-14T12:00:00Z", "a", "x.", newest.id)),
    )
    text = said(write("correction", held, created_at=LATER)[1])
    assert "It now reads: 190 accounts act as one" in text
    assert "It now reads: 198 accounts" not in text


def test_a_correction_of_nothing_is_refused() -> None:
    held = told()
    with pytest.raises(InputError, match="is no notice of case C-1"):
        write("correction", held, corrects=("ffff",))
    with pytest.raises(InputError, match="carried a finding that was withdrawn"):
        write("correction", held, corrects=(held.notices[1].id,))
    with pytest.raises(InputError, match="no notice needs a correction that Umbra got"):
        write("correction", held, created_at=LATER, addressees=("Umbra",))


def test_the_reference_is_the_id_by_which_the_notice_is_known() -> None:
    held = told()
    early = held.notices[0]
    row = f"Reference: C-1 / {early.id[:12]}"
    assert row in said(document_of(case(withdrawals=()), early))
    assert row in said(make_notice(case(withdrawals=()), "alert", request(created_at="2026-11-10T09:00:00Z"),
                                   today=TODAY)[1])  # fmt: skip
    assert f"reference C-1 / {early.id[:12]}" in said(write("correction", held, created_at=LATER)[1])


def test_a_notice_of_what_was_withdrawn_since_says_so_on_top() -> None:
    held = told()
    top = "\n".join(as_text(document_of(held, held.notices[0])).splitlines()[:6])
    assert "withdrawn or corrected on 12" in top
    assert not document_of(held, held.notices[1]).marks


def test_a_draft_has_no_reference_and_says_what_it_is() -> None:
    text = said(write(draft=True)[1])
    assert text.startswith("TLP:AMBER *** Draft: not kept with the case")
    assert "Reference:" not in text


# --- parties ----------------------------------------------------------------------------------------------------


def several(**more: Any) -> Case:
    asked = (
        Asked("Acme Tutoring", GOOD.id, "2026-11-10", "2026-11-24"),
        Asked("Umbra Cloud", GOOD.id, "2026-11-10", "2026-11-20"),
    )
    return case(asked=asked, **more)


def test_two_parties_are_told_apart_without_being_named() -> None:
    text = said(write(of=several())[1])
    assert f"“{STATEMENT}” — party A, received" in text
    assert "No answer by 20 November 2026 from party B, who was asked on 10 November 2026." in text
    assert "Acme" not in text and "Umbra" not in text
    named = said(write(of=several(), names={"Acme Tutoring": "the operator"})[1])
    assert "— the operator, received" in named
    assert "from the party concerned, who was asked" in named


def test_a_party_keeps_its_letter_in_a_notice_of_another_finding() -> None:
    third = Asked("Vela GmbH", OPEN.id, "2026-11-12", "2026-11-20")
    second = Answer("Umbra Cloud", OPEN.id, "Not ours.", "2026-11-13", "x")
    held = several()
    held = dataclasses.replace(held, asked=(*held.asked, third), answers=(*held.answers, second))
    text = said(write("disclosure", held, findings=("c-0be2",))[1])
    assert "— party B, received 13 November 2026" in text
    assert "from party C, who was asked" in text


def test_a_sentence_begins_with_a_large_letter_and_a_name_as_it_is_written() -> None:
    asked = (Asked("eBoks", GOOD.id, "2026-11-10", "2026-12-24"),)
    text = said(write(of=case(asked=asked, answers=()))[1])
    assert "The party concerned was asked on 10 November 2026" in text
    assert "eBoks was asked" in said(write(of=case(asked=asked, answers=()), names={"eBoks": "eBoks"})[1])


def test_an_answer_to_the_whole_case_stands_in_full_beside_each_claim() -> None:
    whole = Answer("Acme Tutoring", "", "All of it is wrong.", "2026-11-19", "analyst 2")
    document = write(of=case(asked=(), answers=(whole,)))[1]
    (panels,) = [b for s in document.sections for b in s.blocks if isinstance(b, Beside)]
    assert string(panels.answer.blocks[0].text) == "All of it is wrong."
    assert "on the case as a whole" in said(document)
    assert "198 accounts" not in said(
        write("disclosure", case(asked=(), answers=(whole,)), findings=("c-0be2",))[1]
    )


def test_whoever_was_asked_about_the_whole_was_asked_about_each_claim() -> None:
    asked = (Asked("Acme Tutoring", "", "2026-11-01", "2026-11-15"),)
    text = said(write(of=case(asked=asked, answers=()))[1])
    assert "No answer by 15 November 2026 from the party concerned" in text
    assert "Nobody has been asked yet." not in text


# --- what was measured ------------------------------------------------------------------------------------------

SYNCHRONY = Card(
    "synchrony", "1", "synchrony", "acts as one", "null", "minute", (), (), (), ("a queue",)
)  # fmt: skip
SHAPE = dataclasses.replace(
    SYNCHRONY, name="harvesting_shape", title="shape of harvesting", question="shape of harvesting"
)


def measured() -> Finding:
    return finding(
        results=(
            test_result(n=37, statistic=30.0, effect=0.71),
            test_result(test="harvesting_shape@2", n=40, statistic=40.0, effect=0.69),
            test_result(test="synchrony@1", log_evalue=-3.4, effect=-0.6, unit="account-windows"),
            test_result(test="load_balancing@1", log_evalue=0.4, effect=0.1, unit="account-windows", n=2386),
        ),
        limits=(
            "not tested: failover after a stop: needs at least 1 actions, found 0",
            "the largest e-value that this much data could have given is 4.5e+08",
            "cannot tell whether it is a school class",
            "9 accounts joined on the last day",
            "the finding is about accounts in this log; it does not say who runs them",
        ),
        details={
            **GOOD.details,
            "proposed_by": "shared_prompt",
            "shape": {"distinct_prompts": 1.0},
        },
    )


def test_a_notice_tells_both_sides_in_plain_counts() -> None:
    held = case(findings=(measured(),), withdrawals=(), asked=(), answers=(), indicators=())
    document = make_notice(held, "demarche", request(), today=TODAY, cards=(SYNCHRONY, SHAPE))[1]
    text = said(document)
    for part in [
        "What these accounts were found by, which does not count as evidence: shared prompt.",
        "30 of 37; of matched accounts, 10%",
        "40 of 40; of matched accounts, 31%",
        "What a typical account of it does: 100% of its prompts are asked once only.",
        "c-7f3a: 9 accounts joined on the last day",
    ]:
        assert part in text, part
    known = next(s for s in document.sections if string(s.title) == "What is known")
    (table,) = [b for b in known.blocks if isinstance(b, Table)]
    rows = {string(row[0]).partition("\n")[0]: string(row[2]) for row in table.rows}
    assert rows == {
        "registration": "speaks for it",
        "shape of harvesting": "speaks for it",
        "load balancing": "a weak sign, too little to rely on",
        "synchrony": "looked for, no sign of it",
        "failover after a stop": "not tested",
    }
    assert "e-value" not in text and "e = " not in text
    unknown = next(s for s in document.sections if string(s.title) == "What is unknown")
    limits = [string(b.text) for b in unknown.blocks if isinstance(b, Paragraph)]
    assert sum("a school class" in one for one in limits) == 1
    assert not any("who runs them" in one for one in limits)


def test_the_risk_rests_on_what_was_published() -> None:
    risk = next(s for s in write()[1].sections if "risk" in string(s.title))
    told = [b for b in risk.blocks if isinstance(b, Paragraph)]
    assert len(told) == 2 and all(b.sources[0].startswith("literature:Gudibande") for b in told)
    assert "published research" in said(write()[1])


# --- indicators -------------------------------------------------------------------------------------------------


def test_the_annex_has_what_sharing_the_case_would_give() -> None:
    from stillwatch.cases.indicators import of_case

    text = "you are an expert problem solver. think step by step, and name every step. task:"
    rich = finding(details={**GOOD.details, "texts": [text]})
    held = case(findings=(rich, OPEN), withdrawals=(), asked=(), answers=(), indicators=())
    page = " ".join(as_text(write("alert", held)[1]).split())
    shared = of_case(held).indicators
    assert {i.kind for i in shared} >= {"shared text", "rate and volume"}
    assert all(i.kind in page and i.pattern[:40] in page for i in shared)
    assert "check your own records against the annex of indicators" in page
    assert "not measured" in page and "0 of 0" not in page


@pytest.mark.parametrize("kind", ["alert", "partner"])
def test_without_indicators_nothing_refers_to_them(kind: str) -> None:
    small = finding(accounts=4)
    held = case(findings=(small,), withdrawals=(), asked=(), answers=(), indicators=())
    text = said(write(kind, held)[1])
    assert "This notice carries no indicators." in text
    for page in (text, said(write(kind, indicators=False)[1])):
        assert "annex of indicators" not in page
        assert "indicators as pointers" not in page and "shares findings and indicators" not in page


def test_how_large_the_log_was_and_what_it_spans_is_said_where_counts_are() -> None:
    known = next(s for s in write("alert")[1].sections if string(s.title) == "What is known")
    assert string(known.blocks[0].text) == (  # type: ignore[union-attr]
        "The log that was read: 2,611 accounts and 326,291 exchanges, 2 November 2026 to 8 November 2026."
    )
    assert known.blocks[0].sources == (GOOD.run,)  # type: ignore[union-attr]


def test_kinds_of_indicators_and_marks_are_said_in_the_language_of_the_notice() -> None:
    held = case(withdrawals=(), asked=(), answers=(), indicators=(), findings=(GOOD,))
    text = said(write("alert", held, language="zh")[1])
    assert "频率与数量" in text and "rate and volume" not in text
    assert "结论：c-7f3a" in text
    assert "警示：Harvesting of reasoning" in text


def test_indicators_go_no_wider_than_what_they_rest_on() -> None:
    held = dataclasses.replace(stricter("TLP:RED"), indicators=())
    notice, document = write("alert", held)
    assert notice.tlp == "TLP:RED" and "rate and volume" in said(document)


# --- languages --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["en", "fr", "ar", "zh"])
def test_every_language_makes_every_kind(code: str) -> None:
    for kind in KINDS:
        document = write(kind, language=code)[1]
        assert as_text(document) and as_html(document)
    assert write("correction", told(), language=code, created_at=LATER)


@pytest.mark.parametrize("code", ["fr", "ar", "zh"])
def test_a_draft_translation_says_so_first_on_the_page(code: str) -> None:
    document = write(language=code)[1]
    page = Page(as_html(document))
    body = " ".join(page.text.split())
    assert body.index("unreviewed") < body.rindex("Harvesting of reasoning")
    assert "unreviewed" in "\n".join(as_text(document).splitlines()[:6])
    assert not write(language="en")[1].marks


def test_arabic_runs_right_to_left_and_isolates_what_does_not() -> None:
    document = write(language="ar")[1]
    page = as_html(document)
    assert '<html lang="ar" dir="rtl">' in page
    assert '<bdi dir="auto">c-7f3a</bdi>' in page
    text = as_text(document)
    assert "\u2068c-7f3a\u2069" in text
    assert text.count("\u2068") + text.count("\u2066") == text.count("\u2069")
    assert "١٩٨ حسابًا و٧١٬٢٠٤ تبادلات" in text


def test_an_arabic_answer_in_an_english_notice_is_isolated_too() -> None:
    answer = dataclasses.replace(case().answers[0], statement="نحن مدرسة ولا ندرب نماذج 42")
    document = write(of=case(answers=(answer,)))[1]
    assert "\u2068نحن مدرسة ولا ندرب نماذج 42\u2069" in re.sub(r"\s*\n\s*", " ", as_text(document))
    assert '<bdi dir="auto">نحن مدرسة' in as_html(document)


def draws(text: str) -> bool:
    try:
        return not fonts.families_for([text])[1]
    except InputError:
        return False


@pytest.mark.parametrize(
    ("code", "sample"), [("en", "a"), ("fr", "é"), ("ar", "مسعى رسمي"), ("zh", "交涉照会")]
)
def test_paper_in_every_language(code: str, sample: str) -> None:
    pytest.importorskip("typst")
    if not draws(sample):
        pytest.skip(f"no font on this machine draws {code}: apt-get install fonts-noto-core fonts-noto-cjk")
    document = write(language=code)[1]
    paper = squeezed(pdf_text(as_pdf(document)))
    if code != "ar":  # shaped letters come back in the order in which they are drawn
        in_order([squeezed(string(b.text)) for _, b in content.numbered(document) if isinstance(b, content.Paragraph)],
                 re.sub(r"(Page|页)\d+(of|sur|/)\d+UNC|", "", paper))  # fmt: skip
    else:
        import pypdf

        assert "Werunatutoringservice" in paper
        assert pypdf.PdfReader(io.BytesIO(as_pdf(document))).trailer["/Root"]["/Lang"] == "ar"  # type: ignore[index]


# --- fonts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "package"),
    [("مسعى", "fonts-noto-core"), ("照会", "fonts-noto-cjk"), ("한국어", "fonts-noto-cjk")],
)
def test_a_missing_font_names_the_package(text: str, package: str) -> None:
    with pytest.raises(InputError, match=f"apt-get install {package}"):
        fonts.families_for([text], installed=[])


def test_what_comes_inside_typst_needs_no_font() -> None:
    assert fonts.families_for(["Démarche, œuvre; 10¹² “x” – Ω Я"], installed=[]) == ([fonts.BODY], set())


def test_a_character_that_nothing_draws_is_told_and_not_an_error() -> None:
    assert fonts.families_for(["\U00012000"], installed=[]) == ([fonts.BODY], {"\U00012000"})


def test_a_broken_font_draws_nothing(tmp_path: Any) -> None:
    path = tmp_path / "broken.ttf"
    for data in (b"", b"\0\1\0\0\xff\xff", b"ttcf", b"\0\1\0\0\0\1\0\0\0\0\0\0cmap" + b"\0" * 12):
        path.write_bytes(data)
        fonts.coverage.cache_clear()
        assert not fonts.coverage(str(path), 0)(0x41)


def test_a_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from stillwatch.errors import MissingExtra

    monkeypatch.setitem(sys.modules, "typst", None)
    with pytest.raises(MissingExtra, match=r"stillwatch\[pdf\]"):
        as_pdf(write()[1])


def test_time_of_the_document_is_the_time_of_the_file() -> None:
    pytest.importorskip("typst")
    import pypdf

    metadata = pypdf.PdfReader(io.BytesIO(as_pdf(write()[1]))).metadata
    assert metadata is not None and metadata.creation_date is not None
    assert metadata.creation_date.isoformat().startswith(CREATED[:10])
