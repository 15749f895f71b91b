"""The journal: what the chain finds, what several writers do to it, and what a killed writer leaves."""

from __future__ import annotations

import hashlib
import json
import logging
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stillwatch.cases import Journal
from stillwatch.cases.journal import START, TORN
from stillwatch.errors import InputError, IntegrityError


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl")


def fill(journal: Journal, count: int) -> list[str]:
    return [journal.append("scan.finished", {"number": n}).digest for n in range(count)]


def test_entries_come_back_in_order_and_chained(journal: Journal) -> None:
    digests = fill(journal, 5)
    entries = list(journal.entries())
    assert [e.seq for e in entries] == [1, 2, 3, 4, 5]
    assert [e.body["number"] for e in entries] == [0, 1, 2, 3, 4]
    assert [e.previous for e in entries] == [START, *digests[:-1]]
    assert journal.verify() == 5
    assert journal.head() == digests[-1]


def test_an_entry_returned_equals_the_entry_read(journal: Journal) -> None:
    entry = journal.append(
        "vault.revealed", {"kinds": ("account", "payment"), "why": "case\u202e C-12 \x00 \ud800"}
    )
    assert list(journal.entries()) == [entry]
    assert entry.body["kinds"] == ["account", "payment"]


def test_a_missing_journal_has_no_entries_and_no_file_is_made(journal: Journal) -> None:
    assert journal.verify() == 0
    assert journal.head() == START
    assert not journal.path.exists()
    with pytest.raises(IntegrityError, match="none of them"):
        journal.verify(head="a" * 64)


def test_only_the_owner_may_read_it(journal: Journal) -> None:
    fill(journal, 1)
    assert journal.path.stat().st_mode & 0o777 == 0o600


def test_the_time_is_utc_whatever_zone_was_given(journal: Journal) -> None:
    at = datetime.fromisoformat("2026-11-02T01:30:00+02:00")
    assert journal.append("case.opened", {}, at=at).time == "2026-11-01T23:30:00.000000+00:00"
    with pytest.raises(InputError, match="time zone"):
        journal.append("case.opened", {}, at=datetime(2026, 11, 2))
    now = datetime.fromisoformat(journal.append("case.opened", {}).time)
    assert abs((datetime.now(UTC) - now).total_seconds()) < 60


@pytest.mark.parametrize(
    "body",
    [
        {"x": float("nan")},
        {"x": float("inf")},
        {"x": b"bytes"},
        {1: "number as key"},
        {"x": {2: 3}},
        {"x": {1, 2}},
    ],
    ids=["nan", "infinity", "bytes", "number key", "inner number key", "set"],
)
def test_what_is_not_json_is_refused_and_leaves_nothing(journal: Journal, body: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"scan\.finished"):
        journal.append("scan.finished", body)
    assert not journal.path.exists()


def test_an_empty_kind_is_refused(journal: Journal) -> None:
    with pytest.raises(InputError, match="kind"):
        journal.append("", {})


def change_body(lines: list[bytes]) -> int:
    lines[2] = lines[2].replace(b'"number":2', b'"number":7')
    return 3


def remove_middle(lines: list[bytes]) -> int:
    del lines[2]
    return 3


def remove_first(lines: list[bytes]) -> int:
    del lines[0]
    return 1


def swap(lines: list[bytes]) -> int:
    lines[1], lines[2] = lines[2], lines[1]
    return 2


def repeat(lines: list[bytes]) -> int:
    lines.insert(3, lines[2])
    return 4


def blank_line(lines: list[bytes]) -> int:
    lines.insert(1, b"\n")
    return 2


def other_spelling(lines: list[bytes]) -> int:
    lines[4] = json.dumps(json.loads(lines[4])).encode() + b"\n"
    return 5


def doubled_key(lines: list[bytes]) -> int:
    lines[3] = lines[3].replace(b'{"body":', b'{"body":{"number":99},"body":', 1)
    return 4


def extra_field(lines: list[bytes]) -> int:
    lines[0] = lines[0].replace(b'{"body"', b'{"aside":1,"body"', 1)
    return 1


