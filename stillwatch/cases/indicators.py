"""What of a case may leave the house, as indicators that another party can look for.

An indicator says something about exchanges, never about who sent them. No identifier of an account leaves, not even
its pseudonym: whoever holds logs of the same accounts could match volumes and days to it. Groups of fewer than `LEAST`
accounts are left out, and so are counts below it.

What confidence means
---------------------
How sure we are that a match means what `kind` says, on the scale of STIX 2.1, appendix A (low 15, medium 50, high 85).
It follows from the kind of pattern, its length, the innocent explanations that stand and the honest matches that were
counted (`confidence_of`), never from a p- or e-value: those say how unlikely the data is when the null holds, and not
how likely a match elsewhere means the same.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from stillwatch.cases.claims import Fallen, fallen
from stillwatch.cases.events import rank
from stillwatch.cases.leaving import LEAST, kinds_of, models_of, names_pseudonym, parties_of
from stillwatch.cases.proportion import exact_interval
from stillwatch.errors import InputError
from stillwatch.records import TLP, Case, Finding, Indicator, Withdrawal

VALID_DAYS = 90
LOW, MEDIUM, HIGH = 15, 50, 85
RARE = 0.001
"""High confidence asks for an upper end of the honest matches' interval at or below this."""
WINDOW = 32
"""Bytes of normalised text in one window; the windows of one text do not overlap."""
LONG = 64
"""A shorter piece of text has low confidence."""
TEXT, TEMPLATE, PROFILE, VERBATIM, STIX = (
    "stillwatch-text",
    "stillwatch-template",
    "stillwatch-profile",
    "verbatim-text",
    "stix",
)
"""Languages of patterns. The first three are described in docs/guides/sharing.md."""
_WITHHELD = re.compile(r"sha256=[0-9a-f]{64}")
_SLOT = re.compile(r'"[^"]{0,400}"|`[^`]{0,400}`|https?://\S+|0(?:[.,:/-]0)*')
_DIGESTS = r"sha256=[0-9a-f]{64} bytes=[1-9][0-9]{0,8} windows=[0-9a-f]{32}(,[0-9a-f]{32})*"
_PATTERNS = {
    TEXT: re.compile(_DIGESTS),
    TEMPLATE: re.compile(_DIGESTS),
    PROFILE: re.compile(
        r"accounts=[0-9]{1,12} exchanges=[0-9]{1,15} per-account-day=[0-9]{1,12}(\.[0-9]{1,3})? "
        r"from=\d{4}-\d\d-\d\d until=\d{4}-\d\d-\d\d kinds=[^ ]* models=[^ ]*"
    ),
}


@dataclass(frozen=True, slots=True)
class Shareable:
    """One finding and the indicators that follow from it."""

    finding: Finding
    indicators: tuple[Indicator, ...]
    fallen: Fallen | None = None
    """Set: the finding no longer stands, and the indicators are named only to take them back."""

    @property
    def withdrawal(self) -> Withdrawal | None:
        """Who took it back, when and why."""
        return self.fallen.word if self.fallen else None


@dataclass(frozen=True, slots=True)
class Shared:
    """Everything of a case that may leave at one TLP."""

    tlp: TLP
    items: tuple[Shareable, ...]
    left_out: tuple[str, ...] = ()
    """What does not leave and why, one sentence each."""
    parties: Mapping[str, str] = field(default_factory=dict)
    """Name of a party that was asked or answered -> how it is called outside."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What was asked for. JSON values only."""

    @property
    def indicators(self) -> tuple[Indicator, ...]:
        """Those that stand."""
        return tuple(i for item in self.items if not item.withdrawal for i in item.indicators)

    @property
    def revoked(self) -> tuple[Indicator, ...]:
        """Those that are taken back."""
        return tuple(i for item in self.items if item.withdrawal for i in item.indicators)


