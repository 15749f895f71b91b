"""Notices: what is known, asserted and unknown, told to somebody who can act on it. Nothing is ever sent.

A notice is evidence and not an accusation. It calls groups and parties by pseudonyms unless the caller gave words for
them, it puts the answer of the party concerned beside each claim, and it is never shared more widely than the
evidence it rests on unless the caller says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import cast, get_args

from stillwatch.cases import content, indicators
from stillwatch.cases.case_report import marks, tlp_words, words
from stillwatch.cases.claims import fallen, joined, moment, name_of, replacement, user
from stillwatch.cases.content import Document, Span, Text
from stillwatch.cases.corrections import Unwritten, recipients, superseded, unwritten
from stillwatch.cases.languages import Language, language
from stillwatch.cases.notice_text import Parts, reference, sections
from stillwatch.cases.own_words import own
from stillwatch.cases.plain_words import colon
from stillwatch.cases.sources import source_map
from stillwatch.errors import InputError
from stillwatch.records import TLP, Card, Case, Decision, Finding, Indicator, Notice, NoticeKind

CARRIES: dict[NoticeKind, tuple[Decision, ...]] = {
    "alert": ("supported",),
    "demarche": ("supported",),
    "partner": ("supported",),
    "disclosure": ("supported", "inconclusive"),
}
"""Which findings a notice may carry. Of an inconclusive one only the party concerned may be asked."""
WIDEST_LAST: tuple[TLP, ...] = ("TLP:RED", "TLP:AMBER+STRICT", "TLP:AMBER", "TLP:GREEN", "TLP:CLEAR")


@dataclass(frozen=True, slots=True)
class Request:
    """What the author of a notice decides; everything else comes from the case."""

    created_at: str
    """ISO time, UTC."""
    created_by: str
    addressees: tuple[str, ...] = ()
    """Of a correction, if empty: those of the notices that it corrects, and their distribution."""
    distribution: tuple[str, ...] = ()
    """Who gets a copy."""
    language: str = "en"
    title: str = ""
    """Empty: kind and case."""
    classification: str = ""
    tlp: TLP | None = None
    """None: as strict as the case and everything that the notice rests on."""
    wider_because: str = ""
    """Why the notice may be shared more widely than what it rests on; it stands on the first page."""
    findings: tuple[str, ...] | None = None
    """Ids, or their first characters; None: every supported finding that stands."""
    corrects: tuple[str, ...] | None = None
    """Ids of the notices that a correction corrects; None: all that need one, which must have gone to the same
    people, see `corrections.unwritten`."""
    action: str = ""
    """What is asked, in the author's words; empty: the usual request of this kind."""
    due: str = ""
    """ISO day by which an answer is asked for."""
    contact: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    """Words for subjects and parties. Whoever is not in it stays a pseudonym."""
    indicators: bool = True
    """Whether the annex of indicators is added."""
    draft: bool = False
    """It will not be kept: it has no reference, and says so on top."""


def make_notice(
    case: Case, kind: NoticeKind, request: Request, *, today: date, cards: Sequence[Card] = ()
) -> tuple[Notice, Document]:
    """Write one notice: the record to be kept with the case, and the document to be drawn.

    Parameters
    ----------
    case
        From which everything is told.
    kind
        ``alert`` (others may see the same), ``demarche`` (to an authority), ``disclosure`` (to the party concerned),
        ``partner`` (indicators for one who shares), ``correction`` (of earlier notices).
    request
        What its author decides.
    today
        Decides whether a date by which an answer was due has passed.
    cards
        The methods that the findings rest on, by which measurements are named.

    Returns
    -------
    tuple[Notice, Document]
        The same arguments give the same two. `Notice.content` holds the document; `document_of` reads it back.

    Raises
    ------
    InputError
        The findings are not in the case, were withdrawn, are none that such a notice may carry, or rest on evidence
        that may not be shared this widely; there is none; a correction has nothing to correct, or would show somebody
        what was told to others; a date is none, or is past; a number has no source.
    """
    if kind not in get_args(NoticeKind):
        raise InputError(f"a notice is {', '.join(get_args(NoticeKind))}; found {kind!r}")
    when = moment(request.created_at, "time of the notice")
    if request.due and moment(request.due, "date by which an answer is asked for").date() < when.date():
        raise InputError(
            f"an answer is asked for by {request.due}, which is before the day of the notice, {when.date()}"
        )
    lang = language(request.language)
    corrected: tuple[Notice, ...] = ()
    if kind == "correction":
        request, corrected = _corrected(case, request)
    findings = _gone(case, corrected) if kind == "correction" else _chosen(case, kind, request)
    told = _with_replacements(case, findings)
    tlp = _tlp(case, told, request)
    title = request.title or content.string((*lang.say(f"kind.{kind}"), colon(lang), *own(case.title, lang)))
    parts = Parts(
        case=case,
        kind=kind,
        lang=lang,
        findings=findings,
        corrected=corrected,
        today=today,
        names=request.names,
        action=request.action,
        due=request.due,
        contact=request.contact,
        indicators=_annexed(case, findings, tlp, request)
        if request.indicators and kind != "correction"
        else None,
        cards={card.name: card for card in cards},
    )
    document = Document(
        kind=kind,
        language=lang.code,
        direction=lang.direction,
        title=user(title),
        tlp=tlp,
        classification=request.classification,
        created_at=request.created_at,
        head=_head(case, lang, request, tlp),
        marks=(*([lang.say("mark.draft")] if request.draft else []), *marks(case, lang)),
        words=words(lang),
        sections=sections(parts),
    )
    annex = source_map(document, case, lang, title=lang.say("notice.annex_sources"))
    document = content.followed_by(document, annex)
    content.check(document, case)
    notice = Notice(
        kind=kind,
        language=lang.code,
        created_at=request.created_at,
        created_by=request.created_by,
        title=title,
        addressees=request.addressees,
        tlp=tlp,
        classification=request.classification,
        findings=tuple(f.id for f in told),
        distribution=request.distribution,
        due=request.due,
        corrects=tuple(n.id for n in corrected),
        content=content.to_json(document),
    )
    return notice, document if request.draft else document_of(case, notice)


