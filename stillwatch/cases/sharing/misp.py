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
from stillwatch.cases.indicators import VALID_DAYS, VERBATIM, Shareable, Shared
from stillwatch.cases.leaving import public
from stillwatch.cases.sharing import Format, Imported, _said
from stillwatch.cases.sharing._bounded import (
    MOST_OBJECTS,
    check_own,
    indicator,
    moment,
    narrowest,
    parse_json,
    provenance,
    records,
    text_of,
    tlp_label,
)
from stillwatch.cases.sharing._ids import Ids, fixed, utc, version_of
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
    ids, changed = Ids(case, producer), version_of(case, shared, producer)
    # Without its time a MISP that has the event takes a correction for an older copy.
    event = pymisp.MISPEvent(force_timestamps=True)
    event.uuid = str(ids.of("misp"))
    event.info = public(case.title, shared.parties) or case.id
    event.date = utc(case.opened_at).date()
    event.timestamp = changed
    event.threat_level_id, event.analysis = _UNDEFINED, _COMPLETE
    event.distribution = _DISTRIBUTION[shared.tlp]
    event.Orgc = _organisation(pymisp, producer)
    event.add_tag(shared.tlp.lower())
    for technique in sorted({t for item in shared.items for t, _, _ in _said.techniques(item.finding)}):
        event.add_tag(f'mitre-atlas:technique="{technique}"')
    for item in shared.items:
        _finding(pymisp, event, case, shared, item, ids, changed)
    text: str = event.to_json(sort_keys=True, indent=2)
    data = f'{{"Event": {text}}}\n'.encode()
    check_own(data, len(event.objects), "objects")
    return data


def read(data: bytes, *, source: str, at: str) -> Imported:
    """Events as MISP exports them: our objects field by field, others' attributes that are marked for detection."""
    document = parse_json(text_of(data, source), source)
    read = _Read(source)
    for place, event in _events(document, source):
        read.event(event, place)
    origin = provenance("misp", data, producer="; ".join(read.producers)[:400], source=source, at=at)
    tlp = narrowest([i.tlp for i in (*read.stands, *read.revoked)] + _labels_within(document))
    return Imported(tuple(read.stands), origin, tuple(read.lost()), tuple(read.revoked), tlp)


def _events(document: Any, source: str) -> list[tuple[str, dict[str, Any]]]:
    """Place and values of each event: one as it is downloaded, or several as a search of the API answers."""
    inside = document.get("response", document) if isinstance(document, dict) else document
    listed = inside if isinstance(inside, list) else [inside]
    found = [one.get("Event") for one in listed if isinstance(one, dict)]
    if not found or len(found) != len(listed) or not all(isinstance(e, dict) for e in found):
        raise FormatError("expected a MISP event, an object with Event", source)
    if len(found) > MOST_OBJECTS:
        raise FormatError(f"{len(found):,} events; up to {MOST_OBJECTS:,} are read", source)
    several = isinstance(inside, list)
    return [(f"[{n}].Event" if several else "Event", e) for n, e in enumerate(found) if isinstance(e, dict)]


