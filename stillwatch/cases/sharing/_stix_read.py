"""Bundles of STIX 2.1 as indicators: everything checked, nothing believed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from stillwatch.cases.indicators import VALID_DAYS
from stillwatch.cases.sharing import Imported
from stillwatch.cases.sharing._bounded import (
    indicator,
    moment,
    narrowest,
    order,
    parse_json,
    provenance,
    records,
    refuse_cycles,
    refused,
    text_of,
    tlp_label,
)
from stillwatch.cases.sharing._tlp2 import EXTENSION as TLP_EXTENSION
from stillwatch.cases.sharing._tlp2 import FIRST_EDITION, MARKINGS
from stillwatch.errors import FormatError
from stillwatch.extras import need
from stillwatch.records import Indicator

MOST_INDICATORS = 20_000
MOST_PATTERN = 4_000
"""Characters of one pattern in the STIX language, and `MOST_PATTERNS` of all: each takes about 20 microseconds."""
MOST_PATTERNS = 200_000
MOST_BRACKETS = 200
MOST_REFERENCES = 100_000
_ID = re.compile(r"([a-z][a-z0-9-]{0,248})--[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def read_bundle(data: bytes, *, source: str, at: str, extension: str) -> Imported:
    """See `stillwatch.cases.sharing.read`; `extension` is the id of our own extension."""
    stix2 = need("stix2")
    bundle = parse_json(text_of(data, source), source)
    if not isinstance(bundle, dict) or bundle.get("type") != "bundle":
        raise FormatError('expected a STIX bundle, an object with "type": "bundle"', source)
    if "spec_version" in bundle:
        raise FormatError("a bundle of STIX 2.0; convert it to 2.1 first (stix2-elevator does)", source)
    objects = records(bundle.get("objects", []), "objects", source)
    latest, old = _latest(objects, source)
    _references(latest, source, extension)
    labels: dict[str, str] = {**{m.id: tlp for tlp, m in MARKINGS.items()}, **FIRST_EDITION}
    labels |= {i: found for i, (_, o) in latest.items() if (found := _label(o)) and i not in labels}
    defined = set(labels) | {i for i, (_, o) in latest.items() if o["type"] == "marking-definition"}
    reader = _Reader(stix2, source, extension, labels, defined)
    stands: list[Indicator] = []
    revoked: list[Indicator] = []
    authors: dict[str, None] = {}
    budget = MOST_PATTERNS
    count = sum(o["type"] == "indicator" for _, o in latest.values())
    if count > MOST_INDICATORS:
        raise FormatError(f"{count:,} indicators; up to {MOST_INDICATORS:,} are read", source)
    for identifier, (place, values) in latest.items():
        if values["type"] != "indicator":
            continue
        if values.get("pattern_type") == "stix":
            budget -= len(str(values.get("pattern")))
            if budget < 0:
                raise FormatError(f"{place}: more than {MOST_PATTERNS:,} characters of STIX patterns", source)
        (revoked if values.get("revoked") is True else stands).append(reader.read(identifier, place, values))
        if isinstance(by := values.get("created_by_ref"), str):
            authors[by] = None
    lost = reader.sentences()
    others = Counter(o["type"] for _, o in latest.values() if o["type"] != "indicator")
    if others:
        kept = ", ".join(f"{n} {kind}" for kind, n in sorted(others.items()))
        lost.append(f"not kept beside the document itself: {kept}")
    if old:
        lost.append(f"older versions of objects that stand there in a newer one: {old}")
    if not stands and not revoked:
        lost.append("the bundle holds no indicator")
    names = [_name(latest[a][1]) if a in latest else a for a in authors]
    origin = provenance("stix", data, producer="; ".join(names)[:400], source=source, at=at)
    # Of every version: an older one stands in the document as well.
    tlp = narrowest(label for values in objects for label in reader.labels_of(values))
    return Imported(tuple(stands), origin, tuple(lost), tuple(revoked), tlp)


class _Reader:
    """Indicators of one bundle, and what they do not say."""

    def __init__(
        self, stix2: Any, source: str, extension: str, labels: dict[str, str], defined: set[str]
    ) -> None:
        self.stix2, self.source, self.extension = stix2, source, extension
        self.labels, self.defined = labels, defined
        self.missing: dict[str, list[str]] = {}

    def read(self, identifier: str, place: str, values: dict[str, Any]) -> Indicator:
        pattern = str(values.get("pattern"))
        if values.get("pattern_type") == "stix":
            if len(pattern) > MOST_PATTERN:
                raise FormatError(f"{place}.pattern: longer than {MOST_PATTERN:,} characters", self.source)
            if pattern.count("(") + pattern.count("[") > MOST_BRACKETS:
                raise FormatError(f"{place}.pattern: more than {MOST_BRACKETS} brackets", self.source)
        try:
            self.stix2.parse(values, allow_custom=True, version="2.1")
        except Exception as problem:  # the library raises whatever a stranger's values make it raise
            raise refused(problem, place, self.source) from problem
        own = (values.get("extensions") or {}).get(self.extension) or {}
        begin = moment(values.get("valid_from"), f"{place}.valid_from", self.source)
        end = values.get("valid_until")
        if end is None:
            self.miss(f"no valid_until: {VALID_DAYS} days from valid_from are taken", place)
            end = (datetime.fromisoformat(begin) + timedelta(days=VALID_DAYS)).isoformat()
        confidence = values.get("confidence")
        if confidence is None:
            self.miss("no confidence: 0 stands for not stated", place)
            confidence = 0
        if "benign_of" not in own:
            self.miss("no benign rate: 0 of 0 stands for not measured", place)
        return indicator(
            {
                "kind": own.get("kind") or str(values.get("name") or "indicator")[:200],
                "pattern": values.get("pattern"),
                "language": values.get("pattern_type"),
                "valid_from": begin,
                "valid_until": end,
                "confidence": confidence,
                "tlp": self.tlp(values, place),
                "derived_from": own.get("derived_from", [identifier]),
                "benign_hits": own.get("benign_hits", 0),
                "benign_of": own.get("benign_of", 0),
            },
            place,
            self.source,
        )

    def labels_of(self, values: dict[str, Any]) -> list[str]:
        """TLP labels of an object and of its parts; a marking that is defined nowhere may be any."""
        return [
            self.labels.get(r, "TLP:AMBER+STRICT")
            for r in _marked(values)
            if r in self.labels or r not in self.defined
        ]

    def tlp(self, values: dict[str, Any], place: str) -> str:
        found = self.labels_of(values)
        if not found:
            self.miss("no TLP marking: taken as TLP:AMBER+STRICT", place)
        return narrowest(found)

    def miss(self, what: str, place: str) -> None:
        self.missing.setdefault(what, []).append(place)

    def sentences(self) -> list[str]:
        return [f"{what} ({len(p)} indicators, the first at {p[0]})" for what, p in self.missing.items()]


def _latest(
    objects: Sequence[dict[str, Any]], source: str
) -> tuple[dict[str, tuple[str, dict[str, Any]]], int]:
    """Id -> place and the newest version, and how many older ones there were."""
    latest: dict[str, tuple[str, dict[str, Any]]] = {}
    when: dict[str, tuple[datetime, str] | None] = {}
    old = 0
    for i, values in enumerate(objects):
        place = f"objects[{i}]"
        kind, identifier = values.get("type"), values.get("id")
        match = _ID.fullmatch(identifier) if isinstance(identifier, str) else None
        if not isinstance(kind, str) or match is None or match[1] != kind:
            raise FormatError(
                f"{place}.id: expected the type, two hyphens and a UUID, found {identifier!r:.80}", source
            )
        place = f"{place} ({identifier})"
        given = values.get("modified", values.get("created", ""))
        modified = None
        if given != "":
            moment(given, f"{place}.modified", source)
            modified = order(given)
        assert isinstance(identifier, str)
        if identifier in latest:
            before = when[identifier]
            if values == latest[identifier][1]:
                continue
            if modified == before or modified is None:
                raise FormatError(f"{place}: stands twice with the same time", source)
            old += 1
            if before is not None and modified < before:
                continue
        latest[identifier], when[identifier] = (place, values), modified
    return latest, old


def _references(latest: dict[str, tuple[str, dict[str, Any]]], source: str, extension: str) -> None:
    """Refuse references that are no ids, and those that go round in a circle."""
    edges: dict[str, list[str]] = {i: [] for i in latest}
    count = 0
    for identifier, (place, values) in latest.items():
        found = []
        for field in ("object_refs", "object_marking_refs"):
            given = values.get(field, [])
            if not isinstance(given, list) or not all(isinstance(r, str) and _ID.fullmatch(r) for r in given):
                raise FormatError(f"{place}.{field}: expected a list of ids", source)
            # An object that is marked points at a marking; only among markings could that lead back.
            found += given if field == "object_refs" or values["type"] == "marking-definition" else []
        for field in ("created_by_ref", "source_ref", "target_ref", "sighting_of_ref"):
            given = values.get(field)
            if given is not None and not (isinstance(given, str) and _ID.fullmatch(given)):
                raise FormatError(f"{place}.{field}: expected an id", source)
        extensions = values.get("extensions", {})
        if not isinstance(extensions, dict) or not all(isinstance(e, dict) for e in extensions.values()):
            raise FormatError(f"{place}.extensions: expected an object of objects", source)
        derived = extensions.get(extension, {}).get("derived_from", [])
        found += [d for d in derived if isinstance(d, str)] if isinstance(derived, list) else []
        # Who made itself is how some producers name themselves; it leads nowhere.
        by = values.get("created_by_ref")
        found += [by] if by and values["type"] == "identity" and by != identifier else []
        edges[identifier] += found
        if values.get("relationship_type") == "derived-from" and isinstance(values.get("target_ref"), str):
            edges.setdefault(str(values.get("source_ref")), []).append(values["target_ref"])
        count += len(found)
    if count > MOST_REFERENCES:
        raise FormatError(f"{count:,} references; up to {MOST_REFERENCES:,} are read", source)
    refuse_cycles(edges, source)


def _marked(values: dict[str, Any]) -> list[str]:
    """Ids of the markings on an object, on the whole of it or on a part."""
    whole, parts = values.get("object_marking_refs") or [], values.get("granular_markings") or []
    found = list(whole) if isinstance(whole, list) else []
    found += [p.get("marking_ref") for p in parts if isinstance(p, dict)] if isinstance(parts, list) else []
    return [r for r in found if isinstance(r, str)]


def _label(values: dict[str, Any]) -> str:
    """The TLP label of a marking that is not one of the published ones."""
    if values["type"] != "marking-definition":
        return ""
    definition, extended = values.get("definition"), (values.get("extensions") or {}).get(TLP_EXTENSION)
    for found, field in ((extended, "tlp_2_0"), (definition, "tlp")):
        if isinstance(found, dict) and (label := tlp_label(found.get(field))):
            return label
    return ""


def _name(values: dict[str, Any]) -> str:
    name = values.get("name")
    return name[:200] if isinstance(name, str) and name else str(values["id"])
