"""Results of the benchmark as Markdown: one row a cell, one row a kind of look-alike, and by cell one row a method."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from stillwatch.lab.cells import Cell
from stillwatch.stats.intervals import clopper_pearson

Lines = Sequence[Mapping[str, Any]]


def markdown(lines: Lines, cells: Mapping[str, Cell]) -> str:
    """All tables, and what was left out of them.

    Lines of cells that are gone or have changed since do not count. Where one (cell, seed) has several lines, as with
    real and with built-in data, each is a row's own.
    """
    current = [r for r in lines if r["cell"] in cells and r["digest"] == cells[r["cell"]].digest]
    parts = []
    for real in sorted({bool(r["real_data"]) for r in current}):
        mine = [r for r in current if r["real_data"] == real]
        if len({bool(r["real_data"]) for r in current}) > 1:
            parts.append(
                "## " + ("Real arrivals and prompts" if real else "Built-in arrivals and prompts") + "\n"
            )
        parts += [by_cell(mine, cells), by_lookalike(mine), UNITS, *by_method(mine, cells)]
    stale = len(lines) - len(current)
    if stale:
        parts.append(f"{stale} results of cells that have changed or are gone were left out.\n")
    return "\n".join(parts) if current else "No results of these cells yet.\n"


UNITS = """\
Intervals are Clopper-Pearson at 95%. Campaigns found: the unit is the campaign, one a seed; it is found when one
supported finding holds at least half of its accounts. Recall: campaign accounts in any supported finding, by seed.
Precision: accounts in supported findings that belong to the campaign, all seeds together. A group is flagged when a
supported finding holds two of its accounts and a tenth; groups of one log share the log, so their interval is a little
too narrow. Over the line: the e-value of a mostly honest group is what one group needs alone, and where it was not
flagged, something else than chance stood against it (a declared firm, an exemption). Share: estimated minus true part
of a found account's requests that belong to the campaign.
"""


def by_cell(lines: Lines, cells: Mapping[str, Cell]) -> str:
    """One row a cell."""
    head = (
        "cell", "seeds", "exchanges", "campaigns found", "recall: least, median, most", "precision",
        "honest accounts flagged", "logs with a false finding", "honest groups flagged", "honest groups over the line",
        "share: mean error, bias",
        "proposed", "seconds: build, import, scan",
    )  # fmt: skip
    rows = []
    for name in cells:
        mine = [r for r in lines if r["cell"] == name]
        if mine:
            rows.append([name, str(len(mine)), *_row(mine)])
    return _table(head, rows)


def by_lookalike(lines: Lines) -> str:
    """One row a kind of honest group, over all logs in which it occurs."""
    counts: dict[str, list[int]] = {}
    for r in lines:
        score = r["score"]
        for role, groups in score["honest_groups_by_role"].items():
            accounts = score["honest_flagged_by_role"][role]
            new = (groups["count"], groups["of"], accounts["count"], accounts["of"])
            counts[role] = [a + b for a, b in zip(counts.get(role, [0] * 4), new, strict=True)]
    head = ("honest groups", "groups flagged", "upper end at 95%", "accounts flagged")
    rows = [
        [role, f"{k} of {n:,}", f"{clopper_pearson(k, n)[1]:.2%}", f"{a:,} of {m:,}"]
        for role, (k, n, a, m) in sorted(counts.items(), key=lambda c: (not c[0].startswith("alike"), c[0]))
        if n
    ]
    return _table(head, rows)


def by_method(lines: Lines, cells: Mapping[str, Cell]) -> list[str]:
    """One table a cell whose logs the baselines were run on: ours, then each baseline, its forms and its best rule."""
    tables = []
    for name in cells:
        mine = [r for r in lines if r["cell"] == name and "baselines" in r]
        if mine:
            rows = [
                [said, *(_of(counts, k, percent=True) for k in COUNTED)] for said, counts in methods(mine)
            ]
            tables.append(
                f"{name}: the same {len(mine)} logs, method by method\n\n"
                + _table(("method", "recall", "precision", "honest accounts flagged"), rows)
            )
    return [*tables, METHODS] if tables else []


COUNTED = ("recall", "precision", "honest_flagged")
METHODS = """\
Method by method: accounts over all logs; accounts of one group are one decision, so these counts carry no interval.
A best rule was chosen with the truth in hand, by F1 and log by log, which no detector can.
"""


def methods(mine: Lines) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Ours first, then each baseline, each of its forms and its best rule in hindsight: name and counts, log by log."""
    rows: list[tuple[str, list[Mapping[str, Any]]]] = [("ours", [r["score"] for r in mine])]
    for key in sorted({key for r in mine for key in r["baselines"]}):
        ran = [r["baselines"][key] for r in mine if key in r["baselines"]]
        able = [b for b in ran if "flagged" in b]
        name = ran[0]["name"]
        told = name + (f" (too little data in {len(ran) - len(able)} of {len(ran)})" if able != ran else "")
        rows.append((told, [b["flagged"] for b in able]))
        rows += [
            (f"{name}: {form}", [b["forms"][form] for b in able if form in b["forms"]])
            for form in sorted({form for b in able for form in b["forms"]})
        ]
        best = [b["best_rule"] for b in able if b["best_rule"]]
        if best:
            rules = [b["rule"] for b in best]
            said = ", ".join(
                rule + (f" ({rules.count(rule)} of {len(rules)})" if len(rules) > 1 else "")
                for rule in sorted(set(rules), key=lambda rule: (-rules.count(rule), rule))
            )
            f1 = np.mean([b["f1"] for b in best])
            rows.append((f"{name}, best in hindsight: {said}; F1 {f1:.2f}", best))
    return rows


