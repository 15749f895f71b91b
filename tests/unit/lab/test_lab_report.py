"""The page of the benchmark: every figure of a picture is a number in its table, and nothing is loaded."""

from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner

from stillwatch.cli.lab import app
from stillwatch.errors import InputError
from stillwatch.lab import benchmark, charts, report
from stillwatch.lab.cells import cells

KNOWN = cells()


def line(
    cell: str, seed: int, *, recall: int = 0, alike: int = 0, bias: float = -0.1, **more: object
) -> dict:
    def share(count: int, of: int) -> dict:
        return {"count": count, "of": of}

    of = 100 if KNOWN[cell].campaign else 0
    return {
        "cell": cell, "digest": KNOWN[cell].digest, "seed": seed, "version": "9.9", "real_data": False,
        "exchanges": 1000, "accounts": 200, "proposed": 7, "seconds": {"build": 1, "import": 2, "scan": 3},
        "honest_findings": {"over_the_line": {}},
        "score": {
            "campaigns_found": share(int(recall >= 50), min(of, 1)), "recall": share(recall, of),
            "precision": share(recall, recall + 5 * alike), "honest_flagged": share(5 * alike, 100),
            "honest_groups_flagged": share(alike, 20), "honest_groups_by_role": {"alike batch": share(alike, 20)},
            "honest_flagged_by_role": {"alike batch": share(5 * alike, 100)},
            "supported": int(recall > 0) + alike, "supported_wrong": alike,
            "share_error": {"accounts": recall, "mean": 0.125 if recall else None, "bias": bias if recall else None},
        },
        **more,
    }  # fmt: skip


def counts(recall: int, honest: int) -> dict:
    return {
        "recall": {"count": recall, "of": 100}, "precision": {"count": recall, "of": recall + honest},
        "honest_flagged": {"count": honest, "of": 1000},
    }  # fmt: skip


BASELINES = {
    "prada": {"name": "PRADA", "seconds": 1.0, "flagged": counts(40, 30), "forms": {"calibrated": counts(7, 1)},
              "best_rule": None},
    "rules": {"name": "rules", "seconds": 1.0, "flagged": counts(90, 2), "forms": {},
              "best_rule": {"rule": "age <i>, low", "threshold": -3.0, "f1": 0.5, **counts(66, 13)}},
    "mmd": {"name": "MMD", "seconds": 0.1, "insufficient": "too few questions"},
}  # fmt: skip
LINES = [
    *(line("centre", s, recall=90 + s, baselines=BASELINES) for s in (1, 2, 4)),
    *(line("share-5", s, recall=(0, 60)[s - 1]) for s in (1, 2)),
    line("reroute-5", 1, recall=88, alike=1),
    line("background-100x", 1, recall=77),
    *(line("honest-lookalikes", s, alike=int(s == 3)) for s in range(1, 31)),
]


def test_figures_of_pictures_stand_in_tables():
    page = report.render(LINES, {n: c for n, c in KNOWN.items() if n != "smoke"})
    body = page.partition("<body>")[2]
    assert page == report.render(LINES, {n: c for n, c in KNOWN.items() if n != "smoke"})
    text = re.sub(r"<svg.*?</svg>", "", body, flags=re.S)  # tables and sentences only
    for said in (
        "nothing in them happened", "seeds 1-30", "9.9",
        "--seeds 1-2,4 --cells centre --baselines", "--seeds 1-2 --cells share-5\n",
        "91, 92, 94 of 100", "3 of 3", "29.2% to 100.0%", "0, 60 of 100", "1 of 2",
        "1 of 30", "0.08% to 17.22%", "0.125", "-0.100", "not run yet",
        "120 of 300", "21 of 300", "MMD (too little data in 3 of 3)", "age &lt;i&gt;, low (3 of 3); F1 0.50",
        "198 of 300", "By number of accounts",
    ):  # fmt: skip
        assert said in text, said
    # honest groups of centre, share-5 and reroute-5 with one seed are one set: 3 seeds of 20, not 6 logs of 20
    row = next(r for r in re.findall(r"<tr>.*?</tr>", text, flags=re.S) if "alike batch" in r)
    assert "2 of 680" in row and "2 of 740" in row
    assert body.count("<svg") == 8 and "nothing yet" in body


def test_a_page_is_of_one_false_discovery_rate():
    loose = [{**r, "alpha": 0.05} for r in LINES]
    page = report.render(loose, KNOWN)
    assert (
        "promises, 5%" in " ".join(page.split())
        and "--alpha 0.05" in page
        and "--alpha" not in report.render(LINES, KNOWN)
    )
    with pytest.raises(InputError, match="one false discovery rate"):
        report.render(loose + LINES, KNOWN)


def test_nothing_is_loaded_and_nothing_runs():
    page = report.render(LINES, KNOWN)
    assert "default-src 'none'" in page and "<script" not in page
    assert not re.search(r"(src|href)=|url\(|@import", page) and "http" not in page.replace("http-equiv", "")


def test_kinds_of_data_stand_apart_and_old_cells_are_left_out():
    real = {**line("centre", 7, recall=51), "real_data": True}
    old = {**line("pivot", 1, recall=100), "digest": "gone"}
    page = report.render([*LINES, real, old], KNOWN)
    assert "Real arrivals and prompts" in page and "--seeds 7 --cells centre --data DATA" in page
    assert "1 results of cells that have changed" in page
    with pytest.raises(InputError, match="no results"):
        report.render([old], KNOWN)


def test_pictures_keep_within_their_frame():
    picture = charts.columns(
        [charts.Column(("a",), charts.Mark(2.0, -1.0, 3.0), (9.0, -9.0), "x & y")], "T", ("m", "d")
    )
    ys = [float(y) for y in re.findall(r'\b(?:cy|y1|y2)="([-\d.]+)"', picture)]
    height = float(re.search(r'viewBox="0 0 \d+ (\d+)"', picture).group(1))  # type: ignore[union-attr]
    assert min(ys) >= 0 and max(ys) <= height and 'aria-label="T: a: x &amp; y"' in picture
    picture = charts.rows(
        [charts.Row("r" * 50, (charts.Mark(0.5, 0.2, 0.9), None), "n")], "T", ("k",), top=0.1
    )
    xs = [float(x) for x in re.findall(r'\b(?:cx|x1|x2)="([-\d.]+)"', picture)]
    assert min(xs) >= 0 and max(xs) <= charts.WIDTH
    assert charts.columns([], "T", ("m", "d")) == "" == charts.rows([], "T", ("k",))


def test_the_option(tmp_path):
    (tmp_path / benchmark.RESULTS).write_text("".join(json.dumps(r) + "\n" for r in LINES))
    base = ["run", "campaigns", "--out", str(tmp_path), "--table", "--report"]
    done = CliRunner().invoke(app, [*base, str(tmp_path / "r.html")])
    assert done.exit_code == 0 and "| centre | 3 |" in done.stdout
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")
    assert isinstance(CliRunner().invoke(app, [*base, str(tmp_path / "no" / "r.html")]).exception, InputError)
