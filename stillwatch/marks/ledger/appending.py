"""The end of the ledger: records are on the disk before they are acknowledged, many with one sync.

Whoever appends adds answers to the batch that is open. If nobody is writing he takes the whole batch: finds the
shingles of all its texts at once, seals, chains, writes, and syncs once. The others wait until their batch is done.
While a batch is being written the next one fills.

If the disk is full, nothing of the batch stays and everybody who waited is told. If a sync fails, nobody knows what is
on the disk: the ledger then takes nothing more until it is opened again, which reads what there is.
"""

from __future__ import annotations

import logging
import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Condition, Lock

from stillwatch.errors import InputError
from stillwatch.identity.keys import sync_folder
from stillwatch.marks.ledger.answers import Waiting, pack
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


@dataclass(slots=True)
class _Batch:
    items: list[Waiting | bytes] = field(default_factory=list)
    first: int = 0
    done: bool = False
    error: str = ""


@dataclass(slots=True)
class _Laid:
    """A batch as it will lie in the segment."""

    parts: list[bytes]
    records: list[bytes]
    at: list[int]
    end: int
    link: bytes
    latest: int


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
    shingles
        Keyed shingles of texts, see `Ledger`.
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
        shingles: Callable[[Sequence[bytes | None]], list[tuple[int, ...]]],
        on_commit: Callable[[int, Sequence[bytes]], None],
        on_segment: Callable[[Header], None],
    ) -> None:
        self._files, self._secrets, self._head_file, self.head = files, secrets, head_file, head
        self._limit, self._clock, self._shingles = segment_bytes, clock, shingles
        self._on_commit, self._on_segment = on_commit, on_segment
        self.latest = latest
        self.live: dict[int, array[int]] = {header.number if header else 0: at}
        self._turn = Condition(Lock())
        self._writing = False
        self._broken = ""
        self._pending = _Batch()
        self._head_handle = head_file.open()
        self._handle = -1
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

    def append(self, items: Sequence[Waiting | bytes]) -> int:
        """Number of the first of these records, once all are on the disk; bytes are records of the ledger itself.

        Raises
        ------
        InputError
            They are not: the disk refused, or an earlier sync failed.
        """
        with self._turn:
            batch = self._pending
            offset = len(batch.items)
            batch.items += items
            while self._writing and not batch.done:
                self._turn.wait()
            mine = not batch.done
            if mine:
                self._writing, self._pending = True, _Batch()
        if mine:
            try:
                self._commit(batch)
            finally:
                self._give_turn()
        if batch.error:
            raise InputError(batch.error)
        return batch.first + offset

    def roll(self) -> None:
        """Begin a new segment now, if this one holds anything.

        Raises
        ------
        OSError
            The disk refuses; the old one goes on.
        """
        with self._alone():
            if self.live[self.header.number]:
                self._begin(self.header.number + 1, self.head.link)

    def close(self) -> None:
        """Sync the head and let go of the files."""
        with self._alone():
            for handle in (self._head_handle, self._handle):
                if handle >= 0:
                    os.fsync(handle)
                    os.close(handle)
            self._handle = self._head_handle = -1
            self._broken = "the ledger is closed"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._turn:
            while self._writing:
                self._turn.wait()
            self._writing = True
        try:
            yield
        finally:
            self._give_turn()

    def _give_turn(self) -> None:
        with self._turn:
            self._writing = False
            self._turn.notify_all()

    # -- in the turn of one thread ------------------------------------------------------------------------------

    def _commit(self, batch: _Batch) -> None:
        try:
            batch.error = self._broken
            if not batch.error:
                laid = self._lay(batch.items)
                batch.error = self._written(b"".join(laid.parts))
                if not batch.error:
                    batch.first = self.head.records
                    self._keep(laid)
        except BaseException as problem:
            # A bug must not leave others waiting for a batch that nobody writes.
            batch.error = batch.error or f"{self._files.folder}: not acknowledged: {type(problem).__name__}"
            raise
        finally:
            batch.done = True
        if not batch.error and (
            self.head.end > self._limit or self._clock() // DAY != self.header.begun // DAY
        ):
            try:
                self._begin(self.header.number + 1, self.head.link)
            except OSError as refused:
                _log.warning("%s: no new segment yet: %s", self._files.folder, refused.strerror)

    def _lay(self, items: Sequence[Waiting | bytes]) -> _Laid:
        shingles = self._shingles([None if isinstance(item, bytes) else item.text for item in items])
        laid = _Laid([], [], [], self.head.end, self.head.link, self.latest)
        for item, some in zip(items, shingles, strict=True):
            content = b""
            if isinstance(item, bytes):
                record = item
            else:
                before, after = pack(item, some)
                tag = bytes(16)
                if item.content:
                    content, tag = self._sealer.seal(item.nonce, item.content, before + after)
                record = before + tag + after
                laid.latest = max(laid.latest, item.answer.time)
            laid.link = self._secrets.link(laid.link, record)
            laid.parts += (FRAME.pack(len(record), len(content), laid.link), record, content)
            laid.records.append(record)
            laid.at.append(laid.end)
            laid.end += FRAME.size + len(record) + len(content)
        return laid

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

    def _keep(self, laid: _Laid) -> None:
        first = self.head.records
        self.live[self.header.number].extend(laid.at)
        self.latest = laid.latest
        self._note(Head(self.head.counter + 1, self.header.number, laid.end, first + len(laid.at), laid.link))
        try:
            self._on_commit(first, laid.records)
        except Exception:
            # What is written is written. The index would have a hole, so it is made whole by opening the ledger again.
            self._broken = (
                f"{self._files.folder}: the index could not take in record {first}; open the ledger again"
            )
            _log.exception("%s", self._broken)

    def _note(self, head: Head) -> None:
        try:
            self._head_file.write(self._head_handle, head)
        except OSError as refused:
            # Committed all the same; a head that is behind is only a weaker promise.
            _log.warning("the ledger's head was not written: %s", refused.strerror)
        self.head = head

    def _begin(self, number: int, previous: bytes) -> None:
        """A new segment after the one that is finished."""
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
        self._note(Head(self.head.counter + 1, number, HEADER.size, self.head.records, self.header.link))
        os.fsync(self._head_handle)
        self._on_segment(self.header)
        # The segment before is read through its places on the disk from here on.
        for old in [n for n in self.live if n != number]:
            del self.live[old]
