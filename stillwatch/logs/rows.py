"""One block of raw rows becomes exchanges: checks, pseudonyms, sketch. Real identifiers and text end here."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stillwatch.engine.schema import EXCHANGES, RAW
from stillwatch.errors import InputError
from stillwatch.identity import Keys, Pseudonyms
from stillwatch.identity.digests import digests
from stillwatch.logs.readers import _json
from stillwatch.text.sketch import Sketch, sketch

YEAR_1990, YEAR_2100 = 631_152_000_000_000, 4_102_444_800_000_000
"""Events outside these years (microseconds) are taken for errors."""
LONGEST_NAME = 4096
"""Bytes; a longer account is taken for an error."""

_BATCH_BYTES = 1 << 20

MACROS = r"""
-- /24 of an IPv4 address, /48 of an IPv6 address, as text; null for what is neither. Takes the first of a
-- forwarded list and drops port, brackets, zone, length and the IPv4-in-IPv6 prefix.
create or replace temp macro sw_bare(a) as regexp_replace(lower(trim(split_part(a, ',', 1))), '/[0-9]+$', '');
create or replace temp macro sw_address(a) as
    regexp_replace(regexp_replace(regexp_replace(sw_bare(a), '^\[([^\]]*)\](:[0-9]+)?$', '\1'), '%.*$', ''),
        '^(::ffff:)?([0-9.]+)(:[0-9]+)?$', '\2');
create or replace temp macro sw_v4(a) as
    case when len(list_filter(string_split(a, '.'), lambda o: try_cast(o as integer) > 255)) = 0
         then regexp_extract(a, '^[0-9]+\.[0-9]+\.[0-9]+') || '.0/24' end;
create or replace temp macro sw_words(a) as list_filter(string_split(a, ':'), lambda w: w <> '');
create or replace temp macro sw_v6(a) as
    case when not contains(a, '::') and len(sw_words(a)) <> 8 then null
         when len(sw_words(a)) > 8 or len(list_filter(sw_words(a), lambda w: len(w) > 4)) > 0 then null
         else list_aggregate(list_transform(list_concat(
                sw_words(split_part(a, '::', 1)),
                list_transform(range(8 - len(sw_words(a))), lambda i: '0'),
                sw_words(split_part(a, '::', 2)))[1:3],
                lambda w: coalesce(nullif(ltrim(w, '0'), ''), '0')), 'string_agg', ':') || '::/48' end;
create or replace temp macro sw_prefix_of(a) as
    case when regexp_full_match(a, '[0-9]{1,3}(\.[0-9]{1,3}){2,3}') then sw_v4(a)
         when regexp_full_match(a, '[0-9a-f:]*:[0-9a-f:]*') then sw_v6(a) end;
create or replace temp macro sw_prefix(a) as sw_prefix_of(sw_address(a));
create or replace temp macro sw_count(n) as case when n between 0 and 9007199254740992 then n end;
create or replace temp macro sw_finite(x) as case when isfinite(x) then x end;
"""

# Name -> how the wrapper takes it from the reader's SELECT.
_TAKEN = {
    **{f.name: f"nullif({f.name}, '')" for f in RAW if pa.types.is_string(f.type)},
    **{f.name: f"sw_count({f.name})" for f in RAW if f.type == pa.int64()},
    **{f.name: f"sw_finite({f.name})" for f in RAW if f.type == pa.float64()},
    "client_address": "sw_prefix(client_address)",
    "opening": "coalesce(nullif(opening, ''), case when coalesce(turns, 1) <= 1 then nullif(prompt, '') end)",
    "time": "time",
    "source_line": "source_line",
}
_COLUMNS = ", ".join(f"{_TAKEN.get(f.name, f.name)} as {f.name}" for f in RAW)

_WRAPPER = f"""
select {_COLUMNS},
    case when problem is not null then problem
         when time is null then 'no time, or not a time'
         when time not between {YEAR_1990} and {YEAR_2100} then 'time outside the years 1990 to 2100'
         when account is null or account = '' then 'no account'
         when strlen(account) > {LONGEST_NAME} then 'account longer than {LONGEST_NAME} bytes' end as problem,
    concat_ws(chr(0), coalesce(record_id, ''), time, account) as identity