def document_of(case: Case, notice: Notice) -> Document:
    """A kept notice as it is drawn: word for word as it was written, with its reference.

    The reference is the id of the notice, which is the digest of what it says, and so cannot stand in it. One that
    carries what was withdrawn since says so on top.
    """
    document = content.from_json(notice.content)
    lang = language(document.language)
    row = (lang.say("head.reference"), reference(case, notice))
    since = superseded(case, notice)
    old = (lang.say("mark.superseded", at=(Span(lang.day(since)),)),) if since else ()
    return replace(document, head=(row, *document.head), marks=(*old, *document.marks))


def strictest(marks_given: Sequence[TLP]) -> TLP:
    """The mark that lets the fewest people see it."""
    return min(marks_given, key=WIDEST_LAST.index)


def _tlp(case: Case, findings: Sequence[Finding], request: Request) -> TLP:
    """What the notice may be shared as: never wider than what it rests on, unless the author says why."""
    of = {item.sha256: item for item in case.evidence}
    rests: list[tuple[TLP, str]] = [(case.tlp, f"case {case.id}")]
    for finding in findings:
        rests += [
            (of[e].tlp, f"evidence {e[:12]} of {name_of(finding)}") for e in finding.evidence if e in of
        ]
    if request.indicators:
        rests += [(i.tlp, f"indicator {i.kind}") for i in _filed(case, findings)]
    needed, why = min(rests, key=lambda pair: WIDEST_LAST.index(pair[0]))
    if request.tlp is None:
        return needed
    if request.tlp not in WIDEST_LAST:
        raise InputError(f"TLP is one of {', '.join(WIDEST_LAST)}; found {request.tlp!r}")
    if WIDEST_LAST.index(request.tlp) > WIDEST_LAST.index(needed) and not request.wider_because:
        raise InputError(
            f"{request.tlp} would share this notice more widely than it may be: {why} is {needed}. "
            f"Use {needed}, or say why it may be shared (--wider-because)"
        )
    return request.tlp


def _filed(case: Case, findings: Sequence[Finding]) -> list[Indicator]:
    """Indicators of the case that are derived from one of these findings."""
    ids = {f.id for f in findings}
    return [i for i in case.indicators if ids & set(i.derived_from)]


def _annexed(case: Case, findings: Sequence[Finding], tlp: TLP, request: Request) -> tuple[Indicator, ...]:
    """Those that were filed, then those that ``case share`` would make of these findings at this label."""
    alone = replace(case, findings=tuple(findings))
    made = indicators.of_case(alone, tlp=tlp, downgrade=bool(request.wider_because)).indicators
    filed = _filed(case, findings)
    return tuple({(i.kind, i.language, i.pattern): i for i in (*made, *filed)}.values())


