"""What accounts have in common: the span of most of their numbers, the codes that two of them hold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

COVERAGE = 0.8
"""A number counts as alike when it lies in the shortest span that holds this share of the members."""


def common_span(values: NDArray[np.float64]) -> tuple[float, float] | None:
    """The shortest span that holds `COVERAGE` of the known numbers; None for fewer than two.

    Parameters
    ----------
    values
        Shape (n,); NaN: missing.
    """
    known = np.sort(values[~np.isnan(values)])
    need = int(np.ceil(COVERAGE * len(known)))
    if need < 2:
        return None
    start = int(np.argmin(known[need - 1 :] - known[: len(known) - need + 1]))
    return float(known[start]), float(known[start + need - 1])


def common_codes(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Codes that at least two hold.

    Parameters
    ----------
    values
        Shape (n,); negative: missing.
    """
    codes, counts = np.unique(values, return_counts=True)
    return codes[(counts >= 2) & (codes >= 0)]


def has_common(values: NDArray, core: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which rows have what is common in the core: its event, a number in its common span, a code that two of it hold.

    Parameters
    ----------
    values, core
        Shape (n,).
    """
    if values.dtype == np.int8:
        return values == 1
    if values.dtype.kind == "f":
        span = common_span(values[core])
        return np.zeros(len(values), bool) if span is None else (values >= span[0]) & (values <= span[1])
    return np.isin(values, common_codes(values[core]))
