"""The body of a notice: numbered paragraphs, each of which knows on what it rests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from stillwatch.cases.claims import (
    beside,
    code,
    joined,
    name_of,
    replacement,
    user,
    whole_case,
    withdrawal_of,
)
from stillwatch.cases.content import AUTHOR, THIS, Block, Paragraph, Section, Span, Table, Text
from stillwatch.cases.finding_section import how_sure, share_of
from stillwatch.cases.languages import Language
from stillwatch.records import Case, Finding, Indicator, Notice, NoticeKind

FULL = 20
"""Claims of one notice; a longer list is no notice but a report."""
ROWS = 300
LIMITS = 4
"""Limits of one finding that are told; the report has them all."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the sections of one notice are made from."""

    case: Case
    kind: NoticeKind
    lang: Language
    findings: tuple[Finding, ...]
    corrected: tuple[Notice, ...]
    today: date
    names: Mapping[str, str]
    action: str
    due: str
    contact: str
    indicators: bool

    def subject(self, finding: Finding) -> Text:
        """What a group is called: the caller's words, or its pseudonym."""
        name = name_of(finding)
        return user(self.names.get(finding.subject) or self.names.get(name) or name)

    def party(self, name: str) -> Text:
        """What a party is called: the caller's words, its pseudonym, or no name at all."""
        if name in self.names:
            return user(self.names[name])
        if name in self.case.subjects:
            return user(name)
        return self.lang.say("answer.party")


def sections(parts: Parts) -> tuple[Section, ...]:
    """Everything between the head of a notice and its map of sources."""
    made = [_purpose(parts)]
    if parts.kind == "correction":
        made += [_corrected(parts)]
    else:
        made += [_known(parts), _asserted(parts)]
    answers = whole_case(parts.case, parts.lang, parts.today, parts.party, "report.answers_claim")
    if answers is not None:
        made.append(Section(parts.lang.say("notice.whole_case"), (answers,)))
    if parts.kind != "correction":
        made += [_unknown(parts), _risk(parts)]
    made += [_action(parts), _contact(parts)]
    if parts.indicators:
        made.append(_annex(parts))
    return tuple(made)


def _purpose(parts: Parts) -> Section:
    say = parts.lang.say
    blocks = (
        Paragraph(say(f"notice.purpose_{parts.kind}")),
        Paragraph(say("notice.not_accusation")),
    )
    return Section(say("notice.purpose"), blocks)


def _known(parts: Parts) -> Section:
    lang = parts.lang
    blocks: list[Block] = []
    for finding in parts.findings[:FULL]:
        details, subject = finding.details, parts.subject(finding)
        said: list[Text] = []
        if isinstance(details.get("accounts"), int) and isinstance(details.get("exchanges"), int):
            said.append(
                lang.say(
                    "notice.known_counts",
                    subject=subject,
                    accounts=lang.count("accounts", int(details["accounts"])),
                    exchanges=lang.count("exchanges", int(details["exchanges"])),
                )
            )
        if details.get("since"):
            first, last = (lang.day(str(details.get(k) or details["since"])) for k in ("since", "until"))
            said.append(lang.say("notice.known_period", first=(Span(first),), last=(Span(last),)))
        if details.get("share") is not None:
            said.append(lang.say("notice.known_share", share=share_of(details, lang)))
        if details.get("takes"):
            said.append(lang.say("notice.known_takes", takes=str(details["takes"])))
        if said:
            blocks.append(Paragraph(joined(said, " "), (finding.id, *_evidence(parts.case, finding))))
        confirmed = details.get("confirmed_by", [])[:FULL]
        blocks += [Paragraph(user(str(sentence)), (finding.id,)) for sentence in confirmed]
    if not parts.findings:
        blocks.append(Paragraph(lang.say("notice.known_none"), (parts.case.id,)))
    return Section(lang.say("notice.known"), tuple(blocks))


def _evidence(case: Case, finding: Finding) -> tuple[str, ...]:
    known = {e.sha256 for e in case.evidence}
    return tuple(e for e in finding.evidence if e in known)


def _asserted(parts: Parts) -> Section:
    lang = parts.lang
    blocks: list[Block] = [Paragraph(lang.say("notice.asserted_intro"))]
    for finding in parts.findings[:FULL]:
        blocks.append(beside(parts.case, finding, lang, parts.today, parts.party))
        blocks.append(Paragraph(how_sure(finding, lang), (finding.id,)))
        strength = (
            lang.say("finding.strength", strength=finding.strength)
            if finding.strength
            else lang.say("finding.strength_none")
        )
        blocks.append(Paragraph(strength, (finding.id,)))
    if len(parts.findings) > FULL:
        left = len(parts.findings) - FULL
        said = lang.say("word.more_rows", shown=lang.count("rows", FULL), left=left)
        blocks.append(Paragraph(said, (parts.case.id,)))
    return Section(lang.say("notice.asserted"), tuple(blocks))


