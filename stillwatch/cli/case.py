"""``stillwatch case``: file what was found, take in the answers, prove that nothing was changed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stillwatch.cli import (
    _case_screen,
    _filing,
    case_documents,
    case_evidence,
    case_matching,
    case_open,
    case_sharing,
    output,
)
from stillwatch.cli._options import (
    HOME,
    ByOption,
    CaseArgument,
    JsonOption,
    StoreOption,
    TodayOption,
    WorkspaceOption,
)

if TYPE_CHECKING:
    from stillwatch.cases.verify import Verified
    from stillwatch.records import Case, Evidence, Finding, Run

BEGINNING = 6
"""Characters of an id that name it, where they name one only."""

app = typer.Typer(help="What do we know, from what evidence, and what did they answer?", no_args_is_help=True)

KeyOption = Annotated[
    Path | None, typer.Option("--key", help="PEM file with an Ed25519 key; else the workspace's key.")
]
PublicKeyOption = Annotated[
    str, typer.Option("--public-key", help="A key that must vouch for it: 64 hexadecimal digits.")
]
HeadOption = Annotated[
    list[str] | None,
    typer.Option("--head", help="A head that was noted elsewhere; it must still be in the chain."),
]


@app.command()
def add(
    case: CaseArgument,
    files: Annotated[
        list[str] | None, typer.Argument(help="Files that are evidence; - is standard input.")
    ] = None,
    role: Annotated[str, typer.Option(help="What the files are for the case.")] = "evidence",
    origin: Annotated[str, typer.Option(help="Where they come from; else their names.")] = "",
    media_type: Annotated[str, typer.Option(help="Their media type; else told from the name.")] = "",
    tlp: Annotated[str, typer.Option(help="Their traffic light label.")] = "TLP:AMBER",
    personal_data: Annotated[
        bool, typer.Option("--personal-data/--no-personal-data", help="Whether they hold personal data.")
    ] = True,
    retain_until: Annotated[str, typer.Option(help="Day until which they are kept: 2027-06-30.")] = "",
    derived_from: Annotated[
        list[str] | None, typer.Option(help="sha256 of evidence from which they were made.")
    ] = None,
    note: Annotated[str, typer.Option(help="A remark.")] = "",
    findings: Annotated[
        Path | None, typer.Option(help="JSON file with a run and its findings, as a scan has.")
    ] = None,
    scan: Annotated[bool, typer.Option("--scan", help="The supported findings of the latest scan.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="With --scan, every finding.")] = False,
    by: ByOption = "",
    workspace: WorkspaceOption = HOME,
    store: StoreOption = "",
    json: JsonOption = False,
) -> None:
    """Add evidence, a remark, or findings to a case."""
    from stillwatch.errors import InputError

    if not (files or note or findings or scan):
        raise InputError("nothing to add: give files, --note, --findings or --scan")
    who = _filing.whoever(by)
    from stillwatch.cases.scans import file_scan, read_scan

    latest = _filing.latest_scan(workspace) if scan else None
    ready = read_scan(latest.run, latest.findings, workspace) if latest else None
    kept: list[Evidence] = []
    with _filing.store(workspace, store) as cases:
        cases.must_have(case)
        for name in files or []:
            record = cases.add_evidence(
                case, _content(name), media_type=media_type or _media_type(name), role=role, origin=origin or name,
                by=who, tlp=tlp, personal_data=personal_data, retain_until=retain_until,  # type: ignore[arg-type]
                derived_from=derived_from or [],
            )  # fmt: skip
            kept.append(record)
        if findings:
            run, listed = _findings_file(findings)
            cases.add_many(case, [run, *listed], by=who)
            output.note(f"{output.count(len(listed), 'finding')} filed")
        if ready:
            filed, fresh = file_scan(cases, case, ready, everything=everything, by=who)
            output.note(f"{output.count(filed, 'finding')} filed, {fresh} of them new")
        if note:
            cases.note(case, note, by=who)
    if json:
        output.json_lines(asdict(record) for record in kept)
        return
    if kept:
        output.table(
            [(r.sha256[:16], r.size, r.tlp, r.origin) for r in kept], ["EVIDENCE", "BYTES", "TLP", "ORIGIN"]
        )
    output.line(f"Next: stillwatch case seal {case}")


@app.command()
def ask(
    case: CaseArgument,
    party: Annotated[str, typer.Argument(help="Who is asked.")],
    due: Annotated[str, typer.Option(help="Day by which an answer is asked for: 2026-12-31.")],
    finding: Annotated[
        str, typer.Option(help="Id of the finding, or its beginning; else the whole case.")
    ] = "",
    by: ByOption = "",
    workspace: WorkspaceOption = HOME,
    store: StoreOption = "",
) -> None:
    """Record that a party was asked to answer, and by when."""
    import shlex

    with _filing.store(workspace, store) as cases:
        found = _finding(cases.get(case), finding) if finding else ""
        record = cases.ask(case, party, due=due, by=_filing.whoever(by), finding=found)
    output.line(f"{record.party} was asked to answer by {record.due}")
    about = f" --finding {found[:12]}" if found else ""
    output.line(f"Next: stillwatch case answer {case} {shlex.quote(party)} 'THEIR WORDS'{about}")


@app.command()
def answer(
    case: CaseArgument,
    party: Annotated[str, typer.Argument(help="Who answers.")],
    statement: Annotated[str, typer.Argument(help="What they say, in their words; - reads standard input.")],
    finding: Annotated[
        str, typer.Option(help="Id of the finding, or its beginning; else the whole case.")
    ] = "",
    received_at: Annotated[str, typer.Option(help="When it came, with a time zone; else now.")] = "",
    evidence: Annotated[
        list[str] | None, typer.Option(help="sha256 of evidence that came with it and is in the case.")
    ] = None,
    by: ByOption = "",
    workspace: WorkspaceOption = HOME,
    store: StoreOption = "",
) -> None:
    """Record what a party says; every output shows it beside the claim, as large."""
    words = _text("standard input", _content("-")) if statement == "-" else statement
    with _filing.store(workspace, store) as cases:
        found = _finding(cases.get(case), finding) if finding else ""
        record = cases.answer(
            case,
            party,
            words,
            by=_filing.whoever(by),
            finding=found,
            received_at=received_at,
            evidence=evidence or [],
        )
    output.line(f"answer {record.id[:12]} of {record.party} stands in {case}")
    output.line(f"Next: stillwatch case show {case}")


@app.command()
def withdraw(
    case: CaseArgument,
    finding: Annotated[str, typer.Argument(help="Id of the finding, or its beginning.")],
    reason: Annotated[str, typer.Argument(help="Why it was wrong.")],
    replaced_by: Annotated[str, typer.Option(help="Id of the finding that corrects it.")] = "",
    by: ByOption = "",
    workspace: WorkspaceOption = HOME,
    store: StoreOption = "",
) -> None:
    """Withdraw a finding, or name the one that corrects it. It stays visible, as withdrawn or corrected."""
    with _filing.store(workspace, store) as cases:
        held = cases.get(case)
        record = cases.withdraw(
            case, _finding(held, finding), reason, by=_filing.whoever(by),
            replaced_by=_finding(held, replaced_by) if replaced_by else "",
        )  # fmt: skip
        due = _corrections(cases.get(case))
    output.line(f"finding {record.finding[:12]} is {'corrected' if record.replaced_by else 'withdrawn'}")
    _next(case, due, "show")


@app.command()
def close(
    case: CaseArgument,
    reason: Annotated[str, typer.Argument(help="Why it is closed.")],
    withdrawn: Annotated[bool, typer.Option("--withdrawn", help="The case as a whole was wrong.")] = False,
    by: ByOption = "",
    workspace: WorkspaceOption = HOME,
    store: StoreOption = "",
) -> None:
    """Close a case. Answers, withdrawals and corrections are still taken."""
    with _filing.store(workspace, store) as cases:
        cases.close_case(case, reason, by=_filing.whoever(by), withdrawn=withdrawn)
        due = _corrections(cases.get(case)) if withdrawn else []
    output.line(f"{case} is {'withdrawn' if withdrawn else 'closed'}")
    _next(case, due, "seal")


@app.command()
def seal(
    case: CaseArgument,
    key: KeyOption = None,
    timestamp: Annotated[
        Path | None,
        typer.Option(help="RFC 3161 time stamp over the newest seal; attached to it, no new seal."),
    ] = None,
    tsa_root: Annotated[
        list[Path] | None,
        typer.Option(help="PEM file with a root certificate of the time-stamping authority."),
    ] = None,
    signature_out: Annotated[
        Path | None, typer.Option(help="File for the signature, to have it time-stamped.")
    ] = None,
    public_key: Annotated[
        str,
        typer.Option("--public-key", help="A key of yours that signed the case before this workspace's did."),
    ] = "",
    by: ByOption = "",
    workspace: WorkspaceOption = HOME,
    store: StoreOption = "",
    json: JsonOption = False,
) -> None:
    """Sign the state of a case. Note the printed head elsewhere: it shows a rollback, whoever did it."""
    from stillwatch.cases.evidence import write_whole
    from stillwatch.cases.sealing import Signer, timestamp_file
    from stillwatch.errors import InputError

    who, moment = _filing.whoever(by), ""
    signer = Signer.of_pem(key) if key else None
    if signature_out and (signature_out.is_dir() or not signature_out.parent.is_dir()):
        raise InputError(f"{signature_out}: expected a file in a folder that is there; nothing was sealed")
    with _filing.store(workspace, store, known=[public_key] if public_key else []) as cases:
        if timestamp:
            made, moment = cases.stamp(case, timestamp_file(timestamp), by=who, roots=tsa_root or [])
        else:
            made = cases.seal(case, by=who, signer=signer)
    if json:
        output.json_lines([asdict(made)])
    else:
        _case_screen.seal(made)
        if moment:
            output.line(
                f"  time stamp   {moment}"
                + ("" if tsa_root else " (who made it was not checked: --tsa-root)")
            )
    # Last, because the case is sealed whatever becomes of this file; the signature is in the case as well.
    if signature_out:
        write_whole(signature_out, bytes.fromhex(made.signature))
        output.note(f"signature: {signature_out}")
    if not json:
        output.line(f"Next: stillwatch case verify {case}")


@app.command()
def verify(
    targets: Annotated[
        list[str] | None, typer.Argument(help="Ids of cases or portable files; every case when left out.")
    ] = None,
    public_key: PublicKeyOption = "",
    head: HeadOption = None,
    allow_later: Annotated[
        bool,
        typer.Option(
            "--allow-later", help="Take what the seals of --public-key do not cover on another's word."
        ),
    ] = False,
    workspace: WorkspaceOption = HOME,
    store: StoreOption = "",
    json: JsonOption = False,
) -> None:
    """Check every entry, record and byte; the first that is broken is named, with exit code 5."""
    from stillwatch.cases import portable

    heads = tuple(head or ())
    found: list[Verified] = []
    names = list(targets or [])
    for name in [n for n in names if _is_file(n)]:
        with _broken_if_deformed(), portable.opened(Path(name)) as source:
            found.append(
                portable.check_file(source, public_key=public_key, heads=heads, later_too=allow_later)
            )
    ids = [n for n in names if not _is_file(n)]
    if ids or not names:
        with _filing.store(workspace, store) as cases:
            ids = ids or [row.id for row in cases.list()]
            with output.progress("verifying") as update:
                for number, case in enumerate(ids):
                    update(number / len(ids), case)
                    with _broken_if_deformed():
                        found.append(
                            cases.verify(case, public_key=public_key, heads=heads, later_too=allow_later)
                        )
    if json:
        output.json_lines({**asdict(v), "sealed": v.sealed} for v in found)
        return
    for one in found:
        _case_screen.verified(one)


@app.command()
def export(
    case: CaseArgument,
    file: Annotated[Path, typer.Argument(help="The portable file to write, such as C-1.zip.")],
    tlp: Annotated[str, typer.Option(help="Nothing stricter goes out; else the label of the case.")] = "",
    key: KeyOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    by: ByOption = "",
    workspace: WorkspaceOption = HOME,
    store: StoreOption = "",
    json: JsonOption = False,
) -> None:
    """Write a case as one file that verifies anywhere; evidence that is stricter or past its retention stays here."""
    from stillwatch.cases.sealing import Signer
    from stillwatch.errors import InputError

    if str(file) == "-":
        raise InputError("a portable file is written to a file with a name, such as C-1.zip")
    signer = Signer.of_pem(key) if key else None
    with _filing.store(workspace, store) as cases:
        written = cases.export(case, file, by=_filing.whoever(by), tlp=tlp, signer=signer, replace_it=force)
    if json:
        output.json_lines([{**asdict(written), "path": str(written.path)}])
        return
    _case_screen.exported(written)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A portable file.")],
    public_key: PublicKeyOption = "",
    head: HeadOption = None,
    as_case: Annotated[str, typer.Option("--as", help="Id to give it, where its own is taken here.")] = "",
    by: ByOption = "",
    workspace: WorkspaceOption = HOME,
    store: StoreOption = "",
    json: JsonOption = False,
) -> None:
    """Take in a portable file once all of it is verified; a case that is here is only ever continued."""
    from stillwatch.cases import portable
    from stillwatch.engine.tables import Workspace

    if not Workspace(workspace).cases.exists():
        with portable.opened(file) as source:  # a file that is refused makes no workspace
            portable.check_file(source, public_key=public_key, heads=tuple(head or ()))
    with _filing.store(workspace, store, create=True) as cases:
        case, fresh, found = cases.import_file(
            file, public_key=public_key, heads=tuple(head or ()), as_case=as_case, by=_filing.whoever(by)
        )
    if json:
        output.json_lines([{"id": case, "new_entries": fresh, **asdict(found)}])
        return
    _case_screen.verified(found)
    output.line(f"{case}: {output.count(fresh, 'new entry', 'new entries')}")
    output.line(f"Next: stillwatch case show {case}")


@app.command("list")
def list_(workspace: WorkspaceOption = HOME, store: StoreOption = "", json: JsonOption = False) -> None:
    """List the cases."""
    with _filing.store(workspace, store) as cases:
        rows = cases.list()
    if json:
        output.json_lines(asdict(row) for row in rows)
        return
    output.table(
        [
            (r.id, r.status, r.tlp, r.findings, r.withdrawn, r.evidence, r.entries, r.opened_at[:10], r.title)
            for r in rows
        ],
        ["CASE", "STATUS", "TLP", "FINDINGS", "WITHDRAWN", "EVIDENCE", "ENTRIES", "OPENED", "TITLE"],
        words=True,
    )
    if rows:
        output.line(f"Next: stillwatch case show {rows[-1].id}")


@app.command()
def show(
    case: CaseArgument,
    today: TodayOption = "",
    workspace: WorkspaceOption = HOME,
    store: StoreOption = "",
    json: JsonOption = False,
) -> None:
    """Show a case: each claim with the answer to it, what was withdrawn, evidence, seals."""
    from stillwatch.cases.claims import fallen

    with _filing.store(workspace, store) as cases:
        found = cases.get(case)
    if json:
        gone = fallen(found)
        states = [
            {"state": gone[f.id].state if f.id in gone else "stands", **asdict(f)} for f in found.findings
        ]
        output.json_lines([{**asdict(found), "findings": states}])
        return
    _case_screen.show(found, _filing.day(today))


def _corrections(case: Case) -> list[str]:
    """Notices that carried what no longer stands, and of which a correction has still to be written."""
    from stillwatch.cases.corrections import unwritten

    return [n.id[:12] for group in unwritten(case) for n in group.notices]


def _next(case: str, corrections: list[str], otherwise: str) -> None:
    """What comes next after a withdrawal: first of all, whoever was told has to know."""
    if not corrections:
        output.line(f"Next: stillwatch case {otherwise} {case}")
        return
    many = output.count(len(corrections), "notice")
    output.line(f"{many} carried it and must be corrected: {', '.join(corrections)}")
    output.line(f"Next: stillwatch case notice {case} --kind correction")


def _text(name: str, data: bytes | Path) -> str:
    from stillwatch.errors import InputError

    try:
        return data.decode() if isinstance(data, bytes) else data.read_text("utf-8")
    except UnicodeDecodeError as problem:
        raise InputError(
            f"{name}: expected text in UTF-8: {problem.reason} at byte {problem.start}"
        ) from problem


def _content(name: str) -> bytes | Path:
    import sys

    return sys.stdin.buffer.read() if name == "-" else Path(name)


def _media_type(name: str) -> str:
    import mimetypes

    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def _is_file(name: str) -> bool:
    """A file, unless it is called as a case is: that one is ``./C-1``."""
    return re.fullmatch("C-[0-9]+", name) is None and (name.endswith(".zip") or Path(name).is_file())


@contextmanager
def _broken_if_deformed() -> Iterator[None]:
    """What cannot even be read was changed as well as what has another digest."""
    from stillwatch.errors import FormatError, IntegrityError

    try:
        yield
    except FormatError as problem:
        found = str(problem).removeprefix(f"{problem.source}: ")
        raise IntegrityError(problem.source, "of what was written", found) from problem


def _findings_file(path: Path) -> tuple[Run, list[Finding]]:
    from stillwatch.cases.reading import loads, read
    from stillwatch.errors import FormatError, InputError
    from stillwatch.records import Finding, Run

    try:
        values = loads(path.read_bytes(), str(path))
    except OSError as problem:
        raise InputError(f"{path}: cannot be read: {problem.strerror}") from problem
    if not isinstance(values, dict) or not isinstance(values.get("findings"), list):
        raise FormatError("expected an object with a run and a list of findings", str(path))
    listed = [read(Finding, f, f"{path}: finding {n}") for n, f in enumerate(values["findings"], 1)]
    return read(Run, values.get("run"), f"{path}: run"), listed


def _finding(case: Case, start: str) -> str:
    """The id of the one finding that has this subject, or whose id begins so; nobody hits one by chance."""
    from stillwatch.errors import InputError

    ids = [f.id for f in case.findings]
    matching = [f.id for f in case.findings if f.subject == start] or [
        i for i in ids if len(start) >= BEGINNING and i.startswith(start)
    ]
    if len(matching) == 1:
        return matching[0]
    names = ", ".join(i[:12] for i in (matching or ids)[:5]) or "none"
    if matching:
        raise InputError(f"{start[:80]!r} fits more than one finding of {case.id}: {names}")
    short = f" (give at least {BEGINNING} characters of an id)" if len(start) < BEGINNING else ""
    raise InputError(f"{start[:80]!r} is no finding of {case.id}{short}; there are: {names}")


case_open.add_to(app)
case_evidence.add_to(app)
case_documents.add_to(app)
case_sharing.add_to(app)
case_matching.add_to(app)
