"""CSV and Parquet as tables of bounded size, with the rows that could not be read counted."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from stillwatch.errors import FormatError
from stillwatch.logs.sources import BLOCK_BYTES, Source

_DAMAGE = (pa.ArrowException, OSError, ValueError)
"""What Arrow raises on damaged files; a name in the footer that is not UTF-8 is a plain UnicodeDecodeError."""


@dataclass(slots=True)
class TableBlock:
    """Some rows of one source."""

    number: int
    """Counts from 0."""
    rows: pa.Table
    """The source's own columns (text, if it is CSV) and `source_line`, int64, the row from 1."""
    broken: list[tuple[int, str]] = field(default_factory=list)
    """Row and reason of what could not be read."""


def csv_blocks(chunks: Iterator[bytes], name: str, block_bytes: int = BLOCK_BYTES) -> Iterator[TableBlock]:
    """Rows of a CSV file with a header line, every column as text, empty fields as null.

    Raises
    ------
    FormatError
        There is no usable header.
    """
    stream = _Stream(chunks)
    broken: list[tuple[int, str]] = []
    refused: set[int] = set()
    header = _header(stream, name)

    def refuse(row: pyarrow.csv.InvalidRow) -> str:
        found = f"{row.actual_columns} fields where the header has {row.expected_columns}"
        refused.add(row.number)
        broken.append((row.number, found))
        return "skip"

    number, next_row = 0, 1
    try:
        reader = pyarrow.csv.open_csv(
            pa.PythonFile(stream, mode="r"),
            read_options=pyarrow.csv.ReadOptions(
                use_threads=False, block_size=block_bytes, column_names=header, skip_rows=0
            ),
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=refuse),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.large_string()),
                null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=True,
            ),
        )  # fmt: skip
        for batch in reader:
            # Refused rows have numbers too; those of later batches may be known already.
            numbers = np.arange(next_row, next_row + batch.num_rows + len(refused), dtype=np.int64)
            numbers = numbers[~np.isin(numbers, list(refused))][: batch.num_rows]
            rows = pa.Table.from_batches([batch]).append_column("source_line", pa.array(numbers))
            taken, broken = broken, []
            yield TableBlock(number, rows, taken)
            if batch.num_rows:
                next_row = int(numbers[-1]) + 1
            number += 1
    except pa.ArrowInvalid as error:
        if "Empty CSV" not in str(error):
            broken.append((next_row, f"the CSV cannot be read from here on ({_first_line(error)})"))
    if stream.broken is not None:
        broken.append((next_row, str(stream.broken).removeprefix(f"{name}: ")))
    if broken:
        empty = pa.schema(
            [*((h, pa.large_string()) for h in header), ("source_line", pa.int64())]
        ).empty_table()
        yield TableBlock(number, empty, broken)


def parquet_blocks(source: Source, used: list[int], block_bytes: int = BLOCK_BYTES) -> Iterator[TableBlock]:
    """Rows of a Parquet file, as many at a time as make about `block_bytes`.

    Raises
    ------
    FormatError
        It cannot be opened as Parquet.
    """
    assert source.path is not None
    try:
        file = pq.ParquetFile(source.path)
        names = file.schema_arrow.names
        groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
        declared = sum(group.num_rows for group in groups)
        total = sum(group.total_byte_size for group in groups)
    except _DAMAGE as error:
        raise FormatError(f"not readable as Parquet ({_first_line(error)})", source.name) from error
    if declared != file.metadata.num_rows or min((group.num_rows for group in groups), default=0) < 0:
        found = f"{file.metadata.num_rows} rows, in its parts {declared}"
        raise FormatError(f"not readable as Parquet (its footer says {found})", source.name)
    with file:
        if len(set(names)) != len(names):
            raise FormatError("two columns have one name", source.name)
        every = max(total // max(file.metadata.num_rows, 1), 1)
        size = int(np.clip(block_bytes // every, 64, 65_536))
        number, next_row = 0, 1
        try:
            for batch in file.iter_batches(size):
                numbers = np.arange(next_row, next_row + batch.num_rows, dtype=np.int64)
                rows = pa.Table.from_batches([batch])
                if "source_line" in names:
                    rows = rows.drop_columns("source_line")
                yield TableBlock(number, rows.append_column("source_line", pa.array(numbers)))
                next_row += batch.num_rows
                number += 1
                used[0] = source.size * (next_row - 1) // max(file.metadata.num_rows, 1)
        except _DAMAGE as error:
            # What is missing is known exactly here: the footer gives the number of rows.
            lost = range(next_row, file.metadata.num_rows + 1)
            reason = f"the Parquet file is damaged here ({_first_line(error)})"
            empty = pa.schema([("source_line", pa.int64())]).empty_table()
            yield TableBlock(number, empty, [(row, reason) for row in lost])


def parquet_names(source: Source) -> list[str]:
    """The columns of a Parquet file; none where it is damaged, which `parquet_blocks` says."""
    assert source.path is not None
    try:
        return pq.read_schema(source.path).names
    except _DAMAGE:
        return []


class _Stream:
    """Chunks of text as a file that Arrow can read; a break in them ends the file and is kept in `broken`."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._held = chunks, b""
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._ended = False
        self.broken: FormatError | None = None
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        while not self._ended and (size < 0 or len(self._held) < size):
            try:
                chunk = next(self._chunks, None)
            except FormatError as error:
                self.broken, chunk = error, None
            self._ended = chunk is None
            self._held += self._decoder.decode(chunk or b"", final=self._ended).encode()
        cut = len(self._held) if size < 0 else size
        got, self._held = self._held[:cut], self._held[cut:]
        return got

    def line(self) -> bytes:
        """Up to and with the next line end."""
        while b"\n" not in self._held and not self._ended and len(self._held) < 1 << 20:
            more = self.read(len(self._held) + 4096)
            self._held = more + self._held
        end = self._held.find(b"\n") + 1 or len(self._held)
        got, self._held = self._held[:end], self._held[end:]
        return got

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def writable(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True


def _header(stream: _Stream, name: str) -> list[str]:
    line = stream.line().decode()
    try:
        header = next(csv.reader([line.rstrip("\r\n")]), [])
    except csv.Error as error:
        raise FormatError(f"no usable CSV header ({error})", name, 1) from error
    header = [column.strip() for column in header]
    if not any(header) or "\0" in line:
        raise FormatError("no CSV header", name, 1)
    if len(set(header)) != len(header):
        raise FormatError("two columns have one name", name, 1)
    return [column or f"unnamed {i}" for i, column in enumerate(header)]


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__
