"""What every room answered in a loop, beside the truth. Nothing else of the loops reads a truth."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillwatch import campaigns
from stillwatch.errors import InputError
from stillwatch.lab.benchmark import found as members_of
from stillwatch.lab.loop.provider import LICENSED
from stillwatch.lab.loop.run import RESULT
from stillwatch.lab.loop.stories import Story, stories
from stillwatch.lab.score import Truth, hold
from stillwatch.marks.keys import Scope
from stillwatch.marks.register import Register

OPEN = ("corpus audit", "model audit")
"""Rooms whose places in the scorecard are open."""


@dataclass(frozen=True, slots=True)
class Line:
    """One room's answer."""

    loop: str
    room: str
    said: str
    truth: str
    right: bool | None
    """None: nothing was asked."""


def scorecard(out: Path) -> list[Line]:
    """Of every finished loop in a folder.

    Raises
    ------
    InputError
        There is none.
    """
    paths = sorted(out.glob(f"*/{RESULT}"))
    if not paths:
        raise InputError(f"{out}: holds no finished loop; run: stillwatch lab run closed-loop --out {out}")
    known = stories()
    return [line for path in paths for line in _lines(path, known)]


def _lines(path: Path, known: dict[str, Story]) -> list[Line]:
    told = json.loads(path.read_text("utf-8"))
    story = known[told["story"]]
    name, workspace = path.parent.name, path.parent / "workspace"
    scan, truth = campaigns.latest(workspace), Truth.read(path.parent / "log" / "truth.parquet")
    score = hold(truth, members_of(scan, workspace, truth))
    campaign = _line_of_campaigns(name, score)
    scopes = _expected(story, scan, truth, workspace)
    said = told["attribution"]
    decision = said["decision"]
    # A campaign can be found in several groups, each served under a key; none may be named that is not of it.
    whose = set(said["scopes"])
    lines = [
        campaign,
        Line(
            name, "attribution", f"{decision}, p = 10^{said['smallest_log10_p_after_holm']:.1f}",
            " or ".join(story.expected), decision in story.expected,
        ),
        Line(
            name, "  through whom", ", ".join(sorted(whose)) or "nobody named", ", ".join(sorted(scopes)) or "nobody",
            whose <= scopes and (bool(whose) or not story.scope),
        ),
    ]  # fmt: skip
    lines.extend(Line(name, f"  {test['kind']}", _said(test), "", None) for test in _best(said["tests"]))
    return lines + [Line(name, room, "open", "", None) for room in OPEN]


def _line_of_campaigns(name: str, score: Any) -> Line:
    said = f"{score.recall.count} of {score.recall.of}, {score.honest_flagged.count} honest"
    return Line(
        name, "campaigns", said, f"{score.recall.of} accounts",
        score.recall.count >= 0.95 * score.recall.of and not score.honest_flagged.count,
    )  # fmt: skip


def _expected(story: Story, scan: campaigns.Scan, truth: Truth, workspace: Path) -> set[str]:
    """The scopes that a right answer names: of each supported campaign that is mostly a planted one and has a key."""
    if story.scope == "tenant":
        return {str(Scope(tenant=LICENSED))}
    if story.source not in ("harvest", "web"):
        return set()
    found = members_of(scan, workspace, truth)
    planted = {
        str(Scope(campaign=name))
        for name, members in found.items()
        if 2 * sum(bool(truth.campaign[place]) for place in members) > len(members)
    }
    return planted & {str(s.scope) for s in Register(workspace / "marks" / "register.jsonl").servings()}


def _best(tests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    best: dict[str, dict[str, Any]] = {}
    for test in tests:
        if test["kind"] not in best or test.get("log10_p", 0.0) < best[test["kind"]].get("log10_p", 0.0):
            best[test["kind"]] = test
    return list(best.values())


def _said(test: dict[str, Any]) -> str:
    if "why" in test:
        return str(test["why"])
    return f"p = 10^{test['log10_p']:.1f} of {test['n']:,}"
