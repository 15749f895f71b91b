"""A ZIP with one spelling: the members decide every byte of it, so a reader can tell any byte that was changed.

Members are stored, never compressed: an archive is as large as what it holds, so none can unfold into more, and no
version of a compression library decides its bytes. No comment, no extra field (but the sizes of ZIP64 [1]_), no gap, no
overlap, one fixed date, one fixed mode; anything else is refused with the reason.

.. [1] PKWARE, "APPNOTE.TXT - .ZIP File Format Specification", version 6.3.10, sections 4.3 and 4.5.3.
"""

from __future__ import annotations

import hashlib
import re
import stat
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO

from stillwatch.errors import FormatError, IntegrityError

MAX_MEMBERS = 1_000_000
MAX_NAME = 200
MAX_BYTES = 1 << 40
"""Of a whole archive, 1 TiB: it is never read into memory, and it cannot be larger than its file."""

_LOCAL, _CENTRAL, _END, _END64, _LOCATOR = (
    b"PK\x03\x04",
    b"PK\x01\x02",
    b"PK\x05\x06",
    b"PK\x06\x06",
    b"PK\x06\x07",
)
_DATE = 0x0021
"""1980-01-01, the first day that the format knows."""
_MODE = (stat.S_IFREG | 0o600) << 16
_BIG = 0xFFFFFFFF
_MANY = 0xFFFF
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Stored:
    """One member as the archive has it."""

    name: str
    size: int
    crc: int
    offset: int
    """Where its local header begins."""

    @property
    def start(self) -> int:
        """Where its bytes begin."""
        return self.offset + len(_local(self))

    @property
    def end(self) -> int:
        """Where its bytes end."""
        return self.start + self.size


class Packer:
    """Writes an archive to a file that can seek.

    Parameters
    ----------
    out
        Open for writing, at its beginning.
    """

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self._members: list[Stored] = []
        self._offset = 0

    def add(self, name: str, blocks: Iterable[bytes], size: int) -> str:
        """Write one member of `size` bytes; its sha256.

        Raises
        ------
        IntegrityError
            The blocks have another size.
        """
        draft = Stored(name, size, 0, self._offset)
        self._out.write(_local(draft))
        hashed, crc, found = hashlib.sha256(), 0, 0
        for block in blocks:
            hashed.update(block)
            crc = zlib.crc32(block, crc)
            found += len(block)
            self._out.write(block)
        if found != size:
            raise IntegrityError(name, f"of {size} bytes", f"{found} bytes")
        member = Stored(name, size, crc, self._offset)
        self._out.seek(self._offset)
        self._out.write(_local(member))
        self._out.seek(member.end)
        self._offset = member.end
        self._members.append(member)
        return hashed.hexdigest()

    def finish(self) -> None:
        """Write the directory; the archive is whole."""
        self._out.write(_directory(self._members, self._offset))


