"""Indicators in the formats that others read, and theirs as indicators.

One format is one module: `FORMAT` says what it is, `write(case, shared, *, producer) -> bytes` writes, and where the
format can carry indicators back, `read(data, *, source, at) -> Imported` reads. `formats()` finds them.

An imported indicator never acts by itself. Nothing below the command line takes one and stops, slows or marks an
account: it is filed in a case with the document that it came from, and a person looks for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from types import ModuleType

from stillwatch import plugins
from stillwatch.cases.indicators import Shared
from stillwatch.cases.leaving import names_pseudonym, readings
from stillwatch.cases.received import DOCUMENT, THEIRS
from stillwatch.errors import FormatError, InputError, IntegrityError
from stillwatch.records import TLP, Case, Indicator, Share

NOBODY = "not named"
"""Producer of a document whose author was not given."""


@dataclass(frozen=True, slots=True)
class Format:
    """What a module of this room writes, and what gets lost."""

    name: str
    """As typed after ``--format``."""
    title: str
    media_type: str
    suffix: str
    reads: bool
    carries: Mapping[str, str]
    """Field of `Indicator` -> where it stands in the format; a field that is not named is lost."""
    loses: tuple[str, ...] = ()
    """What of a case this format cannot say, one sentence each."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where imported indicators came from."""

    format: str
    producer: str
    """Who says so, in the document's own words; `NOBODY` if it does not say."""
    source: str
    """Name of the file."""
    sha256: str
    """Of the document."""
    size: int
    read_at: str
    """ISO 8601, UTC."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What a document says, and what of it could not be kept."""

    indicators: tuple[Indicator, ...]
    provenance: Provenance
    lost: tuple[str, ...] = ()
    """What the document does not say or we do not keep, one sentence each, with its place."""
    revoked: tuple[Indicator, ...] = ()
    """Indicators that its producer takes back."""
    tlp: TLP = "TLP:AMBER+STRICT"
    """The narrowest label in the document, on whatever part of it."""

    def filed(self) -> tuple[Indicator, ...]:
        """The indicators as a case keeps them: derived from the document, by its digest, and from what it names.

        A stranger may name any id, ours as well, so each is told apart from those of our findings.
        """
        document = f"{DOCUMENT}{self.provenance.sha256}"
        return tuple(
            replace(i, derived_from=(document, *(f"{THEIRS}{d}" for d in i.derived_from)))
            for i in self.indicators
        )


def formats() -> dict[str, ModuleType]:
    """Every format by the name that is typed."""
    found = plugins.find("cases.sharing")
    return {module.FORMAT.name: module for module in found.values()}


def write(case: Case, shared: Shared, format: str, *, producer: str = NOBODY) -> bytes:
    """The indicators of a case as one document.

    Raises
    ------
    InputError
        There is no such format, or nothing may leave.
    IntegrityError
        The document would name an account; nothing is written.
    """
    module = _module(format)
    if not shared.items:
        reasons = "; ".join(shared.left_out) or "it has no supported finding"
        raise InputError(f"case {case.id} has nothing to share: {reasons}")
    data: bytes = module.write(case, shared, producer=producer)
    known = {str(m.get("account")) for f in case.findings for m in f.details.get("members") or ()}
    if any(names_pseudonym(text) or _holds(text, known) for text in readings(data.decode("utf-8"))):
        raise IntegrityError(
            f"{format} document of case {case.id}", "without identifiers of accounts", "one of them"
        )
    return data


def record(case: Case, shared: Shared, format: str, data: bytes, *, producer: str, by: str, at: str) -> Share:
    """What a case notes of a document that `write` made of it."""
    from stillwatch.cases.sharing import _ids

    return Share(
        at=at,
        by=by,
        format=format,
        producer=producer,
        tlp=shared.tlp,
        sha256=sha256(data).hexdigest(),
        version=_ids.version_of(case, shared, producer).isoformat(),
        state=_ids.state_of(case, shared),
        findings=tuple(item.finding.id for item in shared.items),
        options=dict(shared.options),
    )


def read(data: bytes, format: str, *, source: str, at: str) -> Imported:
    """Indicators of somebody else's document.

    Parameters
    ----------
    format
        One of `formats`, or ``auto``.
    source
        Name of the file, for messages and provenance.
    at
        When it is read: ISO 8601, UTC.

    Raises
    ------
    InputError
        The format is not known or cannot be read.
    FormatError
        The document is broken or hostile; the message names the place.
    """
    module = _module(recognise(data, source) if format == "auto" else format)
    if not module.FORMAT.reads:
        raise InputError(f"{module.FORMAT.title} cannot be read back: {' '.join(module.FORMAT.loses)}")
    imported: Imported = module.read(data, source=source, at=at)
    return imported


def recognise(data: bytes, source: str) -> str:
    """Name of the format by what stands at the top of the document; the reader checks the rest.

    Raises
    ------
    FormatError
        It begins as JSON does and is none, or is too large.
    """
    from stillwatch.cases.sharing._bounded import parse_json, text_of

    if not data[:65_536].lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"[")):
        return "csv"
    text = text_of(data, source).strip()
    first = text.partition("\n")[0]
    try:
        found = parse_json(first, source)
    except FormatError:
        found = parse_json(text, source)
    if not isinstance(found, dict):
        return "misp"
    if found.get("type") == "bundle":
        return "stix"
    return "ocsf" if "class_uid" in found else "misp"


def _holds(text: str, names: Iterable[str]) -> bool:
    return any(len(name) > 6 and name in text for name in names)


def _module(format: str) -> ModuleType:
    known = formats()
    if format not in known:
        raise InputError(f"unknown format {format[:40]!r}; known: {', '.join(sorted(known))}")
    return known[format]
