"""A score by hand: 10 accounts of one campaign, 10 of another, 20 honest ones of which 6 are one firm."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stillwatch.errors import FormatError, InputError, SchemaError
from stillwatch.lab import score
from stillwatch.lab.score import Truth, hold


@pytest.fixture
def truth(tmp_path) -> Path:
    rows = [
        {"account": f"{c}{i}", "role": "campaign", "campaign": c, "group": c, "exchanges": 9, "share": 0.8}
        for c in ("x", "y")
        for i in range(10)
    ]
    rows += [
        {
            "account": f"f{i}",
            "role": "organisation",
            "campaign": None,
            "group": "firm",
            "exchanges": 9,
            "share": 0.0,
        }
        for i in range(6)
    ]
    rows += [
        {"account": f"h{i}", "role": "chat", "campaign": None, "group": None, "exchanges": 9, "share": 0.0}
        for i in range(14)
    ]
    path = tmp_path / "truth.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def _members(folder: Path, groups: dict[str, tuple[str, list[str]]]) -> Path:
    path = folder / "members.jsonl"
    lines = [
        json.dumps({"campaign": c, "decision": decision, "account": a, "share": 0.9})
        for c, (decision, accounts) in groups.items()
        for a in accounts
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_by_hand(truth, tmp_path):
    members = _members(
        tmp_path,
        {
            "c-1": ("supported", [f"x{i}" for i in range(9)] + ["h0"]),
            "c-2": ("supported", ["f0", "f1", "f2"]),
            "c-3": ("not supported", [f"y{i}" for i in range(10)]),
            "c-4": ("supported", ["y0", "y1", "h0"]),
        },
    )
    s = score(truth, members)
    assert (s.recall.count, s.recall.of) == (11, 20)
    assert (s.recall_by_campaign["x"].count, s.recall_by_campaign["y"].count) == (9, 2)
    assert (s.campaigns_found.count, s.campaigns_found.of) == (1, 2)
    assert (s.honest_flagged.count, s.honest_flagged.of) == (4, 20)
    assert (s.honest_flagged_by_role["chat"].count, s.honest_flagged_by_role["chat"].of) == (1, 14)
    assert (s.honest_groups_flagged.count, s.honest_groups_flagged.of) == (1, 1)
    assert s.wrong_groups == ("firm",)
    assert (s.supported, s.supported_wrong) == (3, 1)
    assert (s.precision.count, s.precision.of) == (11, 15)
    assert s.recall.low < 11 / 20 < s.recall.high
    assert {r: (g.count, g.of) for r, g in s.honest_groups_by_role.items()} == {"organisation": (1, 1)}
    # Told 0.9 of each of the 11 found ones, true is 0.8.
    assert s.share_error.accounts == 11
    assert s.share_error.mean == pytest.approx(0.1) and s.share_error.bias == pytest.approx(0.1)


def test_nothing_found_is_a_score(truth, tmp_path):
    s = score(truth, _members(tmp_path, {}))
    assert s.recall.count == 0 and s.recall.low == 0 and 0 < s.recall.high < 0.2
    assert s.supported == 0 and s.precision.share is None
    assert s.share_error.mean is None


def test_members_that_were_not_revealed_are_refused(truth, tmp_path):
    members = _members(tmp_path, {"c-1": ("supported", ["a-0123456789abcdef"])})
    with pytest.raises(InputError, match="--reveal"):
        score(truth, members)


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"campaign": "c"}', '{"campaign": 1, "decision": "supported", "account": "x0"}']
)
def test_a_bad_line_has_its_place(truth, tmp_path, line):
    members = tmp_path / "bad.jsonl"
    members.write_text("\n" + line + "\n")
    with pytest.raises(FormatError, match=r"bad\.jsonl:2"):
        score(truth, members)


def test_another_table_is_not_a_truth(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"account": ["a"]}), path)
    with pytest.raises(SchemaError, match="role"):
        score(path, _members(tmp_path, {}))
    with pytest.raises(InputError, match="lab build"):
        score(tmp_path / "nothing", _members(tmp_path, {}))


def test_a_share_that_cannot_be_told_is_no_error(truth):
    known = Truth.read(truth)
    found = {"c": {known.place["x0"]: 0.5, known.place["x1"]: None, known.place["x2"]: float("nan")}}
    error = hold(known, found).share_error
    assert (error.accounts, error.mean, error.bias) == (1, pytest.approx(0.3), pytest.approx(-0.3))
