"""A small case made by hand: one supported finding, one corrected, one withdrawn, one undecided; answers and none."""

from __future__ import annotations

import dataclasses
import math
from datetime import date
from typing import Any

from stillwatch.cases.content import Document
from stillwatch.cases.notices import Request
from stillwatch.records import (
    Answer,
    Asked,
    Assumption,
    Card,
    Case,
    Custody,
    Evidence,
    Excluded,
    Finding,
    Indicator,
    Null,
    Run,
    Seal,
    TestResult,
    Withdrawal,
)

TODAY = date(2026, 11, 24)
CREATED = "2026-11-24T09:00:00+00:00"
EVIDENCE = Evidence(
    "ab" * 32, "application/json", 10_331, "findings of the scan", "campaigns scan", "2026-11-09T08:00:00+00:00",
    "analyst 1", "TLP:AMBER", False, "2027-11-09",
)  # fmt: skip
CONFIG = {
    "alpha": 0.01,
    "gamma": 3.0,
    "proposed": 41,
    "population": 2_611,
    "exchanges": 326_291,
    "first": "2026-11-02",
    "last": "2026-11-08",
}
RUN = Run("0.1.0", "campaigns scan", CONFIG, {"exchanges": "ef" * 32}, 1)
STATEMENT = "We run a tutoring service. Our wrapper asks for worked solutions because 900 pupils need them."
CARD = Card(
    "registration", "1", "registration times", "acts as one", "Members open like matched accounts.", "account",
    ("accounts.created_at",), ("Yuan et al., Ianus (CCS 2019)",), ("accounts are exchangeable",), ("a school class",),
)  # fmt: skip


def test_result(**more: Any) -> TestResult:
    values: dict[str, Any] = {
        "test": "registration@1",
        "statistic": 41.0,
        "null": Null("a member opens its account when matched accounts do", "betting", "account"),
        "n": 57,
        "unit": "bets on a member",
        "log_evalue": math.log(3e12),
        "log_evalue_ceiling": math.log(1e20),
        "effect": 0.62,
        "effect_name": "share of members alike, less that of matched accounts",
        "interval": (0.49, 0.72),
        "assumptions": (Assumption("matched accounts are exchangeable", "not checked"),),
        "seed": 1,
    }
    return TestResult(**{**values, **more})


test_result.__test__ = False  # type: ignore[attr-defined]  # a maker, not a test


def finding(subject: str = "c-7f3a", accounts: int = 198, **more: Any) -> Finding:
    values: dict[str, Any] = {
        "subject": subject,
        "claim": f"{accounts} accounts act as one, and what they do has the shape of harvesting.",
        "decision": "supported",
        "results": (
            test_result(),
            test_result(
                test="even_rates@1", log_evalue=None, log_evalue_ceiling=None, log_pvalue=math.log(0.0123)
            ),
        ),
        "family": "41 groups proposed; e-BH at a false discovery rate of 1%",
        "log_evalue": math.log(5.3e12),
        "log_evalue_needed": math.log(4100),
        "alternatives": (
            Excluded("one company", True, "188 network prefixes"),
            Excluded("a reseller", False, "4 accounts carry other traffic as well"),
            Excluded("a school class", None, "the log has no e-mail classes"),
        ),
        "limits": ("the log has no device data", "9 accounts joined on the last day"),
        "evidence": (EVIDENCE.sha256,),
        "run": RUN.id,
        "details": {
            "campaign": subject,
            "accounts": accounts,
            "exchanges": 71_204,
            "share": 0.97,
            "share_low": 0.95,
            "share_high": 0.98,
            "since": "2026-11-02",
            "until": "2026-11-08",
            "takes": "reasoning",
            "proposed_by": "shared_prompt",
            "gamma": 3.0,
            "shape": {"follow_ups": 0.0, "hours": 1.0051, "token_yield": 7.1411, "elicited": 0.96},
            "acts_as_one": math.log(5.3e12),
            "harvesting": math.log(2e14),
            "daily": {f"2026-11-{d:02d}": 10_000 + d for d in range(2, 9)},
            "confirmed_by": ["registration times: 77% of members as predicted (e = 3e+12)"],
            "texts": ["you are an expert problem solver. think step by step. task:"],
            "members": [
                {"account": f"a-{n:016x}", "evidence": {"registration": n % 3 > 0, "even_rates": True}}
                for n in range(20)
            ],
        },
    }
    return Finding(**{**values, **more})


