"""Killed at any step or moment, a ledger loses nothing that it acknowledged, and knows when something is missing."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ledger_samples import CLOCK, MASTER, answer, quick_folder, text_of

from stillwatch.errors import InputError, IntegrityError
from stillwatch.marks.ledger import Ledger, Policy, verify

HERE = Path(__file__).parent
Kill = Callable[[Path, int], tuple[str, list[str]]]


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    yield from quick_folder()


@pytest.fixture(scope="module")
def killer() -> Iterator[Kill]:
    program = [sys.executable, str(HERE / "ledger_crashing.py")]
    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None

        def once(folder: Path, step: int = 0) -> tuple[str, list[str]]:
            running.stdin.write(f"{folder} {step}\n")
            running.stdin.flush()
            state, _, said = running.stdout.readline().strip().partition(" ")
            return state, said.split()

        yield once
        running.stdin.close()


def assert_holds(folder: Path, told: set[str]) -> None:
    """The chain holds, and every acknowledged answer is found by every door, before and after it is opened again."""
    found = verify(folder, MASTER)
    with Ledger(folder, MASTER) as reader:
        assert told <= {entry.exchange_id for entry in reader.entries()}
        assert len(reader) == found.records
    with Ledger(folder, MASTER, write=True, clock=CLOCK, policy=Policy(keep="both")) as ledger:
        for name in told:
            n = int(name.removeprefix("x-"))
            assert name in [e.exchange_id for e in ledger.by_text(text_of(n))]
            assert name in [e.exchange_id for e in ledger.by_tokens([n, n + 1, n + 2])]
    assert verify(folder, MASTER).torn == 0


def test_killed_before_any_durable_step(tmp_path: Path, killer: Kill) -> None:
    state, said = killer(tmp_path / "counted", 0)
    assert state == "done", (state, said)
    steps = int(said.pop().removeprefix("steps:"))
    assert steps > 80
    assert_holds(tmp_path / "counted", set(said))
    rng = random.Random(1)
    told: set[str] = set()
    for step in [1, 2, 3, 4, 5, 6, 7, 8, *rng.sample(range(9, steps), 40)]:
        state, said = killer(tmp_path / "one", step)
        assert state in ("killed", "done"), (state, said)
        told |= {name for name in said if name.startswith("x-")}
        if (tmp_path / "one" / "ledger.json").exists():
            assert_holds(tmp_path / "one", told)
    assert len(told) > 100


WRITER = """
import sys
from pathlib import Path
from threading import Thread
sys.path.insert(0, sys.argv[2])
from ledger_samples import CLOCK, MASTER, answer
from stillwatch.marks.ledger import Ledger, Policy
ledger = Ledger(Path(sys.argv[1]), MASTER, write=True, clock=CLOCK, policy=Policy(keep="both"), segment_bytes=50_000)
begin = int(sys.argv[3])
def some(first):
    for n in range(first, first + 100_000):
        ledger.append(answer(n))
        sys.stdout.write(f"x-{n}\\n")
        sys.stdout.flush()
for thread in range(4):
    Thread(target=some, args=(begin + 1_000_000 * thread,)).start()
"""


def test_killed_at_any_moment_with_four_threads(tmp_path: Path) -> None:
    rng = random.Random(2)
    told: set[str] = set()
    for round_ in range(6):
        running = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(HERE), str(100_000_000 * round_)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert running.stdout is not None
        told.add(running.stdout.readline().strip())
        time.sleep(rng.uniform(0, 0.5))
        running.send_signal(signal.SIGKILL)
        told |= {line for line in running.communicate(timeout=60)[0].split("\n")[:-1] if line}
        found = verify(tmp_path, MASTER)
        with Ledger(tmp_path, MASTER, write=True, clock=CLOCK) as ledger:
            assert told <= {entry.exchange_id for entry in ledger.entries()}
        assert found.answers >= len(told)
    assert len(told) > 20


def tail_of(folder: Path) -> Path:
    return max((folder / "segments").glob("*.seg"))


def whole(folder: Path) -> int:
    with Ledger(folder, MASTER, write=True, clock=CLOCK, policy=Policy(keep="text")) as ledger:
        ledger.append_many([answer(n) for n in range(20)])
    return tail_of(folder).stat().st_size


@pytest.mark.parametrize(
    "tail", [b"\x00" * 5000, b"\x07", bytes(range(256)) * 40, b"\xff" * 300, "half", "changed"]
)
def test_what_a_write_left_behind_is_cut_and_kept_aside(tmp_path: Path, tail: bytes | str) -> None:
    size = whole(tmp_path)
    path = tail_of(tmp_path)
    if isinstance(tail, str):
        # A whole record that was never acknowledged, cut in half or with one byte of it changed.
        head = (tmp_path / "head").read_bytes()
        with Ledger(tmp_path, MASTER, write=True, clock=CLOCK) as ledger:
            ledger.append(answer(99))
        (tmp_path / "head").write_bytes(head)
        (tmp_path / "index" / "manifest.json").unlink()
        more = path.read_bytes()[size:]
        tail = more[: len(more) // 2] if tail == "half" else more[:60] + bytes([more[60] ^ 1]) + more[61:]
        os.truncate(path, size)
    with path.open("ab") as file:
        file.write(tail)
    assert verify(tmp_path, MASTER).torn == len(tail)
    with Ledger(tmp_path, MASTER) as reader:
        assert len(reader) == 20
    with Ledger(tmp_path, MASTER, write=True, clock=CLOCK) as ledger:
        assert len(ledger) == 21  # the ledger says itself that a write was cut off
        ledger.append(answer(50))
    assert path.with_suffix(".torn-1").read_bytes() == tail
    assert verify(tmp_path, MASTER).torn == 0
    assert verify(tmp_path, MASTER).answers == 21


def test_a_head_that_is_behind_is_a_weaker_promise_only(tmp_path: Path) -> None:
    """After a power cut the head may be older than what was synced."""
    with Ledger(tmp_path, MASTER, write=True, clock=CLOCK, segment_bytes=2000) as ledger:
        ledger.append(answer(0))
        early = (tmp_path / "head").read_bytes()
        for n in range(1, 30):
            ledger.append(answer(n))
    (tmp_path / "head").write_bytes(early)
    assert verify(tmp_path, MASTER).answers == 30
    assert_holds(tmp_path, {f"x-{n}" for n in range(30)})


def test_a_torn_head_leaves_the_slot_before(tmp_path: Path) -> None:
    whole(tmp_path)
    data = (tmp_path / "head").read_bytes()
    for slot in (0, 512):
        torn = bytearray(data)
        torn[slot + 20] ^= 1
        (tmp_path / "head").write_bytes(torn)
        assert verify(tmp_path, MASTER).answers == 20
    torn[20] ^= 1
    (tmp_path / "head").write_bytes(torn)
    with pytest.raises(IntegrityError, match="removed or changed"):
        verify(tmp_path, MASTER)


FULL = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from ledger_samples import CLOCK, MASTER, answer
from stillwatch.errors import InputError
from stillwatch.marks.ledger import Ledger, Policy
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
ledger = Ledger(Path(sys.argv[1]), MASTER, write=True, clock=CLOCK, policy=Policy(keep="both"))
ledger.append(answer(1000))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
told = 0
for n in range(2000):
    try:
        ledger.append(answer(n))
        told += 1
    except InputError as refused:
        print(told, refused)
        break
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
ledger.append(answer(2000))
ledger.close()
"""


