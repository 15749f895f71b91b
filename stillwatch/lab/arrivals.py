"""When requests come: services by renewal processes with a changing rate, people by days, hours and sessions.

Services. The expected volume of an account runs through *operational time*: gaps with mean 1 are drawn from
the gamma or Weibull law of a client and mapped through its cumulative rate. With ServeGen's clients at hand the
rate profile is a real client's (10-minute windows over up to two weeks, turned by a random part of a day) and the
law is that of one of its windows; without them the profile is a slow gamma-modulated rate and the law is gamma,
the family that BurstGPT (arXiv 2401.17644) and ServeGen (arXiv 2505.09999) fit to public traces.

People. Days are chosen by a gamma weight per account and day (so that use comes in spells), hours by the rhythm
of the account's time zone; every start opens a session of some turns.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stillwatch.errors import InputError

WINDOW = 600
"""Seconds of one rate window."""

HOUR, DAY = 3600, 86400

WAKING = np.array(
    [3, 2, 1, 1, 1, 2, 4, 8, 13, 17, 18, 17, 14, 16, 18, 18, 17, 15, 13, 14, 15, 13, 9, 5], float
)
"""Relative use of a private person by local hour."""

WORKING = np.array([1, 0, 0, 0, 0, 1, 3, 10, 22, 28, 29, 27, 17, 24, 28, 28, 25, 17, 8, 5, 4, 4, 3, 2], float)
"""Relative use at work by local hour."""


@dataclass(frozen=True, slots=True)
class Clients:
    """Arrival processes that can stand for a service account.

    `profiles` is (clients, windows): relative rate per window over two weeks. `laws` holds, per client, rows of
    (0 gamma or 1 Weibull, shape).
    """

    profiles: np.ndarray
    laws: tuple[np.ndarray, ...]
    source: str


def real_clients(data: Path) -> Clients:
    """ServeGen's language clients that were seen for two days or more (alibaba/ServeGen, Apache-2.0)."""
    import duckdb

    path = data / "traffic" / "servegen_clients.parquet"
    if not path.is_file():
        raise InputError(
            f"{path}: not found; --data wants a folder with traffic/ and prompts/, or leave it out"
        )
    rows = duckdb.execute(
        """
        SELECT workload || client AS name, window_start_s // 600 AS w, rate_per_s, family = 'Weibull' AS weibull,
               param_1 AS shape
        FROM read_parquet(?) WHERE rate_per_s > 0 AND param_1 > 0
        WINDOW c AS (PARTITION BY workload, client)
        QUALIFY max(window_start_s) OVER c - min(window_start_s) OVER c >= 172800
        ORDER BY 1, 2
        """,
        [str(path)],
    ).fetchnumpy()
    names, client = np.unique(np.asarray(rows["name"]).astype(str), return_inverse=True)
    profiles = np.zeros((len(names), 14 * DAY // WINDOW))
    np.add.at(profiles, (client, np.minimum(rows["w"], profiles.shape[1] - 1)), rows["rate_per_s"])
    laws = np.stack([rows["weibull"].astype(float), np.clip(rows["shape"], 0.08, 4.0)], axis=1)
    bounds = np.searchsorted(client, np.arange(1, len(names)))
    return Clients(profiles, tuple(np.split(laws, bounds)), "ServeGen clients")


def own_clients(rng: np.random.Generator, clients: int = 300) -> Clients:
    """Clients made up from gamma laws: rates wander over hours, gaps have coefficients of variation of 0.6 to 4."""
    hours = 14 * 24
    rough = rng.gamma(0.7, 1 / 0.7, (clients, hours // 4)).repeat(4, axis=1)
    lazy = rng.random((clients, 1))  # how much of a day's rhythm the people behind a service leave in it
    day = np.tile(WAKING / WAKING.mean(), 14)[None, :]
    profiles = (rough * (1 - lazy + lazy * day)).repeat(HOUR // WINDOW, axis=1)
    cv = np.clip(rng.lognormal(np.log(1.2), 0.5, (clients, 8)), 0.6, 4.0)
    laws = tuple(np.stack([np.zeros(8), 1 / row**2], axis=1) for row in cv)
    return Clients(profiles, laws, "built-in gamma clients")


def service_times(
    rng: np.random.Generator, clients: Clients, expected: np.ndarray, seconds: float
) -> tuple[np.ndarray, np.ndarray]:
    """Arrivals of services: (index into `expected`, seconds since the start), ordered by account and time.

    Parameters
    ----------
    expected
        Expected number of requests of each account within `seconds`.
    """
    owners, times = [], []
    which = rng.integers(len(clients.profiles), size=len(expected))
    for i, (m, c) in enumerate(zip(expected.tolist(), which.tolist(), strict=True)):
        weibull, shape = clients.laws[c][rng.integers(len(clients.laws[c]))]
        n = int(m + 5 * np.sqrt(m) * max(1.0, shape**-0.5)) + 8
        gaps = rng.weibull(shape, n) if weibull else rng.gamma(shape, 1.0, n)
        mean = _weibull_mean(shape) if weibull else shape
        # The first gap is cut at random: an observer comes in the middle of one.
        gaps[0] *= rng.random()
        at = np.cumsum(gaps) / mean
        at = at[at < m] / m
        profile = np.roll(clients.profiles[c], rng.integers(DAY // WINDOW))
        windows = int(np.ceil(seconds / WINDOW))
        rate = np.resize(profile, windows) + 1e-3 * profile.mean()
        cumulative = np.concatenate([[0.0], np.cumsum(rate)])
        times.append(np.interp(at, cumulative / cumulative[-1], np.arange(windows + 1) * float(WINDOW)))
        owners.append(np.full(len(at), i))
    if not times:
        return np.zeros(0, np.int64), np.zeros(0)
    return np.concatenate(owners), np.minimum(np.concatenate(times), seconds - 1)


def flat_times(
    rng: np.random.Generator, expected: np.ndarray, seconds: float
) -> tuple[np.ndarray, np.ndarray]:
    """Poisson arrivals at a constant rate, day and night: (index, seconds), ordered by account and time."""
    counts = rng.poisson(expected)
    owner = np.repeat(np.arange(len(expected)), counts)
    at = rng.random(len(owner)) * seconds
    order = np.lexsort((at, owner))
    return owner, at[order]


def human_starts(
    rng: np.random.Generator,
    expected: np.ndarray,
    zone: np.ndarray,
    days: int,
    weekday: int,
    first_day: np.ndarray,
    *,
    working: bool,
    spells: float = 0.6,
) -> tuple[np.ndarray, np.ndarray]:
    """Starts of sessions of people: (index, seconds since the start in UTC), ordered by account and time.

    Parameters
    ----------
    expected
        Expected number of sessions of each account.
    zone
        Hours east of UTC.
    weekday
        Weekday of the first day, 0 is Monday.
    first_day
        First day on which the account may act (0: the first day of the log).
    spells
        Shape of the gamma weight of a day; small numbers give use in spells.
    """
    n = len(expected)
    weekend = (weekday + np.arange(days)) % 7 >= 5
    weight = rng.gamma(spells, 1.0, (n, days)) * np.where(weekend, 0.15 if working else 0.9, 1.0) + 1e-9
    weight[np.arange(days)[None, :] < first_day[:, None]] = 0.0
    # Volume is per day of presence: who came late does less.
    present = np.clip(days - first_day, 0, days) / days
    counts = rng.poisson(expected * present)
    owner = np.repeat(np.arange(n), counts)
    cumulative = np.cumsum(weight, axis=1)
    total = cumulative[:, -1]
    ladder = (cumulative / np.where(total > 0, total, 1.0)[:, None] + np.arange(n)[:, None]).ravel()
    day = np.searchsorted(ladder, owner + rng.random(len(owner)), side="right") - owner * days
    hours = WORKING if working else WAKING
    edges = np.concatenate([[0.0], np.cumsum(hours)]) / hours.sum()
    habit = rng.normal(0.0, 1.3, n)  # larks and owls
    local = np.interp(rng.random(len(owner)), edges, np.arange(25.0)) + habit[owner]
    at = np.clip(day, 0, days - 1) * DAY + ((local - zone[owner]) % 24) * HOUR
    order = np.lexsort((at, owner))
    return owner, at[order]


def turns(
    rng: np.random.Generator, starts: np.ndarray, mean_turns: np.ndarray, *, longest: int = 16
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sessions become requests: (session index, turn from 1, seconds), turns of a session next to each other."""
    counts = np.minimum(rng.geometric(1 / np.maximum(mean_turns, 1.0)), longest)
    session = np.repeat(np.arange(len(starts)), counts)
    first = np.cumsum(counts) - counts
    turn = np.arange(len(session)) - np.repeat(first, counts) + 1
    gap = rng.lognormal(np.log(70.0), 0.9, len(session))
    gap[turn == 1] = 0.0
    elapsed = np.cumsum(gap)
    return session, turn, starts[session] + elapsed - elapsed[first][session] if len(session) else elapsed


def _weibull_mean(shape: float) -> float:
    from math import gamma

    return gamma(1 + 1 / shape)
