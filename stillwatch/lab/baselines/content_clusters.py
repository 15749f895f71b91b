"""Clusters of like requests across accounts, whose weak signals are added up until they are strong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from stillwatch.lab.baselines._reading import everybody, old, opened, sketches, table
from stillwatch.text.sketch import MINHASH

NAME = "content clusters"
SOURCE = (
    "In the manner of arXiv 2605.31593 (Brown et al. 2026): transcripts are clustered as they come, across "
    "accounts, and a cluster is escalated when the sum of its strongest weak signals and its counts are high "
    "enough. Adapted: clusters are buckets of MinHash bands (8 bands of 4 values) and no embedding; the weak "
    "signal is the mean of three facts of an exchange (asks for training material; opens and does not continue; "
    "an answer among the log's longest tenth) and no model's safety score; the threshold is 18 of 20, and in "
    "form:calibrated the 99th percentile of buckets of old accounts. What the paper gives to a language model to "
    "judge is flagged here, so false alarms are those before the judge. The whole log is read at once; within it "
    "a bucket's counts only grow, as they do online."
)
BANDS = 8
WIDTH = MINHASH // BANDS
STRONGEST = 20
LEAST_ACCOUNTS = 5
LEAST_USES = 3
"""An account belongs to a bucket with so many requests."""
LIMIT = 0.9 * STRONGEST
"""Chosen by us. The percentile of old accounts (form:calibrated) comes to `STRONGEST` itself where honest look-alikes
are old, and no sum exceeds that: the method would be out of the race."""
PERCENTILE = 99.0


def flag(workspace: Path, *, log: Path | None, seed: int) -> pa.Table:
    """Accounts with three requests or more in an escalated bucket; score: the highest sum of any of their buckets.

    `group` numbers the components of escalated buckets that share such accounts.
    """
    with opened(workspace) as engine:
        accounts = everybody(engine)
        aged = old(engine, accounts)
        rows = engine.read(
            "select x.account_id, x.minhash, ((coalesce(x.elicitation, 0) > 0)::int "
            "+ (coalesce(x.turns, 1) <= 1 and not coalesce(c.follows, false))::int "
            "+ coalesce(x.output_tokens >= t.long, false)::int) / 3.0 as signal "
            "from exchanges as x cross join (select quantile_cont(output_tokens, 0.9) as long from exchanges) as t "
            "left join (select conversation_id, true as follows from exchanges where conversation_id is not null "
            "group by conversation_id having count(*) > 1) as c on c.conversation_id = x.conversation_id "
            f"where len(x.minhash) = {MINHASH} order by x.time, x.exchange_id"
        )
    account = np.searchsorted(accounts, rows["account_id"].to_numpy())
    signal, minhash = rows["signal"].to_numpy(), sketches(rows["minhash"])
    del rows
    buckets = [bucketed(account, signal, minhash[:, b * WIDTH : (b + 1) * WIDTH], aged) for b in range(BANDS)]
    benign = np.concatenate([b.benign for b in buckets])
    limit = float(np.percentile(benign, PERCENTILE)) if len(benign) else np.inf
    score = np.full(len(accounts), np.nan)
    calibrated = np.zeros(len(accounts), bool)
    member, bucket, found = [], [], 0
    for b in buckets:
        np.fmax.at(score, b.member, b.strength[b.bucket])
        calibrated[b.member[b.strength[b.bucket] > limit]] = True
        escalated = b.strength >= LIMIT
        here = escalated[b.bucket]
        number = np.cumsum(escalated) - 1 + found
        member.append(b.member[here])
        bucket.append(number[b.bucket[here]])
        found += int(escalated.sum())
    members, places = np.concatenate(member), np.concatenate(bucket) + len(accounts)
    nodes = len(accounts) + found
    graph = coo_array((np.ones(len(members), np.int8), (members, places)), shape=(nodes, nodes))
    label = connected_components(graph, directed=False)[1][: len(accounts)]
    flagged = np.zeros(len(accounts), bool)
    flagged[members] = True
    names = pa.array([f"content-{c}" for c in label.tolist()], pa.string(), mask=~flagged)
    notes = {"calibrated_limit": limit if np.isfinite(limit) else None, "buckets_escalated": found,
             "buckets_of_old_accounts": len(benign)}  # fmt: skip
    return table(accounts, score, flagged, names, more={"form:calibrated": calibrated}, notes=notes)


@dataclass(frozen=True, slots=True)
class Buckets:
    """The buckets of one band that enough accounts use."""

    strength: NDArray[np.float64]
    """Sum of the `STRONGEST` highest signals of each bucket, shape (b,)."""
    member: NDArray[np.int64]
    """Accounts with enough uses, one entry for each account and bucket."""
    bucket: NDArray[np.int64]
    """Bucket of each member."""
    benign: NDArray[np.float64]
    """The same sums for old accounts alone, of the buckets that enough of them use."""


def bucketed(
    account: NDArray[np.int64],
    signal: NDArray[np.float64],
    values: NDArray[np.int32],
    aged: NDArray[np.bool_],
) -> Buckets:
    """Put requests with the same values of one band together.

    Parameters
    ----------
    account, signal
        Of each request, shape (n,).
    values
        MinHash values of the band, shape (n, 4).
    aged
        By account: was it opened long before the log?
    """
    key = _numbered(values)
    strength, member, bucket = _strengths(account, signal, key)
    here = aged[account]
    return Buckets(strength, member, bucket, _strengths(account[here], signal[here], key[here])[0])


def _numbered(values: NDArray) -> NDArray[np.int64]:
    """64-bit mix of each row; equal rows have equal numbers."""
    words = values.astype(np.uint32).astype(np.uint64)
    mixed = np.zeros(len(values), np.uint64)
    for column in words.T:
        mixed = (mixed ^ column) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return mixed.view(np.int64)


def _strengths(
    account: NDArray[np.int64], signal: NDArray[np.float64], key: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Sum of the strongest signals of each bucket with enough members, and those members."""
    if not len(key):
        return np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int64)
    order = np.lexsort((account, key))
    k, a = key[order], account[order]
    first = np.flatnonzero((np.diff(k, prepend=k[0] - 1) != 0) | (np.diff(a, prepend=-1) != 0))
    uses = np.diff(np.append(first, len(k)))
    enough = uses >= LEAST_USES
    names, bucket, accounts = np.unique(k[first[enough]], return_inverse=True, return_counts=True)
    wide = accounts >= LEAST_ACCOUNTS
    renumbered = np.cumsum(wide) - 1
    kept = wide[bucket]
    names = names[wide]
    if not len(names):
        return np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int64)
    at = np.minimum(np.searchsorted(names, key), len(names) - 1)
    inside = np.flatnonzero(names[at] == key)
    strongest = inside[np.lexsort((-signal[inside], at[inside]))]
    begin = np.searchsorted(at[strongest], np.arange(len(names)))
    rank = np.arange(len(strongest)) - begin[at[strongest]]
    top = strongest[rank < STRONGEST]
    strength = np.bincount(at[top], signal[top], len(names))
    return strength, a[first[enough]][kept], renumbered[bucket[kept]]
