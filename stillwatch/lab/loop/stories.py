"""The reviewed file of loops."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from stillwatch.errors import InputError

FILE = Path(__file__).with_name("stories.toml")
SMALL = ("guilty", "rival")
"""The loops of ``--small``: one guilty, one innocent."""
SOURCES = ("harvest", "licensed", "rival", "plain", "web")


@dataclass(frozen=True, slots=True)
class Story:
    """One loop; fields as in `stories.toml`."""

    name: str
    says: str
    source: str
    expected: tuple[str, ...]
    scenario: str
    honest_accounts: int
    days: int
    answers: int
    length: int
    marked: float
    twins: float
    honest_answers: int
    dose: float
    scope: str = ""


def stories(path: Path = FILE, *, small: bool = False) -> dict[str, Story]:
    """All loops by name, in the order of the file; with `small` in the size that the file has for ``--small``.

    Raises
    ------
    InputError
        The file is no TOML, or says something that no loop has.
    """
    try:
        told = tomllib.loads(path.read_text("utf-8"))
        common = told["common"] | (told["small"] if small else {})
        found = {
            name: Story(**{**common, **facts, "name": name, "expected": tuple(facts["expected"])})
            for name, facts in told["story"].items()
        }
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError) as problem:
        raise InputError(f"{path}: {problem}") from problem
    for one in found.values():
        if one.source not in SOURCES or not 0 <= one.dose <= 1 or not 0 <= one.marked <= 1:
            raise InputError(f"{path}: story {one.name!r}: source, dose or marked is out of range")
    return found
