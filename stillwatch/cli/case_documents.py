"""``stillwatch case report | notice | deliver | followups``: what people read, and what became of it."""

from __future__ import annotations

import shlex
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from stillwatch.cli import _drawing, _filing, output
from stillwatch.cli._options import (
    HOME,
    ByOption,
    CaseArgument,
    JsonOption,
    LanguageOption,
    StoreOption,
    TodayOption,
    WorkspaceOption,
)

if TYPE_CHECKING:
    from stillwatch.cases.notices import Request
    from stillwatch.records import Case, Notice

OutOption = Annotated[
    Path | None,
    typer.Option("--out", help="File to write; - is stdout. Else it goes to the workspace's reports."),
]
FORMATS = ("text", "html", "pdf", "eml")


def report(
    case: CaseArgument,
    pdf: Annotated[bool, typer.Option("--pdf", help="A PDF; needs stillwatch[pdf].")] = False,
    html: Annotated[bool, typer.Option("--html", help="One HTML page; the default.")] = False,
    text: Annotated[bool, typer.Option("--text", help="Plain text.")] = False,
    language: LanguageOption = "en",
    out: OutOption = None,
    today: TodayOption = "",
    by: ByOption = "",
    workspace: WorkspaceOption = HOME,
    store: StoreOption = "",
) -> None:
    """Write the report of a case, for people who know no statistics."""
    if pdf + html + text > 1:
        raise typer.BadParameter("one of --pdf, --html and --text")
    with _filing.store(workspace, store) as cases:
        held = cases.get(case)
    document = _drawing.report_of(held, day=_filing.day(today), language=language, by=_filing.whoever(by))
    kind = "pdf" if pdf else "text" if text else "html"
    name = _drawing.report_name(document, case)
    path = _drawing.write(_drawing.drawn(document, kind), out, workspace, name, kind)
    if path:
        output.line(str(path))


