"""The end of the ledger: records are on the disk before they are acknowledged, many with one sync.

Whoever appends adds records to the batch that is open, and then waits for the file. The first who gets it writes the
whole batch and syncs once; the others find their batch done. While a batch is being written the next one fills.

If the disk is full, nothing of the batch stays and everybody who waited is told. If a sync fails, nobody knows what is
on the disk: the ledger then takes nothing more until it is opened again, which reads what there is.
"""

from __future__ import annotations

import logging
import os
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Condition, Lock

from stillwatch.errors import InputError
from stillwatch.identity.keys import sync_folder
from stillwatch.marks.ledger.head import Head, HeadFile
from stillwatch.marks.ledger.secrets import Secrets
from stillwatch.marks.ledger.segments import (
    FRAME,
    HEADER,
    Files,
    Header,
    header_bytes,
    new_salt,
    read_header,
    salt_of,
    write_places,
)

DAY = 86_400_000_000
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A record that waits for its place in the chain; `before`, tag and `after` make the record."""

    before: bytes
    after: bytes
    content: bytes = b""
    nonce: bytes = b""
    time: int = 0
    """Of an answer; 0: a record of the ledger itself, which has no tag."""


@dataclass(slots=True)
class _Batch:
    parts: list[bytes] = field(default_factory=list)
    records: list[bytes] = field(default_factory=list)
    at: list[int] = field(default_factory=list)
    latest: int = 0
    end: int = 0
    link: bytes = b""
    done: bool = False
    error: str = ""


class Appender:
    """Appends to the last segment and begins new ones.

    Parameters
    ----------
    header, end, link, at, latest
        The last segment as it was found: header, its length, last link, places of its records, latest time. Header
        None: there is none yet.
    first
        Number of the next record.
    segment_bytes
        A new segment is begun when the last one is longer, and on each new day of `clock`.
    on_commit
        Is given number of the first and bytes of all records that were just committed.
    """

    def __init__(
        self,
        files: Files,
        secrets: Secrets,
        head_file: HeadFile,
        head: Head,
        *,
        header: Header | None,
        end: int,
        link: bytes,
        at: array[int],
        latest: int,
        segment_bytes: int,
        clock: Callable[[], int],
        on_commit: Callable[[int, Sequence[bytes]], None],
        on_segment: Callable[[Header], None],
    ) -> None:
        self._files, self._secrets, self._head_file, self.head = files, secrets, head_file, head
        self._limit, self._clock, self._on_commit, self._on_segment = (
            segment_bytes,
            clock,
            on_commit,
            on_segment,
        )
        self.latest = latest
        self.live: dict[int, array[int]] = {header.number if header else 0: at}
        self._lock, self._file_lock = Lock(), Lock()
        self._resumed = Condition(self._lock)
        self._paused, self._broken = False, ""
        self._head_handle = head_file.open()
        self._handle = -1
        self._end, self._link, self._next = end, link, head.records
        self._pending = self._new_batch()
        if header is None:
            self._begin(1, link)
        else:
            self.header = header
            salt = salt_of(files, header.number)
            if files.data(header.number).suffix == ".bare" or salt is None:
                self._begin(header.number + 1, link)
            else:
                self._sealer = secrets.segment(header.number, salt)
                self._handle = os.open(files.named(header.number, "seg"), os.O_RDWR | os.O_CLOEXEC)

    def append(self, items: Sequence[Prepared]) -> int:
        """Number of the first of these records, once all are on the disk.

        Raises
        ------
        InputError
            They are not: the disk refused, or an earlier sync failed.
        """
        with self._lock:
            while self._paused:
                self._resumed.wait()
            if self._broken:
                raise InputError(self._broken)
            batch, first = self._pending, self._next
            for item in items:
                self._add(batch, item)
        with self._file_lock:
            if not batch.done:
                self._commit(batch)
        if batch.error:
            raise InputError(batch.error)
        return first

    def roll(self) -> None:
        """Begin a new segment now, if this one holds anything."""
        with self._file_lock:
            with self._lock:
                self._paused = True
                batch = self._pending
            try:
                if batch.records:
                    self._commit(batch)
                if self.live[self.header.number]:
                    self._begin(self.header.number + 1, self._link)
            finally:
                self._resume()

    def close(self) -> None:
        """Sync the head and let go of the files."""
        with self._file_lock:
            for handle in (self._head_handle, self._handle):
                if handle >= 0:
                    os.fsync(handle)
                    os.close(handle)
            self._broken = "the ledger is closed"

    # -- under the lock -----------------------------------------------------------------------------------------

    def _new_batch(self) -> _Batch:
        return _Batch(end=self._end, link=self._link)

    def _add(self, batch: _Batch, item: Prepared) -> None:
        content, record = b"", item.before + item.after
        if item.time:
            tag = bytes(16)
            if item.content:
                content, tag = self._sealer.seal(item.nonce, item.content, record)
            record = item.before + tag + item.after
        link = self._secrets.link(batch.link, record)
        batch.parts += (FRAME.pack(len(record), len(content), link), record, content)
        batch.records.append(record)
        batch.at.append(batch.end)
        batch.end += FRAME.size + len(record) + len(content)
        batch.link, batch.latest = link, max(batch.latest, item.time)
        self._end, self._link, self._next = batch.end, batch.link, self._next + 1

    # -- under the lock of the file ---------------------------------------------------------------------------

    def _commit(self, batch: _Batch) -> None:
        with self._lock:
            due = batch.end > self._limit or self._clock() // DAY != self.header.begun // DAY
            self._paused = self._paused or due
            self._pending = self._new_batch()
        problem = self._written(b"".join(batch.parts))
        with self._lock:
            if problem:
                self._undo(batch, problem)
            else:
                self._keep(batch)
            batch.done = True
        if due:
            try:
                if not problem:
                    self._begin(self.header.number + 1, batch.link)
            except OSError as refused:
                _log.warning("%s: no new segment yet: %s", self._files.folder, refused.strerror)
            finally:
                self._resume()

    def _resume(self) -> None:
        with self._lock:
            self._paused = False
            self._resumed.notify_all()

    def _written(self, data: bytes) -> str:
        """Write and sync; what went wrong, or nothing."""
        at, done = self.head.end, 0
        path = self._files.named(self.header.number, "seg")
        try:
            while done < len(data):
                done += os.pwrite(self._handle, memoryview(data)[done:], at + done)
        except OSError as refused:
            try:
                os.ftruncate(self._handle, at)
            except OSError:
                self._broken = f"{path}: a write failed and could not be taken back; open the ledger again"
            return f"{path}: nothing was written: {refused.strerror}"
        try:
            os.fdatasync(self._handle)
        except OSError as refused:
            self._broken = (
                f"{path}: a sync failed ({refused.strerror}); open the ledger again to see what is there"
            )
            return self._broken
        return ""

    def _undo(self, batch: _Batch, problem: str) -> None:
        # The batch that was filling is chained to the one that failed: it fails with it.
        for lost in (batch, self._pending):
            lost.error, lost.done = problem, True
        self._end, self._link, self._next = self.head.end, self.head.link, self.head.records
        self._pending = self._new_batch()

    def _keep(self, batch: _Batch) -> None:
        first = self.head.records
        self.live[self.header.number].extend(batch.at)
        self.latest = max(self.latest, batch.latest)
        self._note(
            Head(self.head.counter + 1, self.header.number, batch.end, first + len(batch.at), batch.link)
        )
        self._on_commit(first, batch.records)

    def _note(self, head: Head) -> None:
        try:
            self._head_file.write(self._head_handle, head)
        except OSError as refused:
            # Committed all the same; a head that is behind is only a weaker promise.
            _log.warning("the ledger's head was not written: %s", refused.strerror)
        self.head = head

    def _begin(self, number: int, previous: bytes) -> None:
        """A new segment after the one that is finished; nothing is pending."""
        path = self._files.named(number, "seg")
        self._files.folder.mkdir(exist_ok=True, mode=0o700)
        salt = new_salt(self._files, number)
        data = header_bytes(number, self._clock(), self.head.records, previous, self._secrets)
        draft = path.with_suffix(".new")
        handle = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(handle, data, 0)
            os.fsync(handle)
            os.rename(draft, path)  # noqa: PTH104
            sync_folder(self._files.folder)
        except OSError:
            os.close(handle)
            draft.unlink(missing_ok=True)
            raise
        if self._handle >= 0:
            size = os.fstat(self._handle).st_size
            write_places(self._files, self.header.number, self.live[self.header.number], self.latest, size)
            os.close(self._handle)
        self._handle, self._sealer = handle, self._secrets.segment(number, salt)
        self.header = read_header(path, number, self._secrets)
        self.live[number], self.latest = array("Q"), 0
        self._end, self._link = HEADER.size, self.header.link
        self._note(Head(self.head.counter + 1, number, self._end, self.head.records, self._link))
        os.fsync(self._head_handle)
        self._pending = self._new_batch()
        self._on_segment(self.header)
        # The segment before is read through its places on the disk from here on.
        for old in [n for n in self.live if n != number]:
            del self.live[old]
