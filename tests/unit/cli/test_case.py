"""``stillwatch case`` on a store in a folder: what the screen never hides, what ids mean, and how it fails."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stillwatch.cases.store import CaseStore
from stillwatch.cli import _filing, main
from stillwatch.records import Answer, Asked, Finding, Run

RUN = Run("0.1.0", "stillwatch campaigns scan", {}, {}, 1)
CLAIM = "These accounts act as one, and what they do has the shape of harvesting."


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


Call = Callable[..., Done]


def finding(number: int) -> Finding:
    return Finding(
        subject=f"c-{number:08d}", claim=CLAIM, decision="supported", results=(), family="1 group", run=RUN.id,
        details={"accounts": 40, "exchanges": 9_000, "since": "2020-11-02", "until": "2020-11-08",
                 "proposed_by": "shared_prompt", "texts": ["articulate the internal reasoning behind the response"]},
    )  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "workspace"


@pytest.fixture
def case(place: Path) -> str:
    """The id of a case with one finding."""
    return filled(place, 1)


def filled(place: Path, number: int) -> str:
    with CaseStore(place) as store:
        case = store.open("Harvesting", by="ann").id
        store.add_many(case, [RUN, *map(finding, range(number))], by="ann")
    return case


@pytest.fixture
def call(place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """Runs the program in this process, from its entry point."""

    def run(*arguments: object) -> Done:
        words = ["stillwatch", "case", *map(str, arguments), "--workspace", str(place)]
        monkeypatch.setattr(sys, "argv", words)
        capfd.readouterr()
        try:
            main.run()
        except SystemExit as leaving:
            code = leaving.code or 0
        else:
            code = 0
        return Done(int(code), *capfd.readouterr())

    return run


# -- what the screen never hides -----------------------------------------------------------------------------------


def test_what_was_withdrawn_is_shown_however_late_it_stands(place: Path, call: Call) -> None:
    case = filled(place, 30)
    with CaseStore(place) as store:
        store.withdraw(case, finding(24).id, "They are one school.", by="ann")
        store.withdraw(case, finding(25).id, "Counted twice.", by="ann", replaced_by=finding(0).id)
        store.answer(case, "Reseller", "They are ours.", by="ann", finding=finding(27).id)
    screen = call("show", case).out
    assert "WITHDRAWN, supported: c-00000024" in screen and "They are one school." in screen
    assert "CORRECTED, supported: c-00000025" in screen
    assert "They are ours." in screen
    assert "findings    30: 28 stand, 1 withdrawn, 1 corrected" in screen
    assert "7 more findings that stand" in screen

    (listed,) = [line for line in call("list").out.splitlines() if line.startswith(case)]
    assert listed.split()[3:5] == ["30", "2"]
    (record,) = map(json.loads, call("show", case, "--json").out.splitlines())
    states = [f["state"] for f in record["findings"]]
    assert (states[24], states[25], states[0]) == ("withdrawn", "corrected", "stands")
    (row,) = map(json.loads, call("list", "--json").out.splitlines())
    assert row["withdrawn"] == 2


def test_a_case_that_was_withdrawn_reaches_every_output(place: Path, case: str, call: Call) -> None:
    assert call("close", case, "The log was another one.", "--withdrawn", "--by", "ben").code == 0
    screen = call("show", case).out
    assert "WITHDRAWN, TLP:AMBER" in screen and "ben: The log was another one." in screen
    assert "WITHDRAWN WITH ITS CASE, supported: c-00000000" in screen
    (record,) = map(json.loads, call("show", case, "--json").out.splitlines())
    assert record["findings"][0]["state"] == "withdrawn with its case"
    assert (record["closing"]["by"], record["closing"]["withdrawn"]) == ("ben", True)
    (row,) = map(json.loads, call("list", "--json").out.splitlines())
    assert (row["findings"], row["withdrawn"]) == (1, 1)
    shared = call("share", case, "--format", "csv")
    assert '"taken back"' in shared.out and '"stands"' not in shared.out
    assert "The log was another one." in shared.out


def test_a_question_that_is_asked_again_is_open_again(place: Path, case: str, call: Call) -> None:
    about = finding(0).id
    with CaseStore(place) as store:
        store.add(case, Answer("R", about, "First.", "2026-11-01T00:00:00+00:00", "ann"), by="ann")
        store.add(case, Asked("R", about, "2026-11-10T00:00:00+00:00", "2026-11-15"), by="ann")
    screen = call("show", case).out
    assert "R, 2026-11-01: First." in screen and "R: no answer by 2026-11-15" in screen


def test_an_answer_to_the_whole_case_is_no_silence_about_a_finding(
    place: Path, case: str, call: Call
) -> None:
    with CaseStore(place) as store:
        store.answer(case, "R", "All these are ours.", by="ann")
    screen = call("show", case).out
    assert "nobody was asked yet" not in screen
    assert "All these are ours." in screen


# -- which finding is meant ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["", finding(0).id[:5], "c-0000000"])
def test_a_finding_is_never_hit_by_chance(case: str, call: Call, start: str) -> None:
    done = call("withdraw", case, start, "They had leave.")
    assert done.code == 3 and "is no finding of C-1" in done.err
    assert "stand" in call("show", case).out and "WITHDRAWN" not in call("show", case).out


@pytest.mark.parametrize("start", [finding(0).id[:6], finding(0).id, "c-00000000"])
def test_six_characters_or_the_subject_name_a_finding(case: str, call: Call, start: str) -> None:
    assert call("withdraw", case, start, "They had leave.").code == 0


# -- evidence that is deleted --------------------------------------------------------------------------------------


def test_evidence_is_deleted_for_a_reason(place: Path, case: str, call: Call, tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("three lines")
    call("add", case, tmp_path / "a.log")
    with CaseStore(place) as store:
        (sha256,) = (e.sha256 for e in store.get(case).evidence)
    for words in ([sha256[:5], "--reason", "x"], [sha256, "--reason", " "], ["f" * 64, "--reason", "x"]):
        assert call("delete-evidence", case, *words).code == 3
    assert call("delete-evidence", case, sha256, "--by", "ann").code == 2  # no reason
    done = call("delete-evidence", case, sha256[:16], "--reason", "Kept long enough.", "--by", "ben")
    assert done.code == 0, done.err
    with CaseStore(place) as store:
        assert not store.files.has(sha256)
        last = store.get(case).custody[-1]
        assert (last.action, last.by, last.note) == ("deleted", "ben", "Kept long enough.")
    assert call("verify", case).code == 0


# -- files and ids -------------------------------------------------------------------------------------------------


def test_a_file_that_is_called_as_a_case_does_not_hide_the_case(
    case: str, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / case).write_text("no portable file")
    assert call("verify", case).out.startswith("case C-1: whole")
    assert call("verify", f"./{case}").code == 5


@pytest.mark.parametrize("size", [0, 10, 1000, -1])
def test_a_file_that_is_cut_off_is_broken_rather_than_bad_input(
    case: str, call: Call, tmp_path: Path, size: int
) -> None:
    assert call("export", case, tmp_path / "c.zip").code == 0
    (tmp_path / "cut.zip").write_bytes((tmp_path / "c.zip").read_bytes()[:size])
    done = call("verify", tmp_path / "cut.zip")
    assert (done.code, done.out) == (5, "") and "cut.zip" in done.err


def test_a_portable_file_is_not_called_minus(
    case: str, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = call("export", case, "-")
    assert done.code == 3 and "with a name" in done.err
    assert not (tmp_path / "-").exists()


def test_the_head_of_a_seal_is_printed_whatever_becomes_of_its_signature(
    case: str, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = call("seal", case, "--signature-out", tmp_path / "no" / "c.sig")
    assert done.code == 3 and "nothing was sealed" in done.err
    assert "sealed over" not in call("show", case).out

    def full(*_: object) -> None:
        from stillwatch.errors import InputError

        raise InputError("c.sig: was not written: No space left on device")

    monkeypatch.setattr("stillwatch.cases.evidence.write_whole", full)
    done = call("seal", case, "--signature-out", tmp_path / "c.sig")
    assert done.code == 3 and "head   " in done.out and "public key" in done.out


# -- how it fails --------------------------------------------------------------------------------------------------


def test_an_answer_that_is_no_text_is_refused(case: str, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9"), encoding="utf-8"))
    done = call("answer", case, "R", "-")
    assert done.code == 3 and "standard input: expected text in UTF-8" in done.err
    done = call("answer", case, "R", "caf\udce9")  # as the shell hands over what is no UTF-8
    assert done.code == 3 and "half a character" in done.err


def test_errors_write_no_commands_to_the_terminal(call: Call, case: str) -> None:
    done = call("show", "C-1\x1b]0;mine\x07")
    assert done.code == 3
    assert "\x1b" not in done.err and "\x07" not in done.err


def test_half_a_character_is_spelled_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    from stillwatch.cli import output

    output.json_lines([{"origin": "caf\udce9"}])
    assert json.loads(capsys.readouterr().out) == {"origin": "caf\udce9"}


def test_a_store_that_is_no_url_is_refused(case: str, call: Call) -> None:
    done = call("list", "--store", "postgresql+pg8000:/ann:s3cret@host/db")
    assert done.code == 3 and "s3cret" not in done.err and case not in done.out


# -- from a scan to a case at one go -------------------------------------------------------------------------------


@pytest.fixture
def scanned(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a scan that is the latest one."""
    folder = place / "scans" / "one"
    folder.mkdir(parents=True)
    (place / "scans" / "latest").write_text("one")
    (folder / "members.parquet").write_bytes(b"PAR1")
    (folder / "steps.sql").write_bytes(b"select 1")
    scan: Any = SimpleNamespace(supported=[finding(0)], findings=[finding(0)], run=RUN)
    monkeypatch.setattr(_filing, "latest_scan", lambda workspace: scan)
    return folder


