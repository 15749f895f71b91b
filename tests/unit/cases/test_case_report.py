"""The report of a case: the same paragraphs in every form, the answer as large as the claim, nothing hidden."""

from __future__ import annotations

import dataclasses
import io
import itertools
import math
import re
from datetime import date

import pytest
from documents_samples import (
    CARD,
    EVIDENCE,
    GOOD,
    OLD,
    OPEN,
    STATEMENT,
    WRONG,
    case,
    finding,
    hostile,
    report,
    test_result,
)
from test_report import HOSTILE, Page

from stillwatch.cases import content
from stillwatch.cases.as_html import as_html
from stillwatch.cases.as_pdf import as_pdf
from stillwatch.cases.as_text import as_text, width, wrapped
from stillwatch.cases.content import Beside, Document, Figure, string
from stillwatch.cases.finding_section import how_sure
from stillwatch.cases.languages import LANGUAGES, language
from stillwatch.records import Answer, Asked, Case, Run, Withdrawal

ANOTHER_REASON = {
    "en": "A reason that the data do not rule out could produce the same data",
    "fr": "Une raison que les données n'excluent pas pourrait produire les mêmes données",
    "ar": "وقد تُنتج البياناتِ نفسَها أسبابٌ لا تستبعدها البيانات",
    "zh": "数据未能排除的原因也可能产生同样的数据",
}
INVISIBLE = re.compile("[\u2066-\u2069\u200b]")


def squeezed(text: str) -> str:
    """Without white space, isolates and break opportunities: what is left is the same in every form."""
    return re.sub(r"\s+", "", INVISIBLE.sub("", text))


def pdf_text(data: bytes) -> str:
    import pypdf

    return "\n".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(data)).pages)


def pdf_body(data: bytes) -> str:
    """The text of a PDF without what stands on every page."""
    return re.sub(r"Page\s*\d+\s*of\s*\d+", "", pdf_text(data)).replace("TLP:AMBER\n", "\n")


def html_text(page: str) -> str:
    return squeezed(Page(page).text)


def expected(document: Document, after: str = "") -> list[str]:
    """Number and words of every block that is a sentence, as they stand in every form."""
    return [
        squeezed(f"{number}{after}{string(block.text)}")
        for number, block in content.numbered(document)
        if isinstance(block, content.Paragraph)
    ]


@pytest.fixture(scope="module")
def made() -> Document:
    return report()


@pytest.fixture(scope="module")
def page(made: Document) -> str:
    return as_html(made)


@pytest.fixture(scope="module")
def pdf(made: Document) -> bytes:
    pytest.importorskip("typst")
    return as_pdf(made)


def in_order(paragraphs: list[str], text: str) -> None:
    place = 0
    for paragraph in paragraphs:
        found = text.find(paragraph, place)
        assert found >= 0, paragraph
        place = found + len(paragraph)


def test_the_same_paragraphs_numbers_and_order_in_every_form(made: Document, page: str, pdf: bytes) -> None:
    paragraphs = expected(made)
    assert len(paragraphs) > 30
    in_order(paragraphs, html_text(page))
    in_order(paragraphs, squeezed(pdf_body(pdf)))
    # A number in text is followed by a point.
    in_order(expected(made, after="."), squeezed(as_text(made)))


def test_every_table_is_in_every_form(made: Document, page: str, pdf: bytes) -> None:
    texts = [html_text(page), squeezed(pdf_body(pdf)), squeezed(as_text(made))]
    for _, block in content.numbered(made):
        if isinstance(block, content.Table):
            for row in block.rows[:5]:
                for cell in row:
                    assert all(squeezed(string(cell)) in text for text in texts), string(cell)


