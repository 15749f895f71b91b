"""What was taken: how much, of which models and kinds, how many tasks, since when, and how that moved.

Everything is counted over ``belonging`` (see `stillwatch.campaigns.belonging`), for groups that are shown only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from stillwatch.engine.duckdb import Engine
from stillwatch.text.elicitation import ELICITATION

KINDS = {
    "articulated_reasoning": "reasoning",
    "rubric_grading": "grading",
    "censorship_safe_rewriting": "rewriting",
    "translation_laundering": "translated reasoning",
    "addressed_to_classifier": "text addressed to classifiers",
}
"""Elicitation flag -> what it takes, in a reader's words."""
MOVED, STAYED = 0.5, 0.25
"""A group moved to a model on the day when this share of its exchanges, and less than `STAYED` the active day before,
went to it."""
JOINED = 0.2
"""Accounts that join, or leave, on one day are told of when they are this share of the group and at least five."""
LEFT_DAYS = 2
"""An account has left when its last exchange is this many days before the group's."""
SAMPLE = 3000
"""Exchanges of a group that are compared for families of tasks."""
COMMON = 0.35
"""A MinHash value that this share of the exchanges has is the wrapper's and says nothing of the task; a family that
makes up more is taken for wrapper, too. What is rarer makes two tasks equal in 0.35^2 of the positions by chance."""
LEFT_POSITIONS = 8
"""MinHash positions that must be left, of 32, before two tasks are compared."""
ALIKE = 0.5
"""Share of them that must be equal."""
FAMILY = 0.02
"""Families with this share of the sample, and of at least five exchanges, are listed."""
LISTED = 6

ReadTexts = Callable[[Sequence[int]], Mapping[int, str]]

_FLAGS = ", ".join(
    f"count(case when (b.elicitation & {bit}) > 0 then 1 end) as {flag}, "
    f"count(distinct case when (b.elicitation & {bit}) > 0 then b.account_id end) as {flag}_accounts"
    for flag, bit in ELICITATION.items()
)
_TOTALS = f"""
select b.campaign as campaign, count(*) as exchanges, count(distinct b.account_id) as accounts,
       sum(b.output_tokens) as output_tokens, sum(b.input_tokens) as input_tokens,
       sum(b.reasoning_tokens) as reasoning_tokens, count(b.output_tokens) as counted,
       count(distinct case when not b.follow_up then b.prompt_digest end) as tasks,
       count(case when not b.follow_up then b.prompt_digest end) as asked,
       count(case when b.follow_up then 1 end) as follow_ups,
       count(case when b.carried_in then 1 end) as carried_in,
       count(case when b.refused then 1 end) as refused,
       count(b.tool_schema_digest) as tool_traces,
       count(distinct case when b.tool_schema_digest is not null then b.account_id end) as tool_traces_accounts,
       count(case when coalesce(b.elicitation, 0) = 0 and b.tool_schema_digest is null then 1 end) as answers,
       count(distinct case when coalesce(b.elicitation, 0) = 0 and b.tool_schema_digest is null then b.account_id end)
           as answers_accounts, {_FLAGS}
from belonging as b
group by b.campaign"""
_SEVERAL = """
select t.campaign as campaign, count(case when t.accounts > 1 then 1 end) as several
from (
    select b.campaign as campaign, b.prompt_digest as prompt_digest, count(distinct b.account_id) as accounts
    from belonging as b
    where b.prompt_digest is not null and not b.follow_up
    group by b.campaign, b.prompt_digest
) as t
group by t.campaign"""
_MODELS = """
select b.campaign as campaign, b.day as day, coalesce(b.model, '') as model, count(*) as n,
       coalesce(sum(b.output_tokens), 0) as tokens
from belonging as b
group by 1, 2, 3
order by 1, 2, 3"""
_MODEL_ACCOUNTS = """
select b.campaign as campaign, coalesce(b.model, '') as model, count(distinct b.account_id) as accounts
from belonging as b
group by 1, 2"""
_PREFIXES = """
select b.campaign as campaign, b.day as day, count(*) as n,
       count(case when b.day > f.first then null else 1 end) as fresh
from belonging as b
join (
    select c.campaign as campaign, c.client_prefix as client_prefix, min(c.day) as first
    from belonging as c
    where c.client_prefix is not null
    group by c.campaign, c.client_prefix
) as f on f.campaign = b.campaign and f.client_prefix = b.client_prefix
group by 1, 2
order by 1, 2"""
_SPANS = """
select b.campaign as campaign, b.account_id as account, min(b.day) as first, max(b.day) as last
from belonging as b
group by 1, 2
order by 1, 2"""