def _row(mine: Lines) -> list[str]:
    scores = [r["score"] for r in mine]
    of = sum(s["recall"]["of"] for s in scores)
    recalls = [s["recall"]["count"] / s["recall"]["of"] for s in scores if s["recall"]["of"]]
    spread = f"{min(recalls):.0%}, {np.median(recalls):.0%}, {max(recalls):.0%}" if of else "-"
    errors = [s["share_error"] for s in scores if s["share_error"]["accounts"]]
    weights = [e["accounts"] for e in errors]
    told = "-"
    if errors:
        mean, bias = (np.average([e[k] for e in errors], weights=weights) for k in ("mean", "bias"))
        told = f"{mean:.3f}, {bias:+.3f} ({sum(weights):,})"
    seconds = [np.median([r["seconds"][k] for r in mine]) for k in ("build", "import", "scan")]
    return [
        f"{np.median([r['exchanges'] for r in mine]):,.0f}",
        _of(scores, "campaigns_found", interval=True),
        spread,
        _of(scores, "precision"),
        _of(scores, "honest_flagged"),
        _share(sum(s["honest_flagged"]["count"] > 0 for s in scores), len(scores)),
        _of(scores, "honest_groups_flagged"),
        _over(mine),
        told,
        f"{np.median([r['proposed'] for r in mine]):,.0f}",
        ", ".join(f"{s:.0f}" for s in seconds),
    ]


def _over(mine: Lines) -> str:
    """Findings on honest groups whose e-value would do, whatever the decision was, and the kinds of groups."""
    counts: dict[str, int] = {}
    for r in mine:
        for role, n in r["honest_findings"]["over_the_line"].items():
            counts[role] = counts.get(role, 0) + n
    return ", ".join(f"{n} {role}" for role, n in sorted(counts.items())) or "0"


def _of(
    scores: Sequence[Mapping[str, Any]], name: str, *, interval: bool = False, percent: bool = False
) -> str:
    k, n = sum(s[name]["count"] for s in scores), sum(s[name]["of"] for s in scores)
    if not n:
        return "-"
    if interval:
        return _share(k, n)
    return f"{k:,} of {n:,}" + (f" ({k / n:.1%})" if percent else "")


def _share(k: int, n: int) -> str:
    low, high = clopper_pearson(k, n)
    return f"{k} of {n} [{low:.1%}, {high:.1%}]"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = tuple(head)
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
