"""LiteLLM: one StandardLoggingPayload a line (github.com/BerriAI/litellm, litellm/types/utils.py).

The account is ``metadata.user_api_key_user_id``; where that is one of the proxy's own users, or missing, the hash of
the key stands in, and the hash is always the credential. `guardrail_information` is never looked at: it has carried
bearer tokens (BerriAI/litellm#20240).
"""

from __future__ import annotations

from typing import Any

from stillwatch.logs.readers import _json

NAME = "litellm"
TITLE = "LiteLLM StandardLoggingPayload, one JSON object a line"
INPUT = "lines"

# LITELLM_PROXY_ADMIN_NAME, LITTELM_INTERNAL_HEALTH_SERVICE_ACCOUNT_NAME, LITTELM_CLI_SERVICE_ACCOUNT_NAME,
# LITELLM_INTERNAL_JOBS_SERVICE_ACCOUNT_NAME and UI_SESSION_TOKEN_TEAM_ID in litellm/constants.py; the master key's
# alias in litellm/proxy/auth/user_api_key_auth.py, with hyphens and underscores.
NOT_A_USER = (
    "default_user_id",
    "litellm-internal-health-check",
    "litellm-cli",
    "litellm_internal_jobs",
    "litellm-dashboard",
    "litellm-proxy-master-key",
    "litellm_proxy_master_key",
    "litellm-proxy-budget",
)

_FIELDS: dict[str, Any] = {
    **dict.fromkeys(
        ["id", "litellm_call_id", "trace_id", "session_id", "startTime", "endTime", "end_user", "user"],
        "JSON",
    ),
    **dict.fromkeys(
        [
            "call_type",
            "status",
            "custom_llm_provider",
            "model",
            "model_group",
            "requester_ip_address",
            "user_agent",
        ],
        "VARCHAR",
    ),
    "prompt_tokens": "BIGINT",
    "completion_tokens": "BIGINT",
    "messages": [_json.MESSAGE],
    "model_parameters": {
        "temperature": "DOUBLE",
        "top_p": "DOUBLE",
        "max_tokens": "BIGINT",
        "max_completion_tokens": "BIGINT",
        "max_output_tokens": "BIGINT",
        "n": "BIGINT",
        "logprobs": "BOOLEAN",
        "tools": "JSON",
        "functions": "JSON",
        "instructions": "VARCHAR",
    },
    "metadata": {
        **dict.fromkeys(
            [
                "user_api_key_hash",
                "user_api_key_user_id",
                "user_api_key_org_id",
                "user_api_key_team_id",
                "user_api_key_end_user_id",
            ],
            "JSON",
        ),
        "requester_ip_address": "VARCHAR",
        "user_agent": "VARCHAR",
        "usage_object": {"completion_tokens_details": {"reasoning_tokens": "BIGINT"}},
    },
    "response": {
        "model": "VARCHAR",
        "stop_reason": "VARCHAR",
        "status": "VARCHAR",
        "choices": [
            {
                "finish_reason": "VARCHAR",
                "message": {"refusal": "VARCHAR", "reasoning_content": "VARCHAR"},
            }
        ],
        "usage": {
            "completion_tokens_details": {"reasoning_tokens": "BIGINT"},
            "output_tokens_details": {"reasoning_tokens": "BIGINT"},
        },
    },
    "error_information": {"error_code": "VARCHAR"},
}

_OWN = ", ".join(f"'{name}'" for name in NOT_A_USER)

