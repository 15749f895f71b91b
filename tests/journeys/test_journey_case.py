"""From a scan to a case, through the commands: filed, answered, sealed, exported, verified elsewhere, tampered with."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from journey_samples import Journey

from stillwatch.cases.store import CaseStore
from stillwatch.cli import main

Call = Callable[..., "Done"]


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    def rows(self) -> list[dict]:
        """Every line of stdout as a JSON record."""
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """Runs the program in this process, from its entry point."""

    def run(*arguments: object) -> Done:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["stillwatch", *map(str, arguments)])
        try:
            main.run()
        except SystemExit as leaving:
            code = leaving.code or 0
        else:
            code = 0
        return Done(int(code), *capfd.readouterr())

    return run


@pytest.fixture
def workspace(hydra: Journey, tmp_path: Path) -> Path:
    return hydra.copy(tmp_path / "workspace")


def test_one_command_files_tells_seals_and_reports(workspace: Path, hydra: Journey, call: Call) -> None:
    at = ("--workspace", workspace, "--by", "ann")
    done = call(
        "case", "open", "--scan", "--notice", "disclosure", "--to", "Desk", "--seal", "--report", "--pdf", *at
    )
    assert done.code == 0, done.err
    assert done.out.startswith("C-1  Campaigns in a log: ") and "is sealed over" in done.out
    written = sorted(p.suffix for p in (workspace / "reports").glob("C-1-*"))
    assert written == [".html", ".html", ".pdf", ".pdf"]
    (case,) = call("case", "show", "C-1", "--workspace", workspace, "--json").rows()
    assert case["status"] == "sealed"
    (notice,) = case["notices"]
    assert (notice["kind"], notice["addressees"]) == ("disclosure", ["Desk"])
    assert notice["findings"] == [f.id for f in hydra.scan.supported]
    report = next((workspace / "reports").glob("C-1-report-en.html")).read_text("utf-8")
    assert hydra.scan.supported[0].evidence[0][:16] in report
    assert call("case", "verify", "C-1", "--workspace", workspace).code == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "a case needs a title"),
        (("Title", "--notice", "alert"), "give --scan as well"),
        (("--scan", "--notice", "correction"), "--notice is alert"),
    ],
)
def test_what_cannot_be_done_opens_no_case(workspace: Path, call: Call, words: tuple, says: str) -> None:
    done = call("case", "open", *words, "--workspace", workspace)
    assert done.code != 0 and says in done.err
    assert not (workspace / "cases" / "cases.db").exists()


def test_from_a_scan_to_a_file_that_verifies_elsewhere(
    workspace: Path, hydra: Journey, call: Call, tmp_path: Path
) -> None:
    at = ("--workspace", workspace, "--by", "ann")
    where = ("--workspace", workspace)
    supported = hydra.scan.supported
    done = call("case", "open", "Shared prompt", "--scan", "--seal", *at)
    assert done.code == 0, done.err
    assert done.out.startswith("C-1  Shared prompt  (TLP:AMBER)")
    assert "note these elsewhere" in done.out
    head = done.out.split("head ")[1].split()[0]
    key = done.out.split("public key ")[1].split()[0]

    (case,) = call("case", "show", "C-1", *where, "--json").rows()
    assert [f["id"] for f in case["findings"]] == [f.id for f in supported]
    assert case["subjects"] == [f.subject for f in supported]
    assert [r["id"] for r in case["runs"]] == [hydra.scan.run.id]
    (method,) = {e for f in case["findings"] for e in f["evidence"]}
    assert method in {e["sha256"] for e in case["evidence"] if e["role"] == "method as run"}
    assert {(e["role"], e["tlp"]) for e in case["evidence"]} == {
        ("members", "TLP:AMBER+STRICT"),
        ("method as run", "TLP:AMBER"),
    }

    finding = supported[0].id
    assert (
        call("case", "ask", "C-1", "Reseller", "--due", "2099-01-31", "--finding", finding[:10], *at).code
        == 0
    )
    late = call("case", "show", "C-1", "--today", "2099-02-01", *where).out
    assert "Reseller: no answer by 2099-01-31" in late
    assert "Reseller: asked, due 2099-01-31" in call("case", "show", "C-1", *where).out
    done = call(
        "case", "answer", "C-1", "Reseller", "They are our customers.", "--finding", finding[:10], *at
    )
    assert done.code == 0
    screen = call("case", "show", "C-1", *where)
    assert "answer      Reseller, " in screen.out
    assert screen.out.index(supported[0].claim[:40]) < screen.out.index("They are our customers.")
    assert "no answer by" not in screen.out
    assert all(len(line) <= 100 for line in screen.out.splitlines())

    (tmp_path / "excerpt.txt").write_text("three lines\n")
    done = call(
        "case", "add", "C-1", tmp_path / "excerpt.txt", "--note", "Seen.", "--retain-until", "2020-01-01", *at
    )
    assert done.code == 0
    done = call("case", "add", "C-1", "--scan", "--all", *at)
    assert f"{len(hydra.scan.findings)} findings filed" in done.err
    done = call("case", "withdraw", "C-1", finding[:10], "They had leave.", *at)
    assert done.out.startswith(f"finding {finding[:12]} is withdrawn")
    assert "WITHDRAWN" in call("case", "show", "C-1", *where).out

    done = call("case", "verify", *where, "--head", head, "--public-key", key)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("case C-1: whole;")
    written = call("case", "export", "C-1", tmp_path / "c.zip", *at)
    assert written.code == 0, written.err
    assert written.out.count("left out: evidence") == 2  # the members, and what was kept too long
    done = call("case", "verify", tmp_path / "c.zip", "--public-key", key, "--head", head)
    assert done.code == 0, done.err
    assert "not known beforehand" not in done.out

    elsewhere = tmp_path / "elsewhere"
    done = call("case", "import", tmp_path / "c.zip", "--workspace", elsewhere, "--public-key", key)
    assert done.code == 0, done.err
    assert "new entries" in done.out
    assert call("case", "verify", "--workspace", elsewhere).code == 0
    (row,) = call("case", "list", "--workspace", elsewhere, "--json").rows()
    assert (row["id"], row["findings"]) == ("C-1", len(hydra.scan.findings))

    done = call("case", "close", "C-1", "answered", *at)
    assert done.out.startswith("C-1 is closed")
    assert call("case", "list", *where).out.splitlines()[1].split()[:2] == ["C-1", "closed"]


def test_a_scan_files_its_findings(workspace: Path, call: Call, hydra: Journey) -> None:
    done = call("campaigns", "scan", "--workspace", workspace, "--no-report", "--case", "C-1")
    assert (done.code, done.out) == (3, "")
    assert "start with: stillwatch case open" in done.err
    done = call("campaigns", "scan", "--workspace", workspace, "--no-report", "--case", "new", "--by", "ann")
    assert done.code == 0, done.err
    supported = [f.subject for f in hydra.scan.supported]
    assert f"C-1: {len(supported)} finding" in done.err
    with CaseStore(workspace) as store:
        case = store.get("C-1")
        assert list(case.subjects) == supported
        assert store.verify("C-1").noted
    done = call("case", "add", "C-1", "--scan", "--workspace", workspace)
    assert "0 of them new" in done.err


def test_what_was_changed_is_named_with_exit_code_5(workspace: Path, call: Call, tmp_path: Path) -> None:
    call("case", "open", "Shared prompt", "--scan", "--workspace", workspace)
    call("case", "export", "C-1", tmp_path / "c.zip", "--workspace", workspace)
    with sqlite3.connect(workspace / "cases" / "cases.db") as database:
        database.execute(
            "update things set content = replace(content, 'accounts', 'persons') where kind = 'finding'"
        )
    database.close()
    done = call("case", "verify", "--workspace", workspace)
    assert (done.code, done.out) == (5, "")
    assert done.err.startswith("stillwatch: case C-1: entry 5 (finding.added): finding ")
    assert done.err.count("\n") == 1
    done = call("case", "show", "C-1", "--workspace", workspace)
    assert done.code == 5
    data = bytearray((tmp_path / "c.zip").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "c.zip").write_bytes(data)
    assert call("case", "verify", tmp_path / "c.zip").code == 5
    assert call("case", "import", tmp_path / "c.zip", "--workspace", tmp_path / "new").code == 5
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("show", "C-9"), 3, "there is no case 'C-9'"),
        (("add", "C-1"), 3, "nothing to add"),
        (("add", "C-1", "nothing.txt"), 3, "nothing.txt: cannot be read"),
        (("add", "C-1", "--findings", "nothing.json"), 3, "nothing.json: cannot be read"),
        (("ask", "C-1", "P", "--due", "soon"), 3, "by a date such as 2026-12-31"),
        (
            ("ask", "C-1", "P", "--due", "2020-01-31"),
            3,
            "by 2020-01-31, which is before the day it was asked for",
        ),
        (("answer", "C-1", "P", " "), 3, "needs words"),
        (("answer", "C-1", "P", "x", "--finding", "zz"), 3, "'zz' is no finding of C-1"),
        (("withdraw", "C-1", "zz", "x"), 3, "'zz' is no finding of C-1"),
        (("verify", "C-1", "--public-key", "zz"), 3, "64 hexadecimal digits"),
        (("verify", "C-1", "--head", "0" * 64), 5, "the entry noted elsewhere"),
        (("verify", "nothing.zip"), 3, "nothing.zip: cannot be read"),
        (("export", "C-1", "x.zip", "--tlp", "TLP:GREEN"), 3, "cannot go out as TLP:GREEN"),
        (("seal", "C-1", "--key", "nothing.pem"), 3, "nothing.pem: cannot be read"),
        (("seal", "C-1", "--timestamp", "nothing.tsr"), 3, "nothing.tsr: cannot be read"),
        (("open", "X", "--tlp", "PINK"), 3, "expected one of TLP:CLEAR"),
        (("open",), 3, "a case needs a title"),
        (("list", "--store", "mysql://ann:s3cret@h/x"), 3, "found mysql"),
    ],
)
def test_wrong_requests(
    arguments: tuple[str, ...],
    code: int,
    words: str,
    call: Call,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("case", "open", "One").code == 0
    done = call("case", *arguments)
    assert (done.code, done.out) == (code, "")
    assert words in done.err
    assert "s3cret" not in done.err


@pytest.mark.parametrize(
    "arguments", [("list",), ("show", "C-1"), ("verify",), ("add", "C-1", "--note", "x")]
)
def test_no_case_yet(arguments: tuple[str, ...], call: Call, tmp_path: Path) -> None:
    done = call("case", *arguments, "--workspace", tmp_path / "nowhere")
    assert (done.code, done.out) == (3, "")
    assert "start with: stillwatch case open TITLE" in done.err
    assert not (tmp_path / "nowhere").exists(), "a question made a folder"
