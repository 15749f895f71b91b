"""OpenTelemetry GenAI spans: OTLP JSON, one document a line or one document a file, or one exported span a line.

Attribute names old and new (open-telemetry/semantic-conventions-genai): ``gen_ai.system`` and
``gen_ai.provider.name``, ``gen_ai.usage.prompt_tokens`` and ``.input_tokens``, ``gen_ai.prompt`` (whole, by number, or
in an event) and ``gen_ai.input.messages``. An input row is a span; spans that are no call of a model are quarantined
with that reason. The account is the first of ``enduser.id``, ``user.id``, ``user.account_uuid``, ``user.account_id``,
``enduser.pseudo.id``, ``user.hash``, on the span or else on its resource.
"""

from __future__ import annotations

from typing import Any

from stillwatch.logs.readers import _json

NAME = "otel"
TITLE = "OpenTelemetry GenAI spans, OTLP JSON"
INPUT = "lines"

_VALUE: dict[str, Any] = {
    "stringValue": "VARCHAR",
    "intValue": "JSON",
    "doubleValue": "JSON",
    "boolValue": "BOOLEAN",
    "arrayValue": "JSON",
    "kvlistValue": "JSON",
}
_ATTRIBUTES = [{"key": "VARCHAR", "value": _VALUE}]
_SPANS = [{"spans": ["JSON"]}]
_DOCUMENT: dict[str, Any] = {
    "resourceSpans": [
        {"resource": {"attributes": "JSON"}, "scopeSpans": _SPANS, "instrumentationLibrarySpans": _SPANS}
    ],
    "attributes": "JSON",
    "resource": {"attributes": "JSON"},
}
_SPAN: dict[str, Any] = {
    **dict.fromkeys(
        [
            "traceId",
            "spanId",
            "trace_id",
            "span_id",
            "startTimeUnixNano",
            "endTimeUnixNano",
            "start_time",
            "end_time",
        ],
        "JSON",
    ),
    "context": {"trace_id": "JSON", "span_id": "JSON"},
    "attributes": "JSON",
    "events": [{"name": "VARCHAR", "attributes": "JSON"}],
    "status": {"code": "JSON", "status_code": "VARCHAR"},
}

MACROS = f"""
-- Attributes as two parallel lists: OTLP's list of key and value, or the plain object of other exporters.
create or replace temp macro otel_typed(a) as json_transform(a, {_json.shape(_ATTRIBUTES)});
create or replace temp macro otel_keys(a) as
    case json_type(a) when 'ARRAY' then list_transform(otel_typed(a), lambda x: x.key)
                      when 'OBJECT' then json_keys(a) end;
create or replace temp macro otel_values(a) as
    case json_type(a)
        when 'ARRAY' then list_transform(otel_typed(a), lambda x: coalesce(x.value.stringValue,
            sw_number(x.value.intValue), sw_number(x.value.doubleValue), x.value.boolValue::varchar,
            x.value.arrayValue::varchar, x.value.kvlistValue::varchar))
        when 'OBJECT' then list_transform(json_extract(a, '$.*'), lambda j: coalesce(sw_string(j), j::varchar)) end;
create or replace temp macro otel_get(s, name) as nullif(s.vals[list_position(s.keys, name)], '');
create or replace temp macro otel_lists(a) as {{'keys': otel_keys(a), 'vals': otel_values(a)}};

-- Messages given as OTLP's own nested values rather than as JSON text: role and the texts of the parts.
create or replace temp macro otel_field(kvs, name) as
    list_filter(kvs, lambda e: json_extract_string(e, '$.key') = name)[1];
create or replace temp macro otel_part_text(p) as json_extract_string(
    coalesce(otel_field(json_extract(p, '$.kvlistValue.values[*]'), 'content'),
             otel_field(json_extract(p, '$.kvlistValue.values[*]'), 'text')), '$.value.stringValue');
create or replace temp macro otel_nested(t) as list_transform(
    list_transform(json_extract(t, '$.values[*]'), lambda v: json_extract(v, '$.kvlistValue.values[*]')),
    lambda kvs: {{
        'role': json_extract_string(otel_field(kvs, 'role'), '$.value.stringValue'),
        'content': coalesce(json_extract(otel_field(kvs, 'content'), '$.value.stringValue'), to_json(list_aggregate(
            list_filter(list_transform(json_extract(otel_field(kvs, 'parts'), '$.value.arrayValue.values[*]'),
                lambda p: otel_part_text(p)), lambda x: x is not null), 'string_agg', chr(10)))::json),
        'parts': null::json}});
create or replace temp macro otel_plain(j) as json_transform(j, {_json.shape([_json.MESSAGE])});
create or replace temp macro otel_messages(t) as
    case when t is null or not json_valid(t) then null
         when json_type(t) = 'ARRAY' then otel_plain(t)
         when json_type(t) = 'OBJECT' and json_extract(t, '$.values') is not null then otel_nested(t)
         when json_type(t) = 'OBJECT' then otel_plain(coalesce(json_extract(t, '$.messages'), json_array(t::json))) end;

-- gen_ai.prompt.0.role, gen_ai.prompt.0.content, ... in the order of their numbers.
create or replace temp macro otel_numbers(s) as list_sort(list_distinct(list_filter(list_transform(s.keys,
    lambda k: try_cast(regexp_extract(k, '^gen_ai\\.prompt\\.([0-9]{{1,6}})\\.content$', 1) as integer)),
    lambda n: n is not null)));
create or replace temp macro otel_numbered(s) as list_transform(otel_numbers(s), lambda n: {{
    'role': coalesce(otel_get(s, 'gen_ai.prompt.' || n || '.role'), 'user'),
    'text': otel_get(s, 'gen_ai.prompt.' || n || '.content')}});

-- Events with their attributes as lists; gen_ai.user.message, gen_ai.system.message, ... are one message each.
create or replace temp macro otel_events(events) as list_transform(events,
    lambda e: {{'name': e.name, 's': otel_lists(e.attributes)}});
create or replace temp macro otel_told(said) as list_transform(said, lambda e: {{
    'role': e.role,
    'content': case when json_valid(e.text) and json_type(e.text) in ('OBJECT', 'ARRAY') then e.text::json
                    else to_json(e.text)::json end,
    'parts': null::json}});
create or replace temp macro otel_said(events) as list_transform(
    list_filter(events, lambda e: regexp_full_match(e.name, 'gen_ai\\.(user|system|developer)\\.message')),
    lambda e: {{'role': regexp_extract(e.name, '^gen_ai\\.([a-z]+)\\.message$', 1),
               'text': coalesce(otel_get(e.s, 'content'), otel_get(e.s, 'gen_ai.event.content'))}});
create or replace temp macro otel_event(events, event) as list_filter(events, lambda e: e.name = event)[1].s;
"""