def forged_digest(lines: list[bytes]) -> int:
    values = json.loads(lines[1])
    values["body"] = {"number": 42}
    del values["digest"]
    canonical = {"sort_keys": True, "separators": (",", ":")}
    values["digest"] = hashlib.sha256(json.dumps(values, **canonical).encode()).hexdigest()
    lines[1] = json.dumps(values, **canonical).encode() + b"\n"
    return 3  # entry 2 is consistent in itself; entry 3 shows that it is not the one it was chained to


def deep(lines: list[bytes]) -> int:
    lines[1] = b"[" * 100_000 + b"\n"
    return 2


TAMPERINGS = [
    change_body,
    remove_middle,
    remove_first,
    swap,
    repeat,
    blank_line,
    other_spelling,
    doubled_key,
    extra_field,
    forged_digest,
    deep,
]


@pytest.mark.parametrize("tamper", TAMPERINGS, ids=lambda f: f.__name__)
def test_the_first_broken_entry_is_named(journal: Journal, tamper) -> None:  # type: ignore[no-untyped-def]
    fill(journal, 6)
    lines = journal.path.read_bytes().splitlines(keepends=True)
    broken = tamper(lines)
    journal.path.write_bytes(b"".join(lines))
    with pytest.raises(IntegrityError, match=rf"entry {broken} \(line {broken}\)") as caught:
        journal.verify()
    assert caught.value.exit_code == 5


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_any_flipped_bit_is_found(tmp_path_factory: pytest.TempPathFactory, place: int, bit: int) -> None:
    journal = Journal(tmp_path_factory.mktemp("flip") / "journal.jsonl")
    fill(journal, 3)
    raw = bytearray(journal.path.read_bytes())
    raw[place % len(raw)] ^= 1 << bit
    journal.path.write_bytes(raw)
    with pytest.raises(IntegrityError):
        journal.verify()


def test_a_clean_cut_at_the_end_is_found_only_with_a_noted_head(journal: Journal) -> None:
    digests = fill(journal, 4)
    lines = journal.path.read_bytes().splitlines(keepends=True)
    journal.path.write_bytes(b"".join(lines[:2]))
    assert journal.verify() == 2  # a limit that the module states
    assert journal.verify(head=digests[1]) == 2
    with pytest.raises(IntegrityError, match="2 entries"):
        journal.verify(head=digests[3])


def test_nothing_is_added_to_a_broken_last_entry(journal: Journal) -> None:
    fill(journal, 2)
    raw = journal.path.read_bytes().replace(b'"number":1', b'"number":5')
    journal.path.write_bytes(raw)
    with pytest.raises(IntegrityError, match="entry 2"):
        journal.append("scan.finished", {})
    assert journal.path.read_bytes() == raw


@pytest.mark.parametrize("kept_bytes", [1, 40, -1], ids=["one byte", "the middle", "all but the line end"])
def test_a_torn_tail_is_reported_then_moved_aside(
    journal: Journal, kept_bytes: int, caplog: pytest.LogCaptureFixture
) -> None:
    fill(journal, 3)
    raw = journal.path.read_bytes()
    lines = raw.splitlines(keepends=True)
    torn = lines[2][:kept_bytes]
    journal.path.write_bytes(lines[0] + lines[1] + torn)

    with pytest.raises(IntegrityError, match=r"entry 3 .*without a line end: a write was cut off"):
        journal.verify()

    with caplog.at_level(logging.WARNING):
        journal.append("scan.finished", {"number": 9})
    assert "cut off" in caplog.text
    aside = journal.path.with_name("journal.jsonl.torn-1")
    assert aside.read_bytes() == torn
    assert aside.stat().st_mode & 0o777 == 0o600
    assert [e.kind for e in journal.entries()] == ["scan.finished", "scan.finished", TORN, "scan.finished"]
    record = list(journal.entries())[2].body
    assert (record["bytes"], record["kept_as"]) == (len(torn), aside.name)


