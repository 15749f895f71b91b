"""Anthropic's messages: a request and its response, one JSON object a line (anthropics/anthropic-sdk-python, types/).

``{"request": {...}, "response": {...}}``; ``body`` or a batch's ``params`` for the request, ``message`` or a batch's
``result`` for the response. Beside the pair may stand what may stand beside an OpenAI pair: a time, an account, a key's
id, a workspace, an address. The API itself puts no time into a message, so a log without one, such as a batch's results
as they are downloaded, is quarantined. The account is the first of: account fields, the request's ``metadata.user_id``
or ``user_profile_id``, the id of the API key. A ``metadata.user_id`` of Claude Code names its account or else its
device, never the session that the same text holds; names for nobody (``anonymous``, ``default``, ...) are missing.

Signatures of thinking and redacted thinking are minted in the response and presented in the request. Input tokens are
all of them, written to and read from the cache included. Streamed events are not put together: the response must be
one.
"""

from __future__ import annotations

import re
from typing import Any

from stillwatch.logs.readers import _json, _names, _pair

NAME = "anthropic"
TITLE = "Anthropic messages, request and response pairs and batches, one JSON object a line"
INPUT = "lines"

_OUTER: dict[str, Any] = {
    **_pair.OUTER,
    **dict.fromkeys(["params", "message", "result", "workspace_id", "user_profile_id"], "JSON"),
    "provider": "VARCHAR",
}
_MORE: dict[str, Any] = {"anthropic_version": "VARCHAR", "user_profile_id": "JSON"}
_CACHED: dict[str, Any] = {
    "usage": {"cache_creation_input_tokens": "BIGINT", "cache_read_input_tokens": "BIGINT"},
    "stop_details": {"type": "VARCHAR"},
    "type": "VARCHAR",
}

# The types of error of the API (types/shared/error_object.py) and the statuses that it sends with them.
_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_ERRORS = " ".join(f"when '{kind}' then {status}" for kind, status in _STATUS.items())

_COLUMNS = {
    **_pair.ENVELOPE,
    **_pair.CALL,
    "account": "coalesce(sw_user(sw_text(o.account)), sw_user(sw_text(o.account_id)), sw_user(sw_text(o.user_id)), "
    "sw_person(user_id), profile, key_id)",
    "organization": "coalesce(sw_text(o.organization_id), sw_text(o.organization), sw_text(o.org_id), "
    "sw_text(o.workspace_id), sw_text(o.project_id))",
    "end_user": "coalesce(sw_person(user_id), profile)",
    "route": """case when starts_with(extra.anthropic_version, 'bedrock')
              or starts_with(extra.anthropic_version, 'vertex') then 'cloud' else sw_route(o.provider) end""",
    "operation": "'chat'",
    "input_tokens": """try_cast(r.usage.input_tokens::hugeint + coalesce(more.usage.cache_creation_input_tokens, 0)
        + coalesce(more.usage.cache_read_input_tokens, 0) as bigint)""",
    "status_code": f"""coalesce(o.status_code, try_cast(sw_text(o.status) as bigint),
        case when failed is not null then case failed {_ERRORS} else 500 end
             when res_json is not null then 200 end)""",
    "finish_reason": "r.stop_reason",
    "refused": """case when res_json is null or failed is not null then null
        else coalesce(r.stop_reason, '') = 'refusal' or coalesce(more.stop_details.type, '') = 'refusal' end""",
    "problem": """case when outcome in ('canceled', 'expired')
        then 'a batch request that was not run (' || outcome || ')'
        when req_json is null and res_json is null and failed is null
        then 'neither a request nor a response object' end""",
}

SQL = f"""
with outer_fields as (
    select source_line, line, json_transform(line, {_json.shape(_OUTER)}) as o from lines
), objects as (
    select *, sw_object(o.request) as request, sw_object(o.result) as result,
        coalesce(sw_object(o.response), sw_object(o.message)) as response
    from outer_fields
), bodies as (
    select source_line, line, o, json_extract_string(result, '$.type') as outcome,
        coalesce(sw_object(json_extract(request, '$.body')), sw_object(json_extract(request, '$.params')), request,
                 sw_object(o.body), sw_object(o.params)) as req_json,
        coalesce(sw_object(json_extract(response, '$.body')), response,
                 sw_object(json_extract(result, '$.message')), sw_object(json_extract(result, '$.error'))) as answer,
        sw_object(o.error) as error
    from objects
), halves as (
    select source_line, line, o, outcome, req_json, case when kind <> 'error' then answer end as res_json,
        case when kind = 'error' or error is not null
             then coalesce(json_extract_string(coalesce(answer, error), '$.error.type'),
                           json_extract_string(error, '$.type'), 'unknown') end as failed
    from (select *, coalesce(json_extract_string(answer, '$.type'), 'message') as kind from bodies)
), {_pair.CALLS}, told as (
    select *, json_transform(req_json, {_json.shape(_MORE)}) as extra,
        json_transform(res_json, {_json.shape(_CACHED)}) as more
    from calls
), known as (
    select *, coalesce(sw_user(sw_text(extra.user_profile_id)), sw_user(sw_text(o.user_profile_id))) as profile,
        coalesce(sw_text(o.api_key_id), sw_text(o.api_key_hash), sw_text(o.key_id)) as key_id
    from told
)
select
    {_json.columns(_COLUMNS)}
from known
"""

_SIGNS = re.compile(
    rb'"(stop_reason|anthropic_version|cache_creation_input_tokens|cache_read_input_tokens|tool_use_id|input_schema'
    rb'|redacted_thinking|stop_sequences)"|"id"\s*:\s*"msg_|"type"\s*:\s*"message"|"model"\s*:\s*"[a-z0-9./-]*claude'
)
_OTHERS = re.compile(rb'"(choices|chat\.completion|max_completion_tokens|output_text|finish_reason)"')
_OUTCOME = re.compile(rb'"result"\s*:\s*\{\s*"type"\s*:\s*"(succeeded|errored|canceled|expired)"')


def sniff(sample: bytes, name: str) -> float:
    """How surely these are such pairs: 0 to 1."""
    keys = _names.names(sample)
    if not keys & {"request", "response", "body", "params", "message", "result"} or _names.header(sample):
        return 0.0
    if "custom_id" in keys and ("params" in keys or _OUTCOME.search(sample)):
        return 0.95
    if _OTHERS.search(sample) or not keys & {"request", "response", "body", "params"}:
        return 0.0
    return 0.9 if _SIGNS.search(sample) else 0.0
