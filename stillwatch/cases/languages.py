"""The fixed words of a document in one language: messages, plural forms, numbers, days, odds.

Messages are plain data, one TOML file a language in `messages/`. What a caller puts into a message decides how it is
written: an ``int`` or ``float`` in the language's own digits, a ``date`` as its days are written, a ``str`` as
somebody else's words (isolated, so that English inside Arabic does not reorder it), and ready `Text` as it is.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources
from typing import Any, Literal

from stillwatch.cases.content import Span, Text
from stillwatch.errors import InputError

LANGUAGES = ("en", "fr", "ar", "zh")

PLURALS: dict[str, tuple[str, ...]] = {
    "en": ("one", "other"),
    "fr": ("one", "other"),
    "ar": ("zero", "one", "two", "few", "many", "other"),
    "zh": ("other",),
}
"""The forms that each language's messages must have."""

_PLACE = re.compile(r"\{(\w+)\}")
Value = str | int | float | date | Text


def plural_form(language: str, count: float) -> str:
    """The form of a counted noun.

    Source: Unicode CLDR, supplemental/plurals.xml (cardinal). French has a further form there, ``many``, for whole
    millions; where a number is written in digits it is spelled as ``other``, and so it is here.
    """
    whole = float(count).is_integer()
    n = abs(count)
    if language == "en":
        return "one" if n == 1 else "other"
    if language == "fr":
        return "one" if n < 2 else "other"
    if language == "ar":
        if whole and n <= 2:
            return ("zero", "one", "two")[int(n)]
        if whole and 3 <= n % 100 <= 10:
            return "few"
        return "many" if whole and n % 100 >= 11 else "other"
    return "other"


