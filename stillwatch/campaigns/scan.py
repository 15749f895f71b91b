"""One scan: from the tables of a workspace to findings about groups of accounts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stillwatch import __version__, plugins
from stillwatch.campaigns import belonging, steps
from stillwatch.campaigns.explain import iso_day, name_of
from stillwatch.campaigns.findings import Proposal, ReadTexts, report_groups
from stillwatch.campaigns.groups import (
    LEAST_ACCOUNTS,
    groups_of_cohorts,
    groups_of_materials,
    groups_of_values,
    with_rewordings,
)
from stillwatch.campaigns.materials import Materials, find_materials, joined
from stillwatch.campaigns.placing import score_group
from stillwatch.campaigns.pool import read_pool
from stillwatch.campaigns.signals import paraphrased_prompt, shared_prompt
from stillwatch.campaigns.signals.ban_failover import STOPPING
from stillwatch.campaigns.timing import read_timings
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
        For the engine. Arrays come on top: about 300 bytes an account, and 24 bytes for each exchange that carries
        shared text or is of an account that something links.
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
    if not 1 <= gamma < np.inf:
        raise InputError(f"gamma must be 1 or above and finite, found {gamma}")
    place = Workspace(Path(workspace)).must_exist()
    tell = on_stage or (lambda stage: None)
    with Engine(memory_limit=memory_limit, threads=threads) as engine:
        parts = place.parts()
        engine.parquet("exchanges", parts, schema.EXCHANGES)
        engine.parquet("accounts", [place.accounts] if place.accounts.exists() else [], schema.ACCOUNTS)
        engine.parquet("actions", [place.actions] if place.actions.exists() else [], schema.ACTIONS)
        tell("counting accounts")
        engine.run(BASE)
        log = engine.read(
            "select count(*) as n, sum(exchanges)::bigint as exchanges, min(first_time) as first, "
            "max(last_time) as last from population"
        ).to_pylist()[0]
        population = log["n"]
        signals = plugins.find("campaigns.signals")
        proposal = propose(engine, signals, population, seed=seed, tell=tell)
        tell(f"testing {len(proposal.groups)} groups")
        scores = [
            score_group(
                g,
                proposal.pools[g.proposer],
                signals,
                gamma=gamma,
                seed=seed + int(name_of(g)[2:], 16),
                timings=proposal.timings,
            )
            for g in proposal.groups
        ]
        logs = [-np.inf if s.log_evalue is None else s.log_evalue for s in scores]
        rejected = e_benjamini_hochberg(logs, alpha).rejected
        run = Run(
            version=__version__,
            command="campaigns scan",
            config={
                "alpha": alpha,
                "gamma": gamma,
                "proposed": len(scores),
                "population": population,
                "exchanges": log["exchanges"] or 0,
                **{end: iso_day(log[end]) for end in ("first", "last") if log[end] is not None},
            },
            inputs=_digests(parts, {"accounts": place.accounts, "actions": place.actions}),
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
            gamma=gamma,
            run=run.id,
            read_texts=read_texts,
        )
        sql = printable(engine.steps)
        # A finding rests on the steps as they ran, and its run names the log that they ran over.
        method = sha256(sql.encode()).hexdigest()
        findings = tuple(replace(f, evidence=(method,)) for f in findings)
        return Scan(run, findings, members, len(scores), alpha, needed, sql)


def planned_sql() -> str:
    """Every step of a scan as text, in order, with one pass each."""
    signals = plugins.find("campaigns.signals")
    first = [*BASE, *once(signals), *shared_prompt.steps(1), *paraphrased_prompt.steps(1)]
    by_text = [*BY_TEXT, *scoped(signals)]
    by_account = [*BY_ACCOUNT, *scoped(signals)]
    return printable([*first, *by_text, *by_account, belonging.OTHERS_CARRYING, *belonging.STEPS])


_TEXT = (shared_prompt, paraphrased_prompt)
BASE = (steps.POPULATION, steps.ORGANIZATIONS, steps.CONVERSATIONS, steps.OPENINGS)
BY_TEXT = (
    steps.TEXT_CARRIERS,
    steps.WORD_CARRIERS,
    steps.MATERIAL_EXCHANGES,
    steps.MATERIAL_USES,
    steps.MAIN_TEXT,
    steps.MAIN_WORDS,
    steps.MATERIAL_FIRST,
    steps.MATERIAL_SCOPE,
)
BY_ACCOUNT = (steps.ACCOUNT_FIRST, steps.ACCOUNT_SCOPE)


def once(signals: Mapping[str, ModuleType]) -> list[Step]:
    """Steps of signals that hold for an account, whatever the scope; shared text goes its own way."""
    plain = (s for s in signals.values() if not s.VALUES.scoped and s not in _TEXT)
    return [step for signal in plain for step in signal.steps()]


def scoped(signals: Mapping[str, ModuleType]) -> list[Step]:
    return [s for signal in signals.values() if signal.VALUES.scoped for s in signal.steps()]


def propose(
    engine: Engine,
    signals: Mapping[str, ModuleType],
    population: int,
    *,
    seed: int,
    tell: OnStage = lambda stage: None,
) -> Proposal:
    """Every group that a signal proposes, and what each will be held against; the log's tables are in the engine."""
    engine.run(once(signals))
    tell("reading shared text")
    texts, words = _materials(engine)
    materials = joined(texts, words)
    tell("following shared text")
    engine.run([*BY_TEXT, *scoped(signals)])
    engine.drop("text_carriers", "word_carriers")
    text_pool = read_pool(engine, signals, materials)
    text_shape = engine.read("select * from harvesting_shape")
    tell("following accounts")
    engine.run([*BY_ACCOUNT, *scoped(signals)])
    account_pool = read_pool(engine, signals, None)
    account_shape = engine.read("select * from harvesting_shape")
    engine.drop("scope")
    groups = groups_of_materials(texts, proposer="shared_prompt", population=population, seed=seed)
    reworded = groups_of_materials(
        words, proposer="paraphrased_prompt", population=population, seed=seed, first=len(texts)
    )
    groups = with_rewordings(groups, reworded, materials)
    pools = dict.fromkeys(("shared_prompt", "paraphrased_prompt"), text_pool)
    shapes = dict.fromkeys(pools, text_shape)
    for name, signal in signals.items():
        if hasattr(signal, "LINKS"):
            links = engine.read(f"select account_id, kind, value, degree from {signal.LINKS}")
            groups += groups_of_values(links, proposer=name, seed=seed)
            pools[name], shapes[name] = account_pool, account_shape
    cards = engine.read(
        "select a.account_id as account_id, a.payment_token as payment_token, r.value as created from accounts as a "
        "join registration as r on r.account_id = a.account_id "
        "join population as p on p.account_id = a.account_id where a.payment_token is not null",
        "cards",
    )
    groups += groups_of_cohorts(cards, groups)
    pools["registration"], shapes["registration"] = account_pool, account_shape
    linked = [g.accounts for g in groups if not g.materials]
    timings = read_timings(engine, np.unique(np.concatenate([*linked, np.empty(0, np.int64)])), STOPPING)
    return Proposal(groups, materials, pools, shapes, timings)


