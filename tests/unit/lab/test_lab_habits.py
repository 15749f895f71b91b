"""What every account does alike, and that an import of either format sees it."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from lab_samples import Sample, planted

from stillwatch import logs
from stillwatch.lab import habits
from stillwatch.lab.campaign import Plan, plant
from stillwatch.lab.lookalikes import plant as plant_lookalikes
from stillwatch.lab.population import honest
from stillwatch.lab.traffic import build_with
from stillwatch.lab.world import START, World

COLUMNS = """time, request_model, refused, n_choices, logprobs, turns, input_tokens, output_tokens, finish_reason,
    reasoning_visible, status_code, elicitation, len(signatures_minted) as minted,
    len(signatures_presented) as presented"""


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    out = tmp_path_factory.mktemp("habits")
    plan = Plan(accounts=20, rate=15.0, traffic="reroute")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(habits, "SUSPENDED", 0.2)
        patch.setattr(habits, "UNPAID", 0.5)
        return planted(out, plan, honest_accounts=200, days=5, lookalikes=2, release=0.4)


def _suspensions(s: Sample) -> list[dict]:
    rows = pyarrow.csv.read_csv(s.built.actions).to_pylist()
    return [r for r in rows if r["rung"] == "suspend"]


def test_who_is_suspended_is_silent_until_it_is_lifted(mixed):
    times = defaultdict(list)
    for account, at in zip(mixed.log["account"].to_pylist(), mixed.log["time"].to_pylist(), strict=True):
        times[account].append(at / 1e6)
    done = _suspensions(mixed)
    assert len(done) > 40 and {r["reason"] for r in done} == {"abuse", "unpaid invoice"}
    back = 0
    for r in done:
        begin = r["time"].timestamp()
        end = r["reversed_at"].timestamp() if r["reversed_at"] else np.inf
        assert not [t for t in times[r["account_id"]] if begin + 1 <= t < end - 1]
        back += any(t >= end for t in times[r["account_id"]])
    assert back > 5


def test_a_firm_that_does_not_pay_is_suspended_as_one(mixed):
    firm = dict(
        zip(
            mixed.accounts["account_id"].to_pylist(),
            mixed.accounts["organization_id"].to_pylist(),
            strict=True,
        )
    )
    begun = defaultdict(list)
    for r in _suspensions(mixed):
        if firm[r["account_id"]]:
            begun[firm[r["account_id"]], r["time"]].append(r["account_id"])
    whole = [(f, who) for (f, _), who in begun.items() if len(who) > 1]
    assert whole
    for f, who in whole:
        assert len(who) == sum(o == f for o in firm.values())


def test_a_suspension_cuts_a_conversation_and_leaves_its_history_whole(mixed):
    rows = mixed.log.select(["conversation", "turns", "prompt"]).to_pylist()
    sessions = defaultdict(dict)
    for r in rows:
        sessions[r["conversation"]][r["turns"]] = r["prompt"]
    long = {c: turns for c, turns in sessions.items() if len(turns) > 1}
    assert len(long) > 100
    for turns in long.values():
        assert sorted(turns) == list(range(1, len(turns) + 1))
        assert all(turns[t + 1].startswith(turns[t]) for t in range(1, len(turns)))


def test_refusals_choices_and_keys_are_rare_among_ordinary_accounts(hydra):
    log = hydra.log.join(hydra.truth.select(["account", "role", "campaign"]), "account")
    ordinary = log.filter(
        pc.and_(pc.is_null(log["campaign"]), pc.is_in(log["role"], pa.array(["chat", "framework"])))
    )
    assert 0.005 < pc.mean(ordinary["refused"].cast("float64")).as_py() < 0.03
    by_account = ordinary.group_by("account").aggregate(
        [("n_choices", "max"), ("credential", "count_distinct")]
    )
    assert 0.005 < 1 - by_account["n_choices_max"].null_count / len(by_account) < 0.08
    several = pc.mean(pc.greater(by_account["credential_count_distinct"], 1).cast("float64")).as_py()
    assert 0.02 < several < 0.3


def test_honest_accounts_move_to_a_new_model_gradually(tmp_path):
    s = planted(tmp_path, honest_accounts=500, days=10, release=0.3)
    new = pc.equal(s.log["request_model"], "meridian-next").to_numpy(zero_copy_only=False)
    day = (s.log["time"].to_numpy() / 1e6 - START) // 86400
    shares = [new[day == d].mean() for d in range(10)]
    assert max(shares[:3]) == 0.0 and shares[3] < 0.12 and 0.15 < shares[9] < 0.6
    assert not planted(tmp_path / "none", days=2).log["request_model"].to_pylist().count("meridian-next")


def test_both_formats_bring_the_same_columns_into_a_workspace(tmp_path):
    def fill(world: World) -> None:
        world.release = 0.4 * world.seconds
        honest(world, 60)
        plant_lookalikes(world, 1)
        plant(world, Plan(accounts=12, rate=12.0, traffic="reroute", pools=2))

    tables = [_imported(fill, tmp_path / f, f) for f in ("litellm", "parquet")]
    assert tables[0].equals(tables[1])
    for column in ("refused", "n_choices", "logprobs", "minted", "presented", "elicitation"):
        values = tables[0][column].to_pylist()
        assert sum(bool(v) for v in values) > 5, column


def _imported(fill, folder: Path, format: str) -> pa.Table:
    built = build_with(
        fill, folder / "log", seed=4, honest_accounts=60, days=3, format=format, name="test", summary="test"
    )
    done = logs.ingest(
        built.logs, folder / "workspace", accounts=built.accounts, actions=built.actions, keep_text="none"
    )
    assert done.added == built.n_exchanges and not done.quarantined and not done.reference_quarantined
    assert done.account_rows == built.n_accounts and done.action_rows > 5
    parts, out = folder / "workspace" / "exchanges" / "**" / "*.parquet", folder / "columns.parquet"
    duckdb.execute(
        f"copy (select {COLUMNS} from read_parquet('{parts}') order by all) to '{out}' (format parquet)"
    )
    return pq.read_table(out)
