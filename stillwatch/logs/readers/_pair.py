"""A request and its response as the providers' APIs have them, for every reader whose log holds such pairs.

A reader brings a CTE named ``halves`` with `source_line`, `line`, `o` (its own outer fields) and the two bodies as JSON
objects, `req_json` and `res_json`; CALLS makes of it ``calls``, and CALL says what each column of RAW is there. Covered
are OpenAI's chat completions, legacy completions and responses, Anthropic's messages, and Gemini's contents.
"""

from __future__ import annotations

from typing import Any

from stillwatch.logs.readers import _json

OUTER: dict[str, Any] = {
    **dict.fromkeys(
        [
            *("id", "request_id", "custom_id"),
            *("time", "timestamp", "ts", "created_at", "created", "start_time"),
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
"""What may stand beside the pair."""

REQUEST: dict[str, Any] = {
    **dict.fromkeys(
        ["user", "safety_identifier", "prompt_cache_key", "conversation", "prompt", "input", "system"], "JSON"
    ),
    "model": "VARCHAR",
    "messages": [_json.MESSAGE],
    "contents": [_json.MESSAGE],
    "instructions": "VARCHAR",
    "temperature": "DOUBLE",
    "top_p": "DOUBLE",
    **dict.fromkeys(["max_tokens", "max_completion_tokens", "max_output_tokens", "n"], "BIGINT"),
    "logprobs": "JSON",
    "tools": "JSON",
    "functions": "JSON",
    "metadata": {"user_id": "JSON"},
}
RESPONSE: dict[str, Any] = {
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
        "output_tokens_details": {"reasoning_tokens": "BIGINT", "thinking_tokens": "BIGINT"},
    },
    "output": [{"type": "VARCHAR"}],
    "content": [{"type": "VARCHAR", "thinking": "VARCHAR"}],
    "error": "JSON",
}

CALLS = f"""
parsed as (
    select *, json_transform(req_json, {_json.shape(REQUEST)}) as q,
        json_transform(res_json, {_json.shape(RESPONSE)}) as r,
        -- the responses API calls the messages "input"; both it and "prompt" may be a mere string
        json_transform(case when json_type(json_extract(req_json, '$.input')) = 'ARRAY'
            then json_extract(req_json, '$.input') end, {_json.shape([_json.MESSAGE])}) as items
    from halves
), calls as (
    select *, coalesce(q.messages, items, q.contents) as messages, r.choices[1] as choice,
        coalesce(r.choices[1].finish_reason, r.stop_reason, r.status) as finish,
        coalesce(sw_text(q."user"), sw_text(q.safety_identifier), sw_text(q.metadata.user_id)) as user_id
    from parsed
)"""

ENVELOPE: dict[str, str] = {
    "record_id": "coalesce(sw_text(r.id), sw_text(o.request_id), sw_text(o.id), sw_line(line))",
    "time": "coalesce(sw_json_time(o.time), sw_json_time(o.timestamp), sw_json_time(o.ts), "
    "sw_json_time(o.start_time), sw_json_time(o.created_at), sw_json_time(o.created), sw_json_time(r.created), "
    "sw_json_time(r.created_at))",
    "account": "coalesce(sw_text(o.account), sw_text(o.account_id), sw_text(o.user_id), sw_person(user_id), "
    "sw_text(o.api_key_id), sw_text(o.api_key_hash), sw_text(o.key_id))",
    "credential": "coalesce(sw_text(o.api_key_id), sw_text(o.api_key_hash), sw_text(o.key_id))",
    "organization": "coalesce(sw_text(o.organization_id), sw_text(o.organization), sw_text(o.org_id), "
    "sw_text(o.project_id))",
    "end_user": "coalesce(sw_text(q.safety_identifier), sw_person(user_id))",
    "conversation": "coalesce(sw_text(o.conversation_id), sw_text(o.session_id), sw_text(o.thread_id), "
    "sw_text(q.conversation), sw_text(json_extract(q.conversation, '$.id')), sw_session(user_id))",
    "client_address": "coalesce(sw_text(o.client_address), sw_text(o.client_ip), sw_text(o.ip))",
    "client_agent": "o.user_agent",
    "latency_ms": "o.latency_ms",
}
"""Columns that are told from OUTER."""

CALL: dict[str, str] = {
    "request_model": "q.model",
    "response_model": "coalesce(r.model, q.model)",
    "temperature": "q.temperature",
    "top_p": "q.top_p",
    "max_tokens": "coalesce(q.max_tokens, q.max_completion_tokens, q.max_output_tokens)",
    "n_choices": "q.n",
    "logprobs": "case json_type(q.logprobs) when 'BOOLEAN' then q.logprobs::varchar = 'true' "
    "when 'UBIGINT' then true end",
    "input_tokens": "coalesce(r.usage.prompt_tokens, r.usage.input_tokens)",
    "output_tokens": "coalesce(r.usage.completion_tokens, r.usage.output_tokens)",
    "reasoning_tokens": "coalesce(r.usage.completion_tokens_details.reasoning_tokens, "
    "r.usage.output_tokens_details.reasoning_tokens, r.usage.output_tokens_details.thinking_tokens)",
    "finish_reason": "finish",
    "refused": "case when res_json is null then null else coalesce(choice.message.refusal, '') <> '' "
    "or coalesce(finish, '') in ('content_filter', 'refusal') end",
    # a thinking block without its text is there for its signature alone
    "reasoning_visible": "case when res_json is null then null "
    "else coalesce(choice.message.reasoning_content, sw_string(choice.message.reasoning), '') <> '' "
    "or coalesce(list_bool_or(list_transform(r.content, "
    "lambda p: p.type = 'thinking' and coalesce(p.thinking, 'x') <> '')), false) "
    "or coalesce(list_contains(list_transform(r.output, lambda p: p.type), 'reasoning'), false) end",
    "signatures_minted": "sw_signatures(res_json)",
    "signatures_presented": "sw_signatures(req_json)",
    "tool_schema": "coalesce(q.tools, q.functions)::varchar",
    "system": f"nullif(concat_ws(chr(10), sw_content(q.system), q.instructions, {_json.system('messages')}), '')",
    "prompt": f"coalesce({_json.prompt('messages')}, sw_content(q.input), sw_content(q.prompt))",
    "opening": _json.opening("messages"),
    "turns": "case when messages is not null then sw_turns(messages) "
    "else (coalesce(sw_content(q.input), sw_content(q.prompt)) is not null)::bigint end",
    "source_line": "source_line",
}
"""Columns that are told from the bodies."""
