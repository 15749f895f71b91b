"""E-values from bets on where in a window the next member's events lie (testing by betting on shifted series).

Time is cut into windows and every window into bins. A window keeps what each member did in it, bursts and all; only
*where* it lies is bet on, and the chance is that of a circular shift. So a rate profile, a day's rhythm or a burst is
never evidence; events of several members in the same bins (or in bins that the others leave free) are.

References
----------
Amarasingham, A., Harrison, M., Hatsopoulos, N. and Geman, S. (2012). Conditional modeling and the jitter method of
spike resampling. J. Neurophysiol. 107, 517-531.
Shafer, G. (2021). Testing by betting. J. R. Stat. Soc. A 184, 407-431.
Waudby-Smith, I. and Ramdas, A. (2024). Estimating means of bounded random variables by betting. J. R. Stat. Soc. B
86, 1-27.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.special import logsumexp

from stillwatch.errors import InputError, InsufficientData

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

STAKES = np.array([0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.85])
"""Shares of the wealth that are put on every bet."""
FRESH = np.array([0.003, 0.03, 0.2])
"""Shares of the wealth that begin each window anew, spread evenly over `STAKES`: most windows may hold nothing."""
LEAST_MEMBERS = 5
LEAST_BETS = 20
LEAST_OTHERS = 5
"""Events of others by which a place can be called usual, in the window itself or at that part of other hours."""
LEAST_ELSEWHERE = 5
"""Bins that a member fills in other windows; with fewer nobody knows its habits and it is only looked at."""
CROWDED = 0.9
"""Above this mean chance nothing can be won."""
HOUR = 3_600_000_000
DAY = 24 * HOUR
CLOCK = 0.25
"""A gap that differs from the member's median gap by at most this share of it is the tick of a clock."""


@dataclass(frozen=True, slots=True)
class PlaceBets:
    """What the bets on one group came to. Logarithms are natural."""

    log_evalue: float
    log_ceiling: float
    """Log e-value had every event of every bet fallen where it was bet on."""
    bets: int
    """Members shown times windows, in the first order drawn."""
    windows: int
    members: int
    """Members on whom a bet was placed, in the first order drawn."""
    clocks: int
    """Of the members, those that keep a clock of their own: for them windows are averaged, never multiplied."""
    found: float
    """Events that fell where they were bet on, each counted with the weight of its bin."""
    expected: float
    """The same, had they lain at random or as usual."""
    interval: tuple[float, float]
    """95% interval of ``found / expected - 1``, with windows as the units (ratio estimator, normal)."""

    @property
    def effect(self) -> float:
        return self.found / self.expected - 1.0


