"""Does a case hold? Every entry, record and byte against the chain, the seals and the signature over its head.

One function for a store and for a portable file: both are a `Source`. It stops at the first thing that is broken, in
the order of the journal, and names it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from stillwatch.cases import chain, events, rules
from stillwatch.cases.chain import START, Entry
from stillwatch.cases.manifest import DELETED, Imported, is_borne_out
from stillwatch.cases.sealing import check_seal, check_timestamp, timestamp_bytes
from stillwatch.errors import FormatError, InputError, IntegrityError, MissingExtra
from stillwatch.records import (
    TLP,
    Answer,
    Asked,
    CaseStatus,
    Custody,
    Delivery,
    Evidence,
    Finding,
    Notice,
    Revocation,
    Seal,
    Share,
    Withdrawal,
)


class Source(Protocol):
    """Where a case lies."""

    name: str
    """How errors call it: ``case C-1`` or the path of a file."""

    def lines(self) -> Iterator[bytes]:
        """The lines of its journal, without their ends, from the first on."""

    def document(self, kind: str, identity: str) -> str | None:
        """Canonical JSON of a document; None where there is none."""

    def evidence(self, sha256: str) -> Iterator[bytes] | None:
        """The bytes of an item, in blocks; None where this case has none here."""

    def has_row(self, kind: str, identity: str, seq: int) -> bool:
        """Whatever index the source keeps says that this entry brought this thing in; True where it keeps none."""

    def left_out(self, kind: str, identity: str) -> str | None:
        """Why a document or an item is not here, as a signed manifest says; None where none does."""

    def deleted(self) -> frozenset[str]:
        """Evidence whose bytes were deleted, as the journal says."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found whole."""

    name: str
    case: str
    """The id under which it was opened."""
    opened: str
    """Digest of its first entry: which case it is, whatever its id."""
    opened_at: str
    title: str
    tlp: TLP
    status: CaseStatus
    entries: int
    head: str
    findings: int
    evidence: int
    evidence_bytes: int
    seals: tuple[Seal, ...]
    left_out: tuple[tuple[str, str, str], ...]
    """Kind, id and reason of what is rightly not here."""
    noted: tuple[tuple[int, str], ...] = ()
    """Heads of the workspace's journal that the case notes, and the entry that does."""
    vouched: str = ""
    """Public key of the signature over the whole state; empty: there is none."""
    pinned: bool = False
    """That key is one that the caller knew beforehand, so it vouches for everything."""
    imports: tuple[Imported, ...] = ()
    """What was taken in from portable files, and who signed each."""
    notes: tuple[str, ...] = ()
    """What a reader should know and that is not broken."""

    @property
    def sealed(self) -> int:
        """Entries that the newest seal covers."""
        return max((s.seq for s in self.seals), default=0)


@dataclass(slots=True)
class _Seen:
    """What the entries so far said; the rules ask of it what they ask of the end of a chain."""

    source: Source
    case: str = ""
    opened: events.Opened | None = None
    status: CaseStatus = "open"
    things: set[tuple[str, str]] = field(default_factory=set)
    findings: int = 0
    evidence: int = 0
    evidence_bytes: int = 0
    seals: list[Seal] = field(default_factory=list)
    left_out: list[tuple[str, str, str]] = field(default_factory=list)
    noted: list[tuple[int, str]] = field(default_factory=list)
    late: set[str] = field(default_factory=set)
    """Findings of a closed case, which it takes only where they correct another."""
    deleted: frozenset[str] = frozenset()
    notes: list[str] = field(default_factory=list)

    def has(self, kind: str, identity: str) -> bool:
        return (kind, identity) in self.things

    def document(self, kind: str, identity: str) -> str:
        return self.source.document(kind, identity) or ""


