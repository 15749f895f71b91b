"""A step is a named SELECT: small, printable, used once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """One named SELECT over tables that earlier steps made.

    The SQL is DuckDB's dialect, over integers only, so that it can be rendered for other engines. `passes` above 1
    runs it once for each value of ``{part}`` below ``{parts}`` and stacks the rows: the way to group more keys than
    fit into memory.
    """

    name: str
    sql: str
    why: str
    """What the step is for, in one sentence; printed above the SQL."""
    passes: int = 1

    def render(self, part: int) -> str:
        """The SELECT of one pass."""
        if self.passes == 1:
            return self.sql
        return self.sql.replace("{parts}", str(self.passes)).replace("{part}", str(part))


def printable(steps: Iterable[Step]) -> str:
    """The steps as a person reads them."""
    blocks = []
    for step in steps:
        times = f" ({step.passes} passes)" if step.passes > 1 else ""
        blocks.append(f"-- {step.name}{times}: {step.why}\n{step.sql.strip()};\n")
    return "\n".join(blocks)
