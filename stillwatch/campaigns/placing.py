"""Who of a group's accounts the finding is about: those that harvest, or are like those that do.

A public text (a judge's rubric, a benchmark's instruction) has honest users beside a campaign that asks with it. The
tests are about the group as it was proposed; what they found is then placed on accounts, and whoever has nothing but
the text in common with the others is set apart.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from stillwatch.campaigns.groups import LEAST_ACCOUNTS, Group
from stillwatch.campaigns.likeness import common_codes, common_span
from stillwatch.campaigns.pool import Pool
from stillwatch.campaigns.scoring import HARVESTING, Score

HARVESTS = "harvesting_shape"
LEANS, LIKE = float(np.log(3)), float(np.log(20))
"""Log likelihood ratio that an account needs, and one of which nobody can tell whether it harvests."""


def belongs(group: Group, result: Score, pool: Pool, questions: Mapping[str, str]) -> NDArray[np.bool_]:
    """Which accounts of a group harvest, or are like those that do.

    The accounts seen harvesting in the group's scope are the core. For each signal of "acts as one" that spoke for the
    group, an account has what is common in the core or has not; the two shares, of the core and of the matched
    accounts outside, are one likelihood ratio. Harvesting itself is another, of the group's share and theirs. They
    are multiplied as if they were independent (naive Bayes; Hand & Yu 2001, Int. Statistical Review, on why that
    places accounts well even where they are not). The ratio is no p-value, and nothing is claimed by it: it only
    takes accounts away from what the e-values support.

    Parameters
    ----------
    questions
        Signal -> the question of its card.

    Returns
    -------
    Shape (accounts,). True for exempt ones, which stand apart anyhow, and for all where fewer than `LEAST_ACCOUNTS`
    were seen harvesting: then there is no core.
    """
    rows, members, _ = pool.for_group(group)
    who = np.searchsorted(group.accounts, pool.account[rows[members]])
    exempt = ~pool.holds(group.accounts)
    if HARVESTS not in pool.values:
        return np.ones(len(group.accounts), bool)
    harvests = pool.values[HARVESTS][rows]
    inside = np.zeros(len(rows), bool)
    inside[members] = True
    core = inside & (harvests == 1)
    if core.sum() < LEAST_ACCOUNTS:
        return np.ones(len(group.accounts), bool)
    ratio = np.zeros(len(group.accounts))
    ratio[who] = _ratio(harvests >= 0, harvests == 1, inside, ~inside)[members]
    for test in result.results:
        name = test.test.partition("@")[0]
        if name in pool.values and questions[name] != HARVESTING and (test.log_evalue or 0.0) > 0:
            known, has = _common(pool.values[name][rows], core)
            ratio[who] += _ratio(known, has, core, ~inside)[members]
    told = np.zeros(len(group.accounts), bool)
    told[who] = harvests[members] >= 0
    return exempt | (ratio >= np.where(told, LEANS, LIKE))


def _ratio(
    known: NDArray[np.bool_], has: NDArray[np.bool_], inside: NDArray[np.bool_], outside: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Log likelihood ratio of each row; 0 where nothing is known of it. Shares are Laplace's, so never 0 or 1."""
    ours = (has[inside & known].sum() + 1) / ((inside & known).sum() + 2)
    others = (has[outside & known].sum() + 1) / ((outside & known).sum() + 2)
    return np.where(known, np.where(has, np.log(ours / others), np.log((1 - ours) / (1 - others))), 0.0)


def _common(values: NDArray, core: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Of which rows something is known, and which have what is common in the core."""
    if values.ndim == 2:
        return (values >= 0).any(axis=1), np.any([_has(column, core) for column in values.T], axis=0)
    known = ~np.isnan(values) if values.dtype.kind == "f" else values >= 0
    return known, _has(values, core)


def _has(values: NDArray, core: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which rows have what is common in the core."""
    if values.dtype == np.int8:
        return values == 1
    if values.dtype.kind == "f":
        span = common_span(values[core])
        return np.zeros(len(values), bool) if span is None else (values >= span[0]) & (values <= span[1])
    return np.isin(values, common_codes(values[core]))
