"""Helicone's export of requests: JSON lines, a JSON array, or CSV (github.com/Helicone/helicone).

The shape is ``HeliconeRequest`` (packages/llm-mapper/types.ts), as the export tool (examples/export/typescript) and
the API's request query give it. The account is ``request_user_id`` (the Helicone-User-Id header), else the user that
the request's body names; names for nobody (``anonymous``, ``default``, ...) are missing. ``helicone_user`` and keys are
those of Helicone's customer, the same for every row, and are not looked at. Bodies that were not exported, and stand
there as a ``helicone_message``, leave the prompt empty: export with ``--include-body``; the tool's CSV has no response.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stillwatch.logs.readers import _json, _names, _pair

NAME = "helicone"
TITLE = "Helicone's export of requests, JSON or CSV"
INPUT = "either"

_FIELDS: dict[str, Any] = {
    **dict.fromkeys(
        [
            *("request_id", "response_id", "request_created_at", "response_created_at", "request_user_id"),
            *("request_body", "response_body", "request_properties", "properties"),
        ],
        "JSON",
    ),
    **dict.fromkeys(
        [
            *("model", "request_model", "response_model", "model_override", "provider", "target_url"),
            "request_path",
        ],
        "VARCHAR",
    ),
    **dict.fromkeys(
        ["response_status", "prompt_tokens", "completion_tokens", "reasoning_tokens"],
        "BIGINT",
    ),
    "status": "JSON",
    **dict.fromkeys(["delay_ms", "latency"], "DOUBLE"),
}

MACROS = """
-- A body; in CSV it is text, whose quotes the export tool doubles once too often.
create or replace temp macro helicone_object(j) as
    coalesce(sw_object(j),
             case when json_type(j) = 'VARCHAR' then sw_object(to_json(replace(j ->> '$', '""', '"'))) end);
create or replace temp macro helicone_body(j) as
    case when json_extract(helicone_object(j), '$.helicone_message') is null then helicone_object(j) end;
create or replace temp macro helicone_route(provider, url) as
    case when provider in ('aws', 'bedrock', 'azure', 'vertex', 'google-vertex') then 'cloud'
         when provider is not null and provider not in ('', 'custom') then sw_route(provider)
         when regexp_matches(url, 'bedrock|azure|aiplatform\\.googleapis') then 'cloud'
         when contains(url, 'openrouter.ai') then 'aggregator' end;
"""

_COLUMNS = {
    **_pair.CALL,
    "record_id": "coalesce(sw_text(o.request_id), sw_text(o.response_id), sw_line(line))",
    "time": "sw_json_time(o.request_created_at)",
    "account": "coalesce(sw_user(sw_text(o.request_user_id)), sw_person(user_id))",
    "end_user": "sw_person(user_id)",
    "conversation": "coalesce(sw_text(json_extract(props, '/Helicone-Session-Id')), sw_session(user_id))",
    "route": "helicone_route(lower(o.provider), o.target_url)",
    "operation": """case when contains(coalesce(o.request_path, o.target_url, ''), 'embedding') then 'embeddings'
        when r.object = 'text_completion' or (messages is null and q.prompt is not null) then 'text_completion'
        else 'chat' end""",
    "request_model": "coalesce(nullif(o.request_model, ''), nullif(o.model, ''), q.model)",
    "response_model": "coalesce(nullif(o.model_override, ''), nullif(o.response_model, ''), r.model, "
    "nullif(o.model, ''), nullif(o.request_model, ''), q.model)",
    "input_tokens": f"coalesce(o.prompt_tokens, {_pair.CALL['input_tokens']})",
    "output_tokens": f"coalesce(o.completion_tokens, {_pair.CALL['output_tokens']})",
    "reasoning_tokens": f"coalesce(o.reasoning_tokens, {_pair.CALL['reasoning_tokens']})",
    "status_code": "coalesce(o.response_status, try_cast(sw_text(o.status) as bigint))",
    "latency_ms": """coalesce(o.delay_ms, o.latency,
        (sw_json_time(o.response_created_at) - sw_json_time(o.request_created_at)) / 1e3)""",
    "problem": """case when o.request_created_at is null and o.request_id is null
        then 'not a Helicone request: no request_id or request_created_at' end""",
}

SQL = f"""
with outer_fields as (
    select source_line, line, json_transform(line, {_json.shape(_FIELDS)}) as o from lines
), halves as (
    select source_line, line, o, helicone_body(o.request_body) as req_json, helicone_body(o.response_body) as res_json,
        coalesce(helicone_object(o.request_properties), helicone_object(o.properties)) as props
    from outer_fields
), {_pair.CALLS}
select
    {_json.columns(_COLUMNS)}
from calls
"""


def missing(columns: Sequence[str]) -> list[str]:
    """The columns that must be there and are not."""
    return [c for c in ("request_created_at",) if c not in columns]


def sniff(sample: bytes, name: str) -> float:
    """How surely this is such an export: 0 to 1."""
    keys = _names.names(sample)
    if missing(list(keys)):
        return 0.0
    own = {"request_user_id", "request_properties", "helicone_user", "request_body", "signed_body_url"}
    return 0.97 if keys & own else 0.0
