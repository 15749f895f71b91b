"""Killed at any step, a writer loses nothing that it was told is in, and breaks nothing; nor does a full disk."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from store_samples import finding, run

from stillwatch.cases import portable
from stillwatch.cases.store import CaseStore

HERE = Path(__file__).parent
Kill = Callable[[Path, int], str]


@pytest.fixture(scope="module")
def killer() -> Iterator[Kill]:
    program = [sys.executable, str(HERE / "store_crashing.py")]
    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None

        def once(workspace: Path, step: int = 0) -> str:
            running.stdin.write(f"{workspace} {step}\n")
            running.stdin.flush()
            return running.stdout.readline().strip()

        yield once
        running.stdin.close()


def assert_whole(workspace: Path) -> None:
    """Every case verifies, whatever was cut off, and every portable file that is there is a whole one."""
    with CaseStore(workspace) as store:
        for row in store.list():
            store.verify(row.id)
    for path in workspace.glob("*.zip"):
        with portable.opened(path) as source:
            portable.check_file(source)


def test_killed_before_any_durable_step(tmp_path: Path, killer: Kill) -> None:
    answer = killer(tmp_path / "counted", 0)
    assert answer.startswith("done"), answer
    steps = int(answer.removeprefix("done "))
    assert steps > 40
    assert_whole(tmp_path / "counted")
    rng = random.Random(1)
    workspace = tmp_path / "one"
    entries = 0
    for step in [1, 2, 3, steps, *rng.sample(range(4, steps), 22)]:
        answer = killer(workspace, step)
        assert answer == "killed" or answer.startswith("done"), (
            answer
        )  # a store that is there needs fewer steps
        if not (workspace / "cases" / "cases.db").exists():
            continue
        assert_whole(workspace)
        with CaseStore(workspace) as store:
            now = sum(row.entries for row in store.list())
        assert now >= entries  # what was in stays in
        entries = now
    assert killer(workspace, 0).startswith("done")
    assert_whole(workspace)


WRITER = """
import sys
from pathlib import Path
from stillwatch.cases.store import CaseStore
store = CaseStore(Path(sys.argv[1]))
for number in range(100_000):
    store.note("C-1", f"{sys.argv[2]} {number}", by="ann")
    item = store.add_evidence("C-1", f"{sys.argv[2]} {number}".encode(), media_type="text/plain", role="r",
                              origin="o", by="ann")
    print(number, item.sha256, flush=True)
"""


@pytest.mark.parametrize("writers", [1, 3])
def test_killed_at_any_moment(tmp_path: Path, writers: int) -> None:
    with CaseStore(tmp_path) as store:
        store.open("One")
    rng = random.Random(writers)
    told: list[tuple[str, str]] = []
    for round_ in range(3):
        running = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, str(tmp_path), f"{round_}-{n}"],
                stdout=subprocess.PIPE,
                text=True,
            )
            for n in range(writers)
        ]
        for one in running:
            assert one.stdout is not None
            told.append((running[0].args[-1], one.stdout.readline().split()[1]))  # type: ignore[index]
        time.sleep(rng.uniform(0, 0.3))
        for one in running:
            one.send_signal(signal.SIGKILL)
        for one in running:
            told += [
                ("", line.split()[1]) for line in one.communicate(timeout=60)[0].splitlines() if " " in line
            ]
        assert_whole(tmp_path)
    with CaseStore(tmp_path) as store:
        held = {e.sha256 for e in store.get("C-1").evidence}
        store.note("C-1", "afterwards", by="ann")
        assert {sha256 for _, sha256 in told if len(sha256) == 64} <= held
        assert len(held) >= len(told) - writers * 3
    assert_whole(tmp_path)


FULL = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from store_samples import finding, run
from stillwatch.cases.store import CaseStore
from stillwatch.errors import InputError
store = CaseStore(Path(sys.argv[2]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    if sys.argv[4] == "findings":
        store.add_many("C-1", [run(), *(finding(n) for n in range(400))], by="ann")
    elif sys.argv[4] == "evidence":
        store.add_evidence("C-1", b"x" * 900_000, media_type="text/plain", role="r", origin="o", by="ann")
    else:
        store.export("C-1", Path(sys.argv[2]) / "c.zip", by="ann")
except InputError as told:
    print(told)
    sys.exit(3)
"""


@pytest.mark.parametrize("what", ["findings", "evidence", "export"])
def test_a_full_disk_is_said_and_does_no_damage(tmp_path: Path, what: str) -> None:
    with CaseStore(tmp_path) as store:
        store.open("One")
        store.add_many("C-1", [run(), *(finding(n) for n in range(1000, 1010))], by="ann")
        store.add_evidence("C-1", b"y" * 300_000, media_type="text/plain", role="r", origin="o", by="ann")
        before = store.get("C-1")
    limit = 200_000
    command = [sys.executable, "-c", FULL, str(HERE), str(tmp_path), str(limit), what]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 3, done.stderr
    assert "was not written" in done.stdout
    assert not list(tmp_path.rglob("*.tmp"))
    with CaseStore(tmp_path) as store:
        assert store.get("C-1") == before
        store.note("C-1", "afterwards", by="ann")
        assert store.verify("C-1").entries == 14
