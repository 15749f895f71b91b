"""A claim and the answer to it, side by side and drawn alike: the same two panels in reports and notices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Literal

from stillwatch.cases.content import Beside, Panel, Paragraph, Quote, Span, Text
from stillwatch.cases.languages import Language
from stillwatch.cases.own_words import own
from stillwatch.errors import InputError
from stillwatch.records import Answer, Asked, Case, Closing, Delivery, Finding, Withdrawal

State = Literal["stands", "withdrawn", "corrected", "withdrawn with its case"]
"""What became of a finding."""


@dataclass(frozen=True, slots=True)
class Fallen:
    """A finding that no longer stands."""

    state: State
    word: Withdrawal
    """When, by whom and why. That of the case as a whole, where the finding fell with it."""


Party = Callable[[str], Text]
"""How a party is called in a document."""


def name_of(finding: Finding) -> str:
    """What a finding is about, as short as the case knows it."""
    return str(finding.details.get("campaign") or finding.subject)


def user(text: str) -> Text:
    """Words from elsewhere."""
    return (Span(text, "user"),) if text else ()


def code(text: str) -> Text:
    """An identifier."""
    return (Span(text, "code"),) if text else ()


def joined(parts: list[Text], between: str) -> Text:
    """Texts behind one another."""
    spans: list[Span] = []
    for part in parts:
        if spans:
            spans.append(Span(between))
        spans += part
    return tuple(spans)


def moment(text: str, what: str) -> datetime:
    """A stored time or day as a time in UTC.

    Raises
    ------
    InputError
        It is neither.
    """
    try:
        when = datetime.fromisoformat(text)
    except ValueError as problem:
        raise InputError(f"{what}: expected an ISO day or time, found {text!r}") from problem
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def fallen(case: Case) -> dict[str, Fallen]:
    """Every finding that no longer stands, and the latest word on it: what every output has to say beside the claim.

    In a case that was withdrawn nothing stands. A finding that was withdrawn before keeps its own reason; one that was
    corrected does not, because what corrected it fell as well.
    """
    own: dict[str, list[Withdrawal]] = {f.id: [] for f in case.findings}
    for said in case.withdrawals:
        own.setdefault(said.finding, []).append(said)
    found = {finding: _fallen(case, finding, words) for finding, words in own.items()}
    return {finding: gone for finding, gone in found.items() if gone is not None}


def withdrawal_of(case: Case, finding: str) -> Withdrawal | None:
    """The latest word on one finding that no longer stands, as `fallen` says it; None for one that does."""
    gone = _fallen(case, finding, [w for w in case.withdrawals if w.finding == finding])
    return None if gone is None else gone.word


def _fallen(case: Case, finding: str, own: list[Withdrawal]) -> Fallen | None:
    last = max(reversed(own), key=lambda w: moment(w.at, "withdrawal"), default=None)
    if case.status == "withdrawn" and (last is None or last.replaced_by):
        said = case.closing or Closing(case.opened_at, "", "", True)
        return Fallen("withdrawn with its case", Withdrawal(finding, said.at, said.by, said.reason))
    if last is None:
        return None
    return Fallen("corrected" if last.replaced_by else "withdrawn", last)


def last_delivery(case: Case, notice: str, addressee: str) -> Delivery | None:
    """The latest record of a notice at an addressee; of two at one time, the one that was filed later."""
    known = [d for d in case.deliveries if (d.notice, d.addressee) == (notice, addressee)]
    return max(reversed(known), key=lambda d: moment(d.at, "delivery"), default=None)


def answers_to(case: Case, finding: str) -> list[Answer]:
    """Answers to one finding, or (empty id) to the whole case, in the order in which they came."""
    return sorted((a for a in case.answers if a.finding == finding), key=lambda a: a.received_at)


def answered(case: Case, asked: Asked) -> bool:
    """Whether a party answered what it was asked, on that day or later.

    An answer to the whole case answers every question, and one to any finding a question about the whole.
    """
    day = moment(asked.at, "question").date()
    return any(
        a.party == asked.party
        and (a.finding in ("", asked.finding) or not asked.finding)
        and moment(a.received_at, "answer").date() >= day
        for a in case.answers
    )


def questions(case: Case) -> list[Asked]:
    """What each party was asked about each finding, the latest question only."""
    latest: dict[tuple[str, str], Asked] = {}
    for asked in case.asked:
        known = latest.get((asked.party, asked.finding))
        if known is None or moment(asked.at, "question") >= moment(known.at, "question"):
            latest[asked.party, asked.finding] = asked
    return list(latest.values())


def spoken_of(case: Case, finding: str) -> bool:
    """Whether somebody was asked about a finding, or answered."""
    return any(a.finding == finding for a in case.asked) or any(a.finding == finding for a in case.answers)


def answer_panel(
    case: Case, finding: str, lang: Language, today: date, party: Party, *, whole: bool = False
) -> Panel:
    """What the party concerned says, or that it says nothing, and since when.

    Parameters
    ----------
    whole
        Whether an answer to the whole case stands here in full; else it says where that answer stands.
    """
    before = predecessors(case, finding)
    blocks = [_quote(answer, "answer.by", lang, party) for answer in answers_to(case, finding)]
    blocks += [_quote(a, "answer.by_before", lang, party) for f in before for a in answers_to(case, f)]
    if finding:
        if whole:
            blocks += [_quote(a, "answer.by_whole", lang, party) for a in answers_to(case, "")]
        else:
            parties = sorted({a.party for a in answers_to(case, "")})
            blocks += [
                Paragraph(sentence(lang.say("answer.whole", party=party(p))), (case.id,)) for p in parties
            ]
    # Who was asked about the whole was asked about this as well, and a question goes on to what replaced its claim.
    about = {finding, "", *before}
    latest: dict[str, Asked] = {}
    for asked in sorted(questions(case), key=lambda a: moment(a.at, "question")):
        if asked.finding in about:
            latest[asked.party] = asked
    answers = {a.party for a in case.answers if a.finding in about}
    for asked in latest.values():
        if not answered(case, asked):
            due = moment(asked.due, f"date by which {asked.party!r} was asked to answer").date()
            key = "answer.none" if today > due else "answer.waiting"
            text = lang.say(key, due=due, party=party(asked.party), at=(Span(lang.day(asked.at)),))
            blocks.append(Paragraph(sentence(text), (case.id,)))
        elif asked.party not in answers:
            told = tuple(a.id for a in case.answers if a.party == asked.party)
            blocks.append(Paragraph(sentence(lang.say("answer.parts", party=party(asked.party))), told))
    if not blocks:
        blocks = [Paragraph(lang.say("answer.not_asked"), (case.id,))]
    return Panel(lang.say("finding.answer"), tuple(blocks))


def _quote(answer: Answer, key: str, lang: Language, party: Party) -> Paragraph | Quote:
    by = lang.say(key, party=party(answer.party), at=lang.day(answer.received_at))
    return Quote(user(answer.statement), by, (answer.id,))


def predecessors(case: Case, finding: str) -> tuple[str, ...]:
    """Ids of the findings in whose place this one came, the nearest first."""
    found: list[str] = []
    look = [finding] if finding else []
    while look:
        new = look.pop(0)
        for said in case.withdrawals:
            if said.replaced_by == new and said.finding not in (finding, *found):
                found.append(said.finding)
                look.append(said.finding)
    return tuple(found)


def sentence(text: Text) -> Text:
    """A text that begins as a sentence does. Somebody else's words begin as they wrote them."""
    if not text or text[0].style not in ("plain", "strong"):
        return text
    first = text[0].text
    return (Span(first[:1].upper() + first[1:], text[0].style), *text[1:])


