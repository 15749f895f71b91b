"""One self-contained HTML file for people who know no statistics, with the numbers behind every sentence.

Log contents are hostile: everything is escaped, invisible characters are shown (`words.visible`), and the page's
own policy (`Content-Security-Policy`) allows no script, no network and no style but its own, by digest.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from stillwatch.cases import charts, words
from stillwatch.errors import InputError
from stillwatch.records import Card, Finding, Run

SHOWN_GROUPS = 10
"""Of the inconclusive groups with some sign, and of those that act as one but are not supported, this many are told in
full."""
SIGN = math.log(20)
"""The e-value that is called some sign."""
SHOWN_ROWS = 300
"""Rows of the table of groups, and accounts of one group."""
SHOWN_TEXTS = 20
SHOWN_CHARACTERS = 2000

DECISIONS = ("supported", "inconclusive", "not supported", "not tested")


def write_report(
    path: Path | str,
    *,
    title: str,
    run: Run,
    findings: Sequence[Finding],
    cards: Sequence[Card],
    summary: Mapping[str, Any],
) -> Path:
    """Write the report of one scan: what was found, from what evidence, and what else could explain it.

    Parameters
    ----------
    path
        The HTML file. It is replaced in one step, with mode 0600: it names accounts, if only by pseudonym.
    title
        Heading of the page.
    run
        What produced the findings.
    findings
        One per group; see `Finding.details` of `stillwatch.campaigns`. Every decision is welcome, supported ones
        come first.
    cards
        The methods that the findings rest on.
    summary
        What the findings do not say themselves, all of it optional: ``proposed`` (how many groups; default: the
        number of findings), ``accounts``, ``exchanges``, ``first`` and ``last`` (ISO days), ``quarantined``
        (rows), ``alpha`` (false discovery rate), ``decisions`` (decision -> number of groups), ``not_tested``
        (``{"name": ..., "why": ...}`` or plain sentences), ``answers`` (campaign -> sentences of the account
        holders). Other keys are listed with the run.

    Returns
    -------
    Path
        The file. The same arguments give the same bytes.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    page = render(title=title, run=run, findings=findings, cards=cards, summary=summary)
    target = Path(path)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(page)
        part.replace(target)
    except OSError as problem:
        part.unlink(missing_ok=True)
        raise InputError(f"{target}: the report cannot be written: {problem.strerror}") from problem
    return target


def render(
    *,
    title: str,
    run: Run,
    findings: Sequence[Finding],
    cards: Sequence[Card],
    summary: Mapping[str, Any],
) -> str:
    """The page that `write_report` writes, as text."""
    from jinja2 import Environment  # 60 ms, and only a report needs it

    environment = Environment(
        autoescape=True,
        finalize=words.visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        power=words.power,
        number=words.number,
        percent=words.percent,
        day=words.day,
        plural=words.plural,
        plain=_plain,
    )
    style = _packaged("report.css")
    ordered = sorted(findings, key=_rank)
    told = _told(ordered)
    titles = {card.name: card.title for card in cards}
    environment.filters["title"] = lambda name: titles.get(name.partition("@")[0], name)
    anchored = {f.id for f in told}
    page = environment.from_string(_packaged("campaigns.html")).render(
        title=title,
        style=style,
        style_digest=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        groups=[_group(f, told=f.id in anchored) for f in ordered[:SHOWN_ROWS]],
        campaigns=[_campaign(f, summary, titles) for f in told],
        opening=_opening(findings, summary),
        left_out=len(ordered) - len(told),
        rows_left_out=max(0, len(ordered) - SHOWN_ROWS),
        cards=cards,
        summary=summary,
        not_tested=_not_tested(findings, summary),
        other_facts={k: v for k, v in summary.items() if k not in _KNOWN},
        family=next((f.family for f in ordered if f.family), ""),
        run=run,
        digest_of_findings=hashlib.sha256("".join(f.id for f in ordered).encode()).hexdigest(),
    )
    # What is left of lone surrogates after `visible` could only come from the packaged template: fail loudly.
    page.encode()
    return page


_KNOWN = {
    "proposed",
    "log_needed",
    "accounts",
    "exchanges",
    "first",
    "last",
    "quarantined",
    "alpha",
    "decisions",
    "not_tested",
    "answers",
}


def _packaged(name: str) -> str:
    return resources.files("stillwatch.cases").joinpath("templates", name).read_text(encoding="utf-8")


def _rank(finding: Finding) -> tuple[int, float, str]:
    # Of the groups that are not supported, those that act as one are worth a look: honest organisations, mostly.
    key = finding.details.get("acts_as_one") if finding.decision == "not supported" else finding.log_evalue
    log_evalue = float(key) if key is not None else float("-inf")
    return DECISIONS.index(finding.decision), -log_evalue, _name(finding)


def _name(finding: Finding) -> str:
    return str(finding.details.get("campaign") or finding.subject)


def _told(ordered: Sequence[Finding]) -> list[Finding]:
    """Findings that get their own section; parts of others do not."""
    whole = [f for f in ordered if not f.details.get("part_of")]
    undecided = [f for f in whole if f.decision == "inconclusive" and _some_sign(f)][:SHOWN_GROUPS]
    alike = [f for f in whole if f.decision == "not supported" and _acts_as_one(f)][:SHOWN_GROUPS]
    return [f for f in whole if f.decision == "supported"] + undecided + alike