def test_the_summary_comes_first_and_is_plain(made: Document) -> None:
    said = [string(b.text) for _, b in content.numbered(made) if isinstance(b, content.Paragraph)]
    assert said[0].startswith("This report is evidence, not an accusation.")
    assert said[1] == (
        "The case holds 4 findings. Decided so far: 1 supported, 1 inconclusive, 0 not supported and 0 not tested. "
        "Withdrawn or corrected since: 2."
    )
    assert said[2] == (
        "The log that was read: 2,611 accounts and 326,291 exchanges, 2 November 2026 to 8 November 2026."
    )
    assert said[3] == (
        "c-7f3a: 198 accounts act as one, and what they do has the shape of harvesting. The explanation that was "
        "tested: either these accounts are alike in no more than one way beyond 3 times the odds of matched accounts "
        "or chance, or they have the shape of harvesting at no more than 3 times those odds. If it held, the chance "
        "of data as telling as these would be at most 1 in 10¹²; the line that had to be reached was 1 in 4,100. A "
        "reason that the data do not rule out could produce the same data."
    )
    assert said[4] == "Still open for c-7f3a: the data do not rule out a reseller."
    assert said[5] == "Not known for c-7f3a: the data cannot tell whether it is a school class."
    assert said[6] == "Withdrawn on 13 November 2026: c-91d0. Reason: The accounts are a school."
    assert said[7] == "Corrected on 12 November 2026: c-7f3a. Reason: 16 accounts were a customer."
    assert "who runs these accounts" in said[8]


@pytest.mark.parametrize("details", [{}, {"gamma": 3.0}, {"acts_as_one": 9.0, "harvesting": 9.0}])
def test_what_was_tested_is_said_only_of_what_the_finding_tells(details: dict[str, float]) -> None:
    other = dataclasses.replace(GOOD, details=details)
    text = " ".join(as_text(report(case(findings=(other,), withdrawals=(), asked=(), answers=()))).split())
    assert (
        "The explanation that was tested: the ordinary explanation that stands with each measurement." in text
    )
    assert "alike in no more than one way" not in text


@pytest.mark.parametrize("code", LANGUAGES)
def test_no_document_says_that_the_odds_speak_of_every_ordinary_reason(code: str) -> None:
    made = report(language_code=code)
    said = next(string(b.text) for _, b in content.numbered(made) if string(b.text).startswith(GOOD.subject))  # type: ignore[union-attr]
    lang = language(code)
    # The last sentence, of reasons that are not ruled out, stands with the figure in the summary and in the detail.
    for key in ("report.supported_sure", "finding.sure_e"):
        assert lang.messages[key].rstrip(".。").endswith(ANOTHER_REASON[code])
    assert ANOTHER_REASON[code] in said and "ordinary reason" not in said
    assert ANOTHER_REASON[code] in string(how_sure(GOOD, lang))


def test_how_large_the_log_was_is_said_even_where_it_is_not_recorded() -> None:
    old = Run("0.1.0", "campaigns scan", {"population": 611}, {}, 1)
    seen = dataclasses.replace(GOOD, run=old.id)
    none: dict[str, tuple[()]] = {"withdrawals": (), "asked": (), "answers": (), "indicators": ()}
    said = as_text(report(case(findings=(seen,), runs=(old,), **none)))
    assert "The log that was read: 611 accounts. Its span is not recorded." in said
    unknown = dataclasses.replace(GOOD, run="")
    said = as_text(report(case(findings=(unknown,), runs=(), **none)))
    assert "How large the log was, and which days it spans, is not recorded." in said
    bare = case(findings=(dataclasses.replace(unknown, details={}),), runs=(), **none)
    assert "How large the log was" not in as_text(report(bare))


def test_after_withdrawal_the_summary_says_so_and_no_figure_is_left_in_the_table() -> None:
    gone = Withdrawal(GOOD.id, "2026-11-21T08:00:00+00:00", "analyst 2", "A customer.")
    made = report(case(findings=(GOOD,), withdrawals=(gone,), asked=(), answers=(), indicators=()))
    text = " ".join(as_text(made).split())
    assert "That is a normal outcome" not in text
    assert (
        "Nothing that stands in this case is supported by the data. Withdrawn on 21 November 2026: c-7f3a."
        in (re.sub(r" \d+\. ", " ", text))
    )
    table = next(b for _, b in content.numbered(made) if isinstance(b, content.Table) and len(b.head) == 6)
    assert [string(cell) for cell in table.rows[0]] == [
        "c-7f3a",
        "withdrawn",
        "–",
        "198",
        "71,204",
        "A customer.",
    ]
    assert "1 in 10" not in text.split("All findings")[1].split("The findings in full")[0]
    nothing = report(case(findings=(OPEN,), withdrawals=(), asked=(), answers=(), indicators=()))
    assert "Nothing in this case is supported by the data. That is a normal outcome." in " ".join(
        as_text(nothing).split()
    )


