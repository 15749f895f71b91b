"""The nouns: frozen records, standard library only.

Rows (exchanges, accounts, actions) live in Arrow tables whose columns `stillwatch.engine.schema` declares; the
records here are what is said *about* rows: results, findings, runs and links of evidence.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

Alternative = Literal["greater", "less", "two-sided"]
Decision = Literal["supported", "not supported", "inconclusive", "not tested"]
NullMethod = Literal["exact", "permutation", "asymptotic", "simulation", "betting"]
Checked = Literal["checked", "not checked", "violated"]
TLP = Literal["TLP:RED", "TLP:AMBER+STRICT", "TLP:AMBER", "TLP:GREEN", "TLP:CLEAR"]


@dataclass(frozen=True, slots=True)
class Card:
    """What a method is, for `methods list`, its docs page and every report that rests on it."""

    name: str
    version: str
    title: str
    """What it measures, in a few words a reader of a report understands."""
    question: str
    """The question of the finding that it serves, such as ``acts as one`` or ``shape of harvesting``."""
    null: str
    """The null hypothesis, in one sentence."""
    unit: str
    """The unit of exchangeability."""
    access: tuple[str, ...]
    """Columns or access it needs, as ``table.column``; any_of groups are written ``a|b``."""
    sources: tuple[str, ...]
    assumptions: tuple[str, ...]
    looks_same: tuple[str, ...]
    """Innocent things that look the same."""


@dataclass(frozen=True, slots=True)
class Null:
    """The null hypothesis behind a p- or e-value."""

    hypothesis: str
    method: NullMethod
    unit: str
    resamples: int | None = None
    """Number of resamples B, where the method draws any."""


@dataclass(frozen=True, slots=True)
class Assumption:
    """One assumption of a test and whether this data was held against it."""

    text: str
    status: Checked = "not checked"
    observed: str = ""


@dataclass(frozen=True, slots=True)
class TestResult:
    """The result of one test. Probabilities are natural logarithms, so 1e-400 is a number and not zero.

    Raises
    ------
    ValueError
        Neither p nor e; a NaN; ``log_pvalue > 0``; a resampled p below ``1 / (B + 1)``; n below 0.
    """

    __test__ = False  # pytest: not a test class

    test: str
    """``name@version`` of the method."""
    statistic: float
    null: Null
    n: int
    unit: str
    """What `n` counts."""
    log_pvalue: float | None = None
    log_evalue: float | None = None
    anytime: bool = False
    """The e-value may be looked at on any day without correction."""
    log_evalue_ceiling: float | None = None
    """Largest e-value this test could have given on this much data; None where there is no bound."""
    alternative: Alternative = "greater"
    effect: float | None = None
    effect_name: str = ""
    interval: tuple[float, float] | None = None
    """Interval of the effect."""
    assumptions: tuple[Assumption, ...] = ()
    seed: int | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if self.log_pvalue is None and self.log_evalue is None:
            raise ValueError(f"{self.test}: a result needs a p-value or an e-value")
        numbers = {
            "statistic": self.statistic,
            "log_pvalue": self.log_pvalue,
            "log_evalue": self.log_evalue,
            "log_evalue_ceiling": self.log_evalue_ceiling,
            "effect": self.effect,
        }
        for name, value in numbers.items():
            if value is not None and math.isnan(value):
                raise ValueError(f"{self.test}: {name} is not a number")
        if self.interval is not None and any(math.isnan(x) for x in self.interval):
            raise ValueError(f"{self.test}: interval is not a number")
        if self.log_pvalue is not None:
            if self.log_pvalue > 0:
                raise ValueError(f"{self.test}: a p-value above 1 (log {self.log_pvalue:g})")
            floor = -math.log(self.null.resamples + 1) if self.null.resamples is not None else -math.inf
            if self.log_pvalue < floor - 1e-9:
                raise ValueError(f"{self.test}: p is below 1/(B+1) with B = {self.null.resamples}")
        if self.n < 0:
            raise ValueError(f"{self.test}: n is negative")


@dataclass(frozen=True, slots=True)
class Excluded:
    """One innocent explanation and whether the data rules it out."""

    name: str
    excluded: bool | None
    """None: the data cannot tell."""
    by: str
    """What rules it out, or why it stands."""


@dataclass(frozen=True, slots=True)
class Run:
    """What produced a finding: enough to run it again."""

    version: str
    command: str
    config: dict[str, Any]
    inputs: dict[str, str]
    """Input name -> sha256."""
    seed: int
    id: str = field(default="", init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", digest(_without_id(self)))


@dataclass(frozen=True, slots=True)
class Finding:
    """A sentence about data with its null, its numbers, its innocent alternatives and its limits.

    `id` is the digest of everything else, so two findings are equal exactly when they say the same.
    """

    subject: str
    claim: str
    decision: Decision
    results: tuple[TestResult, ...]
    family: str
    """The family of hypotheses over which multiplicity was controlled, and its size, in words."""
    log_evalue: float | None = None
    log_evalue_needed: float | None = None
    """What one hypothesis of this family needs alone."""
    alternatives: tuple[Excluded, ...] = ()
    limits: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    strength: str = ""
    """Calibrated likelihood ratio with its interval and what calibrated it; empty where there is none."""
    run: str = ""
    """Id of the Run."""
    details: dict[str, Any] = field(default_factory=dict)
    """Facts in the finding's own words: counts, spans, shares. JSON values only."""
    id: str = field(default="", init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", digest(_without_id(self)))


@dataclass(frozen=True, slots=True)
class Evidence:
    """A thing that a finding rests on, named by the digest of its bytes."""

    sha256: str
    media_type: str
    size: int
    role: str
    origin: str
    collected_at: str
    """ISO 8601, UTC."""
    collected_by: str
    tlp: TLP = "TLP:AMBER"
    personal_data: bool = True
    retain_until: str = ""
    derived_from: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Indicator:
    """Something another party may look for, with its limits."""

    kind: str
    pattern: str
    language: str
    valid_from: str
    valid_until: str
    confidence: int
    """0 to 100; how sure the pattern means what `kind` says. Never 1 - p."""
    tlp: TLP
    derived_from: tuple[str, ...]
    benign_hits: int
    benign_of: int
    """`benign_hits` of `benign_of` honest units matched the pattern."""

    def __post_init__(self) -> None:
        if not 0 <= self.confidence <= 100:
            raise ValueError(f"confidence is 0 to 100, found {self.confidence}")
        if not self.valid_until:
            raise ValueError("an indicator needs valid_until")


def as_json(record: Any) -> str:
    """Canonical JSON of a record: sorted keys, no spaces, NaN and infinity refused."""
    value = asdict(record) if hasattr(record, "__dataclass_fields__") else record
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """sha256 of the canonical JSON, as hexadecimal."""
    return hashlib.sha256(as_json(value).encode()).hexdigest()


def _without_id(record: Any) -> dict[str, Any]:
    values = {f.name: getattr(record, f.name) for f in fields(record) if f.name != "id"}
    return {name: _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return asdict(value)
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    return value
