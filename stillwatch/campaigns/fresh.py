"""Tests of frozen groups on the days since they were frozen, and on nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stillwatch.campaigns import steps
from stillwatch.campaigns.explain import name_of
from stillwatch.campaigns.groups import Group
from stillwatch.campaigns.materials import Materials
from stillwatch.campaigns.placing import score_group
from stillwatch.campaigns.pool import Pool, read_pool
from stillwatch.campaigns.scan import BASE, BY_ACCOUNT, BY_TEXT, once, scoped
from stillwatch.campaigns.scoring import Score
from stillwatch.campaigns.signals.ban_failover import STOPPING
from stillwatch.campaigns.signals.shared_prompt import LEAST_USES
from stillwatch.campaigns.timing import read_timings
from stillwatch.engine import schema
from stillwatch.engine.duckdb import Engine
from stillwatch.engine.steps import Step

FRESH_USES = Step(
    "material_uses",
    f"""
select e.account_id as account_id, e.family as family, count(*) as uses, min(e.time) as first_time,
       max(e.time) as last_time, -1 as joined_day
from material_exchanges as e
group by e.account_id, e.family
having count(*) >= {LEAST_USES}""",
    "the groups were frozen before the first of these days, so that every day is fresh",
)


@dataclass(frozen=True, slots=True)
class Block:
    """Some days and what stands beside them.

    Parameters
    ----------
    parts
        Exchanges of the days.
    accounts, actions
        The workspace's tables; an action at or after `until` (microseconds) has not happened yet.
    lookup
        Name of a table -> file that holds it: by what exchanges are recognised as carrying a material.
    """

    parts: Sequence[Path]
    accounts: Path
    actions: Path
    until: int
    lookup: dict[str, Path]


def load_facts(engine: Engine, accounts: Path, actions: Path, until: int) -> None:
    """Name the tables of accounts and actions, without actions at or after `until`."""
    engine.parquet("accounts", [accounts] if accounts.exists() else [], schema.ACCOUNTS)
    engine.parquet("all_actions", [actions] if actions.exists() else [], schema.ACTIONS)
    engine.table("actions", engine.read(f"select * from all_actions where time < {until}"))


def test_groups(
    block: Block,
    groups: Sequence[Group],
    signals: dict[str, ModuleType],
    *,
    gamma: float,
    seed: int,
    memory_limit: str,
    threads: int,
) -> list[Score | None]:
    """Score each group on the block, against everybody else on the same days; None: none of its members was there."""
    with _FreshEngine(memory_limit=memory_limit, threads=threads) as engine:
        engine.parquet("exchanges", block.parts, schema.EXCHANGES)
        load_facts(engine, block.accounts, block.actions, block.until)
        for name, path in block.lookup.items():
            engine.table(name, pq.read_table(path))
        engine.run([*BASE, *once(signals), *BY_TEXT, *scoped(signals)])
        uses = engine.read("select account_id, family, uses from material_uses order by 1, 2")
        none = np.empty(0, np.int64)
        links = (uses[c].to_numpy().astype(np.int64) for c in ("account_id", "family", "uses"))
        text = read_pool(engine, signals, Materials(*links, none, none, none.astype(bool)))
        linked = [g.accounts for g in groups if not g.materials]
        pool = None
        if linked:
            engine.run([*BY_ACCOUNT, *scoped(signals)])
            pool = read_pool(engine, signals, None)
        timings = read_timings(engine, np.unique(np.concatenate([*linked, none])), STOPPING)
    scores: list[Score | None] = []
    for group in groups:
        against = text if group.materials else pool
        if against is None or not _present(group, against):
            scores.append(None)
            continue
        own = seed + int(name_of(group)[2:], 16)
        scores.append(score_group(group, against, signals, gamma=gamma, seed=own, timings=timings))
    return scores


class _FreshEngine(Engine):
    """An engine on which everything that a material's users did in these days counts."""

    def run(self, asked: Iterable[Step]) -> None:
        super().run(FRESH_USES if step.name == steps.MATERIAL_USES.name else step for step in asked)


def _present(group: Group, pool: Pool) -> bool:
    here: NDArray[np.bool_] = np.isin(pool.account, group.accounts)
    if group.materials:
        here &= np.isin(pool.scope, group.materials)
    return bool(here.any())


def lookup_tables(engine: Engine) -> dict[str, pa.Table]:
    """The tables by which a scan recognises exchanges that carry a material."""
    names = engine.read(
        "select table_name as name from duckdb_tables() where starts_with(table_name, 'family_') order by 1"
    )
    return {name: engine.read(f"select * from {name} order by all") for name in names["name"].to_pylist()}
