"""Hostile logs: never a traceback, and never a row that is not counted.

Valid records of every format are changed at random: values swapped for others of any kind, keys dropped, texts cut,
bytes flipped, nesting added. What comes back must add up to what went in.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import tempfile
from contextlib import closing
from copy import deepcopy
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from stillwatch import plugins
from stillwatch.engine.schema import EXCHANGES, RAW
from stillwatch.errors import StillwatchError
from stillwatch.identity import Keys, Pseudonyms
from stillwatch.logs import ingest
from stillwatch.logs.readers._names import as_lines
from stillwatch.logs.rows import Converter
from stillwatch.logs.sources import expand, line_blocks
from stillwatch.logs.tables import csv_blocks, parquet_blocks

START = 1_793_491_200
READERS = plugins.find("logs.readers")


def value(text: str) -> dict[str, Any]:
    return {"stringValue": text}


MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {
        "role": "user",
        "content": [{"type": "text", "text": "one"}, {"type": "image_url", "image_url": {"url": "x"}}],
    },
    {"role": "assistant", "content": "a", "thinking_blocks": [{"type": "thinking", "signature": "S1"}]},
    {"role": "user", "content": "two"},
]
VALID: dict[str, dict[str, Any]] = {
    "litellm": {
        "id": "chatcmpl-1",
        "session_id": "s",
        "call_type": "acompletion",
        "status": "success",
        "startTime": START + 0.25,
        "endTime": START + 1,
        "model": "m",
        "custom_llm_provider": "openai",
        "prompt_tokens": 3,
        "completion_tokens": 4,
        "requester_ip_address": "10.0.0.1",
        "messages": MESSAGES,
        "model_parameters": {
            "temperature": 0.5,
            "max_tokens": 100,
            "logprobs": True,
            "tools": [{"name": "t"}],
        },
        "metadata": {"user_api_key_hash": "h", "user_api_key_user_id": "u", "usage_object": {}},
        "response": {
            "choices": [
                {
                    "finish_reason": "stop",
                    "message": {"content": "x", "thinking_blocks": [{"signature": "S"}]},
                }
            ],
            "usage": {"completion_tokens_details": {"reasoning_tokens": 1}},
        },
        "error_information": {"error_code": ""},
    },
    "openai": {
        "request": {
            "model": "m",
            "messages": MESSAGES,
            "user": "u",
            "input": [{"role": "user", "content": "x"}],
            "n": 1,
        },
        "response": {
            "id": "c",
            "created": START,
            "choices": [{"finish_reason": "stop", "message": {"refusal": None}}],
            "output": [{"type": "reasoning", "encrypted_content": "E"}],
            "usage": {"input_tokens": 3, "output_tokens": 5},
        },
        "api_key_id": "k",
        "timestamp": "2026-11-01T00:00:00Z",
        "latency_ms": 5.5,
    },
    "otel": {
        "resourceSpans": [
            {
                "resource": {"attributes": [{"key": "user.id", "value": value("r")}]},
                "scopeSpans": [
                    {
                        "spans": [
                            {
                                "traceId": "t",
                                "spanId": "s",
                                "startTimeUnixNano": f"{START}000000000",
                                "endTimeUnixNano": f"{START}500000000",
                                "attributes": [
                                    {"key": "gen_ai.system", "value": value("openai")},
                                    {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "5"}},
                                    {"key": "gen_ai.input.messages", "value": value(json.dumps(MESSAGES))},
                                    {"key": "gen_ai.prompt.0.content", "value": value("numbered")},
                                ],
                                "events": [
                                    {
                                        "name": "gen_ai.user.message",
                                        "attributes": [{"key": "content", "value": value("event")}],
                                    }
                                ],
                                "status": {"code": 2},
                            },
                            {
                                "traceId": "t",
                                "spanId": "u",
                                "attributes": [{"key": "http.method", "value": value("GET")}],
                            },
                        ]
                    }
                ],
            }
        ]
    },
}
VALID |= {
    "anthropic": {
        "timestamp": START,
        "api_key_id": "k",
        "request": {
            "model": "claude-x",
            "system": [{"type": "text", "text": "S"}],
            "messages": [
                {"role": "user", "content": "one"},
                {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "R"}]},
                {"role": "user", "content": [{"type": "text", "text": "two"}, {"type": "tool_result"}]},
            ],
            "max_tokens": 9,
            "tools": [{"name": "n"}],
            "metadata": {"user_id": '{"device_id": "d", "account_uuid": "", "session_id": "s"}'},
        },
        "response": {
            "id": "msg_1",
            "type": "message",
            "content": [{"type": "thinking", "thinking": "t", "signature": "S"}],
            "stop_reason": "end_turn",
            "stop_details": {"type": "refusal"},
            "usage": {"input_tokens": 3, "cache_read_input_tokens": 2, "output_tokens": 4},
        },
        "result": {"type": "succeeded", "message": {"error": {"type": "api_error"}}},
        "error": None,
    },
    "langfuse": {
        "id": "o",
        "traceId": "t",
        "type": "GENERATION",
        "startTime": "2026-11-01T00:00:00.000Z",
        "end_time": START + 1,
        "level": "DEFAULT",
        "model": "m",
        "modelParameters": {"temperature": 0.5, "max_tokens": "9", "tools": []},
        "input": {"messages": MESSAGES, "tools": [{"name": "n"}]},
        "output": {"role": "assistant", "content": [{"type": "thinking", "signature": "S"}]},
        "usageDetails": {"input": 3, "input_cached_tokens": 1, "output_reasoning_tokens": 2},
        "toolDefinitions": {"n": "{}"},
        "metadata": {"user_id": "u", "attributes": {"user.id": "o"}, "user_api_key_hash": "h"},
    },
    "helicone": {
        "request_id": "r",
        "request_created_at": "2026-11-01T00:00:00.000Z",
        "response_created_at": START + 2,
        "request_user_id": "u",
        "request_body": {"model": "m", "messages": MESSAGES, "user": "b"},
        "response_body": json.dumps({"choices": [{"finish_reason": "stop"}]}).replace('"', '""'),
        "request_properties": {"Helicone-Session-Id": "v"},
        "provider": "OPENAI",
        "target_url": "https://x",
        "response_status": 200,
        "prompt_tokens": 3,
    },
    "otel_rows": {
        "Timestamp": "2026-11-01 00:00:00.123456789",
        "TraceId": "t",
        "SpanId": "s",
        "ResourceAttributes": {"user.id": "r"},
        "SpanAttributes": {
            "gen_ai.system": "openai",
            "gen_ai.input.messages": json.dumps(MESSAGES),
            "gen_ai": {"usage": {"input_tokens": 3}, "prompt": {"0": {"content": "numbered"}}},
        },
        "attributes": [{"key": "enduser.id", "value": value("e")}],
        "gen_ai_request_model": "m",
        "Duration": 5,
        "StatusCode": "Error",
        "Events.Name": ["gen_ai.user.message", "x"],
        "Events.Attributes": [{"content": "event"}, {}],
        "events": None,
    },
}

ODD_TEXT = ["", "\ud800", "\udfff x", "\0", "'", '"', "\\", "1e400", "NaN", "-1", "9" * 20, "$..*", "{", "[1"]
ODD_VALUES: list[Any] = [
    [],
    {},
    [[]],
    [None],
    {"": {}},
    [{"type": "text", "text": {"a": 1}}],
    {"text": 5},
    [1, {}],
]
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(ODD_TEXT),
    st.sampled_from(ODD_VALUES),
    st.integers(1, 200).map(lambda n: json.loads("[" * n + "]" * n)),
)


def places(given: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    inner = given.items() if isinstance(given, dict) else enumerate(given) if isinstance(given, list) else ()
    for key, child in inner:
        found += places(child, (*path, key))
    return found


def changed(draw: st.DrawFn, given: Any) -> Any:
    """The record with up to three of its values swapped, dropped or doubled."""
    made = json.loads(json.dumps(given))
    for _ in range(draw(st.integers(0, 3))):
        path = draw(st.sampled_from(places(made) or [()]))
        if not path:
            break
        parent = made
        for key in path[:-1]:
            parent = parent[key]
        what = draw(st.sampled_from(["swap", "swap", "drop", "list", "object"]))
        if what == "swap":
            # a copy: a later change within it must not change what the next example draws
            parent[path[-1]] = deepcopy(draw(ODD))
        elif what == "drop":
            del parent[path[-1]]
        elif what == "list":
            parent[path[-1]] = [parent[path[-1]]]
        else:
            parent[path[-1]] = {draw(st.text(max_size=3)): parent[path[-1]]}
    return made


@st.composite
def hostile_lines(draw: st.DrawFn, name: str) -> list[bytes]:
    """Lines of one format, some valid, some nearly so, some not at all; none blank, none with a line end."""
    made = []
    for _ in range(draw(st.integers(1, 30))):
        text = json.dumps(changed(draw, VALID[name]), ensure_ascii=draw(st.booleans()))
        line = text.encode("utf-8", "surrogatepass")
        harm = draw(st.sampled_from(["none", "none", "none", "cut", "bytes", "junk", "double"]))
        if harm == "cut":
            line = line[: draw(st.integers(1, len(line)))]
        elif harm == "bytes":
            at = draw(st.integers(0, len(line)))
            line = line[:at] + draw(st.binary(min_size=1, max_size=4)) + line[at + draw(st.integers(0, 4)) :]
        elif harm == "junk":
            line = draw(st.binary(min_size=1, max_size=60))
        elif harm == "double":
            line = line + line
        line = line.replace(b"\n", b" ")
        if line.strip(b" \t\r\f\v"):
            made.append(line)
    return made


def spans(line: bytes) -> int:
    """Rows of an OpenTelemetry line, counted without the reader: its spans, or one for the line itself."""
    try:
        given = json.loads(line.decode("utf-8", "replace"), strict=False)
    except (ValueError, RecursionError):
        return 1
    if not isinstance(given, dict):
        return 1
    resources = given.get("resourceSpans")
    found = 0
    for resource in resources if isinstance(resources, list) else []:
        if not isinstance(resource, dict):
            continue
        for key in ("scopeSpans", "instrumentationLibrarySpans"):
            scopes = resource.get(key)
            for scope in scopes if isinstance(scopes, list) else []:
                inner = scope.get("spans") if isinstance(scope, dict) else None
                found += len(inner) if isinstance(inner, list) else 0
    return found or 1


@pytest.fixture(scope="module")
def converter(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    keys = Keys(folder / "key")
    names = Pseudonyms(keys, folder / "vault.db")
    with closing(Converter(keys, names, memory_limit="500MB", threads=1, with_text=True)) as made:
        for reader in READERS.values():
            made.prepare(reader)
        yield made


CALM = settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@pytest.mark.parametrize("name", sorted(VALID))
def test_every_line_is_counted(converter, name):
    @CALM
    @given(hostile_lines(name))
    def holds(given_lines: list[bytes]) -> None:
        blocks = list(line_blocks(iter([b"\n".join(given_lines)]), "log"))
        rows = added = bad = 0
        for block in blocks:
            done = converter.lines(READERS[name].SQL, block.lines, block.line_numbers, "log")
            added += done.rows.num_rows
            bad += len(done.bad)
            rows += len(block.lines)
            assert done.rows.schema.equals(EXCHANGES)
            assert all(1 <= line <= len(given_lines) for line, _ in done.bad)
            assert all(reason for _, reason in done.bad)
            assert done.rows["time"].null_count == done.rows["account_id"].null_count == 0
        note(f"{added} good, {bad} bad of {rows}")
        assert rows == len(given_lines)
        if name == "otel":
            expected = sum(spans(line) for line in given_lines)
            assert added + bad == expected
        else:
            assert added + bad == rows

    holds()


def test_unchanged_records_are_good(converter):
    for name, record in VALID.items():
        lines = pa.array([json.dumps(record)], pa.large_string())
        done = converter.lines(READERS[name].SQL, lines, pa.array([1], pa.int64()), "log")
        assert done.rows.num_rows == 1, (name, done.bad)
        assert done.rows["input_tokens"].to_pylist() != [None]
        assert done.rows["turns"].to_pylist() == [2]


def test_every_row_of_a_table_of_an_export_is_counted(converter):
    @CALM
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        name = data.draw(st.sampled_from([n for n in VALID if READERS[n].INPUT == "either"]))
        records = [changed(data.draw, VALID[name]) for _ in range(data.draw(st.integers(1, 8)))]
        clean = [r if isinstance(r, dict) else {} for r in records]
        columns = sorted({key for record in clean for key in record if key != "source_line"})
        cells = {c: [json.dumps(r.get(c), default=str) for r in clean] for c in columns}
        plain = {c: [r.get(c) if isinstance(r.get(c), str) else cell for r, cell in zip(clean, cells[c], strict=True)]
                 for c in columns}  # fmt: skip
        safe = {
            c.encode("utf-8", "replace").decode(): [v.encode("utf-8", "replace").decode() for v in values]
            for c, values in plain.items()
        }
        rows = pa.table({**safe, "source_line": pa.array(range(1, len(clean) + 1), pa.int64())})
        done = converter.table(as_lines(READERS[name].SQL, rows.column_names), rows, "table")
        assert done.rows.num_rows + len(done.bad) == len(clean)

    holds()


CELLS = st.one_of(
    st.none(),
    st.text(max_size=20),
    st.sampled_from([str(START), "2026-11-01", "-1", "nan", "1e400", "true", "[1", '["x"]', "\0"]),
)


@CALM
@given(
    st.lists(
        st.sampled_from([n for n in RAW.names if n not in ("time", "account")]), unique=True, max_size=8
    ),
    st.data(),
)
def test_every_row_of_a_table_is_counted(converter, columns, data):
    columns = ["time", "account", *columns]
    rows = data.draw(st.lists(st.lists(CELLS, min_size=len(columns), max_size=len(columns)), max_size=8))
    clean = [[None if c is None else c.encode("utf-8", "replace").decode() for c in row] for row in rows]
    table = pa.table({n: pa.array([row[i] for row in clean], pa.string()) for i, n in enumerate(columns)})
    given_table = table.drop_columns([c for c in ("source_line",) if c in columns])
    given_table = given_table.append_column("source_line", pa.array(range(1, len(rows) + 1), pa.int64()))
    select = READERS["canonical"].select([c for c in columns if c != "source_line"])
    done = converter.table(select, given_table, "table")
    assert done.rows.num_rows + len(done.bad) == len(rows)


@CALM
@given(st.lists(st.lists(st.text(max_size=8), min_size=1, max_size=5), max_size=8), st.binary(max_size=20))
def test_every_csv_row_is_counted(rows, tail):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    width = 3
    writer.writerow(["time", "account", "prompt"])
    full = [row for row in rows if any(row)]
    writer.writerows(full)
    content = text.getvalue().encode("utf-8", "replace")
    found = list(csv_blocks(iter([content]), "a.csv", 4096))
    good, bad = sum(b.rows.num_rows for b in found), sum(len(b.broken) for b in found)
    note(f"{good} good, {bad} bad")
    # A row may hold a bare NUL or carriage return that ends it early for one parser and not for another; what matters
    # is that what the parser saw is all there.
    if not any(c in cell for row in full for cell in row for c in "\0\r"):
        assert good + bad == len(full)
        assert good == sum(len(row) == width for row in full)
    # and a broken tail is never a traceback
    list(csv_blocks(iter([content, tail]), "a.csv", 4096))


@settings(CALM, max_examples=10)
@given(st.binary(max_size=400), st.sampled_from(sorted(READERS)), st.booleans())
def test_any_bytes_as_any_format(content, name, packed):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        path.write_bytes(gzip.compress(content)[: -len(content) % 7 or None] if packed else content)
        try:
            done = ingest([path], Path(folder) / "w", format=name, threads=1)
        except StillwatchError as refused:
            assert str(path) in str(refused)
        else:
            assert done.rows == done.added + done.duplicates + done.quarantined


@settings(CALM, max_examples=10)
@given(st.data())
def test_damaged_parquet(data):
    table = pa.table({"time": [START, START + 1], "account": ["a", "b"], "prompt": ["x" * 50, "y" * 50]})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.parquet"
        pq.write_table(table, path)
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(bytes(content))
        try:
            done = ingest([path], Path(folder) / "w", format="canonical", threads=1)
        except StillwatchError as refused:
            assert str(path) in str(refused)
        else:
            assert done.rows == done.added + done.duplicates + done.quarantined


def test_a_changed_byte_anywhere_in_a_parquet_file(tmp_path):
    # Random damage found a footer whose column name was not UTF-8; every byte is quick enough to try.
    path = tmp_path / "log.parquet"
    pq.write_table(
        pa.table({"time": [START, START + 1], "account": ["a", "b"], "prompt": ["x" * 50, "y"]}), path
    )
    whole = path.read_bytes()
    refused = 0
    for place in range(4, len(whole) - 4):
        for flip in (0x01, 0x80):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :])
            try:
                for block in parquet_blocks(expand([path])[0], [0]):
                    assert block.rows.num_rows + len(block.broken) <= 2
            except StillwatchError as error:
                refused += 1
                assert str(path) in str(error)
    assert refused > len(whole) / 2
