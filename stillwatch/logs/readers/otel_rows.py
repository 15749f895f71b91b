"""OpenTelemetry GenAI spans as rows, one span each: Parquet, CSV, or JSON lines with the span's attributes as columns.

ClickHouse's ``otel_traces`` (opentelemetry-collector-contrib, clickhouseexporter, example/default_ddl/traces.sql:
``Timestamp``, ``TraceId``, ``SpanAttributes``, ``ResourceAttributes``, ``Duration`` in ns, ``StatusCode``,
``Events.Name``, ``Events.Attributes``), as a map or as its JSON type nests it; span tables with OTLP's names
(``start_time_unix_nano``, ``trace_id``, ``attributes`` as a map, a struct, or a list of key and value); and attributes
as columns of their own: ``gen_ai.request.model``, ``attributes.gen_ai.request.model``, ``gen_ai_request_model``.
What the attributes mean, which spans are calls, and who the account is, is as in `otel`; ids that stand for nobody
(``anonymous``, ``default``, ...) are missing.

Not read: OTAP's star schema (open-telemetry/otel-arrow, docs/data_model.md), whose attributes lie in files of their
own: join them to their spans first; and ClickHouse's CSV, whose maps are no JSON: export JSONEachRow or Parquet.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from stillwatch.logs.readers import _names, otel

NAME = "otel_rows"
TITLE = "OpenTelemetry GenAI spans as rows: Parquet, CSV or JSON lines (ClickHouse's otel_traces, flattened columns)"
INPUT = "either"

_READ = sorted(set(re.findall(r"otel_get\(\w+, '([^']+)'\)", otel.SPANS)))
"""Every attribute that `otel` looks at."""
_DOTTED = ", ".join(f"'{name}'" for name in _READ if "." in name)
_FLAT = _DOTTED.replace(".", "_")
_OBJECTS = ("SpanAttributes", "ResourceAttributes", "attributes", "span_attributes", "resource_attributes")
_OBJECTS_SQL = ", ".join(f"'{name}'" for name in (*_OBJECTS, "resource", "status", "context"))
_DEPTH = 6  # SpanAttributes, then gen_ai.usage.cache_read.input_tokens nested

MACROS = (
    otel.MACROS
    + f"""
-- A row's own columns; those that hold attributes may have them as text.
create or replace temp macro rows_columns(j) as {{'keys': json_keys(j), 'vals': list_transform(
    list_zip(json_keys(j), json_extract(j, '$.*')),
    lambda e: case when e[1] in ({_OBJECTS_SQL}) then coalesce(sw_object(e[2]), e[2]) else e[2] end)}};
-- One level of nesting less: a.b for the b of the object a. OTLP's lists of key and value are objects too. What a value
-- is, its first character tells: to parse a long message at every level would cost more than all else.
create or replace temp macro rows_mark(v) as left(v::varchar, 1);
create or replace temp macro rows_inner(e) as
    case rows_mark(e[2])
        when '{{' then list_transform(list_zip(json_keys(e[2]), json_extract(e[2], '$.*')),
            lambda x: {{'k': e[1] || '.' || x[1], 'v': x[2]}})
        when '[' then case when e[1] in ({_OBJECTS_SQL}, 'resource.attributes')
            then list_transform(list_zip(otel_keys(e[2]), otel_values(e[2])),
                lambda x: {{'k': e[1] || '.' || x[1], 'v': to_json(x[2])::json}}) end end;
create or replace temp macro rows_flat(s) as flatten(list_transform(list_zip(s.keys, s.vals),
    lambda e: coalesce(rows_inner(e), [{{'k': e[1], 'v': e[2]}}])));
create or replace temp macro rows_lists(pairs) as
    {{'keys': list_transform(pairs, lambda p: p.k), 'vals': list_transform(pairs, lambda p: p.v)}};
create or replace temp macro rows_nests(s) as
    list_contains(list_transform(s.vals, lambda v: rows_mark(v) in ('{{', '[')), true);
-- The attribute's name without the column's, and with dots where a table cannot have them.
create or replace temp macro rows_bare(k) as
    regexp_replace(k, '^(SpanAttributes[.]|span[._]attributes[._]|attributes[._]|span[.])', '');
create or replace temp macro rows_name(k) as
    coalesce([{_DOTTED}][list_position([{_FLAT}], rows_bare(k))], rows_bare(k));
create or replace temp macro rows_texts(s) as
    list_transform(s.vals, lambda v: case rows_mark(v) when '"' then v ->> '$' when 'n' then null else v::varchar end);
