"""When the exchanges of a group happened, and when everybody else's did: what the signals of co-timing read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stillwatch.campaigns.groups import Group
from stillwatch.engine.duckdb import Engine

OTHERS = 200_000
"""Exchanges of the whole log, at most about, that stand for everybody else."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Exchanges by scope and account, and a sample of all of them. Times are microseconds.

    Memory: 24 bytes an exchange with shared text and 16 an exchange of an account that something links.

    Parameters
    ----------
    scope, account, time
        Shape (exchanges,), sorted in that order; the scope is a material, or -1 for all exchanges of an account.
    other_account, other_time
        Shape (sample,), sorted by time; of accounts that are not exempt.
    stops
        Sorted times and accounts of what stopped an account.
    """

    scope: NDArray[np.int64]
    account: NDArray[np.int64]
    time: NDArray[np.int64]
    other_account: NDArray[np.int64]
    other_time: NDArray[np.int64]
    stop_account: NDArray[np.int64]
    stop_time: NDArray[np.int64]

    def of(self, group: Group) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Times of the members' exchanges, which member each is of, and the sample without the members."""
        scopes = np.array(group.materials or (-1,))
        low, high = np.searchsorted(self.scope, scopes), np.searchsorted(self.scope, scopes, "right")
        rows = np.concatenate([np.arange(a, b) for a, b in zip(low, high, strict=True)])
        rows = rows[np.isin(self.account[rows], group.accounts)]
        account, time = self.account[rows], self.time[rows]
        order = np.lexsort((time, account))
        account, time = account[order], time[order]
        # An exchange that carries two materials of the group is one exchange.
        once = np.r_[True, (np.diff(account) != 0) | (np.diff(time) != 0)] if len(time) else np.empty(0, bool)
        owner = np.searchsorted(group.accounts, account[once])
        outside = ~np.isin(self.other_account, group.accounts)
        return time[once], owner, self.other_time[outside]

    def interventions(self, group: Group) -> NDArray[np.int64]:
        """Sorted times at which accounts of the group were stopped."""
        return self.stop_time[np.isin(self.stop_account, group.accounts)]


def read_timings(engine: Engine, linked: NDArray[np.int64], stopping: tuple[str, ...]) -> Timings:
    """Read what the groups need.

    Parameters
    ----------
    linked
        Accounts of groups that are held against all their exchanges.
    stopping
        Rungs, in lower case, that stop an account.
    """

    engine.table("linked", pa.table({"account_id": linked}))
    rows = engine.read(
        "select e.family as scope, e.account_id as account, e.time as time from material_exchanges as e "
        "union all select -1, x.account_id, x.time from exchanges as x "
        "join linked as l on l.account_id = x.account_id order by 1, 2, 3",
        "timings",
    )
    every = max(1, engine.read("select count(*) as n from exchanges")["n"][0].as_py() // OTHERS)
    others = engine.read(
        "select e.account_id as account_id, e.time as time from exchanges as e "
        "left join accounts as a on a.account_id = e.account_id "
        f"where (e.exchange_id & 1048575) % {every} = 0 and a.exemption is null order by 2, 1"
    )
    rungs = ", ".join(f"'{rung}'" for rung in stopping)
    stops = engine.read(
        f"select account_id, time from actions where lower(rung) in ({rungs}) order by 2, 1", "stops"
    )
    engine.drop("linked")
    return Timings(
        *(rows[c].to_numpy().astype(np.int64) for c in ("scope", "account", "time")),
        *(others[c].to_numpy() for c in ("account_id", "time")),
        *(stops[c].to_numpy() for c in ("account_id", "time")),
    )
