"""Segments: files to which records are appended and in which nothing is ever changed.

A segment begins with 96 bytes: magic, number, when it was begun, number of its first record, the last link of the
segment before, and the link of this header. Then frames: length of the record and of what follows it (4 bytes each,
little-endian), link (32), record, sealed text and tokens. A link is a MAC over the link before and the record, so
that the records of all segments are one chain. What is sealed is not in it (its tag is, in the record), so that it can
be taken out later and the chain still holds.

``000001.seg`` holds the sealed texts, ``000001.bare`` is the same segment without them. ``000001.salt`` opens them.
``000001.places`` is derived: where each record begins; it is made again where it is missing.
"""

from __future__ import annotations

import os
import struct
from array import array
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from stillwatch.errors import IntegrityError
from stillwatch.identity.keys import sync_folder
from stillwatch.marks.ledger.answers import ANSWER, FIXED, KEPT, time_of
from stillwatch.marks.ledger.secrets import SALT_BYTES, Secrets

MAGIC = b"SWLEDGE1"
HEADER = struct.Struct("<8sQqQ32s32s")
FRAME = struct.Struct("<II32s")
START = bytes(32)
_PLACES = struct.Struct("<8sqQQ")
_BLOCK = 4 << 20


@dataclass(frozen=True, slots=True)
class Header:
    """The first bytes of a segment."""

    number: int
    """Counts from 1."""
    begun: int
    """Microseconds since 1970."""
    first: int
    """Number of its first record, over the whole ledger."""
    previous: bytes
    """Last link of the segment before."""
    link: bytes


@dataclass(frozen=True, slots=True)
class Frame:
    """One record as it lies in a segment."""

    at: int
    """Byte of the file at which its frame begins."""
    link: bytes
    record: bytes
    content: bytes
    """Sealed text and tokens; empty where there are none, or where they were taken out."""

    @property
    def end(self) -> int:
        return self.at + FRAME.size + len(self.record) + len(self.content)