def _get(*names: str) -> str:
    """SQL: the first of these attributes of the span that has a value."""
    return "coalesce(" + ", ".join(f"otel_get(s, '{name}')" for name in names) + ")"


def _get_wide(*names: str) -> str:
    """The same, on the span or else on its resource."""
    both = [f"otel_get({where}, '{name}')" for where in ("s", "res") for name in names]
    return "coalesce(" + ", ".join(both) + ")"


_NOT_A_CALL = "'execute_tool', 'create_agent', 'invoke_agent', 'invoke_workflow', 'plan', 'retrieval'"

# From `listed`: a span's attributes (s) and its resource's (res) as lists, its events, times, ids and status.
SPANS = f"""heard as (
    select *, otel_event(events, 'gen_ai.client.inference.operation.details') as details,
        otel_event(events, 'gen_ai.content.prompt') as asked,
        otel_event(events, 'gen_ai.content.completion') as answered,
        list_concat(otel_numbered(s), otel_said(events)) as said from listed
), told as (
    select *,
        coalesce({_get("gen_ai.input.messages", "gen_ai.prompt", "gen_ai.request.messages", "llm.prompts")},
                 otel_get(details, 'gen_ai.input.messages'), otel_get(asked, 'gen_ai.prompt')) as given,
        coalesce({_get("gen_ai.output.messages", "gen_ai.completion")},
                 otel_get(details, 'gen_ai.output.messages'), otel_get(answered, 'gen_ai.completion')) as answer,
        coalesce({_get("gen_ai.system_instructions")},
                 otel_get(details, 'gen_ai.system_instructions')) as instructions,
        {_get("gen_ai.operation.name", "llm.request.type")} as operation_name,
        {_get("gen_ai.response.finish_reasons")} as finish
    from heard
), conversed as (
    select *,
        coalesce(otel_messages(given), case when len(said) > 0 then otel_told(said) end) as messages
    from told
), spoken as (
    select *,
        coalesce(case when json_valid(finish) then coalesce(json_extract_string(finish, '$[0]'),
                    json_extract_string(finish, '$.values[0].stringValue')) end, finish) as finish_reason
    from conversed
)
select
    case when span_id is null then sw_line(span::varchar) else concat_ws('/', trace, span_id) end as record_id,
    started as time,
    {_get_wide("enduser.id", "user.id", "user.account_uuid", "user.account_id", "enduser.pseudo.id", "user.hash")}
        as account,
    {_get_wide("api_key.id", "api_key.hash", "gen_ai.api_key.id", "user_api_key_hash")} as credential,
    {_get_wide("organization.id", "enduser.organization.id", "tenant.id")} as organization,
    {_get("gen_ai.request.user", "gen_ai.openai.request.user", "llm.user")} as end_user,
    {_get("gen_ai.conversation.id", "session.id", "gen_ai.thread.id")} as conversation,
    {_get("client.address", "http.client_ip", "client.socket.address")} as client_address,
    try_cast({_get("client.as.number", "client.asn")} as bigint) as client_asn,
    {_get("user_agent.original", "http.user_agent")} as client_agent,
    {_get("tls.client.ja4", "tls.client.ja3")} as tls_fingerprint,
    sw_route({_get("gen_ai.provider.name", "gen_ai.system")}) as route,
    case when operation_name in ('completion', 'text_completion') then 'text_completion'
         else coalesce(operation_name, 'chat') end as operation,
    {_get("gen_ai.request.model", "llm.request.model")} as request_model,
    {_get("gen_ai.response.model", "llm.response.model", "gen_ai.request.model")} as response_model,
    try_cast({_get("gen_ai.request.temperature", "llm.temperature")} as double) as temperature,
    try_cast({_get("gen_ai.request.top_p", "llm.top_p")} as double) as top_p,
    try_cast({_get("gen_ai.request.max_tokens", "gen_ai.request.max_completion_tokens")} as bigint) as max_tokens,
    try_cast({_get("gen_ai.request.choice.count")} as bigint) as n_choices,
    try_cast({_get("gen_ai.request.logprobs", "gen_ai.openai.request.logprobs")} as boolean) as logprobs,
    try_cast({_get("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.usage.prompt_tokens")} as bigint)
        as input_tokens,
    try_cast({_get("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.usage.completion_tokens")}
        as bigint) as output_tokens,
    try_cast({_get("gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens")} as bigint)
        as reasoning_tokens,
    finish_reason,
    coalesce(try_cast({_get("http.response.status_code", "http.status_code")} as bigint),
             case when failed then 500 else 200 end) as status_code,
    case when finish_reason is null then null else finish_reason in ('content_filter', 'refusal') end as refused,
    case when answer is null then null
         else regexp_matches(answer, '"type"\\s*:\\s*"(reasoning|thinking)"') end as reasoning_visible,
    case when json_valid(answer) then sw_signatures(answer::json) end as signatures_minted,
    case when json_valid(given) then sw_signatures(given::json) end as signatures_presented,
    {_get("gen_ai.tool.definitions")} as tool_schema,
    nullif(concat_ws(chr(10),
        case when json_valid(instructions) then sw_content(instructions::json) else instructions end,
        {_json.system("messages")}), '') as system,
    case when messages is not null then {_json.prompt("messages")} else given end as prompt,
    {_json.opening("messages")} as opening,
    case when messages is not null then sw_turns(messages) when given is not null then 1 end as turns,
    (ended - started) / 1e3 as latency_ms,
    null::varchar[] as marks,
    source_line,
    case when nothing then 'no spans'
         when s.keys is null
              or len(list_filter(s.keys, lambda k: starts_with(k, 'gen_ai.') or starts_with(k, 'llm.'))) = 0
              then 'a span without gen_ai attributes'
         when operation_name in ({_NOT_A_CALL}) then 'a span that is no call of a model (' || operation_name || ')'
         end as problem
from spoken
"""

