"""The body of a notice: numbered paragraphs, each of which knows on what it rests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from stillwatch.cases.case_summary import logs
from stillwatch.cases.claims import (
    answer_panel,
    beside,
    claim_panel,
    code,
    joined,
    name_of,
    predecessors,
    replacement,
    user,
    withdrawal_of,
)
from stillwatch.cases.content import (
    AUTHOR,
    LITERATURE,
    THIS,
    Beside,
    Block,
    Paragraph,
    Section,
    Span,
    Table,
    Text,
)
from stillwatch.cases.finding_section import how_sure, share_of, tested
from stillwatch.cases.languages import Language
from stillwatch.cases.leaving import letters_of
from stillwatch.cases.own_words import own
from stillwatch.cases.plain_words import UNTESTED, plain_table, title_of, typical
from stillwatch.records import Card, Case, Finding, Indicator, Notice, NoticeKind

FULL = 20
"""Claims of one notice; a longer list is no notice but a report."""
ROWS = 300
PUBLISHED = tuple(
    LITERATURE + where
    for where in (
        "Gudibande et al., The False Promise of Imitating Proprietary LLMs, arXiv:2305.15717",
        "Qi et al., Fine-tuning Aligned Language Models Compromises Safety, arXiv:2310.03693",
        "Cloud et al., Language models transmit behavioural traits through hidden signals in data, Nature 2026",
    )
)
"""What is known of models that were trained on the answers of others, in the order in which the notice says it."""


SAID_ELSEWHERE = (
    UNTESTED,
    "cannot tell whether it is ",
    "the largest e-value ",
    "the finding is about accounts in this log",
)
"""How limits begin that a notice says in another paragraph, or in plainer words."""


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
    indicators: tuple[Indicator, ...] | None
    """None: no annex of indicators."""
    cards: Mapping[str, Card]

    def subject(self, finding: Finding) -> Text:
        """What a group is called: the caller's words, or its pseudonym."""
        name = name_of(finding)
        return user(self.names.get(finding.subject) or self.names.get(name) or name)

    def party(self, name: str) -> Text:
        """What a party is called: the caller's words, its pseudonym, a letter where there are several, or no name."""
        if name in self.names:
            return user(self.names[name])
        if name in self.case.subjects:
            return user(name)
        if sum(self._nameless(one) for one in self._heard()) < 2:
            return self.lang.say("answer.party")
        return self.lang.say("answer.one_party", letter=letters_of(self.case)[name])

    def supported(self) -> list[Finding]:
        """Those that the notice claims; the others it asks about."""
        return [f for f in self.findings if f.decision == "supported"]

    def _nameless(self, party: str) -> bool:
        return party not in self.names and party not in self.case.subjects

    def _heard(self) -> set[str]:
        """Parties that were asked about what the notice says, or answered."""
        ids = {""}
        for finding in self.findings:
            ids |= {finding.id, *predecessors(self.case, finding.id)}
            gone = withdrawal_of(self.case, finding.id)
            new = replacement(self.case, gone) if gone is not None else None
            ids |= {new.id, *predecessors(self.case, new.id)} if new is not None else set()
        asked = {a.party for a in self.case.asked if a.finding in ids}
        return asked | {a.party for a in self.case.answers if a.finding in ids}


def reference(case: Case, notice: Notice) -> Text:
    """By what a notice is cited, and by what the commands know it: its case, and the beginning of its id."""
    return (*code(case.id), Span(" / "), *code(notice.id[:12]))


def sections(parts: Parts) -> tuple[Section, ...]:
    """Everything between the head of a notice and its map of sources."""
    made = [_purpose(parts)]
    if parts.kind == "correction":
        made += [_corrected(parts)]
    else:
        made += [_known(parts), *_asserted(parts), _unknown(parts)]
        # Of a risk from what is only asked about, there is nothing to say.
        made += [_risk(parts)] if parts.supported() else []
    made += [_action(parts), _contact(parts)]
    if parts.indicators is not None:
        made.append(_annex(parts, parts.indicators))
    return tuple(made)


