"""``stillwatch logs``: from anybody's log to exchanges."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stillwatch.cli import output

app = typer.Typer(help="From anybody's log to exchanges: import, describe, check.", no_args_is_help=True)

Folder = Annotated[Path, typer.Option("--workspace", metavar="DIR", help="Folder that holds everything.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON record a line instead of a table.")]
HERE = Path("stillwatch-data")


@app.command("import")
def import_(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE...", help="Logs: paths, globs or - for standard input."),
    ] = None,
    format: Annotated[str, typer.Option("--format", help="Reader, or auto to recognise it.")] = "auto",
    accounts: Annotated[
        str | None, typer.Option("--accounts", metavar="FILE", help="CSV or Parquet of account facts.")
    ] = None,
    actions: Annotated[
        str | None, typer.Option("--actions", metavar="FILE", help="CSV or Parquet of actions taken.")
    ] = None,
    workspace: Folder = HERE,
    keep_text: Annotated[
        str,
        typer.Option(
            "--keep-text", help="shared: pieces that at least 5 accounts share, encrypted; or none."
        ),
    ] = "shared",
    memory_limit: Annotated[str, typer.Option("--memory-limit", help="Of the embedded engine.")] = "1GB",
    threads: Annotated[int, typer.Option("--threads", min=1, help="Of the embedded engine.")] = 2,
    json: Json = False,
) -> None:
    """Read logs into the workspace. Reading a file twice adds nothing; a killed import goes on where it stopped."""
    from dataclasses import asdict

    from stillwatch import logs

    names = list(files or [])
    with output.progress(f"importing {output.count(len(names), 'file')}") as update:

        def show(step: logs.Progress) -> None:
            share = step.bytes_done / step.bytes if step.bytes else step.files_done / max(step.files, 1)
            update(share, f"{_bytes(step.bytes_done)}  {step.rows:,} rows")

        done = logs.ingest(
            names,
            workspace,
            format=format,
            accounts=accounts,
            actions=actions,
            memory_limit=memory_limit,
            threads=threads,
            keep_text=keep_text,  # type: ignore[arg-type]
            on_progress=show,
        )
    if json:
        output.json_lines([asdict(done)])
        return
    span = "" if done.first_time is None else f", {_day(done.first_time)} to {_day(done.last_time)}"
    output.line(
        f"{output.count(done.exchanges, 'exchange')} of {output.count(done.accounts, 'account')}{span}."
    )
    read = f"{output.count(done.rows, 'row')} read in {done.seconds:.0f} s: {done.added:,} added"
    output.line(f"{read}, {done.duplicates:,} already there or twice, {done.quarantined:,} quarantined.")
    for reason, rows in sorted(done.reasons.items(), key=lambda pair: -pair[1])[:5]:
        output.line(f"  quarantined: {reason} ({rows:,})")
    if accounts or actions:
        facts = f"{output.count(done.account_rows, 'account')} and {output.count(done.action_rows, 'action')} described"
        output.line(f"{facts}; {done.reference_quarantined:,} such rows quarantined.")
    where = _where(workspace)
    if done.quarantined or done.reference_quarantined:
        output.line(f"See: stillwatch logs describe --quarantine{where}")
    if done.exchanges:
        from stillwatch import plugins

        ready = logs.check(workspace, [m.CARD for m in plugins.find("campaigns.signals").values()])
        _wrapped(f"Signals that can run: {sum(r.runs for r in ready)} of {len(ready)}. ", _not(ready))
        output.line(f"Next: stillwatch campaigns scan{where}")


@app.command()
def describe(
    workspace: Folder = HERE,
    quarantine: Annotated[
        bool, typer.Option("--quarantine", help="List the rows in quarantine: reason, file, line.")
    ] = False,
    json: Json = False,
) -> None:
    """Print counts, spans, models, missing columns and why rows went to quarantine."""
    from dataclasses import asdict

    from stillwatch import logs

    if quarantine:
        rows = logs.quarantined(workspace)
        if json:
            output.json_lines({"file": file, "line": place, "reason": reason} for file, place, reason in rows)
        elif rows:
            output.table([(r, f"{f}:{n}") for f, n, r in rows], ["REASON", "PLACE"])
        else:
            output.line("No row is in quarantine.")
        return
    found = logs.describe(workspace)
    if json:
        output.json_lines([asdict(found) | {"missing": found.missing}])
        return
    span = "" if found.first_time is None else f", {_day(found.first_time)} to {_day(found.last_time)}"
    output.line(
        f"{output.count(found.exchanges, 'exchange')} of {output.count(found.accounts, 'account')} "
        f"in {output.count(found.organizations, 'organisation')}{span}."
    )
    stored = f"{output.count(found.parts, 'part')}, {_bytes(found.bytes)}; {found.texts:,} shared pieces of text kept"
    output.line(f"{output.count(len(found.files), 'file')} imported; {stored}.")
    for name, _, done in found.files:
        if not done:
            output.line(f"  not finished: {name} (run its import again)")
    if found.models:
        output.line()
        rows = [
            (m.name, m.exchanges, m.accounts, _day(m.first_time), _day(m.last_time))
            for m in found.models[:12]
        ]
        output.table(rows, ["MODEL", "EXCHANGES", "ACCOUNTS", "FIRST", "LAST"])
        if len(found.models) > 12:
            output.line(f"and {len(found.models) - 12} more models (--json lists them)")
    output.line()
    for table in ("exchanges", "accounts", "actions"):
        here = [c for c in found.columns if c.table == table]
        if not here[0].rows:
            output.line(f"{table}: none imported")
            continue
        empty = [c.name for c in here if not c.filled]
        partly = [f"{c.name} ({100 * c.filled / c.rows:.0f}%)" for c in here if 0 < c.filled < c.rows]
        _wrapped(f"{table} without a value: ", empty or ["none"])
        if partly:
            _wrapped(f"{table} with some values: ", partly)
    if found.quarantine:
        output.line()
        output.table([(r, n) for r, n in found.quarantine[:12]], ["IN QUARANTINE BECAUSE", "ROWS"])
    output.line(f"Next: stillwatch logs check{_where(workspace)}")


@app.command()
def check(workspace: Folder = HERE, json: Json = False) -> None:
    """Say which signals can run on these columns, which cannot, and why."""
    from dataclasses import asdict

    from stillwatch import logs, plugins

    cards = [method.CARD for method in plugins.find("campaigns.signals").values()]
    found = logs.check(workspace, cards)
    if json:
        output.json_lines(asdict(r) for r in found)
        return
    rows = [(r.method, r.runs, _basis(r) if r.runs else r.why) for r in found]
    output.table(rows, ["SIGNAL", "RUNS", "ON WHAT, OR WHY NOT"])
    able = sum(r.runs for r in found)
    output.line(f"Signals that can run: {able} of {len(found)}.")
    output.line(
        f"Next: stillwatch campaigns scan{_where(workspace)}" if able else "Next: stillwatch logs describe"
    )


def _not(found: list) -> list[str]:
    lacking = [f"{r.method} ({r.why})" for r in found if not r.runs]
    return [f"Not: {lacking[0]}", *lacking[1:]] if lacking else []


def _basis(ready: object) -> str:
    needs = ready.needs  # type: ignore[attr-defined]
    return ", ".join(f"{n.access.replace('|', ' or ')} {100 * n.rows / n.of:.0f}%" for n in needs)


def _where(workspace: Path) -> str:
    return "" if workspace == HERE else f" --workspace {workspace}"


def _wrapped(title: str, words: list[str]) -> None:
    import textwrap

    for part in textwrap.wrap(title + ", ".join(words), output.WIDTH, subsequent_indent="  "):
        output.line(part)


def _bytes(number: int) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000  # type: ignore[assignment]
    return f"{number:.3g} TB"


def _day(microseconds: int | None) -> str:
    from datetime import UTC, datetime

    return (
        "" if microseconds is None else datetime.fromtimestamp(microseconds / 1e6, UTC).strftime("%Y-%m-%d")
    )
