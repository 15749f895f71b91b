"""The case of a loop: the plan before the first question, what was found, a notice, the seal and the report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from stillwatch import plugins
from stillwatch.attribution.plan import Plan
from stillwatch.campaigns import Scan
from stillwatch.cases.as_html import as_html
from stillwatch.cases.case_report import case_report
from stillwatch.cases.notices import Request, make_notice
from stillwatch.cases.scans import file_scan, read_scan
from stillwatch.cases.store import CaseStore
from stillwatch.records import Card, Finding, Run

BY = "lab"
TITLE = "A closed loop of the lab"


def begun(workspace: Path, plan: Plan, subjects: Sequence[str]) -> tuple[str, str]:
    """Open a case and file the plan in it; the case, and SHA-256 of the plan as it was filed."""
    said = json.dumps(asdict(plan), sort_keys=True, indent=1).encode()
    with CaseStore(workspace, create=True) as cases:
        case = cases.open(TITLE, subjects=list(subjects), by=BY).id
        kept = cases.add_evidence(
            case, said, media_type="application/json", role="plan of an attribution",
            origin=f"plan {plan.commitment()[:12]}", by=BY, personal_data=False,
        )  # fmt: skip
    return case, kept.sha256


def filed(workspace: Path, case: str, scan: Scan, ran: Run, about: Finding, documents: Path) -> list[str]:
    """File scan and attribution; where something is supported write a notice to the party; seal; draw the report.

    Returns the names of the documents.
    """
    documents.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC)
    ready = read_scan(scan.run, scan.findings, workspace)
    drawn = {}
    with CaseStore(workspace) as cases:
        file_scan(cases, case, ready, everything=False, by=BY)
        cases.add_many(case, [ran, about], by=BY)
        if scan.supported or about.decision == "supported":
            request = Request(now.isoformat(), BY)
            notice, document = make_notice(
                cases.get(case), "disclosure", request, today=now.date(), cards=cards()
            )
            cases.add(case, notice, by=BY)
            drawn["disclosure.html"] = as_html(document)
        cases.seal(case, by=BY)
        held = cases.get(case)
    drawn["report.html"] = as_html(
        case_report(held, today=now.date(), created_at=now.isoformat(), cards=cards(), author=BY)
    )
    for name, page in drawn.items():
        (documents / name).write_text(page, "utf-8")
    return sorted(drawn)


def cards() -> list[Card]:
    """Of every method that findings of a loop rest on."""
    rooms = ("campaigns.signals", "attribution.randomized")
    return [method.CARD for room in rooms for method in plugins.find(room).values()]
