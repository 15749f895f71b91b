"""Bets on places in a window: exact under circular shifts by enumeration, and blind to what they may not depend on."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from stillwatch.errors import InputError, InsufficientData
from stillwatch.stats import coincidence
from stillwatch.stats.coincidence import FRESH, LEAST_BETS, LEAST_MEMBERS, STAKES, PlaceBets, bet_on_places

SECOND = 1_000_000
MINUTE = 60 * SECOND
DAY = 1440 * MINUTE

PATTERNS = {
    "single events": [[[0], [0], [0]], [[0], [0]]],
    "bursts": [[[0, 1], [0], [0, 1, 2]], [[0, 2], [0, 1]]],
    "one window of four members": [[[0], [0, 1], [0, 2], [0]]],
}
"""Windows of five bins: for each member the bins that it fills before it is turned."""


def solo(member: int, bins: int, windows: int) -> np.ndarray:
    """Places of a member in windows that it has for itself: every bin equally often, so a habit of nothing."""
    return (1000 + 100_000 * member + np.arange(bins * windows)) * bins + np.arange(bins * windows) % bins


def play(
    patterns: list[list[list[int]]],
    turns: tuple[int, ...],
    *,
    apart: bool,
    spared: int = 0,
    ticking: bool = False,
    gamma: float = 1.0,
    habits: int = 40,
) -> tuple[float, float]:
    """(e-value, its ceiling) of one order, where member by member and window by window was turned by `turns`."""
    bins, width = 5, 12 * SECOND
    cells: list[tuple[int, int]] = []
    turn = iter(turns)
    for w, members in enumerate(patterns):
        for m, filled in enumerate(members):
            by = next(turn)
            cells += [(m, w * bins + (b + by) % bins) for b in filled]
    for m in range(len(patterns[0])):
        cells += [(m, int(c)) for c in solo(m, bins, habits)]
    cells.sort()
    owner, cell = (np.array(column, np.int64) for column in zip(*cells, strict=True))
    places = coincidence._Places(cell * width, owner, None, bins * width, bins)
    rng = np.random.default_rng(3)
    places.draw(rng, 100, 1000)
    way = coincidence._play(places, ticking, apart, 0.5, gamma, spared, rng, 1)
    return math.exp(way.log_evalue), math.exp(way.log_ceiling)


@pytest.mark.parametrize("ticking", [False, True])
@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("patterns", PATTERNS)
def test_the_mean_over_every_turn_is_at_most_one(patterns: str, apart: bool, ticking: bool) -> None:
    """Every way to turn the members against one another: 625 for each case, each with its wealth."""
    made = PATTERNS[patterns]
    count = sum(len(members) for members in made)
    wealth = [
        play(made, turns, apart=apart, ticking=ticking)[0]
        for turns in itertools.product(range(5), repeat=count)
        if turns[0] == 0 or count < 5  # turning all of a window together changes nothing
    ]
    assert np.mean(wealth) <= 1 + 1e-9
    assert np.mean(wealth) > 0.9, "the bets lose so much to habits that the mean shows nothing"
    assert max(wealth) > 1.1 > 0.9 > min(wealth), "the bets say nothing, so the mean shows nothing"


def test_a_spared_window_is_excused_whatever_it_holds() -> None:
    """One window is fixed where all coincide; only the other is turned. Spared once, the mean stays below one."""
    made = PATTERNS["single events"][::-1]
    first = (0,) * len(made[0])
    every = [first + turns for turns in itertools.product(range(5), repeat=3)]
    made = [made[0], PATTERNS["single events"][0]]
    spared = [play(made, turns, apart=False, spared=1)[0] for turns in every]
    counted = [play(made, turns, apart=False)[0] for turns in every]
    assert np.mean(spared) <= 1 + 1e-9
    assert np.mean(counted) > 1.1


@pytest.mark.parametrize("gamma", [1.0, 3.0])
def test_agrees_with_a_plain_reference(gamma: float) -> None:
    """One window, two members, one event each: the second meets the first, or does not."""
    bins, habits = 5, 40
    share = (habits + 1) / (habits * bins + 1)  # the habit's estimate, a little above one bin of five
    bound = gamma * share / (1 + (gamma - 1) * share)
    for met in (True, False):
        factors = 1 + STAKES * ((1 / bound if met else 0) - 1)
        fresh = 1 - FRESH + FRESH * factors.mean()
        expected = np.mean(np.r_[factors, fresh])
        found, _ = play([[[0], [0]]], (2, 2 if met else 4), apart=False, gamma=gamma)
        assert found == pytest.approx(expected)


def test_no_way_to_turn_exceeds_the_ceiling() -> None:
    made = PATTERNS["bursts"]
    rng = np.random.default_rng(1)
    for apart in (False, True):
        for _ in range(200):
            found, ceiling = play(made, tuple(rng.integers(0, 5, 5)), apart=apart)
            assert found <= ceiling + 1e-9


def group(
    rng: np.random.Generator, members: int = 12, each: int = 60, days: int = 5, together: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Members at random times; of each one's events `together` lie in batches of all. And a sample of others."""
    own = rng.random((members, each - together)) * days * DAY
    batch = rng.random(together) * days * DAY + rng.exponential(SECOND, (members, together))
    times = np.sort(np.concatenate([own, batch], axis=1), axis=1).astype(np.int64).ravel()
    others = np.sort(rng.integers(0, days * DAY, 40_000))
    return times, np.repeat(np.arange(members), each), others


