"""Two questions, never merged: an e-value for each group and question, and one e-BH over all groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
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


Pair = tuple[float, float]


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
    kinds: Mapping[str, Mapping[str, Pair]] = field(default_factory=dict)
    """Question -> kind of evidence -> its e-value and the largest it could have been."""
    before: float | None = None
    """`acts_as_one` before it was lowered to what the members that harvest bear by themselves; None: it was not."""

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
    group = replace(group, accounts=group.accounts[~pool.is_exempt(group.accounts)])
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
    kinds = {q: {kind: _mean(pairs) for kind, pairs in of.items()} for q, of in logs.items()}
    acts, acts_top = at_least_two(kinds[ACTS_AS_ONE].values())
    harvest = list(kinds[HARVESTING].values())
    harvesting, harvest_top = _mean(harvest) if harvest else (None, None)
    return Score(acts, harvesting, acts_top, harvest_top, tuple(results), tuple(missing), kinds)


def lowered(whole: Score, core: Score | None) -> Score:
    """A group's score with no more of "acts as one" than its members that harvest bear by themselves, kind by kind.

    A firm that acts as one and strangers who harvest with the same text would otherwise pass together: one question
    answered by the ones, the other by the others. The smaller of two numbers, one of which is an e-value, is an
    e-value; the core is chosen by harvesting alone, and may be chosen by anything.

    Parameters
    ----------
    core
        Of the members that harvest, tested like the whole; None: too few to test. A kind that could not be asked of
        them counts as nothing; where none could, it is not known whether they act as one.
    """
    if whole.acts_as_one is None:
        return whole
    theirs = core.kinds.get(ACTS_AS_ONE, {}) if core else {}
    none = (-np.inf, -np.inf)
    kept = {
        kind: (min(pair[0], theirs.get(kind, none)[0]), min(pair[1], theirs.get(kind, none)[1]))
        for kind, pair in whole.kinds[ACTS_AS_ONE].items()
    }
    acts, top = at_least_two(kept.values())
    if acts == -np.inf:
        acts = top = None
    return replace(
        whole,
        acts_as_one=acts,
        acts_ceiling=top,
        kinds={**whole.kinds, ACTS_AS_ONE: kept},
        before=whole.acts_as_one,
    )


def at_least_two(pairs: Iterable[Pair]) -> tuple[float | None, float | None]:
    """The mean without the largest, and what it could have been; None for fewer than `LEAST_KINDS`."""
    logs = list(pairs)
    if len(logs) < LEAST_KINDS:
        return None, None
    values, tops = (sorted(column)[:-1] for column in zip(*logs, strict=True))
    return _average(values), _average(tops)


def _mean(pairs: Iterable[Pair]) -> Pair:
    values, tops = zip(*pairs, strict=True)
    return _average(list(values)), _average(list(tops))


def _average(logs: list[float]) -> float:
    """Logarithm of the mean e-value; minus infinity where all are 0."""
    return float(average_evalues(np.array(logs))) if max(logs) > -np.inf else -np.inf
