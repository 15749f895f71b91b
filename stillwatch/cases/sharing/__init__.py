"""Indicators in the formats that others read, and theirs as indicators.

One format is one module: `FORMAT` says what it is, `write(case, shared, *, producer) -> bytes` writes, and where the
format can carry indicators back, `read(data, *, source, at) -> Imported` reads. `formats()` finds them.

An imported indicator never acts by itself. Nothing below the command line takes one and stops, slows or marks an
account: it is filed in a case with the document that it came from, and a person looks for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import ModuleType

from stillwatch import plugins
from stillwatch.cases.indicators import DOCUMENT, THEIRS, Shared, names_pseudonym
from stillwatch.errors import InputError, IntegrityError
from stillwatch.records import TLP, Case, Indicator

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
    text = data.decode("utf-8")
    known = {str(m.get("account")) for f in case.findings for m in f.details.get("members") or ()}
    named = names_pseudonym(text) or next((m for m in known if len(m) > 6 and m in text), "")
    if named:
        raise IntegrityError(
            f"{format} document of case {case.id}", "without identifiers of accounts", "one of them"
        )
    return data


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
    module = _module(recognise(data) if format == "auto" else format)
    if not module.FORMAT.reads:
        raise InputError(f"{module.FORMAT.title} cannot be read back: {' '.join(module.FORMAT.loses)}")
    imported: Imported = module.read(data, source=source, at=at)
    return imported


def recognise(data: bytes) -> str:
    """Name of the format by its first bytes; the reader checks the rest."""
    head = data[:65_536].lstrip(b"\xef\xbb\xbf \t\r\n")
    if not head.startswith(b"{"):
        return "csv"
    if re.search(rb'"type"\s*:\s*"bundle"|"spec_version"', head):
        return "stix"
    return "ocsf" if re.search(rb'"class_uid"\s*:', head) else "misp"


def _module(format: str) -> ModuleType:
    known = formats()
    if format not in known:
        raise InputError(f"unknown format {format[:40]!r}; known: {', '.join(sorted(known))}")
    return known[format]
