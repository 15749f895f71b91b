"""The readers of exports: Anthropic pairs and batches, Langfuse, Helicone, OpenTelemetry spans as rows."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from logs_samples import SECOND, START, read, together

from stillwatch.errors import FormatError, SchemaError
from stillwatch.logs import ingest
from stillwatch.logs.readers import anthropic, helicone, langfuse, openai, otel_rows

# ------------------------------------------------------------------------------------------------ Anthropic

DIALOGUE = [
    {"role": "user", "content": "Q"},
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "t", "signature": "S1"},
            {"type": "redacted_thinking", "data": "R1"},
            {"type": "tool_use", "id": "toolu_1", "name": "n", "input": {"signature": "no"}},
        ],
    },
    {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "no"}]},
            {"type": "image", "source": {"type": "base64", "data": "no"}},
            {"type": "text", "text": "go on"},
        ],
    },
]
REQUEST = {"model": "claude-x", "max_tokens": 9, "messages": [{"role": "user", "content": "Q"}]}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-x-1",
    "content": [
        {"type": "thinking", "thinking": "t", "signature": "S2"},
        {"type": "text", "text": "A"},
        {"type": "tool_use", "id": "toolu_2", "name": "n", "input": {}},
    ],
    "stop_reason": "tool_use",
    "usage": {
        "input_tokens": 3,
        "cache_creation_input_tokens": 4,
        "cache_read_input_tokens": 5,
        "output_tokens": 6,
        "output_tokens_details": {"thinking_tokens": 2},
    },
}


def of_user(user: Any) -> dict[str, Any]:
    return {"time": START, "request": REQUEST | {"metadata": {"user_id": user}}, "response": MESSAGE}


DEVICE, ACCOUNT, SESSION = (
    "ab" * 32,
    "11111111-2222-3333-4444-555555555555",
    "99999999-2222-3333-4444-555555555555",
)
ANTHROPIC = [
    (
        {
            "timestamp": "2026-11-01T00:00:00Z",
            "account_id": "a",
            "api_key_id": "k",
            "workspace_id": "w",
            "client_ip": "10.0.0.1",
            "user_agent": "curl",
            "latency_ms": 7,
            "request": REQUEST
            | {
                "system": [{"type": "text", "text": "S"}, {"type": "text", "text": "T"}],
                "messages": DIALOGUE,
                "temperature": 0.5,
                "top_p": 0.9,
                "tools": [{"name": "n", "input_schema": {}}],
            },
            "response": MESSAGE,
        },
        {"account": "a", "credential": "k", "organization": "w", "client_address": "10.0.0.1"}
        | {
            "client_agent": "curl",
            "latency_ms": 7.0,
            "time": SECOND,
            "record_id": "msg_1",
            "operation": "chat",
        }
        | {"request_model": "claude-x", "response_model": "claude-x-1", "temperature": 0.5, "top_p": 0.9}
        | {"max_tokens": 9, "input_tokens": 12, "output_tokens": 6, "reasoning_tokens": 2, "status_code": 200}
        | {"finish_reason": "tool_use", "refused": False, "reasoning_visible": True, "turns": 2}
        | {"system": "S\nT", "prompt": "Q\ngo on", "tool_schema": '[{"name":"n","input_schema":{}}]'}
        | {"signatures_minted": ["S2"], "signatures_presented": ["R1", "S1"], "problem": None},
    ),
    ({"body": REQUEST | {"system": "S"}, "message": MESSAGE}, {"system": "S", "prompt": "Q", "time": None}),
    (
        {"request": REQUEST, "response": {**MESSAGE, "stop_reason": "refusal", "content": []}},
        {"refused": True, "finish_reason": "refusal", "reasoning_visible": False, "signatures_minted": None},
    ),
    ({"request": REQUEST, "response": {**MESSAGE, "stop_details": {"type": "refusal"}}}, {"refused": True}),
    (
        {
            "request": REQUEST,
            "response": {"content": [{"type": "thinking", "thinking": "", "signature": "S3"}]},
        },
        {"reasoning_visible": False, "signatures_minted": ["S3"], "input_tokens": None, "refused": False},
    ),
    (
        {"request": REQUEST, "response": {"content": [{"type": "redacted_thinking", "data": "R2"}]}},
        {"reasoning_visible": False, "signatures_minted": ["R2"]},
    ),
    # batches: what was asked and what came back may stand in one line
    (
        {
            "custom_id": "c",
            "params": REQUEST,
            "result": {"type": "succeeded", "message": MESSAGE},
            "time": START,
        },
        {"prompt": "Q", "record_id": "msg_1", "time": SECOND, "status_code": 200, "problem": None},
    ),
    (
        {
            "custom_id": "c",
            "request": {"params": REQUEST},
            "result": {"type": "errored", "error": {"type": "error"}},
        },
        {"prompt": "Q", "status_code": 500, "refused": None, "problem": None},
    ),
    (
        {"custom_id": "c", "result": {"type": "expired"}},
        {"problem": "a batch request that was not run (expired)"},
    ),
    (
        {"request": REQUEST, "response": {"type": "error", "error": {"type": "rate_limit_error"}}},
        {"status_code": 429, "refused": None, "reasoning_visible": None},
    ),
    ({"request": REQUEST, "error": {"type": "overloaded_error"}}, {"status_code": 529}),
    ({"request": REQUEST | {"anthropic_version": "bedrock-2023-05-31"}}, {"route": "cloud"}),
    ({"request": REQUEST, "provider": "anthropic"}, {"route": "native"}),
    ({"message": "text"}, {"problem": "neither a request nor a response object"}),
    # who it is: never the session, and never a name for nobody
    (of_user("u"), {"account": "u", "end_user": "u", "conversation": None}),
    (
        of_user(f"user_{DEVICE}_account_{ACCOUNT}_session_{SESSION}"),
        {"account": ACCOUNT, "conversation": SESSION},
    ),
    (of_user(f"user_{DEVICE}_account__session_{SESSION}"), {"account": DEVICE, "conversation": SESSION}),
    (
        of_user(json.dumps({"device_id": DEVICE, "account_uuid": "", "session_id": SESSION})),
        {"account": DEVICE, "conversation": SESSION},
    ),
    (
        of_user(json.dumps({"device_id": DEVICE, "account_uuid": ACCOUNT, "session_id": SESSION})),
        {"account": ACCOUNT, "end_user": ACCOUNT},
    ),
    (of_user("user_1_account_2"), {"account": "user_1_account_2", "conversation": None}),
    (of_user('{"other": 1}'), {"account": '{"other": 1}', "conversation": None}),
    (of_user("Anonymous "), {"account": None, "end_user": None}),
    (of_user(None) | {"api_key_id": "k", "account": "default"}, {"account": "k", "credential": "k"}),
    (of_user(None) | {"user_profile_id": "p"}, {"account": "p"}),
]
ANTHROPIC_ROWS = together(anthropic, [given for given, _ in ANTHROPIC])


@pytest.mark.parametrize("case", range(len(ANTHROPIC)))
def test_anthropic(engine, case):
    found, expected = ANTHROPIC_ROWS(engine)[case], ANTHROPIC[case][1]
    assert {k: sorted(found[k]) if isinstance(found[k], list) else found[k] for k in expected} == expected


def test_a_session_is_no_account_of_an_openai_pair_either(engine):
    rows = together(openai, [of_user(f"user_{DEVICE}_account__session_{s}") for s in (SESSION, ACCOUNT)])(
        engine
    )
    assert {r["account"] for r in rows} == {DEVICE}
    assert [r["conversation"] for r in rows] == [SESSION, ACCOUNT]


# ------------------------------------------------------------------------------------------------- Langfuse

CHAT = [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}]
TABLE_ROW = {
    "id": "o",
    "traceId": "t",
    "type": "GENERATION",
    "startTime": "2026-11-01T00:00:00.000Z",
    "endTime": "2026-11-01T00:00:01.500Z",
    "level": "DEFAULT",
    "model": "m",
    "modelParameters": {"temperature": 0.5, "max_tokens": 10, "top_p": "0.9"},
    "input": CHAT,
    "output": {"role": "assistant", "content": "x"},
    "usageDetails": {
        "input": 3,
        "input_cached_tokens": 4,
        "output": 5,
        "output_reasoning_tokens": 2,
        "total": 14,
    },
    "userId": "u",
    "metadata": {},
}
BLOB_ROW = {
    "id": "o",
    "trace_id": "t",
    "type": "GENERATION",
    "start_time": "2026-11-01 00:00:00.000000",
    "end_time": "2026-11-01 00:00:01.500000",
    "level": "ERROR",
    "provided_model_name": "m",
    "model_parameters": '{"temperature": 0.5}',
    "input": json.dumps({"messages": CHAT, "tools": [{"name": "n"}]}),
    "output": json.dumps({"choices": [{"finish_reason": "stop", "message": {"refusal": "no"}}]}),
    "usage_details": {"input": "3", "output": "5"},
    "user_id": "u",
    "session_id": "s",
}
BLOCKS = [{"type": "thinking", "thinking": "t", "signature": "S2"}]
LANGFUSE = [
    (
        TABLE_ROW,
        {"record_id": "o", "account": "u", "conversation": "t", "time": SECOND, "latency_ms": 1500.0}
        | {"request_model": "m", "response_model": "m", "temperature": 0.5, "top_p": 0.9, "max_tokens": 10}
        | {"input_tokens": 7, "output_tokens": 7, "reasoning_tokens": 2, "status_code": 200, "refused": None}
        | {"system": "S", "prompt": "Q", "turns": 1, "operation": "chat", "problem": None},
    ),
    (
        BLOB_ROW,
        {"account": "u", "conversation": "s", "time": SECOND, "latency_ms": 1500.0, "request_model": "m"}
        | {"temperature": 0.5, "input_tokens": 3, "output_tokens": 5, "status_code": 500, "refused": True}
        | {"finish_reason": "stop", "system": "S", "prompt": "Q", "tool_schema": '[{"name":"n"}]'},
    ),
    # the API's older usage, whose costs are no tokens
    (
        TABLE_ROW
        | {"usageDetails": None, "usage": {"input": 3, "output": 5, "unit": "TOKENS", "inputCost": 7.5}},
        {"input_tokens": 3, "output_tokens": 5, "reasoning_tokens": None},
    ),
    (TABLE_ROW | {"usageDetails": {}, "promptTokens": 3}, {"input_tokens": 3, "output_tokens": None}),
    (
        TABLE_ROW | {"input": "plain", "output": "plain"},
        {"prompt": "plain", "turns": 1, "operation": "text_completion"},
    ),
    (TABLE_ROW | {"input": {"role": "user", "content": "one"}}, {"prompt": "one", "turns": 1}),
    (TABLE_ROW | {"input": {"contents": [{"role": "user", "parts": [{"text": "g"}]}]}}, {"prompt": "g"}),
    (TABLE_ROW | {"input": None, "output": None}, {"prompt": None, "status_code": None, "refused": None}),
    (
        TABLE_ROW
        | {"output": {"content": BLOCKS, "stop_reason": "refusal"}, "input": {"messages": DIALOGUE}},
        {"refused": True, "signatures_minted": ["S2"], "signatures_presented": ["R1", "S1"]},
    ),
    (TABLE_ROW | {"output": {"role": "assistant", "content": BLOCKS}}, {"signatures_minted": ["S2"]}),
    (TABLE_ROW | {"output": BLOCKS}, {"signatures_minted": ["S2"], "reasoning_visible": True}),
    # what is no call of a model
    (TABLE_ROW | {"type": "SPAN"}, {"problem": "an observation that is no call of a model (span)"}),
    (TABLE_ROW | {"type": "TOOL"}, {"problem": "an observation that is no call of a model (tool)"}),
    (TABLE_ROW | {"type": "EMBEDDING"}, {"problem": None, "operation": "embeddings"}),
    (TABLE_ROW | {"type": None}, {"problem": None}),
    (TABLE_ROW | {"type": None, "model": ""}, {"problem": "an observation without type and model"}),
    ({"name": "trace"}, {"problem": "not a Langfuse observation: no id or start time"}),
    # who it is
    (TABLE_ROW | {"userId": "anonymous"}, {"account": None}),
    (TABLE_ROW | {"userId": None, "metadata": '{"user_id": "m"}'}, {"account": "m"}),
    (TABLE_ROW | {"userId": "", "metadata": {"attributes": {"user.id": "o"}}}, {"account": "o"}),
    (
        TABLE_ROW
        | {"userId": None, "metadata": {"user_api_key_user_id": "default_user_id", "user_api_key_hash": "h"}},
        {"account": "h", "credential": "h"},
    ),
    (TABLE_ROW | {"userId": None, "metadata": {"user_id": {"a": 1}}}, {"account": None}),
]
LANGFUSE_ROWS = together(langfuse, [given for given, _ in LANGFUSE])


@pytest.mark.parametrize("case", range(len(LANGFUSE)))
def test_langfuse(engine, case):
    found, expected = LANGFUSE_ROWS(engine)[case], LANGFUSE[case][1]
    assert {k: sorted(found[k]) if isinstance(found[k], list) else found[k] for k in expected} == expected


# ------------------------------------------------------------------------------------------------- Helicone

HELICONE_ROW = {
    "request_id": "r",
    "response_id": "s",
    "request_created_at": "2026-11-01T00:00:00.000Z",
    "response_created_at": "2026-11-01T00:00:02.000Z",
    "request_user_id": "u",
    "request_body": {"model": "m", "messages": CHAT, "temperature": 0.5, "user": "body"},
    "response_body": {"model": "m-1", "choices": [{"finish_reason": "content_filter"}]},
    "request_properties": {"Helicone-Session-Id": "v"},
    "provider": "OPENAI",
    "response_status": 200,
    "request_model": "m",
    "delay_ms": 1500,
    "prompt_tokens": 3,
    "completion_tokens": 4,
    "helicone_user": "the customer",
}
ABSENT = {"helicone_message": "fetching body from signed_url"}
HELICONE = [
    (
        HELICONE_ROW,
        {"record_id": "r", "time": SECOND, "account": "u", "end_user": "body", "conversation": "v"}
        | {"route": "native", "request_model": "m", "response_model": "m-1", "temperature": 0.5}
        | {"input_tokens": 3, "output_tokens": 4, "finish_reason": "content_filter", "refused": True}
        | {
            "status_code": 200,
            "latency_ms": 1500.0,
            "system": "S",
            "prompt": "Q",
            "turns": 1,
            "problem": None,
        },
    ),
    # as the tool's CSV has it: quotes doubled once too often, tokens and latency as text
    (
        {
            "request_created_at": "2026-11-01T00:00:00.000Z",
            "request_user_id": "u",
            "request_body": json.dumps(
                {"messages": [{"role": "user", "content": 'say "" and "hi"'}]}
            ).replace('"', '""'),
            "latency": "15",
            "prompt_tokens": "3",
            "response_status": "429",
        },
        {"prompt": 'say "" and "hi"', "latency_ms": 15.0, "input_tokens": 3, "status_code": 429},
    ),
    (
        HELICONE_ROW | {"request_body": ABSENT, "response_body": ABSENT},
        {"prompt": None, "turns": 0, "refused": None, "account": "u", "problem": None},
    ),
    (
        HELICONE_ROW | {"request_body": json.dumps({"messages": DIALOGUE})},
        {"signatures_presented": ["R1", "S1"]},
    ),
    (HELICONE_ROW | {"request_user_id": None}, {"account": "body"}),
    (HELICONE_ROW | {"request_user_id": "", "request_body": None}, {"account": None, "credential": None}),
    (HELICONE_ROW | {"request_user_id": "undefined", "request_body": {}}, {"account": None}),
    (HELICONE_ROW | {"delay_ms": None}, {"latency_ms": 2000.0}),
    (HELICONE_ROW | {"provider": "AZURE"}, {"route": "cloud"}),
    (HELICONE_ROW | {"provider": "OPENROUTER"}, {"route": "aggregator"}),
    (
        HELICONE_ROW | {"provider": "CUSTOM", "target_url": "https://x.openrouter.ai/v1"},
        {"route": "aggregator"},
    ),
    (HELICONE_ROW | {"provider": "CUSTOM", "target_url": "https://example.com"}, {"route": None}),
    ({"id": 1}, {"problem": "not a Helicone request: no request_id or request_created_at"}),
]
HELICONE_ROWS = together(helicone, [given for given, _ in HELICONE])


@pytest.mark.parametrize("case", range(len(HELICONE)))
def test_helicone(engine, case):
    found, expected = HELICONE_ROWS(engine)[case], HELICONE[case][1]
    assert {k: sorted(found[k]) if isinstance(found[k], list) else found[k] for k in expected} == expected


# -------------------------------------------------------------------------------------------- spans as rows

PARTS = json.dumps([{"role": "user", "parts": [{"type": "text", "content": "one"}]}])
CLICKHOUSE_ROW = {
    "Timestamp": "2026-11-01 00:00:00.123456789",
    "TraceId": "t",
    "SpanId": "s",
    "SpanName": "chat m",
    "ResourceAttributes": {"service.name": "x", "user.id": "on the resource"},
    "SpanAttributes": {
        "gen_ai.provider.name": "aws.bedrock",
        "gen_ai.request.model": "m",
        "gen_ai.usage.input_tokens": "12",
        "gen_ai.input.messages": PARTS,
    },
    "Duration": "250000000",
    "StatusCode": "Error",
}
OTEL_ROWS = [
    (
        CLICKHOUSE_ROW,
        {"record_id": "t/s", "time": SECOND + 123_456, "latency_ms": 250.0, "account": "on the resource"}
        | {"route": "cloud", "request_model": "m", "input_tokens": 12, "prompt": "one", "turns": 1}
        | {"status_code": 500, "operation": "chat", "problem": None},
    ),
    (
        {"Timestamp": START, "SpanAttributes": {"gen_ai.system": "x"}, "StatusCode": "Unset"}
        | {"Events.Name": ["other", "gen_ai.user.message"], "Events.Attributes": [{}, {"content": "asked"}]},
        {"prompt": "asked", "status_code": 200, "time": SECOND},
    ),
    # ClickHouse's JSON type nests what the map has in one
    (
        {
            "Timestamp": START,
            "SpanAttributes": {
                "gen_ai": {
                    "request": {"model": "m"},
                    "usage": {"input_tokens": 3, "reasoning": {"output_tokens": 2}},
                    "prompt": {"0": {"content": "numbered"}},
                },
                "enduser": {"id": "u"},
            },
        },
        {
            "request_model": "m",
            "input_tokens": 3,
            "reasoning_tokens": 2,
            "account": "u",
            "prompt": "numbered",
        },
    ),
    (
        {
            "start_time_unix_nano": START * 10**9,
            "end_time_unix_nano": START * 10**9 + 10**9,
            "trace_id": "t",
            "span_id": "s",
            "attributes.gen_ai.request.model": "m",
            "attributes.gen_ai.prompt": "hi",
            "attributes.gen_ai.usage.output_tokens": 5,
            "attributes.user.id": "u",
            "resource.attributes.user.id": "r",
            "status.code": 2,
        },
        {"record_id": "t/s", "time": SECOND, "latency_ms": 1000.0, "request_model": "m", "prompt": "hi"}
        | {"output_tokens": 5, "account": "u", "status_code": 500},
    ),
    (
        {
            "start_time": "2026-11-01",
            "gen_ai_request_model": "m",
            "gen_ai_input_messages": PARTS,
            "enduser_id": "u",
        },
        {"request_model": "m", "prompt": "one", "account": "u", "time": SECOND},
    ),
    (
        {"start_time": START, "span_attributes": json.dumps({"gen_ai.system": "x", "gen_ai.prompt": "text"})},
        {"prompt": "text", "route": "native"},
    ),
    (
        {"time": START, "attributes": [{"key": "gen_ai.system", "value": {"stringValue": "x"}}, 7, None]}
        | {"events": [{"name": "gen_ai.content.prompt", "attributes": {"gen_ai.prompt": "in an event"}}, 1]},
        {"prompt": "in an event", "problem": None},
    ),
    # near misses
    (
        CLICKHOUSE_ROW | {"SpanAttributes": {"http.method": "GET"}},
        {"problem": "a span without gen_ai attributes"},
    ),
    (
        CLICKHOUSE_ROW | {"SpanAttributes": {"gen_ai.operation.name": "execute_tool"}},
        {"problem": "a span that is no call of a model (execute_tool)"},
    ),
    (
        {"time": START, "gen_ai.system": "x", "user.id": "anonymous", "enduser.pseudo.id": "u"},
        {"account": "u"},
    ),
    (
        {"time": START, "gen_ai.system": "x", "span_id": "s", "status_code": 200},
        {"status_code": 200, "record_id": "s"},
    ),
    (
        {"attributes": "text", "SpanAttributes": 5},
        {"problem": "a span without gen_ai attributes", "time": None},
    ),
    ({}, {"problem": "a span without gen_ai attributes"}),
]
OTEL_ROWS_ROWS = together(otel_rows, [given for given, _ in OTEL_ROWS])


@pytest.mark.parametrize("case", range(len(OTEL_ROWS)))
def test_otel_rows(engine, case):
    found, expected = OTEL_ROWS_ROWS(engine)[case], OTEL_ROWS[case][1]
    assert {k: found[k] for k in expected} == expected


# ------------------------------------------------------------------------------- lines, tables and documents


def csv_of(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: json.dumps(v) if isinstance(v, dict | list) else v for k, v in row.items()})
    return text.getvalue().encode()


@pytest.mark.parametrize(
    ("name", "row"), [("langfuse", TABLE_ROW), ("langfuse", BLOB_ROW), ("helicone", HELICONE_ROW)]
)
def test_lines_array_and_table_are_one_thing(write, tmp_path, name, row):
    files = {
        "a.jsonl": json.dumps(row).encode() + b"\n",
        "b.json": json.dumps([row], indent=1).encode(),
        "c.json": json.dumps([row], indent=1).encode()[:-1] + b",\n]\n",  # as an exporter ends it
        "d.csv": csv_of([row]),
    }
    for place, content in files.items():
        write(place, content)
    columns = {k: [json.dumps(v) if isinstance(v, dict | list) else v] for k, v in row.items()}
    pq.write_table(pa.table(columns), tmp_path / "e.parquet")
    for place in (*files, "e.parquet"):
        done = ingest([tmp_path / place], tmp_path / "w")
        assert set(done.formats.values()) == {name}
        assert (done.quarantined, done.exchanges) == (0, 1), (place, done.reasons)
    assert read(tmp_path / "w")["turns"].to_pylist() == [1]


def test_spans_in_parquet(tmp_path):
    spans = {
        "start_time_unix_nano": pa.array([START * 10**9] * 2, pa.timestamp("ns", "UTC")),
        "trace_id": pa.array([bytes(16)] * 2, pa.binary(16)),
        "span_id": pa.array([b"12345678", b"87654321"], pa.binary(8)),
    }
    attributes = {"gen_ai.system": "x", "user.id": "u", "gen_ai.input.messages": PARTS}
    nested = [{"key": k, "value": {"stringValue": v, "intValue": None}} for k, v in attributes.items()]
    shapes = {
        "map": {"attributes": pa.array([list(attributes.items())] * 2, pa.map_(pa.string(), pa.string()))},
        "list": {"attributes": pa.array([nested] * 2)},
        "struct": {"attributes": pa.array([attributes] * 2)},
        "text": {"attributes": pa.array([json.dumps(attributes)] * 2)},
        "flat": {f"attributes.{k}": pa.array([v] * 2) for k, v in attributes.items()},
        "bare": {k.replace(".", "_"): pa.array([v] * 2) for k, v in attributes.items()},
    }
    for shape, columns in shapes.items():
        pq.write_table(pa.table(spans | columns), tmp_path / f"{shape}.parquet")
        done = ingest([tmp_path / f"{shape}.parquet"], tmp_path / "w")
        assert list(done.formats.values()) == ["otel_rows"], shape
        assert (done.quarantined, done.exchanges) == (0, 2), (shape, done.reasons)
    found = read(tmp_path / "w")
    assert found["time"].to_pylist() == [SECOND] * 2
    assert found["turns"].to_pylist() == [1] * 2
    assert found["source_line"].to_pylist() == [1, 2]


def test_bad_rows_of_a_table_are_quarantined_with_their_row(write, tmp_path):
    good = HELICONE_ROW | {"response_body": None}
    rows = [good, good | {"request_created_at": "never"}, good | {"request_user_id": "", "request_body": ""}]
    done = ingest([write("a.csv", csv_of(rows) + b'"short"\n')], tmp_path / "w")
    assert (done.added, done.quarantined) == (1, 3)
    assert sum(done.reasons.values()) == 3
    assert set(done.reasons) == {"no time, or not a time", "no account", "1 fields where the header has 15"}


def test_odd_columns(tmp_path):
    # names that differ in case only, an empty one, quotes, and one of ours
    names = ["request_created_at", "Request_Created_At", "request_user_id", "q\"'", "source_line", ""]
    columns = [pa.array(["2026-11-01"]), *(pa.array([n]) for n in "bcd"), pa.array([9]), pa.array([None])]
    pq.write_table(pa.Table.from_arrays(columns, names), tmp_path / "a.parquet")
    done = ingest([tmp_path / "a.parquet"], tmp_path / "w", format="helicone")
    assert (done.added, done.quarantined) == (1, 0)
    assert read(tmp_path / "w")["source_line"].to_pylist() == [1]


def test_a_table_without_the_columns_says_which(tmp_path):
    pq.write_table(pa.table({"time": [1]}), tmp_path / "a.parquet")
    for name, column in (
        ("helicone", "request_created_at"),
        ("langfuse", "start_time"),
        ("otel_rows", "attributes"),
    ):
        with pytest.raises(SchemaError, match=column):
            ingest([tmp_path / "a.parquet"], tmp_path / "w", format=name)
    with pytest.raises(FormatError, match="reads lines"):
        ingest([tmp_path / "a.parquet"], tmp_path / "w", format="anthropic")
