"""The e-process of a frozen group, the budget over all of them, and when two proposals are one hypothesis."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from stillwatch import plugins
from stillwatch.campaigns import frozen
from stillwatch.campaigns.frozen import Frozen, Look
from stillwatch.campaigns.groups import Group
from stillwatch.stats.sequential import predict_members

KINDS = ["habit", "text", "time"]


def group(**changes: object) -> Frozen:
    plain = Frozen(
        name="c-000001", frozen="2026-11-02", proposer="shared_prompt", accounts=20, materials=[1], weight=0.01,
        planned=[1, 2, 4, 8], acts_kinds=KINDS, harvest_kinds=["shape"],
        facts={"organisation": None, "payer": None}, place=0, seen="2026-11-02",
    )  # fmt: skip
    return replace(plain, **changes)


def look(days: int, **logs: float) -> Look:
    return Look(f"2026-11-{2 + days:02d}", days, {kind: [log, log + 1.0] for kind, log in logs.items()})


def e(log: float | None) -> float:
    assert log is not None
    return math.exp(log)


def test_evidence_is_the_sum_over_looks_each_divided_by_their_planned_number() -> None:
    one = group(looks=[look(1, habit=math.log(8), text=math.log(40), time=math.log(2), shape=math.log(12))])
    assert e(one.acts_as_one) == pytest.approx((8 + 2) / 2 / 4), "the largest kind is left out"
    assert e(one.harvesting) == pytest.approx(12 / 4)
    assert e(one.log_evalue) == pytest.approx((8 + 2) / 2 / 4)
    two = group(looks=[*one.looks, look(2, habit=math.log(100), shape=math.log(4))])
    assert e(two.acts_as_one) == pytest.approx((40 / 4 + 2 / 4) / 2), "habit is the largest now"
    assert e(two.harvesting) == pytest.approx(16 / 4)


@pytest.mark.parametrize(
    ("looks", "acts", "harvests"),
    [
        ([], False, False),
        ([look(1)], False, False),
        ([look(1, habit=30.0, shape=30.0)], False, True),
        ([look(1, habit=30.0), look(2, habit=30.0)], False, False),
        ([look(1, habit=30.0), look(2, time=3.0)], True, False),
    ],
)
def test_one_kind_is_never_enough_and_nothing_is_not_a_number(
    looks: list[Look], acts: bool, harvests: bool
) -> None:
    found = group(looks=looks)
    assert (found.acts_as_one is not None, found.harvesting is not None) == (acts, harvests)
    assert (found.log_evalue is not None) == (acts and harvests)


def test_no_look_ever_lowers_the_evidence() -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        looks, before = [], -math.inf
        for days in (1, 2, 4, 8):
            kinds = [k for k in (*KINDS, "shape") if rng.random() < 0.7]
            looks.append(look(days, **{k: rng.normal(0, 4) for k in kinds}))
            now = group(looks=looks).log_evalue
            now = -math.inf if now is None else now
            assert now >= before - 1e-12
            before = now


def test_the_ceiling_is_what_won_bets_would_have_given() -> None:
    one = group(looks=[look(1, habit=1.0, text=2.0, time=0.5, shape=1.0)])
    assert one.log_ceiling == pytest.approx(one.log_evalue + 1.0)


def test_the_budget_is_never_overspent() -> None:
    shares = [frozen.spent(j) for j in range(1, 200_000)]
    tail = 1 / math.log(200_000) / frozen._BUDGET
    assert 0.99 < sum(shares) + tail <= 1.0
    assert shares == sorted(shares, reverse=True)


@pytest.mark.parametrize(
    ("window", "looks"), [(2, [1, 2]), (3, [1, 2]), (7, [1, 2, 4]), (8, [1, 2, 4, 8]), (14, [1, 2, 4, 8])]
)
def test_looks_double_and_stay_within_the_window(window: int, looks: list[int]) -> None:
    assert frozen.planned_looks(window) == looks


def made(weight: float, log: float) -> Frozen:
    """A group whose e-value is exp(log)."""
    logs = dict.fromkeys((*KINDS, "shape"), log)
    return group(weight=weight, planned=[1], looks=[look(1, **logs)])


def test_online_e_bh_is_the_largest_set_that_holds_its_own_bound() -> None:
    rng = np.random.default_rng(5)
    for _ in range(300):
        n = int(rng.integers(0, 7))
        weights, logs = rng.dirichlet(np.ones(n)) if n else [], rng.normal(4, 3, n)
        groups = [made(w, x) for w, x in zip(weights, logs, strict=True)]
        scaled = np.exp(logs) * weights
        ks = [k for k in range(1, n + 1) if (scaled >= 1 / (0.05 * k)).sum() >= k]
        want = scaled >= 1 / (0.05 * max(ks)) if ks else np.zeros(n, bool)
        assert frozen.weighted_e_bh(groups, 0.05) == want.tolist()


def test_a_new_group_or_a_new_look_takes_nothing_back() -> None:
    rng = np.random.default_rng(6)
    for _ in range(100):
        groups = [made(w, x) for w, x in zip(rng.dirichlet(np.ones(5)), rng.normal(5, 3, 5), strict=True)]
        before = frozen.weighted_e_bh(groups[:3], 0.05)
        after = frozen.weighted_e_bh(groups, 0.05)
        assert all(b <= a for b, a in zip(before, after, strict=False))


def test_habits_make_a_product_of_days_grow_and_not_the_sum() -> None:
    """Random groups of accounts whose habits last: the null is true, and a chance likeness comes back every day."""
    rng = np.random.default_rng(8)
    accounts, members, looks, trials = 60, 12, 4, 1500
    strata = np.zeros(accounts, np.int64)
    product, total = np.empty(trials), np.empty(trials)
    for t in range(trials):
        habit = rng.normal(0, 1, accounts)
        drawn = rng.choice(accounts, members, replace=False)
        logs = [
            predict_members(
                habit + rng.normal(0, 0.02, accounts), drawn, strata, gamma=1.0, rng=rng, orders=2
            ).log_evalue
            for _ in range(looks)
        ]
        product[t], total[t] = np.exp(sum(logs)), np.exp(logs).mean()
    assert total.mean() < 1 + 3 * total.std() / math.sqrt(trials)
    assert np.percentile(product, 99) > 20, "a random group in a hundred would pass a bound of 1 in 20"
    assert product.mean() > 5


@pytest.mark.parametrize(
    ("accounts", "proposer", "same"),
    [
        (range(10), "shared_prompt", True),
        (range(9), "shared_prompt", True),
        (range(8), "shared_prompt", True),
        (range(7), "shared_prompt", False),
        (range(12), "shared_prompt", True),
        (range(13), "shared_prompt", False),
        (range(10), "shared_infrastructure", False),
        (range(20, 30), "shared_prompt", False),
    ],
)
def test_a_group_that_changed_is_a_new_hypothesis(accounts: range, proposer: str, same: bool) -> None:
    known = [("shared_prompt", np.arange(100, 110)), ("shared_prompt", np.arange(10))]
    found = frozen.same_as([Group(proposer, np.array(accounts))], known)
    assert found == [1 if same else -1]


def test_nothing_known_or_nothing_proposed() -> None:
    assert frozen.same_as([], [("shared_prompt", np.arange(5))]) == []
    assert frozen.same_as([Group("shared_prompt", np.arange(5))], []) == [-1]


DONE = [look(d, habit=9.0, text=9.0, time=9.0, shape=9.0) for d in (1, 2, 4, 8)]
DULL = [look(d, habit=-1.0, text=-1.0, time=-1.0, shape=-1.0) for d in (1, 2, 4, 8)]
AS_ONE = [look(d, habit=30.0, text=30.0, time=30.0, shape=-1.0) for d in (1, 2, 4, 8)]


def with_ceiling(looks: list[Look], top: float) -> list[Look]:
    return [Look(x.day, x.days, {k: [v[0], top] for k, v in x.kinds.items()}) for x in looks]


@pytest.mark.parametrize(
    ("changes", "rejected", "exempt", "decision", "reason"),
    [
        ({"looks": DONE}, True, 0, "supported", ""),
        ({"looks": DONE}, True, 10, "not supported", "exempt: agreed"),
        ({"looks": DONE, "facts": {"organisation": 0.8, "payer": None}}, True, 0, "inconclusive", "one organisation"),
        ({"looks": DONE, "facts": {"organisation": None, "payer": 0.9}}, True, 0, "inconclusive", "one organisation"),
        ({"looks": DULL[:2]}, False, 0, "inconclusive", "2 of 4 looks made"),
        ({"looks": [look(d) for d in (1, 2, 4, 8)]}, False, 0, "inconclusive", "too little data"),
        ({"looks": with_ceiling(DULL, 5.0)}, False, 0, "inconclusive", "too few accounts to tell"),
        ({"looks": with_ceiling(DULL, 50.0)}, False, 0, "not supported", "no more alike"),
        ({"looks": with_ceiling(AS_ONE, 50.0)}, False, 0, "not supported", "act as one, do not harvest"),
        ({"looks": DONE}, False, 0, "inconclusive", "some evidence, not enough"),
    ],
)  # fmt: skip
def test_decisions(changes: dict, rejected: bool, exempt: int, decision: str, reason: str) -> None:
    found = frozen.decide_frozen(
        group(**changes), rejected=rejected, exempt=exempt, reasons=["agreed"], alpha=0.01
    )
    assert found[0] == decision
    assert found[1].startswith(reason)


def test_the_kinds_of_a_group_leave_out_what_proposed_it() -> None:
    signals = plugins.find("campaigns.signals")
    acts, harvest = frozen.kinds_of(signals, "shared_prompt")
    assert "text" not in acts
    assert "shared_infrastructure" in acts
    assert harvest
    assert "text" in frozen.kinds_of(signals, "shared_infrastructure")[0]


def test_a_group_is_stored_and_read_back() -> None:
    one = group(looks=DONE, passed="2026-11-04")
    assert frozen.from_json(frozen.to_json(one)) == one


@pytest.mark.parametrize(
    ("changes", "opened"),
    [
        ({}, True),
        ({"looks": DONE}, False),
        ({"looks": DONE, "passed": "2026-11-03", "seen": "2026-11-10"}, True),
        ({"looks": DONE, "passed": "2026-11-03", "seen": "2026-11-09"}, False),
    ],
)
def test_open_groups(changes: dict, opened: bool) -> None:
    assert frozen.is_open(group(**changes), "2026-11-10") == opened