def check(source: Source, *, heads: tuple[str, ...] = (), bytes_too: bool = True) -> tuple[Verified, int]:
    """Check everything that a source holds; what was found, and how many things its entries bring in.

    Parameters
    ----------
    heads
        Digests of entries that were noted elsewhere, such as the head of a seal that was printed. Each must be in the
        chain; this is what finds a case that was rolled back or written anew by somebody with the key.
    bytes_too
        Also hash the evidence; without, only that it is there.

    Raises
    ------
    IntegrityError
        Names the first entry, record or item of evidence that is broken.
    FormatError
        A record is not what this version knows.
    """
    seen, previous, seq, first = _Seen(source), START, 0, None
    seen.deleted = source.deleted()
    wanted = set(heads)
    for seq, line in enumerate(source.lines(), 1):
        item = f"{source.name}: entry {seq}"
        entry = chain.parse(line, item)
        item = f"{item} ({entry.kind})"
        chain.check_link(entry, seq, previous, item)
        if (entry.kind == events.OPENED) != (seq == 1):
            raise IntegrityError(item, f"{events.OPENED} first and only there", entry.kind)
        previous = entry.digest
        wanted.discard(entry.digest)
        first = first or entry
        _check_entry(source, entry, item, seen, bytes_too)
    if seen.opened is None or first is None:
        raise IntegrityError(f"{source.name}: the journal", "of at least one entry", "none")
    if seen.late:
        raise IntegrityError(
            f"{source.name}: finding {min(seen.late)}",
            "none in a closed case, but to correct another",
            "no withdrawal that it replaces",
        )
    if wanted:
        raise IntegrityError(
            f"{source.name}: the entry noted elsewhere",
            sorted(wanted)[0],
            f"{seq} entries, none of them with it",
        )
    return (
        Verified(
            name=source.name,
            case=seen.opened.case,
            opened=first.digest,
            opened_at=first.time,
            title=seen.opened.title,
            tlp=seen.opened.tlp,
            status=seen.status,
            entries=seq,
            head=previous,
            findings=seen.findings,
            evidence=seen.evidence,
            evidence_bytes=seen.evidence_bytes,
            seals=tuple(seen.seals),
            left_out=tuple(seen.left_out),
            noted=tuple(seen.noted),
            notes=tuple(seen.notes),
        ),
        len(seen.things),
    )


def _check_entry(source: Source, entry: Entry, item: str, seen: _Seen, bytes_too: bool) -> None:
    record = events.checked(entry, item)
    if isinstance(record, events.Opened):
        seen.opened, seen.case = record, record.case
    before = seen.status
    seen.status = events.status_after(before, entry.kind, entry.body)
    thing = events.thing_of(entry.kind, entry.body)
    _check_references(record, item, seen)
    _check_rules(record, item, seen)
    _check_closed(entry, before, item, seen)
    if not _is_time(entry.time):
        raise IntegrityError(item, "of a time in UTC with microseconds", ascii(entry.time[:40]))
    if thing is not None:
        kind, identity = thing
        if not re.fullmatch("[0-9a-f]{64}", identity):
            raise IntegrityError(f"{item}: {kind}", "an id that is a digest", ascii(identity[:80]))
        if thing in seen.things:
            raise IntegrityError(f"{item}: {kind} {identity}", "added once", "added a second time")
        seen.things.add(thing)
        if not source.has_row(kind, identity, entry.seq):
            raise IntegrityError(
                f"{item}: {kind} {identity}", identity, "nothing: its row is gone or another"
            )
        if kind in events.DOCUMENTS:
            seen.findings += kind == "finding"
            _check_document(source, entry, thing, item, seen)
    if isinstance(record, Evidence):
        _check_evidence(source, record, item, seen, bytes_too)
    elif isinstance(record, Seal):
        _check_seal(record, entry, item, seen)
        seen.seals.append(record)
    elif entry.kind == events.NOTED:
        seen.noted.append((entry.seq, str(entry.body["head"])))
    elif entry.kind == events.STAMPED:
        _check_stamp(entry, item, seen)


def _is_time(text: str) -> bool:
    if not re.fullmatch(r"[0-9-]{10}T[0-9:.]{15}\+00:00", text):
        return False
    try:
        return datetime.fromisoformat(text) is not None
    except ValueError:
        return False


