"""The report of a case with many findings: time, peak memory and pages, as HTML, PDF and text.

The case is made up; a tenth of its findings is supported. Every form is made in a process of its own, so that its peak
memory is its own; `nothing` makes the case and no document, and is the floor of the others.

    python benchmarks/documents.py --findings 100 1000 10000
"""

from __future__ import annotations

import argparse
import io
import json
import math
import resource
import subprocess
import sys
import time
from datetime import date
from typing import Any

from stillwatch.records import Answer, Case, Evidence, Excluded, Finding, Null, Run, TestResult

FORMS = ("nothing", "model", "text", "html", "pdf")
RUN = Run("0.1.0", "campaigns scan", {"alpha": 0.01}, {"exchanges": "ef" * 32}, 1)


def finding(n: int) -> Finding:
    """One of ten is supported; every one has ten tests, eleven alternatives and a hundred members."""
    results = tuple(
        TestResult(
            f"method_{k}@1", 41.0 + k, Null("a member does as matched accounts do", "betting", "account"), 57, "bets",
            log_evalue=20.0 + k - n / 1e4, effect=0.6, effect_name="share alike", interval=(0.5, 0.7),
        )
        for k in range(10)
    )  # fmt: skip
    details: dict[str, Any] = {
        "campaign": f"c-{n:08x}",
        "accounts": 100,
        "exchanges": 71_204,
        "share": 0.97,
        "since": "2026-11-02",
        "until": "2026-11-15",
        "daily": {f"2026-11-{d:02d}": 5000 + d for d in range(2, 16)},
        "texts": ["you are an expert problem solver. " * 10],
        "members": [
            {"account": f"a-{m}", "evidence": {"registration": True, "rates": m % 3 > 0}} for m in range(100)
        ],
        "reason": "" if n % 10 == 0 else "too few accounts to tell",
    }
    return Finding(
        subject=f"c-{n:08x}", claim="100 accounts act as one, and what they do has the shape of harvesting.",
        decision="supported" if n % 10 == 0 else "inconclusive", results=results, family="10,000 groups",
        log_evalue=25.0 - n / 1e4, log_evalue_needed=math.log(1e6),
        alternatives=tuple(Excluded(f"explanation {k}", k % 3 > 0, "what rules it out, in words") for k in range(11)),
        limits=("the log has no device data",), run=RUN.id, details=details,
    )  # fmt: skip


def case(findings: int, evidence: int) -> Case:
    found = tuple(finding(n) for n in range(findings))
    items = tuple(
        Evidence(f"{n:064x}", "application/json", 1000, "log part", "import", "2026-11-09", "analyst")
        for n in range(evidence)
    )  # fmt: skip
    answers = tuple(
        Answer("a party", f.id, "We are a school. " * 20, "2026-11-19", "x") for f in found[:100:10]
    )
    return Case(
        "C-1",
        "A large case",
        "open",
        "2026-11-09",
        "TLP:AMBER",
        (),
        found,
        items,
        (),
        (RUN,),
        answers=answers,
    )


def measure(form: str, findings: int, evidence: int) -> dict[str, Any]:
    """Seconds of the model and of the drawing, peak memory in MB, and size of what came out."""
    from stillwatch.cases.as_html import as_html
    from stillwatch.cases.as_pdf import as_pdf
    from stillwatch.cases.as_text import as_text
    from stillwatch.cases.case_report import case_report

    held = case(findings, evidence)
    started = time.perf_counter()
    row: dict[str, Any] = {"form": form, "findings": findings, "evidence": evidence}
    if form != "nothing":
        document = case_report(held, today=date(2026, 11, 24), created_at="2026-11-24")
        row["model_s"] = round(time.perf_counter() - started, 2)
        drawn = time.perf_counter()
        draw = {"html": as_html, "text": as_text, "pdf": as_pdf}.get(form)
        data = draw(document) if draw else b""
        row["draw_s"] = round(time.perf_counter() - drawn, 2)
        row["kB"] = len(data) // 1000
        if isinstance(data, bytes) and data:
            import pypdf

            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            row["pages"] = len(pypdf.PdfReader(io.BytesIO(data)).pages)
            row["peak_MB"] = peak // 1024
    row.setdefault("peak_MB", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    return row


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--findings", type=int, nargs="+", default=[100, 1000, 10_000])
    options.add_argument("--evidence", type=int, default=100_000)
    options.add_argument("--one", choices=FORMS, help="measure this form in this process")
    given = options.parse_args()
    if given.one:
        print(json.dumps(measure(given.one, given.findings[0], given.evidence)))
        return
    for findings in given.findings:
        for form in FORMS:
            words = ["--one", form, "--findings", str(findings), "--evidence", str(given.evidence)]
            done = subprocess.run(
                [sys.executable, __file__, *words], check=True, capture_output=True, text=True
            )
            print(done.stdout.strip(), flush=True)


if __name__ == "__main__":
    main()