def test_measurements_are_told_in_plain_words_with_those_that_found_nothing() -> None:
    silent = test_result(
        test="synchrony@1", unit="account-windows", effect=-0.66, log_evalue=-3.4,
        effect_name="requests within the same two seconds, per expected, less 1",
    )  # fmt: skip
    weak = test_result(log_evalue=math.log(2.7), statistic=26.0, n=37, effect=26 / 37 - 0.26)
    limits = ("not tested: failover after a stop: needs at least 1 members with a value, found 0", "a limit")
    told = dataclasses.replace(GOOD, results=(silent, weak, *GOOD.results), limits=limits)
    made = report(case(findings=(told,), withdrawals=(), asked=(), answers=(), indicators=()))
    plain = next(b for _, b in content.numbered(made) if isinstance(b, content.Table) and len(b.head) == 3)
    rows = [[string(cell) for cell in row] for row in plain.rows]
    assert [row[0].split("\n")[0] for row in rows] == [
        "registration times", "even rates", "registration times", "synchrony", "failover after a stop",
    ]  # fmt: skip
    assert rows[0][1:] == ["41 of 57; of matched accounts, 10%", "speaks for it"]
    assert rows[2][1:] == ["26 of 37; of matched accounts, 26%", "a weak sign, too little to rely on"]
    assert rows[3][1:] == ["66% fewer than chance and habit give", "looked for, no sign of it"]
    assert rows[4][1:] == ["needs at least 1 members with a value, found 0", "not tested"]
    assert not any("e-value" in cell for row in rows for cell in row)
    # A limit that stands there is not said again, and others are.
    limits_told = next(s for s in made.sections if string(s.title) == "Limits")
    assert next(string(b.text) for b in limits_told.blocks if isinstance(b, content.Paragraph)) == "a limit"


def test_what_a_typical_account_does_and_what_found_the_group_are_told(made: Document) -> None:
    text = " ".join(as_text(made).split())
    assert "What they were found by; it does not count as evidence: shared prompt" in text
    for part in (
        "0% of its requests continue a conversation",
        "it is active in 100% of the hours",
        "it takes 7.14 tokens for each token it sends",
        "96% of its requests ask for more than an answer",
        "What the requests ask for, by their wording: reasoning",
    ):
        assert part in text, part
    facts = next(b for _, b in content.numbered(made) if isinstance(b, content.Table) and not b.head)
    assert "reasoning" not in "".join(string(cell) for row in facts.rows for cell in row)


def test_gamma_is_explained_where_a_card_says_it(made: Document) -> None:
    assert "In these findings gamma is 3." in " ".join(as_text(made).split())


def test_how_far_a_measurement_could_have_reached_does_not_stand_as_its_result(made: Document) -> None:
    tests = next(b for _, b in content.numbered(made) if isinstance(b, content.Table) and len(b.head) == 4)
    assert "10²⁰" not in string(tests.rows[0][1])
    assert string(tests.rows[0][3]).endswith("this much data could have shown at most 1 in 10²⁰")


@pytest.mark.parametrize("code", ["fr", "ar", "zh"])
def test_a_draft_says_so_on_every_page_and_on_top_of_every_form(code: str) -> None:
    pytest.importorskip("typst")
    import pypdf

    made = report(language_code=code)
    pages = pypdf.PdfReader(io.BytesIO(as_pdf(made))).pages
    assert len(pages) > 4 and all("unreviewed draft" in page.extract_text() for page in pages)
    assert "unreviewed draft" in as_text(made)[:200]
    assert "unreviewed draft" in as_html(made).partition("<h1>")[0]


