"""Notices: what is known, asserted and unknown, told to somebody who can act on it. Nothing is ever sent.

A notice is evidence and not an accusation. It calls groups and parties by pseudonyms unless the caller gave words for
them, it puts the answer of the party concerned beside each claim, and it is never shared more widely than the
evidence it rests on unless the caller says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import cast, get_args

from stillwatch.cases import content
from stillwatch.cases.case_report import marks, tlp_words, words
from stillwatch.cases.claims import code, joined, moment, name_of, user, withdrawal_of
from stillwatch.cases.content import Document, Span, Text
from stillwatch.cases.corrections import corrections_due
from stillwatch.cases.languages import Language, language
from stillwatch.cases.notice_text import Parts, sections
from stillwatch.cases.sources import source_map
from stillwatch.errors import InputError
from stillwatch.records import TLP, Case, Finding, Indicator, Notice, NoticeKind, digest

WIDEST_LAST: tuple[TLP, ...] = ("TLP:RED", "TLP:AMBER+STRICT", "TLP:AMBER", "TLP:GREEN", "TLP:CLEAR")


@dataclass(frozen=True, slots=True)
class Request:
    """What the author of a notice decides; everything else comes from the case."""

    created_at: str
    """ISO time, UTC."""
    created_by: str
    addressees: tuple[str, ...] = ()
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
    """Ids of the notices that a correction corrects; None: all that need one."""
    action: str = ""
    """What is asked, in the author's words; empty: the usual request of this kind."""
    due: str = ""
    """ISO day by which an answer is asked for."""
    contact: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    """Words for subjects and parties. Whoever is not in it stays a pseudonym."""
    indicators: bool = True
    """Whether the annex of indicators is added."""


def make_notice(case: Case, kind: NoticeKind, request: Request, *, today: date) -> tuple[Notice, Document]:
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

    Returns
    -------
    tuple[Notice, Document]
        The same arguments give the same two. `Notice.content` holds the document.

    Raises
    ------
    InputError
        The findings are not in the case, were withdrawn, or rest on evidence that may not be shared this widely; a
        correction has nothing to correct; a date is none; a number has no source.
    """
    if kind not in get_args(NoticeKind):
        raise InputError(f"a notice is {', '.join(get_args(NoticeKind))}; found {kind!r}")
    moment(request.created_at, "time of the notice")
    if request.due:
        moment(request.due, "date by which an answer is asked for")
    lang = language(request.language)
    corrected = _corrected(case, request) if kind == "correction" else ()
    findings = _chosen(case, kind, request, corrected)
    tlp = _tlp(case, findings, request)
    title = request.title or content.string((*lang.say(f"kind.{kind}"), Span(": "), *user(case.title)))
    # What the notice says decides its reference, so that two notices never share one.
    reference = digest([case.id, case.head, kind, request.created_at, title, [f.id for f in findings], tlp])
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
        indicators=request.indicators and kind != "correction",
    )
    document = Document(
        kind=kind,
        language=lang.code,
        direction=lang.direction,
        title=user(title),
        tlp=tlp,
        classification=request.classification,
        created_at=request.created_at,
        head=_head(case, lang, kind, request, tlp, reference[:12]),
        marks=marks(case, lang),
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
        findings=tuple(f.id for f in findings),
        due=request.due,
        corrects=tuple(n.id for n in corrected),
        content=content.to_json(document),
    )
    return notice, document


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
        rests += [(i.tlp, f"indicator {i.kind}") for i in indicators_of(case, findings)]
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


def indicators_of(case: Case, findings: Sequence[Finding]) -> list[Indicator]:
    """Indicators derived from one of these findings, or from nothing that the case still holds."""
    ids = {f.id for f in findings}
    return [i for i in case.indicators if ids & set(i.derived_from)]


def _corrected(case: Case, request: Request) -> tuple[Notice, ...]:
    due = corrections_due(case)
    if request.corrects is None:
        if not due:
            raise InputError(f"case {case.id}: no notice needs a correction")
        return tuple(d.notice for d in due)
    known = {n.id: n for n in case.notices}
    found = []
    for wanted in request.corrects:
        matching = [n for i, n in known.items() if i.startswith(wanted)]
        if len(matching) != 1:
            raise InputError(
                f"{wanted!r} is no notice of case {case.id}" if not matching else f"{wanted!r} fits several"
            )
        found.append(matching[0])
    return tuple(found)


def _chosen(
    case: Case, kind: NoticeKind, request: Request, corrected: Sequence[Notice]
) -> tuple[Finding, ...]:
    of = {f.id: f for f in case.findings}
    if kind == "correction":
        gone = [
            of[f] for n in corrected for f in n.findings if f in of and withdrawal_of(case, f) is not None
        ]
        if not gone:
            raise InputError("none of these notices carried a finding that was withdrawn or corrected")
        return tuple({f.id: f for f in gone}.values())
    if request.findings is None:
        return tuple(
            f
            for f in case.findings
            if f.decision == "supported"
            and withdrawal_of(case, f.id) is None
            and not f.details.get("part_of")
        )
    chosen = []
    for wanted in request.findings:
        matching = [f for f in case.findings if f.id.startswith(wanted) or name_of(f) == wanted]
        standing = [f for f in matching if withdrawal_of(case, f.id) is None]
        if matching and not standing:
            raise InputError(f"finding {wanted!r} was withdrawn; only a correction may carry it")
        if len(standing) != 1:
            what = "fits several findings" if standing else "is no finding"
            raise InputError(f"{wanted!r} {what} of case {case.id}")
        chosen.append(standing[0])
    return tuple({f.id: f for f in chosen}.values())


def _head(
    case: Case, lang: Language, kind: NoticeKind, request: Request, tlp: TLP, reference: str
) -> tuple[tuple[Text, Text], ...]:
    day = cast(Text, (Span(lang.day(request.created_at)),))
    rows = [
        (lang.say("head.from"), user(request.created_by)),
        (
            lang.say("head.to"),
            joined([user(a) for a in request.addressees], lang.messages["word.list"])
            or lang.say("head.nobody"),
        ),
    ]
    if request.distribution:
        rows.append(
            (
                lang.say("head.distribution"),
                joined([user(a) for a in request.distribution], lang.messages["word.list"]),
            )
        )
    rows += [
        (lang.say("head.date"), day),
        (lang.say("head.reference"), (*code(case.id), Span(" / "), *code(reference))),
        (lang.say("head.tlp"), tlp_words(tlp, lang)),
    ]
    if request.classification:
        rows.append((lang.say("head.classification"), user(request.classification)))
    if request.wider_because:
        rows.append((lang.say("head.lowered"), user(request.wider_because)))
    if request.due:
        rows.append((lang.say("head.reply_by"), (Span(lang.day(request.due)),)))
    return tuple(rows)
