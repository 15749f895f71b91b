"""Finds methods: one module is one method, and there is no list to keep by hand."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from importlib.metadata import entry_points
from types import ModuleType

from stillwatch.errors import InputError


def find(room: str) -> dict[str, ModuleType]:
    """All methods of a room, by name, in alphabetical order.

    Parameters
    ----------
    room
        Dotted path below the package, such as ``"campaigns.signals"``. Modules of that package whose name does
        not begin with an underscore are methods; so are entry points of the group ``stillwatch.<room>``.

    Raises
    ------
    InputError
        Two methods have one name.
    """
    package = import_module(f"stillwatch.{room}")
    own = [m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_")]
    methods = {name: import_module(f"stillwatch.{room}.{name}") for name in own}
    for point in entry_points(group=f"stillwatch.{room}"):
        if point.name in methods:
            raise InputError(f"two methods of {room} are called {point.name!r}; one comes from {point.value}")
        methods[point.name] = point.load()
    return dict(sorted(methods.items()))