create or replace temp macro rows_nested(j) as case when json_type(j) = 'ARRAY' then list_transform(
    json_extract(j, '$[*]'), lambda e: {{
        'name': coalesce(json_extract_string(e, '$.name'), json_extract_string(e, '$.Name')),
        's': otel_lists(coalesce(json_extract(e, '$.attributes'), json_extract(e, '$.Attributes')))}}) end;
create or replace temp macro rows_events(names, given) as list_transform(list_zip(
        json_extract_string(names, '$[*]'), json_extract(given, '$[*]')),
    lambda e: {{'name': e[1], 's': otel_lists(e[2])}});
"""
)


def _first(*names: str) -> str:
    return "coalesce(" + ", ".join(f"otel_get(s, '{name}')" for name in names) + ")"


_LEVELS = "".join(
    f"""), level{n} as (
    select source_line, line, case when rows_nests(c) then rows_lists(rows_flat(c)) else c end as c from level{n - 1}
"""
    for n in range(1, _DEPTH)
)
# An id for nobody is no account, whichever attribute it stands in.
_WHO = "'enduser.id', 'user.id', 'user.account_uuid', 'user.account_id', 'enduser.pseudo.id', 'user.hash'"
_MADE = f"list_transform(list_zip({{}}, vals), lambda e: case when e[1] in ({_WHO}) then sw_user(e[2]) else e[2] end)"

SQL = f"""
with level0 as (
    select source_line, line, rows_columns(line::json) as c from lines
{_LEVELS}), texts as (
    select source_line, line, list_transform(c.keys, lambda k: rows_name(k)) as keys, rows_texts(c) as vals
    from level{_DEPTH - 1}
), named as (
    select source_line, line, {{'keys': keys, 'vals': {_MADE.format("keys")}}} as s,
        {{'keys': owned, 'vals': {_MADE.format("owned")}}} as res
    from (select *, list_transform(keys, lambda k: regexp_replace(
        k, '^(ResourceAttributes|resource_attributes|resource[._]attributes|resource)[._]', '')) as owned from texts)
), timed as (
    select *,
        sw_time(trim({
    _first(
        "start_time_unix_nano",
        "startTimeUnixNano",
        "start_time",
        "startTime",
        "StartTime",
        "Timestamp",
        "timestamp",
        "time",
    )
})) as started,
        sw_time(trim({
    _first("end_time_unix_nano", "endTimeUnixNano", "end_time", "endTime", "EndTime")
})) as stopped,
        try_cast({
    _first("Duration", "duration_nano", "duration_ns", "durationNano", "duration_time_unix_nano")
}
            as bigint) // 1000 as duration,
        upper({
    _first("StatusCode", "status.code", "status.status_code", "status_code", "statusCode")
}) as status,
        coalesce(json_extract(line, '$.events'), json_extract(line, '$.Events')) as nested
    from named
), listed as (
    select source_line, false as nothing, line as span, res, s,
        coalesce(rows_nested(nested),
            rows_events(json_extract(line, '/Events.Name'), json_extract(line, '/Events.Attributes'))) as events,
        started, coalesce(stopped, started + duration) as ended,
        {_first("TraceId", "trace_id", "traceId", "context.trace_id")} as trace,
        {_first("SpanId", "span_id", "spanId", "context.span_id")} as span_id,
        status in ('2', 'ERROR', 'STATUS_CODE_ERROR') as failed
    from timed
), {otel.SPANS}"""

_TIMES = {
    *("start_time_unix_nano", "startTimeUnixNano", "start_time", "startTime", "StartTime"),
    *("Timestamp", "timestamp", "time"),
}
_ATTRIBUTE = re.compile(r"((SpanAttributes|span[._]attributes|attributes|span)[._])?(gen_ai|llm)[._](\w|\.)+")


def missing(columns: Sequence[str]) -> list[str]:
    """The columns that must be there and are not."""
    if not _TIMES & set(columns):
        return ["start_time_unix_nano"]
    there = any(name in _OBJECTS or name == "gen_ai" or _ATTRIBUTE.fullmatch(name) for name in columns)
    return [] if there else ["attributes"]


def sniff(sample: bytes, name: str) -> float:
    """How surely these are such rows: 0 to 1."""
    keys = _names.names(sample)
    if missing(list(keys)):
        return 0.0
    if any(_ATTRIBUTE.fullmatch(key) for key in keys):
        return 0.96
    # Attributes in one column: of JSON the sample shows whose they are, of Parquet only the names are known.
    ids = keys & {"SpanId", "span_id", "spanId"}
    if "SpanAttributes" in keys and (ids or b"gen_ai" in sample):
        return 0.96
    if not ids or ("resource" in keys and "attributes" in keys and not _names.header(sample)):
        return 0.0
    if sample.startswith(b"PAR1"):
        return 0.8
    return 0.96 if _names.header(sample) and b"gen_ai" in sample else 0.0
