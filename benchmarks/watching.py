"""Cost of watching one more day against a full scan of everything so far, as a log grows.

    python benchmarks/watching.py [--accounts 600] [--days 24] [--every 6] [--window 4]

A log is composed and imported some days at a time. After each import a fresh process watches the new days (CPU seconds
a day, the first one left out because it compiles) and another one scans the whole log. The first stays where it is once
the window is full; the second grows with the log. Bytes are those of the window's aggregates, for each exchange in it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stillwatch import campaigns, lab, logs
from stillwatch.campaigns.daily import read_days
from stillwatch.engine.tables import Workspace

DAY = 86_400_000_000


def main() -> None:
    """Grow the log and print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--accounts", type=int, default=600)
    parser.add_argument("--days", type=int, default=24)
    parser.add_argument("--every", type=int, default=6, help="days a step")
    parser.add_argument("--window", type=int, default=4)
    parser.add_argument("--child", choices=["watch", "scan"], help=argparse.SUPPRESS)
    parser.add_argument("--workspace", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(_watched(arguments) if arguments.child == "watch" else _scanned(arguments)))
        return
    print(
        "| days | exchanges | groups | CPU s a watched day | CPU s a scan | ratio | state kB | bytes an exchange |"
    )
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder) / "workspace"
        built = lab.build(
            "hydra", Path(folder) / "log", seed=1, honest_accounts=arguments.accounts, days=arguments.days,
            format="parquet",
        )  # fmt: skip
        rows = pq.read_table(built.logs[0])
        day = rows["time"].cast(pa.int64()).to_numpy() // DAY
        for first in range(int(day.min()), int(day.max()) + 1, arguments.every):
            some = Path(folder) / f"{first}.parquet"
            pq.write_table(rows.filter(pa.array((day >= first) & (day < first + arguments.every))), some)
            logs.ingest([some], workspace, accounts=built.accounts, actions=built.actions)
            watched, scanned = _run("watch", workspace, arguments), _run("scan", workspace, arguments)
            print(
                f"| {len(read_days(Workspace(workspace)).rows)} | {watched['exchanges']:,} | {watched['groups']:,} "
                f"| {watched['cpu']:.2f} | {scanned['cpu']:.2f} | {watched['cpu'] / scanned['cpu']:.2f} "
                f"| {watched['state'] / 1e3:.0f} | {watched['bytes']:.0f} |",
                flush=True,
            )


def _run(child: str, workspace: Path, arguments: argparse.Namespace) -> dict:
    command = [sys.executable, __file__, "--child", child, "--workspace", str(workspace)]
    done = subprocess.run(
        [*command, "--window", str(arguments.window)], check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def _watched(arguments: argparse.Namespace) -> dict:
    began: list[float] = []
    found = campaigns.watch(
        arguments.workspace,
        until="2100-01-01",
        window_days=arguments.window,
        on_day=lambda day, number, days: began.append(time.process_time()),
    )
    took = np.diff([*began, time.process_time()])
    home = arguments.workspace / "watch"
    rows = read_days(Workspace(arguments.workspace)).rows
    kept = {path.name[:10] for path in (home / "days").iterdir()}
    return {
        "cpu": float(np.mean(took[1:] if len(took) > 1 else took)),
        "groups": len(found.groups),
        "exchanges": sum(rows.values()),
        "state": (home / "state.json").stat().st_size,
        "bytes": sum(p.stat().st_size for p in (home / "days").iterdir()) / sum(rows[day] for day in kept),
    }


def _scanned(arguments: argparse.Namespace) -> dict:
    # The second of two: the first one compiles.
    campaigns.scan(arguments.workspace)
    began = time.process_time()
    campaigns.scan(arguments.workspace)
    return {"cpu": time.process_time() - began}


if __name__ == "__main__":
    main()
