"""Whom of a group's accounts a finding is about: those that harvest, or are like those that do.

A public text (a judge's rubric, a benchmark's instruction) has honest users beside a campaign that asks with it. The
tests are about the group as it was proposed. Two things keep what they found off the wrong accounts: the members that
harvest, the *core*, have to act as one by themselves (`score_group`), and whoever is unlike the core is set apart
(`belongs`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from stillwatch.campaigns.groups import LEAST_ACCOUNTS, Group
from stillwatch.campaigns.likeness import has_common
from stillwatch.campaigns.pool import Pool
from stillwatch.campaigns.scoring import HARVESTING, Score, lowered, score
from stillwatch.campaigns.timing import Timings

LEANS, LIKE = float(np.log(3)), float(np.log(20))
"""Log likelihood ratio that an account needs, and one of which nobody can tell whether it harvests."""


def score_group(
    group: Group,
    pool: Pool,
    signals: Mapping[str, ModuleType],
    *,
    gamma: float,
    seed: int,
    timings: Timings | None,
) -> Score:
    """Test a group; where both questions speak for it, "acts as one" is no more than its core bears (`lowered`).

    A group with an e-value of 1 or less is supported at no rate of false discovery: its core is not looked at.
    """
    whole = score(group, pool, signals, gamma=gamma, seed=seed, timings=timings)
    if whole.log_evalue is None or whole.log_evalue <= 0:
        return whole
    accounts = harvesting(group, whole, pool, signals)
    if len(accounts) < LEAST_ACCOUNTS:
        return lowered(whole, None)
    core = Group(group.proposer, accounts, group.materials)
    if len(core.accounts) == (~pool.is_exempt(group.accounts)).sum():
        return whole
    return lowered(whole, score(core, pool, signals, gamma=gamma, seed=seed, timings=timings))


def harvesting(
    group: Group, whole: Score, pool: Pool, signals: Mapping[str, ModuleType]
) -> NDArray[np.int64]:
    """Sorted accounts of the group in which a signal of harvesting that spoke for the group saw it."""
    rows, members, _ = pool.for_group(group)
    seen = np.zeros(len(members), bool)
    for name in _spoke(whole, pool, signals, harvest=True):
        seen |= pool.values[name][rows[members]] == 1
    return np.sort(pool.account[rows[members]][seen])


def belongs(group: Group, whole: Score, pool: Pool, signals: Mapping[str, ModuleType]) -> NDArray[np.bool_]:
    """Which accounts of a group harvest and are like the others that do.

    For each signal of "acts as one" that spoke for the group, an account has what is common in the core or has not;
    the two shares, of the core and of the matched accounts outside (each stratum as large as the group's part of it),
    are one likelihood ratio. Harvesting itself is another, of the group's share and theirs. They are multiplied as if
    they were independent (naive Bayes; Hand & Yu 2001, Int. Statistical Review, on why that places accounts well even
    where they are not). The ratio is no p-value, and nothing is claimed by it: it takes accounts away.

    Returns
    -------
    Shape (accounts,). True for exempt ones, which stand apart anyhow, and for all where there is no core.
    """
    core_accounts = harvesting(group, whole, pool, signals)
    if len(core_accounts) < LEAST_ACCOUNTS:
        return np.ones(len(group.accounts), bool)
    rows, members, strata = pool.for_group(group)
    who = np.searchsorted(group.accounts, pool.account[rows[members]])
    inside = np.zeros(len(rows), bool)
    inside[members] = True
    core = inside & np.isin(pool.account[rows], core_accounts)
    weight = _matched(inside, strata)
    ratio = np.zeros(len(group.accounts))
    told = np.zeros(len(group.accounts), bool)
    for name in _spoke(whole, pool, signals, harvest=True):
        events = pool.values[name][rows]
        ratio[who] += _ratio(events >= 0, events == 1, inside, weight)[members]
        told[who] |= events[members] >= 0
    for name in _spoke(whole, pool, signals, harvest=False):
        known, has = _common(pool.values[name][rows], core)
        ratio[who] += _ratio(known, has, core, weight)[members]
    return pool.is_exempt(group.accounts) | (ratio >= np.where(told, LEANS, LIKE))


def _spoke(whole: Score, pool: Pool, signals: Mapping[str, ModuleType], *, harvest: bool) -> list[str]:
    """Signals of one question that know single accounts and spoke for the group."""
    names = [t.test.partition("@")[0] for t in whole.results if (t.log_evalue or 0.0) > 0]
    return [n for n in names if n in pool.values and (signals[n].CARD.question == HARVESTING) == harvest]


def _matched(inside: NDArray[np.bool_], strata: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weight of each row outside, 0 inside: the outsiders of a stratum weigh as much as its members."""
    ours = np.bincount(strata, inside, strata.max(initial=0) + 1)
    others = np.bincount(strata, ~inside, strata.max(initial=0) + 1)
    return np.where(inside, 0.0, (ours / np.maximum(others, 1))[strata])


def _ratio(
    known: NDArray[np.bool_], has: NDArray[np.bool_], ours: NDArray[np.bool_], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Log likelihood ratio of each row; 0 where nothing is known of it. Shares are Laplace's, so never 0 or 1.

    Parameters
    ----------
    ours
        Rows that stand for the group.
    weight
        Shape (rows,). Of the rows that stand for everybody else, see `_matched`; they count as many as they are.
    """
    mine, theirs = ours & known, (weight > 0) & known
    total = weight[theirs].sum()
    share = (weight[theirs] * has[theirs]).sum() / total if total > 0 else 0.5
    count = int(theirs.sum())
    inside = (has[mine].sum() + 1) / (mine.sum() + 2)
    outside = (share * count + 1) / (count + 2)
    return np.where(known, np.where(has, np.log(inside / outside), np.log((1 - inside) / (1 - outside))), 0.0)


def _common(values: NDArray, core: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Of which rows something is known, and which have what is common in the core."""
    if values.ndim == 2:
        return (values >= 0).any(axis=1), np.any([has_common(column, core) for column in values.T], axis=0)
    known = ~np.isnan(values) if values.dtype.kind == "f" else values >= 0
    return known, has_common(values, core)
