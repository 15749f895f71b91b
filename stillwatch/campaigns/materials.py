"""From shingles to materials: one wrapper text is many shingles with nearly one set of accounts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

HASHES = 16
BAND = 2
"""Two shingles are compared when BAND neighbouring account hashes agree, and joined when SIMILAR of all do."""
SIMILAR = 0.5
CORE_USERS = 0.5
"""An account uses a text when it repeats at least this share of its core: the shingles that at least half as many
accounts have as the most common one. Who has a sentence in common with a wrapper does not use it."""
USERS = 0.25
"""An account uses a re-worded text when it repeats at least this share of all its tokens: the common ones are the words
of a trade, and the rare ones tell one wrapper from another."""
REPRESENTATIVES = 12
"""Shingles that stand for a material when exchanges are looked up."""


@dataclass(frozen=True, slots=True)
class Materials:
    """Materials, the accounts that use them, and the shingles that stand for them. Codes count from 0.

    Parameters
    ----------
    account, material, uses
        Shape (links,). Account id, material code, and the most exchanges of that account with one of its shingles.
    shingle, shingle_material
        Shape (shingles,). Every shingle of a material.
    stands
        Shape (shingles,). Whether the shingle stands for its material when exchanges are looked up: the
        `REPRESENTATIVES` that most accounts use.
    """

    account: NDArray[np.int64]
    material: NDArray[np.int64]
    uses: NDArray[np.int64]
    shingle: NDArray[np.int64]
    shingle_material: NDArray[np.int64]
    stands: NDArray[np.bool_]

    def __len__(self) -> int:
        return int(self.material.max()) + 1 if len(self.material) else 0

    def accounts_of(self, material: int) -> NDArray[np.int64]:
        return self.account[self.material == material]


def joined(first: Materials, second: Materials) -> Materials:
    """Both, the codes of the second counted on from those of the first."""
    shift = len(first)
    pairs = ((first, 0), (second, shift))
    return Materials(
        account=np.concatenate([m.account for m, _ in pairs]),
        material=np.concatenate([m.material + by for m, by in pairs]),
        uses=np.concatenate([m.uses for m, _ in pairs]),
        shingle=np.concatenate([m.shingle for m, _ in pairs]),
        shingle_material=np.concatenate([m.shingle_material + by for m, by in pairs]),
        stands=np.concatenate([m.stands for m, _ in pairs]),
    )


def find_materials(
    links: pa.Table, *, least_accounts: int, least_shingles: int = 1, reworded: bool = False
) -> Materials:
    """Join shingles whose account sets are alike (MinHash over accounts, Broder 1997; bands as LSH, then verified).

    Parameters
    ----------
    links
        ``material_links``: account_id, shingle, uses.
    least_accounts, least_shingles
        A material of fewer accounts or fewer shingles is dropped.
    reworded
        The shingles are tokens of re-worded text: who uses it is told by `USERS` instead of `CORE_USERS`.

    Returns
    -------
    Materials
        Ordered by first shingle, so that the codes do not depend on row order.
    """
    account = links["account_id"].to_numpy()
    shingles, which = np.unique(links["shingle"].to_numpy(), return_inverse=True)
    if len(shingles) == 0:
        none = np.empty(0, np.int64)
        return Materials(none, none, none, none, none, none.astype(bool))
    uses = links["uses"].to_numpy()
    label = _components(_account_hashes(account, which, len(shingles)))
    return _assemble(account, which, uses, shingles, label, least_accounts, least_shingles, reworded)


def _account_hashes(account: NDArray[np.int64], which: NDArray[np.int64], count: int) -> NDArray[np.uint64]:
    """Shape (shingles, HASHES): the smallest of each hash over the shingle's accounts."""
    order = np.argsort(which, kind="stable")
    starts = np.searchsorted(which[order], np.arange(count))
    ids = account[order].astype(np.uint64)
    signature = np.empty((count, HASHES), np.uint64)
    for h in range(HASHES):
        mixed = (ids ^ np.uint64(0x9E3779B97F4A7C15 * (2 * h + 1) % 2**64)) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        signature[:, h] = np.minimum.reduceat(mixed ^ (mixed >> np.uint64(31)), starts)
    return signature


def _components(signature: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Label of each shingle; candidates of a band are compared with the first of their bucket only."""
    count = len(signature)
    rows, columns = [], []
    for start in range(0, HASHES, BAND):
        bucket = np.unique(signature[:, start : start + BAND], axis=0, return_index=True, return_inverse=True)
        first = bucket[1][bucket[2].ravel()]
        alike = (signature == signature[first]).mean(axis=1) >= SIMILAR
        rows.append(np.flatnonzero(alike))
        columns.append(first[alike])
    row, column = np.concatenate(rows), np.concatenate(columns)
    graph = csr_matrix((np.ones(len(row), np.int8), (row, column)), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _assemble(
    account: NDArray[np.int64],
    which: NDArray[np.int64],
    uses: NDArray[np.int64],
    shingles: NDArray[np.int64],
    label: NDArray[np.int64],
    least_accounts: int,
    least_shingles: int,
    reworded: bool,
) -> Materials:
    size = np.bincount(label)
    degree = np.bincount(which)
    top = np.zeros(len(size), np.int64)
    np.maximum.at(top, label, degree)
    core = (2 * degree >= top[label]) | reworded
    cores = np.bincount(label[core], minlength=len(size))
    accounts, code = np.unique(account, return_inverse=True)
    key = label[which] * len(accounts) + code
    pairs, where = np.unique(key, return_inverse=True)
    repeated = np.bincount(where, weights=core[which])
    most = np.zeros(len(pairs), np.int64)
    np.maximum.at(most, where, uses)
    material = pairs // len(accounts)
    enough = repeated >= np.maximum(1, (USERS if reworded else CORE_USERS) * cores[material])
    material, user, most = material[enough], accounts[pairs[enough] % len(accounts)], most[enough]

    held = np.bincount(material, minlength=len(size))
    kept = np.flatnonzero((held >= least_accounts) & (size >= least_shingles))
    recode = np.full(len(size), -1)
    recode[kept] = np.arange(len(kept))
    link = recode[material] >= 0

    order = np.lexsort((shingles, -degree, label))
    place = np.arange(len(order)) - np.searchsorted(label[order], label[order])
    known = recode[label[order]] >= 0
    order, place = order[known], place[known]
    return Materials(
        account=user[link],
        material=recode[material[link]],
        uses=most[link],
        shingle=shingles[order],
        shingle_material=recode[label[order]],
        stands=place < REPRESENTATIVES,
    )
