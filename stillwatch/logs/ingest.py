"""From anybody's log to exchanges: `ingest`.

Memory: one block (32 MB of text) with its parsed columns and sketch, about 12 times the block, beside the engine's own
limit; independent of the size of the log. Every input row is counted once: rows == added + duplicates + quarantined.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Literal

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stillwatch import plugins
from stillwatch.engine.tables import Workspace
from stillwatch.errors import FormatError, InputError, SchemaError
from stillwatch.identity import Keys, Pseudonyms
from stillwatch.logs import parts as parquet
from stillwatch.logs import texts
from stillwatch.logs.ledger import BlockKey, Counts, Ledger, only_one
from stillwatch.logs.readers._names import as_lines, header, parquet_sample
from stillwatch.logs.reference import read_reference
from stillwatch.logs.rows import NOTHING, Converted, Converter
from stillwatch.logs.sources import (
    BLOCK_BYTES,
    Block,
    Source,
    document_chunks,
    expand,
    is_document,
    line_blocks,
    peek,
)
from stillwatch.logs.tables import TableBlock, csv_blocks, parquet_blocks, parquet_names

_MERGE_EARLY = 16  # parts of a day at which they are merged while the import still runs


@dataclass(frozen=True, slots=True)
class Progress:
    """Where an import stands; handed to `on_progress`."""

    file: str
    files_done: int
    files: int
    bytes_done: int
    bytes: int
    """Of all files as they lie on disk; 0 where the input is a pipe."""
    rows: int


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """What an import did, and what the workspace holds after it. Times are microseconds since 1970, UTC."""

    files: int
    bytes: int
    """Read from disk, compressed as they lay there."""
    rows: int
    """Always ``added + duplicates + quarantined``."""
    added: int
    duplicates: int
    """Rows that the workspace had, or that occur twice."""
    quarantined: int
    formats: dict[str, str]
    """File -> reader."""
    reasons: dict[str, int]
    """Reasons of quarantine of the rows read now."""
    exchanges: int
    """In the workspace now."""
    accounts: int
    first_time: int | None
    last_time: int | None
    texts: int
    """Shared pieces of text kept, encrypted, as evidence."""
    seconds: float
    account_rows: int = 0
    action_rows: int = 0
    reference_quarantined: int = 0
    """Rows of the accounts and actions files that could not be used."""


@dataclass(slots=True)
class _Tally:
    counts: list[int] = field(default_factory=lambda: [0, 0, 0])
    reasons: dict[str, int] = field(default_factory=dict)

    def add(self, counts: Counts) -> None:
        for i, n in enumerate((counts.added, counts.duplicates, counts.quarantined)):
            self.counts[i] += n


def ingest(
    files: Sequence[str | Path],
    workspace: Workspace | Path,
    *,
    format: str = "auto",
    accounts: str | Path | None = None,
    actions: str | Path | None = None,
    memory_limit: str = "1GB",
    threads: int = 2,
    keep_text: Literal["shared", "none"] = "shared",
    on_progress: Callable[[Progress], None] | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> ImportSummary:
    """Read logs into a workspace; what is there already is not added again.

    An import that was killed is carried on by running it again: whole blocks that are in are passed over, and a row
    is recognised by its log's own id, time and account (or by its text, if the log has no id).

    Parameters
    ----------
    files
        Paths, globs or ``"-"`` (standard input); plain, gzip or zstd.
    workspace
        Folder; made with its key file if it is not there.
    format
        Name of a reader, or ``auto``: the reader that recognises the beginning of the file best.
    accounts, actions
        CSV or Parquet with the columns of `stillwatch.engine.schema.ACCOUNTS` and ``ACTIONS``, identifiers as in the
        log; any may be missing but ``account_id``.
    memory_limit, threads
        Of the embedded engine.
    keep_text
        ``shared``: keep, encrypted, the pieces of text that at least 5 accounts share. ``none``: keep no text.
    on_progress
        Called after every block.
    block_bytes
        Text handled at once. Changing it between two imports of a file only costs time.

    Raises
    ------
    InputError
        A file is missing, unknown or unreadable as a whole; another import holds the workspace; the disk is full.
    """
    workspace = workspace if isinstance(workspace, Workspace) else Workspace(Path(workspace))
    begun = time.monotonic()
    reference = {"accounts": 0, "actions": 0, "quarantined": 0}
    sources = expand(files) if files else []
    if not sources and accounts is None and actions is None:
        raise InputError("no file was given")
    if keep_text not in ("shared", "none"):
        raise InputError(f"keep_text is 'shared' or 'none', found {keep_text!r}")
    readers = plugins.find("logs.readers")
    if format != "auto" and format not in readers:
        raise InputError(f"unknown format {format!r}; known: auto, {', '.join(readers)}")
    workspace.root.mkdir(parents=True, exist_ok=True)
    workspace.root.chmod(0o700)
    try:
        with only_one(workspace.root), closing(Ledger(workspace)) as ledger:
            workspace.exchanges.mkdir(exist_ok=True)
            parquet.remove_orphans(workspace, ledger)
            keys = Keys(workspace.key_file)
            pseudonyms = Pseudonyms(keys, workspace.vault)
            with closing(
                Converter(
                    keys,
                    pseudonyms,
                    memory_limit=memory_limit,
                    threads=threads,
                    with_text=keep_text == "shared",
                )
            ) as converter:
                run = _Import(
                    workspace, ledger, keys, converter, keep_text == "shared", block_bytes, on_progress
                )
                run.sources(sources, readers, format)
                if run.tally.counts[0]:
                    parquet.merge(workspace, ledger)
                listed = [parquet.path_of(workspace, part) for part in ledger.parts()]
                kept = (
                    texts.settle(workspace, listed, memory_limit, threads)
                    if sources
                    else texts.count(workspace)
                )
                given = {"accounts": accounts, "actions": actions}
                for kind in (kind for kind, file in given.items() if file is not None):
                    reference[kind], wrong = read_reference(
                        kind, given[kind], workspace, ledger, pseudonyms, converter.engine
                    )
                    reference["quarantined"] += wrong
                first, last, exchanges, holders = _contents(converter.engine, listed)
    except (OSError, sqlite3.OperationalError) as error:
        raise InputError(
            f"{workspace.root}: writing failed: {getattr(error, 'strerror', None) or error}; what was imported before "
            "is intact, run the same command again when this is repaired"
        ) from error
    added, duplicates, quarantined = run.tally.counts
    return ImportSummary(
        files=len(sources),
        bytes=run.bytes_done,
        rows=added + duplicates + quarantined,
        added=added,
        duplicates=duplicates,
        quarantined=quarantined,
        formats=run.formats,
        reasons=run.tally.reasons,
        exchanges=exchanges,
        accounts=holders,
        first_time=first,
        last_time=last,
        texts=kept,
        seconds=time.monotonic() - begun,
        account_rows=reference["accounts"],
        action_rows=reference["actions"],
        reference_quarantined=reference["quarantined"],
    )


class _Import:
    """The state of one import."""

    def __init__(
        self,
        workspace: Workspace,
        ledger: Ledger,
        keys: Keys,
        converter: Converter,
        keep_text: bool,
        block_bytes: int,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self._workspace, self._ledger, self._keys, self._converter = workspace, ledger, keys, converter
        self._keep_text, self._block_bytes, self._on_progress = keep_text, block_bytes, on_progress
        self.tally = _Tally()
        self.formats: dict[str, str] = {}
        self.bytes_done = 0

    def sources(self, sources: Sequence[Source], readers: dict[str, ModuleType], format: str) -> None:
        total = sum(source.size for source in sources) if all(source.path for source in sources) else 0
        for index, source in enumerate(sources):
            before = self.bytes_done
            used = [0]
            for _ in self._source(source, readers, format, used):
                self.bytes_done = before + used[0]
                self._report(source.name, index, len(sources), total)
            self.bytes_done = before + (source.size or used[0])
            self._report(source.name, index + 1, len(sources), total)

    def _report(self, name: str, done: int, files: int, total: int) -> None:
        if self._on_progress is not None:
            self._on_progress(Progress(name, done, files, self.bytes_done, total, sum(self.tally.counts)))

    def _source(
        self, source: Source, readers: dict[str, ModuleType], format: str, used: list[int]
    ) -> Iterator[None]:
        chunks: Iterator[bytes] = iter(())
        packed = source.is_parquet()
        if packed:
            head = parquet_sample(parquet_names(source))
        else:
            head, chunks = peek(source.text(used))
            if not head.strip():
                self.formats[source.name] = "empty"
                for block in line_blocks(chunks, source.name):  # nothing, or a break right at the beginning
                    self._keep(None, block.number, source.name, NOTHING, block.broken)
                return
        name = format if format != "auto" else _recognise(head, source.name, readers)
        self.formats[source.name] = name
        digest = source.digest()
        key = (digest, name, self._block_bytes) if digest else None
        known = self._ledger.blocks(key) if key else {}
        if key and self._ledger.finished(key):
            for counts in known.values():
                self._again(counts)
            return
        if key:
            self._ledger.begin_file(key, source.name)
        reader = readers[name]
        self._converter.prepare(reader)
        blocks: Iterator[Block] | Iterator[TableBlock]
        if reader.INPUT == "lines" and packed:
            raise FormatError(f"is Parquet, and the reader {name!r} reads lines", source.name)
        # A reader of either kind takes a text file for CSV only if its first line names the columns it needs.
        if reader.INPUT == "lines" or (
            reader.INPUT == "either" and not packed and (not header(head) or reader.missing(header(head)))
        ):
            if is_document(head):
                chunks = document_chunks(chunks, source.name)
            blocks = line_blocks(chunks, source.name, self._block_bytes)
        elif packed:
            blocks = parquet_blocks(source, used, self._block_bytes)
        else:
            blocks = csv_blocks(chunks, source.name, self._block_bytes)
        for block in blocks:
            if block.number in known:
                self._again(known[block.number])
            else:
                self._keep(
                    key, block.number, source.name, self._convert(block, reader, source.name), block.broken
                )
            yield
        if key:
            self._ledger.finish_file(key)

    def _convert(self, block: Block | TableBlock, reader: ModuleType, name: str) -> Converted:
        if isinstance(block, Block):
            return self._converter.lines(reader.SQL, block.lines, block.line_numbers, name)
        columns = block.rows.column_names
        absent = reader.missing(columns) if block.rows.num_rows else []
        if absent:
            raise SchemaError(absent[0], "a column of that name", ", ".join(columns[:12]), name)
        select = as_lines(reader.SQL, columns) if reader.INPUT == "either" else reader.select(columns)
        return self._converter.table(select, block.rows, name)

    def _again(self, counts: Counts) -> None:
        self.tally.add(Counts(0, counts.added + counts.duplicates, counts.quarantined))

    def _keep(
        self, key: BlockKey | None, number: int, name: str, done: Converted, broken: list[tuple[int, str]]
    ) -> None:
        rows = done.rows
        fresh = self._fresh(rows)
        if self._keep_text and done.sketch is not None:
            texts.offer(
                self._workspace,
                self._keys,
                self._converter.engine,
                rows["account_id"].combine_chunks(),
                done.sketch,
            )
        written = parquet.write(self._workspace, rows.filter(fresh))
        bad = [(name, line, reason) for line, reason in [*done.bad, *broken]]
        added = pc.sum(fresh).as_py() or 0
        counts = Counts(added, rows.num_rows - added, len(bad))
        self._ledger.commit_block(key, number, counts, written, bad)
        self.tally.add(counts)
        for _, _, reason in bad:
            self.tally.reasons[reason] = self.tally.reasons.get(reason, 0) + 1
        parquet.merge(self._workspace, self._ledger, _MERGE_EARLY)

    def _fresh(self, rows: pa.Table) -> pa.Array:
        """Which rows are new: the first of its id in the block, and not in a part whose times overlap."""
        ids = np.asarray(rows["exchange_id"])
        if not len(ids):
            return pa.array([], pa.bool_())
        order = np.lexsort((np.asarray(rows["source_line"]), ids))
        fresh = np.zeros(len(ids), bool)
        fresh[order] = np.r_[True, ids[order][1:] != ids[order][:-1]]
        span = pc.min_max(rows["time"]).as_py()
        near = [
            str(parquet.path_of(self._workspace, p)) for p in self._ledger.parts(span["min"], span["max"])
        ]
        if near:
            engine = self._converter.engine
            engine.register("arrived", pa.table({"exchange_id": ids}))
            try:
                known = engine.sql(
                    "select exchange_id from arrived semi join (select exchange_id from read_parquet($near) "
                    "where time between $low and $high) as kept using (exchange_id)",
                    params={"near": near, "low": span["min"], "high": span["max"]},
                ).to_arrow_table()["exchange_id"]
            finally:
                engine.unregister("arrived")
            fresh &= ~np.isin(ids, np.asarray(known))
        return pa.array(fresh)


def _recognise(head: bytes, name: str, readers: dict[str, ModuleType]) -> str:
    scores = {reader: module.sniff(head, name) for reader, module in readers.items()}
    best = max(scores, key=lambda reader: scores[reader])
    if scores[best] <= 0:
        raise InputError(
            f"{name}: no reader recognises this file; name one with --format ({', '.join(readers)})"
        )
    return best


def _contents(
    engine: duckdb.DuckDBPyConnection, parts: list[Path]
) -> tuple[int | None, int | None, int, int]:
    if not parts:
        return None, None, 0, 0
    return engine.sql(
        "select min(time), max(time), count(*), count(distinct account_id) from read_parquet($parts)",
        params={"parts": [str(p) for p in parts]},
    ).fetchall()[0]
