"""One finding in full: the claim and its answer, how sure it is, what was measured, and what else could explain it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date
from typing import Any

from stillwatch.cases.claims import Party, beside, code, decision_words, joined, name_of, user, withdrawal_of
from stillwatch.cases.content import (
    METHOD,
    Block,
    Figure,
    Paragraph,
    Quote,
    Section,
    Span,
    Table,
    Text,
    string,
)
from stillwatch.cases.languages import Language
from stillwatch.cases.own_words import marked, own
from stillwatch.cases.plain_words import UNTESTED, colon, plain_table, title_of, typical
from stillwatch.records import Card, Case, Finding, TestResult

SHOWN_TEXTS = 3
SHOWN_CHARACTERS = 1200
SHOWN_MEMBERS = 300


def finding_sections(
    case: Case,
    finding: Finding,
    lang: Language,
    *,
    today: date,
    party: Party,
    cards: Mapping[str, Card],
    full: bool = True,
) -> list[Section]:
    """A finding as sections of level 2 and 3; of one that was withdrawn, or if not `full`, claim and answer only."""
    gone = withdrawal_of(case, finding.id)
    decision = decision_words(finding, lang)
    if gone is not None:
        decision = lang.say("decision.corrected" if gone.replaced_by else "decision.withdrawn")
    rests = (finding.id,)
    title = lang.say("finding.title", subject=name_of(finding), decision=decision)
    blocks: list[Block] = [beside(case, finding, lang, today, party)]
    top = Section(title, tuple(blocks), 2, rests, mark=f"f-{finding.id[:16]}")
    if gone is not None or not full:
        return [top]
    facts = _facts(finding, lang, cards)
    if facts:
        blocks.append(Table(lang.say("finding.facts"), (), tuple(facts), rests))
    habits = _habits(finding, lang)
    if habits:
        blocks.append(Table(lang.say("finding.habits"), (), tuple(habits), rests))
    blocks += _figures(finding, lang, cards)
    top = Section(title, tuple(blocks), 2, rests, mark=top.mark)
    plain = plain_table(finding, lang, cards)
    return [
        top,
        Section(lang.say("finding.sure"), tuple(_sure(finding, lang)), 3),
        *([Section(lang.say("finding.plain"), (plain,), 3)] if plain is not None else []),
        *_measured(finding, lang, cards),
        Section(lang.say("finding.alternatives"), (_alternatives(finding, lang),), 3),
        Section(lang.say("finding.limits"), tuple(_limits(finding, lang)), 3),
    ]


def _facts(finding: Finding, lang: Language, cards: Mapping[str, Card]) -> list[tuple[Text, Text]]:
    details = finding.details
    rows = [
        (lang.say(f"finding.{key}"), lang.text(int(details[key])))
        for key in ("accounts", "exchanges")
        if isinstance(details.get(key), int)
    ]
    if details.get("share") is not None:
        rows.append((lang.say("finding.share"), share_of(details, lang)))
    if details.get("since"):
        days = {
            end: (Span(lang.day(str(details.get(end) or details["since"]))),) for end in ("since", "until")
        }
        rows.append(
            (lang.say("finding.days"), lang.say("number.days", first=days["since"], last=days["until"]))
        )
    if details.get("set_apart"):
        rows.append((lang.say("finding.set_apart"), lang.text(int(details["set_apart"]))))
    if details.get("proposed_by"):
        rows.append((lang.say("finding.found_by"), title_of(str(details["proposed_by"]), cards, lang)))
    return rows


def _habits(finding: Finding, lang: Language) -> list[tuple[Text, Text]]:
    """What the accounts do: the facts behind the half of a claim that speaks of harvesting."""
    rows = []
    if does := typical(finding, lang):
        rows.append((lang.say("finding.typical"), joined(does, "\n")))
    if finding.details.get("takes"):
        rows.append((lang.say("finding.takes"), own(str(finding.details["takes"]), lang)))
    return rows


def share_of(details: Mapping[str, Any], lang: Language) -> Text:
    """``80% (78% to 81%)``."""
    share = lang.percent(float(details["share"]))
    if details.get("share_low") is None or details.get("share_high") is None:
        return share
    return lang.say(
        "number.bounds",
        value=share,
        low=lang.percent(float(details["share_low"])),
        high=lang.percent(float(details["share_high"])),
    )


def _figures(finding: Finding, lang: Language, cards: Mapping[str, Card]) -> list[Block]:
    details, rests, name = finding.details, (finding.id,), name_of(finding)
    blocks: list[Block] = []
    if details.get("daily"):
        title = string(lang.say("chart.daily", subject=name))
        data = {"daily": dict(details["daily"]), "title": title, "language": lang.code}
        blocks.append(Figure("timeline", data, lang.say("finding.timeline"), rests))
    members = [m for m in details.get("members", []) if m.get("evidence")][:SHOWN_MEMBERS]
    if members:
        ties = [
            {string(title_of(kind, cards, lang)): bool(held) for kind, held in member["evidence"].items()}
            for member in members
        ]
        held: dict[str, Any] = {
            "evidence": ties,
            "total": int(details.get("accounts") or len(members)),
            "title": string(lang.say("chart.ties", subject=name)),
            "language": lang.code,
        }
        blocks.append(Figure("membership", held, lang.say("finding.membership"), rests))
    texts = [str(text) for text in details.get("texts", [])][:SHOWN_TEXTS]
    if texts:
        blocks.append(Paragraph(lang.say("finding.texts"), rests))
    for text in texts:
        cut = text[:SHOWN_CHARACTERS] + ("…" if len(text) > SHOWN_CHARACTERS else "")
        blocks.append(Quote(user(cut), (), rests))
    return blocks


def _sure(finding: Finding, lang: Language) -> list[Block]:
    rests = (finding.id,)
    blocks: list[Block] = [Paragraph(how_sure(finding, lang), rests)]
    asked = [key for key in ("acts_as_one", "harvesting") if finding.details.get(key) is not None]
    for key in asked:
        said = "finding.question_one" if key == "acts_as_one" else "finding.question_two"
        found = float(finding.details[key])
        answer = _answer(found, finding.log_evalue_needed, lang)
        blocks.append(Paragraph(lang.say(said, answer=answer, e=lang.power(found)), rests))
    if len(asked) == 2:
        blocks.append(Paragraph(lang.say("finding.both"), rests))
    strength = (
        lang.say("finding.strength", strength=own(finding.strength, lang))
        if finding.strength
        else lang.say("finding.strength_none")
    )
    return [*blocks, Paragraph(strength, rests)]


def how_sure(finding: Finding, lang: Language) -> Text:
    """The finding's figure as a bound, against the line of its family, with the explanation that was tested."""
    family = own(finding.family, lang) or lang.say("finding.family_untold")
    found, needed = finding.log_evalue, finding.log_evalue_needed
    if found is None:
        return lang.say("finding.sure_untold")
    if found <= 0:
        return lang.say("finding.sure_none", e=lang.power(found), family=family)
    said: dict[str, Text] = {
        "tested": tested(finding, lang),
        "odds": lang.odds(found),
        "e": lang.power(found),
        "family": family,
    }
    if needed is None:
        return lang.say("finding.sure_e_only", **said)
    return lang.say("finding.sure_e", **said, needed=lang.odds(needed), needed_e=lang.power(needed))


