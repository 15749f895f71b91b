"""``stillwatch watermark canaries``: draw the wordings of a scope, and fix beforehand what a suspect will be asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from stillwatch.cli import output
from stillwatch.cli._options import HOME, WorkspaceOption
from stillwatch.cli.watermark_keys import CommandOption, KeyOption


def add_to(app: typer.Typer) -> None:
    """Hang the command of this file into ``stillwatch watermark``."""
    app.command("canaries")(canaries)


def canaries(
    out: Annotated[
        Path,
        typer.Option("--out", help="File to write: probe set and instruction; only its owner can read it."),
    ],
    tenant: Annotated[str, typer.Option("--tenant", help="Whom they serve: a pseudonym, never a name.")] = "",
    rung: Annotated[str, typer.Option("--rung", help="Step of the ladder of countermeasures.")] = "",
    campaign: Annotated[str, typer.Option("--campaign", help="Suspected campaign, such as c-7f3a104b.")] = "",
    epoch: Annotated[
        str, typer.Option("--epoch", help="Such as 2026-12; another epoch has other ways.")
    ] = "",
    controls: Annotated[
        int, typer.Option("--controls", help="Canaries that are drawn and never served.")
    ] = 10,
    repeats: Annotated[int, typer.Option("--repeats", help="How often each question is asked.")] = 5,
    set_: Annotated[
        Path | None, typer.Option("--set", help="Canaries of your own, in the form of the built-in ones.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Write over a file that is there.")] = False,
    key: KeyOption = None,
    key_command: CommandOption = "",
    workspace: WorkspaceOption = HOME,
) -> None:
    """Draw by key which true wordings an account's answers get, and the questions a suspect will be asked."""
    from stillwatch.cli.watermark_keys import master_of
    from stillwatch.marks import canaries as drawn
    from stillwatch.marks.keys import Scope
    from stillwatch.marks.secret_file import write_secret

    master = master_of(key, key_command, workspace)
    among = drawn.canaries(set_) if set_ else None
    probes = drawn.probe_set(
        master, Scope(tenant, rung, campaign, epoch), controls=controls, repeats=repeats, among=among
    )
    said = {"probes": probes.opened(), "instruction": drawn.instruction(probes.planted)}
    write_secret(out, json.dumps(said, indent=1, ensure_ascii=False).encode() + b"\n", replace=replace)
    output.note(f"{out}: says which wordings were drawn; only its owner can read it")
    output.line(f"{len(probes.planted)} canaries for {probes.scope}, {len(probes.controls)} controls.")
    output.line(f"Publish before a suspect is asked: {probes.commitment()}")
    output.line("Next: put the instruction into that scope's system prompt; later")
    output.line(f"  stillwatch model attribute --suspect MODEL --canaries {out}")
