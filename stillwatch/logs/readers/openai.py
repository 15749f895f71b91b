"""Pairs of request and response as OpenAI's API has them, one JSON object a line.

``{"request": {...}, "response": {...}}``; ``body`` for ``request``, and the batch API's ``response.body``, are fine,
and so are the message, prompt and input forms of chat completions, legacy completions and the responses API, as well as
Anthropic's messages. Beside the pair may stand: a time (``time``, ``timestamp``, ``created_at``, ``created``, else the
response's own), ``account``, ``account_id`` or ``user_id``, ``api_key_id`` or ``api_key_hash``, ``organization_id``,
``ip``, ``user_agent``, ``session_id``, ``latency_ms``, ``status_code``. The account is the first of: account fields,
the request's ``user`` or ``safety_identifier``, the id of the API key.
"""

from __future__ import annotations

import re
from typing import Any

from stillwatch.logs.readers import _json

NAME = "openai"
TITLE = "OpenAI-style request and response pairs, one JSON object a line"
INPUT = "lines"

_OUTER: dict[str, Any] = {
    **dict.fromkeys(
        [
            *(
                "id",
                "request_id",
                "custom_id",
                "time",
                "timestamp",
                "ts",
                "created_at",
                "created",
                "start_time",
            ),
            *("account", "account_id", "user_id", "api_key_id", "api_key_hash", "key_id"),
            *("organization", "organization_id", "org_id", "project_id"),
            *("conversation_id", "session_id", "thread_id"),
            *("request", "body", "response", "error", "ip", "client_ip", "client_address"),
        ],
        "JSON",
    ),
    **dict.fromkeys(["user_agent", "url", "endpoint", "method"], "VARCHAR"),
    "latency_ms": "DOUBLE",
    "status_code": "BIGINT",
    "status": "JSON",
}
_REQUEST: dict[str, Any] = {
    **dict.fromkeys(
        ["user", "safety_identifier", "prompt_cache_key", "conversation", "prompt", "input", "system"], "JSON"
    ),
    "model": "VARCHAR",
    "messages": [_json.MESSAGE],
    "instructions": "VARCHAR",
    "temperature": "DOUBLE",
    "top_p": "DOUBLE",
    **dict.fromkeys(["max_tokens", "max_completion_tokens", "max_output_tokens", "n"], "BIGINT"),
    "logprobs": "JSON",
    "tools": "JSON",
    "functions": "JSON",
    "metadata": {"user_id": "JSON"},
}
_RESPONSE: dict[str, Any] = {
    "id": "JSON",
    "created": "JSON",
    "created_at": "JSON",
    "model": "VARCHAR",
    "object": "VARCHAR",
    "status": "VARCHAR",
    "stop_reason": "VARCHAR",
    "choices": [
        {
            "finish_reason": "VARCHAR",
            "message": {"refusal": "VARCHAR", "reasoning_content": "VARCHAR", "reasoning": "JSON"},
        }
    ],
    "usage": {
        **dict.fromkeys(["prompt_tokens", "input_tokens", "completion_tokens", "output_tokens"], "BIGINT"),
        "completion_tokens_details": {"reasoning_tokens": "BIGINT"},
        "output_tokens_details": {"reasoning_tokens": "BIGINT"},
    },
    "output": [{"type": "VARCHAR"}],
    "content": [{"type": "VARCHAR"}],
    "error": "JSON",
}

