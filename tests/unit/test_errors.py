"""The error tree is the one drawn in the docstring and in docs/errors.md, with its exit codes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stillwatch import errors

DOCS = Path(__file__).parents[2] / "docs" / "errors.md"
LINE = re.compile(r"^(?P<branch>[│├└─ ]*)(?P<name>\w+)(?: \((?P<also>\w+)\))? +(?P<code>\d|exit code)(?: |$)")


def drawn() -> dict[str, tuple[str, str | None, str]]:
    """Name -> (parent, built-in base, exit code), read off the drawing."""
    path: list[str] = []
    tree = {}
    for line in (errors.__doc__ or "").splitlines():
        if match := LINE.match(line):
            depth = len(match["branch"]) // 4
            path = [*path[:depth], match["name"]]
            tree[match["name"]] = (path[-2] if depth else "Exception", match["also"], match["code"])
    return tree


def defined() -> dict[str, type[errors.StillwatchError]]:
    return {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.StillwatchError)
    }


def test_every_error_is_drawn_and_every_drawn_error_exists() -> None:
    assert set(drawn()) == set(defined())
    assert len(drawn()) >= 11


@pytest.mark.parametrize("name", sorted(set(drawn()) - {"StillwatchError"}))
def test_an_error_is_what_the_drawing_says(name: str) -> None:
    parent, also, code = drawn()[name]
    error = defined()[name]
    assert [base.__name__ for base in error.__bases__] == [parent, *([also] if also else [])]
    assert error.exit_code == int(code)


def test_the_base_ends_as_bad_input() -> None:
    assert errors.StillwatchError.exit_code == 3


def test_the_documented_exit_codes_are_these() -> None:
    """docs/errors.md has one row per error: `Name` | code."""
    rows = dict(re.findall(r"^\| `(\w+)`[^|]*\| (\d) \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE))
    assert rows == {name: str(error.exit_code) for name, error in defined().items()}


@pytest.mark.parametrize(
    ("error", "parts"),
    [
        (
            errors.SchemaError("time", "timestamp", "text", "a.parquet"),
            ["a.parquet", "'time'", "timestamp", "text"],
        ),
        (errors.FormatError("no JSON", "logs/a.jsonl", 812), ["logs/a.jsonl:812: no JSON"]),
        (errors.FormatError("not gzip", "a.gz"), ["a.gz: not gzip"]),
        (errors.InsufficientData(20, 3, "accounts"), ["20 accounts", "found 3"]),
        (
            errors.AssumptionViolated("day", "bins are equal", "23 hours"),
            ["day", "bins are equal", "23 hours"],
        ),
        (errors.MissingExtra("torch", "models"), ["torch", "pip install 'stillwatch[models]'"]),
        (
            errors.EngineError("duckdb", "links", "out of memory", "select 1"),
            ["duckdb", "'links'", "out of memory"],
        ),
        (errors.IntegrityError("evidence e1", "aa", "bb"), ["evidence e1", "aa", "bb"]),
        (errors.GatewayError("no ledger", fail_open=True), ["no ledger"]),
    ],
)
def test_a_message_says_what_and_where(error: errors.StillwatchError, parts: list[str]) -> None:
    assert all(part in str(error) for part in parts), str(error)


def test_errors_keep_their_facts() -> None:
    short = errors.InsufficientData(20, 3, "accounts")
    assert (short.need, short.got, short.unit) == (20, 3, "accounts")
    place = errors.FormatError("no JSON", "a.jsonl", 812)
    assert (place.source, place.line) == ("a.jsonl", 812)
    assert errors.EngineError("duckdb", "links", "no", "select 1").sql == "select 1"
    assert errors.GatewayError("no", fail_open=True).fail_open is True


def test_input_errors_are_caught_as_value_errors() -> None:
    with pytest.raises(ValueError, match=r"a\.jsonl:1"):
        raise errors.FormatError("no JSON", "a.jsonl", 1)
    with pytest.raises(ImportError, match="pip install"):
        raise errors.MissingExtra("torch", "models")