def decision_words(finding: Finding, lang: Language) -> Text:
    """The decision as the language says it."""
    return lang.say("decision." + finding.decision.replace(" ", "_"))


def claim_panel(case: Case, finding: Finding, lang: Language) -> Panel:
    """The claim, or that it was withdrawn or corrected, why, and what it says now."""
    gone = withdrawal_of(case, finding.id)
    if gone is not None:
        new = replacement(case, gone)
        at = (Span(lang.day(gone.at)),)
        said = own(finding.claim, lang)
        text = (
            lang.say("finding.claim_withdrawn", at=at, reason=user(gone.reason), claim=said)
            if new is None
            else lang.say(
                "finding.claim_corrected",
                at=at,
                reason=user(gone.reason),
                claim=said,
                new=own(new.claim, lang),
            )
        )
        sources = (finding.id,) if new is None else (finding.id, new.id)
        return Panel(lang.say("finding.claim"), (Paragraph(text, (*sources, case.id)),))
    decision = decision_words(finding, lang)
    why = str(finding.details.get("reason") or "")
    said = (
        lang.say("finding.decision_why", decision=decision, why=own(why, lang))
        if why
        else lang.say("finding.decision", decision=decision)
    )
    blocks = (Paragraph(own(finding.claim, lang), (finding.id,)), Paragraph(said, (finding.id,)))
    return Panel(lang.say("finding.claim"), blocks)


def replacement(case: Case, gone: Withdrawal) -> Finding | None:
    """The finding that stands in the place of a withdrawn one, if any does."""
    seen = {gone.finding}
    while gone.replaced_by and gone.replaced_by not in seen:
        seen.add(gone.replaced_by)
        said = withdrawal_of(case, gone.replaced_by)
        if said is None:
            return next((f for f in case.findings if f.id == gone.replaced_by), None)
        gone = said
    return None


def beside(
    case: Case, finding: Finding, lang: Language, today: date, party: Party, *, whole: bool = False
) -> Beside:
    """A claim and the answer to it, see `answer_panel`."""
    answers = answer_panel(case, finding.id, lang, today, party, whole=whole)
    return Beside(claim_panel(case, finding, lang), answers)


def whole_case(case: Case, lang: Language, today: date, party: Party, title: str) -> Beside | None:
    """The answers to the case as a whole beside what it claims; None where nobody was asked about the whole."""
    if not spoken_of(case, ""):
        return None
    gone = fallen(case)
    standing = [f for f in case.findings if f.decision == "supported" and f.id not in gone]
    claims = tuple(
        Paragraph(lang.say("report.supported", subject=name_of(f), claim=own(f.claim, lang)), (f.id,))
        for f in standing[:CLAIMS]
    )
    if len(standing) > CLAIMS:
        more = lang.say("report.more_supported", n=len(standing) - CLAIMS)
        claims = (*claims, Paragraph(more, (case.id,)))
    nothing = (Paragraph(lang.say("report.claims_nothing"), (case.id,)),)
    return Beside(Panel(lang.say(title), claims or nothing), answer_panel(case, "", lang, today, party))


CLAIMS = 10
"""Claims repeated beside an answer to the whole case."""
