"""A campaign is what its plan says: volume, shares, days, wrappers, pools, operators."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from lab_samples import Sample, planted

from stillwatch.errors import InputError
from stillwatch.lab.campaign import BANNED, Plan
from stillwatch.lab.prompts import prompts
from stillwatch.lab.rewording import reword
from stillwatch.lab.world import START

DAY = 86400


def _rows(s: Sample) -> dict[str, np.ndarray]:
    """The campaign's rows in time order, as arrays; `wrapped` by the words of the wrapper."""
    rows = s.joined()
    rows = rows.filter(pc.is_valid(rows["campaign"])).sort_by("time")
    out = {c: np.array(rows[c].to_pylist(), object) for c in ("account", "prompt", "system", "request_model")}
    out["turns"] = rows["turns"].to_numpy()
    out["seconds"] = rows["time"].to_numpy() / 1e6 - START
    out["wrapped"] = np.array(["articulate" in p for p in out["prompt"]])
    return out


@pytest.mark.parametrize(
    "plan",
    [
        Plan(accounts=40, rate=20.0),
        Plan(accounts=40, rate=20.0, share=0.1),
        Plan(accounts=40, rate=12.0, traffic="reroute"),
        Plan(accounts=20, rate=60.0, traffic="replay"),
        Plan(accounts=40, rate=20.0, traffic="session"),
    ],
    ids=["harvest", "small share", "reroute", "replay", "session"],
)
def test_volume_and_share_are_those_of_the_plan(tmp_path, plan):
    truth = planted(tmp_path, plan, days=6).truth
    truth = truth.filter(pc.is_valid(truth["campaign"]))
    active = 0.8 * 6 - 0.125 if plan.traffic == "session" else 6
    total = pc.sum(truth["exchanges"]).as_py()
    assert len(truth) == plan.accounts
    assert abs(total / (plan.accounts * plan.rate * active) - 1) < 0.2
    own = pc.sum(pc.multiply(truth["exchanges"].cast("float64"), truth["share"])).as_py()
    assert abs(own / total - plan.share) < 0.06


