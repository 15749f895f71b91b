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
        return self.sql.replace("{parts}", str(self.passes)).replace("{part}", str(part))


def most_frequent(source: str, key: str, value: str) -> str:
    """A SELECT of (key, value, uses): the most frequent non-null `value` of each `key`, the smallest among equals.

    The engines' own ``mode`` breaks ties by the order in which rows happen to arrive.
    """
    return f"""
select t.{key} as {key}, t.value as value, t.uses as uses
from (
    select g.{key} as {key}, g.value as value, g.uses as uses,
           row_number() over (partition by g.{key} order by g.uses desc, g.value) as place
    from (
        select e.{key} as {key}, {value} as value, count(*) as uses from {source} as e
        where {value} is not null group by e.{key}, {value}
    ) as g
) as t
where t.place = 1"""


def printable(steps: Iterable[Step]) -> str:
    """The steps as a person reads them and an engine runs them: the passes of one step stand under each other."""
    blocks = []
    for step in steps:
        times = f" ({step.passes} passes)" if step.passes > 1 else ""
        sql = "\nunion all\n".join(step.render(part).strip() for part in range(step.passes))
        blocks.append(f"-- {step.name}{times}: {step.why}\n{sql};\n")
    return "\n".join(blocks)
