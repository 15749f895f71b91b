"""What the writers of settings share: parameters that are known, of the right kind and in their range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stillwatch.errors import InputError


@dataclass(frozen=True, slots=True)
class Setting:
    """One parameter: its default, and what it may be."""

    default: Any
    low: float | None = None
    high: float | None = None
    choices: tuple[Any, ...] = ()
    optional: bool = False
    """None is allowed too."""


def checked(scheme: str, settings: Mapping[str, Setting], given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with every default filled in.

    Raises
    ------
    InputError
        One is unknown, of another kind, or out of its range.
    """
    unknown = sorted(set(given) - set(settings))
    if unknown:
        raise InputError(f"{scheme} has no parameter {unknown[0]!r}; it has {', '.join(settings)}")
    values = {}
    for name, setting in settings.items():
        value = given.get(name, setting.default)
        if isinstance(setting.default, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        _check(f"{scheme}: {name}", setting, value)
        values[name] = value
    return values


def _check(what: str, setting: Setting, value: Any) -> None:
    if value is None and setting.optional:
        return
    if setting.choices:
        if value not in setting.choices:
            raise InputError(f"{what}: expected {' or '.join(map(str, setting.choices))}, found {value!r}")
        return
    if type(value) is not type(setting.default):
        raise InputError(f"{what}: expected {type(setting.default).__name__}, found {value!r}")
    if setting.low is not None and value < setting.low:
        raise InputError(f"{what}: must be at least {setting.low:g}, found {value!r}")
    if setting.high is not None and value > setting.high:
        raise InputError(f"{what}: must be at most {setting.high:g}, found {value!r}")
