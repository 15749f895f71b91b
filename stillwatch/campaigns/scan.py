"""One scan: from the tables of a workspace to findings about groups of accounts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stillwatch import __version__, plugins
from stillwatch.campaigns import steps
from stillwatch.campaigns.explain import name_of
from stillwatch.campaigns.findings import Proposal, ReadTexts, report_groups
from stillwatch.campaigns.groups import LEAST_ACCOUNTS, groups_of_materials, groups_of_values
from stillwatch.campaigns.materials import find_materials
from stillwatch.campaigns.pool import read_pool
from stillwatch.campaigns.scoring import score
from stillwatch.campaigns.signals import (
    account_class,
    day_rhythm,
    even_rates,
    harvesting_shape,
    registration,
    shared_infrastructure,
    shared_prompt,
)
from stillwatch.engine import schema
from stillwatch.engine.duckdb import Engine
from stillwatch.engine.steps import Step, printable
from stillwatch.engine.tables import Workspace
from stillwatch.errors import InputError
from stillwatch.records import Finding, Run
from stillwatch.stats.multiplicity import e_benjamini_hochberg, log_evalue_needed

OnStage = Callable[[str], None]
SHINGLES_A_PASS = 40_000_000


@dataclass(frozen=True, slots=True)
class Scan:
    """What a scan found.

    Parameters
    ----------
    findings
        One for each group that was proposed, supported ones first, then by e-value.
    members
        One row for each campaign and account: campaign, decision, account_id, exchanges, total, share, first, last,
        evidence (list of text).
    proposed
        Number of groups over which the false discovery rate was controlled.
    log_needed
        Natural logarithm of the e-value that one group needs alone.
    sql
        Every step that ran, as text.
    """

    run: Run
    findings: tuple[Finding, ...]
    members: pa.Table
    proposed: int
    alpha: float
    log_needed: float
    sql: str

    @property
    def supported(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.decision == "supported")


def scan(
    workspace: Path | str,
    *,
    alpha: float = 0.01,
    gamma: float = 3.0,
    seed: int = 1,
    memory_limit: str = "1GB",
    threads: int = 2,
    read_texts: ReadTexts | None = None,
    on_stage: OnStage | None = None,
) -> Scan:
    """Which accounts in this workspace's log act as one and have the shape of harvesting?

    Groups are proposed by one signal, tested with the others, and supported only when the smaller of their two
    e-values survives one e-BH (Wang & Ramdas 2022) over every group that was proposed.

    Parameters
    ----------
    workspace
        Folder that `stillwatch.logs.ingest` filled.
    alpha
        Bound on the false discovery rate over groups, in (0, 1).
    gamma
        How much likelier, in odds, honest groups may be to be alike than accounts matched on volume and model; 1 or
        above. The larger, the more cautious.
    memory_limit, threads
        For the engine. Arrays over accounts come on top: about 300 bytes an account.
    read_texts
        Gives the kept text of shingles for the findings; None: findings carry no text.
    on_stage
        Told the name of each stage as it begins.

    Raises
    ------
    InputError
        No log was imported here, or gamma or alpha is out of range.
    EngineError
        A step failed; the error holds its SQL.
    """
    if not 0 < alpha < 1:
        raise InputError(f"alpha must lie between 0 and 1, found {alpha}")
    if gamma < 1:
        raise InputError(f"gamma must be 1 or above, found {gamma}")
    place = Workspace(Path(workspace)).must_exist()
    tell = on_stage or (lambda stage: None)
    with Engine(memory_limit=memory_limit, threads=threads) as engine:
        parts = place.parts()
        engine.parquet("exchanges", parts, schema.EXCHANGES)
        engine.parquet("accounts", [place.accounts] if place.accounts.exists() else [], schema.ACCOUNTS)
        tell("counting accounts")
        engine.run([steps.POPULATION, steps.ORGANIZATIONS, steps.CONVERSATIONS])
        population = engine.read("select count(*) as n from population")["n"][0].as_py()
        proposal = propose(engine, population, seed=seed, tell=tell)
        tell(f"testing {len(proposal.groups)} groups")
        signals = plugins.find("campaigns.signals")
        scores = [
            score(g, proposal.pools[g.proposer], signals, gamma=gamma, seed=seed + int(name_of(g)[2:], 16))
            for g in proposal.groups
        ]
        logs = [-np.inf if s.log_evalue is None else s.log_evalue for s in scores]
        rejected = e_benjamini_hochberg(logs, alpha).rejected
        run = Run(
            version=__version__,
            command="campaigns scan",
            config={"alpha": alpha, "gamma": gamma, "proposed": len(scores), "population": population},
            inputs=_digests(parts, place.accounts),
            seed=seed,
        )
        tell("writing findings")
        needed = log_evalue_needed(max(len(scores), 1), alpha)
        findings, members = report_groups(
            engine,
            proposal,
            scores,
            rejected,
            log_needed=needed,
            alpha=alpha,
            run=run.id,
            read_texts=read_texts,
        )
        return Scan(run, findings, members, len(scores), alpha, needed, printable(engine.steps))


def planned_sql() -> str:
    """Every step of a scan as text, in order, with one pass each."""
    static = [s for signal in (registration, account_class, shared_infrastructure) for s in signal.steps()]
    first = [steps.POPULATION, steps.ORGANIZATIONS, steps.CONVERSATIONS, *static, *shared_prompt.steps(1)]
    by_text = [steps.MATERIAL_EXCHANGES, steps.MATERIAL_USES, steps.MATERIAL_SCOPE, *_behaviour()]
    return printable([*first, *by_text, steps.ACCOUNT_SCOPE, *_behaviour()])


def _behaviour() -> list[Step]:
    return [s for signal in (even_rates, day_rhythm, harvesting_shape) for s in signal.steps()]


def propose(engine: Engine, population: int, *, seed: int, tell: OnStage) -> Proposal:
    for signal in (registration, account_class, shared_infrastructure):
        engine.run(signal.steps())
    tell("reading shared text")
    total = engine.read("select sum(len(shingles)) as n from exchanges")["n"][0].as_py() or 0
    engine.run(shared_prompt.steps(max(1, -(-int(total) // SHINGLES_A_PASS))))
    materials = find_materials(
        engine.read("select account_id, shingle, uses from material_links"), least_accounts=LEAST_ACCOUNTS
    )
    engine.drop("repeated", "material_links")
    engine.table(
        "family_shingles",
        pa.table(
            {
                "shingle": materials.shingle[materials.stands],
                "family": materials.shingle_material[materials.stands],
            }
        ),
    )
    tell("following shared text")
    engine.run([steps.MATERIAL_EXCHANGES, steps.MATERIAL_USES, steps.MATERIAL_SCOPE, *_behaviour()])
    pools = {"shared_prompt": read_pool(engine, materials)}
    shapes = {"shared_prompt": engine.read("select * from harvesting_shape")}
    tell("following accounts")
    engine.run([steps.ACCOUNT_SCOPE, *_behaviour()])
    pools["shared_infrastructure"] = read_pool(engine, None)
    shapes["shared_infrastructure"] = engine.read("select * from harvesting_shape")
    engine.drop("scope")
    links = engine.read("select account_id, kind, value, degree from infrastructure_links")
    groups = groups_of_materials(materials, population=population, seed=seed) + groups_of_values(
        links, seed=seed
    )
    return Proposal(groups, materials, pools, shapes)


def _digests(parts: Sequence[Path], accounts: Path) -> dict[str, str]:
    """Digest of the Parquet footers: they hold every column's counts and extremes, and reading them is quick.

    The table of accounts is small and one exemption may decide a finding: of it every byte counts.
    """
    whole = sha256()
    for part in sorted(parts):
        whole.update(str(pq.read_metadata(part).to_dict()).encode())
    inputs = {"exchanges": whole.hexdigest()}
    if accounts.exists():
        inputs["accounts"] = sha256(accounts.read_bytes()).hexdigest()
    return inputs
