"""Langfuse's exports of observations: JSON lines, a JSON array, CSV or Parquet (github.com/langfuse/langfuse).

Three shapes of one thing: the tables' export (worker, observation-stream.ts: ``startTime``, ``modelParameters``,
``usageDetails``, ``userId``), the blob storage export (LEGACY_OBSERVATION_EXPORT_FIELDS and the enriched
``observations_v2``: ``start_time``, ``provided_model_name``, ``usage_details``, ``user_id``), and the public API's
observations (``usage``, ``promptTokens``). Observations that are no call of a model are quarantined with that reason.

The account is ``userId`` (of the trace), else what the metadata names: ``user_id``, ``userId``, ``langfuse_user_id``,
the ``user.id`` of an OpenTelemetry span, LiteLLM's ``user_api_key_user_id``, and last its key's hash, which is the
credential. Names for nobody (``anonymous``, ``default``, ...) and LiteLLM's own users are missing. The blob storage's
older ``observations`` have no user: join them with ``traces`` on ``trace_id`` first, or export ``observations_v2``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from stillwatch.logs.readers import _json, _names, _pair
from stillwatch.logs.readers.litellm import NOT_A_USER

NAME = "langfuse"
TITLE = "Langfuse's export of observations, JSON, CSV or Parquet"
INPUT = "either"

_FIELDS: dict[str, Any] = {
    **dict.fromkeys(
        [
            *("id", "startTime", "start_time", "endTime", "end_time", "userId", "user_id"),
            *("sessionId", "session_id", "traceId", "trace_id", "input", "output", "metadata"),
            *("modelParameters", "model_parameters", "usageDetails", "usage_details", "usage"),
            *("toolDefinitions", "tool_definitions"),
        ],
        "JSON",
    ),
    **dict.fromkeys(
        ["type", "model", "providedModelName", "provided_model_name", "level"],
        "VARCHAR",
    ),
    **dict.fromkeys(["promptTokens", "completionTokens", "inputUsage", "outputUsage"], "BIGINT"),
}
_PARAMETERS: dict[str, Any] = {
    **dict.fromkeys(["temperature", "top_p", "topP"], "DOUBLE"),
    **dict.fromkeys(["max_tokens", "maxTokens", "max_completion_tokens", "max_output_tokens", "n"], "BIGINT"),
    "logprobs": "BOOLEAN",
    "tools": "JSON",
}

MACROS = """
-- What was put in as a request: messages, one message, a body that has messages, or a mere text.
create or replace temp macro langfuse_parsed(j) as
    case when json_type(j) = 'VARCHAR' and json_valid(j ->> '$') and json_type(j ->> '$') in ('OBJECT', 'ARRAY')
         then (j ->> '$')::json when json_type(j) <> 'NULL' then j end;
create or replace temp macro langfuse_request(j) as
    case json_type(j) when 'ARRAY' then json_object('messages', j)
                      when 'VARCHAR' then json_object('prompt', j)
                      when 'OBJECT' then case when json_type(json_extract(j, '$.role')) = 'VARCHAR'
                                              then json_object('messages', json_array(j)) else j end end;
-- What came out as a response: one as the APIs have it, one message, blocks of a message, or a mere text.
create or replace temp macro langfuse_said(message) as
    json_object('choices', json_array(json_object('message', message)));
create or replace temp macro langfuse_response(j) as
    case json_type(j) when 'ARRAY' then json_object('content', j)
                      when 'VARCHAR' then langfuse_said(json_object('content', j))
                      when 'OBJECT' then case when json_extract(j, '$.choices') is null
                                                   and json_extract(j, '$.stop_reason') is null
                                                   and json_type(json_extract(j, '$.output')) is distinct from 'ARRAY'
                                              then langfuse_said(j)
                                              else j end end;
-- Usage by kind (input, input_cached_tokens, output, output_reasoning_tokens, ...): all of one word together.
create or replace temp macro langfuse_sum(j, word) as try_cast(list_sum(list_transform(
    list_filter(json_keys(j), lambda k: contains(k, word) and not contains(lower(k), 'cost')),
    lambda k: try_cast(sw_number(json_extract(j, '/' || k)) as bigint))) as bigint);
