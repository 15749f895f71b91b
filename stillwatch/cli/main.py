"""The command line: ``stillwatch <noun> <verb>``. A noun is a module here that has an `app`; there is no list.

Exit codes: 0 done, 1 a bug (with its traceback), 2 wrong usage, 3 bad input, 4 an extra is missing, 5 integrity,
130 interrupted.
"""

from __future__ import annotations

import os
import pkgutil
import sys
from importlib import import_module

import typer

import stillwatch
from stillwatch.cli import output
from stillwatch.errors import StillwatchError

app = typer.Typer(
    name="stillwatch",
    help="Detects, proves, measures and counters unauthorized distillation of language models.",
    no_args_is_help=True,
    # Plain help: the boxes of rich double the time of every `--help`.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"stillwatch {stillwatch.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """Detects, proves, measures and counters unauthorized distillation of language models."""


def add_nouns() -> None:
    """Attach every module of `stillwatch.cli` that has an `app`, under its own name."""
    known = {group.name for group in app.registered_groups}
    for module in pkgutil.iter_modules(import_module("stillwatch.cli").__path__):
        if module.name in {"main", "output"} or module.name.startswith("_") or module.name in known:
            continue
        noun = getattr(import_module(f"stillwatch.cli.{module.name}"), "app", None)
        if noun is not None:
            app.add_typer(noun, name=module.name)


def run() -> None:
    """Entry point of the program: deliberate errors become one line and an exit code, bugs keep their traceback."""
    add_nouns()
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except StillwatchError as error:
        output.note(f"stillwatch: {' '.join(str(error).split())}")
        sys.exit(error.exit_code)
    except BrokenPipeError:
        _leave_quietly()
    except SystemExit as leaving:
        # Typer turns an interrupt into exit code 130 and a closed pipe into 1, both without a word.
        if isinstance(leaving.__context__, BrokenPipeError):
            _leave_quietly()
        if leaving.code == 130:
            sys.stderr.write("stillwatch: interrupted; what was finished before is kept\n")
        raise


def _leave_quietly() -> None:
    # The reader of our output went away (`| head`). Point stdout at nothing, or the interpreter's last flush would
    # complain once more.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(0)
