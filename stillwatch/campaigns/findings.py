"""From scored groups to findings and the members table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from stillwatch import plugins
from stillwatch.campaigns.alternatives import Facts, Subject, look_alikes, read_facts
from stillwatch.campaigns.belonging import Keys, calibrated, find_belonging, keys_of
from stillwatch.campaigns.explain import Examined, campaign_finding, decide, iso_day, name_of, stitch
from stillwatch.campaigns.groups import LEAST_ACCOUNTS, Group
from stillwatch.campaigns.habits import Habits, read_habits
from stillwatch.campaigns.materials import Materials
from stillwatch.campaigns.members import member_rows, read_accounts, with_shares
from stillwatch.campaigns.placing import belongs
from stillwatch.campaigns.pool import Pool
from stillwatch.campaigns.scoring import Score
from stillwatch.campaigns.share import Shares, read_shares
from stillwatch.campaigns.taken import read_taken
from stillwatch.campaigns.timing import Timings
from stillwatch.engine.duckdb import Engine
from stillwatch.identity import show
from stillwatch.records import Finding

ReadTexts = Callable[[Sequence[int]], Mapping[int, str]]
CONTAINED = 0.8
"""A group with this share of its accounts in a larger one of the same decision is shown as part of it."""
EXAMINED = 20
SHAPE = ("follow_ups", "distinct_prompts", "hours", "token_yield", "elicited")

MEMBERS = pa.schema(
    [
        ("campaign", pa.string()),
        ("decision", pa.string()),
        ("account_id", pa.int64()),
        ("exchanges", pa.int64()),
        ("total", pa.int64()),
        ("share", pa.float64()),
        ("share_low", pa.float64()),
        ("share_high", pa.float64()),
        ("first", pa.int64()),
        ("last", pa.int64()),
        ("evidence", pa.list_(pa.string())),
        ("exemption", pa.string()),
    ]
)
"""One row for each campaign and account. `decision` is the finding's, ``exempt`` for an account with an exemption, or
``set apart`` for one that has the text or value and nothing else in common with the others (`placing.belongs`);
`share_low` and `share_high` are null where the share was not examined or cannot be told."""


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
    gamma: float,
    run: str,
    read_texts: ReadTexts | None,
) -> tuple[tuple[Finding, ...], pa.Table]:
    """One finding a group, supported ones first, and the table of all members."""
    accounts = read_accounts(engine)
    as_one = _examined(scores, rejected, log_needed)
    names = [name_of(group) for group in proposal.groups]
    groups, aside, unplaced = _without_others(proposal, scores, np.flatnonzero(rejected))
    who = [
        member_rows(group, result, proposal.pools[group.proposer], accounts)
        for group, result in zip(groups, scores, strict=True)
    ]
    facts = [read_facts(accounts, group.accounts) for group in groups]
    measured = _measured(engine, groups, proposal.materials, as_one, facts)
    looks, decisions = [], []
    for i, result in enumerate(scores):
        seen = measured.get(i)
        if seen is not None:
            who[i] = with_shares(who[i], seen.shares)
        shares = who[i]["share"].to_numpy(zero_copy_only=False).astype(float)
        kept = np.setdiff1d(np.arange(len(shares)), facts[i].exempt_at)
        habits = seen.habits if seen else None
        looks.append(look_alikes(Subject(facts[i], result, log_needed, shares[kept], habits)))
        decision = decide(
            result,
            facts[i],
            looks[i],
            proposed=read_facts(accounts, proposal.groups[i].accounts) if len(aside[i]) else facts[i],
            rejected=bool(rejected[i]),
            log_needed=log_needed,
            placed=i not in unplaced,
        )
        decisions.append(decision)
    parents = _parents(groups, names, [d for d, _ in decisions], set(as_one))
    shown = [i for i in as_one if not parents[i]]
    numbers = [measured[i].number for i in shown if i in measured]
    own = [_shingles(groups[i], proposal.materials) for i in shown if i in measured]
    taken = dict(zip(numbers, read_taken(engine, numbers, own, read_texts), strict=True))
    findings, tables = [], [MEMBERS.empty_table()]
    for i, group in enumerate(groups):
        seen = measured.get(i)
        finding = campaign_finding(
            names[i],
            group,
            scores[i],
            who[i],
            facts[i],
            _typical(proposal.shapes[group.proposer], group, facts[i]),
            apart=len(aside[i]),
            looks=looks[i],
            examined=Examined(seen.keys, seen.shares, taken.get(seen.number, {})) if seen else None,
            decision=decisions[i][0],
            reason=decisions[i][1],
            log_needed=log_needed,
            proposed=len(scores),
            alpha=alpha,
            gamma=gamma,
            run=run,
            daily=_daily(engine, seen.number) if seen and i in shown else {},
            texts=_texts(group, proposal.materials, read_texts) if i in shown else (),
            part_of=parents[i],
        )
        findings.append(finding)
        tables.append(_labelled(who[i], finding))
        if len(aside[i]):
            others = Group(group.proposer, aside[i], group.materials)
            rows = member_rows(others, scores[i], proposal.pools[group.proposer], accounts)
            tables.append(_labelled(_untold(rows, group.proposer), finding, "set apart"))
    findings.sort(key=_rank)
    return tuple(findings), pa.concat_tables(tables)


def _examined(scores: Sequence[Score], rejected: NDArray[np.bool_], log_needed: float) -> list[int]:
    """Groups of which habits, shares and what was taken are measured: all that pass, and of the others that act as one
    the `EXAMINED` that do so most clearly. It takes a scan a tenth of a second for each."""
    acts = np.array([s.acts_as_one or 0.0 for s in scores])
    others = np.flatnonzero((acts >= log_needed) & ~np.asarray(rejected, bool))
    most = others[np.argsort(-acts[others], kind="stable")[:EXAMINED]]
    return sorted({*np.flatnonzero(rejected).tolist(), *most.tolist()})


@dataclass(frozen=True, slots=True)
class _Measured:
    """What was measured of one group that acts as one, and its number in ``belonging``."""

    number: int
    keys: Keys
    shares: Shares
    habits: Habits


def _without_others(
    proposal: Proposal, scores: Sequence[Score], chosen: NDArray[np.int64]
) -> tuple[list[Group], list[NDArray[np.int64]], set[int]]:
    """The groups without the accounts that `placing.belongs` sets apart, and those accounts, for the chosen ones.

    Where too few would be left, the group stays whole and its number is in the third: nobody can say whom its e-values
    are about.
    """
    signals = plugins.find("campaigns.signals")
    groups, aside = list(proposal.groups), [np.empty(0, np.int64)] * len(scores)
    unplaced: set[int] = set()
    for i in chosen.tolist():
        group = groups[i]
        mine = belongs(group, scores[i], proposal.pools[group.proposer], signals)
        if mine.sum() < LEAST_ACCOUNTS:
            unplaced.add(i)
        elif not mine.all():
            groups[i] = Group(group.proposer, group.accounts[mine], group.materials)
            aside[i] = group.accounts[~mine]
    return groups, aside, unplaced


def _measured(
    engine: Engine,
    every: Sequence[Group],
    materials: Materials,
    chosen: Sequence[int],
    facts: Sequence[Facts],
) -> dict[int, _Measured]:
    """Shares and habits of the chosen groups' accounts that are not exempt, in one pass over their exchanges."""
    chosen = [i for i in chosen if facts[i].exempt < facts[i].members]
    groups = [every[i] for i in chosen]
    reworded = engine.read("select distinct family from family_tokens")["family"].to_pylist()
    keys = [keys_of(group, materials, frozenset(reworded)) for group in groups]
    accounts = [np.delete(every[i].accounts, np.array(facts[i].exempt_at, np.int64)) for i in chosen]
    keys, backgrounds = calibrated(engine, accounts, keys)
    find_belonging(engine, accounts, keys)
    shares = read_shares(engine, keys, backgrounds)
    habits = read_habits(engine, len(groups))
    return {i: _Measured(n, keys[n], shares[n], habits[n]) for n, i in enumerate(chosen)}


