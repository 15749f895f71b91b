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
    request,
)
from test_case_report import in_order, pdf_text, squeezed
from test_report import Page

from stillwatch.cases import content, fonts
from stillwatch.cases.as_html import as_html
from stillwatch.cases.as_pdf import as_pdf
from stillwatch.cases.as_text import as_text
from stillwatch.cases.content import Beside, Document, string
from stillwatch.cases.corrections import corrections_due
from stillwatch.cases.notices import make_notice
from stillwatch.errors import InputError
from stillwatch.records import Asked, Case, Notice, NoticeKind, Withdrawal

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
    assert content.from_json(notice.content) == document


def test_a_notice_says_what_is_known_asserted_unknown_and_asked() -> None:
    text = said(write()[1])
    for part in [
        "Office for Models",
        "Distribution: Partner desk",
        "Sharing: TLP:AMBER: For the recipient's organisation and its clients",
        "Answer asked for by: 8 December 2026",
        "It is evidence, not an accusation.",
        "c-7f3a: 198 accounts and 71,204 exchanges. They were active between 2 November 2026 and 8 November 2026.",
        "Of these accounts' requests, 97% (95% to 98%) belong to it",
        "the chance of data as telling as these would be at most 1 in 10¹²",
        "Who runs these accounts, on whose behalf, and with what aim.",
        "c-7f3a: the data do not rule out a reseller.",
        "c-7f3a: the data cannot tell whether it is a school class.",
        "If a model was trained on answers harvested in this way",
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
    assert write(findings=("c-0be2",))[0].findings == (OPEN.id,)
    assert write(findings=(GOOD.id[:10],))[0].findings == (GOOD.id,)
    with pytest.raises(InputError, match="was withdrawn; only a correction may carry it"):
        write(findings=(OLD.id,))
    with pytest.raises(InputError, match="is no finding of case C-1"):
        write(findings=("c-nothing",))
    text = said(write(of=case(findings=(), withdrawals=(), answers=(), asked=(), indicators=()))[1])
    assert "It carries no claim." in text


def test_what_is_asked_for_has_to_make_sense() -> None:
    with pytest.raises(InputError, match="a notice is alert, demarche"):
        write("threat")
    with pytest.raises(InputError, match="date by which an answer is asked for: expected an ISO day"):
        write(due="next week")
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


def test_notices_that_carried_what_was_withdrawn_need_a_correction() -> None:
    held = told()
    due = corrections_due(held)
    assert [d.notice.id for d in due] == [held.notices[0].id]
    assert set(due[0].findings) == {OLD.id, WRONG.id}
    assert due[0].since == "2026-11-12T12:00:00+00:00"
    assert corrections_due(case()) == ()


def test_a_correction_says_what_was_wrong_and_to_whom_it_was_told() -> None:
    held = told()
    notice, document = write("correction", held, created_at=LATER)
    assert notice.corrects == (held.notices[0].id,)
    assert set(notice.findings) == {OLD.id, WRONG.id}
    text = said(document)
    for part in [
        "Alert: Harvesting of reasoning”",
        f"reference {held.notices[0].id[:12]}), to Office for Models",
        "c-91d0 is withdrawn since 13 November 2026. It said: 16 accounts act as one",
        "Reason: The accounts are a school.",
        "c-7f3a is corrected since 12 November 2026. It said: 214 accounts act as one",
        "It now says: 198 accounts act as one",
        "Please stop relying on the findings withdrawn here",
        STATEMENT,
    ]:
        assert part in text, part
    assert "Annex: indicators" not in headings(document)


def test_a_correction_that_was_written_is_not_due_again() -> None:
    held = told()
    notice, _ = write("correction", held, created_at=LATER)
    settled = dataclasses.replace(held, notices=(*held.notices, notice))
    assert corrections_due(settled) == ()
    with pytest.raises(InputError, match="no notice needs a correction"):
        write("correction", settled)


def test_a_correction_of_one_finding_leaves_the_notice_due_for_the_next() -> None:
    held = told(withdrawals=(Withdrawal(OLD.id, "2026-11-12T12:00:00Z", "a", "wrong.", GOOD.id),))
    notice, _ = write("correction", held, created_at=LATER)
    again = Withdrawal(GOOD.id, "2026-11-22T12:00:00Z", "a", "wrong too.")
    later = dataclasses.replace(held, notices=(*held.notices, notice), withdrawals=(*held.withdrawals, again))
    # Both first notices carried it as a claim; the correction named only the one before it.
    assert [set(d.findings) for d in corrections_due(later)] == [{GOOD.id}, {GOOD.id}]


def test_a_correction_of_nothing_is_refused() -> None:
    held = told()
    with pytest.raises(InputError, match="is no notice of case C-1"):
        write("correction", held, corrects=("ffff",))
    with pytest.raises(InputError, match="carried a finding that was withdrawn"):
        write("correction", held, corrects=(held.notices[1].id,))


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

        assert "198accountsactasone" in paper
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