def _corrected(case: Case, request: Request) -> tuple[Request, tuple[Notice, ...]]:
    """The notices that a correction corrects, and the request with those to whom it goes."""
    if request.corrects is None:
        group = _only_one(case, request)
        notices, addressees, copies = group.notices, group.addressees, group.distribution
    else:
        notices = _named(case, request.corrects)
        addressees, copies = notices[0].addressees, notices[0].distribution
    if request.addressees:
        return request, notices
    if len({frozenset(recipients(n)) for n in notices}) > 1:
        raise InputError(
            "these notices went to different people, who need not read of each other's: correct each by itself"
        )
    if not (addressees or copies):
        raise InputError(
            f"notice {notices[0].id[:12]} was addressed to nobody: say with --to who has it and gets the correction"
        )
    copies = tuple(dict.fromkeys((*copies, *request.distribution)))
    return replace(request, addressees=addressees, distribution=copies), notices


def _only_one(case: Case, request: Request) -> Unwritten:
    groups = unwritten(case, request.addressees)
    if not groups:
        raise InputError(
            f"case {case.id}: no notice needs a correction"
            + (f" that {', '.join(request.addressees)} got" if unwritten(case) else "")
        )
    if len(groups) > 1:
        each = "; ".join(" ".join(f"--corrects {n.id[:12]}" for n in g.notices) for g in groups)
        raise InputError(
            f"the notices of case {case.id} that need a correction went to different people: one for each of {each}"
        )
    return groups[0]


def _named(case: Case, starts: Sequence[str]) -> tuple[Notice, ...]:
    found: dict[str, Notice] = {}
    for wanted in starts:
        matching = [n for n in case.notices if n.id.startswith(wanted)]
        if len(matching) != 1:
            raise InputError(
                f"{wanted!r} is no notice of case {case.id}" if not matching else f"{wanted!r} fits several"
            )
        found[matching[0].id] = matching[0]
    return tuple(found.values())


def _gone(case: Case, corrected: Sequence[Notice]) -> tuple[Finding, ...]:
    """What these notices carried and no longer stands."""
    of, gone = {f.id: f for f in case.findings}, fallen(case)
    found = {f: of[f] for n in corrected for f in n.findings if f in of and f in gone}
    if not found:
        raise InputError("none of these notices carried a finding that was withdrawn or corrected")
    return tuple(found.values())


def _with_replacements(case: Case, findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings, and those that a correction tells in their place: its readers rely on these as well."""
    gone = fallen(case)
    new = [replacement(case, gone[f.id].word) for f in findings if f.id in gone]
    return tuple({f.id: f for f in (*findings, *new) if f is not None}.values())


def _chosen(case: Case, kind: NoticeKind, request: Request) -> tuple[Finding, ...]:
    gone = fallen(case)
    if request.findings is None:
        found = tuple(
            f
            for f in case.findings
            if f.decision == "supported" and f.id not in gone and not f.details.get("part_of")
        )
        if not found:
            ask = "; of an inconclusive one, name it with --finding" if kind == "disclosure" else ""
            raise InputError(
                f"case {case.id}: no supported finding stands, so there is nothing that a notice of kind {kind} could "
                f"tell{ask}"
            )
        return found
    chosen = []
    for wanted in request.findings:
        matching = [f for f in case.findings if f.id.startswith(wanted) or name_of(f) == wanted]
        standing = [f for f in matching if f.id not in gone]
        if matching and not standing:
            raise InputError(f"finding {wanted!r} was withdrawn; only a correction may carry it")
        if len(standing) != 1:
            what = "fits several findings" if standing else "is no finding"
            raise InputError(f"{wanted!r} {what} of case {case.id}")
        if standing[0].decision not in CARRIES[kind]:
            raise InputError(
                f"finding {wanted!r} is {standing[0].decision}: a notice of kind {kind} carries findings that are "
                + " or ".join(CARRIES[kind])
            )
        chosen.append(standing[0])
    return tuple({f.id: f for f in chosen}.values())


def _head(case: Case, lang: Language, request: Request, tlp: TLP) -> tuple[tuple[Text, Text], ...]:
    day = cast(Text, (Span(lang.day(request.created_at)),))
    none = lang.say("word.none")

    def listed(people: Sequence[str]) -> Text:
        return joined([user(a) for a in people], lang.messages["word.list"])

    rows = [
        (lang.say("head.from"), user(request.created_by)),
        (lang.say("head.to"), listed(request.addressees) or lang.say("head.nobody")),
        (lang.say("head.distribution"), listed(request.distribution) or none),
        (lang.say("head.date"), day),
        (lang.say("head.tlp"), tlp_words(tlp, lang)),
        (lang.say("head.classification"), user(request.classification) or none),
    ]
    if request.wider_because:
        rows.append((lang.say("head.lowered"), user(request.wider_because)))
    if request.due:
        rows.append((lang.say("head.reply_by"), (Span(lang.day(request.due)),)))
    return tuple(rows)
