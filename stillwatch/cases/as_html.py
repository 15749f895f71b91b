"""A document as one self-contained HTML page: no script, no network, its own style by digest."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib import resources
from typing import Any

from stillwatch.cases import charts
from stillwatch.cases.content import Beside, Block, Document, Figure, Quote, Span, Table, Text, string
from stillwatch.errors import FormatError


def as_html(document: Document) -> str:
    """The page. The same document gives the same bytes."""
    from jinja2 import Environment  # 60 ms, and only a document needs it

    style = packaged("report.css") + packaged("document.css")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(packaged("document.html")).render(
        d=document,
        title=string(document.title),
        style=style,
        style_digest=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        sections=_sections(document),
        pieces=_pieces,
        foreign=_foreign,
        page_words=document.words,
    )
    page.encode()
    return page


def packaged(name: str) -> str:
    """One of the templates."""
    return resources.files("stillwatch.cases").joinpath("templates", name).read_text(encoding="utf-8")


def in_digits(number: int, words: Mapping[str, str]) -> str:
    """A number of a paragraph or page in the document's digits."""
    digits = words.get("digits", "0123456789")
    return str(number).translate(str.maketrans("0123456789", digits)) if len(digits) == 10 else str(number)


def draw(figure: Figure) -> str:
    """The chart of a figure as SVG, drawn from its data now; a stored document carries no drawing."""
    data = figure.data
    title, code = str(data.get("title", "")), str(data.get("language", "en"))
    try:
        if figure.chart == "timeline":
            daily = {str(k): float(v) for k, v in data.get("daily", {}).items()}
            return str(charts.timeline(daily, title, code))
        evidence = [{str(k): bool(v) for k, v in member.items()} for member in data.get("evidence", [])]
        return str(charts.membership(evidence, int(data.get("total", len(evidence))), title, code))
    except (TypeError, ValueError, AttributeError, ArithmeticError) as problem:
        raise FormatError(f"a figure that cannot be drawn: {problem}", "content") from problem


def _sections(document: Document) -> list[dict[str, Any]]:
    number = 0
    sections = []
    for section in document.sections:
        blocks = []
        for block in section.blocks:
            shown, number = _block(block, number, document.words)
            blocks.append(shown)
        sections.append({"section": section, "blocks": blocks})
    return sections


def _block(block: Block, number: int, words: Mapping[str, str]) -> tuple[dict[str, Any], int]:
    if isinstance(block, Beside):
        panels = []
        for panel in (block.claim, block.answer):
            inside = []
            for part in panel.blocks:
                shown, number = _block(part, number, words)
                inside.append(shown)
            panels.append({"title": panel.title, "blocks": inside})
        return {"type": "beside", "panels": panels}, number
    number += 1
    shown = {"type": type(block).__name__.lower(), "b": block, "n": number, "label": in_digits(number, words)}
    if isinstance(block, Figure):
        from markupsafe import Markup

        shown["svg"] = Markup(draw(block))  # made by `charts`, which escapes what it is given
    if isinstance(block, Table):
        shown["narrow"] = narrow_columns(block)
    if isinstance(block, Quote):
        shown["by"] = block.by
    return shown, number


def narrow_columns(table: Table) -> list[bool]:
    """Columns of which every cell is short: they are not broken into lines."""
    width = len(table.head) or 2
    columns = [[string(row[i]) for row in table.rows] for i in range(width)]
    return [all(len(cell) <= 18 for cell in column) for column in columns]


def _foreign(text: Text) -> bool:
    """Whether a whole text is from elsewhere: it then runs its own way."""
    return bool(text) and all(span.style == "user" or not span.text.strip() for span in text)


def _pieces(text: Text) -> list[tuple[str, list[str]]]:
    """Spans with their lines, so that line ends become breaks."""
    return [(span.style, span.text.split("\n")) for span in text if isinstance(span, Span)]
