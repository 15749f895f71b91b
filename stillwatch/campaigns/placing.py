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
"""Log likelihood ratio that an account needs which was seen harvesting, and which was not."""


def belongs(group: Group, result: Score, pool: Pool, questions: Mapping[str, str]) -> NDArray[np.bool_]:
    """Which accounts of a group harvest, or are like those that do.

    The accounts seen harvesting in the group's scope are the core. For each signal of "acts as one" that spoke for the
    group, an account has what is common in the core or has not; the two shares, of the core and of the matched
    accounts outside, are one likelihood ratio, and the signals are multiplied as if they were independent (naive
    Bayes; Hand & Yu 2001, Int. Statistical Review, on why that places accounts well even where they are not). The
    ratio is no p-value, and nothing is claimed by it: it only takes accounts away from what the e-values support.

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
    harvests = np.zeros(len(group.accounts), bool)
    harvests[who] = pool.values[HARVESTS][rows[members]] == 1
    if harvests.sum() < LEAST_ACCOUNTS:
        return np.ones(len(group.accounts), bool)
    core = np.zeros(len(rows), bool)
    core[members] = harvests[who]
    outside = np.ones(len(rows), bool)
    outside[members] = False
    ratio = np.zeros(len(group.accounts))
    for test in result.results:
        name = test.test.partition("@")[0]
        if name in pool.values and questions[name] != HARVESTING and (test.log_evalue or 0.0) > 0:
            ratio[who] += _ratio(pool.values[name][rows], core, outside)[members]
    return exempt | (ratio >= np.where(harvests, LEANS, LIKE))


def _ratio(values: NDArray, core: NDArray[np.bool_], outside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Log likelihood ratio of each row; 0 where nothing is known of it."""
    if values.ndim == 2:
        known = (values >= 0).any(axis=1)
        has = np.any([_has(column, core) for column in values.T], axis=0)
    else:
        known = ~np.isnan(values) if values.dtype.kind == "f" else values >= 0
        has = _has(values, core)
    inside = (has[core & known].sum() + 1) / ((core & known).sum() + 2)
    others = (has[outside & known].sum() + 1) / ((outside & known).sum() + 2)
    return np.where(known, np.where(has, np.log(inside / others), np.log((1 - inside) / (1 - others))), 0.0)


def _has(values: NDArray, core: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which rows have what is common in the core."""
    if values.dtype == np.int8:
        return values == 1
    if values.dtype.kind == "f":
        span = common_span(values[core])
        return np.zeros(len(values), bool) if span is None else (values >= span[0]) & (values <= span[1])
    return np.isin(values, common_codes(values[core]))
