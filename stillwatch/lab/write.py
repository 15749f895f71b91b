"""Writes a composed log: LiteLLM payloads, canonical Parquet, the account and action tables, the truth."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from stillwatch.engine.schema import RAW
from stillwatch.lab.compose import Chunk, Log, chunks, identifier
from stillwatch.lab.people import AGENTS, CARDS, EMAILS, MODELS, PLANS, VERIFICATION
from stillwatch.lab.texts import mix
from stillwatch.lab.world import NONE, START

_PREFIXES = 1 << 20


def write_parquet(log: Log, out: Path, progress: Callable[[int], None]) -> list[Path]:
    """Canonical Parquet, one file: the columns of `engine.schema.RAW` that a log of this kind has."""
    path = out / "log.parquet"
    done = 0
    with pq.ParquetWriter(path, RAW, compression="zstd", compression_level=1) as writer:
        for chunk in chunks(log):
            n = len(chunk.rows)
            have = _canonical(log, chunk)
            have["prompt"] = _join(_history(chunk), chunk.offsets, "\n")
            have["source_line"] = pa.array(np.arange(done + 1, done + n + 1))
            columns = [have[f.name].cast(f.type) if f.name in have else pa.nulls(n, f.type) for f in RAW]
            writer.write_table(pa.Table.from_arrays(columns, schema=RAW))
            done += n
            progress(done)
    return [path]


def write_litellm(log: Log, out: Path, progress: Callable[[int], None]) -> list[Path]:
    """LiteLLM StandardLoggingPayload, one object a line, one gzip file a day. The same log gives the same bytes."""
    paths: list[Path] = []
    pending: list[Future[None]] = []
    done = 0
    # zlib lets go of the interpreter, so a day is compressed while the next one is rendered.
    with ThreadPoolExecutor(1) as pool:
        for chunk in chunks(log):
            day = datetime.fromtimestamp(int(log.rows["time"][chunk.rows[0]]) // 1_000_000, UTC)
            path = out / f"log-{day:%Y-%m-%d}.jsonl.gz"
            mode = "ab" if path in paths else "wb"
            if path not in paths:
                paths.append(path)
            pending.append(pool.submit(_gzip, path, mode, _payloads(log, chunk)))
            done += len(chunk.rows)
            progress(done)
            while len(pending) > 2:
                pending.pop(0).result()
        for job in pending:
            job.result()
    return paths


def write_accounts(log: Log, out: Path) -> Path:
    """accounts.csv with the columns of `engine.schema.ACCOUNTS` and real-looking values, in no order."""
    a = log.accounts
    n = len(a["created"])
    shuffled = log.world.rng("order of accounts").permutation(n)
    contract = a["contract"]
    table = pa.table(
        {
            "account_id": _account(log, np.arange(n)),
            "organization_id": _named(log, "organization", a["organization"], "org_"),
            "created_at": pc.strftime(pa.array(a["created"]).cast(pa.timestamp("s")), "%Y-%m-%dT%H:%M:%SZ"),
            "plan": _labels(PLANS, a["plan"]),
            "payment_token": _named(log, "payment", a["payment"], "pm_"),
            "card_type": _labels(CARDS, a["card"]),
            "email_class": _labels(EMAILS, a["email"]),
            "device_token": _named(log, "device", a["device"], "dev_"),
            "signup_prefix": _prefix(log, a["signup_prefix"]),
            "verification_level": _labels(VERIFICATION, a["verification"]),
            "contract_volume": pa.array(contract, mask=contract == 0),
            "exemption": pa.array(np.where(a["exempt"], "research", ""), mask=~a["exempt"]),
            "exemption_reason": pa.array(
                np.where(a["exempt"], "safety evaluation, agreed in writing", ""), mask=~a["exempt"]
            ),
        }
    )
    path = out / "accounts.csv"
    pa.csv.write_csv(table.take(pa.array(shuffled)), path)
    return path


def write_actions(log: Log, out: Path) -> Path:
    """actions.csv: a few limits and checks, on anybody."""
    rng = log.world.rng("actions")
    n = len(log.accounts["created"])
    targets = np.sort(rng.choice(n, max(1, n // 200), replace=False))
    rng.shuffle(targets)
    at = START + (rng.random(len(targets)) * log.world.seconds).astype(np.int64)
    order = np.argsort(at)
    targets, at = targets[order], at[order]
    rung = rng.choice(3, len(targets), p=[0.6, 0.3, 0.1])
    undone = rng.random(len(targets)) < 0.3
    stamp = "%Y-%m-%dT%H:%M:%SZ"

    def when(seconds: np.ndarray, missing: np.ndarray | None = None) -> pa.Array:
        return pc.strftime(pa.array(seconds, mask=missing).cast(pa.timestamp("s")), stamp)

    table = pa.table(
        {
            "account_id": _account(log, targets),
            "time": when(at),
            "rung": _labels(("lower burst", "step-up verification", "quota"), rung),
            "reason": _labels(("burst above plan", "payment check", "unpaid invoice"), rung),
            "expires_at": when(at + 7 * 86400),
            "reversed_at": when(at + 86400, ~undone),
        }
    )
    path = out / "actions.csv"
    pa.csv.write_csv(table, path)
    return path


def write_truth(log: Log, out: Path) -> Path:
    """truth.parquet: account, role, campaign, group, and the share of its exchanges that belong to the campaign."""
    n = len(log.accounts["created"])
    who = log.rows["account"]
    exchanges = np.bincount(who, minlength=n)
    own = np.bincount(who[log.rows["campaign"]], minlength=n)
    counts = [c for c, *_ in log.world.roles]

    def column(i: int) -> np.ndarray:
        return np.repeat(np.array([r[i] for r in log.world.roles], object), counts)

    campaign, group = column(2), column(3)
    table = pa.table(
        {
            "account": _account(log, np.arange(n)),
            "role": pa.array(column(1), pa.string()),
            "campaign": pa.array(campaign, pa.string(), mask=campaign == ""),
            "group": pa.array(group, pa.string(), mask=group == ""),
            "exchanges": exchanges,
            "share": own / np.maximum(exchanges, 1),
        }
    )
    path = out / "truth.parquet"
    pq.write_table(table.sort_by("account"), path)
    return path


def _canonical(log: Log, chunk: Chunk) -> dict[str, pa.Array]:
    r = {c: v[chunk.rows] for c, v in log.rows.items()}
    who = r["account"]
    a = log.accounts
    n = len(who)
    system, units = chunk.system, chunk.units
    length = pc.add(_sums(pc.binary_length(units), chunk), pc.fill_null(pc.binary_length(system), 0))
    temperature, cap = a["temperature"][who].astype(np.float64), a["max_tokens"][who]
    address = _prefix(
        log, r["prefix"], host=mix(r["prefix"].astype(np.uint64) * np.uint64(1 << 32) + who.astype(np.uint64))
    )
    failed = log.failed[chunk.rows]
    session = identifier(log.world, "conversation", r["conversation"], 2)
    return {
        "record_id": pc.binary_join_element_wise(
            "chatcmpl-", identifier(log.world, "record", chunk.rows, 2), ""
        ),
        "time": pa.array(r["time"]),
        "account": _account(log, who),
        "credential": identifier(log.world, "credential", who, 4),
        "organization": _named(log, "organization", a["organization"][who], "org_"),
        # A gateway gives every call a trace; calls of one session share it.
        "conversation": pc.coalesce(session, identifier(log.world, "trace", chunk.rows, 2)),
        "client_address": address,
        "client_agent": _labels(AGENTS, log.agent[chunk.rows]),
        "operation": pa.array(np.full(n, "chat", object), pa.string()),
        "request_model": _labels(MODELS, log.model[chunk.rows]),
        "response_model": _labels(MODELS, log.model[chunk.rows]),
        "temperature": pa.array(np.round(temperature, 2), mask=np.isnan(temperature)),
        "max_tokens": pa.array(cap.astype(np.int64), mask=cap == 0),
        "input_tokens": pc.add(pc.cast(pc.divide(length, 4), pa.int64()), 7),
        "output_tokens": pa.array(log.tokens[chunk.rows]),
        "finish_reason": pa.array(np.where(failed, None, "stop"), pa.string()),
        "status_code": pa.array(np.where(failed, 500, 200)),
        "system": system,
        "turns": pa.array(r["turn"].astype(np.int64)),
        "latency_ms": pa.array(np.round(log.latency[chunk.rows] * 1000)),
    }


def _payloads(log: Log, chunk: Chunk) -> pa.LargeStringArray:
    """The lines of one chunk, each ending in a line feed."""
    have = _canonical(log, chunk)
    start, latency = log.rows["time"][chunk.rows], log.latency[chunk.rows]
    end = start + (latency * 1e6).astype(np.int64)
    failed = log.failed[chunk.rows]
    session = identifier(log.world, "conversation", log.rows["conversation"][chunk.rows], 2)
    total = pc.add(have["input_tokens"], have["output_tokens"])
    answer = _escape(chunk.answers).take(pa.array(chunk.history[chunk.offsets[1:] - 1]))
    parameters = _join_present(
        [
            (', "temperature": ', have["temperature"].cast(pa.string())),
            (', "max_tokens": ', have["max_tokens"].cast(pa.string())),
        ]
    )
    status = pa.array(np.where(failed, '"failure"', '"success"'), pa.large_string())
    content = pc.if_else(
        pa.array(failed),
        pa.scalar("{}", pa.large_string()),
        _cat(
            '{"object": "chat.completion", "choices": [{"index": 0, "finish_reason": "stop", "message": '
            '{"role": "assistant", "content": "',
            answer,
            '"}}]}',
        ),
    )
    return _cat(
        '{"id": "', have["record_id"],
        '", "trace_id": "', have["conversation"],
        '", "session_id": ', _quoted(session),
        ', "call_type": "acompletion", "stream": false, "status": ', status,
        ', "custom_llm_provider": "openai", "model": "', have["request_model"],
        '", "model_group": "', have["request_model"],
        '", "startTime": ', _decimal(start), ', "endTime": ', _decimal(end), ', "completionStartTime": ', _decimal(end),
        ', "response_time": ', pa.array(latency).cast(pa.string()),
        ', "total_tokens": ', total.cast(pa.string()),
        ', "prompt_tokens": ', have["input_tokens"].cast(pa.string()),
        ', "completion_tokens": ', have["output_tokens"].cast(pa.string()),
        ', "cache_hit": null, "request_tags": [], "end_user": "", "requester_ip_address": "', have["client_address"],
        '", "user_agent": "', have["client_agent"],
        '", "metadata": {"user_api_key_hash": "', have["credential"],
        '", "user_api_key_alias": null, "user_api_key_user_id": "', have["account"],
        '", "user_api_key_org_id": ', _quoted(have["organization"]),
        ', "user_api_key_team_id": null, "requester_ip_address": "', have["client_address"],
        '"}, "model_parameters": {"stream": false', parameters,
        '}, "messages": ', _messages(chunk),
        ', "response": ', content,
        ', "error_str": ', pa.array(np.where(failed, '"upstream error"', "null"), pa.large_string()),
        "}\n",
    )  # fmt: skip


def _messages(chunk: Chunk) -> pa.LargeStringArray:
    """[{"role": "system", ...}, {"role": "user", ...}, {"role": "assistant", ...}, ..., {"role": "user", ...}]"""
    user = _cat('{"role": "user", "content": "', _escape(chunk.units), '"}')
    both = _cat(user, ', {"role": "assistant", "content": "', _escape(chunk.answers), '"}')
    last = np.zeros(len(chunk.history), bool)
    last[chunk.offsets[1:] - 1] = True
    # The pool holds every message alone and every message with its answer.
    pool = pa.concat_arrays([user, both])
    said = pool.take(pa.array(np.where(last, chunk.history, chunk.history + len(user))))
    turns = _join(said, chunk.offsets, ", ")
    system = pc.if_else(
        chunk.system.is_null(),
        pa.scalar("", pa.large_string()),
        _cat('{"role": "system", "content": "', pc.fill_null(_escape(chunk.system), ""), '"}, '),
    )
    return _cat("[", system, turns, "]")


def _history(chunk: Chunk) -> pa.LargeStringArray:
    return chunk.units.take(pa.array(chunk.history))


def _join(parts: pa.Array, offsets: np.ndarray, separator: str) -> pa.LargeStringArray:
    return pc.binary_join(
        pa.LargeListArray.from_arrays(pa.array(offsets), parts), pa.scalar(separator, pa.large_string())
    )


def _sums(lengths: pa.Array, chunk: Chunk) -> pa.Array:
    values = lengths.to_numpy(zero_copy_only=False)[chunk.history]
    return pa.array(np.add.reduceat(values, chunk.offsets[:-1]))


def _cat(*parts: str | pa.Array) -> pa.LargeStringArray:
    big = pa.large_string()
    return pc.binary_join_element_wise(
        *(pa.scalar(p, big) if isinstance(p, str) else p.cast(big) for p in parts), pa.scalar("", big)
    )


def _join_present(pairs: list[tuple[str, pa.Array]]) -> pa.LargeStringArray:
    return _cat(*(pc.fill_null(_cat(name, values), "") for name, values in pairs))


def _quoted(values: pa.Array) -> pa.LargeStringArray:
    return pc.fill_null(_cat('"', values, '"'), "null")


def _escape(values: pa.LargeStringArray) -> pa.LargeStringArray:
    """JSON escapes; other control characters do not occur (see `Texts.vary`)."""
    for raw, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n")):
        values = pc.replace_substring(values, raw, escaped)
    return values


def _decimal(micros: np.ndarray) -> pa.LargeStringArray:
    whole = pa.array(micros // 1_000_000).cast(pa.large_string())
    part = pc.utf8_lpad(pa.array(micros % 1_000_000).cast(pa.large_string()), 6, "0")
    return _cat(whole, ".", part)


def _gzip(path: Path, mode: str, lines: pa.LargeStringArray) -> None:
    offsets = np.frombuffer(lines.buffers()[1], np.int64)
    first, last = offsets[lines.offset], offsets[lines.offset + len(lines)]
    data = memoryview(lines.buffers()[2])[int(first) : int(last)]
    # No name and no time in the header: the same log gives the same bytes.
    with path.open(mode) as raw, gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0) as zipped:
        zipped.write(data)


def _account(log: Log, index: np.ndarray) -> pa.Array:
    return _named(log, "account", index, "user_")


def _named(log: Log, kind: str, index: np.ndarray, prefix: str) -> pa.Array:
    return pc.binary_join_element_wise(prefix, identifier(log.world, kind, index), "")


def _labels(names: tuple[str, ...], codes: np.ndarray) -> pa.Array:
    codes = codes.astype(np.int64)
    return pa.array(names, pa.string()).take(pa.array(np.maximum(codes, 0), mask=codes == NONE))


def _prefix(log: Log, index: np.ndarray, host: np.ndarray | None = None) -> pa.Array:
    """Prefixes as text (or addresses in them), scattered so that neither neighbours nor kinds can be told.

    240.0.0.0/4 is reserved and 2001:db8::/32 is for documentation: no composed row names anybody's network.
    """
    shift = int(log.world.rng("prefixes").integers(_PREFIXES))
    v = (index.astype(np.int64) * 735_229 + shift) % _PREFIXES  # odd: a permutation of 2**20 values
    six = (v < 60_000).tolist()
    if host is None:
        four = [f"{240 + (x >> 16)}.{x >> 8 & 255}.{x & 255}.0/24" for x in v.tolist()]
        return pa.array(
            [f"2001:db8:{x:x}::/48" if s else t for s, x, t in zip(six, v.tolist(), four, strict=True)]
        )
    used, place = np.unique(v, return_inverse=True)
    stems = pa.array(
        [
            f"2001:db8:{x:x}::" if x < 60_000 else f"{240 + (x >> 16)}.{x >> 8 & 255}.{x & 255}."
            for x in used.tolist()
        ]
    )
    return pc.binary_join_element_wise(
        stems.take(pa.array(place)), pa.array(host % 254 + 1).cast(pa.string()), ""
    )