def tested(finding: Finding, lang: Language) -> Text:
    """The explanation against which a finding's figure speaks, and no other.

    Of a group it is that one of two things holds: fewer than two kinds of likeness go beyond gamma, or the shape of
    harvesting does not (`campaigns.scoring`).
    """
    gamma = finding.details.get("gamma")
    if isinstance(gamma, (int, float)) and {"acts_as_one", "harvesting"} <= finding.details.keys():
        return lang.say("finding.tested_group", gamma=float(gamma))
    return lang.say("finding.tested_other")


def _answer(found: float, needed: float | None, lang: Language) -> Text:
    if needed is None:
        return lang.say("finding.question_untold")
    if found >= needed:
        return lang.say("finding.question_yes")
    return lang.say("finding.question_sign" if found > 0 else "finding.question_no")


def _measured(finding: Finding, lang: Language, cards: Mapping[str, Card]) -> list[Section]:
    if not finding.results:
        return []
    rows = tuple(
        (
            (*title_of(r.test, cards, lang), Span("\n"), Span(r.null.hypothesis, "user")),
            odds_of(r, lang),
            _effect(r, lang),
            _reach(r, lang),
        )
        for r in finding.results
    )
    head = tuple(lang.say(f"column.{c}") for c in ("measured", "odds", "effect", "on"))
    methods = tuple(METHOD + r.test for r in finding.results if r.test.partition("@")[0] in cards)
    rests = (finding.id, *dict.fromkeys(methods))
    blocks: list[Block] = [Table(marked(lang.say("finding.tests_table"), lang), head, rows, rests)]
    assumed = list(dict.fromkeys(a for r in finding.results for a in r.assumptions))
    if assumed:
        states = {"checked": "checked_yes", "not checked": "checked_no", "violated": "checked_violated"}
        held = tuple(
            (user(a.text), (*said, colon(lang), *user(a.observed)) if a.observed else said)
            for a in assumed
            for said in [lang.say(f"finding.{states[a.status]}")]
        )
        columns = (lang.say("finding.assumption"), lang.say("finding.checked"))
        blocks.append(Table(marked(lang.say("finding.assumes_table"), lang), columns, held, rests))
    return [Section(lang.say("finding.tests"), tuple(blocks), 3)]


