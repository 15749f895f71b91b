"""Files, pipes and globs become numbered blocks of complete lines, in bounded memory.

A block holds about BLOCK_BYTES of text. Beside it at most one line is held, up to MAX_LINE; a longer line is
counted and passed over without being kept.
"""

from __future__ import annotations

import codecs
import glob
import hashlib
import json
import re
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stillwatch.errors import FormatError, InputError

BLOCK_BYTES = 32 << 20
MAX_LINE = 64 << 20
MAX_DOCUMENT = 256 << 20
_CHUNK = 1 << 20
_PIECE = 64 << 10  # zstd: what a broken stream can cost beyond the break itself


@dataclass(slots=True)
class Block:
    """Some complete lines of one source."""

    number: int
    """Counts from 0."""
    lines: pa.Array
    """large_string, trimmed, no blank ones."""
    line_numbers: pa.Array
    """int64, from 1, of the same length as `lines`."""
    broken: list[tuple[int, str]] = field(default_factory=list)
    """Line number and reason of what could not become a line."""


@dataclass(frozen=True, slots=True)
class Source:
    """One input: a path, or standard input where `path` is None."""

    name: str
    path: Path | None
    size: int

    def digest(self) -> str:
        """sha256 of the file as it lies there; empty for standard input, which cannot be read twice."""
        if self.path is None:
            return ""
        with self._open() as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def _open(self) -> BinaryIO:
        if self.path is None:
            return sys.stdin.buffer
        try:
            return self.path.open("rb")
        except OSError as error:
            raise InputError(f"{self.name}: cannot be read: {error.strerror}") from error

    def chunks(self, used: list[int]) -> Iterator[bytes]:
        """Decompressed bytes, gzip and zstd told by their first bytes; `used[0]` counts bytes read from the file.

        Raises
        ------
        FormatError
            After everything that could be read: the compressed stream breaks off or is damaged.
        """
        stream = self._open()
        try:
            head = stream.read(_CHUNK)
            if head.startswith(b"\x1f\x8b"):
                yield from _gunzip(self.name, head, stream, used)
            elif head.startswith(b"\x28\xb5\x2f\xfd"):
                yield from _unzstd(self.name, head, stream, used)
            else:
                while head:
                    used[0] += len(head)
                    yield head
                    head = stream.read(_CHUNK)
        except OSError as error:
            raise FormatError(f"reading failed: {error.strerror or error}", self.name) from error
        finally:
            if self.path is not None:
                stream.close()

    def is_parquet(self) -> bool:
        """The file begins as Parquet does."""
        if self.path is None:
            return False
        with self._open() as stream:
            return stream.read(4) == b"PAR1"

    def text(self, used: list[int]) -> Iterator[bytes]:
        """The same as UTF-8: a byte order mark is dropped, UTF-16 is converted."""
        chunks = self.chunks(used)
        first = b""
        for chunk in chunks:
            first += chunk
            if len(first) >= 4:
                break
        encoding = _encoding(first)
        if not encoding:
            yield first.removeprefix(codecs.BOM_UTF8)
            yield from chunks
            return
        decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
        yield decoder.decode(first).encode("utf-8", "replace")
        for chunk in chunks:
            yield decoder.decode(chunk).encode("utf-8", "replace")
        yield decoder.decode(b"", final=True).encode("utf-8", "replace")


def peek(chunks: Iterator[bytes], least: int = 1 << 16) -> tuple[bytes, Iterator[bytes]]:
    """The first bytes, and all chunks again; a break in the stream is raised where it lies, not here."""
    head: list[bytes] = []
    broken: FormatError | None = None
    try:
        for chunk in chunks:
            head.append(chunk)
            if sum(map(len, head)) >= least:
                break
    except FormatError as error:
        broken = error

    def again() -> Iterator[bytes]:
        yield from head
        if broken is not None:
            raise broken
        yield from chunks

    return b"".join(head), again()