def test_a_chart_is_described_by_what_it_shows(pdf: bytes) -> None:
    import pypdf

    said = []

    def walk(node: pypdf.generic.PdfObject) -> None:
        node = node.get_object()
        if isinstance(node, pypdf.generic.DictionaryObject):
            said.extend([str(node["/Alt"])] if "/Alt" in node else [])
            walk(node.get("/K", pypdf.generic.ArrayObject()))
        elif isinstance(node, pypdf.generic.ArrayObject):
            for part in node:
                walk(part)

    walk(pypdf.PdfReader(io.BytesIO(pdf)).trailer["/Root"]["/StructTreeRoot"])  # type: ignore[index]
    assert said == [
        "Exchanges of c-7f3a per day. One bar is one day, 2 November 2026 to 8 November 2026. The highest: 10,008, "
        "8 November 2026.",
        "What ties the accounts of c-7f3a. even rates: 20 of 20; registration times: 13 of 20",
    ]


# --- languages -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "parts"),
    [
        (
            "fr",
            [
                "198 comptes agissent comme un seul",
                "Constat",
                "dates d'ouverture",
                "valeur e 4 100",
                "jetons",
            ],
        ),
        ("ar", ["تعمل هذه الحسابات (وعددها ١٩٨) كأنها واحد", "أوقات التسجيل", "١٠ أُس ١٢", "استدلال"]),
        (
            "zh",
            ["198个账户如同一体行动，其行为具有采集的形态。所检验的解释：", "注册时间", "e值4,100", "推理"],
        ),
    ],
)
def test_the_programs_own_words_are_in_the_language_of_the_document(code: str, parts: list[str]) -> None:
    made = report(language_code=code)
    text = INVISIBLE.sub("", " ".join(as_text(made).split())).replace("\u202f", " ")
    for part in parts:
        assert squeezed(part) in squeezed(text), part
    assert "act as one" not in text and "registration times" not in text
    page = as_html(made)
    for chart in re.findall(r"<svg.*?</svg>", page, re.S):
        assert not re.search(r"account|Exchanges| of |Nov\b", chart), chart[:300]


@pytest.mark.parametrize(
    ("code", "mark"), [("fr", "(texte d'origine)"), ("ar", "(النص الأصلي)"), ("zh", "（原文）")]
)
def test_what_is_not_translated_is_marked_as_the_original_wording(code: str, mark: str) -> None:
    text = INVISIBLE.sub("", " ".join(as_text(report(language_code=code)).split()))
    assert squeezed("the log has no device data" + mark) in squeezed(text)
    assert string(language("en").say("word.original")) not in as_text(report())
    captions = [
        string(b.caption)
        for _, b in content.numbered(report(language_code=code))
        if isinstance(b, content.Table)
    ]
    assert sum(mark in caption for caption in captions) >= 4


def test_no_raised_european_digit_stands_among_arabic_ones() -> None:
    assert not re.search("[⁰¹²³⁴-⁹]", as_text(report(language_code="ar")))


def test_a_finding_is_told_with_everything_it_rests_on(made: Document) -> None:
    text = " ".join(as_text(made).split())
    for part in [
        "a member opens its account when matched accounts do",  # the null
        "1 in 10¹² (e-value 3 × 10¹²)",
        "1 in 81 (p-value 0.012)",
        "share of members alike, less that of matched accounts: 0.62 (0.49 to 0.72)",
        "this much data could have shown at most 1 in 10²⁰",
        "Calibrated strength: none.",
        "Do they act as one? Yes, the data show it",
        "NOT ruled out",
        "the log has no device data",
        "41 groups proposed; e-BH at a false discovery rate of 1%",
        CARD.null,
        "Yuan et al., Ianus",
        "matched accounts are exchangeable",
        "not checked",
        EVIDENCE.sha256[:16],
        "Sealed by analyst 2 on 20 November 2026. The signature covers 17 entries",
        "Nothing was added to the journal since.",
    ]:
        assert part in text, part