@pytest.mark.parametrize("lack", ["steps.sql", "members.parquet", "journal", "language"])
def test_what_cannot_be_filed_opens_no_case(place: Path, scanned: Path, call: Call, lack: str) -> None:
    more: list[str] = []
    if lack == "journal":
        (place / "journal.jsonl").write_text('{"broken":1}\n')
    elif lack == "language":
        more = ["--language", "xx"]
    else:
        (scanned / lack).unlink()
    done = call("open", "T", "--scan", "--seal", *more)
    assert done.code in (3, 5), done
    assert not (place / "cases" / "cases.db").exists()

    if lack == "language":
        more = []
    elif lack == "journal":
        (place / "journal.jsonl").unlink()
    else:
        (scanned / lack).write_bytes(b"here")
    done = call("open", "T", "--scan", "--seal", *more)
    assert done.code == 0 and done.out.startswith("C-1  "), done.err


def test_a_command_that_is_cut_short_names_the_case_that_is_open(
    place: Path, scanned: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stillwatch.errors import InputError

    def full(*_: object, **__: object) -> None:
        raise InputError("evidence was not written: No space left on device")

    monkeypatch.setattr(CaseStore, "add_evidence", full)
    done = call("open", "T", "--scan")
    assert done.code == 3 and "C-1 is open and lacks what follows; go on with it" in done.err


def test_ids_beside_one_that_is_as_high_as_can_be(place: Path, call: Call, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    with CaseStore(theirs) as store:
        case = filled(theirs, 1)
        store.export(case, tmp_path / "c.zip", by="eve")
    highest = call("import", tmp_path / "c.zip", "--as", "C-999999999")
    assert highest.code == 0, highest.err
    assert call("open", "Ours").out.startswith("C-1  Ours")
    assert call("open", "Ours too").out.startswith("C-2  Ours too")
    with CaseStore(theirs) as store:
        store.export(store.open("Another", by="eve").id, tmp_path / "d.zip", by="eve")
    taken = call("import", tmp_path / "d.zip")
    assert taken.code == 3 and "import this one with --as C-3" in taken.err
    assert call("import", tmp_path / "d.zip", "--as", "C-3").code == 0


def test_subjects_that_several_findings_have_are_told_apart_by_their_ids(place: Path, call: Call) -> None:
    case = filled(place, 1)
    other = replace(finding(0), limits=("a second look",))
    with CaseStore(place) as store:
        store.add(case, other, by="ann")
    done = call("withdraw", case, "c-00000000", "They had leave.")
    assert done.code == 3 and "fits more than one finding of C-1" in done.err and other.id[:12] in done.err
    assert call("withdraw", case, other.id[:12], "They had leave.").code == 0
