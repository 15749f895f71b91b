"""SQL that the readers of JSON logs share: macros (DuckDB dialect) and the shape of a message.

One `json_transform` reads all fields of a line in one pass. It is lenient: a field of the wrong kind becomes null,
never an error. Fields that may be of several kinds are taken as ``JSON`` and looked at by the macros.
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from stillwatch.engine.schema import RAW

MESSAGE: dict[str, Any] = {"role": "VARCHAR", "content": "JSON", "parts": "JSON"}
"""One message of a request; its text is under `content` (OpenAI, Anthropic) or `parts` (Gemini, OpenTelemetry)."""

MACROS = r"""
-- A string or number as text; null for anything else and for the empty string.
create or replace temp macro sw_text(j) as nullif(trim(
    case when json_type(j) = 'VARCHAR' then j ->> '$'
         when json_type(j) in ('BIGINT', 'UBIGINT', 'HUGEINT') then j::varchar end), '');

-- Epoch seconds, milliseconds, microseconds or nanoseconds, told apart by magnitude, or ISO 8601 (UTC where it names
-- no zone) as microseconds. 1e11 seconds is the year 5138, 1e11 milliseconds 1973.
create or replace temp macro sw_scaled_int(n) as
    case when abs(n) < 100000000000 then n * 1000000
         when abs(n) < 100000000000000 then n * 1000
         when abs(n) < 100000000000000000 then n
         else n // 1000 end;
create or replace temp macro sw_scaled_float(x) as
    case when not isfinite(x) or abs(x) >= 1e21 then null
         when abs(x) < 1e11 then round(x * 1e6)
         when abs(x) < 1e14 then round(x * 1e3)
         when abs(x) < 1e17 then round(x)
         else round(x / 1e3) end;
create or replace temp macro sw_time(t) as
    case when t is null then null
         when regexp_full_match(t, '-?[0-9]{1,19}') then try_cast(sw_scaled_int(try_cast(t as hugeint)) as bigint)
         when regexp_full_match(t, '-?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?')
             then try_cast(sw_scaled_float(try_cast(t as double)) as bigint)
         else epoch_us(try_cast(t as timestamptz)) end;
create or replace temp macro sw_number(j) as
    case when json_type(j) = 'VARCHAR' then j ->> '$'
         when json_type(j) in ('BIGINT', 'UBIGINT', 'HUGEINT', 'DOUBLE') then j::varchar end;
create or replace temp macro sw_json_time(j) as sw_time(trim(sw_number(j)));

-- The text of one part of a message; what a tool returned is not the user's text.
create or replace temp macro sw_part(p) as coalesce(sw_string(json_extract(p, '$.text')),
    case when coalesce(json_extract_string(p, '$.type'), 'text') = 'text'
         then sw_string(json_extract(p, '$.content')) end);

-- The text of one message's content: a string, a list of parts that have a text, or one such part.
create or replace temp macro sw_content(c) as
    case json_type(c)
        when 'VARCHAR' then c ->> '$'
        when 'ARRAY' then list_aggregate(list_filter(list_transform(json_extract(c, '$[*]'), lambda p:
            case json_type(p) when 'VARCHAR' then p ->> '$'
                              when 'OBJECT' then sw_part(p) end),
            lambda t: t is not null), 'string_agg', chr(10))
        when 'OBJECT' then sw_part(c) end;
create or replace temp macro sw_texts(messages, roles) as
    list_aggregate(list_filter(list_transform(
        list_filter(messages, lambda m: list_contains(roles, lower(m.role))),
        lambda m: coalesce(sw_content(m.content), sw_content(m.parts))),
        lambda t: t is not null), 'string_agg', chr(10));
create or replace temp macro sw_opening(messages) as
    list_filter(list_transform(
        list_filter(messages, lambda m: list_contains(['user', 'human'], lower(m.role)))[1:1],
        lambda m: coalesce(sw_content(m.content), sw_content(m.parts))),
        lambda t: t is not null)[1];
create or replace temp macro sw_turns(messages) as
    len(list_filter(messages, lambda m: list_contains(['user', 'human'], lower(m.role))));

-- Whether a text may hold reasoning signatures at all; most do not, and this costs no parsing.
create or replace temp macro sw_signed(t) as
    regexp_matches(t, '"(signature|encrypted_content|redacted_thinking|thought_?[sS]ignatures?)"');
