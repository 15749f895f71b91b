"""Options and arguments that several commands take, declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

HOME = Path("stillwatch-data")

WorkspaceOption = Annotated[Path, typer.Option("--workspace", help="Folder of the workspace.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON record a line.")]
ByOption = Annotated[str, typer.Option("--by", help="Who does this; else the user who runs the program.")]
CaseArgument = Annotated[str, typer.Argument(help="Id of the case, such as C-1.")]
StoreOption = Annotated[
    str,
    typer.Option(
        "--store",
        envvar="STILLWATCH_CASE_STORE",
        show_envvar=True,
        help="URL of a PostgreSQL database with the cases; else they lie in the workspace.",
    ),
]
LanguageOption = Annotated[
    str, typer.Option("--language", help="en, fr, ar or zh; all but en are unreviewed drafts.")
]
TodayOption = Annotated[
    str, typer.Option("--today", help="The day (YYYY-MM-DD) on which dates are judged; else today.")
]