"""

_OWN = ", ".join(f"'{name}'" for name in NOT_A_USER)
_TALKED = "json_type(o.output) is not null and json_type(o.output) <> 'NULL'"

_COLUMNS = {
    **_pair.CALL,
    "record_id": "coalesce(sw_text(o.id), sw_line(line))",
    "time": "started",
    "account": f"""coalesce(sw_user(sw_text(o.userId)), sw_user(sw_text(o.user_id)), sw_person(meta['user_id']),
        sw_user(meta['userId']), sw_user(meta['langfuse_user_id']), sw_user(meta['user.id']),
        case when meta['user_api_key_user_id'] not in ({_OWN}) then sw_user(meta['user_api_key_user_id']) end,
        meta['user_api_key_hash'])""",
    "credential": "meta['user_api_key_hash']",
    "organization": "coalesce(meta['user_api_key_org_id'], meta['user_api_key_team_id'])",
    "end_user": "coalesce(meta['user_api_key_end_user_id'], sw_person(user_id))",
    "conversation": """coalesce(sw_text(o.sessionId), sw_text(o.session_id), meta['session_id'],
        meta['langfuse_session_id'], sw_text(o.traceId), sw_text(o.trace_id))""",
    "client_address": "coalesce(meta['requester_ip_address'], meta['client.address'])",
    "client_agent": "coalesce(meta['user_agent'], meta['user_agent.original'])",
    "route": "sw_route(coalesce(meta['custom_llm_provider'], meta['gen_ai.provider.name'], meta['gen_ai.system']))",
    "operation": """case when upper(o.type) = 'EMBEDDING' then 'embeddings'
        when messages is null and q.prompt is not null then 'text_completion' else 'chat' end""",
    "request_model": "model",
    "response_model": "coalesce(nullif(r.model, ''), model)",
    "temperature": "coalesce(par.temperature, q.temperature)",
    "top_p": "coalesce(par.top_p, par.topP, q.top_p)",
    "max_tokens": "coalesce(par.max_tokens, par.maxTokens, par.max_completion_tokens, par.max_output_tokens, "
    f"{_pair.CALL['max_tokens']})",
    "n_choices": "coalesce(par.n, q.n)",
    "logprobs": f"coalesce(par.logprobs, {_pair.CALL['logprobs']})",
    "input_tokens": "coalesce(langfuse_sum(used, 'input'), langfuse_sum(used, 'prompt'), o.inputUsage, "
    f"o.promptTokens, {_pair.CALL['input_tokens']})",
    "output_tokens": "coalesce(langfuse_sum(used, 'output'), langfuse_sum(used, 'completion'), o.outputUsage, "
    f"o.completionTokens, {_pair.CALL['output_tokens']})",
    "reasoning_tokens": f"coalesce(langfuse_sum(used, 'reasoning'), {_pair.CALL['reasoning_tokens']})",
    "status_code": f"case when upper(o.level) = 'ERROR' then 500 when {_TALKED} then 200 end",
    # an output without a reason says nothing about refusal
    "refused": f"case when finish is null and choice.message.refusal is null then null "
    f"else {_pair.CALL['refused']} end",
    "tool_schema": "coalesce(q.tools, par.tools, tools)::varchar",
    "latency_ms": "(ended - started) / 1e3",
    "problem": """case when o.id is null and started is null then 'not a Langfuse observation: no id or start time'
        when upper(o.type) not in ('GENERATION', 'EMBEDDING')
        then 'an observation that is no call of a model (' || lower(left(o.type, 40)) || ')'
        when o.type is null and model is null then 'an observation without type and model' end""",
}

_META = (
    *("user_id", "userId", "langfuse_user_id", "user_api_key_user_id", "user_api_key_hash"),
    *("user_api_key_org_id", "user_api_key_team_id", "user_api_key_end_user_id", "session_id"),
    *("langfuse_session_id", "requester_ip_address", "user_agent", "custom_llm_provider"),
)
# Spans that came by OpenTelemetry keep their attributes under metadata.attributes.
_SPAN = ("user.id", "client.address", "user_agent.original", "gen_ai.provider.name", "gen_ai.system")
_META_SQL = ", ".join(
    f"'{name}': sw_text(json_extract(metadata, '/{where}{name}'))"
    for where, given in (("", _META), ("attributes/", _SPAN))
    for name in given
)

SQL = f"""
with outer_fields as (
    select source_line, line, json_transform(line, {_json.shape(_FIELDS)}) as o from lines
), objects as (
    select source_line, line, o, sw_object(o.metadata) as metadata,
        coalesce(sw_json_time(o.startTime), sw_json_time(o.start_time)) as started,
        coalesce(sw_json_time(o.endTime), sw_json_time(o.end_time)) as ended,
        coalesce(nullif(o.model, ''), nullif(o.providedModelName, ''), nullif(o.provided_model_name, '')) as model,
        coalesce(sw_object(o.usageDetails), sw_object(o.usage_details), sw_object(o.usage)) as used,
        coalesce(sw_object(o.modelParameters), sw_object(o.model_parameters)) as parameters,
        nullif(coalesce(sw_object(o.toolDefinitions), sw_object(o.tool_definitions))::varchar, '{{}}') as tools
    from outer_fields
), halves as (
    select *, {{{_META_SQL}}} as meta, json_transform(parameters, {_json.shape(_PARAMETERS)}) as par,
        langfuse_request(langfuse_parsed(o.input)) as req_json,
        langfuse_response(langfuse_parsed(o.output)) as res_json
    from objects
), {_pair.CALLS}
select
    {_json.columns(_COLUMNS)}
from calls
"""

_START = {"startTime", "start_time"}
_SURE = {
    *("modelParameters", "model_parameters", "usageDetails", "usage_details", "providedModelName"),
    *("provided_model_name", "completionStartTime", "completion_start_time", "parentObservationId"),
    *("parent_observation_id", "costDetails", "cost_details"),
}
_TYPE = re.compile(rb'"type"\s*:\s*"(GENERATION|SPAN|EVENT|EMBEDDING|AGENT|TOOL|CHAIN)"')


def missing(columns: Sequence[str]) -> list[str]:
    """The columns that must be there and are not."""
    return [] if _START & set(columns) else ["start_time"]


def sniff(sample: bytes, name: str) -> float:
    """How surely this is such an export: 0 to 1."""
    keys = _names.names(sample)
    if not keys & _START or not keys & {"traceId", "trace_id"} or not keys & {"input", "output", "type"}:
        return 0.0
    found = len(keys & _SURE)
    if found >= 2 or (found and _TYPE.search(sample)):
        return 0.97
    return 0.0
