"""The commands of `stillwatch campaigns` over a workspace that holds a campaign, as a shell would call them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from journey_samples import Journey

from stillwatch.cases import Journal
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
        monkeypatch.setattr(sys, "argv", ["stillwatch", "campaigns", *map(str, arguments)])
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
    """A copy of the hydra workspace with its latest scan, to write to."""
    return hydra.copy(tmp_path / "workspace")


def journal(workspace: Path) -> list:
    return list(Journal(workspace / "journal.jsonl").entries())


def test_scan_prints_stores_records_and_reports(workspace: Path, hydra: Journey, call: Call) -> None:
    done = call("scan", "--workspace", workspace, "--fail-on", "supported")
    campaign = hydra.scan.supported[0].subject
    assert done.code == 10, done.err
    table = done.out.splitlines()
    assert table[0].split()[:3] == ["CAMPAIGN", "DECISION", "ACCOUNTS"]
    assert table[1].split()[:2] == [campaign, "supported"]
    assert f"Next: stillwatch campaigns explain {campaign}" in done.out
    assert "false discovery rate held at 1%" in done.out
    report = Path(done.err.split("report: ")[1].strip())
    assert report.read_text("utf-8").startswith("<!doctype html>")
    entry = journal(workspace)[-1]
    assert entry.kind == "scan"
    assert entry.body["run"] == hydra.scan.run.id
    assert (workspace / "scans" / "latest").exists()


@pytest.mark.parametrize(("decision", "code"), [("inconclusive", 10), ("supported", 0)])
def test_fail_on_looks_for_one_decision_and_json_is_one_finding_a_line(
    decision: str, code: int, honest: Journey, tmp_path: Path, call: Call
) -> None:
    workspace = honest.copy(tmp_path / "workspace")
    done = call("scan", "--workspace", workspace, "--no-report", "--json", "--fail-on", decision)
    assert done.code == code
    assert [r["subject"] for r in done.rows()] == [f.subject for f in honest.scan.findings]
    assert "report:" not in done.err
    assert not (workspace / "reports").exists()


def test_an_exemption_is_honoured_and_journaled(
    hydra: Journey, exempted: Callable[[set[str]], Path], call: Call
) -> None:
    planted = sorted(hydra.real_names(hydra.scan.supported[0]))
    workspace = exempted(set(planted[:3]))
    call("scan", "--workspace", workspace, "--no-report")
    (entry,) = [e for e in journal(workspace) if e.kind == "exemption"]
    (told,) = [f for f in entry.body["findings"] if f["decision"] == "supported"]
    assert told["campaign"] == hydra.scan.supported[0].subject
    ((reason, accounts),) = told["exempt"].items()
    assert (reason, len(accounts)) == ("a study agreed in writing", 3)
    listed = call("members", "--workspace", workspace, "--json").rows()
    assert len(listed) == len(planted) - 3
    assert not {r["account"] for r in listed} & set(accounts)
    every = call("members", told["campaign"], "--workspace", workspace).out
    assert every.count("(exempt)") == 3
    screen = call("explain", told["campaign"], "--workspace", workspace).out
    assert "exempt          3 accounts: a study agreed in writing" in screen


def test_list_shows_the_latest_scan(workspace: Path, hydra: Journey, call: Call) -> None:
    done = call("list", "--workspace", workspace)
    assert done.code == 0
    few = done.out.count("\nc-")
    every = call("list", "--workspace", workspace, "--all").out.count("\nc-")
    assert 0 < few < every == len(hydra.scan.findings)
    rows = call("list", "--workspace", workspace, "--json").rows()
    assert [r["id"] for r in rows] == [f.id for f in hydra.scan.findings]


def test_members_are_pseudonyms_until_revealed_and_the_journal_records_it(
    workspace: Path, hydra: Journey, call: Call
) -> None:
    hidden = call("members", "--workspace", workspace, "--json").rows()
    planted = hydra.real_names(hydra.scan.supported[0])
    assert len(hidden) == len(planted)
    columns = ("campaign", "decision", "account", "exchanges", "share", "share_low", "share_high", "evidence")
    assert tuple(hidden[0]) == columns
    assert all(0 <= r["share_low"] <= r["share"] <= r["share_high"] <= 1 for r in hidden)
    assert {r["decision"] for r in hidden} == {"supported"}
    assert not planted & {r["account"] for r in hidden}
    assert not [e for e in journal(workspace) if e.kind == "reveal"]

    shown = call(
        "members", hydra.scan.supported[0].subject, "--workspace", workspace, "--json", "--reveal"
    ).rows()
    assert {r["account"] for r in shown} == planted
    (entry,) = [e for e in journal(workspace) if e.kind == "reveal"]
    assert entry.body == {"kind": "account", "count": len(planted), "for": hydra.scan.supported[0].subject}


def test_members_of_a_campaign_that_is_not_supported(workspace: Path, hydra: Journey, call: Call) -> None:
    twin = next(f for f in hydra.scan.findings if f.decision == "not supported")
    done = call("members", twin.subject, "--workspace", workspace)
    assert done.code == 0
    assert done.out.count(twin.subject) == twin.details["accounts"]
    assert "--reveal shows the real accounts" in done.err


def test_members_lists_the_exchanges_that_are_meant(workspace: Path, hydra: Journey, call: Call) -> None:
    found = hydra.scan.supported[0]
    rows = call("members", found.subject, "--exchanges", "--workspace", workspace, "--json").rows()
    assert len(rows) == found.details["exchanges"]
    assert {r["campaign"] for r in rows} == {found.subject}
    assert len({r["exchange"] for r in rows}) == len(rows)
    assert all(int(r["source"].rpartition(":")[2]) >= 1 for r in rows), "a person is to find them in the log"
    shown = call("members", found.subject, "--exchanges", "--workspace", workspace)
    assert shown.out.splitlines()[0].split()[:3] == ["CAMPAIGN", "TIME", "ACCOUNT"]


def test_explain_says_why_and_what_else_it_could_be(workspace: Path, hydra: Journey, call: Call) -> None:
    found = hydra.scan.supported[0]
    done = call("explain", found.subject, "--workspace", workspace)
    assert done.code == 0
    assert done.out.startswith(found.claim)
    for name in (
        "decision",
        "proposed by",
        "confirmed by",
        "typical member",
        "taken",
        "kinds",
        "models",
        "share",
        "innocent",
        "limits",
        "finding",
    ):
        assert f"\n  {name} " in done.out
    assert "NOT excluded" in done.out
    assert done.out.index("not excluded ") < done.out.index("proposed by"), (
        "what stands against it comes first"
    )
    assert all(len(line) <= 100 for line in done.out.splitlines())
    (row,) = call("explain", found.subject, "--workspace", workspace, "--json").rows()
    assert row["id"] == found.id


def test_explain_takes_the_beginning_of_a_name(workspace: Path, hydra: Journey, call: Call) -> None:
    names = [f.subject for f in hydra.scan.findings]
    first = names[0]
    short = next(first[:n] for n in range(2, 9) if sum(x.startswith(first[:n]) for x in names) == 1)
    assert (
        call("explain", short, "--workspace", workspace).out
        == call("explain", first, "--workspace", workspace).out
    )


@pytest.mark.parametrize("verb", ["explain", "members"])
@pytest.mark.parametrize(
    ("name", "words"), [("c-zzzzzz", "is no campaign"), ("c-", "fits several campaigns")]
)
def test_a_campaign_that_is_none(verb: str, name: str, words: str, workspace: Path, call: Call) -> None:
    done = call(verb, name, "--workspace", workspace)
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith(f"stillwatch: '{name}' {words}")
    assert done.err.count("\n") == 1
    assert "c-" in done.err.split("there are:")[1]


@pytest.mark.parametrize("arguments", [("list",), ("members",), ("members", "--reveal"), ("explain", "c-1")])
def test_no_scan_yet(arguments: tuple[str, ...], workspace: Path, call: Call) -> None:
    (workspace / "scans" / "latest").unlink()
    done = call(*arguments, "--workspace", workspace)
    assert (done.code, done.out) == (3, "")
    assert "no scan yet; start with: stillwatch campaigns scan" in done.err


@pytest.mark.parametrize("arguments", [("scan",), ("list",), ("members",), ("explain", "c-1")])
def test_no_workspace(arguments: tuple[str, ...], tmp_path: Path, call: Call) -> None:
    done = call(*arguments, "--workspace", tmp_path / "nowhere")
    assert (done.code, done.out) == (3, "")
    assert "start with: stillwatch" in done.err
    assert not (tmp_path / "nowhere").exists(), "a question made a folder"


@pytest.mark.parametrize(
    ("option", "code", "words"),
    [
        (("--fail-on", "guilty"), 3, "--fail-on takes supported or inconclusive, found 'guilty'"),
        (("--alpha", "2"), 3, "alpha must lie between 0 and 1"),
        (("--gamma", "0.2"), 3, "gamma must be 1 or above"),
        (("--memory-limit", "plenty"), 3, "memory limit 'plenty'"),
        (("--memory-limit", "-1"), 3, "memory limit '-1'"),
        (("--threads", "0"), 2, "--threads"),
        (("--nonsense",), 2, "--nonsense"),
    ],
)
def test_wrong_options(option: tuple[str, ...], code: int, words: str, workspace: Path, call: Call) -> None:
    done = call("scan", "--workspace", workspace, *option)
    assert (done.code, done.out) == (code, "")
    assert words in done.err


def test_a_tampered_scan_is_refused(workspace: Path, call: Call) -> None:
    latest = workspace / "scans" / (workspace / "scans" / "latest").read_text()
    stored = (latest / "findings.json").read_text("utf-8")
    assert '"decision": "supported"' in stored
    (latest / "findings.json").write_text(
        stored.replace('"decision": "supported"', '"decision": "inconclusive"')
    )
    done = call("list", "--workspace", workspace)
    assert (done.code, done.out) == (5, "")
    assert "expected digest" in done.err
