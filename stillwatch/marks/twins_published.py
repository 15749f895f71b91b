"""Twins of the ledger held against what was published of their days: which coins fell as they were committed?

A day is opened with the master: its seed follows from the day, the share and whom the draw was for. Each coin and each
choice of an exchange is then checked by itself, and the day as a whole against its tally. The tally is tried with the
coins as they were committed, so that a pair that somebody turned later is named and the others of its day stay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from stillwatch.errors import InputError, IntegrityError
from stillwatch.marks.keys import Master, Scope
from stillwatch.marks.twins import Commitment, Day, Tally, Twin, verify

if TYPE_CHECKING:
    from stillwatch.marks.ledger import Ledger

NOTHING = "no commitment of that day was published"
NAMED = 10
"""Pairs of a day that are named one by one; the others are counted."""


@dataclass(frozen=True, slots=True)
class Published:
    """Lines that were published: commitments before their days, tallies after them."""

    commitments: tuple[Commitment, ...]
    tallies: tuple[Tally, ...]


def published(lines: Iterable[tuple[str, Any]]) -> Published:
    """What was published, from lines as `Commitment.line` and `Tally.line` wrote them.

    Parameters
    ----------
    lines
        Where each stands, for messages, and its JSON value. A line may stand there twice.

    Raises
    ------
    InputError
        A line is neither of the two.
    """
    commitments: dict[Commitment, None] = {}
    tallies: dict[Tally, None] = {}
    for where, row in lines:
        names = set(row) if isinstance(row, dict) else set()
        kinds = {name: type(row[name]) for name in names}
        if names == set(Commitment.__slots__) and kinds.pop("share") in (int, float):
            if set(kinds.values()) == {str}:
                commitments[Commitment(**row | {"share": float(row["share"])})] = None
                continue
        elif names == set(Tally.__slots__) and kinds.pop("twins") is int and set(kinds.values()) == {str}:
            tallies[Tally(**row)] = None
            continue
        raise InputError(f"{where}: neither the commitment of a day of twins nor its tally")
    return Published(tuple(commitments), tuple(tallies))


def of_draw(commitment: Commitment, every: Sequence[Commitment], twins: Sequence[Twin]) -> list[Twin]:
    """The twins of one draw. A note that does not say which of several draws of its day it is of belongs to none."""
    alone = {one.scope for one in every if one.day == commitment.day} == {commitment.scope}
    return [
        twin
        for twin in twins
        if twin.day == commitment.day and (twin.scope == commitment.scope or (alone and not twin.scope))
    ]


def held(
    said: Published, twins: Sequence[Twin], master: Master, scopes: Iterable[Scope]
) -> tuple[set[Twin], list[str]]:
    """Which twins are as they were published, and a sentence for each of the others, or for all of a day.

    Parameters
    ----------
    twins
        All that the ledger notes, in its order, one for each exchange; see `of_ledger`.
    scopes
        Whom the draws may have been for.
    """
    good: set[Twin] = set()
    notes: list[str] = []
    tried, told = list(dict.fromkeys([Scope(), *scopes])), set()
    for commitment in said.commitments:
        theirs = of_draw(commitment, said.commitments, twins)
        told |= set(theirs)
        if not theirs:
            continue
        try:
            fine, bad = _day(commitment, said.tallies, theirs, master, tried)
        except IntegrityError as problem:
            notes.append(f"{len(theirs)} twins of {commitment.day} were left out: {problem}.")
            continue
        good |= fine
        notes += [f"twin of exchange {name[:60]!r} was left out: {why}." for name, why in bad[:NAMED]]
        if len(bad) > NAMED:
            notes.append(
                f"{len(bad) - NAMED} more twins of {commitment.day} were left out for the same reasons."
            )
    committed, rest = {one.day for one in said.commitments}, Counter(t.day for t in twins if t not in told)
    for day, number in sorted(rest.items()):
        why = "none of the draws that were published is noted for them" if day in committed else NOTHING
        notes.append(f"{number} twins of {day} were left out: {why}.")
    return good, notes


def of_ledger(ledger: Ledger, days: Collection[str] | None = None) -> list[Twin]:
    """Every twin that a ledger notes (for these days), in its order, the first of each exchange on each day.

    Texts may be kept or not. Memory: less than 1 kB each.
    """
    found: dict[tuple[str, str], Twin] = {}
    for entry in ledger.entries():
        twin = Twin.from_note(entry.exchange_id, entry.note)
        if twin is not None and (days is None or twin.day in days):
            found.setdefault((entry.exchange_id, twin.day), twin)
    return list(found.values())


def _day(
    commitment: Commitment,
    tallies: Sequence[Tally],
    twins: Sequence[Twin],
    master: Master,
    scopes: Sequence[Scope],
) -> tuple[set[Twin], list[tuple[str, str]]]:
    item = f"the draw of {commitment.day}"
    of_day = [tally for tally in tallies if tally.commitment == commitment.digest]
    if len(of_day) != 1:
        raise IntegrityError(item, "with one tally", f"{len(of_day)} that were published")
    day = opened(commitment, master, scopes)
    if day is None:
        raise IntegrityError(item, "of this master, for a scope of the register", "another")
    picked = [twin for twin in twins if day.selects(twin.exchange_id)]
    verify(commitment, of_day[0], [replace(t, coin=day.coin(t.exchange_id)) for t in picked], day.open())
    turned = [twin for twin in picked if twin.coin != day.coin(twin.exchange_id)]
    bad = [(t.exchange_id, "its coin did not fall as it was committed") for t in turned]
    added = [twin.exchange_id for twin in twins if twin not in set(picked)]
    bad += [(name, "the draw did not pick this exchange") for name in added]
    return set(picked) - set(turned), bad


def opened(commitment: Commitment, master: Master, scopes: Iterable[Scope]) -> Day | None:
    """The day of a commitment; None if it is of another master, or for none of these scopes."""
    for scope in scopes:
        try:
            day = Day(master, commitment.day, share=commitment.share, scope=scope)
        except InputError:  # no day, or no share
            return None
        if day.commitment == commitment:
            return day
    return None
