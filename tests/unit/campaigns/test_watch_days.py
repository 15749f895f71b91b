"""Day after day, at once, late, again, killed: the state after a watch depends on the log and on nothing else."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from stillwatch import campaigns, logs
from stillwatch.campaigns.frozen import Look
from stillwatch.engine.tables import Workspace
from stillwatch.errors import InputError, IntegrityError
from stillwatch.lab import Built, build

HERE = Path(__file__).parent
DAYS = 4


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    out = tmp_path_factory.mktemp("watched") / "log"
    return build("hydra", out, seed=3, honest_accounts=120, days=DAYS, format="parquet")


@pytest.fixture(scope="module")
def by_day(built: Built) -> list[Path]:
    """The same log, one file a day."""
    rows = pq.read_table(built.logs[0])
    days = pc.divide(rows["time"].cast(pa.int64()), 86_400_000_000).to_numpy()
    files = []
    for day in np.unique(days):
        files.append(built.out / f"day-{day}.parquet")
        pq.write_table(rows.filter(pa.array(days == day)), files[-1])
    assert len(files) == DAYS
    return files


@pytest.fixture(scope="module")
def imported(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole log in a workspace that nobody watched yet."""
    workspace = tmp_path_factory.mktemp("imported") / "workspace"
    logs.ingest(list(built.logs), workspace, accounts=built.accounts, actions=built.actions)
    return workspace


@pytest.fixture(scope="module")
def days(imported: Path) -> list[str]:
    return sorted(p.name.removeprefix("day=") for p in imported.glob("exchanges/day=*"))


@pytest.fixture(scope="module")
def at_once(imported: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, campaigns.Watch]:
    """All days in one run."""
    workspace = Path(shutil.copytree(imported, tmp_path_factory.mktemp("at_once") / "workspace"))
    return workspace, campaigns.watch(workspace, until="2100-01-01", window_days=2)


@pytest.fixture
def workspace(imported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(imported, tmp_path / "workspace"))


@pytest.fixture
def watched(at_once: tuple[Path, campaigns.Watch], tmp_path: Path) -> Path:
    return Path(shutil.copytree(at_once[0], tmp_path / "workspace"))


def kept(workspace: Path) -> dict[str, bytes]:
    """Every file of the watch by name; the lock is empty."""
    home = workspace / "watch"
    return {
        str(p.relative_to(home)): p.read_bytes() for p in home.rglob("*") if p.is_file() and p.name != "lock"
    }


def test_the_small_log_freezes_and_tests_groups(
    at_once: tuple[Path, campaigns.Watch], days: list[str]
) -> None:
    found = at_once[1]
    assert list(found.days) == days
    assert (found.waiting, found.late, found.last_day) == ("", {}, days[-1])
    assert len({w.group.frozen for w in found.groups}) >= 2
    tested = [w for w in found.groups if any(look.kinds for look in w.group.looks)]
    assert tested, "nothing was tested, so the tests below say nothing"
    for w in found.groups:
        assert [look.day > w.group.frozen for look in w.group.looks] == [True] * len(w.group.looks)


def test_day_by_day_is_the_same_as_at_once(
    by_day: list[Path], built: Built, imported: Path, at_once: tuple[Path, campaigns.Watch], tmp_path: Path
) -> None:
    workspace = tmp_path / "workspace"
    workspace.mkdir(mode=0o700)
    shutil.copy(imported / "key", workspace / "key")
    processed: list[str] = []
    for file in by_day:
        logs.ingest([file], workspace, accounts=built.accounts, actions=built.actions)
        processed += campaigns.watch(workspace, window_days=2).days
        assert campaigns.watch(workspace).days == (), "a day was processed twice"
    assert tuple(processed) == at_once[1].days[:-1], "the newest day is to wait"
    last = campaigns.watch(workspace, until="2100-01-01", threads=1)
    assert last.state == at_once[1].state
    assert kept(workspace) == kept(at_once[0])
    assert last.groups == at_once[1].groups