def _unknown(parts: Parts) -> Section:
    lang = parts.lang
    blocks: list[Block] = [
        Paragraph(lang.say("notice.unknown_who")),
        Paragraph(lang.say("notice.unknown_where")),
    ]
    for finding in parts.findings[:FULL]:
        subject, rests = parts.subject(finding), (finding.id,)
        for state, key in ((False, "unknown_open"), (None, "unknown_untold")):
            names = [user(a.name) for a in finding.alternatives if a.excluded is state]
            if names:
                said = lang.say(
                    f"notice.{key}", subject=subject, names=joined(names, lang.messages["word.list"])
                )
                blocks.append(Paragraph(said, rests))
        blocks += [
            Paragraph(lang.say("notice.unknown_limits", subject=subject, limit=limit), rests)
            for limit in _telling(finding.limits)
        ]
    return Section(lang.say("notice.unknown"), tuple(blocks))


def _telling(limits: tuple[str, ...]) -> tuple[str, ...]:
    """Limits of the finding itself before those of a test that could not run."""
    return tuple(sorted(limits, key=lambda limit: limit.startswith("not tested:")))[:LIMITS]


def _risk(parts: Parts) -> Section:
    say = parts.lang.say
    blocks = (Paragraph(say("notice.risk_text")), Paragraph(say("notice.risk_ask")))
    return Section(say("notice.risk"), blocks)


def _action(parts: Parts) -> Section:
    lang = parts.lang
    asked = user(parts.action) or lang.say(f"notice.action_{parts.kind}")
    when = (
        lang.say("notice.action_by", due=(Span(lang.day(parts.due)),))
        if parts.due
        else lang.say("notice.action_no_date")
    )
    return Section(lang.say("notice.action"), (Paragraph(asked, (AUTHOR,)), Paragraph(when, (AUTHOR,))))


def _contact(parts: Parts) -> Section:
    say = parts.lang.say
    said = say("notice.contact_text", contact=parts.contact) if parts.contact else say("notice.contact_none")
    return Section(say("notice.contact"), (Paragraph(said, (AUTHOR,)),))


def _corrected(parts: Parts) -> Section:
    lang, case = parts.lang, parts.case
    blocks: list[Block] = []
    for notice in parts.corrected:
        said = lang.say(
            "notice.corrected_notice",
            title=notice.title,
            at=(Span(lang.day(notice.created_at)),),
            kind=lang.say(f"kind.{notice.kind}"),
            id=code(notice.id[:12]),
            addressees=joined([user(a) for a in notice.addressees], lang.messages["word.list"])
            or lang.say("notice.corrected_nobody"),
        )
        blocks.append(Paragraph(said, (notice.id,)))
    for finding in parts.findings:
        gone = withdrawal_of(case, finding.id)
        if gone is None:
            continue
        new = replacement(case, gone)
        values: dict[str, str | Text] = {
            "subject": parts.subject(finding),
            "at": (Span(lang.day(gone.at)),),
            "claim": finding.claim,
            "reason": gone.reason,
        }
        if new is None:
            blocks.append(Paragraph(lang.say("notice.corrected_finding", **values), (finding.id, case.id)))
        else:
            said = lang.say("notice.corrected_replaced", **values, new=new.claim)
            blocks.append(Paragraph(said, (finding.id, new.id, case.id)))
            blocks.append(beside(case, new, lang, parts.today, parts.party))
    return Section(lang.say("notice.corrected"), tuple(blocks))


def _annex(parts: Parts) -> Section:
    lang, ids = parts.lang, {f.id for f in parts.findings}
    shared = [i for i in parts.case.indicators if ids & set(i.derived_from)]
    title = lang.say("notice.annex_indicators")
    if not shared:
        none = Paragraph(lang.say("notice.indicators_none"))
        return Section(title, (none,))
    columns = ("indicator", "language", "valid", "confidence", "benign", "sharing")
    head = tuple(lang.say(f"column.{c}") for c in columns)
    table = Table(
        lang.say("notice.indicators_table"),
        head,
        tuple(_indicator(i, lang) for i in shared[:ROWS]),
        tuple(dict.fromkeys(f for i in shared[:ROWS] for f in i.derived_from if f in ids)),
    )
    blocks: list[Block] = [table]
    if len(shared) > ROWS:
        said = lang.say("word.more_rows", shown=lang.count("rows", ROWS), left=len(shared) - ROWS)
        blocks.append(Paragraph(said, (THIS,)))
    return Section(title, tuple(blocks))


def _indicator(indicator: Indicator, lang: Language) -> tuple[Text, ...]:
    first, last = lang.day(indicator.valid_from), lang.day(indicator.valid_until)
    return (
        (*user(indicator.kind), Span("\n"), *code(indicator.pattern)),
        user(indicator.language),
        lang.say("number.days", first=(Span(first),), last=(Span(last),)),
        lang.text(indicator.confidence),
        lang.say("number.of", k=indicator.benign_hits, n=indicator.benign_of),
        code(indicator.tlp),
    )
