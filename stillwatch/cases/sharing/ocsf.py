"""OCSF 1.5 Detection Finding (class 2004), one JSON object a line, for SIEMs and data lakes.

The class has no place for indicators or innocent explanations: they stand under `unmapped`, where the schema puts what
it has no attribute for, and every pattern stands among the `observables` as well, so that it can be searched for.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import stillwatch
from stillwatch.cases.indicators import Shareable, Shared
from stillwatch.cases.leaving import public
from stillwatch.cases.sharing import Format, Imported, _said
from stillwatch.cases.sharing._bounded import (
    check_own,
    indicator,
    lines_of,
    narrowest,
    parse_json,
    provenance,
    records,
    text_of,
    tlp_label,
)
from stillwatch.cases.sharing._ids import Ids, told_before, utc, version_of
from stillwatch.errors import FormatError
from stillwatch.records import Case, Indicator

VERSION = "1.5.0"
FORMAT = Format(
    name="ocsf",
    title="OCSF Detection Finding",
    media_type="application/x-ndjson",
    suffix=".jsonl",
    reads=True,
    carries={
        field: f"unmapped.stillwatch.indicators[].{field}"
        for field in (
            "kind", "pattern", "language", "valid_from", "valid_until", "confidence", "tlp", "derived_from",
            "benign_hits", "benign_of",
        )
    },
    loses=(
        "Tools that drop `unmapped` keep only the patterns, without validity, TLP, benign rate and limits.",
    ),
)  # fmt: skip
_OTHER = 99
_CONFIDENCE = ((85, 3, "High"), (50, 2, "Medium"), (1, 1, "Low"), (0, 0, "Unknown"))


def write(case: Case, shared: Shared, *, producer: str) -> bytes:
    """One line a finding; a withdrawn one is closed and suppressed."""
    lines = [_line(case, shared, item, producer) for item in shared.items]
    data = "".join(json.dumps(line, sort_keys=True, allow_nan=False) + "\n" for line in lines).encode()
    check_own(data, len(lines), "lines")
    return data


def read(data: bytes, *, source: str, at: str) -> Imported:
    """Detection findings; of those that we did not write, observables become indicators of low standing."""
    stands: list[Indicator] = []
    revoked: list[Indicator] = []
    producers: dict[str, None] = {}
    labels: list[str] = []
    foreign = 0
    for number, line in lines_of(text_of(data, source), source):
        event = parse_json(line, source, line=number)
        if not isinstance(event, dict) or event.get("class_uid") != 2004:
            raise FormatError("expected a Detection Finding, an object with class_uid 2004", source, number)
        if who := _vendor(event):
            producers[who[:200]] = None
        unmapped = event.get("unmapped")
        own = unmapped.get("stillwatch") if isinstance(unmapped, dict) else None
        whole = _labels(event, own)
        labels += whole
        if not isinstance(own, dict):
            foreign += 1
            continue
        given = records(own.get("indicators"), "unmapped.stillwatch.indicators", source, line=number)
        made = [
            indicator(values, f"unmapped.stillwatch.indicators[{i}]", source, line=number)
            for i, values in enumerate(given)
        ]
        made = [replace(i, tlp=narrowest([i.tlp, *whole])) for i in made]
        labels += [i.tlp for i in made]
        (revoked if event.get("activity_id") == 3 else stands).extend(made)
    lost = ["of each finding everything but its indicators; the document itself is kept with the case"]
    if foreign:
        lost.append(f"findings whose observables say nothing of validity, TLP or confidence: {foreign}")
    origin = provenance("ocsf", data, producer="; ".join(producers)[:400], source=source, at=at)
    return Imported(tuple(stands), origin, tuple(lost), tuple(revoked), narrowest(labels))


def _vendor(event: dict[str, Any]) -> str:
    metadata = event.get("metadata")
    product = metadata.get("product") if isinstance(metadata, dict) else None
    vendor = product.get("vendor_name") if isinstance(product, dict) else None
    return vendor if isinstance(vendor, str) else ""


def _labels(event: dict[str, Any], own: Any) -> list[str]:
    """TLP labels of one event as a whole."""
    metadata = event.get("metadata")
    given = metadata.get("labels") if isinstance(metadata, dict) else None
    named = [*given] if isinstance(given, list) else []
    named += [own.get("tlp")] if isinstance(own, dict) else []
    return [label for name in named if (label := tlp_label(name))]


def _attack(identifier: str, title: str) -> dict[str, Any]:
    """A technique of MITRE ATLAS, and the sub-technique where it is one."""
    whole, name = _said.technique_of(identifier)
    found = {"technique": {"uid": whole, "name": name}, "version": f"ATLAS {_said.ATLAS_VERSION}"}
    return found if whole == identifier else found | {"sub_technique": {"uid": identifier, "name": title}}


def _line(case: Case, shared: Shared, item: Shareable, producer: str) -> dict[str, Any]:
    finding = item.finding
    first, last = (round(t.timestamp() * 1000) for t in _said.day_bounds(finding))
    ids, version = Ids(case, producer), version_of(case, shared, producer)
    changed = round(version.timestamp() * 1000)
    back = _said.taken_back(case, shared, item)
    activity, name = (2, "Update") if told_before(case, shared, producer, finding) else (1, "Create")
    if back:
        activity, name = 3, "Close"
    status, status_name = (3, "Suppressed") if back else (1, "New")
    score = max((i.confidence for i in item.indicators), default=0)
    level, level_name = next((i, n) for least, i, n in _CONFIDENCE if score >= least)
    answers = [
        {
            "party": _said.party(a.party, shared),
            "statement": _said.statement(a, shared),
            "received_at": a.received_at,
        }
        for a in _said.answers(case, finding)
    ]
    return {
        "activity_id": activity,
        "activity_name": name,
        "category_name": "Findings",
        "category_uid": 2,
        "class_name": "Detection Finding",
        "class_uid": 2004,
        "type_uid": 200400 + activity,
        "type_name": f"Detection Finding: {name}",
        "time": changed,
        "start_time": first,
        "end_time": last,
        "count": int(finding.details.get("exchanges") or 0),
        "severity_id": 1,
        "severity": "Informational",
        "status_id": status,
        "status": status_name,
        "status_detail": back,
        "confidence_id": level,
        "confidence": level_name,
        "confidence_score": score,
        "message": back or _said.claimed(finding, shared),
        "comment": _said.MEANING,
        "metadata": {
            "version": VERSION,
            # Of this event alone; what happens to one finding has the uid of the finding in common.
            "uid": str(ids.of("ocsf", finding.id, name, version.isoformat())),
            "correlation_uid": str(ids.of("case")),
            "labels": [shared.tlp],
            "product": {"name": "Stillwatch", "vendor_name": producer, "version": stillwatch.__version__},
        },
        "finding_info": {
            "uid": finding.id,
            "title": finding.subject,
            "desc": _said.claimed(finding, shared),
            "created_time": round(utc(case.opened_at).timestamp() * 1000),
            "modified_time": changed,
            "first_seen_time": first,
            "last_seen_time": last,
            "types": ["accounts that act as one and harvest a language model"],
            "analytic": {
                "name": "groups of accounts, two e-values each, one e-BH over all",
                "type_id": 3,
                "type": "Statistical",
                "uid": "stillwatch.campaigns",
                "desc": public(finding.family, shared.parties),
            },
            "attacks": [_attack(i, title) for i, title, _ in _said.techniques(finding)],
        },
        "observables": [
            {
                "name": f"unmapped.stillwatch.indicators[{i}].pattern",
                "type": made.language,
                "type_id": _OTHER,
                "value": made.pattern,
            }
            for i, made in enumerate(item.indicators)
        ],
        "remediation": {"desc": _said.ACTION},
        "unmapped": {
            "stillwatch": {
                "tlp": shared.tlp,
                "indicators": [asdict(i) for i in item.indicators],
                "standing": _said.standing(finding, shared),
                "answers": answers,
                "no_answer": _said.silences(case, shared, finding),
            }
        },
    }
