"""Documents out of files of any kind, in bounded memory: JSON lines, Parquet, CSV, plain text; plain, gzip or zstd."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stillwatch.errors import FormatError, InputError, SchemaError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from stillwatch.logs.sources import Source

COLUMNS = ("tokens", "token_ids", "text", "output", "response", "completion", "content")
"""Fields that are looked for, in this order, where none is named."""
IDS = ("tokens", "token_ids")
"""Fields whose text in a CSV cell is a JSON list of ids."""
BLOCK_BYTES = 4 << 20


@dataclass(slots=True)
class Batch:
    """Some documents of one source, all texts or all token ids."""

    source: str
    numbers: Sequence[int]
    """Line or row of each document, from 1; 0: the whole file."""
    texts: list[str] | None = None
    ids: NDArray[np.int64] | None = None
    """Documents one after the other."""
    ends: NDArray[np.int64] | None = None

    def place(self, i: int) -> str:
        """Where a document stands, such as ``a.jsonl:812``."""
        return f"{self.source}:{self.numbers[i]}" if self.numbers[i] else self.source


@dataclass(slots=True)
class Bad:
    """Rows that could not be read: an error at the first, or counted where they are to be skipped."""

    skip: bool = False
    count: int = 0
    first: list[str] = field(default_factory=list)
    """Where the first few stand, and why."""

    def __call__(self, message: str, source: str, number: int = 0) -> None:
        error = FormatError(message, source, number)
        if not self.skip:
            raise error
        self.count += 1
        if len(self.first) < 5:
            self.first.append(str(error))


def batches(
    source: Source, used: list[int], bad: Bad, *, column: str = "", lines: bool = False
) -> Iterator[Batch]:
    """The documents of one source.

    Parameters
    ----------
    used
        ``used[0]`` counts bytes of the file that were read.
    bad
        Told of each row that cannot be read, and of a file without a document.
    column
        Field or column with the text or the ids; one of `COLUMNS` where it is empty.
    lines
        Plain text holds one document a line; else a whole file is one.

    Raises
    ------
    FormatError, SchemaError
        A row or file cannot be read, or there is no such column; names those there are.
    """
    before, empty = bad.count, True
    for batch in _batches(source, used, bad, column, lines):
        empty = empty and not batch.numbers
        yield batch
    if empty and bad.count == before:
        bad("there is no document in it", source.name)


def _batches(source: Source, used: list[int], bad: Bad, column: str, lines: bool) -> Iterator[Batch]:
    from stillwatch.logs.sources import document_chunks, is_document, line_blocks, peek
    from stillwatch.logs.tables import csv_blocks, parquet_blocks

    if source.is_parquet():
        yield from _tables(parquet_blocks(source, used, BLOCK_BYTES), source.name, bad, column)
        return
    head, chunks = peek(source.text(used))
    name = source.name.removesuffix(".gz").removesuffix(".zst")
    if lines:
        for block in line_blocks(chunks, source.name, BLOCK_BYTES):
            _broken(block.broken, source.name, bad)
            yield Batch(source.name, block.line_numbers.to_pylist(), block.lines.to_pylist())
    elif name.endswith(".csv"):
        yield from _tables(csv_blocks(chunks, source.name, BLOCK_BYTES), source.name, bad, column)
    elif name.endswith((".jsonl", ".ndjson", ".json")) or _begins_as_json(head):
        whole = is_document(head)
        for block in line_blocks(
            document_chunks(chunks, source.name) if whole else chunks, source.name, BLOCK_BYTES
        ):
            _broken(block.broken, source.name, bad)
            numbers = [0] * len(block.lines) if whole and not head.lstrip().startswith(b"[") else None
            yield from _json(
                block.lines.to_pylist(), numbers or block.line_numbers.to_pylist(), source.name, bad, column
            )
    else:
        yield from _whole(chunks, source.name, bad)


def _whole(chunks: Iterator[bytes], name: str, bad: Bad) -> Iterator[Batch]:
    from stillwatch.logs.sources import MAX_DOCUMENT

    held, size = [], 0
    try:
        for chunk in chunks:
            held.append(chunk)
            size += len(chunk)
            if size > MAX_DOCUMENT:
                raise FormatError(
                    f"larger than {MAX_DOCUMENT >> 20} MB as one document; --lines reads one a line", name
                )
    except FormatError as problem:
        bad(str(problem).removeprefix(f"{name}: "), name)
        return
    text = b"".join(held).decode("utf-8", "replace")
    if text.strip():
        yield Batch(name, [0], [text])


def _json(lines: list[str], numbers: list[int], name: str, bad: Bad, column: str) -> Iterator[Batch]:
    texts: list[str] = []
    at: list[int] = []
    ids: list[list[int]] = []
    ids_at: list[int] = []
    for line, number in zip(lines, numbers, strict=True):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as problem:
            bad(f"not JSON ({_reason(problem)})", name, number)
            continue
        if not isinstance(row, dict):
            bad(f"a JSON object is expected on each line, found {type(row).__name__}", name, number)
            continue
        wanted = column or next((c for c in COLUMNS if row.get(c) is not None), "")
        value = row.get(wanted)
        if isinstance(value, str) and wanted:
            texts.append(value)
            at.append(number)
        elif isinstance(value, list) and all(type(i) is int and -(1 << 63) <= i < 1 << 63 for i in value):
            ids.append(value)
            ids_at.append(number)
        else:
            expected = repr(wanted) if wanted else " or ".join(map(repr, COLUMNS))
            found = (
                f"there is {', '.join(map(repr, list(row)[:20])) or 'nothing'}"
                if value is None
                else f"found {type(value).__name__}"
            )
            bad(f"text or a list of token ids is expected in {expected}; {found}", name, number)
    if texts:
        yield Batch(name, at, texts)
    if ids:
        yield _of_lists(name, ids_at, ids)


def _of_lists(name: str, numbers: list[int], ids: list[list[int]]) -> Batch:
    import numpy as np

    ends = np.cumsum([len(one) for one in ids], dtype=np.int64)
    flat = np.fromiter((i for one in ids for i in one), np.int64, int(ends[-1]) if len(ends) else 0)
    return Batch(name, numbers, ids=flat, ends=ends)


def _tables(blocks: Iterator[Any], name: str, bad: Bad, column: str) -> Iterator[Batch]:
    import pyarrow as pa

    for block in blocks:
        there = [c for c in block.rows.column_names if c != "source_line"]
        wanted = column or next((c for c in COLUMNS if c in there), "")
        if there and wanted not in there:
            raise SchemaError(
                column or " or ".join(COLUMNS), "text or token ids", f"columns {', '.join(there)}", name
            )
        _broken(block.broken, name, bad)
        if not block.rows.num_rows:
            continue
        values = block.rows[wanted].combine_chunks()
        if isinstance(values, pa.ChunkedArray):
            values = values.chunk(0)
        numbers = block.rows["source_line"].to_numpy()
        if values.null_count:
            for number in numbers[values.is_null().to_numpy(zero_copy_only=False)].tolist():
                bad(f"nothing in column {wanted!r}", name, number)
            numbers = numbers[values.is_valid().to_numpy(zero_copy_only=False)]
            values = values.drop_null()
        kind = values.type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            if wanted in IDS:
                rows = [json.dumps({wanted: _loaded(v)}) for v in values.to_pylist()]
                yield from _json(rows, numbers.tolist(), name, bad, wanted)
            else:
                yield Batch(name, numbers.tolist(), values.to_pylist())
        elif _is_list_of_ids(kind):
            yield _of_arrow(name, numbers.tolist(), values, bad)
        else:
            raise SchemaError(wanted, "text or lists of token ids", str(kind), name)


def _is_list_of_ids(kind: pa.DataType) -> bool:
    import pyarrow as pa

    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return is_list and pa.types.is_integer(kind.value_type)


def _of_arrow(name: str, numbers: list[int], values: Any, bad: Bad) -> Batch:
    import numpy as np
    import pyarrow.compute as pc

    flat = pc.list_flatten(values)
    lengths = pc.list_value_length(values).to_numpy(zero_copy_only=False)
    if flat.null_count:
        parents = pc.list_parent_indices(values).to_numpy()
        broken = np.unique(parents[flat.is_null().to_numpy(zero_copy_only=False)])
        for i in broken.tolist():
            bad("a token id is missing in the list", name, numbers[i])
        kept = np.setdiff1d(np.arange(len(numbers)), broken)
        return _of_arrow(name, [numbers[i] for i in kept.tolist()], values.take(kept), bad)
    ids = flat.to_numpy(zero_copy_only=False).astype(np.int64)
    return Batch(name, numbers, ids=ids, ends=np.cumsum(lengths, dtype=np.int64))


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _broken(broken: list[tuple[int, str]], name: str, bad: Bad) -> None:
    for number, reason in broken:
        bad(reason, name, number)


def _begins_as_json(head: bytes) -> bool:
    first = head.lstrip().split(b"\n", 1)[0].decode("utf-8", "replace")
    try:
        return isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        return first.startswith(("[{", "[ {")) or first.strip() == "["


def _reason(problem: Exception) -> str:
    return problem.msg if isinstance(problem, json.JSONDecodeError) else type(problem).__name__


def in_pieces(batch: Batch, size: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], int]]:
    """Token ids and ends of at most about `size` tokens at a time, with the number of the first document.

    A document is never cut.
    """
    import numpy as np

    assert batch.ids is not None and batch.ends is not None
    first, begin = 0, 0
    while first < len(batch.ends):
        last = max(first + 1, int(np.searchsorted(batch.ends, begin + size, "right")))
        stop = int(batch.ends[last - 1])
        yield batch.ids[begin:stop], batch.ends[first:last] - begin, first
        first, begin = last, stop


def outside(batch: Batch, vocabulary: int | None) -> None:
    """Refuse ids that no reader can take, with the place of the first.

    Raises
    ------
    InputError
        An id is below 0, or `vocabulary` or above.
    """
    import numpy as np

    if batch.ids is None or batch.ends is None or not batch.ids.size:
        return
    wrong = batch.ids < 0
    if vocabulary is not None:
        wrong |= batch.ids >= vocabulary
    if wrong.any():
        at = int(np.argmax(wrong))
        i = int(np.searchsorted(batch.ends, at, "right"))
        size = "" if vocabulary is None else f" and below {vocabulary}, the vocabulary of the scheme"
        raise InputError(f"{batch.place(i)}: token ids are 0 or above{size}; found {int(batch.ids[at])}")
