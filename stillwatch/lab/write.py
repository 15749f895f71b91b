"""Writes a composed log as canonical Parquet, its account and action tables, and the truth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from stillwatch.engine.schema import RAW
from stillwatch.lab.compose import Chunk, Log, chunks
from stillwatch.lab.gather import joined
from stillwatch.lab.names import Names, labels, named, prefixes
from stillwatch.lab.people import AGENTS, CARDS, EMAILS, EXEMPTIONS, MODELS, PLANS, VERIFICATION
from stillwatch.lab.world import NONE, START


def write_parquet(log: Log, names: Names, out: Path, progress: Callable[[int], None]) -> list[Path]:
    """Canonical Parquet, one file: the columns of `engine.schema.RAW` that a log of this kind has."""
    path = out / "log.parquet"
    done = 0
    with pq.ParquetWriter(path, RAW, compression="zstd", compression_level=1) as writer:
        for chunk in chunks(log):
            n = len(chunk.rows)
            have = _canonical(log, names, chunk)
            have["source_line"] = pa.array(np.arange(done + 1, done + n + 1))
            columns = [have[f.name].cast(f.type) if f.name in have else pa.nulls(n, f.type) for f in RAW]
            writer.write_table(pa.Table.from_arrays(columns, schema=RAW))
            done += n
            progress(done)
    return [path]


def write_accounts(log: Log, names: Names, out: Path) -> Path:
    """accounts.csv with the columns of `engine.schema.ACCOUNTS` and real-looking values, in no order."""
    a = log.accounts
    n = len(a["created"])
    shuffled = log.world.rng("order of accounts").permutation(n)
    contract = a["contract"]
    table = pa.table(
        {
            "account_id": names.account,
            "organization_id": names.organization,
            "created_at": pc.strftime(pa.array(a["created"]).cast(pa.timestamp("s")), "%Y-%m-%dT%H:%M:%SZ"),
            "plan": labels(PLANS, a["plan"]),
            "payment_token": named(log.world, "payment", a["payment"], "pm_"),
            "card_type": labels(CARDS, a["card"]),
            "email_class": labels(EMAILS, a["email"]),
            "device_token": named(log.world, "device", a["device"], "dev_"),
            "signup_prefix": prefixes(log.world, a["signup_prefix"]),
            "verification_level": labels(VERIFICATION, a["verification"]),
            "contract_volume": pa.array(contract, mask=contract == 0),
            "exemption": labels(tuple(kind for kind, _ in EXEMPTIONS), a["exempt"]),
            "exemption_reason": labels(tuple(reason for _, reason in EXEMPTIONS), a["exempt"]),
        }
    )
    path = out / "accounts.csv"
    pa.csv.write_csv(table.take(pa.array(shuffled)), path)
    return path


def write_actions(log: Log, names: Names, out: Path) -> Path:
    """actions.csv: a few limits and checks, on anybody, and who was suspended."""
    rng = log.world.rng("actions")
    n = len(log.accounts["created"])
    targets = np.sort(rng.choice(n, max(1, n // 200), replace=False))
    rng.shuffle(targets)
    at = START + (rng.random(len(targets)) * log.world.seconds).astype(np.int64)
    order = np.argsort(at)
    targets, at = targets[order], at[order]
    which = rng.choice(3, len(targets), p=[0.6, 0.3, 0.1])
    lifted = np.where(rng.random(len(targets)) < 0.3, at + 86400.0, np.inf)
    rungs = np.array(["lower burst", "step-up verification", "quota"], object)[which]
    reasons = np.array(["burst above plan", "payment check", "unpaid invoice"], object)[which]
    if done := log.world.actions:
        account, seconds, until, rung, reason = (np.array(c) for c in zip(*done, strict=True))
        targets, at = np.r_[targets, account], np.r_[at, START + seconds.astype(np.int64)]
        lifted = np.r_[lifted, START + until]
        rungs, reasons = np.r_[rungs, rung], np.r_[reasons, reason]
    order = np.argsort(at, kind="stable")
    targets, at, lifted, rungs, reasons = (x[order] for x in (targets, at, lifted, rungs, reasons))
    undone = np.isfinite(lifted)
    stamp = "%Y-%m-%dT%H:%M:%SZ"

    def when(seconds: np.ndarray, missing: np.ndarray | None = None) -> pa.Array:
        return pc.strftime(pa.array(seconds, mask=missing).cast(pa.timestamp("s")), stamp)

    table = pa.table(
        {
            "account_id": names.account.take(pa.array(targets)),
            "time": when(at),
            "rung": pa.array(rungs, pa.string()),
            "reason": pa.array(reasons, pa.string()),
            "expires_at": when(at + np.where(rungs == "suspend", 90, 7) * 86400),
            "reversed_at": when(np.where(undone, lifted, 0).astype(np.int64), ~undone),
        }
    )
    path = out / "actions.csv"
    pa.csv.write_csv(table, path)
    return path


def write_truth(log: Log, names: Names, out: Path) -> Path:
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
            "account": names.account.cast(pa.string()),
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


def _canonical(log: Log, names: Names, chunk: Chunk) -> dict[str, pa.Array]:
    r = {c: log.rows[c][chunk.rows] for c in ("account", "time", "turn")}
    who = r["account"]
    temperature, cap = (log.accounts[c][who] for c in ("temperature", "max_tokens"))
    failed = log.failed[chunk.rows]
    at = pa.array(who)
    refused = log.refused[chunk.rows]
    choices = log.choices[who].astype(np.int64)
    model = labels(MODELS, log.model[chunk.rows])
    # All user texts of a request, oldest first: text, line feed, text, ..., text.
    gap = len(chunk.units)
    pieces = np.full(2 * len(chunk.history), gap)
    pieces[::2] = chunk.history
    pieces = np.delete(pieces, 2 * chunk.offsets[1:] - 1)
    prompts = joined(
        pa.concat_arrays([chunk.units, pa.array(["\n"], pa.large_string())]),
        pieces,
        2 * np.diff(chunk.offsets) - 1,
    )
    used, place = np.unique(chunk.system, return_inverse=True)
    place = place - int((used < 0).sum())
    systems = names.constants(used[used >= 0])
    return {
        "record_id": names.record(chunk),
        "time": pa.array(r["time"]),
        "account": names.account.take(at),
        "credential": names.credential.take(pa.array(names.key(chunk.rows))),
        "organization": names.organization.take(at),
        "conversation": names.trace(chunk),
        "client_address": names.address(chunk),
        "client_agent": labels(AGENTS, log.agent[chunk.rows]),
        "operation": pa.repeat(pa.scalar("chat"), len(who)),
        "request_model": model,
        "response_model": model,
        "temperature": pa.array(np.round(temperature.astype(np.float64), 2), mask=np.isnan(temperature)),
        "max_tokens": pa.array(cap.astype(np.int64), mask=cap == 0),
        "n_choices": pa.array(choices, mask=choices == 0),
        "logprobs": pa.array(log.logprobs[who], mask=~log.logprobs[who]),
        "input_tokens": pa.array(names.input_tokens(chunk)),
        "output_tokens": pa.array(log.tokens[chunk.rows]),
        "finish_reason": pa.array(
            np.where(failed, None, np.where(refused, "content_filter", "stop")), pa.string()
        ),
        "refused": pa.array(refused),
        "reasoning_visible": pa.array(np.zeros(len(who), bool)),
        "signatures_minted": _lists(names, np.where(log.minted[chunk.rows], chunk.rows, NONE)),
        "signatures_presented": _lists(names, log.presented[chunk.rows]),
        "status_code": pa.array(np.where(failed, 500, 200)),
        "system": systems.take(pa.array(np.maximum(place, 0), mask=place < 0)),
        "prompt": prompts,
        "opening": chunk.units.take(pa.array(chunk.history[chunk.offsets[:-1]])),
        "turns": pa.array(r["turn"].astype(np.int64)),
        "latency_ms": pa.array(np.round(log.latency[chunk.rows] * 1000)),
    }


def _lists(names: Names, rows: np.ndarray) -> pa.Array:
    """One signature or none for each of `rows`."""
    here = rows != NONE
    ends = np.concatenate([[0], np.cumsum(here)]).astype(np.int32)
    signatures = names.signature(rows[here]).cast(pa.string())
    return pa.ListArray.from_arrays(pa.array(ends), signatures, mask=pa.array(~here))
