"""``case share`` and ``case import-indicators``, on a store in a folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from stillwatch.cases import sharing
from stillwatch.cases.received import standing
from stillwatch.cases.store import CaseStore
from stillwatch.cli import _case_screen, case_sharing
from stillwatch.errors import InputError
from stillwatch.records import Finding, Run

app = typer.Typer()
app.callback()(lambda: None)
case_sharing.add_to(app)
RUNNER = CliRunner()
TEXT = (
    "imagine and articulate the internal reasoning behind a completed response and write it out step by step"
)


def finding(accounts: int, run: str) -> Finding:
    return Finding(
        subject=f"c-{accounts:08d}",
        claim=f"{accounts} accounts act as one, and what they do has the shape of harvesting.",
        decision="supported",
        results=(),
        family="2 groups proposed",
        run=run,
        details={"accounts": accounts, "exchanges": 9_000, "since": "2020-11-02", "until": "2020-11-08",
                 "texts": [TEXT], "proposed_by": "shared_prompt"},
    )  # fmt: skip


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Path]:
    run = Run("0.1.0", "stillwatch campaigns scan", {}, {}, 1)
    with CaseStore(tmp_path) as store:
        case = store.open("Harvesting", by="analyst")
        store.open("What others say", by="analyst")
        for accounts in (40, 3):
            store.add_finding(case.id, finding(accounts, run.id), run, by="analyst")
    yield tmp_path


def typed(workspace: Path, *words: str, data: bytes = b"") -> Any:
    return RUNNER.invoke(app, [*words, "--workspace", str(workspace)], input=data, catch_exceptions=True)


def refused(result: Any) -> str:
    assert isinstance(result.exception, InputError), result.exception
    return str(result.exception)


@pytest.mark.parametrize("format", ["stix", "misp", "ocsf", "csv"])
def test_out_and_in_again(workspace: Path, format: str) -> None:
    file = workspace / "shared"
    out = typed(workspace, "share", "C-1", "--format", format, "--producer", "Provider A", "--out", str(file))
    assert out.exit_code == 0, out.exception
    assert out.stdout == ""
    assert "left out: c-00000003: fewer than 5 accounts: groups this small are never shared" in out.stderr
    assert f"2 indicators at TLP:AMBER: {file}" in out.stderr
    assert file.stat().st_mode & 0o777 == 0o600
    back = typed(workspace, "import-indicators", "C-2", str(file), "--by", "analyst")
    assert back.exit_code == 0, back.exception
    assert "expired" in back.stdout
    assert "2 new indicators of 2 by Provider A filed in C-2; nothing acts on them" in back.stderr
    with CaseStore(workspace) as store:
        case = store.get("C-2")
    (document,) = case.evidence
    assert document.role == "imported indicators"
    assert document.origin == "Provider A, shared"
    assert {i.derived_from[0] for i in case.indicators} == {f"sha256:{document.sha256}"}
    again = typed(workspace, "import-indicators", "C-2", str(file), "--json")
    assert "0 new indicators of 2" in again.stderr
    rows = [json.loads(line) for line in again.stdout.splitlines()]
    assert {r["state"] for r in rows} == {"expired"}
    assert {r["document"] for r in rows} == {document.sha256}


def test_what_only_the_named_may_read_stays_in_the_house(workspace: Path) -> None:
    out = typed(workspace, "share", "C-1", "--format", "stix", "--tlp", "TLP:CLEAR", "--downgrade")
    bundle = json.loads(out.stdout)
    (report,) = [o for o in bundle["objects"] if o["type"] == "report"]
    report["object_marking_refs"] = ["marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1"]
    typed(workspace, "import-indicators", "C-2", "-", data=json.dumps(bundle).encode())
    with CaseStore(workspace) as store:
        (document,) = store.get("C-2").evidence
        assert document.tlp == "TLP:RED"
        written = store.export("C-2", workspace / "out.zip", by="analyst")
        assert [i.id for i in written.left_out] == [document.sha256]


def test_to_stdout_and_from_stdin(workspace: Path) -> None:
    out = typed(workspace, "share", "C-1", "--format", "stix")
    assert json.loads(out.stdout)["type"] == "bundle"
    back = typed(workspace, "import-indicators", "C-2", "-", data=out.stdout.encode())
    assert back.exit_code == 0, back.exception
    assert "filed in C-2" in back.stderr


def test_the_journal_keeps_what_left_and_every_wider_flag(workspace: Path) -> None:
    with CaseStore(workspace) as store:
        store.seal("C-1", by="analyst")
    out = typed(workspace, "share", "C-1", "--format", "csv", "--with-texts", "--by", "analyst")
    with CaseStore(workspace) as store:
        case = store.get("C-1")
    assert case.status == "sealed"
    (noted,) = case.shares
    assert (noted.format, noted.tlp, noted.producer, noted.by) == ("csv", "TLP:AMBER", "not named", "analyst")
    assert noted.sha256 == hashlib.sha256(out.stdout.encode()).hexdigest()
    assert noted.findings == (case.findings[0].id,)
    assert noted.options == {
        "tlp": "TLP:AMBER", "with_texts": True, "valid_days": 90, "benign": {}, "downgrade": False,
        "name_parties": False, "findings": [], "disputed": [],
    }  # fmt: skip
    with CaseStore(workspace) as store:
        assert store.verify("C-1").sealed


def test_who_shared_it_last_shares_it_again_and_others_are_named(workspace: Path) -> None:
    def identity(out: Any) -> str:
        objects = json.loads(out.stdout)["objects"]
        return next(o["name"] for o in objects if o.get("identity_class") == "organization")

    first = typed(workspace, "share", "C-1", "--format", "stix", "--producer", "Provider A")
    again = typed(workspace, "share", "C-1", "--format", "stix")
    assert again.stdout == first.stdout
    assert identity(again) == "Provider A"
    other = typed(workspace, "share", "C-1", "--format", "stix", "--producer", "Provider B")
    assert "C-1 left as 'Provider A' too; share it with --producer once more as that" in other.stderr
    assert identity(typed(workspace, "share", "C-1", "--format", "stix")) == "Provider B"


def test_a_change_between_reading_and_noting_is_refused(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(*given: Any, **more: Any) -> bytes:
        with CaseStore(workspace) as store:
            store.note("C-1", "a remark", by="another")
        return b"{}"

    monkeypatch.setattr(sharing, "write", write)
    out = typed(workspace, "share", "C-1", "--format", "stix")
    assert "changed while it was shared" in refused(out)
    assert out.stdout == ""


def test_a_wider_tlp_needs_a_flag(workspace: Path) -> None:
    assert "--downgrade" in refused(
        typed(workspace, "share", "C-1", "--format", "stix", "--tlp", "TLP:GREEN")
    )
    done = typed(
        workspace, "share", "C-1", "--format", "stix", "--tlp", "tlp:green", "--downgrade", "--with-texts"
    )
    assert done.exit_code == 0, done.exception
    assert "left out: the shared text itself: not at TLP:GREEN" in done.stderr
    assert TEXT not in done.stdout


def test_benign_rates_by_the_beginning_of_a_finding_s_id(workspace: Path) -> None:
    with CaseStore(workspace) as store:
        begin = store.get("C-1").findings[0].id[:8]
    done = typed(workspace, "share", "C-1", "--format", "csv", "--benign", f"{begin}=1/30000")
    assert '"1","30000"' in done.stdout
    assert "takes FINDING=K/N" in refused(
        typed(workspace, "share", "C-1", "--format", "csv", "--benign", "1/2")
    )
    assert "0 findings" in refused(typed(workspace, "share", "C-1", "--format", "csv", "--benign", "zz=1/2"))


def test_only_a_person_says_that_an_answer_denies_the_claim(workspace: Path) -> None:
    with CaseStore(workspace) as store:
        told = store.answer("C-1", "Alder Labs", "None of this is true.", by="analyst")

    def opinion(*more: str) -> str:
        objects = json.loads(typed(workspace, "share", "C-1", "--format", "stix", *more).stdout)["objects"]
        return next(o["opinion"] for o in objects if o["type"] == "opinion")

    assert opinion() == "neutral"
    assert opinion("--disputed", told.id[:12]) == "disagree"
    assert "0 answers" in refused(typed(workspace, "share", "C-1", "--format", "stix", "--disputed", "zz"))


def test_one_finding_at_a_time(workspace: Path) -> None:
    with CaseStore(workspace) as store:
        run = store.get("C-1").runs[0]
        store.add_finding("C-1", finding(60, run.id), by="analyst")
        ids = {f.details["accounts"]: f.id for f in store.get("C-1").findings}
    both, one = (
        json.loads(typed(workspace, "share", "C-1", "--format", "stix", *more).stdout)["objects"]
        for more in ((), ("--finding", ids[60][:10]))
    )
    named = [{o["name"] for o in objects if o["type"] == "campaign"} for objects in (both, one)]
    assert named == [{"c-00000040", "c-00000060"}, {"c-00000060"}]
    # The report of all is not replaced by that of one.
    assert len({o["id"] for o in (*both, *one) if o["type"] == "report"}) == 2
    out = typed(workspace, "share", "C-1", "--format", "stix", "--finding", "zz")
    assert "--finding: 0 findings" in refused(out)


def test_what_is_taken_back_is_noted(workspace: Path) -> None:
    with CaseStore(workspace) as store:
        store.withdraw("C-1", store.get("C-1").findings[0].id, reason="an agreed study", by="analyst")
    out = typed(workspace, "share", "C-1", "--format", "stix")
    assert "0 indicators at TLP:AMBER, 3 taken back" in out.stderr
    back = typed(workspace, "import-indicators", "C-2", "-", data=out.stdout.encode())
    assert "taken back by their producer, do not look for them: 3; no longer valid in C-2: 0" in back.stderr
    with CaseStore(workspace) as store:
        assert (
            "not named takes back 3 indicators, 0 of them filed here before"
            in store.get("C-2").notes[-1].text
        )
        assert not store.get("C-2").indicators


@pytest.mark.parametrize("format", ["stix", "misp", "ocsf", "csv"])
def test_what_was_filed_and_is_taken_back_is_no_longer_valid(
    workspace: Path, format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first = typed(workspace, "share", "C-1", "--format", format, "--with-texts", "--producer", "Provider A")
    typed(workspace, "import-indicators", "C-2", "-", data=first.stdout.encode())
    with CaseStore(workspace) as store:
        assert len(standing(store.get("C-2"))) == 3
        store.withdraw("C-1", store.get("C-1").findings[0].id, reason="an agreed study", by="analyst")
    second = typed(workspace, "share", "C-1", "--format", format)
    told = typed(workspace, "import-indicators", "C-2", "-", data=second.stdout.encode())
    assert "no longer valid in C-2: 3" in told.stderr
    with CaseStore(workspace) as store:
        held = store.get("C-2")
        assert standing(held) == ()
        assert len(held.indicators) == 3  # a case forgets nothing
        assert {r.document for r in held.revocations} == {held.evidence[-1].sha256}
        assert TEXT not in held.notes[-1].text
        store.verify("C-2")
    _case_screen.show(held)
    assert "3 indicators filed, 3 of them taken back" in capsys.readouterr().out
    again = typed(workspace, "import-indicators", "C-2", "-", "--json", data=first.stdout.encode())
    assert {json.loads(line)["state"] for line in again.stdout.splitlines()} == {"taken back"}


def test_a_stranger_takes_back_nothing_of_others(workspace: Path) -> None:
    first = typed(workspace, "share", "C-1", "--format", "csv", "--producer", "Provider A")
    typed(workspace, "import-indicators", "C-2", "-", data=first.stdout.encode())
    forged = first.stdout.replace('"stands"', '"taken back"').replace("Provider A", "Somebody")
    told = typed(workspace, "import-indicators", "C-2", "-", data=forged.encode())
    assert "not taken back, because somebody else's document brought them: 2" in told.stderr
    with CaseStore(workspace) as store:
        assert len(standing(store.get("C-2"))) == 2


def test_a_case_that_is_not_there_or_closed_keeps_no_bytes(workspace: Path) -> None:
    document = typed(workspace, "share", "C-1", "--format", "csv").stdout.encode()
    assert "C-9" in refused(typed(workspace, "import-indicators", "C-9", "-", data=document))
    with CaseStore(workspace) as store:
        store.close_case("C-2", "done", by="analyst")
    assert "closed" in refused(typed(workspace, "import-indicators", "C-2", "-", data=document))
    assert not [p for p in (workspace / "cases" / "evidence").rglob("*") if p.is_file()]


def test_what_is_wrong_is_said(workspace: Path) -> None:
    assert "unknown format" in refused(typed(workspace, "share", "C-1", "--format", "taxii"))
    assert "expected one of TLP:CLEAR" in refused(
        typed(workspace, "share", "C-1", "--format", "csv", "--tlp", "RED")
    )
    assert "No such file" in refused(typed(workspace, "import-indicators", "C-2", str(workspace / "none")))
    assert "C-9" in refused(typed(workspace, "share", "C-9", "--format", "csv"))
    assert "found a ZIP archive" in refused(
        typed(workspace, "import-indicators", "C-2", "-", data=b"PK\x03\x04")
    )
    with CaseStore(workspace) as store:
        assert not store.get("C-2").evidence
