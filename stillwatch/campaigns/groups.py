"""From links to groups: who is proposed to act as one, before anything is tested.

Leiden (Traag, Waltman, van Eck 2019) through graspologic-native; the other implementations are GPL.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from graspologic_native import leiden_csr
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix

from stillwatch.campaigns.materials import Materials

LEAST_ACCOUNTS = 5
SAME_ACCOUNTS = 0.3
"""Materials are joined when the Jaccard index of their accounts reaches this."""
POPULAR = 0.25
"""Material used by more than this share of all accounts (and by more than POPULAR_FLOOR) weighs nothing."""
POPULAR_FLOOR = 200
REPEATED = 0.6
"""Re-worded text of a group with this Jaccard index to one of a shared text is part of that group."""

COHORT_CARD = 3
"""Accounts that one card pays for before it can be part of a cohort."""
COHORT_BEYOND, COHORT_OTHERS = 1.5, 10
"""Infrastructure puts a card together with others when the group that it proposes has so many times its accounts, and
so many more: two small cards on one device are tied to nobody else."""
COHORT_GAP, COHORT_SPAN = 1.5, 14.0
"""Days between the medians of neighbouring cards, and from the first to the last of a cohort."""

OFTENER = 2.0
"""Re-worded text takes the place of a shared run of text when its members use it this many times as often."""

SWEEPS = 100
"""Bound on Leiden's sweeps of local moving; communities settle in far fewer."""


@dataclass(frozen=True, slots=True)
class Group:
    """Accounts that one signal proposes to act as one.

    Parameters
    ----------
    proposer
        Name of the signal.
    accounts
        Sorted account ids.
    materials
        Codes of the materials that link them; empty for other signals.
    """

    proposer: str
    accounts: NDArray[np.int64]
    materials: tuple[int, ...] = ()


def weight(degree: NDArray[np.int64]) -> NDArray[np.float64]:
    """FRAUDAR's column weight, ``1 / log(degree + 5)`` (Hooi et al. 2016, section 4.2)."""
    return 1.0 / np.log(degree + 5.0)


def groups_of_materials(
    materials: Materials, *, proposer: str, population: int, seed: int, first: int = 0
) -> list[Group]:
    """One group for each set of materials that have nearly the same accounts.

    Materials, and not accounts, are the nodes: a resold customer's framework prompt then cannot pull a campaign's
    accounts into the crowd that uses the framework.

    Parameters
    ----------
    first
        Code under which the first material stands in the scan's tables.
    """
    count = len(materials)
    degree = np.bincount(materials.material, minlength=count)
    popular = degree > max(POPULAR_FLOOR, POPULAR * population)
    accounts, code = np.unique(materials.account, return_inverse=True)
    use = csr_matrix(
        (np.ones(len(code)), (materials.material, code)), shape=(count, len(accounts)), dtype=np.float64
    )
    use = csr_matrix(use.multiply(~popular[:, None]))
    shared = coo_matrix(use @ use.T)
    union = degree[shared.row] + degree[shared.col] - shared.data
    jaccard = shared.data / np.maximum(union, 1)
    kept = (jaccard >= SAME_ACCOUNTS) & (shared.row != shared.col)
    label = _leiden(shared.row[kept], shared.col[kept], jaccard[kept], count, seed)

    groups = []
    for community in np.unique(label[~popular]):
        inside = np.flatnonzero((label == community) & ~popular)
        of_inside = np.isin(materials.material, inside)
        members = np.unique(materials.account[of_inside])
        if len(members) >= LEAST_ACCOUNTS:
            groups.append(Group(proposer, members, tuple(int(m) + first for m in inside)))
    return groups


def with_rewordings(groups: list[Group], reworded: list[Group], materials: Materials) -> list[Group]:
    """All of them, each hypothesis once: of two groups of nearly the same accounts one stands for both.

    A fixed wrapper is repeated with its words, and whoever words one alike joins its re-worded group: the group of the
    fixed text stays as it is. Wordings of one wrapper have some runs in common by chance, so the same accounts are
    proposed by those runs, which few of their requests carry: the re-worded group takes the place of that one, and its
    material.

    Parameters
    ----------
    materials
        Of both kinds, under the codes of the groups.
    """
    if not groups or not reworded:
        return groups + reworded
    everybody = [*groups, *reworded]
    size = np.array([len(g.accounts) for g in everybody])
    ids, column = np.unique(np.concatenate([g.accounts for g in everybody]), return_inverse=True)
    row = np.repeat(np.arange(len(everybody)), size)
    holds = csr_matrix((np.ones(len(row)), (row, column)), shape=(len(everybody), len(ids)))
    shared = (holds[len(groups) :] @ holds[: len(groups)].T).toarray()
    jaccard = shared / (size[None, : len(groups)] + size[len(groups) :, None] - shared)
    joined, new = list(groups), []
    for group, likeness in zip(reworded, jaccard, strict=True):
        best = int(likeness.argmax())
        if likeness[best] < REPEATED:
            new.append(group)
        else:
            fixed = joined[best]
            if _typical_uses(group, materials) > OFTENER * _typical_uses(fixed, materials):
                joined[best] = Group(group.proposer, group.accounts, fixed.materials + group.materials)
    return joined + new


def _typical_uses(group: Group, materials: Materials) -> float:
    """Median over the members of the exchanges with the material that each uses most."""
    rows = np.isin(materials.material, group.materials) & np.isin(materials.account, group.accounts)
    account, code = np.unique(materials.account[rows], return_inverse=True)
    most = np.zeros(len(account), np.int64)
    np.maximum.at(most, code, materials.uses[rows])
    return float(np.median(most)) if len(most) else 0.0


