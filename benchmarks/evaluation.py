"""Recall and false alarms on composed logs, and the size of every test on accounts of honest ones.

    python benchmarks/evaluation.py                                   # one small log, a minute
    python benchmarks/evaluation.py campaign --honest-accounts 20000 --days 14 --seeds 101 102 103 104 105
    python benchmarks/evaluation.py honest   --honest-accounts 5000 --days 14 --seeds 201 202 203 204 205
    python benchmarks/evaluation.py size     --honest-accounts 5000 --days 14 --seeds 301 302 --groups 1000

Each log is built, imported and scanned as a user would; only `lab.score` reads the truth. With STILLWATCH_DATA the
arrivals and prompts are real, else generated. Rows are printed as they are finished, as a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np

from stillwatch import campaigns, lab, logs, plugins
from stillwatch.campaigns.groups import Group
from stillwatch.campaigns.scan import BASE, propose
from stillwatch.campaigns.scoring import score
from stillwatch.campaigns.signals.ban_failover import STOPPING
from stillwatch.campaigns.timing import read_timings
from stillwatch.engine import schema
from stillwatch.engine.duckdb import Engine
from stillwatch.engine.tables import Workspace
from stillwatch.errors import InsufficientData
from stillwatch.identity import Keys, Pseudonyms
from stillwatch.lab.keyed import key_of_seed
from stillwatch.stats.intervals import clopper_pearson


def main() -> None:
    """Parse the command line and print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["campaign", "honest", "size"], nargs="?", default="campaign")
    parser.add_argument("--seeds", nargs="+", type=int, default=[7])
    parser.add_argument("--scenario", nargs="+", default=None)
    parser.add_argument("--honest-accounts", type=int, default=2_000)
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--sharing", type=float, default=1.0)
    parser.add_argument("--groups", type=int, default=1000)
    arguments = parser.parse_args()
    data = os.environ.get("STILLWATCH_DATA")
    print(f"{'real arrivals and prompts' if data else 'generated log'}; {vars(arguments)}\n", flush=True)
    if arguments.what == "size":
        sizes(arguments, data)
    else:
        detections(arguments, data)


def detections(arguments: argparse.Namespace, data: str | None) -> None:
    """One row a log: what was found of what is true."""
    scenarios = arguments.scenario or (
        ["hydra"] if arguments.what == "campaign" else ["honest", "lookalikes"]
    )
    print("| scenario | seed | exchanges | groups proposed | campaigns found | campaign accounts found "
          "| honest accounts flagged | honest groups flagged | of honest groups proposed: min e >= 20, 100, 1000 "
          "| build, import, scan (s) |\n|---|---|---|---|---|---|---|---|---|---|", flush=True)  # fmt: skip
    totals = []
    for scenario in scenarios:
        for seed in arguments.seeds:
            with tempfile.TemporaryDirectory(dir=_scratch()) as folder:
                totals.append(_one(scenario, seed, arguments, data, Path(folder)))
    honest = sum(t.honest_flagged.count for t in totals), sum(t.honest_flagged.of for t in totals)
    wrong = sum(t.honest_flagged.count > 0 for t in totals), len(totals)
    print(
        f"\nhonest accounts flagged: {honest[0]} of {honest[1]}; logs with any: {_interval(*wrong)} (unit: the seed)"
    )
    planted = sum(t.campaigns_found.count for t in totals), sum(t.campaigns_found.of for t in totals)
    if planted[1]:
        print(f"planted campaigns found: {_interval(*planted)} (unit: the campaign, one a seed)")
        recalls = [t.recall.share for t in totals]
        print(f"accounts of the campaign found, by seed: least {min(recalls):.1%}, most {max(recalls):.1%}")


def _one(
    scenario: str, seed: int, arguments: argparse.Namespace, data: str | None, folder: Path
) -> lab.Score:
    times = [time.perf_counter()]
    built = lab.build(
        scenario, folder / "log", seed=seed, honest_accounts=arguments.honest_accounts, days=arguments.days,
        format="parquet", data=Path(data) if data else None, sharing=arguments.sharing,
    )  # fmt: skip
    times.append(time.perf_counter())
    workspace = folder / "workspace"
    key_of_seed(workspace, seed)
    files = sorted(built.out.glob("log*.parquet"))
    logs.ingest(files, workspace, accounts=built.out / "accounts.csv", actions=built.out / "actions.csv")
    times.append(time.perf_counter())
    found = campaigns.scan(workspace)
    times.append(time.perf_counter())
    result = lab.score(built.out / "truth.parquet", _members(found, workspace))
    planted = result.campaigns_found.of
    least = [f.log_evalue for f in found.findings if f.log_evalue is not None and f.decision != "supported"]
    over = ", ".join(str(sum(e >= np.log(x) for e in least)) for x in (20, 100, 1000))
    cells = [
        scenario,
        seed,
        f"{built.n_exchanges:,}",
        f"{found.proposed:,}",
        f"{result.campaigns_found.count} of {planted}",
        f"{result.recall.count} of {result.recall.of}",
        f"{result.honest_flagged.count} of {result.honest_flagged.of:,}",
        f"{result.honest_groups_flagged.count} of {result.honest_groups_flagged.of:,}",
        f"{over} of {len(least):,}",
        ", ".join(f"{b - a:.0f}" for a, b in pairwise(times)),
    ]
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    shutil.rmtree(workspace)
    return result


