"""Near misses of co-timing: honest groups that ask at one time, and for each a campaign that looks like it.

A week of log, a group of 12 or 30, and 150,000 requests of others with a rhythm of the day. An honest workload stays
below an e-value of 20 in every seed that is run (gamma = 3); its twin, the same workload sent out by one dispatcher,
gives more than 1,000.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

from stillwatch.campaigns.co_timing import bursty_accounts, by_member
from stillwatch.campaigns.signals import load_balancing, synchrony
from stillwatch.errors import InsufficientData
from stillwatch.lab.arrivals import WAKING, human_starts, own_clients, service_times, turns

DAYS, HOUR, DAY, SECOND = 7, 3600, 86_400, 1_000_000
SEEDS = int(os.environ.get("STILLWATCH_NEAR_MISSES", "3"))
"""The pages of the two signals were measured with 20."""
MUCH, LITTLE = math.log(1000), math.log(20)

Made = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
Workload = Callable[[np.random.Generator, int], Made]


def others(rng: np.random.Generator, *more: NDArray) -> NDArray[np.int64]:
    hour = rng.choice(24, 150_000, p=WAKING / WAKING.sum())
    at = (rng.integers(0, DAYS, 150_000) * 24 + hour + rng.random(150_000)) * HOUR
    return np.sort((np.concatenate([at, *more]) * SECOND).astype(np.int64))


def jobs(rng: np.random.Generator, starts: list[NDArray], size: float, gap: float) -> tuple[NDArray, NDArray]:
    """At every start one request, and `size` more on average, one after the other with uneven gaps; microseconds."""
    start, who = np.concatenate(starts), np.repeat(np.arange(len(starts)), [len(s) for s in starts])
    count = 1 + rng.poisson(size, len(start))
    wait = rng.lognormal(math.log(gap), 0.8, count.sum())
    first = np.cumsum(count) - count
    wait[first] = 0.0
    since = np.cumsum(wait)
    return (np.repeat(start, count) + since - np.repeat(since[first], count)) * SECOND, np.repeat(who, count)


def together(*parts: tuple[NDArray, NDArray]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return by_member([p[0] for p in parts], [p[1] for p in parts])


def nightly(rng: np.random.Generator, n: int) -> Made:
    """Evaluations that begin at two o'clock sharp every night."""
    starts = [np.arange(DAYS) * DAY + 2 * HOUR + rng.exponential(0.5, DAYS) for _ in range(n)]
    return *together(jobs(rng, starts, 40, 5)), others(rng)


def one_night(rng: np.random.Generator, n: int) -> Made:
    """The same once only, on top of what everybody does else."""
    starts = [np.array([2 * DAY + 2 * HOUR + rng.exponential(0.5)]) for _ in range(n)]
    return *together(jobs(rng, starts, 40, 5), bursty_accounts(rng, n, 10, DAYS)), others(rng)


def cron(rng: np.random.Generator, n: int) -> Made:
    """Every hour at a round minute of the job's own; a tenth of everybody's requests is on cron as well."""
    hours = np.arange(DAYS * 24) * HOUR
    starts = [
        hours + 60 * rng.choice([0, 5, 15, 30, 45]) + rng.exponential(1.0, len(hours)) for _ in range(n)
    ]
    crowd = rng.choice(hours, 15_000) + rng.exponential(1.0, 15_000)
    return *together(jobs(rng, starts, 1, 6)), others(rng, crowd)


def one_zone(rng: np.random.Generator, n: int) -> Made:
    """Employees in one time zone with one framework."""
    who, start = human_starts(rng, np.full(n, 60.0), np.full(n, 1.0), DAYS, 0, np.zeros(n, int), working=True)
    session, _, at = turns(rng, start, np.full(len(start), 5.0))
    return *together((at * SECOND, who[session])), others(rng)


def a_class(rng: np.random.Generator, n: int) -> Made:
    """Three days with two lessons; five times in each the teacher sets a task, and most begin within two minutes."""
    calls = np.concatenate([d * DAY + h * HOUR + rng.random(5) * 3000 for d in (0, 2, 4) for h in (9, 11)])
    starts = []
    for _ in range(n):
        go = calls[rng.random(len(calls)) < 0.85]
        starts.append(go + 20 + rng.lognormal(math.log(40), 0.6, len(go)))
    return *together(jobs(rng, starts, 2.5, 45), bursty_accounts(rng, n, 3, DAYS)), others(rng)


def outage(rng: np.random.Generator, n: int) -> Made:
    """Three outages of half an hour. When each ends, all that waited is sent again within seconds, by everybody."""
    at, who = bursty_accounts(rng, n, 40, DAYS)
    crowd = others(rng).astype(float)
    again, crowds = [], [crowd]
    for end in (1.3, 3.5, 5.6):
        over = end * DAY * SECOND
        for times in (at, crowd):
            waits = (times > over - HOUR / 2 * SECOND) & (times < over)
            times[waits] = over + rng.exponential(5, waits.sum()) * SECOND
        again.append(over + rng.exponential(5, n) * SECOND)
        crowds.append(over + rng.exponential(5, 1500) * SECOND)
    times, owner = together((at, who), (np.concatenate(again), np.tile(np.arange(n), 3)))
    return times, owner, np.sort(np.concatenate(crowds).astype(np.int64))


def pollers(rng: np.random.Generator, n: int) -> Made:
    """One client library that asks every seven minutes, started at any time."""
    ticks = np.arange(0, DAYS * DAY, 420)
    starts = [ticks + 420 * rng.random() + rng.exponential(1.0, len(ticks)) for _ in range(n)]
    return *together(jobs(rng, starts, 0, 5)), others(rng)