def notice(
    case: CaseArgument,
    kind: Annotated[
        str, typer.Option("--kind", help="alert, demarche, disclosure, partner or correction.")
    ] = "",
    to: Annotated[
        list[str] | None,
        typer.Option("--to", help="An addressee; with eml, name <address> puts it in the header."),
    ] = None,
    copy: Annotated[
        list[str] | None, typer.Option("--copy", help="Somebody on the distribution list.")
    ] = None,
    language: LanguageOption = "en",
    by_date: Annotated[
        str, typer.Option("--by-date", help="Day (YYYY-MM-DD) by which an answer is asked for.")
    ] = "",
    tlp: Annotated[
        str, typer.Option("--tlp", help="Traffic light label; else as strict as what it rests on.")
    ] = "",
    wider_because: Annotated[
        str, typer.Option("--wider-because", help="Why it may be shared more widely than what it rests on.")
    ] = "",
    classification: Annotated[str, typer.Option("--classification", help="Marking on every page.")] = "",
    finding: Annotated[
        list[str] | None,
        typer.Option("--finding", help="A finding or subject; else every supported one that stands."),
    ] = None,
    corrects: Annotated[
        list[str] | None,
        typer.Option("--corrects", help="With a correction: a notice; else all that need one."),
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option("--name", help="PSEUDONYM=WORDS: what a subject or party is called.")
    ] = None,
    title: Annotated[str, typer.Option("--title", help="Title; else kind and case.")] = "",
    action: Annotated[
        str, typer.Option("--action", help="What is asked; else the usual request of this kind.")
    ] = "",
    contact: Annotated[str, typer.Option("--contact", help="Where to answer.")] = "",
    format: Annotated[str, typer.Option("--format", help="text, html, pdf or eml.")] = "html",
    attach: Annotated[
        list[str] | None, typer.Option("--attach", help="With eml: pdf or html; both when left out.")
    ] = None,
    sender: Annotated[str, typer.Option("--from", help="With eml: the sender's address.")] = "",
    indicators: Annotated[
        bool, typer.Option("--indicators/--no-indicators", help="Add the annex of indicators.")
    ] = True,
    again: Annotated[
        str,
        typer.Option("--again", help="Draw a kept notice once more, as it was written, in another format."),
    ] = "",
    keep: Annotated[
        bool, typer.Option("--keep/--draft", help="Keep it with the case, or only draw it.")
    ] = True,
    out: OutOption = None,
    today: TodayOption = "",
    by: ByOption = "",
    workspace: WorkspaceOption = HOME,
    store: StoreOption = "",
) -> None:
    """Write a notice. Nothing is sent: the file is yours to send."""
    from stillwatch.cases.notices import Request, document_of, make_notice
    from stillwatch.errors import InputError

    if format not in FORMATS:
        raise typer.BadParameter(f"--format is {', '.join(FORMATS)}; found {format!r}")
    if bool(kind) == bool(again):
        raise typer.BadParameter("either --kind, for a new notice, or --again, for one that is kept")
    addressees = tuple(to or [])
    request = Request(
        created_at=_drawing.now(),
        created_by=_filing.whoever(by),
        addressees=addressees,
        distribution=tuple(copy or []),
        language=language,
        title=title,
        classification=classification,
        tlp=tlp or None,  # type: ignore[arg-type]
        wider_because=wider_because,
        findings=tuple(finding) if finding else None,
        corrects=tuple(_cited(start) for start in corrects) if corrects else None,
        action=action,
        due=by_date,
        contact=contact,
        names=dict(_pair(pair) for pair in name or []),
        indicators=indicators,
        draft=not keep,
    )
    with _filing.store(workspace, store) as cases:
        held = cases.get(case)
        if again:
            kept = _notice_of(held, again)
            made = [(kept, document_of(held, kept))]
        else:
            made = [
                make_notice(held, kind, one, today=_filing.day(today), cards=_drawing.cards())  # type: ignore[arg-type]
                for one in _one_each(held, kind, request)
            ]
        if out is not None and len(made) > 1:
            raise InputError(
                f"these are {len(made)} corrections, for different people: leave --out out, or name one with --corrects"
            )
        pages = []
        for written, document in made:
            file = f"{case}-{written.kind}-{written.id[:8] if keep or again else 'draft'}"
            people = (addressees or written.addressees, tuple(copy or ()) or written.distribution)
            content = (
                _drawing.mail(document, file, sender, *people, attach)
                if format == "eml"
                else _drawing.drawn(document, format)
            )
            pages.append((file, content))
        # Kept only once they could be drawn.
        if keep and not again:
            cases.add_many(case, [written for written, _ in made], by=request.created_by)
    for (written, _), (file, content) in zip(made, pages, strict=True):
        path = _drawing.write(content, out, workspace, file, format)
        if path:
            output.line(str(path))
        _told(held, written, kept=keep or bool(again), again=bool(again))
    if not again:
        _filing.tell_author(by)


def _one_each(case: Case, kind: str, request: Request) -> list[Request]:
    """One notice; but a correction for each group of people who got the same notices."""
    from stillwatch.cases.corrections import unwritten

    groups = unwritten(case) if kind == "correction" and not (request.corrects or request.addressees) else ()
    if len(groups) < 2:
        return [request]
    return [
        replace(
            request,
            corrects=tuple(n.id for n in group.notices),
            addressees=group.addressees or group.distribution,
            distribution=(*(group.distribution if group.addressees else ()), *request.distribution),
        )
        for group in groups
    ]


def _told(case: Case, notice: Notice, *, kept: bool, again: bool) -> None:
    """Say what was written, and what comes next."""
    from stillwatch.cases.corrections import recipients, superseded

    what = f"notice {notice.id[:12]}" if kept else "a draft, not kept with the case"
    output.note(f"{what} ({notice.tlp})")
    if again and superseded(case, notice):
        output.note("It carries a finding that was withdrawn or corrected since, and says so on top.")
        output.note(f"Next: stillwatch case notice {case.id} --kind correction")
    elif kept and not again and recipients(notice):
        output.note(_deliver_next(case.id, notice.id, recipients(notice)[0]))


def _deliver_next(case: str, notice: str, who: str) -> str:
    return f"Next: stillwatch case deliver {case} {notice[:12]} --to {shlex.quote(who)} --event delivered"