def bet_on_places(
    times: Ints,
    owner: Ints,
    others: Ints | None,
    *,
    window: int,
    bins: int,
    apart: bool,
    gamma: float,
    rng: np.random.Generator,
    orders: int = 4,
    reach: float = 0.5,
    spared: int = 0,
    most_members: int = 2_000,
    most_windows: int = 4_000,
    most_places: int = 100_000,
) -> PlaceBets:
    """Do the members' events meet (or, with `apart`, avoid) one another within windows more than chance allows?

    Windows are taken in random order, and in each the members are shown one by one in random order. The members shown
    so far give every bin a weight in [0, 1]: how often it was filled, over the fullest bin; with `apart`, 1 where no
    event lies within `reach` mean gaps of the window's pooled events, else 0. A bet is placed on the mean weight of
    the bins that the next member fills.

    *Null*, in all windows but `spared`: given its own pattern within each window (up to a turn around the window) and
    everything shown before, the odds of that mean weight are at most `gamma` times those of the largest of

    (a) the mean weight of all bins, which is exactly what a uniform circular shift gives, whatever the pattern;
    (b) the weight at the member's own places in all other windows and, unless `apart`, at this time of other days:
        habits, such as cron at :00;
    (c) with `others`, the weight at their places in this window: a moment that is everybody's;
    (d) with `others`, the weight at their places at this part of any hour.

    (b) to (d) are ``(sum of weights + 1) / (number + 1)``, for which the mean of 1/estimate is at most 1/truth. They
    only ever lower the e-value, so with ``gamma=1`` it is exact under independent uniform shifts.

    Every bet multiplies the wealth by ``1 + stake (weight / bound - 1)``, for each of the fixed `STAKES`; `FRESH`
    starts every window with a part of the wealth only. The e-value is the mean over these ways to bet and over
    `orders` orders; nothing is learned, so no choice is left to the data. For each way the `spared` windows that speak
    loudest are left out: what remains is at most the wealth over windows in which the null holds (partial conjunction,
    Benjamini & Heller 2008). For members that keep a clock the place in one window tells that of the next: windows are
    averaged for them, which is valid under any dependence.

    Parameters
    ----------
    times, owner
        Shape (events,). int64 microseconds and the member of each, sorted by member and time.
    others
        Sorted times of other accounts' events. None: nothing is compared with them.
    window
        Microseconds; divides an hour or is a whole number of hours, and is a multiple of `bins`.
    bins
        Bins of a window, 2 or above.
    gamma
        1 or above.
    spared
        Windows in which the members may have had a moment in common, without being one.
    reach
        With `apart`: how far, in mean gaps, an event keeps others away.
    most_members, most_windows, most_places
        What is looked at, at most: a random part is drawn before anything is compared. A place is a bin that a member
        fills in a window.

    Raises
    ------
    InsufficientData
        Fewer than five members with an event; fewer than `LEAST_BETS` bets could be placed, or in no more windows
        than are spared.

    *Wrong when* something within the window moves all members and nobody else, faster than a window is long; members'
    patterns are tied across windows without being clocks.
    """
    _check(times, owner, window, bins, gamma)
    names, owner = np.unique(owner, return_inverse=True)
    if len(names) < LEAST_MEMBERS:
        raise InsufficientData(LEAST_MEMBERS, len(names), "members with an exchange")
    if len(names) > most_members:
        chosen = np.zeros(len(names), np.bool_)
        chosen[rng.choice(len(names), most_members, replace=False)] = True
        times, owner = times[chosen[owner]], owner[chosen[owner]]
        names, owner = np.unique(owner, return_inverse=True)
    owner = owner.astype(np.int64)
    clock = _keep_a_clock(times, owner, len(names))
    parts = []
    for ticking in (False, True):
        inside = clock[owner] == ticking
        count = int((clock == ticking).sum())
        if count >= LEAST_MEMBERS:
            places = _Places(times[inside], owner[inside], others, window, bins)
            places.draw(rng, most_windows, most_places)
            parts.append((count, places, ticking))
    ways = [_play(p, ticking, apart, reach, gamma, spared, rng, orders) for _, p, ticking in parts]
    played = [
        (count, ticking, way)
        for (count, _, ticking), way in zip(parts, ways, strict=True)
        if len(way.found) > spared
    ]
    bets = sum(way.bets for _, _, way in played)
    if bets < LEAST_BETS:
        raise InsufficientData(LEAST_BETS, bets, "bets on where a member's exchanges lie")
    weights = np.array([count for count, _, _ in played], float)
    weights /= weights.sum()
    found = np.concatenate([way.found for _, _, way in played])
    expected = np.concatenate([way.expected for _, _, way in played])
    return PlaceBets(
        log_evalue=float(logsumexp([way.log_evalue for _, _, way in played], b=weights)),
        log_ceiling=float(logsumexp([way.log_ceiling for _, _, way in played], b=weights)),
        bets=bets,
        windows=len(found),
        members=sum(way.members for _, _, way in played),
        clocks=sum(way.members for _, ticking, way in played if ticking),
        found=float(found.sum()),
        expected=float(expected.sum()),
        interval=_ratio_interval(found, expected),
    )


def _check(times: Ints, owner: Ints, window: int, bins: int, gamma: float) -> None:
    if gamma < 1:
        raise InputError(f"gamma must be 1 or above, found {gamma}")
    if times.shape != owner.shape or times.ndim != 1:
        raise InputError(f"times {times.shape} and owner {owner.shape} must be vectors of one length")
    if bins < 2 or window < bins or window % bins or (HOUR % window and window % HOUR):
        raise InputError(
            f"a window divides an hour or is whole hours, and is a multiple of 2 bins or more; "
            f"found {window} microseconds and {bins} bins"
        )
    same = owner[1:] == owner[:-1]
    if (owner[1:] < owner[:-1]).any() or (same & (times[1:] < times[:-1])).any():
        raise InputError("times must be sorted by member and time")


