"""What the grid of students comes to: tables over seeds, the smallest dose that each test sees, and a picture."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from stillwatch.lab import charts
from stillwatch.lab.teaching.cells import Grid, Student

TESTS = (
    "supervised",
    "supervised, overlap 0.5",
    "supervised, overlap 0.25",
    "supervised, overlap 0.1",
    "fresh marked",
    "plain",
    "green mass",
    "closed",
    "closed, encoded again",
)
SHOWN, NOTHING = 1e-5, 0.05
"""A p at which a dose counts as shown, and one above which a test saw nothing."""
Line = Mapping[str, Any]


def cell(line: Line) -> str:
    """The name of a line's student without its seed, which older files had in the name."""
    return str(line["student"]).partition("_seed_")[0]


def by_cell(lines: Iterable[Line], grid: Grid) -> dict[str, list[Line]]:
    """Lines of each student, those without training first, then in the order of the grid; one a seed."""
    found: dict[str, dict[int, Line]] = defaultdict(dict)
    for line in lines:
        found[cell(line)][line["facts"]["seed"]] = line
    order = {name: i for i, name in enumerate(grid.students)}
    names = sorted(found, key=lambda name: (order.get(name, -1), name))
    return {name: [found[name][seed] for seed in sorted(found[name])] for name in names}


def log_p(line: Line, test: str) -> float | None:
    """log10 of p; None where it was not made or had too little."""
    for row in line["tests"]:
        if row["test"] == test:
            value = row.get("log10_p")
            return None if value is None else float(value)
    return None


def rank(line: Line, test: str) -> str:
    """Of the true key among the drawn ones, such as ``1``."""
    (row,) = [row for row in line["tests"] if row["test"] == test]
    return str(row["rank"]).partition(" ")[0]


def table(lines: Iterable[Line], grid: Grid, tests: Sequence[str] = TESTS) -> str:
    """A row for each student: log10 p over its seeds, the median and in brackets lowest to highest.

    Of one seed the rank of the true key among 201 stands in the brackets.
    """
    rows = [["student", "mark", "marked", "tokens", "seeds", *tests], ["---"] * (len(tests) + 5)]
    for name, of_seeds in by_cell(lines, grid).items():
        facts = of_seeds[0]["facts"]
        trained = bool(of_seeds[0]["costs"])
        rows.append(
            [
                name,
                facts["corpus"],
                f"{facts['share']:.0%}" if trained else "untrained",
                f"{of_seeds[0]['costs']['answer_tokens']:,}" if trained else "0",
                str(len(of_seeds)),
                *(_told(of_seeds, test) for test in tests),
            ]
        )
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def doses(lines: Iterable[Line], grid: Grid, like: str = "centre") -> str:
    """For each test the smallest dose that all seeds show at `SHOWN`, and the largest that none shows at `NOTHING`.

    Doses are the shares of students that differ from one of them in nothing else.
    """
    of_dose = by_dose(lines, grid, like)
    rows = [
        ["test", "doses tried", f"smallest with p < {SHOWN:g}", f"largest with p > {NOTHING:g}"],
        ["---"] * 4,
    ]
    for test in TESTS:
        made = {
            dose: values
            for dose, of_seeds in of_dose.items()
            if (values := [v for line in of_seeds if (v := log_p(line, test)) is not None])
        }
        shown = [d for d, values in made.items() if d and max(values) < math.log10(SHOWN)]
        blind = [d for d, values in made.items() if min(values) > math.log10(NOTHING)]
        rows.append(
            [
                test,
                ", ".join(f"{d:.0%} ({len(v)})" for d, v in made.items()),
                f"{min(shown):.0%}" if shown else "none",
                f"{max(blind):.0%}" if blind else "none",
            ]
        )
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def by_dose(lines: Iterable[Line], grid: Grid, like: str = "centre") -> dict[float, list[Line]]:
    """Lines of students that differ from one in the share of marked answers and the seed alone, by the share."""
    usual = _else(grid.students[like])
    found: dict[float, list[Line]] = defaultdict(list)
    for name, of_seeds in by_cell(lines, grid).items():
        if name in grid.students and _else(grid.students[name]) == usual:
            found[grid.students[name].share] += of_seeds
    return dict(sorted(found.items()))


def picture(lines: Iterable[Line], grid: Grid, test: str, *, top: float, like: str = "centre") -> str:
    """-log10 p of one test by dose, a standalone SVG: the median over seeds, and a dot for each."""
    columns = []
    for dose, of_seeds in by_dose(lines, grid, like).items():
        values = [-v for line in of_seeds if (v := log_p(line, test)) is not None]
        if values:
            middle = statistics.median(values)
            said = f"median {middle:.1f} of {len(values)} seeds"
            columns.append(charts.Column((f"{dose:.0%}",), charts.Mark(middle), tuple(values), said))
    drawn = charts.columns(
        columns,
        f'-log10 p of the test "{test}" by the marked part of a student\'s data',
        ("median over seeds", "one seed"),
        top=top,
        ticks=(0, 5, *(t for t in (10, 20, 30, 40) if t <= top)),
        tick="{:g}".format,
    )
    return str(drawn).replace('<svg class="chart"', '<svg xmlns="http://www.w3.org/2000/svg" class="chart"', 1).replace(
        "</svg>", f"<style>{STYLE}</style></svg>"
    )  # fmt: skip


STYLE = (
    ".chart{font:12px sans-serif;background:#fff}.chart text{fill:#222}.chart .soft{fill:#666}"
    ".chart .small{font-size:11px}"
    ".chart .middle{text-anchor:middle}.chart .end{text-anchor:end}.chart .grid{stroke:#ddd}.chart .mark{fill:#1f5f8b}"
    ".chart .dot{fill:#1f5f8b;fill-opacity:.55}.chart .whisker{stroke:#1f5f8b}"
)


def _told(of_seeds: Sequence[Line], test: str) -> str:
    values = [v for line in of_seeds if (v := log_p(line, test)) is not None]
    if not values:
        return "-"
    if len(values) == 1:
        (line,) = [line for line in of_seeds if log_p(line, test) is not None]
        return f"{values[0]:.2f} ({rank(line, test)})"
    return f"{statistics.median(values):.2f} [{min(values):.2f}, {max(values):.2f}]"


def _else(student: Student) -> Student:
    """A student without what may differ between doses."""
    return replace(student, name="", share=0.0, seed=0)