def test_calibrated_strength_is_told_with_what_calibrated_it() -> None:
    strong = dataclasses.replace(GOOD, strength="LR 8 [5, 11], calibrated on 11 lineages")
    text = " ".join(as_text(report(case(findings=(strong,), withdrawals=(), asked=(), answers=()))).split())
    assert "and what calibrated it: LR 8 [5, 11], calibrated on 11 lineages" in text


# --- the answer, as large as the claim --------------------------------------------------------------------------


def besides(made: Document) -> list[Beside]:
    return [b for s in made.sections for b in s.blocks if isinstance(b, Beside)]


def test_every_claim_has_its_answer_beside_it(made: Document) -> None:
    panels = besides(made)
    assert len(panels) == 4
    assert STATEMENT in string(panels[0].answer.blocks[0].text)
    assert string(panels[1].answer.blocks[0].text) == (
        "No answer by 20 November 2026 from Umbra Cloud, who was asked on 10 November 2026."
    )
    assert string(panels[2].answer.blocks[0].text) == "Nobody has been asked yet."


@pytest.mark.parametrize(
    ("today", "said"),
    [
        (date(2026, 11, 20), "may answer until 20 November 2026. No answer so far."),
        (date(2026, 11, 21), "No answer by 20 November 2026 from Umbra Cloud"),
    ],
)
def test_no_answer_is_said_the_day_after_it_was_due(today: date, said: str) -> None:
    assert said in " ".join(as_text(report(today=today)).split())


def test_claim_and_answer_have_one_heading_one_width_and_one_size_on_screen(page: str) -> None:
    sides = re.findall(
        r'<div class="beside">\s*<section class="side"><(h\d)>.*?<section class="side"><(h\d)>', page, re.S
    )
    assert len(sides) == 4
    assert all(claim == answer for claim, answer in sides)
    style = page[page.index("<style>") : page.index("</style>")]
    assert re.search(
        r"\.beside \{ display: grid; grid-template-columns: minmax\(0, 1fr\) minmax\(0, 1fr\)", style
    )
    # No rule of the style speaks of one side only, or makes an answer's words smaller.
    assert not re.search(r"\.side:(first|last|nth)", style)
    assert "font-size: 1rem" in re.search(r"\.para \.words > blockquote \{([^}]*)\}", style)[1]  # type: ignore[index]


def test_claim_and_answer_have_one_size_and_width_on_paper(pdf: bytes) -> None:
    import pypdf

    sizes: dict[str, set[float]] = {"claim": set(), "answer": set()}
    headings: dict[str, set[float]] = {"What is claimed": set(), "What the party concerned says": set()}

    def visit(text: str, cm: list[float], tm: list[float], font: object, size: float) -> None:
        scale = abs(cm[3] * tm[3]) or 1.0
        for name in headings:
            if name in text:
                headings[name].add(round(size * scale, 2))
        if "198 accounts act as" in text:
            sizes["claim"].add(round(size * scale, 2))
        if "We run a tutoring" in text:
            sizes["answer"].add(round(size * scale, 2))

    pages = pypdf.PdfReader(io.BytesIO(pdf)).pages
    detail = next(p for p in pages if "We run a tutoring" in p.extract_text())
    detail.extract_text(visitor_text=visit)
    claim, answer = headings.values()
    assert claim and claim == answer
    assert sizes["answer"] and sizes["answer"] <= sizes["claim"]


def test_boxes_of_claim_and_answer_are_of_one_width_on_paper(made: Document, pdf: bytes) -> None:
    import pypdf

    content_of = "".join(
        p.get_contents().get_data().decode("latin-1") for p in pypdf.PdfReader(io.BytesIO(pdf)).pages
    )
    # A panel is a filled rectangle: `m`, then the corner to the right.
    widths = re.findall(r"0 0 m\s+([\d.]+) 0 l", content_of)
    panels = [round(float(w), 1) for w, n in itertools.pairwise(widths) if w == n and 180 < float(w) < 300]
    assert panels, "two boxes of one width follow each other"


