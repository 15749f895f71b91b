"""Results of the benchmark as one self-contained HTML page: pictures, and every figure of them in a table below.

No script and no network; the page's own policy allows no style but its own, by digest. The same results give the
same bytes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from stillwatch.cases import words
from stillwatch.errors import InputError
from stillwatch.lab import charts, tables
from stillwatch.lab.benchmark import ALPHA
from stillwatch.lab.cells import Cell
from stillwatch.stats.intervals import clopper_pearson

Lines = Sequence[Mapping[str, Any]]
Table = dict[str, Any]


def write_report(path: Path | str, lines: Lines, cells: Mapping[str, Cell]) -> Path:
    """Write the page of these results.

    Parameters
    ----------
    path
        The HTML file; one that is there is replaced.
    lines
        Of `stillwatch.lab.benchmark.results`. Lines of cells that are gone or have changed do not count.
    cells
        Those to be shown, in their order; one without results is shown as missing.

    Raises
    ------
    InputError
        There are no results of these cells, they come from several false discovery rates, or the file cannot be
        written.
    """
    page = render(lines, cells)
    try:
        Path(path).write_text(page, encoding="utf-8", newline="\n")
    except OSError as problem:
        raise InputError(f"{path}: the report cannot be written: {problem.strerror}") from problem
    return Path(path)


def render(lines: Lines, cells: Mapping[str, Cell]) -> str:
    """The page that `write_report` writes, as text."""
    from jinja2 import Environment  # 60 ms, and only a report needs it

    current = [r for r in lines if r["cell"] in cells and r["digest"] == cells[r["cell"]].digest]
    if not current:
        raise InputError("no results of these cells yet; run them first, then make the report")
    if len(alphas := {r.get("alpha", ALPHA) for r in current}) > 1:
        raise InputError(f"one page holds results of one false discovery rate, found {sorted(alphas)}")
    environment = Environment(autoescape=True, finalize=words.visible, trim_blocks=True, lstrip_blocks=True)
    style = "\n".join(
        resources.files(package).joinpath("templates", name).read_text(encoding="utf-8")
        for package, name in (("stillwatch.cases", "report.css"), ("stillwatch.lab", "benchmark.css"))
    )
    source = resources.files("stillwatch.lab").joinpath("templates", "benchmark.html")
    kinds = sorted({bool(r["real_data"]) for r in current})
    return environment.from_string(source.read_text(encoding="utf-8")).render(
        style=style,
        style_digest=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        parts=[_part([r for r in current if r["real_data"] == real], cells, real) for real in kinds],
        stale=len(lines) - len(current),
        logs=len(current),
        seeds=seeds_said(r["seed"] for r in current),
        versions=sorted({r["version"] for r in current}),
        alpha=f"{100 * alphas.pop():g}%",
    )


def seeds_said(seeds: Any) -> str:
    """Seeds as the option takes them: ``1-4,7``."""
    runs: list[list[int]] = []
    for seed in sorted(set(seeds)):
        if runs and seed == runs[-1][1] + 1:
            runs[-1][1] = seed
        else:
            runs.append([seed, seed])
    return ",".join(f"{a}-{b}" if b > a else str(a) for a, b in runs)


def _part(mine: Lines, cells: Mapping[str, Cell], real: bool) -> dict[str, Any]:
    """Everything of the logs with one kind of data."""
    by_cell = {name: [r for r in mine if r["cell"] == name] for name in cells}
    rate, share, size, background, other = _factors(cells)
    return {
        "real": real,
        "commands": _commands(by_cell, real),
        "cells": [_cell(cells[name], rows) for name, rows in by_cell.items()],
        "rate": _power("Requests an account and day", rate, by_cell),
        "share": _power("Share of the requests that is the campaign's", share, by_cell),
        "size": _power("Accounts of the campaign", size, by_cell),
        "background": _power("Ordinary honest accounts for each of the campaign", background, by_cell),
        "other": _power("Other shapes of a campaign", other, by_cell),
        "false": _false(by_cell, cells),
        "alike": _alike(mine, cells),
        "error": _share_error([s for s in share if s[0].campaign], by_cell),
        "baselines": _baselines(by_cell, cells),
    }


Setting = tuple[Cell, tuple[str, ...]]


def _factors(cells: Mapping[str, Cell]) -> tuple[list[Setting], ...]:
    """Cells by what differs from the centre: rate, share, accounts, background, or something else; with labels."""
    centre = cells.get("centre")
    rate, share, size, background, other = [], [], [], [], []
    for cell in cells.values():
        plan, log = cell.campaign, cell.log
        if plan is None:
            continue
        if centre is None or centre.campaign is None:
            other.append((cell, (cell.name, f"{plan.rate:g} a day")))
            continue
        at_rate = (
            f"{plan.rate:g} a day",
            cell.name,
            plan.traffic,
            f"share {plan.share:.0%}",
            f"{log.days} days",
        )
        at_share = (f"{plan.share:.0%}", cell.name)
        at_count = (f"{plan.accounts:,}", cell.name)
        times = log.honest_accounts / plan.accounts
        at_size = (f"{times:,.0f} times", cell.name, f"{log.days} days")
        if cell.name == centre.name:
            rate.append((cell, at_rate))
            share.append((cell, at_share))
            size.append((cell, at_count))
            background.append((cell, at_size))
        elif plan.rate != centre.campaign.rate:
            rate.append((cell, at_rate))
        elif plan.share != centre.campaign.share:
            share.append((cell, at_share))
        elif plan.accounts != centre.campaign.accounts:
            size.append((cell, at_count))
        elif log.honest_accounts != centre.log.honest_accounts and plan == centre.campaign:
            background.append((cell, at_size))
        else:
            other.append((cell, (cell.name, f"{plan.rate:g} a day")))
    rate.sort(key=lambda s: s[0].campaign.rate if s[0].campaign else 0)
    share.sort(key=lambda s: s[0].campaign.share if s[0].campaign else 0)
    size.sort(key=lambda s: s[0].campaign.accounts if s[0].campaign else 0)
    background.sort(key=lambda s: s[0].log.honest_accounts)
    return rate, share, size, background, other


def _power(title: str, settings: Sequence[Setting], by_cell: Mapping[str, Lines]) -> dict[str, Any] | None:
    if not any(by_cell[cell.name] for cell, _ in settings):
        return None
    drawn, rows = [], []
    for cell, label in settings:
        scores = [r["score"] for r in sorted(by_cell[cell.name], key=lambda r: r["seed"])]
        k, n = _sum(scores, "campaigns_found")
        recalls = tuple(s["recall"]["count"] / s["recall"]["of"] for s in scores if s["recall"]["of"])
        found = f"{k} of {n} campaigns" if n else "nothing yet"
        low, high = clopper_pearson(k, n) if n else (0.0, 1.0)
        drawn.append(
            charts.Column(
                label,
                charts.Mark(k / n, low, high) if n else None,
                recalls,
                found + (f", median recall {np.median(recalls):.0%}" if recalls else ""),
            )
        )
        rows.append(
            [
                cell.name, label[0], str(len(scores)), f"{k} of {n}" if n else "–",
                f"{low:.1%} to {high:.1%}" if n else "–",
                f"{min(recalls):.0%}, {np.median(recalls):.0%}, {max(recalls):.0%}" if recalls else "–",
                _by_seed(by_cell[cell.name], "recall"),
                "{:,} of {:,}".format(*_sum(scores, "precision")) if _sum(scores, "precision")[1] else "–",
            ]
        )  # fmt: skip
    return {
        "picture": charts.columns(
            drawn, title, ("campaigns found, with the interval at 95%", "part of its accounts found, one dot a seed")
        ),
        "table": _table(
            ("cell", title, "logs", "campaigns found", "interval at 95%", "accounts found: least, median, most",
             "accounts found, by seed", "named accounts that are the campaign's"),
            rows,
        ),
    }  # fmt: skip


def _by_seed(lines: Lines, name: str) -> str:
    """``100, 98 of 100``, in the order of the seeds."""
    counts = [r["score"][name] for r in sorted(lines, key=lambda r: r["seed"])]
    of = ", ".join(str(n) for n in sorted({c["of"] for c in counts}))
    return ", ".join(str(c["count"]) for c in counts) + f" of {of}" if counts else "–"


def _false(by_cell: Mapping[str, Lines], cells: Mapping[str, Cell]) -> dict[str, Any] | None:
    """Logs without a campaign: any supported finding is false. Below in the table the logs with one."""
    drawn, rows = [], []
    for name, lines in by_cell.items():
        if not lines:
            continue
        scores = [r["score"] for r in lines]
        honest = cells[name].campaign is None
        wrong = sum(s["supported_wrong"] > 0 for s in scores)
        part = float(np.mean([s["supported_wrong"] / max(s["supported"], 1) for s in scores]))
        low, high = clopper_pearson(wrong, len(scores))
        if honest:
            drawn.append(
                charts.Row(
                    name, (charts.Mark(wrong / len(scores), low, high),), f"{wrong} of {len(scores)}; to {high:.2%}"
                )
            )  # fmt: skip
        rows.append(
            [
                name, "none" if honest else "one", f"{wrong} of {len(scores)}", f"{low:.2%} to {high:.2%}",
                f"{part:.2%}", f"{sum(s['supported_wrong'] for s in scores)} of {sum(s['supported'] for s in scores)}",
                "{:,} of {:,}".format(*_sum(scores, "honest_flagged")),
                str(sum(sum(r["honest_findings"]["over_the_line"].values()) for r in lines)),
            ]
        )  # fmt: skip
    rows.sort(key=lambda row: row[1] != "none")
    return {
        "picture": charts.rows(
            drawn, "Logs without a campaign in which a finding was supported",
            ("logs with a false finding, with the interval at 95%",),
            top=_round_top(max([r.marks[0].high or 0 for r in drawn if r.marks[0]], default=1)),
            limit=_alpha(by_cell),
        ),
        "honest": bool(drawn),
        "table": _table(
            ("cell", "campaign", "logs with a false finding", "interval at 95%", "false part of findings, mean",
             "false findings", "honest accounts named", "honest groups over the line"),
            rows,
        ),
    }  # fmt: skip


def _alike(mine: Lines, cells: Mapping[str, Cell]) -> dict[str, Any] | None:
    """Kind by kind, each set of honest groups once: cells of one size and seed hold nearly the same groups."""
    once: dict[str, dict[tuple, tuple[int, int]]] = {}
    every: dict[str, list[int]] = {}
    for r in mine:
        size = (cells[r["cell"]].log, r["seed"])
        for role, groups in r["score"]["honest_groups_by_role"].items():
            accounts = r["score"]["honest_flagged_by_role"][role]
            k, n = once.setdefault(role, {}).get(size, (0, 0))
            once[role][size] = (max(k, groups["count"]), max(n, groups["of"]))
            new = (groups["count"], groups["of"], accounts["count"], accounts["of"])
            every[role] = [a + b for a, b in zip(every.get(role, [0] * 4), new, strict=True)]
    drawn, rows = [], []
    for role in sorted(once, key=lambda role: (not role.startswith("alike"), role)):
        k, n = (sum(sizes[i] for sizes in once[role].values()) for i in (0, 1))
        if not n:
            continue
        low, high = clopper_pearson(k, n)
        drawn.append(charts.Row(role, (charts.Mark(k / n, low, high),), f"{k} of {n:,}; to {high:.1%}"))
        a = every[role]
        rows.append([role, f"{k} of {n:,}", f"{high:.2%}", f"{a[0]:,} of {a[1]:,}", f"{a[2]:,} of {a[3]:,}"])
    if not drawn:
        return None
    return {
        "picture": charts.rows(
            drawn, "Honest groups in a supported campaign", ("groups flagged, with the interval at 95%",),
            top=_round_top(max(r.marks[0].high or 0 for r in drawn if r.marks[0] and r.label.startswith("alike"))
                           if any(r.label.startswith("alike") for r in drawn) else 1.0),
        ),
        "table": _table(
            ("honest groups", "groups flagged, each set once", "upper end at 95%", "groups flagged, all logs",
             "accounts flagged, all logs"),
            rows,
        ),
    }  # fmt: skip


def _share_error(settings: Sequence[Setting], by_cell: Mapping[str, Lines]) -> dict[str, Any] | None:
    drawn, rows, reach = [], [], 0.05
    for cell, label in settings:
        ordered = sorted(by_cell[cell.name], key=lambda r: r["seed"])
        told = [e for r in ordered if (e := r["score"]["share_error"])["accounts"]]
        weights = [e["accounts"] for e in told]
        mean, bias = (
            (float(np.average([e[k] for e in told], weights=weights)) for k in ("mean", "bias"))
            if told
            else (None, None)
        )
        dots = tuple(e["bias"] for e in told)
        reach = max([reach, *map(abs, dots), mean or 0])
        said = "nothing told" if mean is None else f"mean error {mean:.3f}, bias {bias:+.3f}"
        drawn.append(charts.Column(label, None if mean is None else charts.Mark(mean), dots, said))
        rows.append(
            [
                cell.name, label[0], str(len(told)), f"{sum(weights):,}", "–" if mean is None else f"{mean:.3f}",
                "–" if bias is None else f"{bias:+.3f}",
                ", ".join(f"{e['bias']:+.3f}" for e in told) or "–",
            ]
        )  # fmt: skip
    if not any(row[2] != "0" for row in rows):
        return None
    top = next(t for t in (0.05, 0.1, 0.2, 0.5, 1.0) if reach <= t or t == 1.0)
    return {
        "picture": charts.columns(
            drawn, "Error of the told share", ("mean of |told − true|", "mean of told − true, one dot a seed"),
            bottom=-top, top=top, ticks=(-top, -top / 2, 0, top / 2, top), tick=lambda v: f"{v:+.3g}" if v else "0",
        ),
        "table": _table(
            ("cell", "true share", "logs with a found account", "accounts", "mean of |told − true|", "bias",
             "bias, by seed"),
            rows,
        ),
    }  # fmt: skip


def _baselines(by_cell: Mapping[str, Lines], cells: Mapping[str, Cell]) -> list[dict[str, Any]]:
    out = []
    for name, all_of_it in by_cell.items():
        lines = [r for r in all_of_it if "baselines" in r]
        if not lines:
            continue
        drawn, rows = [], []
        for said, counts in tables.methods(lines):
            recall, precision, honest = (_sum(counts, k) for k in tables.COUNTED)
            label, _, best = said.partition(", best in hindsight: ")
            _, _, form = label.partition(": ")  # stands below the method that it is a form of
            drawn.append(
                charts.Row(
                    "… best rule" if best else f"… {form}" if form else label.partition(" (too")[0],
                    tuple(charts.Mark(k / n) if n else None for k, n in (recall, honest)),
                    f"{_percent(*recall)}, {_percent(*honest)}" if counts else "too little data",
                    strong=said == "ours",
                )
            )
            rows.append(
                [
                    said,
                    *(f"{k:,} of {n:,} ({k / n:.1%})" if n else "–" for k, n in (recall, precision, honest)),
                ]
            )
        out.append(
            {
                "cell": name,
                "says": cells[name].says,
                "seeds": seeds_said(r["seed"] for r in lines),
                "picture": charts.rows(
                    drawn, f"{name}, method by method", ("campaign accounts flagged", "honest accounts flagged")
                ),
                "table": _table(
                    ("method", "campaign accounts flagged", "flagged accounts that are the campaign's",
                     "honest accounts flagged"),
                    rows,
                ),
            }
        )  # fmt: skip
    return out


def _cell(cell: Cell, lines: Lines) -> list[str]:
    if not lines:
        return [cell.name, cell.says, "not run yet", "–", "–", "–"]
    return [
        cell.name,
        cell.says,
        seeds_said(r["seed"] for r in lines),
        f"{np.median([r['exchanges'] for r in lines]):,.0f}",
        f"{np.median([r['accounts'] for r in lines]):,.0f}",
        f"{sum(np.median([r['seconds'][k] for r in lines]) for k in ('build', 'import', 'scan')):,.0f}",
    ]


def _commands(by_cell: Mapping[str, Lines], real: bool) -> list[str]:
    """What makes these lines again: cells with the same seeds in one command."""
    runs: dict[tuple[str, bool], list[str]] = {}
    for name, lines in by_cell.items():
        if lines:
            key = (seeds_said(r["seed"] for r in lines), all("baselines" in r for r in lines))
            runs.setdefault(key, []).append(name)
    alpha = _alpha(by_cell)
    return [
        f"stillwatch lab run campaigns --out results --seeds {seeds} --cells {','.join(names)}"
        + (f" --alpha {alpha:g}" if alpha != ALPHA else "")
        + (" --baselines" if baselines else "")
        + (" --data DATA" if real else "")
        for (seeds, baselines), names in runs.items()
    ]


def _alpha(by_cell: Mapping[str, Lines]) -> float:
    """The bound on the false discovery rate of the scans, one for all lines of a page."""
    return next((float(r.get("alpha", ALPHA)) for lines in by_cell.values() for r in lines), ALPHA)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    return {"head": list(head), "rows": rows}


def _sum(scores: Sequence[Mapping[str, Any]], name: str) -> tuple[int, int]:
    return sum(s[name]["count"] for s in scores), sum(s[name]["of"] for s in scores)


def _percent(k: int, n: int) -> str:
    return words.percent(k / n) if n else "–"


def _round_top(value: float) -> float:
    return next((t for t in (0.02, 0.04, 0.1, 0.2, 0.4, 1.0) if value <= t), 1.0)