def _materials(engine: Engine) -> tuple[Materials, Materials]:
    """Shared texts and re-worded ones, with the tables by which exchanges are looked up."""
    size = engine.read("select sum(len(shingles)) as s, sum(len(minhash)) as m from exchanges").to_pylist()[0]
    found = []
    for signal, total, links, table, least in (
        (shared_prompt, size["s"], "material_links", "family_shingles", 1),
        (paraphrased_prompt, size["m"], "word_links", "family_tokens", paraphrased_prompt.LEAST_TOKENS),
    ):
        engine.run(signal.steps(max(1, -(-int(total or 0) // SHINGLES_A_PASS))))
        rows = engine.read(f"select account_id, shingle, uses from {links}")
        reworded = signal is paraphrased_prompt
        materials = find_materials(
            rows, least_accounts=LEAST_ACCOUNTS, least_shingles=least, reworded=reworded
        )
        engine.drop("repeated", "some_exchanges", links)
        stands = materials.stands if signal is shared_prompt else np.ones(len(materials.shingle), bool)
        first = len(found[0]) if found else 0
        keys = {"shingle": materials.shingle[stands], "family": materials.shingle_material[stands] + first}
        engine.table(table, pa.table(keys))
        found.append(materials)
    return found[0], found[1]


def _digests(parts: Sequence[Path], tables: Mapping[str, Path]) -> dict[str, str]:
    """Digest of the Parquet footers: they hold every column's counts and extremes, and reading them is quick.

    The tables of accounts and actions are small and one exemption may decide a finding: of them every byte counts.
    """
    whole = sha256()
    for part in sorted(parts):
        whole.update(str(pq.read_metadata(part).to_dict()).encode())
    inputs = {"exchanges": whole.hexdigest()}
    given = {name: path for name, path in tables.items() if path.exists()}
    return inputs | {name: sha256(path.read_bytes()).hexdigest() for name, path in given.items()}
