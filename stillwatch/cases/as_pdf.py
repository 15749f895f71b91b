"""A document as PDF, set by typst. Content goes in as data (`sys.inputs`), never as markup."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from stillwatch.cases import fonts
from stillwatch.cases.as_html import draw, in_digits, packaged
from stillwatch.cases.as_text import width
from stillwatch.cases.claims import moment
from stillwatch.cases.content import Beside, Block, Document, Figure, Paragraph, Quote, Table, Text, string
from stillwatch.errors import InputError
from stillwatch.extras import need

_LONG = re.compile(r"[^\s]{24,}")
_BREAK = "\u200b"
"""Zero width space: a line may break here."""


def as_pdf(document: Document) -> bytes:
    """The document as a tagged, accessible PDF (PDF/UA-1). The same document and fonts give the same bytes.

    Raises
    ------
    MissingExtra
        typst is not installed.
    InputError
        No installed font draws the document's script; the message names the package that brings one.
    """
    typst = need("typst")
    content = _content(document)
    families, undrawn = fonts.families_for(_strings(content))
    if undrawn:
        content = _shown(content, undrawn)
    content["fonts"] = families
    stamp = int(moment(document.created_at, "time of the document").timestamp())
    try:
        made: bytes = typst.compile(
            packaged("document.typ").encode(),
            sys_inputs={"content": json.dumps(content, ensure_ascii=False)},
            timestamp=stamp,
            pdf_standards=["ua-1"],
        )
    except typst.TypstError as problem:
        raise InputError(f"the PDF cannot be set: {problem}") from problem
    return made


def _content(document: Document) -> dict[str, Any]:
    number = 0
    sections = []
    for section in document.sections:
        blocks = []
        for block in section.blocks:
            shown, number = _block(block, number, document)
            blocks.append(shown)
        sections.append(
            {
                "title": _spans(section.title),
                "level": section.level,
                "new_page": section.new_page,
                "blocks": blocks,
            }
        )
    return {
        "language": document.language,
        "rtl": document.direction == "rtl",
        "plain_title": string(document.title),
        "title": _spans(document.title),
        "sharing": " · ".join(x for x in (document.classification, document.tlp) if x),
        "marks": [_spans(mark) for mark in document.marks],
        "head": [[_spans(label), _spans(value)] for label, value in document.head],
        "page": document.words.get("page", "Page"),
        "of": document.words.get("of", "of"),
        "digits": list(document.words.get("digits", "0123456789")),
        "sections": sections,
    }


def _block(block: Block, number: int, document: Document) -> tuple[dict[str, Any], int]:
    if isinstance(block, Beside):
        panels = []
        for panel in (block.claim, block.answer):
            inside = []
            for part in panel.blocks:
                shown, number = _block(part, number, document)
                inside.append(shown)
            panels.append({"title": _spans(panel.title), "blocks": inside})
        return {"type": "beside", "panels": panels}, number
    number += 1
    out: dict[str, Any] = {"type": type(block).__name__.lower(), "n": in_digits(number, document.words)}
    if isinstance(block, Paragraph):
        out["text"] = _spans(block.text)
    elif isinstance(block, Quote):
        out |= {"text": _spans(block.text), "by": _spans(block.by)}
    elif isinstance(block, Figure):
        drawing = draw(block)
        out |= {
            "svg": _styled(_LABEL.sub("", drawing)),
            "labels": [list(label) for label in _labels(drawing)],
            "size": [float(x) for x in re.findall(r'viewBox="0 0 (\d+) ([\d.]+)"', drawing)[0]]
            if drawing
            else [],
            "alt": _said(drawing) or string(block.caption),
            "caption": _spans(block.caption),
        }
    else:
        out |= {
            "caption": _spans(block.caption),
            "head": [_spans(cell) for cell in block.head],
            "rows": [[_spans(cell) for cell in row] for row in block.rows],
            "widths": _widths(block),
        }
    return out, number


def _spans(text: Text) -> list[list[str]]:
    """Style and text; what is longer than a line could be may break anywhere."""
    return [[span.style, _LONG.sub(_breakable, span.text)] for span in text if span.text]


def _breakable(match: re.Match[str]) -> str:
    word = match[0]
    return _BREAK.join(word[i : i + 12] for i in range(0, len(word), 12))


def _widths(table: Table) -> list[float]:
    """Shares of the width, by what the columns hold: between the longest word and a bounded average."""
    if not table.head:
        return [1.0, 2.6]
    shares = []
    for i in range(len(table.head)):
        cells = [string(row[i]) for row in table.rows] or [""]
        words = [w for c in (*cells, string(table.head[i])) for w in c.split()]
        longest = max((min(width(w), 20) for w in words), default=1)
        usual = sum(min(width(cell), 240) for cell in cells) / len(cells)
        shares.append(max(longest, usual**0.75, 5.0))
    return [round(s, 3) for s in shares]


_LABEL = re.compile(r'<text(?: class="([a-z]+)")? x="([\d.]+)" y="([\d.]+)">([^<]*)</text>')


def _said(drawing: str) -> str:
    """What a chart shows, in words: its own text alternative."""
    found = re.search(r'aria-label="([^"]*)"', drawing)
    return html.unescape(found[1]) if found else ""


def _labels(drawing: str) -> Iterator[tuple[str, float, float, str]]:
    """Class, place and words of what is written in a chart.

    typst writes them, because text inside an SVG keeps no way back to its characters where a script joins letters, and
    such a page is not accessible.
    """
    for found in _LABEL.finditer(drawing):
        yield found[1] or "", float(found[2]), float(found[3]), html.unescape(found[4])


def _styled(drawing: str) -> str:
    """A chart without its labels, with the colours that a page's style would give it."""
    if not drawing:
        return ""
    style = "<style>.grid{stroke:#d7dce2}.mark{fill:#2f6f8f}.empty{fill:#e6eaee}</style>"
    head, _, rest = drawing.partition(">")
    return f'{head} xmlns="http://www.w3.org/2000/svg">{style}{rest}'


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for held in value.values():
            yield from _strings(held)
    elif isinstance(value, (list, tuple)):
        for held in value:
            yield from _strings(held)


def _shown(value: Any, undrawn: set[str]) -> Any:
    """The same with characters that no installed font draws as their code points."""
    if isinstance(value, str):
        return "".join(f"⟨U+{ord(c):04X}⟩" if c in undrawn else c for c in value)
    if isinstance(value, dict):
        return {key: _shown(held, undrawn) for key, held in value.items()}
    if isinstance(value, Sequence):
        return [_shown(held, undrawn) for held in value]
    return value
