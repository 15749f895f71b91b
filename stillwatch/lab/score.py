"""Holds what a scan found against the truth. The only reader of truth.parquet."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from stillwatch.errors import FormatError, InputError, SchemaError
from stillwatch.stats.intervals import clopper_pearson


@dataclass(frozen=True, slots=True)
class Share:
    """`count` of `of`, with a Clopper-Pearson interval at 95%.

    The interval takes its units as independent. Accounts of one group are one decision: for those quote the counts
    of groups, or the spread over seeds.
    """

    count: int
    of: int
    low: float
    high: float

    @property
    def share(self) -> float | None:
        """None where there was nothing to find."""
        return self.count / self.of if self.of else None


@dataclass(frozen=True, slots=True)
class Score:
    """What was found of what is true."""

    recall: Share
    """Campaign accounts that are in a supported campaign."""
    recall_by_campaign: dict[str, Share]
    campaigns_found: Share
    """Planted campaigns of which a supported one holds at least half of the accounts; the unit is the campaign."""
    honest_flagged: Share
    """Honest accounts in any supported campaign."""
    honest_flagged_by_role: dict[str, Share]
    honest_groups_flagged: Share
    """Honest groups (a firm, a class, the users of one framework) of which a supported campaign holds at least
    two accounts and a tenth; the unit is the group."""
    wrong_groups: tuple[str, ...]
    supported: int
    """Supported campaigns."""
    supported_wrong: int
    """Supported campaigns in which most accounts are honest."""
    precision: Share
    """Accounts in supported campaigns that belong to a planted one."""


def score(truth: Path, members: Path) -> Score:
    """Recall over campaign accounts and the honest accounts that were taken for one.

    Parameters
    ----------
    truth
        ``truth.parquet`` of a built log.
    members
        JSON lines of ``stillwatch campaigns members --json --reveal``: at least `campaign`, `decision` and the
        real `account`.

    Raises
    ------
    FormatError
        A line is not such an object.
    InputError
        An account of `members` is not in the log: ids that were not revealed, or another log.
    """
    if not truth.is_file():
        raise InputError(f"{truth}: not found; it lies in the folder that `stillwatch lab build` filled")
    table = pq.read_table(truth)
    for column in ("account", "role", "campaign", "group", "share"):
        if column not in table.column_names:
            raise SchemaError(column, "the column of a truth table", "no such column", str(truth))
    account = table["account"].to_pylist()
    role = np.array(table["role"].to_pylist(), object)
    campaign = np.array([c or "" for c in table["campaign"].to_pylist()], object)
    group = np.array([g or "" for g in table["group"].to_pylist()], object)
    place = {a: i for i, a in enumerate(account)}
    found: dict[str, set[int]] = {}
    for line, row in _rows(members):
        if row["decision"] != "supported":
            continue
        at = place.get(row["account"])
        if at is None:
            raise InputError(
                f"{members}:{line}: account {row['account']!r} is not in {truth}; "
                "list the members with --reveal, from a scan of the log that was built there"
            )
        found.setdefault(row["campaign"], set()).add(at)
    flagged = np.zeros(len(account), bool)
    for accounts in found.values():
        flagged[list(accounts)] = True
    guilty = campaign != ""
    planted = sorted(set(campaign[guilty]))
    caught = sum(
        any(2 * np.sum(campaign[list(f)] == c) >= np.sum(campaign == c) for f in found.values())
        for c in planted
    )
    honest_groups = sorted(set(group[~guilty & (group != "")]))
    wrong = []
    for g in honest_groups:
        here = ~guilty & (group == g)
        held = max((int(here[list(f)].sum()) for f in found.values()), default=0)
        if held >= 2 and 10 * held >= here.sum():
            wrong.append(str(g))
    return Score(
        recall=_share(flagged[guilty].sum(), guilty.sum()),
        recall_by_campaign={
            str(c): _share(flagged[campaign == c].sum(), (campaign == c).sum()) for c in planted
        },
        campaigns_found=_share(caught, len(planted)),
        honest_flagged=_share(flagged[~guilty].sum(), (~guilty).sum()),
        honest_flagged_by_role={
            str(r): _share(flagged[~guilty & (role == r)].sum(), (~guilty & (role == r)).sum())
            for r in sorted(set(role[~guilty]))
        },
        honest_groups_flagged=_share(len(wrong), len(honest_groups)),
        wrong_groups=tuple(wrong),
        supported=len(found),
        supported_wrong=sum(2 * int(guilty[list(f)].sum()) < len(f) for f in found.values()),
        precision=_share(flagged[guilty].sum(), flagged.sum()),
    )


def _rows(path: Path) -> list[tuple[int, dict[str, Any]]]:
    rows = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise FormatError(f"not JSON ({error.msg})", str(path), number) from error
            if not isinstance(row, dict) or not all(
                isinstance(row.get(k), str) for k in ("campaign", "decision", "account")
            ):
                raise FormatError("expected an object with campaign, decision and account", str(path), number)
            rows.append((number, row))
    return rows


def _share(count: int | np.integer, of: int | np.integer) -> Share:
    if of == 0:
        return Share(0, 0, 0.0, 1.0)
    return Share(int(count), int(of), *clopper_pearson(int(count), int(of)))
