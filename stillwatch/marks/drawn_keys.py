"""Keys that were drawn as the true one and never served are the null: is the exact tail right on this text?"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from stillwatch.marks import reading as readings
from stillwatch.marks import table_reading
from stillwatch.marks.reading import Reading
from stillwatch.marks.table_reading import TableReading

FEWEST_DECOYS = 200
SPREAD = 3.0
"""Standard errors by which mean and spread of the drawn keys' scores may be off before their rank is used instead."""


def log_pvalues(reading: Reading | TableReading) -> NDArray[np.float64]:
    """The exact tail of what a scheme read, for each key: natural logarithms, float64 (keys,).

    Raises
    ------
    InsufficientData
        A key has fewer pairs than the scheme needs.
    """
    if isinstance(reading, TableReading):
        return table_reading.log_pvalues(reading)
    return readings.log_pvalues(reading)


def standardised(reading: Reading | TableReading) -> NDArray[np.float64]:
    """Each key's statistic less its mean without a mark, in standard deviations; float64 (keys,)."""
    if isinstance(reading, TableReading):
        mean, spread = reading.draws * reading.counts.mean(), math.sqrt(reading.draws) * reading.counts.std()
        return np.asarray((reading.statistic - mean) / spread)
    n = reading.scored * reading.draws
    if reading.gamma is None:
        return np.asarray((reading.statistic - n) / np.sqrt(n))
    g = reading.gamma
    return np.asarray((reading.statistic - g * n) / np.sqrt(n * g * (1 - g)))


def chance_of(reading: Reading | TableReading) -> float:
    """The mean of one draw without a mark: the share of favoured tokens, or a score of 1."""
    if isinstance(reading, TableReading):
        return float(reading.counts.mean() / reading.scored[0])
    return 1.0 if reading.gamma is None else reading.gamma


def spread_of(reading: Reading | TableReading) -> float:
    """Standard deviation, without a mark, of the mean draw of one pair; that of n pairs is sqrt(n) times smaller."""
    if isinstance(reading, TableReading):
        return float(reading.counts.std() / math.sqrt(reading.draws * reading.scored[0]))
    return 1.0 if reading.gamma is None else math.sqrt(reading.gamma * (1 - reading.gamma) / reading.draws)


def calibrated(drawn: NDArray[np.float64]) -> tuple[bool, str]:
    """Whether the scores of drawn keys are no higher and no wider than the exact law has it, and what they are like.

    One-sided: mean 0 and spread 1 are expected, and only a mean above 0 or a spread above 1, by more than `SPREAD`
    standard errors, makes the tail too small. Lower or narrower scores make it larger, which is conservative.
    """
    mean, spread = float(drawn.mean()), float(drawn.std(ddof=1))
    sound = mean <= SPREAD / math.sqrt(len(drawn)) and spread <= 1 + SPREAD / math.sqrt(2 * len(drawn))
    return sound, f"{len(drawn)} drawn keys: mean {mean:+.2f}, spread {spread:.2f} (0 and 1 are expected)"
