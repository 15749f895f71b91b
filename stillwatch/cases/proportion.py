"""The exact interval of a share, without the numeric libraries, which a case must not need to be read."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache


@lru_cache(maxsize=1024)
def exact_interval(hits: int, of: int, *, level: float = 0.95) -> tuple[float, float]:
    """The interval of Clopper and Pearson (1934) for `hits` of `of`.

    Parameters
    ----------
    hits, of
        0 <= hits <= of, of at least 1.

    Examples
    --------
    >>> low, high = exact_interval(3, 20_000)
    >>> f"{low:.2g} to {high:.2g}"
    '3.1e-05 to 0.00044'

    "Of honest accounts, between 3 and 44 in 100,000 match."
    """
    if not 0 <= hits <= of or of < 1:
        raise ValueError(f"{hits} of {of} is no share")
    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else _root(lambda p: _beta(p, hits, of - hits + 1) - tail)
    high = 1.0 if hits == of else _root(lambda p: _beta(p, hits + 1, of - hits) - (1 - tail))
    return low, high


def _root(f: Callable[[float], float]) -> float:
    """Where an increasing function of (0, 1) is 0; halved until no float lies between."""
    low, high = 0.0, 1.0
    for _ in range(1100):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if f(middle) < 0 else (low, middle)
    return (low + high) / 2


def _beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b); Press et al., Numerical Recipes, section 6.4."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of I_x(a, b) by Lentz's method."""
    tiny = 1e-300
    c, d = 1.0, 1 - (a + b) * x / (a + 1)
    d = 1 / (d if abs(d) > tiny else tiny)
    h = d
    for m in range(1, 100_000):
        for step in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 + step * d
            d = 1 / (d if abs(d) > tiny else tiny)
            c = 1 + step / (c if abs(c) > tiny else tiny)
            h *= d * c
        if abs(d * c - 1) < 1e-15:
            break
    return h
