"""The benchmark of campaign detection: each cell and seed is built, imported, scanned, scored and deleted again."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from stillwatch import __version__, campaigns, logs
from stillwatch.engine.tables import Workspace
from stillwatch.errors import FormatError, StillwatchError
from stillwatch.identity import Keys, Pseudonyms
from stillwatch.lab.cells import Cell
from stillwatch.lab.compare import compare
from stillwatch.lab.keyed import key_of_seed
from stillwatch.lab.score import Truth, hold
from stillwatch.lab.traffic import Built, build_with

RESULTS = "results.jsonl"
ALPHA = 0.01  # the bound of a scan that names none

Key = tuple[str, str, int, bool, float]
Found = dict[str, dict[int, float | None]]


def run(
    cells: Sequence[Cell],
    seeds: Sequence[int],
    out: Path,
    *,
    data: Path | None = None,
    alpha: float = ALPHA,
    baselines: bool = False,
    memory_limit: str = "1GB",
    threads: int = 2,
    on_stage: Callable[[str], None] | None = None,
    on_failure: Callable[[Cell, int, StillwatchError], None] | None = None,
) -> Iterator[dict[str, Any]]:
    """Run what is not in ``out/results.jsonl`` yet; gives the lines that were added, one by one.

    A finished (cell, seed) is passed over; a line counts as finished while the digest of its cell, the kind of its
    data and `alpha` are the same. An interrupted run leaves at most the log it was at, which the next run removes.

    Parameters
    ----------
    data
        As in `stillwatch.lab.build`: folder with real arrivals and prompts.
    alpha
        As in `stillwatch.campaigns.scan`: the bound on the false discovery rate.
    baselines
        Also run every method of `stillwatch.lab.baselines` on the same workspace; a line without them is then not
        finished, and is run again.
    on_stage
        Told what is being done.
    on_failure
        Told of a cell and seed that could not be scored; it gets no line, so the next run tries it again. None: the
        error ends the run.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / RESULTS
    done = {_key(r) for r in results(path) if "baselines" in r or not baselines}
    tell = on_stage or (lambda stage: None)
    for cell in cells:
        for seed in seeds[:1] if cell.once else seeds:
            if (cell.name, cell.digest, seed, data is not None, alpha) in done:
                continue
            try:
                line = one(
                    cell, seed, out / f"work-{cell.name}-{seed}", data=data, alpha=alpha, baselines=baselines,
                    memory_limit=memory_limit, threads=threads,
                    on_stage=lambda stage, c=cell, s=seed: tell(f"{c.name}, seed {s}: {stage}"),
                )  # fmt: skip
            except StillwatchError as error:
                if on_failure is None:
                    raise
                on_failure(cell, seed, error)
                continue
            with path.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(line) + "\n")
            yield line


def results(path: Path) -> list[dict[str, Any]]:
    """The lines of a file of results; none if there is no such file.

    A last line that was cut off is left out, and of several lines of one log, which differ in what was asked of it,
    all but the last.
    """
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    found: dict[Key, dict[str, Any]] = {}
    whole, _, rest = text.rpartition("\n")
    if rest:  # killed while it wrote: the next line must not be glued to it
        path.write_text(whole + "\n" if whole else "", encoding="utf-8")
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            row = json.loads(line)
            key = _key(row)
            found.pop(key, None)
        except (json.JSONDecodeError, TypeError, KeyError) as error:
            raise FormatError(f"not a result of this benchmark ({error})", str(path), number) from error
        found[key] = row
    return list(found.values())