def _keep_a_clock(times: Ints, owner: Ints, members: int, most: int = 1_000) -> NDArray[np.bool_]:
    """Members more than half of whose gaps (of the first thousand) are ticks of a clock."""
    clock = np.zeros(members, np.bool_)
    edges = np.searchsorted(owner, np.arange(members + 1))
    for i in range(members):
        gaps = np.diff(times[edges[i] : min(edges[i + 1], edges[i] + most + 1)])
        if len(gaps) >= 3:
            middle = np.sort(gaps)[len(gaps) // 2]
            clock[i] = (np.abs(gaps - middle) <= CLOCK * middle).mean() > 0.5
    return clock


class _Places:
    """The bins that each member fills in each window, and what is usual."""

    def __init__(self, times: Ints, owner: Ints, others: Ints | None, window: int, bins: int) -> None:
        self.bins, self.window = bins, window
        width = window // bins
        cell = times // width
        new = np.ones(len(cell), np.bool_)
        new[1:] = (cell[1:] != cell[:-1]) | (owner[1:] != owner[:-1])
        cell, who = cell[new], owner[new]
        self.names, who = np.unique(who, return_inverse=True)
        self.who, self.at, self.bin = who.astype(np.int64), cell // bins, cell % bins
        flat = np.bincount(self.who * bins + self.bin, minlength=len(self.names) * bins)
        self.habit = flat.reshape(-1, bins)  # how often a member fills the bin, over all windows
        self.days = max(1, DAY // window)
        key = self.who * self.days + self.at % self.days
        order = np.argsort(key, kind="stable")
        self.daily_key, self.daily = key[order], self.bin[order]
        self.others = np.zeros(0, np.int64) if others is None else others // width
        self.compared = others is not None
        self.slots = max(1, HOUR // window)
        usual = np.bincount(self.others % (self.slots * bins), minlength=self.slots * bins)
        self.usual = usual.reshape(self.slots, bins)

    def draw(self, rng: np.random.Generator, most_windows: int, most_places: int) -> None:
        """Keep a random part of the windows in which two members or more have an event."""
        order = np.argsort(self.at, kind="stable")
        who, at, place = self.who[order], self.at[order], self.bin[order]
        entry = np.ones(len(at), np.bool_)
        entry[1:] = (at[1:] != at[:-1]) | (who[1:] != who[:-1])
        first = np.flatnonzero(entry)
        windows, start, members = np.unique(at[first], return_index=True, return_counts=True)
        filled = np.diff(np.r_[first[start], len(at)])
        chosen = rng.permutation(np.flatnonzero(members >= 2))[:most_windows]
        cut = np.searchsorted(np.cumsum(filled[chosen]), most_places, side="right")
        chosen = np.sort(chosen[: max(1, int(cut))])
        keep = np.zeros(len(windows), np.bool_)
        keep[chosen] = True
        index = np.cumsum(keep) - 1
        of_entry = np.repeat(np.arange(len(windows)), members)
        bounds = np.r_[first, len(at)]
        held = keep[of_entry]
        self.entry_window = index[of_entry[held]]
        self.entry_who = who[first[held]]
        self.entry_low, self.entry_high = bounds[:-1][held], bounds[1:][held]
        key = self.entry_who * self.days + at[first[held]] % self.days
        self.daily_low = np.searchsorted(self.daily_key, key)
        self.daily_high = np.searchsorted(self.daily_key, key, "right")
        self.place = place
        self.windows = windows[chosen]
        self.filled = filled[chosen]


@dataclass(frozen=True, slots=True)
class _Played:
    log_evalue: float
    log_ceiling: float
    bets: int
    members: int
    found: Floats
    expected: Floats


def _play(
    places: _Places,
    ticking: bool,
    apart: bool,
    reach: float,
    gamma: float,
    spared: int,
    rng: np.random.Generator,
    orders: int,
) -> _Played:
    count = len(places.windows)
    low = np.searchsorted(places.others, places.windows * places.bins)
    high = np.searchsorted(places.others, (places.windows + 1) * places.bins)
    slot = places.windows % places.slots
    radius = np.floor(reach * places.bins / np.maximum(places.filled, 1)).astype(np.int64)
    logs, tops = np.empty(orders), np.empty(orders)
    bets = members = 0
    found = expected = np.empty(0)
    for i in range(orders):
        order = np.lexsort((rng.random(len(places.entry_window)), places.entry_window))
        starts = np.searchsorted(places.entry_window[order], np.arange(count + 1))
        wealth, seen = np.zeros((2, count, len(STAKES))), np.zeros((3, count))
        touched = np.zeros(len(places.names), np.bool_)
        _bet(
            starts.astype(np.int64), places.entry_who[order], places.entry_low[order], places.entry_high[order],
            places.place, places.habit, places.daily_low[order], places.daily_high[order], places.daily,
            places.others % places.bins, low, high, places.usual, slot, radius,
            places.compared, apart, gamma, STAKES, wealth, seen, touched,
        )  # fmt: skip
        played = seen[2] > 0
        logs[i] = _combine(wealth[0][played], ticking, spared)
        tops[i] = _combine(wealth[1][played], ticking, spared)
        if i == 0:
            bets, members = int(seen[2].sum()), int(touched.sum())
            found, expected = seen[0][played], seen[1][played]
    return _Played(_log_mean(logs), _log_mean(tops), bets, members, found, expected)


def _combine(logs: Floats, ticking: bool, spared: int) -> float:
    """Shape (windows, stakes): the mean over ways to bet of products over windows, or of their averages."""
    if len(logs) <= spared:
        return 0.0
    window = np.logaddexp.reduce(logs, axis=1) - np.log(logs.shape[1])
    fresh = np.logaddexp(np.log1p(-FRESH)[None, :], np.log(FRESH)[None, :] + window[:, None])
    logs = np.concatenate([logs, fresh], axis=1)
    logs = np.sort(logs, axis=0)[: len(logs) - spared]
    return _log_mean(logs.ravel()) if ticking else _log_mean(logs.sum(axis=0))


def _log_mean(logs: Floats) -> float:
    return float(np.logaddexp.reduce(logs) - np.log(len(logs)))


def _ratio_interval(found: Floats, expected: Floats) -> tuple[float, float]:
    ratio = found.sum() / expected.sum()
    n = len(found)
    if n < 2:
        return -1.0, float("inf")
    error = float(np.sqrt(n / (n - 1) * ((found - ratio * expected) ** 2).sum()) / expected.sum())
    return max(-1.0, float(ratio - 1 - 1.96 * error)), float(ratio - 1 + 1.96 * error)


@njit(cache=True, nogil=True)
def _bet(  # type: ignore[no-untyped-def]
    starts, who, lows, highs, place, habit, daily_low, daily_high, daily,
    others, other_low, other_high, usual, slot, radius, compared, apart, gamma, stakes, wealth, seen, touched,
):  # fmt: skip
    """Fill `wealth` (2, windows, stakes: log wealth, log of the most) and `seen` (found, expected, bets by window)."""
    bins = habit.shape[1]
    elsewhere = np.zeros(len(habit))
    for i in range(len(habit)):
        for b in range(bins):
            elsewhere[i] += habit[i, b]
    usual_all = np.zeros(len(usual))
    for s in range(len(usual)):
        for b in range(bins):
            usual_all[s] += usual[s, b]
    count = np.zeros(bins)
    here = np.zeros(bins)
    for w in range(len(starts) - 1):
        count[:] = 0.0
        here[:] = 0.0
        number = float(other_high[w] - other_low[w])
        for j in range(other_low[w], other_high[w]):
            here[others[j]] += 1.0
        s = slot[w]
        if compared and number < LEAST_OTHERS and usual_all[s] < LEAST_OTHERS:
            continue  # what is everybody's moment cannot be told from the group's
        # Sums over bins of the weight (before scaling), alone and at the places of others.
        level = float(bins) if apart else 0.0
        level_here = number if apart else 0.0
        level_usual = usual_all[s] if apart else 0.0
        fullest = 1.0 if apart else 0.0
        for e in range(starts[w], starts[w + 1]):
            i = who[e]
            filled = highs[e] - lows[e]
            mean = level / (bins * fullest) if fullest > 0 else 0.0
            if e > starts[w] and 0.0 < mean < CROWDED and elsewhere[i] - filled >= LEAST_ELSEWHERE:
                own = 0.0
                for b in range(bins):
                    if habit[i, b] > 0:
                        own += habit[i, b] * ((1.0 if count[b] == 0 else 0.0) if apart else count[b])
                hit = 0.0
                for k in range(lows[e], highs[e]):
                    c = count[place[k]]
                    hit += (1.0 if c == 0 else 0.0) if apart else c
                own = ((own - hit) / fullest + 1.0) / (elsewhere[i] - filled + 1.0)
                share = max(mean, own)
                number_daily = float(daily_high[e] - daily_low[e] - filled)
                if number_daily > 0 and not apart:
                    own = -hit
                    for k in range(daily_low[e], daily_high[e]):
                        c = count[daily[k]]
                        own += (1.0 if c == 0 else 0.0) if apart else c
                    share = max(share, (own / fullest + 1.0) / (number_daily + 1.0))
                if compared and number >= LEAST_OTHERS:
                    share = max(share, (level_here / fullest + 1.0) / (number + 1.0))
                if compared and usual_all[s] >= LEAST_OTHERS:
                    share = max(share, (level_usual / fullest + 1.0) / (usual_all[s] + 1.0))
                share = min(share, 1.0)
                won = hit / (fullest * filled)
                bound = gamma * share / (1.0 + (gamma - 1.0) * share)
                for k in range(len(stakes)):
                    wealth[0, w, k] += np.log1p(stakes[k] * (won / bound - 1.0))
                    wealth[1, w, k] += np.log1p(stakes[k] * (1.0 / bound - 1.0))
                seen[0, w] += won * filled
                seen[1, w] += share * filled
                seen[2, w] += 1.0
                touched[i] = True
            for k in range(lows[e], highs[e]):
                b = place[k]
                if not apart:
                    count[b] += 1.0
                    level += 1.0
                    level_here += here[b]
                    level_usual += usual[s, b]
                    fullest = max(fullest, count[b])
                    continue
                reach = min(radius[w], (bins - 1) // 2)
                for d in range(-reach, reach + 1):
                    near = (b + d) % bins
                    if count[near] == 0:
                        level -= 1.0
                        level_here -= here[near]
                        level_usual -= usual[s, near]
                    count[near] += 1.0
