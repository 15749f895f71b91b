"""From scored groups to findings and the members table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from stillwatch.campaigns.alternatives import read_facts
from stillwatch.campaigns.explain import campaign_finding, decide, iso_day, name_of, stitch
from stillwatch.campaigns.groups import Group
from stillwatch.campaigns.materials import Materials
from stillwatch.campaigns.members import member_rows, read_accounts
from stillwatch.campaigns.pool import Pool
from stillwatch.campaigns.scoring import Score
from stillwatch.campaigns.timing import Timings
from stillwatch.engine.duckdb import Engine
from stillwatch.records import Finding

ReadTexts = Callable[[Sequence[int]], Mapping[int, str]]
CONTAINED = 0.8
"""A group with this share of its accounts in a larger one of the same decision is shown as part of it."""
SHAPE = ("follow_ups", "distinct_prompts", "hours", "token_yield", "elicited")

MEMBERS = pa.schema(
    [
        ("campaign", pa.string()),
        ("decision", pa.string()),
        ("account_id", pa.int64()),
        ("exchanges", pa.int64()),
        ("total", pa.int64()),
        ("share", pa.float64()),
        ("first", pa.int64()),
        ("last", pa.int64()),
        ("evidence", pa.list_(pa.string())),
    ]
)


@dataclass(frozen=True, slots=True)
class Proposal:
    """Everything that was proposed, and the pools to test it against, by proposer."""

    groups: list[Group]
    materials: Materials
    pools: dict[str, Pool]
    shapes: dict[str, pa.Table]
    timings: Timings


def report_groups(
    engine: Engine,
    proposal: Proposal,
    scores: Sequence[Score],
    rejected: NDArray[np.bool_],
    *,
    log_needed: float,
    alpha: float,
    run: str,
    read_texts: ReadTexts | None,
) -> tuple[tuple[Finding, ...], pa.Table]:
    """One finding a group, supported ones first, and the table of all members."""
    accounts = read_accounts(engine)
    who, facts, decisions = [], [], []
    for group, result, reject in zip(proposal.groups, scores, rejected, strict=True):
        who.append(member_rows(group, result, proposal.pools[group.proposer], accounts))
        facts.append(read_facts(accounts, group.accounts))
        decisions.append(decide(result, facts[-1], rejected=bool(reject), log_needed=log_needed))
    parents = _parents(proposal.groups, [d for d, _ in decisions])
    findings, tables = [], [MEMBERS.empty_table()]
    for i, group in enumerate(proposal.groups):
        shown = not parents[i] and (rejected[i] or (scores[i].acts_as_one or 0.0) >= log_needed)
        finding = campaign_finding(
            group,
            scores[i],
            who[i],
            facts[i],
            _typical(proposal.shapes[group.proposer], group),
            decision=decisions[i][0],
            reason=decisions[i][1],
            log_needed=log_needed,
            proposed=len(scores),
            alpha=alpha,
            run=run,
            daily=_daily(engine, group, who[i]) if shown else {},
            texts=_texts(group, proposal.materials, read_texts) if shown else (),
            part_of=parents[i],
        )
        findings.append(finding)
        tables.append(_labelled(who[i], finding))
    findings.sort(key=_rank)
    return tuple(findings), pa.concat_tables(tables)


def _parents(groups: Sequence[Group], decisions: Sequence[str]) -> list[str]:
    """For each group the name of a larger one that holds nearly all its accounts and says as much or more, or ""."""
    size = np.array([len(g.accounts) for g in groups])
    if not len(size):
        return []
    ids, column = np.unique(np.concatenate([g.accounts for g in groups]), return_inverse=True)
    row = np.repeat(np.arange(len(groups)), size)
    holds = csr_matrix((np.ones(len(row)), (row, column)), shape=(len(groups), len(ids)))
    shared = csr_matrix(holds @ holds.T)
    order = sorted(range(len(groups)), key=lambda i: (-size[i], groups[i].proposer != "shared_prompt", i))
    place = np.empty(len(groups), np.int64)
    place[order] = np.arange(len(groups))
    parents = [""] * len(groups)
    for i in order:
        at = slice(shared.indptr[i], shared.indptr[i + 1])
        near = [
            j for j, n in zip(shared.indices[at], shared.data[at], strict=True) if n >= CONTAINED * size[i]
        ]
        for j in sorted(near, key=lambda j: place[j]):
            if place[j] < place[i] and not parents[j] and decisions[j] in ("supported", decisions[i]):
                parents[i] = name_of(groups[j])
                break
    return parents


def _typical(shapes: pa.Table, group: Group) -> dict[str, float]:
    """Medians over the members of what the shape of harvesting is made of."""
    mine = np.isin(shapes["account_id"].to_numpy(), group.accounts)
    if group.materials:
        mine &= np.isin(shapes["family"].to_numpy(), group.materials)
    typical = {}
    for name in SHAPE:
        values = shapes[name].to_numpy(zero_copy_only=False)[mine].astype(float)
        values = values[~np.isnan(values)]
        if len(values):
            typical[name] = round(float(np.median(values)), 4)
    return typical


def _daily(engine: Engine, group: Group, members: pa.Table) -> dict[str, int]:
    engine.table("members", members.select(["account_id"]))
    if group.materials:
        families = ", ".join(str(m) for m in group.materials)
        source = f"(select distinct exchange_id, account_id, time from material_exchanges where family in ({families}))"
    else:
        source = "exchanges"
    rows = engine.read(
        f"select x.time // 86400000000 as day, count(*) as n from {source} as x "
        "join members as m on m.account_id = x.account_id group by 1 order by 1"
    )
    return {iso_day(r["day"] * 86_400_000_000): r["n"] for r in rows.to_pylist()}


def _texts(group: Group, materials: Materials, read_texts: ReadTexts | None) -> tuple[str, ...]:
    if read_texts is None or not group.materials:
        return ()
    mine = materials.shingle[np.isin(materials.shingle_material, group.materials)]
    return tuple(stitch(read_texts([int(s) for s in mine[:200]])))


def _labelled(who: pa.Table, finding: Finding) -> pa.Table:
    columns = {
        "campaign": pa.array([finding.subject] * len(who), pa.string()),
        "decision": pa.array([finding.decision] * len(who), pa.string()),
        **{name: who[name] for name in MEMBERS.names[2:]},
    }
    return pa.table(columns, schema=MEMBERS)


def _rank(finding: Finding) -> tuple[int, float, str]:
    order = {"supported": 0, "inconclusive": 1, "not supported": 2, "not tested": 3}
    best = finding.log_evalue if finding.log_evalue is not None else -np.inf
    if finding.decision == "not supported":
        best = finding.details["acts_as_one"] or -np.inf
    return order[finding.decision], -best, finding.subject
