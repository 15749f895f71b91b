"""Frozen groups: hypotheses that are fixed before the days on which they are tested.

*The e-process of one group.* A group is tested at looks that are fixed when it is frozen: after 1, 2, 4 ... days, each
time on every day since. A look gives one e-value for each kind of evidence, as a scan does. With K looks in all, the
evidence of one kind at any moment is the sum of the e-values of the looks made so far, each divided by K. It only
grows, and its last value is a mean of e-values, so that its expectation is at most 1 however the looks depend on each
other, and so is its expectation at any moment that is chosen by looking at it.

Why not the product of daily e-values? A product needs each day's factor to be an e-value *given the days before*.
Rates and rhythms are habits: a group whose accounts are alike by chance on one day is alike on the next, the factors
repeat one and the same coincidence, and their product grows without bound for honest groups.

*Two kinds, and both questions.* At least two kinds have to speak: the largest of the n kinds is left out and the others
are averaged (Vovk & Wang 2021), n being fixed when the group is frozen and a kind without data counting as nothing. If
at most one kind departs from its null, that is at most the average over the others at their last look, whose
expectation is at most 1. The smaller of the two questions then holds against "one of the two nulls is true".

*Many groups, for ever.* The groups that are frozen on the j-th day on which any is share a part of the budget that is
fixed beforehand, ``spent(j)``, whose sum over all j is at most 1. With the weight w of each group, the k groups are
supported for which ``w e >= 1 / (alpha k)``, for the largest such k: online e-BH (Fischer, Xu & Ramdas 2024), in which
groups may keep coming and be decided later. The false discovery proportion at any moment is at most alpha times the sum
of ``w e`` over the true nulls. No term of that sum ever falls, so that the expectation of the *largest* false discovery
proportion that is ever shown is at most alpha, and a group that is supported stays so. (For e-values that rise and fall
neither holds: Tavyrikov, Goeman & de Heide 2025.)

References
----------
Vovk, V. and Wang, R. (2021). E-values: calibration, combination and applications. Ann. Statist. 49, 1736-1754.
Fischer, L., Xu, Z. and Ramdas, A. (2024). An online generalization of the (e-)Benjamini-Hochberg procedure.
arXiv:2407.20683.
Tavyrikov, Y., Goeman, J. and de Heide, R. (2025). Carefree multiple testing with e-processes. arXiv:2501.19360.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from stillwatch.campaigns.explain import DECLARED, EXEMPT, WORTH_A_LOOK
from stillwatch.campaigns.groups import Group
from stillwatch.campaigns.scoring import ACTS_AS_ONE, HARVESTING, LEAST_KINDS, Score, kind_of, used_by
from stillwatch.records import Decision
from stillwatch.stats.combine import average_evalues

SAME = 0.8
"""A proposal whose accounts have this Jaccard index with those of an open group of its proposer is that group."""
MOST_OPEN = 1000
"""Groups that are tested at one time; a day's proposals beyond find no place, the smaller ones first."""
_BUDGET = 2.10975
"""Sum of 1 / (n ln(n)^2) over n = 2, 3, ..., which is 2.1097428, rounded up."""

Pair = list[float]
"""Logarithms of an e-value and of the largest it could have been."""


@dataclass(slots=True)
class Look:
    """One test of a frozen group: the day on which it was made, and what it covered."""

    day: str
    days: int
    """Days with exchanges since the group was frozen."""
    kinds: dict[str, Pair]
    """What could be tested; the group's other kinds had too little data."""


@dataclass(slots=True)
class Frozen:
    """One hypothesis. Logarithms are natural, days are ISO dates."""

    name: str
    frozen: str
    proposer: str
    accounts: int
    materials: list[int]
    """Codes among those of its day, while it has looks to come."""
    weight: float
    """Share of the budget, above 0; over all groups ever frozen they add up to at most 1."""
    planned: list[int]
    """Days after which it is looked at."""
    acts_kinds: list[str]
    harvest_kinds: list[str]
    facts: dict[str, float | None]
    """Largest share of members in one organisation and on one payment token, when it was frozen; null: not known."""
    place: int
    """Number of the group among those frozen on its day."""
    seen: str
    """Last day on which it was proposed."""
    looks: list[Look] = field(default_factory=list)
    passed: str = ""
    """Day on which its e-value first passed; it never falls below again."""

    @property
    def key(self) -> str:
        return f"{self.name}/{self.frozen}"

    @property
    def done(self) -> bool:
        """Every planned look was made."""
        return len(self.looks) == len(self.planned)

    @property
    def may_pass(self) -> bool:
        """Whether anybody may still ask who is in it: it passed, or may when others pass beside it."""
        return bool(self.passed) or not self.done or (self.log_evalue or 0.0) >= WORTH_A_LOOK

    @property
    def acts_as_one(self) -> float | None:
        return _all_but_the_largest(self._sums(self.acts_kinds, 0))

    @property
    def harvesting(self) -> float | None:
        sums = self._sums(self.harvest_kinds, 0)
        return float(average_evalues(np.array(sums))) if max(sums, default=-math.inf) > -math.inf else None

    @property
    def log_evalue(self) -> float | None:
        """The smaller of the two; None while nothing could be tested."""
        if self.acts_as_one is None or self.harvesting is None:
            return None
        return min(self.acts_as_one, self.harvesting)

    @property
    def log_ceiling(self) -> float | None:
        """The e-value had every bet of the looks so far been won."""
        acts, harvest = (
            _all_but_the_largest(self._sums(self.acts_kinds, 1)),
            self._sums(self.harvest_kinds, 1),
        )
        if acts is None or max(harvest, default=-math.inf) == -math.inf:
            return None
        return min(acts, float(average_evalues(np.array(harvest))))

    def log_needed(self, alpha: float) -> float:
        """What this group needs alone."""
        return -math.log(alpha) - math.log(self.weight)

    def _sums(self, kinds: Sequence[str], which: int) -> list[float]:
        """For each kind the logarithm of the mean over all planned looks, one that was not made counting as 0."""
        sums = []
        for kind in kinds:
            logs = [look.kinds[kind][which] for look in self.looks if kind in look.kinds]
            if logs:
                share = math.log(len(logs)) - math.log(len(self.planned))
                sums.append(float(average_evalues(np.array(logs))) + share)
            else:
                sums.append(-math.inf)
        return sums


