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
    where = "" if workspace == HERE else f" --workspace {workspace}"
    if done.quarantined or done.reference_quarantined:
        output.line(f"See: stillwatch logs describe --quarantine{where}")
    output.line(f"Next: stillwatch logs check{where}")


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