def line_blocks(chunks: Iterator[bytes], name: str, block_bytes: int = BLOCK_BYTES) -> Iterator[Block]:
    """Complete lines in blocks of about `block_bytes`, cut at the same places whenever the same file is read."""
    held: list[bytes] = []
    size, number, next_line = 0, 0, 1
    broken: list[tuple[int, str]] = []
    skipping = False  # inside a line that is too long to hold

    def cut(text: bytes) -> Block:
        nonlocal number, next_line, broken
        block, count = _block(number, text, next_line)
        block.broken, broken = broken, []
        number, next_line = number + 1, next_line + count
        return block

    try:
        for piece in _pieces(chunks, block_bytes):
            if skipping:
                end = piece.find(b"\n")
                if end < 0:
                    continue
                piece, skipping, next_line = piece[end + 1 :], False, next_line + 1
            held.append(piece)
            size += len(piece)
            if size < block_bytes:
                continue
            text = b"".join(held)
            end = text.rfind(b"\n") + 1
            rest = text[end:]
            if end:
                yield cut(text[:end])
            if len(rest) > MAX_LINE:
                broken.append((next_line, f"line longer than {MAX_LINE >> 20} MB"))
                rest, skipping = b"", True
            held, size = [rest], len(rest)
    except FormatError as error:
        text = b"".join(held)
        end = text.rfind(b"\n") + 1
        broken.append((next_line + text.count(b"\n", 0, end), str(error).removeprefix(f"{name}: ")))
        yield cut(text[:end])
        return
    text = b"".join(held)
    if text or broken:
        yield cut(text)


def _pieces(chunks: Iterator[bytes], size: int) -> Iterator[bytes]:
    for chunk in chunks:
        if len(chunk) <= size:
            yield chunk
        else:
            yield from (chunk[start : start + size] for start in range(0, len(chunk), size))


def is_document(head: bytes) -> bool:
    """The file seems to be one JSON document over several lines, or an array, and not one object a line."""
    text = head.decode("utf-8", "replace").lstrip()
    if text.startswith("["):
        return True
    lines = [line for line in text.split("\n", 8)[:8] if line.strip()]
    return text.startswith("{") and len(lines) > 1 and not any(map(_is_json, lines[:2]))


def _is_json(line: str) -> bool:
    try:
        return isinstance(json.loads(line, strict=False), dict)
    except (ValueError, RecursionError):
        return False


def document_chunks(chunks: Iterator[bytes], name: str) -> Iterator[bytes]:
    """A file that is one JSON document (or several, not one a line) as lines; anything else as it is.

    An array becomes one line an element. Held in memory as a whole, so only up to MAX_DOCUMENT.
    """
    held: list[bytes] = []
    size = 0
    broken: FormatError | None = None
    try:
        for chunk in chunks:
            held.append(chunk)
            size += len(chunk)
            if size > MAX_DOCUMENT:
                yield from held
                yield from chunks
                return
    except FormatError as error:
        broken = error
    whole = b"".join(held)
    try:
        # Some exporters end an array with a comma.
        yield from _elements(re.sub(r",\s*\]\s*$", "]", whole.decode("utf-8", "replace")))
    except (ValueError, RecursionError):
        yield whole
    if broken is not None:
        raise broken


def _elements(text: str) -> list[bytes]:
    reader = json.JSONDecoder(strict=False)
    found: list[bytes] = []
    at = len(text) - len(text.lstrip())
    while at < len(text):
        value, at = reader.raw_decode(text, at)
        values = value if isinstance(value, list) else [value]
        # ASCII escapes, so that a lone surrogate stays one and no text can hold a line end
        found.extend(json.dumps(v).encode() + b"\n" for v in values)
        at += len(text[at : at + 4096]) - len(text[at : at + 4096].lstrip())
    return found


def expand(files: Sequence[str | Path]) -> list[Source]:
    """Sources of paths, globs and ``-``, in the order given; globs alphabetically, each file once.

    Raises
    ------
    InputError
        Nothing is there, or it is a folder.
    """
    found: dict[str, Source] = {}
    for name in map(str, files):
        if name == "-":
            found["-"] = Source("-", None, 0)
            continue
        paths = [name] if Path(name).exists() else sorted(glob.glob(name, recursive=True))  # noqa: PTH207
        if not paths:
            raise InputError(f"{name}: no such file")
        for path in map(Path, paths):
            if path.is_dir():
                raise InputError(f"{path}: is a folder; give its files, such as '{path}/*.jsonl.gz'")
            found.setdefault(str(path.resolve()), Source(str(path), path, path.stat().st_size))
    if not found:
        raise InputError("no file was given")
    return list(found.values())


