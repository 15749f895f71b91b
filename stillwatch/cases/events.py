"""What an entry of a case's journal says, and the case that its entries make.

Small records stand whole in their entry. Findings, runs, notices and indicators can be large, or stricter than their
case; of them the entry holds the digest, and the record itself is a *document* beside the journal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from stillwatch.cases.chain import Entry, unchecked
from stillwatch.cases.reading import read, read_json, same, values_of
from stillwatch.errors import InputError, IntegrityError
from stillwatch.records import (
    TLP,
    Answer,
    Asked,
    Case,
    CaseStatus,
    Closing,
    Custody,
    Delivery,
    Evidence,
    Finding,
    Indicator,
    Note,
    Notice,
    Revocation,
    Run,
    Seal,
    Share,
    Withdrawal,
    digest,
)

Record = (
    Finding
    | Run
    | Evidence
    | Custody
    | Note
    | Asked
    | Answer
    | Withdrawal
    | Notice
    | Delivery
    | Indicator
    | Revocation
    | Share
)
"""What may be added to a case."""

TLP_ORDER: tuple[TLP, ...] = ("TLP:CLEAR", "TLP:GREEN", "TLP:AMBER", "TLP:AMBER+STRICT", "TLP:RED")
"""From what everybody may see to what only the named may; FIRST, Traffic Light Protocol 2.0."""

MAX_ENTRY = 16 << 20
"""Bytes of one entry."""
MAX_DOCUMENT = 64 << 20
"""Bytes of one document."""

OPENED, CLOSED, SEALED, STAMPED, EXPORTED, SHARED, NOTED = (
    "case.opened", "case.closed", "case.sealed", "seal.stamped", "case.exported", "case.shared", "workspace.noted",
)  # fmt: skip

DOCUMENTS: dict[str, type[Any]] = {"finding": Finding, "run": Run, "notice": Notice, "indicator": Indicator}
"""Kind of document -> its record."""

_KIND: dict[type[Any], str] = {
    Finding: "finding.added",
    Run: "run.added",
    Evidence: "evidence.added",
    Custody: "evidence.custody",
    Note: "note.added",
    Asked: "answer.asked",
    Answer: "answer.received",
    Withdrawal: "finding.withdrawn",
    Notice: "notice.written",
    Delivery: "notice.delivery",
    Indicator: "indicator.added",
    Revocation: "indicator.revoked",
    Share: SHARED,
}
_WHOLE: dict[str, tuple[str, type[Any]]] = {
    "evidence.added": ("evidence", Evidence),
    "evidence.custody": ("custody", Custody),
    "note.added": ("note", Note),
    "answer.asked": ("asked", Asked),
    "answer.received": ("answer", Answer),
    "finding.withdrawn": ("withdrawal", Withdrawal),
    "notice.delivery": ("delivery", Delivery),
    "indicator.revoked": ("revocation", Revocation),
    SHARED: ("share", Share),
    SEALED: ("seal", Seal),
}
"""Kind of entry -> the name under which its body holds the whole record."""
_DIGEST = {
    "finding.added": "finding",
    "run.added": "run",
    "notice.written": "notice",
    "indicator.added": "indicator",
}
DELETION = '"action":"deleted"'
"""What stands in the line of every entry that says that evidence was deleted, and in few others."""
_AS_IT_WAS = (STAMPED, EXPORTED, SHARED)
"""Kinds after which a sealed case is still sealed: they say something about the seal or a copy, not about the case."""
_TOLD = (
    "finding.added",
    "finding.withdrawn",
    "answer.asked",
    "answer.received",
    "evidence.added",
    OPENED,
    CLOSED,
)
"""Kinds that change what of a case may be shared."""


@dataclass(frozen=True, slots=True)
class Planned:
    """An entry that is to be written, and the thing that it brings in."""

    kind: str
    body: dict[str, Any]
    thing: tuple[str, str] | None = None
    """Kind and id of what exists in the case from here on; a second one of the same kind and id is not added."""
    content: str | None = None
    """The document, where the thing is one."""
    sound: bool = False
    """The body is known to survive JSON."""


def plan(record: Record, by: str) -> Planned:
    """The entry that adds one record.

    Raises
    ------
    InputError
        The record is none that a case holds, does not survive JSON, or is too large.
    """
    kind = _KIND.get(type(record))
    if kind is None:
        raise InputError(f"a case holds no {type(record).__name__}")
    text = same(record)
    if kind in _DIGEST:
        name = _DIGEST[kind]
        identity = str(getattr(record, "id", "")) or digest(record)
        body: dict[str, Any] = {name: identity, "by": by}
        if isinstance(record, Finding):
            body["run"] = record.run
        if isinstance(record, (Notice, Indicator)):
            body["tlp"] = record.tlp
        if len(text.encode()) > MAX_DOCUMENT:
            raise InputError(
                f"{name} {identity[:12]}: larger than {MAX_DOCUMENT >> 20} MiB; file the bulk as evidence"
            )
        return Planned(kind, body, (name, identity), text, sound=True)
    name, _ = _WHOLE[kind]
    body = {name: values_of(record), "by": by}
    return Planned(kind, body, thing_of(kind, body), sound=True)


def plan_seal(seal: Seal) -> Planned:
    """The entry that files a seal."""
    return Planned(SEALED, {"seal": values_of(seal)})


def thing_of(kind: str, body: dict[str, Any]) -> tuple[str, str] | None:
    """Kind and id of what an entry brings in; None where it brings nothing that others refer to."""
    if kind in _DIGEST:
        return _DIGEST[kind], str(body[_DIGEST[kind]])
    if kind == "evidence.added":
        return "evidence", str(body["evidence"]["sha256"])
    if kind == "answer.received":
        return "answer", str(body["answer"]["id"])
    if kind == "finding.withdrawn":
        return "withdrawal", str(body["withdrawal"]["finding"])
    if kind == "indicator.revoked":
        return "revocation", str(body["revocation"]["indicator"])
    return None


def status_after(status: CaseStatus, kind: str, body: dict[str, Any]) -> CaseStatus:
    """The status of a case after one more entry."""
    if kind == OPENED:
        return "open"
    if kind == CLOSED:
        return "withdrawn" if body["withdrawn"] else "closed"
    if status in ("closed", "withdrawn") or kind in _AS_IT_WAS:
        return status
    return "sealed" if kind == SEALED else "open"


def deletions(lines: Iterable[bytes], name: str) -> frozenset[str]:
    """Evidence whose bytes the entries of a journal say were deleted.

    Raises
    ------
    IntegrityError
        One of these entries is none; `name` is that of the journal.
    """
    found = set()
    for line in lines:
        if DELETION.encode() in line:
            entry = unchecked(line, f"{name}: an entry about evidence")
            custody = entry.body.get("custody")
            if (
                entry.kind == "evidence.custody"
                and isinstance(custody, Mapping)
                and custody.get("action") == "deleted"
            ):
                found.add(str(custody.get("evidence")))
    return frozenset(found)


def rank(tlp: str) -> int:
    """How strict a TLP label is.

    Raises
    ------
    InputError
        There is no such label.
    """
    if tlp not in TLP_ORDER:
        raise InputError(f"expected one of {', '.join(TLP_ORDER)}, found {tlp!r}")
    return TLP_ORDER.index(tlp)


def checked(entry: Entry, item: str) -> Any:
    """The record that stands whole in an entry, if its kind has one; the shape of every other body is checked.

    Raises
    ------
    FormatError, IntegrityError
        The kind is unknown, or the body is not what this kind has.
    """
    check_author(entry.body, item)
    if entry.kind in _WHOLE:
        name, kind = _WHOLE[entry.kind]
        if odd := sorted(set(entry.body) - {name, "by"}):
            raise IntegrityError(item, f"of a {name} and who wrote it", f"{ascii(odd)[:80]} besides")
        return read(kind, entry.body.get(name), f"{item}: {name}")
    if entry.kind not in _BODY:
        raise InputError(f"{item}: an entry of kind {entry.kind!r}, which this version does not know")
    body = read(_BODY[entry.kind], entry.body, item)
    return body if isinstance(body, Opened) else None


def check_author(body: dict[str, Any], item: str) -> None:
    """Raise FormatError where who wrote an entry is no text."""
    read(str, body.get("by", ""), f"{item}: by")


@dataclass(frozen=True, slots=True)
class Opened:
    """What the first entry of a case says."""

    case: str
    title: str
    tlp: TLP
    subjects: tuple[str, ...]
    by: str
    nonce: str
    """Random, so that two cases that begin alike are told apart."""


@dataclass(frozen=True, slots=True)
class _Closed:
    by: str
    reason: str
    withdrawn: bool


@dataclass(frozen=True, slots=True)
class _Stamped:
    signature: str
    timestamp: str
    by: str


@dataclass(frozen=True, slots=True)
class _Exported:
    sha256: str
    tlp: Literal["", "TLP:RED", "TLP:AMBER+STRICT", "TLP:AMBER", "TLP:GREEN", "TLP:CLEAR"]
    left_out: int
    by: str


@dataclass(frozen=True, slots=True)
class _Noted:
    head: str
    entries: int
    by: str


@dataclass(frozen=True, slots=True)
class _AddedFinding:
    finding: str
    run: str
    by: str


@dataclass(frozen=True, slots=True)
class _AddedRun:
    run: str
    by: str


@dataclass(frozen=True, slots=True)
class _WrittenNotice:
    notice: str
    tlp: TLP
    by: str


@dataclass(frozen=True, slots=True)
class _AddedIndicator:
    indicator: str
    tlp: TLP
    by: str


_BODY: dict[str, type[Any]] = {
    OPENED: Opened,
    CLOSED: _Closed,
    STAMPED: _Stamped,
    EXPORTED: _Exported,
    NOTED: _Noted,
    "finding.added": _AddedFinding,
    "run.added": _AddedRun,
    "notice.written": _WrittenNotice,
    "indicator.added": _AddedIndicator,
}
"""Kind of entry -> what its body has, where it has no whole record."""


@dataclass(slots=True)
class _Parts:
    """The lists of a case while it is put together."""

    findings: list[Finding] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
    custody: list[Custody] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    withdrawals: list[Withdrawal] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    indicators: list[Indicator] = field(default_factory=list)
    revocations: list[Revocation] = field(default_factory=list)
    shares: list[Share] = field(default_factory=list)
    seals: list[Seal] = field(default_factory=list)


_LIST = {
    Finding: "findings", Run: "runs", Evidence: "evidence", Custody: "custody", Note: "notes", Asked: "asked",
    Answer: "answers", Withdrawal: "withdrawals", Notice: "notices", Delivery: "deliveries",
    Indicator: "indicators", Revocation: "revocations", Share: "shares", Seal: "seals",
}  # fmt: skip


def fold(
    entries: Iterable[Entry],
    document: Callable[[str, str], str | None],
    identity: str = "",
    imported: Mapping[int, Iterable[Custody]] = MappingProxyType({}),
) -> Case:
    """The case that its entries make.

    Parameters
    ----------
    entries
        From the first on.
    document
        ``document(kind, id)``: canonical JSON, or None where it was left out of an export; the case is then without it.
    identity
        Id of the case here, where it is not the one under which it was opened.
    imported
        Number of an entry -> what became of evidence when a file with entries up to it was taken in.

    Raises
    ------
    IntegrityError, FormatError
        A record is not what its entry says.
    """
    parts, opened, status, head, opened_at = _Parts(), None, "open", "", ""
    closing: Closing | None = None
    first = changed_at = ""
    for entry in entries:
        item = f"entry {entry.seq} ({entry.kind})"
        record = checked(entry, item)
        if entry.kind in _DIGEST:
            name, thing = _DIGEST[entry.kind], entry.body[_DIGEST[entry.kind]]
            text = document(name, thing)
            record = None if text is None else document_of(entry, text, item)
        if isinstance(record, Opened):
            opened, opened_at, record = record, entry.time, None
        elif entry.kind == CLOSED:
            closing = Closing(entry.time, **entry.body)
        elif entry.kind == STAMPED:
            parts.seals = [
                replace(s, timestamp=entry.body["timestamp"]) if s.signature == entry.body["signature"] else s
                for s in parts.seals
            ]
        if record is not None:
            getattr(parts, _LIST[type(record)]).append(record)
        if isinstance(record, Evidence):
            parts.custody.append(
                Custody(record.sha256, record.collected_at, record.collected_by, "collected")
            )
            parts.custody.append(Custody(record.sha256, entry.time, str(entry.body.get("by", "")), "added"))
        parts.custody += imported.get(entry.seq, ())
        status = status_after(status, entry.kind, entry.body)  # type: ignore[arg-type]
        head = entry.digest
        first = first or head
        changed_at = entry.time if entry.kind in _TOLD else changed_at
    if opened is None:
        raise IntegrityError("the journal", f"beginning with {OPENED}", "another beginning")
    lists = {name: tuple(getattr(parts, name)) for name in _LIST.values()}
    return Case(
        id=identity or opened.case,
        title=opened.title,
        status=status,  # type: ignore[arg-type]
        opened_at=opened_at,
        tlp=opened.tlp,
        subjects=opened.subjects,
        head=head,
        closing=closing,
        opened=first,
        changed_at=changed_at,
        **lists,
    )


def document_of(entry: Entry, text: str, item: str) -> Any:
    """The document that an entry brought in, which must be what the entry says of it: its id, and its label or run.

    Raises
    ------
    IntegrityError, FormatError
        It is not.
    """
    kind = _DIGEST[entry.kind]
    identity = str(entry.body[kind])
    record = read_document(kind, identity, text, item)
    for name in {"finding": ("run",), "run": ()}.get(kind, ("tlp",)):
        if getattr(record, name) != entry.body[name]:
            raise IntegrityError(
                f"{item}: {name} of the {kind}", str(getattr(record, name)), ascii(entry.body[name])[:80]
            )
    return record


def read_document(kind: str, identity: str, text: str, item: str) -> Any:
    """One document, which must be what its id says.

    Raises
    ------
    IntegrityError, FormatError
        It is not.
    """
    place = f"{item}: {kind} {identity}"
    record = read_json(DOCUMENTS[kind], text, place)
    found = str(getattr(record, "id", "")) or digest(record)
    if found != identity:
        raise IntegrityError(place, identity, found)
    return record
