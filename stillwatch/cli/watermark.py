"""``stillwatch watermark``: keys of marks, marking and reading text. Its verbs stand in files of their own.

A module of `stillwatch.cli` whose name begins with ``watermark_`` hangs its verbs in with `add_to(app)`.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

import typer

app = typer.Typer(
    help="What we leave in served answers: keys, marks, reading them back.", no_args_is_help=True
)


@app.callback()
def _noun() -> None:
    """What we leave in served answers: keys, marks, reading them back."""


def _add_verbs() -> None:
    for module in pkgutil.iter_modules(import_module("stillwatch.cli").__path__):
        if module.name.startswith("watermark_"):
            import_module(f"stillwatch.cli.{module.name}").add_to(app)


_add_verbs()
