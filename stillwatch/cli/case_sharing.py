"""``stillwatch case share`` and ``case import-indicators``: indicators out, and those of others in.

`add_to` hangs both into the app of ``stillwatch case``.
"""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stillwatch.cli import _drawing, _filing, output
from stillwatch.cli._options import HOME, ByOption, CaseArgument, StoreOption, WorkspaceOption
from stillwatch.records import Revocation

if TYPE_CHECKING:
    from stillwatch.cases.sharing import Imported
    from stillwatch.cases.store import CaseStore
    from stillwatch.records import TLP

_BENIGN = re.compile(r"([^=]+)=(\d{1,12})/(\d{1,12})")


def add_to(app: typer.Typer) -> None:
    """Hang the commands of this file into ``stillwatch case``."""
    app.command("share")(share)
    app.command("import-indicators")(import_indicators)


def share(
    case: CaseArgument,
    format: Annotated[str, typer.Option("--format", help="stix, misp, ocsf, sigma or csv.")],
    tlp: Annotated[str, typer.Option("--tlp", help="At which TLP.", show_default="the case's")] = "",
    with_texts: Annotated[
        bool, typer.Option("--with-texts", help="Also the shared text itself; at TLP:AMBER or narrower only.")
    ] = False,
    downgrade: Annotated[
        bool, typer.Option("--downgrade", help="Share at a wider TLP than that of the case or its evidence.")
    ] = False,
    name_parties: Annotated[
        bool,
        typer.Option("--name-parties", help="Name those who were asked or answered; else party A and so on."),
    ] = False,
    producer: Annotated[
        str,
        typer.Option(
            "--producer",
            help="Who says so, as readers will see it.",
            show_default="as the case was shared last; else not named",
        ),
    ] = "",
    valid_days: Annotated[
        int, typer.Option("--valid-days", help="Days after the last exchange on which indicators end.")
    ] = 90,
    benign: Annotated[
        list[str] | None,
        typer.Option("--benign", help="FINDING=K/N: K of N honest accounts matched its text; repeat it."),
    ] = None,
    finding: Annotated[
        list[str] | None,
        typer.Option(
            "--finding", help="Only this finding, by its id or its beginning; repeat it for others."
        ),
    ] = None,
    disputed: Annotated[
        list[str] | None,
        typer.Option("--disputed", help="An answer that denies the claim, by its id's beginning; repeat it."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="File to write.", show_default="stdout")] = None,
    by: ByOption = "",
    workspace: WorkspaceOption = HOME,
    store: StoreOption = "",
) -> None:
    """Write what may be looked for elsewhere, without accounts, as STIX, MISP, OCSF, Sigma or CSV."""
    from stillwatch.cases import indicators, sharing

    with _filing.store(workspace, store) as cases:
        found = cases.get(case)
    shared = indicators.of_case(
        found,
        tlp=_label(tlp),
        with_texts=with_texts,
        valid_days=valid_days,
        benign=_rates(benign or [], [f.id for f in found.findings]),
        downgrade=downgrade,
        name_parties=name_parties,
        findings=[_begun(start, "--finding", [f.id for f in found.findings]) for start in finding or []],
        disputed=[_begun(start, "--disputed", [a.id for a in found.answers]) for start in disputed or []],
    )
    left = [s.producer for s in found.shares if s.format in sharing.formats()]
    producer = producer or (left[-1] if left else sharing.NOBODY)
    data = sharing.write(found, shared, format, producer=producer)
    record = sharing.record(
        found,
        shared,
        format,
        data,
        producer=producer,
        by=_filing.whoever(by),
        at=datetime.now(UTC).isoformat(),
    )
    # The case knows before anybody else does.
    with _filing.store(workspace, store) as cases:
        cases.note_share(case, record, head=found.head)
    for sentence in shared.left_out:
        output.note(f"left out: {sentence}")
    for sentence in sharing.formats()[format].FORMAT.loses:
        output.note(f"{format}: {sentence}")
    for other in dict.fromkeys(p for p in left if p != producer):
        output.note(
            f"{case} left as {other!r} too; share it with --producer once more as that, so that they hear of it"
        )
    told = f"{output.count(len(shared.indicators), 'indicator')} at {shared.tlp}"
    if shared.revoked:
        told += f", {len(shared.revoked)} taken back"
    if out is None:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        _drawing.write_file(out, data)
        told += f": {out}"
    output.note(told)


