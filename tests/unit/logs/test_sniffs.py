"""Which reader takes which file: every reader's sniff against samples of every format."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from logs_samples import READERS, record

from stillwatch.logs.readers import _names, canonical

CHAT = {"model": "gpt-x", "messages": [{"role": "user", "content": "Q"}]}
ANSWER = {"id": "chatcmpl-9", "choices": [{"finish_reason": "stop", "message": {"content": "a"}}]}
CLAUDE = {"model": "claude-x", "max_tokens": 9, "messages": [{"role": "user", "content": "Q"}]}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "content": [{"type": "text", "text": "a"}],
    "stop_reason": "end_turn",
}
SPAN = {"key": "gen_ai.system", "value": {"stringValue": "x"}}
DOCUMENT = {"resourceSpans": [{"scopeSpans": [{"spans": [{"attributes": [SPAN]}]}]}]}
TALK = 'a text about "request_user_id", "gen_ai.system", "usageDetails", "resourceSpans" and "stop_reason"'
LANGFUSE = {
    "id": "o",
    "traceId": "t",
    "type": "GENERATION",
    "startTime": "2026-11-01T00:00:00Z",
    "input": [{"role": "user", "content": "Q"}],
    "model": "claude-x",
    "modelParameters": {"temperature": 1},
    "usageDetails": {"input": 1},
}
BLOB = {
    "id": "o",
    "trace_id": "t",
    "type": "SPAN",
    "start_time": "2026-11-01 00:00:00",
    "input": "Q",
    "model_parameters": "{}",
    "usage_details": {},
    # sent by LiteLLM, and full of its names
    "metadata": {"user_api_key_hash": "h", "litellm_call_id": "c", "call_type": "x", "startTime": 1},
}
HELICONE = {
    "request_id": "r",
    "request_created_at": "2026-11-01",
    "request_body": CLAUDE,
    "response_body": MESSAGE,
}
CLICKHOUSE = {
    "Timestamp": "2026-11-01",
    "TraceId": "t",
    "SpanId": "s",
    "SpanAttributes": {"gen_ai.system": "x"},
}

SAMPLES: list[tuple[str, Any]] = [
    ("litellm", record(1)),
    ("litellm", record(1, text=TALK)),
    ("litellm", {"id": "x", "call_type": "a", "startTime": 1, "metadata": {"user_api_key_hash": "h"}}),
    (
        "litellm",
        {"litellm_call_id": "x", "model_parameters": {}, "startTime": 1, "messages": [], "response": {}},
    ),
    ("openai", {"request": CHAT, "response": ANSWER}),
    ("openai", {"request": CHAT | {"messages": [{"role": "user", "content": TALK}]}, "response": ANSWER}),
    ("openai", {"custom_id": "c", "response": {"body": ANSWER}}),
    ("openai", {"custom_id": "c", "body": CHAT, "url": "/v1/chat/completions"}),
    ("openai", {"request": CHAT | {"model": "claude-x"}, "response": ANSWER}),
    ("anthropic", {"request": CLAUDE, "response": MESSAGE}),
    ("anthropic", {"body": CLAUDE, "message": MESSAGE}),
    ("anthropic", {"custom_id": "c", "result": {"type": "succeeded", "message": MESSAGE}}),
    ("anthropic", {"custom_id": "c", "result": {"type": "expired"}}),
    ("anthropic", {"custom_id": "c", "params": CLAUDE}),
    ("otel", DOCUMENT),
    ("otel", {"attributes": {"gen_ai.system": "x"}}),
    (
        "otel",
        {
            "name": "chat",
            "context": {},
            "start_time": 1,
            "attributes": {"gen_ai.system": "x"},
            "resource": {},
        },
    ),
    ("otel_rows", CLICKHOUSE),
    ("otel_rows", {"start_time_unix_nano": 1, "attributes.gen_ai.system": "x"}),
    ("otel_rows", {"start_time": 1, "gen_ai_request_model": "x", "attributes": {}}),
    ("otel_rows", {"timestamp": 1, "span_id": "s", "gen_ai.request.model": "x", "gen_ai.prompt": TALK}),
    ("langfuse", LANGFUSE),
    ("langfuse", BLOB),
    ("langfuse", {**LANGFUSE, "input": {"request": CHAT, "response": ANSWER}, "output": CLICKHOUSE}),
    ("helicone", HELICONE),
    ("helicone", {"request_created_at": "2026-11-01", "request_user_id": "u"}),
]
TABLES = [given for given in SAMPLES if READERS[given[0]].INPUT == "either"]


def taken_by(sample: bytes) -> str:
    scores = {name: reader.sniff(sample, "x") for name, reader in READERS.items()}
    assert all(0 <= score <= 1 for score in scores.values())
    best = max(scores.values())
    assert sum(score == best for score in scores.values()) == 1 or not best, scores
    return max(scores, key=lambda n: scores[n]) if best else ""


@pytest.mark.parametrize(("name", "given"), SAMPLES)
def test_each_format_is_recognised(name, given):
    line = json.dumps(given).encode()
    assert taken_by(line) == name
    assert taken_by(line + b"\n" + line + b"\n") == name
    assert taken_by(json.dumps([given], indent=2).encode()) == name
    cut = json.dumps(given | {"zz": "x" * 1000})[:-40].encode()  # the sample ends within the first object
    assert taken_by(cut) == name


@pytest.mark.parametrize(("name", "given"), TABLES)
def test_each_table_is_recognised(name, given):
    text = io.StringIO()
    cells = [json.dumps(v) if isinstance(v, dict | list) else v for v in given.values()]
    csv.writer(text).writerows([list(given), cells])
    assert taken_by(text.getvalue().encode()) == name
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([list(given), cells])
    assert taken_by(text.getvalue().encode()) == name
    assert taken_by(_names.parquet_sample(list(given))) == name


def test_parquet_of_spans_with_one_column_of_attributes():
    assert taken_by(_names.parquet_sample(["start_time_unix_nano", "span_id", "attributes"])) == "otel_rows"
    # and what only looks like it is left to the reader that says what is missing
    assert taken_by(_names.parquet_sample(["start_time_unix_nano", "attributes"])) == "canonical"
    assert taken_by(_names.parquet_sample(["span_id", "attributes"])) == "canonical"


@pytest.mark.parametrize(
    "given",
    [
        {"result": {"type": "succeeded"}},
        {"message": "hello", "type": "message"},
        {"id": "o", "start_time": 1, "end_time": 2},
        {"id": "o", "trace_id": "t", "start_time": 1, "input": "x"},
        {"request_id": "r", "created_at": 1, "request_body": {}},
        {"Timestamp": 1, "TraceId": "t", "SpanId": "s", "SpanAttributes_": {}},
        {"timestamp": 1, "genai.model": "x"},
        {"hello": TALK},
    ],
)
def test_what_is_nearly_an_export_is_nobodys(given):
    assert taken_by(json.dumps(given).encode()) == ""
    assert taken_by((",".join(given) + "\n1,2\n").encode()) == ""


@pytest.mark.parametrize(
    ("sample", "known"),
    [
        (b"time,account,prompt\n1,a,b", True),
        (b'"time","account_id"\r\n', True),
        (b"PAR1....", True),
        (b"PAR1time,account\n", True),
        (b"time,prompt\n", False),
        (b"hello\n", False),
        (b"", False),
        (b"{}", False),
        (b"[", False),
        (b'{"a', False),
        (b'"' * 200_000, False),
        (b"[" * 5000, False),
        (bytes(range(256)), False),
    ],
)
def test_tables_are_recognised_by_their_header(sample, known):
    assert (canonical.sniff(sample, "x") > 0) == known
    assert all(r.sniff(sample, "x") == 0 for r in READERS.values() if r.NAME != "canonical")
