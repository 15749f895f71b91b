"""Records from JSON: equal when they are right, an error with its place when they are not."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
from store_samples import finding, indicator, notice, run

from stillwatch.cases.reading import loads, read, read_json, same, text_of, values_of
from stillwatch.errors import FormatError, InputError, IntegrityError, StillwatchError
from stillwatch.records import Answer, Case, Evidence, Finding, Seal, as_json

RECORDS = [
    finding(), finding(results=()), run(), notice(finding()), indicator(),
    Evidence("a" * 64, "text/plain", 1, "r", "o", "now", "ann", derived_from=("b" * 64,)),
    Answer("P", "", "\u0645\u0631\u062d\u0628\u0627", "now", "ann"),
    Seal("C-1", 1, "a", "now", "ann", "b", "c"),
    Case("C-1", "T", "open", "now", "TLP:RED", ("c-1",), findings=(finding(),), runs=(run(),)),
]  # fmt: skip


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: type(r).__name__)
def test_there_and_back(record: Any) -> None:
    text = text_of(record)
    assert text == as_json(record)
    assert json.loads(json.dumps(values_of(record))) == json.loads(json.dumps(asdict(record)))
    assert read_json(type(record), text, "x") == record
    assert same(record) == text


def changed(**more: Any) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(as_json(finding()))
    return {**values, **more}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], "expected a Finding"),
        (changed(more=1), r"has \['more'\] besides"),
        ({k: v for k, v in changed().items() if k != "claim"}, "lacks claim"),
        (changed(claim=None), "x: claim: expected text, found None"),
        (changed(limits="ab"), "x: limits: expected a list"),
        (changed(limits=[1]), "expected text, found 1"),
        (changed(details=[]), "expected an object"),
        (changed(decision="guilty"), "expected one of supported"),
        (changed(log_evalue=True), "expected a number, found True"),
        (changed(log_evalue="1"), "expected a number"),
        (changed(results=[{}]), "a TestResult that lacks"),
        (changed(claim="\ud800"), "half a character"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(values: Any, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        read(Finding, values, "x")


def test_what_the_record_itself_refuses_is_a_format_error() -> None:
    result = json.loads(as_json(finding()))["results"][0]
    with pytest.raises(FormatError, match=r"no TestResult: .*above 1"):
        read(Finding, changed(results=[{**result, "log_pvalue": 0.5}]), "x")
    with pytest.raises(FormatError, match="a list of 2"):
        read(Finding, changed(results=[{**result, "interval": [0.1]}]), "x")
    with pytest.raises(FormatError, match="an integer"):
        read(Finding, changed(results=[{**result, "n": 1.0}]), "x")


def test_an_id_is_the_digest_of_the_rest() -> None:
    with pytest.raises(IntegrityError, match=finding().id):
        read(Finding, changed(claim="Another"), "x")


def test_one_spelling() -> None:
    text = as_json(finding())
    for other in (text + " ", text.replace(":", ": ", 1), text.replace('"limits"', '"lim\\u0069ts"')):
        with pytest.raises(IntegrityError, match="canonical form"):
            read_json(Finding, other, "x")


@pytest.mark.parametrize("text", ["", "{", "NaN", "[Infinity]", "[" * 10**6, "1" * 5000, "\x00"])
def test_no_json(text: str) -> None:
    with pytest.raises(StillwatchError):
        loads(text, "x")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a":' * 101 + "1" + "}" * 101, "more than 100 lists and objects"),
        ("[" * 101 + "]" * 101, "more than 100 lists and objects"),
        (b"[" * 101 + b"]" * 101, "more than 100 lists and objects"),
        (f'[1.5, {{"a": -{"9" * 301}}}]', "more than 300 digits"),
    ],
)
def test_what_nothing_could_work_with_is_refused(text: str | bytes, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        loads(text, "x")
    assert loads("[" * 100 + "]" * 100, "x")
    assert loads(f'[{"9" * 300}, "{"9" * 301}"]', "x") == [int("9" * 300), "9" * 301]


def test_a_number_too_large_for_a_statistic_is_a_format_error() -> None:
    result = json.loads(as_json(finding()))["results"][0]
    with pytest.raises(FormatError, match="no TestResult"):
        read(Finding, changed(results=[{**result, "statistic": 10**400}]), "x")


def test_half_a_character_is_no_text_of_a_record() -> None:
    with pytest.raises(InputError, match="half a character"):
        Answer("P", "", "\udce9", "now", "ann")
    with pytest.raises(FormatError, match="half a character"):
        read(Finding, changed(details={"\ud800": 1}), "x")


def test_details_that_are_too_deep_are_not_filed() -> None:
    deep: dict[str, Any] = {}
    for _ in range(120):
        deep = {"a": deep}
    with pytest.raises(InputError, match="inside one another"):
        same(finding(details=deep))


def test_what_would_not_come_back_is_refused() -> None:
    for details in ({"x": (1,)}, {1: 2}, {"x": {2: 3}}):
        with pytest.raises(InputError, match="would not be read back"):
            same(finding(details=details))
