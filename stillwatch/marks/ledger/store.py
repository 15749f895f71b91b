"""What each account received: written before it is acknowledged, found again by digest, shingle and account."""

from __future__ import annotations

import json
import logging
import os
import struct
import time
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Self

import numpy as np

from stillwatch.errors import InputError, IntegrityError, StillwatchError
from stillwatch.marks.keys import Master
from stillwatch.marks.ledger import opening
from stillwatch.marks.ledger.answers import (
    ANSWER,
    TORN,
    Answer,
    Entry,
    Kept,
    Waiting,
    note_bytes,
    pack_kept,
    sealing_of,
    text_bytes,
    token_bytes,
    unpack,
    unpack_kept,
)
from stillwatch.marks.ledger.appending import Appender
from stillwatch.marks.ledger.head import Head, HeadFile
from stillwatch.marks.ledger.index import Index
from stillwatch.marks.ledger.policy import Policy
from stillwatch.marks.ledger.secrets import NONCE_BYTES, Sealer
from stillwatch.marks.ledger.segments import FRAME, Files, Header, Places, checked, places, salt_of
from stillwatch.marks.ledger.shingling import find

SEGMENT_BYTES = 64 << 20
COMMON = 10_000
"""A shingle that more records have tells nothing apart, and is left out of a look-up."""
_READ = 4096
_OPEN = 64
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Likeness:
    """An answer that shares text with what was asked for."""

    entry: Entry
    shared: int
    """Shingles in common, of those that are not common to many."""
    asked: int
    """Shingles of what was asked for. Of those the ledger keeps one in `Policy.shingle_every`."""