SQL = f"""
with fields as (
    select source_line, line, json_transform(line, {_json.shape(_FIELDS)}) as f from lines
), named as (
    select source_line, line, f, f.response.choices[1] as choice, f.metadata as meta, f.model_parameters as par,
        sw_text(f.metadata.user_api_key_user_id) as user_id,
        sw_text(f.metadata.user_api_key_hash) as key_hash,
        sw_json_time(f.startTime) as started, sw_json_time(f.endTime) as ended,
        -- a completion's prompt is one string where a chat has a list of messages
        case when f.messages is null then json_extract(line, '$.messages') end as loose,
        sw_signed(line) as signed
    from fields
)
select
    coalesce(sw_text(f.id), sw_text(f.litellm_call_id), sw_line(line)) as record_id,
    started as time,
    case when user_id is null or user_id in ({_OWN}) then key_hash else user_id end as account,
    key_hash as credential,
    coalesce(sw_text(meta.user_api_key_org_id), sw_text(meta.user_api_key_team_id)) as organization,
    coalesce(sw_text(f.end_user), sw_text(meta.user_api_key_end_user_id)) as end_user,
    coalesce(sw_text(f.session_id), sw_text(f.trace_id)) as conversation,
    coalesce(f.requester_ip_address, meta.requester_ip_address) as client_address,
    null::bigint as client_asn,
    coalesce(f.user_agent, meta.user_agent) as client_agent,
    null::varchar as tls_fingerprint,
    sw_route(f.custom_llm_provider) as route,
    case when f.call_type in ('completion', 'acompletion', 'responses', 'aresponses', 'anthropic_messages') then 'chat'
         when f.call_type in ('text_completion', 'atext_completion') then 'text_completion'
         when f.call_type in ('embedding', 'aembedding') then 'embeddings'
         else f.call_type end as operation,
    coalesce(nullif(f.model_group, ''), f.model) as request_model,
    coalesce(nullif(f.response.model, ''), f.model) as response_model,
    par.temperature, par.top_p,
    coalesce(par.max_tokens, par.max_completion_tokens, par.max_output_tokens) as max_tokens,
    par.n as n_choices, par.logprobs,
    f.prompt_tokens as input_tokens, f.completion_tokens as output_tokens,
    coalesce(f.response.usage.completion_tokens_details.reasoning_tokens,
             f.response.usage.output_tokens_details.reasoning_tokens,
             meta.usage_object.completion_tokens_details.reasoning_tokens) as reasoning_tokens,
    coalesce(choice.finish_reason, f.response.stop_reason, f.response.status) as finish_reason,
    coalesce(try_cast(f.error_information.error_code as bigint),
             case f.status when 'success' then 200 when 'failure' then 500 end) as status_code,
    case when f.response is null then null
         else coalesce(choice.message.refusal, '') <> ''
              or coalesce(choice.finish_reason, f.response.stop_reason, '') in ('content_filter', 'refusal')
         end as refused,
    case when f.response is null then null else coalesce(choice.message.reasoning_content, '') <> '' end
        as reasoning_visible,
    case when signed then sw_signatures(json_extract(line, '$.response')) end as signatures_minted,
    case when signed then sw_signatures(json_extract(line, '$.messages')) end as signatures_presented,
    coalesce(par.tools, par.functions)::varchar as tool_schema,
    coalesce({_json.system("f.messages")}, par.instructions) as system,
    case when f.messages is null then sw_content(loose) else {_json.prompt("f.messages")} end as prompt,
    {_json.opening("f.messages")} as opening,
    case when f.messages is null then (sw_content(loose) is not null)::bigint else sw_turns(f.messages) end as turns,
    (ended - started) / 1e3 as latency_ms,
    null::varchar[] as marks,
    source_line,
    case when f.call_type is null and f.messages is null and f.metadata is null
         then 'not a LiteLLM record: no call_type, messages or metadata' end as problem
from named
"""


def sniff(sample: bytes, name: str) -> float:
    """How surely this is a LiteLLM log: 0 to 1."""
    signs = (
        b'"user_api_key_hash"',
        b'"litellm_call_id"',
        b'"call_type"',
        b'"model_parameters"',
        b'"startTime"',
    )
    found = sum(sign in sample for sign in signs)
    return 0.95 if found >= 3 else 0.3 * found