def _check_references(record: object, item: str, seen: _Seen) -> None:
    """What a record refers to came before it."""
    needed: list[tuple[str, str]] = []
    match record:
        case Custody() | Delivery():
            kind = "evidence" if isinstance(record, Custody) else "notice"
            needed = [(kind, record.evidence if isinstance(record, Custody) else record.notice)]
        case Asked():
            needed = [("finding", record.finding)]
        case Answer():
            needed = [("finding", record.finding), *(("evidence", sha256) for sha256 in record.evidence)]
        case Withdrawal():
            needed = [("finding", record.finding), ("finding", record.replaced_by)]
        case Notice():
            needed = [("finding", finding) for finding in record.findings]
            needed += [("notice", notice) for notice in record.corrects]
        case Finding():
            needed = [("run", record.run)]
        case Revocation():
            needed = [("indicator", record.indicator)]
        case Share():
            needed = [("finding", finding) for finding in record.findings]
        case _:
            pass
    for thing in needed:
        if thing[1] and thing not in seen.things:
            raise IntegrityError(
                f"{item}: {thing[0]} {thing[1][:80]!a}", "brought in before", "no such entry"
            )


def _check_rules(record: object, item: str, seen: _Seen) -> None:
    """A record makes as much sense as one that is added here: dates are dates, what needs words has some."""
    if not isinstance(record, events.Record | Seal):
        return
    try:
        rules.check(seen, record)
    except IntegrityError:
        raise
    except InputError as problem:
        raise FormatError(str(problem), item) from problem


def _check_closed(entry: Entry, before: CaseStatus, item: str, seen: _Seen) -> None:
    """What a closed case does not take is not there: it is closed once, and then has no new indicators or findings."""
    if before not in ("closed", "withdrawn"):
        return
    if entry.kind == events.CLOSED and (before == "withdrawn" or not entry.body["withdrawn"]):
        raise IntegrityError(item, f"none, because the case is {before} already", "another closing")
    if entry.kind == "indicator.added":
        raise IntegrityError(item, f"none, because the case is {before}", "an indicator")
    if entry.kind == "finding.added":
        seen.late.add(str(entry.body["finding"]))
    elif entry.kind == "finding.withdrawn":
        seen.late.discard(str(entry.body["withdrawal"]["replaced_by"]))


def _check_document(source: Source, entry: Entry, thing: tuple[str, str], item: str, seen: _Seen) -> None:
    kind, identity = thing
    text = source.document(kind, identity)
    if text is not None:
        record = events.document_of(entry, text, item)
        _check_references(record, item, seen)
        _check_rules(record, item, seen)
        return
    reason = source.left_out(kind, identity)
    if reason is None:
        raise IntegrityError(f"{item}: {kind} {identity}", identity, "nothing: the record is gone")
    _check_reason(reason, kind, identity, str(entry.body.get("tlp", "")), item, seen)
    seen.left_out.append((kind, identity, reason))


def _check_evidence(source: Source, record: Evidence, item: str, seen: _Seen, bytes_too: bool) -> None:
    seen.evidence += 1
    blocks = source.evidence(record.sha256)
    if blocks is None:
        deleted = DELETED if record.sha256 in seen.deleted else None
        reason = source.left_out("evidence", record.sha256) or deleted
        if reason is None:
            raise IntegrityError(
                f"{item}: evidence {record.sha256}", record.sha256, "nothing: the bytes are gone"
            )
        _check_reason(reason, "evidence", record.sha256, record.tlp, item, seen, until=record.retain_until)
        seen.left_out.append(("evidence", record.sha256, reason))
        return
    if record.sha256 in seen.deleted:
        raise IntegrityError(f"{item}: evidence {record.sha256}", f"none: {DELETED}", "its bytes")
    if not bytes_too:
        seen.evidence_bytes += record.size
        return
    hashed, size = hashlib.sha256(), 0
    for block in blocks:
        hashed.update(block)
        size += len(block)
    if hashed.hexdigest() != record.sha256:
        raise IntegrityError(f"{item}: evidence {record.sha256}", record.sha256, hashed.hexdigest())
    if size != record.size:
        raise IntegrityError(f"{item}: evidence {record.sha256}", f"of {record.size} bytes", f"{size} bytes")
    seen.evidence_bytes += size


