"""What every function here asks of its numbers, once: finite, in range, and of a type that fits in a record."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from stillwatch.errors import InputError

FloatArray = npt.NDArray[np.float64]


def finite(values: npt.ArrayLike, name: str) -> FloatArray:
    """`values` as float64, or InputError where one is NaN or infinite."""
    array = _floats(values, name)
    if not np.isfinite(array).all():
        raise InputError(f"{name}: {_count(~np.isfinite(array))} not finite; every value must be a number")
    return array


def log_pvalues(values: npt.ArrayLike, name: str = "log_pvalues") -> FloatArray:
    """`values` as finite natural logarithms of p-values, at most 0."""
    array = finite(values, name)
    if (array > 0).any():
        raise InputError(f"{name}: {_count(array > 0)} above 0; give natural logarithms of p-values")
    return array


def log_evalues(values: npt.ArrayLike, name: str = "log_evalues") -> FloatArray:
    """`values` as natural logarithms of e-values; minus infinity is e = 0, which a lost bet may be."""
    array = _floats(values, name)
    wrong = np.isnan(array) | (array == np.inf)
    if wrong.any():
        raise InputError(f"{name}: {_count(wrong)} NaN or plus infinity; an e-value is finite")
    return array


def in_unit_interval(value: float, name: str) -> float:
    """`value` strictly between 0 and 1."""
    if not 0 < value < 1:
        raise InputError(f"{name} lies strictly between 0 and 1, found {value:g}")
    return float(value)


def unwrap(array: FloatArray) -> Any:
    """A 0-dimensional array as a Python float (records hold floats); any other array as it is."""
    return float(array) if array.ndim == 0 else array


def _floats(values: npt.ArrayLike, name: str) -> FloatArray:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as wrong:
        raise InputError(f"{name}: expected numbers, found {values!r:.80}") from wrong


def _count(mask: npt.NDArray[np.bool_]) -> str:
    return f"{int(mask.sum())} of {mask.size} values"
