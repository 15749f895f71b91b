"""STIX 2.1: valid by the validator of OASIS, back again field by field, and deterministic."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import sharing_case
import stix2validator

from stillwatch.cases import indicators, sharing
from stillwatch.cases.events import TLP_ORDER
from stillwatch.cases.sharing import _stix_read
from stillwatch.cases.sharing._tlp2 import MARKINGS
from stillwatch.errors import FormatError
from stillwatch.records import TLP, Case

AT = "2026-11-24T00:00:00Z"
# What is switched off, and why: ids are UUIDv5, so that one case gives the same bytes everywhere (103 wants v4), and
# digests of text are written in languages of our own (245 knows those of the standard). `strict_types` takes every
# cyber observable for an unknown type, `software` among them.
OPTIONS = stix2validator.ValidationOptions(
    version="2.1",
    strict=True,
    strict_properties=True,
    enforce_refs=True,
    disabled=["uuid-check", "indicator-pattern-types"],
)
CASES = {"one": sharing_case.case(), "corrected": sharing_case.corrected()}


def bundle(case: Case, **more: Any) -> dict[str, Any]:
    data = sharing.write(case, indicators.of_case(case, **more), "stix", producer="Provider A")
    found: dict[str, Any] = json.loads(data)
    return found


def of(kind: str, found: dict[str, Any]) -> list[dict[str, Any]]:
    return [o for o in found["objects"] if o["type"] == kind]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("tlp", TLP_ORDER)
def test_oasis_finds_nothing_wrong(name: str, tlp: TLP) -> None:
    found = bundle(CASES[name], tlp=tlp, with_texts=True, downgrade=True)
    result = stix2validator.validate_string(json.dumps(found), OPTIONS)
    assert result.is_valid, [str(e) for e in result.errors]
    assert not result.warnings, [str(w) for w in result.warnings]


def test_the_validator_would_notice() -> None:
    found = bundle(CASES["one"])
    of("indicator", found)[0]["confidence"] = 200
    of("campaign", found)[0]["sightings"] = 3
    result = stix2validator.validate_string(json.dumps(found), OPTIONS)
    assert not result.is_valid
    assert len(result.errors) >= 2


def test_the_marking_is_the_one_that_oasis_publishes() -> None:
    for tlp, marking in MARKINGS.items():
        case = replace(sharing_case.case(), tlp=tlp)
        (made,) = of("marking-definition", bundle(case))
        assert made["id"] == marking.id
        assert set(made) == {"type", "spec_version", "id", "created", "name", "extensions"}
        assert made["extensions"] == {
            "extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d": {
                "extension_type": "property-extension",
                "tlp_2_0": tlp.removeprefix("TLP:").lower(),
            }
        }


def test_every_object_is_marked_and_has_an_end_where_it_needs_one() -> None:
    found = bundle(CASES["one"], with_texts=True)
    (marking,) = of("marking-definition", found)
    for made in found["objects"]:
        if made["type"] not in ("marking-definition", "extension-definition", "identity"):
            assert made["object_marking_refs"] == [marking["id"]], made["id"]
    for made in of("indicator", found):
        assert made["valid_until"] == "2027-02-12T00:00:00Z"
        assert 0 < made["confidence"] <= 100
        assert "one minus a p-value" in made["description"]


def test_the_answer_stands_beside_the_claim_and_silence_is_said() -> None:
    found = bundle(CASES["one"])
    (campaign,) = of("campaign", found)
    (opinion,) = of("opinion", found)
    assert opinion["object_refs"] == [campaign["id"]]
    assert opinion["authors"] == ["party A"]
    assert "We run one study. (withheld) is our test account" in opinion["explanation"]
    assert opinion["opinion"] == "neutral"
    contents = [n["content"] for n in of("note", found)]
    assert "Party B was asked on 2026-11-20 to answer by 2026-12-05; no answer is on file" in contents
    limits = next(c for c in contents if c.startswith("Innocent"))
    assert "a reseller whose customers ask for themselves: NOT excluded" in limits
    assert "some accounts rest on the text" in limits


def test_techniques_follow_from_what_was_found_and_no_case_study_is_named() -> None:
    (campaign,) = of("campaign", bundle(CASES["one"]))
    refs = {r["external_id"] for r in campaign["external_references"]}
    assert refs == {"AML.T0040", "AML.T0024.002", "AML.T0051", "AML.T0054"}
    assert all(r["source_name"] == "mitre-atlas" for r in campaign["external_references"])
    assert "AML.CS" not in json.dumps(campaign)


def test_what_is_withdrawn_revokes_what_was_shared_before() -> None:
    standing = replace(sharing_case.corrected(), withdrawals=())
    before = {o["id"]: o for o in bundle(standing, with_texts=True)["objects"]}
    found = bundle(sharing_case.corrected())
    campaigns = {c["name"]: c for c in of("campaign", found)}
    assert {n: c.get("revoked", False) for n, c in campaigns.items()} == {
        "c-wrong": True, "c-right": False, "c-gone": True
    }  # fmt: skip
    assert "Corrected on 2026-11-22" in campaigns["c-wrong"]["description"]
    assert "It is corrected by c-right." in campaigns["c-wrong"]["description"]
    assert "Withdrawn on 2026-11-23: an authorised study." in campaigns["c-gone"]["description"]
    for made in [*of("campaign", found), *of("indicator", found)]:
        assert made["id"] in before
        assert made["modified"] > before[made["id"]]["modified"]
    links = {(r["source_ref"], r["target_ref"]) for r in of("relationship", found)
             if r["relationship_type"] == "related-to"}  # fmt: skip
    assert links == {(campaigns["c-right"]["id"], campaigns["c-wrong"]["id"])}


def test_one_case_gives_the_same_bytes() -> None:
    case = sharing_case.case()
    shared = indicators.of_case(case)
    first, second = (sharing.write(case, shared, "stix", producer="A") for _ in range(2))
    assert first == second
    assert sharing.write(case, shared, "stix", producer="B") != first


def changed(change: Any) -> bytes:
    found = bundle(CASES["one"])
    change(found)
    return json.dumps(found).encode()


def twice(found: dict[str, Any]) -> None:
    found["objects"].append({**of("indicator", found)[0], "confidence": 1})


def twice_alike(found: dict[str, Any]) -> None:
    found["objects"].append(dict(of("indicator", found)[0]))


def ring(found: dict[str, Any]) -> None:
    report, campaign = of("report", found)[0], of("campaign", found)[0]
    campaign["object_refs"] = [report["id"]]


def derived_ring(found: dict[str, Any]) -> None:
    a, b = of("indicator", found)[:2]
    link = of("relationship", found)[0]
    for n, (source, target) in enumerate([(a, b), (b, a)]):
        found["objects"].append(
            {**link, "id": f"relationship--0000000{n}-0000-4000-8000-000000000000",
             "relationship_type": "derived-from", "source_ref": source["id"], "target_ref": target["id"]}
        )  # fmt: skip


def embedded_ring(found: dict[str, Any]) -> None:
    a, b = of("indicator", found)[:2]
    for one, two in ((a, b), (b, a)):
        next(iter(one["extensions"].values()))["derived_from"] = [two["id"]]


def put(kind: str, **values: Any) -> Any:
    return lambda found: of(kind, found)[0].update(values)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (twice, "stands twice with the same time"),
        (ring, "references go round in a circle"),
        (derived_ring, "references go round in a circle"),
        (embedded_ring, "references go round in a circle"),
        (
            put("indicator", pattern="[ipv4-addr:value = ", pattern_type="stix"),
            "Invalid value for Indicator 'pattern'",
        ),
        (put("indicator", pattern="sha256=zz"), "a pattern of the language stillwatch-text"),
        (put("indicator", pattern=["a"]), "pattern"),
        (put("indicator", pattern="(" * 20_000, pattern_type="stix"), "longer than 4,000 characters"),
        (put("indicator", pattern="[" + "(" * 2_000, pattern_type="stix"), "more than 200 brackets"),
        (put("indicator", confidence="high"), "confidence"),
        (put("indicator", confidence=101), "confidence"),
        (put("indicator", valid_until="2020-01-01T00:00:00Z"), "valid_until"),
        (put("indicator", valid_from="yesterday"), "valid_from"),
        (put("indicator", id="indicator--1"), "expected the type, two hyphens and a UUID"),
        (put("indicator", id="campaign--00000000-0000-4000-8000-000000000000"), "expected the type"),
        (put("report", object_refs="all"), "expected a list of ids"),
        (put("identity", created_by_ref=7), "expected an id"),
        (put("indicator", extensions={"x": 1}), "expected an object of objects"),
        (lambda found: found.update(type="report"), 'an object with "type": "bundle"'),
        (lambda found: found.update(spec_version="2.0"), "convert it to 2.1"),
        (lambda found: found.update(objects={}), "expected a list"),
        (lambda found: found.update(objects=[1]), "objects[0]: expected an object"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(change: Any, says: str) -> None:
    with pytest.raises(FormatError) as refused:
        sharing.read(changed(change), "stix", source="theirs.json", at=AT)
    assert str(refused.value).startswith("theirs.json")
    assert says in str(refused.value)


def test_indicators_and_patterns_of_a_bundle_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    document = json.dumps(bundle(CASES["one"])).encode()
    monkeypatch.setattr(_stix_read, "MOST_INDICATORS", 4)
    with pytest.raises(FormatError, match="5 indicators; up to 4"):
        sharing.read(document, "stix", source="theirs.json", at=AT)
    monkeypatch.setattr(_stix_read, "MOST_INDICATORS", 5)
    monkeypatch.setattr(_stix_read, "MOST_PATTERNS", 10)
    with pytest.raises(FormatError, match="more than 10 characters of STIX patterns"):
        sharing.read(document, "stix", source="theirs.json", at=AT)


def test_a_bundle_of_somebody_else_keeps_what_it_says_and_tells_what_it_does_not() -> None:
    theirs = {
        "type": "bundle",
        "id": "bundle--00000000-0000-4000-8000-000000000001",
        "objects": [
            {
                "type": "identity",
                "spec_version": "2.1",
                "id": "identity--00000000-0000-4000-8000-000000000002",
                "created": AT,
                "modified": AT,
                "created_by_ref": "identity--00000000-0000-4000-8000-000000000002",
                "name": "A hunt pack",
            },
            {
                "type": "indicator",
                "spec_version": "2.1",
                "id": "indicator--00000000-0000-4000-8000-000000000003",
                "created": AT,
                "modified": AT,
                "created_by_ref": "identity--00000000-0000-4000-8000-000000000002",
                "name": "a domain",
                "pattern": "[domain-name:value = 'example.com']",
                "pattern_type": "stix",
                "valid_from": "2026-09-08T00:00:00.500Z",
            },
        ],
    }
    found = sharing.read(json.dumps(theirs).encode(), "auto", source="pack.json", at=AT)
    (made,) = found.indicators
    assert found.provenance.producer == "A hunt pack"
    assert (made.kind, made.language, made.confidence, made.tlp) == (
        "a domain",
        "stix",
        0,
        "TLP:AMBER+STRICT",
    )
    assert made.valid_from == "2026-09-08T00:00:00.5Z"
    assert made.valid_until.startswith("2026-12-07")
    assert (made.benign_hits, made.benign_of) == (0, 0)
    said = " ".join(found.lost)
    for part in ("no valid_until", "no confidence", "no TLP marking", "no benign rate", "1 identity"):
        assert part in said
    assert found.filed()[0].derived_from[0] == f"sha256:{found.provenance.sha256}"


RED = MARKINGS["TLP:RED"].id


def marked(change: Any, tlp: TLP = "TLP:CLEAR") -> sharing.Imported:
    found = bundle(CASES["one"], tlp=tlp, downgrade=True)
    change(found)
    return sharing.read(json.dumps(found).encode(), "stix", source="b.json", at=AT)


def test_a_document_is_as_narrow_as_its_narrowest_part() -> None:
    assert marked(lambda found: None).tlp == "TLP:CLEAR"
    # One report that only the named may read, beside indicators that everybody may.
    found = marked(put("report", object_marking_refs=[RED]))
    assert found.tlp == "TLP:RED"
    assert {i.tlp for i in found.indicators} == {"TLP:CLEAR"}
    # A narrower older version stands in the document as well.
    older = marked(lambda b: b["objects"].append(
        {**of("note", b)[0], "modified": "2026-11-20T00:00:00.000Z", "object_marking_refs": [RED]}
    ))  # fmt: skip
    assert older.tlp == "TLP:RED"


def test_a_part_of_an_indicator_that_is_narrower_makes_it_narrower() -> None:
    found = marked(put("indicator", granular_markings=[{"marking_ref": RED, "selectors": ["pattern"]}]))
    assert sorted(i.tlp for i in found.indicators)[-1] == "TLP:RED"
    assert [i.tlp for i in found.indicators].count("TLP:RED") == 1
    assert found.tlp == "TLP:RED"


def test_a_marking_that_is_defined_nowhere_may_be_any() -> None:
    unknown = "marking-definition--00000000-0000-4000-8000-00000000000a"
    (clear,) = of("marking-definition", bundle(CASES["one"], tlp="TLP:CLEAR", downgrade=True))
    found = marked(put("indicator", object_marking_refs=[clear["id"], unknown]))
    assert {i.tlp for i in found.indicators} == {"TLP:CLEAR", "TLP:AMBER+STRICT"}
    said = {"type": "marking-definition", "spec_version": "2.1", "id": unknown, "created": AT,
            "definition_type": "statement", "definition": {"statement": "of nobody's concern"}}  # fmt: skip
    found = marked(
        lambda b: (b["objects"].append(said), put("indicator", object_marking_refs=[clear["id"], unknown])(b))
    )
    assert {i.tlp for i in found.indicators} == {"TLP:CLEAR"}


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("2026-11-24T00:00:00.120Z", "2026-11-24T00:00:00.123Z"),
        ("2026-11-24T00:00:00Z", "2026-11-24T00:00:00.500Z"),
        ("2026-11-24T00:00:00.1234Z", "2026-11-24T00:00:00.12345Z"),
        ("2026-11-24T00:00:00.9Z", "2026-11-24T01:00:00.1Z"),
    ],
)
@pytest.mark.parametrize("swapped", [False, True])
def test_a_newer_version_is_newer_by_its_time_and_not_by_its_letters(
    older: str, newer: str, swapped: bool
) -> None:
    def versions(found: dict[str, Any]) -> None:
        (old, *_) = of("indicator", found)
        old.update(created="2026-11-01T00:00:00Z", modified=older)
        found["objects"].append({**old, "modified": newer, "revoked": True})
        if swapped:
            found["objects"].reverse()

    back = sharing.read(changed(versions), "stix", source="b.json", at=AT)
    assert len(back.revoked) == 1


def test_an_object_that_stands_twice_as_it_is_counts_once() -> None:
    back = sharing.read(changed(twice_alike), "stix", source="b.json", at=AT)
    assert len(back.indicators) == len(of("indicator", bundle(CASES["one"])))


def test_the_newest_version_of_an_object_counts() -> None:
    found = bundle(CASES["one"])
    newer = {**of("indicator", found)[0], "modified": "2027-01-01T00:00:00.000Z", "revoked": True}
    found["objects"].append(newer)
    back = sharing.read(json.dumps(found).encode(), "stix", source="b.json", at=AT)
    assert len(back.revoked) == 1
    assert "older versions of objects that stand there in a newer one: 1" in back.lost
