"""Intervals: exact for a share, and the bootstrap over whole units for everything else.

References
----------
Clopper, C. and Pearson, E. S. (1934). The use of confidence or fiducial limits. Biometrika 26, 404-413.
Efron, B. (1987). Better bootstrap confidence intervals. J. Am. Stat. Assoc. 82, 171-185.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import stats

from stillwatch.errors import InputError, InsufficientData
from stillwatch.stats import _arrays
from stillwatch.stats._arrays import FloatArray

FEWEST_UNITS = 5
"""Fewer units have too few distinct resamples (126 for five) for an interval to mean anything."""
_CELLS = 1_000_000  # unit indices held at once: 8 MB


def clopper_pearson(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The exact interval of a share, from `k` of `n` independent units (Clopper & Pearson 1934).

    It covers the true share with probability at least `level`, at every n, which makes it a little wide.

    Parameters
    ----------
    k, n
        Whole numbers, ``0 <= k <= n``. `n` counts *independent* units: accounts of one group are one decision.
    level
        In (0, 1).

    Returns
    -------
    Lower and upper end, in [0, 1].

    Raises
    ------
    InputError
        Not whole numbers; k outside 0..n; level outside (0, 1).
    InsufficientData
        n = 0.
    """
    _arrays.in_unit_interval(level, "level")
    if k != int(k) or n != int(n) or not 0 <= k <= max(n, 0):
        raise InputError(f"expected whole numbers 0 <= k <= n, found k = {k:g} and n = {n:g}")
    if n == 0:
        raise InsufficientData(1, 0, "units")
    tail = (1.0 - level) / 2.0
    low = float(stats.beta.ppf(tail, k, n - k + 1)) if k > 0 else 0.0
    high = float(stats.beta.isf(tail, k + 1, n - k)) if k < n else 1.0
    return low, high


def bootstrap_by_unit(
    values: npt.ArrayLike,
    units: npt.ArrayLike,
    statistic: Callable[[FloatArray], float],
    rng: np.random.Generator,
    n_resamples: int = 2_000,
    level: float = 0.95,
) -> tuple[float, float]:
    """The interval of a statistic when whole units, and not rows, are the independent things.

    Draws units with replacement and takes every row of each. The interval is BCa (Efron 1987); where BCa has no
    answer (no resample lies on one side of the observed value, or no unit moves it) it is the percentile interval
    of the same resamples. Memory: the rows of one resample and 8 MB.

    Parameters
    ----------
    values
        Shape (rows,) or (rows, columns), finite.
    units
        Shape (rows,): the unit of each row, such as its group or its seed; any sortable kind.
    statistic
        Takes rows shaped as `values`, in any number, and gives one number.
    rng
        Source of randomness.
    n_resamples
        At least 100; 2,000 by default, which leaves 50 in each tail at 95%.
    level
        In (0, 1).

    Returns
    -------
    Lower and upper end, in the unit of the statistic.

    Raises
    ------
    InputError
        Shapes that do not belong together; a value, or a statistic of a resample, that is not finite.
    InsufficientData
        Fewer than five units.
    """
    rows = _arrays.finite(values, "values")
    labels = np.asarray(units)
    _arrays.in_unit_interval(level, "level")
    if n_resamples < 100:
        raise InputError(f"n_resamples is at least 100, found {n_resamples}")
    if rows.ndim not in (1, 2) or labels.shape != rows.shape[:1]:
        raise InputError(f"values has one row per unit label; found shapes {rows.shape} and {labels.shape}")
    _, unit_of_row, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if sizes.size < FEWEST_UNITS:
        raise InsufficientData(FEWEST_UNITS, sizes.size, "units")
    rows = rows[np.argsort(unit_of_row, kind="stable")]
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))

    def of_units(drawn: npt.NDArray[np.int64]) -> float:
        lengths = sizes[drawn]
        ends = np.cumsum(lengths)
        # Row numbers of the drawn units, one after the other, without a loop over units.
        picked = np.arange(ends[-1]) + np.repeat(starts[drawn] - (ends - lengths), lengths)
        value = float(statistic(rows[picked]))
        if not np.isfinite(value):
            raise InputError(
                f"the statistic of a resample is {value}; it must be finite for any set of units"
            )
        return value

    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", stats.DegenerateDataWarning
        )  # answered below by the percentile interval
        # 0 / 0 in the acceleration where no unit moves the statistic; the same answer.
        warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"scipy\.")
        result = stats.bootstrap(
            (np.arange(sizes.size),),
            of_units,
            vectorized=False,
            n_resamples=n_resamples,
            batch=max(1, _CELLS // sizes.size),
            confidence_level=level,
            method="BCa",
            rng=rng,
        )
    low, high = (float(x) for x in result.confidence_interval)
    if not (np.isfinite(low) and np.isfinite(high)):
        tail = (1.0 - level) / 2.0
        low, high = (float(x) for x in np.quantile(result.bootstrap_distribution, [tail, 1.0 - tail]))
    return low, high