def _all_but_the_largest(sums: list[float]) -> float | None:
    kept = sorted(sums)[:-1]
    if len(sums) < LEAST_KINDS or kept[-1] == -math.inf:
        return None
    return float(average_evalues(np.array(kept)))


def spent(j: int) -> float:
    """Share of the budget for the j-th day (1, 2, ...) on which groups are frozen; all together at most 1."""
    return 1.0 / (_BUDGET * (j + 1) * math.log(j + 1) ** 2)


def planned_looks(window_days: int) -> list[int]:
    """1, 2, 4 ... days, at most the window."""
    return [1 << i for i in range(window_days.bit_length()) if 1 << i <= window_days]


def kinds_of(signals: dict[str, ModuleType], proposer: str) -> tuple[list[str], list[str]]:
    """Kinds of evidence for each question that can be tested on a group of this proposer."""
    asked: dict[str, set[str]] = {ACTS_AS_ONE: set(), HARVESTING: set()}
    for signal in signals.values():
        if kind_of(signal) not in used_by(signals[proposer]):
            asked[signal.CARD.question].add(kind_of(signal))
    return sorted(asked[ACTS_AS_ONE]), sorted(asked[HARVESTING])


def look_of(day: str, days: int, result: Score) -> Look:
    """What one look found, by kind; a kind that came to nothing is left out, and counts as nothing."""
    found = {kind: pair for of in result.kinds.values() for kind, pair in of.items()}
    return Look(day, days, {kind: list(pair) for kind, pair in found.items() if min(pair) > -math.inf})


def is_open(group: Frozen, oldest: str) -> bool:
    """Whether it has looks to come, or passed and was proposed again on or after `oldest`."""
    return not group.done or bool(group.passed and group.seen >= oldest)


def same_as(proposals: Sequence[Group], known: Sequence[tuple[str, NDArray[np.int64]]]) -> list[int]:
    """For each proposal the place of the known (proposer, accounts) that it is, or -1."""
    if not proposals or not known:
        return [-1] * len(proposals)
    sets = [g.accounts for g in proposals] + [accounts for _, accounts in known]
    ids, column = np.unique(np.concatenate(sets), return_inverse=True)
    size = np.array([len(s) for s in sets])
    row = np.repeat(np.arange(len(sets)), size)
    holds = csr_matrix((np.ones(len(row)), (row, column)), shape=(len(sets), len(ids)))
    n = len(proposals)
    shared = csr_matrix(holds[:n] @ holds[n:].T)
    found = []
    for i, group in enumerate(proposals):
        best, at = 0.0, -1
        for j, common in zip(
            shared.indices[shared.indptr[i] : shared.indptr[i + 1]],
            shared.data[shared.indptr[i] : shared.indptr[i + 1]],
            strict=True,
        ):
            likeness = common / (size[i] + size[n + j] - common)
            if known[j][0] == group.proposer and (likeness, -j) > (best, -at):
                best, at = float(likeness), int(j)
        found.append(at if best >= SAME else -1)
    return found


def weighted_e_bh(groups: Sequence[Frozen], alpha: float) -> list[bool]:
    """Which groups are supported; see the module's docstring. Once supported, a group stays so."""
    logs = np.array([-np.inf if (e := g.log_evalue) is None else e + math.log(g.weight) for g in groups])
    order = np.argsort(-logs, kind="stable")
    passing = np.flatnonzero(logs[order] >= -math.log(alpha) - np.log(np.arange(1, len(logs) + 1)) - 1e-12)
    supported = np.zeros(len(logs), bool)
    supported[order[: passing[-1] + 1 if passing.size else 0]] = True
    return [bool(s) for s in supported]


def decide_frozen(
    group: Frozen, *, rejected: bool, exempt: int, reasons: Sequence[str], alpha: float
) -> tuple[Decision, str]:
    """The decision on one group, as a scan words it, and the reason in a few words."""
    needed = group.log_needed(alpha)
    if exempt >= EXEMPT * group.accounts:
        return "not supported", "exempt: " + "; ".join(reasons)
    if rejected and max(group.facts["organisation"] or 0, group.facts["payer"] or 0) >= DECLARED:
        return "inconclusive", "one organisation or payer: ask it"
    if rejected:
        return "supported", "look-alikes are examined by a scan"
    if not group.done:
        return "inconclusive", f"{len(group.looks)} of {len(group.planned)} looks made"
    if group.log_evalue is None or group.log_ceiling is None:
        return "inconclusive", "too little data"
    if group.log_evalue >= WORTH_A_LOOK:
        return "inconclusive", "some evidence, not enough"
    if group.log_ceiling < needed:
        return "inconclusive", "too few accounts to tell"
    acts = group.acts_as_one is not None and group.acts_as_one >= needed
    return "not supported", "act as one, do not harvest" if acts else "no more alike than matched accounts"


def to_json(group: Frozen) -> dict[str, Any]:
    return asdict(group)


def from_json(stored: dict[str, Any]) -> Frozen:
    return Frozen(**{**stored, "looks": [Look(**look) for look in stored["looks"]]})
