"""The matched pool: who stands for a group and against whom it is held."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from stillwatch.campaigns.groups import Group
from stillwatch.campaigns.pool import ENOUGH, MODELS, OUTSIDERS, Pool, _strata
from stillwatch.stats.sequential import predict_events, predict_members


def pool_of(account: NDArray, scope: NDArray, exchanges: NDArray, model: NDArray, **values: NDArray) -> Pool:
    return Pool(
        account.astype(np.int64),
        scope.astype(np.int64),
        exchanges.astype(np.int64),
        model.astype(np.int64),
        values,
    )


def plain(rng: np.random.Generator, n: int, models: int = MODELS + 1) -> Pool:
    """`n` accounts over all their exchanges; volumes over five powers of four; ids are spread."""
    exchanges = np.floor(4 ** rng.uniform(0, 5, n))
    ids = rng.permutation(10 * n)[:n]
    return pool_of(ids, np.full(n, -1), exchanges, rng.integers(0, models, n))


def textual(rng: np.random.Generator, n: int, materials: int = 40) -> Pool:
    """`n` accounts with one to four materials each, one row a pair."""
    pairs = np.unique(np.stack([rng.integers(0, n, 3 * n), rng.integers(0, materials, 3 * n)]), axis=1)
    model = rng.integers(0, MODELS + 1, n)[pairs[0]]
    return pool_of(pairs[0], pairs[1], np.floor(4 ** rng.uniform(0, 5, pairs.shape[1])), model)


def some(rng: np.random.Generator, pool: Pool, n: int, *materials: int) -> Group:
    rows = np.isin(pool.scope, materials) if materials else np.ones(len(pool.scope), bool)
    accounts = rng.choice(np.unique(pool.account[rows]), n, replace=False)
    return Group("x", np.sort(accounts), materials)


def level(pool: Pool) -> NDArray[np.int64]:
    return np.floor(np.log(pool.exchanges) / np.log(4) + 1e-9).astype(np.int64) * (MODELS + 1) + pool.model


# ------------------------------------------------------------------------------------------- who stands for whom


def test_members_come_first_each_once_by_the_material_of_the_group_they_use_most() -> None:
    pool = pool_of(
        np.array([1, 1, 1, 2, 2, 3, 4, 4, 5]),
        np.array([7, 8, 9, 9, 7, 8, 7, 5, 5]),
        np.array([3, 9, 99, 50, 4, 6, 2, 80, 60]),
        np.zeros(9),
    )
    rows, members, strata = pool.for_group(Group("x", np.array([1, 2, 3]), (7, 8)))
    assert len(rows) == len(strata)
    assert members.tolist() == [0, 1, 2]
    chosen = [(int(pool.account[r]), int(pool.scope[r])) for r in rows]
    assert chosen[:3] == [(1, 8), (2, 7), (3, 8)]
    # 4 is represented by what it uses most, which is no material of the group
    assert sorted(chosen[3:]) == [(4, 5), (5, 5)]


def test_equal_use_is_decided_by_the_smaller_code() -> None:
    account, scope = np.array([1, 1, 2, 2]), np.array([8, 7, 9, 6])
    pool = pool_of(account, scope, np.full(4, 5), np.zeros(4))
    rows, _, _ = pool.for_group(Group("x", np.array([1]), (7, 8)))
    assert [(pool.account[r], pool.scope[r]) for r in rows] == [(1, 7), (2, 6)]


def test_an_account_that_is_not_in_the_pool_or_has_none_of_the_material_is_left_out() -> None:
    pool = pool_of(np.array([1, 2, 3]), np.array([7, 8, 8]), np.full(3, 5), np.zeros(3))
    rows, members, _ = pool.for_group(Group("x", np.array([1, 2, 99]), (7,)))
    assert [pool.account[r] for r in rows] == [1, 3]  # 2 belongs to the group and is no outsider
    assert members.tolist() == [0]


@pytest.mark.parametrize("nobody", [np.array([], np.int64), np.array([99])])
def test_nobody_of_the_group_in_the_pool(nobody: NDArray) -> None:
    pool = plain(np.random.default_rng(1), 50)
    pool = pool_of(pool.account + 1_000, pool.scope, pool.exchanges, pool.model)
    assert [len(part) for part in pool.for_group(Group("x", nobody))] == [0, 0, 0]


def test_an_empty_pool_has_nobody() -> None:
    none = np.empty(0, np.int64)
    rows, members, strata = pool_of(none, none, none, none).for_group(Group("x", np.array([1, 2])))
    assert (len(rows), len(members), len(strata)) == (0, 0, 0)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("made", [plain, textual])
def test_outsiders_are_no_members_and_nobody_stands_twice(made, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pool = made(rng, 4_000)
    group = some(rng, pool, 60, *((3, 4, 5) if made is textual else ()))
    rows, members, strata = pool.for_group(group)
    assert members.tolist() == list(range(60))
    assert pool.account[rows[:60]].tolist() == group.accounts.tolist()
    assert not set(pool.account[rows[60:]].tolist()) & set(group.accounts.tolist())
    assert len(np.unique(pool.account[rows])) == len(rows)
    # an outsider is represented by its most used scope
    most = {a: pool.exchanges[pool.account == a].max() for a in pool.account[rows[60:][:200]].tolist()}
    assert all(pool.exchanges[r] == most[pool.account[r]] for r in rows[60:][:200])
    # strata are dense and each has a member
    assert np.array_equal(np.unique(strata[:60]), np.unique(strata))
    assert np.unique(strata).tolist() == list(range(strata.max() + 1))


# ------------------------------------------------------------------------------------------------------- strata


@pytest.mark.parametrize("seed", range(8))
def test_every_stratum_has_outsiders_enough_where_there_are(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pool = plain(rng, int(rng.integers(150, 2_000)))
    busy = np.argsort(-pool.exchanges)[: int(rng.integers(10, 60))]  # the busiest have few like them
    group = Group("x", np.sort(pool.account[busy[rng.random(len(busy)) < 0.7]]))
    _, members, strata = pool.for_group(group)
    inside = np.bincount(strata[members], minlength=strata.max() + 1)
    outside = np.bincount(strata[len(members) :], minlength=strata.max() + 1)
    assert (outside >= OUTSIDERS * inside).all(), (inside, outside)


def test_members_whose_other_texts_are_of_the_same_volume_are_no_outsiders() -> None:
    """Ten members use the group's text as often as forty others use something else; those are of the group too."""
    ten, forty, rest = np.arange(10), np.arange(10, 50), np.arange(100, 400)
    pool = pool_of(
        np.r_[ten, ten, forty, forty, rest],
        np.r_[np.full(10, 1), np.full(10, 2), np.full(40, 1), np.full(40, 2), np.full(300, 3)],
        np.r_[np.full(10, 5), np.full(10, 80), np.full(40, 1), np.full(40, 5), np.full(300, 1)],
        np.zeros(400),
    )
    _, members, strata = pool.for_group(Group("x", np.r_[ten, forty], (1,)))
    inside = np.bincount(strata[members])
    outside = np.bincount(strata[len(members) :], minlength=len(inside))
    assert (outside >= OUTSIDERS * inside).all(), (inside, outside)


