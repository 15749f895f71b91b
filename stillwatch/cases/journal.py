"""An append-only, hash-chained journal: who did what to a workspace or case, in an order that cannot be edited.

One entry is one line of canonical JSON (ASCII, sorted keys), so `grep` reads it and no text direction mark in a
body can redraw a terminal. `stillwatch.cases.chain` says how a line is chained to the one before it.

What the chain shows: an entry that was changed, removed from the middle, added in between or moved is found, and
the first broken one is named. What it cannot show alone: that the *last* entries were cut off cleanly, or that
somebody rewrote everything from one entry on. For that, note `Journal.head` somewhere else and hand it to
`Journal.verify` later.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from stillwatch.cases.chain import START, Entry, check_body, check_link, link, moment, parse
from stillwatch.errors import InputError, IntegrityError

__all__ = ["START", "TORN", "Entry", "Journal"]

TORN = "journal.torn"
"""Kind of the entry that records a tail which was cut off in the middle of a write and moved aside."""

_log = logging.getLogger(__name__)


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
        check_body(kind, body)  # refuse before the file is touched
        time = moment(at)
        with self._locked(write=True) as file:
            last = self._mend(file)
            return self._write(file, last, time, kind, body)

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
                check_link(entry, seq, previous, f"{self.path}: entry {seq} (line {seq})")
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

    def _parse(self, line: bytes, seq: int) -> Entry:
        item = f"{self.path}: entry {seq} (line {seq})"
        if not line.endswith(b"\n"):
            raise IntegrityError(
                item,
                "of a whole line",
                f"{len(line)} bytes without a line end: a write was cut off. "
                "The next entry that is written moves them aside and says so",
            )
        return parse(line[:-1], item)

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
            return self._write(file, self._last(file, whole), moment(), TORN, body)
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

    def _write(
        self, file: BinaryIO, last: Entry | None, time: str, kind: str, body: Mapping[str, Any]
    ) -> Entry:
        seq, previous = (last.seq + 1, last.digest) if last else (1, START)
        _, text = link(seq, previous, time, kind, body)
        line = text + b"\n"
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
        return parse(text, f"{self.path}: entry {seq}")


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
