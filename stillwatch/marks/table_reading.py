"""What a scheme saw whose layers look their draws up in one public table, and the exact law of that.

Such a key only shifts the place in the table. The count of a layer under each of the shifts can therefore be listed for
the text at hand, dependences and aliases of its tokens included: without a mark a layer draws one entry of that list.
Nothing is assumed of the hash or of the table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stillwatch.errors import InputError, InsufficientData
from stillwatch.records import Assumption, Card, Null, TestResult
from stillwatch.stats.drawn_sums import drawn_sum_log_pvalues

NEED = 20
"""Scored pairs below which no number is given."""


@dataclass(frozen=True, slots=True)
class TableReading:
    """What one scheme counted, an entry for each key; the keys themselves are not in it.

    Attributes
    ----------
    scored
        int64 (keys,). Pairs of context and token that were counted: one number, because it depends on no key.
    statistic
        float64 (keys,). Ones over all layers, whole numbers.
    draws
        Layers.
    counts
        int64 (places of the table,). Ones that a layer has under each shift.
    """

    scored: NDArray[np.int64]
    statistic: NDArray[np.float64]
    draws: int
    counts: NDArray[np.int64]


def counts_by_shift(places: NDArray[np.int64], spectrum: NDArray[np.complex128]) -> NDArray[np.int64]:
    """How many of ``table[(places + shift) mod S]`` are 1, for each shift: int64 (S,).

    Parameters
    ----------
    places
        0 .. S - 1, (n,). S is a power of 2.
    spectrum
        ``numpy.fft.rfft`` of the table of zeros and ones, (S / 2 + 1,).
    """
    size = 2 * (len(spectrum) - 1)
    often = np.bincount(places, minlength=size).astype(np.float64)
    return np.rint(np.fft.irfft(np.conj(np.fft.rfft(often)) * spectrum, size)).astype(np.int64)


def together(readings: Sequence[TableReading]) -> TableReading:
    """The pieces of a corpus as one reading; they share a `Tape`, or a pair in two of them counts twice.

    Raises
    ------
    InputError
        No reading, or readings of other numbers of keys, layers or places.
    """
    if not readings:
        raise InputError("no reading to put together")
    one = readings[0]
    if any(
        (r.draws, r.scored.shape, r.counts.shape) != (one.draws, one.scored.shape, one.counts.shape)
        for r in readings
    ):
        raise InputError("readings of one scheme, with the same parameters and keys, go together")
    return TableReading(
        np.sum([r.scored for r in readings], axis=0, dtype=np.int64),
        np.sum([r.statistic for r in readings], axis=0),
        one.draws,
        np.sum([r.counts for r in readings], axis=0, dtype=np.int64),
    )


def log_pvalues(reading: TableReading, *, need: int = NEED) -> NDArray[np.float64]:
    """How improbable each key's count is without the mark: natural logarithm, float64 (keys,), finite, at most 0.

    *Null.* Each layer's shift was drawn at random, uniformly, and the text does not depend on it. Shifts that are known
    to differ from one another and from 0 are allowed for: their law is the free one given an event of probability q,
    and p is multiplied by 1 / q (1.007 for 30 layers and 65,536 places).

    Raises
    ------
    InsufficientData
        Fewer scored pairs than `need`.
    """
    least = int(reading.scored.min()) if reading.scored.size else 0
    if least < max(1, need):
        raise InsufficientData(max(1, need), least, "scored pairs of context and token")
    places = reading.counts.size
    if reading.draws >= places:
        raise InputError(f"{reading.draws} layers cannot differ in a table of {places} places")
    doubt = -sum(math.log1p(-(i + 1) / places) for i in range(reading.draws))
    return drawn_sum_log_pvalues(
        reading.counts, reading.draws, np.rint(reading.statistic).astype(np.int64), doubt=doubt
    )


def result(card: Card, reading: TableReading, *, note: str = "") -> TestResult:
    """The test of a single key, signed with the card of the scheme; `effect` is the share of ones above the table's.

    Raises
    ------
    InsufficientData
        Fewer than `NEED` scored pairs.
    InputError
        The reading is not one of exactly one key.
    """
    if len(reading.scored) != 1:
        raise InputError(f"a test is of one key, found {len(reading.scored)}; see log_pvalues for many")
    log_p = float(log_pvalues(reading)[0])
    n, seen = int(reading.scored[0]), float(reading.statistic[0])
    usual = float(reading.counts.mean()) / n
    return TestResult(
        test=f"{card.name}@{card.version}",
        statistic=seen,
        null=Null(card.null, "exact", card.unit),
        n=n,
        unit="scored pair of context and token",
        log_pvalue=log_p,
        effect=seen / (n * reading.draws) - usual,
        effect_name="share of ones above that of the table",
        assumptions=tuple(Assumption(text) for text in card.assumptions),
        note=note,
    )
