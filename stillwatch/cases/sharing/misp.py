"""A MISP event, written through PyMISP: an object an indicator, tags for TLP and MITRE ATLAS, and a report in words.

No template of MISP holds a digest of text with its benign rate, so the objects have a template of their own, which the
event carries with it by name, uuid and version. Nothing is marked `to_ids`: a digest of a prompt in a blocklist of
file hashes would be nonsense, and an indicator never acts by itself. Technique tags go by ATLAS id, because the
galaxy's names changed between versions ("Extract ML Model", "Extract AI Model").

Events are read without PyMISP: it unpacks attachments, and a stranger's document should unpack nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from stillwatch.cases.events import TLP_ORDER
from stillwatch.cases.indicators import VALID_DAYS, VERBATIM, Shareable, Shared, public
from stillwatch.cases.sharing import Format, Imported, _said
from stillwatch.cases.sharing._bounded import (
    indicator,
    moment,
    narrowest,
    parse_json,
    provenance,
    records,
    text_of,
    tlp_label,
)
from stillwatch.errors import FormatError
from stillwatch.extras import need
from stillwatch.records import TLP, Case, Indicator

TEMPLATE = "stillwatch-indicator"
FIELDS = {
    "kind": "text",
    "pattern": "text",
    "language": "text",
    "valid-from": "datetime",
    "valid-until": "datetime",
    "confidence": "counter",
    "tlp": "text",
    "derived-from": "text",
    "benign-hits": "counter",
    "benign-of": "counter",
}
FORMAT = Format(
    name="misp",
    title="MISP",
    media_type="application/json",
    suffix=".json",
    reads=True,
    carries={name.replace("-", "_"): f"Object {TEMPLATE}, attribute {name}" for name in FIELDS},
    loses=("Answers, limits and innocent explanations stand in one event report, as text.",),
)
_DISTRIBUTION: dict[TLP, int] = {
    "TLP:RED": 0,
    "TLP:AMBER+STRICT": 0,
    # AMBER may go to the clients of the reader's organisation; a sharing group says who that is, and only people do.
    "TLP:AMBER": 0,
    "TLP:GREEN": 1,
    "TLP:CLEAR": 3,
}
_UNDEFINED, _COMPLETE = 4, 2


def write(case: Case, shared: Shared, *, producer: str) -> bytes:
    """One event; what is withdrawn is in it as deleted, so that a synchronisation takes it back."""
    pymisp = need("pymisp")
    changed = _said.newest(case)
    # Without its time a MISP that has the event takes a correction for an older copy.
    event = pymisp.MISPEvent(force_timestamps=True)
    event.uuid = str(_said.name(case.id, "misp"))
    event.info = public(case.title) or case.id
    event.date = _said.utc(case.opened_at).date()
    event.timestamp = changed.replace(microsecond=0)
    event.threat_level_id, event.analysis = _UNDEFINED, _COMPLETE
    event.distribution = _DISTRIBUTION[shared.tlp]
    event.Orgc = _organisation(pymisp, producer)
    event.add_tag(shared.tlp.lower())
    for technique in sorted({t for item in shared.items for t, _, _ in _said.techniques(item.finding)}):
        event.add_tag(f'mitre-atlas:technique="{technique}"')
    for item in shared.items:
        _finding(pymisp, event, case, item, changed)
    text: str = event.to_json(sort_keys=True, indent=2)
    return f'{{"Event": {text}}}\n'.encode()


def read(data: bytes, *, source: str, at: str) -> Imported:
    """An event as MISP exports it: our objects field by field, others' attributes that are marked for detection."""
    document = parse_json(text_of(data, source), source)
    event = document.get("Event") if isinstance(document, dict) else None
    if not isinstance(event, dict):
        raise FormatError("expected a MISP event, an object with Event", source)
    stands: list[Indicator] = []
    revoked: list[Indicator] = []
    lost = []
    whole = _labels(event.get("Tag", []))
    objects = records(event.get("Object", []), "Event.Object", source)
    others = 0
    for i, found in enumerate(objects):
        if found.get("name") != TEMPLATE:
            others += 1
            continue
        place = f"Event.Object[{i}]"
        values = _values(found, place, source)
        if values.get("tlp") in TLP_ORDER:
            values["tlp"] = narrowest([values["tlp"], *whole, *_labels_within(found)])
        made = indicator(values, place, source)
        (revoked if found.get("deleted") in (True, 1, "1") else stands).append(made)
    loose = records(event.get("Attribute", []), "Event.Attribute", source)
    theirs = [
        (i, a)
        for i, a in enumerate(loose)
        if a.get("to_ids") is True and a.get("deleted") not in (True, 1, "1")
    ]
    stands += [_foreign(event, i, a, source) for i, a in theirs]
    if theirs:
        lost.append(
            f"attributes state no confidence, end or benign rate: 0, {VALID_DAYS} days and 0 of 0 stand for that "
            f"({len(theirs)} attributes)"
        )
    if others or len(loose) > len(theirs):
        lost.append(
            f"not kept beside the document itself: {others} objects of other kinds, {len(loose) - len(theirs)} "
            "attributes that are not for detection"
        )
    parts = [p for p in ("EventReport", "Galaxy", "ShadowAttribute", "RelatedEvent") if event.get(p)]
    if parts:
        lost.append(f"not kept beside the document itself: {', '.join(parts)}")
    organisation = event.get("Orgc")
    who = organisation.get("name") if isinstance(organisation, dict) else None
    origin = provenance(
        "misp", data, producer=who[:200] if isinstance(who, str) else "", source=source, at=at
    )
    tlp = narrowest([i.tlp for i in (*stands, *revoked)] + _labels_within(event))
    return Imported(tuple(stands), origin, tuple(lost), tuple(revoked), tlp)