def test_rerouted_conversations_are_scattered_and_have_nights(tmp_path):
    s = planted(tmp_path, Plan(accounts=30, rate=20.0, share=1.0, traffic="reroute"), days=5)
    rows = _rows(s)
    assert rows["wrapped"].all()
    began = {(a, p) for a, p, t in zip(rows["account"], rows["prompt"], rows["turns"], strict=True) if t == 1}
    later = rows["turns"] > 1
    assert later.mean() > 0.4
    known = [
        any(p.startswith(q) for b, q in began if b == a)
        for a, p in zip(rows["account"][later], rows["prompt"][later], strict=True)
    ]
    assert np.mean(known) < 0.15  # one account in thirty, by chance
    hours = np.bincount((rows["seconds"] // 3600 % 24).astype(int), minlength=24)
    assert hours.min() < 0.25 * hours.max()
    flat = _rows(planted(tmp_path / "flat", Plan(accounts=30, rate=20.0, share=1.0), days=5))
    hours = np.bincount((flat["seconds"] // 3600 % 24).astype(int), minlength=24)
    assert hours.min() > 0.5 * hours.max()


def test_signatures_of_rerouted_conversations_cross_accounts(tmp_path):
    s = planted(tmp_path, Plan(accounts=30, rate=20.0, share=1.0, traffic="reroute"), days=4)
    log = pq.read_table(s.built.logs[0], columns=["account", "signatures_minted", "signatures_presented"])
    guilty = set(s.truth.filter(pc.is_valid(s.truth["campaign"]))["account"].to_pylist())
    minted = {m: r["account"] for r in log.to_pylist() for m in r["signatures_minted"] or ()}
    crossed: Counter[bool] = Counter()
    for r in log.to_pylist():
        for p in r["signatures_presented"] or ():
            crossed[r["account"] in guilty, minted[p] != r["account"]] += 1
    assert crossed[True, True] > 20 and crossed[True, True] > 5 * crossed[True, False]
    assert crossed[False, False] > crossed[False, True]


def test_one_pool_takes_over_from_the_other(tmp_path):
    plan = Plan(accounts=60, rate=30.0, share=1.0, pools=2)
    s = planted(tmp_path, plan, days=6)
    rows = _rows(s)
    actions = (tmp_path / "actions.csv").read_text().splitlines()[1:]
    banned = {line.split(",")[0].strip('"') for line in actions if '"suspend"' in line} & set(rows["account"])
    assert abs(len(banned) / (BANNED * 30) - 1) < 0.3
    first = {a: rows["seconds"][rows["account"] == a].min() for a in set(rows["account"])}
    last = {a: rows["seconds"][rows["account"] == a].max() for a in first}
    over = max(last[a] for a in banned)
    assert 0.45 * 6 * DAY < over < 0.6 * 6 * DAY
    new = [a for a in first if first[a] > over - 3 * 3600]
    assert len(new) == 30 and not banned & set(new)
    assert max(first[a] for a in new) < over + 14 * 3600
    # Registered before the log, like the first.
    created = dict(
        zip(
            s.accounts["account_id"].to_pylist(),
            s.accounts["created_at"].cast("int64").to_pylist(),
            strict=True,
        )
    )
    assert all(created[a] < START for a in new)
    before, after = (
        (rows["seconds"] < over - 7200).sum() / (over - 7200),
        (rows["seconds"] > over + 14 * 3600).sum(),
    )
    assert 0.8 < after / (6 * DAY - over - 14 * 3600) / before < 1.6


def test_two_operators_share_cards_and_machines_but_no_text(tmp_path):
    s = planted(tmp_path, Plan(accounts=60, rate=20.0, share=1.0, wrapper="fixed", operators=2), days=3)
    rows = _rows(s)
    wrapper = np.array([max(p.split("\n\n"), key=lambda t: "articulate" in t) for p in rows["prompt"]])
    kinds = Counter(wrapper.tolist())
    assert len(kinds) == 2
    carried = Counter(len(set(wrapper[rows["account"] == a])) for a in set(rows["account"]))
    assert carried == {1: 40, 2: 20}
    facts = s.described("campaign")
    assert len(facts["payment_token"].unique()) <= 6
    assert len(facts["device_token"].unique()) <= 8


def test_a_slow_start_grows(tmp_path):
    rows = _rows(planted(tmp_path, Plan(accounts=60, rate=20.0, share=1.0, start="slow"), days=7))
    days = np.bincount((rows["seconds"] // DAY).astype(int), minlength=7)
    assert days[0] < 0.15 * days[6]
    assert all(a < b * 1.1 for a, b in pairwise(days))


def test_most_of_a_pivoting_campaign_moves_within_a_day_and_few_others_do(tmp_path):
    s = planted(tmp_path, Plan(accounts=60, rate=30.0, pivot=0.8), honest_accounts=300, days=6, release=0.5)
    rows = s.joined()
    new = pc.equal(rows["request_model"], "meridian-next").to_numpy(zero_copy_only=False)
    seconds = rows["time"].to_numpy() / 1e6 - START
    assert seconds[new].min() >= 3 * DAY
    soon = (seconds > 4 * DAY) & (seconds < 4.5 * DAY)
    guilty = pc.is_valid(rows["campaign"]).to_numpy(zero_copy_only=False)
    assert 0.6 < new[soon & guilty].mean() < 0.95
    assert 0.0 < new[soon & ~guilty].mean() < 0.3


def test_wordings_keep_most_words_and_no_long_run():
    rng = np.random.default_rng(3)
    texts = prompts(rng, None).texts
    original = (
        "For Maest Ziova of Siarsfield: imagine wicker trolley, articulate bitter internal reasoning of wooden desert "
        "behind the response, lagoon anatomy step by step, keep latent notebook, then deliver the embassy and answer."
    )
    where = reword(texts, original)
    n = 400
    said = texts.render(
        np.full(n, where.lo),
        np.full(n, where.span),
        np.ones(n, int),
        rng.integers(1, 2**63, n).astype(np.uint64),
    ).to_pylist()
    assert len(set(said)) == n
    words = set(re.findall(r"\w+", original))
    kept = [len(words & set(re.findall(r"\w+", t))) / len(words) for t in said]
    assert min(kept) > 0.6 and np.mean(kept) > 0.75
    for length, most in ((32, 0.04), (63, 0.01)):
        runs = Counter(run for t in said for run in {t[i : i + length] for i in range(len(t) - length + 1)})
        assert max(runs.values()) < most * n, length


def test_a_paraphrased_wrapper_is_in_every_request(tmp_path):
    rows = _rows(planted(tmp_path, Plan(accounts=20, rate=20.0, share=1.0, wrapper="paraphrased"), days=3))
    wrappers = [max(p.split("\n\n"), key=len) for p in rows["prompt"]]
    assert len(set(wrappers)) > 0.95 * len(wrappers)
    none = _rows(planted(tmp_path / "none", Plan(accounts=20, rate=20.0, share=1.0, wrapper="none"), days=3))
    assert not none["wrapped"].any()


@pytest.mark.parametrize(
    "wrong",
    [{"wrapper": "thick"}, {"traffic": "x"}, {"pools": 3}, {"operators": 0}, {"start": "never"}, {"share": 0.0},
     {"accounts": 1}, {"rate": 0.0}, {"pivot": 2.0}],
)  # fmt: skip
def test_a_plan_that_cannot_be_is_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Plan(**wrong)
