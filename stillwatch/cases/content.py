"""One content model for every document of a case: sections of numbered paragraphs, tables, figures and quotes.

A document is plain data. Each block says on what it rests (`sources`), `check` proves that no number stands without
a source, and the renderers (`as_html`, `as_pdf`, `as_text`) draw the same blocks with the same numbers in the same
order. Text from elsewhere stands in spans of its own, so that it can be isolated: it may be hostile, or run the
other way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from stillwatch.cases.words import visible
from stillwatch.errors import FormatError, InputError
from stillwatch.records import TLP, Case

AUTHOR = "author"
"""Source of what the author of the document asks or says himself: requests, addressees, dates by which to answer."""
THIS = "document"
"""Source of what is said about the document itself, such as its map of sources."""
METHOD = "method:"
"""``method:name@version``: a method card, which is part of the program."""
LITERATURE = "literature:"
"""``literature:`` and where it was published: what others have measured."""

Style = Literal["plain", "user", "strong", "code"]


@dataclass(frozen=True, slots=True)
class Span:
    """A run of text. Characters that hide or reorder are made visible the moment it is made."""

    text: str
    style: Style = "plain"
    """``plain`` and ``strong`` are in the document's language, ``user`` is from elsewhere, ``code`` an identifier."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", visible(self.text))


Text = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Paragraph:
    """One numbered paragraph."""

    text: Text
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Quote:
    """Somebody else's words, unchanged, with who said them."""

    text: Text
    by: Text = ()
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a caption. Without `head` it is a list of labels and what stands beside them."""

    caption: Text
    head: tuple[Text, ...]
    rows: tuple[tuple[Text, ...], ...]
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        width = len(self.head) or 2
        if any(len(row) != width for row in self.rows):
            raise InputError(f"a table of {width} columns has a row of another length")


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart, as data: it is drawn only when the document is, so that a stored document carries no drawing."""

    chart: Literal["timeline", "membership"]
    data: Mapping[str, Any]
    """Arguments of the function of `stillwatch.cases.charts`."""
    caption: Text
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Panel:
    """A heading and what stands under it. A claim and its answer are two panels that are drawn alike."""

    title: Text
    blocks: tuple[Paragraph | Quote, ...]


@dataclass(frozen=True, slots=True)
class Beside:
    """Two panels side by side, of one width, one type size and one level of heading."""

    claim: Panel
    answer: Panel


Block = Paragraph | Quote | Table | Figure | Beside
Numbered = Paragraph | Quote | Table | Figure


@dataclass(frozen=True, slots=True)
class Section:
    """A heading of level 1, 2 or 3 and its blocks. `mark` is a name that links may point at."""

    title: Text
    blocks: tuple[Block, ...]
    level: int = 1
    sources: tuple[str, ...] = ()
    mark: str = ""
    new_page: bool = False

    def __post_init__(self) -> None:
        if self.level not in (1, 2, 3):
            raise InputError(f"a heading is of level 1, 2 or 3, found {self.level}")


@dataclass(frozen=True, slots=True)
class Document:
    """Everything that is drawn, in order."""

    kind: str
    """``report``, or the kind of a notice."""
    language: str
    direction: Literal["ltr", "rtl"]
    title: Text
    tlp: TLP
    classification: str
    created_at: str
    sections: tuple[Section, ...]
    head: tuple[tuple[Text, Text], ...] = ()
    """Labels and values under the title: from, to, date, reference. They need no source."""
    marks: tuple[Text, ...] = ()
    """What stands above everything else, such as that a translation was not reviewed."""
    words: Mapping[str, str] = field(default_factory=dict)
    """The few words that renderers need in the document's language: ``page``, ``table``, ``figure``."""


def numbered(document: Document) -> Iterator[tuple[int, Numbered]]:
    """Every block with its number, from 1, in the order in which it is read."""
    number = 0
    for section in document.sections:
        for block in section.blocks:
            for one in _parts(block):
                number += 1
                yield number, one


