"""A case with 10,000 findings and 100,000 items of evidence: filled, opened, verified, listed, exported, imported.

Each time of the processor stands beside a floor: the sha256 of the same evidence, read from the same files; what the
disk takes besides is in the seconds. Then 1,000 random changes to a portable file, all of which verification must find.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "unit" / "cases"))
from portable_changes import CHANGES, two_exports, unnoticed
from store_samples import AT, filled, finding, run

from stillwatch.cases import portable
from stillwatch.cases.store import CaseStore
from stillwatch.records import Evidence

ITEM = 4096
"""Mean bytes of an item."""


def main() -> None:
    """Each step runs in a process of its own, so that its peak of memory is its own."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--findings", type=int, default=10_000)
    arguments.add_argument("--evidence", type=int, default=100_000)
    arguments.add_argument("--trials", type=int, default=1000)
    arguments.add_argument("--folder", type=Path, help="where to work; it is emptied")
    arguments.add_argument("--step", help="for itself")
    given = arguments.parse_args()
    if given.step:
        step(given.step, given.folder, given.findings, given.evidence)
        return
    folder = given.folder or Path(tempfile.mkdtemp(prefix="sw-bench-cases-"))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        measure(folder, given.findings, given.evidence)
        if given.trials:
            trials(folder, given.trials)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


STEPS = ("keep", "file", "floor", "open", "list", "verify", "export", "verify the file", "import")
WORDS = {
    "keep": "write the evidence files, each synced to the disk",
    "file": "add findings and evidence records, one transaction",
    "floor": "floor: read the files and take their sha256",
    "open": "get the case: every record",
    "list": "list the cases",
    "verify": "verify the store: chain, records, bytes",
    "export": "export one portable file",
    "verify the file": "verify the portable file",
    "import": "import it into an empty store",
}


def measure(folder: Path, findings: int, evidence: int) -> None:
    print(f"{findings:,} findings, {evidence:,} items of evidence of {ITEM:,} bytes on average")
    print(f"{'step':<54}{'seconds':>9}{'of CPU':>9}{'x floor':>9}{'peak MB':>9}")
    taken: dict[str, float] = {}
    rows = []
    for name in STEPS:
        command = [sys.executable, __file__, "--step", name, "--folder", str(folder)]
        command += ["--findings", str(findings), "--evidence", str(evidence)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        seconds, busy, peak = (float(part) for part in done.stdout.split())
        taken[name] = busy
        rows.append((name, seconds, busy, peak))
    for name, seconds, busy, peak in rows:
        print(f"{WORDS[name]:<54}{seconds:>9.2f}{busy:>9.2f}{busy / taken['floor']:>9.1f}{peak:>9.0f}")
    print(f"the portable file has {(folder / 'c.zip').stat().st_size / 1e6:,.0f} MB")


def step(name: str, folder: Path, findings: int, evidence: int) -> None:
    todo: dict[str, Callable[[], Any]] = {
        "keep": lambda: keep(folder, evidence),
        "file": lambda: file(folder, findings),
        "floor": lambda: floor(folder),
        "open": lambda: at(folder, lambda store: store.get("C-1")),
        "list": lambda: at(folder, lambda store: store.list()),
        "verify": lambda: at(folder, lambda store: store.verify("C-1")),
        "export": lambda: at(folder, lambda store: store.export("C-1", folder / "c.zip", by="bench")),
        "verify the file": lambda: verify_file(folder / "c.zip"),
        "import": lambda: import_into(folder),
    }
    start, busy = time.perf_counter(), time.process_time()
    result = todo[name]()
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    del result
    print(seconds, busy, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def at(folder: Path, do: Callable[[CaseStore], Any]) -> Any:
    with CaseStore(folder / "workspace") as store:
        return do(store)


def keep(folder: Path, evidence: int) -> None:
    rng = random.Random(1)
    with CaseStore(folder / "workspace") as store:
        kept = store.files.put_many(rng.randbytes(rng.randrange(2 * ITEM)) for _ in range(evidence))
    (folder / "kept").write_text("\n".join(f"{sha} {size}" for sha, size in kept))


def file(folder: Path, findings: int) -> None:
    with CaseStore(folder / "workspace") as store:
        case = store.open("A large case", by="bench").id
        records: list[Any] = [run(), *(replace(finding(), subject=f"c-{n:06x}") for n in range(findings))]
        for line in (folder / "kept").read_text().splitlines():
            sha256, size = line.split()
            records.append(Evidence(sha256, "text/plain", int(size), "log", "a.log", AT, "bench"))
        store.add_many(case, records, by="bench")
        store.seal(case, by="bench")


def floor(folder: Path) -> None:
    for path in sorted((folder / "workspace" / "cases" / "evidence").rglob("*")):
        if path.is_file():
            hashlib.sha256(path.read_bytes()).hexdigest()


def verify_file(path: Path) -> None:
    with portable.opened(path) as source:
        portable.check_file(source)


def import_into(folder: Path) -> None:
    with CaseStore(folder / "theirs") as store:
        store.import_file(folder / "c.zip")


def trials(folder: Path, number: int) -> None:
    whole, earlier, head, key = two_exports(folder / "trials", filled)
    start = time.perf_counter()
    missed = unnoticed(number, 1, whole, earlier, head, key)
    seconds = time.perf_counter() - start
    print(
        f"{number - len(missed):,} of {number:,} random changes of {len(set(CHANGES))} kinds to a file of "
        f"{len(whole):,} bytes were found ({seconds:.1f} s)"
    )
    if missed:
        raise SystemExit(f"not found: {', '.join(missed)}")


if __name__ == "__main__":
    main()
