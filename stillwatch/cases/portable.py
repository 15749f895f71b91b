"""One case as one file that anybody can check: a ZIP with manifest, journal, findings, evidence and seals.

=====================  ========================================================================================
member                 holds
=====================  ========================================================================================
``journal.jsonl``      every entry of the case's journal, a line each; the chain is that of `stillwatch.cases.chain`
``findings/<id>.json`` a finding, canonical JSON; its id is the sha256 of it without the id
``runs/<id>.json``     what made a finding; likewise ``notices/<id>.json`` and ``indicators/<id>.json``
``evidence/<sha256>``  the bytes of an item
``seals.json``         the seals, as the journal has them, each with its time stamp
``manifest.json``      every member above with role, size and sha256; what was left out and why; the signer's key
``manifest.sig``       the Ed25519 signature over the manifest, hexadecimal
=====================  ========================================================================================

They stand in this order, records and evidence in that of the entries that name them; so the same state gives the same
bytes. `stillwatch.cases.archive` says how they are laid out.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import IO, cast

from stillwatch.cases import chain, events, sealing
from stillwatch.cases.archive import Packer, Unpacker
from stillwatch.cases.chain import canonical
from stillwatch.cases.evidence import created, sync
from stillwatch.cases.manifest import (
    DELETED,
    ELSEWHERE,
    FORMAT,
    VERSION,
    LeftOut,
    Manifest,
    Member,
    expired,
    stricter,
)
from stillwatch.cases.sealing import Signer
from stillwatch.cases.verify import Source, Verified, check, sealed_by
from stillwatch.errors import FormatError, InputError, IntegrityError
from stillwatch.records import TLP, Evidence, Seal

MAX_JOURNAL = 4 << 30
"""Bytes of a journal."""
MAX_MANIFEST = 512 << 20
"""Bytes of a manifest: its members, at most `stillwatch.cases.archive.MAX_MEMBERS`."""

FOLDERS = {"finding": "findings", "run": "runs", "notice": "notices", "indicator": "indicators"}
"""Kind of document -> its folder."""
_NAME = re.compile(
    r"manifest\.json|manifest\.sig|journal\.jsonl|seals\.json"
    r"|(?:findings|runs|notices|indicators)/[0-9a-f]{64}\.json|evidence/[0-9a-f]{64}"
)


@dataclass(frozen=True, slots=True)
class Exported:
    """A portable file that was written."""

    path: Path
    sha256: str
    size: int
    members: int
    tlp: TLP
    """Nothing stricter is in it."""
    left_out: tuple[LeftOut, ...]


@contextmanager
def written(
    source: Source,
    path: Path,
    *,
    signer: Signer,
    tlp: str = "",
    terms: Mapping[str, tuple[TLP, str]] = MappingProxyType({}),
    today: date | None = None,
    replace_it: bool = False,
) -> Iterator[Exported]:
    """Write a case as one file, whole or not at all. It is there once the block ends, and never if the block fails.

    Parameters
    ----------
    tlp
        Nothing stricter goes out; the label of the case if not given. Stricter evidence, notices and indicators are
        left out: the journal keeps their digests, the manifest says why.
    terms
        sha256 of evidence -> label and retention date that hold as well, because another case has the same bytes.
    today
        Evidence to be kept until an earlier day is left out.
    replace_it
        Whether a file that is there is replaced.

    Raises
    ------
    InputError
        The case itself is stricter than `tlp`; the file is there already, or cannot be written.
    IntegrityError
        The case does not hold.
    """
    day = today or datetime.now(UTC).date()
    if path.exists() and not replace_it:
        raise InputError(f"{path}: is there already; give another name, or --force")
    draft = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    try:
        with created(draft) as out:
            manifest = _pack(source, out, signer, _Plan(tlp, day, terms))
            out.flush()
            os.fsync(out.fileno())
        hashed = hashlib.sha256()
        with draft.open("rb") as file:
            while block := file.read(1 << 20):
                hashed.update(block)
        size = draft.stat().st_size
        tlp = cast(TLP, manifest.tlp)
        yield Exported(path, hashed.hexdigest(), size, len(manifest.members), tlp, manifest.left_out)
        draft.replace(path)
        sync(path.parent)
    except OSError as problem:
        draft.unlink(missing_ok=True)
        raise InputError(f"{path}: was not written: {problem.strerror}") from problem
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def write(
    source: Source, path: Path, *, signer: Signer, tlp: str = "", today: date | None = None
) -> Exported:
    """As `written`, at once."""
    with written(source, path, signer=signer, tlp=tlp, today=today) as exported:
        pass
    return exported


def _pack(source: Source, out: IO[bytes], signer: Signer, plan: _Plan) -> Manifest:
    found, _ = check(source, bytes_too=False)
    plan.tlp = plan.tlp or found.tlp
    if events.rank(plan.tlp) < events.rank(found.tlp):
        raise InputError(
            f"{source.name} is {found.tlp}, and so are its journal, findings and answers: it cannot go out as "
            f"{plan.tlp}; share indicators instead, or export it under its own label"
        )
    packer = Packer(out)
    members: list[Member] = []

    def add(name: str, role: str, blocks: Iterable[bytes], size: int) -> None:
        members.append(Member(name, role, packer.add(name, blocks, size), size))

    size = sum(len(line) + 1 for line in source.lines())
    if size > MAX_JOURNAL:
        raise InputError(
            f"{source.name}: a journal of {size:,} bytes, at most {MAX_JOURNAL:,} fit a portable file"
        )
    add("journal.jsonl", "journal", (line + b"\n" for line in source.lines()), size)
    for number, line in enumerate(source.lines(), 1):
        entry = chain.unchecked(line, f"{source.name}: entry {number}")
        thing = events.thing_of(entry.kind, entry.body)
        if thing is not None and thing[0] in events.DOCUMENTS:
            text = source.document(*thing)
            if plan.takes(source, *thing, tlp=entry.body.get("tlp", ""), here=text is not None) and text:
                data = text.encode()
                add(f"{FOLDERS[thing[0]]}/{thing[1]}.json", thing[0], [data], len(data))
        elif thing is not None and thing[0] == "evidence":
            record: Evidence = events.checked(entry, source.name)
            blocks = source.evidence(record.sha256)
            if (
                plan.takes(source, *thing, tlp=record.tlp, here=blocks is not None, until=record.retain_until)
                and blocks
            ):
                add(f"evidence/{record.sha256}", "evidence", blocks, record.size)
                if members[-1].sha256 != record.sha256:
                    raise IntegrityError(f"evidence {record.sha256}", record.sha256, members[-1].sha256)
    data = _seals(found, source)
    add("seals.json", "seals", [data], len(data))
    manifest = Manifest(
        format=FORMAT,
        version=VERSION,
        case=found.case,
        opened=found.opened,
        seq=found.entries,
        head=found.head,
        tlp=plan.tlp,
        public_key=signer.public_key,
        members=tuple(sorted(members, key=lambda m: m.name)),
        left_out=tuple(sorted(plan.left_out, key=lambda item: (item.kind, item.id))),
    )
    data = manifest.encoded()
    packer.add("manifest.json", [data], len(data))
    data = manifest.signature(signer).encode() + b"\n"
    packer.add("manifest.sig", [data], len(data))
    packer.finish()
    return manifest


class _Plan:
    """What goes out and what stays, with its reason."""

    def __init__(self, tlp: str, day: date, terms: Mapping[str, tuple[TLP, str]]) -> None:
        self.tlp, self._day, self._terms = tlp, day.isoformat(), terms
        self.left_out: list[LeftOut] = []

    def takes(
        self, source: Source, kind: str, identity: str, *, tlp: str, here: bool, until: str = ""
    ) -> bool:
        reason = ""
        if tlp and self._is_stricter(tlp):
            reason = stricter(tlp, self.tlp)
        elif self._is_past(until):
            reason = expired(until)
        elif not here:
            reason = source.left_out(kind, identity) or DELETED
        elif kind == "evidence" and identity in self._terms:
            label, day = self._terms[identity]
            reason = ELSEWHERE if self._is_stricter(label) or self._is_past(day) else ""
        if reason:
            self.left_out.append(LeftOut(kind, identity, reason))
        return not reason

    def _is_stricter(self, tlp: str) -> bool:
        return events.rank(tlp) > events.rank(self.tlp)

    def _is_past(self, until: str) -> bool:
        return bool(until) and until < self._day


class Portable:
    """A portable file, opened and laid out as it must be; `check_file` checks what it says.

    Use it as a `Source`. The file stays open, so that what is read later is what was checked.

    Raises
    ------
    FormatError
        It is none, or hostile: see `stillwatch.cases.archive.Unpacker`.
    IntegrityError
        A byte of it was changed.
    """

    def __init__(self, file: IO[bytes], name: str) -> None:
        self.name = name
        self.archive = Unpacker(file, name)
        for member in self.archive.members:
            if not _NAME.fullmatch(member):
                raise FormatError(f"a member that no portable case has: {member!r}", name)
        for member in ("manifest.json", "manifest.sig", "journal.jsonl", "seals.json"):
            if member not in self.archive.members:
                raise FormatError(f"no {member}: it is no portable case, or was taken apart", name)
        data = self.archive.read("manifest.json", MAX_MANIFEST)
        signature = self.archive.read("manifest.sig", 129).decode("ascii", "replace")
        if not signature.endswith("\n"):
            raise IntegrityError(f"{name}: manifest.sig", "of a line", "something else")
        self.signature = signature[:-1]
        self.manifest_bytes = data
        self.manifest = Manifest.of(data, self.signature, f"{name}: manifest.json")
        self._reasons = self.manifest.reasons()
        self._check_members()

    def _check_members(self) -> None:
        """Exactly the members that the manifest lists, in the order in which they are written, with their sizes."""
        name = self.name
        self._listed = listed = {m.name: m for m in self.manifest.members}
        held = [m for m in self.archive.members if m not in ("manifest.json", "manifest.sig")]
        if [m.name for m in self.manifest.members] != sorted(listed) or sorted(held) != sorted(listed):
            odd = sorted(set(held) ^ set(listed)) or ["the order of its list"]
            raise IntegrityError(f"{name}: the members", "that the manifest lists", f"others: {odd[0]}")
        if list(self.archive.members)[-2:] != ["manifest.json", "manifest.sig"]:
            raise IntegrityError(f"{name}: the manifest", "as the last two members", "elsewhere")
        for member in held:
            if self.archive.members[member].size != listed[member].size:
                raise IntegrityError(
                    f"{name}: {member}",
                    f"of {listed[member].size} bytes",
                    f"{self.archive.members[member].size} bytes",
                )
            folder, _, rest = member.partition("/")
            role = {"journal.jsonl": "journal", "seals.json": "seals", "evidence": "evidence"}.get(folder)
            role = role or next(kind for kind, place in FOLDERS.items() if place == folder)
            if listed[member].role != role:
                raise IntegrityError(f"{name}: {member}", f"of the role {role}", listed[member].role)
            if role == "evidence" and rest != listed[member].sha256:
                raise IntegrityError(f"{name}: {member}", rest, listed[member].sha256)
            if role in FOLDERS and listed[member].size > events.MAX_DOCUMENT:
                raise FormatError(f"{member} has {listed[member].size:,} bytes, too many for a record", name)
        if listed["journal.jsonl"].size > MAX_JOURNAL:
            raise FormatError("a journal that is too large", name)

    # -- a source -----------------------------------------------------------------------------------------------

    def lines(self) -> Iterator[bytes]:
        """The lines of the journal, without their ends; the last one is followed by the check of the whole member."""
        hashed, rest = hashlib.sha256(), b""
        for block in self.archive.blocks("journal.jsonl"):
            hashed.update(block)
            rest += block
            *whole, rest = rest.split(b"\n")
            yield from whole
            if len(rest) > events.MAX_ENTRY:
                raise FormatError(
                    f"an entry of more than {events.MAX_ENTRY >> 20} MiB in its journal", self.name
                )
        if rest:
            raise IntegrityError(
                f"{self.name}: journal.jsonl", "of whole lines", "a last one without its end"
            )
        self.same("journal.jsonl", hashed.hexdigest())

    def document(self, kind: str, identity: str) -> str | None:
        """Canonical JSON of a document; None where there is none."""
        name = f"{FOLDERS[kind]}/{identity}.json"
        if name not in self.archive.members:
            return None
        data = self.archive.read(name, events.MAX_DOCUMENT)
        self.same(name, hashlib.sha256(data).hexdigest())
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise FormatError(f"{name} is not UTF-8", self.name) from None

    def evidence(self, sha256: str) -> Iterator[bytes] | None:
        """The bytes of an item; None where they are not here."""
        name = f"evidence/{sha256}"
        return self.archive.blocks(name) if name in self.archive.members else None

    def has_row(self, kind: str, identity: str, seq: int) -> bool:
        """A file keeps no index of its own."""
        return True

    def left_out(self, kind: str, identity: str) -> str | None:
        """Why a document or an item is not here: the exporter signed it."""
        return self._reasons.get((kind, identity))

    def deleted(self) -> frozenset[str]:
        """Evidence whose bytes were deleted, as the journal says."""
        return events.deletions(self.lines(), self.name)

    def same(self, name: str, found: str) -> None:
        """A member has the sha256 that the manifest lists.

        Raises
        ------
        IntegrityError
            It has another.
        """
        if found != self._listed[name].sha256:
            raise IntegrityError(f"{self.name}: {name}", self._listed[name].sha256, found)


def check_file(
    source: Portable, *, public_key: str = "", heads: Sequence[str] = (), later_too: bool = False
) -> Verified:
    """Check everything in a portable file.

    Parameters
    ----------
    public_key
        A key that must vouch for all of it: it signed the file, or sealed every entry. Without, the signature shows
        only that the file is as whoever signed it made it.
    heads
        Digests that were noted elsewhere; each must be in the chain. This is what finds an older export.
    later_too
        Take what the seals of that key do not cover on the word of whoever signed the file.

    Raises
    ------
    IntegrityError
        Names the first thing that is broken.
    FormatError
        It holds something that this version does not know.
    """
    known = sealing.public_key_of(public_key) if public_key else ""
    manifest = source.manifest
    found, _ = check(source, heads=tuple(heads))
    expected = {"case": found.case, "opened": found.opened, "seq": found.entries, "head": found.head}
    for name, value in expected.items():
        if getattr(manifest, name) != value:
            raise IntegrityError(
                f"{source.name}: {name} in the manifest", str(value), str(getattr(manifest, name))
            )
    if events.rank(manifest.tlp) < events.rank(found.tlp):
        raise IntegrityError(f"{source.name}: its label", f"at least {found.tlp}", manifest.tlp)
    _check_members(source)
    seals = source.archive.read("seals.json", MAX_MANIFEST)
    if seals != _seals(found, source):
        raise IntegrityError(f"{source.name}: seals.json", "the seals of the journal", "others")
    source.same("seals.json", hashlib.sha256(seals).hexdigest())
    notes, signer = list(found.notes), manifest.public_key
    if known and signer != known:
        notes.append(sealed_by(found, signer, known, later_too=later_too))
    elif not known:
        notes.append("no key was given with --public-key, so anybody could have signed this file")
    return replace(found, vouched=signer, pinned=signer == known, notes=tuple(notes))


@contextmanager
def opened(path: Path) -> Iterator[Portable]:
    """A portable file.

    Raises
    ------
    InputError
        It cannot be read.
    """
    try:
        file = path.open("rb")
    except OSError as problem:
        raise InputError(f"{path}: cannot be read: {problem.strerror}") from problem
    with file:
        yield Portable(file, str(path))


def _check_members(source: Portable) -> None:
    """Nothing travels along that the journal does not name or whose label is stricter than the file's, in any order."""
    held, limit = source.archive.members, events.rank(source.manifest.tlp)
    left_out = source.manifest.reasons()
    expected: list[str] = []
    for number, line in enumerate(source.lines(), 1):
        item = f"{source.name}: entry {number}"
        entry = chain.unchecked(line, item)
        thing = events.thing_of(entry.kind, entry.body)
        if thing is None or (thing[0] not in FOLDERS and thing[0] != "evidence"):
            continue
        name = _member_name(*thing)
        is_left_out = left_out.pop(thing, None) is not None
        if name not in held:
            continue
        if is_left_out:
            raise IntegrityError(f"{source.name}: {name}", "left out, as the manifest says", "a member")
        tlp = entry.body["evidence"]["tlp"] if thing[0] == "evidence" else entry.body.get("tlp", "")
        if tlp and events.rank(tlp) > limit:
            raise IntegrityError(
                f"{source.name}: {name}", f"of no label stricter than {source.manifest.tlp}", tlp
            )
        expected.append(name)
    if left_out:
        kind, identity = min(left_out)
        raise IntegrityError(f"{source.name}: {kind} {identity}", "of an entry in the journal", "no entry")
    expected = ["journal.jsonl", *expected, "seals.json", "manifest.json", "manifest.sig"]
    if odd := sorted(set(held) - set(expected)):
        raise IntegrityError(f"{source.name}: {odd[0]}", "of an entry in the journal", "no entry")
    if list(held) != expected:
        moved = next(name for name, right in zip(held, expected, strict=True) if name != right)
        raise IntegrityError(
            f"{source.name}: its members", "in the order of the journal", f"{moved} elsewhere"
        )


def _member_name(kind: str, identity: str) -> str:
    return f"{FOLDERS[kind]}/{identity}.json" if kind in FOLDERS else f"{kind}/{identity}"


def _seals(found: Verified, source: Source) -> bytes:
    """The seals of a case with their time stamps, as canonical JSON."""
    stamps: dict[str, str] = {}
    for number, line in enumerate(source.lines(), 1):
        if f'"kind":"{events.STAMPED}"'.encode() in line:
            entry = chain.unchecked(line, f"{source.name}: entry {number}")
            if entry.kind == events.STAMPED:
                stamps[entry.body["signature"]] = entry.body["timestamp"]
    stamped: list[Seal] = [replace(s, timestamp=stamps.get(s.signature, "")) for s in found.seals]
    return canonical([asdict(s) for s in stamped]) + b"\n"
