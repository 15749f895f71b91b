"""A method is found because its file is there."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

import stillwatch
from stillwatch import plugins
from stillwatch.errors import InputError


class Point:
    """An entry point, as `importlib.metadata` gives it."""

    def __init__(self, name: str, module: ModuleType) -> None:
        self.name, self.value, self._module = name, f"theirs.{name}", module

    def load(self) -> ModuleType:
        return self._module


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A room ``example_room`` with the methods beta and alpha, and a private module."""
    package = tmp_path / "example_room"
    package.mkdir()
    for name in ("__init__", "beta", "alpha", "_shared"):
        (package / f"{name}.py").write_text(f"NAME = {name!r}\n")
    monkeypatch.setattr(stillwatch, "__path__", [*stillwatch.__path__, str(tmp_path)])
    yield "example_room"
    for name in [m for m in sys.modules if m.startswith("stillwatch.example_room")]:
        del sys.modules[name]


def entries(monkeypatch: pytest.MonkeyPatch, *points: Point) -> list[str]:
    asked: list[str] = []

    def entry_points(*, group: str) -> tuple[Point, ...]:
        asked.append(group)
        return points

    monkeypatch.setattr(plugins, "entry_points", entry_points)
    return asked


def test_modules_are_methods_in_alphabetical_order(room: str) -> None:
    methods = plugins.find(room)
    assert list(methods) == ["alpha", "beta"]
    assert methods["beta"].NAME == "beta"


def test_a_new_file_is_a_new_method(room: str, tmp_path: Path) -> None:
    (tmp_path / room / "gamma.py").write_text("")
    assert list(plugins.find(room)) == ["alpha", "beta", "gamma"]


def test_other_peoples_methods_come_by_entry_point(room: str, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = ModuleType("theirs.aardvark")
    asked = entries(monkeypatch, Point("aardvark", theirs))
    methods = plugins.find(room)
    assert list(methods) == ["aardvark", "alpha", "beta"]
    assert methods["aardvark"] is theirs
    assert asked == ["stillwatch.example_room"]


def test_two_methods_of_one_name_are_refused(room: str, monkeypatch: pytest.MonkeyPatch) -> None:
    entries(monkeypatch, Point("alpha", ModuleType("theirs.alpha")))
    with pytest.raises(InputError, match=r"'alpha'.*theirs\.alpha"):
        plugins.find(room)


def test_two_entry_points_of_one_name_are_refused(room: str, monkeypatch: pytest.MonkeyPatch) -> None:
    entries(monkeypatch, Point("new", ModuleType("theirs.new")), Point("new", ModuleType("others.new")))
    with pytest.raises(InputError, match="'new'"):
        plugins.find(room)


def test_a_room_that_does_not_exist_is_no_empty_room() -> None:
    with pytest.raises(ModuleNotFoundError):
        plugins.find("no_such_room")


def test_a_broken_method_is_not_skipped(room: str, tmp_path: Path) -> None:
    (tmp_path / room / "broken.py").write_text("1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        plugins.find(room)
