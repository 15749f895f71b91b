"""The matched pool: what is known of every account that a group could have been drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stillwatch.campaigns.groups import Group
from stillwatch.campaigns.materials import Materials
from stillwatch.campaigns.reading import Values
from stillwatch.engine.duckdb import Engine

OUTSIDERS = 3
"""A stratum needs this many accounts outside the group for each member, else it is matched on volume alone."""
MODELS = 4
"""Most used models that are matched on; the others are one."""


@dataclass(frozen=True, slots=True)
class Pool:
    """One row for each (account, scope) that has values; a scope is a material, or -1 for all its exchanges.

    Parameters
    ----------
    account, scope
        Shape (rows,).
    exchanges
        Shape (rows,). Exchanges of the account in that scope, over the whole log.
    model
        Shape (rows,). Code of the account's most used model, 0 to `MODELS`.
    values
        Signal name -> values as its ``test`` takes them, first axis (rows,).
    own
        Positions of the row that stands for each account when it is no member: its most used material.
    """

    account: NDArray[np.int64]
    scope: NDArray[np.int64]
    exchanges: NDArray[np.int64]
    model: NDArray[np.int64]
    values: dict[str, NDArray]
    own: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        order = np.lexsort((self.scope, -self.exchanges, self.account))
        first = np.r_[True, np.diff(self.account[order]) != 0] if len(order) else np.empty(0, bool)
        object.__setattr__(self, "own", np.sort(order[first]))

    def for_group(self, group: Group) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Rows of the pool for one group, positions of its members among them, and strata of volume and model.

        A member is represented by its most used material of the group, every other account by its own most used.
        Strata without a member are left out: nobody is compared with them.
        """
        inside = _contains(group.accounts, self.account)
        rows = np.flatnonzero(inside)
        if group.materials:
            rows = rows[np.isin(self.scope[rows], group.materials)]
        order = np.lexsort((self.scope[rows], -self.exchanges[rows], self.account[rows]))
        rows = rows[order]
        rows = rows[np.r_[True, np.diff(self.account[rows]) != 0]] if len(rows) else rows
        pool = np.concatenate([rows, self.own[~inside[self.own]]])
        strata = self._strata(pool, len(rows))
        near = np.isin(strata, np.unique(strata[: len(rows)]))
        return pool[near], np.arange(len(rows)), np.unique(strata[near], return_inverse=True)[1]

    def _strata(self, pool: NDArray[np.int64], members: int) -> NDArray[np.int64]:
        volume = (np.log2(np.maximum(self.exchanges[pool], 1)) / 2).astype(np.int64)
        fine = volume * (MODELS + 1) + self.model[pool]
        in_group = np.bincount(fine[:members], minlength=fine.max() + 1)
        thin = np.bincount(fine, minlength=len(in_group)) < (OUTSIDERS + 1) * in_group
        coarse = np.isin(volume, np.unique(np.flatnonzero(thin) // (MODELS + 1)))
        return _widened(np.where(coarse, volume * (MODELS + 1), fine), members)


def _contains(sorted_ids: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.bool_]:
    at = np.minimum(np.searchsorted(sorted_ids, wanted), len(sorted_ids) - 1)
    return sorted_ids[at] == wanted


def _widened(strata: NDArray[np.int64], members: int) -> NDArray[np.int64]:
    """Join a stratum with its neighbour until each one that holds members has outsiders enough."""
    strata = strata.copy()
    while True:
        level, code = np.unique(strata, return_inverse=True)
        held = np.bincount(code[:members], minlength=len(level))
        thin = np.flatnonzero((held > 0) & (np.bincount(code) < (OUTSIDERS + 1) * held))
        if not len(thin) or len(level) == 1:
            return strata
        at = thin[0]
        strata[code == at] = level[at - 1] if at else level[1]


def read_pool(engine: Engine, signals: Mapping[str, ModuleType], materials: Materials | None) -> Pool:
    """The pool of one proposer from the tables that the signals' steps made.

    Parameters
    ----------
    signals
        Every signal by name; what each takes is read as its `VALUES` declares.
    materials
        For groups of materials: accounts that repeat shared text, each in the scope of each of its materials.
        None: every account, over all its exchanges.
    """
    population = engine.read("select account_id, exchanges, model from population order by account_id")
    ids = population["account_id"].to_numpy()
    common = population["model"].value_counts()
    ranked = pc.array_sort_indices(pc.struct_field(common, "counts"), order="descending")
    top = pc.struct_field(common, "values").take(ranked)[:MODELS]
    model = pc.fill_null(pc.index_in(population["model"], value_set=top), MODELS).to_numpy().astype(np.int64)
    if materials is None:
        account, scope = ids, np.full(len(ids), -1)
        uses = population["exchanges"].to_numpy()
    else:
        account, scope, uses = materials.account, materials.material, materials.uses
    where = np.searchsorted(ids, account)
    values = {
        name: _read_values(engine, name, signal.VALUES, account, scope)
        for name, signal in signals.items()
        if signal.VALUES.kind != "times" and (materials is None or getattr(signal, "KIND", "") != "text")
    }
    return Pool(account, scope, uses.astype(np.int64), model[where], values)


def codes(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Values as small integers in the order of the values, null as -1."""
    encoded = pc.dictionary_encode(column.combine_chunks())
    rank = np.empty(len(encoded.dictionary) + 1, np.int64)
    rank[pc.array_sort_indices(encoded.dictionary).to_numpy()] = np.arange(len(encoded.dictionary))
    rank[-1] = -1
    return rank[pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)]


def _read_values(
    engine: Engine, name: str, how: Values, account: NDArray[np.int64], scope: NDArray[np.int64]
) -> NDArray:
    """What a signal's steps made, in the order of the pool, as its `VALUES` declares it."""
    keys = "account_id, family" if how.scoped else "account_id"
    rows = engine.read(f"select {keys}, {', '.join(how.columns)} from {how.table or name}", name)
    given = rows["account_id"].to_numpy()
    wanted: NDArray = account
    if how.scoped:
        given, wanted = _pairs(given, rows["family"].to_numpy()), _pairs(account, scope)
    if how.kind == "codes":
        columns = np.stack([codes(rows[column]) for column in how.columns], axis=1)
        found = _aligned(given, columns, wanted, -1)
        return found[:, 0] if len(how.columns) == 1 else found
    numbers = rows[how.columns[0]].to_numpy().astype(float)
    found = _aligned(given, numbers, wanted, np.nan)
    return np.nan_to_num(found, nan=-1).astype(np.int8) if how.kind == "event" else found


def _pairs(account: NDArray[np.int64], scope: NDArray[np.int64]) -> NDArray:
    pairs = np.empty(len(account), dtype=[("account", np.int64), ("scope", np.int64)])
    pairs["account"], pairs["scope"] = account, scope
    return pairs


def _aligned(keys: NDArray, values: NDArray, wanted: NDArray, missing: float) -> NDArray:
    """Values in the order of `wanted`, `missing` where a key is not there. Keys are distinct."""
    out = np.full((len(wanted), *values.shape[1:]), missing, values.dtype)
    if len(keys):
        order = np.argsort(keys)
        at = np.minimum(np.searchsorted(keys[order], wanted), len(keys) - 1)
        found = keys[order][at] == wanted
        out[found] = values[order[at[found]]]
    return out
