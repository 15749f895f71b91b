"""An append-only, hash-chained journal: who did what to a workspace or case, in an order that cannot be edited.

One entry is one line of canonical JSON (ASCII, sorted keys), so `grep` reads it and no text direction mark in a
body can redraw a terminal. `digest` is the sha256 of the line without the digest itself, `previous` the digest of
the line before; the construction is that of a linked timestamp [1]_.

What the chain shows: an entry that was changed, removed from the middle, added in between or moved is found, and
the first broken one is named. What it cannot show alone: that the *last* entries were cut off cleanly, or that
somebody rewrote everything from one entry on. For that, note `Journal.head` somewhere else and hand it to
`Journal.verify` later.

.. [1] Haber and Stornetta, "How to time-stamp a digital document", Journal of Cryptology 3 (1991), section 5.1.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from stillwatch.errors import InputError, IntegrityError

START = "0" * 64
"""`previous` of the first entry."""

TORN = "journal.torn"
"""Kind of the entry that records a tail which was cut off in the middle of a write and moved aside."""

_log = logging.getLogger(__name__)
_FIELDS = {"seq", "time", "kind", "body", "previous", "digest"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a journal."""

    seq: int
    """Counts from 1."""
    time: str
    """When it was written: ISO 8601, UTC, microseconds."""
    kind: str
    """What happened, as ``noun.verb``: ``vault.revealed``, ``scan.finished``."""
    body: dict[str, Any]
    """JSON values."""
    previous: str
    """Digest of the entry before; `START` for the first."""
    digest: str
    """sha256 of the canonical JSON of the other five fields."""


