"""Whom of a group's accounts a finding is about."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from stillwatch import plugins
from stillwatch.campaigns.groups import Group
from stillwatch.campaigns.placing import belongs, score_group
from stillwatch.campaigns.pool import Pool
from stillwatch.campaigns.scoring import Score
from stillwatch.campaigns.timing import Timings

SIGNALS = plugins.find("campaigns.signals")
MEMBERS, OTHERS = 40, 400


def told(**spoke: float) -> SimpleNamespace:
    """A score of which only who spoke, and how loudly, is looked at."""
    return SimpleNamespace(results=[SimpleNamespace(test=f"{n}@1", log_evalue=e) for n, e in spoke.items()])


def made(strangers: int, harvest_of_strangers: int = 0, seed: int = 1) -> tuple[Group, Pool]:
    """40 members, the last `strangers` of them with nothing of what the others have in common."""
    rng = np.random.default_rng(seed)
    n = MEMBERS + OTHERS
    one_hand = np.arange(n) < MEMBERS - strangers
    harvests = (rng.random(n) < 0.05).astype(np.int8)
    harvests[one_hand] = 1
    harvests[MEMBERS - strangers : MEMBERS] = harvest_of_strangers
    opened = np.where(one_hand, 700 + 10 * rng.random(n), 600 * rng.random(n))
    card = np.where(one_hand, rng.integers(3, size=n), 10 + rng.integers(200, size=n))
    pool = Pool(
        np.arange(n) * 7, np.full(n, -1), np.full(n, 50), np.zeros(n, np.int64),
        {"registration": opened, "account_class": np.stack([card, card], axis=1), "harvesting_shape": harvests},
    )  # fmt: skip
    return Group("shared_prompt", np.arange(MEMBERS) * 7), pool


SPOKE = told(registration=20.0, account_class=9.0, harvesting_shape=30.0)


@pytest.mark.parametrize("harvest", [0, -1])
@pytest.mark.parametrize("seed", range(5))
def test_who_has_nothing_but_the_text_is_set_apart(harvest: int, seed: int) -> None:
    group, pool = made(strangers=15, harvest_of_strangers=harvest, seed=seed)
    kept = belongs(group, SPOKE, pool, SIGNALS)
    assert kept[:25].sum() >= 24
    assert not kept[25:].any()


@pytest.mark.parametrize("seed", range(5))
def test_a_few_who_harvest_for_themselves_are_set_apart_too(seed: int) -> None:
    group, pool = made(strangers=4, harvest_of_strangers=1, seed=seed)
    kept = belongs(group, SPOKE, pool, SIGNALS)
    assert kept[:36].sum() >= 35 and kept[36:].sum() <= 1


def test_one_hand_stays_whole() -> None:
    group, pool = made(strangers=0)
    assert belongs(group, SPOKE, pool, SIGNALS).all()


def test_an_account_like_the_others_stays_without_having_been_seen_harvesting() -> None:
    group, pool = made(strangers=0)
    pool.values["harvesting_shape"][[0, 1]] = (-1, 0)
    assert belongs(group, SPOKE, pool, SIGNALS).all()


@pytest.mark.parametrize(("harvests", "stays"), [(1, True), (0, False), (-1, False)])
def test_of_an_account_without_values_harvesting_alone_speaks(harvests: int, stays: bool) -> None:
    group, pool = made(strangers=0)
    pool.values["registration"][0], pool.values["account_class"][0] = np.nan, (-1, -1)
    pool.values["harvesting_shape"][0] = harvests
    kept = belongs(group, SPOKE, pool, SIGNALS)
    assert kept[0] == stays and kept[1:].all()


def test_a_signal_that_did_not_speak_for_the_group_says_nothing() -> None:
    group, pool = made(strangers=15, harvest_of_strangers=1)
    silent = told(registration=-1.0, account_class=0.0, harvesting_shape=30.0)
    assert belongs(group, silent, pool, SIGNALS).all()


def test_without_harvesters_there_is_no_core() -> None:
    group, pool = made(strangers=MEMBERS - 4)
    assert belongs(group, SPOKE, pool, SIGNALS).all()


def without(pool: Pool, some: NDArray[np.int64]) -> Pool:
    kept = ~np.isin(pool.account, some)
    return Pool(
        pool.account[kept], pool.scope[kept], pool.exchanges[kept], pool.model[kept],
        {name: values[kept] for name, values in pool.values.items()}, np.sort(some),
    )  # fmt: skip


def test_exempt_accounts_are_in_no_pool_and_are_not_set_apart() -> None:
    group, pool = made(strangers=15)
    exempt = group.accounts[[0, 39]]
    kept = belongs(group, SPOKE, without(pool, exempt), SIGNALS)
    assert kept[[0, 39]].all() and kept[:25].all() and not kept[25:39].any()


# ------------------------------------------------------------- the core has to act as one by itself, kind by kind


NOBODY = np.empty(0, np.int64)
TIMINGS = Timings(*(NOBODY,) * 7)
LINE = float(np.log(100 / 0.01))


def pool_of(
    parts: list[tuple[int, float, float, float]], others: int = 3000, shape: float = 0.02, seed: int = 1
) -> tuple[Group, Pool]:
    """A group of parts: (accounts, share that harvests, spread of opening in days, chance of the part's own card)."""
    rng = np.random.default_rng(seed)
    n = sum(part[0] for part in parts)
    opened = 700 * rng.random(n + others)
    card = 10 + rng.integers(400, size=n + others)
    harvests = (rng.random(n + others) < shape).astype(np.int8)
    start = 0
    for i, (size, share, spread, own_card) in enumerate(parts):
        at = slice(start, start + size)
        opened[at] = 100 + 200 * i + spread * rng.random(size)
        card[at] = np.where(rng.random(size) < own_card, i, card[at])
        harvests[at] = 0
        harvests[start : start + round(share * size)] = 1
        start += size
    pool = Pool(
        np.arange(n + others), np.full(n + others, -1), np.full(n + others, 50), np.zeros(n + others, np.int64),
        {"registration": opened, "account_class": np.stack([card, card], axis=1), "harvesting_shape": harvests},
    )  # fmt: skip
    return Group("shared_prompt", np.arange(n)), pool


def asked(group: Group, pool: Pool) -> Score:
    return score_group(group, pool, SIGNALS, gamma=3.0, seed=1, timings=TIMINGS)


FIRM, STRANGERS = (40, 0.0, 5.0, 1.0), (26, 1.0, 700.0, 0.0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("firm_that_harvests", [0, 2, 4])
def test_a_firm_that_acts_as_one_and_strangers_who_harvest_do_not_pass_together(
    firm_that_harvests: int, seed: int
) -> None:
    group, pool = pool_of([(70, firm_that_harvests / 70, 5.0, 1.0), STRANGERS], seed=seed)
    found = asked(group, pool)
    assert found.before is not None and min(found.before, found.harvesting) > LINE, (
        "each question by itself passes"
    )
    assert found.log_evalue < LINE


def test_a_firm_and_a_handful_who_harvest_do_not_pass_together() -> None:
    group, pool = pool_of([(12, 0.0, 5.0, 1.0), (4, 1.0, 700.0, 0.0)], shape=0.001)
    found = asked(group, pool)
    assert found.before is not None, "fewer than five harvest: nothing can be asked of them"
    assert found.acts_as_one is None and found.log_evalue is None and found.log_ceiling is None


@pytest.mark.parametrize("strangers", [0, 4, 15])
def test_a_campaign_passes_beside_strangers_with_its_text(strangers: int) -> None:
    group, pool = pool_of([(36, 1.0, 10.0, 1.0), (strangers, 0.0, 700.0, 0.0)])
    found = asked(group, pool)
    assert found.log_evalue > LINE
    kept = belongs(group, found, pool, SIGNALS)
    assert kept[:36].sum() >= 34 and not kept[36:].any()


def test_the_core_never_raises_an_evalue() -> None:
    for seed in range(10):
        group, pool = pool_of([(30, 0.6, 200.0, 0.5), (20, 0.3, 400.0, 0.2)], seed=seed)
        found = asked(group, pool)
        if found.before is not None and found.acts_as_one is not None:
            assert np.isfinite(found.acts_as_one) and found.acts_as_one <= found.before + 1e-12


def test_a_group_that_cannot_pass_is_left_as_it_is() -> None:
    group, pool = pool_of([FIRM])
    found = asked(group, pool)
    assert found.before is None and found.acts_as_one > LINE, "it acts as one, and does not harvest"


def test_outsiders_count_as_their_stratum_counts_in_the_group() -> None:
    """One light member must not bring two thousand light outsiders against the heavy ones."""
    rng = np.random.default_rng(3)
    heavy, light = 600, 4000
    n = 31 + heavy + light
    exchanges = np.r_[np.full(30, 5000), 20, np.full(heavy, 5000), np.full(light, 20)]
    harvests = np.r_[np.arange(31) < 12, rng.random(heavy) < 0.4, rng.random(light) < 0.01].astype(np.int8)
    pool = Pool(
        np.arange(n), np.full(n, -1), exchanges, np.zeros(n, np.int64), {"harvesting_shape": harvests}
    )
    group = Group("shared_prompt", np.arange(31))
    kept = belongs(group, told(harvesting_shape=5.0), pool, SIGNALS)
    assert not kept.any(), "heavy members harvest no more than heavy outsiders do"
