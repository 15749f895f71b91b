"""What the tests of a model say, on a screen."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING

from stillwatch.cli import output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stillwatch.attribution.attribute import Row
    from stillwatch.records import Finding


def attribution(found: Finding, rows: Sequence[Row], case: str) -> None:
    """Each test with its p, the claim, its limits and the next command."""
    kinds = list(dict.fromkeys(row.kind for row in rows))
    output.table(
        [_line(kind, [r for r in rows if r.kind == kind]) for kind in kinds],
        ["TEST", "OF", "P", "AFTER HOLM", "WHAT IT SHOWS"],
        right=["P", "AFTER HOLM"],
        words=True,
    )
    _say(f"Family: {found.family}.")
    output.line()
    _say(f"{found.decision.capitalize()}: {found.claim}")
    for limit in found.limits:
        if not limit.startswith("not tested: "):  # the table has it
            _say(limit)
    _say(
        "Innocent ways to the same trace: "
        + "; ".join(one.name for one in found.alternatives if not one.excluded)
    )
    output.line(f"Next: stillwatch case report {case}" if case else "Next: the same with --case new")


def _say(text: str) -> None:
    for line in textwrap.wrap(text, output.WIDTH, subsequent_indent="  ", break_long_words=False):
        output.line(line)


def _line(kind: str, rows: Sequence[Row]) -> tuple[object, ...]:
    told = [row for row in rows if row.result]
    if not told:
        return (kind, None, None, None, rows[0].why)
    best = min(told, key=lambda row: row.result.log_pvalue or 0.0 if row.result else 0.0)
    assert best.result is not None
    if best.log_adjusted is None:
        return (kind, best.result.n, power(best.result.log_pvalue), "control", best.result.effect_name)
    return (kind, best.result.n, power(best.result.log_pvalue), power(best.log_adjusted), _whose(best, told))


def _whose(best: Row, told: Sequence[Row]) -> str:
    if not best.key:
        return best.result.effect_name if best.result else ""
    others = [r for r in told if r is not best and r.log_adjusted is not None]
    scope = f"{best.scope}, entered after the head" if best.late else best.scope
    if not others:
        return scope
    low = sum(r.log_adjusted <= math.log(0.05) for r in others)  # type: ignore[operator]
    return f"{scope} ({low or 'none'} of {output.count(len(others), 'other')} below 0.05)"


def power(log_p: float | None) -> str | None:
    """A probability as people read it: 0.21, 0.003, 10^-21.2."""
    if log_p is None:
        return None
    return f"{math.exp(log_p):.2g}" if log_p > math.log(1e-3) else f"10^{log_p / math.log(10):.1f}"