def deliver(
    case: CaseArgument,
    notice: Annotated[str, typer.Argument(help="Reference or id of the notice, or its first characters.")],
    to: Annotated[str, typer.Option("--to", help="The addressee.")],
    event: Annotated[
        str, typer.Option("--event", help="delivered, acknowledged, answered, 'followed up' or failed.")
    ],
    text: Annotated[str, typer.Option("--text", help="What was said.")] = "",
    due: Annotated[str, typer.Option("--due", help="Day (YYYY-MM-DD) of the next follow-up.")] = "",
    at: Annotated[str, typer.Option("--at", help="When it happened (ISO); else now.")] = "",
    by: ByOption = "",
    workspace: WorkspaceOption = HOME,
    store: StoreOption = "",
) -> None:
    """Record what became of a notice at one addressee."""
    from stillwatch.cases.claims import moment
    from stillwatch.errors import InputError
    from stillwatch.records import Delivery, DeliveryEvent

    if event not in get_args(DeliveryEvent):
        raise InputError(f"--event is {', '.join(get_args(DeliveryEvent))}; found {event!r}")
    for what, when in (("--due", due), ("--at", at)):
        if when:
            moment(when, what)
    who = _filing.whoever(by)
    with _filing.store(workspace, store) as cases:
        meant = _notice_of(cases.get(case), notice).id
        cases.add(case, Delivery(meant, to, at or _drawing.now(), who, event, text, due), by=who)  # type: ignore[arg-type]
    output.line(f"{meant[:12]}  {event}  {to}")
    output.line(f"Next: stillwatch case followups {case}")


def followups(
    case: Annotated[str, typer.Argument(help="Id of the case; all cases when left out.")] = "",
    done: Annotated[bool, typer.Option("--all", help="Also what needs nothing any more.")] = False,
    today: TodayOption = "",
    workspace: WorkspaceOption = HOME,
    store: StoreOption = "",
    json: JsonOption = False,
) -> None:
    """List who has not answered, who still waits for a correction, and what is kept beyond its date."""
    from stillwatch.cases.followups import all_followups

    with _filing.store(workspace, store) as cases:
        ids = [case] if case else [found.id for found in cases.list()]
        rows = all_followups(
            (cases.get(i) for i in ids),
            _filing.day(today),
            done=done,
            here=lambda held, sha256: held in cases.holders(sha256),
        )
    if json:
        output.json_lines(asdict(row) for row in rows)
        return
    if not rows:
        output.line("Nothing is due.")
        return
    columns = ["CASE", "STATE", "DUE", "WHAT", "WHO", "LAST", "ABOUT"]
    output.table(
        [(r.case, r.state, r.due or "-", r.what, r.who, r.last, r.about) for r in rows], columns, words=True
    )
    late = sum(r.state == "overdue" for r in rows)
    output.line(f"{output.count(late, 'line')} overdue of {len(rows)}.")
    wrong = [r for r in rows if r.what == "correction"]
    if unsaid := next((r for r in wrong if not r.last.startswith("correction")), None):
        output.line(f"Next: stillwatch case notice {unsaid.case} --kind correction")
    elif wrong:
        output.line(_deliver_next(wrong[0].case, wrong[0].reference, wrong[0].who))
    elif old := next((r for r in rows if r.what == "retention"), None):
        output.line(
            f"Next: stillwatch case delete-evidence {old.case} {old.reference[:12]} --reason 'kept long enough'"
        )


def add_to(app: typer.Typer) -> None:
    """Put these commands under a noun."""
    app.command("report")(report)
    app.command("notice")(notice)
    app.command("deliver")(deliver)
    app.command("followups")(followups)


def _notice_of(case: Case, start: str) -> Notice:
    from stillwatch.errors import InputError

    matching = [n for n in case.notices if n.id.startswith(_cited(start))]
    if len(matching) != 1:
        known = ", ".join(n.id[:12] for n in case.notices) or "none"
        what = "fits several notices" if matching else "is no notice"
        raise InputError(f"{start[:80]!r} {what} of {case.id}; there are: {known}")
    return matching[0]


def _cited(text: str) -> str:
    """The id of a notice as somebody typed it, who may have copied the whole reference: ``C-1 / 370b0308c1d2``."""
    return text.rpartition("/")[2].strip()


def _pair(text: str) -> tuple[str, str]:
    from stillwatch.errors import InputError

    name, equals, words = text.partition("=")
    if not equals or not name or not words:
        raise InputError(f"--name is PSEUDONYM=WORDS, found {text!r}")
    return name, words