def test_a_population_without_outsiders_is_one_stratum() -> None:
    pool = plain(np.random.default_rng(2), 40)
    rows, members, strata = pool.for_group(Group("x", np.sort(pool.account)))
    assert len(rows) == len(members) == 40
    assert set(strata.tolist()) == {0}


def test_members_of_one_volume_and_model_are_held_against_that_alone() -> None:
    rng = np.random.default_rng(4)
    pool = plain(rng, 6_000)
    mine = np.flatnonzero(level(pool) == 2 * (MODELS + 1) + 3)
    group = Group("x", np.sort(pool.account[mine[:8]]))
    rows, _, strata = pool.for_group(group)
    assert set(strata.tolist()) == {0}
    assert sorted(rows.tolist()) == sorted(mine.tolist())


def slow_strata(everybody: dict[int, int], members: list[int]) -> list[frozenset[int]]:
    """Sets of levels, as the docstring says it: models of a volume together where one is thin, then neighbours."""
    held = {v: members.count(v) for v in set(everybody) | set(members)}
    total = {v: max(everybody.get(v, 0), held[v]) for v in held}
    volumes: dict[int, list[int]] = {}
    for v in sorted(held):
        volumes.setdefault(v // (MODELS + 1), []).append(v)
    strata: list[list[int]] = []
    for levels in volumes.values():
        thin = any(held[v] and total[v] < (OUTSIDERS + 1) * held[v] for v in levels)
        strata += [levels] if thin else [[v] for v in levels]
    while len(strata) > 1:
        inside = [sum(held[v] for v in part) for part in strata]
        size = [sum(total[v] for v in part) for part in strata]
        short = [i for i, n in enumerate(inside) if n and size[i] < (OUTSIDERS + 1) * n]
        if not short:
            break
        i = short[0]
        other = i - 1 if i else 1
        strata[other] = strata[other] + strata[i]
        del strata[i]
    return sorted((frozenset(s) for s in strata), key=min)


@pytest.mark.parametrize("seed", range(40))
def test_strata_against_a_slow_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    levels = rng.choice(8 * (MODELS + 1), int(rng.integers(1, 25)), replace=False)
    everybody = {int(v): int(rng.integers(1, 4 ** rng.integers(1, 5))) for v in levels}
    weights = np.array(list(everybody.values()), float)
    members = rng.choice(levels, int(rng.integers(1, 40)), p=weights / weights.sum())
    found = _strata(everybody, members)
    assert set(found) == set(everybody)
    parts = sorted((frozenset(v for v in found if found[v] == code) for code in set(found.values())), key=min)
    assert parts == slow_strata(everybody, members.tolist())


# ---------------------------------------------------------------------------------------------------- the drawing


def crowd(rng: np.random.Generator, n: int = 30_000) -> Pool:
    """Accounts of two volumes and one model, so that more of each are there than are looked at."""
    return pool_of(np.arange(n) * 3 + 1, np.full(n, -1), rng.choice([2, 9], n, p=[0.8, 0.2]), np.zeros(n))


@pytest.mark.parametrize(("members", "most"), [(60, ENOUGH), (600, 20 * 480)])
def test_no_more_outsiders_than_needed_are_looked_at(members: int, most: int) -> None:
    rng = np.random.default_rng(1)
    pool = crowd(rng)
    few, many = pool.account[pool.exchanges == 9], pool.account[pool.exchanges == 2]
    chosen = np.r_[
        rng.choice(few, members // 5, replace=False), rng.choice(many, members * 4 // 5, replace=False)
    ]
    rows, inside, strata = pool.for_group(Group("x", np.sort(chosen)))
    outside = rows[len(inside) :]
    assert set(np.bincount(strata[len(inside) :]).tolist()) == {ENOUGH if members == 60 else 20 * 120, most}
    assert set(pool.exchanges[outside].tolist()) == {2, 9}


def test_who_is_drawn_depends_on_no_value() -> None:
    rng = np.random.default_rng(5)
    plainly = crowd(rng)
    group = some(rng, plainly, 50)
    n = len(plainly.account)
    drawn = []
    for values in (np.arange(n), -np.arange(n), rng.random(n)):
        pool = pool_of(plainly.account, plainly.scope, plainly.exchanges, plainly.model, v=values)
        drawn.append(pool.for_group(group)[0])
    assert np.array_equal(drawn[0], drawn[1]) and np.array_equal(drawn[0], drawn[2])


def test_who_is_drawn_is_spread_over_the_accounts() -> None:
    """Ids that were given out in order: the part that is looked at is no end and no rhythm of them."""
    for step in (1, 2, 64, 1_000_003, 2**40):
        n = 40_000
        pool = pool_of(np.arange(1, n + 1) * step, np.full(n, -1), np.full(n, 3), np.zeros(n))
        rows, _, _ = pool.for_group(Group("x", np.arange(1, 6) * step))
        place = rows[5:]
        assert len(place) == ENOUGH
        tenths = np.bincount(place * 10 // n, minlength=10)
        eighths = np.bincount(place % 8, minlength=8)
        for counts in (tenths, eighths):  # chi-square, 0.9999 quantiles of 9 and 7 degrees are 33.7 and 29.9
            assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < 34, (step, counts)


@pytest.mark.parametrize("made", [crowd, lambda rng: textual(rng, 20_000)])
def test_the_order_of_rows_changes_nothing(made) -> None:
    rng = np.random.default_rng(6)
    pool = made(rng)
    group = some(rng, pool, 80, *((1, 2, 3, 4) if pool.scope.max() > 0 else ()))
    rows, members, strata = pool.for_group(group)
    turned = rng.permutation(len(pool.account))
    other = pool_of(pool.account[turned], pool.scope[turned], pool.exchanges[turned], pool.model[turned])
    rows_, members_, strata_ = other.for_group(group)
    assert np.array_equal(members, members_)
    assert np.array_equal(pool.account[rows], other.account[rows_])
    assert np.array_equal(pool.scope[rows], other.scope[rows_])
    assert np.array_equal(strata, strata_)


# ---------------------------------------------------------------------------------------------------------- size


def mean_of(logs: list[float]) -> tuple[float, float]:
    e = np.exp(logs)
    return float(e.mean()), float(e.std() / np.sqrt(len(e)))


def test_size_holds_for_groups_of_busy_accounts_after_drawing() -> None:
    """A value that goes with volume, and groups that prefer the busy: matched, the mean e-value is 1 at most.

    The same groups against everybody are the check that this test can fail.
    """
    matched: dict[str, list[float]] = {"number": [], "code": [], "event": []}
    unmatched: list[float] = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        n = 20_000
        volume = rng.choice(4, n, p=[0.55, 0.25, 0.15, 0.05])
        number = volume + rng.normal(0, 0.5, n)
        code = volume * 10 + rng.integers(0, 6, n)
        event = (rng.random(n) < 0.1 + 0.2 * volume).astype(np.int8)
        pool = pool_of(rng.permutation(10 * n)[:n], np.full(n, -1), 4**volume * 2, np.zeros(n))
        chance = np.array([1, 2, 4, 16])[volume] / np.array([1, 2, 4, 16])[volume].sum()
        for i in range(50):
            chosen = rng.choice(n, 25, replace=False, p=chance)
            rows, members, strata = pool.for_group(Group("x", np.sort(pool.account[chosen])))
            assert len(rows) < n / 2  # a part was drawn
            draw = np.random.default_rng(i)
            for name, values in (("number", number), ("code", code)):
                bets = predict_members(values[rows], members, strata, gamma=1.0, rng=draw, orders=2)
                matched[name].append(bets.log_evalue)
            bets = predict_events(event[rows], members, strata, gamma=1.0, rng=draw, orders=2)
            matched["event"].append(bets.log_evalue)
            everybody = predict_events(event, chosen, np.zeros(n, np.int64), gamma=1.0, rng=draw, orders=2)
            unmatched.append(everybody.log_evalue)
    for name, logs in matched.items():
        mean, error = mean_of(logs)
        assert mean < 1 + 4 * error, (name, mean, error)
        assert np.mean(np.array(logs) >= np.log(20)) <= 0.05, name
    assert mean_of(unmatched)[0] > 3