-- Reasoning signatures, where the providers put them: Anthropic thinking and redacted_thinking blocks (also under
-- LiteLLM's thinking_blocks), OpenAI's encrypted_content, Gemini's thought signatures.
create or replace temp macro sw_signatures(t) as
    case when t is null or not sw_signed(t)
         then null
         else list_distinct(list_filter(list_concat(
            list_transform(list_filter(
                list_concat(json_extract(t, '$..content[*]'), json_extract(t, '$..thinking_blocks[*]'),
                            json_extract(t, '$..parts[*]')),
                lambda b: (b ->> 'type') in ('thinking', 'redacted_thinking', 'reasoning')),
                lambda b: coalesce(sw_string(json_extract(b, '$.signature')), sw_string(json_extract(b, '$.data')))),
            list_transform(list_concat(
                json_extract(t, '$..encrypted_content'), json_extract(t, '$..thought_signature'),
                json_extract(t, '$..thoughtSignature'), json_extract(t, '$..thought_signatures[*]')),
                lambda s: sw_string(s))), lambda s: s is not null and s <> '')) end;
"""

_FIRST = """
-- Identity of a line whose log gives it none: equal lines are one record.
create or replace temp macro sw_line(l) as 'line:' || sha256(l);
-- The access pathway: a provider's own API, a cloud platform that resells it, or an aggregator of many.
create or replace temp macro sw_route(p) as
    case when p is null or p = '' then null
         when lower(p) in ('bedrock', 'bedrock_converse', 'aws.bedrock', 'vertex_ai', 'gcp.vertex_ai', 'azure',
                           'azure_ai', 'az.ai.inference', 'azure.ai.inference', 'az.ai.openai', 'azure.ai.openai',
                           'sagemaker', 'watsonx', 'ibm.watsonx.ai', 'snowflake', 'databricks', 'oci') then 'cloud'
         when lower(p) in ('openrouter', 'aiml', 'vercel_ai_gateway', 'github_copilot', 'litellm_proxy')
             then 'aggregator'
         else 'native' end;
-- A cell of a table as text; a list as JSON, so that it compares and reads the same from every format.
create or replace temp macro sw_cell(c) as
    case when typeof(c) like '%[]' or typeof(c) like 'STRUCT%' then to_json(c)::varchar else c::varchar end;
create or replace temp macro sw_list(t) as
    case when t is null then null
         when json_valid(t) and json_type(t) = 'ARRAY'
             then list_filter(json_extract_string(t, '$[*]'), lambda x: x is not null) end;
-- An object, also one that was logged as a string of JSON.
create or replace temp macro sw_object(j) as
    case when json_type(j) = 'OBJECT' then j
         when json_type(j) = 'VARCHAR' and json_valid(j ->> '$') and json_type(j ->> '$') = 'OBJECT'
             then (j ->> '$')::json end;
create or replace temp macro sw_string(j) as case when json_type(j) = 'VARCHAR' then j ->> '$' end;
-- A user's id; null for what applications write when there is no user, so that nobody's calls are not one account.
create or replace temp macro sw_user(t) as
    case when lower(trim(t)) not in ('', '-', 'anon', 'anonymous', 'default', 'default_user', 'default_user_id',
                                     'guest', 'n/a', 'nan', 'nil', 'none', 'null', 'undefined', 'unknown')
         then trim(t) end;
-- Anthropic's metadata.user_id as Claude Code fills it holds the session too: user_<device>_account_<id>_session_<id>,
-- and since 2.1.78 {"device_id", "account_uuid", "session_id"} as text. The user is the account, else the device.
create or replace temp macro sw_composite(t) as
    case when starts_with(t, '{') and json_valid(t) and json_type(t) = 'OBJECT'
         then [json_extract_string(t, '$.account_uuid'), json_extract_string(t, '$.device_id'),
               json_extract_string(t, '$.session_id')]
         when regexp_full_match(t, 'user_.+_account_.*_session_.+')
         then [regexp_extract(t, '_account_(.*)_session_', 1), regexp_extract(t, '^user_(.+)_account_', 1),
               regexp_extract(t, '_session_(.+)$', 1)] end;
create or replace temp macro sw_person(t) as sw_user(case when sw_composite(t) is null then t
    else coalesce(nullif(sw_composite(t)[1], ''), nullif(sw_composite(t)[2], ''), t) end);
create or replace temp macro sw_session(t) as nullif(sw_composite(t)[3], '');
"""


def macros() -> str:
    """Every macro, in an order that DuckDB accepts."""
    return _FIRST + MACROS


def shape(fields: dict[str, Any]) -> str:
    """A `json_transform` structure as an SQL string literal."""
    return "'" + json.dumps(fields).replace("'", "''") + "'"


def columns(given: dict[str, str]) -> str:
    """The list of a SELECT: every column of RAW in order, null where `given` has no expression; and the problem."""
    unknown = set(given) - {*RAW.names, "problem"}
    assert not unknown, unknown
    made = [f"{given.get(f.name, f'null::{sql_type(f.type)}')} as {f.name}" for f in RAW]
    return ",\n    ".join([*made, f"{given.get('problem', 'null::varchar')} as problem"])


def sql_type(kind: pa.DataType) -> str:
    """A column type of RAW as DuckDB calls it."""
    if pa.types.is_list(kind):
        return "varchar[]"
    return {pa.string(): "varchar", pa.int64(): "bigint", pa.float64(): "double", pa.bool_(): "boolean"}[kind]


def prompt(messages: str) -> str:
    """SQL: all user texts, oldest first, one newline between."""
    return f"sw_texts({messages}, ['user', 'human'])"


def opening(messages: str) -> str:
    """SQL: the first user text of a conversation that came with its history; a first question is its own opening."""
    history = (
        f"len({messages}) > 2 or (len({messages}) = 2 and lower({messages}[1].role) in ('user', 'human'))"
    )
    return f"case when {history} then sw_opening({messages}) end"


def system(messages: str) -> str:
    """SQL: all system and developer texts; null where there is none."""
    return f"nullif(sw_texts({messages}, ['system', 'developer']), '')"
