"""The appendix of every document: what each paragraph rests on, and what the marks stand for."""

from __future__ import annotations

from stillwatch.cases.claims import code, name_of, user
from stillwatch.cases.content import (
    AUTHOR,
    LITERATURE,
    METHOD,
    THIS,
    Document,
    Paragraph,
    Section,
    Table,
    Text,
    numbered,
)
from stillwatch.cases.languages import Language
from stillwatch.cases.plain_words import colon
from stillwatch.records import Case

_LETTERS = {
    "finding": "F",
    "evidence": "E",
    "answer": "A",
    "run": "R",
    "notice": "N",
    "seal": "S",
    "case": "C",
    "subject": "P",
    "method": "M",
    "literature": "L",
    "author": "W",
    "document": "D",
}


def source_map(document: Document, case: Case, lang: Language, *, title: Text) -> Section:
    """The map of sources of everything that `document` holds so far."""
    kinds = _kinds(case)
    marks: dict[str, str] = {}
    counts: dict[str, int] = {}
    rests: list[tuple[int, int, str]] = []
    for number, block in numbered(document):
        for source in block.sources:
            if source not in marks:
                kind = _kind(source, kinds)
                counts[kind] = counts.get(kind, 0) + 1
                marks[source] = f"{_LETTERS[kind]}{counts[kind]}"
        held = _together([marks[s] for s in block.sources])
        if rests and rests[-1][2] == held:
            rests[-1] = (rests[-1][0], number, held)
        else:
            rests.append((number, number, held))
    rows = [
        (
            lang.text(low) if low == high else lang.say("number.span", low=low, high=high),
            code(held) or lang.say("source.nothing"),
        )
        for low, high, held in rests
    ]
    named = {f.id: name_of(f) for f in case.findings} | {e.sha256: e.role for e in case.evidence}
    listed = tuple(
        (code(mark), _what(mark, named.get(source, ""), lang), _named(source))
        for source, mark in sorted(marks.items(), key=lambda pair: (pair[1][0], int(pair[1][1:])))
    )
    return Section(
        title,
        (
            Table(
                lang.say("source.map"),
                (lang.say("column.paragraph"), lang.say("column.rests_on")),
                tuple(rows),
                (THIS,),
            ),
            Table(
                lang.say("source.list_table"),
                (lang.say("column.key"), lang.say("column.what"), lang.say("column.id")),
                listed,
                (THIS,),
            ),
        )
        if rows
        else (Paragraph(lang.say("word.none"), (THIS,)),),
        mark="sources",
        new_page=True,
    )


def _kind(source: str, kinds: dict[str, str]) -> str:
    if source.startswith(METHOD):
        return "method"
    return "literature" if source.startswith(LITERATURE) else kinds.get(source, "document")


def _named(source: str) -> Text:
    """A digest or name; of what was published, where."""
    if source.startswith(LITERATURE):
        return user(source.removeprefix(LITERATURE))
    return code(source.removeprefix(METHOD))


def _kinds(case: Case) -> dict[str, str]:
    kinds = {case.id: "case", AUTHOR: "author", THIS: "document"}
    kinds.update(dict.fromkeys(case.subjects, "subject"))
    kinds.update({f.id: "finding" for f in case.findings})
    kinds.update({e.sha256: "evidence" for e in case.evidence})
    kinds.update({a.id: "answer" for a in case.answers})
    kinds.update({r.id: "run" for r in case.runs})
    kinds.update({n.id: "notice" for n in case.notices})
    kinds.update({s.signature: "seal" for s in case.seals})
    return kinds


def _what(mark: str, name: str, lang: Language) -> Text:
    kind = next(k for k, letter in _LETTERS.items() if letter == mark[0])
    said = lang.say(f"source.{kind}")
    return (*said, colon(lang), *user(name)) if name else said


def _together(marks: list[str]) -> str:
    """``F1-F4, E2`` for neighbours."""
    runs: list[tuple[str, int, int]] = []
    for mark in dict.fromkeys(marks):
        letter, number = mark[0], int(mark[1:])
        if runs and runs[-1][0] == letter and runs[-1][2] + 1 == number:
            runs[-1] = (letter, runs[-1][1], number)
        else:
            runs.append((letter, number, number))
    return ", ".join(f"{a}{low}" if low == high else f"{a}{low}-{a}{high}" for a, low, high in runs)
