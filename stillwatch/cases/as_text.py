"""A document as plain text: the same paragraphs, numbers and order, 78 columns wide."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

from stillwatch.cases.as_html import in_digits
from stillwatch.cases.content import Beside, Document, Figure, Numbered, Paragraph, Quote, Span, Table, Text

WIDTH = 78
INDENT = 5
_ISOLATE, _LEFT, _END = "\u2068", "\u2066", "\u2069"
"""First strong isolate, left-to-right isolate, end of isolate (UAX 9)."""


def as_text(document: Document) -> str:
    """The document as text, ending in a line end."""
    isolated = document.direction == "rtl"
    lines: list[str] = []
    sharing = " · ".join(x for x in (document.classification, document.tlp) if x)
    lines += [sharing, ""]
    for mark in document.marks:
        lines += [*wrapped(f"*** {plain(mark, isolated)} ***", WIDTH), ""]
    title = plain(document.title, isolated)
    lines += [*wrapped(title, WIDTH), "=" * min(WIDTH, width(title)), ""]
    for label, value in document.head:
        lines += _hanging(_label(plain(label, isolated), document), plain(value, isolated), 4)
    number = 0
    for section in document.sections:
        heading = plain(section.title, isolated)
        rule = {1: "=", 2: "-", 3: ""}[section.level]
        lines += ["", *wrapped(heading, WIDTH)]
        lines += [rule * min(WIDTH, width(heading)), ""] if rule else [""]
        for block in section.blocks:
            if isinstance(block, Beside):
                for panel in (block.claim, block.answer):
                    lines += [f"[ {plain(panel.title, isolated)} ]", ""]
                    for part in panel.blocks:
                        number += 1
                        lines += [*_block(number, part, document, isolated), ""]
            else:
                number += 1
                lines += [*_block(number, block, document, isolated), ""]
    lines += ["", sharing]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _block(number: int, block: Numbered, document: Document, isolated: bool) -> Iterator[str]:
    label = in_digits(number, document.words)
    if isinstance(block, Paragraph):
        yield from _numbered(label, plain(block.text, isolated))
    elif isinstance(block, Quote):
        yield from _numbered(label, f"“{plain(block.text, isolated)}”")
        if block.by:
            yield from (
                " " * INDENT + line for line in wrapped(f"— {plain(block.by, isolated)}", WIDTH - INDENT)
            )
    elif isinstance(block, Figure):
        yield from _numbered(label, plain(block.caption, isolated))
        yield from (" " * INDENT + line for line in _figure(block, document))
    else:
        yield from _numbered(label, plain(block.caption, isolated))
        yield from _table(block, document, isolated)


def _figure(block: Figure, document: Document) -> Iterator[str]:
    """What a picture shows, as far as a few lines of text can say it."""
    if block.chart == "timeline":
        daily = sorted((str(day), float(n)) for day, n in block.data.get("daily", {}).items())
        top = max((n for _, n in daily), default=0) or 1
        for day, n in daily:
            yield f"{day}  {round(40 * n / top) * '#':40}  {n:,.0f}"
        return
    evidence = [dict(member) for member in block.data.get("evidence", [])]
    for kind in dict.fromkeys(k for member in evidence for k in member):
        held = sum(bool(m.get(kind)) for m in evidence)
        yield from wrapped(f"{_label(kind, document)}{held} / {len(evidence)}", WIDTH - INDENT)


def _label(label: str, document: Document) -> str:
    """A label as it stands before what it labels."""
    return label + document.words.get("colon", ": ")


def _table(table: Table, document: Document, isolated: bool) -> Iterator[str]:
    pad = " " * INDENT
    rows = [[plain(cell, isolated) for cell in row] for row in table.rows]
    head = [plain(cell, isolated) for cell in table.head]
    if not head:
        for label, value in rows:
            yield from (pad + line for line in _hanging(_label(label, document), value, 4, WIDTH - INDENT))
        return
    every = [head, *rows]
    widths = [max(width(row[i]) for row in every) for i in range(len(head))]
    if sum(widths) + 2 * (len(widths) - 1) <= WIDTH - INDENT and not any("\n" in c for r in rows for c in r):
        for i, row in enumerate(every):
            cells = (cell + " " * (w - width(cell)) for cell, w in zip(row, widths, strict=True))
            yield pad + "  ".join(cells)
            if i == 0:
                yield pad + "  ".join("-" * w for w in widths)
        return
    # Too wide for columns: one row is a few labelled lines.
    for row in rows:
        yield pad + "-" * 8
        for label, cell in zip(head, row, strict=True):
            yield from (pad + line for line in _hanging(_label(label, document), cell, 4, WIDTH - INDENT))


def plain(text: Text, isolated: bool) -> str:
    """Text without its styles. Where directions may mix, what is from elsewhere stands in isolates of its own."""
    return "".join(_isolated(span, isolated) for span in text)


def _isolated(span: Span, isolated: bool) -> str:
    if span.style not in ("user", "code") or not (isolated or any(_rightward(c) for c in span.text)):
        return span.text
    start = _ISOLATE if span.style == "user" else _LEFT
    return start + span.text.replace("\n", f"{_END}\n{start}") + _END


def _rightward(character: str) -> bool:
    return unicodedata.bidirectional(character) in ("R", "AL", "AN")


def _numbered(label: str, text: str) -> Iterator[str]:
    for i, line in enumerate(wrapped(text, WIDTH - INDENT)):
        yield (f"{label}.".ljust(INDENT) if i == 0 else " " * INDENT) + line


def _hanging(label: str, text: str, indent: int, most: int = WIDTH) -> list[str]:
    lines = wrapped(label + text if text else label.rstrip(), most - indent)
    return [lines[0], *(" " * indent + line for line in lines[1:])]


def width(text: str) -> int:
    """Columns on a terminal: wide characters count two, marks and isolates none."""
    total = 0
    for c in text:
        if unicodedata.combining(c) or unicodedata.category(c) in ("Cf", "Mn", "Me"):
            continue
        total += 2 if unicodedata.east_asian_width(c) in "WF" else 1
    return total


def wrapped(text: str, most: int) -> list[str]:
    """Lines of at most `most` columns, broken at spaces, between wide characters, and inside what is longer."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line, used = "", 0
        for piece in _pieces(paragraph, most):
            size = width(piece)
            if line and used + width(piece.rstrip()) > most:
                lines.append(line.rstrip())
                line, used = "", 0
                piece = piece.lstrip(" ")
                size = width(piece)
            line, used = line + piece, used + size
        lines.append(line.rstrip())
    return lines


_NOT_FIRST = set("，。、；：！？）》」』”’%)")
"""Chinese marks that no line begins with."""


def _pieces(text: str, most: int) -> Iterator[str]:
    """What a line may be broken between."""
    piece = ""
    for i, c in enumerate(text):
        following: Sequence[str] = text[i + 1 : i + 2]
        piece += c
        wide = unicodedata.east_asian_width(c) in "WF"
        next_wide = bool(following) and unicodedata.east_asian_width(following[0]) in "WF"
        may_break = (c == " " or wide or next_wide) and not (following and following[0] in _NOT_FIRST)
        if may_break or width(piece) >= most:
            yield piece
            piece = ""
    if piece:
        yield piece
