"""What share of an account, and of a group, the exchanges that belong are, and how well that is known.

References
----------
Korn, E. L. and Graubard, B. I. (1998). Confidence intervals for proportions with small expected number of positive
counts estimated from survey data. Survey Methodology 24, 193-201.
Rogan, W. J. and Gladen, B. (1978). Estimating prevalence from the results of a screening test. American Journal of
Epidemiology 107, 71-76.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from stillwatch.campaigns.belonging import Keys
from stillwatch.engine.duckdb import Engine
from stillwatch.errors import InsufficientData
from stillwatch.stats.intervals import bootstrap_by_unit

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares of one group's accounts, with their intervals at 95%. NaN: cannot be told.

    Parameters
    ----------
    account, belonging, total, first, last
        Shape (accounts,), sorted by account; exchanges, and microseconds of those that belong.
    share, low, high
        Shape (accounts,). The units of the interval are days.
    of_group
        Share, low, high of all of them together; the units are accounts. None: cannot be told.
    background
        Share of other accounts' exchanges that carry the material as well.
    follow_ups
        Exchanges that belong and go on with a conversation.
    """

    account: NDArray[np.int64]
    belonging: NDArray[np.int64]
    total: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    share: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    of_group: tuple[float, float, float] | None
    background: float
    follow_ups: int


def read_shares(engine: Engine, keys: Sequence[Keys], backgrounds: Sequence[float]) -> list[Shares]:
    """Shares of every group that `find_belonging` was told, with the keys and backgrounds of `calibrated`."""
    counts = engine.read(
        "select a.campaign as campaign, a.account_id as account, count(b.exchange_id) as belonging, "
        "min(b.time) as first, max(b.time) as last, count(case when b.follow_up then 1 end) as follow_ups "
        "from shown_accounts as a left join belonging as b on b.campaign = a.campaign and "
        "b.account_id = a.account_id group by 1, 2 order by 1, 2"
    )
    days = engine.read(
        "select campaign, account_id as account, total, belonging from account_days order by 1, 2, day"
    )
    totals = engine.read("select account_id, exchanges from population order by 1")
    column = {c: counts[c].fill_null(0).to_numpy().astype(np.int64) for c in counts.column_names}
    day = {c: days[c].to_numpy().astype(np.int64) for c in days.column_names}
    ids, sizes = totals["account_id"].to_numpy(), totals["exchanges"].to_numpy()
    found = []
    for i, key in enumerate(keys):
        rows, mine = column["campaign"] == i, day["campaign"] == i
        account = column["account"][rows]
        total = sizes[np.searchsorted(ids, account)]
        share = low = high = np.full(len(account), np.nan)
        of_group = None
        if key:
            at = np.searchsorted(account, day["account"][mine])
            share, low, high = shares_by_day(
                day["belonging"][mine], day["total"][mine], at, len(account), background=backgrounds[i]
            )
            if not key.proposed:
                # Whoever does not repeat the text may send the campaign's requests without it: not 0, not known.
                silent = column["belonging"][rows] == 0
                share, low, high = (np.where(silent, np.nan, x) for x in (share, low, high))
            of_group = _of_group(share, total, seed=i)
        found.append(
            Shares(
                account,
                *(column[c][rows] for c in ("belonging",)),
                total,
                column["first"][rows],
                column["last"][rows],
                share,
                low,
                high,
                of_group,
                backgrounds[i],
                int(column["follow_ups"][rows].sum()),
            )
        )
    return found


def shares_by_day(
    belonging: NDArray[np.int64],
    total: NDArray[np.int64],
    account: NDArray[np.int64],
    accounts: int,
    *,
    background: float = 0.0,
    level: float = LEVEL,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Share of each account with an interval whose units are days (Korn & Graubard 1998).

    Clopper-Pearson over exchanges is too narrow: exchanges of one day belong together (a batch is sent, or a customer
    talks), so a few hundred of them are worth a few days. The number of exchanges is cut down by the design effect
    between days, then the Clopper-Pearson interval is taken at that number.

    Parameters
    ----------
    belonging, total, account
        Shape (days,). Counts of one account and day; `account` counts from 0.
    background
        The share that carries the material by chance; taken off the estimate (Rogan & Gladen 1978, sensitivity 1).

    Returns
    -------
    Share, low, high, each of shape (accounts,). The ends are NaN for an account that was seen on one day only.
    """
    k = np.bincount(account, belonging, accounts)
    n = np.bincount(account, total, accounts)
    days = np.bincount(account, minlength=accounts)
    p = k / np.maximum(n, 1)
    rest = np.bincount(account, (belonging - p[account] * total) ** 2, accounts)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = days / np.maximum(days - 1, 1) * rest / np.maximum(n, 1) ** 2
        worth = np.where(variance > 0, np.minimum(p * (1 - p) / variance, n), n)
        tail = (1 + level) / 2
        shrink = stats.t.ppf(tail, np.maximum(n - 1, 1)) / stats.t.ppf(tail, np.maximum(days - 1, 1))
        worth = np.maximum(worth * np.minimum(shrink, 1) ** 2, 1e-9)
        low = np.where(k > 0, stats.beta.ppf(1 - tail, p * worth, worth - p * worth + 1), 0.0)
        high = np.where(k < n, stats.beta.isf(1 - tail, p * worth + 1, worth - p * worth), 1.0)
    one_day = days < 2
    low, high = np.where(one_day, np.nan, low), np.where(one_day, np.nan, high)
    clean = (np.clip((x - background) / max(1e-9, 1 - background), 0, 1) for x in (p, low, high))
    share, low, high = clean
    return share, low, high


def _of_group(
    share: NDArray[np.float64], total: NDArray[np.int64], *, seed: int
) -> tuple[float, float, float]:
    """The group's share with its interval: accounts are the units, for one hand sets the shares of all their days."""
    share, total = share[~np.isnan(share)], total[~np.isnan(share)]
    if not len(share):
        return None
    value = float((share * total).sum() / max(1, total.sum()))
    rows = np.column_stack([share * total, total])
    try:
        low, high = bootstrap_by_unit(
            rows,
            np.arange(len(rows)),
            lambda some: float(some[:, 0].sum() / some[:, 1].sum()),
            np.random.default_rng(seed),
            n_resamples=1000,
            level=LEVEL,
        )
    except InsufficientData:
        low, high = 0.0, 1.0
    return value, min(low, value), max(high, value)