def read_taken(
    engine: Engine,
    numbers: Sequence[int],
    material: Sequence[NDArray[np.int64]],
    read_texts: ReadTexts | None,
) -> list[dict[str, Any]]:
    """What each of these groups took, as JSON values.

    Parameters
    ----------
    numbers
        Of the groups in ``belonging``.
    material
        Shingles of each group's own text, which name no family of tasks.
    read_texts
        Gives kept text; None: families have no names.

    Returns
    -------
    list of dict
        exchanges, accounts, output_tokens, input_tokens, reasoning_tokens (null where the log has none), tasks
        (distinct prompts), asked, asked_by_several, follow_ups, carried_in
        (conversations whose beginning was nowhere here), refused, kinds (name -> exchanges),
        kind_accounts (name -> accounts), models, moves (day and sentence), pauses, families (tasks that are much
        alike).
    """
    totals = _by_campaign(engine, _TOTALS)
    several, models = _by_campaign(engine, _SEVERAL), _by_campaign(engine, _MODELS)
    users = _by_campaign(engine, _MODEL_ACCOUNTS)
    prefixes, spans = _by_campaign(engine, _PREFIXES), _by_campaign(engine, _SPANS)
    found = []
    for i, shingles in zip(numbers, material, strict=True):
        if not totals[i]:
            found.append({})
            continue
        whole = totals[i][0]
        known = whole["counted"] > 0
        flags = {**KINDS, "tool_traces": "tool traces", "answers": "answers"}
        kinds = {words: whole[flag] for flag, words in flags.items() if whole[flag]}
        found.append(
            {
                "exchanges": whole["exchanges"],
                "accounts": whole["accounts"],
                "output_tokens": int(whole["output_tokens"]) if known else None,
                "input_tokens": None if whole["input_tokens"] is None else int(whole["input_tokens"]),
                "reasoning_tokens": None
                if whole["reasoning_tokens"] is None
                else int(whole["reasoning_tokens"]),
                "tasks": whole["tasks"] if whole["asked"] else None,
                "asked": whole["asked"],
                "asked_by_several": several[i][0]["several"] if several[i] else 0,
                "follow_ups": whole["follow_ups"],
                "carried_in": whole["carried_in"],
                "refused": whole["refused"],
                "kinds": dict(sorted(kinds.items(), key=lambda item: (-item[1], item[0]))),
                "kind_accounts": {
                    words: whole[f"{flag}_accounts"] for flag, words in sorted(flags.items()) if whole[flag]
                },
                "models": _models(models[i], {r["model"]: r["accounts"] for r in users[i]}),
                "moves": _moves(models[i], prefixes[i], spans[i]),
                "pauses": _pauses(sorted({r["day"] for r in models[i]})),
                "families": _families(engine, i, shingles, read_texts),
            }
        )
    return found


def _by_campaign(engine: Engine, sql: str) -> defaultdict[int, list[dict[str, Any]]]:
    rows: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in engine.read(sql, "taken").to_pylist():
        rows[row["campaign"]].append(row)
    return rows


def _models(rows: Sequence[Mapping[str, Any]], accounts: Mapping[str, int]) -> list[dict[str, Any]]:
    """Models by exchanges, with accounts, tokens and the first and last day of each."""
    of: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        of[row["model"]].append(row)
    listed = [
        {
            "model": name or "not known",
            "accounts": accounts[name],
            "exchanges": sum(r["n"] for r in mine),
            "output_tokens": int(sum(r["tokens"] for r in mine)),
            "first": _iso(mine[0]["day"]),
            "last": _iso(mine[-1]["day"]),
        }
        for name, mine in of.items()
    ]
    return sorted(listed, key=lambda m: (-m["exchanges"], m["model"]))


