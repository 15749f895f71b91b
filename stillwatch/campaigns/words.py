"""Numbers as sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from stillwatch import plugins
from stillwatch.campaigns.alternatives import Facts
from stillwatch.campaigns.scoring import ACTS_AS_ONE, Score
from stillwatch.records import Card, Decision, Finding, TestResult


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


@cache
def _events() -> set[str]:
    """Signals of something that happens to an account or does not, whatever happened to others."""
    signals = plugins.find("campaigns.signals")
    return {name for name, signal in signals.items() if signal.VALUES.kind in ("event", "starts")}


def confirmed(result: Score, facts: Facts) -> list[str]:
    """One sentence for each kind of evidence that speaks for acting as one, the strongest first: what was counted."""
    titles = _cards()
    tests = [t for t in result.results if titles[t.test.partition("@")[0]].question == ACTS_AS_ONE]
    sentences = []
    for test in sorted(tests, key=lambda t: -(t.log_evalue or 0.0)):
        if (test.log_evalue or 0.0) <= 0:
            continue
        name = test.test.partition("@")[0]
        extra = ""
        if name == "registration" and facts.registered_days is not None:
            extra = f"; four fifths within {facts.registered_days:.0f} days"
        if name == "shared_infrastructure" and facts.with_card:
            cards = "1 payment token" if facts.cards == 1 else f"{facts.cards} payment tokens"
            extra = f"; {cards} for {facts.with_card} accounts"
        sentences.append(f"{titles[name].title}: {counted(test)}{extra}")
    return sentences


def counted(test: TestResult) -> str:
    """What a measurement of "acts as one" came to, without its e-value."""
    if test.unit != "bets on a member":
        effect, what = test.effect or 0.0, test.effect_name.partition(",")[0]
        return f"{abs(effect):.0%} {'more' if effect > 0 else 'fewer'} {what} than chance and habit give"
    won, share = round(test.statistic), test.statistic / test.n
    expected = part(max(0.0, share - (test.effect or 0.0)))
    seen = "show it" if test.test.partition("@")[0] in _events() else "as predicted from those before them"
    return f"{won} of {test.n} accounts {seen}, of matched accounts {expected}"


def harvest(shape: dict[str, float]) -> list[str]:
    """What a typical member does, one sentence a measurement."""
    phrases = {
        "follow_ups": "{:.0%} of its requests continue a conversation",
        "distinct_prompts": "{:.0%} of its prompts are asked once only",
        "hours": "it uses {:.0%} of the hours of the day that random times would",
        "token_yield": "it takes {:.1f} tokens for each token it sends",
        "elicited": "{:.0%} of its requests ask for reasoning, grades, rewritings, probabilities or several choices",
    }
    return [text.format(shape[key]) for key, text in phrases.items() if shape.get(key) is not None]


def takes(shape: dict[str, float], taken: Mapping[str, Any]) -> str:
    """What is taken, in a few words: the kinds that make up a quarter of it, the largest first."""
    if taken:
        return " and ".join(_main_kinds(taken)[:2])
    elicited = shape.get("elicited")
    if elicited is None:
        return ""
    return "more than answers" if elicited >= 0.5 else "answers"


def _main_kinds(taken: Mapping[str, Any]) -> list[str]:
    return [kind for kind, n in taken["kinds"].items() if n >= 0.25 * taken["exchanges"]] or ["answers"]


def many(number: float) -> str:
    """A large number in a few characters: ``950``, ``71 k``, ``3.1 M``, ``41 M``."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f} {unit}" if number < 10 * size else f"{number / size:,.0f} {unit}"
    return f"{number:,.0f}"


def part(share: float) -> str:
    """``97%``; never ``100%`` or ``0%`` for what is not all or nothing."""
    if 0 < share < 0.005:
        return "under 1%"
    if 0.995 <= share < 1:
        return "over 99%"
    return f"{share:.0%}"


def between(share: float, low: float | None, high: float | None) -> str:
    """``79%``, with its interval where there is one: ``79% (75 to 83%)``."""
    if low is None or high is None:
        return part(share)
    return f"{part(share)} ({100 * low:.0f} to {100 * high:.0f}%)"


