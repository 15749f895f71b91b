"""`stillwatch methods`."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from stillwatch import plugins
from stillwatch.cli.methods import app
from stillwatch.errors import InputError

METHODS = plugins.find("campaigns.signals")


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False, env={"COLUMNS": "100"})
    assert result.exit_code == 0
    return result.output


def test_every_method_is_listed_with_its_question() -> None:
    text = run("list")
    lines = {line.split()[0]: line for line in text.splitlines()}
    for name, method in METHODS.items():
        assert method.CARD.question in lines[name]
    assert max(map(len, text.splitlines())) <= 100


def test_json_gives_the_whole_card() -> None:
    records = [json.loads(line) for line in run("list", "--json").splitlines()]
    assert [r["name"] for r in records] == list(METHODS)
    assert records == [json.loads(run("show", name, "--json")) for name in METHODS]


@pytest.mark.parametrize("name", METHODS)
def test_a_card_is_shown_in_full_and_fits_the_screen(name: str) -> None:
    text = run("show", name)
    card = METHODS[name].CARD
    flat = " ".join(text.split())
    assert " ".join(card.null.split()) in flat
    for look_alike in (*card.looks_same, *card.sources, *card.assumptions):
        assert all(word in flat for word in look_alike.split())
    assert max(map(len, text.splitlines())) <= 100


def test_an_unknown_method_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"there are: .*registration"):
        CliRunner().invoke(app, ["show", "regstration"], catch_exceptions=False)