def groups_of_values(links: pa.Table, *, proposer: str, seed: int) -> list[Group]:
    """Communities of accounts that share rare values, over edges weighted by rarity.

    Values are nodes beside the accounts: linking the holders of a value to one another instead makes a ring of which
    modularity cuts pieces (30 holders of one card were proposed as 15 and 15), and needs ten times the edges.

    Parameters
    ----------
    links
        account_id, kind, value, degree: what the proposing signal's step `LINKS` made.
    """
    accounts, code = np.unique(links["account_id"].to_numpy(), return_inverse=True)
    if len(accounts) == 0:
        return []
    held = np.stack([links["kind"].to_numpy().astype(np.int64), links["value"].to_numpy()], axis=1)
    values, value = np.unique(held, axis=0, return_inverse=True)
    node = len(accounts) + value.ravel()
    strength = weight(links["degree"].to_numpy())
    rows, columns = np.r_[code, node], np.r_[node, code]
    label = _leiden(rows, columns, np.r_[strength, strength], len(accounts) + len(values), seed)[
        : len(accounts)
    ]
    large = np.flatnonzero(np.bincount(label) >= LEAST_ACCOUNTS)
    return [Group(proposer, accounts[label == community]) for community in large]


def groups_of_cohorts(cards: pa.Table, known: Sequence[Group] = ()) -> list[Group]:
    """Sets of payment tokens whose accounts were opened in the same days.

    A campaign that has many cards, and shares nothing else that is rare, falls into as many groups as it has cards.
    Cards that pay for several accounts opened together are lined up by their median day of registration; neighbours
    at most `COHORT_GAP` apart are one cohort, as long as it is no longer than `COHORT_SPAN`. Honest cohorts are
    unrelated firms and families of one week, and differ in what this proposal did not use.

    Parameters
    ----------
    cards
        account_id, payment_token, created (days); one row an account, none null.
    known
        Groups that the other signals proposed. A card with half of its accounts in one of them is left out: the cohort
        is for cards that nothing else puts together. A card is such a group itself, so that those of infrastructure
        count from `COHORT_BEYOND` times its accounts only: devices and addresses then tie it to others, as a
        reseller's do.
    """
    token, code = np.unique(cards["payment_token"].to_numpy(), return_inverse=True)
    account, created = cards["account_id"].to_numpy(), cards["created"].to_numpy()
    held = np.bincount(code, minlength=len(token))
    order = np.lexsort((created, code))
    parts = np.split(order, np.cumsum(held)[:-1]) if len(token) else []
    groups_of: dict[int, list[int]] = {}
    for i, group in enumerate(known):
        for member in group.accounts.tolist():
            groups_of.setdefault(member, []).append(i)
    lined = []
    for part in parts:
        if len(part) >= COHORT_CARD and not _put_together(account[part], groups_of, known):
            low, middle, high = np.quantile(created[part], [0.1, 0.5, 0.9])
            if high - low <= COHORT_SPAN:
                lined.append((float(middle), part))
    lined.sort(key=lambda item: (item[0], item[1].tolist()))
    cohorts: list[list[tuple[float, NDArray[np.int64]]]] = []
    for item in lined:
        last = cohorts[-1] if cohorts else None
        if last and item[0] - last[-1][0] <= COHORT_GAP and item[0] - last[0][0] <= COHORT_SPAN:
            last.append(item)
        else:
            cohorts.append([item])
    found = [np.sort(account[np.concatenate([part for _, part in c])]) for c in cohorts if len(c) > 1]
    large = [accounts for accounts in found if len(accounts) >= LEAST_ACCOUNTS]
    return [Group("registration", accounts) for accounts in large]


def _put_together(
    accounts: NDArray[np.int64], groups_of: dict[int, list[int]], known: Sequence[Group]
) -> bool:
    """Whether one of the known groups holds half of a card's accounts, and is more than that card."""
    held = Counter(i for a in accounts.tolist() for i in groups_of.get(a, ()))
    for i, count in held.items():
        size = len(known[i].accounts)
        beyond = size >= COHORT_BEYOND * len(accounts) and size >= len(accounts) + COHORT_OTHERS
        if 2 * count >= len(accounts) and (known[i].proposer != "shared_infrastructure" or beyond):
            return True
    return False


def _leiden(
    row: NDArray[np.int64], column: NDArray[np.int64], data: NDArray[np.float64], count: int, seed: int
) -> NDArray[np.int64]:
    """Community of each of `count` nodes; a node without an edge is one of its own. Symmetric edges in."""
    if len(row) == 0:
        return np.arange(count)
    # Whole multiples of 2^-20 add up to the same in any order: with weights that differ in the last bit between the
    # two directions of an edge, local moving can go round in a circle for ever.
    exact = np.round(data * 2.0**20) / 2.0**20
    graph = csr_matrix((exact, (row, column)), shape=(count, count))
    graph.sum_duplicates()
    graph.sort_indices()
    _, community = leiden_csr(
        graph.indptr.astype(np.int64),
        graph.indices.astype(np.int32),
        graph.data.astype(np.float64),
        count,
        seed=seed,
        max_local_moving_iterations=SWEEPS,
    )
    label = np.arange(count) + count
    label[np.fromiter(community.keys(), np.int64)] = np.fromiter(community.values(), np.int64)
    return np.unique(label, return_inverse=True)[1]