def of_case(
    case: Case,
    *,
    tlp: TLP | None = None,
    with_texts: bool = False,
    valid_days: int = VALID_DAYS,
    benign: Mapping[str, tuple[int, int]] | None = None,
    downgrade: bool = False,
    name_parties: bool = False,
    findings: Collection[str] = (),
    disputed: Collection[str] = (),
) -> Shared:
    """Indicators of the supported findings of a case, those of findings that no longer stand apart.

    Parameters
    ----------
    tlp
        At which they are shared; that of the case if not given.
    with_texts
        Also the shared text itself. Never at TLP:GREEN or TLP:CLEAR, whose readers are not known.
    valid_days
        Days after a finding's last exchange on which its indicators end.
    benign
        Finding id -> (k, n): k of n honest accounts matched its text. Else what the finding's details say under
        ``benign``; else it counts as not measured (0 of 0).
    downgrade
        Share at a wider TLP than that of the case or of a finding's evidence.
    name_parties
        Call those who were asked or answered by their names; else ``party A`` and so on.
    findings
        Ids of the findings to share; all that may leave if there is none.
    disputed
        Ids of answers that deny the claim, as a person read them.

    Raises
    ------
    InputError
        The TLP is wider than that of the case and `downgrade` is not set; `valid_days` is not 1 to 730; a benign rate
        is no rate.

    Examples
    --------
    >>> from stillwatch.records import Case
    >>> empty = Case("C-1", "nothing yet", "open", "2026-11-20T10:00:00+00:00", "TLP:AMBER", ())
    >>> of_case(empty).indicators
    ()

    "Nothing of this case may leave, because nothing in it is supported."
    """
    tlp = tlp or case.tlp
    if not downgrade and rank(tlp) < rank(case.tlp):
        raise InputError(
            f"case {case.id} is {case.tlp} and would be shared at {tlp}, which more people may read; if that is "
            "meant, say so with --downgrade"
        )
    if not 1 <= valid_days <= 730:
        raise InputError(f"indicators are valid for 1 to 730 days, found {valid_days}")
    gone = fallen(case)
    items, left_out = [], []
    for finding in case.findings:
        if finding.decision != "supported" or (findings and finding.id not in findings):
            continue
        fell = gone.get(finding.id)
        reason = _held_back(finding, case, tlp, downgrade)
        # What left before is taken back, whatever holds it back now.
        if reason and not (fell and _left_before(case, finding, tlp)):
            left_out.append(f"{finding.subject}: {reason}")
            continue
        texts = "withheld" if fell else "in words" if with_texts and texts_allowed(tlp) else ""
        made = _of_finding(finding, tlp, texts, valid_days, _benign(finding, benign or {}), left_out)
        items.append(Shareable(finding, tuple(made), fell))
    undecided = sum(f.decision != "supported" for f in case.findings)
    if undecided:
        left_out.append(f"findings that are not supported: {undecided}")
    if with_texts and not texts_allowed(tlp):
        left_out.append(f"the shared text itself: not at {tlp}, at TLP:AMBER or narrower only")
    options = {
        "tlp": tlp,
        "with_texts": with_texts,
        "valid_days": valid_days,
        "benign": {finding: list(rate) for finding, rate in sorted((benign or {}).items())},
        "downgrade": downgrade,
        "name_parties": name_parties,
        "findings": sorted(findings),
        "disputed": sorted(disputed),
    }
    parties = {} if name_parties else parties_of(case)
    return Shared(tlp, tuple(items), tuple(left_out), parties, options)


def texts_allowed(tlp: TLP) -> bool:
    """Whether text of prompts may leave at this TLP."""
    return rank(tlp) >= rank("TLP:AMBER")


def well_formed(language: str, pattern: str) -> bool:
    """Whether a pattern of one of our own languages has its form; others are not judged."""
    form = _PATTERNS.get(language)
    return form is None or form.fullmatch(pattern) is not None


def expired(indicator: Indicator, at: datetime) -> bool:
    """Whether it is no longer valid at a moment (with a time zone)."""
    return datetime.fromisoformat(indicator.valid_until) <= at