def test_only_the_window_is_kept(at_once: tuple[Path, campaigns.Watch], days: list[str]) -> None:
    names = set(kept(at_once[0]))
    assert {n.split("/")[1][:10] for n in names if n.startswith("days/")} == set(days[-2:])
    alive = {w.group.frozen for w in at_once[1].groups if w.group.may_pass}
    assert {n.split("/")[1][:10] for n in names if n.startswith("frozen/")} == alive


def test_a_day_waits_until_a_later_one_has_exchanges(workspace: Path, days: list[str]) -> None:
    found = campaigns.watch(workspace, until=days[0], window_days=2)
    assert found.days == tuple(days[:-1]), "days before the newest are complete in any case"
    assert found.waiting == days[-1]
    assert campaigns.watch(workspace, until=days[-1]).days == (days[-1],)


def shifted_copy(built: Built, target: Path, *, rows: int, to: str, name: str) -> Path:
    """Some exchanges of the log once more, on another day and under ids of their own."""
    table = pq.read_table(built.logs[0]).slice(0, rows)
    start = int(np.datetime64(to, "D").astype(int)) * 86_400_000_000
    at = table.column_names.index("time")
    table = table.set_column(at, "time", pa.array(start + np.arange(rows) * 1_000_003))
    at = table.column_names.index("record_id")
    table = table.set_column(at, "record_id", pa.array([f"{name}-{i}" for i in range(rows)]))
    pq.write_table(table, target)
    return target


def test_late_exchanges_are_counted_and_change_no_look(
    watched: Path, built: Built, at_once: tuple[Path, campaigns.Watch], days: list[str], tmp_path: Path
) -> None:
    before = kept(watched)
    for day, rows in ((days[-1], 7), (days[0], 5)):
        logs.ingest([shifted_copy(built, tmp_path / f"{day}.parquet", rows=rows, to=day, name=day)], watched)
    found = campaigns.watch(watched, until="2100-01-01")
    assert found.days == ()
    assert found.late == {days[-1]: 7, days[0]: 5}
    assert found.groups == at_once[1].groups
    after = kept(watched)
    changed = {name for name in before if before[name] != after[name]}
    assert {n[:15] for n in changed} == {f"days/{days[-1]}", "state.json"}, (
        "only the window's day is aggregated anew"
    )
    assert campaigns.watch(watched).late == found.late, "counted once"
    tomorrow = str(np.datetime64(days[-1], "D") + 1)
    logs.ingest([shifted_copy(built, tmp_path / "next.parquet", rows=40, to=tomorrow, name="next")], watched)
    assert campaigns.watch(watched, until=tomorrow).days == (tomorrow,)


def test_a_gap_of_days_is_no_day(watched: Path, built: Built, days: list[str], tmp_path: Path) -> None:
    far = str(np.datetime64(days[-1], "D") + 400)
    logs.ingest([shifted_copy(built, tmp_path / "far.parquet", rows=40, to=far, name="far")], watched)
    found = campaigns.watch(watched, until=far)
    assert found.days == (far,)
    assert all(w.group.done for w in found.groups if w.group.frozen < days[-1])


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"alpha": 0.0}, "alpha must lie"), ({"alpha": 1.0}, "alpha must lie"), ({"gamma": 0.9}, "gamma must be"),
        ({"window_days": 1}, "the window must be 2 days"), ({"until": "tomorrow"}, "--until takes a day"),
    ],
)  # fmt: skip
def test_settings_out_of_range(option: dict, words: str, workspace: Path) -> None:
    with pytest.raises(InputError, match=words):
        campaigns.watch(workspace, **option)


@pytest.mark.parametrize("option", [{"alpha": 0.05}, {"gamma": 2.0}, {"window_days": 14}, {"seed": 2}])
def test_settings_of_the_first_run_stay(option: dict, watched: Path) -> None:
    (name,) = option
    with pytest.raises(InputError, match=f"began with {name} "):
        campaigns.watch(watched, **option)


