"""Numbers and hostile text as a reader of a report should see them."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_KEPT = {"\n", "\t", "\u200c", "\u200d"}
"""Line ends and tabs, and the two joiners without which Persian, Hindi and emoji families fall apart."""


def visible(value: Any) -> Any:
    """Text with everything that hides, reorders or breaks made visible; other values unchanged.

    Control characters (NUL, escape), bidirectional overrides and isolates ("Trojan Source", CVE-2021-42574), other
    invisible format characters, tags and lone surrogates become ``⟨U+202E⟩``.
    """
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    if value.isascii() and value.isprintable():
        return value
    return "".join(c if _harmless(c) else f"⟨U+{ord(c):04X}⟩" for c in value)


def _harmless(character: str) -> bool:
    return character in _KEPT or unicodedata.category(character) not in {
        "Cc",
        "Cf",
        "Cs",
        "Co",
        "Cn",
        "Zl",
        "Zp",
    }


def power(log_value: float) -> str:
    """A number given by its natural logarithm, with two digits: ``0.4``, ``3,400``, ``5.5e+05``, ``3e+41``.

    Works far outside the range of floats.
    """
    if log_value == -math.inf:
        return "0"
    if log_value == math.inf:
        return "infinite"
    tens = log_value / math.log(10)
    if -2 < tens < 2:
        return f"{math.exp(log_value):.2g}"
    if 2 <= tens < 4:
        return f"{math.exp(log_value):,.0f}"
    exponent = math.floor(tens)
    mantissa = round(10 ** (tens - exponent), 1)
    if mantissa >= 10:
        mantissa, exponent = 1.0, exponent + 1
    return f"{mantissa:g}e{exponent:+03d}"


def number(value: float) -> str:
    """``71,204``; up to three significant digits after the point where there is a fraction."""
    if isinstance(value, float) and not value.is_integer():
        return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{int(value):,}"


def percent(share: float) -> str:
    """``97%``; never ``100%`` or ``0%`` for what is not all or nothing."""
    if 0 < share < 0.005:
        return "under 1%"
    if 0.995 <= share < 1:
        return "over 99%"
    return f"{share:.0%}"


def plural(count: float, one: str, many: str = "") -> str:
    """``1 account``, ``2,000 accounts``."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def day(text: str) -> str:
    """``2 Nov 2026`` for ``2026-11-02``; anything else unchanged."""
    try:
        when = date.fromisoformat(text)
    except ValueError:
        return text
    return f"{when.day} {_MONTHS[when.month - 1]} {when.year}"


def every_day(daily: Mapping[str, float]) -> list[tuple[date, float]]:
    """Day by day from the first to the last, with 0 where nothing happened; keys that are no day are left out."""
    known: dict[date, float] = {}
    for text, count in daily.items():
        try:
            known[date.fromisoformat(text)] = float(count)
        except ValueError:
            continue
    if not known:
        return []
    first, last = min(known), max(known)
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    return [(d, known.get(d, 0.0)) for d in days]
