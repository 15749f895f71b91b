"""The matched pool: what is known of every account that a group could have been drawn from.

Exempt accounts are in no pool: they are not tested, and nobody is compared with them. Customers who harvest with
permission would make harvesting look ordinary among accounts of their volume, and hide those who have none.
"""

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
ENOUGH = 2_000
"""Outsiders of a stratum that are looked at, at most (or twenty for each member): a part drawn by a hash of the
account, so before anything about it is known, stands for the rest."""
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
    """

    account: NDArray[np.int64]
    scope: NDArray[np.int64]
    exchanges: NDArray[np.int64]
    model: NDArray[np.int64]
    values: dict[str, NDArray]
    exempt: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """Accounts that are in no pool."""
    _order: NDArray[np.int64] = field(init=False)
    """Rows by account, its most used scope first."""
    _own: NDArray[np.int64] = field(init=False)
    """The row that stands for each account when it is no member: its most used scope; by level, then by hash."""
    _sorted: NDArray[np.int64] = field(init=False)
    _slices: dict[int, tuple[int, int]] = field(init=False)
    """Level -> where its rows lie in `_own`."""
    _level: NDArray[np.int64] = field(init=False)
    """Of each row: volume in powers of four, and model."""
    _draw: NDArray[np.uint64] = field(init=False)

    def __post_init__(self) -> None:
        order = np.lexsort((self.scope, -self.exchanges, self.account))
        first = np.r_[True, np.diff(self.account[order]) != 0] if len(order) else np.empty(0, bool)
        volume = (np.log2(np.maximum(self.exchanges, 1)) / 2).astype(np.int64)
        level = volume * (MODELS + 1) + self.model
        draw = self.account.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        draw = (draw ^ (draw >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
        own = order[first]
        set_ = object.__setattr__
        own = own[np.lexsort((draw[own], level[own]))]
        levels, starts = np.unique(level[own], return_index=True)
        bounds = zip(starts.tolist(), [*starts[1:].tolist(), len(own)][: len(levels)], strict=True)
        set_(self, "_order", order)
        set_(self, "_own", own)
        set_(self, "_sorted", self.account[order])
        set_(self, "_slices", dict(zip(levels.tolist(), bounds, strict=True)))
        set_(self, "_level", level)
        set_(self, "_draw", draw)

    def is_exempt(self, accounts: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these accounts are exempt; shape as given."""
        return np.isin(accounts, self.exempt)

    def for_group(self, group: Group) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Rows of the pool for one group, positions of its members among them, and strata of volume and model.

        A member is represented by its most used material of the group, every other account by its own most used.
        Strata without a member are left out: nobody is compared with them. The cost goes with the group and not with
        the population.
        """
        inside = self._rows_of(group.accounts)
        rows = inside
        if group.materials:
            rows = rows[np.isin(self.scope[rows], group.materials)]
        rows = self._first(rows)
        everybody = {v: b - a for v, (a, b) in self._slices.items()}
        for part, by in (
            (self._first(inside), -1),
            (rows, 1),
        ):  # a member counts where it is represented only
            for v in self._level[part].tolist():
                everybody[v] = everybody.get(v, 0) + by
        stratum = _strata(everybody, self._level[rows])
        chosen, strata = [rows], [np.array([stratum[v] for v in self._level[rows].tolist()], np.int64)]
        for code in np.unique(strata[0]):
            slices = [self._own[a:b] for v, (a, b) in self._slices.items() if stratum[v] == code]
            outside = np.concatenate([*slices, np.empty(0, np.int64)])
            outside = outside[~np.isin(self.account[outside], group.accounts)]
            most = max(ENOUGH, 20 * int((strata[0] == code).sum()))
            if len(outside) > most:
                outside = outside[np.argpartition(self._draw[outside], most)[:most]]
            chosen.append(outside)
            strata.append(np.full(len(outside), code))
        codes_ = np.unique(np.concatenate(strata), return_inverse=True)[1]
        return np.concatenate(chosen), np.arange(len(rows)), codes_

    def _first(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The first of the rows of each account."""
        return rows[np.r_[True, np.diff(self.account[rows]) != 0]] if len(rows) else rows

    def _rows_of(self, accounts: NDArray[np.int64]) -> NDArray[np.int64]:
        """All rows of sorted accounts, in the order of accounts, the most used scope of each first."""
        low, high = np.searchsorted(self._sorted, accounts), np.searchsorted(self._sorted, accounts, "right")
        within = np.arange(int((high - low).sum())) - np.repeat(
            np.cumsum(high - low) - (high - low), high - low
        )
        return self._order[np.repeat(low, high - low) + within]


def _strata(everybody: dict[int, int], members: NDArray[np.int64]) -> dict[int, int]:
    """Stratum of each level: volume and model, or volume alone, or several volumes, where outsiders are few.

    Parameters
    ----------
    everybody
        Level -> accounts.
    members
        Shape (members,). Their levels.
    """
    held = dict(zip(*(x.tolist() for x in np.unique(members, return_counts=True)), strict=True))
    total = {v: max(everybody.get(v, 0), n) for v, n in (dict.fromkeys(everybody, 0) | held).items()}
    thin = {v // (MODELS + 1) for v, n in held.items() if total[v] < (OUTSIDERS + 1) * n}
    of = {v: v - v % (MODELS + 1) if v // (MODELS + 1) in thin else v for v in total}
    while True:
        size: dict[int, int] = {}
        inside: dict[int, int] = {}
        for v, code in of.items():
            size[code] = size.get(code, 0) + total[v]
            inside[code] = inside.get(code, 0) + held.get(v, 0)
        order = sorted(size)
        short = [c for c in order if inside[c] and size[c] < (OUTSIDERS + 1) * inside[c]]
        if not short or len(order) == 1:
            return of
        at = order.index(short[0])
        into = order[at - 1] if at else order[1]
        of = {v: into if code == short[0] else code for v, code in of.items()}


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
    exempt = engine.read("select account_id from accounts where exemption is not null order by 1")
    population = engine.read(
        "select p.account_id as account_id, p.exchanges as exchanges, p.model as model from population as p "
        "left join accounts as a on a.account_id = p.account_id where a.exemption is null order by 1"
    )
    ids = population["account_id"].to_numpy()
    common = population["model"].value_counts()
    ranked = pc.array_sort_indices(pc.struct_field(common, "counts"), order="descending")
    top = pc.struct_field(common, "values").take(ranked)[:MODELS]
    model = pc.fill_null(pc.index_in(population["model"], value_set=top), MODELS).to_numpy().astype(np.int64)
    if materials is None:
        account, scope = ids, np.full(len(ids), -1)
        uses = population["exchanges"].to_numpy()
    else:
        listed = np.isin(materials.account, ids)
        account, scope = materials.account[listed], materials.material[listed]
        carried = engine.read("select account_id, family, uses from material_uses")
        keys = _pairs(carried["account_id"].to_numpy(), carried["family"].to_numpy())
        # An account may repeat a part of a material by which exchanges are not looked up: then that part's count.
        uses = _aligned(keys, carried["uses"].to_numpy().astype(np.int64), _pairs(account, scope), -1)
        uses = np.where(uses < 0, materials.uses[listed], uses)
    where = np.searchsorted(ids, account)
    values = {
        name: _read_values(engine, name, signal.VALUES, account, scope)
        for name, signal in signals.items()
        if signal.VALUES.kind != "times" and (materials is None or getattr(signal, "KIND", "") != "text")
    }
    return Pool(account, scope, uses.astype(np.int64), model[where], values, exempt["account_id"].to_numpy())


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