def _parts(block: Block) -> Sequence[Numbered]:
    return (*block.claim.blocks, *block.answer.blocks) if isinstance(block, Beside) else (block,)


def string(text: Text) -> str:
    """The text alone."""
    return "".join(span.text for span in text)


def sentences(block: Numbered) -> Iterator[str]:
    """Every sentence of a block; a cell of a table counts as one."""
    texts = [block.text, block.by] if isinstance(block, Quote) else []
    if isinstance(block, Paragraph):
        texts = [block.text]
    elif isinstance(block, (Table, Figure)):
        texts = [block.caption]
        if isinstance(block, Table):
            texts += [cell for row in (block.head, *block.rows) for cell in row]
    for text in texts:
        yield from (part for part in _END.split(string(text)) if part.strip())


_END = re.compile(r"(?<=[.!?؟])\s+|(?<=[。！？])|\n+")
_NUMBER = re.compile(r"(?<![A-Za-z\u00C0-\u052F\d_-])[-+]?\d")
"""A number, in the digits of any script. The digits of ``c-7f3a`` and ``sha256`` are no number: they begin no word.
Arabic and Chinese write words and numbers together, so there a letter before a digit changes nothing."""


def holds_number(sentence: str) -> bool:
    """Whether a sentence says a number, and not only a name with digits in it."""
    return _NUMBER.search(sentence) is not None


def known_sources(case: Case) -> set[str]:
    """Everything in a case that a block may rest on."""
    known = {case.id, AUTHOR, THIS, *case.subjects}
    for records in (case.findings, case.answers, case.runs, case.notices):
        known.update(record.id for record in records)
    known.update(item.sha256 for item in case.evidence)
    known.update(seal.signature for seal in case.seals)
    return known


def check(document: Document, case: Case) -> None:
    """Hold the map of sources against the case: every number rests on something, and that something is there.

    Raises
    ------
    InputError
        A sentence (or heading, or cell) holds a number and its block names no source; or a source is not in the
        case. The message names the block by its number and the sentence by its words.
    """
    known = known_sources(case)
    for number, block in numbered(document):
        _hold(f"paragraph {number}", block.sources, sentences(block), known, case)
    for section in document.sections:
        _hold(f"heading {string(section.title)!r}", section.sources, [string(section.title)], known, case)


def _hold(
    place: str, sources: Sequence[str], said: Iterator[str] | Sequence[str], known: set[str], case: Case
) -> None:
    for source in sources:
        if source not in known and not source.startswith((METHOD, LITERATURE)):
            raise InputError(f"{place}: rests on {source!r}, which is not in case {case.id}")
    if sources:
        return
    for sentence in said:
        if holds_number(sentence):
            raise InputError(f"{place}: a number without a source: {sentence.strip()!r}")


# --- to JSON and back -------------------------------------------------------------------------------------------

_STYLES: dict[str, Style] = {"plain": "plain", "user": "user", "strong": "strong", "code": "code"}


def to_json(document: Document) -> dict[str, Any]:
    """JSON values only; `from_json` makes the same document of it."""
    return {
        "kind": document.kind,
        "language": document.language,
        "direction": document.direction,
        "title": _text_out(document.title),
        "tlp": document.tlp,
        "classification": document.classification,
        "created_at": document.created_at,
        "head": [[_text_out(label), _text_out(value)] for label, value in document.head],
        "marks": [_text_out(mark) for mark in document.marks],
        "words": dict(document.words),
        "sections": [
            {
                "title": _text_out(s.title),
                "level": s.level,
                "sources": list(s.sources),
                "mark": s.mark,
                "new_page": s.new_page,
                "blocks": [_block_out(b) for b in s.blocks],
            }
            for s in document.sections
        ],
    }