def _organisation(pymisp: Any, producer: str) -> Any:
    organisation = pymisp.MISPOrganisation()
    organisation.from_dict(name=producer, uuid=str(_said.name("identity", "producer", producer)))
    return organisation


def _template() -> dict[str, Any]:
    return {
        "name": TEMPLATE,
        "uuid": str(_said.name("misp template", TEMPLATE)),
        "version": 1,
        "meta-category": "misc",
        "description": "Something to look for in the logs of a language model's provider, with its limits.",
        "requiredOneOf": ["pattern"],
        "attributes": {
            name: {
                "description": name.replace("-", " "),
                "misp-attribute": kind,
                "ui-priority": 1,
                "multiple": name == "derived-from",
                "disable_correlation": name != "pattern",
            }
            for name, kind in FIELDS.items()
        },
    }


def _finding(pymisp: Any, event: Any, case: Case, item: Shareable, changed: datetime) -> None:
    finding, stamp = item.finding, changed.replace(microsecond=0)
    back = _said.taken_back(case, item)
    for made in item.indicators:
        identifier = str(_said.indicator_id(made))
        values = {**_plain(made), "derived-from": list(made.derived_from)}
        holder = pymisp.MISPObject(TEMPLATE, force_timestamps=True, misp_objects_template_custom=_template())
        holder.uuid, holder.timestamp = identifier, stamp
        holder.first_seen, holder.last_seen = _said.day_bounds(finding)
        holder.comment = back or _said.described(made)
        for name, kind in FIELDS.items():
            for n, value in enumerate(v if isinstance(v := values[name], list) else [v]):
                holder.add_attribute(
                    name,
                    value=value,
                    type=kind,
                    category="Other",
                    to_ids=False,
                    disable_correlation=name != "pattern",
                    distribution=5,
                    uuid=str(_said.name(identifier, name, str(n))),
                    timestamp=stamp,
                )
        _deleted(holder, back)
        event.add_object(holder)
        if made.language == VERBATIM:
            event.add_object(_prompt(pymisp, made, identifier, back, stamp))
    event.add_event_report(
        name=finding.subject,
        content=_report(case, item, back),
        distribution=5,
        uuid=str(_said.name(case.id, "misp report", finding.id)),
        timestamp=stamp,
    )