def meet(
    given: tuple[np.ndarray, np.ndarray, np.ndarray], *, seed: int = 1, gamma: float = 3.0, spared: int = 10
) -> PlaceBets:
    times, owner, others = given
    return bet_on_places(
        times,
        owner,
        others,
        window=MINUTE,
        bins=30,
        apart=False,
        gamma=gamma,
        spared=spared,
        rng=np.random.default_rng(seed),
    )


def avoid(times: np.ndarray, owner: np.ndarray, *, gamma: float = 3.0, window: int = 60) -> PlaceBets:
    rng = np.random.default_rng(1)
    return bet_on_places(
        times, owner, None, window=window * MINUTE, bins=500, apart=True, gamma=gamma, rng=rng
    )


def test_batches_are_seen_and_more_of_them_more() -> None:
    logs = [meet(group(np.random.default_rng(2), together=k)).log_evalue for k in (20, 35, 50)]
    assert math.log(1000) < logs[0] < logs[1] < logs[2]


def test_a_stream_dealt_out_evenly_is_seen_and_a_random_one_is_not() -> None:
    rng = np.random.default_rng(4)
    owner = np.sort(rng.integers(0, 12, 1200))
    for regular, seen in ((16.0, True), (1.0, False)):
        at = np.cumsum(rng.gamma(regular, 1 / regular, 1200))
        times = (at / at[-1] * 5 * DAY).astype(np.int64)
        dealt = rng.permutation(owner)
        order = np.lexsort((times, dealt))
        found = avoid(times[order], dealt[order], window=240)
        assert (found.log_evalue > math.log(1000)) == seen
        assert (found.log_evalue < 0) != seen


def test_a_larger_gamma_never_finds_more() -> None:
    given = group(np.random.default_rng(2), together=30)
    logs = [meet(given, gamma=g).log_evalue for g in (1.0, 3.0, 10.0, 100.0)]
    assert logs == sorted(logs, reverse=True)


def test_sparing_more_windows_never_finds_more() -> None:
    given = group(np.random.default_rng(2), together=30)
    logs = [meet(given, spared=k).log_evalue for k in (0, 5, 10, 20)]
    assert logs == sorted(logs, reverse=True)


