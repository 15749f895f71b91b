"""Messages in four languages: the same keys and places, every plural form; numbers and days as each writes them."""

from __future__ import annotations

import math
import re
from datetime import date

import pytest

from stillwatch.cases.content import string
from stillwatch.cases.languages import LANGUAGES, PLURALS, language, plural_form
from stillwatch.errors import InputError

PLACE = re.compile(r"\{(\w+)\}")
EN = language("en")


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_language_has_every_message_with_the_same_places(code: str) -> None:
    lang = language(code)
    assert set(lang.messages) == set(EN.messages)
    for key, text in EN.messages.items():
        assert sorted(PLACE.findall(lang.messages[key])) == sorted(PLACE.findall(text)), key


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_counted_noun_has_every_form(code: str) -> None:
    lang = language(code)
    assert set(lang.counted) == set(EN.counted)
    for key, forms in lang.counted.items():
        assert set(forms) == set(PLURALS[code]), key
        assert set(PLACE.findall("".join(forms.values()))) <= {"n"}
        assert "{n}" in forms["other"]


@pytest.mark.parametrize("code", LANGUAGES)
def test_strong_words_begin_and_end_between_two_places(code: str) -> None:
    for key, text in language(code).messages.items():
        assert all(part.count("**") % 2 == 0 for part in PLACE.split(text)[::2]), key


@pytest.mark.parametrize("code", LANGUAGES)
def test_only_english_is_reviewed_and_the_others_say_so_in_english_too(code: str) -> None:
    lang = language(code)
    assert lang.reviewed == (code == "en")
    assert code == "en" or "unreviewed" in lang.messages["mark.unreviewed"]


@pytest.mark.parametrize("code", LANGUAGES)
def test_no_message_hides_or_reorders(code: str) -> None:
    assert not re.search(
        "[\u200e\u200f\u202a-\u202e\u2066-\u2069\u061c]", "".join(language(code).messages.values())
    )


@pytest.mark.parametrize(
    ("code", "forms"),
    [
        ("en", {0: "other", 1: "one", 2: "other", 11: "other", 1.5: "other"}),
        ("fr", {0: "one", 1: "one", 1.5: "one", 2: "other", 1_000_000: "other"}),
        ("zh", {0: "other", 1: "other", 2: "other"}),
        ("ar", {0: "zero", 1: "one", 2: "two", 3: "few", 10: "few", 11: "many", 99: "many", 100: "other", 101: "other",
                102: "other", 103: "few", 110: "few", 111: "many", 1003: "few", 1.5: "other", 0.1: "other"}),
    ],
)  # fmt: skip
def test_plural_forms_are_those_of_cldr(code: str, forms: dict[float, str]) -> None:
    assert {n: plural_form(code, n) for n in forms} == forms


@pytest.mark.parametrize(
    ("code", "n", "said"),
    [
        ("en", 1, "1 account"),
        ("en", 71_204, "71,204 accounts"),
        ("fr", 0, "0 compte"),
        ("fr", 71_204, "71\u202f204 comptes"),
        ("ar", 2, "حسابان"),
        ("ar", 3, "٣ حسابات"),
        ("ar", 71_204, "٧١٬٢٠٤ حسابات"),
        ("ar", 11, "١١ حسابًا"),
        ("zh", 71_204, "71,204个账户"),
    ],
)
def test_counted_nouns(code: str, n: int, said: str) -> None:
    assert string(language(code).count("accounts", n)) == said


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("en", "1 November 2026"),
        ("fr", "1er novembre 2026"),
        ("ar", "١ نوفمبر ٢٠٢٦"),
        ("zh", "2026年11月1日"),
    ],
)
def test_days(code: str, said: str) -> None:
    assert language(code).day(date(2026, 11, 1)) == said
    assert language(code).day("2026-11-01T09:00:00Z") == said
    assert language(code).day("last week") == "last week"


@pytest.mark.parametrize(
    ("code", "value", "said"),
    [
        ("en", 0.4567, "0.457"), ("fr", 0.4567, "0,457"), ("ar", 0.4567, "٠٫٤٥٧"), ("zh", 1234567, "1,234,567"),
        ("fr", 1234567, "1\u202f234\u202f567"), ("en", 2.0, "2"), ("en", 0.00001, "0.00001"), ("en", -0.25, "-0.25"),
    ],
)  # fmt: skip
def test_numbers(code: str, value: float, said: str) -> None:
    assert language(code).number(value) == said


def test_shares_are_never_all_or_nothing_when_they_are_not() -> None:
    assert [string(EN.percent(s)) for s in (0.0, 0.001, 0.5, 0.999, 1.0)] == [
        "0%",
        "under 1%",
        "50%",
        "over 99%",
        "100%",
    ]
    assert string(language("fr").percent(0.97)) == "97\u202f%"
    assert string(language("ar").percent(0.97)) == "٩٧٪"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (1.0, "1 in 1"), (4100, "1 in 4,100"), (4199, "1 in 4,100"), (19.99, "1 in 19"), (999_999, "1 in 990,000"),
        (1e6, "1 in 10⁶"), (9.9e12, "1 in 10¹²"), (1e400, "1 in 10⁴⁰⁰"),
    ],
)  # fmt: skip
def test_odds_are_rounded_towards_what_was_shown(value: float, said: str) -> None:
    log = 400 * math.log(10) if value == math.inf else math.log(value)
    assert string(EN.odds(log)) == said
    assert string(EN.odds(-log)) == said


def test_somebody_elses_words_are_a_span_of_their_own() -> None:
    said = language("ar").say("report.supported", subject="c-7f3a", claim="198 accounts act as one.")
    assert [s.style for s in said] == ["user", "plain", "user"]


def test_errors() -> None:
    with pytest.raises(InputError, match="no messages in 'de'; there are: en, fr, ar, zh"):
        language("de")
    with pytest.raises(InputError, match=r"no message 'nothing\.here'"):
        EN.say("nothing.here")
    with pytest.raises(InputError, match=r"needs a value for \{claim\}"):
        EN.say("report.supported", subject="x")
    assert language("ar-EG") is not None
