"""Bets on the next member: exact under their null by enumeration, and blind to what they may not depend on.

Wealth that is bet fairly at every step has mean 1. On pools small enough to list every order in which members can be
drawn the mean is computed, not estimated, with a plain reference that shares no line with the compiled one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest

from stillwatch.errors import InputError, InsufficientData
from stillwatch.stats.sequential import HISTORY, LEAST_BETS, MemberBets, predict_events, predict_members

LEAST = HISTORY + LEAST_BETS
ONE = np.zeros(6, np.int64)
POOLS = {
    "numbers": (np.array([0.0, 0.1, 0.15, 0.4, 1.05, 3.0]), ONE),
    "tied numbers": (np.array([1.0, 1.0, 1.0, 2.0, 2.0, 5.0]), ONE),
    "codes": (np.array([4, 4, 4, 9, 9, 2]), ONE),
    "two strata of numbers": (np.array([0.0, 0.1, 5.0, 0.1, 0.15, 9.0]), np.array([0, 0, 0, 1, 1, 1])),
    "two strata of codes": (np.array([1, 1, 3, 1, 2, 2]), np.array([5, 5, 5, 8, 8, 8])),
}


class InOrder:
    """Stands for a generator; shows the members in the order in which they were given."""

    def permutation(self, members: np.ndarray) -> np.ndarray:
        return members


def bets(values: np.ndarray, order: Sequence[int], strata: np.ndarray, gamma: float) -> MemberBets:
    function = predict_events if values.dtype == np.int8 else predict_members
    return function(values, np.array(order), strata, gamma=gamma, rng=InOrder(), orders=1)  # type: ignore[arg-type]


def predicted(seen: list[float], numeric: bool, coverage: float = 0.8) -> tuple[float, float] | set[float]:
    """The shortest interval, or the fewest codes, that hold `coverage` of the values seen."""
    if numeric:
        need = max(2, math.ceil(coverage * len(seen)))
        ordered = sorted(seen)
        spans = [(ordered[i + need - 1] - ordered[i], i) for i in range(len(ordered) - need + 1)]
        start = min(spans)[1]
        return ordered[start], ordered[start + need - 1]
    counts = sorted((-seen.count(c), c) for c in set(seen))
    chosen: set[float] = set()
    held = 0
    for negative, code in counts:
        if held >= coverage * len(seen):
            break
        chosen.add(code)
        held -= negative
    return chosen


def holds(where: tuple[float, float] | set[float], value: float) -> bool:
    return value in where if isinstance(where, set) else where[0] <= value <= where[1]


def reference(
    values: np.ndarray, order: Sequence[int], strata: np.ndarray, gamma: float
) -> tuple[float, float]:
    """(wealth at the end, chance of this order where every bet is won with exactly the odds of the null's edge)."""
    numeric = values.dtype.kind == "f"
    wealth = chance = 1.0
    won = placed = 0
    for t, member in enumerate(order):
        left = [i for i in range(len(values)) if strata[i] == strata[member] and i not in order[:t]]
        if t < HISTORY:
            chance *= 1 / len(left)
            continue
        where = predicted([float(values[i]) for i in order[:t]], numeric)
        inside = [i for i in left if holds(where, float(values[i]))]
        win = member in inside
        if not inside or len(inside) == len(left):
            chance *= 1 / len(left)
            continue
        share = len(inside) / len(left)
        bound = gamma * share / (1 + (gamma - 1) * share)
        chance *= bound / len(inside) if win else (1 - bound) / (len(left) - len(inside))
        stake = max(bound, (won + 1) / (placed + 2))
        wealth *= stake / bound if win else (1 - stake) / (1 - bound)
        won += win
        placed += 1
    return wealth, chance


@pytest.mark.parametrize("pool", POOLS)
def test_plain_sampling_gives_a_mean_of_one(pool: str) -> None:
    values, strata = POOLS[pool]
    wealth = [
        math.exp(bets(values, order, strata, 1.0).log_evalue)
        for order in itertools.permutations(range(len(values)), LEAST)
    ]
    assert np.mean(wealth) == pytest.approx(1.0, abs=1e-9)
    assert max(wealth) > 1.2 and min(wealth) < 0.9, (
        "the bets say nothing on this pool, so the mean shows nothing"
    )


@pytest.mark.parametrize("gamma", [1.0, 3.0])
@pytest.mark.parametrize("pool", POOLS)
def test_agrees_with_a_plain_reference(pool: str, gamma: float) -> None:
    values, strata = POOLS[pool]
    for order in itertools.islice(itertools.permutations(range(len(values)), LEAST + 1), 0, None, 13):
        expected, _ = reference(values, order, strata, gamma)
        assert bets(values, order, strata, gamma).log_evalue == pytest.approx(math.log(expected), abs=1e-9)


@pytest.mark.parametrize("pool", ["numbers", "tied numbers", "codes"])
def test_at_the_edge_of_gamma_three_the_mean_is_one(pool: str) -> None:
    """Every next member falls into the predicted set with exactly three times the odds of its pool."""
    values, strata = POOLS[pool]
    mean = total = 0.0
    for order in itertools.permutations(range(len(values)), LEAST):
        _, chance = reference(values, order, strata, 3.0)
        mean += chance * math.exp(bets(values, order, strata, 3.0).log_evalue)
        total += chance
    assert total == pytest.approx(1.0, abs=1e-9)
    assert mean == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("gamma", [1.0, 3.0, 10.0])
def test_events_at_the_edge_of_gamma_give_a_mean_of_one(gamma: float) -> None:
    """Ten accounts of which four have it, six members: every run of hits and misses with its chance."""
    events = np.array([1] * 4 + [0] * 6, np.int8)
    strata = np.zeros(10, np.int64)
    mean = total = 0.0
    for run in itertools.product([0, 1], repeat=6):
        left, inside, chance = 10, 4, 1.0
        hits, misses, order = [0, 1, 2, 3], [4, 5, 6, 7, 8, 9], []
        for hit in run:
            share = inside / left
            bound = gamma * share / (1 + (gamma - 1) * share)
            chance *= bound if hit else 1 - bound
            if not chance:
                break
            order.append((hits if hit else misses).pop())
            left, inside = left - 1, inside - hit
        if chance:
            mean += chance * math.exp(bets(events, order, strata, gamma).log_evalue)
            total += chance
    assert total == pytest.approx(1.0)
    assert mean == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_size_where_honest_members_are_three_times_as_likely(alpha: float) -> None:
    """Groups of 40 from a pool of 400, drawn at exactly the odds that gamma = 3 allows."""
    rng = np.random.default_rng(7)
    events = np.zeros(400, np.int8)
    events[:80] = 1
    strata = np.zeros(400, np.int64)
    weight = np.where(events == 1, 3.0, 1.0)
    trials = 1000
    over = 0
    for _ in range(trials):
        members = np.argsort(rng.exponential(size=400) / weight)[:40]  # drawn one by one with these weights
        found = predict_events(events, members, strata, gamma=3.0, rng=rng, orders=1)
        over += found.log_evalue >= math.log(1 / alpha)
    assert over <= trials * alpha + 3 * math.sqrt(trials * alpha * (1 - alpha))


def test_gamma_one_calls_the_same_groups_too_alike() -> None:
    """The other side of the test above: without the allowance the same groups are found far too often."""
    rng = np.random.default_rng(7)
    events = np.zeros(400, np.int8)
    events[:80] = 1
    strata = np.zeros(400, np.int64)
    weight = np.where(events == 1, 3.0, 1.0)
    over = 0
    for _ in range(200):
        members = np.argsort(rng.exponential(size=400) / weight)[:40]
        over += predict_events(events, members, strata, gamma=1.0, rng=rng, orders=1).log_evalue >= math.log(
            20
        )
    assert over > 100


def planted(n: int = 30, alike: int = 27) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    values = rng.normal(0, 1, 20 * n)
    members = np.arange(0, 20 * n, 20)
    values[members[:alike]] = 2 + rng.normal(0, 0.01, alike)
    return values, members, rng.integers(0, 3, 20 * n)


@pytest.mark.parametrize(("stretch", "shift"), [(1.0, 4.0), (4.0, 0.0), (0.5, -16.0)])
def test_units_and_origin_do_not_matter(stretch: float, shift: float) -> None:
    values, members, strata = planted()
    # Multiples of a power of two: the floats are then moved without any rounding.
    values = np.round(values * 1024) / 1024
    first = predict_members(values, members, strata, gamma=3.0, rng=np.random.default_rng(1))
    moved = predict_members(
        values * stretch + shift, members, strata, gamma=3.0, rng=np.random.default_rng(1)
    )
    assert moved == first


def test_names_of_codes_and_strata_do_not_matter() -> None:
    """Codes keep their order: among equally frequent codes the smaller is predicted first."""
    rng = np.random.default_rng(5)
    codes, strata = rng.integers(0, 9, 300), rng.integers(0, 3, 300)
    members = np.arange(0, 300, 12)
    codes[members[5:]] = 4
    first = predict_members(codes, members, strata, gamma=1.0, rng=np.random.default_rng(1))
    renamed = predict_members(
        codes * 1000 + 17, members, strata * 7 + 2, gamma=1.0, rng=np.random.default_rng(1)
    )
    assert renamed == first


def test_the_seed_decides_everything_that_is_random() -> None:
    values, members, strata = planted()
    one, same, other = (
        predict_members(values, members, strata, gamma=3.0, rng=np.random.default_rng(seed))
        for seed in (1, 1, 2)
    )
    assert one == same
    assert one.log_evalue != other.log_evalue


def test_the_evalue_is_the_mean_over_orders() -> None:
    values, members, strata = planted()

    class Recorder:
        def __init__(self) -> None:
            self.rng, self.orders = np.random.default_rng(4), []

        def permutation(self, known: np.ndarray) -> np.ndarray:
            self.orders.append(self.rng.permutation(known))
            return self.orders[-1]

    recorder = Recorder()
    found = predict_members(values, members, strata, gamma=3.0, rng=recorder, orders=4)  # type: ignore[arg-type]
    each = [math.exp(bets(values, order, strata, 3.0).log_evalue) for order in recorder.orders]
    assert len(each) == 4
    assert found.log_evalue == pytest.approx(math.log(np.mean(each)), abs=1e-9)


@pytest.mark.parametrize("everybody", [True, False])
def test_no_bet_where_nobody_or_everybody_would_win(everybody: bool) -> None:
    events = np.full(50, everybody, np.int8)
    found = predict_events(
        events, np.arange(10), np.zeros(50, np.int64), gamma=3.0, rng=np.random.default_rng(1)
    )
    assert (found.bets, found.wins, found.log_evalue, found.log_ceiling) == (0, 0, 0.0, 0.0)


def test_no_bet_on_a_value_that_everybody_holds() -> None:
    same = np.full(50, 3, np.int64)
    found = predict_members(
        same, np.arange(10), np.zeros(50, np.int64), gamma=1.0, rng=np.random.default_rng(1)
    )
    assert (found.bets, found.log_evalue) == (0, 0.0)


def test_no_bet_once_all_holders_were_seen() -> None:
    """Members 0 to 2 are the only holders of a code: nobody is left who could win, so nothing is lost either."""
    codes = np.arange(100)
    codes[:3] = 1000
    found = bets(codes, range(8), np.zeros(100, np.int64), 1.0)
    assert (found.bets, found.log_evalue) == (0, 0.0)


def test_a_group_above_most_is_represented_by_a_part() -> None:
    values, members, strata = planted(60, 55)
    few = predict_members(values, members, strata, gamma=3.0, rng=np.random.default_rng(1), most=20)
    whole = predict_members(values, members, strata, gamma=3.0, rng=np.random.default_rng(1))
    assert few.bets <= 20 - HISTORY < whole.bets
    assert 0 < few.log_evalue < whole.log_evalue
    events = np.zeros(1200, np.int8)
    events[members] = 1
    part = predict_events(events, members, strata, gamma=3.0, rng=np.random.default_rng(1), most=20)
    assert part.bets == 20


def test_the_ceiling_is_what_winning_every_bet_gives() -> None:
    events = np.zeros(200, np.int8)
    events[:10] = 1
    found = predict_events(
        events, np.arange(10), np.zeros(200, np.int64), gamma=1.0, rng=np.random.default_rng(1)
    )
    assert found.wins == found.bets == 10
    assert found.log_evalue == pytest.approx(found.log_ceiling)
    shares = [(10 - t) / (200 - t) for t in range(10)]
    by_hand = sum(math.log(max(s, (t + 1) / (t + 2)) / s) for t, s in enumerate(shares))
    assert found.log_evalue == pytest.approx(by_hand)
    assert found.expected == pytest.approx(np.mean(shares))


def test_missing_values_are_left_out_of_group_and_pool() -> None:
    values, members, strata = planted()
    with_holes = np.r_[values, np.full(200, np.nan)]
    padded = predict_members(
        with_holes,
        np.r_[members, np.arange(600, 610)],
        np.r_[strata, np.zeros(200, np.int64)],
        gamma=3.0,
        rng=np.random.default_rng(1),
    )
    assert padded == predict_members(values, members, strata, gamma=3.0, rng=np.random.default_rng(1))


@pytest.mark.parametrize("known", [0, 1, LEAST - 1])
@pytest.mark.parametrize("kind", ["numbers", "codes", "events"])
def test_too_few_members_are_refused(kind: str, known: int) -> None:
    missing = {"numbers": np.full(60, np.nan), "codes": np.full(60, -1), "events": np.full(60, -1, np.int8)}[
        kind
    ]
    values = missing.copy()
    values[30:] = 1
    values[:known] = 1
    function = predict_events if kind == "events" else predict_members
    with pytest.raises(InsufficientData) as refused:
        function(values, np.arange(10), np.zeros(60, np.int64), gamma=3.0, rng=np.random.default_rng(1))
    assert (refused.value.need, refused.value.got) == (LEAST, known)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"gamma": 0.99}, "gamma must be 1 or above, found 0.99"),
        ({"strata": np.zeros(11, np.int64)}, "one length"),
        ({"values": np.zeros((600, 2))}, "one length"),
        ({"members": np.array([1, 2, 3, 4, 5, 5])}, "twice"),
        ({"coverage": 0.0}, "coverage must lie in"),
        ({"coverage": 1.5}, "coverage must lie in"),
    ],
    ids=["gamma", "strata", "two columns", "twice", "coverage 0", "coverage 1.5"],
)
def test_refusals(change: dict, words: str) -> None:
    values, members, strata = planted()
    given = {"values": values, "members": members, "strata": strata, "gamma": 3.0} | change
    with pytest.raises(InputError, match=words):
        predict_members(**given, rng=np.random.default_rng(1))