def test_a_moment_of_all_is_no_evidence() -> None:
    """The same batches, but everybody else's requests are in them too."""
    rng = np.random.default_rng(2)
    times, owner, others = group(rng, together=40)
    in_step = times[owner == 0]
    crowd = (rng.choice(in_step, 60_000) + rng.exponential(SECOND, 60_000)).astype(np.int64)
    assert meet((times, owner, others)).log_evalue > math.log(1000)
    assert meet((times, owner, np.sort(np.r_[others, crowd]))).log_evalue < math.log(1.5)


def test_a_habit_is_no_evidence() -> None:
    """Every member asks at the same second of a minute, as cron lets it: they meet whenever they share a minute."""
    rng = np.random.default_rng(6)
    times = np.sort(rng.integers(0, 1440, (12, 80)) * MINUTE + 7 * SECOND, axis=1)
    others = np.sort(rng.integers(0, DAY, 40_000))
    found = meet((times.ravel(), np.repeat(np.arange(12), 80), others), gamma=1.0, spared=0)
    assert found.log_evalue <= 1e-9


def test_windows_of_members_that_keep_a_clock_are_averaged() -> None:
    """Twelve clocks of one period, evenly staggered: one arrangement, seen in a hundred windows, counts once."""
    start = np.arange(12) * 35 * SECOND
    times = (start[:, None] + np.arange(1000) * 420 * SECOND).ravel()
    owner = np.repeat(np.arange(12), 1000)
    clocks = avoid(times, owner)
    assert clocks.clocks == clocks.members == 12
    rng = np.random.default_rng(1)
    same_stream = rng.permutation(owner)
    order = np.lexsort((times, same_stream))
    free = avoid(times[order], same_stream[order])
    assert free.clocks == 0
    assert clocks.log_evalue < 60 < 300 < free.log_evalue


@pytest.mark.parametrize("alpha", [0.05, 0.01])
@pytest.mark.parametrize("apart", [False, True])
def test_size_and_mean_under_independent_turns(apart: bool, alpha: float) -> None:
    """Bursts of uneven length, turned afresh in every window; gamma = 1, nobody to compare with, nothing spared."""
    trials, logs = 300, []
    for trial in range(trials):
        rng = np.random.default_rng([trial, apart])
        cells = []
        for m in range(6):
            for w in rng.choice(60, 40, replace=False):
                burst = np.unique(rng.geometric(0.3, 1 + rng.poisson(2)).cumsum()) % 30
                cells.append(np.stack([np.full(len(burst), m), w * 30 + (burst + rng.integers(30)) % 30]))
        owner, cell = np.concatenate(cells, axis=1)
        order = np.lexsort((cell, owner))
        found = bet_on_places(
            cell[order] * 2 * SECOND,
            owner[order],
            None,
            window=MINUTE,
            bins=30,
            apart=apart,
            gamma=1.0,
            rng=rng,
        )
        logs.append(found.log_evalue)
    over = sum(log >= math.log(1 / alpha) for log in logs)
    assert over <= stats.binom.ppf(0.999, trials, alpha)
    evalues = np.exp(np.minimum(logs, math.log(20)))
    assert evalues.mean() <= 1 + 3.1 * evalues.std() / math.sqrt(trials)