def state_of(indicator: Indicator, at: datetime, *, taken_back: bool = False) -> str:
    """``valid``, ``expired``, ``not yet valid`` or ``taken back`` at a moment (with a time zone)."""
    if taken_back:
        return "taken back"
    if expired(indicator, at):
        return "expired"
    return "valid" if datetime.fromisoformat(indicator.valid_from) <= at else "not yet valid"


def benign_words(hits: int, of: int) -> str:
    """``3 of 20,000 honest accounts matched (0.015%; 95% interval 0.0031% to 0.044%)``, or that nobody counted."""
    if of == 0:
        return "how many honest accounts match was not measured"
    low, high = exact_interval(hits, of)
    return (
        f"{hits:,} of {of:,} honest accounts matched ({100 * hits / of:.2g}%; 95% interval {100 * low:.2g}% to "
        f"{100 * high:.2g}%)"
    )


def confidence_of(finding: Finding, language: str, size: int, benign: tuple[int, int]) -> int:
    """`LOW`, `MEDIUM` or `HIGH`; see the head of this module.

    Low: rates and volumes, networks, text of fewer than `LONG` bytes, and anything that users of a popular framework
    would match as well. High: longer text, where honest matches were counted, the upper end of their interval is at
    most `RARE`, and no innocent explanation stands. Medium: other text.
    """
    standing = [a.name for a in finding.alternatives if a.excluded is False]
    if language in (PROFILE, STIX) or size < LONG or any("popular" in name for name in standing):
        return LOW
    rare = benign[1] > 0 and exact_interval(*benign)[1] <= RARE
    return HIGH if rare and not standing else MEDIUM


def text_pattern(text: str) -> str:
    """The pattern of a piece of normalised text: its digest, its length, and digests of its windows.

    Whoever holds prompts slides `WINDOW` bytes over their normalised form and compares SHA-256, cut to 128 bits.
    The windows do not overlap: of two that do, whoever guessed one would need to guess only what is new in the other.

    Raises
    ------
    InputError
        It is shorter than a window.
    """
    windows = _windows(text)
    if not windows:
        raise InputError(f"a text pattern needs at least {WINDOW} bytes of whole text, found {len(text)}")
    data = text.encode()
    digests = ",".join(sha256(w).hexdigest()[:32] for w in windows)
    return f"sha256={sha256(data).hexdigest()} bytes={len(data)} windows={digests}"


def withheld(text: str) -> str:
    """What stands for a piece of text in words that is taken back, so that it is not told once more: its digest."""
    if _WITHHELD.fullmatch(text):
        return text
    return f"sha256={sha256(text.encode(errors='replace')).hexdigest()}"


def template_of(text: str) -> str:
    """Normalised text with each slot (quotation, link, back-ticked code, number) replaced by one tab character."""
    return _SLOT.sub("\t", text)


def _held_back(finding: Finding, case: Case, tlp: TLP, downgrade: bool) -> str:
    """Why a supported finding does not leave; empty if it may."""
    accounts = finding.details.get("accounts")
    if not isinstance(accounts, int) or isinstance(accounts, bool):
        return "does not say how many accounts it is about"
    if accounts < LEAST:
        return f"fewer than {LEAST} accounts: groups this small are never shared"
    if part_of := finding.details.get("part_of"):
        return f"part of {part_of}, which stands for it"
    since, until = _day(finding, "since"), _day(finding, "until")
    if since is None or until is None or until < since:
        return "does not say from when to when"
    narrow = [
        e.tlp
        for e in case.evidence
        if e.sha256 in finding.evidence and rank(e.tlp) > rank(tlp) and not downgrade
    ]
    return f"rests on evidence that is {max(narrow, key=rank)}" if narrow else ""


def _left_before(case: Case, finding: Finding, tlp: TLP) -> bool:
    """Whether a finding was shared at this TLP or a wider one, so that its readers know of it."""
    return any(finding.id in s.findings and rank(s.tlp) <= rank(tlp) for s in case.shares)


