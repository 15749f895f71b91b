"""The first user text of a conversation, as each reader finds it, and its digest, which is one in every format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from logs_samples import READERS, START, lines, read, run

from stillwatch.logs.ingest import ingest

Message = dict[str, Any]
FIRST = "How do I fold a paper crane?\nWith one sheet."


def user(content: Any) -> Message:
    return {"role": "user", "content": content}


def answer(content: Any = "So.") -> Message:
    return {"role": "assistant", "content": content}


SYSTEM: Message = {"role": "system", "content": "Be brief."}


def litellm(messages: Any, i: int = 0) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{i}",
        "call_type": "acompletion",
        "status": "success",
        "startTime": START + i,
        "model": "m",
        "messages": messages,
        "metadata": {"user_api_key_hash": "h", "user_api_key_user_id": "u"},
        "response": {"model": "m", "choices": [{"finish_reason": "stop"}]},
    }


def openai(messages: Any, i: int = 0) -> dict[str, Any]:
    return {
        "time": START + i,
        "account": "u",
        "request": {"model": "m", "messages": messages},
        "response": {"id": f"c-{i}", "object": "chat.completion", "model": "m", "choices": []},
    }


def responses(messages: Any, i: int = 0) -> dict[str, Any]:
    """OpenAI's newer API: the messages stand under ``input``."""
    record = openai(messages, 100 + i)
    return record | {"request": {"model": "m", "input": messages}}


def anthropic(messages: Any, i: int = 0) -> dict[str, Any]:
    system = [m["content"] for m in messages if m["role"] == "system"] if messages else []
    others = [m for m in messages if m["role"] != "system"] if messages else messages
    request = {"model": "m", "max_tokens": 5, "messages": others}
    return {
        "time": START + i,
        "account": "u",
        "request": request | ({"system": system[0]} if system else {}),
        "response": {"id": f"msg-{i}", "type": "message", "role": "assistant", "model": "m", "content": []},
    }


def otel(messages: Any, i: int = 0) -> dict[str, Any]:
    """A span with the messages of OpenTelemetry's conventions, whose texts are parts."""
    import json

    def parts(content: Any) -> list[dict[str, Any]]:
        texts = [content] if isinstance(content, str) else content
        return [{"type": "text", "content": t} if isinstance(t, str) else
                {"type": t["type"], "content": t["text"]} if "text" in t else t for t in texts]  # fmt: skip

    said = None if messages is None else [{"role": m["role"], "parts": parts(m["content"])} for m in messages]
    given = {"gen_ai.request.model": "m", "gen_ai.operation.name": "chat", "enduser.id": "u"}
    if said is not None:
        given["gen_ai.input.messages"] = json.dumps(said)
    attributes = [{"key": k, "value": {"stringValue": v}} for k, v in given.items()]
    time = str((START + i) * 10**9)
    span = {"traceId": f"{i:032x}", "spanId": f"{i:016x}", "name": "chat m", "kind": 3}
    span |= {"startTimeUnixNano": time, "endTimeUnixNano": time, "attributes": attributes}
    return {"resourceSpans": [{"resource": {}, "scopeSpans": [{"scope": {}, "spans": [span]}]}]}


FORMATS: dict[str, tuple[str, Callable[..., dict[str, Any]]]] = {
    "litellm": ("litellm", litellm),
    "openai": ("openai", openai),
    "openai responses": ("openai", responses),
    "anthropic": ("anthropic", anthropic),
    "otel": ("otel", otel),
}


def text(said: str) -> Message:
    return {"type": "text", "text": said}


# Messages of a request, what a reader hands on as the opening, and the user messages in it.
CASES: list[tuple[str, list[Message], str | None, int]] = [
    ("history", [user(FIRST), answer(), user("And smaller?")], FIRST, 2),
    ("history with system", [SYSTEM, user(FIRST), answer(), user("And?"), answer(), user("Then?")], FIRST, 3),
    ("a first text in two parts", [user([text("one"), text("two")]), answer(), user("three")], "one\ntwo", 2),
    ("a first message without text", [user([{"type": "image"}]), answer(), user("What is it?")], None, 2),
    ("two in a row", [user("one"), user("two")], "one", 2),
    ("two in a row with system", [SYSTEM, user("one"), user("two")], "one", 2),
]


@pytest.fixture(scope="module", params=FORMATS)
def made(request: pytest.FixtureRequest, engine: duckdb.DuckDBPyConnection) -> dict[str, dict[str, Any]]:
    reader, record = FORMATS[request.param]
    found = run(engine, READERS[reader], [record(messages, i) for i, (_, messages, _, _) in enumerate(CASES)])
    assert len(found) == len(CASES) and all(row["problem"] is None for row in found)
    return {name: row for (name, *_), row in zip(CASES, found, strict=True)}


@pytest.mark.parametrize(("name", "opening", "turns"), [(c[0], c[2], c[3]) for c in CASES])
def test_the_opening_is_the_first_user_text(made, name: str, opening: str | None, turns: int) -> None:
    assert (made[name]["opening"], made[name]["turns"]) == (opening, turns)


TALK = [SYSTEM, user(FIRST), answer(), user("And smaller?"), answer(), user("And of cloth?")]
SAME = [TALK[:2], TALK[1:2], TALK[:4], TALK[:6], TALK[1:6]]
OTHER = [user("Something else"), answer(), user("And smaller?")]
UNKNOWN = [user([{"type": "image"}]), answer(), user("What is it?")]


@pytest.fixture(scope="module")
def digests(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[int | None]]:
    """Format -> digests of the requests above, all of one workspace."""
    folder = tmp_path_factory.mktemp("openings")
    logs = []
    for name, (_, record) in FORMATS.items():
        logs.append(folder / f"{name}.jsonl")
        logs[-1].write_bytes(lines(record(messages, i) for i, messages in enumerate([*SAME, OTHER, UNKNOWN])))
    done = ingest(logs, folder / "w")
    assert (done.added, done.quarantined) == (7 * len(FORMATS), 0), done
    found: dict[str, list[int | None]] = {name: [] for name in FORMATS}
    for row in sorted(read(folder / "w").to_pylist(), key=lambda r: r["source_line"]):
        found[Path(row["source_file"]).stem].append(row["opening_digest"])
    return found


def test_one_conversation_has_one_digest_at_every_turn_and_in_every_format(digests) -> None:
    (opening,) = {d for given in digests.values() for d in given[: len(SAME)]}
    (other,) = {given[len(SAME)] for given in digests.values()}
    assert opening is not None and other is not None and opening != other


def test_where_the_first_text_is_not_known_there_is_no_digest(digests) -> None:
    assert {name: given[-1] for name, given in digests.items()} == dict.fromkeys(FORMATS)


def test_what_a_tool_returned_is_no_opening(engine: duckdb.DuckDBPyConnection) -> None:
    """An agent's loop: the user's one question, then a call and its result, in the manner of each API."""
    result = {"type": "tool_result", "tool_use_id": "t", "content": "42 sheets"}
    use = {"type": "tool_use", "id": "t", "name": "count", "input": {}}
    loops = {
        "anthropic": [user("Count them"), answer([use]), user([result])],
        "openai": [user("Count them"), answer(), {"role": "tool", "content": "42 sheets"}],
    }
    for name, messages in loops.items():
        reader, record = FORMATS[name]
        (found,) = run(engine, READERS[reader], [record(messages)])
        assert (found["opening"], found["prompt"]) == ("Count them", "Count them"), name
