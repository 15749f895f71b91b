"""`stillwatch methods`: what each method measures, against which null, and what innocent thing looks the same."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

ROOMS = ("campaigns.signals",)
"""Rooms whose modules are methods."""

app = typer.Typer(
    no_args_is_help=True, help="The methods: what each measures, and what innocent thing looks the same."
)

Json = Annotated[bool, typer.Option("--json", help="One JSON record a line.")]


@app.command("list")
def list_methods(json: Json = False) -> None:
    """List every method with the question it serves."""
    from stillwatch.cli import output

    cards = _cards()
    if json:
        output.json_lines(cards.values())
        return
    rows = [(name, card["version"], card["question"], card["title"]) for name, card in cards.items()]
    output.table(rows, ("METHOD", "VERSION", "QUESTION", "MEASURES"))
    output.line("Next: stillwatch methods show NAME")


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name from `stillwatch methods list`.")],
    json: Json = False,
) -> None:
    """Show the card of one method."""
    from stillwatch.cli import output
    from stillwatch.errors import InputError

    cards = _cards()
    if name not in cards:
        raise InputError(f"there is no method {name!r}; there are: {', '.join(cards)}")
    card = cards[name]
    if json:
        output.json_lines([card])
        return
    output.line(f"{card['title']} ({card['name']}@{card['version']})")
    for label, key in _LABELS.items():
        value = card[key]
        for number, text in enumerate([value] if isinstance(value, str) else value):
            _wrapped("" if number else label, text)


_LABELS = {
    "question": "question",
    "null": "null",
    "exchanged": "unit",
    "reads": "access",
    "assumes": "assumptions",
    "looks the same": "looks_same",
    "sources": "sources",
}


def _cards() -> dict[str, dict[str, Any]]:
    from stillwatch import plugins

    return {name: asdict(method.CARD) for room in ROOMS for name, method in plugins.find(room).items()}


def _wrapped(label: str, text: str) -> None:
    from textwrap import wrap

    from stillwatch.cli import output

    for number, part in enumerate(wrap(text, output.WIDTH - 18)):
        output.line(f"  {'' if number else label:<16}{part}")