def test_an_answer_to_the_whole_case_stands_at_the_beginning_beside_the_claims() -> None:
    told = case(
        asked=(Asked("Umbra Cloud", "", "2026-11-10", "2026-11-20"),),
        answers=(Answer("Acme", "", STATEMENT, "2026-11-19", "analyst"),),
    )
    made = report(told)
    first = besides(made)[0]
    assert [type(b).__name__ for b in first.answer.blocks] == ["Quote", "Paragraph"]
    assert string(made.sections[1].title) == "The answers to this case as a whole"
    assert "Acme answered on the case as a whole" in string(besides(made)[1].answer.blocks[0].text)


def answer_side(of: Case, place: int = 0) -> list[str]:
    return [string(b.text) for b in besides(report(of))[place].answer.blocks]


def test_a_second_question_waits_for_a_second_answer() -> None:
    again = Asked("Acme Tutoring", GOOD.id, "2026-11-22", "2026-11-30")
    said = answer_side(case(asked=(*case().asked, again)))
    assert STATEMENT in said[0]
    assert said[1] == (
        "Acme Tutoring was asked on 22 November 2026 and may answer until 30 November 2026. No answer so far."
    )


def test_a_late_answer_is_an_answer() -> None:
    late = dataclasses.replace(case().answers[0], received_at="2026-11-28T10:00:00Z")
    assert answer_side(case(answers=(late,))) == [STATEMENT]


def test_who_was_asked_about_the_whole_and_answered_in_part_did_answer() -> None:
    assert answer_side(case(asked=(Asked("Acme Tutoring", "", "2026-11-10", "2026-11-15"),))) == [
        "Acme Tutoring answered on single findings; those words stand beside them."
    ]


# --- withdrawn and corrected ------------------------------------------------------------------------------------


def test_withdrawn_and_corrected_findings_stay_visible_as_that(made: Document) -> None:
    text = " ".join(as_text(made).split())
    assert "c-91d0: withdrawn" in text
    assert "c-7f3a: corrected" in text
    assert (
        "Corrected on 12 November 2026. Reason: 16 accounts were a customer. The claim was: 214 accounts act as one, "
        "and what they do has the shape of harvesting. It now reads: 198 accounts act as one" in text
    )
    assert "Withdrawn on 13 November 2026. Reason: The accounts are a school." in text


def test_what_was_withdrawn_is_not_claimed_in_the_summary(made: Document) -> None:
    summary = [string(b.text) for b in made.sections[0].blocks if isinstance(b, content.Paragraph)]
    assert not any("214 accounts" in s or "16 accounts act" in s for s in summary)


def test_an_empty_case_says_so_and_a_withdrawn_one_on_its_first_line() -> None:
    made = report(case(findings=(), withdrawals=(), asked=(), answers=(), seals=(), custody=(), runs=(), evidence=(),
                       indicators=(), status="withdrawn"))  # fmt: skip
    text = as_text(made)
    assert text.splitlines()[2].startswith("*** This case was withdrawn.")
    assert "Nothing in this case is supported by the data." in text
    assert "This case is not sealed" in text


def test_a_journal_that_grew_after_the_seal_is_said() -> None:
    assert "The journal has grown since" in as_text(report(case(head="ee" * 32)))


# --- sources, bounds, hostile text ------------------------------------------------------------------------------


def test_the_map_of_sources_names_what_each_paragraph_rests_on(made: Document) -> None:
    table, listed = (b for b in made.sections[-1].blocks if isinstance(b, content.Table))
    covered = 0
    for row in table.rows:
        ends = re.findall(r"\d+", string(row[0]))
        covered += int(ends[-1]) - int(ends[0]) + 1
    assert covered == len(list(content.numbered(made))) - 2
    ids = {string(row[2]) for row in listed.rows}
    assert {GOOD.id, OLD.id, WRONG.id, OPEN.id, EVIDENCE.sha256, case().answers[0].id, "C-1"} <= ids