SQL = f"""
with outer_fields as (
    select source_line, line, json_transform(line, {_json.shape(_OUTER)}) as o from lines
), objects as (
    select *, sw_object(o.request) as request, sw_object(o.response) as response, sw_object(o.body) as body
    from outer_fields
), halves as (
    select source_line, line, o, response,
        coalesce(sw_object(json_extract(request, '$.body')), request, body) as req_json,
        coalesce(sw_object(json_extract(response, '$.body')), response) as res_json
    from objects
), fields as (
    select source_line, line, o, req_json, res_json,
        json_transform(req_json, {_json.shape(_REQUEST)}) as q,
        json_transform(res_json, {_json.shape(_RESPONSE)}) as r,
        try_cast(json_extract_string(response, '$.status_code') as bigint) as batch_status,
        -- the responses API calls the messages "input"; both it and "prompt" may be a mere string
        json_transform(case when json_type(json_extract(req_json, '$.input')) = 'ARRAY'
            then json_extract(req_json, '$.input') end, {_json.shape([_json.MESSAGE])}) as items,
        sw_signed(line) as signed
    from halves
), named as (
    select *, coalesce(q.messages, items) as messages, r.choices[1] as choice,
        coalesce(sw_text(o.account), sw_text(o.account_id), sw_text(o.user_id)) as named_account,
        coalesce(sw_text(o.api_key_id), sw_text(o.api_key_hash), sw_text(o.key_id)) as key_id,
        coalesce(sw_text(q."user"), sw_text(q.safety_identifier), sw_text(q.metadata.user_id)) as user_id
    from fields
)
select
    coalesce(sw_text(r.id), sw_text(o.request_id), sw_text(o.id), sw_line(line)) as record_id,
    coalesce(sw_json_time(o.time), sw_json_time(o.timestamp), sw_json_time(o.ts), sw_json_time(o.start_time),
             sw_json_time(o.created_at), sw_json_time(o.created), sw_json_time(r.created), sw_json_time(r.created_at))
        as time,
    coalesce(named_account, user_id, key_id) as account,
    key_id as credential,
    coalesce(sw_text(o.organization_id), sw_text(o.organization), sw_text(o.org_id), sw_text(o.project_id))
        as organization,
    coalesce(sw_text(q.safety_identifier), user_id) as end_user,
    coalesce(sw_text(o.conversation_id), sw_text(o.session_id), sw_text(o.thread_id), sw_text(q.conversation),
             sw_text(json_extract(q.conversation, '$.id'))) as conversation,
    coalesce(sw_text(o.client_address), sw_text(o.client_ip), sw_text(o.ip)) as client_address,
    null::bigint as client_asn,
    o.user_agent as client_agent,
    null::varchar as tls_fingerprint,
    null::varchar as route,
    case when contains(coalesce(o.url, o.endpoint, ''), 'embedding') then 'embeddings'
         when r.object = 'text_completion' or (q.messages is null and q.input is null and q.prompt is not null)
             then 'text_completion'
         else 'chat' end as operation,
    q.model as request_model,
    coalesce(r.model, q.model) as response_model,
    q.temperature, q.top_p,
    coalesce(q.max_tokens, q.max_completion_tokens, q.max_output_tokens) as max_tokens,
    q.n as n_choices,
    case json_type(q.logprobs) when 'BOOLEAN' then q.logprobs::varchar = 'true'
                               when 'UBIGINT' then true end as logprobs,
    coalesce(r.usage.prompt_tokens, r.usage.input_tokens) as input_tokens,
    coalesce(r.usage.completion_tokens, r.usage.output_tokens) as output_tokens,
    coalesce(r.usage.completion_tokens_details.reasoning_tokens, r.usage.output_tokens_details.reasoning_tokens)
        as reasoning_tokens,
    coalesce(choice.finish_reason, r.stop_reason, r.status) as finish_reason,
    coalesce(o.status_code, batch_status, try_cast(sw_text(o.status) as bigint),
             case when json_type(coalesce(o.error, r.error)) = 'OBJECT' then 500
                  when res_json is not null then 200 end) as status_code,
    case when res_json is null then null
         else coalesce(choice.message.refusal, '') <> ''
              or coalesce(choice.finish_reason, r.stop_reason, '') in ('content_filter', 'refusal') end as refused,
    case when res_json is null then null
         else coalesce(choice.message.reasoning_content, sw_string(choice.message.reasoning), '') <> ''
              or len(list_filter(r.content, lambda p: p.type = 'thinking')) > 0
              or len(list_filter(r.output, lambda p: p.type = 'reasoning')) > 0 end as reasoning_visible,
    case when signed then sw_signatures(res_json) end as signatures_minted,
    case when signed then sw_signatures(req_json) end as signatures_presented,
    coalesce(q.tools, q.functions)::varchar as tool_schema,
    nullif(concat_ws(chr(10), sw_content(q.system), q.instructions, {_json.system("messages")}), '') as system,
    coalesce({_json.prompt("messages")}, sw_content(q.input), sw_content(q.prompt)) as prompt,
    case when messages is not null then sw_turns(messages)
         else (coalesce(sw_content(q.input), sw_content(q.prompt)) is not null)::bigint end as turns,
    o.latency_ms,
    null::varchar[] as marks,
    source_line,
    case when req_json is null and res_json is null then 'neither a request nor a response object' end as problem
from named
"""


def sniff(sample: bytes, name: str) -> float:
    """How surely this is such a log: 0 to 1."""
    if not re.search(rb'"(request|body|response)"\s*:\s*[{"]', sample):
        return 0.0
    signs = rb'"(messages|input|prompt|choices|custom_id|chat\.completion|output_text)"'
    return 0.8 if re.search(signs, sample) else 0.2
