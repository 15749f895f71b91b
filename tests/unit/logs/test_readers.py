"""Every reader: what it makes of its format's records, old names and new, and of records that are almost right."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from logs_samples import READERS, SECOND, one, run, together

from stillwatch.engine.schema import RAW
from stillwatch.logs.readers import litellm, openai, otel


@pytest.mark.parametrize("name", sorted(READERS))
def test_a_reader_yields_the_raw_columns_and_a_problem(engine, name):
    reader = READERS[name]
    assert name == reader.NAME
    assert reader.TITLE
    if reader.INPUT != "table":
        select = reader.SQL
        engine.register("lines", pa.table({"line": pa.array(["{}"], pa.large_string()), "source_line": [1]}))
    else:
        select = reader.select(["time", "account"])
        engine.register("rows", pa.table({"time": ["1"], "account": ["a"], "source_line": [1]}))
    found = engine.sql(select).to_arrow_table()
    assert set(found.column_names) == {*RAW.names, "problem"}


# ---------------------------------------------------------------------------------------------------- times


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("1793491200", SECOND),
        ("1793491200.25", SECOND + 250_000),
        ("1793491200123", SECOND + 123_000),
        ("1793491200123456", SECOND + 123_456),
        ("1793491200123456789", SECOND + 123_456),
        ("1.7934912e9", SECOND),
        ("1793491200123.5", SECOND + 123_500),
        ("2026-11-01T00:00:00Z", SECOND),
        ("2026-11-01T02:00:00+02:00", SECOND),
        ("2026-11-01 00:00:00.5", SECOND + 500_000),
        ("2026-11-01", SECOND),
        ("-5", -5_000_000),
        ("yesterday", None),
        ("nan", None),
        ("1e400", None),
        ("inf", None),
        ("infinity", None),
        ("", None),
        ("2026-13-01", None),
    ],
)
def test_times(engine, given, expected):
    assert engine.execute("select sw_time(t) from (select $t::varchar as t)", {"t": given}).fetchall() == [
        (expected,)
    ]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("1.2.3.4", "1.2.3.0/24"),
        ("1.2.3.4:443", "1.2.3.0/24"),
        ("1.2.3.0/24", "1.2.3.0/24"),
        ("1.2.3.4, 9.9.9.9", "1.2.3.0/24"),
        ("::ffff:1.2.3.4", "1.2.3.0/24"),
        ("2001:DB8::1%eth0", "2001:db8:0::/48"),
        ("[2001:db8:7:1::1]:443", "2001:db8:7::/48"),
        ("2001:0db8:0a00::/48", "2001:db8:a00::/48"),
        ("1:2:3:4:5:6:7:8", "1:2:3::/48"),
        ("::1", "0:0:0::/48"),
        ("1::2:3:4:5:6:7", "1:0:2::/48"),
        ("256.1.1.1", None),
        ("1.2", None),
        ("12345::", None),
        ("1:2", None),
        ("unknown", None),
        ("", None),
    ],
)
def test_prefixes(engine, given, expected):
    found = engine.execute("select sw_prefix(a) from (select $a::varchar as a)", {"a": given}).fetchall()
    assert found == [(expected,)]


# -------------------------------------------------------------------------------------------------- LiteLLM


def test_litellm_maps_what_it_knows(engine):
    found = one(
        engine,
        litellm,
        {
            "id": "chatcmpl-1",
            "trace_id": "t-1",
            "call_type": "acompletion",
            "status": "success",
            "startTime": 1_793_491_200.5,
            "endTime": 1_793_491_202.0,
            "model": "m-1",
            "model_group": "group",
            "custom_llm_provider": "bedrock",
            "prompt_tokens": 12,
            "completion_tokens": 34,
            "end_user": "eve",
            "requester_ip_address": "10.0.0.1",
            "user_agent": "curl",
            "messages": [
                {"role": "system", "content": "S"},
                {"role": "user", "content": "one"},
                {"role": "assistant", "content": "a"},
                {"role": "user", "content": [{"type": "text", "text": "two"}, {"type": "image_url"}]},
                {"role": "tool", "content": "not the user"},
            ],
            "model_parameters": {"temperature": 0.1, "n": 2, "logprobs": True, "tools": [{"name": "t"}]},
            "metadata": {
                "user_api_key_hash": "h",
                "user_api_key_user_id": "u",
                "user_api_key_team_id": "team",
            },
            "response": {
                "model": "m-1-2026",
                "choices": [{"finish_reason": "stop", "message": {"reasoning_content": "hm"}}],
                "usage": {"completion_tokens_details": {"reasoning_tokens": 5}},
            },
        },
    )
    expected = {
        "record_id": "chatcmpl-1",
        "time": SECOND + 500_000,
        "account": "u",
        "credential": "h",
        "organization": "team",
        "end_user": "eve",
        "conversation": "t-1",
        "client_address": "10.0.0.1",
        "client_agent": "curl",
        "route": "cloud",
        "operation": "chat",
        "request_model": "group",
        "response_model": "m-1-2026",
        "temperature": 0.1,
        "n_choices": 2,
        "logprobs": True,
        "input_tokens": 12,
        "output_tokens": 34,
        "reasoning_tokens": 5,
        "finish_reason": "stop",
        "status_code": 200,
        "refused": False,
        "reasoning_visible": True,
        "tool_schema": '[{"name":"t"}]',
        "system": "S",
        "prompt": "one\ntwo",
        "opening": "one",
        "turns": 2,
        "latency_ms": 1500.0,
        "source_line": 1,
    }
    assert {k: v for k, v in found.items() if v is not None} == expected


def test_the_proxys_own_users_are_nobody(engine):
    own = [{"metadata": {"user_api_key_user_id": u, "user_api_key_hash": "h"}} for u in litellm.NOT_A_USER]
    assert [r["account"] for r in run(engine, litellm, own)] == ["h"] * len(own)


def test_accounts_of_litellm(engine):
    cases = [
        ({"user_api_key_user_id": "default_user_ida", "user_api_key_hash": "h"}, "default_user_ida"),
        ({"user_api_key_user_id": "", "user_api_key_hash": "h"}, "h"),
        ({"user_api_key_user_id": None, "user_api_key_hash": "h"}, "h"),
        ({"user_api_key_user_id": 77}, "77"),
        ({"user_api_key_user_id": {"id": 1}, "user_api_key_hash": "h"}, "h"),
        ({"user_api_key_user_id": "default_user_id"}, None),
        ("no object", None),
    ]
    found = run(engine, litellm, [{"call_type": "x", "metadata": metadata} for metadata, _ in cases])
    assert [r["account"] for r in found] == [account for _, account in cases]


def test_a_completion_has_a_string_for_messages(engine):
    found = one(engine, litellm, {"call_type": "atext_completion", "messages": "complete me", "metadata": {}})
    assert (found["prompt"], found["turns"], found["operation"]) == ("complete me", 1, "text_completion")


def test_a_failed_call_has_its_status(engine):
    errors = [{"error_code": "429"}, {}, {"error_code": "x"}]
    failed = [{"call_type": "x", "status": "failure", "error_information": e} for e in errors]
    assert [r["status_code"] for r in run(engine, litellm, failed)] == [429, 500, 500]


def test_guardrail_information_is_not_read():
    assert "guardrail_information" not in litellm.SQL


# ----------------------------------------------------------------------------------------------- signatures

THINKING = {"type": "thinking", "thinking": "...", "signature": "S1"}
PRESENTED = [
    ({"role": "assistant", "content": [THINKING]}, ["S1"]),
    ({"role": "assistant", "content": [{"type": "redacted_thinking", "data": "R1"}]}, ["R1"]),
    ({"role": "assistant", "content": "x", "thinking_blocks": [THINKING]}, ["S1"]),
    ({"type": "reasoning", "encrypted_content": "E1"}, ["E1"]),
    ({"role": "model", "parts": [{"functionCall": {}, "thoughtSignature": "G1"}]}, ["G1"]),
    ({"role": "assistant", "provider_specific_fields": {"thought_signatures": ["G1", "G2"]}}, ["G1", "G2"]),
    # near misses: a tool argument called signature, a text that talks about one, an empty one
    ({"role": "assistant", "content": [{"type": "tool_use", "input": {"signature": "no"}}]}, []),
    ({"role": "user", "content": 'what is a "signature" in "thinking" blocks?'}, []),
    ({"role": "assistant", "content": [{"type": "thinking", "signature": ""}]}, []),
    ({"role": "assistant", "content": [{"type": "thinking", "signature": {"a": 1}}]}, []),
]


PRESENTED_ROWS = {
    litellm: together(litellm, [{"call_type": "a", "messages": [m], "metadata": {}} for m, _ in PRESENTED]),
    openai: together(openai, [{"request": {"messages": [m]}} for m, _ in PRESENTED]),
}


@pytest.mark.parametrize("reader", PRESENTED_ROWS, ids=lambda r: r.NAME)
@pytest.mark.parametrize("case", range(len(PRESENTED)))
def test_signatures_of_the_request_are_presented(engine, reader, case):
    found = PRESENTED_ROWS[reader](engine)[case]
    assert sorted(found["signatures_presented"] or []) == PRESENTED[case][1]
    assert not found["signatures_minted"]


def test_signatures_of_the_response_are_minted(engine):
    message = {"content": "x", "thinking_blocks": [THINKING]}
    found = one(engine, litellm, {"call_type": "a", "response": {"choices": [{"message": message}]}})
    assert (found["signatures_minted"], found["signatures_presented"]) == (["S1"], None)
    found = one(engine, openai, {"response": {"output": [{"type": "reasoning", "encrypted_content": "E1"}]}})
    assert found["signatures_minted"] == ["E1"]


# --------------------------------------------------------------------------------------------------- OpenAI

CHAT = {"model": "m", "messages": [{"role": "developer", "content": "D"}, {"role": "user", "content": "Q"}]}
ANSWER = {
    "id": "chatcmpl-9",
    "created": 1_793_491_200,
    "model": "m-2026",
    "choices": [{"finish_reason": "length", "message": {"content": "a"}}],
    "usage": {
        "prompt_tokens": 3,
        "completion_tokens": 4,
        "completion_tokens_details": {"reasoning_tokens": 1},
    },
}
OPENAI = [
    (
        {"request": {**CHAT, "user": "eu"}, "response": ANSWER, "api_key_id": "k"},
        {"account": "eu", "credential": "k", "time": SECOND, "prompt": "Q", "system": "D", "turns": 1}
        | {"input_tokens": 3, "output_tokens": 4, "reasoning_tokens": 1, "finish_reason": "length"},
    ),
    (
        {"custom_id": "c", "body": {"model": "m", "prompt": ["a", "b"], "safety_identifier": "s"}}
        | {"response": {"status_code": 200, "body": ANSWER}},
        {
            "account": "s",
            "end_user": "s",
            "prompt": "a\nb",
            "operation": "text_completion",
            "status_code": 200,
        },
    ),
    (
        {
            "request": {"model": "m", "input": "hello", "instructions": "I"},
            "account_id": 5,
            "time": "2026-11-01",
        },
        {"account": "5", "prompt": "hello", "system": "I", "operation": "chat", "turns": 1, "time": SECOND},
    ),
    (
        {
            "request": {
                "input": [{"role": "user", "content": [{"type": "input_text", "text": "x"}]}, {"type": "y"}]
            }
        }
        | {
            "response": {"output": [{"type": "reasoning"}], "usage": {"output_tokens": 2}},
            "api_key_hash": "h",
        },
        {"account": "h", "prompt": "x", "turns": 1, "output_tokens": 2, "reasoning_visible": True},
    ),
    (
        {"request": json.dumps(CHAT), "response": json.dumps(ANSWER), "account": "z"},
        {"account": "z", "prompt": "Q", "finish_reason": "length"},
    ),
    (
        {"request": {**CHAT, "system": [{"type": "text", "text": "SYS"}], "metadata": {"user_id": "m-u"}}}
        | {"response": {"type": "message", "stop_reason": "refusal", "content": [{"type": "thinking"}]}},
        {"account": "m-u", "system": "SYS\nD", "refused": True, "reasoning_visible": True},
    ),
    ({"request": CHAT, "response": {"error": {"message": "no"}}, "account": "a"}, {"status_code": 500}),
    ({"request": CHAT, "account": "a"}, {"problem": None, "refused": None, "status_code": None}),
    ({"prompt": "x"}, {"problem": "neither a request nor a response object"}),
    ({"request": [1], "response": 3}, {"problem": "neither a request nor a response object"}),
]


OPENAI_ROWS = together(openai, [given for given, _ in OPENAI])


@pytest.mark.parametrize("case", range(len(OPENAI)))
def test_openai(engine, case):
    found, expected = OPENAI_ROWS(engine)[case], OPENAI[case][1]
    assert {k: found[k] for k in expected} == expected


# ---------------------------------------------------------------------------------------------------- OTel


def attributes(**given: Any) -> list[dict[str, Any]]:
    made = []
    for name, value in given.items():
        kind = {str: "stringValue", int: "intValue", float: "doubleValue"}.get(type(value))
        made.append({"key": name.replace("__", "."), "value": {kind: value} if kind else value})
    return made


def span(given: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    start, end = "1793491200000000000", "1793491200250000000"
    return {
        "traceId": "t",
        "spanId": "s",
        "startTimeUnixNano": start,
        "endTimeUnixNano": end,
        "attributes": given,
    } | more


def document(*spans: dict[str, Any], resource: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {
        "resourceSpans": [
            {"resource": {"attributes": resource or []}, "scopeSpans": [{"spans": list(spans)}]}
        ]
    }


MESSAGES = [
    {"role": "user", "parts": [{"type": "text", "content": "one"}]},
    {"role": "assistant", "parts": [{"type": "reasoning", "content": "r", "signature": "S1"}]},
    {
        "role": "user",
        "parts": [{"type": "text", "content": "two"}, {"type": "tool_call_response", "result": "no"}],
    },
]
NESTED = {
    "arrayValue": {
        "values": [
            {
                "kvlistValue": {
                    "values": [
                        {"key": "role", "value": {"stringValue": "user"}},
                        {
                            "key": "parts",
                            "value": {
                                "arrayValue": {
                                    "values": [
                                        {
                                            "kvlistValue": {
                                                "values": [
                                                    {"key": "type", "value": {"stringValue": "text"}},
                                                    {"key": "content", "value": {"stringValue": 'deep "q"'}},
                                                ]
                                            }
                                        }
                                    ]
                                }
                            },
                        },
                    ]
                }
            }
        ]
    }
}
OTEL = [
    (
        document(
            span(
                attributes(
                    gen_ai__provider__name="aws.bedrock",
                    gen_ai__operation__name="chat",
                    gen_ai__request__model="m",
                    gen_ai__usage__input_tokens="12",
                    gen_ai__usage__output_tokens=3,
                    gen_ai__request__temperature=0.5,
                    gen_ai__input__messages=json.dumps(MESSAGES),
                    gen_ai__system_instructions=json.dumps([{"type": "text", "content": "SYS"}]),
                    gen_ai__response__finish_reasons={"arrayValue": {"values": [{"stringValue": "stop"}]}},
                    enduser__id="u",
                )
            )
        ),
        {"account": "u", "time": SECOND, "route": "cloud", "operation": "chat", "request_model": "m"}
        | {"input_tokens": 12, "output_tokens": 3, "temperature": 0.5, "prompt": "one\ntwo", "system": "SYS"}
        | {"turns": 2, "finish_reason": "stop", "latency_ms": 250.0, "signatures_presented": ["S1"]}
        | {"record_id": "t/s", "problem": None, "status_code": 200},
    ),
    (
        document(
            span(
                attributes(
                    gen_ai__system="openai",
                    gen_ai__usage__prompt_tokens=7,
                    gen_ai__usage__completion_tokens=8,
                    gen_ai__prompt=json.dumps([{"role": "user", "content": "old"}]),
                ),
                status={"code": 2},
            ),
            resource=attributes(user__id="r"),
        ),
        {
            "account": "r",
            "route": "native",
            "input_tokens": 7,
            "output_tokens": 8,
            "prompt": "old",
            "status_code": 500,
        },
    ),
    (
        document(span(attributes(gen_ai__system="x", gen_ai__input__messages=NESTED))),
        {"prompt": 'deep "q"', "turns": 1},
    ),
    (
        document(
            span(
                [
                    {"key": "gen_ai.prompt.10.content", "value": {"stringValue": "third"}},
                    {"key": "gen_ai.prompt.2.content", "value": {"stringValue": "second"}},
                    {"key": "gen_ai.prompt.0.role", "value": {"stringValue": "system"}},
                    {"key": "gen_ai.prompt.0.content", "value": {"stringValue": "first"}},
                ]
            )
        ),
        {"system": "first", "prompt": "second\nthird", "turns": 2},
    ),
    (
        document(
            span(
                attributes(gen_ai__system="x"),
                events=[
                    {"name": "gen_ai.content.prompt", "attributes": attributes(gen_ai__prompt="plain text")}
                ],
            )
        ),
        {"prompt": "plain text", "turns": 1},
    ),
    (
        document(
            span(
                attributes(gen_ai__system="x"),
                events=[
                    {"name": "gen_ai.system.message", "attributes": attributes(content="told")},
                    {"name": "gen_ai.user.message", "attributes": attributes(content="asked")},
                ],
            )
        ),
        {"system": "told", "prompt": "asked"},
    ),
    (
        {
            "context": {"trace_id": "0x1", "span_id": "0x2"},
            "start_time": "2026-11-01T00:00:00Z",
            "attributes": {
                "gen_ai.system": "openai",
                "gen_ai.usage.prompt_tokens": 7,
                "gen_ai.prompt": "flat",
            },
            "status": {"status_code": "ERROR"},
            "resource": {"attributes": {"enduser.id": "u"}},
        },
        {
            "record_id": "0x1/0x2",
            "account": "u",
            "input_tokens": 7,
            "prompt": "flat",
            "status_code": 500,
            "time": SECOND,
        },
    ),
    (document(span(attributes(http__method="GET"))), {"problem": "a span without gen_ai attributes"}),
    (
        document(span(attributes(gen_ai__operation__name="execute_tool"))),
        {"problem": "a span that is no call of a model (execute_tool)"},
    ),
    ({"resourceSpans": []}, {"problem": "no spans"}),
    ({"resourceSpans": "x"}, {"problem": "no spans"}),
    ({"something": 1}, {"problem": "no spans"}),
    # one key twice, a key that is null, a value of no kind
    (
        document(
            span(
                [
                    *attributes(gen_ai__system="x"),
                    *attributes(gen_ai__system="y"),
                    {"key": None},
                    {"value": 3},
                    7,
                ]
            )
        ),
        {"problem": None, "route": "native"},
    ),
]


OTEL_ROWS = together(otel, [given for given, _ in OTEL])


@pytest.mark.parametrize("case", range(len(OTEL)))
def test_otel(engine, case):
    found, expected = OTEL_ROWS(engine)[case], OTEL[case][1]
    assert {k: found[k] for k in expected} == expected


def test_every_span_of_a_document_is_a_row(engine):
    good, other = span(attributes(gen_ai__system="x")), span(attributes(a="b"))
    found = run(engine, otel, [document(good, other, good), document(good), {"x": 1}])
    assert [r["source_line"] for r in found] == [1, 1, 1, 2, 3]
