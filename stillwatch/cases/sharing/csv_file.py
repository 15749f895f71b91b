"""Indicators as a table, for whoever has a spreadsheet: one row an indicator, under the header `COLUMNS`.

A cell that a spreadsheet would take for a formula begins with an apostrophe (Excel, LibreOffice and others show it as
text); so does a cell that begins with an apostrophe itself, so that reading takes exactly one away.
"""

from __future__ import annotations

import csv
import io

from stillwatch.cases.indicators import Shared
from stillwatch.cases.sharing import Format, Imported, _said
from stillwatch.cases.sharing._bounded import (
    MOST_CHARACTERS,
    MOST_OBJECTS,
    indicator,
    narrowest,
    provenance,
    text_of,
)
from stillwatch.errors import FormatError
from stillwatch.records import Case, Indicator

COLUMNS = (
    "kind", "pattern", "language", "valid_from", "valid_until", "confidence", "tlp", "derived_from", "benign_hits",
    "benign_of", "status", "reason", "claim", "answers", "subject", "producer", "read_this_first",
)  # fmt: skip
NEEDED = COLUMNS[:10]
FORMAT = Format(
    name="csv",
    title="CSV",
    media_type="text/csv; charset=utf-8",
    suffix=".csv",
    reads=True,
    carries={field: field for field in NEEDED},
    loses=("Limits and innocent explanations have no place in a table; one column tells to ask for them.",),
)
STANDS, TAKEN_BACK = "stands", "taken back"
_FORMULA = tuple("=+-@|%\t\r\n'＝＋－＠")
_FIRST = (
    "ask the producer for limits and innocent explanations; a match is a reason to look, not to act. "
    + _said.MEANING
)


def write(case: Case, shared: Shared, *, producer: str) -> bytes:
    """The indicators that stand and those that are taken back, every cell quoted."""
    out = io.StringIO()
    table = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
    table.writerow(COLUMNS)
    for item in shared.items:
        reason = _said.taken_back(case, shared, item)
        answers = " / ".join(_said.replies(case, shared, item.finding))
        for made in item.indicators:
            row = [
                *(_cell(made, field) for field in NEEDED),
                TAKEN_BACK if item.withdrawal else STANDS,
                reason,
                _said.claimed(item.finding, shared),
                answers,
                item.finding.subject,
                producer,
                _FIRST,
            ]
            table.writerow([guarded(cell) for cell in row])
    return out.getvalue().encode()


def read(data: bytes, *, source: str, at: str) -> Imported:
    """A table whose header names at least `NEEDED`, in any order."""
    text = text_of(data, source)
    table = csv.reader(io.StringIO(text, newline=""), strict=True)
    limit = csv.field_size_limit()
    stands: list[Indicator] = []
    revoked: list[Indicator] = []
    producers: dict[str, None] = {}
    unknown: list[str] = []
    header: list[str] = []
    try:
        for row in table:
            line = table.line_num
            if not header:
                header, unknown = _header(row, source)
                continue
            if not row:
                continue
            if line > MOST_OBJECTS + 1 and len(stands) + len(revoked) >= MOST_OBJECTS:
                raise FormatError(f"more than {MOST_OBJECTS:,} rows", source, line)
            if len(row) != len(header):
                raise FormatError(f"expected {len(header)} cells, found {len(row)}", source, line)
            cells = {name: unguarded(cell) for name, cell in zip(header, row, strict=True)}
            made = _indicator(cells, source, line)
            status = cells.get("status", STANDS)
            if status not in (STANDS, TAKEN_BACK):
                raise FormatError(
                    f"status: expected {STANDS} or {TAKEN_BACK}, found {status[:40]!r}", source, line
                )
            (revoked if status == TAKEN_BACK else stands).append(made)
            if who := cells.get("producer"):
                producers[who[:200]] = None
    except csv.Error as problem:
        raise FormatError(
            f"{problem} (cells hold up to {limit:,} characters)", source, table.line_num
        ) from None
    if not header:
        raise FormatError(f"expected a header with {', '.join(NEEDED)}; the file is empty", source)
    origin = provenance("csv", data, producer="; ".join(producers)[:400], source=source, at=at)
    lost = (f"columns that are not known: {', '.join(unknown)[:400]}",) if unknown else ()
    return Imported(
        tuple(stands), origin, lost, tuple(revoked), narrowest(i.tlp for i in (*stands, *revoked))
    )


def guarded(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.lstrip(" ").startswith(_FORMULA) else cell


def unguarded(cell: str) -> str:
    """What `guarded` was given."""
    return cell[1:] if cell.startswith("'") else cell


def _cell(made: Indicator, field: str) -> str:
    return " ".join(made.derived_from) if field == "derived_from" else str(getattr(made, field))


def _header(row: list[str], source: str) -> tuple[list[str], list[str]]:
    names = [unguarded(name).strip() for name in row]
    missing = [name for name in NEEDED if name not in names]
    if missing:
        raise FormatError(f"the header lacks {', '.join(missing)}", source, 1)
    if len(set(names)) != len(names):
        raise FormatError("the header names a column twice", source, 1)
    return names, [name for name in names if name not in COLUMNS]


def _indicator(cells: dict[str, str], source: str, line: int) -> Indicator:
    values: dict[str, object] = {field: cells[field] for field in NEEDED}
    for field in ("confidence", "benign_hits", "benign_of"):
        text = cells[field]
        if not (text.isascii() and text.isdigit() and len(text) < 15):
            raise FormatError(f"{field}: expected a whole number, found {text[:40]!r}", source, line)
        values[field] = int(text)
    for text in cells.values():
        if len(text) > MOST_CHARACTERS:
            raise FormatError(f"a cell of {len(text):,} characters", source, line)
    values["derived_from"] = cells["derived_from"].split()
    return indicator(values, "row", source, line=line)