def test_many_findings_make_bounded_pages() -> None:
    many = tuple(finding(f"c-{n:05d}", 10 + n, log_evalue=math.log(1e6) + n / 1e4) for n in range(700))
    made = report(case(findings=many, withdrawals=(), asked=(), answers=(), indicators=()))
    assert len(besides(made)) == 40
    tables = [b for _, b in content.numbered(made) if isinstance(b, content.Table)]
    assert max(len(t.rows) for t in tables) <= 400
    text = " ".join(as_text(made).split())
    assert "Told in full: 40 of 700 findings." in text
    assert "The table shows 300 rows; 400 are left out." in text
    assert "Further supported findings, not told here: 695." in text


def test_a_claim_with_an_answer_is_told_however_weak_it_is() -> None:
    many = tuple(finding(f"c-{n:05d}", 10 + n) for n in range(60))
    weak = finding("c-weak", 5, decision="not supported", log_evalue=-1.0)
    made = report(case(findings=(*many, weak), withdrawals=(), asked=(), indicators=(),
                       answers=(Answer("Acme", weak.id, STATEMENT, "2026-11-19", "x"),)))  # fmt: skip
    assert any(STATEMENT in string(b.answer.blocks[0].text) for b in besides(made))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text_on_screen(text: str) -> None:
    shown = Page(as_html(report(hostile(text))))
    assert not shown.open
    tags = {tag for tag, _ in shown.tags}
    assert not tags & {"script", "img", "iframe", "object", "embed", "form", "base", "video"}
    assert sum(tag == "style" for tag, _ in shown.tags) == 1
    assert not [name for _, attributes in shown.tags for name in attributes if name.startswith("on")]
    assert all((a.get("href") or "#").startswith("#") for _, a in shown.tags)
    assert " ".join(text.split()) in shown.text


TYPST = [
    "#panic(1)",
    '#import "x.typ": *',
    "*strong* _emph_ `raw` $1/0$ = h \\ @ref <label>",
    ']) #read("/etc/passwd") ([',
    "\\u{202e} // comment /* never closed",
    '"; #sys.inputs',
]


@pytest.mark.parametrize("text", TYPST)
def test_hostile_text_stays_text_on_paper(text: str) -> None:
    pytest.importorskip("typst")
    assert squeezed(text) in squeezed(pdf_text(as_pdf(report(hostile(text)))))


def test_endless_words_stay_on_the_paper() -> None:
    pytest.importorskip("typst")
    word = "x" * 900
    assert word in squeezed(pdf_body(as_pdf(report(hostile(word)))))


def test_figures_are_data_and_drawn_only_then(made: Document, page: str) -> None:
    figures = [b for _, b in content.numbered(made) if isinstance(b, Figure)]
    assert [f.chart for f in figures] == ["timeline", "membership"]
    assert "<svg" not in str(content.to_json(made))
    assert page.count("<svg") == 2


def test_the_page_allows_nothing_but_its_own_style(page: str) -> None:
    import base64
    import hashlib

    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    style = re.search(r"<style>(.*?)</style>", page, re.S)
    assert style is not None
    mark = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy[1] == f"default-src 'none'; style-src 'sha256-{mark}'; base-uri 'none'; form-action 'none'"
    assert "http://" not in page.replace("http://www.w3.org", "") and "https://" not in page


def test_the_same_arguments_give_the_same_bytes(made: Document, page: str, pdf: bytes) -> None:
    assert as_html(report()) == page
    assert as_pdf(report()) == pdf


def test_the_pdf_is_tagged_has_a_title_and_a_language(pdf: bytes) -> None:
    import pypdf

    reader = pypdf.PdfReader(io.BytesIO(pdf))
    assert reader.metadata is not None
    assert reader.metadata.title == "Report on case C-1: Harvesting of reasoning"
    root = reader.trailer["/Root"]
    assert root["/Lang"] == "en"  # type: ignore[index]
    assert "/StructTreeRoot" in root  # type: ignore[operator]


def test_text_is_broken_by_what_a_terminal_shows() -> None:
    assert width("ab一二") == 6
    assert all(
        width(line) <= 10 for line in wrapped("这是一个没有空格的句子，它必须折行。and words besides", 10)
    )
    assert "".join(wrapped("a" * 25, 10)) == "a" * 25
    assert max(width(line) for line in as_text(report()).splitlines()) <= 90
