"""What was measured of a finding in plain words: counts and no e-values, what found nothing, what was not tested."""

from __future__ import annotations

import math
from collections.abc import Mapping

from stillwatch.cases.claims import joined, user
from stillwatch.cases.content import Span, Table, Text
from stillwatch.cases.languages import Language
from stillwatch.cases.own_words import own
from stillwatch.records import Card, Finding, TestResult

SIGN = math.log(20)
"""Below this e-value (and above 1 in 20 of a p-value) a sign is too weak to rely on."""
UNTESTED = "not tested: "
"""How a limit begins that names a measurement for which the data did not suffice."""
MEMBERS = "bets on a member"
"""Unit of a measurement that looks at one account after the other."""
WINDOWS = "account-windows"
"""Unit of one that compares what was found in windows of time with what was expected."""


def title_of(test: str, cards: Mapping[str, Card], lang: Language) -> Text:
    """What a test (``name`` or ``name@version``) measures, in a few words."""
    name = test.partition("@")[0]
    return own(cards[name].title, lang) if name in cards else user(name.replace("_", " "))


def typical(finding: Finding, lang: Language) -> list[Text]:
    """What a typical account of a group does, a sentence each; of a finding without figures as it was written."""
    shape = finding.details.get("shape")
    if not isinstance(shape, Mapping):
        return [own(str(words), lang) for words in finding.details.get("harvest_words") or ()]
    told = []
    for key in (k for k in _SHAPE if shape.get(k) is not None):
        x = float(shape[key])
        # What is expected at random times may be passed by a little: all hours are all there are.
        told.append(
            lang.say(f"shape.{key}", n=lang.text(x) if key == "token_yield" else lang.percent(min(x, 1.0)))
        )
    return told


_SHAPE = ("follow_ups", "distinct_prompts", "hours", "token_yield", "elicited")


def plain_table(finding: Finding, lang: Language, cards: Mapping[str, Card]) -> Table | None:
    """Every measurement: what was looked at, what was found, and what it says; the clearest first.

    What could not be tested comes last. None: nothing was measured.
    """
    rows = [_row(result, lang, cards) for result in sorted(finding.results, key=lambda r: -_loudness(r))]
    for limit in finding.limits:
        if limit.startswith(UNTESTED):
            name, _, why = limit.removeprefix(UNTESTED).partition(": ")
            rows.append((own(name, lang), own(why, lang), lang.say("sign.not_tested")))
    if not rows:
        return None
    head = tuple(lang.say(f"column.{c}") for c in ("looked_at", "found", "says"))
    about = "plain_table" if "acts_as_one" in finding.details else "plain_other"
    return Table(lang.say(f"finding.{about}"), head, tuple(rows), (finding.id,))


def _row(result: TestResult, lang: Language, cards: Mapping[str, Card]) -> tuple[Text, Text, Text]:
    name = result.test.partition("@")[0]
    what = title_of(result.test, cards, lang)
    if f"sign.{name}" in lang.messages:
        what = joined([what, lang.say(f"sign.{name}")], "\n")
    loud = _loudness(result)
    says = "clear" if loud >= SIGN else "weak" if loud > 0 else "none"
    return what, _found(result, lang), lang.say(f"sign.{says}")


def _found(result: TestResult, lang: Language) -> Text:
    if result.effect is None:
        return lang.say("word.not_given")
    if result.unit == MEMBERS and result.n:
        usual = min(max(result.statistic / result.n - result.effect, 0.0), 1.0)
        return lang.say("sign.of", k=round(result.statistic), n=result.n, share=lang.percent(usual))
    if result.unit == WINDOWS:
        key = "more" if result.effect > 0 else "fewer"
        return lang.say(f"sign.{key}", share=lang.percent(abs(result.effect)))
    named = own(result.effect_name, lang)
    effect = lang.text(result.effect)
    return lang.say("finding.effect", name=named, effect=effect) if named else effect


def _loudness(result: TestResult) -> float:
    """How clearly a measurement speaks, on the scale of an e-value's logarithm; a p-value is read as its inverse."""
    if result.log_evalue is not None:
        return result.log_evalue
    p = -(result.log_pvalue or 0.0)
    return p if p >= SIGN else 0.0


def colon(lang: Language) -> Span:
    """What stands between a label and what it labels."""
    return Span(lang.messages["word.colon"])
