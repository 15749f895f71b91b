"""``stillwatch case`` and whose word counts: exit codes, options, and what the screen says of a key."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from stillwatch.cases import portable
from stillwatch.cases.sealing import Signer, fingerprint
from stillwatch.cases.store import CaseStore
from stillwatch.cli import _filing, main
from stillwatch.records import Finding, Run

RUN = Run("0.1.0", "stillwatch campaigns scan", {}, {}, 1)


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


Call = Callable[..., Done]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "workspace"


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """Runs the program in this process, from its entry point."""

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["stillwatch", "case", *map(str, arguments)])
        capfd.readouterr()
        try:
            main.run()
        except SystemExit as leaving:
            code = leaving.code or 0
        else:
            code = 0
        return Done(int(code), *capfd.readouterr())

    return run


def eve() -> Signer:
    return Signer.derived(lambda label: b"e" * 32)


def test_a_file_is_vouched_for_as_a_whole_or_not_at_all(place: Path, tmp_path: Path, call: Call) -> None:
    with CaseStore(place) as store:
        case, key = store.open("One", by="ann").id, store.public_key
        store.note(case, "Ours.", by="ann")
        store.seal(case, by="ann")
        store.export(case, tmp_path / "1.zip", by="ann")
    with CaseStore(tmp_path / "hers", signer=eve()) as hers:
        hers.import_file(tmp_path / "1.zip")
        hers.note(case, "Hers.", by="ann")
        with hers._stored(case) as source:
            portable.write(source, tmp_path / "eve.zip", signer=eve())
    done = call("verify", tmp_path / "eve.zip", "--public-key", key)
    assert (done.code, done.out) == (5, "")
    assert "which sealed entries 1 to 2" in done.err and "--allow-later" in done.err
    done = call("verify", tmp_path / "eve.zip", "--public-key", key, "--allow-later")
    assert done.code == 0
    assert f"fingerprint {fingerprint(eve().public_key)}, not known beforehand" in done.out
    assert f"1 later entry: only {eve().public_key} vouches for it" in done.out
    assert call("import", tmp_path / "eve.zip", "--workspace", place, "--public-key", key).code == 5
    assert call("import", tmp_path / "eve.zip", "--workspace", place).code == 3


def test_a_case_that_came_in_a_file_says_so(place: Path, tmp_path: Path, call: Call) -> None:
    with CaseStore(place) as store:
        case, key = store.open("One", by="ann").id, store.public_key
        store.export(case, tmp_path / "1.zip", by="ann")
    there = ("--workspace", tmp_path / "theirs")
    assert call("import", tmp_path / "1.zip", "--by", "bob", *there).code == 0
    done = call("verify", case, *there)
    assert done.code == 0
    assert "entries 1 to 1: taken in by bob on" in done.out
    assert f"{fingerprint(key)} signed, not known beforehand" in done.out
    call("import", tmp_path / "1.zip", "--by", "bob", "--public-key", key, *there)
    assert f"{fingerprint(key)} signed\n" in call("verify", case, *there).out


def test_a_case_is_taken_over_from_a_key_that_was_lost(place: Path, call: Call) -> None:
    with CaseStore(place) as store:
        case, key = store.open("One", by="ann").id, store.public_key
    (place / "key").unlink()
    at = ("--workspace", place)
    done = call("seal", case, *at)
    assert done.code == 3 and "the key is gone" in done.err and not (place / "key").exists()
    done = call("verify", case, *at)
    assert done.code == 0 and "not known beforehand" in done.out and "has no key" in done.out
    assert call("seal", case, "--public-key", key, *at).code == 0
    done = call("verify", case, *at)
    assert done.code == 0 and "not known beforehand" not in done.out


@pytest.mark.parametrize("lacks", ["steps.sql", "members.parquet", "latest", "journal.jsonl"])
@pytest.mark.parametrize("command", ["open", "add"])
def test_a_scan_that_cannot_be_filed_changes_no_case(
    place: Path, call: Call, monkeypatch: pytest.MonkeyPatch, lacks: str, command: str
) -> None:
    scan = place / "scans" / "s"
    scan.mkdir(parents=True)
    for name in ("steps.sql", "members.parquet"):
        (scan / name).write_bytes(b"x")
    (place / "scans" / "latest").write_text("s")
    if lacks == "journal.jsonl":
        (place / lacks).write_text("no journal\n")
    else:
        (scan / lacks if lacks.count(".") else place / "scans" / lacks).unlink()
    found = Finding(subject="c-1", claim="x", decision="supported", results=(), family="1", run=RUN.id)
    monkeypatch.setattr(
        _filing, "latest_scan", lambda _: SimpleNamespace(run=RUN, findings=(found,), supported=(found,))
    )
    with CaseStore(place) as store:
        before = store.open("One", by="ann")
    words = (
        ("open", "Two", "--scan", "--seal") if command == "open" else ("add", "C-1", "--scan", "--note", "x")
    )
    done = call(*words, "--workspace", place)
    assert done.code == (5 if lacks == "journal.jsonl" else 3), done.err
    assert lacks in done.err
    with CaseStore(place) as store:
        assert [row.id for row in store.list()] == ["C-1"]
        assert store.get("C-1") == before