def import_indicators(
    case: Annotated[str, typer.Argument(help="Id of the case in which they are filed.")],
    file: Annotated[Path, typer.Argument(help="The document; - is stdin.")],
    format: Annotated[str, typer.Option("--format", help="stix, misp, ocsf or csv.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="One JSON record a line.")] = False,
    by: ByOption = "",
    workspace: WorkspaceOption = HOME,
    store: StoreOption = "",
) -> None:
    """File somebody else's indicators, with the document they came in; nothing acts on them."""
    from dataclasses import asdict

    from stillwatch.cases import indicators, received, sharing
    from stillwatch.records import digest

    now, who = datetime.now(UTC), _filing.whoever(by)
    data, name = _read(file)
    imported = sharing.read(data, format, source=name, at=now.isoformat())
    origin = imported.provenance
    with _filing.store(workspace, store) as cases:
        # A case that is not there, or takes no indicator, keeps no bytes either.
        received.check_takes(cases.get(case), imported.indicators)
        cases.add_evidence(
            case,
            data,
            media_type=sharing.formats()[origin.format].FORMAT.media_type,
            role="imported indicators",
            origin=f"{origin.producer}, {name}",
            by=who,
            tlp=imported.tlp,
        )
        fresh = cases.add_many(case, imported.filed(), by=who)
        gone = _take_back(cases, case, imported, who)
    rows: list[dict[str, Any]] = [
        {
            **asdict(i),
            "state": indicators.state_of(i, now, taken_back=digest(kept) in gone),
            "producer": origin.producer,
            "document": origin.sha256,
        }
        for i, kept in zip(imported.indicators, imported.filed(), strict=True)
    ]
    if json:
        output.json_lines(rows)
    else:
        output.table(
            [
                (r["kind"], r["language"], r["confidence"], r["tlp"], r["valid_until"][:10], r["state"])
                for r in rows
            ],
            ["KIND", "LANGUAGE", "CONFIDENCE", "TLP", "UNTIL", "STATE"],
        )
    output.note(
        f"{output.count(sum(fresh), 'new indicator')} of {len(rows)} by {origin.producer} filed in {case}; nothing "
        "acts on them"
    )
    for sentence in imported.lost:
        output.note(f"{name}: {sentence}")


def _take_back(cases: CaseStore, case: str, imported: Imported, by: str) -> set[str]:
    """Mark in the case what the document takes back, and say so; digests of everything that was taken back there."""
    from stillwatch.cases import received

    held = cases.get(case)
    found, others = received.revoked_by(held, imported.revoked, imported.provenance.producer)
    at = datetime.now(UTC).isoformat()
    document = imported.provenance.sha256
    new = cases.add_many(case, [Revocation(i, at, by, document) for i in found], by=by)
    if imported.revoked:
        # The patterns themselves may be narrower than a remark is.
        told = output.count(len(imported.revoked), "indicator")
        said = f"{imported.provenance.producer} takes back {told}, {sum(new)} of them filed here before"
        cases.note(case, f"{said} (document {document[:16]})", by=by)
        output.note(
            f"taken back by their producer, do not look for them: {len(imported.revoked)}; no longer valid in {case}: "
            f"{len(found)}"
        )
    if others:
        output.note(f"not taken back, because somebody else's document brought them: {others}")
    return {r.indicator for r in held.revocations} | set(found)


def _label(text: str) -> TLP | None:
    from stillwatch.cases.events import TLP_ORDER, rank

    return TLP_ORDER[rank(text.strip().upper())] if text else None


def _rates(given: list[str], known: list[str]) -> dict[str, tuple[int, int]]:
    """Finding id -> k of n; an id may be cut, as long as one finding begins so."""
    from stillwatch.errors import InputError

    rates = {}
    for text in given:
        match = _BENIGN.fullmatch(text)
        if match is None:
            raise InputError(f"--benign takes FINDING=K/N, such as 7707a386=3/20000, found {text[:60]!r}")
        rates[_begun(match[1], "--benign", known)] = (int(match[2]), int(match[3]))
    return rates


def _begun(start: str, option: str, known: list[str]) -> str:
    """The one id that begins so."""
    from stillwatch.errors import InputError

    begun = [i for i in known if i.startswith(start.lower())]
    if len(begun) != 1:
        what = "answers" if option == "--disputed" else "findings"
        raise InputError(f"{option}: {len(begun)} {what} of the case begin with {start[:60]!r}")
    return begun[0]


def _read(file: Path) -> tuple[bytes, str]:
    """The document and its name; at most one byte more than is read of any."""
    from stillwatch.cases.sharing._bounded import MOST_BYTES
    from stillwatch.errors import InputError

    if str(file) == "-":
        return sys.stdin.buffer.read(MOST_BYTES + 1), "stdin"
    try:
        with file.open("rb") as opened:
            return opened.read(MOST_BYTES + 1), file.name
    except OSError as problem:
        raise InputError(f"{file}: {problem.strerror}") from problem
