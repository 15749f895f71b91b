"""Documents that strangers wrote: read within bounds, or refused with the place named.

Everything that is imported goes through here before any library sees it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from stillwatch.cases.events import TLP_ORDER
from stillwatch.cases.indicators import well_formed
from stillwatch.cases.sharing import NOBODY, Provenance
from stillwatch.errors import FormatError, InputError
from stillwatch.records import TLP, Indicator

MOST_BYTES = 32 << 20
MOST_VALUES = 1_000_000
"""Values, counted by the commas and brackets of the text, before anything is built from it."""
MOST_DEPTH = 32
MOST_OBJECTS = 50_000
"""Objects of a bundle or an event, lines or rows."""
MOST_CHARACTERS = 100_000
"""In one text."""
MOST_SOURCES = 1_000
"""Entries of `derived_from`."""

_MAGIC = {
    b"PK\x03\x04": "a ZIP archive",
    b"PK\x05\x06": "a ZIP archive",
    b"\x1f\x8b": "a gzip file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"(\xb5/\xfd": "a zstd file",
    b"%PDF": "a PDF file",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"<": "XML or HTML",
}
_LOCAL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:?\d\d)?")


def check_own(data: bytes, objects: int, unit: str) -> None:
    """Refuse to write what we would refuse to read.

    Raises
    ------
    InputError
        It is larger than that.
    """
    values = sum(data.count(c) for c in (b",", b"[", b"{"))
    for number, most, what in (
        (objects, MOST_OBJECTS, unit),
        (values, MOST_VALUES, "values"),
        (len(data), MOST_BYTES, "bytes"),
    ):
        if number > most:
            raise InputError(
                f"the document would hold {number:,} {what}, and no more than {most:,} are read; share some of the "
                "findings at a time (--finding)"
            )


def text_of(data: bytes, source: str) -> str:
    """The document as text.

    Raises
    ------
    FormatError
        It is larger than `MOST_BYTES`, an archive or another kind of file, or no UTF-8.
    """
    if len(data) > MOST_BYTES:
        raise FormatError(f"{len(data):,} bytes; documents of up to {MOST_BYTES:,} are read", source)
    for magic, what in _MAGIC.items():
        if data.startswith(magic):
            raise FormatError(f"expected text, found {what}; unpack or convert it first", source)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as bad:
        line = data.count(b"\n", 0, bad.start) + 1
        raise FormatError(f"byte {bad.start} is no UTF-8", source, line) from None


def parse_json(text: str, source: str, *, line: int = 0) -> Any:
    """One JSON value.

    Raises
    ------
    FormatError
        Too many values or too deep; a key that is given twice; NaN, infinity, a lone surrogate or a text that is too
        long; no JSON. Names the place where one is known.
    """
    values = sum(text.count(c) for c in ",[{")
    if values > MOST_VALUES:
        raise FormatError(f"about {values:,} values; up to {MOST_VALUES:,} are read", source, line)
    try:
        found = json.loads(
            text, object_pairs_hook=_once, parse_float=_finite, parse_int=_number, parse_constant=_constant
        )
    except json.JSONDecodeError as bad:
        raise FormatError(f"no JSON at column {bad.colno}: {bad.msg}", source, line or bad.lineno) from None
    except RecursionError:
        raise FormatError(f"nested deeper than {MOST_DEPTH}", source, line) from None
    except ValueError as bad:
        raise FormatError(str(bad), source, line) from None
    _check_values(found, source, line)
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Two readers of a key that stands twice may see different documents.
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key[:60]!r} is given twice in one object")
        found[key] = value
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:30]} is too large")
    return number


def _number(text: str) -> int:
    if len(text) > 20:
        raise ValueError(f"the number {text[:30]}... is too large")
    return int(text)


def _constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON number")


def _check_values(value: Any, source: str, line: int) -> None:
    stack: list[tuple[Any, str, int]] = [(value, "", 0)]
    while stack:
        found, place, depth = stack.pop()
        if isinstance(found, str):
            _check_text(found, place, source, line)
        elif isinstance(found, (dict, list)):
            if depth >= MOST_DEPTH:
                raise FormatError(f"{place[:200]}: nested deeper than {MOST_DEPTH}", source, line)
            for key, item in found.items() if isinstance(found, dict) else enumerate(found):
                if isinstance(key, str):
                    _check_text(key, f"{place} (a key)", source, line)
                # Only what is looked into further needs a place of its own.
                if isinstance(item, (str, dict, list)):
                    inner = f"{place}[{key}]" if isinstance(key, int) else f"{place}.{key}".lstrip(".")
                    stack.append((item, inner, depth + 1))


def _check_text(text: str, place: str, source: str, line: int) -> None:
    if len(text) > MOST_CHARACTERS:
        where = f"{place[:200]}: " if place else ""
        raise FormatError(
            f"{where}a text of {len(text):,} characters; up to {MOST_CHARACTERS:,} are read", source, line
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        raise FormatError(f"{place[:200] or 'a text'}: half of a surrogate pair", source, line) from None


def provenance(format: str, data: bytes, *, producer: str, source: str, at: str) -> Provenance:
    """Who says so, in which document, read when."""
    return Provenance(
        format, producer or NOBODY, source, sha256(data).hexdigest(), len(data), moment(at, "at", source)
    )


def moment(value: Any, place: str, source: str, *, line: int = 0) -> str:
    """A time as ``2026-11-02T00:00:00Z``, with fractions of a second where it has some.

    Raises
    ------
    FormatError
        It is no time, or has no time zone.
    """
    text = value if isinstance(value, str) else ""
    if not _LOCAL.fullmatch(text):
        raise FormatError(
            f"{place}: expected a time such as 2026-11-02T00:00:00Z, found {_shown(value)}", source, line
        )
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None:
            raise ValueError("no time zone")
        if not 1971 <= found.year <= 9998:
            raise ValueError("out of range")
        found = found.astimezone(UTC)
    except (ValueError, OverflowError) as bad:
        raise FormatError(f"{place}: {text!r} is no time with a time zone: {bad}", source, line) from None
    plain = found.strftime("%Y-%m-%dT%H:%M:%S")
    return plain + (f".{found.microsecond:06d}".rstrip("0") if found.microsecond else "") + "Z"


def order(text: str) -> tuple[datetime, str]:
    """What a time that `moment` takes is sorted by, to the last digit of its second."""
    whole, _, rest = text.partition(".")
    digits = re.match(r"\d*", rest)
    fraction = digits[0] if digits else ""
    return datetime.fromisoformat(whole + rest[len(fraction) :]), fraction.ljust(9, "0")


def indicator(values: Mapping[str, Any], place: str, source: str, *, line: int = 0) -> Indicator:
    """An `Indicator` from values that a stranger gave, each checked.

    Raises
    ------
    FormatError
        Names the field, what was expected and what was found.
    """

    def wrong(field: str, expected: str) -> FormatError:
        return FormatError(
            f"{place}.{field}: expected {expected}, found {_shown(values.get(field))}", source, line
        )

    texts = {}
    for field, most in (("kind", 200), ("pattern", MOST_CHARACTERS), ("language", 60)):
        value = values.get(field)
        if not isinstance(value, str) or not value.strip() or len(value) > most:
            raise wrong(field, f"a text of 1 to {most:,} characters")
        texts[field] = value
    if not well_formed(texts["language"], texts["pattern"]):
        raise wrong("pattern", f"a pattern of the language {texts['language']}")
    begin, end = (
        moment(values.get(f), f"{place}.{f}", source, line=line) for f in ("valid_from", "valid_until")
    )
    if datetime.fromisoformat(end) <= datetime.fromisoformat(begin):
        raise wrong("valid_until", f"a time after valid_from, {begin}")
    counts = {f: values.get(f) for f in ("confidence", "benign_hits", "benign_of")}
    for field, number in counts.items():
        if type(number) is not int or not 0 <= number <= (100 if field == "confidence" else 10**12):
            raise wrong(field, "a whole number" + (" of 0 to 100" if field == "confidence" else ""))
    confidence, hits, of = (int(n) for n in counts.values() if n is not None)
    if hits > of:
        raise wrong("benign_hits", f"at most benign_of, {of}")
    tlp = values.get("tlp")
    if tlp not in TLP_ORDER:
        raise wrong("tlp", f"one of {', '.join(TLP_ORDER)}")
    sources = values.get("derived_from")
    if not isinstance(sources, Sequence) or isinstance(sources, str) or len(sources) > MOST_SOURCES:
        raise wrong("derived_from", f"a list of at most {MOST_SOURCES:,} texts")
    if not all(isinstance(s, str) and 0 < len(s) <= 300 for s in sources):
        raise wrong("derived_from", "texts of 1 to 300 characters")
    try:
        return Indicator(
            **texts,
            valid_from=begin,
            valid_until=end,
            confidence=confidence,
            tlp=tlp,
            derived_from=tuple(sources),
            benign_hits=hits,
            benign_of=of,
        )
    except ValueError as bad:
        raise FormatError(f"{place}: {bad}", source, line) from None


def refuse_cycles(edges: Mapping[str, Sequence[str]], source: str) -> None:
    """Refuse references that lead back to where they began.

    Raises
    ------
    FormatError
        Names the way round.
    """
    done: set[str] = set()
    for start in edges:
        if start in done:
            continue
        way, inside = [start], {start}
        open_: list[Iterator[str]] = [iter(edges.get(start, ()))]
        while open_:
            step = next(open_[-1], None)
            if step is None:
                open_.pop()
                last = way.pop()
                inside.discard(last)
                done.add(last)
            elif step in inside:
                ring = [*way[way.index(step) :], step]
                shown = ring if len(ring) <= 6 else [*ring[:5], "...", step]
                raise FormatError(
                    f"references go round in a circle: {' -> '.join(s[:60] for s in shown)}", source
                )
            elif step not in done and step in edges:
                way.append(step)
                inside.add(step)
                open_.append(iter(edges[step]))


def records(value: Any, place: str, source: str, *, line: int = 0) -> list[dict[str, Any]]:
    """A list of objects.

    Raises
    ------
    FormatError
        It is none, or longer than `MOST_OBJECTS`.
    """
    if not isinstance(value, list):
        raise FormatError(f"{place}: expected a list, found {_shown(value)}", source, line)
    if len(value) > MOST_OBJECTS:
        raise FormatError(f"{place}: {len(value):,} objects; up to {MOST_OBJECTS:,} are read", source, line)
    for i, item in enumerate(value):
        if not isinstance(item, dict):
            raise FormatError(f"{place}[{i}]: expected an object, found {_shown(item)}", source, line)
    return value


def lines_of(text: str, source: str) -> list[tuple[int, str]]:
    """Lines that are not blank, with their numbers; at most `MOST_OBJECTS`."""
    found = [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    if len(found) > MOST_OBJECTS:
        raise FormatError(f"{len(found):,} lines; up to {MOST_OBJECTS:,} are read", source)
    return found


def narrowest(labels: Iterable[str]) -> TLP:
    """The narrowest of several TLP labels; of none of them TLP:AMBER+STRICT, so that it stays in the house."""
    known = set(labels)
    return next((label for label in reversed(TLP_ORDER) if label in known), "TLP:AMBER+STRICT")


def tlp_label(text: Any) -> str:
    """A TLP label from how others write it (``tlp:amber+strict``, ``TLP:WHITE``, ``green``); empty if it is none."""
    if not isinstance(text, str):
        return ""
    plain = "TLP:" + text.strip().upper().removeprefix("TLP:").replace("_", "+")
    plain = {"TLP:WHITE": "TLP:CLEAR", "TLP:AMBER-STRICT": "TLP:AMBER+STRICT"}.get(plain, plain)
    return plain if plain in TLP_ORDER else ""


def refused(problem: Exception, place: str, source: str) -> InputError:
    """What a library says of a stranger's document, as one of our errors."""
    said = " ".join(str(problem).split())[:300] or type(problem).__name__
    return FormatError(f"{place}: {said}", source)


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "a list"
    return repr(value)[:60]