def _purpose(parts: Parts) -> Section:
    say = parts.lang.say
    purpose = f"notice.purpose_{parts.kind}"
    if parts.kind in ("alert", "demarche") and any("harvesting" not in f.details for f in parts.findings):
        purpose += "_other"
    if parts.kind == "disclosure" and not parts.supported():
        purpose += "_open"
    if parts.kind == "partner" and not parts.indicators:
        purpose += "_bare"
    blocks = (Paragraph(say(purpose)), Paragraph(say("notice.not_accusation")))
    return Section(say("notice.purpose"), blocks)


def _known(parts: Parts) -> Section:
    """How large the log was; of each finding counts, what was measured (also what found nothing and what could not be
    tested), and what accounts do."""
    lang, between = parts.lang, parts.lang.messages["word.list"]
    blocks: list[Block] = [*logs(parts.case, parts.findings[:FULL], lang)]
    for finding in parts.findings[:FULL]:
        rests = (finding.id,)
        if counts := _counts(parts, finding):
            blocks.append(Paragraph(counts, (*rests, *_evidence(parts.case, finding))))
        if found_by := finding.details.get("proposed_by"):
            what = title_of(str(found_by), parts.cards, lang)
            blocks.append(Paragraph(lang.say("notice.known_found_by", what=what), rests))
        if does := typical(finding, lang):
            blocks.append(Paragraph(lang.say("notice.known_typical", words=joined(does, between)), rests))
        if (table := plain_table(finding, lang, parts.cards)) is not None:
            blocks.append(table)
    return Section(lang.say("notice.known"), tuple(blocks))


