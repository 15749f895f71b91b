"""Nothing but behaviour tells a campaign from the honest: no single column gives it away."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from lab_samples import Sample, planted, sample

from stillwatch.lab.campaign import Plan

CUSTOMERS = ("developer", "framework", "batch", "instruction batch")
"""Honest accounts that call by program, as a campaign does; chatting people use other clients."""


@pytest.fixture(scope="module")
def facts(hydra: Sample) -> dict[str, list]:
    columns = ["credential", "client_agent", "request_model", "temperature", "max_tokens", "record_id"]
    columns += ["conversation", "client_address"]
    log = hydra.log.select(["account", *columns]).to_pydict()
    # Of every account the first row of the log: what an onlooker would see first.
    seen = {a: i for i, a in reversed(list(enumerate(log["account"])))}
    truth = dict(zip(hydra.truth["account"].to_pylist(), hydra.truth["role"].to_pylist(), strict=True))
    rows = [
        {**facts, "place": place, "role": truth[facts["account_id"]]}
        | {c: log[c][seen[facts["account_id"]]] for c in columns}
        for place, facts in enumerate(hydra.accounts.to_pylist())
        if facts["account_id"] in seen
    ]
    return {c: [row[c] for row in rows] for c in rows[0]}


def _sides(facts: dict[str, list]) -> tuple[np.ndarray, np.ndarray]:
    role = np.array(facts["role"])
    return role == "campaign", np.isin(role, CUSTOMERS)


def _rank_z(values: np.ndarray, guilty: np.ndarray, honest: np.ndarray) -> float:
    """Standard normal deviate of the Mann-Whitney statistic."""
    from scipy.stats import mannwhitneyu

    a, b = values[guilty], values[honest]
    u = mannwhitneyu(a, b).statistic
    return float((u - len(a) * len(b) / 2) / np.sqrt(len(a) * len(b) * (len(a) + len(b) + 1) / 12))


@pytest.mark.parametrize(
    "column",
    [
        "account_id",
        "place",
        "credential",
        "record_id",
        "device_token",
        "signup_prefix",
        "client_address",
    ],
)
def test_identifiers_and_places_have_no_order(facts, column):
    guilty, honest = _sides(facts)
    values = facts[column]
    known = np.array([v is not None for v in values])
    order = {v: i for i, v in enumerate(sorted({v for v in values if v is not None}))}
    ranks = np.array([order.get(v, -1) for v in values])
    assert abs(_rank_z(ranks, guilty & known, honest & known)) < 4


@pytest.mark.parametrize("column", ["account_id", "credential", "record_id", "conversation", "payment_token"])
def test_identifiers_have_one_form(facts, column):
    guilty, honest = _sides(facts)
    forms = [
        {
            "".join("x" if c in "0123456789abcdef" else c for c in v)[:60]
            for v, m in zip(facts[column], mask, strict=True)
            if m and v
        }
        for mask in (guilty, honest)
    ]
    assert forms[0] <= forms[1] and len(forms[1]) <= 1 + 2 * (column == "record_id")


@pytest.mark.parametrize(
    "column",
    [
        "client_agent",
        "request_model",
        "temperature",
        "max_tokens",
        "verification_level",
    ],
)
def test_no_stump_on_a_category_tells(facts, column):
    guilty, honest = _sides(facts)
    values = np.array([str(v) for v in facts[column]])
    best = 0.0
    for value in set(values):
        a, b = np.mean(values[guilty] == value), np.mean(values[honest] == value)
        p = (a * guilty.sum() + b * honest.sum()) / (guilty.sum() + honest.sum())
        best = max(best, abs(a - b) / np.sqrt(p * (1 - p) * (1 / guilty.sum() + 1 / honest.sum()) + 1e-12))
    assert best < 4  # about as far as chance goes over a dozen values


@pytest.mark.parametrize(
    "column",
    [
        "plan",
        "card_type",
        "email_class",
        "verification_level",
        "client_agent",
        "request_model",
        "max_tokens",
    ],
)
def test_whatever_a_campaign_account_has_honest_accounts_have_too(facts, column):
    """Cards and mail are reported of campaigns and so more frequent there, but no value is theirs."""
    role = np.array(facts["role"])
    values = np.array([str(v) for v in facts[column]])
    for value in set(values[role == "campaign"]):
        of_campaign, of_honest = (
            np.sum(values[role == "campaign"] == value),
            np.sum(values[role != "campaign"] == value),
        )
        assert of_honest >= 3, value
        assert of_campaign / (of_campaign + of_honest) < 0.6, value


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """A campaign of every traffic, with everything that a plan can ask for, among look-alikes."""
    plans = (
        Plan("a", 30, operators=2, pivot=0.8),
        Plan("b", 30, 12.0, traffic="reroute", pools=2),
        Plan("c", 20, 60.0, traffic="replay", wrapper="paraphrased"),
        Plan("d", 30, 13.0, traffic="session"),
    )
    out = tmp_path_factory.mktemp("mixed")
    return planted(out, *plans, honest_accounts=500, days=5, lookalikes=3, release=0.5)


def test_no_value_of_any_column_is_a_campaigns_own(mixed):
    """Of every value that a row or an account of a campaign has, several honest accounts have it too."""
    guilty = set(mixed.truth.filter(pc.is_valid(mixed.truth["campaign"]))["account"].to_pylist())
    columns = ["client_agent", "operation", "request_model", "response_model", "temperature", "max_tokens"]
    columns += ["n_choices", "logprobs", "finish_reason", "status_code", "refused", "reasoning_visible"]
    signatures = ("signatures_minted", "signatures_presented")
    log = pq.read_table(
        mixed.built.logs[0],
        columns=["account", "credential", "conversation", "turns", "prompt", *columns, *signatures],
    ).to_pylist()
    holders: dict[tuple[str, str], set[str]] = defaultdict(set)
    sessions: dict[str, int] = defaultdict(int)
    minted, keys = {}, defaultdict(set)
    for row in log:
        sessions[row["conversation"]] += 1
        minted |= dict.fromkeys(row["signatures_minted"] or (), row["account"])
        keys[row["account"]].add(row["credential"])
    for row in log:
        who = row["account"]
        for c in columns:
            holders[c, str(row[c])].add(who)
        holders[
            "later turn without a session", str(row["turns"] > 1 and sessions[row["conversation"]] == 1)
        ].add(who)
        holders["signature minted", str(bool(row["signatures_minted"]))].add(who)
        for s in row["signatures_presented"] or ():
            holders["signature of another account", str(minted[s] != who)].add(who)
        for words in ("internal reasoning", "impartial judge", "score rubric"):
            holders["elicitation", words if words in row["prompt"] else ""].add(who)
    for who, held in keys.items():
        holders["credentials", str(len(held))].add(who)
    facts = mixed.accounts.to_pylist()
    actions = pyarrow.csv.read_csv(mixed.built.actions).to_pylist()
    kinds = ("plan", "card_type", "email_class", "verification_level", "exemption", "exemption_reason")
    for row in facts:
        for c in (*kinds, "organization_id", "payment_token", "device_token", "contract_volume"):
            value = str(row[c]) if c in kinds else str(row[c] is None)
            holders[c, value].add(row["account_id"])
    for row in actions:
        for c in ("rung", "reason"):
            holders[c, row[c]].add(row["account_id"])
    shared = {"signature of another account", "rung", "elicitation"}
    assert shared <= {column for (column, _), who in holders.items() if who & guilty}
    for (column, value), who in holders.items():
        if who & guilty:
            assert len(who - guilty) >= 3, (column, value, len(who & guilty))


def test_prefix_kinds_cannot_be_told_from_the_address(hydra):
    rows = hydra.joined()
    guilty = pc.equal(rows["role"], "campaign").to_numpy(zero_copy_only=False)
    first = np.array([a.split(".")[0].split(":")[0] for a in rows["client_address"].to_pylist()])
    assert set(first[guilty]) <= set(first[~guilty])


def _shared_runs(s: Sample, length: int = 63) -> float:
    """Share of people's first questions that have a run of `length` bytes in common with another account's."""
    rows = s.joined()
    rows = rows.filter(pc.and_(pc.equal(rows["role"], "chat"), pc.equal(rows["turns"], 1)))
    seen: dict[bytes, str | None] = {}
    texts = [
        (a, p.lower().encode())
        for a, p in zip(rows["account"].to_pylist(), rows["prompt"].to_pylist(), strict=True)
    ]
    for account, text in texts:
        for i in range(len(text) - length + 1):
            if seen.setdefault(text[i : i + length], account) != account:
                seen[text[i : i + length]] = None  # two accounts
    hits = [any(seen[t[i : i + length]] is None for i in range(len(t) - length + 1)) for _, t in texts]
    assert len(hits) > 500
    return float(np.mean(hits))


def test_unrelated_people_rarely_share_text_unless_it_is_asked_for(hydra, tmp_path):
    usual = _shared_runs(hydra)
    stress = _shared_runs(sample(tmp_path, "honest", honest_accounts=900, days=7, sharing=20.0))
    assert usual < 0.02
    assert stress > 2 * usual and stress > 0.03


def test_real_prompts_rarely_share_text(tmp_path, data):
    assert _shared_runs(sample(tmp_path, "honest", honest_accounts=900, days=7, data=data)) < 0.03