def exempted(findings: Sequence[Finding], members: pa.Table) -> list[dict[str, Any]]:
    """Which accounts were exempt, by which reason, in which finding: what a journal should hold of a scan.

    Only findings about groups that act as one, or that an exemption decided; in the others it changed nothing.
    """
    rows = members.filter(pc.is_valid(members["exemption"])).select(["campaign", "account_id", "exemption"])
    of: dict[str, dict[str, list[str]]] = {}
    for row in rows.to_pylist():
        of.setdefault(row["campaign"], {}).setdefault(row["exemption"], []).append(
            show("account", row["account_id"])
        )
    told = []
    for f in findings:
        needed = f.log_evalue_needed or 0.0
        counts = f.details["reason"].startswith("exempt") or (f.details["acts_as_one"] or 0.0) >= needed
        if f.subject in of and counts:
            told.append(
                {"campaign": f.subject, "finding": f.id, "decision": f.decision, "exempt": of[f.subject]}
            )
    return told


def _parents(
    groups: Sequence[Group], names: Sequence[str], decisions: Sequence[str], examined: set[int]
) -> list[str]:
    """For each group the name of a larger one that holds nearly all its accounts and says as much or more, or "".

    A group that was examined is never shown as part of one that was not.
    """
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
            says = decisions[j] in ("supported", decisions[i]) and (j in examined or i not in examined)
            if place[j] < place[i] and not parents[j] and says:
                parents[i] = names[j]
                break
    return parents


