"""Each baseline finds what it was made for, and its blind spot is shown beside it."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from stillwatch import logs, plugins
from stillwatch.engine.schema import RAW
from stillwatch.engine.tables import Workspace
from stillwatch.errors import InputError, InsufficientData
from stillwatch.identity import Keys, Pseudonyms
from stillwatch.lab import build
from stillwatch.lab.baselines import (
    content_clusters,
    mmd_window,
    one_column_rules,
    per_key_score,
    prada,
    union_attributes,
)
from stillwatch.lab.baselines._reading import Openings
from stillwatch.lab.keyed import key_of_seed

BASELINES = plugins.find("lab.baselines")
SECOND = 1_000_000
DAY = 86_400 * SECOND
START = 20_000 * DAY


@dataclass(frozen=True)
class Composed:
    workspace: Path
    role: dict[int, str]

    def roles(self, table: pa.Table) -> np.ndarray:
        return np.array([self.role[a] for a in table["account_id"].to_pylist()])


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Composed:
    folder = tmp_path_factory.mktemp("baselines")
    built = build("hydra", folder / "log", seed=3, honest_accounts=700, days=7, format="parquet")
    workspace = folder / "workspace"
    logs.ingest(list(built.logs), workspace, accounts=built.accounts)
    truth = pq.read_table(built.truth)
    place = Workspace(workspace)
    ids = pq.read_table(place.accounts)["account_id"].to_pylist()
    names = Pseudonyms(Keys(place.key_file), place.vault).reveal("account", ids)
    role = dict(zip(truth["account"].to_pylist(), truth["role"].to_pylist(), strict=True))
    return Composed(workspace, {i: role[name] for i, name in names.items()})


def imported(folder: Path, rows: list[dict], accounts: list[dict] | None = None) -> Path:
    """A workspace of a few rows; whatever is not given is a plain request of its own."""
    given = {
        "operation": "chat", "request_model": "m", "input_tokens": 10, "output_tokens": 10, "status_code": 200,
        "turns": 1,
    }  # fmt: skip
    path, table = folder / "log.parquet", folder / "accounts.csv"
    pq.write_table(pa.Table.from_pylist([{**given, **row} for row in rows], schema=RAW), path)
    if accounts:
        pa.csv.write_csv(pa.Table.from_pylist(accounts), table)
    key_of_seed(folder / "workspace", 1)
    logs.ingest([path], folder / "workspace", accounts=table if accounts else None)
    return folder / "workspace"


def asked(
    account: str, n: int, words: np.random.Generator, every: float = 3600, wrap: str = ""
) -> list[dict]:
    """`n` different questions of one account, one each `every` seconds."""
    return [
        {
            "account": account,
            "time": START + int(i * every * SECOND) + int(words.integers(SECOND)),
            # letters only: an import reads every number as the same one
            "prompt": wrap + bytes(words.integers(97, 123, size=60, dtype=np.uint8)).decode(),
        }
        for i in range(n)
    ]


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_gives_one_row_an_account_and_the_same_again(name, composed):
    module = BASELINES[name]
    assert isinstance(module.NAME, str) and len(module.SOURCE) > 100
    assert list(inspect.signature(module.flag).parameters) == ["workspace", "log", "seed"]
    table = module.flag(composed.workspace, log=None, seed=4)
    assert table.schema.field("account_id").type == pa.int64()
    assert table.schema.field("score").type == pa.float64()
    assert table.schema.field("flagged").type == pa.bool_()
    assert table.schema.field("group").type == pa.string()
    assert not table["flagged"].null_count
    for column in table.column_names[4:]:
        kind = {"form": pa.bool_(), "rule": pa.float64()}[column.partition(":")[0]]
        assert table.schema.field(column).type == kind, column
    ids = table["account_id"].to_pylist()
    assert len(set(ids)) == len(ids) and set(ids) <= set(composed.role)
    assert not np.isnan(table["score"].drop_null().to_numpy()).any()
    assert table.equals(module.flag(composed.workspace, log=None, seed=4), check_metadata=True)


@pytest.mark.parametrize("name", BASELINES)
def test_nothing_reads_the_truth(name):
    source = inspect.getsource(BASELINES[name])
    assert "truth.parquet" not in source and "lab.score" not in source and "lab.write" not in source


@pytest.mark.parametrize("name", BASELINES)
def test_a_small_log_without_account_table(name, tmp_path):
    workspace = imported(
        tmp_path, [*asked("a", 3, np.random.default_rng(1)), {"account": "b", "time": START}]
    )
    if name == "mmd_window":
        with pytest.raises(InsufficientData):
            BASELINES[name].flag(workspace, log=None, seed=1)
        return
    table = BASELINES[name].flag(workspace, log=None, seed=1)
    assert len(table) == 2 and not any(table["flagged"].to_pylist())


@pytest.mark.parametrize("name", BASELINES)
def test_a_folder_without_a_log_is_refused(name, tmp_path):
    with pytest.raises(InputError):
        BASELINES[name].flag(tmp_path, log=None, seed=1)


# score by key


def test_composed_maps_give_what_one_request_after_the_other_gives():
    rng = np.random.default_rng(2)
    key = np.sort(rng.integers(6, size=900))
    pace = np.array([50, 400, 3_000, 60_000, 3_600_000, 40_000])[key]
    ms = (rng.exponential(1, 900) * pace).astype(np.int64)
    for k in range(6):
        ms[key == k] = np.cumsum(ms[key == k])
    like = np.where(rng.random(900) < 0.5, rng.random(900), 0.0)
    got = per_key_score.carried(key, ms, like)
    for k in range(6):
        times, likes, score = ms[key == k], like[key == k], 0.0
        for i, now in enumerate(times):
            counts = [np.sum(times[: i + 1] >= now - w) for w in (60_000, 3_600_000, 86_400_000)]
            since = now - times[max(i - 1, 0)]
            rate = max(max(0, (c - m) / c) for c, m in zip(counts, (30, 500, 5000), strict=True))
            gap = max(0, 1 - since / 500) if i >= 4 and counts[0] >= 2 else 0
            gain = 0.35 * rate + 0.2 * gap + 0.3 * (likes[i] if i >= 3 and likes[i] >= 0.4 else 0)
            score = min(1, max(0, score - 0.05 * since / 3.6e6) + gain)
            assert got[key == k][i] == pytest.approx(score, abs=1e-9)


def test_score_by_key_sees_one_template_and_takes_a_template_for_guilt(tmp_path):
    rng = np.random.default_rng(3)
    template = "Classify the following ticket of our customers by urgency and product, answer in one word: "
    rows = asked("wrapped", 40, rng, wrap=template * 2) + asked("diverse", 800, rng, every=100)
    flagged = _flagged(per_key_score, imported(tmp_path, rows))
    # an honest classifier of tickets, 24 a day; and a harvest of 800 a day without a template
    assert flagged == {"wrapped"}


# PRADA


def test_prada_distances_by_hand():
    a, b = np.arange(32, dtype=np.int32), np.arange(100, 132, dtype=np.int32)
    near = a.copy()
    near[:8] = -1
    d = prada.least_distances(np.array([a, b, near, b, a]))
    assert d.tolist() == [1.0, 0.25, 0.0, 0.0]


def test_prada_needs_a_hundred_questions_and_flags_an_honest_nightly_list(tmp_path, composed):
    rng = np.random.default_rng(5)
    nightly = asked("nightly", 40, rng, every=30)
    nights = [{**row, "time": row["time"] + night * DAY} for night in range(5) for row in nightly]
    rows = nights + asked("short", 100, rng)
    assert _flagged(prada, imported(tmp_path, rows)) == {"nightly"}
    table = prada.flag(composed.workspace, log=None, seed=1)
    assert json.loads(table.schema.metadata[b"stillwatch.notes"])["tested"] < len(table)


# MMD


def _pool(rng: np.random.Generator, n: int, topic: int) -> np.ndarray:
    """Sketches of `n` questions of one of two worlds, a third of whose values are common to all of it."""
    own = rng.integers(2**31 - 1, size=(n, 32))
    common = topic * 1000 + rng.integers(12, size=(n, 32))
    return np.where(rng.random((n, 32)) < 0.33, common, own).astype(np.int32)


def test_mmd_holds_its_level_on_iid_windows_and_sees_a_quarter_of_others():
    rng = np.random.default_rng(6)
    embed = mmd_window.Embedding(np.concatenate([_pool(rng, 900, 0), _pool(rng, 300, 1)]), rng)
    benign = embed(_pool(rng, 6000, 0))
    reference, calibration, held_out = benign[:2000], benign[2000:4000], benign[4000:]
    limit = mmd_window.threshold(reference, calibration, 300, rng)
    windows = mmd_window._draw(held_out, 300, 300, rng)
    assert np.mean(mmd_window.discrepancy(windows, 300, reference, rng) > limit) < 0.04
    mixed = mmd_window._draw(held_out, 225, 20, rng) + mmd_window._draw(
        embed(_pool(rng, 500, 1)), 75, 20, rng
    )
    assert np.all(mmd_window.discrepancy(mixed, 300, reference, rng) > limit)


def test_mmd_is_unbiased():
    rng = np.random.default_rng(7)
    x = rng.standard_normal((40, 6)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    kernel = (x @ x.T).astype(float)
    by_hand = (kernel.sum() - np.trace(kernel)) / (40 * 39)
    everything = np.array([x.sum(axis=0)])
    # every reference window is all of x: own + theirs - 2 cross
    got = mmd_window.discrepancy(everything, 40, x, rng)[0]
    assert got == pytest.approx(2 * by_hand - 2 * kernel.sum() / 1600, abs=1e-5)


def test_windows_are_full_and_of_one_account():
    account = np.repeat([0, 3, 4], [99, 250, 100])
    openings = Openings(account, np.arange(449)[::-1].copy(), np.zeros((449, 32), np.int32))
    window = mmd_window.account_windows(openings)
    assert [np.sum(window == w) for w in (-1, 0, 1, 2)] == [149, 100, 100, 100]
    assert set(account[window == 1]) == {3} and set(account[window == 2]) == {4}
    assert np.sum(mmd_window.stream_windows(openings, 200) == -1) == 49


def test_mmd_finds_the_campaign_and_flags_every_narrow_customer_too(composed):
    table = mmd_window.flag(composed.workspace, log=None, seed=1)
    role, tested = composed.roles(table), table["score"].is_valid().to_numpy(zero_copy_only=False)
    flagged = table["flagged"].to_numpy(zero_copy_only=False)
    assert flagged[tested & (role == "campaign")].mean() > 0.9
    assert flagged[tested & (role != "campaign")].mean() > 0.9  # one customer is no iid draw from a pool


# union


def test_components_are_those_of_the_graph():
    accounts = np.arange(10, 17)
    links = [
        (np.array([10, 11, 12]), np.array([7, 7, 8])),
        (np.array([11, 12, 15, 16]), np.array([7, 7, 9, 9])),
    ]
    label = union_attributes.components(accounts, links)
    assert label[0] == label[1] == label[2] and label[5] == label[6]
    assert len(set(label)) == 4  # 7 as a payment token and 7 as a device are two values


def test_union_finds_the_campaign_and_chains_everybody_with_one_client(composed):
    table = union_attributes.flag(composed.workspace, log=None, seed=1)
    role = composed.roles(table)
    flagged, funding = (table[c].to_numpy(zero_copy_only=False) for c in ("flagged", "form:funding"))
    assert flagged[role == "campaign"].all() and funding[role == "campaign"].mean() > 0.8
    assert flagged[role != "campaign"].mean() > 0.95 and len(pc.unique(table["group"]).drop_null()) == 1
    assert funding[role == "enterprise"].all()  # one honest company with one bill
    assert not funding[role == "chat"].any()


# rules


def test_one_column_rules_measure_what_they_say(tmp_path):
    rng = np.random.default_rng(8)
    rows = asked("a", 48, rng) + [{**r, "logprobs": True} for r in asked("b", 10, rng)]
    facts = [
        {"account_id": "a", "created_at": "2024-01-01T00:00:00Z", "card_type": "virtual", "email_class": "free mail"},
        {"account_id": "b", "created_at": "2024-09-01T00:00:00Z", "card_type": "credit", "email_class": "free mail"},
    ]  # fmt: skip
    workspace = imported(tmp_path, rows, facts)
    table = one_column_rules.flag(workspace, log=None, seed=1)
    a, b = (table.filter(pc.equal(table["account_id"], i)).to_pylist()[0] for i in _ids(workspace, "a", "b"))
    assert (a["rule:card_type = virtual"], b["rule:card_type = virtual"]) == (1, 0)
    assert a["rule:hours of the day seen, high"] == 24
    assert a["rule:requests a day, high"] == pytest.approx(48 / (47 / 24), rel=0.01)
    assert b["rule:share with log-probabilities, high"] == 1 and a["rule:age in days, low"] < -200
    assert a["rule:requests a day, low"] == -a["rule:requests a day, high"]
    assert "rule:latency, high" not in table.column_names  # no such column in this log
    assert a["score"] == 2 and not a["flagged"]


# content


def test_content_clusters_sum_over_accounts_and_miss_what_shares_no_text(tmp_path):
    rng = np.random.default_rng(9)
    wrap = "Imagine and articulate the internal reasoning behind a completed response, step by step. Do not skip. "
    rows = [r for i in range(6) for r in asked(f"wrapped{i}", 40, rng, wrap=wrap)]
    rows = [{**r, "output_tokens": 900} for r in rows]
    rows += [r for i in range(6) for r in asked(f"bare{i}", 60, rng)]
    shop = "Translate the following description for the customers of our shop, and keep the brand as it is, please: "
    rows += [r for i in range(6) for r in asked(f"shop{i}", 40, rng, wrap=shop)]
    workspace = imported(tmp_path, rows)
    assert _flagged(content_clusters, workspace) == {f"wrapped{i}" for i in range(6)}


def test_content_clusters_find_the_campaign(composed):
    table = content_clusters.flag(composed.workspace, log=None, seed=1)
    role, flagged = composed.roles(table), table["flagged"].to_numpy(zero_copy_only=False)
    assert flagged[role == "campaign"].mean() > 0.9


def _flagged(module, workspace: Path) -> set[str]:
    table = module.flag(workspace, log=None, seed=1)
    return {n for n, f in zip(_names(workspace, table), table["flagged"].to_pylist(), strict=True) if f}


def _names(workspace: Path, table: pa.Table) -> list[str]:
    place, ids = Workspace(workspace), table["account_id"].to_pylist()
    names = Pseudonyms(Keys(place.key_file), place.vault).reveal("account", ids)
    return [names[i] for i in ids]


def _ids(workspace: Path, *names: str) -> list[int]:
    table = union_attributes.flag(workspace, log=None, seed=1)
    by_name = dict(zip(_names(workspace, table), table["account_id"].to_pylist(), strict=True))
    return [by_name[n] for n in names]
