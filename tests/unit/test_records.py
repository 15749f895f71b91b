"""Records refuse what would not be evidence, and say the same thing with the same digest for ever."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillwatch.records import (
    Assumption,
    Evidence,
    Excluded,
    Finding,
    Indicator,
    Null,
    Run,
    TestResult,
    as_json,
    digest,
)

EXACT = Null("accounts are exchangeable", "exact", "account")
RESAMPLED = Null("accounts are exchangeable", "permutation", "account", resamples=99)


def result(**changes: Any) -> TestResult:
    return TestResult(
        **{"test": "t@1", "statistic": 1.5, "null": EXACT, "n": 9, "unit": "account", "log_pvalue": -3.0}
        | changes
    )


def finding(**changes: Any) -> Finding:
    return Finding(
        **{
            "subject": "group 1",
            "claim": "acts as one",
            "decision": "supported",
            "results": (result(),),
            "family": "12 groups",
        }
        | changes
    )


def test_the_digests_of_today_are_those_of_tomorrow() -> None:
    """Cases are verified by these; a change here breaks every case filed before."""
    assert (
        digest({"b": 1, "a": [True, None, "ü"]})
        == hashlib.sha256('{"a":[true,null,"ü"],"b":1}'.encode()).hexdigest()
    )
    assert Run("0.1.0", "scan", {"alpha": 0.05}, {"a": "00"}, 1).id == RUN_ID
    assert finding().id == FINDING_ID


RUN_ID = "0e06e1fe8e431aeeeea803fc44226c32f3fbc74325405d52c49970523836259a"
FINDING_ID = "d0a526284ce8823b8998c3a7cb7c456d0936f3c91e658e7060180b252a8e685e"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"log_pvalue": None}, "a p-value or an e-value"),
        ({"statistic": math.nan}, "statistic is not a number"),
        ({"log_pvalue": math.nan}, "log_pvalue is not a number"),
        ({"log_evalue": math.nan}, "log_evalue is not a number"),
        ({"log_evalue_ceiling": math.nan}, "log_evalue_ceiling is not a number"),
        ({"effect": math.nan}, "effect is not a number"),
        ({"interval": (0.0, math.nan)}, "interval is not a number"),
        ({"log_pvalue": 0.1}, "p-value above 1"),
        ({"n": -1}, "n is negative"),
        ({"null": RESAMPLED, "log_pvalue": math.log(1 / 101)}, r"below 1/\(B\+1\) with B = 99"),
        ({"null": RESAMPLED, "log_pvalue": -math.inf}, r"below 1/\(B\+1\)"),
    ],
)
def test_a_result_refuses(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        result(**changes)


def test_a_result_accepts_the_edges() -> None:
    assert result(null=RESAMPLED, log_pvalue=math.log(1 / 100)).log_pvalue == math.log(0.01)
    assert result(log_pvalue=0.0).log_pvalue == 0.0
    assert result(log_pvalue=None, log_evalue=-4.0).log_evalue == -4.0
    assert result(log_pvalue=-921.03).log_pvalue == -921.03  # 1e-400, which as a float would be 0
    assert result(n=0).n == 0


def test_an_indicator_has_an_end_and_a_confidence_in_range() -> None:
    given = ("template", "abc", "digest", "2026-01-01", "2026-07-01", 60, "TLP:AMBER", (), 0, 400)
    assert Indicator(*given).confidence == 60
    for confidence in (-1, 101):
        with pytest.raises(ValueError, match="0 to 100"):
            Indicator(*given[:5], confidence, *given[6:])
    with pytest.raises(ValueError, match="valid_until"):
        Indicator(*given[:4], "", *given[5:])


def test_records_do_not_change() -> None:
    for record in (result(), finding(), EXACT, Run("1", "scan", {}, {}, 0)):
        name = dataclasses.fields(record)[0].name
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(record, name, "other")


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": "group 2"},
        {"claim": "has the shape of harvesting"},
        {"decision": "inconclusive"},
        {"results": ()},
        {"results": (result(log_pvalue=-3.1),)},
        {"family": "13 groups"},
        {"log_evalue": 4.0},
        {"log_evalue_needed": 4.0},
        {"alternatives": (Excluded("one employer", False, "one payment token"),)},
        {"limits": ("text not kept",)},
        {"evidence": ("e1",)},
        {"strength": "LR 10"},
        {"run": "r"},
        {"details": {"accounts": 3}},
    ],
)
def test_a_finding_that_says_something_else_has_another_id(changes: dict[str, Any]) -> None:
    assert finding(**changes).id != finding().id
    assert finding(**changes).id == finding(**changes).id


def test_every_field_of_a_finding_and_a_run_counts() -> None:
    """The table above names each field of Finding, so that a new one cannot be left out of the id unseen."""
    named = {f.name for f in dataclasses.fields(Finding)} - {"id"}
    assert named == {
        "subject", "claim", "decision", "results", "family", "log_evalue", "log_evalue_needed", "alternatives",
        "limits", "evidence", "strength", "run", "details",
    }  # fmt: skip
    base = {"version": "1", "command": "scan", "config": {}, "inputs": {}, "seed": 0}
    others = {"version": "2", "command": "x", "config": {"a": 1}, "inputs": {"a": "b"}, "seed": 1}
    ids = {Run(**base | {name: other}).id for name, other in others.items()}
    assert len(ids | {Run(**base).id}) == 6


def test_the_order_of_keys_does_not_matter_and_the_order_of_results_does() -> None:
    assert finding(details={"a": 1, "b": 2}).id == finding(details={"b": 2, "a": 1}).id
    two = result(test="u@1")
    assert finding(results=(result(), two)).id != finding(results=(two, result())).id


def test_json_and_back() -> None:
    one = finding(
        results=(
            result(
                assumptions=(Assumption("days are fresh", "checked", "7 of 7"),), interval=(0.1, 0.4), seed=3
            ),
            result(null=RESAMPLED, log_pvalue=-1.0, log_evalue=0.5),
        ),
        alternatives=(Excluded("one employer", None, "no payment data"),),
        details={"accounts": 12, "share": 0.25, "text": "日本 \U0001f600 \x00"},
    )
    assert rebuilt(as_json(one)) == one
    assert rebuilt(as_json(one)).id == one.id
    evidence = Evidence(
        "00", "text/html", 12, "report", "scan", "2026-01-01T00:00:00Z", "cli", derived_from=("a",)
    )
    loaded = json.loads(as_json(evidence))
    assert Evidence(**loaded | {"derived_from": tuple(loaded["derived_from"])}) == evidence


def rebuilt(text: str) -> Finding:
    """A Finding from its JSON: lists become the tuples they were."""
    value = json.loads(text)
    del value["id"]
    value["results"] = tuple(
        TestResult(
            **r
            | {
                "null": Null(**r["null"]),
                "interval": tuple(r["interval"]) if r["interval"] else None,
                "assumptions": tuple(Assumption(**a) for a in r["assumptions"]),
            }
        )
        for r in value["results"]
    )
    value["alternatives"] = tuple(Excluded(**a) for a in value["alternatives"])
    return Finding(**value | {name: tuple(value[name]) for name in ("limits", "evidence")})


@given(st.floats(-1e300, 0), st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_survive_json_bit_for_bit(log_p: float, statistic: float) -> None:
    loaded = json.loads(as_json(result(log_pvalue=log_p, statistic=statistic)))
    assert (loaded["log_pvalue"], loaded["statistic"]) == (log_p, statistic)


def test_json_refuses_what_json_cannot_say() -> None:
    for value in (math.nan, math.inf, -math.inf):
        with pytest.raises(ValueError, match="JSON"):
            as_json({"x": value})
    with pytest.raises(TypeError):
        as_json({"x": object()})