class Unpacker:
    """Reads an archive that `Packer` wrote, and refuses every other.

    Parameters
    ----------
    file
        Open for reading, can seek.
    source
        How errors call it.

    Raises
    ------
    FormatError
        It is no archive, or has something that these archives never have: a compressed, encrypted, linked or unsafely
        named member, two members of one name, too many or too large ones.
    IntegrityError
        It is one of ours and a byte of it was changed, added or removed.
    """

    def __init__(self, file: IO[bytes], source: str) -> None:
        self._file, self.source = file, source
        directory, tail = self._tail()
        self.members: dict[str, Stored] = {}
        self._read(directory)
        listed = list(self.members.values())
        end = listed[-1].end if listed else 0
        if _directory(listed, end) != tail:
            raise IntegrityError(f"{source}: its directory", "as the members make it", "another")
        for member in listed:
            file.seek(member.offset)
            expected = _local(member)
            if file.read(len(expected)) != expected:
                raise IntegrityError(
                    f"{source}: the header of {member.name}", "as the directory has it", "another"
                )

    def blocks(self, name: str) -> Iterator[bytes]:
        """The bytes of a member.

        Raises
        ------
        IntegrityError
            After the last block, if they are not those that were written.
        """
        member = self.members[name]
        crc, left = 0, member.size
        position = member.start
        while left:
            self._file.seek(position)  # readers of several members may take turns
            block = self._file.read(min(_BLOCK, left))
            if not block:
                raise IntegrityError(
                    f"{self.source}: {name}", f"of {member.size} bytes", f"{member.size - left} bytes"
                )
            crc = zlib.crc32(block, crc)
            left -= len(block)
            position += len(block)
            yield block
        if crc != member.crc:
            raise IntegrityError(f"{self.source}: {name}", f"{member.crc:08x} (CRC-32)", f"{crc:08x}")

    def read(self, name: str, limit: int) -> bytes:
        """All bytes of a member that is no larger than `limit`.

        Raises
        ------
        FormatError
            It is larger.
        IntegrityError
            As for `blocks`.
        """
        size = self.members[name].size
        if size > limit:
            raise FormatError(f"{name} has {size:,} bytes, at most {limit:,} are read", self.source)
        return b"".join(self.blocks(name))

    # -- the directory ------------------------------------------------------------------------------------------

    def _tail(self) -> tuple[bytes, bytes]:
        """The directory's entries, and everything from their beginning to the end of the file."""
        file = self._file
        size = file.seek(0, 2)
        if size > MAX_BYTES:
            raise FormatError(f"{size:,} bytes, at most {MAX_BYTES:,} are read", self.source)
        file.seek(max(0, size - 98))
        last = file.read(98)
        if len(last) < 22 or last[-22:-18] != _END:
            raise self._no_end(size)
        (disk, of, here, count, length, start, comment) = struct.unpack("<HHHHIIH", last[-18:])
        if comment or disk or of or here != count:
            raise FormatError("a comment or several disks, which these archives never have", self.source)
        closing = 22
        if last[-42:-38] == _LOCATOR and last[-98:-94] == _END64:
            count, length, start = struct.unpack("<QQQ", last[-66:-42])
            closing = 98
        if count > MAX_MEMBERS:
            raise FormatError(f"{count:,} members, at most {MAX_MEMBERS:,} are read", self.source)
        if length > count * (46 + MAX_NAME + 28) or start + length + closing != size:
            raise FormatError(
                f"a directory of {length:,} bytes at {start:,} does not fit a file of {size:,} bytes: "
                "it was cut off, or has something before, between or after",
                self.source,
            )
        file.seek(start)
        tail = file.read(length + closing)
        return tail[:length], tail

    def _no_end(self, size: int) -> FormatError:
        self._file.seek(max(0, size - 66_000))
        if _END in self._file.read(66_000):
            return FormatError("bytes stand after the end of the archive", self.source)
        return FormatError("no ZIP archive, or its end was cut off", self.source)

    def _read(self, directory: bytes) -> None:
        position, offset = 0, 0
        folded: set[str] = set()
        while position < len(directory):
            if directory[position : position + 4] != _CENTRAL or position + 46 > len(directory):
                raise FormatError(f"no entry at byte {position} of its directory", self.source)
            fields = struct.unpack("<HHHHHHIIIHHHHHII", directory[position + 4 : position + 46])
            (_, _, flags, method, _, _, crc, packed, size, n, e, c, _, _, attributes, _) = fields
            raw = directory[position + 46 : position + 46 + n]
            extra = directory[position + 46 + n : position + 46 + n + e]
            name = self._safe(raw)
            self._plain(name, flags, method, attributes)
            if name in self.members:
                raise FormatError(f"two members of the name {name}", self.source)
            if name.casefold() in folded:
                raise FormatError(
                    f"{name} and another differ in capitals only: one would take the other's place",
                    self.source,
                )
            if size == _BIG and len(extra) >= 12 and extra[:2] == b"\x01\x00":
                size = packed = struct.unpack("<Q", extra[4:12])[0]
            if packed != size:
                raise FormatError(f"{name}: {packed:,} bytes that claim to be {size:,}", self.source)
            folded.add(name.casefold())
            self.members[name] = member = Stored(name, size, crc, offset)
            offset = member.end
            position += 46 + n + e + c

    def _safe(self, raw: bytes) -> str:
        """The name of a member, if it is one that can only be a file below."""
        shown = raw[:80].decode("ascii", "backslashreplace")
        if not raw.isascii() or any(byte < 0x20 or byte == 0x7F for byte in raw):
            raise FormatError(f"a member with an unsafe name: {shown!r}", self.source)
        name = raw.decode("ascii")
        parts = name.split("/")
        if (
            name.startswith("/")
            or "\\" in name
            or re.match("[A-Za-z]:", name)
            or {"", ".", ".."} & set(parts)
        ):
            raise FormatError(f"a member with an unsafe name: {shown!r}", self.source)
        if len(name) > MAX_NAME or str(PurePosixPath(name)) != name:
            raise FormatError(f"a member with an unsafe name: {shown!r}", self.source)
        return name

    def _plain(self, name: str, flags: int, method: int, attributes: int) -> None:
        if flags & 0x2041:
            raise FormatError(f"{name} is encrypted", self.source)
        if stat.S_ISLNK(attributes >> 16):
            raise FormatError(f"{name} is a symbolic link", self.source)
        if method:
            raise FormatError(
                f"{name} is compressed (method {method}); these archives store, so that none unfolds into more",
                self.source,
            )


def _local(member: Stored) -> bytes:
    """The local header of a member."""
    big = member.size >= _BIG
    extra = struct.pack("<HHQQ", 1, 16, member.size, member.size) if big else b""
    size = _BIG if big else member.size
    name = member.name.encode("ascii")
    head = struct.pack(
        "<HHHHHIIIHH", 45 if big else 20, 0, 0, 0, _DATE, member.crc, size, size, len(name), len(extra)
    )
    return _LOCAL + head + name + extra


def _directory(members: list[Stored], start: int) -> bytes:
    """The central directory, which begins at byte `start`, and the end of the archive."""
    body = b"".join(_central(member) for member in members)
    count, length = len(members), len(body)
    end64 = b""
    if count >= _MANY or length >= _BIG or start >= _BIG:
        end64 = (
            _END64
            + struct.pack("<QHHIIQQQQ", 44, 0x0300 | 45, 45, 0, 0, count, count, length, start)
            + _LOCATOR
            + struct.pack("<IQI", 0, start + length, 1)
        )
    few = min(count, _MANY)
    end = struct.pack("<HHHHIIH", 0, 0, few, few, min(length, _BIG), min(start, _BIG), 0)
    return body + end64 + _END + end


def _central(member: Stored) -> bytes:
    numbers = [n for n in (member.size, member.size, member.offset) if n >= _BIG]
    extra = struct.pack(f"<HH{len(numbers)}Q", 1, 8 * len(numbers), *numbers) if numbers else b""
    version = 45 if numbers else 20
    size, offset = min(member.size, _BIG), min(member.offset, _BIG)
    name = member.name.encode("ascii")
    head = struct.pack(
        "<HHHHHHIIIHHHHHII",
        0x0300 | version, version, 0, 0, 0, _DATE, member.crc, size, size, len(name), len(extra), 0, 0, 0, _MODE,
        offset,
    )  # fmt: skip
    return _CENTRAL + head + name + extra
