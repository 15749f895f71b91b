"""What every format says of a finding, in the same words and with the same ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from stillwatch.cases.claims import answered, moment, predecessors, questions
from stillwatch.cases.indicators import Shareable, Shared, benign_words
from stillwatch.cases.leaving import kinds_of, limits_of, nameless, numberless, public
from stillwatch.records import Answer, Asked, Case, Finding, Indicator

ATLAS_VERSION = "5.6.0"
_TECHNIQUES = {
    "AML.T0024": "Exfiltration via AI Inference API",
    "AML.T0008": "Acquire Infrastructure",
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


def day_bounds(finding: Finding) -> tuple[datetime, datetime]:
    """The first moment of its first day and the last second of its last."""
    since, until = (datetime.fromisoformat(str(finding.details[d])) for d in ("since", "until"))
    return since.replace(tzinfo=UTC), until.replace(tzinfo=UTC, hour=23, minute=59, second=59)


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
    for kind, _ in kinds_of(finding):
        rests.update(dict.fromkeys(_BY_KIND.get(kind, ()), f"requests of the kind: {kind}"))
    return [(i, _TECHNIQUES[i], why) for i, why in sorted(rests.items())]


def technique_of(identifier: str) -> tuple[str, str]:
    """ATLAS id and name of the technique that a sub-technique is of; of a technique, its own."""
    whole = ".".join(identifier.split(".")[:2])
    return whole, _TECHNIQUES[whole]


def standing(finding: Finding, shared: Shared) -> str:
    """Innocent explanations and limits as one text, without numbers of accounts."""
    said = {True: "excluded", False: "NOT excluded", None: "cannot be told"}
    # What excludes one may name a count of a few accounts, so only the decision leaves.
    lines = [
        "Innocent explanations:",
        *(f"- {public(a.name, shared.parties)}: {said[a.excluded]}" for a in finding.alternatives),
    ]
    if not finding.alternatives:
        lines.append("- none was looked at")
    return "\n".join([*lines, "Limits:", *(f"- {limit}" for limit in limits_of(finding, shared.parties))])


def claimed(finding: Finding, shared: Shared) -> str:
    """Its claim, span and family, as they may leave: no number but those of the whole group."""
    facts = finding.details
    exchanges = int(facts.get("exchanges") or 0)
    claim = numberless(finding.claim, shared.parties, keep=(int(facts["accounts"]), exchanges))
    return (
        f"{claim} {facts['since']} to {facts['until']}, {exchanges:,} exchanges. "
        f"{public(finding.family, shared.parties)}. It speaks of data; who runs the accounts is not known."
    )


def described(indicator: Indicator) -> str:
    """What an indicator is, in one paragraph."""
    return (
        f"{indicator.kind.capitalize()} of a group of accounts ({indicator.language}). "
        f"{benign_words(indicator.benign_hits, indicator.benign_of).capitalize()}. {MEANING}"
    )


def answers(case: Case, finding: Finding) -> list[Answer]:
    """What was answered to a finding, to one that it replaces, or to the whole case."""
    about = _about(case, finding)
    return [a for a in case.answers if a.finding in about]


def asked(case: Case, finding: Finding) -> list[Asked]:
    """The latest question to each party about a finding, one that it replaces, or the whole case."""
    latest: dict[str, Asked] = {}
    about = _about(case, finding)
    for one in sorted(questions(case), key=lambda a: moment(a.at, "question")):
        if one.finding in about:
            latest[one.party] = one
    return list(latest.values())


def _about(case: Case, finding: Finding) -> set[str]:
    return {"", finding.id, *predecessors(case, finding.id)}


def silence(case: Case, asked: Asked, shared: Shared) -> str:
    """``Party A was asked on ... to answer by ...; no answer is on file``, or that it answered."""
    who = party(asked.party, shared)
    heard = "it answered" if answered(case, asked) else "no answer is on file"
    return f"{who[:1].upper()}{who[1:]} was asked on {asked.at[:10]} to answer by {asked.due}; {heard}"


def party(name: str, shared: Shared) -> str:
    """What a party is called outside."""
    return shared.parties.get(name) or nameless(name, {})


def statement(answer: Answer, shared: Shared) -> str:
    """What a party says, in its own words."""
    return nameless(answer.statement, shared.parties)


def replies(case: Case, shared: Shared, finding: Finding) -> list[str]:
    """Every answer to a finding or to the whole case, and who was asked and is silent; one sentence at least."""
    heard = answers(case, finding)
    told = [
        f"Answer of {party(a.party, shared)}, {a.received_at[:10]}: {statement(a, shared)}" for a in heard
    ]
    told += silences(case, shared, finding)
    return told or ["Nobody it is about was asked yet"]


def silences(case: Case, shared: Shared, finding: Finding) -> list[str]:
    """Of each party that was asked and whose answer does not stand here: that it is silent, or answered elsewhere."""
    heard = {a.party for a in answers(case, finding)}
    return [
        silence(case, one, shared)
        for one in asked(case, finding)
        if one.party not in heard or not answered(case, one)
    ]


def taken_back(case: Case, shared: Shared, item: Shareable) -> str:
    """Why a finding no longer stands, and what corrects it; empty while it stands."""
    if item.fallen is None:
        return ""
    gone = item.fallen.word
    # What corrects it is named where it leaves, too: a smaller group would be told by its name and the difference.
    after = next((i.finding.subject for i in shared.items if i.finding.id == gone.replaced_by), "")
    corrected = f" It is corrected by {after}." if after else ""
    word = item.fallen.state.capitalize()
    reason = numberless(gone.reason, shared.parties)
    return f"{word} on {gone.at[:10]}: {reason}.{corrected}".replace("..", ".")


def replaced(case: Case, items: Sequence[Shareable]) -> Iterable[tuple[Finding, Finding]]:
    """(the finding that corrects, the one it corrects), where both leave."""
    leaving = {item.finding.id: item.finding for item in items}
    for item in items:
        after = leaving.get(item.withdrawal.replaced_by) if item.withdrawal else None
        if after:
            yield after, item.finding
