"""How a scan reads what a signal's steps made: the one declaration by which a new signal joins a scan.

A signal module names its `VALUES`; the scan runs its steps and hands its `test` what the declaration says. No list of
signals is kept anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["number", "codes", "event", "starts", "times"]


@dataclass(frozen=True, slots=True)
class Values:
    """What `test` of a signal takes.

    Parameters
    ----------
    kind
        ``number``: float64, NaN where missing. ``codes``: int64 of shape (pool, columns), negative where missing.
        ``event``: int8, 1 happened, 0 did not, negative not known. All three are called as
        ``test(values, members, strata, *, seed, gamma)``.
        ``starts``: a number in microseconds, called with ``interventions`` as well: int64, the sorted times of what
        was done to accounts of the group (rungs that stop an account).
        ``times``: called as ``test(times, owner, others, *, seed, gamma)``: int64 microseconds of the members'
        exchanges, the member (0, 1, ...) of each, both sorted by member and time, and the sorted times of a sample of
        everybody else's exchanges.
    columns
        Columns of the table that the signal's steps made; several only for ``codes``.
    table
        That table; the signal's own name if empty. Its rows: account_id, with `scoped` also family, and `columns`.
    scoped
        The steps read the view ``scope`` and run anew for each scope (the exchanges that carry a group's material, or
        all of an account); else they run once and hold for the account.
    """

    kind: Kind
    columns: tuple[str, ...] = ("value",)
    table: str = ""
    scoped: bool = False