class _Read:
    """What one document says, event by event."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.stands: list[Indicator] = []
        self.revoked: list[Indicator] = []
        self.producers: dict[str, None] = {}
        self.others = self.theirs = self.loose = 0
        self.parts: dict[str, None] = {}

    def event(self, event: dict[str, Any], name: str) -> None:
        source, whole = self.source, _labels(event.get("Tag", []))
        for i, found in enumerate(records(event.get("Object", []), f"{name}.Object", source)):
            if found.get("name") != TEMPLATE:
                self.others += 1
                continue
            place = f"{name}.Object[{i}]"
            values = _values(found, place, source)
            if values.get("tlp") in TLP_ORDER:
                values["tlp"] = narrowest([values["tlp"], *whole, *_labels_within(found)])
            made = indicator(values, place, source)
            (self.revoked if _gone(found) else self.stands).append(made)
        for i, found in enumerate(records(event.get("Attribute", []), f"{name}.Attribute", source)):
            if found.get("to_ids") is not True or _gone(found):
                self.loose += 1
                continue
            self.theirs += 1
            self.stands.append(_foreign(event, found, f"{name}.Attribute[{i}]", source))
        parts = ("EventReport", "Galaxy", "ShadowAttribute", "RelatedEvent")
        self.parts.update(dict.fromkeys(p for p in parts if event.get(p)))
        organisation = event.get("Orgc")
        who = organisation.get("name") if isinstance(organisation, dict) else None
        if isinstance(who, str) and who:
            self.producers[who[:200]] = None

    def lost(self) -> list[str]:
        """What is not kept, or not said, one sentence each."""
        said = []
        if self.theirs:
            said.append(
                f"attributes state no confidence, end or benign rate: 0, {VALID_DAYS} days and 0 of 0 stand for that "
                f"({self.theirs} attributes)"
            )
        if self.others or self.loose:
            said.append(
                f"not kept beside the document itself: {self.others} objects of other kinds, {self.loose} "
                "attributes that are not for detection"
            )
        if self.parts:
            said.append(f"not kept beside the document itself: {', '.join(self.parts)}")
        return said


def _gone(found: dict[str, Any]) -> bool:
    return found.get("deleted") in (True, 1, "1")


def _organisation(pymisp: Any, producer: str) -> Any:
    organisation = pymisp.MISPOrganisation()
    organisation.from_dict(name=producer, uuid=str(fixed("identity", "producer", producer)))
    return organisation


def _template() -> dict[str, Any]:
    return {
        "name": TEMPLATE,
        "uuid": str(fixed("misp template", TEMPLATE)),
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


def _finding(
    pymisp: Any, event: Any, case: Case, shared: Shared, item: Shareable, ids: Ids, stamp: datetime
) -> None:
    finding = item.finding
    back = _said.taken_back(case, shared, item)
    for made in item.indicators:
        identifier = str(ids.indicator(made))
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
                    uuid=str(fixed(identifier, name, str(n))),
                    timestamp=stamp,
                )
        _deleted(holder, back)
        event.add_object(holder)
        if made.language == VERBATIM:
            event.add_object(_prompt(pymisp, made, identifier, back, stamp))
    event.add_event_report(
        name=finding.subject,
        content=_report(case, shared, item, back),
        distribution=5,
        uuid=str(ids.of("misp report", finding.id)),
        timestamp=stamp,
    )


def _prompt(pymisp: Any, made: Indicator, identifier: str, back: str, stamp: datetime) -> Any:
    """The text once more in the object that MISP has for prompts, where people look for it."""
    holder = pymisp.MISPObject("ai-chat-prompt", force_timestamps=True)
    holder.uuid, holder.timestamp = str(fixed(identifier, "prompt")), stamp
    for name, value in (
        ("prompt", made.pattern),
        ("comment", "a piece that several accounts share, in lower case and with every number as 0"),
    ):
        holder.add_attribute(
            name, value=value, to_ids=False, uuid=str(fixed(identifier, "prompt", name)), timestamp=stamp
        )
    if back:
        holder.comment = back
    _deleted(holder, back)
    return holder


def _deleted(holder: Any, back: str) -> None:
    if back:
        holder.deleted = True
        for attribute in holder.attributes:
            attribute.deleted = True


def _plain(made: Indicator) -> dict[str, Any]:
    return {name: getattr(made, name.replace("-", "_")) for name in FIELDS}


def _report(case: Case, shared: Shared, item: Shareable, back: str) -> str:
    finding = item.finding
    parts = [back, _said.claimed(finding, shared), *_said.replies(case, shared, finding)]
    parts.append(_said.standing(finding, shared))
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


def _foreign(event: dict[str, Any], attribute: dict[str, Any], place: str, source: str) -> Indicator:
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
