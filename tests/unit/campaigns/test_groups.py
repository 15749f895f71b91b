"""Groups as they are proposed: from shared values, from cards of one week, from materials and their re-wordings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa
import pytest

from stillwatch.campaigns.groups import (
    COHORT_GAP,
    COHORT_SPAN,
    LEAST_ACCOUNTS,
    POPULAR_FLOOR,
    Group,
    groups_of_cohorts,
    groups_of_materials,
    groups_of_values,
    with_rewordings,
)
from stillwatch.campaigns.materials import Materials

SEEDS = (1, 2, 3, 4, 5)


def links(held: Mapping[int, Iterable[int]], kind: int = 0) -> pa.Table:
    """A table of links from value -> its holders."""
    rows = [(account, kind, value, len(set(who))) for value, who in held.items() for account in who]
    names = ("account_id", "kind", "value", "degree")
    columns = zip(*rows, strict=True) if rows else [[]] * 4
    return pa.table({n: pa.array(list(c), pa.int64()) for n, c in zip(names, columns, strict=True)})


def sets(groups: list[Group]) -> list[tuple[int, ...]]:
    return sorted(tuple(g.accounts.tolist()) for g in groups)


def proposed(table: pa.Table, seed: int = 1) -> list[tuple[int, ...]]:
    return sets(groups_of_values(table, proposer="cards", seed=seed))


# ------------------------------------------------------------------------------------------------------ values


@pytest.mark.parametrize("holders", [LEAST_ACCOUNTS, 6, 30, 100, 300])
def test_holders_of_one_card_are_one_group(holders: int) -> None:
    who = tuple(range(1_000, 1_000 + 7 * holders, 7))
    for seed in SEEDS:
        assert proposed(links({42: who}), seed) == [who]


def test_fewer_holders_than_a_group_needs_are_none() -> None:
    assert proposed(links({42: range(LEAST_ACCOUNTS - 1)})) == []


def test_no_links_are_no_groups() -> None:
    assert groups_of_values(links({}), proposer="cards", seed=1) == []


def test_a_group_says_who_proposed_it_and_has_no_materials() -> None:
    (group,) = groups_of_values(links({42: range(6)}), proposer="cards", seed=1)
    assert (group.proposer, group.materials) == ("cards", ())


@pytest.mark.parametrize("size", [8, 30, 60])
def test_two_cards_that_share_two_accounts_are_two_groups(size: int) -> None:
    """The two in the middle may stand on either side, but nobody else does and nobody is left out."""
    middle = {size - 2, size - 1}
    for seed in SEEDS:
        found = proposed(links({1: range(size), 2: range(size - 2, 2 * size - 2)}), seed)
        assert len(found) == 2
        first, second = (set(g) for g in found)
        assert first | second == set(range(2 * size - 2)) and not first & second
        assert set(range(size)) - middle <= first and set(range(size, 2 * size - 2)) <= second


def test_accounts_that_share_several_values_are_one_group_beside_another() -> None:
    for shared in (2, 3, 5):
        table = links({v: range(30) for v in range(shared)} | {90: range(100, 106)})
        assert proposed(table) == [tuple(range(30)), tuple(range(100, 106))]


@pytest.mark.xfail(
    reason="modularity has nothing to compare with: each value takes a part of the accounts", strict=True
)
@pytest.mark.parametrize("shared", [2, 3, 5])
def test_accounts_that_share_several_values_are_one_group_in_a_log_without_another(shared: int) -> None:
    assert proposed(links({v: range(30) for v in range(shared)})) == [tuple(range(30))]


def test_a_value_that_everybody_has_does_not_join_the_cards() -> None:
    cards = {100 + i: range(20 * i, 20 * i + 20) for i in range(15)}
    apart = [tuple(c) for c in cards.values()]
    for seed in SEEDS:
        assert proposed(links(cards | {9: range(300)}), seed) == apart


def test_one_number_of_two_kinds_is_two_values() -> None:
    both = pa.concat_tables([links({7: range(6)}, kind=0), links({7: range(10, 16)}, kind=1)])
    assert proposed(both) == [tuple(range(6)), tuple(range(10, 16))]


def test_order_of_links_and_repetition_change_nothing() -> None:
    table = links({v: range(v * 5, v * 5 + 9) for v in range(1, 40)} | {99: range(0, 200, 3)})
    once = proposed(table)
    rng = np.random.default_rng(3)
    assert len(once) > 3
    for _ in range(4):
        assert proposed(table.take(rng.permutation(len(table)))) == once
    assert proposed(table) == once


# ----------------------------------------------------------------------------------------------------- cohorts


def cards(opened: Mapping[int, Iterable[float]]) -> pa.Table:
    """Card -> days on which its accounts were opened; account ids are ``100 * card + 0, 1, ...``."""
    rows = [(100 * card + i, card, day) for card, days in opened.items() for i, day in enumerate(days)]
    account, token, created = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.table(
        {
            "account_id": pa.array(account, pa.int64()),
            "payment_token": pa.array(token, pa.int64()),
            "created": pa.array(created, pa.float64()),
        }
    )


def of(*numbers: int, each: int = 3) -> tuple[int, ...]:
    return tuple(100 * card + i for card in sorted(numbers) for i in range(each))


def test_cards_whose_accounts_were_opened_in_the_same_days_are_one_cohort() -> None:
    gap = COHORT_GAP * 0.9
    week = {card: [50 + card * gap, 50.2 + card * gap, 51 + card * gap] for card in range(1, 9)}
    old_firm = {20: [3.0, 3.1, 3.2, 3.3]}
    (found,) = groups_of_cohorts(cards(week | old_firm))
    assert tuple(found.accounts.tolist()) == of(*range(1, 9))
    assert found.proposer == "registration" and found.materials == ()


def test_a_firm_that_grew_over_the_year_joins_no_cohort_though_its_median_falls_into_one() -> None:
    week = {1: [50.0, 50.1, 50.2], 2: [50.3, 50.4, 50.5]}
    found = sets(groups_of_cohorts(cards(week | {3: [5.0, 20.0, 50.2, 80.0, 95.0]})))
    assert found == [of(1, 2)]


def test_a_card_of_two_accounts_is_in_no_cohort() -> None:
    week = {1: [50.0, 50.1, 50.2], 2: [50.3, 50.4, 50.5]}
    assert sets(groups_of_cohorts(cards(week | {3: [50.1, 50.3]}))) == [of(1, 2)]
    pairs = {card: [50.0, 50.1] for card in range(1, 9)}
    assert groups_of_cohorts(cards(pairs)) == []


def test_one_card_alone_is_no_cohort() -> None:
    assert groups_of_cohorts(cards({1: np.full(40, 50.0)})) == []


@pytest.mark.parametrize(("beyond", "together"), [(-0.01, True), (0.01, False)])
def test_the_gap_between_neighbours(beyond: float, together: bool) -> None:
    late = 50.0 + COHORT_GAP + beyond
    found = sets(groups_of_cohorts(cards({1: [50.0] * 3, 2: [late] * 3})))
    assert found == ([of(1, 2)] if together else [])


def test_a_chain_of_neighbours_ends_at_the_span() -> None:
    """Cards half a gap apart for three spans are no one cohort, but as many as have room for all."""
    step = COHORT_GAP / 2
    first = np.arange(0.0, 3 * COHORT_SPAN, step)
    found = groups_of_cohorts(cards({1 + i: [day] * 3 for i, day in enumerate(first.tolist())}))
    days = [first[np.unique(g.accounts // 100) - 1] for g in found]
    assert np.array_equal(np.concatenate(days), first)
    assert all(np.ptp(d) <= COHORT_SPAN for d in days)
    assert all(np.ptp(d) > COHORT_SPAN - step for d in days[:-1])


def test_order_of_cards_changes_nothing() -> None:
    table = cards({1 + i: [10.0 * (i % 3), 10.1 * (i % 3), 10.2 * (i % 3)] for i in range(12)})
    once = sets(groups_of_cohorts(table))
    assert len(once) == 3
    assert sets(groups_of_cohorts(table.take(np.random.default_rng(1).permutation(len(table))))) == once


@pytest.mark.parametrize(("inside", "left_out"), [(1, False), (2, True), (4, True)])
def test_a_card_of_which_half_is_in_a_known_group_is_left_out(inside: int, left_out: bool) -> None:
    days = {card: [50.0, 50.1, 50.2, 50.3] for card in (1, 2, 3)}
    known = [Group("x", np.arange(inside) + 300), Group("x", np.array([1, 2, 3]))]
    expected = of(1, 2, each=4) if left_out else of(1, 2, 3, each=4)
    assert sets(groups_of_cohorts(cards(days), known)) == [expected]


@pytest.mark.parametrize(
    ("proposer", "more", "left_out"),
    [
        ("shared_infrastructure", 0, False),  # the card itself
        ("shared_infrastructure", 1, False),
        ("shared_infrastructure", 9, False),
        ("shared_infrastructure", 10, True),  # devices and addresses tie it to others
        ("shared_prompt", 0, True),  # its accounts are put together by what they send
    ],
)
def test_a_card_that_something_else_puts_together_is_in_no_cohort(
    proposer: str, more: int, left_out: bool
) -> None:
    week = {card: [50.0, 50.1, 50.2] for card in (1, 2, 3)}
    known = Group(proposer, np.array([*of(3), *range(9000, 9000 + more)]))
    (found,) = groups_of_cohorts(cards(week), [known])
    assert tuple(found.accounts.tolist()) == (of(1, 2) if left_out else of(1, 2, 3))


def test_no_cards_are_no_cohorts() -> None:
    assert groups_of_cohorts(cards({})) == []


# -------------------------------------------------------------------------------------------- re-wordings


def texts(first: int, *accounts: int, proposer: str = "shared_prompt") -> Group:
    return Group(proposer, np.array(accounts, np.int64), (first, first + 1))


def told(groups: list[Group]) -> list[tuple[str, tuple[int, ...], list[int]]]:
    return [(g.proposer, g.materials, g.accounts.tolist()) for g in groups]


def used(uses: dict[int, int], groups: list[Group]) -> Materials:
    """Materials of which every account of a group uses its first so many times as `uses` says."""
    rows = [(int(a), g.materials[0], uses[g.materials[0]]) for g in groups for a in g.accounts]
    account, material, count = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    none = np.empty(0, np.int64)
    return Materials(account, material, count, none, none, none.astype(bool))


def test_rewordings_of_a_fixed_text_are_that_text() -> None:
    known = [texts(0, *range(10)), texts(2, *range(100, 120))]
    same = texts(50, *range(100, 121), proposer="words")
    below = texts(70, *range(200, 210), *range(15), proposer="words")  # 10 of 25 with the first
    uses = used({0: 90, 2: 90, 50: 180, 70: 500}, [*known, same, below])
    assert told(with_rewordings(known, [same, below], uses)) == told([*known, below])


def test_rewordings_that_carry_more_take_the_place_of_a_run_they_share_by_chance() -> None:
    run, whole = texts(0, *range(3, 13)), texts(9, *range(12), proposer="words")
    uses = used({0: 5, 9: 11}, [run, whole])
    (found,) = with_rewordings([run], [whole], uses)
    assert told([found]) == [("words", (0, 1, 9, 10), list(range(12)))]


def test_a_crowd_that_holds_a_known_group_is_another_one() -> None:
    few, crowd = texts(0, *range(10)), texts(9, *range(100), proposer="words")
    found = with_rewordings([few], [crowd], used({0: 1, 9: 50}, [few, crowd]))
    assert [len(g.accounts) for g in found] == [10, 100]


def test_without_the_one_or_the_other_nothing_changes() -> None:
    some = [texts(0, *range(10)), texts(2, *range(10))]
    uses = used({0: 1, 2: 1}, some)
    assert told(with_rewordings(some, [], uses)) == told(with_rewordings([], some, uses)) == told(some)
    assert with_rewordings([], [], uses) == []


# --------------------------------------------------------------------------------------------------- materials


def materials(users: list[Iterable[int]]) -> Materials:
    account = np.array([a for who in users for a in who], np.int64)
    material = np.array([m for m, who in enumerate(users) for _ in who], np.int64)
    codes = np.arange(len(users), dtype=np.int64)
    return Materials(
        account, material, np.full(len(account), 5), codes + 900, codes, np.ones(len(users), bool)
    )


@pytest.mark.parametrize("first", [0, 17])
def test_codes_of_materials_count_from_where_they_stand_in_the_scan(first: int) -> None:
    found = groups_of_materials(
        materials([range(10), range(50, 60), range(1, 11)]),
        proposer="text",
        population=1_000,
        seed=1,
        first=first,
    )
    assert sorted((g.materials, tuple(g.accounts.tolist())) for g in found) == [
        ((first, first + 2), tuple(range(11))),
        ((first + 1,), tuple(range(50, 60))),
    ]


def test_material_of_the_crowd_is_no_group_and_joins_none() -> None:
    crowd = range(POPULAR_FLOOR + 1)
    found = groups_of_materials(
        materials([range(10), crowd, range(20, 30)]), proposer="text", population=400, seed=1
    )
    assert sorted(g.materials for g in found) == [(0,), (2,)]
    found = groups_of_materials(materials([crowd]), proposer="text", population=100_000, seed=1)
    assert [g.materials for g in found] == [(0,)]