def _of_finding(
    finding: Finding,
    tlp: TLP,
    texts: str,
    valid_days: int,
    benign: tuple[int, int],
    left_out: list[str],
) -> Iterable[Indicator]:
    """`texts`: ``in words`` or ``withheld``, where the shared text itself is among the indicators."""
    since, until = _day(finding, "since"), _day(finding, "until")
    assert since is not None and until is not None

    def made(kind: str, pattern: str, language: str, size: int, rate: tuple[int, int]) -> Indicator:
        return Indicator(
            kind=kind,
            pattern=pattern,
            language=language,
            valid_from=_moment(since),
            valid_until=_moment(until + timedelta(days=valid_days)),
            confidence=confidence_of(finding, language, size, rate),
            tlp=tlp,
            derived_from=(finding.id,),
            benign_hits=rate[0],
            benign_of=rate[1],
        )

    indicators, short, seen = [], 0, set()
    for given in finding.details.get("texts") or ():
        text = str(given).strip().strip("\ufffd").strip()
        size = len(text.encode(errors="replace"))
        if not _windows(text):
            short += 1
            continue
        if text in seen or names_pseudonym(text):
            continue
        seen.add(text)
        indicators.append(made("shared text", text_pattern(text), TEXT, size, benign))
        template = template_of(text)
        if template != text and _windows(template):
            indicators.append(
                made(
                    "shared text with slots", text_pattern(template), TEMPLATE, len(template.encode()), benign
                )
            )
        if texts:
            words = withheld(text) if texts == "withheld" else text
            indicators.append(made("shared text in words", words, VERBATIM, size, benign))
    if short:
        left_out.append(f"{finding.subject}: pieces of text too short to be told by a digest: {short}")
    indicators.append(made("rate and volume", _profile(finding), PROFILE, 0, (0, 0)))
    indicators += [
        made("client network", pattern, STIX, 0, (0, 0)) for pattern in _networks(finding, left_out)
    ]
    return indicators


def _profile(finding: Finding) -> str:
    """Counts, rate, span, kinds and models; what fewer than `LEAST` accounts or exchanges have is left out."""
    facts = finding.details
    accounts, exchanges = int(facts["accounts"]), int(facts.get("exchanges") or 0)
    since, until = _day(finding, "since"), _day(finding, "until")
    assert since is not None and until is not None
    rate = exchanges / accounts / ((until - since).days + 1)
    return (
        f"accounts={accounts} exchanges={exchanges} per-account-day={rate:.1f} from={since} until={until} "
        f"kinds={_listed(kinds_of(finding))} models={_listed(models_of(finding))}"
    )


def _listed(counts: Sequence[tuple[str, int]]) -> str:
    return ",".join(f"{quote(name, safe='')}:{n}" for name, n in counts)


def _networks(finding: Finding, left_out: list[str]) -> list[str]:
    """Autonomous systems that at least `LEAST` accounts came from. Addresses and prefixes do not leave in clear."""
    found: dict[str, Any] = finding.details.get("client_asns") or {}
    few = [asn for asn, accounts in found.items() if accounts < LEAST]
    if few:
        left_out.append(f"{finding.subject}: networks of fewer than {LEAST} accounts: {len(few)}")
    return [f"[autonomous-system:number = {int(asn)}]" for asn in found if asn not in few]


def _benign(finding: Finding, given: Mapping[str, tuple[int, int]]) -> tuple[int, int]:
    stored = finding.details.get("benign") or {}
    hits, of = given.get(finding.id) or (stored.get("hits", 0), stored.get("of", 0))
    if not 0 <= hits <= of:
        raise InputError(f"{finding.subject}: {hits} of {of} honest accounts is no rate")
    return hits, of


def _windows(text: str) -> list[bytes]:
    # A U+FFFD stands where a kept piece was cut within a character: the bytes around it are not those of the prompt.
    pieces = [piece.encode() for piece in text.split("\ufffd")]
    return [p[i : i + WINDOW] for p in pieces for i in range(0, len(p) - WINDOW + 1, WINDOW)]


def _day(finding: Finding, name: str) -> date | None:
    try:
        day = date.fromisoformat(str(finding.details.get(name, "")))
    except ValueError:
        return None
    return day if 1990 <= day.year <= 2100 else None


def _moment(day: date) -> str:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
