"""Tables over seeds, the smallest dose that a test sees, and the picture of it."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any
from xml.etree import ElementTree

from stillwatch.lab.teaching import told
from stillwatch.lab.teaching.cells import grid

CELLS = grid()


def line(name: str, seed: int, called: str = "", **log10_p: float) -> dict[str, Any]:
    student = replace(CELLS.students[name], seed=seed)
    rows = [{"test": test.replace("_", " "), "log10_p": p, "rank": "3 of 201"} for test, p in log10_p.items()]
    facts = {k: v for k, v in asdict(student).items() if k != "name"}
    return {"student": called or name, "digest": str(seed), "facts": facts, "tests": rows,
            "costs": {"answer_tokens": 102400}}  # fmt: skip


LINES = [
    line("all", 0, supervised=-30.0, plain=-6.0),
    line("all", 1, supervised=-20.0, plain=-4.0),
    line("all", 2, supervised=-25.0, plain=-5.0),
    line("centre", 1, "centre_seed_1", supervised=-7.0, plain=-1.5),
    line("centre", 0, supervised=-8.0, plain=-0.2),
    line("none", 0, supervised=-0.4, plain=-0.1),
    line("tokens_26k", 0, supervised=-99.0, plain=-99.0),
    {**line("centre", 0, "untrained, red_green", supervised=-0.1), "costs": {}},
]


def test_seeds_of_a_student_stand_in_one_row() -> None:
    rows = [row.split(" | ") for row in told.table(LINES, CELLS, ["supervised"]).splitlines()]
    names = [row[0].removeprefix("| ") for row in rows]
    assert names == ["student", "---", "untrained, red_green", "centre", "all", "none", "tokens_26k"]
    assert rows[3][4:] == ["2", "-7.50 [-8.00, -7.00] |"]
    assert rows[4][4:] == ["3", "-25.00 [-30.00, -20.00] |"]
    assert rows[2][2:] == ["untrained", "0", "1", "-0.10 (3) |"]


def test_a_dose_counts_as_shown_where_every_seed_shows_it_and_only_doses_are_compared() -> None:
    rows = [row.strip("| ").split(" | ") for row in told.doses(LINES, CELLS).splitlines()]
    found = {row[0]: row[1:] for row in rows}
    assert found["supervised"] == ["0% (1), 25% (2), 100% (3)", "25%", "0%"]
    # At 100% one of three seeds did not reach it; at 25% one of two saw something.
    assert found["plain"] == ["0% (1), 25% (2), 100% (3)", "none", "0%"]
    assert found["closed"] == ["", "none", "none"]


def test_the_picture_is_a_drawing_of_its_own_that_says_what_it_shows() -> None:
    drawn = ElementTree.fromstring(told.picture(LINES, CELLS, "supervised", top=40.0))
    said = drawn.attrib["aria-label"]
    assert "25%: median 7.5 of 2 seeds" in said and "100%: median 25.0 of 3 seeds" in said
    assert "-99" not in said
    circles = [e for e in drawn.iter() if e.tag.endswith("circle") and e.attrib["class"] == "dot"]
    assert len(circles) == 1 + 6  # one in the key, one a seed
