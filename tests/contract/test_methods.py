"""Every method of every room, against the same promises. A new method is found, not listed."""

from __future__ import annotations

from pathlib import Path

import contract_checks as contract
import pytest

from stillwatch import plugins

ROOMS = ["attribution.randomized", "campaigns.signals", "marks.schemes"]
"""Rooms that exist. Add a room here in the commit that makes it."""
DOCS = Path(__file__).parents[2] / "docs"

METHODS = {(room, name): module for room in ROOMS for name, module in plugins.find(room).items()}
each_method = pytest.mark.parametrize(
    ("room", "name"), list(METHODS), ids=[f"{room}.{name}" for room, name in METHODS]
)


@pytest.mark.parametrize("room", ROOMS)
def test_a_listed_room_holds_methods(room: str) -> None:
    assert any(r == room for r, _ in METHODS), f"{room} is listed but holds no method"


@each_method
def test_names(room: str, name: str) -> None:
    contract.check_names(METHODS[room, name])


@each_method
def test_the_card_is_named_like_the_file(room: str, name: str) -> None:
    assert METHODS[room, name].CARD.name == name


@each_method
def test_docs_page(room: str, name: str) -> None:
    contract.check_docs(room, name, DOCS)


@each_method
@pytest.mark.parametrize("n", contract.SIZES)
def test_size_and_mean_evalue(room: str, name: str, n: int) -> None:
    contract.check_size(METHODS[room, name], n)
    contract.check_evalue_mean(METHODS[room, name], n)


@each_method
def test_power(room: str, name: str) -> None:
    contract.check_power(METHODS[room, name])


@each_method
def test_refusal(room: str, name: str) -> None:
    contract.check_refusal(METHODS[room, name])


@each_method
def test_same_seed(room: str, name: str) -> None:
    contract.check_same_seed(METHODS[room, name])


@pytest.mark.parametrize("room", ROOMS)
def test_light_imports(room: str) -> None:
    contract.check_light_imports([module.__name__ for (r, _), module in METHODS.items() if r == room])
