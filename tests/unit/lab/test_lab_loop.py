"""A closed loop with a tiny teacher of random weights: its parts hold together, none reads the truth, it goes on."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_teacher import tiny_teacher
from typer.testing import CliRunner

from stillwatch.cases.store import CaseStore
from stillwatch.cli import _lab_loop
from stillwatch.cli.main import add_nouns, app
from stillwatch.errors import InputError
from stillwatch.lab.loop.stories import SMALL, stories

os.environ.setdefault("HF_HUB_OFFLINE", "1")
pytestmark = pytest.mark.filterwarnings("ignore")
add_nouns()


def test_every_loop_says_what_an_honest_answer_is(tmp_path: Path) -> None:
    known = stories()
    assert set(SMALL) <= set(known) and known["guilty"].expected == ("supported",)
    for one in known.values():
        innocent = one.source in ("rival", "plain") or one.dose == 0.01
        assert ("supported" in one.expected) != innocent
        assert one.marked <= 0.5
    few = stories(small=True)
    assert list(few) == list(known) and few["guilty"].answers < known["guilty"].answers
    bad = tmp_path / "bad.toml"
    bad.write_text("[common]\n[story.x]\nexpected = []\n")
    with pytest.raises(InputError, match=r"bad\.toml"):
        stories(bad)


def test_a_loop_that_is_not_known_and_a_folder_without_loops(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="guilty"):
        _lab_loop.run(tmp_path, tmp_path, ["nobody"], [1], None, small=False, as_json=False)
    found = CliRunner().invoke(app, ["lab", "score", str(tmp_path)])
    assert isinstance(found.exception, InputError) and "closed-loop" in str(found.exception)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for module in ("torch", "transformers", "accelerate", "tokenizers"):
        pytest.importorskip(module, reason="needs stillwatch[models]")
    return tiny_teacher(tmp_path_factory.mktemp("teacher"))


def test_from_the_log_to_the_case_and_again(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stillwatch.lab.loop import run as looping
    from stillwatch.lab.score import Truth

    known = stories()
    few = [
        replace(known[n], answers=48, length=24, honest_accounts=600, honest_answers=12)
        for n in ("guilty", "rival", "web-5")
    ]

    def forbidden(path: Path) -> Truth:
        raise AssertionError("a loop read the truth")

    with monkeypatch.context() as patch:
        patch.setattr(Truth, "read", forbidden)
        first = list(looping.run(few, tmp_path, teacher=teacher, seed=1))
    assert [f["story"] for f in first] == ["guilty", "rival", "web-5"]
    for found in first:
        assert found["attribution"]["decision"] in ("supported", "not supported", "inconclusive")
        kinds = {t["kind"] for t in found["attribution"]["tests"]}
        assert {"served answers", "its own answers"} <= kinds and found["case"] == "C-1"
        assert found["student"]["loss_after"] > 0
    assert first[1]["attribution"]["decision"] != "supported"
    # What is there is not done again; what was cut short is, and comes to the same.
    assert list(looping.run(few, tmp_path, teacher=teacher, seed=1)) == first
    (tmp_path / "guilty-1" / "result.json").unlink()
    (again,) = looping.run(few[:1], tmp_path, teacher=teacher, seed=1)
    assert again["attribution"] == first[0]["attribution"]
    shown = CliRunner().invoke(app, ["lab", "score", str(tmp_path)])
    assert shown.exit_code == 0 and "guilty-1" in shown.output and "campaigns" in shown.output
    assert "model audit" in shown.output and all(len(line) <= 100 for line in shown.output.splitlines())
    rows = CliRunner().invoke(app, ["lab", "score", str(tmp_path), "--json"]).stdout.splitlines()
    right = {(r["loop"], r["room"]): r["right"] for r in map(json.loads, rows)}
    assert right["rival-1", "attribution"] is True
    verified = CliRunner().invoke(
        app, ["case", "verify", "C-1", "--workspace", str(tmp_path / "guilty-1" / "workspace")]
    )
    assert verified.exit_code == 0
    pages = tmp_path / "guilty-1" / "documents"
    assert "student" in (pages / "report.html").read_text("utf-8")
    assert (pages / "disclosure.html").exists() == ("disclosure.html" in first[0]["documents"])
    # The plan was filed before the finding, which cites it.
    with CaseStore(tmp_path / "guilty-1" / "workspace") as cases:
        held = cases.get("C-1")
    (plan,) = [e for e in held.evidence if e.role == "plan of an attribution"]
    (about,) = [f for f in held.findings if f.subject == "student"]
    assert plan.sha256 in about.evidence
    # Its twins were held against what was published, and none was left out.
    assert "served twins" in kinds and not any("left out" in limit for limit in about.limits)
    assert len((pages.parent / "workspace" / "marks" / "published.jsonl").read_text().splitlines()) == 2
    with pytest.raises(InputError, match="other settings"):
        list(looping.run([replace(few[0], answers=40)], tmp_path, teacher=teacher, seed=1))
