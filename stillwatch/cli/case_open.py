"""``stillwatch case open``: a case, and at one go what a scan found, a notice, a seal and the report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stillwatch.cli import _case_screen, _drawing, _filing, output
from stillwatch.cli._options import HOME, ByOption, JsonOption, LanguageOption, StoreOption, WorkspaceOption

if TYPE_CHECKING:
    from stillwatch.campaigns import Scan
    from stillwatch.cases.store import CaseStore

KINDS = ("alert", "demarche", "disclosure", "partner")


def open_(
    title: Annotated[
        str, typer.Argument(help="What the case is about, in a few words; with --scan it may be left out.")
    ] = "",
    subject: Annotated[
        list[str] | None, typer.Option("--subject", help="A pseudonym, such as the name of a campaign.")
    ] = None,
    tlp: Annotated[str, typer.Option(help="Traffic light label of the case.")] = "TLP:AMBER",
    scan: Annotated[
        bool, typer.Option("--scan", help="File the supported findings of the latest scan.")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="With --scan, every finding.")] = False,
    notice: Annotated[
        str, typer.Option("--notice", help="With --scan, write one: alert, demarche, disclosure or partner.")
    ] = "",
    to: Annotated[list[str] | None, typer.Option("--to", help="With --notice, an addressee.")] = None,
    seal: Annotated[bool, typer.Option("--seal", help="Seal it at once.")] = False,
    report: Annotated[bool, typer.Option("--report", help="Write its report.")] = False,
    pdf: Annotated[
        bool, typer.Option("--pdf", help="Notice and report as PDF too; needs stillwatch[pdf].")
    ] = False,
    language: LanguageOption = "en",
    by: ByOption = "",
    workspace: WorkspaceOption = HOME,
    store: StoreOption = "",
    json: JsonOption = False,
) -> None:
    """Open a case; its id is C- and the next number. With --scan, all of it at one go."""
    from stillwatch.cases.scans import file_scan, read_scan

    who = _filing.whoever(by)
    found = _filing.latest_scan(workspace) if scan else None
    _can_be_done(title, found, notice, pdf, language)
    ready = read_scan(found.run, found.findings, workspace) if found else None
    subjects = list(subject or []) + ([f.subject for f in found.supported] if found else [])
    kinds = ("html", "pdf") if pdf else ("html",)
    with _filing.store(workspace, store, create=True) as cases:
        named = title or (_filing.title_of(found) if found else "")
        case = cases.open(named, tlp=tlp, subjects=list(dict.fromkeys(subjects)), by=who).id  # type: ignore[arg-type]
        with _named_if_cut_short(case):
            if ready:
                filed, _ = file_scan(cases, case, ready, everything=everything, by=who)
                output.note(f"{output.count(filed, 'finding')} filed")
            if notice:
                _notice(cases, case, notice, to or [], language, kinds, workspace, who)
            sealed = cases.seal(case, by=who) if seal else None
            held = cases.get(case)
    if report:
        today = datetime.now(UTC).date()
        document = _drawing.report_of(held, day=today, language=language, by=who)
        name = _drawing.report_name(document, case)
        for kind in kinds:
            path = _drawing.write(_drawing.drawn(document, kind), None, workspace, name, kind)
            output.note(f"report: {path}")
    if notice or report:
        _filing.tell_author(by)
    if json:
        output.json_lines([{"id": held.id, "title": held.title, "tlp": held.tlp, "head": held.head}])
        return
    output.line(f"{held.id}  {held.title}  ({held.tlp})")
    if sealed:
        _case_screen.seal(sealed)
    output.line(f"Next: stillwatch case {'show' if sealed else 'add'} {held.id}")


@contextmanager
def _named_if_cut_short(case: str) -> Iterator[None]:
    """An error after a case was opened says so: who repeats the command would open another."""
    try:
        yield
    except BaseException:
        output.note(
            f"{case} is open and lacks what follows; go on with it: stillwatch case add {case} --scan"
        )
        raise


def _can_be_done(title: str, found: Scan | None, notice: str, pdf: bool, language_code: str) -> None:
    """Whatever cannot be done is said before a case is opened."""
    from stillwatch.cases.languages import language
    from stillwatch.errors import InputError

    language(language_code)

    if not (title or found):
        raise InputError("a case needs a title, or --scan, which gives it one")
    if notice and notice not in KINDS:
        raise InputError(f"--notice is {', '.join(KINDS)}; found {notice!r}")
    if notice and not (found and found.supported):
        why = "the latest scan has none" if found else "give --scan as well"
        raise InputError(f"--notice tells of the supported findings of a scan: {why}")
    if pdf:
        from stillwatch.extras import need

        need("typst")


def _notice(
    cases: CaseStore, case: str, kind: str, to: list[str], language: str, files: tuple[str, ...],
    workspace: Path, who: str,
) -> None:  # fmt: skip
    """Write a notice of what is filed, and keep it with the case once it is drawn."""
    from stillwatch.cases.notices import Request, make_notice

    request = Request(_drawing.now(), who, addressees=tuple(to), language=language)
    today, cards = datetime.now(UTC).date(), _drawing.cards()
    written, document = make_notice(cases.get(case), kind, request, today=today, cards=cards)  # type: ignore[arg-type]
    pages = {file: _drawing.drawn(document, file) for file in files}
    cases.add(case, written, by=who)
    for file, page in pages.items():
        path = _drawing.write(page, None, workspace, f"{case}-{kind}-{written.id[:8]}", file)
        output.note(f"notice: {path}")


def add_to(app: typer.Typer) -> None:
    """Put this command under a noun."""
    app.command("open")(open_)
