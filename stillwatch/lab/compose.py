"""From a filled world to a log in time order, and its text chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stillwatch.lab import habits
from stillwatch.lab.people import SIGNING
from stillwatch.lab.texts import mix
from stillwatch.lab.world import ACCOUNT_COLUMNS, ROW_COLUMNS, START, World

CHUNK = 50_000
"""Rows whose text is in memory at once."""


@dataclass(slots=True)
class Log:
    """All requests of a world in time order; text is still a name (see `stillwatch.lab.texts`)."""

    world: World
    accounts: dict[str, np.ndarray]
    rows: dict[str, np.ndarray]
    """In the order in which they were added; sessions are contiguous."""
    order: np.ndarray
    """Row indices by time."""
    latency: np.ndarray
    """Seconds, by row."""
    tokens: np.ndarray
    """Output tokens, by row."""
    failed: np.ndarray
    refused: np.ndarray
    agent: np.ndarray
    model: np.ndarray
    key: np.ndarray
    """Which of its account's credentials, by row."""
    minted: np.ndarray
    """Whether the answer carries a reasoning signature, by row."""
    presented: np.ndarray
    """The row whose signature a request hands back, `NONE` without one."""
    choices: np.ndarray
    """Answers asked for at once, by account; 0 where nothing is said."""
    logprobs: np.ndarray
    keys: np.ndarray
    """Credentials, by account."""


@dataclass(slots=True)
class Chunk:
    """Some consecutive rows of the log with their text.

    Message `m` of row `i` is ``units[history[offsets[i] + m]]``; the answer to it is ``answers`` at the same place.
    """

    rows: np.ndarray
    system: np.ndarray
    """Constant text of the system prompt, negative without one."""
    units: pa.LargeStringArray
    answers: pa.LargeStringArray
    history: np.ndarray
    offsets: np.ndarray


def compose(world: World) -> Log:
    """Order a world's requests by time and draw what is the same for everybody: lengths, failures, second clients."""
    accounts = {c: np.concatenate([a[c] for a in world.accounts]) for c in ACCOUNT_COLUMNS}
    rows = {c: np.concatenate([r[c] for r in world.rows]) for c in ROW_COLUMNS}
    world.rows.clear()
    habits.suspend(world, accounts, rows)
    choices, logprobs, keys = habits.parameters(world, accounts)
    habits.forget_sessions(world, accounts, rows)
    rng = world.rng("rows")
    n = len(rows["time"])
    who = rows["account"]
    tokens = np.maximum(1, rows["output"] * rng.lognormal(0, 0.7, n)).astype(np.int32)
    cap = accounts["max_tokens"][who]
    tokens = np.where((cap > 0) & (tokens > cap), cap, tokens)
    failed = rng.random(n) < 0.008
    tokens[failed] = 0
    latency = np.round(rng.lognormal(np.log(0.4), 0.4, n) + tokens * 0.011 * rng.lognormal(0, 0.2, n), 3)
    other_agent, other_model = rng.integers(12, size=n), rng.integers(4, size=n)
    agent = np.where(rng.random(n) < 0.04, other_agent, accounts["agent"][who]).astype(np.int8)
    usual = habits.models(world, accounts, rows)
    model = np.where(rng.random(n) < 0.08, other_model, usual).astype(np.int8)
    refused = ~failed & habits.refused(world, accounts, who)
    tokens[refused] = np.minimum(tokens[refused], 40)
    tokens *= np.where(refused, 1, np.maximum(choices[who], 1)).astype(np.int32)
    minted, presented = habits.signatures(rows, np.isin(model, SIGNING) & ~failed & ~refused)
    order = np.lexsort((mix(rows["seed"]), rows["time"]))
    return Log(
        world, accounts, rows, order, latency, tokens, failed, refused, agent, model,
        (mix(rows["seed"] ^ np.uint64(0x6B6579)) % keys[who].astype(np.uint64)).astype(np.int64),
        minted, presented, choices, logprobs, keys,
    )  # fmt: skip


def chunks(log: Log) -> Iterator[Chunk]:
    """The log's text, at most `CHUNK` rows at a time and never two days in one chunk."""
    day = (log.rows["time"][log.order] // 1_000_000 - START) // 86400
    starts = np.flatnonzero(np.diff(day, prepend=-1))
    edges = sorted(
        {
            int(e)
            for a, b in zip(starts, [*starts[1:], len(day)], strict=True)
            for e in (*range(a, b, CHUNK), b)
        }
    )
    for a, b in pairwise(edges):
        yield _chunk(log, log.order[a:b])


def _chunk(log: Log, rows: np.ndarray) -> Chunk:
    turn = log.rows["turn"][rows].astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(turn)])
    history = np.repeat(rows - turn + 1, turn) + (np.arange(offsets[-1]) - np.repeat(offsets[:-1], turn))
    needed, place = np.unique(history, return_inverse=True)
    r = {c: log.rows[c][needed] for c in ("head", "tail", "lo", "span", "k", "seed")}
    texts = log.world.prompts.texts
    body = texts.render(r["lo"], r["span"], r["k"], r["seed"])
    units = pc.binary_join_element_wise(
        _constants(log, r["head"]),
        body,
        _constants(log, r["tail"]),
        pa.scalar("\n\n", pa.large_string()),
        null_handling="skip",
    )
    said = log.world.prompts["document"]
    n = len(needed)
    answers = texts.render(
        np.full(n, said.lo), np.full(n, said.span), np.ones(n, np.int64), mix(r["seed"]) | np.uint64(1)
    )
    return Chunk(rows, log.rows["system"][rows], units, answers, place, offsets)


def _constants(log: Log, index: np.ndarray) -> pa.LargeStringArray:
    """Constant texts by index, each rendered once; null where the index is negative."""
    named = log.world.constant_table()
    used, place = np.unique(index, return_inverse=True)
    real = used >= 0
    block = named[used[real]]
    texts = log.world.prompts.texts.render(*(block[:, i].astype(np.int64) for i in range(3)), block[:, 3])
    place = place - int((~real).sum())
    return texts.take(pa.array(np.where(place < 0, 0, place), mask=place < 0))