def one(
    cell: Cell,
    seed: int,
    folder: Path,
    *,
    data: Path | None = None,
    alpha: float = ALPHA,
    baselines: bool = False,
    memory_limit: str = "1GB",
    threads: int = 2,
    on_stage: Callable[[str], None] = lambda stage: None,
) -> dict[str, Any]:
    """Build, import, scan and score one log in `folder`, delete it, and give one line of results."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        times = [time.perf_counter()]
        on_stage("building")
        built = build_with(
            cell.fill,
            folder / "log",
            seed=seed,
            honest_accounts=cell.log.honest_accounts,
            days=cell.log.days,
            data=data,
            sharing=cell.log.sharing,
            share=cell.campaign.share if cell.campaign else 0.0,
            name=f"lab run campaigns --cells {cell.name}",
            summary=f"{cell.name}: {cell.says}",
        )
        times.append(time.perf_counter())
        on_stage("importing")
        key_of_seed(folder / "workspace", seed)
        logs.ingest(
            built.logs, folder / "workspace", accounts=built.accounts, actions=built.actions,
            memory_limit=memory_limit, threads=threads, keep_text="none",
        )  # fmt: skip
        times.append(time.perf_counter())
        on_stage("scanning")
        scan = campaigns.scan(folder / "workspace", alpha=alpha, memory_limit=memory_limit, threads=threads)
        times.append(time.perf_counter())
        truth = Truth.read(built.truth)
        line = {
            **_head(cell, seed, built, data, alpha),
            "score": asdict(hold(truth, found(scan, folder / "workspace", truth))),
            **_findings(scan, folder / "workspace", truth),
            "seconds": dict(
                zip(("build", "import", "scan"), (round(b - a, 1) for a, b in pairwise(times)), strict=True)
            ),
        }
        if baselines:
            line["baselines"] = compare(folder / "workspace", truth, seed=seed, on_stage=on_stage)
        return line
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def found(scan: campaigns.Scan, workspace: Path, truth: Truth, decision: str | None = "supported") -> Found:
    """Campaign -> place of a member in the truth -> its share as told, of campaigns with one decision or of all.

    Accounts that were set apart are in none: nothing is said of them.
    """
    place = Workspace(workspace)
    rows = scan.members.select(["campaign", "decision", "account_id", "share"]).to_pylist()
    rows = [
        r for r in rows if r["decision"] == decision or (decision is None and r["decision"] != "set apart")
    ]
    names = Pseudonyms(Keys(place.key_file), place.vault).reveal(
        "account", sorted({r["account_id"] for r in rows})
    )
    out: Found = {}
    for r in rows:
        out.setdefault(r["campaign"], {})[truth.place[names[r["account_id"]]]] = r["share"]
    return out


def of_rate(lines: Sequence[dict[str, Any]], alpha: float) -> list[dict[str, Any]]:
    """The lines of scans with this bound on the false discovery rate; those without a word of it had the default."""
    return [r for r in lines if r.get("alpha", ALPHA) == alpha]


def _key(line: dict[str, Any]) -> Key:
    return line["cell"], line["digest"], line["seed"], line["real_data"], line.get("alpha", ALPHA)


def _head(cell: Cell, seed: int, built: Built, data: Path | None, alpha: float) -> dict[str, Any]:
    return {
        "cell": cell.name,
        "digest": cell.digest,
        "seed": seed,
        "version": __version__,
        "real_data": data is not None,
        "alpha": alpha,
        "exchanges": built.n_exchanges,
        "accounts": built.n_accounts,
        "campaign_accounts": built.n_campaign_accounts,
    }


def _findings(scan: campaigns.Scan, workspace: Path, truth: Truth) -> dict[str, Any]:
    """Numbers of proposed groups, and the e-values of what matters: planted campaigns, and honest groups near them."""
    everything = found(scan, workspace, truth, None)
    planted, honest = [], []
    for f in scan.findings:
        who = np.fromiter(everything.get(f.subject, {}), int)
        mine = int((truth.campaign[who] != "").sum())
        fact = {
            "finding": f.subject,
            "decision": f.decision,
            "accounts": len(who),
            "planted": mine,
            "log_evalue": f.log_evalue,
            "acts_as_one": f.details.get("acts_as_one"),
        }
        if 2 * mine >= len(who):
            planted.append(fact)
        else:
            roles, counts = np.unique(truth.role[who].astype(str), return_counts=True)
            honest.append({**fact, "role": str(roles[np.argmax(counts)]) if len(roles) else ""})
    honest.sort(key=lambda h: -np.inf if h["log_evalue"] is None else h["log_evalue"], reverse=True)
    evalues = np.array([h["log_evalue"] for h in honest if h["log_evalue"] is not None], float)
    over = [h["role"] for h in honest if h["log_evalue"] is not None and h["log_evalue"] >= scan.log_needed]
    return {
        "proposed": scan.proposed,
        "log_needed": scan.log_needed,
        "planted_findings": sorted(planted, key=lambda f: (f["decision"] != "supported", -f["planted"]))[:10],
        "honest_findings": {
            "proposed": len(honest),
            "with_evalue": len(evalues),
            "evalue_at_least": {str(x): int((evalues >= np.log(x)).sum()) for x in (20, 100, 1000)},
            "over_the_line": {role: over.count(role) for role in sorted(set(over))},
            "highest": [h for h in honest if h["log_evalue"] is not None][:10],
        },
    }