def odds_of(result: TestResult, lang: Language) -> Text:
    """A test's p- and e-value as odds."""
    said: list[Text] = []
    if result.log_evalue is not None:
        e = lang.power(result.log_evalue)
        said.append(
            lang.say("finding.e", odds=lang.odds(result.log_evalue), e=e)
            if result.log_evalue > 0
            else lang.say("finding.e_none", e=e)
        )
    if result.log_pvalue is not None:
        said.append(lang.say("finding.p", odds=lang.odds(result.log_pvalue), p=lang.power(result.log_pvalue)))
    return joined(said, "\n")


def _reach(result: TestResult, lang: Language) -> Text:
    """On how much a test rests, and what it could have shown at most: no result, so it stands apart from one."""
    size = lang.say("finding.size", n=result.n, unit=own(result.unit, lang))
    ceiling = result.log_evalue_ceiling
    if ceiling is None or not 0 < ceiling < math.inf:
        return size
    return joined([size, lang.say("finding.ceiling", odds=lang.odds(ceiling))], "\n")


def _effect(result: TestResult, lang: Language) -> Text:
    if result.effect is None:
        return lang.say("word.not_given")
    effect = lang.text(result.effect)
    if result.interval is not None:
        low, high = result.interval
        effect = lang.say("number.bounds", value=effect, low=_bound(low, lang), high=_bound(high, lang))
    if not result.effect_name:
        return effect
    return lang.say("finding.effect", name=own(result.effect_name, lang), effect=effect)


def _bound(value: float, lang: Language) -> Text:
    if math.isinf(value):
        return (Span("∞" if value > 0 else "−∞", "code"),)
    return lang.text(value)


def _alternatives(finding: Finding, lang: Language) -> Block:
    if not finding.alternatives:
        return Paragraph(lang.say("finding.alternatives_none"), (finding.id,))
    said = {True: "excluded", False: "not_excluded", None: "cannot_tell"}
    # What stands comes first: it is what a reader has to weigh.
    order = sorted(finding.alternatives, key=lambda a: (False, None, True).index(a.excluded))
    rows = tuple((own(a.name, lang), lang.say(f"finding.{said[a.excluded]}"), own(a.by, lang)) for a in order)
    head = tuple(lang.say(f"column.{c}") for c in ("explanation", "excluded", "by_what"))
    return Table(lang.say("finding.alternatives_table"), head, rows, (finding.id,))


def _limits(finding: Finding, lang: Language) -> list[Block]:
    # What could not be tested stands with what was.
    limits = [limit for limit in finding.limits if not limit.startswith(UNTESTED)]
    blocks: list[Block] = [Paragraph(own(limit, lang), (finding.id,)) for limit in limits]
    if not blocks:
        blocks = [Paragraph(lang.say("finding.limits_none"), (finding.id,))]
    run = code(finding.run[:16]) or lang.say("word.none")
    evidence = joined([code(e[:16]) for e in finding.evidence], ", ") or lang.say("word.none")
    rests = (finding.id, *finding.evidence, *((finding.run,) if finding.run else ()))
    origin = lang.say("finding.origin", id=code(finding.id[:16]), run=run, evidence=evidence)
    return [*blocks, Paragraph(origin, rests)]
