"""Holds what a scan found against the truth. The only reader of truth.parquet."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
class ShareError:
    """How well the part of an account's requests that belongs to the campaign was told.

    Over campaign accounts in supported campaigns for which a share was given; the largest where several were.
    `accounts` is their number; `mean` is the mean of |told - true|, `bias` the mean of told - true, None for none.
    """

    accounts: int
    mean: float | None
    bias: float | None


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
    """Of the accounts in supported campaigns, those that belong to a planted one. An authorised customer is honest."""
    honest_groups_by_role: dict[str, Share]
    """As `honest_groups_flagged`, by the role of the group's accounts."""
    share_error: ShareError


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
    known = Truth.read(truth)
    found: dict[str, dict[int, float | None]] = {}
    for line, row in _rows(members):
        if row["decision"] != "supported":
            continue
        at = known.place.get(row["account"])
        if at is None:
            raise InputError(
                f"{members}:{line}: account {row['account']!r} is not in {truth}; "
                "list the members with --reveal, from a scan of the log that was built there"
            )
        told = row.get("share")
        found.setdefault(row["campaign"], {})[at] = float(told) if isinstance(told, int | float) else None
    return hold(known, found)


@dataclass(frozen=True, slots=True)
class Truth:
    """Who is who, by place in the table of a built log; empty text where an account has no campaign or group."""

    account: list[str]
    role: np.ndarray
    campaign: np.ndarray
    group: np.ndarray
    share: np.ndarray
    place: dict[str, int]

    @classmethod
    def read(cls, path: Path) -> Truth:
        """Read ``truth.parquet``."""
        if not path.is_file():
            raise InputError(f"{path}: not found; it lies in the folder that `stillwatch lab build` filled")
        table = pq.read_table(path)
        for column in ("account", "role", "campaign", "group", "share"):
            if column not in table.column_names:
                raise SchemaError(column, "the column of a truth table", "no such column", str(path))
        account = table["account"].to_pylist()
        return cls(
            account,
            np.array(table["role"].to_pylist(), object),
            np.array([c or "" for c in table["campaign"].to_pylist()], object),
            np.array([g or "" for g in table["group"].to_pylist()], object),
            table["share"].to_numpy(),
            {a: i for i, a in enumerate(account)},
        )


def hold(truth: Truth, found: Mapping[str, Mapping[int, float | None]]) -> Score:
    """Hold supported campaigns against the truth.

    Parameters
    ----------
    found
        Supported campaign -> place of an account in `truth` -> its share as told, if any.
    """
    role, campaign, group = truth.role, truth.campaign, truth.group
    flagged = np.zeros(len(role), bool)
    for accounts in found.values():
        flagged[list(accounts)] = True
    guilty = campaign != ""
    planted = sorted(set(campaign[guilty]))
    caught = sum(
        any(2 * np.sum(campaign[list(f)] == c) >= np.sum(campaign == c) for f in found.values())
        for c in planted
    )
    groups = {str(g): ~guilty & (group == g) for g in sorted(set(group[~guilty & (group != "")]))}
    wrong = []
    for g, here in groups.items():
        held = max((int(here[list(f)].sum()) for f in found.values()), default=0)
        if held >= 2 and 10 * held >= here.sum():
            wrong.append(g)
    kinds = {g: str(role[here][0]) for g, here in groups.items()}
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
        honest_groups_flagged=_share(len(wrong), len(groups)),
        wrong_groups=tuple(wrong),
        supported=len(found),
        supported_wrong=sum(2 * int(guilty[list(f)].sum()) < len(f) for f in found.values()),
        precision=_share(flagged[guilty].sum(), flagged.sum()),
        honest_groups_by_role={
            r: _share(sum(kinds[g] == r for g in wrong), sum(k == r for k in kinds.values()))
            for r in sorted(set(kinds.values()))
        },
        share_error=_share_error(truth, found),
    )


def _share_error(truth: Truth, found: Mapping[str, Mapping[int, float | None]]) -> ShareError:
    told: dict[int, float] = {}
    for accounts in found.values():
        for at, share in accounts.items():
            if share is not None and np.isfinite(share) and truth.campaign[at]:
                told[at] = max(share, told.get(at, 0.0))
    if not told:
        return ShareError(0, None, None)
    off = np.fromiter(told.values(), float) - truth.share[list(told)]
    return ShareError(len(told), float(np.abs(off).mean()), float(off.mean()))


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