def _counts(parts: Parts, finding: Finding) -> Text:
    """How many accounts and exchanges, from when to when, which share, and what is asked for; empty: not counted."""
    lang, details = parts.lang, finding.details
    said: list[Text] = []
    if isinstance(details.get("accounts"), int) and isinstance(details.get("exchanges"), int):
        said.append(
            lang.say(
                "notice.known_counts",
                subject=parts.subject(finding),
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
        said.append(lang.say("notice.known_takes", takes=own(str(details["takes"]), lang)))
    return joined(said, lang.messages["word.between"])


def _evidence(case: Case, finding: Finding) -> tuple[str, ...]:
    known = {e.sha256 for e in case.evidence}
    return tuple(e for e in finding.evidence if e in known)


def _asserted(parts: Parts) -> list[Section]:
    """What is claimed; and apart from it, what is only asked."""
    lang, claimed = parts.lang, parts.supported()[:FULL]
    asked = [f for f in parts.findings if f not in parts.supported()][: FULL - len(claimed)]
    made = []
    for title, intro, findings in (("asserted", "asserted_intro", claimed), ("open", "open_intro", asked)):
        blocks: list[Block] = [Paragraph(lang.say(f"notice.{intro}"))]
        for finding in findings:
            blocks.append(beside(parts.case, finding, lang, parts.today, parts.party, whole=True))
            blocks += _sure(finding, lang) if title == "asserted" else []
        if findings:
            made.append(Section(lang.say(f"notice.{title}"), tuple(blocks)))
    if (left := len(parts.findings) - FULL) > 0:
        said = lang.say("word.more_rows", shown=lang.count("rows", FULL), left=left)
        made.append(Section(lang.say("notice.asserted"), (Paragraph(said, (parts.case.id,)),)))
    return made


def _sure(finding: Finding, lang: Language) -> list[Block]:
    """How sure a claim is, as a bound and without an e-value; that of a finding with no line, as a report says it."""
    rests, found, needed = (finding.id,), finding.log_evalue, finding.log_evalue_needed
    sure = (
        how_sure(finding, lang)
        if found is None or found <= 0 or needed is None
        else lang.say(
            "notice.sure", tested=_tested(finding, lang), odds=lang.odds(found), needed=lang.odds(needed)
        )
    )
    strength = (
        lang.say("finding.strength", strength=own(finding.strength, lang))
        if finding.strength
        else lang.say("finding.strength_none")
    )
    return [Paragraph(sure, rests), Paragraph(strength, rests)]


def _tested(finding: Finding, lang: Language) -> Text:
    """The explanation against which the figure speaks; a notice has no room for those of single measurements."""
    return tested(finding, lang) if "gamma" in finding.details else lang.say("notice.tested_elsewhere")


def _unknown(parts: Parts) -> Section:
    lang, between = parts.lang, parts.lang.messages["word.list"]
    blocks: list[Block] = [
        Paragraph(lang.say("notice.unknown_who")),
        Paragraph(lang.say("notice.unknown_where")),
    ]
    for finding in parts.findings[:FULL]:
        subject = parts.subject(finding)
        named: tuple[tuple[str, list[Text]], ...] = (
            ("unknown_open", [own(a.name, lang) for a in finding.alternatives if a.excluded is False]),
            ("unknown_untold", [own(a.name, lang) for a in finding.alternatives if a.excluded is None]),
        )
        said = [
            lang.say(f"notice.{key}", subject=subject, names=joined(names, between))
            for key, names in named
            if names
        ]
        said += [
            lang.say("notice.unknown_limits", subject=subject, limit=own(limit, lang))
            for limit in finding.limits
            if not limit.startswith(SAID_ELSEWHERE)
        ]
        blocks += [Paragraph(text, (finding.id,)) for text in said]
    return Section(lang.say("notice.unknown"), tuple(blocks))


def _risk(parts: Parts) -> Section:
    say = parts.lang.say
    blocks = (Paragraph(say("notice.risk_text"), PUBLISHED), Paragraph(say("notice.risk_ask"), PUBLISHED))
    return Section(say("notice.risk"), blocks)


def _action(parts: Parts) -> Section:
    lang = parts.lang
    usual = f"notice.action_{parts.kind}"
    if parts.kind in ("alert", "partner") and not parts.indicators:
        usual += "_bare"
    if parts.kind == "disclosure" and not parts.supported():
        usual += "_open"
    asked = user(parts.action) or lang.say(usual)
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
    """Which notice is corrected, and what it said. To whom it went besides is nobody's business here."""
    lang, case = parts.lang, parts.case
    blocks: list[Block] = []
    for notice in parts.corrected:
        said = lang.say(
            "notice.corrected_notice",
            title=notice.title,
            at=(Span(lang.day(notice.created_at)),),
            kind=lang.say(f"kind.{notice.kind}"),
            id=reference(case, notice),
        )
        blocks.append(Paragraph(said, (notice.id,)))
    for finding in parts.findings:
        gone = withdrawal_of(case, finding.id)
        if gone is None:
            continue
        new = replacement(case, gone)
        key = "corrected_finding" if new is None else "corrected_replaced"
        said = lang.say(f"notice.{key}", subject=parts.subject(finding), at=(Span(lang.day(gone.at)),))
        blocks.append(Paragraph(said, (finding.id, case.id)))
        # The answer to what was claimed, and to what is claimed now.
        answered = finding if new is None else new
        answers = answer_panel(case, answered.id, lang, parts.today, parts.party, whole=True)
        blocks.append(Beside(claim_panel(case, finding, lang), answers))
    return Section(lang.say("notice.corrected"), tuple(blocks))


def _annex(parts: Parts, shared: tuple[Indicator, ...]) -> Section:
    lang, ids = parts.lang, {f.id for f in parts.findings}
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
        (*own(indicator.kind, lang), Span("\n"), *code(indicator.pattern)),
        user(indicator.language),
        lang.say("number.days", first=(Span(first),), last=(Span(last),)),
        lang.text(indicator.confidence),
        lang.say("number.of", k=indicator.benign_hits, n=indicator.benign_of)
        if indicator.benign_of
        else lang.say("notice.not_measured"),
        code(indicator.tlp),
    )