def test_a_second_torn_tail_does_not_replace_the_first(journal: Journal) -> None:
    for tail in (b"first", b"second"):
        fill(journal, 1)
        with journal.path.open("ab") as file:
            file.write(tail)
    fill(journal, 1)
    names = sorted(p.name for p in journal.path.parent.iterdir())
    assert names == ["journal.jsonl", "journal.jsonl.torn-1", "journal.jsonl.torn-2"]
    assert journal.path.with_name("journal.jsonl.torn-1").read_bytes() == b"first"
    assert journal.verify() == 5


def test_a_torn_tail_of_zeros_after_a_power_cut(journal: Journal) -> None:
    fill(journal, 1)
    with journal.path.open("ab") as file:
        file.write(bytes(200_000))  # longer than one block of the backward search
    fill(journal, 1)
    assert journal.verify() == 3


WRITER = """
import sys
from stillwatch.cases import Journal
journal = Journal(sys.argv[1])
for number in range(int(sys.argv[3])):
    entry = journal.append("test.written", {"writer": sys.argv[2], "number": number, "filler": "x" * 3000})
    print(entry.digest, flush=True)
"""


def start_writer(journal: Journal, name: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(journal.path), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_several_processes_write_one_chain(journal: Journal) -> None:
    writers = [start_writer(journal, name, 25) for name in "abc"]
    said = [line for writer in writers for line in writer.communicate(timeout=60)[0].split()]
    assert [w.returncode for w in writers] == [0, 0, 0]
    entries = list(journal.entries())
    assert sorted(e.digest for e in entries) == sorted(said)
    for name in "abc":
        assert [e.body["number"] for e in entries if e.body["writer"] == name] == list(range(25))


def test_several_threads_of_one_process_write_one_chain(journal: Journal) -> None:
    threads = [threading.Thread(target=fill, args=(journal, 20)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert journal.verify() == 80


def test_killed_writers_lose_nothing_that_was_acknowledged(journal: Journal) -> None:
    rng = random.Random(4)
    acknowledged: list[str] = []
    for _ in range(6):
        writer = start_writer(journal, "k", 100_000)
        assert writer.stdout is not None
        acknowledged.append(writer.stdout.readline().strip())
        time.sleep(rng.uniform(0, 0.05))
        writer.send_signal(signal.SIGKILL)
        acknowledged += writer.communicate(timeout=30)[0].split()
    fill(journal, 1)
    present = {e.digest for e in journal.entries()}
    assert len(acknowledged) > 12
    assert set(acknowledged) <= present


def test_killed_in_the_middle_of_a_write(journal: Journal) -> None:
    script = (
        "import os, signal, sys\n"
        "from stillwatch.cases import Journal\n"
        "journal = Journal(sys.argv[1])\n"
        "journal.append('test.written', {'number': 1})\n"
        "whole = os.write\n"
        "def half(descriptor, data):\n"
        "    whole(descriptor, data[: len(data) // 2])\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "os.write = half\n"
        "journal.append('test.written', {'number': 2})\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(journal.path)], timeout=30, check=False)
    assert done.returncode == -signal.SIGKILL
    with pytest.raises(IntegrityError, match="entry 2"):
        journal.verify()
    fill(journal, 1)
    assert [e.kind for e in journal.entries()] == ["test.written", TORN, "scan.finished"]


def test_a_full_disk_leaves_the_journal_as_it_was(journal: Journal) -> None:
    fill(journal, 2)
    before = journal.path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, hard))
    try:
        with pytest.raises(InputError, match="was not written"):
            journal.append("scan.finished", {"filler": "x" * 5000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert journal.path.read_bytes() == before
    fill(journal, 1)
    assert journal.verify() == 3


def test_a_missing_folder_is_a_plain_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be opened"):
        Journal(tmp_path / "nowhere" / "journal.jsonl").append("scan.finished", {})


def test_a_long_entry_is_found_again_from_the_end(journal: Journal) -> None:
    journal.append("scan.finished", {"filler": "y" * 300_000})
    assert journal.append("scan.finished", {}).seq == 2
    assert journal.verify() == 2
    assert journal.path.stat().st_size > 300_000
