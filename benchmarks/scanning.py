"""Time and peak memory of a scan against its floor: DuckDB reading the same columns of the same files once.

    python benchmarks/scanning.py [--sizes 0.1 1] [--memory-limit 1GB]

A log is composed and imported; larger ones are independent copies of it (accounts, texts and infrastructure of each
copy have names of their own). Every figure is of a fresh process: CPU seconds, wall seconds, peak resident memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from stillwatch import campaigns, lab, logs
from stillwatch.engine.tables import Workspace

COLUMNS = (
    "time, account_id, organization_id, client_prefix, tls_fingerprint, request_model, response_model, input_tokens, "
    "output_tokens, prompt_digest, elicitation, turns, conversation_id, exchange_id"
)
OWN = (
    "exchange_id", "account_id", "organization_id", "client_prefix", "conversation_id", "prompt_digest",
    "opening_digest",
)  # fmt: skip


def main() -> None:
    """Measure each size and print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", type=float, default=[0.1, 1.0], help="millions of exchanges")
    parser.add_argument("--memory-limit", default="1GB")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--child", choices=["scan", "floor"], help=argparse.SUPPRESS)
    parser.add_argument("--workspace", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        _child(arguments)
        return
    print(
        "| exchanges | accounts | groups | scan CPU s | wall s | peak GB | floor CPU s | peak GB | ratio (CPU) |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    data = os.environ.get("STILLWATCH_DATA")
    with tempfile.TemporaryDirectory(dir=_scratch()) as folder:
        base = Path(folder) / "base"
        accounts = 1_500 if max(arguments.sizes) < 1 else 15_000
        built = lab.build(
            "hydra", Path(folder) / "log", seed=1, honest_accounts=accounts, days=14, format="parquet",
            data=Path(data) if data else None,
        )  # fmt: skip
        logs.ingest(
            sorted(built.out.glob("log*.parquet")), base, accounts=built.accounts, actions=built.actions
        )
        for size in arguments.sizes:
            workspace = _sized(base, Path(folder) / f"w{size}", built.n_exchanges, int(size * 1e6))
            scan = _measure("scan", workspace, arguments)
            floor = _measure("floor", workspace, arguments)
            print(
                f"| {scan['exchanges']:,} | {scan['accounts']:,} | {scan['groups']:,} | {scan['cpu']:.1f} "
                f"| {scan['wall']:.1f} | {scan['peak']:.2f} | {floor['cpu']:.1f} | {floor['peak']:.2f} "
                f"| {scan['cpu'] / floor['cpu']:.1f} |",
                flush=True,
            )


def _sized(base: Path, target: Path, have: int, want: int) -> Path:
    """A workspace of about `want` exchanges: some accounts of `base`, or several re-keyed copies of it."""
    target.mkdir()
    place, source = Workspace(target), Workspace(base)
    (target / "exchanges").mkdir()
    engine = duckdb.connect()
    listed = ", ".join(f"'{p}'" for p in source.parts())
    for copy in range(max(1, round(want / have))):
        keyed = ", ".join(f"xor({c}, {copy * 0x9E3779B97F4A7}) as {c}" for c in OWN)
        lists = {"shingles": copy * 0x5851F42D4C957, "minhash": copy * 0x1B873593}
        lists |= dict.fromkeys(("signatures_minted", "signatures_presented"), copy * 0x5851F42D4C957)
        text = ", ".join(f"list_transform({c}, lambda s: xor(s, {key})) as {c}" for c, key in lists.items())
        part = f"where abs(account_id) % 1000 < {1000 * min(1.0, want / have):.0f}"
        engine.execute(
            f"copy (select * replace ({keyed}, {text}) from read_parquet([{listed}]) {part}) "
            f"to '{target}/exchanges/{copy}.parquet' (format parquet, row_group_size 122880)"
        )
    keys = ("account_id", "organization_id", "payment_token", "device_token", "signup_prefix")
    union = " union all ".join(
        "select * replace ("
        + ", ".join(f"xor({c}, {copy * 0x9E3779B97F4A7}) as {c}" for c in keys)
        + f") from '{source.accounts}'"
        for copy in range(max(1, round(want / have)))
    )
    engine.execute(f"copy ({union}) to '{place.accounts}' (format parquet)")
    return target


def _measure(what: str, workspace: Path, arguments: argparse.Namespace) -> dict:
    command = [sys.executable, __file__, "--child", what, "--workspace", str(workspace)]
    command += ["--memory-limit", arguments.memory_limit, "--threads", str(arguments.threads)]
    return json.loads(
        subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
    )


def _child(arguments: argparse.Namespace) -> None:
    parts = sorted((arguments.workspace / "exchanges").glob("*.parquet"))
    start = time.perf_counter()
    facts: dict[str, float] = {}
    if arguments.child == "scan":
        # The ledger of a copied workspace would name other parts.
        Workspace.parts = lambda self: parts  # type: ignore[method-assign]
        Workspace.must_exist = lambda self: self  # type: ignore[method-assign]
        found = campaigns.scan(
            arguments.workspace, memory_limit=arguments.memory_limit, threads=arguments.threads
        )
        facts = {"groups": found.proposed, "accounts": found.run.config["population"]}
    else:
        engine = duckdb.connect()
        engine.execute(f"set threads = {arguments.threads}; set memory_limit = '{arguments.memory_limit}'")
        listed = ", ".join(f"'{p}'" for p in parts)
        each = ", ".join(f"max({c.strip()})" for c in COLUMNS.split(","))
        row = engine.execute(
            f"select count(*), {each}, max(list_max(shingles)) from read_parquet([{listed}])"
        ).fetchone()
        facts = {"exchanges": row[0]}
    used = resource.getrusage(resource.RUSAGE_SELF)
    facts |= {
        "exchanges": duckdb.sql(
            f"select count(*) from '{arguments.workspace}/exchanges/*.parquet'"
        ).fetchall()[0][0],
        "cpu": used.ru_utime + used.ru_stime,
        "wall": time.perf_counter() - start,
        "peak": _peak(),
    }
    print(json.dumps(facts))


def _peak() -> float:
    """Peak resident memory in GB; `ru_maxrss` would begin with what the parent process held."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1e6


def _scratch() -> Path:
    """Composed logs are large: they lie in build/, on the disk and outside of git, and are removed."""
    folder = Path("build")
    folder.mkdir(exist_ok=True)
    return folder


if __name__ == "__main__":
    main()