class Ledger:
    """The ledger in one folder: one writer, any number of readers.

    Parameters
    ----------
    folder
        Such as ``stillwatch-data/marks/ledger``.
    master
        The master key under which it was, or is to be, begun.
    write
        Append to it; the folder is made if it is missing.
    policy
        What a writer keeps; the default keeps digests only.
    segment_bytes
        Length at which a new segment is begun.
    clock
        Microseconds since 1970; only for segments by day and for retention. Times of answers are their own.

    Raises
    ------
    InputError
        There is no ledger, another master key or another writer, or the disk refuses.
    IntegrityError
        Something that was acknowledged is missing or was changed.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from stillwatch.marks.keys import Master
    >>> here = pathlib.Path(tempfile.mkdtemp())
    >>> master = Master.create(here / "key")
    >>> with Ledger(here / "ledger", master, write=True, policy=Policy(keep="text")) as ledger:
    ...     number = ledger.append(Answer("x-1", 1_780_000_000_000_000, 42, text="A leap year has 366 days."))
    ...     [found.account for found in ledger.by_text("A leap year has 366 days.")]
    [42]

    "This text was served to account 42, in exchange x-1."
    """

    def __init__(
        self,
        folder: Path,
        master: Master,
        *,
        write: bool = False,
        policy: Policy | None = None,
        segment_bytes: int = SEGMENT_BYTES,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self.folder, self.policy = Path(folder), policy or Policy()
        self.clock = clock or (lambda: time.time_ns() // 1000)
        self.files = Files(self.folder)
        self._handles: dict[int, tuple[int, Places]] = {}
        self._last_handle = (0, -1)
        self._reading = RLock()
        self._lock_handle = -1
        self._appender: Appender | None = None
        try:
            if write:
                self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._lock_handle = opening.lock(self.folder)
            self.secrets = opening.identity(self.folder, master, create=write)
            self._open_settled(segment_bytes)
        except OSError as refused:
            self._let_go()
            raise InputError(f"{self.folder}: cannot be opened: {refused.strerror}") from refused
        except StillwatchError:
            self._let_go()
            raise

    def _open_settled(self, segment_bytes: int) -> None:
        """Open; a reader may meet a writer that is just replacing a file."""
        for attempt in range(5):
            try:
                return self._open(segment_bytes)
            except FileNotFoundError:
                if self._lock_handle >= 0 or attempt == 4:
                    raise
                time.sleep(0.05 * attempt)
        return None

    def _open(self, segment_bytes: int) -> None:
        write = self._lock_handle >= 0
        # Before the head is read: a writer who goes on meanwhile is ahead of it, never behind.
        self.index = Index(self.folder / "index", write=write)
        found = opening.find_end(self.folder, self.secrets)
        self.headers, self._head, self._at = found.headers, found.head, found.at
        said = opening.cut(self.files, found) if write and found.torn else None
        if self.index.through > found.head.records:
            raise IntegrityError(
                f"{self.folder}: record {found.head.records}",
                f"of one of {self.index.through} records that the index knows",
                "the end",
            )
        self._index_from(self.index.through)
        if not write:
            return
        head_file = HeadFile(self.folder / "head", self.secrets.head)
        self._appender = Appender(
            self.files, self.secrets, head_file, found.head,
            header=self.headers[-1] if self.headers else None, end=found.head.end, link=found.head.link,
            at=found.at, latest=found.latest, segment_bytes=segment_bytes, clock=self.clock, shingles=self._shingles,
            on_commit=lambda first, records: self.index.add(first, records), on_segment=self.headers.append,
        )  # fmt: skip
        if said:
            _log.warning("%s: a write was cut off after %s bytes", self.folder, said["bytes"])
            self.append_own(TORN, said)

    def _index_from(self, number: int) -> None:
        """Bring records that the runs of the index do not have into its memory."""
        for header in self.headers:
            last = header is self.headers[-1]
            n = len(self._at) if last else self.headers[header.number].first - header.first
            if header.first + n <= number:
                continue
            skip = max(0, number - header.first)
            # Up to the head only: a writer may be adding while this reads.
            path = self.files.data(header.number)
            there = islice(checked(path, header.first, header.link, self.secrets), n)
            for i, frame in enumerate(there):
                if i >= skip:
                    self.index.add(header.first + i, [frame.record])

    # -- writing ------------------------------------------------------------------------------------------------

    def append(self, answer: Answer) -> int:
        """Number of the answer's record, once it is on the disk. Threads that append together share one sync.

        Raises
        ------
        InputError
            It is not: the disk refused.
        """
        return self.append_many([answer])[0]

    def append_many(self, answers: Sequence[Answer]) -> list[int]:
        """The same for several, in one write and one sync: all of them or none.

        Raises
        ------
        InputError
            None is on the disk: an answer cannot be kept, or the disk refused.
        """
        if not answers:
            return []
        writer = self._writer()
        first = writer.append([self._waiting(answer) for answer in answers])
        return list(range(first, first + len(answers)))

    def append_own(self, kind: int, said: dict[str, object]) -> int:
        """A record of the ledger itself: texts were erased, a torn write was cut off."""
        line = json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
        return self._writer().append([bytes([kind]) + line])

    def roll(self) -> None:
        """Begin a new segment.

        Raises
        ------
        InputError
            The disk refuses.
        """
        try:
            self._writer().roll()
        except OSError as refused:
            raise InputError(f"{self.folder}: no new segment: {refused.strerror}") from refused

    def latest(self) -> int:
        """Latest time of an answer in the segment that is being written; 0 if there is none."""
        return self._writer().latest

    def _writer(self) -> Appender:
        if self._appender is None:
            raise InputError(f"{self.folder}: the ledger is open for reading; open it with write=True")
        return self._appender

    def _waiting(self, answer: Answer) -> Waiting:
        policy, secrets = self.policy, self.secrets
        if answer.time > self.clock() + 86_400_000_000:
            raise InputError(
                f"answer {answer.exchange_id[:60]!r}: its time lies more than a day ahead of the clock; its text "
                "would never be due for erasing"
            )
        keep = policy.picks(secrets.pick, answer.exchange_id) if answer.keep is None else answer.keep
        what = policy.keep if policy.keep != "digests" else "both"
        content = pack_kept(
            answer, text=keep and what in ("text", "both"), tokens=keep and what in ("tokens", "both")
        )
        text = None if answer.text is None else text_bytes(answer.text)
        return Waiting(
            answer,
            text,
            bytes(32) if text is None else secrets.text_digest(text),
            bytes(32) if answer.tokens is None else secrets.token_digest(token_bytes(answer.tokens)),
            note_bytes(
                answer, secrets.conversation(text_bytes(answer.conversation)) if answer.conversation else ""
            ),
            content,
            os.urandom(NONCE_BYTES) if content else bytes(NONCE_BYTES),
        )

    def _shingles(self, texts: Sequence[bytes | None]) -> list[tuple[int, ...]]:
        return find(texts, self.secrets.shingle, self.policy.shingle_every)

    # -- asking -------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self._here().records

    def head(self) -> str:
        """How far the ledger reaches, in one line; worth noting outside this machine, see `verify`."""
        return str(self._here())

    def by_text(self, text: str) -> list[Entry]:
        """Answers whose text is this one, byte for byte."""
        digest = self.secrets.text_digest(text_bytes(text))
        return [e for e in self._with("digest", digest) if e.text_digest == digest.hex()]

    def by_tokens(self, tokens: Sequence[int]) -> list[Entry]:
        """Answers whose tokens are these."""
        digest = self.secrets.token_digest(token_bytes(tokens))
        return [e for e in self._with("digest", digest) if e.token_digest == digest.hex()]

    def by_digest(self, digest: str) -> list[Entry]:
        """Answers with this digest of text or tokens, as an `Entry` has it."""
        raw = bytes.fromhex(digest)
        return [e for e in self._with("digest", raw) if digest in (e.text_digest, e.token_digest)]

    def by_account(self, account: int) -> Iterator[Entry]:
        """Answers that an account received, in the order in which they were written."""
        for number in self.index.find("account", account).tolist():
            yield self.entry(number)

    def by_shingles(self, text: str, *, least: int = 1, limit: int = 100) -> list[Likeness]:
        """Answers that share runs of 63 bytes or more with a text, as the kept shingles show; most shared first.

        One shingle in `Policy.shingle_every` is kept: a text that shares a single one is found with that chance.
        Shingles that more than `COMMON` answers have are left out.
        """
        # All of them: what a writer kept is its policy's affair, which may have changed over time.
        (asked,) = find([text_bytes(text)], self.secrets.shingle, 1)
        found = [self.index.find("shingle", shingle) for shingle in asked]
        found = [numbers for numbers in found if 0 < len(numbers) <= COMMON]
        if not found:
            return []
        numbers, counts = np.unique(np.concatenate(found), return_counts=True)
        order = np.lexsort((numbers, -counts))
        picked = [(int(numbers[i]), int(counts[i])) for i in order[:limit] if counts[i] >= least]
        return [Likeness(self.entry(number), shared, len(asked)) for number, shared in picked]

    def entries(self, first: int = 0) -> Iterator[Entry]:
        """Every answer from a record on, in the order in which they were written."""
        for number in range(first, len(self)):
            record = self._record(number)[0]
            if record[0] == ANSWER:
                yield unpack(record, number)

    def entry(self, number: int) -> Entry:
        """The answer of one record, held against its link.

        Raises
        ------
        InputError
            There is no such record, or it is no answer.
        IntegrityError
            It was changed.
        """
        record = self._record(number)[0]
        if record[0] != ANSWER:
            raise InputError(f"{self.folder}: record {number} is no answer")
        return unpack(record, number)

    def kept(self, entry: Entry) -> Kept | None:
        """Text and tokens of an answer; None if they were not kept, or are erased by now.

        Raises
        ------
        IntegrityError
            They were changed.
        """
        record, header, end = self._record(entry.number)
        size, nonce, tag, bound = sealing_of(record)
        if not size:
            return None
        sealer = self.sealer(header.number)
        if sealer is None:
            return None
        with self._reading:
            sealed = os.pread(self._opened(header)[0], size, end)
        item = f"{self.files.data(header.number)}: record {entry.number}"
        return unpack_kept(sealer.open(nonce, sealed, tag, bound, item))

    def sealer(self, number: int) -> Sealer | None:
        """What opens the texts of a segment; None once its salt was destroyed."""
        salt = salt_of(self.files, number)
        return None if salt is None else self.secrets.segment(number, salt)

    def _here(self) -> Head:
        return self._head if self._appender is None else self._appender.head

    def _with(self, kind: str, digest: bytes) -> list[Entry]:
        return [self.entry(n) for n in self.index.find(kind, int.from_bytes(digest[:8], "little")).tolist()]

    def _record(self, number: int) -> tuple[bytes, Header, int]:
        """A record, its segment, and the byte after it."""
        if not 0 <= number < len(self):
            raise InputError(f"{self.folder}: there is no record {number} among {len(self)}")
        with self._reading:
            header = self.headers[bisect_right(self.headers, number, key=lambda h: h.first) - 1]
            try:
                return self._read(number, header)
            except (IndexError, struct.error, IntegrityError):
                # The places of a finished segment are derived; if they are wrong it is they that are made again.
                with suppress(OSError):
                    self.files.named(header.number, "places").unlink(missing_ok=True)
                self.forget_handle(header.number)
            try:
                return self._read(number, header)
            except (IndexError, struct.error):
                raise IntegrityError(
                    f"{self.files.data(header.number)}: record {number}",
                    "of a record that was written",
                    "none",
                ) from None

    def _read(self, number: int, header: Header) -> tuple[bytes, Header, int]:
        handle, at = self._opened(header)
        i = number - header.first
        begin = int(at[i])
        data = os.pread(handle, _READ, begin)
        n, _, link = FRAME.unpack_from(data)
        if len(data) < FRAME.size + n:
            data = os.pread(handle, FRAME.size + n, begin)
        record = data[FRAME.size : FRAME.size + n]
        previous = header.link if i == 0 else os.pread(handle, 32, int(at[i - 1]) + FRAME.size - 32)
        if self.secrets.link(previous, record) != link:
            raise IntegrityError(
                f"{self.files.data(header.number)}: record {number} (byte {begin})",
                "as it was written",
                "another",
            )
        return record, header, begin + FRAME.size + n

    def _opened(self, header: Header) -> tuple[int, Places | array[int]]:
        """Handle and places of a segment."""
        at = self._at if header is self.headers[-1] else None
        if self._appender is not None:
            at = self._appender.live.get(header.number)
        if at is not None:
            if self._last_handle[0] != header.number:
                self._close_last()
                handle = os.open(self.files.data(header.number), os.O_RDONLY | os.O_CLOEXEC)
                self._last_handle = (header.number, handle)
            return self._last_handle[1], at
        if header.number not in self._handles:
            if len(self._handles) >= _OPEN:
                os.close(self._handles.pop(next(iter(self._handles)))[0])
            handle = os.open(self.files.data(header.number), os.O_RDONLY | os.O_CLOEXEC)
            self._handles[header.number] = (handle, places(self.files, header.number))
        return self._handles[header.number]

    def forget_handle(self, number: int) -> None:
        """A segment's file was replaced."""
        kept = self._handles.pop(number, None)
        if kept is not None:
            os.close(kept[0])

    # -- as a whole ---------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """For a reader: see what was written since it was opened."""
        if self._appender is None:
            self._close_handles()
            self._open_settled(0)

    def compact(self) -> None:
        """Merge the index into one run of each kind: a look-up then reads the disk four times, however much there is.

        Takes minutes for tens of millions of answers, during which nothing is appended; for a quiet hour.
        """
        self._writer()
        self.index.compact()

    def rebuild(self) -> None:
        """Make the index again from the segments."""
        self._writer()
        self.index.close()
        for path in (self.folder / "index").iterdir():
            path.unlink()
        self.index = Index(self.folder / "index", write=True)
        self._at = self._writer().live[self.headers[-1].number]
        self._index_from(0)
        self.index.flush()

    def close(self) -> None:
        """Write the index, sync the head, and give the ledger back."""
        if self._appender is not None:
            self._appender.close()
            self._head = self._appender.head
            self.index.close()
        self._let_go()

    def _let_go(self) -> None:
        self._close_handles()
        if self._lock_handle >= 0:
            os.close(self._lock_handle)
            self._lock_handle = -1

    def _close_handles(self) -> None:
        for handle, _ in self._handles.values():
            os.close(handle)
        self._handles.clear()
        self._close_last()

    def _close_last(self) -> None:
        if self._last_handle[1] >= 0:
            os.close(self._last_handle[1])
        self._last_handle = (0, -1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Ledger({str(self.folder)!r})"