def what_was_taken(taken: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Label and sentence of everything that is known of what a group took, in the order in which it is read."""
    if not taken:
        return []
    n = taken["exchanges"]
    tokens = "" if taken["output_tokens"] is None else f", {many(taken['output_tokens'])} output tokens"
    if taken["reasoning_tokens"]:
        tokens += f", {many(taken['reasoning_tokens'])} of reasoning"
    tasks = "its prompts are not known" if taken["tasks"] is None else f"{taken['tasks']:,} distinct tasks"
    said = [("taken", f"{n:,} exchanges{tokens}; {tasks}")]
    if taken["tasks"]:
        several = taken["asked_by_several"]
        split = (
            "none is asked by two accounts"
            if not several
            else f"{part(several / taken['tasks'])} of the tasks are asked by two accounts or more"
        )
        talk = f"; {part(taken['follow_ups'] / n)} of the exchanges go on with a conversation"
        said.append(("tasks", split + (talk if taken["follow_ups"] else "; no conversation goes on")))
    if taken["carried_in"]:
        brought = part(taken["carried_in"] / n)
        said.append(
            ("replayed", f"{brought} of the exchanges bring a conversation that did not begin in this log")
        )
    said.append(("kinds", ", ".join(f"{kind} {part(k / n)}" for kind, k in taken["kinds"].items())))
    if taken["refused"]:
        said.append(("refused", f"{part(taken['refused'] / n)} of the exchanges"))
    models = [
        f"{m['model']} {part(m['exchanges'] / n)}" + ("" if m["output_tokens"] == 0 else
        f" ({many(m['output_tokens'])} tokens)") for m in taken["models"][:4]
    ]  # fmt: skip
    left = len(taken["models"]) - 4
    said.append(("models", ", ".join(models) + (f" and {left} more" if left > 0 else "")))
    said += [("topics", sentence) for sentence in _topics(taken["families"])]
    said += [("moved", f"{move['day']}: {move['what']}") for move in taken["moves"]]
    said += [
        ("paused", f"{p['first']}" + (f" to {p['last']}, {p['days']} days" if p["days"] > 1 else ""))
        for p in taken["pauses"]
    ]
    return said


def _topics(families: Sequence[Mapping[str, Any]]) -> list[str]:
    """Families of tasks that are much alike; what they are about can be said only where text was kept."""
    if not families:
        return [
            "no families: apart from the shared text hardly two tasks are alike (text of tasks is not kept)"
        ]
    named = [f for f in families if f["text"]]
    said = [f"{part(f['share'])} are alike: “{f['text'][:60]}”" for f in named]
    rest = [f for f in families if not f["text"]]
    if rest:
        more = f"{len(rest)} families of tasks that are alike, {part(sum(f['share'] for f in rest))} of all"
        said.append(f"{more}; naming them needs kept text")
    return said


VERDICTS = {True: "excluded", False: "NOT excluded", None: "cannot tell"}


def explained(finding: Finding, titles: Mapping[str, str]) -> list[tuple[str, str]]:
    """A finding as rows of a screen: a label (empty: goes on with the one above) and a sentence.

    What nearly all accounts fit as well stands right under the decision, before anything that speaks against them.
    """
    facts = finding.details
    rows = [("decision", finding.decision + (f" ({facts['reason']})" if facts["reason"] else ""))]
    rows += _labelled("not excluded", [f"for nearly all accounts: {n}" for n in facts["open_for_nearly_all"]])
    apart = [f"{n:,} accounts: {reason}" for reason, n in facts["exempt"].items()]
    rows += _labelled("exempt", [*apart, "they stand apart; what follows is without them"] if apart else [])
    if facts.get("set_apart"):
        rows.append(
            (
                "set apart",
                f"{facts['set_apart']:,} accounts with the same text or value, unlike the others",
            )
        )
    rows.append(("proposed by", titles.get(facts["proposed_by"], facts["proposed_by"])))
    rows += [("", f"“{text[:400]}”") for text in facts["texts"][:3]]
    of = {titles.get(name := r.test.partition("@")[0], name): power(r.log_evalue) for r in finding.results}
    confirmed_by = [f"{s} (e = {of.get(s.partition(':')[0], 'not known')})" for s in facts["confirmed_by"]]
    rows += _labelled("confirmed by", confirmed_by or ["nothing that the proposer did not use"])
    rows += _labelled("typical member", facts["harvest_words"] or ["too few exchanges to tell"])
    label = ""
    for name, sentence in facts["taken_words"]:
        rows.append(("" if name == label else name, sentence))
        label = name
    if facts["share"] is not None:
        share = between(facts["share"], facts["share_low"], facts["share_high"])
        by = f", told by {facts['share_by']}" if facts["share_by"] else ""
        rows.append(("share", f"{share} of these accounts' requests{by}"))
    elif facts["share_by"]:
        rows.append(("share", f"cannot be told: {facts['share_by']}"))
    rows.append(("acts as one", f"e = {power(facts['acts_as_one'])}"))
    rows.append(("harvesting", f"e = {power(facts['harvesting'])}"))
    needed = power(finding.log_evalue_needed)
    rows.append(("needed", f"the smaller of the two at least {needed}, for one group alone"))
    rows += _labelled(
        "innocent", [f"{a.name}: {VERDICTS[a.excluded]} ({a.by})" for a in finding.alternatives]
    )
    rows += _labelled("limits", finding.limits)
    return [*rows, ("finding", finding.id[:16])]


def _labelled(label: str, sentences: Sequence[str]) -> list[tuple[str, str]]:
    return [(label if i == 0 else "", sentence) for i, sentence in enumerate(sentences)]
