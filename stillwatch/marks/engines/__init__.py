"""Serving engines: one file each writes the settings with which the engine marks under the key of one scope.

A module here has `SCHEMES` (what it can mark with), `parameters(scheme, given)` (checked, with the engine's defaults
filled in), `config(key, parameters)` (the file, as bytes), `SUFFIX` of that file and `start(path, parameters)` (how
the engine takes it). `writer_of` finds them; there is no list.
"""

from __future__ import annotations

from types import ModuleType

from stillwatch import plugins
from stillwatch.errors import InputError


def writers() -> dict[str, ModuleType]:
    """Every engine by name."""
    return plugins.find("marks.engines")


def writer_of(scheme: str) -> tuple[str, ModuleType] | None:
    """Name and module of the engine that marks with a scheme; None where no engine here does."""
    found = [(name, module) for name, module in writers().items() if scheme in module.SCHEMES]
    if len(found) > 1:
        raise InputError(
            f"several engines say that they mark with {scheme!r}: {', '.join(n for n, _ in found)}"
        )
    return found[0] if found else None
