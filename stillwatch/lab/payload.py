"""LiteLLM StandardLoggingPayload lines (field names as in LiteLLM 1.109).

A line is a row of pieces: fixed text, values, and for every message its role and content. All pieces of a
chunk lie in one pool, one index says which follow each other, and one loop copies them. Joining the columns of
each line element by element took several times as long.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stillwatch.lab.compose import Chunk, Log, chunks
from stillwatch.lab.gather import gather
from stillwatch.lab.names import Names, cat, quoted, text
from stillwatch.lab.world import NONE

_SIGNED = '", "thinking_blocks": [{"type": "thinking", "thinking": "", "signature": "'
"""Between the text of an answer and the signature of its reasoning, as Anthropic's blocks stand in LiteLLM."""


@dataclass(slots=True)
class _Pool:
    """Pieces of text and where each kind of them begins."""

    parts: list[pa.LargeStringArray] = field(default_factory=list)
    size: int = 0

    def add(self, values: pa.Array | list[str]) -> int:
        """Add pieces; gives the place of the first."""
        array = text(values) if isinstance(values, pa.Array) else pa.array(values, pa.large_string())
        self.parts.append(array)
        self.size += len(array)
        return self.size - len(array)


def write_litellm(log: Log, names: Names, out: Path, progress: Callable[[int], None]) -> list[Path]:
    """One JSON object a line, one gzip file a day. The same log gives the same bytes."""
    paths: list[Path] = []
    pending: list[Future[None]] = []
    fragments = _account_fragments(log, names)
    done = 0
    # zlib lets go of the interpreter, so one chunk is compressed while the next one is rendered.
    with ThreadPoolExecutor(1) as pool:
        for chunk in chunks(log):
            day = datetime.fromtimestamp(int(log.rows["time"][chunk.rows[0]]) // 1_000_000, UTC)
            path = out / f"log-{day:%Y-%m-%d}.jsonl.gz"
            mode = "ab" if path in paths else "wb"
            if path not in paths:
                paths.append(path)
            pending.append(pool.submit(_gzip, path, mode, _lines(log, names, chunk, fragments)))
            done += len(chunk.rows)
            progress(done)
            while len(pending) > 1:
                pending.pop(0).result()
        for job in pending:
            job.result()
    return paths


def _account_fragments(log: Log, names: Names) -> pa.LargeStringArray:
    """What is the same in all lines of a credential: the metadata of the key, and the account's parameters."""
    a = {c: log.accounts[c][names.holder] for c in ("temperature", "max_tokens")}
    who = pa.array(names.holder)
    choices = log.choices[names.holder].astype(np.int64)
    temperature = pa.array(np.round(a["temperature"].astype(np.float64), 2), mask=np.isnan(a["temperature"]))
    cap = pa.array(a["max_tokens"].astype(np.int64), mask=a["max_tokens"] == 0)
    return cat(
        '"metadata": {"user_api_key_hash": "',
        names.credential,
        '", "user_api_key_alias": null, "user_api_key_user_id": "',
        names.account.take(who),
        '", "user_api_key_org_id": ',
        quoted(names.organization.take(who)),
        ', "user_api_key_team_id": null}, "model_parameters": {"stream": false',
        pc.fill_null(cat(', "temperature": ', text(temperature)), ""),
        pc.fill_null(cat(', "max_tokens": ', text(cap)), ""),
        pc.fill_null(cat(', "n": ', text(pa.array(choices, mask=choices == 0))), ""),
        pa.array(np.where(log.logprobs[names.holder], ', "logprobs": true', ""), pa.large_string()),
        "}, ",
    )


def _lines(log: Log, names: Names, chunk: Chunk, fragments: pa.LargeStringArray) -> np.ndarray:
    """The bytes of all lines of a chunk."""
    rows, n = chunk.rows, len(chunk.rows)
    r = {c: log.rows[c][rows] for c in ("time", "account", "conversation", "prefix", "turn")}
    turn = r["turn"].astype(np.int64)
    failed = log.failed[rows]
    latency = np.round(log.latency[rows], 3)
    end = r["time"] + (latency * 1e6).astype(np.int64)
    inputs = names.input_tokens(chunk)
    pool = _Pool()
    each = np.arange(n)

    def fixed(value: str) -> np.ndarray:
        return np.full(n, pool.add([value]))

    def column(values: pa.Array | list[str], index: np.ndarray = each) -> np.ndarray:
        return pool.add(values) + index

    def number(values: np.ndarray) -> np.ndarray:
        return column(pa.array(values))

    model = column(list(names.models), log.model[rows].astype(np.int64))
    trace = column(names.trace(chunk))
    finish = column(_decimal(end))
    before = [
        fixed('{"id": "'),
        column(names.record(chunk)),
        fixed('", "trace_id": "'),
        trace,
        column(['", "session_id": "', '", "session_id": null'], (r["conversation"] < 0).astype(int)),
        np.where(r["conversation"] < 0, pool.add([""]), trace),
        column(['", ', ", "], (r["conversation"] < 0).astype(int)),
        column(
            [
                f'"call_type": "acompletion", "stream": false, "status": "{status}", '
                '"custom_llm_provider": "openai", "model": "'
                for status in ("success", "failure")
            ],
            failed.astype(int),
        ),
        model,
        fixed('", "model_group": "'),
        model,
        fixed('", "startTime": '),
        column(_decimal(r["time"])),
        fixed(', "endTime": '),
        finish,
        fixed(', "completionStartTime": '),
        finish,
        fixed(', "response_time": '),
        number(latency),
        fixed(', "total_tokens": '),
        number(inputs + log.tokens[rows]),
        fixed(', "prompt_tokens": '),
        number(inputs),
        fixed(', "completion_tokens": '),
        number(log.tokens[rows]),
        fixed(', "cache_hit": null, "request_tags": [], "end_user": "", "requester_ip_address": "'),
        column(names.address(chunk)),
        fixed('", "user_agent": "'),
        column(list(names.agents), log.agent[rows].astype(np.int64)),
        fixed('", '),
        column(fragments, names.key(rows)),
        fixed('"messages": ['),
    ]
    answers = pool.add(_escape(chunk.answers))
    units = pool.add(_escape(chunk.units))
    used, place = np.unique(np.where(chunk.system < 0, -1, chunk.system), return_inverse=True)
    systems = names.constants(used[used >= 0])
    opening = cat('{"role": "system", "content": "', _escape(systems), '"}, ')
    without = int((used < 0).sum())
    before.append(column(pa.concat_arrays([text(pa.array([""] * without, pa.string())), opening]), place))
    # Five pieces a message: user opens, content, answer opens, its content, closes; the last user has no answer.
    last = np.zeros(len(chunk.history), bool)
    last[chunk.offsets[1:] - 1] = True
    empty = pool.add([""])
    talk = np.empty((len(chunk.history), 5), np.int64)
    talk[:, 0] = pool.add(['{"role": "user", "content": "'])
    talk[:, 1] = units + chunk.history
    talk[:, 2] = np.where(last, pool.add(['"}']), pool.add(['"}, {"role": "assistant", "content": "']))
    talk[:, 3] = np.where(last, empty, answers + chunk.history)
    talk[:, 4] = np.where(last, empty, pool.add(['"}, ']))
    presented = log.presented[rows]
    hands_back = np.flatnonzero(presented != NONE)  # in the last answer of the history
    talk[chunk.offsets[1:][hands_back] - 2, 4] = pool.add(
        cat(_SIGNED, names.signature(presented[hands_back]), '"}]}, ')
    ) + np.arange(len(hands_back))
    said = answers + chunk.history[chunk.offsets[1:] - 1]
    ends = np.where(failed, empty, pool.add(['"}}]}, "error_str": null}\n']))
    minted = np.flatnonzero(log.minted[rows])
    ends[minted] = pool.add(
        cat(_SIGNED, names.signature(rows[minted]), '"}]}}]}, "error_str": null}\n')
    ) + np.arange(len(minted))
    after = [
        column(
            [
                *(
                    '], "response": {"object": "chat.completion", "choices": [{"index": 0, "finish_reason": "'
                    + finish
                    + '", "message": {"role": "assistant", "content": "'
                    for finish in ("stop", "content_filter")
                ),
                '], "response": {}, "error_str": "upstream error"}\n',
            ],
            np.where(failed, 2, log.refused[rows].astype(int)),
        ),
        np.where(failed, empty, said),
        ends,
    ]
    length = len(before) + 5 * turn + len(after)
    start = np.cumsum(length) - length
    index = np.empty(int(length.sum()), np.int64)
    for i, pieces in enumerate(before):
        index[start + i] = pieces
    at = np.repeat(start + len(before), turn) + 5 * (
        np.arange(len(last)) - np.repeat(chunk.offsets[:-1], turn)
    )
    index[(at[:, None] + np.arange(5)).ravel()] = talk.ravel()
    for i, pieces in enumerate(after):
        index[start + len(before) + 5 * turn + i] = pieces
    return gather(pa.concat_arrays(pool.parts), index)[0]


def _escape(values: pa.LargeStringArray) -> pa.LargeStringArray:
    """JSON escapes; other control characters do not occur (see `lab.texts`)."""
    for raw, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n")):
        values = pc.replace_substring(values, raw, escaped)
    return values


def _decimal(micros: np.ndarray) -> pa.LargeStringArray:
    """Seconds with six decimals, exactly."""
    whole = text(pa.array(micros // 1_000_000))
    part = pc.utf8_lpad(text(pa.array(micros % 1_000_000)), 6, "0")
    return cat(whole, ".", part)


def _gzip(path: Path, mode: str, data: np.ndarray) -> None:
    # No name and no time in the header: the same log gives the same bytes.
    with path.open(mode) as raw, gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0) as zipped:
        zipped.write(memoryview(data))
