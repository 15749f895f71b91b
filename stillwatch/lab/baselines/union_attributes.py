"""Connected components of accounts over any shared attribute, as attribute clusterers do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from stillwatch.engine.duckdb import Engine
from stillwatch.lab.baselines._reading import everybody, opened, table

NAME = "union over shared attributes"
SOURCE = (
    "The manner of Glasswally (m0rs3c0d3/Glasswally, commit 300eedc, StateStore.update_clusters) and other attribute "
    "clusterers: accounts that share any payment method, subnet or client fingerprint are one cluster. Adapted: the "
    "device and the signup prefix are attributes too; the client agent stands in where a log has no TLS fingerprint; "
    "clusters are connected components, where the original leaves old members behind when it merges; a cluster is "
    "flagged from 5 accounts on, where the original adds points for its size and 16 other workers."
)
LEAST = 5

FIELDS = ("payment_token", "device_token", "signup_prefix")
CLIENT = ("client_prefix", "tls_fingerprint", "client_agent")
FORMS = {
    "flagged": (*FIELDS, *CLIENT),
    "form:without_agent": (*FIELDS, "client_prefix", "tls_fingerprint"),
    "form:funding": ("payment_token", "device_token"),
}
"""What each form unites over: everything; not the client software; nothing but payment and device."""


def flag(workspace: Path, *, log: Path | None, seed: int) -> pa.Table:
    """Accounts in a component of five or more; score: the size of the component.

    Examples
    --------
    "Of 2,400 accounts 2,400 are one cluster: twelve client libraries chain everybody."
    """
    with opened(workspace) as engine:
        accounts = everybody(engine)
        links = {field: _links(engine, field) for field in FORMS["flagged"]}
    sizes, component = {}, np.zeros(0, np.int64)
    for form, fields in FORMS.items():
        label = components(accounts, [links[f] for f in fields])
        sizes[form] = np.bincount(label, minlength=1)[label] if len(label) else label
        if form == "flagged":
            component = label
    size = sizes.pop("flagged")
    names = pa.array([f"union-{c}" for c in component.tolist()], pa.string(), mask=size < LEAST)
    return table(
        accounts,
        size,
        size >= LEAST,
        names,
        more={form: s >= LEAST for form, s in sizes.items()},
        notes={"largest": int(size.max(initial=0)), "accounts": len(accounts)},
    )


def components(
    accounts: NDArray[np.int64], links: list[tuple[NDArray[np.int64], NDArray[np.int64]]]
) -> NDArray[np.int64]:
    """Component of each account, shape (len(accounts),); `links` are pairs (account, value), one for each attribute.

    Accounts and values are the two sides of one bipartite graph, so no pair of accounts is ever listed.
    """
    rows, columns, nodes = [], [], len(accounts)
    for account, value in links:
        distinct, place = np.unique(value, return_inverse=True)
        rows.append(np.searchsorted(accounts, account))
        columns.append(nodes + place)
        nodes += len(distinct)
    row, column = np.concatenate([*rows, []]).astype(int), np.concatenate([*columns, []]).astype(int)
    graph = coo_array((np.ones(len(row), np.int8), (row, column)), shape=(nodes, nodes))
    return connected_components(graph, directed=False)[1][: len(accounts)].astype(np.int64)


def _links(engine: Engine, field: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    source = "exchanges" if field in CLIENT else "accounts"
    rows = engine.read(
        f"select distinct s.account_id as account_id, s.{field} as value from {source} as s "
        f"where s.{field} is not null and s.account_id in (select x.account_id from exchanges as x)"
    )
    return rows["account_id"].to_numpy(), rows["value"].to_numpy()