def _block(number: int, text: bytes, first: int) -> tuple[Block, int]:
    """The lines of `text`, and how many line ends (or a last open line) it has."""
    if not text:
        return Block(number, pa.array([], pa.large_string()), pa.array([], pa.int64())), 0
    values = pa.py_buffer(text)
    ends = np.flatnonzero(np.frombuffer(text, np.uint8) == 10).astype(np.int64) + 1
    if not len(ends) or ends[-1] != len(text):
        ends = np.append(ends, len(text))
    offsets = pa.py_buffer(np.concatenate([np.zeros(1, np.int64), ends]))
    count = len(ends)
    raw = pa.LargeBinaryArray.from_buffers(pa.large_binary(), count, [None, offsets, values])
    try:
        lines = raw.cast(pa.large_string())
    except pa.ArrowInvalid:
        # Not UTF-8 somewhere. A line feed is never part of a replaced sequence, so the lines stay the same.
        return _block(number, text.decode("utf-8", "replace").encode(), first)
    lines = pc.utf8_trim(lines, " \t\r\n\f\v")
    numbers = pa.array(np.arange(first, first + count, dtype=np.int64))
    filled = pc.greater(pc.binary_length(lines), 0)
    if not pc.all(filled).as_py():
        lines, numbers = lines.filter(filled), numbers.filter(filled)
    return Block(number, lines, numbers), count


def _encoding(head: bytes) -> str:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    # Without a mark: the first character of a JSON or CSV log is ASCII, so every other byte is zero.
    if head[1:2] == b"\0" and head[3:4] == b"\0" and head[:1] > b"\0":
        return "utf-16-le"
    if head[:1] == b"\0" and head[2:3] == b"\0" and head[1:2] > b"\0":
        return "utf-16-be"
    return ""


def _gunzip(name: str, head: bytes, stream: BinaryIO, used: list[int]) -> Iterator[bytes]:
    member = zlib.decompressobj(wbits=31)
    chunk = head
    started = False
    while chunk:
        used[0] += len(chunk)
        while chunk:
            try:
                # Bounded output: a small file may unpack to any size.
                yield member.decompress(chunk, 4 * _CHUNK)
            except zlib.error as error:
                if started and not member.unconsumed_tail and not any(chunk):
                    return  # zero padding after the last member
                raise FormatError(f"the gzip stream is damaged from here on ({error})", name) from error
            chunk = member.unconsumed_tail
            if member.eof:
                chunk = member.unused_data
                member, started = zlib.decompressobj(wbits=31), True
                if not chunk.strip(b"\0"):
                    chunk = b""
            else:
                started = False
        chunk = stream.read(_CHUNK)
        if chunk and started and not chunk.strip(b"\0"):
            continue
        if chunk:
            started = False
    rest = member.flush() if not member.eof and not started else b""
    if rest:
        yield rest
    if not started:
        raise FormatError("the gzip stream ends too early; what came before is kept", name)


class _Prefixed:
    """A stream whose first bytes were already taken."""

    def __init__(self, head: bytes, stream: BinaryIO, used: list[int]) -> None:
        self._head, self._stream, self._used = head, stream, used
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        if self._head:
            got, self._head = self._head[:size], self._head[size:]
        else:
            got = self._stream.read(size)
        self._used[0] += len(got)
        return got

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def writable(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True


def _unzstd(name: str, head: bytes, stream: BinaryIO, used: list[int]) -> Iterator[bytes]:
    plain = pa.CompressedInputStream(pa.PythonFile(_Prefixed(head, stream, used), mode="r"), "zstd")
    while True:
        try:
            piece = plain.read(_PIECE)
        except OSError as error:
            raise FormatError(f"the zstd stream is damaged or ends too early ({error})", name) from error
        if not piece:
            return
        yield piece