def _prompt(pymisp: Any, made: Indicator, identifier: str, back: str, stamp: datetime) -> Any:
    """The text once more in the object that MISP has for prompts, where people look for it."""
    holder = pymisp.MISPObject("ai-chat-prompt", force_timestamps=True)
    holder.uuid, holder.timestamp = str(_said.name(identifier, "prompt")), stamp
    for name, value in (
        ("prompt", made.pattern),
        ("comment", "a piece that several accounts share, in lower case and with every number as 0"),
    ):
        holder.add_attribute(
            name, value=value, to_ids=False, uuid=str(_said.name(identifier, "prompt", name)), timestamp=stamp
        )
    _deleted(holder, back)
    return holder


def _deleted(holder: Any, back: str) -> None:
    if back:
        holder.deleted = True
        for attribute in holder.attributes:
            attribute.deleted = True


def _plain(made: Indicator) -> dict[str, Any]:
    return {name: getattr(made, name.replace("-", "_")) for name in FIELDS}


def _report(case: Case, item: Shareable, back: str) -> str:
    finding = item.finding
    parts = [back, _said.claimed(finding), _said.standing(finding)]
    parts += [
        f"Answer of {public(a.party)}, {a.received_at[:10]}: {public(a.statement, counts=False)}"
        for a in _said.answers(case, finding)
    ]
    parts += [_said.silence(a) for a in _said.silent(case, finding)]
    return "\n\n".join(p for p in [*parts, _said.ACTION, _said.MEANING] if p)


def _values(found: dict[str, Any], place: str, source: str) -> dict[str, Any]:
    """The values of one of our objects."""
    values: dict[str, Any] = {"derived_from": []}
    for n, attribute in enumerate(records(found.get("Attribute", []), f"{place}.Attribute", source)):
        name, value = attribute.get("object_relation"), attribute.get("value")
        if not isinstance(name, str) or name not in FIELDS:
            continue
        if not isinstance(value, (str, int)) or isinstance(value, bool):
            raise FormatError(f"{place}.Attribute[{n}].value: expected a text, found {value!r:.60}", source)
        field = name.replace("-", "_")
        if name == "derived-from":
            values[field].append(str(value))
        elif field in values:
            raise FormatError(f"{place}.Attribute[{n}]: {name} is given twice", source)
        elif FIELDS[name] == "counter":
            text = str(value)
            if not (text.isascii() and text.isdigit() and len(text) < 15):
                raise FormatError(f"{place}.{name}: expected a whole number, found {text[:40]!r}", source)
            values[field] = int(text)
        else:
            values[field] = str(value)
    return values


def _labels(tags: Any) -> list[str]:
    """TLP labels among the tags of one thing."""
    named = [t.get("name") for t in tags if isinstance(t, dict)] if isinstance(tags, list) else []
    return [label for name in named if (label := tlp_label(name))]


def _labels_within(value: Any) -> list[str]:
    """TLP labels of a thing and of everything in it."""
    found, stack = [], [value]
    while stack:
        here = stack.pop()
        if isinstance(here, dict):
            found += _labels(here.get("Tag"))
            stack += here.values()
        elif isinstance(here, list):
            stack += here
    return found


def _foreign(event: dict[str, Any], number: int, attribute: dict[str, Any], source: str) -> Indicator:
    place = f"Event.Attribute[{number}]"
    begin = _when(attribute.get("first_seen") or event.get("date"), place, source)
    end = datetime.fromisoformat(begin) + timedelta(days=VALID_DAYS)
    kind, identifier = attribute.get("type"), attribute.get("uuid")
    return indicator(
        {
            "kind": kind,
            "pattern": attribute.get("value"),
            "language": f"misp-{kind}"[:60],
            "valid_from": begin,
            "valid_until": end.isoformat(),
            "confidence": 0,
            "tlp": narrowest(_labels(event.get("Tag")) + _labels_within(attribute)),
            "derived_from": [identifier] if isinstance(identifier, str) and identifier else [],
            "benign_hits": 0,
            "benign_of": 0,
        },
        place,
        source,
    )


def _when(value: Any, place: str, source: str) -> str:
    text = f"{value}T00:00:00Z" if isinstance(value, str) and len(value) == 10 else value
    found = datetime.fromisoformat(moment(text, f"{place}: the event's date", source))
    return found.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
