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

from stillwatch.errors import InputError

Alternative = Literal["greater", "less", "two-sided"]
Decision = Literal["supported", "not supported", "inconclusive", "not tested"]
NullMethod = Literal["exact", "permutation", "asymptotic", "simulation", "betting"]
Checked = Literal["checked", "not checked", "violated"]
TLP = Literal["TLP:RED", "TLP:AMBER+STRICT", "TLP:AMBER", "TLP:GREEN", "TLP:CLEAR"]
CaseStatus = Literal["open", "sealed", "closed", "withdrawn"]
NoticeKind = Literal["alert", "demarche", "disclosure", "partner", "correction"]
DeliveryEvent = Literal["delivered", "acknowledged", "answered", "followed up", "failed"]


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


@dataclass(frozen=True, slots=True)
class Revocation:
    """An imported indicator that its producer took back. It stays in the case, and is no longer to be looked for."""

    indicator: str
    """Digest of the Indicator."""
    at: str
    by: str
    document: str
    """sha256 of the document that took it back."""


@dataclass(frozen=True, slots=True)
class Share:
    """A document of indicators, or an offer of digests to match, that left a case, and how it was asked for."""

    at: str
    by: str
    format: str
    producer: str
    """As whom; only who shared something can take it back."""
    tlp: TLP
    sha256: str
    """Of the document."""
    version: str
    """Time that the document gives to what it says; another content has a later one."""
    state: str
    """Digest of what decides that content: the last change of the case, the options, the program. Empty: an offer."""
    findings: tuple[str, ...]
    """Ids of the findings that it tells of, those that it takes back as well."""
    options: dict[str, Any] = field(default_factory=dict)
    """What was asked for. JSON values only."""


@dataclass(frozen=True, slots=True)
class Custody:
    """One step in the life of a piece of evidence: who had it, when, and what was done."""

    evidence: str
    """sha256 of the bytes."""
    at: str
    by: str
    action: str
    """What happened: ``collected``, ``added``, ``exported``, ``imported``, ``deleted``."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """A party was asked to answer a claim, and by when."""

    party: str
    finding: str
    """Id of the finding, or empty for the whole case."""
    at: str
    due: str
    """ISO date; after it, without an answer, every output says "no answer by" this date."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a named party says to a claim; it stands beside the claim, as large, in every output."""

    party: str
    finding: str
    """Id of the finding, or empty for the whole case."""
    statement: str
    received_at: str
    recorded_by: str
    evidence: tuple[str, ...] = ()
    id: str = field(default="", init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", digest(_without_id(self)))


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A finding that was wrong. It stays in the case, shown as withdrawn or corrected."""

    finding: str
    at: str
    by: str
    reason: str
    replaced_by: str = ""
    """Id of the finding that corrects it; empty: it is withdrawn and nothing takes its place."""


@dataclass(frozen=True, slots=True)
class Closing:
    """The latest word on a case as a whole: why it was closed, or withdrawn with everything in it."""

    at: str
    by: str
    reason: str
    withdrawn: bool


@dataclass(frozen=True, slots=True)
class Note:
    """A remark by somebody who works on the case; it is not evidence."""

    at: str
    by: str
    text: str


@dataclass(frozen=True, slots=True)
class Notice:
    """One document that was written to be sent. The program itself sends nothing."""

    kind: NoticeKind
    language: str
    """BCP 47, such as ``en`` or ``ar``."""
    created_at: str
    created_by: str
    title: str
    addressees: tuple[str, ...]
    tlp: TLP
    classification: str
    findings: tuple[str, ...]
    distribution: tuple[str, ...] = ()
    """Who gets a copy."""
    due: str = ""
    """ISO date by which an answer or an action is asked for."""
    corrects: tuple[str, ...] = ()
    """Ids of the notices that this one corrects."""
    content: dict[str, Any] = field(default_factory=dict)
    """The document itself, see `stillwatch.cases.content`. JSON values only."""
    id: str = field(default="", init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", digest(_without_id(self)))


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one notice at one addressee, as somebody recorded it. The latest record of the two counts."""

    notice: str
    addressee: str
    at: str
    by: str
    event: DeliveryEvent
    text: str = ""
    due: str = ""
    """ISO date of the next follow-up; empty: none."""


@dataclass(frozen=True, slots=True)
class Seal:
    """A signature over the state of a case at one moment."""

    case: str
    seq: int
    """Entries of the case's journal that it covers."""
    head: str
    """Digest of the last of them."""
    at: str
    by: str
    public_key: str
    """Ed25519, raw, hexadecimal."""
    signature: str
    """Over the canonical JSON of the other fields but `timestamp`; hexadecimal."""
    timestamp: str = ""
    """An RFC 3161 token over `signature`, base64, where one was obtained."""


@dataclass(frozen=True, slots=True)
class Case:
    """One file: what was found, on what it rests, who was told, and what they answered."""

    id: str
    """``C-`` and a number."""
    title: str
    status: CaseStatus
    opened_at: str
    tlp: TLP
    subjects: tuple[str, ...]
    """Pseudonyms, such as the name of a campaign; never a person."""
    findings: tuple[Finding, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    custody: tuple[Custody, ...] = ()
    runs: tuple[Run, ...] = ()
    asked: tuple[Asked, ...] = ()
    answers: tuple[Answer, ...] = ()
    withdrawals: tuple[Withdrawal, ...] = ()
    notes: tuple[Note, ...] = ()
    notices: tuple[Notice, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    indicators: tuple[Indicator, ...] = ()
    seals: tuple[Seal, ...] = ()
    head: str = ""
    """Digest of the last entry of its journal."""
    closing: Closing | None = None
    """None: it was never closed."""
    revocations: tuple[Revocation, ...] = ()
    shares: tuple[Share, ...] = ()
    opened: str = ""
    """Digest of the first entry: which case it is, whatever its id."""
    changed_at: str = ""
    """Time of the last entry that changes what of the case may be shared."""


def as_json(record: Any) -> str:
    """Canonical JSON of a record: sorted keys, no spaces, NaN and infinity refused."""
    value = asdict(record) if hasattr(record, "__dataclass_fields__") else record
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """sha256 of the canonical JSON, as hexadecimal.

    Raises
    ------
    InputError
        A text in it is no text: half a character, as bytes become that are no UTF-8.
    """
    try:
        spelled = as_json(value).encode()
    except UnicodeEncodeError as problem:
        near = ascii(problem.object[max(problem.start - 20, 0) : problem.end])
        raise InputError(f"expected text in UTF-8, found half a character at {near}") from problem
    return hashlib.sha256(spelled).hexdigest()


def _without_id(record: Any) -> dict[str, Any]:
    values = {f.name: getattr(record, f.name) for f in fields(record) if f.name != "id"}
    return {name: _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return asdict(value)
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    return value
