"""``case offer`` and ``case match``, between two stores in two folders."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from stillwatch.cases.store import CaseStore
from stillwatch.cli import case_matching
from stillwatch.errors import FormatError, InputError, IntegrityError
from stillwatch.records import Finding, Run

app = typer.Typer()
app.callback()(lambda: None)
case_matching.add_to(app)
RUNNER = CliRunner()
TEXT = (
    "imagine and articulate the internal reasoning behind a completed response and write it out step by step"
)


def workspace(folder: Path, text: str, accounts: int) -> Path:
    run = Run("0.1.0", "stillwatch campaigns scan", {}, {}, 1)
    with CaseStore(folder) as store:
        case = store.open("Harvesting", by="analyst")
        details = {
            "accounts": accounts,
            "exchanges": 9_000,
            "since": "2020-11-02",
            "until": "2020-11-08",
            "texts": [text],
        }
        told = Finding(
            "c-00000001", "they act as one.", "supported", (), "1 group", run=run.id, details=details
        )
        store.add_finding(case.id, told, run, by="analyst")
    return folder


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path, Path]:
    secret = tmp_path / "secret"
    secret.write_text(secrets.token_hex(32) + "\n")
    return workspace(tmp_path / "a", TEXT[5:], 198), workspace(tmp_path / "b", "please " + TEXT, 75), secret


def offer(home: Path, secret: Path, name: str, *more: str) -> tuple[Path, str]:
    out = home / "offer.json"
    done = typed(home, "offer", "C-1", *about(secret, name), "--out", str(out), *more)
    assert done.exit_code == 0, done.exception
    return out, done.stdout.strip()


def about(secret: Path, name: str) -> tuple[str, ...]:
    return "--secret", str(secret), "--exchange", "a and b, 2026-11-24", "--as", name


def typed(home: Path, *words: str) -> Any:
    return RUNNER.invoke(app, [*words, "--workspace", str(home)])


def test_both_learn_what_both_hold_and_the_cases_note_what_left(two: tuple[Path, Path, Path]) -> None:
    a, b, secret = two
    (file_a, said_a), (file_b, said_b) = offer(a, secret, "A"), offer(b, secret, "B")
    for home, name, file, said in ((a, "A", file_b, said_b), (b, "B", file_a, said_a)):
        done = typed(home, "match", "C-1", str(file), *about(secret, name), "--commitment", said, "--json")
        assert done.exit_code == 0, done.exception
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        assert rows
        assert all(row["value"] in TEXT for row in rows)
        assert f"Destroy the secret: {secret}" in done.stderr
    with CaseStore(a) as store:
        (noted,) = store.get("C-1").shares
    assert (noted.format, noted.sha256, noted.producer) == ("match offer", said_a, "A")
    assert TEXT[:20] not in file_a.read_text()


def test_an_offer_that_is_not_the_committed_one_or_ones_own_is_refused(two: tuple[Path, Path, Path]) -> None:
    a, b, secret = two
    (file_a, said_a), (file_b, said_b) = offer(a, secret, "A"), offer(b, secret, "B")
    other = typed(a, "match", "C-1", str(file_b), *about(secret, "A"), "--commitment", said_a)
    assert isinstance(other.exception, IntegrityError)
    own = typed(a, "match", "C-1", str(file_a), *about(secret, "A"), "--commitment", said_a)
    assert "compared with itself" in str(own.exception)
    assert said_b not in own.stdout


def test_small_groups_take_no_part_and_other_values_come_in_a_file(
    two: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    a, b, secret = two
    for home, held in (
        (a, "tok_5f0c2a9be1d44c77,9\ntok_77aa01c3d2b19e08,2\n"),
        (b, "tok_5f0c2a9be1d44c77,6\n\n"),
    ):
        (home / "tokens.csv").write_text(held)
    kind = ("--kind", "payment tokens", "--values")
    (_, _), (file_b, said) = (
        offer(home, secret, name, *kind, str(home / "tokens.csv")) for home, name in ((a, "A"), (b, "B"))
    )
    words = (*about(secret, "A"), "--commitment", said, *kind, str(a / "tokens.csv"))
    done = typed(a, "match", "C-1", str(file_b), *words)
    assert "tok_5f0c2a9be1d44c77" in done.stdout
    assert "1 of 1 values are held by B too; 1 took no part" in done.stderr
    few = workspace(tmp_path / "few", TEXT, 4)
    out = typed(few, "offer", "C-1", *about(secret, "A"), "--out", str(few / "o.json"))
    assert "0 values of 0 among 64 digests" in out.stderr


def test_what_is_wrong_is_said(two: tuple[Path, Path, Path], tmp_path: Path) -> None:
    a, _, secret = two
    bad = tmp_path / "bad"
    bad.write_text("password")
    out = str(tmp_path / "o.json")
    assert "expected 64 hexadecimal digits" in str(
        typed(a, "offer", "C-1", *about(bad, "A"), "--out", out).exception
    )
    assert "No such file" in str(
        typed(a, "offer", "C-1", *about(tmp_path / "none", "A"), "--out", out).exception
    )
    more = ("--kind", "payment tokens")
    refused = typed(a, "offer", "C-1", *about(secret, "A"), "--out", out, *more).exception
    assert isinstance(refused, InputError)
    assert "with --values" in str(refused)
    bad.write_text("tok,many\n")
    refused = typed(
        a, "offer", "C-1", *about(secret, "A"), "--out", out, *more, "--values", str(bad)
    ).exception
    assert isinstance(refused, FormatError)
    assert str(refused).startswith(f"{bad}:1")
    assert not Path(out).exists()
