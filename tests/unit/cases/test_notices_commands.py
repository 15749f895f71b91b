"""The commands for documents: what they write, what they keep, and that they send nothing."""

from __future__ import annotations

import email
import email.policy
import json
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
import typer
from documents_samples import RUN, finding
from typer.testing import CliRunner

from stillwatch.cases.store import CaseStore
from stillwatch.cli import _drawing, case_documents
from stillwatch.errors import InputError

app = typer.Typer()
case_documents.add_to(app)
RUNNER = CliRunner()
FOUND = finding(evidence=())


@pytest.fixture
def place(tmp_path: Path) -> Path:
    with CaseStore(tmp_path) as cases:
        held = cases.open("Harvesting of reasoning", subjects=["c-7f3a"], by="analyst")
        cases.add_many(held.id, [RUN, FOUND], by="analyst")
    return tmp_path


def run(place: Path, *words: str, code: int = 0) -> str:
    done = RUNNER.invoke(app, [*words, "--workspace", str(place)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done.stdout


def notices(place: Path) -> Any:
    with CaseStore(place) as cases:
        return cases.get("C-1").notices


@pytest.mark.parametrize(("option", "start"), [("--html", "<!doctype html>"), ("--text", "TLP:AMBER")])
def test_a_report_goes_to_a_file_that_only_its_owner_reads(place: Path, option: str, start: str) -> None:
    path = Path(run(place, "report", "C-1", option).strip())
    assert path.parent == place / "reports"
    assert path.read_text("utf-8").startswith(start)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_report_as_pdf_and_on_stdout(place: Path, tmp_path: Path) -> None:
    pytest.importorskip("typst")
    run(place, "report", "C-1", "--pdf", "--out", str(tmp_path / "deep" / "report.pdf"))
    assert (tmp_path / "deep" / "report.pdf").read_bytes().startswith(b"%PDF-1.")
    assert run(place, "report", "C-1", "--text", "--out", "-").startswith("TLP:AMBER")


def test_one_form_at_a_time(place: Path) -> None:
    run(place, "report", "C-1", "--pdf", "--text", code=2)


def test_a_notice_is_kept_with_the_case_and_a_draft_is_not(place: Path) -> None:
    run(place, "notice", "C-1", "--kind", "alert", "--to", "Desk", "--draft", "--format", "text")
    assert notices(place) == ()
    run(place, "notice", "C-1", "--kind", "alert", "--to", "Desk", "--by-date", "2026-12-08")
    (kept,) = notices(place)
    assert (kept.kind, kept.addressees, kept.due) == ("alert", ("Desk",), "2026-12-08")


def test_whoever_gives_no_name_is_told_whose_name_the_notice_bears(place: Path) -> None:
    asked = ["notice", "C-1", "--kind", "alert", "--workspace", str(place)]
    said = "the user of this machine; --by says who writes it"
    assert said in RUNNER.invoke(app, asked).stderr
    assert said not in RUNNER.invoke(app, [*asked, "--by", "Abuse team"]).stderr


def test_a_notice_that_cannot_be_drawn_is_not_kept(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> bytes:
        raise InputError("no font")

    monkeypatch.setattr(_drawing, "drawn", fails)
    with pytest.raises(InputError, match="no font"):
        run(place, "notice", "C-1", "--kind", "alert")
    assert notices(place) == ()


def test_a_kept_notice_is_drawn_again_word_for_word(place: Path) -> None:
    first = run(place, "notice", "C-1", "--kind", "partner", "--format", "text", "--out", "-")
    (kept,) = notices(place)
    again = run(place, "notice", "C-1", "--again", kept.id[:8], "--format", "text", "--out", "-")
    assert first == again
    assert len(notices(place)) == 1
    with pytest.raises(InputError, match="'ffff' is no notice of C-1; there are: "):
        run(place, "notice", "C-1", "--again", "ffff")
    run(place, "notice", "C-1", code=2)


def test_a_notice_as_mail_addresses_only_addresses(place: Path) -> None:
    path = Path(
        run(place, "notice", "C-1", "--kind", "alert", "--to", "Desk", "--to", "Office <office@example.org>",
            "--copy", "archive@example.org", "--from", "abuse@provider.example", "--format", "eml", "--attach", "html",
            ).strip()
    )  # fmt: skip
    message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    assert message["To"] == "Office <office@example.org>"
    assert message["Cc"] == "archive@example.org"
    (kept,) = notices(place)
    names = [p.get_filename() for p in message.iter_attachments()]  # type: ignore[attr-defined]
    assert names == [f"C-1-alert-{kept.id[:8]}.html"]
    again = run(
        place, "notice", "C-1", "--again", kept.id[:8], "--format", "eml", "--attach", "html", "--out", "-"
    )
    message = email.message_from_string(again, policy=email.policy.default)
    assert (message["To"], message["Cc"]) == ("Office <office@example.org>", "archive@example.org")


def test_deliveries_and_followups(place: Path) -> None:
    run(place, "notice", "C-1", "--kind", "alert", "--to", "Desk", "--by-date", "2026-12-08")
    (kept,) = notices(place)
    run(place, "deliver", "C-1", kept.id[:10], "--to", "Desk", "--event", "delivered", "--due", "2026-12-01")
    row = json.loads(run(place, "followups", "C-1", "--json", "--today", "2026-12-02"))
    assert (row["who"], row["last"], row["state"], row["due"]) == (
        "Desk",
        "delivered",
        "overdue",
        "2026-12-01",
    )
    assert "1 line overdue of 1." in run(place, "followups", "--today", "2026-12-02")
    run(place, "deliver", "C-1", kept.id, "--to", "Desk", "--event", "answered")
    assert run(place, "followups") == "Nothing is due.\n"
    assert "answered" in run(place, "followups", "--all")


def test_a_withdrawn_finding_asks_for_a_correction(place: Path) -> None:
    run(place, "notice", "C-1", "--kind", "alert", "--to", "Desk")
    with CaseStore(place) as cases:
        cases.withdraw("C-1", FOUND.id, reason="It was one school.", by="analyst")
    assert "case notice C-1 --kind correction" in run(place, "followups")
    text = run(place, "notice", "C-1", "--kind", "correction", "--format", "text", "--out", "-")
    assert "It was one school." in " ".join(text.split())
    (told, correction) = notices(place)
    # The correction cites what the first page of the notice says, and both are what the commands know it by.
    first = run(place, "notice", "C-1", "--again", told.id, "--format", "text", "--out", "-")
    assert f"Reference: C-1 / {told.id[:12]}" in first
    assert f"reference C-1 / {told.id[:12]}" in " ".join(text.split())
    (row,) = map(json.loads, run(place, "followups", "--json").splitlines())
    assert (row["what"], row["who"], row["reference"]) == ("correction", "Desk", correction.id)
    assert f"case deliver C-1 {correction.id[:12]} --to Desk" in run(place, "followups")
    run(place, "deliver", "C-1", f"C-1 / {correction.id[:12]}", "--to", "Desk", "--event", "delivered")
    assert run(place, "followups") == "Nothing is due.\n"


def test_a_correction_is_one_file_for_each_group_of_readers(place: Path) -> None:
    run(place, "notice", "C-1", "--kind", "alert", "--to", "Partner desk")
    run(place, "notice", "C-1", "--kind", "disclosure", "--to", "Reseller Ltd")
    with CaseStore(place) as cases:
        cases.withdraw("C-1", FOUND.id, reason="It was one school.", by="analyst")
    with pytest.raises(InputError, match="these are 2 corrections, for different people"):
        run(place, "notice", "C-1", "--kind", "correction", "--out", str(place / "one.html"))
    paths = run(place, "notice", "C-1", "--kind", "correction", "--format", "text").split()
    pages = [Path(path).read_text("utf-8") for path in paths]
    names = ("Partner desk", "Reseller Ltd")
    assert [[name in page for name in names] for page in pages] == [[True, False], [False, True]]
    assert [n.addressees for n in notices(place)[2:]] == [("Partner desk",), ("Reseller Ltd",)]


def test_a_withdrawn_notice_is_drawn_again_with_a_warning(place: Path) -> None:
    run(place, "notice", "C-1", "--kind", "alert", "--to", "Desk")
    (kept,) = notices(place)
    with CaseStore(place) as cases:
        cases.withdraw("C-1", FOUND.id, reason="It was one school.", by="analyst")
    done = RUNNER.invoke(
        app,
        ["notice", "C-1", "--again", kept.id, "--format", "text", "--out", "-", "--workspace", str(place)],
    )
    assert "was withdrawn or corrected since" in done.stderr and "--kind correction" in done.stderr
    assert "Do not send it; send its correction." in " ".join(done.stdout.split())


def test_reports_in_two_languages_are_two_files(place: Path) -> None:
    paths = {code: Path(run(place, "report", "C-1", "--language", code).strip()) for code in ("en", "ar")}
    assert [p.name for p in paths.values()] == ["C-1-report-en.html", "C-1-report-ar.html"]
    assert 'lang="en"' in paths["en"].read_text("utf-8")


def test_a_pipe_is_written_to_and_a_link_stays_one(place: Path, tmp_path: Path) -> None:
    pipe, link, target = tmp_path / "pipe", tmp_path / "link.txt", tmp_path / "target.txt"
    os.mkfifo(pipe)
    target.write_text("before", "utf-8")
    link.symlink_to(target)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()), daemon=True)
    reader.start()
    run(place, "report", "C-1", "--text", "--out", str(pipe))
    reader.join(30)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert got and got[0].startswith(b"TLP:AMBER")
    run(place, "report", "C-1", "--text", "--out", str(link))
    assert link.is_symlink() and target.read_text("utf-8").startswith("TLP:AMBER")
    loose = tmp_path / "loose.txt"
    loose.symlink_to(tmp_path / "not yet.txt")
    run(place, "report", "C-1", "--text", "--out", str(loose))
    assert loose.is_symlink() and (tmp_path / "not yet.txt").exists()
    with pytest.raises(InputError, match="cannot be written"):
        run(place, "report", "C-1", "--text", "--out", str(tmp_path))
    assert not list(tmp_path.glob(".*.part"))


def test_a_draft_is_no_notice(place: Path) -> None:
    path = Path(run(place, "notice", "C-1", "--kind", "alert", "--draft", "--format", "text").strip())
    assert path.name == "C-1-alert-draft.txt"
    assert "Do not send it." in path.read_text("utf-8") and "Reference" not in path.read_text("utf-8")


def test_evidence_beyond_its_date_is_in_the_register(place: Path) -> None:
    with CaseStore(place) as cases:
        kept = cases.add_evidence(
            "C-1", b"lines", media_type="text/plain", role="log", origin="a.log", by="ann", retain_until="2026-11-30"
        )  # fmt: skip
    assert run(place, "followups", "--today", "2026-11-30") == "Nothing is due.\n"
    out = run(place, "followups", "--today", "2026-12-01")
    assert "retention" in out and "log: a.log" in out
    assert f"case delete-evidence C-1 {kept.sha256[:12]} --reason" in out
    with CaseStore(place) as cases:
        cases.delete_evidence("C-1", kept.sha256, "its time was over", by="ann")
    assert run(place, "followups", "--today", "2026-12-01") == "Nothing is due.\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("deliver", "C-1", "ffff", "--to", "x", "--event", "delivered"), "'ffff' is no notice of C-1"),
        (("deliver", "C-1", "ffff", "--to", "x", "--event", "eaten"), "--event is delivered, acknowledged"),
        (
            ("deliver", "C-1", "f", "--to", "x", "--event", "failed", "--due", "soon"),
            "--due: expected an ISO day",
        ),
        (("notice", "C-1", "--kind", "alert", "--name", "c-7f3a"), "--name is PSEUDONYM=WORDS"),
        (
            ("notice", "C-1", "--kind", "alert", "--format", "eml", "--attach", "exe"),
            "--attach is pdf or html",
        ),
        (("notice", "C-1", "--kind", "alert", "--tlp", "TLP:CLEAR"), "say why it may be shared"),
        (("notice", "C-1", "--kind", "alert", "--by-date", "2020-01-01"), "before the day of the notice"),
        (("report", "C-1", "--today", "yesterday"), "--today is a day"),
        (("report", "C-1", "--language", "de"), "no messages in 'de'"),
    ],
)
def test_errors_say_what_to_do(place: Path, words: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(place, *words)


def test_no_module_of_documents_can_send() -> None:
    cases = Path(case_documents.__file__).parents[1] / "cases"
    for path in [
        *cases.glob("as_*.py"),
        cases / "notices.py",
        cases / "followups.py",
        Path(case_documents.__file__),
        Path(_drawing.__file__),
    ]:
        text = path.read_text("utf-8")
        assert not any(
            word in text for word in ("smtplib", "socket", "urllib", "http.client", "subprocess", "requests")
        )
