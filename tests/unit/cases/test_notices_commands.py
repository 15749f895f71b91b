"""The commands for documents: what they write, what they keep, and that they send nothing."""

from __future__ import annotations

import email
import email.policy
import json
import stat
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
    assert [p.get_filename() for p in message.iter_attachments()] == ["notice.html"]  # type: ignore[attr-defined]


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
    text = run(
        place, "notice", "C-1", "--kind", "correction", "--to", "Desk", "--format", "text", "--out", "-"
    )
    assert "It was one school." in " ".join(text.split())
    assert "correction" not in [
        r["what"] for r in map(json.loads, run(place, "followups", "--json").splitlines())
    ]


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
