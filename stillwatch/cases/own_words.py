"""What the program itself said in English (claims, reasons, explanations, limits, names of methods), in the document's
language.

A finding is kept in the words in which it was made. Those words are the program's own and few, so `messages/en.toml`
holds each of them as a pattern (``say.own``), and the other languages hold its translation. Whatever is no such
sentence is somebody else's, or of another version: it stays as it is, and is marked as the original wording.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import cache, lru_cache

from stillwatch.cases.content import Span, Text
from stillwatch.cases.languages import Language, language

_PLACE = re.compile(r"\\\{(\w)\\\}")
_PERCENT, _WHOLE = r"(?:under |over )?\d+%", r"\d[\d,]*"
_HOLDS = {
    **dict.fromkeys("nmk", _WHOLE),
    **dict.fromkeys("pqr", _PERCENT),
    **dict.fromkeys("ab", r"\d+(?:\.\d+)?"),
    "e": r"\d[\d,]*(?:\.\d+)?(?:e[+-]\d+)?",
    **dict.fromkeys("xyz", r".+?"),
}
"""What a place of a pattern may hold, by its letter: whole numbers, shares, decimal numbers, an e-value; `x` and `z`
another of these sentences, `y` that or anything else."""


def own(text: str, lang: Language) -> Text:
    """The program's own words in this language; anything else as it is, marked as original where that is foreign."""
    if not text:
        return ()
    said = _translated(text, lang.code)
    if said is not None:
        return said
    return marked((Span(text, "user"),), lang)


def marked(text: Text, lang: Language) -> Text:
    """A text, or the caption of a table, that stands in its original wording; in English nothing is added."""
    if lang.code == "en":
        return text
    return (*text, *lang.say("word.original"))


def known(text: str) -> bool:
    """Whether a sentence is one of the program's own."""
    return _translated(text, "en") is not None


@lru_cache(maxsize=4096)
def _translated(text: str, code: str) -> Text | None:
    lang = language(code)
    for key, pattern in _patterns():
        found = pattern.fullmatch(text)
        if found is None:
            continue
        if code == "en":
            nested = (_translated(v, code) for k, v in found.groupdict().items() if k in "xz")
            if all(part is not None for part in nested):
                return (Span(text, "user"),)
            continue
        filled = {place: _value(place, held, lang) for place, held in found.groupdict().items()}
        values = {place: value for place, value in filled.items() if value is not None}
        if len(values) == len(filled):
            return lang.say(key, **values)
    return None


def _value(place: str, held: str, lang: Language) -> Text | None:
    if place in "xz":
        return _translated(held, lang.code)
    if place == "y":
        return _translated(held, lang.code) or (Span(held, "user"),)
    return _NUMBERS[_HOLDS[place]](held, lang)


def _percent(held: str, lang: Language) -> Text:
    # Under 1% and over 99% are what they say: any share between will do.
    share = {"under": 0.001, "over": 0.999}.get(held.split()[0])
    return lang.percent(int(held.rstrip("%")) / 100 if share is None else share)


def _power(held: str, lang: Language) -> Text:
    mantissa, _, exponent = held.replace(",", "").partition("e")
    number = float(mantissa)
    return lang.power(math.log(number) + int(exponent or 0) * math.log(10) if number else -math.inf)


_NUMBERS: dict[str, Callable[[str, Language], Text]] = {
    _WHOLE: lambda held, lang: lang.text(int(held.replace(",", ""))),
    _PERCENT: _percent,
    _HOLDS["a"]: lambda held, lang: lang.text(float(held)),
    _HOLDS["e"]: _power,
}


@cache
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Keys and patterns, those with most fixed words first."""
    messages = {k: v for k, v in language("en").messages.items() if k.startswith("own.")}
    order = sorted(messages, key=lambda key: -len(_PLACE.sub("", re.escape(messages[key]))))
    return tuple((key, _pattern(messages[key])) for key in order)


def _pattern(message: str) -> re.Pattern[str]:
    return re.compile(
        _PLACE.sub(lambda place: f"(?P<{place[1]}>{_HOLDS[place[1]]})", re.escape(message)), re.S
    )