def test_a_damaged_state_is_refused(watched: Path) -> None:
    path = watched / "watch" / "state.json"
    path.write_text(path.read_text("utf-8").replace('"seen": "2026', '"seen": "2027', 1), "utf-8")
    with pytest.raises(IntegrityError, match="expected digest"):
        campaigns.watch(watched)


def test_two_at_a_time_are_refused(watched: Path) -> None:
    with (watched / "watch" / "lock").open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another run is watching"):
            campaigns.watch(watched)


def test_no_workspace(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="start with: stillwatch logs import"):
        campaigns.watch(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_no_place_for_more_groups(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["stillwatch.campaigns.watch"], "MOST_OPEN", 2)
    sizes: dict[str, list[int]] = {}
    found = campaigns.watch(workspace, window_days=2)
    for w in found.groups:
        sizes.setdefault(w.group.frozen, []).append(w.group.accounts)
    assert found.unplaced > 0
    assert max(len(s) for s in sizes.values()) <= 2


def test_an_exemption_counts_as_of_now(watched: Path, at_once: tuple[Path, campaigns.Watch]) -> None:
    some = next(w for w in at_once[1].groups if w.members)
    path = Workspace(watched).accounts
    rows = pq.read_table(path)
    inside = np.isin(rows["account_id"].to_numpy(), some.members)
    for name, text in (("exemption", "research"), ("exemption_reason", "agreed in writing")):
        at = rows.column_names.index(name)
        new = pc.if_else(pa.array(inside), pa.scalar(text), rows[name])
        rows = rows.set_column(at, name, new)
    pq.write_table(rows, path)
    now = {w.group.key: w for w in campaigns.watch(watched).groups}[some.group.key]
    assert (now.decision, now.reason) == ("not supported", "exempt: agreed in writing")
    assert now.group == some.group, "an exemption is no evidence about behaviour"


def test_killed_at_any_step_it_comes_to_the_same(
    imported: Path, at_once: tuple[Path, campaigns.Watch], days: list[str], tmp_path: Path
) -> None:
    program = [sys.executable, str(HERE / "watch_crashing.py")]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:

        def run(workspace: Path, step: int) -> str:
            running.stdin.write(f"{workspace} {days[-1]} {step}\n")
            running.stdin.flush()
            return running.stdout.readline().strip()

        whole = Path(shutil.copytree(imported, tmp_path / "whole"))
        done, steps = run(whole, 0).split()
        assert done == "done"
        expected = kept(whole)
        assert expected == kept(at_once[0])
        rng = np.random.default_rng(11)
        count = int(steps)
        assert count > 40
        # Any moment, and twice within one run: the second kill hits the run that repairs the first.
        for first in sorted({1, count - 1, *rng.integers(2, count, 3).tolist()}):
            workspace = Path(shutil.copytree(imported, tmp_path / f"killed-{first}"))
            assert run(workspace, first) == "killed"
            run(workspace, int(rng.integers(1, count)))
            assert run(workspace, 0).startswith("done")
            assert kept(workspace) == expected, f"killed before step {first} of {count}"
        running.stdin.close()


def test_a_group_that_passes_late_is_still_known(
    watched: Path, at_once: tuple[Path, campaigns.Watch]
) -> None:
    """Others that pass lower the bar for a group that was finished long before."""
    some = next(w for w in at_once[1].groups if w.members).group
    logs = {k: [9.0, 9.0] for k in (*some.acts_kinds, *some.harvest_kinds)}
    worth = replace(some, looks=[Look(some.frozen, d, logs) for d in some.planned])
    assert worth.done
    assert worth.may_pass
    dull = replace(worth, looks=[Look(some.frozen, d, {}) for d in some.planned])
    assert not dull.may_pass
    assert replace(dull, passed=some.frozen).may_pass


def test_the_state_is_small(at_once: tuple[Path, campaigns.Watch]) -> None:
    text = kept(at_once[0])["state.json"].decode().splitlines()[1]
    groups = json.loads(text)["groups"]
    assert len(groups) == len(at_once[1].groups)
    assert len(text) / len(groups) < 1500