def from_json(value: Mapping[str, Any]) -> Document:
    """A document as `to_json` wrote it.

    Raises
    ------
    FormatError
        It is not such a document; a stored one may come from another machine.
    """
    try:
        return Document(
            kind=str(value["kind"]),
            language=str(value["language"]),
            direction="rtl" if value["direction"] == "rtl" else "ltr",
            title=_text_in(value["title"]),
            tlp=_tlp(value["tlp"]),
            classification=str(value["classification"]),
            created_at=str(value["created_at"]),
            head=tuple((_text_in(label), _text_in(held)) for label, held in value["head"]),
            marks=tuple(_text_in(mark) for mark in value["marks"]),
            words={str(k): str(v) for k, v in value["words"].items()},
            sections=tuple(
                Section(
                    title=_text_in(s["title"]),
                    blocks=tuple(_block_in(b) for b in s["blocks"]),
                    level=int(s["level"]),
                    sources=tuple(map(str, s["sources"])),
                    mark=str(s["mark"]),
                    new_page=bool(s["new_page"]),
                )
                for s in value["sections"]
            ),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise FormatError(f"not a document: {problem!r}", "content") from problem


def _tlp(value: str) -> TLP:
    for known in get_args(TLP):
        if value == known:
            return known  # type: ignore[no-any-return]
    raise ValueError(f"no TLP is {value!r}")


def _text_out(text: Text) -> list[list[str]]:
    return [[span.style, span.text] for span in text]


def _text_in(value: Sequence[Sequence[str]]) -> Text:
    return tuple(Span(str(text), _STYLES[style]) for style, text in value)


def _block_out(block: Block) -> dict[str, Any]:
    if isinstance(block, Beside):
        return {"type": "beside", "claim": _panel_out(block.claim), "answer": _panel_out(block.answer)}
    out: dict[str, Any] = {"sources": list(block.sources)}
    if isinstance(block, Paragraph):
        return {"type": "paragraph", "text": _text_out(block.text), **out}
    if isinstance(block, Quote):
        return {"type": "quote", "text": _text_out(block.text), "by": _text_out(block.by), **out}
    if isinstance(block, Figure):
        return {
            "type": "figure", "chart": block.chart, "data": dict(block.data),
            "caption": _text_out(block.caption), **out,
        }  # fmt: skip
    return {
        "type": "table",
        "caption": _text_out(block.caption),
        "head": [_text_out(cell) for cell in block.head],
        "rows": [[_text_out(cell) for cell in row] for row in block.rows],
        **out,
    }


def _block_in(value: Mapping[str, Any]) -> Block:
    kind = value["type"]
    if kind == "beside":
        return Beside(_panel_in(value["claim"]), _panel_in(value["answer"]))
    sources = tuple(map(str, value["sources"]))
    if kind == "paragraph":
        return Paragraph(_text_in(value["text"]), sources)
    if kind == "quote":
        return Quote(_text_in(value["text"]), _text_in(value["by"]), sources)
    if kind == "figure":
        chart: Literal["timeline", "membership"] = (
            "membership" if value["chart"] == "membership" else "timeline"
        )
        return Figure(chart, dict(value["data"]), _text_in(value["caption"]), sources)
    if kind != "table":
        raise ValueError(f"no block is a {kind!r}")
    return Table(
        _text_in(value["caption"]),
        tuple(_text_in(cell) for cell in value["head"]),
        tuple(tuple(_text_in(cell) for cell in row) for row in value["rows"]),
        sources,
    )


def _panel_out(panel: Panel) -> dict[str, Any]:
    return {"title": _text_out(panel.title), "blocks": [_block_out(b) for b in panel.blocks]}


def _panel_in(value: Mapping[str, Any]) -> Panel:
    blocks = [_block_in(b) for b in value["blocks"]]
    if any(not isinstance(b, (Paragraph, Quote)) for b in blocks):
        raise ValueError("a panel holds paragraphs and quotes")
    return Panel(_text_in(value["title"]), tuple(b for b in blocks if isinstance(b, (Paragraph, Quote))))


def followed_by(document: Document, *sections: Section) -> Document:
    """The document with sections at its end."""
    return replace(document, sections=(*document.sections, *sections))
