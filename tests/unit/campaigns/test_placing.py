"""Whom of a group's accounts a finding is about."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from stillwatch.campaigns.findings import Proposal, _without_others
from stillwatch.campaigns.groups import Group
from stillwatch.campaigns.materials import Materials
from stillwatch.campaigns.placing import belongs
from stillwatch.campaigns.pool import Pool
from stillwatch.campaigns.scoring import ACTS_AS_ONE, HARVESTING
from stillwatch.campaigns.timing import Timings

QUESTIONS = {"registration": ACTS_AS_ONE, "account_class": ACTS_AS_ONE, "harvesting_shape": HARVESTING}
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
    kept = belongs(group, SPOKE, pool, QUESTIONS)
    assert kept[:25].sum() >= 24
    assert not kept[25:].any()


@pytest.mark.parametrize("seed", range(5))
def test_a_few_who_harvest_for_themselves_are_set_apart_too(seed: int) -> None:
    group, pool = made(strangers=4, harvest_of_strangers=1, seed=seed)
    kept = belongs(group, SPOKE, pool, QUESTIONS)
    assert kept[:36].sum() >= 35 and kept[36:].sum() <= 1


def test_one_hand_stays_whole() -> None:
    group, pool = made(strangers=0)
    assert belongs(group, SPOKE, pool, QUESTIONS).all()


def test_an_account_like_the_others_stays_without_having_been_seen_harvesting() -> None:
    group, pool = made(strangers=0)
    pool.values["harvesting_shape"][[0, 1]] = (-1, 0)
    assert belongs(group, SPOKE, pool, QUESTIONS).all()


@pytest.mark.parametrize(("harvests", "stays"), [(1, True), (0, False), (-1, False)])
def test_of_an_account_without_values_harvesting_alone_speaks(harvests: int, stays: bool) -> None:
    group, pool = made(strangers=0)
    pool.values["registration"][0], pool.values["account_class"][0] = np.nan, (-1, -1)
    pool.values["harvesting_shape"][0] = harvests
    kept = belongs(group, SPOKE, pool, QUESTIONS)
    assert kept[0] == stays and kept[1:].all()


def test_a_signal_that_did_not_speak_for_the_group_says_nothing() -> None:
    group, pool = made(strangers=15, harvest_of_strangers=1)
    silent = told(registration=-1.0, account_class=0.0, harvesting_shape=30.0)
    assert belongs(group, silent, pool, QUESTIONS).all()


def test_without_harvesters_there_is_no_core() -> None:
    group, pool = made(strangers=MEMBERS - 4)
    assert belongs(group, SPOKE, pool, QUESTIONS).all()


def without(pool: Pool, some: NDArray[np.int64]) -> Pool:
    kept = ~np.isin(pool.account, some)
    return Pool(
        pool.account[kept], pool.scope[kept], pool.exchanges[kept], pool.model[kept],
        {name: values[kept] for name, values in pool.values.items()},
    )  # fmt: skip


def test_exempt_accounts_are_in_no_pool_and_are_not_set_apart() -> None:
    group, pool = made(strangers=15)
    exempt = group.accounts[[0, 39]]
    kept = belongs(group, SPOKE, without(pool, exempt), QUESTIONS)
    assert kept[[0, 39]].all() and kept[:25].all() and not kept[25:39].any()


# ------------------------------------------------------------------ those that are left stand by themselves, or not


def proposed(group: Group, pool: Pool) -> Proposal:
    nobody = np.empty(0, np.int64)
    timings = Timings(*(nobody,) * 7)
    none = Materials(nobody, nobody, nobody, nobody, nobody, nobody.astype(bool))
    return Proposal([group], none, {group.proposer: pool}, {}, timings)


def left(group: Group, pool: Pool) -> tuple[Group, NDArray[np.int64], set[int]]:
    groups, aside, unplaced = _without_others(
        proposed(group, pool), [SPOKE], np.array([0]), log_needed=float(np.log(1000)), gamma=3.0, seed=1
    )
    return groups[0], aside[0], unplaced


def test_strangers_are_set_apart_and_the_others_stand_by_themselves() -> None:
    group, pool = made(strangers=15)
    kept, aside, unplaced = left(group, pool)
    assert len(kept.accounts) >= 24 and set(aside) >= set(group.accounts[25:]) and not unplaced


def test_a_firm_that_acts_as_one_and_strangers_who_harvest_do_not_pass_together() -> None:
    group, pool = made(strangers=15, harvest_of_strangers=1)
    pool.values["harvesting_shape"][:25] = 0
    kept, aside, unplaced = left(group, pool)
    assert unplaced == {0} and kept is group and not len(aside)
