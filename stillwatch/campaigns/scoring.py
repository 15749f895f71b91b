"""Two questions, never merged: an e-value for each group and question, and one e-BH over all groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import ModuleType

import numpy as np

from stillwatch.campaigns.groups import Group
from stillwatch.campaigns.pool import Pool
from stillwatch.campaigns.timing import Timings
from stillwatch.errors import InsufficientData
from stillwatch.records import TestResult
from stillwatch.stats.combine import average_evalues

ACTS_AS_ONE = "acts as one"
HARVESTING = "shape of harvesting"
LEAST_KINDS = 2
"""Kinds of evidence that have to speak before a group can act as one."""


@dataclass(frozen=True, slots=True)
class Score:
    """The two e-values of one group and what they rest on. Logarithms are natural; None: too little data."""

    acts_as_one: float | None
    harvesting: float | None
    acts_ceiling: float | None
    harvesting_ceiling: float | None
    results: tuple[TestResult, ...]
    not_tested: tuple[str, ...]
    """Signals that had too little data, with what they needed."""

    @property
    def log_evalue(self) -> float | None:
        """The smaller of the two: an e-value against "at least one of the two nulls holds"."""
        if self.acts_as_one is None or self.harvesting is None:
            return None
        return min(self.acts_as_one, self.harvesting)

    @property
    def log_ceiling(self) -> float | None:
        if self.acts_ceiling is None or self.harvesting_ceiling is None:
            return None
        return min(self.acts_ceiling, self.harvesting_ceiling)


def kind_of(signal: ModuleType) -> str:
    """What a signal is evidence of. Signals of one kind (two ways to see shared text) count as one."""
    return getattr(signal, "KIND", signal.CARD.name)


def used_by(proposer: ModuleType) -> set[str]:
    """Kinds of evidence that went into what a signal proposes: they confirm nothing of it."""
    return {kind_of(proposer), *getattr(proposer, "ALSO_USES", ())}


def score(
    group: Group,
    pool: Pool,
    signals: Mapping[str, ModuleType],
    *,
    gamma: float,
    seed: int,
    timings: Timings | None = None,
) -> Score:
    """Test a group with every signal but the one that proposed it.

    "Acts as one" is the partial conjunction "at least two kinds of evidence" (Benjamini & Heller 2008; for e-values
    Vovk & Wang 2021): the largest e-value is left out and the others are averaged, which is an e-value whenever at
    most one kind departs from its null. One kind alone (users of a framework registered after its release) is
    therefore never enough, and signals of one kind are averaged first. What is of the proposer's kind is left out.
    "Shape of harvesting" is the average of its kinds, an e-value against "none departs".

    Parameters
    ----------
    group
        Its exempt accounts are in no pool and take no part.
    timings
        None: signals that read times of exchanges, or what was done to accounts, are left out.
    """
    group = replace(group, accounts=group.accounts[pool.holds(group.accounts)])
    rows, members, strata = pool.for_group(group)
    used = used_by(signals[group.proposer])
    results: list[TestResult] = []
    missing: list[str] = []
    logs: dict[str, dict[str, list[tuple[float, float]]]] = {ACTS_AS_ONE: {}, HARVESTING: {}}
    for name, signal in signals.items():
        kind = signal.VALUES.kind
        if kind_of(signals[name]) in used or (name not in pool.values and kind != "times"):
            continue
        if kind in ("times", "starts") and timings is None:
            continue
        try:
            if kind == "times":
                result = signal.test(*timings.of(group), seed=seed, gamma=gamma)
            else:
                given = {"interventions": timings.interventions(group)} if kind == "starts" else {}
                values = pool.values[name][rows]
                result = signal.test(values, members, strata, **given, seed=seed, gamma=gamma)
        except InsufficientData as why:
            missing.append(f"{signal.CARD.title}: {why}")
            continue
        results.append(result)
        pair = (result.log_evalue, result.log_evalue_ceiling)
        logs[signal.CARD.question].setdefault(kind_of(signal), []).append(pair)
    acts, acts_top = _at_least_two([_any(pairs) for pairs in logs[ACTS_AS_ONE].values()])
    harvest, harvest_top = _any([_any(pairs) for pairs in logs[HARVESTING].values()])
    return Score(acts, harvest, acts_top, harvest_top, tuple(results), tuple(missing))


def _any(logs: list[tuple[float, float]]) -> tuple[float | None, float | None]:
    if not logs:
        return None, None
    values, tops = (np.array(column) for column in zip(*logs, strict=True))
    return float(average_evalues(values)), float(average_evalues(tops))


def _at_least_two(logs: list[tuple[float, float]]) -> tuple[float | None, float | None]:
    if len(logs) < LEAST_KINDS:
        return None, None
    values, tops = (np.sort(np.array(column)) for column in zip(*logs, strict=True))
    return float(average_evalues(values[:-1])), float(average_evalues(tops[:-1]))