class Journal:
    """The journal in one file. Several processes and threads may append and read at the same time.

    Parameters
    ----------
    path
        The file; created with mode 0600 by the first `append`. Its folder must exist.

    Notes
    -----
    An entry is on the disk (fsync) before `append` returns. A process that is killed in the middle of a write
    leaves a torn tail: bytes without a line end. `verify` and `entries` report it; the next `append` moves it to
    a file beside the journal (``.torn-1``, ``.torn-2``, ...), logs a warning, and records name, size and sha256
    in an entry of kind `TORN`. Nothing is dropped.

    Memory is bounded by the longest entry. Needs a POSIX system (`flock`).
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def append(self, kind: str, body: Mapping[str, Any], *, at: datetime | None = None) -> Entry:
        """Write one entry and return it once it is on the disk.

        Parameters
        ----------
        kind
            What happened, as ``noun.verb``.
        body
            JSON values; never a secret or a real identifier.
        at
            The time of the entry, with a time zone; now if not given.

        Raises
        ------
        InputError
            The body is not JSON (NaN, bytes, ...), the kind is empty, or the disk refuses the write; the journal
            is then as it was.
        IntegrityError
            The last entry does not match its digest: nothing is added to a broken chain.
        """
        if not kind:
            raise InputError("a journal entry needs a kind, such as 'scan.finished'")
        if at is not None and at.tzinfo is None:
            raise InputError(f"the time of a journal entry needs a time zone, found {at.isoformat()}")
        moment = (at or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="microseconds")
        _canonical(self._checked(kind, body))  # refuse before the file is touched
        with self._locked(write=True) as file:
            last = self._mend(file)
            return self._write(file, last, moment, kind, dict(body))

    def entries(self) -> Iterator[Entry]:
        """Every entry from the first on, each checked against its digest and the one before.

        Raises
        ------
        IntegrityError
            At the first entry that does not match.
        """
        if not self.path.exists():
            return
        with self._locked(write=False) as file:
            previous = START
            for seq, line in enumerate(file, 1):
                entry = self._parse(line, seq)
                if entry.previous != previous:
                    raise IntegrityError(
                        f"{self.path}: entry {seq} (line {seq})",
                        f"{previous} of the entry before it",
                        f"{entry.previous}; an entry was removed, added or moved here",
                    )
                if entry.seq != seq:
                    raise IntegrityError(
                        f"{self.path}: entry {seq} (line {seq})", f"with seq {seq}", str(entry.seq)
                    )
                previous = entry.digest
                yield entry

    def verify(self, *, head: str = "") -> int:
        """Check the whole chain; the number of entries.

        Parameters
        ----------
        head
            Digest that was noted elsewhere at an earlier time (see `head`). It must still be in the chain;
            this is what finds entries that were cut off at the end, or a chain that was written anew.

        Raises
        ------
        IntegrityError
            Names the first broken entry, or the missing head.

        Examples
        --------
        >>> import tempfile, pathlib
        >>> journal = Journal(pathlib.Path(tempfile.mkdtemp()) / "journal.jsonl")
        >>> entry = journal.append("vault.revealed", {"accounts": 198})
        >>> journal.verify(head=entry.digest)
        1

        "The journal is whole and still holds the entry that we noted."
        """
        count, seen = 0, not head
        for entry in self.entries():
            count += 1
            seen = seen or entry.digest == head
        if not seen:
            raise IntegrityError(
                f"{self.path}: the entry noted elsewhere", head, f"{count} entries, none of them with it"
            )
        return count

    def head(self) -> str:
        """Digest of the last entry (`START` if there is none); worth noting outside this machine."""
        last = START
        for entry in self.entries():
            last = entry.digest
        return last

    # -- one line -----------------------------------------------------------------------------------------------

    def _checked(self, kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
        values = {"kind": kind, "body": dict(body)}
        try:
            # Keys that are not text would come back as text, so the digest would still match but the body would not.
            if json.loads(_canonical(values)) != _lists(values):
                raise InputError(f"journal entry {kind!r}: the body does not survive JSON; use text keys")
        except (TypeError, ValueError, RecursionError) as problem:
            if isinstance(problem, InputError):
                raise
            raise InputError(f"journal entry {kind!r}: the body is not JSON: {problem}") from problem
        return values

    def _parse(self, line: bytes, seq: int) -> Entry:
        item = f"{self.path}: entry {seq} (line {seq})"
        if not line.endswith(b"\n"):
            raise IntegrityError(
                item,
                "of a whole line",
                f"{len(line)} bytes without a line end: a write was cut off. "
                "The next entry that is written moves them aside and says so",
            )
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as problem:
            raise IntegrityError(item, "of a line of JSON", f"something else ({problem})") from problem
        if not isinstance(values, dict) or set(values) != _FIELDS or not isinstance(values["body"], dict):
            raise IntegrityError(item, f"of a line with the fields {', '.join(sorted(_FIELDS))}", "others")
        found = _digest_of(values)
        if values["digest"] != found:
            raise IntegrityError(item, str(values["digest"]), found)
        # One entry has one spelling: other spaces, key orders or a key given twice would hide text from a reader.
        if _canonical(values) + b"\n" != line:
            raise IntegrityError(item, "of the line in canonical form", "another spelling of the same values")
        return Entry(**values)

    # -- the file -----------------------------------------------------------------------------------------------

    @contextmanager
    def _locked(self, *, write: bool) -> Iterator[BinaryIO]:
        """The open file under a lock of this open file (`flock`), so that threads exclude each other too."""
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND if write else os.O_RDONLY
        created = write and not self.path.exists()
        try:
            descriptor = os.open(self.path, flags | os.O_CLOEXEC, 0o600)
        except OSError as problem:
            raise InputError(f"{self.path}: the journal cannot be opened: {problem.strerror}") from problem
        with os.fdopen(descriptor, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX if write else fcntl.LOCK_SH)
            if created:
                _sync_folder(self.path.parent)
            yield file

    def _mend(self, file: BinaryIO) -> Entry | None:
        """The last entry, after a torn tail (if any) was moved aside and recorded."""
        end = file.seek(0, os.SEEK_END)
        whole = _line_start(file, end, skip_newline=False)
        if whole < end:
            file.seek(whole)
            torn = file.read(end - whole)
            kept = self._set_aside(torn)
            os.ftruncate(file.fileno(), whole)
            _log.warning(
                "%s: a write was cut off after %d bytes; they were moved to %s", self.path, len(torn), kept
            )
            body = {"bytes": len(torn), "sha256": hashlib.sha256(torn).hexdigest(), "kept_as": kept.name}
            moment = datetime.now(UTC).isoformat(timespec="microseconds")
            return self._write(file, self._last(file, whole), moment, TORN, body)
        return self._last(file, whole)

    def _set_aside(self, torn: bytes) -> Path:
        number = 1
        while True:
            kept = self.path.with_name(f"{self.path.name}.torn-{number}")
            try:
                descriptor = os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                break
            except FileExistsError:
                number += 1
        with os.fdopen(descriptor, "wb") as file:
            file.write(torn)
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(self.path.parent)
        return kept

    def _last(self, file: BinaryIO, end: int) -> Entry | None:
        if end == 0:
            return None
        start = _line_start(file, end, skip_newline=True)
        file.seek(start)
        line = file.read(end - start)
        try:
            seq = int(json.loads(line)["seq"])
        except (ValueError, RecursionError, KeyError, TypeError) as problem:
            raise IntegrityError(
                f"{self.path}: the last entry", "of a line of JSON", "something else"
            ) from problem
        return self._parse(line, seq)

    def _write(self, file: BinaryIO, last: Entry | None, time: str, kind: str, body: dict[str, Any]) -> Entry:
        values = {
            "seq": last.seq + 1 if last else 1,
            "time": time,
            "kind": kind,
            "body": body,
            "previous": last.digest if last else START,
        }
        values["digest"] = _digest_of(values)
        line = _canonical(values) + b"\n"
        before = os.fstat(file.fileno()).st_size
        try:
            written = 0
            while written < len(line):
                written += os.write(file.fileno(), line[written:])
            os.fsync(file.fileno())
        except OSError as problem:
            os.ftruncate(file.fileno(), before)
            raise InputError(
                f"{self.path}: the entry {kind!r} was not written: {problem.strerror}"
            ) from problem
        parsed: dict[str, Any] = json.loads(line)
        return Entry(**parsed)


def _canonical(values: Mapping[str, Any]) -> bytes:
    return json.dumps(
        values, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    ).encode()


def _digest_of(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical({k: v for k, v in values.items() if k != "digest"})).hexdigest()


def _lists(value: Any) -> Any:
    """The value as JSON gives it back: tuples become lists."""
    if isinstance(value, Mapping):
        return {key: _lists(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_lists(item) for item in value]
    return value


def _line_start(file: BinaryIO, end: int, *, skip_newline: bool) -> int:
    """Where the line that ends at byte `end` begins; read backwards, so a long journal costs nothing."""
    position = end - 1 if skip_newline else end
    while position > 0:
        block = min(65536, position)
        file.seek(position - block)
        found = file.read(block).rfind(b"\n")
        if found >= 0:
            return position - block + found + 1
        position -= block
    return 0


def _sync_folder(folder: Path) -> None:
    """A new name is only safe once its folder is on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