def staggered(rng: np.random.Generator, n: int) -> Made:
    """Hourly jobs, each at a minute that was drawn for it once."""
    hours = np.arange(DAYS * 24) * HOUR
    starts = [hours + HOUR * rng.random() + rng.exponential(5.0, len(hours)) for _ in range(n)]
    return *together(jobs(rng, starts, 0, 5)), others(rng)


def services(rng: np.random.Generator, n: int) -> Made:
    """Bursty services as ServeGen describes them, with one rhythm of the day."""
    who, at = service_times(
        rng, own_clients(rng, 60), rng.lognormal(math.log(300), 0.8, n), float(DAYS * DAY)
    )
    kept = rng.random(len(at)) < (WAKING / WAKING.max())[(at // HOUR).astype(int) % 24]
    return *together((at[kept] * SECOND, who[kept])), others(rng)


def whole_minutes(rng: np.random.Generator, n: int) -> Made:
    """A log whose clock shows minutes only."""
    times, owner = together(bursty_accounts(rng, n, 75, DAYS))
    minute = 60 * SECOND
    return times // minute * minute, owner, others(rng) // minute * minute


HONEST = [
    nightly,
    one_night,
    cron,
    one_zone,
    a_class,
    outage,
    pollers,
    staggered,
    services,
    whole_minutes,
]


def in_batches(workload: Workload, batches: int = 60) -> Workload:
    """The same workload, and each member besides takes part in most of `batches` that one hand sends out."""

    def make(rng: np.random.Generator, n: int) -> Made:
        times, owner, crowd = workload(rng, n)
        when = rng.random(batches) * DAYS * DAY
        member, batch = np.nonzero(rng.random((n, batches)) < 0.8)
        late = (when[batch] + rng.exponential(1.0, len(batch))) * SECOND
        return *together((times, owner), (late, member)), crowd

    return make


def dealt_out(workload: Workload) -> Workload:
    """As many requests as the workload has, from one even stream, each over an account drawn at random."""

    def make(rng: np.random.Generator, n: int) -> Made:
        times, _, crowd = workload(rng, n)
        even = np.cumsum(rng.gamma(16, 1 / 16, max(len(times), 600)))
        at = even / even[-1] * (DAYS * DAY - 1) * SECOND
        return *by_member([at], [rng.integers(0, n, len(at))]), crowd

    return make


def says(signal: ModuleType, workload: Workload, n: int, seed: int) -> float:
    times, owner, crowd = workload(np.random.default_rng([seed, n]), n)
    try:
        return signal.test(times, owner, crowd, seed=seed).log_evalue
    except InsufficientData:
        return 0.0


@pytest.mark.parametrize("n", [12, 30])
@pytest.mark.parametrize("workload", HONEST, ids=lambda w: w.__name__)
@pytest.mark.parametrize("signal", [synchrony, load_balancing], ids=lambda s: s.CARD.name)
def test_an_honest_workload_gives_no_evidence(signal: ModuleType, workload: Workload, n: int) -> None:
    logs = [says(signal, workload, n, seed) for seed in range(SEEDS)]
    assert max(logs) < LITTLE
    assert np.exp(logs).mean() <= 1.0


HIDDEN = (pollers, whole_minutes)
"""Batches cannot be told beside a busy clock of the members' own, nor by a clock that shows minutes only."""


@pytest.mark.parametrize("workload", [w for w in HONEST if w not in HIDDEN], ids=lambda w: w.__name__)
def test_the_same_workload_in_batches_does(workload: Workload) -> None:
    assert says(synchrony, in_batches(workload), 30, 1) > MUCH


@pytest.mark.parametrize("workload", HONEST, ids=lambda w: w.__name__)
def test_the_same_volume_dealt_out_evenly_does(workload: Workload) -> None:
    assert says(load_balancing, dealt_out(workload), 30, 1) > MUCH


@pytest.mark.parametrize("workload", HIDDEN, ids=lambda w: w.__name__)
def test_what_hides_batches(workload: Workload) -> None:
    times, owner, crowd = in_batches(workload)(np.random.default_rng(1), 30)
    if workload is whole_minutes:
        times = times // (60 * SECOND) * (60 * SECOND)
    assert synchrony.test(times, owner, crowd, seed=1).log_evalue < LITTLE


def test_too_little_is_refused() -> None:
    rng = np.random.default_rng(1)
    for signal in (synchrony, load_balancing):
        few = together(bursty_accounts(rng, 4, 50, DAYS))
        with pytest.raises(InsufficientData, match="members"):
            signal.test(*few, others(rng), seed=1)
        short = np.arange(12) * DAY * SECOND // 2
        with pytest.raises(InsufficientData):
            signal.test(short, np.arange(12), others(rng), seed=1)


def test_the_result_says_what_it_is() -> None:
    times, owner, crowd = in_batches(one_zone)(np.random.default_rng(1), 30)
    result = synchrony.test(times, owner, crowd, seed=5)
    assert result.test == "synchrony@1"
    assert "at most 3 times the odds" in result.null.hypothesis
    assert (result.null.method, result.unit, result.seed) == ("betting", "account-windows", 5)
    assert result.log_evalue <= result.log_evalue_ceiling
    low, high = result.interval
    assert 0 < low < result.effect < high


def test_members_that_keep_a_clock_are_counted() -> None:
    times, owner, crowd = pollers(np.random.default_rng(1), 12)
    assert "12 of 12 members keep a clock" in load_balancing.test(times, owner, crowd, seed=1).note
