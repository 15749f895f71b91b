"""When requests come: the volumes that were asked for, and the rhythm of who asks."""

from __future__ import annotations

import numpy as np

from stillwatch.lab import arrivals
from stillwatch.lab.arrivals import DAY, HOUR


def test_services_keep_their_volume_on_average():
    rng = np.random.default_rng(1)
    clients = arrivals.own_clients(rng)
    expected = np.full(400, 120.0)
    owner, seconds = arrivals.service_times(rng, clients, expected, 14 * DAY)
    counts = np.bincount(owner, minlength=400)
    assert abs(counts.mean() / 120 - 1) < 0.05
    # Burstier than Poisson, as the published traces are.
    assert counts.var() > 1.3 * counts.mean()
    assert seconds.min() >= 0 and seconds.max() < 14 * DAY
    assert np.all(np.diff(seconds)[np.diff(owner) == 0] >= 0)


def test_flat_rate_is_poisson_and_flat():
    rng = np.random.default_rng(2)
    owner, seconds = arrivals.flat_times(rng, np.full(300, 100.0), 10 * DAY)
    counts = np.bincount(owner, minlength=300)
    assert 0.8 < counts.var() / counts.mean() < 1.25
    hours = np.bincount((seconds % DAY // HOUR).astype(int), minlength=24)
    assert hours.max() / hours.min() < 1.25


def test_people_sleep_by_their_own_clock():
    rng = np.random.default_rng(3)
    for zone in (-8, 0, 9):
        _, seconds = arrivals.human_starts(
            rng, np.full(200, 60.0), np.full(200, zone), 14, 0, np.zeros(200, int), working=False
        )
        local = (seconds // HOUR + zone) % 24
        night, evening = np.mean((local >= 1) & (local < 6)), np.mean((local >= 17) & (local < 22))
        assert night < 0.08 < 0.2 < evening


def test_work_rests_at_the_weekend():
    rng = np.random.default_rng(4)
    _, seconds = arrivals.human_starts(
        rng, np.full(200, 60.0), np.zeros(200), 14, 0, np.zeros(200, int), working=True
    )
    day = (seconds // DAY).astype(int) % 7
    assert np.mean(day >= 5) < 0.12  # 2/7 without a weekend


def test_nobody_acts_before_the_first_day():
    rng = np.random.default_rng(5)
    first = rng.integers(0, 14, 300)
    owner, seconds = arrivals.human_starts(
        rng, np.full(300, 30.0), np.zeros(300), 14, 0, first, working=False
    )
    assert np.all(seconds // DAY >= first[owner])


def test_turns_of_a_session_follow_each_other():
    rng = np.random.default_rng(6)
    starts = rng.random(1000) * DAY
    session, turn, seconds = arrivals.turns(rng, starts, np.full(1000, 3.0))
    opens = turn == 1
    assert np.allclose(seconds[opens], starts)
    assert np.all(np.diff(turn)[np.diff(session) == 0] == 1)
    assert np.all(np.diff(seconds)[np.diff(session) == 0] > 0)
    assert abs(len(turn) / 1000 - 3.0) < 0.3


def test_real_clients(data):
    clients = arrivals.real_clients(data)
    assert len(clients.profiles) > 100
    assert len(clients.laws) == len(clients.profiles)
    assert np.all(clients.profiles >= 0) and np.all(clients.profiles.sum(axis=1) > 0)
    rng = np.random.default_rng(7)
    owner, _ = arrivals.service_times(rng, clients, np.full(600, 100.0), 14 * DAY)
    assert abs(len(owner) / 60_000 - 1) < 0.12