def _check_reason(
    reason: str, kind: str, identity: str, tlp: str, item: str, seen: _Seen, *, until: str = ""
) -> None:
    """A manifest may say why something is not there, but only what the journal bears out."""
    least = seen.opened.tlp if seen.opened else "TLP:RED"
    deleted = identity in seen.deleted
    if not is_borne_out(reason, kind, tlp=tlp, case_tlp=least, until=until, deleted=deleted):
        raise IntegrityError(
            f"{item}: {kind} {identity}",
            "here, or left out for a reason that the journal bears out",
            ascii(reason[:80]),
        )


def _check_seal(seal: Seal, entry: Entry, item: str, seen: _Seen) -> None:
    check_seal(seal, item)
    if seal.timestamp:
        raise IntegrityError(item, "of a seal as it was signed", "a time stamp in it")
    if seen.opened is None or seal.case != seen.opened.case:
        raise IntegrityError(f"{item}: the seal", "of this case", seal.case)
    if seal.seq != entry.seq - 1 or seal.head != entry.previous:
        raise IntegrityError(
            f"{item}: the seal", f"over entry {entry.seq - 1}", f"over entry {seal.seq}, {seal.head}"
        )


def _check_stamp(entry: Entry, item: str, seen: _Seen) -> None:
    signature = entry.body["signature"]
    if signature not in {s.signature for s in seen.seals}:
        raise IntegrityError(f"{item}: the time stamp", "over a seal of this case", signature)
    token = timestamp_bytes(entry.body["timestamp"], item)
    try:
        moment, _ = check_timestamp(token, signature)
        seen.notes.append(f"a time stamp of {moment} over the seal of entry {_sealed_by(seen, signature)}")
    except MissingExtra as missing:
        seen.notes.append(f"a time stamp was not checked: {missing}")
    except InputError as problem:
        raise IntegrityError(f"{item}: the time stamp", "as RFC 3161 has it", str(problem)) from problem


def _sealed_by(seen: _Seen, signature: str) -> int:
    return next(s.seq for s in seen.seals if s.signature == signature)


def sealed_by(found: Verified, vouched: str, key: str, *, later_too: bool = False) -> str:
    """What to say where a known key did not sign the whole state, but sealed entries of it.

    Parameters
    ----------
    vouched
        Public key of the signature over the whole state, which is another one.
    key
        The known key.
    later_too
        Take what the seals of that key do not cover on the word of `vouched`.

    Raises
    ------
    IntegrityError
        No seal is by the known key; or there is something that its seals do not cover.
    """
    covered = max((s.seq for s in found.seals if s.public_key == key), default=0)
    if not covered:
        others = ", ".join(sorted({vouched, *(s.public_key for s in found.seals)} - {""})) or "nobody"
        raise IntegrityError(f"{found.name}: the signature", f"by the key {key}", f"signatures by {others}")
    later = found.entries - covered - 1  # the seal itself is an entry
    withheld = sum(reason != DELETED for _, _, reason in found.left_out)
    words = [f"{later} later {'entry' if later == 1 else 'entries'}"] * (later > 0)
    words += [f"that {withheld} {'thing was' if withheld == 1 else 'things were'} left out"] * (withheld > 0)
    if words and not later_too:
        raise IntegrityError(
            f"{found.name}: the signature over the whole",
            f"by the key {key}, which sealed entries 1 to {covered}",
            f"only the word of {vouched or 'nobody'} for {' and '.join(words)}; to take it: --allow-later",
        )
    tail = f"; {' and '.join(words)}: only {vouched or 'nobody'} vouches for it" if words else ""
    return f"the given key sealed entries 1 to {covered}{tail}"
