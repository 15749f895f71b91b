"""One finding in full: the claim and its answer, how sure it is, what was measured, and what else could explain it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date
from typing import Any

from stillwatch.cases.claims import Party, beside, code, decision_words, joined, name_of, user, withdrawal_of
from stillwatch.cases.content import METHOD, Block, Figure, Paragraph, Quote, Section, Span, Table, Text
from stillwatch.cases.languages import Language
from stillwatch.cases.words import power
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
    facts = _facts(finding, lang)
    if facts:
        blocks.append(Table(lang.say("finding.facts"), (), tuple(facts), rests))
    blocks += _figures(finding, lang, cards)
    top = Section(title, tuple(blocks), 2, rests, mark=top.mark)
    return [
        top,
        Section(lang.say("finding.sure"), tuple(_sure(finding, lang)), 3),
        *_measured(finding, lang, cards),
        Section(lang.say("finding.alternatives"), (_alternatives(finding, lang),), 3),
        Section(lang.say("finding.limits"), tuple(_limits(finding, lang)), 3),
    ]


def _facts(finding: Finding, lang: Language) -> list[tuple[Text, Text]]:
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
    if details.get("takes"):
        rows.append((lang.say("finding.takes"), user(str(details["takes"]))))
    if details.get("set_apart"):
        rows.append((lang.say("finding.set_apart"), lang.text(int(details["set_apart"]))))
    if details.get("confirmed_by"):
        said = [user(str(sentence)) for sentence in details["confirmed_by"]]
        rows.append((lang.say("finding.confirmed"), joined(said, "\n")))
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
        data = {"daily": dict(details["daily"]), "title": f"Exchanges of {name} per day"}
        blocks.append(Figure("timeline", data, lang.say("finding.timeline"), rests))
    members = [m for m in details.get("members", []) if m.get("evidence")][:SHOWN_MEMBERS]
    if members:
        ties = [
            {_title(kind, cards): bool(held) for kind, held in member["evidence"].items()}
            for member in members
        ]
        held: dict[str, Any] = {
            "evidence": ties,
            "total": int(details.get("accounts") or len(members)),
            "title": f"What ties the accounts of {name}",
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
        blocks.append(Paragraph(lang.say(said, answer=answer, e=code(power(found))), rests))
    if len(asked) == 2:
        blocks.append(Paragraph(lang.say("finding.both"), rests))
    strength = (
        lang.say("finding.strength", strength=user(finding.strength))
        if finding.strength
        else lang.say("finding.strength_none")
    )
    return [*blocks, Paragraph(strength, rests)]


def how_sure(finding: Finding, lang: Language) -> Text:
    """The finding's figure as odds, against the line of its family."""
    family = user(finding.family) or lang.say("finding.family_untold")
    found, needed = finding.log_evalue, finding.log_evalue_needed
    if found is None:
        return lang.say("finding.sure_untold")
    if found <= 0:
        return lang.say("finding.sure_none", e=code(power(found)), family=family)
    if needed is None:
        return lang.say("finding.sure_e_only", odds=lang.odds(found), e=code(power(found)), family=family)
    return lang.say(
        "finding.sure_e",
        odds=lang.odds(found),
        e=code(power(found)),
        needed=lang.odds(needed),
        needed_e=code(power(needed)),
        family=family,
    )


def _answer(found: float, needed: float | None, lang: Language) -> Text:
    if needed is None:
        return lang.say("finding.question_untold")
    if found >= needed:
        return lang.say("finding.question_yes")
    return lang.say("finding.question_sign" if found > 0 else "finding.question_no")


def _title(test: str, cards: Mapping[str, Card]) -> str:
    name = test.partition("@")[0]
    return cards[name].title if name in cards else name.replace("_", " ")


def _measured(finding: Finding, lang: Language, cards: Mapping[str, Card]) -> list[Section]:
    if not finding.results:
        return []
    rows = tuple(
        (
            (Span(_title(r.test, cards), "user"), Span("\n"), Span(r.null.hypothesis, "user")),
            odds_of(r, lang),
            _effect(r, lang),
            lang.say("finding.size", n=r.n, unit=user(r.unit)),
        )
        for r in finding.results
    )
    head = tuple(lang.say(f"column.{c}") for c in ("measured", "odds", "effect", "on"))
    methods = tuple(METHOD + r.test for r in finding.results if r.test.partition("@")[0] in cards)
    rests = (finding.id, *dict.fromkeys(methods))
    blocks: list[Block] = [Table(lang.say("finding.tests_table"), head, rows, rests)]
    assumed = list(dict.fromkeys(a for r in finding.results for a in r.assumptions))
    if assumed:
        states = {"checked": "checked_yes", "not checked": "checked_no", "violated": "checked_violated"}
        held = tuple(
            (user(a.text), joined([lang.say(f"finding.{states[a.status]}"), user(a.observed)]
                                  if a.observed else [lang.say(f"finding.{states[a.status]}")], ": "))
            for a in assumed
        )  # fmt: skip
        columns = (lang.say("finding.assumption"), lang.say("finding.checked"))
        blocks.append(Table(lang.say("finding.assumes_table"), columns, held, rests))
    return [Section(lang.say("finding.tests"), tuple(blocks), 3)]


def odds_of(result: TestResult, lang: Language) -> Text:
    """A test's p- and e-value as odds, and how far it could have gone."""
    said: list[Text] = []
    if result.log_evalue is not None:
        e = code(power(result.log_evalue))
        said.append(
            lang.say("finding.e", odds=lang.odds(result.log_evalue), e=e)
            if result.log_evalue > 0
            else lang.say("finding.e_none", e=e)
        )
    if result.log_pvalue is not None:
        said.append(
            lang.say("finding.p", odds=lang.odds(result.log_pvalue), p=code(power(result.log_pvalue)))
        )
    ceiling = result.log_evalue_ceiling
    if ceiling is not None and 0 < ceiling < math.inf:
        said.append(lang.say("finding.ceiling", odds=lang.odds(ceiling)))
    return joined(said, "\n")


def _effect(result: TestResult, lang: Language) -> Text:
    if result.effect is None:
        return lang.say("word.not_given")
    effect = lang.text(result.effect)
    if result.interval is not None:
        low, high = result.interval
        effect = lang.say("number.bounds", value=effect, low=_bound(low, lang), high=_bound(high, lang))
    if not result.effect_name:
        return effect
    return lang.say("finding.effect", name=user(result.effect_name), effect=effect)


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
    rows = tuple((user(a.name), lang.say(f"finding.{said[a.excluded]}"), user(a.by)) for a in order)
    head = tuple(lang.say(f"column.{c}") for c in ("explanation", "excluded", "by_what"))
    return Table(lang.say("finding.alternatives_table"), head, rows, (finding.id,))


def _limits(finding: Finding, lang: Language) -> list[Block]:
    order = sorted(finding.limits, key=lambda limit: limit.startswith("not tested:"))
    blocks: list[Block] = [Paragraph(user(limit), (finding.id,)) for limit in order]
    if not blocks:
        blocks = [Paragraph(lang.say("finding.limits_none"), (finding.id,))]
    run = code(finding.run[:16]) or lang.say("word.none")
    evidence = joined([code(e[:16]) for e in finding.evidence], ", ") or lang.say("word.none")
    rests = (finding.id, *finding.evidence, *((finding.run,) if finding.run else ()))
    origin = lang.say("finding.origin", id=code(finding.id[:16]), run=run, evidence=evidence)
    return [*blocks, Paragraph(origin, rests)]