from ({{select}}) as raw
"""


@dataclass(frozen=True, slots=True)
class Converted:
    """What became of the rows of one block."""

    rows: pa.Table
    """EXCHANGES columns."""
    sketch: Sketch | None
    """Row for row with `rows`; None where there are none."""
    bad: list[tuple[int, str]]
    """Source line and reason of the others."""


NOTHING = Converted(EXCHANGES.empty_table(), None, [])


class Converter:
    """Turns blocks of one workspace's logs into exchanges.

    Parameters
    ----------
    keys, pseudonyms
        Of the workspace.
    memory_limit, threads
        Of the embedded engine, for parsing; Arrow tables come on top.
    with_text
        Keep the normalised text beside the sketch, for `texts.Candidates`.
    """

    def __init__(
        self, keys: Keys, pseudonyms: Pseudonyms, *, memory_limit: str, threads: int, with_text: bool
    ) -> None:
        self._pseudonyms = pseudonyms
        self._sketch_key = keys.derive("sketch")
        self._digest_key = keys.derive("exchanges")
        self._with_text = with_text
        self.engine = duckdb.connect(":memory:", config={"autoinstall_known_extensions": False})
        try:
            self.engine.execute(f"set threads = {int(threads)}")
            self.engine.execute("set memory_limit = $limit", {"limit": memory_limit})
        except duckdb.Error as error:
            self.engine.close()
            raise InputError(f"memory limit {memory_limit!r} or threads {threads!r}: {error}") from None
        # No spilling: what is parsed here is other people's text, and must not reach a disk.
        self.engine.execute("set TimeZone = 'UTC'; set enable_progress_bar = false; set temp_directory = ''")
        self.engine.execute(_json.macros() + MACROS)
        self._prepared: set[str] = set()

    def close(self) -> None:
        self.engine.close()

    def prepare(self, reader: ModuleType) -> None:
        """Define the macros that a reader brings of its own."""
        if reader.NAME not in self._prepared:
            if macros := getattr(reader, "MACROS", ""):
                self.engine.execute(macros)
            self._prepared.add(reader.NAME)

    def lines(self, select: str, lines: pa.Array, numbers: pa.Array, source: str) -> Converted:
        """Convert lines of JSON.

        Parameters
        ----------
        select
            A reader's SELECT over ``lines(line, source_line)``.
        lines, numbers
            Text (large_string) and line number (int64) of each.
        source
            Name of the file, for `source_file`.
        """
        lines, numbers, bad = self._objects(lines, numbers)
        raw, failed = self._select(select, "lines", pa.table({"line": lines, "source_line": numbers}))
        return self._convert(raw, bad + failed, source)

    def table(self, select: str, rows: pa.Table, source: str) -> Converted:
        """Convert rows of a table; `select` reads ``rows`` and passes its `source_line` on."""
        raw, failed = self._select(select, "rows", rows)
        return self._convert(raw, failed, source)

    def _objects(
        self, lines: pa.Array, numbers: pa.Array
    ) -> tuple[pa.Array, pa.Array, list[tuple[int, str]]]:
        """The lines that are JSON objects, repaired where Python's more tolerant parser can read them."""
        self.engine.register("lines", _batched(pa.table({"line": lines, "source_line": numbers})))
        kinds = self.engine.sql(
            "select case when json_valid(line) then json_type(line) else 'broken' end as kind from lines"
        ).to_arrow_table()["kind"]
        self.engine.unregister("lines")
        good = pc.equal(kinds, "OBJECT").combine_chunks()
        if pc.all(good).as_py():
            return lines, numbers, []
        repaired: list[str] = []
        places: list[int] = []
        bad: list[tuple[int, str]] = []
        wrong = pc.invert(good)
        rejected = zip(
            lines.filter(wrong).to_pylist(), numbers.filter(wrong).to_pylist(),
            kinds.filter(wrong).to_pylist(), strict=True,
        )  # fmt: skip
        for line, number, kind in rejected:
            text = _repair(line) if kind == "broken" else None
            if text is not None:
                repaired.append(text)
                places.append(number)
            else:
                bad.append(
                    (number, "not JSON" if kind == "broken" else f"a JSON {kind.lower()}, not an object")
                )
        return (
            pa.concat_arrays([lines.filter(good), pa.array(repaired, pa.large_string())]),
            pa.concat_arrays([numbers.filter(good), pa.array(places, pa.int64())]),
            bad,
        )

    def _select(self, select: str, name: str, rows: pa.Table) -> tuple[pa.Table, list[tuple[int, str]]]:
        """Run a reader. If the engine refuses the block, halve it until the row to blame is found."""
        if not rows.num_rows:
            return _empty(), []
        self.engine.register(name, _batched(rows))
        try:
            return self.engine.sql(_WRAPPER.format(select=select)).to_arrow_table(), []
        except (duckdb.BinderException, duckdb.ParserException, duckdb.CatalogException):
            raise  # the reader's SQL is wrong, whatever the data
        except duckdb.Error as error:
            if rows.num_rows == 1:
                reason = re.sub(r"[^A-Za-z ].*", "", str(error)).strip()  # no data into the reason
                return _empty(), [(rows["source_line"][0].as_py(), f"the engine refused the row ({reason})")]
        finally:
            self.engine.unregister(name)
        half = rows.num_rows // 2
        first, first_bad = self._select(select, name, rows.slice(0, half))
        second, second_bad = self._select(select, name, rows.slice(half))
        return pa.concat_tables([first, second], promote_options="permissive"), first_bad + second_bad

    def _convert(self, raw: pa.Table, bad: list[tuple[int, str]], source: str) -> Converted:
        wrong = pc.is_valid(raw["problem"])
        refused = raw.filter(wrong)
        bad = bad + list(zip(refused["source_line"].to_pylist(), refused["problem"].to_pylist(), strict=True))
        raw = raw.filter(pc.invert(wrong)).combine_chunks()
        if not raw.num_rows:
            return Converted(EXCHANGES.empty_table(), None, bad)
        made = sketch(raw["prompt"], raw["system"], key=self._sketch_key, with_text=self._with_text)
        return Converted(self._exchanges(raw, made.table, source), made, bad)

    def _exchanges(self, raw: pa.Table, made: pa.Table, source: str) -> pa.Table:
        named = {
            "account_id": ("account", "account"),
            "credential_id": ("credential", "credential"),
            "organization_id": ("organization", "organization"),
            "end_user_id": ("end_user", "end_user"),
            "conversation_id": ("conversation", "conversation"),
            "client_prefix": ("client_prefix", "client_address"),
            "client_agent": ("agent", "client_agent"),
            "tls_fingerprint": ("tls", "tls_fingerprint"),
        }
        columns: dict[str, Any] = {
            name: self._pseudonyms.map(kind, raw[column]) for name, (kind, column) in named.items()
        }
        columns["exchange_id"] = self._digest("exchange", raw["identity"])
        columns["opening_digest"] = self._digest("opening", raw["opening"])
        columns["tool_schema_digest"] = self._digest("tools", raw["tool_schema"])
        for name in ("signatures_minted", "signatures_presented"):
            columns[name] = self._digest_lists(raw[name].combine_chunks())
        columns.update({name: made[name] for name in made.schema.names})
        columns["turns"] = pc.min_element_wise(
            raw["turns"], pa.scalar(np.iinfo(np.int32).max, pa.int64()), skip_nulls=False
        )
        columns["source_file"] = pa.repeat(pa.scalar(source, pa.string()), raw.num_rows)
        arrays = []
        for field in EXCHANGES:
            values = columns.get(field.name)
            values = raw[field.name] if values is None else values
            if pa.types.is_null(values.type):
                values = pa.nulls(len(values), field.type)
            if isinstance(values, pa.Array):
                values = pa.chunked_array([values])
            if pa.types.is_integer(values.type) and field.name == "turns":
                values = pc.if_else(pc.less(values, 0), None, values)
            arrays.append(values.cast(field.type))
        return pa.Table.from_arrays(arrays, schema=EXCHANGES)

    def _digest(self, label: str, values: pa.ChunkedArray) -> pa.Array:
        return digests(self._digest_key, label, values.combine_chunks().cast(pa.large_string()))

    def _digest_lists(self, lists: pa.Array) -> pa.Array:
        if lists.null_count == len(lists):
            return pa.nulls(len(lists), pa.list_(pa.int64()))
        lists = lists.cast(pa.list_(pa.large_string()))
        values = digests(self._digest_key, "signature", lists.flatten())
        lengths = pc.fill_null(pc.list_value_length(lists), 0)
        offsets = np.concatenate([[0], np.cumsum(np.asarray(lengths))]).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), values, mask=lists.is_null())


def _batched(table: pa.Table) -> pa.Table:
    # The engine works on one Arrow batch at a time in each thread, and its many JSON expressions each hold a parsed
    # copy of it: batches of about _BATCH_BYTES keep that to some tens of MB however long the lines are.
    rows = max(1, min(2048, _BATCH_BYTES * table.num_rows // max(table.nbytes, 1)))
    return pa.Table.from_batches(table.to_batches(max_chunksize=rows), table.schema)


def _empty() -> pa.Table:
    fields = [*RAW, pa.field("problem", pa.string()), pa.field("identity", pa.string())]
    return pa.schema(fields).empty_table()


def _repair(line: str) -> str | None:
    """The line as JSON that the engine accepts, if Python can read it as an object; lone surrogates become U+FFFD."""
    try:
        value = json.loads(line, strict=False)
        if not isinstance(value, dict):
            return None
        text = json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError):
        return None
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
