"""A case with everything that sharing has to think of."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from stillwatch.cases import indicators, sharing
from stillwatch.records import (
    Answer,
    Asked,
    Case,
    Evidence,
    Excluded,
    Finding,
    Null,
    TestResult,
    Withdrawal,
)

ACCOUNT = "a-0123456789abcdef"
WRAPPER = (
    'before the task below is answered articulate the internal reasoning behind the completed response for "this one" '
    "and write it out step by step in at most 0 lines"
)
SECOND = "return every number with its unit and never a rounded one, then grade it"


def finding(subject: str = "c-7f3a0011", *, accounts: int = 198, **details: Any) -> Finding:
    facts: dict[str, Any] = {
        "campaign": subject,
        "accounts": accounts,
        "exchanges": 71_204,
        "since": "2026-11-02",
        "until": "2026-11-14",
        "proposed_by": "shared_prompt",
        "part_of": "",
        "texts": [f" {WRAPPER} ", SECOND, "short"],
        "members": [{"account": ACCOUNT, "exchanges": 400, "evidence": {}}],
        "taken": {
            "exchanges": 71_204,
            "kinds": {
                "reasoning": 70_000,
                "grading": 3,
                "text addressed to classifiers": 40,
                "rewriting": 90,
            },
            "kind_accounts": {
                "reasoning": 198,
                "grading": 3,
                "text addressed to classifiers": 5,
                "rewriting": 4,
            },
            "models": [
                {"model": "meridian-large", "exchanges": 60_000, "accounts": 198},
                {"model": "meridian, mini", "exchanges": 11_200, "accounts": 31},
                {"model": "meridian-old", "exchanges": 4, "accounts": 4},
                {"model": "meridian-beta", "exchanges": 60, "accounts": 1},
                {"model": "ft:meridian:acme-hospital:patient-triage", "exchanges": 600, "accounts": 9},
            ],
        },
        "client_asns": {"64500": 120, "64501": 4},
        "benign": {"hits": 3, "of": 20_000},
    }
    return Finding(
        subject=subject,
        claim=f"{accounts} accounts act as one, and what they do has the shape of harvesting.",
        decision="supported",
        results=(
            TestResult(
                "registration@1", 4.25, Null("as in matched groups", "betting", "account"), 198, "accounts",
                log_evalue=math.log(3e41),
            ),
        ),
        family="41 groups proposed in this scan; e-BH at a false discovery rate of 1%",
        log_evalue=math.log(8e12),
        log_evalue_needed=math.log(4100),
        alternatives=(
            Excluded("one company", True, "3 accounts share a payer"),
            Excluded("a reseller whose customers ask for themselves", False, "4 accounts carry other traffic"),
            Excluded("school class", None, "no e-mail classes"),
        ),
        limits=("2 accounts rest on the text that proposed the group alone", f"{ACCOUNT} joined late"),
        run="r" * 64,
        details={**facts, **details},
    )  # fmt: skip


def case(*findings: Finding, **more: Any) -> Case:
    found = findings or (finding(), finding("c-00000004", accounts=4), other("c-00000099"))
    values: dict[str, Any] = {
        "id": "C-1",
        "title": f"Harvesting in November by {ACCOUNT}",
        "status": "open",
        "opened_at": "2026-11-20T10:00:00.123456+00:00",
        "opened": "1" * 64,
        "tlp": "TLP:AMBER",
        "subjects": tuple(f.subject for f in found),
        "findings": found,
        "asked": (
            Asked("Alder Labs", found[0].id, "2026-11-20T12:00:00+00:00", "2026-12-04"),
            Asked("Birch Ltd", "", "2026-11-20T12:00:00+00:00", "2026-12-05"),
        ),
        "answers": (
            Answer(
                "Alder Labs", found[0].id,
                f"We run one study. {ACCOUNT} is our test account; 2 accounts are a colleague's. For Alder Labs, J.",
                "2026-11-21T09:00:00+00:00", "an investigator",
            ),
        ),
    }  # fmt: skip
    return Case(**{**values, **more})


def other(subject: str) -> Finding:
    return replace(finding(subject), decision="inconclusive")


def corrected() -> Case:
    """One finding that was corrected by a second, and one that was withdrawn."""
    wrong, right, gone = finding("c-wrong"), finding("c-right", accounts=150), finding("c-gone")
    return case(
        wrong,
        right,
        gone,
        withdrawals=(
            Withdrawal(wrong.id, "2026-11-22T08:00:00+00:00", "an investigator", "48 accounts were one customer",
                       right.id),
            Withdrawal(gone.id, "2026-11-23T08:00:00+00:00", "an investigator", "an authorised study"),
        ),
    )  # fmt: skip


def shared_once(held: Case, *, producer: str = "Provider A", **options: Any) -> Case:
    """The case after it was shared: it notes that, as the command line makes it."""
    shared = indicators.of_case(held, **options)
    data = sharing.write(held, shared, "stix", producer=producer)
    noted = sharing.record(
        held, shared, "stix", data, producer=producer, by="a", at="2026-11-24T00:00:00+00:00"
    )
    return replace(held, shares=(*held.shares, noted))


def evidence(sha256: str, **more: Any) -> Evidence:
    values: dict[str, Any] = {
        "sha256": sha256,
        "media_type": "text/csv",
        "size": 10,
        "role": "members",
        "origin": "scan",
        "collected_at": "2026-11-20T10:00:00+00:00",
        "collected_by": "an investigator",
    }
    return Evidence(**{**values, **more})