def _moves(
    models: Sequence[Mapping[str, Any]],
    prefixes: Sequence[Mapping[str, Any]],
    spans: Sequence[Mapping[str, Any]],
) -> list[dict[str, str]]:
    """When the group changed its model, its addresses or its accounts, by day."""
    moves: list[tuple[int, str]] = []
    share: defaultdict[int, dict[str, float]] = defaultdict(dict)
    for row in models:
        share[row["day"]][row["model"]] = row["n"]
    days = sorted(share)
    for day in days:
        whole = sum(share[day].values())
        share[day] = {m: n / whole for m, n in share[day].items()}
    for before, day in pairwise(days):
        for model, now in share[day].items():
            if model and now >= MOVED and share[before].get(model, 0.0) < STAYED:
                moves.append(
                    (day, f"{now:.0%} of the exchanges go to {model}, {_part(share[before], model)} before")
                )
    fresh = [(r["day"], r["fresh"] / r["n"]) for r in prefixes[1:]]
    often = [(day, part) for day, part in fresh if part >= MOVED]
    if len(often) > max(1, len(fresh) // 2):
        moves.append(
            (often[0][0], f"on {len(often)} days most exchanges come from addresses new to the group")
        )
    else:
        moves += [(d, f"{p:.0%} of the exchanges come from addresses new to the group") for d, p in often]
    moves += _comings(spans)
    return [{"day": _iso(day), "what": what} for day, what in sorted(moves)]


def _part(shares: Mapping[str, float], model: str) -> str:
    return f"{shares[model]:.0%}" if model in shares else "none"


def _comings(spans: Sequence[Mapping[str, Any]]) -> list[tuple[int, str]]:
    """Days on which many accounts began, or sent their last."""
    first, last = (np.array([r[c] for r in spans], np.int64) for c in ("first", "last"))
    least = max(5, JOINED * len(spans))
    moves = []
    for day, n in zip(*np.unique(first, return_counts=True), strict=True):
        if n >= least and day > first.min():
            moves.append((int(day), f"{n} accounts join"))
    for day, n in zip(*np.unique(last, return_counts=True), strict=True):
        if n >= least and day <= last.max() - LEFT_DAYS:
            moves.append((int(day), f"{n} accounts send their last request"))
    return moves


def _pauses(days: Sequence[int]) -> list[dict[str, Any]]:
    """Whole days without an exchange between the first and the last."""
    return [
        {"first": _iso(a + 1), "last": _iso(b - 1), "days": b - a - 1} for a, b in pairwise(days) if b - a > 1
    ]


def _families(
    engine: Engine, campaign: int, material: NDArray[np.int64], read_texts: ReadTexts | None
) -> list[dict[str, Any]]:
    """Tasks that are much alike, by MinHash without what the wrapper gives, and the kept text they have in common."""
    rows = engine.read(
        "select x.exchange_id as exchange_id, x.minhash as minhash from exchanges as x join ("
        f"select b.exchange_id as exchange_id from belonging as b where b.campaign = {campaign} and not b.follow_up "
        f"order by 1 limit {SAMPLE}) as s on s.exchange_id = x.exchange_id where len(x.minhash) > 0 order by 1",
        "families",
    )
    if len(rows) < 5:
        return []
    width = len(rows["minhash"][0])
    signature = rows["minhash"].combine_chunks().flatten().to_numpy().reshape(-1, width)
    label = families(signature)
    sizes = np.bincount(label[label >= 0]) if (label >= 0).any() else np.empty(0, np.int64)
    listed = []
    ids = rows["exchange_id"].to_numpy()
    for code in np.argsort(-sizes, kind="stable")[:LISTED]:
        if sizes[code] < max(5, FAMILY * len(rows)):
            break
        listed.append(
            {
                "share": round(float(sizes[code] / len(rows)), 4),
                "text": _name(engine, ids[label == code], material, read_texts),
            }
        )
    return listed


def families(signature: NDArray[np.int32]) -> NDArray[np.int64]:
    """Which family each task belongs to, -1 for one that is like no other.

    Parameters
    ----------
    signature
        Shape (tasks, positions): MinHash of the whole requests. All of them share a wrapper, so the values that
        many have are left out: equal values of what is left estimate how alike the tasks themselves are.
    """
    count, width = signature.shape
    said = np.ones(signature.shape, bool)
    for j in range(width):
        _, where, often = np.unique(signature[:, j], return_inverse=True, return_counts=True)
        said[:, j] = often[where] < max(5, COMMON * count)
    # A position of its own for every value, so that equal values in two positions are no match.
    rows, columns = [], []
    for j in range(0, width - 1, 2):
        both = np.flatnonzero(said[:, j] & said[:, j + 1])
        if not len(both):
            continue
        _, first, where = np.unique(
            signature[both, j : j + 2], axis=0, return_index=True, return_inverse=True
        )
        other = both[first[where.ravel()]]
        compared = said[both] & said[other]
        equal = (signature[both] == signature[other]) & compared
        near = (compared.sum(axis=1) >= LEFT_POSITIONS) & (
            equal.sum(axis=1) >= ALIKE * np.maximum(compared.sum(axis=1), 1)
        )
        rows.append(both[near])
        columns.append(other[near])
    row, column = (np.concatenate([*x, np.empty(0, np.int64)]).astype(np.int64) for x in (rows, columns))
    graph = csr_matrix((np.ones(len(row), np.int8), (row, column)), shape=(count, count))
    label = connected_components(graph, directed=False)[1]
    size = np.bincount(label)
    kept = np.flatnonzero(size >= 2)
    code = np.full(len(size), -1)
    code[kept] = np.arange(len(kept))
    return code[label]


def _name(
    engine: Engine, ids: NDArray[np.int64], material: NDArray[np.int64], read_texts: ReadTexts | None
) -> str:
    """The kept text that most tasks of a family have and the group's own text has not; empty where none was kept."""
    if read_texts is None:
        return ""
    engine.table("family", pa.table({"exchange_id": ids}))
    rows = engine.read(
        "select r.shingle as shingle, count(*) as n from (select unnest(x.shingles) as shingle from exchanges as x "
        "join family as f on f.exchange_id = x.exchange_id) as r group by 1 "
        f"having count(*) >= {len(ids) // 2 + 1} order by 2 desc, 1 limit 400",
        "family names",
    )
    shingles = rows["shingle"].to_numpy()
    kept = read_texts([int(s) for s in shingles[~np.isin(shingles, material)][:100]])
    return max(sorted(kept.values()), key=len, default="").strip()


def _iso(day: int) -> str:
    return datetime.fromtimestamp(day * 86400, UTC).date().isoformat()
