"""Who belongs to a group, by what evidence, and with which share of the account's requests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stillwatch.campaigns.groups import Group
from stillwatch.campaigns.likeness import common_codes
from stillwatch.campaigns.pool import Pool, codes
from stillwatch.campaigns.scoring import Score
from stillwatch.campaigns.share import Shares
from stillwatch.engine.duckdb import Engine

RARER = 3.0
"""A value ties those who hold it when it is so many times as frequent, in odds, among the members as outside."""


@dataclass(frozen=True, slots=True)
class Accounts:
    """What is known of every account, read once a scan. Every array is sorted by `account`.

    Parameters
    ----------
    account, total
        Shape (accounts,). Account ids and their exchanges.
    first, last
        Shape (accounts,). Microseconds of the first and last exchange.
    described
        Shape (accounts,), bool. Whether the table of accounts has a row for it.
    created
        Shape (accounts,). Day of registration with its fraction; NaN: not known.
    organization, payment_token, client_prefix
        Shape (accounts,). Codes; -1: not known.
    education
        Shape (accounts,), int8. 1: mail of a school or university, 0: other mail, -1: not known.
    contract
        Shape (accounts,). Contracted volume; 0 without one.
    exemption
        Shape (accounts,), text: the reason for an exemption, null without one.
    uses
        Columns of ``material_uses``: account_id, family, uses, first_time, last_time.
    """

    account: NDArray[np.int64]
    total: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    described: NDArray[np.bool_]
    created: NDArray[np.float64]
    organization: NDArray[np.int64]
    payment_token: NDArray[np.int64]
    client_prefix: NDArray[np.int64]
    education: NDArray[np.int8]
    contract: NDArray[np.float64]
    exemption: pa.ChunkedArray
    uses: dict[str, NDArray[np.int64]]


def read_accounts(engine: Engine) -> Accounts:
    """Read the tables that the scan's steps made."""
    rows = engine.read(
        """
select p.account_id as account, p.exchanges as total, p.first_time as first, p.last_time as last,
       a.account_id is not null as described, a.created_at * 1e0 / 86400e6 as created,
       o.organization_id as organization,
       case when a.email_class is null then -1 when lower(a.email_class) like 'edu%' then 1 else 0 end as education,
       coalesce(a.contract_volume, 0) as contract,
       v.payment_token as payment_token, v.client_prefix as client_prefix,
       case when a.exemption is not null then coalesce(a.exemption_reason, a.exemption) end as exemption
from population as p
left join accounts as a on a.account_id = p.account_id
left join organizations as o on o.account_id = p.account_id
left join main_values as v on v.account_id = p.account_id
order by p.account_id"""
    )
    uses = engine.read("select account_id, family, uses, first_time, last_time from material_uses")
    return Accounts(
        **{c: rows[c].to_numpy().astype(np.int64) for c in ("account", "total", "first", "last")},
        described=rows["described"].to_numpy(zero_copy_only=False).astype(bool),
        created=rows["created"].to_numpy(zero_copy_only=False).astype(float),
        **{c: codes(rows[c]) for c in ("organization", "payment_token", "client_prefix")},
        education=rows["education"].to_numpy().astype(np.int8),
        contract=rows["contract"].to_numpy(zero_copy_only=False).astype(float),
        exemption=rows["exemption"],
        uses={c: uses[c].to_numpy().astype(np.int64) for c in uses.column_names},
    )


def member_rows(group: Group, result: Score, pool: Pool, accounts: Accounts) -> pa.Table:
    """One row for each account of the group.

    Returns
    -------
    pyarrow.Table
        account_id; exchanges that belong to the group (all of them where no text links it); total; share (null
        where no text links the group); share_low, share_high (null before `with_shares`); first, last (microseconds);
        evidence (names of the signals that tie the member to the others by itself, see `ties`); exemption (its reason,
        null without one).
    """
    at = np.searchsorted(accounts.account, group.accounts)
    total, first, last = accounts.total[at], accounts.first[at], accounts.last[at]
    exchanges, share = total, None
    if group.materials:
        exchanges, first, last = _carrying(group, pool, accounts)
        share = exchanges / total
    return pa.table(
        {
            "account_id": group.accounts,
            "exchanges": exchanges,
            "total": total,
            "share": pa.nulls(len(total), pa.float64()) if share is None else pa.array(share, pa.float64()),
            "share_low": pa.nulls(len(total), pa.float64()),
            "share_high": pa.nulls(len(total), pa.float64()),
            "first": first,
            "last": last,
            "evidence": pa.array(_evidence(group, result, pool), pa.list_(pa.string())),
            "exemption": accounts.exemption.take(pa.array(at)),
        }
    )


