"""Killed at any step and started again, an import loses and doubles nothing; a full disk does no damage."""

from __future__ import annotations

import random
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from logs_samples import lines, read, record

from stillwatch.engine.tables import Workspace
from stillwatch.logs import ingest

HERE = Path(__file__).parent
ROWS = 60
DAY = 86_400


def log() -> bytes:
    """Three days, some lines twice, some bad: several blocks with several parts each."""
    rows = [{**record(i), "startTime": record(i)["startTime"] + DAY * (i % 3)} for i in range(ROWS)]
    return lines(rows[:40] + rows[30:]) + b'{"cut": \n' + lines(rows[:5])


@pytest.fixture(scope="module")
def killer() -> Iterator[Callable[..., str]]:
    program = [sys.executable, str(HERE / "crashing.py")]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdin is not None
        assert running.stdout is not None

        def run(workspace: Path, log: Path, step: int = 0) -> str:
            running.stdin.write(f"{workspace} {log} {step}\n")
            running.stdin.flush()
            return running.stdout.readline().strip()

        yield run
        running.stdin.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory, killer) -> tuple[Path, Path, pa.Table]:
    """The log, a key, and what an import that nobody interrupts makes of them."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "log.jsonl").write_bytes(log())
    assert killer(folder / "w", folder / "log.jsonl").startswith("done")
    found = read(folder / "w")
    assert found.num_rows == ROWS
    return folder / "log.jsonl", folder / "w" / "key", found


def fresh(folder: Path, key: Path) -> Path:
    """An empty workspace with the same key, so that its rows compare."""
    folder.mkdir()
    (folder / "key").touch(0o600)
    (folder / "key").write_bytes(key.read_bytes())
    return folder


def assert_whole(workspace: Path, expected: pa.Table) -> None:
    assert read(workspace).equals(expected)
    listed = {str(p) for p in Workspace(workspace).parts()}
    lying = {str(p) for p in (workspace / "exchanges").rglob("*") if p.is_file()}
    assert lying == listed
    with sqlite3.connect(workspace / "ledger.db") as ledger:
        added, duplicates, bad = ledger.execute(
            "select sum(added), sum(duplicates), sum(quarantined) from blocks"
        ).fetchone()
        listed_bad = ledger.execute("select count(*) from quarantine").fetchone()[0]
    ledger.close()
    assert (added, duplicates, bad, listed_bad) == (ROWS, 15, 1, 1)


def test_killed_before_any_durable_step(tmp_path, killer, whole):
    path, key, expected = whole
    steps = int(killer(fresh(tmp_path / "counted", key), path).removeprefix("done "))
    assert steps > 40
    rng = random.Random(1)
    for step in [1, steps, *rng.sample(range(2, steps), 8)]:
        workspace = fresh(tmp_path / f"w-{step}", key)
        assert killer(workspace, path, step) == "killed"
        assert read(workspace).num_rows <= ROWS
        assert killer(workspace, path).startswith("done")
        assert_whole(workspace, expected)


def test_killed_again_and_again_in_one_workspace(tmp_path, killer, whole):
    path, key, expected = whole
    workspace = fresh(tmp_path / "w", key)
    rng = random.Random(2)
    held = 0
    for _ in range(8):
        answer = killer(workspace, path, rng.randrange(5, 30))
        assert answer == "killed" or answer.startswith("done")
        now = read(workspace)
        ids = now["exchange_id"].to_pylist()
        assert len(set(ids)) == len(ids)
        assert now.num_rows >= held  # what counted once never stops counting
        held = now.num_rows
        if answer != "killed":
            break
    assert killer(workspace, path).startswith("done")
    assert_whole(workspace, expected)


def test_killed_at_any_moment(tmp_path, killer, whole):
    path, key, expected = whole
    workspace = fresh(tmp_path / "w", key)
    rng = random.Random(3)
    code = (
        f"import sys; sys.path.insert(0, {str(HERE)!r}); import crashing; sys.stdout.write('go'); sys.stdout.flush(); "
        f"crashing.logs.ingest([{str(path)!r}], {str(workspace)!r}, block_bytes=crashing.BLOCK_BYTES, threads=1)"
    )
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as running:
            assert running.stdout is not None
            assert running.stdout.read(2) == b"go"
            time.sleep(rng.uniform(0.1, 1.5))
            running.send_signal(signal.SIGKILL)
    assert killer(workspace, path).startswith("done")
    assert_whole(workspace, expected)


@pytest.mark.parametrize("limit", [20_000, 60_000])
def test_a_full_disk_is_said_and_does_no_damage(tmp_path, killer, whole, limit):
    path, key, expected = whole
    workspace = fresh(tmp_path / "w", key)
    program = [
        sys.executable, "-c", "from stillwatch.cli.main import run; run()",
        "logs", "import", str(path), "--workspace", str(workspace),
    ]  # fmt: skip

    def small_files_only() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    told = subprocess.run(program, capture_output=True, text=True, preexec_fn=small_files_only)
    assert told.returncode == 3, told.stderr
    assert "writing failed" in told.stderr
    assert "what was imported before is intact" in told.stderr
    assert len(told.stderr.splitlines()) == 1
    assert killer(workspace, path).startswith("done")
    assert read(workspace).equals(expected)


def test_an_import_after_a_crash_takes_other_files_too(tmp_path, killer, whole):
    path, key, _ = whole
    workspace = fresh(tmp_path / "w", key)
    assert killer(workspace, path, 20) == "killed"
    other = tmp_path / "other.jsonl"
    other.write_bytes(lines([record(1000)]))
    done = ingest([path, other], workspace)
    assert done.exchanges == ROWS + 1
