"""How do the signals of "acts as one" depend on one another on honest traffic, and what would multiplying them do?

    python benchmarks/dependence.py                                   # one small log, two minutes
    python benchmarks/dependence.py --honest-accounts 3000 --days 14 --seeds 311 312 313 --groups 600

Two kinds of honest groups. *Random* ones are drawn from all accounts, so that every null holds by construction
(gamma 1: the sharp null). *Proposed* ones are what a scan of an honest log with a dozen groups of each look-alike puts
together: firms, classes, frameworks, resellers; there several nulls fail at once, for one reason. For each pair of
kinds of evidence: the rank correlation of their e-values, and how often both are 20 or more beside what independence
would give. Then how many honest groups would reach the line of a scan if kinds were multiplied, averaged, averaged
without the largest, as they are, and the same with the most dependent kinds as one. Exempt accounts are in no pool.
Groups of one log overlap, so that the intervals of the correlations are too narrow.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy import stats

from stillwatch import lab, logs, plugins
from stillwatch.campaigns.groups import Group
from stillwatch.campaigns.scan import BASE, propose
from stillwatch.campaigns.scoring import ACTS_AS_ONE, score
from stillwatch.campaigns.signals.ban_failover import STOPPING
from stillwatch.campaigns.timing import read_timings
from stillwatch.engine import schema
from stillwatch.engine.duckdb import Engine
from stillwatch.engine.tables import Workspace
from stillwatch.lab.keyed import key_of_seed
from stillwatch.stats.combine import average_evalues
from stillwatch.stats.multiplicity import log_evalue_needed

LOUD = np.log(20)
ALPHA = 0.01
ONE_CAUSE = {
    "day_rhythm": "rhythm", "even_rates": "rhythm", "synchrony": "co-timing", "load_balancing": "co-timing"
}  # fmt: skip
"""Kinds that depend on one another most, and the one cause that they may have."""
LEAST = 60
"""Groups with both kinds before a pair is printed."""


def main() -> None:
    """Parse the command line, make the logs, print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[7])
    parser.add_argument("--honest-accounts", type=int, default=1000)
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--groups", type=int, default=300, help="random groups a log")
    arguments = parser.parse_args()
    data = os.environ.get("STILLWATCH_DATA")
    print(f"{'real arrivals and prompts' if data else 'generated log'}; {vars(arguments)}\n", flush=True)
    rows: dict[str, list[dict[str, float]]] = {"random": [], "proposed": []}
    for seed in arguments.seeds:
        with tempfile.TemporaryDirectory() as folder:
            log, workspace = Path(folder) / "log", Path(folder) / "workspace"
            lab.build(
                "lookalikes", log, seed=seed, honest_accounts=arguments.honest_accounts, days=arguments.days,
                format="parquet", data=Path(data) if data else None,
            )  # fmt: skip
            key_of_seed(workspace, seed)
            logs.ingest(sorted(log.glob("log*.parquet")), workspace, accounts=log / "accounts.csv")
            for what, found in measure(Workspace(workspace), seed, arguments.groups).items():
                rows[what] += found
    for what, found in rows.items():
        print(f"\n## {what} groups ({len(found)})\n")
        pairs(found)
        merged(found)


def measure(place: Workspace, seed: int, groups: int) -> dict[str, list[dict[str, float]]]:
    """For each group the log e-value of every kind that could be asked."""
    signals = plugins.find("campaigns.signals")
    rng = np.random.default_rng(seed)
    with Engine() as engine:
        engine.parquet("exchanges", place.parts(), schema.EXCHANGES)
        engine.parquet("accounts", [place.accounts], schema.ACCOUNTS)
        engine.parquet("actions", [], schema.ACTIONS)
        engine.run(BASE)
        population = engine.read("select count(*) as n from population")["n"][0].as_py()
        proposal = propose(engine, signals, population, seed=seed)
        everybody = engine.read("select account_id from population")["account_id"].to_numpy()
        timings = read_timings(engine, everybody, STOPPING)
    drawn = []
    for i in range(groups):
        proposer, size = ("shared_infrastructure", "shared_prompt")[i % 2], (8, 20, 60)[i % 3]
        accounts = np.unique(proposal.pools[proposer].account)
        drawn.append(Group(proposer, np.sort(rng.choice(accounts, size, replace=False))))
    found: dict[str, list[dict[str, float]]] = {}
    for what, several, gamma in (("random", drawn, 1.0), ("proposed", proposal.groups, 3.0)):
        scores = [
            score(g, proposal.pools[g.proposer], signals, gamma=gamma, seed=i, timings=timings)
            for i, g in enumerate(several)
        ]
        found[what] = [{kind: pair[0] for kind, pair in s.kinds[ACTS_AS_ONE].items()} for s in scores]
    return found


def pairs(found: list[dict[str, float]]) -> None:
    """Rank correlation and joint exceedance of each pair of kinds."""
    print(
        "| kinds | groups | rank correlation [95%] | both e >= 20 | if independent |\n|---|---|---|---|---|"
    )
    kinds = sorted({kind for row in found for kind in row})
    for a, b in combinations(kinds, 2):
        both = np.array([(row[a], row[b]) for row in found if a in row and b in row])
        if len(both) < LEAST or np.ptp(both, axis=0).min() == 0:
            continue
        rho = float(stats.spearmanr(both[:, 0], both[:, 1]).statistic)
        # Fisher's z with the variance of Bonett & Wright 2000.
        half = 1.96 * np.sqrt((1 + rho**2 / 2) / (len(both) - 3))
        low, high = np.tanh(np.arctanh(rho) - half), np.tanh(np.arctanh(rho) + half)
        loud = both >= LOUD
        chance = loud[:, 0].mean() * loud[:, 1].mean() * len(both)
        together = int(loud.all(axis=1).sum())
        print(f"| {a}, {b} | {len(both)} | {rho:.2f} [{low:.2f}, {high:.2f}] | {together} | {chance:.1f} |")


def merged(found: list[dict[str, float]]) -> None:
    """Honest groups that would reach the line by each way to merge their kinds."""
    needed = log_evalue_needed(max(len(found), 1), ALPHA)
    several = [row for row in found if len(row) >= 2]
    ways = {
        "product of all kinds": [sum(row.values()) for row in several],
        "mean of all kinds": [_mean(list(row.values())) for row in several],
        "mean without the largest": [_mean(sorted(row.values())[:-1]) for row in several],
        "the same, dependent kinds as one": [_mean(sorted(_joined(row))[:-1]) for row in several],
    }
    print(
        f"\nOf {len(several)} groups with two kinds or more, acting as one from e = {np.exp(needed):,.0f}:\n"
    )
    print("| merged by | groups over the line | over e = 20 |\n|---|---|---|")
    for name, values in ways.items():
        over = np.array(values)
        print(f"| {name} | {(over >= needed).sum()} | {(over >= LOUD).sum()} |")


def _joined(row: dict[str, float]) -> list[float]:
    kinds: dict[str, list[float]] = {}
    for name, value in row.items():
        kinds.setdefault(ONE_CAUSE.get(name, name), []).append(value)
    return [_mean(values) for values in kinds.values()]


def _mean(values: list[float]) -> float:
    return float(average_evalues(np.array(values))) if values else -np.inf


if __name__ == "__main__":
    main()