class Files:
    """Names of the files of a ledger's segments."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "segments"

    def numbers(self) -> list[int]:
        """Numbers of the segments that are there, in order."""
        if not self.folder.exists():
            return []
        names = {p.stem for p in self.folder.iterdir() if p.suffix in (".seg", ".bare") and p.stem.isdigit()}
        return sorted(int(name) for name in names)

    def data(self, number: int) -> Path:
        """The file with the records: without texts if they were taken out."""
        bare = self.named(number, "bare")
        return bare if bare.exists() else self.named(number, "seg")

    def named(self, number: int, kind: str) -> Path:
        """``000001.seg``, ``.bare``, ``.salt`` or ``.places``."""
        return self.folder / f"{number:06d}.{kind}"


def header_bytes(number: int, begun: int, first: int, previous: bytes, secrets: Secrets) -> bytes:
    """The header of a new segment."""
    head = HEADER.pack(MAGIC, number, begun, first, previous, b"")[: HEADER.size - 32]
    return head + secrets.link(b"segment", head)


def read_header(path: Path, number: int, secrets: Secrets) -> Header:
    """The header of a segment, held against its link.

    Raises
    ------
    IntegrityError
        It is none, or another segment's.
    """
    with path.open("rb") as file:
        data = file.read(HEADER.size)
    if len(data) < HEADER.size or data[:8] != MAGIC:
        raise IntegrityError(f"{path}: header", "of a segment", "something else")
    _, found, begun, first, previous, link = HEADER.unpack(data)
    if secrets.link(b"segment", data[: HEADER.size - 32]) != link or found != number:
        raise IntegrityError(f"{path}: header", f"of segment {number}", "another")
    return Header(number, begun, first, previous, link)


def frames(path: Path, *, start: int = HEADER.size) -> Iterator[Frame]:
    """Frames one after the other, links unchecked, until the first that is not whole; the file may still grow."""
    with path.open("rb") as file:
        file.seek(start)
        at, buffer, used = start, b"", 0
        while True:
            if len(buffer) - used < FRAME.size:
                buffer, used = buffer[used:] + file.read(_BLOCK), 0
                if len(buffer) < FRAME.size:
                    return
            n, more, link = FRAME.unpack_from(buffer, used)
            size = FRAME.size + n + more
            if len(buffer) - used < size:
                # A length that is no length must not ask for gigabytes: never read more than the file has.
                buffer, used = buffer[used:] + file.read(max(_BLOCK, min(size, _left(file)))), 0
                if len(buffer) < size:
                    return
            begin = used + FRAME.size
            record = buffer[begin : begin + n]
            yield Frame(at, link, record, buffer[begin + n : begin + n + more])
            used += size
            at += size


def _left(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size - file.tell()


def checked(
    path: Path, first: int, previous: bytes, secrets: Secrets, *, start: int = HEADER.size
) -> Iterator[Frame]:
    """Frames whose links hold, from the record `first` at byte `start` on, the link before it being `previous`.

    Ends at the first frame that is not whole.

    Raises
    ------
    IntegrityError
        At the first whole frame whose link does not hold, or that says another length than its record.
    """
    for n, frame in enumerate(frames(path, start=start), first):
        if secrets.link(previous, frame.record) != frame.link or not _fits(frame):
            raise IntegrityError(
                f"{path}: record {n} (byte {frame.at})", "that follows the record before", "another"
            )
        previous = frame.link
        yield frame


def _fits(frame: Frame) -> bool:
    """What is sealed is as long as the record says, or was taken out."""
    if not frame.content:
        return True
    if frame.record[:1] != bytes([ANSWER]) or len(frame.record) < FIXED.size or not frame.record[1] & KEPT:
        return False
    return bool(FIXED.unpack_from(frame.record)[11] == len(frame.content))


class Places:
    """Where each record of a finished segment begins: read from its file place by place, or from memory.

    Attributes
    ----------
    latest
        Latest time of an answer in it, microseconds since 1970; 0 if there is none.
    """

    __slots__ = ("_handle", "_kept", "_n", "latest")

    def __init__(self, latest: int, n: int, *, handle: int = -1, kept: array[int] | None = None) -> None:
        self.latest, self._n, self._handle, self._kept = latest, n, handle, kept

    def __getitem__(self, i: int) -> int:
        if not 0 <= i < self._n:
            raise IndexError(i)
        if self._kept is not None:
            return self._kept[i]
        return int.from_bytes(os.pread(self._handle, 8, _PLACES.size + 8 * i), "little")

    def __del__(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)


def places(files: Files, number: int) -> Places:
    """The places of a finished segment, from their file, which is made if it is missing or not of this segment."""
    data, path = files.data(number), files.named(number, "places")
    size = data.stat().st_size
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            magic, latest, n, of_size = _PLACES.unpack(os.pread(handle, _PLACES.size, 0))
            if magic != MAGIC or of_size != size or os.fstat(handle).st_size != _PLACES.size + 8 * n:
                raise OSError
        except (OSError, struct.error):
            os.close(handle)
            raise
        return Places(latest, n, handle=handle)
    except (OSError, struct.error):
        found, latest = array("Q"), 0
    for frame in frames(data):
        found.append(frame.at)
        latest = max(latest, time_of(frame.record))
    write_places(files, number, found, latest, size)
    return Places(latest, len(found), kept=found)


def write_places(files: Files, number: int, at: array[int], latest: int, size: int) -> None:
    """Keep the places of a finished segment; where that cannot be written they are found again each time."""
    path = files.named(number, "places")
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        with draft.open("wb") as file:
            file.write(_PLACES.pack(MAGIC, latest, len(at), size) + at.tobytes())
        os.replace(draft, path)  # noqa: PTH105
    except OSError:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def new_salt(files: Files, number: int) -> bytes:
    """Draw the salt of a new segment; it is on the disk before anything is sealed with it."""
    salt = os.urandom(SALT_BYTES)
    handle = os.open(files.named(number, "salt"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(handle, salt)
        os.fsync(handle)
    finally:
        os.close(handle)
    sync_folder(files.folder)
    return salt


def salt_of(files: Files, number: int) -> bytes | None:
    """The salt of a segment; None if it was destroyed."""
    try:
        salt = files.named(number, "salt").read_bytes()
    except FileNotFoundError:
        return None
    return salt if len(salt) == SALT_BYTES and any(salt) else None