def with_shares(members: pa.Table, shares: Shares) -> pa.Table:
    """The same rows with what was counted exactly: exchanges that belong, their span, share and interval.

    Accounts of which nothing was counted (exempt ones) keep what they had.
    """
    ids = members["account_id"].to_numpy()
    at = np.minimum(np.searchsorted(shares.account, ids), max(0, len(shares.account) - 1))
    # Where text that did not propose the group tells nothing of an account, its exchanges stay what they were: all.
    known = (shares.account[at] == ids) & (shares.belonging[at] > 0)
    for name, values in (
        ("exchanges", shares.belonging),
        ("first", shares.first),
        ("last", shares.last),
        ("share", shares.share),
        ("share_low", shares.low),
        ("share_high", shares.high),
    ):
        old = members[name].to_numpy(zero_copy_only=False)
        new = np.where(known, values[at], old)
        column = pa.array(new, members.schema.field(name).type, from_pandas=True)
        members = members.set_column(members.schema.get_field_index(name), name, column)
    return members


def _carrying(
    group: Group, pool: Pool, accounts: Accounts
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Exchanges with the group's most used material of each account, and when they began and ended."""
    uses = accounts.uses
    rows = np.flatnonzero(
        np.isin(uses["family"], group.materials) & np.isin(uses["account_id"], group.accounts)
    )
    at = np.searchsorted(group.accounts, uses["account_id"][rows])
    most = np.zeros(len(group.accounts), np.int64)
    first = np.full(len(group.accounts), np.iinfo(np.int64).max)
    last = np.zeros(len(group.accounts), np.int64)
    np.maximum.at(most, at, uses["uses"][rows])
    np.minimum.at(first, at, uses["first_time"][rows])
    np.maximum.at(last, at, uses["last_time"][rows])

    # An account may repeat a part of the material that holds none of the shingles by which exchanges are looked up:
    # of it only the number of exchanges is known, and when the account was seen at all.
    missed = most == 0
    if missed.any():
        rows = np.flatnonzero(np.isin(pool.scope, group.materials) & np.isin(pool.account, group.accounts))
        linked = np.zeros(len(most), np.int64)
        np.maximum.at(linked, np.searchsorted(group.accounts, pool.account[rows]), pool.exchanges[rows])
        seen = np.searchsorted(accounts.account, group.accounts)
        most = np.where(missed, linked, most)
        first = np.where(missed, accounts.first[seen], first)
        last = np.where(missed, accounts.last[seen], last)
    return most, first, last


def _evidence(group: Group, result: Score, pool: Pool) -> list[list[str]]:
    rows, members, _ = pool.for_group(group)
    who = pool.account[rows[members]]
    known: list[list[str]] = [[group.proposer] for _ in group.accounts]
    position = np.searchsorted(group.accounts, who)
    for test in result.results:
        name = test.test.partition("@")[0]
        if (test.log_evalue or 0.0) <= 0 or name not in pool.values:
            continue  # what holds for the group as a whole (co-timing) says nothing of one account
        for i in position[ties(pool.values[name][rows], members)]:
            known[i].append(name)
    return known


def ties(values: NDArray, members: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which members a signal ties to the others one by one.

    An event ties whom it happened to. A value ties those who hold it, where another member holds it too and it is
    `RARER` outside. A number ties nobody: most members of any group lie in its shortest span that holds most, whatever
    the group, so it speaks of the group as a whole.

    Parameters
    ----------
    values
        Shape (rows,) or (rows, kinds), of the group and of those it is held against.
    members
        Positions of the group's accounts in the rows.

    Returns
    -------
    Shape (members,).
    """
    if values.ndim == 2:
        return np.any([ties(column, members) for column in values.T], axis=0)
    mine = values[members]
    if values.dtype == np.int8:
        return mine == 1
    if values.dtype.kind == "f":
        return np.zeros(len(mine), bool)
    shared, theirs = common_codes(mine), np.delete(values, members)
    return np.isin(mine, shared[_odds(mine, shared) >= RARER * _odds(theirs, shared)])


def _odds(values: NDArray[np.int64], codes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of each code; half a holder more on either side, so that none and all have odds too (Haldane 1956)."""
    known = np.sort(values[values >= 0])
    held = np.searchsorted(known, codes, "right") - np.searchsorted(known, codes)
    return np.asarray((held + 0.5) / (len(known) - held + 0.5))
