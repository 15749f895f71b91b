"""The manifest of a portable file: every member with its digest, what was left out and why, and a signature over it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from stillwatch.cases.chain import canonical
from stillwatch.cases.events import TLP_ORDER, rank
from stillwatch.cases.reading import loads, read
from stillwatch.cases.sealing import Signer, check_signature
from stillwatch.errors import FormatError, InputError, IntegrityError

FORMAT = "stillwatch-case"
VERSION = 1

DELETED = "deleted, as the journal says"
ELSEWHERE = "the exporter holds it more strictly in another case"
"""Reasons why evidence is not there; the others are `stricter` and `expired`."""


def stricter(tlp: str, limit: str) -> str:
    """Why what has a stricter label than the file is not in it."""
    return f"{tlp} is stricter than {limit}"


def expired(until: str) -> str:
    """Why evidence is not in a file that was made after the day until which it was to be kept."""
    return f"was to be kept until {until}"


def is_borne_out(
    reason: str, kind: str, *, tlp: str, case_tlp: str, until: str = "", deleted: bool = False
) -> bool:
    """Whether the journal says the same: the label or the date in an entry, or that the bytes were deleted.

    A finding or a run has no label of its own, so nothing excuses that it is not there. The limit in a reason may be
    that of an earlier export, from which this one was made; the label of the case is the least that it can be.

    Parameters
    ----------
    tlp, until
        As the entry has them.
    case_tlp
        Label of the case.
    """
    if kind in ("finding", "run"):
        return False
    said = {stricter(tlp, limit) for limit in TLP_ORDER[rank(case_tlp) : rank(tlp)]}
    if kind == "evidence":
        said |= {ELSEWHERE, *([DELETED] if deleted else []), *([expired(until)] if until else [])}
    return reason in said


@dataclass(frozen=True, slots=True)
class Member:
    """One file in the archive."""

    name: str
    role: str
    """``journal``, ``finding``, ``run``, ``notice``, ``indicator``, ``evidence`` or ``seals``."""
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A document or item that the journal names and the archive does not hold."""

    kind: str
    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a portable file holds; not when or by whom it was made, so that the same state gives the same bytes."""

    format: str
    version: int
    case: str
    """The id under which the case was opened."""
    opened: str
    """Digest of its first entry."""
    seq: int
    head: str
    tlp: str
    """Nothing stricter is inside."""
    public_key: str
    """Of the signature over this manifest."""
    members: tuple[Member, ...]
    """All but ``manifest.json`` and ``manifest.sig``, by name."""
    left_out: tuple[LeftOut, ...]

    def encoded(self) -> bytes:
        """Canonical JSON and a line end."""
        return canonical(asdict(self)) + b"\n"

    def signature(self, signer: Signer) -> str:
        """The signature over `encoded`, hexadecimal."""
        return signer.sign(_signed(self.encoded(), self.public_key))

    def reasons(self) -> dict[tuple[str, str], str]:
        """Kind and id of what was left out -> why."""
        return {(item.kind, item.id): item.reason for item in self.left_out}

    def holds(self) -> Iterator[tuple[str, str]]:
        """Kind and id of every document and item of evidence that is inside."""
        for member in self.members:
            name = member.name.partition("/")[2]
            if name:
                yield member.role, name.removesuffix(".json")

    @classmethod
    def of(cls, data: bytes, signature: str, place: str) -> Manifest:
        """The manifest of these bytes, whose signature must be by the key that it names.

        Raises
        ------
        FormatError
            It is no manifest, or one of a newer format.
        IntegrityError
            The signature is not over these bytes.
        """
        values = loads(data, place)
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise FormatError(f"no manifest of the format {FORMAT}", place)
        if values.get("version") != VERSION:
            raise InputError(
                f"{place}: format version {str(values.get('version'))[:20]}, this program reads {VERSION}; "
                "a newer version of stillwatch may have written it"
            )
        manifest = read(cls, values, place)
        if manifest.encoded() != data:
            raise IntegrityError(place, "in canonical form", "another spelling of the same values")
        check_signature(manifest.public_key, signature, _signed(data, manifest.public_key), place)
        return manifest


@dataclass(frozen=True, slots=True)
class Imported:
    """What a store notes of a portable file that it took in."""

    number: int
    """Of this case, from 1."""
    at: str
    by: str
    first: int
    last: int
    """The entries that it brought; `first` is `last` + 1 where it brought none, but what was left out before."""
    public_key: str
    """Who signed it."""
    named: bool
    """Whoever took it in knew this key beforehand: it was given, or is the store's own."""
    manifest: str
    """sha256 of its manifest."""


def _signed(data: bytes, public_key: str) -> dict[str, str]:
    return {"what": "manifest", "sha256": hashlib.sha256(data).hexdigest(), "public_key": public_key}
