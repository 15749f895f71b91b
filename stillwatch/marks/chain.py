"""A chain of entries in a file: one line of canonical JSON each, chained by SHA-256, each under the master's seal.

The digest chains an entry to the one before, so that a change, a removal, an insertion or a move is found by anybody
and named. The seal (HMAC-SHA256 under a key of the master) says that whoever wrote the entry held the master, so that
nobody else can write the chain anew. The head, a small file beside it under the same seal, says how long the chain
was, so that a clean cut at its end is noticed. What remains: somebody who puts back *both* files as they once were;
against that note the head elsewhere and hand it to `verify`.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from stillwatch.errors import InputError, IntegrityError
from stillwatch.marks.keys import Master
from stillwatch.marks.secret_file import write_secret

START = "0" * 64
FIELDS = {"body", "digest", "kind", "master", "previous", "seal", "seq", "time"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a chain."""

    seq: int
    """Counts from 1."""
    time: str
    """When it was written: ISO 8601, UTC."""
    kind: str
    body: dict[str, Any]
    master: str
    """Fingerprint of the master whose seal it carries."""
    previous: str
    digest: str
    """sha256 of the canonical JSON of everything but `digest` and `seal`."""
    seal: str


class Chain:
    """The chain in one file. Several processes may append and read at the same time; needs a POSIX system."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.head_path = path.with_suffix(".head")

    def append(self, master: Master, entries: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Entry]:
        """Write entries, all or none, and return them once they are on the disk.

        Raises
        ------
        InputError
            The disk refuses the write.
        IntegrityError
            The chain is broken: nothing is added to it.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._locked(write=True) as file:
                return self._write(file, master, entries)
        except OSError as problem:
            raise InputError(f"{self.path}: not written: {problem.strerror}") from problem

    def entries(self) -> Iterator[Entry]:
        """Every entry from the first on, each held against its digest and the one before.

        Raises
        ------
        IntegrityError
            At the first that does not match.
        """
        if self.path.exists():
            with self._locked(write=False) as file:
                lines = file.read().splitlines(keepends=True)
            yield from self._checked(lines)
        elif self.head_path.exists():
            raise IntegrityError(f"{self.path}", "of the entries that its head knows", "no file")

    def verify(self, masters: Sequence[Master] = (), *, head: str = "") -> int:
        """Check the whole chain; the number of entries whose seal was checked.

        Parameters
        ----------
        masters
            Masters whose seals can be checked; entries of others are held against their digests only.
        head
            Digest of an entry that was noted elsewhere; it must still be there.

        Raises
        ------
        IntegrityError
            Names the first broken entry, a cut at the end, or the head that is missing.
        """
        keys = {m.fingerprint: _seal_key(m) for m in masters}
        sealed, seen, last = 0, not head, None
        for last in self.entries():
            seen = seen or last.digest == head
            sealed += self._check_seal(last, keys)
        if not seen:
            raise IntegrityError(
                f"{self.path}: the entry noted elsewhere", head, "none of the entries has it"
            )
        self._check_head(last, keys)
        return sealed

    # -- reading ------------------------------------------------------------------------------------------------

    def _checked(self, lines: list[bytes]) -> Iterator[Entry]:
        previous = START
        for seq, line in enumerate(lines, 1):
            item = f"{self.path}: entry {seq}"
            if not line.endswith(b"\n"):
                return  # a write was cut off: `append` removes it, and the head knows whether it counted
            entry = _parse(line[:-1], item)
            if entry.seq != seq or entry.previous != previous:
                raise IntegrityError(item, f"{previous} of the entry before it", entry.previous)
            previous = entry.digest
            yield entry

    def _check_seal(self, entry: Entry, keys: Mapping[str, bytes]) -> bool:
        key = keys.get(entry.master)
        if key is not None and not hmac.compare_digest(_seal(key, entry.digest), entry.seal):
            raise IntegrityError(f"{self.path}: entry {entry.seq}", "under the master's seal", "another")
        return key is not None

    def _head(self) -> dict[str, Any] | None:
        try:
            values: dict[str, Any] = json.loads(self.head_path.read_bytes())
            if set(values) != {"seq", "digest", "master", "seal"}:
                raise ValueError
        except FileNotFoundError:
            return None
        except ValueError:
            raise IntegrityError(f"{self.head_path}", "of a head", "something else") from None
        return values

    def _check_head(self, last: Entry | None, keys: Mapping[str, bytes]) -> None:
        head = self._head()
        if head is None:
            if last is not None:
                raise IntegrityError(f"{self.head_path}", "of the last entry", "no file")
            return
        key = keys.get(head["master"])
        if key is not None and not hmac.compare_digest(_seal(key, _head_text(head)), head["seal"]):
            raise IntegrityError(f"{self.head_path}", "under the master's seal", "another")
        found = last.seq if last else 0
        if found < head["seq"]:
            raise IntegrityError(
                f"{self.path}: entry {found + 1}",
                f"of one of {head['seq']} entries that were written",
                f"the end after {found}; it was cut",
            )

    # -- writing ------------------------------------------------------------------------------------------------

    def _write(
        self, file: BinaryIO, master: Master, entries: Sequence[tuple[str, Mapping[str, Any]]]
    ) -> list[Entry]:
        data = file.read()
        whole = data.rfind(b"\n") + 1
        there = list(self._checked(data[:whole].splitlines(keepends=True)))
        last = there[-1] if there else None
        key, made = _seal_key(master), []
        for entry in there:
            self._check_seal(entry, {master.fingerprint: key})
        self._check_head(last, {master.fingerprint: key})
        for kind, body in entries:
            values: dict[str, Any] = {
                "seq": last.seq + 1 if last else 1,
                "time": datetime.now(UTC).isoformat(timespec="microseconds"),
                "kind": kind,
                "body": json.loads(_canonical(dict(body))),
                "master": master.fingerprint,
                "previous": last.digest if last else START,
            }
            digest = hashlib.sha256(_canonical(values)).hexdigest()
            last = Entry(**values, digest=digest, seal=_seal(key, digest))
            made.append(last)
        lines = b"".join(_line(entry) for entry in made)
        try:
            os.ftruncate(file.fileno(), whole)
            done = 0
            while done < len(lines):
                done += os.pwrite(file.fileno(), lines[done:], whole + done)
            os.fsync(file.fileno())
        except OSError:
            os.ftruncate(file.fileno(), whole)
            raise
        head = {"seq": last.seq if last else 0, "digest": last.digest if last else START}
        head["master"] = master.fingerprint
        write_secret(self.head_path, _canonical(head | {"seal": _seal(key, _head_text(head))}))
        return made

    @contextmanager
    def _locked(self, *, write: bool) -> Iterator[BinaryIO]:
        flags = os.O_RDWR | os.O_CREAT if write else os.O_RDONLY
        with os.fdopen(os.open(self.path, flags | os.O_CLOEXEC, 0o600), "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX if write else fcntl.LOCK_SH)
            yield file


def _canonical(values: Any) -> bytes:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _line(entry: Entry) -> bytes:
    return _canonical({name: getattr(entry, name) for name in FIELDS}) + b"\n"


def _parse(line: bytes, item: str) -> Entry:
    try:
        values = json.loads(line)
        if set(values) != FIELDS or not isinstance(values["body"], dict):
            raise ValueError("other fields")
        entry = Entry(**values)
    except (ValueError, TypeError, RecursionError):
        raise IntegrityError(item, "of an entry in JSON", "something else") from None
    unsigned = {name: values[name] for name in FIELDS - {"digest", "seal"}}
    found = hashlib.sha256(_canonical(unsigned)).hexdigest()
    # One entry has one spelling: a key given twice or other spaces would hide text from a reader.
    if entry.digest != found or _line(entry) != line + b"\n":
        raise IntegrityError(item, str(entry.digest), found)
    return entry


def _seal_key(master: Master) -> bytes:
    return master.secret("register")


def _seal(key: bytes, text: str) -> str:
    return hmac.digest(key, text.encode(), "sha256").hex()


def _head_text(head: Mapping[str, Any]) -> str:
    return f"head {head['seq']} {head['digest']}"
