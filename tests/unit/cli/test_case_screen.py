"""A case on a screen: nobody who was asked or answered is left out beside a claim."""

from __future__ import annotations

from datetime import date

import pytest

from stillwatch.cli import _case_screen
from stillwatch.records import Answer, Asked, Case, Finding, Notice, Withdrawal

AT = "2026-11-10T09:00:00+00:00"


def finding(name: str) -> Finding:
    return Finding(subject=name, claim=f"{name} acts as one.", decision="supported", results=(), family="one")


OLD, NEW = finding("c-1"), finding("c-1 again")


def shown(capsys: pytest.CaptureFixture[str], **more: object) -> str:
    case = Case("C-1", "Title", "open", AT, "TLP:AMBER", (), findings=(OLD, NEW), **more)  # type: ignore[arg-type]
    _case_screen.show(case, date(2026, 11, 24))
    return " ".join(capsys.readouterr().out.split())


def test_an_answer_to_the_whole_case_is_named_beside_each_claim(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, answers=(Answer("Reseller", "", "All wrong.", AT, "ann"),))
    assert text.count("Reseller answered to the whole case, see below") == 2
    assert "nobody was asked yet" not in text
    assert "To the whole case answer Reseller, 2026-11-10: All wrong." in text


def test_a_question_about_the_whole_case_stands_beside_each_claim(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, asked=(Asked("Reseller", "", AT, "2026-11-20"),))
    assert text.count("Reseller: no answer by 2026-11-20 (about the whole case)") == 2
    assert "nobody was asked yet" not in text


def test_what_was_said_to_a_claim_goes_on_to_what_replaced_it(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(
        capsys,
        answers=(Answer("Reseller", OLD.id, "Half of it.", AT, "ann"),),
        withdrawals=(Withdrawal(OLD.id, AT, "ann", "too many.", NEW.id),),
    )
    assert "Reseller, 2026-11-10: Half of it." in text
    assert "Reseller, 2026-11-10, to the claim before: Half of it." in text
    assert "CORRECTED, supported: c-1" in text and "nobody was asked yet" not in text


def test_without_a_question_nobody_was_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys).count("nobody was asked yet") == 2


def test_indicators_are_counted_as_filed(capsys: pytest.CaptureFixture[str]) -> None:
    told = Notice("alert", "en", AT, "ann", "Alert", ("Desk",), "TLP:AMBER", "", (OLD.id,))
    assert "1 notice, 0 indicators filed" in shown(capsys, notices=(told,))