GOOD = finding()
OLD = finding(accounts=214, limits=("first look",))
WRONG = finding("c-91d0", 16)
OPEN = finding(
    "c-0be2",
    12,
    decision="inconclusive",
    log_evalue=math.log(6),
    claim="It cannot be told for these 12 accounts.",
)
INDICATOR = Indicator(
    "shared prompt text", "shingle:9f3a77c1d2e4b5a6", "shingle v1", "2026-11-02", "2027-02-01", 70, "TLP:AMBER",
    (GOOD.id,), 3, 842,
)  # fmt: skip


def case(**more: Any) -> Case:
    values: dict[str, Any] = {
        "id": "C-1",
        "title": "Harvesting of reasoning",
        "status": "sealed",
        "opened_at": "2026-11-09T07:00:00+00:00",
        "tlp": "TLP:AMBER",
        "subjects": ("c-7f3a",),
        "findings": (GOOD, OLD, WRONG, OPEN),
        "evidence": (EVIDENCE,),
        "custody": (
            Custody(EVIDENCE.sha256, "2026-11-09T08:02:11+00:00", "analyst 1", "added", "from a scan"),
        ),
        "runs": (RUN,),
        "asked": (
            Asked("Acme Tutoring", GOOD.id, "2026-11-10", "2026-11-24"),
            Asked("Umbra Cloud", OPEN.id, "2026-11-10", "2026-11-20"),
        ),
        "answers": (Answer("Acme Tutoring", GOOD.id, STATEMENT, "2026-11-19T10:00:00+00:00", "analyst 2"),),
        "withdrawals": (
            Withdrawal(
                OLD.id, "2026-11-12T12:00:00+00:00", "analyst 2", "16 accounts were a customer.", GOOD.id
            ),
            Withdrawal(WRONG.id, "2026-11-13T12:00:00+00:00", "analyst 2", "The accounts are a school."),
        ),
        "indicators": (INDICATOR,),
        "seals": (
            Seal("C-1", 17, "cd" * 32, "2026-11-20T09:00:00+00:00", "analyst 2", "11" * 32, "22" * 64),
        ),
        "head": "cd" * 32,
    }
    return Case(**{**values, **more})


def request(**more: Any) -> Request:
    values: dict[str, Any] = {
        "created_at": CREATED,
        "created_by": "Abuse team",
        "addressees": ("Office for Models",),
        "distribution": ("Partner desk",),
        "due": "2026-12-08",
        "contact": "abuse@provider.example",
    }
    return Request(**{**values, **more})


def report(of: Case | None = None, **more: Any) -> Document:
    from stillwatch.cases.case_report import case_report

    values: dict[str, Any] = {"today": TODAY, "created_at": CREATED, "cards": (CARD,)}
    return case_report(of if of is not None else case(), **{**values, **more})


def hostile(text: str) -> Case:
    """A case in which everything that somebody else may write says `text`."""
    bad = dataclasses.replace(
        GOOD, claim=text, family=text, strength=text, limits=(text,), alternatives=(Excluded(text, False, text),),
        details={**GOOD.details, "texts": [text], "takes": text, "reason": text, "campaign": text},
    )  # fmt: skip
    return case(
        title=text,
        findings=(bad,),
        withdrawals=(),
        asked=(),
        answers=(Answer(text, bad.id, text, "2026-11-19", text),),
        indicators=(),
    )
