"""``stillwatch watermark twins``: what is published before and after a day on which twins are drawn."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from stillwatch.cli import _filing, output
from stillwatch.cli._options import HOME, ByOption, WorkspaceOption
from stillwatch.cli.watermark_keys import CommandOption, KeyOption

DayOption = Annotated[
    str, typer.Option("--day", help="Such as 2026-12-01, UTC: of the exchanges, not of the clock.")
]
TenantOption = Annotated[
    str, typer.Option("--tenant", help="Whom the draw is for: a pseudonym, never a name.")
]
RungOption = Annotated[str, typer.Option("--rung", help="Step of the ladder of countermeasures.")]
CampaignOption = Annotated[str, typer.Option("--campaign", help="Suspected campaign, such as c-7f3a104b.")]
EpochOption = Annotated[str, typer.Option("--epoch", help="Such as 2026-12.")]


def add_to(app: typer.Typer) -> None:
    """Hang the commands of this file into ``stillwatch watermark``."""
    twins = typer.Typer(
        help="Pairs of answers and their coins: what to publish of a day.", no_args_is_help=True
    )
    twins.command("commit")(commit)
    twins.command("tally")(tally)
    app.add_typer(twins, name="twins")


def commit(
    day: DayOption,
    share: Annotated[float, typer.Option("--share", help="Of the exchanges that get a twin, 0 to 1.")],
    tenant: TenantOption = "",
    rung: RungOption = "",
    campaign: CampaignOption = "",
    epoch: EpochOption = "",
    key: KeyOption = None,
    key_command: CommandOption = "",
    by: ByOption = "",
    workspace: WorkspaceOption = HOME,
) -> None:
    """Print the line to publish before a day: it fixes every coin of that day. The register keeps whom it is for."""
    from stillwatch.cli.watermark_keys import master_of
    from stillwatch.marks.keys import Scope
    from stillwatch.marks.register import Register
    from stillwatch.marks.twins import Day

    master, scope = master_of(key, key_command, workspace), Scope(tenant, rung, campaign, epoch)
    drawn = Day(master, day, share=share, scope=scope)
    register = Register(workspace / "marks" / "register.jsonl")
    register.drawn(master, drawn.commitment, scope, by=_filing.whoever(by))
    if day <= _today():
        output.note(f"{day} has begun: what is committed to now says nothing of coins that fell before")
    output.line(drawn.commitment.line())
    output.note(
        "publish this line before the day, with a time stamp; afterwards: stillwatch watermark twins tally"
    )


def tally(
    day: DayOption,
    tenant: TenantOption = "",
    rung: RungOption = "",
    campaign: CampaignOption = "",
    epoch: EpochOption = "",
    ledger: Annotated[
        Path | None,
        typer.Option("--ledger", help="Folder of the ledger.", show_default="marks/ledger in the workspace"),
    ] = None,
    key: KeyOption = None,
    key_command: CommandOption = "",
    workspace: WorkspaceOption = HOME,
) -> None:
    """Print the line to publish after a day, over all its twins in the ledger, once each coin was checked."""
    from stillwatch.cli.watermark_keys import master_of
    from stillwatch.errors import InputError
    from stillwatch.marks.keys import Scope
    from stillwatch.marks.ledger import Ledger
    from stillwatch.marks.register import Register
    from stillwatch.marks.twins import Day, verify
    from stillwatch.marks.twins_published import of_draw, of_ledger

    master, scope = master_of(key, key_command, workspace), Scope(tenant, rung, campaign, epoch)
    draws = Register(workspace / "marks" / "register.jsonl").draws()
    committed = next((c for c, whom in draws if c.day == day and whom == scope), None)
    if committed is None:
        raise InputError(
            f"the register has no draw of {day[:40]} for {scope}; it is committed before the day: "
            "stillwatch watermark twins commit"
        )
    if day >= _today():
        raise InputError(f"{day} is not over; its tally is of all its twins")
    drawn = Day(master, day, share=committed.share, scope=scope)
    with Ledger(ledger or workspace / "marks" / "ledger", master) as opened:
        twins = of_draw(committed, [c for c, _ in draws], of_ledger(opened, {day}))
    made = drawn.tally(twins)
    verify(committed, made, twins, drawn.open())
    output.line(made.line())
    output.note(f"{output.count(len(twins), 'twin')} of {day}; publish this line soon, with a time stamp")


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