@pytest.mark.parametrize("gamma", [1.0, 3.0])
def test_bursty_services_with_one_rhythm_of_the_day(gamma: float) -> None:
    """Arrivals as ServeGen describes them, thinned by one day's rhythm: no e-value of 100 groups reaches 20."""
    from stillwatch.lab.arrivals import WAKING, own_clients, service_times

    logs = []
    for trial in range(50):
        rng = np.random.default_rng([9, trial])
        owner, at = service_times(
            rng, own_clients(rng, 60), rng.lognormal(math.log(250), 0.8, 20), 5 * 86400.0
        )
        kept = rng.random(len(at)) < (WAKING / WAKING.max())[(at // 3600).astype(int) % 24]
        times, owner = (at[kept] * SECOND).astype(np.int64), owner[kept].astype(np.int64)
        others = np.sort(rng.integers(0, 5 * DAY, 40_000))
        logs += [
            meet((times, owner, others), gamma=gamma).log_evalue,
            avoid(times, owner, gamma=gamma).log_evalue,
        ]
    assert max(logs) < math.log(20)
    assert np.exp(logs).mean() < 1


def test_the_seed_decides_everything_that_is_random() -> None:
    given = group(np.random.default_rng(2), together=30)
    one, same, other = (meet(given, seed=seed) for seed in (1, 1, 2))
    assert one == same
    assert one.log_evalue != other.log_evalue


def test_names_of_members_and_whole_days_do_not_matter() -> None:
    times, owner, others = group(np.random.default_rng(2), together=30)
    first = meet((times, owner, others))
    assert meet((times + 9 * DAY, owner * 5 + 3, others + 9 * DAY)) == first


def test_a_large_group_is_represented_by_a_part() -> None:
    times, owner, _ = group(np.random.default_rng(2), members=40, each=200, together=100)
    rng = np.random.default_rng(1)
    given = {"window": MINUTE, "bins": 30, "apart": False, "gamma": 3.0}
    whole = bet_on_places(times, owner, None, **given, rng=rng)
    few_windows = bet_on_places(times, owner, None, **given, rng=rng, most_windows=50)
    few_places = bet_on_places(times, owner, None, **given, rng=rng, most_places=500)
    few_members = bet_on_places(times, owner, None, **given, rng=rng, most_members=10)
    assert few_windows.windows <= 50 < whole.windows
    assert few_places.bets <= 500 < whole.bets
    assert few_members.members <= 10 < whole.members
    assert all(0 < part.log_evalue < whole.log_evalue for part in (few_windows, few_places, few_members))


def test_the_interval_holds_the_effect() -> None:
    found = meet(group(np.random.default_rng(2), together=30))
    low, high = found.interval
    assert low < found.effect < high
    assert found.effect > 1


@pytest.mark.parametrize("members", [0, 1, LEAST_MEMBERS - 1])
def test_too_few_members_are_refused(members: int) -> None:
    with pytest.raises(InsufficientData) as refused:
        meet(group(np.random.default_rng(1), members=members) if members else (np.empty(0, np.int64),) * 3)
    assert (refused.value.need, refused.value.got) == (LEAST_MEMBERS, members)


def test_too_few_bets_are_refused() -> None:
    times, owner, others = group(np.random.default_rng(1), each=3)
    with pytest.raises(InsufficientData) as refused:
        meet((times, owner, others))
    assert refused.value.need == LEAST_BETS


def test_no_more_windows_than_are_spared_are_refused() -> None:
    given = group(np.random.default_rng(1), members=30, together=9)
    with pytest.raises(InsufficientData):
        meet(given, spared=100_000)


def test_nobody_to_compare_with_is_refused() -> None:
    times, owner, _ = group(np.random.default_rng(1), together=30)
    with pytest.raises(InsufficientData):
        meet((times, owner, np.array([5, 9], np.int64)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"gamma": 0.5}, "gamma must be 1 or above, found 0.5"),
        ({"window": 7 * MINUTE}, "a window divides an hour"),
        ({"bins": 7}, "a window divides an hour"),
        ({"bins": 1}, "a window divides an hour"),
        ({"owner": np.zeros(3, np.int64)}, "one length"),
        ({"times": np.arange(720)[::-1]}, "sorted"),
        ({"owner": np.arange(720)[::-1]}, "sorted"),
    ],
)
def test_refusals(change: dict, words: str) -> None:
    times, owner, others = group(np.random.default_rng(1))
    given = {"times": times, "owner": owner, "others": others, "gamma": 3.0} | {"window": MINUTE, "bins": 30}
    with pytest.raises(InputError, match=words):
        bet_on_places(**(given | change), apart=False, rng=np.random.default_rng(1))
