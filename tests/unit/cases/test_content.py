"""The content model: what a document may say without a source, and that it survives JSON."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from documents_samples import GOOD, case, report

from stillwatch.cases import content
from stillwatch.cases.content import AUTHOR, Document, Figure, Paragraph, Quote, Section, Span, Table
from stillwatch.errors import FormatError, InputError


def plain(text: str) -> content.Text:
    return (Span(text),)


def document(*blocks: content.Block) -> Document:
    return Document(
        "report",
        "en",
        "ltr",
        plain("A title"),
        "TLP:CLEAR",
        "",
        "2026-11-24",
        (Section(plain("A heading"), blocks),),
    )


@pytest.mark.parametrize(
    "sentence",
    ["There are 198 of them.", "It was 0.4.", "A share of 97%.", "وهي ١٢ حسابًا", "共有５个",
     "p=0.01", "about ~26", "-3 at night"],
)  # fmt: skip
def test_a_number_needs_a_source(sentence: str) -> None:
    with pytest.raises(InputError, match="paragraph 2: a number without a source"):
        content.check(
            document(Paragraph(plain("None here.")), Paragraph(plain(f"First. {sentence}"))), case()
        )
    content.check(document(Paragraph(plain(sentence), (GOOD.id,))), case())


@pytest.mark.parametrize(
    "sentence", ["Nobody was asked.", "About c-7f3a, with sha256.", "TLP:AMBER and e-BH.", ""]
)
def test_names_with_digits_are_no_numbers(sentence: str) -> None:
    content.check(document(Paragraph(plain(sentence))), case())


@pytest.mark.parametrize(
    "block",
    [
        Quote(plain("Fine."), plain("someone, in 2026")),
        Table(plain("A table."), (plain("one"),), ((plain("7"),),)),
        Table(plain("Of 3."), (), ((plain("a"), plain("b")),)),
        Figure("timeline", {}, plain("Over 5 days.")),
        content.Beside(content.Panel(plain("x"), (Paragraph(plain("198 accounts."),),)), content.Panel(plain("y"), ())),
    ],
)  # fmt: skip
def test_every_kind_of_block_is_held_to_it(block: content.Block) -> None:
    with pytest.raises(InputError, match="without a source"):
        content.check(document(block), case())


def test_the_message_names_the_paragraph_and_the_sentence() -> None:
    with pytest.raises(InputError) as caught:
        content.check(document(Paragraph(plain("It began. It had 41 members. It ended."))), case())
    assert str(caught.value) == "paragraph 1: a number without a source: 'It had 41 members.'"


def test_headings_are_held_to_it() -> None:
    page = dataclasses.replace(document(), sections=(Section(plain("The 7 groups"), ()),))
    with pytest.raises(InputError, match="heading 'The 7 groups'"):
        content.check(page, case())


@pytest.mark.parametrize("source", ["0" * 64, "", "C-2", "nobody"])
def test_a_source_has_to_be_in_the_case(source: str) -> None:
    with pytest.raises(InputError, match="which is not in case C-1"):
        content.check(document(Paragraph(plain("198."), (GOOD.id, source))), case())


def test_what_a_paragraph_may_rest_on() -> None:
    held = case()
    sources = (
        GOOD.id, held.evidence[0].sha256, held.answers[0].id, held.runs[0].id, held.id, held.seals[0].signature,
        AUTHOR, content.THIS, "method:registration@1", "c-7f3a",
    )  # fmt: skip
    content.check(document(Paragraph(plain("198."), sources)), held)


def test_a_document_survives_json() -> None:
    made = report()
    again = content.from_json(json.loads(json.dumps(content.to_json(made), allow_nan=False)))
    assert again == made


@pytest.mark.parametrize(
    "change",
    [
        {"sections": 3},
        {"sections": [{"title": []}]},
        {"title": [["loud", "x"]]},
        {"sections": [{"title": [], "level": 9, "sources": [], "mark": "", "new_page": False, "blocks": []}]},
        {"sections": [{"title": [], "level": 1, "sources": [], "mark": "", "new_page": False,
                       "blocks": [{"type": "script", "sources": []}]}]},
        {"words": 1},
        {"head": [[1]]},
    ],
)  # fmt: skip
def test_what_is_no_document_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(FormatError, match="not a document"):
        content.from_json({**content.to_json(document()), **change})


def test_text_is_made_visible_the_moment_it_is_made() -> None:
    assert Span("a\u202eb\x00c\ud800").text == "a⟨U+202E⟩b⟨U+0000⟩c⟨U+D800⟩"
    hidden = content.to_json(document())
    hidden["title"] = [["plain", "x\u2066y"]]
    assert content.string(content.from_json(hidden).title) == "x⟨U+2066⟩y"


def test_every_block_has_one_number_in_order() -> None:
    numbers = [number for number, _ in content.numbered(report())]
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_row_is_as_wide_as_its_table() -> None:
    with pytest.raises(InputError, match="row of another length"):
        Table(plain("x"), (plain("a"), plain("b")), ((plain("c"),),))
