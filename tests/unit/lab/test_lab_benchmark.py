"""The reviewed cells, a run that can be carried on, and the tables."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from stillwatch import plugins
from stillwatch.cli.lab import app
from stillwatch.errors import EngineError, FormatError, InputError
from stillwatch.lab import benchmark, compare, tables
from stillwatch.lab.cells import Cell, cells, chosen
from stillwatch.lab.lookalikes import kinds
from stillwatch.lab.score import Truth

KNOWN = cells()
TINY = replace(
    KNOWN["smoke"],
    log=replace(KNOWN["smoke"].log, honest_accounts=60, days=3),
    campaign=replace(KNOWN["smoke"].campaign, accounts=12),  # type: ignore[type-var]
)


def test_the_centre_is_what_was_agreed():
    centre = KNOWN["centre"]
    plan = centre.campaign
    assert plan is not None
    assert (plan.accounts, plan.rate, plan.share, plan.traffic, plan.wrapper) == (
        100,
        26.0,
        0.8,
        "harvest",
        "fixed",
    )
    assert (centre.log.honest_accounts, centre.log.days, centre.log.lookalikes) == (1000, 14, 20)


def test_every_other_cell_changes_something_and_the_reported_rates_are_there():
    digests = [c.digest for c in KNOWN.values()]
    assert len(set(digests)) == len(digests)
    assert {c.campaign.rate for c in KNOWN.values() if c.campaign} == {5.6, 13.0, 26.0, 733.0, 857.0}
    assert {c.campaign.share for c in KNOWN.values() if c.campaign} >= {0.05, 0.1, 0.25, 0.5, 0.8, 1.0}
    assert all(c.says for c in KNOWN.values())
    assert KNOWN["honest"].campaign is None and KNOWN["background-1000x"].once


def test_the_guide_names_every_cell_and_every_kind():
    guide = (Path(__file__).parents[3] / "docs" / "guides" / "campaign-benchmark.md").read_text()
    for name in [*KNOWN, *("alike " + kind for kind in kinds())]:
        assert f"`{name}`" in guide, name


def test_a_digest_follows_what_is_built_and_not_what_is_said():
    assert replace(TINY, says="other words").digest == TINY.digest
    assert replace(TINY, log=replace(TINY.log, days=4)).digest != TINY.digest


def test_cells_are_chosen_by_name():
    assert [c.name for c in chosen([], KNOWN)] == [n for n in KNOWN if n != "smoke"]
    assert [c.name for c in chosen(["smoke", "honest"], KNOWN)] == ["smoke", "honest"]
    with pytest.raises(InputError, match="centre"):
        chosen(["nowhere"], KNOWN)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[cell", "cells"),
        ('[cell.a]\nsays = "x"\nlog = {}', "centre|log|honest_accounts"),
        ('[cell.a]\nsays = "x"\nspeed = 3', "speed"),
    ],
)
def test_a_file_of_cells_that_cannot_be_is_refused(tmp_path, text, says):
    path = tmp_path / "cells.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=says):
        cells(path)


def test_a_run_is_carried_on_and_leaves_no_log(tmp_path):
    first = list(benchmark.run([TINY], [1], tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == [benchmark.RESULTS]
    assert list(benchmark.run([TINY], [1], tmp_path)) == []
    with (tmp_path / benchmark.RESULTS).open("a") as lines:
        lines.write('{"cell": "smoke", "dig')  # killed while it wrote
    once = replace(TINY, once=True)
    assert list(benchmark.run([once], [1, 2], tmp_path)) == []
    second = list(benchmark.run([TINY], [2, 1], tmp_path))
    lines = benchmark.results(tmp_path / benchmark.RESULTS)
    assert lines == json.loads(json.dumps(first + second))
    assert [line["seed"] for line in lines] == [1, 2]
    line = lines[0]
    assert line["cell"] == "smoke" and line["digest"] == TINY.digest and line["version"]
    assert line["campaign_accounts"] == line["score"]["recall"]["of"] == 12
    assert line["proposed"] >= len(line["planted_findings"]) >= 1
    text = tables.markdown(lines, {"smoke": TINY})
    assert "| smoke | 2 |" in text and "of 2 [" in text and "framework" in text
    other = {"smoke": replace(TINY, log=replace(TINY.log, days=9))}
    assert "2 results" not in text and "No results" in tables.markdown(lines, other)


def test_baselines_run_on_the_same_log_and_stand_under_ours(tmp_path):
    plain = next(benchmark.run([TINY], [1], tmp_path))
    assert "baselines" not in plain and "method by method" not in tables.markdown([plain], {"smoke": TINY})
    # the plain line is not finished where baselines are asked for
    line = next(benchmark.run([TINY], [1], tmp_path, baselines=True))
    assert list(benchmark.run([TINY], [1], tmp_path, baselines=True)) == []
    assert benchmark.results(tmp_path / benchmark.RESULTS) == [json.loads(json.dumps(line))]
    assert line["score"] == plain["score"] and line["proposed"] == plain["proposed"]
    assert set(line["baselines"]) == set(plugins.find("lab.baselines"))
    for method in line["baselines"].values():
        assert method["seconds"] >= 0 and ("flagged" in method) != ("insufficient" in method)
        for counts in [method["flagged"], *method["forms"].values()] if "flagged" in method else []:
            assert counts["recall"]["of"] == 12
            assert counts["honest_flagged"]["of"] == line["score"]["honest_flagged"]["of"]
            by_role = counts["honest_flagged_by_role"].values()
            assert sum(r["count"] for r in by_role) == counts["honest_flagged"]["count"]
    assert line["baselines"]["union_attributes"]["flagged"]["recall"]["count"] == 12
    assert "without_agent" in line["baselines"]["union_attributes"]["forms"]
    assert 0 < line["baselines"]["one_column_rules"]["best_rule"]["f1"] <= 1
    text = tables.markdown([line], {"smoke": TINY})
    rows = text.partition("| method |")[2].splitlines()[2:]
    assert rows[0].startswith("| ours | ") and any("best in hindsight" in r for r in rows)


def test_the_best_rule_in_hindsight():
    campaign = np.array(["c", "c", "c", "", "", ""], object)
    truth = Truth(
        [*"abcdef"], np.array([*"xxxyyy"], object), campaign, np.full(6, "", object), np.zeros(6), {}
    )
    at = np.array([5, 4, 3, 2, 1])  # a sent nothing
    rules = {"no": np.array([9.0, 1, 1, 1, 1]), "yes": np.array([1.0, 2, np.nan, 3, 3])}
    best = compare.best_rule(rules, at, truth)
    assert best is not None and (best["rule"], best["threshold"]) == ("yes", 3.0)
    assert best["f1"] == pytest.approx(0.8) and best["recall"]["count"] == 2 and best["recall"]["of"] == 3
    assert best["honest_flagged"]["count"] == 0
    assert compare.best_rule({}, at, truth) is None
    nobody = replace(truth, campaign=np.full(6, "", object))
    assert compare.best_rule(rules, at, nobody) is None


def test_lines_of_another_rate_are_kept_apart(tmp_path):
    (line,) = benchmark.run([TINY], [3], tmp_path, alpha=0.05)
    loose = json.loads(json.dumps(line))
    assert loose["alpha"] == 0.05
    old = {k: v for k, v in loose.items() if k != "alpha"}  # written before the rate could be chosen
    with (tmp_path / benchmark.RESULTS).open("a") as lines:
        lines.write(json.dumps(old) + "\n")
    kept = benchmark.results(tmp_path / benchmark.RESULTS)
    assert benchmark.of_rate(kept, 0.05) == [loose] and benchmark.of_rate(kept, 0.01) == [old]
    assert not list(benchmark.run([TINY], [3], tmp_path))
    assert not list(benchmark.run([TINY], [3], tmp_path, alpha=0.05))


def test_one_failure_does_not_end_a_run(tmp_path, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise EngineError("duckdb", "carrying", "out of memory", "select 1")

    monkeypatch.setattr("stillwatch.campaigns.scan", broken)
    with pytest.raises(EngineError):
        list(benchmark.run([TINY], [1], tmp_path))
    told = []
    assert list(benchmark.run([TINY], [1, 2], tmp_path, on_failure=lambda *what: told.append(what[:2]))) == []
    assert told == [(TINY, 1), (TINY, 2)] and list(tmp_path.iterdir()) == []


def test_a_table_by_hand():
    def line(cell: str, found: int, recall: int, flagged: int, error: float | None) -> dict:
        def share(count: int, of: int) -> dict:
            return {"count": count, "of": of}

        return {
            "cell": cell, "digest": KNOWN[cell].digest, "seed": 1, "real_data": False, "exchanges": 1000, "proposed": 7,
            "seconds": {"build": 1, "import": 2, "scan": 3},
            "honest_findings": {"over_the_line": {"alike batch": min(flagged, 1)}},
            "score": {
                "campaigns_found": share(found, 1), "recall": share(recall, 100), "precision": share(recall, recall),
                "honest_flagged": share(flagged, 50), "honest_groups_flagged": share(min(flagged, 1), 4),
                "honest_groups_by_role": {"class": share(0, 1), "alike batch": share(min(flagged, 1), 3)},
                "honest_flagged_by_role": {"class": share(0, 20), "alike batch": share(flagged, 30)},
                "share_error": {"accounts": 0 if error is None else recall, "mean": error, "bias": error},
            },
        }  # fmt: skip

    lines = [line("centre", 1, 90, 0, 0.1), line("centre", 1, 100, 3, 0.2), line("centre", 0, 0, 0, None)]
    text = tables.markdown(lines, KNOWN)
    row = next(r for r in text.splitlines() if r.startswith("| centre"))
    assert "2 of 3 [9.4%, 99.2%]" in row and "0%, 90%, 100%" in row and "190 of 190" in row
    assert "3 of 150" in row and "1 of 3 [0.8%, 90.6%]" in row and "0.153, +0.153 (190)" in row
    assert "| 1 alike batch |" in row
    rows = [r for r in text.splitlines() if r.startswith(("| alike", "| class"))]
    assert rows[0].startswith("| alike batch | 1 of 9 |") and rows[1].startswith(
        "| class | 0 of 3 | 70.76% |"
    )


def test_a_line_that_is_no_result_is_refused(tmp_path):
    (tmp_path / benchmark.RESULTS).write_text('{"cell": 1}\n')
    with pytest.raises(FormatError, match=r"results\.jsonl:1"):
        benchmark.results(tmp_path / benchmark.RESULTS)


def test_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr("stillwatch.lab.cells.cells", lambda: {**KNOWN, "smoke": TINY})
    run = CliRunner()
    base = ["run", "campaigns", "--out", str(tmp_path), "--cells", "smoke"]
    done = run.invoke(app, [*base, "--seeds", "3", "--json"], env={"STILLWATCH_DATA": None})
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["seed"] == 3
    shown = run.invoke(app, [*base, "--table"])
    assert "| smoke | 1 |" in shown.stdout
    for wrong in (["--seeds", "x"], ["--seeds", "5-2"], ["--cells", "nowhere"]):
        assert isinstance(run.invoke(app, [*base, *wrong]).exception, InputError)
    assert isinstance(run.invoke(app, ["run", "races", "--out", str(tmp_path)]).exception, InputError)


def test_a_cell_without_a_campaign_has_none(tmp_path):
    honest = Cell("h", "none", TINY.log, None)
    line = benchmark.one(honest, 1, tmp_path / "work")
    assert line["campaign_accounts"] == 0 and line["score"]["campaigns_found"]["of"] == 0
    assert not (tmp_path / "work").exists()
