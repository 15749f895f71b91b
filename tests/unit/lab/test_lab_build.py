"""What is written: an ordinary log, the same bytes for the same seed, and a truth that is true."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from stillwatch.engine.schema import ACCOUNTS, RAW
from stillwatch.errors import InputError
from stillwatch.lab import arrivals, build
from stillwatch.lab.lookalikes import kinds
from stillwatch.lab.lookalikes import plant as plant_lookalikes
from stillwatch.lab.prompts import prompts
from stillwatch.lab.scenarios.enterprise import size
from stillwatch.lab.world import START, World
from stillwatch.plugins import find

SMALL = {"seed": 5, "honest_accounts": 60, "days": 2}


def _bytes(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def _lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def test_same_seed_same_bytes_and_another_seed_another_log(tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        build("hydra", tmp_path / name, **{**SMALL, "seed": seed})
    a, b, c = (_bytes(tmp_path / n) for n in "abc")
    assert a == b
    assert a["truth.parquet"] != c["truth.parquet"]
    logs = [n for n in a if n.startswith("log-")]
    assert len(logs) == 2 and all(a[n] != c[n] for n in logs)


def test_both_formats_hold_the_same_log(tmp_path):
    one = build("hydra", tmp_path / "jsonl", **SMALL)
    two = build("hydra", tmp_path / "parquet", format="parquet", **SMALL)
    rows = [row for path in one.logs for row in _lines(path)]
    table = pq.read_table(two.logs[0])
    assert table.schema.equals(RAW)
    assert len(rows) == table.num_rows == one.n_exchanges == two.n_exchanges
    for row, kept in zip(rows, table.to_pylist(), strict=True):
        users = [m["content"] for m in row["messages"] if m["role"] == "user"]
        system = [m["content"] for m in row["messages"] if m["role"] == "system"]
        assert "\n".join(users) == kept["prompt"]
        assert len(users) == kept["turns"]
        assert (system or [None])[0] == kept["system"]
        assert row["metadata"]["user_api_key_user_id"] == kept["account"]
        assert row["metadata"]["user_api_key_org_id"] == kept["organization"]
        assert row["requester_ip_address"] == kept["client_address"]
        assert (row["session_id"] or row["trace_id"]) == kept["conversation"]
        assert round(row["startTime"] * 1e6) == kept["time"]
        assert row["endTime"] >= row["startTime"]
        assert row["prompt_tokens"] == kept["input_tokens"]
        assert row["completion_tokens"] == kept["output_tokens"]
        assert row["model_parameters"].get("temperature") == kept["temperature"]
        assert (row["status"] == "failure") == (kept["status_code"] != 200)
    for name in ("accounts.csv", "actions.csv", "truth.parquet", "README.txt"):
        assert (one.out / name).read_bytes() == (two.out / name).read_bytes()


def test_messages_alternate_and_the_history_grows(tmp_path):
    built = build("enterprise", tmp_path, **SMALL)
    sessions: dict[str, list[list[str]]] = {}
    for path in built.logs:
        for row in _lines(path):
            talk = [m for m in row["messages"] if m["role"] != "system"]
            assert [m["role"] for m in talk] == ["user", "assistant"] * (len(talk) // 2) + ["user"]
            if row["session_id"]:
                sessions.setdefault(row["session_id"], []).append([m["content"] for m in talk])
    assert any(len(turns) > 2 for turns in sessions.values())
    for turns in sessions.values():
        for before, after in pairwise(turns):
            assert after[: len(before)] == before and len(after) == len(before) + 2


def test_the_log_is_in_order_and_within_its_days(hydra):
    time = hydra.log["time"].to_numpy()
    assert np.all(np.diff(time) >= 0)
    assert time[0] >= START * 1_000_000 and time[-1] < (START + 7 * 86400) * 1_000_000


def test_no_account_acts_before_it_exists(hydra):
    first = hydra.log.group_by("account").aggregate([("time", "min")])
    created = hydra.accounts.select(["account_id", "created_at"]).rename_columns(["account", "created_at"])
    both = first.join(created, "account", join_type="inner")
    made = both["created_at"].cast("timestamp[us]").cast("int64").to_numpy()
    assert np.all(both["time_min"].to_numpy() >= made)


def test_tables_have_the_columns_of_the_schema(hydra):
    assert hydra.accounts.column_names == [f.name for f in ACCOUNTS]
    assert set(hydra.log["account"].unique().to_pylist()) <= set(hydra.accounts["account_id"].to_pylist())
    assert set(hydra.truth["account"].to_pylist()) == set(hydra.accounts["account_id"].to_pylist())


def test_readme_says_that_it_is_composed(hydra):
    text = (hydra.built.out / "README.txt").read_text()
    assert "composed" in text and "unanchored" in text and "Nothing in it happened" in text


def test_truth_of_shares_and_rates(hydra):
    rows = hydra.joined()
    guilty = rows.filter(pc.equal(rows["role"], "campaign"))
    wrapped = pc.match_substring(guilty["prompt"], "internal reasoning")
    per_account = (
        guilty.append_column("wrapped", wrapped.cast("float64"))
        .group_by("account")
        .aggregate([("wrapped", "mean"), ("share", "min"), ("time", "count")])
    )
    assert np.allclose(per_account["wrapped_mean"].to_numpy(), per_account["share_min"].to_numpy())
    n = size(World(0, 1, 900, 1, 1, None, None), 200)  # type: ignore[arg-type]
    assert len(per_account) == n == 60
    counts = per_account["time_count"].to_numpy()
    assert abs(counts.mean() / (26 * 7) - 1) < 4 / np.sqrt(26 * 7 * n) + 0.02
    assert abs(per_account["share_min"].to_numpy().mean() - 0.8) < 0.03
    honest = hydra.truth.filter(pc.is_null(hydra.truth["campaign"]))
    assert pc.max(honest["share"]).as_py() == 0.0


def test_tasks_of_the_campaign_do_not_overlap(hydra):
    rows = hydra.joined()
    guilty = rows.filter(pc.equal(rows["role"], "campaign"))
    tasks = guilty.filter(pc.equal(guilty["turns"], 1))["prompt"].to_pylist()
    assert len(set(tasks)) > 0.995 * len(tasks)


def test_volumes_are_heavy_tailed(hydra):
    honest = hydra.truth.filter(pc.is_null(hydra.truth["campaign"]))
    per_day = np.sort(honest["exchanges"].to_numpy() / 7)
    per_day = per_day[per_day > 0]
    assert 0.8 < np.median(per_day) < 3
    assert per_day.mean() > 2 * np.median(per_day)
    top = per_day[-len(per_day) // 100 :].sum() / per_day.sum()
    assert top > 0.10  # the busiest 1% send more than a tenth


def test_the_twin_acts_as_one_firm(hydra):
    facts = hydra.described("enterprise")
    assert len(facts) == 60
    assert len(facts["organization_id"].unique()) == len(facts["payment_token"].unique()) == 1
    rows = hydra.joined()
    rows = rows.filter(pc.equal(rows["role"], "enterprise"))
    assert len(rows["system"].unique()) == 1
    prefixes = {a.rpartition(".")[0] or a.rpartition("::")[0] for a in rows["client_address"].to_pylist()}
    assert len(prefixes) == 1
    assert pc.mean(pc.greater(rows["turns"], 1).cast("float64")).as_py() > 0.4


def test_the_campaign_spreads_its_prefixes_and_shares_its_cards(hydra):
    facts = hydra.described("campaign")
    assert len(facts["signup_prefix"].unique()) == 60
    assert 2 <= len(facts["payment_token"].unique()) <= 8
    assert facts["organization_id"].null_count == 60


def test_every_scenario_builds(tmp_path):
    scenarios = find("lab.scenarios")
    assert set(scenarios) >= {"hydra", "enterprise", "honest", "lookalikes"}
    for name, module in scenarios.items():
        assert name == module.SCENARIO and module.SUMMARY
        built = build(name, tmp_path / name, seed=3, honest_accounts=300, days=3, format="parquet")
        truth = pq.read_table(built.truth)
        guilty = truth.filter(pc.is_valid(truth["campaign"]))
        assert (len(guilty) > 0) == (name == "hydra")
        assert built.n_exchanges == pc.sum(truth["exchanges"]).as_py() > 0


def test_lookalikes_hold_ten_groups_of_each_kind_and_each_is_a_role(tmp_path):
    built = build("lookalikes", tmp_path, seed=3, honest_accounts=300, days=2, format="parquet")
    truth = pq.read_table(built.truth)
    groups: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for role, g in zip(truth["role"].to_pylist(), truth["group"].to_pylist(), strict=True):
        if role.startswith("alike "):
            groups[role][g] += 1
    assert set(groups) == {"alike " + kind for kind in kinds()}
    for role, sizes in groups.items():
        assert len(sizes) >= 10 or role == "alike rationale framework", role
        assert min(sizes.values()) >= 5, role
        assert all(g.startswith(role) for g in sizes)
    assert pc.sum(truth["share"]).as_py() == 0


def test_twenty_groups_of_each_kind_are_about_three_thousand_accounts():
    rng = np.random.default_rng(1)
    world = World(3, 1, 1000, 1.0, 0.8, prompts(rng, None), arrivals.own_clients(rng))
    plant_lookalikes(world, 20)
    assert 2500 < world.n_accounts < 3600


def test_two_groups_never_have_one_name():
    rng = np.random.default_rng(1)
    world = World(3, 1, 2000, 1.0, 0.8, prompts(rng, None), arrivals.own_clients(rng))
    find("lab.scenarios")["lookalikes"].build(world)
    groups = [group for _, _, _, group in world.roles if group]
    assert len(groups) > 100 and len(groups) == len(set(groups))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"scenario": "nobody"}, "hydra"),
        ({"honest_accounts": 3}, "20 to"),
        ({"days": 0}, "1 to 366"),
        ({"sharing": -1.0}, "sharing"),
        ({"share": 0.0}, "share"),
        ({"format": "xml"}, "litellm or parquet"),
        ({"data": Path("/nowhere")}, "--data"),
    ],
)
def test_what_cannot_be_built_is_said(tmp_path, change, says):
    options = {"scenario": "honest", "out": tmp_path, "seed": 1, "honest_accounts": 50, "days": 1, **change}
    with pytest.raises(InputError, match=says):
        build(**options)


def test_a_folder_with_a_log_is_left_alone(tmp_path):
    build("honest", tmp_path, **SMALL)
    before = _bytes(tmp_path)
    with pytest.raises(InputError, match="holds log"):
        build("honest", tmp_path, **SMALL)
    assert _bytes(tmp_path) == before


def test_a_log_of_real_prompts_and_arrivals(tmp_path, data):
    built = build("hydra", tmp_path, seed=2, honest_accounts=300, days=3, format="parquet", data=data)
    assert "ServeGen" in built.arrivals and "public" in built.prompts
    assert pq.read_table(built.logs[0]).num_rows == built.n_exchanges
