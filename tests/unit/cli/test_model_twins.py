"""Twins of `stillwatch model attribute` held against what was published, and the commands that publish."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from model_samples import TIME, Provider, Suspect, provider, write
from typer.testing import CliRunner, Result

from stillwatch.cli import model as command
from stillwatch.cli.main import add_nouns, app
from stillwatch.errors import IntegrityError, StillwatchError
from stillwatch.marks.ledger import Answer, Ledger, Policy
from stillwatch.marks.twins import Day, Twin

add_nouns()
DAY = "2026-05-28"


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Provider:
    return provider(tmp_path_factory.mktemp("twins"), answers=2)


def run(ours: Provider, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--workspace", str(ours.workspace)])


def test_a_day_is_committed_to_once_and_tallied_from_the_ledger(ours: Provider) -> None:
    first = run(ours, "watermark", "twins", "commit", "--day", DAY, "--share", "1", "--by", "t")
    assert (
        first.exit_code == 0
        and json.loads(first.stdout)["digest"] == Day(ours.master, DAY, share=1).commitment.digest
    )
    assert "has begun" in first.stderr
    assert run(ours, "watermark", "twins", "commit", "--day", DAY, "--share", "1").stdout == first.stdout
    other = run(ours, "watermark", "twins", "commit", "--day", DAY, "--share", "0.5")
    assert isinstance(other.exception, StillwatchError) and "share of 1 already" in str(other.exception)
    told = json.loads(run(ours, "watermark", "twins", "tally", "--day", DAY).stdout)
    assert (told["twins"], told["commitment"]) == (60, json.loads(first.stdout)["digest"])
    none = run(ours, "watermark", "twins", "tally", "--day", "2026-05-29")
    assert isinstance(none.exception, StillwatchError) and "no draw of 2026-05-29" in str(none.exception)
    run(ours, "watermark", "twins", "commit", "--day", "9999-01-01", "--share", "1")
    early = run(ours, "watermark", "twins", "tally", "--day", "9999-01-01")
    assert isinstance(early.exception, StillwatchError) and "is not over" in str(early.exception)


def attribute(ours: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *more: str) -> dict:  # type: ignore[type-arg]
    (tmp_path / "weights").mkdir(exist_ok=True)
    suspect = Suspect(shown=frozenset(ours.served))
    monkeypatch.setattr(command, "_model", lambda path, dtype: suspect)
    found = run(ours, "model", "attribute", "--suspect", str(tmp_path / "weights"), "--json", *more)
    assert found.exit_code == 0, found.exception
    return dict(json.loads(found.stdout))


def test_without_the_file_the_finding_says_so_and_with_it_forged_coins_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = provider(tmp_path / "w", answers=2)
    day = Day(ours.master, DAY, share=1.0)
    with Ledger(ours.workspace / "marks" / "ledger", ours.master) as ledger:
        twins = [t for e in ledger.entries() if (t := Twin.from_note(e.exchange_id, e.note))]
    told = attribute(ours, tmp_path, monkeypatch)
    (row,) = [t for t in told["finding"]["details"]["tests"] if t["kind"] == "served twins"]
    assert row["n"] == 60 and any(
        "nothing that was published was held" in x for x in told["finding"]["limits"]
    )
    lines = [json.loads(day.commitment.line()), json.loads(day.tally(twins).line())]
    said = write(tmp_path / "published.jsonl", lines)
    with_it = attribute(ours, tmp_path, monkeypatch, "--twins-published", str(said))
    (row,) = [t for t in with_it["finding"]["details"]["tests"] if t["kind"] == "served twins"]
    limits = " ".join(with_it["finding"]["limits"])
    assert row["n"] == 60 and "are as published" in limits and "nothing that was published" not in limits
    assert with_it["run"]["config"]["settings"] != told["run"]["config"]["settings"]

    texts = write(tmp_path / "t.jsonl", [{"text": "w001 w002"}])
    (tmp_path / "weights" / "w").write_text("x")
    bare = [
        "--suspect",
        str(tmp_path / "weights"),
        "--texts",
        str(texts),
        "--workspace",
        str(tmp_path / "none"),
    ]
    key = ["--key", str(ours.workspace / "marks" / "key"), "--twins-published", str(said)]
    none = CliRunner().invoke(app, ["model", "attribute", *bare, *key])
    assert isinstance(none.exception, StillwatchError) and "is none" in str(none.exception)

    # Whoever holds the master writes the ledger anew, with one pair turned round.
    folder = tmp_path / "anew"
    with (
        Ledger(ours.workspace / "marks" / "ledger", ours.master) as old,
        Ledger(folder, ours.master, write=True, policy=Policy(keep="both")) as new,
    ):
        for entry in old.entries():
            kept, twin = old.kept(entry), Twin.from_note(entry.exchange_id, entry.note)
            if kept is None or twin is None:
                continue
            pair, note = (kept.text, kept.withheld_text), dict(entry.note)
            if entry.exchange_id == "t-5":
                pair = pair[::-1]
                note["twin"] = {**note["twin"], "coin": 1 - twin.coin}
            new.append(
                Answer(entry.exchange_id, TIME, 9, pair[0], withheld_text=pair[1], keep=True, note=note)
            )
    blind = attribute(ours, tmp_path, monkeypatch, "--ledger", str(folder))
    assert next(t["n"] for t in blind["finding"]["details"]["tests"] if t["kind"] == "served twins") == 60
    seen = attribute(ours, tmp_path, monkeypatch, "--ledger", str(folder), "--twins-published", str(said))
    assert next(t["n"] for t in seen["finding"]["details"]["tests"] if t["kind"] == "served twins") == 59
    assert any("'t-5' was left out: its coin did not fall" in x for x in seen["finding"]["limits"])
    assert run(ours, "watermark", "twins", "commit", "--day", DAY, "--share", "1").exit_code == 0
    wrong = run(ours, "watermark", "twins", "tally", "--day", DAY, "--ledger", str(folder))
    assert isinstance(wrong.exception, IntegrityError) and "t-5" in str(wrong.exception)