SQL = f"""
with documents as (
    select source_line, line, json_transform(line, {_json.shape(_DOCUMENT)}) as d from lines
), listing as (
    select source_line, case
        when d.resourceSpans is not null then flatten(list_transform(d.resourceSpans, lambda r:
            flatten(list_transform(list_concat(r.scopeSpans, r.instrumentationLibrarySpans), lambda o:
                list_transform(o.spans, lambda x: {{'resource': r.resource.attributes, 'span': x}})))))
        when d.attributes is not null then [{{'resource': d.resource.attributes, 'span': line::json}}] end as found
    from documents
), spans as (
    -- a document without spans still is a row, of nothing
    select source_line, coalesce(len(found), 0) = 0 as nothing,
        unnest(case when len(found) > 0 then found else [{{'resource': null::json, 'span': null::json}}] end) as one
    from listing
), fields as (
    select source_line, nothing, one.span as span, json_transform(one.span, {_json.shape(_SPAN)}) as f,
        otel_lists(one.resource) as res from spans
), listed as (
    select source_line, nothing, span, res, otel_lists(f.attributes) as s, otel_events(f.events) as events,
        coalesce(sw_json_time(f.startTimeUnixNano), sw_json_time(f.start_time)) as started,
        coalesce(sw_json_time(f.endTimeUnixNano), sw_json_time(f.end_time)) as ended,
        coalesce(sw_text(f.traceId), sw_text(f.trace_id), sw_text(f.context.trace_id)) as trace,
        coalesce(sw_text(f.spanId), sw_text(f.span_id), sw_text(f.context.span_id)) as span_id,
        coalesce(f.status.status_code, sw_text(f.status.code)) in ('2', 'ERROR', 'STATUS_CODE_ERROR') as failed
    from fields
), {SPANS}"""


def sniff(sample: bytes, name: str) -> float:
    """How surely these are spans: 0 to 1."""
    if b'"resourceSpans"' in sample:
        return 0.95
    if b'"gen_ai.' in sample and b'"attributes"' in sample:
        return 0.9
    return 0.0
