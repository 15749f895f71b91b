"""Scans on disk: `scans/<run id>/` holds findings.json, members.parquet, exchanges.parquet and steps.sql.

`scans/latest` names one.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from itertools import count
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from stillwatch.campaigns.belonging import EXCHANGES, list_exchanges
from stillwatch.campaigns.scan import Scan
from stillwatch.engine import schema
from stillwatch.engine.duckdb import Engine
from stillwatch.engine.tables import Workspace
from stillwatch.errors import InputError, IntegrityError
from stillwatch.records import Assumption, Excluded, Finding, Null, Run, TestResult


def save(scan: Scan, workspace: Path | str) -> Path:
    """Write a scan whole or not at all, and make it the latest.

    Returns
    -------
    Path
        The folder of the scan, named by its run; it takes the place of an earlier scan of the same run.
    """
    place = Workspace(Path(workspace)).scans
    place.mkdir(parents=True, exist_ok=True)
    name = scan.run.id[:16]
    fresh = place / f".{name}.{os.getpid()}"
    fresh.mkdir()
    try:
        meta = {
            "run": asdict(scan.run),
            "findings": [asdict(f) for f in scan.findings],
            "proposed": scan.proposed,
            "alpha": scan.alpha,
            "log_needed": scan.log_needed,
        }
        (fresh / "findings.json").write_text(json.dumps(meta, ensure_ascii=False, allow_nan=False), "utf-8")
        pq.write_table(scan.members, fresh / "members.parquet")
        pq.write_table(_exchanges(scan, workspace), fresh / "exchanges.parquet", compression="zstd")
        (fresh / "steps.sql").write_text(scan.sql, "utf-8")
        # Under a name of its own: until the pointer moves, the scan it points to stays whole.
        earlier = [p for p in place.glob(f"{name}*") if p.is_dir()]
        taken = {p.name for p in earlier}
        target = next(place / n for i in count() if (n := f"{name}.{i}" if i else name) not in taken)
        fresh.rename(target)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    pointer = place / f".latest.{os.getpid()}"
    pointer.write_text(target.name, "utf-8")
    pointer.replace(place / "latest")
    for folder in earlier:
        shutil.rmtree(folder)
    return target


def _exchanges(scan: Scan, workspace: Path | str) -> pa.Table:
    """The exchanges that the findings mean; none where the log is not (or no longer) in this workspace."""
    place = Workspace(Path(workspace))
    if not (parts := place.parts()):
        return EXCHANGES.empty_table()
    with Engine() as engine:
        engine.parquet("exchanges", parts, schema.EXCHANGES)
        engine.parquet("accounts", [place.accounts] if place.accounts.exists() else [], schema.ACCOUNTS)
        return list_exchanges(engine, scan.findings, scan.members)


def exchanges(workspace: Path | str) -> pa.Table:
    """The exchanges that the latest scan's findings mean: columns of `stillwatch.campaigns.belonging.EXCHANGES`.

    Raises
    ------
    InputError
        No scan was saved here, or by a version that listed none.
    """
    listed = _folder(workspace) / "exchanges.parquet"
    if not listed.exists():
        raise InputError(f"{listed}: this scan lists no exchanges; scan again: stillwatch campaigns scan")
    return pq.read_table(listed)


def latest(workspace: Path | str) -> Scan:
    """The scan that was saved last.

    Raises
    ------
    InputError
        No scan was saved here.
    IntegrityError
        A finding's id is not the digest of its content.
    """
    folder = _folder(workspace)
    meta = json.loads((folder / "findings.json").read_text("utf-8"))
    return Scan(
        run=_run(meta["run"]),
        findings=tuple(_finding(f) for f in meta["findings"]),
        members=pq.read_table(folder / "members.parquet"),
        proposed=meta["proposed"],
        alpha=meta["alpha"],
        log_needed=meta["log_needed"],
        sql=(folder / "steps.sql").read_text("utf-8"),
    )


def _folder(workspace: Path | str) -> Path:
    """Where the latest scan lies."""
    place = Workspace(Path(workspace)).scans
    pointer = place / "latest"
    if not pointer.exists():
        raise InputError(f"{workspace}: no scan yet; start with: stillwatch campaigns scan")
    folder = place / pointer.read_text("utf-8").strip()
    if not folder.is_dir():
        raise InputError(f"{folder}: the latest scan is gone; scan again: stillwatch campaigns scan")
    return folder


def _run(stored: dict) -> Run:
    run = Run(**{k: v for k, v in stored.items() if k != "id"})
    if run.id != stored["id"]:
        raise IntegrityError("run", stored["id"], run.id)
    return run


def _finding(stored: dict) -> Finding:
    values = {k: v for k, v in stored.items() if k != "id"}
    values["results"] = tuple(_result(r) for r in values["results"])
    values["alternatives"] = tuple(Excluded(**a) for a in values["alternatives"])
    values["limits"] = tuple(values["limits"])
    values["evidence"] = tuple(values["evidence"])
    finding = Finding(**values)
    if finding.id != stored["id"]:
        raise IntegrityError(f"finding {stored['subject']}", stored["id"], finding.id)
    return finding


def _result(stored: dict) -> TestResult:
    values = dict(stored)
    values["null"] = Null(**values["null"])
    values["assumptions"] = tuple(Assumption(**a) for a in values["assumptions"])
    values["interval"] = None if values["interval"] is None else tuple(values["interval"])
    return TestResult(**values)