def _members(found: campaigns.Scan, workspace: Path) -> Path:
    place = Workspace(workspace)
    ids = found.members["account_id"].unique().to_pylist()
    names = Pseudonyms(Keys(place.key_file), place.vault).reveal("account", ids)
    path = workspace / "members.jsonl"
    with path.open("w") as out:
        for row in found.members.to_pylist():
            line = {
                "campaign": row["campaign"],
                "decision": row["decision"],
                "account": names[row["account_id"]],
            }
            out.write(json.dumps({**line, "share": row["share"]}) + "\n")
    return path


def sizes(arguments: argparse.Namespace, data: str | None) -> None:
    """Groups drawn at random from the accounts of honest logs: how often does each test reject?"""
    signals = plugins.find("campaigns.signals")
    hits: dict[tuple[str, float], np.ndarray] = {}
    for seed in arguments.seeds:
        with tempfile.TemporaryDirectory(dir=_scratch()) as folder:
            log, workspace = Path(folder) / "log", Path(folder) / "workspace"
            lab.build(
                "honest", log, seed=seed, honest_accounts=arguments.honest_accounts, days=arguments.days,
                format="parquet", data=Path(data) if data else None, sharing=arguments.sharing,
            )  # fmt: skip
            key_of_seed(workspace, seed)
            logs.ingest(sorted(log.glob("log*.parquet")), workspace, accounts=log / "accounts.csv")
            _random_groups(Workspace(workspace), signals, seed, arguments.groups, hits)
    print("| test | gamma | groups | rejects at 0.05 | at 0.01 | at 0.001 |\n|---|---|---|---|---|---|")
    for (name, gamma), (of, *counts) in sorted(hits.items()):
        shares = " | ".join(_interval(int(c), int(of)) for c in counts)
        print(f"| {name} | {gamma:g} | {of:.0f} | {shares} |")


def _random_groups(
    place: Workspace, signals: dict, seed: int, groups: int, hits: dict[tuple[str, float], np.ndarray]
) -> None:
    rng = np.random.default_rng(seed)
    with Engine() as engine:
        engine.parquet("exchanges", place.parts(), schema.EXCHANGES)
        engine.parquet("accounts", [place.accounts], schema.ACCOUNTS)
        engine.parquet("actions", [], schema.ACTIONS)
        engine.run(BASE)
        population = engine.read("select count(*) as n from population")["n"][0].as_py()
        span = engine.read("select min(time) as first, max(time) as last from exchanges").to_pylist()[0]
        proposal = propose(engine, signals, population, seed=seed)
        # A scan reads times of linked accounts only; random groups need everybody's.
        everybody = engine.read("select account_id from population")["account_id"].to_numpy()
        timings = read_timings(engine, everybody, STOPPING)
    for i in range(groups):
        proposer = ("shared_prompt", "shared_infrastructure")[i % 2]
        pool = proposal.pools[proposer]
        size = (8, 20, 60)[i % 3]
        group = Group(proposer, np.sort(rng.choice(np.unique(pool.account), size, replace=False)))
        rows, members, strata = pool.for_group(group)
        stops = np.sort(rng.integers(span["first"], span["last"], 3))  # of nobody: they mean nothing
        for gamma in (1.0, 3.0):
            for name, signal in signals.items():
                try:
                    if signal.VALUES.kind == "times":
                        result = signal.test(*timings.of(group), seed=i, gamma=gamma)
                    elif name in pool.values:
                        given = {"interventions": stops} if signal.VALUES.kind == "starts" else {}
                        values = pool.values[name][rows]
                        result = signal.test(values, members, strata, **given, seed=i, gamma=gamma)
                    else:
                        continue
                except InsufficientData:
                    continue
                _count(hits, (name, gamma), result.log_evalue)
            whole = score(group, pool, signals, gamma=gamma, seed=i, timings=timings)
            if whole.log_evalue is not None:
                _count(hits, ("both questions", gamma), whole.log_evalue)


def _count(hits: dict[tuple[str, float], np.ndarray], key: tuple[str, float], log_evalue: float) -> None:
    rejects = [log_evalue >= -np.log(alpha) for alpha in (0.05, 0.01, 0.001)]
    hits[key] = hits.get(key, np.zeros(4)) + np.array([1, *rejects])


def _interval(k: int, n: int) -> str:
    low, high = clopper_pearson(k, n, 0.95)
    return f"{k} of {n} [{low:.2%}, {high:.2%}]"


def _scratch() -> Path:
    """Composed logs are large: they lie in build/, on the disk and outside of git, and are removed."""
    folder = Path("build")
    folder.mkdir(exist_ok=True)
    return folder


if __name__ == "__main__":
    main()