def test_a_full_disk_is_said_and_the_ledger_goes_on_when_there_is_room(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL, str(tmp_path), str(HERE), "60000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "nothing was written: File too large" in done.stdout
    assert verify(tmp_path, MASTER).answers == int(done.stdout.split()[0]) + 2
    assert verify(tmp_path, MASTER).torn == 0


def test_everybody_in_a_batch_that_failed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(tmp_path, MASTER, write=True, clock=CLOCK)
    ledger.append(answer(0))
    pwrite, broken = os.pwrite, threading.Event()
    broken.set()

    def full(handle: int, data: bytes, at: int) -> int:
        if broken.is_set() and len(data) > 150:  # not the head
            time.sleep(0.02)
            raise OSError(28, "No space left on device")
        return pwrite(handle, data, at)

    monkeypatch.setattr(os, "pwrite", full)
    results: dict[int, str] = {}

    def some(n: int) -> None:
        try:
            ledger.append(answer(n))
            results[n] = "in"
        except InputError as refused:
            results[n] = str(refused)

    threads = [threading.Thread(target=some, args=(n,)) for n in range(1, 17)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 16
    assert all("No space left" in said for said in results.values())
    broken.clear()
    ledger.append(answer(20))
    ledger.close()
    assert verify(tmp_path, MASTER).answers == 2


def test_after_a_sync_that_failed_nothing_is_taken_until_it_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(tmp_path, MASTER, write=True, clock=CLOCK)
    ledger.append(answer(0))
    with monkeypatch.context() as patched:

        def fails(handle: int) -> None:
            raise OSError(5, "Input/output error")

        patched.setattr(os, "fdatasync", fails)
        with pytest.raises(InputError, match="sync failed"):
            ledger.append(answer(1))
    with pytest.raises(InputError, match="sync failed"):
        ledger.append(answer(2))
    assert [e.exchange_id for e in ledger.by_text(text_of(0))] == ["x-0"]
    ledger.close()
    with Ledger(tmp_path, MASTER, write=True, clock=CLOCK) as again:
        again.append(answer(3))
    assert verify(tmp_path, MASTER).answers >= 2


def test_many_threads_one_chain(tmp_path: Path) -> None:
    with Ledger(tmp_path, MASTER, write=True, clock=CLOCK, segment_bytes=20_000) as ledger:
        numbers: dict[int, int] = {}

        def some(first: int) -> None:
            for n in range(first, first + 40):
                numbers[n] = ledger.append(answer(n))
                assert ledger.entry(numbers[n]).exchange_id == f"x-{n}"

        threads = [threading.Thread(target=some, args=(1000 * t,)) for t in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(numbers.values()) == list(range(320))
        assert len(list((tmp_path / "segments").glob("*.seg"))) > 3
        for n, number in numbers.items():
            assert [e.number for e in ledger.by_text(text_of(n))] == [number]
    assert verify(tmp_path, MASTER).answers == 320


def test_readers_open_it_while_it_is_written_merged_and_rolled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stillwatch.marks.ledger import index

    monkeypatch.setattr(index, "ROOM", 100)
    problems: list[str] = []
    opened = [0]
    done = threading.Event()
    with Ledger(tmp_path, MASTER, write=True, clock=CLOCK, segment_bytes=20_000) as writer:
        writer.append(answer(0))

        def read() -> None:
            while not done.is_set():
                try:
                    with Ledger(tmp_path, MASTER) as reader:
                        last = next(reader.entries(len(reader) - 1))
                        found = reader.by_text(
                            text_of(int(last.exchange_id.removeprefix("x-")), 12 if len(reader) > 1 else 60)
                        )
                        assert last in found
                    opened[0] += 1
                except Exception as problem:
                    problems.append(repr(problem))

        thread = threading.Thread(target=read)
        thread.start()
        for first in range(1, 3000, 20):
            writer.append_many([answer(n, words=12) for n in range(first, first + 20)])
        while opened[0] < 3 and not problems:
            time.sleep(0.01)
        done.set()
        thread.join()
    assert problems == []
