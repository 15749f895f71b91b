"""Answers of ours that a suspect is asked about, taken from the ledger of what was served."""

from __future__ import annotations

import hashlib
import heapq
from array import array
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stillwatch.errors import IntegrityError
from stillwatch.marks.twins import Twin, digest_of

if TYPE_CHECKING:
    from stillwatch.marks.ledger import Entry, Ledger

Without = NDArray[np.int64]
NONE = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Served:
    """One answer that was served and kept."""

    exchange_id: str
    account: int
    mark: str
    """Fingerprint of the key that it was marked with, or empty."""
    text: str | None = field(repr=False)
    tokens: NDArray[np.int64] | None = field(repr=False)
    withheld: str | None = field(default=None, repr=False)
    """The twin that a coin kept back."""
    twin: Twin | None = field(default=None, repr=False)
    """How that coin fell."""


def later_turns(ledger: Ledger) -> NDArray[np.int64]:
    """Numbers of records that are not the first answer of their conversation with their account, rising.

    What is served in a later turn depends on what a key or a coin chose in an earlier one. The first is the one with
    the earliest time, whether or not it is kept or marked. Memory while it is made: 32 bytes for each answer with a
    conversation; answers without one are taken for conversations of their own.
    """
    names, times, numbers = array("Q"), array("q"), array("q")
    for entry in ledger.entries():
        if name := entry.conversation:
            said = f"{entry.account} {name}".encode("utf-8", "surrogatepass")
            names.append(int.from_bytes(hashlib.sha256(said).digest()[:8], "big"))
            times.append(entry.time)
            numbers.append(entry.number)
    own, at = np.array(names, np.uint64), np.array(numbers, np.int64)
    order = np.lexsort((at, np.array(times, np.int64), own))
    again = own[order][1:] == own[order][:-1]
    return np.sort(at[order][1:][again])


def marked(
    ledger: Ledger, marks: Collection[str], *, limit: int, seed: int = 0, without: Without = NONE
) -> list[Served]:
    """Answers that carry one of these marks and are kept, at most `limit` of each mark.

    Where there are more, those with the smallest digest of seed and exchange id are taken: the choice depends on
    nothing that was served. Memory is that of the answers taken.

    Parameters
    ----------
    without
        Numbers of records that are passed over, rising; see `later_turns`.
    """
    picked: dict[str, list[tuple[int, int, Entry]]] = {mark: [] for mark in marks}
    for entry in ledger.entries():
        if entry.mark not in picked or not entry.kept or _has(without, entry.number):
            continue
        row = (-_drawn(seed, entry.exchange_id), entry.number, entry)
        held = picked[entry.mark]
        if len(held) < limit:
            heapq.heappush(held, row)
        else:
            heapq.heappushpop(held, row)
    rows = sorted((number, entry) for held in picked.values() for _, number, entry in held)
    return [one for _, entry in rows if (one := _kept(ledger, entry)) is not None]


def with_twins(ledger: Ledger, *, limit: int, seed: int = 0, without: Without = NONE) -> Iterator[Served]:
    """Answers whose twin a coin kept back, both texts kept; at most `limit`.

    Raises
    ------
    IntegrityError
        What was served and what was withheld are not the two that the coin fell between, or it fell the other way.
    """
    rows = (
        (_drawn(seed, e.exchange_id), e.number, e)
        for e in ledger.entries()
        if e.withheld and e.kept and not _has(without, e.number)
    )
    for _, _, entry in heapq.nsmallest(limit, rows):
        one = _kept(ledger, entry)
        if one is None or one.text is None or one.withheld is None:
            continue
        twin = Twin.from_note(entry.exchange_id, entry.note)
        pair = (digest_of(one.text), digest_of(one.withheld))
        if twin is None or pair != ((twin.low, twin.high) if twin.coin == 0 else (twin.high, twin.low)):
            raise IntegrityError(
                f"twin of exchange {entry.exchange_id[:60]!r}",
                "served and withheld as its coin fell",
                "another",
            )
        yield replace(one, twin=twin)


def _kept(ledger: Ledger, entry: Entry) -> Served | None:
    kept = ledger.kept(entry)
    if kept is None or (kept.text is None and kept.tokens is None):
        return None
    tokens = None if kept.tokens is None else np.array(kept.tokens, np.int64)
    return Served(entry.exchange_id, entry.account, entry.mark, kept.text, tokens, kept.withheld_text)


def _has(numbers: Without, number: int) -> bool:
    at = int(np.searchsorted(numbers, number))
    return at < len(numbers) and int(numbers[at]) == number


def _drawn(seed: int, exchange_id: str) -> int:
    said = f"{seed}\0{exchange_id}".encode()
    return int.from_bytes(hashlib.sha256(said).digest()[:8], "big")
