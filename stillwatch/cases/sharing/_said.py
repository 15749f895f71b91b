"""What every format says of a finding, in the same words and with the same ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from uuid import UUID, uuid5

from stillwatch.cases.indicators import LEAST, Shareable, benign_words, limits_of, public
from stillwatch.errors import InputError
from stillwatch.records import Answer, Asked, Case, Finding, Indicator

NAMESPACE = UUID("5d0e9a52-7c4b-5e55-9d0e-4f7f5c9f2b61")
"""Of every id that is made here: one case gives the same ids on every machine."""

ATLAS_VERSION = "5.6.0"
_TECHNIQUES = {
    "AML.T0040": "AI Model Inference API Access",
    "AML.T0024.002": "Extract AI Model",
    "AML.T0008.005": "AI Service Proxies",
    "AML.T0051": "LLM Prompt Injection",
    "AML.T0054": "LLM Jailbreak",
}
_BY_KIND = {
    "text addressed to classifiers": ("AML.T0051", "AML.T0054"),
    "translated reasoning": ("AML.T0054",),
}
# No case study of ATLAS is ever named: AML.CS0056 names companies, and a reference to it would accuse them.

ACTION = (
    "A person reads the finding, its innocent explanations and the answers of those it is about before anything is "
    "done. Look for the pattern in your own logs; where it matches, ask whether it matches by chance, by a common "
    "framework, or because several accounts send it, and test the group with your own data. Do not block, slow or "
    "mark an account because of a match alone, and stop looking on the day the indicator ends."
)
MEANING = (
    "Confidence says how sure the producer is that a match means what the indicator's kind says (low 15, medium 50, "
    "high 85). It is not one minus a p-value."
)


def name(*parts: str) -> UUID:
    """The id of something of a case, from what it is."""
    return uuid5(NAMESPACE, "\0".join(parts))


def indicator_id(indicator: Indicator) -> UUID:
    """Of an indicator: another TLP or another end is the same indicator."""
    return name("indicator", *indicator.derived_from, indicator.kind, indicator.language, indicator.pattern)


def newest(case: Case) -> datetime:
    """When something was last said in the case that leaves with it: what is written from it changed then.

    Notes, seals and exports do not leave, so sharing twice gives the same bytes.
    """
    times = [
        case.opened_at,
        *(w.at for w in case.withdrawals),
        *([case.closing.at] if case.closing and case.closing.withdrawn else []),
        *(a.received_at for a in case.answers),
        *(a.at for a in case.asked),
    ]
    return max(utc(t) for t in times)


def utc(text: str) -> datetime:
    """A time of a case, which are all ISO 8601; without a zone it is UTC. Cut to milliseconds."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as bad:
        raise InputError(f"expected a time in ISO 8601, found {text[:40]!r}") from bad
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    return found.astimezone(UTC).replace(microsecond=found.microsecond // 1000 * 1000)


def zulu(moment: datetime) -> str:
    """``2026-11-02T00:00:00.000Z``."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def day_bounds(finding: Finding) -> tuple[datetime, datetime]:
    """The first moment of its first day and the last second of its last."""
    since, until = (datetime.fromisoformat(str(finding.details[d])) for d in ("since", "until"))
    return since.replace(tzinfo=UTC), until.replace(tzinfo=UTC, hour=23, minute=59, second=59)


def models(finding: Finding) -> list[tuple[str, int]]:
    """Models with the exchanges that went to each, those with few left out."""
    listed = (finding.details.get("taken") or {}).get("models") or ()
    return [(m["model"], m["exchanges"]) for m in listed if m["exchanges"] >= LEAST]


def kinds(finding: Finding) -> list[tuple[str, int]]:
    """Kinds of elicitation with their exchanges, those with few left out."""
    listed = (finding.details.get("taken") or {}).get("kinds") or {}
    return [(kind, n) for kind, n in listed.items() if n >= LEAST]


def techniques(finding: Finding) -> list[tuple[str, str, str]]:
    """MITRE ATLAS id, name, and what it rests on."""
    rests = {
        "AML.T0040": "the accounts use the model through its API",
        "AML.T0024.002": "what they do has the shape of harvesting; whether a model was trained on it is not known",
    }
    if finding.details.get("proposed_by") == "shared_infrastructure":
        rests["AML.T0008.005"] = (
            "cards, devices or networks in common, as a reseller's accounts have; not shown"
        )
    for kind, _ in kinds(finding):
        rests.update(dict.fromkeys(_BY_KIND.get(kind, ()), f"requests of the kind: {kind}"))
    return [(i, _TECHNIQUES[i], why) for i, why in sorted(rests.items())]


def standing(finding: Finding) -> str:
    """Innocent explanations and limits as one text, without numbers of accounts."""
    said = {True: "excluded", False: "NOT excluded", None: "cannot be told"}
    # What excludes one may name a count of a few accounts, so only the decision leaves.
    lines = [
        "Innocent explanations:",
        *(f"- {public(a.name)}: {said[a.excluded]}" for a in finding.alternatives),
    ]
    if not finding.alternatives:
        lines.append("- none was looked at")
    return "\n".join([*lines, "Limits:", *(f"- {limit}" for limit in limits_of(finding))])


def claimed(finding: Finding) -> str:
    """Its claim, span and family, as they may leave."""
    facts = finding.details
    return (
        f"{public(finding.claim)} {facts['since']} to {facts['until']}, {int(facts.get('exchanges') or 0):,} "
        f"exchanges. {public(finding.family)}. It speaks of data; who runs the accounts is not known."
    )


def described(indicator: Indicator) -> str:
    """What an indicator is, in one paragraph."""
    return (
        f"{indicator.kind.capitalize()} of a group of accounts ({indicator.language}). "
        f"{benign_words(indicator.benign_hits, indicator.benign_of).capitalize()}. {MEANING}"
    )


def answers(case: Case, finding: Finding) -> list[Answer]:
    """What was answered to a finding, or to the whole case."""
    return [a for a in case.answers if a.finding in ("", finding.id)]


def silent(case: Case, finding: Finding) -> list[Asked]:
    """Who was asked and has not answered."""
    heard = {(a.party, a.finding) for a in case.answers}
    return [a for a in case.asked if a.finding in ("", finding.id) and (a.party, a.finding) not in heard]


def silence(asked: Asked) -> str:
    """``Party A was asked by ...; no answer by ...``."""
    return (
        f"{public(asked.party)} was asked on {asked.at[:10]} to answer by {asked.due}; no answer is on file"
    )


def taken_back(case: Case, item: Shareable) -> str:
    """Why a finding no longer stands, and what corrects it; empty while it stands."""
    if item.fallen is None:
        return ""
    gone = item.fallen.word
    after = next((f.subject for f in case.findings if f.id == gone.replaced_by), "")
    corrected = f" It is corrected by {after}." if after else ""
    word = item.fallen.state.capitalize()
    return f"{word} on {gone.at[:10]}: {public(gone.reason)}.{corrected}".replace("..", ".")


def replaced(case: Case, items: Sequence[Shareable]) -> Iterable[tuple[Finding, Finding]]:
    """(the finding that corrects, the one it corrects), where both leave."""
    leaving = {item.finding.id: item.finding for item in items}
    for item in items:
        after = leaving.get(item.withdrawal.replaced_by) if item.withdrawal else None
        if after:
            yield after, item.finding
