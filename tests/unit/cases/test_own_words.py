"""What the program itself says in a finding is known to the message files, and said in the document's language."""

from __future__ import annotations

import inspect
import math
import re

import pytest

from stillwatch import plugins
from stillwatch.campaigns import alternatives, explain, taken, words
from stillwatch.campaigns.evidence import member_result
from stillwatch.campaigns.scoring import Score
from stillwatch.cases.content import string
from stillwatch.cases.languages import LANGUAGES, language
from stillwatch.cases.own_words import known, marked, own
from stillwatch.stats.sequential import MemberBets

SIGNALS = plugins.find("campaigns.signals")
SCORE = Score(9.0, -1.0, 9.0, 9.0, (), ())
FOREIGN = [code for code in LANGUAGES if code != "en"]


def literals(source: str, pattern: str) -> list[str]:
    """Literals of a source that follow `pattern`, with their places filled."""
    found = re.findall(pattern + r'\s*f?"([^"]+)"', source)
    filled = [text.replace("{look.name}", "an authorised project") for text in found]
    return [re.sub(r"\{[^}]*\}", "3", text) for text in filled]


def test_every_title_question_and_unit_of_a_signal_is_known() -> None:
    for signal in SIGNALS.values():
        assert known(signal.CARD.title), signal.CARD.title
        assert known(signal.CARD.question)
    result = member_result(SIGNALS["registration"].CARD, MemberBets(1.0, 2.0, 9, 8, 0.1), gamma=3.0, seed=1)
    assert known(result.unit) and known(result.effect_name)
    for name in ("synchrony", "load_balancing"):
        effects = literals(inspect.getsource(SIGNALS[name]), "effect_name=")
        assert effects and all(known(text) for text in effects), effects


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_signal_is_told_in_plain_words(code: str) -> None:
    for name in SIGNALS:
        assert f"sign.{name}" in language(code).messages


def test_every_claim_and_reason_is_known() -> None:
    for decision in ("supported", "inconclusive", "not supported"):
        assert known(words.claim(decision, 1_198, 8.0, SCORE))  # type: ignore[arg-type]
    assert known(words.claim("not supported", 40, 99.0, SCORE))
    source = inspect.getsource(explain.decide) + inspect.getsource(explain._short_of_it)
    reasons = literals(source, r'return "[a-z ]+",') + literals(source, r"else")
    source = inspect.getsource(explain._who)
    reasons += ["one organisation", "one organisation, one gateway", *literals(source, "        return")]
    reasons += [explain._FEW_HARVEST, explain._CORE_ALONE, explain._NO_MORE_ALIKE, "exempt: red team"]
    reasons = [reason for reason in reasons if reason != "exempt: "]
    assert len(reasons) > 12
    for reason in reasons:
        assert known(reason), reason


def test_every_innocent_explanation_is_known() -> None:
    source = inspect.getsource(alternatives)
    names = literals(source, r"    name =") + literals(source, r"_judged\(")
    assert len(names) == 11
    for name in names:
        assert known(name), name


def test_what_is_taken_is_known() -> None:
    for kind in [*taken.KINDS.values(), "tool traces", "answers", "more than answers"]:
        assert known(kind), kind
    assert known("reasoning and tool traces")
    # A pair is said only where both its parts are.
    assert not known("reasoning and accounts")


@pytest.mark.parametrize("code", FOREIGN)
def test_what_is_known_is_said_with_its_numbers_in_the_languages_digits(code: str) -> None:
    lang = language(code)
    for text in [
        "1,198 accounts act as one, and what they do has the shape of harvesting.",
        "the largest e-value that this much data could have given is 3.1e+41",
        "for 3 of 40 accounts: 3 carry other traffic as well",
        "not tested: failover after a stop: needs at least 1 actions that stopped an account of the group, found 0",
        "under 1% of the accounts share one payment token; excluded for 7 of 13 accounts",
        "0.01 addresses a request, 3% within two minutes of the one before, 7.2 tokens taken for each given (a typical "
        "account)",
    ]:
        said = string(own(text, lang))
        assert not re.search("accounts|have |found|given|share one", said), said
        assert string(lang.say("word.original")) not in said
    said = string(own("1,198 accounts act as one, and what they do has the shape of harvesting.", lang))
    assert lang.number(1198) in said
    said = string(own("the largest e-value that this much data could have given is 3.1e+41", lang))
    assert string(lang.power(math.log(3.1e41))) in said


def test_in_english_nothing_is_changed_and_nothing_is_marked() -> None:
    lang = language("en")
    for text in ["40 accounts act as one, but more.", "exempt: red team", "  spaces stay ", ""]:
        assert string(own(text, lang)) == text
        assert all(span.style == "user" for span in own(text, lang))
    assert marked(own("x", lang), lang) == own("x", lang)


@pytest.mark.parametrize("code", FOREIGN)
@pytest.mark.parametrize(
    "text", ["x" * 5000, "needs at least 5 " + "; " * 500, "may be a ghost: ask", "40 accounts"]
)
def test_what_is_not_known_stays_as_it_is_and_is_marked(code: str, text: str) -> None:
    lang = language(code)
    assert not known(text)
    assert string(own(text, lang)) == text + string(lang.say("word.original"))


@pytest.mark.parametrize(
    ("code", "log_value", "said"),
    [
        ("en", math.log(3400), "3,400"), ("fr", math.log(4100), "4\u202f100"), ("ar", math.log(4100), "٤٬١٠٠"),
        ("zh", math.log(4100), "4,100"), ("en", 0.0, "1"), ("en", math.log(0.087), "0.087"),
        ("en", math.log(2.8e6), "2.8\u00a0×\u00a010⁶"), ("fr", math.log(2.8e6), "2,8\u00a0×\u00a010⁶"),
        ("ar", math.log(2.8e6), "٢٫٨\u00a0×\u00a0١٠ أُس ٦"), ("en", 1000 * math.log(10), "1\u00a0×\u00a010¹⁰⁰⁰"),
        ("en", math.log(9.99e7), "1\u00a0×\u00a010⁸"), ("en", math.log(2e-5), "2\u00a0×\u00a010⁻⁵"),
        ("en", -math.inf, "0"),
    ],
)  # fmt: skip
def test_large_numbers_are_written_as_each_language_does(code: str, log_value: float, said: str) -> None:
    assert string(language(code).power(log_value)) == said


@pytest.mark.parametrize(
    ("code", "said"), [("en", "1 in 10⁶"), ("ar", "واحد من ١٠ أُس ٦"), ("zh", "10⁶分之一")]
)
def test_a_power_of_ten_in_the_digits_of_the_language(code: str, said: str) -> None:
    assert string(language(code).odds(math.log(1e6))) == said