@dataclass(frozen=True, slots=True)
class Language:
    """One language's messages and manners of writing."""

    code: str
    name: str
    direction: Literal["ltr", "rtl"]
    reviewed: bool
    """Whether somebody who speaks it has read the messages; if not, every page says so."""
    group: str
    point: str
    percent_sign: str
    digits: str
    """The ten digits."""
    months: tuple[str, ...]
    day_pattern: str
    short_months: tuple[str, ...]
    short_day_pattern: str
    """Of a day beside an axis, without its year."""
    messages: Mapping[str, str]
    counted: Mapping[str, Mapping[str, str]]

    def say(self, key: str, /, **values: Value) -> Text:
        """A message with its places filled.

        Raises
        ------
        InputError
            No such message, or a place without a value.
        """
        if key not in self.messages:
            raise InputError(f"no message {key!r} in {self.code}.toml")
        return self._fill(self.messages[key], values, key)

    def count(self, key: str, n: int) -> Text:
        """A counted noun: ``198 accounts``."""
        return self._fill(self.counted[key][plural_form(self.code, n)], {"n": n}, key)

    def _fill(self, pattern: str, values: Mapping[str, Value], key: str) -> Text:
        spans: list[Span] = []
        end = 0
        for place in _PLACE.finditer(pattern):
            if place[1] not in values:
                raise InputError(f"message {key!r} needs a value for {{{place[1]}}}")
            spans += _kept(pattern[end : place.start()])
            spans += self.text(values[place[1]])
            end = place.end()
        return (*spans, *_kept(pattern[end:]))

    def text(self, value: Value) -> Text:
        """A value as this language writes it."""
        if isinstance(value, tuple):
            return value
        if isinstance(value, date):
            return (Span(self.day(value)),)
        if isinstance(value, str):
            return (Span(value, "user"),) if value else ()
        # Alone between Arabic words a minus sign would wander to the other side of its number.
        return (Span(self.number(value), "user" if value < 0 and self.direction == "rtl" else "plain"),)

    def number(self, value: float) -> str:
        """A number with at most three significant digits after the point, in the language's digits."""
        if isinstance(value, float) and not value.is_integer():
            plain = f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
            if "e" in plain:
                plain = f"{value:.12f}".rstrip("0")
        else:
            plain = f"{int(value):,}"
        return self._own(plain)

    def percent(self, share: float) -> Text:
        """``97%``; never all or nothing for what is not."""
        if 0 < share < 0.005:
            return self.say("number.under", n=(Span(self._own("1") + self.percent_sign),))
        if 0.995 <= share < 1:
            return self.say("number.over", n=(Span(self._own("99") + self.percent_sign),))
        return (Span(self._own(f"{100 * share:.0f}") + self.percent_sign),)

    def day(self, value: date | str) -> str:
        """A day as it is written; a string that is no ISO day or time is left as it is."""
        if isinstance(value, str):
            try:
                return self.day(date.fromisoformat(value[:10]))
            except ValueError:
                return value
        number = self._own(str(value.day))
        if self.code == "fr" and value.day == 1:
            number = "1er"
        return self.day_pattern.format(
            day=number, month=self.months[value.month - 1], year=self._own(str(value.year))
        )

    def short_day(self, when: date) -> str:
        """``2 Nov``, as it stands beside an axis."""
        return self.short_day_pattern.format(
            day=self._own(str(when.day)), month=self.short_months[when.month - 1]
        )

    def power(self, log_value: float) -> Text:
        """A number given by its natural logarithm, with two digits: ``0.4``, ``3,400``, ``5.5 × 10⁵``.

        Works far outside the range of floats.
        """
        if math.isinf(log_value):
            return (Span(self._own("0") if log_value < 0 else "∞", "user"),)
        tens = log_value / math.log(10)
        if -2 < tens < 4:
            return (
                Span(self._own(f"{math.exp(log_value):,.0f}" if tens >= 2 else f"{math.exp(log_value):.2g}")),
            )
        exponent = math.floor(tens)
        mantissa = round(10 ** (tens - exponent), 1)
        if mantissa >= 10:
            mantissa, exponent = 1.0, exponent + 1
        return self.say("number.times", m=(Span(self._own(f"{mantissa:g}")),), power=self._ten_to(exponent))

    def _ten_to(self, exponent: int) -> Text:
        """A power of ten. No raised digits but the European ones are in Unicode: elsewhere the exponent is a word."""
        plain = self.digits == "0123456789"
        k = raised(exponent) if plain else self._own(str(exponent).replace("-", "\u2212"))
        return self.say("number.ten_to", k=(Span(k, "user" if exponent < 0 else "plain"),))

    def odds(self, log_value: float) -> Text:
        """``1 in N`` for a p- or e-value given by its natural logarithm; beyond a million, ``1 in 10^k``.

        N is rounded down, so that nothing is said to be rarer than was shown.
        """
        tens = abs(log_value) / math.log(10)
        if tens < 6 - 1e-9:
            n = math.exp(abs(log_value))
            # Two digits, downwards.
            size = 10 ** max(0, math.floor(math.log10(max(n, 1) + 1e-9)) - 1)
            return self.say("number.one_in", n=math.floor(n / size + 1e-9) * size)
        return self.say("number.one_in", n=self._ten_to(math.floor(tens + 1e-9)))

    def _own(self, plain: str) -> str:
        swapped = plain.replace(",", "\0").replace(".", self.point).replace("\0", self.group)
        return swapped.translate(str.maketrans("0123456789", self.digits))


def raised(number: int) -> str:
    """``¹²``: an exponent."""
    return str(number).translate(str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"))


def _kept(part: str) -> list[Span]:
    """The fixed words between two places; ``**`` around words (never around a place) makes them strong."""
    pieces = part.split("**")
    return [Span(p, "strong" if i % 2 else "plain") for i, p in enumerate(pieces) if p]


@cache
def language(code: str) -> Language:
    """The language of a BCP 47 tag; ``ar-EG`` is read as ``ar``.

    Raises
    ------
    InputError
        There are no messages in this language.
    """
    base = code.lower().partition("-")[0]
    if base not in LANGUAGES:
        raise InputError(f"no messages in {code!r}; there are: {', '.join(LANGUAGES)}")
    raw: dict[str, Any] = tomllib.loads(
        resources.files("stillwatch.cases").joinpath("messages", f"{base}.toml").read_text(encoding="utf-8")
    )
    about = raw["language"]
    return Language(
        code=base,
        name=about["name"],
        direction="rtl" if about["direction"] == "rtl" else "ltr",
        reviewed=bool(about["reviewed"]),
        group=about["group"],
        point=about["point"],
        percent_sign=about["percent_sign"],
        digits=about["digits"],
        months=tuple(about["months"]),
        day_pattern=about["day_pattern"],
        short_months=tuple(about["short_months"]),
        short_day_pattern=about["short_day_pattern"],
        messages={f"{part}.{key}": text for part, group in raw["say"].items() for key, text in group.items()},
        counted=raw["count"],
    )