def _typical(shapes: pa.Table, group: Group, facts: Facts) -> dict[str, float]:
    """Medians of what the shape of harvesting is made of, over the members that are not exempt, or all if all are."""
    told = np.delete(group.accounts, np.array(facts.exempt_at, np.int64))
    mine = np.isin(shapes["account_id"].to_numpy(), told if len(told) else group.accounts)
    if group.materials:
        mine &= np.isin(shapes["family"].to_numpy(), group.materials)
    typical = {}
    for name in SHAPE:
        values = shapes[name].to_numpy(zero_copy_only=False)[mine].astype(float)
        values = values[~np.isnan(values)]
        if len(values):
            typical[name] = round(float(np.median(values)), 4)
    return typical


def _daily(engine: Engine, number: int) -> dict[str, int]:
    rows = engine.read(
        f"select b.day as day, count(*) as n from belonging as b where b.campaign = {number} group by 1 order by 1"
    )
    return {iso_day(r["day"] * 86_400_000_000): r["n"] for r in rows.to_pylist()}


def _shingles(group: Group, materials: Materials) -> NDArray[np.int64]:
    return materials.shingle[np.isin(materials.shingle_material, group.materials)]


def _texts(group: Group, materials: Materials, read_texts: ReadTexts | None) -> tuple[str, ...]:
    if read_texts is None or not group.materials:
        return ()
    return tuple(stitch(read_texts([int(s) for s in _shingles(group, materials)[:200]])))


def _untold(rows: pa.Table, proposer: str) -> pa.Table:
    """The same rows with nothing but what proposed the group: of accounts that were set apart nothing else is said."""
    told = {"evidence": pa.array([[proposer]] * len(rows), pa.list_(pa.string()))}
    told |= {name: pa.nulls(len(rows), pa.float64()) for name in ("share", "share_low", "share_high")}
    for name, column in told.items():
        rows = rows.set_column(rows.schema.get_field_index(name), name, column)
    return rows


def _labelled(who: pa.Table, finding: Finding, decision: str = "") -> pa.Table:
    columns = {
        "campaign": pa.array([finding.subject] * len(who), pa.string()),
        "decision": pc.if_else(pc.is_valid(who["exemption"]), "exempt", decision or finding.decision),
        **{name: who[name] for name in MEMBERS.names[2:]},
    }
    return pa.table(columns, schema=MEMBERS)


def _rank(finding: Finding) -> tuple[int, float, str]:
    order = {"supported": 0, "inconclusive": 1, "not supported": 2, "not tested": 3}
    best = finding.log_evalue if finding.log_evalue is not None else -np.inf
    if finding.decision == "not supported":
        best = finding.details["acts_as_one"] or -np.inf
    return order[finding.decision], -best, finding.subject
