"""Numbers as sentences."""

from __future__ import annotations

import math
from functools import cache

from stillwatch import plugins
from stillwatch.campaigns.alternatives import Facts
from stillwatch.campaigns.scoring import ACTS_AS_ONE, Score
from stillwatch.records import Card, Decision


def power(log_value: float | None) -> str:
    """A natural logarithm as a number with two digits, however large or small: ``3.1e+41``, ``0.4``."""
    if log_value is None:
        return "not tested"
    tens = log_value / math.log(10)
    if -2 < tens < 4:
        return f"{math.exp(log_value):.2g}" if tens < 2 else f"{math.exp(log_value):.0f}"
    exponent = math.floor(tens)
    mantissa = round(10 ** (tens - exponent), 1)
    if mantissa >= 10:
        mantissa, exponent = 1.0, exponent + 1
    return f"{mantissa:g}e{exponent:+03d}"


def claim(decision: Decision, accounts: int, log_needed: float, result: Score) -> str:
    """The sentence of a finding. It speaks of accounts and of data, never of a person."""
    if decision == "supported":
        return f"{accounts} accounts act as one, and what they do has the shape of harvesting."
    if decision == "inconclusive":
        return f"Whether these {accounts} accounts act as one and harvest cannot be told from this log."
    if result.acts_as_one is not None and result.acts_as_one >= log_needed:
        return f"{accounts} accounts act as one, but what they do does not have the shape of harvesting."
    return f"These {accounts} accounts were not shown to act as one."


@cache
def _cards() -> dict[str, Card]:
    return {name: signal.CARD for name, signal in plugins.find("campaigns.signals").items()}


def confirmed(result: Score, facts: Facts) -> list[str]:
    """One sentence for each kind of evidence that speaks for acting as one, the strongest first."""
    titles = _cards()
    tests = [t for t in result.results if titles[t.test.partition("@")[0]].question == ACTS_AS_ONE]
    sentences = []
    for test in sorted(tests, key=lambda t: -(t.log_evalue or 0.0)):
        if (test.log_evalue or 0.0) <= 0:
            continue
        name = test.test.partition("@")[0]
        share = test.statistic / test.n
        expected = share - (test.effect or 0.0)
        extra = ""
        if name == "registration" and facts.registered_days is not None:
            extra = f"; four fifths within {facts.registered_days:.0f} days"
        if name == "shared_infrastructure" and facts.with_card:
            extra = f"; {facts.cards} payment tokens for {facts.with_card} accounts"
        sentences.append(
            f"{titles[name].title}: {share:.0%} of members as predicted from the others, "
            f"matched accounts {expected:.0%} (e = {power(test.log_evalue)}{extra})"
        )
    return sentences


def harvest(shape: dict[str, float]) -> list[str]:
    """What a typical member does, one sentence a measurement."""
    phrases = {
        "follow_ups": "{:.0%} of its requests continue a conversation",
        "distinct_prompts": "{:.0%} of its prompts are asked once only",
        "hours": "it uses {:.0%} of the hours of the day that random times would",
        "token_yield": "it takes {:.1f} tokens for each token it sends",
        "elicited": "{:.0%} of its requests ask for reasoning, grading or rewriting",
    }
    return [text.format(shape[key]) for key, text in phrases.items() if shape.get(key) is not None]


def takes(shape: dict[str, float]) -> str:
    """What is taken, in a few words."""
    elicited = shape.get("elicited")
    if elicited is None:
        return ""
    return "reasoning" if elicited >= 0.5 else "answers"
