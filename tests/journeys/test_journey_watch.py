"""A log that grows, from its first day on: the campaign is supported on its second, and honest accounts never are."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from journey_samples import Journey

from stillwatch import campaigns, logs
from stillwatch.cases import Journal
from stillwatch.cli import main
from stillwatch.engine.tables import Workspace
from stillwatch.identity import Keys, Pseudonyms
from stillwatch.lab import build

EVER = "2100-01-01"
Call = Callable[..., tuple[int, str, str]]
Watched = tuple[Path, campaigns.Watch]


def revealed(workspace: Path, ids: tuple[int, ...]) -> set[str]:
    place = Workspace(workspace)
    return set(Pseudonyms(Keys(place.key_file), place.vault).reveal("account", ids).values())


@pytest.fixture(scope="module")
def watched(hydra: Journey, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    workspace = hydra.copy(tmp_path_factory.mktemp("watched") / "workspace")
    return workspace, campaigns.watch(workspace, until=EVER)


def test_the_campaign_is_supported_after_one_fresh_day(hydra: Journey, watched: Watched) -> None:
    workspace, found = watched
    planted = hydra.accounts(campaign="hydra")
    first = min(found.supported, key=lambda w: w.group.passed)
    began = np.datetime64(found.days[0], "D")
    assert np.datetime64(first.group.passed, "D") - began <= 2, (
        "supported within three days of the first exchange"
    )
    assert first.group.frozen < first.group.passed
    flagged = set().union(*(revealed(workspace, w.members) for w in found.supported))
    assert flagged <= planted, "honest accounts stand in a supported campaign"
    assert len(flagged) >= 0.95 * len(planted)


def test_it_is_one_hypothesis_and_stays_one(watched: Watched) -> None:
    found = watched[1]
    proposers = [w.group.proposer for w in found.supported]
    assert len(proposers) == len(set(proposers)), "one campaign was frozen anew although it had not changed"
    assert all(w.group.seen == found.last_day for w in found.supported)


def test_the_innocent_twin_is_not_supported(hydra: Journey, watched: Watched) -> None:
    workspace, found = watched
    twin = hydra.accounts(role="enterprise")
    own = [
        w for w in found.groups if w.members and len(revealed(workspace, w.members) & twin) >= 0.8 * len(twin)
    ]
    assert own, "the twin was not proposed"
    assert not [w for w in own if w.decision == "supported"]


def test_every_frozen_group_has_a_share_of_one_budget(watched: Watched) -> None:
    weights = [w.group.weight for w in watched[1].groups]
    assert min(weights) > 0
    assert sum(weights) <= 1


def test_honest_accounts_are_never_supported(honest: Journey, tmp_path: Path) -> None:
    found = campaigns.watch(honest.copy(tmp_path / "workspace"), until=EVER)
    tested = [w for w in found.groups if any(look.kinds for look in w.group.looks)]
    assert len(tested) > 5, "nothing was tested"
    assert not [w.group.key for w in found.groups if w.group.passed]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20, 26 if "STILLWATCH_TRIALS" in os.environ else 21))
def test_no_group_of_other_honest_logs_passes(seed: int, tmp_path: Path) -> None:
    built = build("honest", tmp_path / "log", seed=seed, honest_accounts=250, days=5, format="parquet")
    logs.ingest(list(built.logs), tmp_path / "workspace", accounts=built.accounts, actions=built.actions)
    found = campaigns.watch(tmp_path / "workspace", until=EVER)
    assert len(found.groups) > 5
    assert not [w.group.key for w in found.groups if w.group.passed]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    def run(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["stillwatch", "campaigns", "watch", *map(str, arguments)])
        code = 0
        try:
            main.run()
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        return code, *capfd.readouterr()

    return run


def test_the_command_prints_records_and_fails_on(hydra: Journey, watched: Watched, call: Call) -> None:
    workspace, found = watched
    code, out, err = call("--workspace", workspace, "--fail-on", "supported")
    assert code == 10, err
    lines = out.splitlines()
    assert lines[0].split()[:3] == ["CAMPAIGN", "DECISION", "ACCOUNTS"]
    assert lines[1].split()[:2] == [found.supported[0].group.name, "supported"]
    assert "false discovery rate held at 1% for ever" in out
    assert all(len(line) <= 120 for line in lines)
    entry = list(Journal(workspace / "journal.jsonl").entries())[-1]
    assert entry.kind == "watch"
    assert entry.body["state"] == found.state
    assert entry.body["supported"] == [w.group.key for w in found.supported]

    code, out, _ = call("--workspace", workspace, "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [(r["campaign"], r["decision"]) for r in rows] == [
        (w.group.name, w.decision) for w in found.groups
    ]
    planted = hydra.accounts(campaign="hydra")
    assert rows[0]["members"]
    assert not set(rows[0]["members"]) & planted, "real names without --reveal"
    assert [look["days"] for look in rows[0]["looks"]][:3] == [1, 2, 4]

    _, out, _ = call("--workspace", workspace, "--json", "--reveal")
    assert set(json.loads(out.splitlines()[0])["members"]) <= planted
    assert list(Journal(workspace / "journal.jsonl").entries())[-1].kind == "reveal"


def test_the_command_before_a_day_is_complete(tmp_path: Path, call: Call) -> None:
    built = build("honest", tmp_path / "log", seed=9, honest_accounts=20, days=1, format="parquet")
    rows = pq.read_table(built.logs[0])
    pq.write_table(rows.slice(0, 30), tmp_path / "one.parquet")
    logs.ingest([tmp_path / "one.parquet"], tmp_path / "workspace")
    code, out, _ = call("--workspace", tmp_path / "workspace")
    assert code == 0
    assert out.startswith("No day is complete yet")


@pytest.mark.parametrize(
    ("option", "words"),
    [(("--alpha", "0.05"), "began with alpha 0.01"), (("--fail-on", "guilty"), "--fail-on takes supported")],
)
def test_wrong_options(
    option: tuple[str, ...],
    words: str,
    watched: Watched,
    call: Call,
) -> None:
    code, out, err = call("--workspace", watched[0], *option)
    assert (code, out) == (3, "")
    assert words in err