def _some_sign(finding: Finding) -> bool:
    """Whether more data could change the picture; a log has many small groups of which nothing is known."""
    questions = [finding.details.get(key) for key in ("acts_as_one", "harvesting")]
    return max((q for q in questions if q is not None), default=-math.inf) >= SIGN


def _acts_as_one(finding: Finding) -> bool:
    found, needed = finding.details.get("acts_as_one"), finding.log_evalue_needed
    return found is not None and needed is not None and found >= needed


def _anchor(finding: Finding) -> str:
    # The digest, not the name: a name comes from a log and two campaigns must never share an anchor.
    return f"g-{finding.id[:16]}"


def _group(finding: Finding, *, told: bool) -> dict[str, Any]:
    details = finding.details
    return {
        "name": _name(finding),
        "anchor": _anchor(finding) if told else "",
        "decision": finding.decision,
        "accounts": details.get("accounts"),
        "exchanges": details.get("exchanges"),
        "share": details.get("share"),
        "acts_as_one": details.get("acts_as_one"),
        "harvesting": details.get("harvesting"),
        "since": details.get("since", ""),
        "note": _note(finding),
    }


def _note(finding: Finding) -> str:
    """The last column: what a supported group takes, why another is not supported, or what it is part of."""
    details = finding.details
    if details.get("part_of"):
        return f"part of {details['part_of']}"
    if finding.decision == "supported":
        return str(details.get("takes") or "")
    reason = details.get("reason")
    return f"({reason})" if reason else ""


def _campaign(finding: Finding, summary: Mapping[str, Any], titles: Mapping[str, str]) -> dict[str, Any]:
    details = finding.details
    members = list(details.get("members", []))[:SHOWN_ROWS]
    accounts = int(details.get("accounts") or len(members))
    kinds = list(dict.fromkeys(kind for member in members for kind in member.get("evidence", {})))
    texts = [str(text) for text in details.get("texts", [])]
    name = _name(finding)
    return {
        "name": name,
        "anchor": _anchor(finding),
        "finding": finding,
        "details": details,
        "timeline": charts.timeline(details.get("daily", {}), f"Exchanges of {name} per day"),
        "membership": charts.membership(
            [{titles.get(k, k): v for k, v in m.get("evidence", {}).items()} for m in members],
            accounts,
            f"What ties the accounts of {name}",
        ),
        "taken": _taken(details),
        "members": members,
        "intervals": any(member.get("share_low") is not None for member in members),
        "members_left_out": max(0, accounts - len(members)),
        "kinds": kinds,
        "texts": [
            {"text": text[:SHOWN_CHARACTERS], "cut": max(0, len(text) - SHOWN_CHARACTERS)}
            for text in texts[:SHOWN_TEXTS]
        ],
        "texts_left_out": max(0, len(texts) - SHOWN_TEXTS),
        "questions": _questions(finding),
        "answers": list(summary.get("answers", {}).get(name, [])),
    }


def _taken(details: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """What was taken, one label with all its sentences."""
    rows: list[tuple[str, list[str]]] = []
    for label, sentence in details.get("taken_words", []):
        name = str(label).capitalize()
        if rows and rows[-1][0] == name:
            rows[-1][1].append(str(sentence))
        else:
            rows.append((name, [str(sentence)]))
    return rows


def _questions(finding: Finding) -> list[dict[str, Any]]:
    """The two questions, each with the answer that its e-value gives at the line this family needs."""
    needed = finding.log_evalue_needed
    asked = (
        ("acts_as_one", "Do these accounts act as one?"),
        ("harvesting", "Does what they do have the shape of harvesting?"),
    )
    questions = []
    for key, question in asked:
        found = finding.details.get(key)
        if found is None:
            answer = "not tested"
        elif needed is None:
            answer = "see the numbers below"
        elif found >= needed:
            answer = "yes, the data shows it"
        elif found > 0:
            answer = "not shown: some sign of it, too little to rely on"
        else:
            answer = "not shown: no sign of it"
        questions.append({"question": question, "log_evalue": found, "answer": answer})
    return questions


def _opening(findings: Sequence[Finding], summary: Mapping[str, Any]) -> dict[str, Any]:
    counts = {d: sum(f.decision == d for f in findings) for d in DECISIONS}
    counts.update({d: int(n) for d, n in dict(summary.get("decisions", {})).items() if d in counts})
    groups = int(summary.get("proposed", len(findings)))
    supported = [f for f in findings if f.decision == "supported"]
    whole = [f for f in supported if not f.details.get("part_of")]
    return {
        "groups": groups,
        "counts": counts,
        "unlisted": max(0, groups - sum(counts.values())),
        "accounts": sum(int(f.details.get("accounts", 0)) for f in whole),
        "campaigns": len(whole),
        "parts": len(supported) - len(whole),
        "to_ask": any(
            "ask" in str(f.details.get("reason")) for f in findings if f.decision == "inconclusive"
        ),
    }


def _not_tested(findings: Sequence[Finding], summary: Mapping[str, Any]) -> list[dict[str, str]]:
    items = []
    for item in summary.get("not_tested", []):
        if isinstance(item, Mapping):
            items.append({"name": str(item.get("name", "")), "why": str(item.get("why", ""))})
        else:
            items.append({"name": "", "why": str(item)})
    items += [{"name": _name(f), "why": f.claim} for f in findings if f.decision == "not tested"]
    return items


def _plain(value: Any) -> str:
    """A configuration value on one line."""
    if isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
