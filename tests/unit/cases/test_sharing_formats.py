"""MISP, OCSF, Sigma and CSV, each held against the library or the reader that others use."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pymisp
import pytest
import sharing_case
import yaml
from py_ocsf_models.events.findings.detection_finding import DetectionFinding
from sharing_case import WRAPPER
from sigma.collection import SigmaCollection
from sigma.correlations import SigmaCorrelationRule
from sigma.rule import SigmaRule
from sigma.validation import SigmaValidator
from sigma.validators.core import validators

from stillwatch.cases import indicators, sharing
from stillwatch.cases.sharing import csv_file, misp
from stillwatch.errors import FormatError
from stillwatch.records import Answer, Case, Closing

NOT_FOR_US = {"attacktag", "d3_fendtag", "tlpv1_tag"}
AT = "2026-11-24T00:00:00Z"
CASES = {"one": sharing_case.case(), "corrected": sharing_case.corrected()}


def written(name: str, case: Case, **more: Any) -> str:
    return sharing.write(case, indicators.of_case(case, **more), name, producer="Provider A").decode()


@pytest.mark.parametrize("name", ["csv", "misp", "ocsf", "sigma", "stix"])
def test_every_format_takes_back_what_fell_with_its_case(name: str) -> None:
    closing = Closing("2026-11-25T08:00:00+00:00", "ben", "The log was another one.", True)
    held = replace(CASES["one"], status="withdrawn", closing=closing)
    shared = indicators.of_case(held)
    assert shared.revoked and not shared.indicators

    document = written(name, held)
    assert "Withdrawn with its case on 2026-11-25: The log was another one." in document
    if sharing.formats()[name].FORMAT.reads:
        read = sharing.read(document.encode(), name, source="x", at=AT)
        assert len(read.revoked) == len(shared.revoked) and not read.indicators


# -- MISP ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_pymisp_loads_what_we_write(case: str) -> None:
    event = pymisp.MISPEvent()
    document = written("misp", CASES[case], with_texts=True)
    event.load(document)
    schema = json.loads(
        (Path(pymisp.__file__).parent / "data" / "schema-lax.json").read_text(encoding="utf-8")
    )
    jsonschema.validate(json.loads(document), schema)
    kinds = Counter(o.name for o in event.objects)
    shared = indicators.of_case(CASES[case], with_texts=True)
    assert kinds[misp.TEMPLATE] == len(shared.indicators) + len(shared.revoked)
    assert kinds["ai-chat-prompt"] == 2 * len(shared.items)
    assert {t.name for t in event.tags} >= {"tlp:amber", 'mitre-atlas:technique="AML.T0024.002"'}
    assert [r.name for r in event.event_reports] == [i.finding.subject for i in shared.items]
    assert event.distribution in (0, "0")


def test_nothing_in_misp_is_for_detection_by_itself() -> None:
    event = json.loads(written("misp", CASES["one"], with_texts=True))["Event"]
    assert all(not a["to_ids"] for o in event["Object"] for a in o["Attribute"])
    assert {a["type"] for o in event["Object"] for a in o["Attribute"]} == {"text", "datetime", "counter"}
    told = event["Object"][0]["comment"]
    assert "3 of 20,000 honest accounts matched" in told


def test_misp_deletes_what_was_withdrawn() -> None:
    event = json.loads(written("misp", CASES["corrected"]))["Event"]
    deleted = [o for o in event["Object"] if o.get("deleted")]
    # And the two texts of each once more, as the object that MISP has for prompts.
    assert len(deleted) == len(indicators.of_case(CASES["corrected"]).revoked) + 4
    before = json.loads(written("misp", replace(CASES["corrected"], withdrawals=())))["Event"]
    assert int(event["timestamp"]) > int(before["timestamp"])
    assert {int(o["timestamp"]) for o in deleted} == {int(event["timestamp"])}
    assert all(a["deleted"] for o in deleted for a in o["Attribute"])
    assert {o["comment"][:9] for o in deleted} == {"Corrected", "Withdrawn"}
    contents = [r["content"] for r in event["EventReport"]]
    assert contents[0].startswith("Corrected on 2026-11-22")
    assert "Answer of party A" in contents[0]


@pytest.mark.parametrize(("tlp", "distribution"), misp._DISTRIBUTION.items())
def test_misp_spreads_no_further_than_the_tlp(tlp: Any, distribution: int) -> None:
    event = json.loads(written("misp", replace(CASES["one"], tlp=tlp)))["Event"]
    assert int(event["distribution"]) == distribution
    assert tlp.lower() in [t["name"] for t in event["Tag"]]


def misp_event(**more: Any) -> bytes:
    return json.dumps({"Event": {"date": "2026-09-08", **more}}).encode()


def test_attributes_of_others_keep_their_low_standing() -> None:
    data = misp_event(
        Orgc={"name": "A hunt pack"},
        Tag=[{"name": "tlp:green"}],
        Attribute=[
            {"type": "domain", "value": "example.com", "to_ids": True, "uuid": "u-1"},
            {"type": "comment", "value": "hello", "to_ids": False},
        ],
    )
    found = sharing.read(data, "auto", source="pack.json", at=AT)
    (made,) = found.indicators
    assert (made.kind, made.language, made.confidence, made.tlp) == ("domain", "misp-domain", 0, "TLP:GREEN")
    assert (made.valid_from, made.valid_until) == ("2026-09-08T00:00:00Z", "2026-12-07T00:00:00Z")
    assert found.provenance.producer == "A hunt pack"
    assert "0 objects of other kinds, 1 attributes that are not for detection" in " ".join(found.lost)


def test_a_tag_of_the_event_or_of_a_part_makes_it_narrower() -> None:
    def read(change: Any) -> sharing.Imported:
        document = json.loads(written("misp", CASES["one"], tlp="TLP:CLEAR", downgrade=True))
        change(document["Event"])
        return sharing.read(json.dumps(document).encode(), "misp", source="theirs", at=AT)

    assert read(lambda event: None).tlp == "TLP:CLEAR"
    retagged = read(lambda event: event.update(Tag=[{"name": "tlp:red"}]))
    assert retagged.tlp == "TLP:RED"
    assert {i.tlp for i in retagged.indicators} == {"TLP:RED"}
    part = read(lambda event: event["Object"][0]["Attribute"][1].update(Tag=[{"name": "tlp:amber"}]))
    assert [i.tlp for i in part.indicators] == ["TLP:AMBER", *["TLP:CLEAR"] * (len(part.indicators) - 1)]
    assert part.tlp == "TLP:AMBER"
    told = read(lambda event: event["EventReport"][0].update(Tag=[{"name": "tlp:red"}]))
    assert told.tlp == "TLP:RED"
    assert {i.tlp for i in told.indicators} == {"TLP:CLEAR"}


def test_labels_of_an_ocsf_event_and_of_rows_count() -> None:
    values = json.loads(written("ocsf", CASES["one"], tlp="TLP:CLEAR", downgrade=True))
    values["metadata"]["labels"] = ["something", "TLP:RED"]
    found = sharing.read(json.dumps(values).encode(), "ocsf", source="theirs", at=AT)
    assert {found.tlp, *(i.tlp for i in found.indicators)} == {"TLP:RED"}
    rows = sharing.read(table(tlp="TLP:RED"), "csv", source="theirs", at=AT)
    assert rows.tlp == "TLP:RED"


def test_an_event_comes_back_as_a_server_writes_it() -> None:
    document = json.loads(written("misp", CASES["one"]))
    for holder in document["Event"]["Object"]:
        for attribute in holder["Attribute"]:
            if attribute["type"] == "datetime":
                day = attribute["value"][:10]
                attribute["value"] = f"{day}T00:00:00.000000+0000"
    expected = indicators.of_case(CASES["one"]).indicators
    for shape in (document, {"response": [document]}, {"response": document}, [document]):
        found = sharing.read(json.dumps(shape).encode(), "auto", source="theirs", at=AT)
        assert found.indicators == expected
        assert found.provenance.producer == "Provider A"


@pytest.mark.parametrize("odd", ["spec_version", "class_uid", "objects"])
def test_what_stands_deep_in_an_event_does_not_make_it_another_format(odd: str) -> None:
    document = json.loads(written("misp", CASES["one"]))
    document = {"Event": {"extra": {odd: '"type": "bundle", "class_uid": 2004'}, **document["Event"]}}
    found = sharing.read(json.dumps(document).encode(), "auto", source="theirs", at=AT)
    assert found.provenance.format == "misp"


def test_several_events_are_read_and_a_broken_one_is_named() -> None:
    one = json.loads(written("misp", CASES["one"]))
    two = {
        "Event": {**json.loads(written("misp", CASES["corrected"]))["Event"], "Orgc": {"name": "Provider B"}}
    }
    found = sharing.read(json.dumps({"response": [one, two]}).encode(), "misp", source="theirs", at=AT)
    shared = [indicators.of_case(c) for c in CASES.values()]
    assert len(found.indicators) == sum(len(s.indicators) for s in shared)
    assert len(found.revoked) == sum(len(s.revoked) for s in shared)
    assert found.provenance.producer == "Provider A; Provider B"
    two["Event"]["Object"][0]["Attribute"] = "all"
    with pytest.raises(FormatError, match=r"\[1\].Event.Object\[0\].Attribute: expected a list"):
        sharing.read(json.dumps({"response": [one, two]}).encode(), "misp", source="theirs", at=AT)
    for wrong in ({"response": []}, {"response": [one, {}]}, {"response": 7}):
        with pytest.raises(FormatError, match="expected a MISP event"):
            sharing.read(json.dumps(wrong).encode(), "misp", source="theirs", at=AT)


def test_a_reader_of_misp_unpacks_no_attachment() -> None:
    data = misp_event(
        Attribute=[{"type": "malware-sample", "value": "a|b", "data": "UEsDBA==", "to_ids": True}]
    )
    assert sharing.read(data, "misp", source="pack.json", at=AT).indicators[0].pattern == "a|b"


@pytest.mark.parametrize(
    ("event", "says"),
    [
        ({"Object": {}}, "Event.Object: expected a list"),
        ({"Object": [{"name": misp.TEMPLATE}]}, r"Event.Object\[0\].kind: expected a text"),
        ({"Object": [{"name": misp.TEMPLATE, "Attribute": [{"object_relation": "pattern", "value": {}}]}]},
         "expected a text, found"),
        ({"Object": [{"name": misp.TEMPLATE, "Attribute": [{"object_relation": "confidence", "value": "50"}] * 2}]},
         "is given twice"),
        ({"Object": [{"name": misp.TEMPLATE, "Attribute": [{"object_relation": "confidence", "value": "-1"}]}]},
         "expected a whole number"),
        ({"Attribute": [{"to_ids": True, "type": 7, "value": "x"}]}, "kind: expected a text"),
        ({"Attribute": [{"to_ids": True, "type": "domain", "value": "x"}], "date": 7}, "expected a time"),
    ],
)  # fmt: skip
def test_broken_events_are_refused(event: dict[str, Any], says: str) -> None:
    with pytest.raises(FormatError, match=says):
        sharing.read(misp_event(**event), "misp", source="pack.json", at=AT)


# -- OCSF ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_ocsf_is_a_detection_finding(case: str) -> None:
    lines = written("ocsf", CASES[case]).splitlines()
    shared = indicators.of_case(CASES[case])
    assert len(lines) == len(shared.items)
    for line, item in zip(lines, shared.items, strict=True):
        values = json.loads(line)
        event = DetectionFinding(**values)
        # Nothing stands outside the schema: what the model does not know it would drop.
        kept = json.loads(event.model_dump_json(exclude_none=True))
        assert set(values) <= set(kept)
        assert set(values["finding_info"]) <= set(kept["finding_info"])
        assert event.type_uid.value == event.class_uid * 100 + event.activity_id.value
        assert event.metadata.version == "1.5.0"
        assert (event.status_id.value, event.activity_id.value) == ((3, 3) if item.withdrawal else (1, 1))
        assert [o.value for o in event.observables] == [i.pattern for i in item.indicators]
        assert event.severity_id.value == 1


def test_a_sub_technique_stands_where_the_schema_has_it() -> None:
    attacks = json.loads(written("ocsf", CASES["one"]))["finding_info"]["attacks"]
    found = {a["technique"]["uid"]: a.get("sub_technique", {}).get("uid") for a in attacks}
    assert found == {"AML.T0040": None, "AML.T0024": "AML.T0024.002", "AML.T0051": None, "AML.T0054": None}
    assert {a["technique"]["name"] for a in attacks} >= {"Exfiltration via AI Inference API"}


def test_the_model_would_notice() -> None:
    values = json.loads(written("ocsf", CASES["one"]))
    with pytest.raises(ValueError, match="severity_id"):
        DetectionFinding(**{**values, "severity_id": 40})


def test_findings_of_others_are_not_turned_into_indicators() -> None:
    values = json.loads(written("ocsf", CASES["one"]))
    del values["unmapped"]
    found = sharing.read(json.dumps(values).encode(), "ocsf", source="theirs", at=AT)
    assert not found.indicators
    assert "findings whose observables say nothing of validity" in found.lost[1]
    with pytest.raises(FormatError, match="theirs:1: expected a Detection Finding"):
        sharing.read(json.dumps({**values, "class_uid": 1001}).encode(), "ocsf", source="theirs", at=AT)


# -- Sigma ---------------------------------------------------------------------------------------------------------


def rules(case: Case, **more: Any) -> SigmaCollection:
    return SigmaCollection.from_yaml(written("sigma", case, **more))


def test_pysigma_reads_the_rules_and_finds_no_fault() -> None:
    found = rules(CASES["one"], with_texts=True)
    base = [r for r in found.rules if isinstance(r, SigmaRule)]
    counts = [r for r in found.rules if isinstance(r, SigmaCorrelationRule)]
    assert len(base) == len(counts) == 3
    for rule in counts:
        assert rule.type.name == "VALUE_COUNT"
        assert rule.condition.count == 5
        assert rule.condition.fieldref in ("user.id", "account_id")
        assert [reference.rule in base for reference in rule.rules] == [True]
        assert rule.level.name == "INFORMATIONAL"
        assert any("reseller" in f for f in rule.falsepositives)
    # A title over 100 characters, an unknown tag or a duplicate id would be an issue. Left out: the validators that
    # fetch lists from the network, and those for older labels and for the rules of another project.
    chosen = {v for k, v in validators.items() if k not in NOT_FOR_US}
    issues = SigmaValidator(chosen).validate_rules(iter(found.rules))
    assert not [i for i in issues if i.severity.name in ("HIGH", "MEDIUM")], issues


def test_the_rules_have_what_the_schemas_of_sigmahq_ask_for() -> None:
    """Required fields of sigma-detection-rule and sigma-correlation-rules, version 2.1.0 (2025-07-25)."""
    told = Answer("B", "", "word " * 20_000, "2026-11-21T09:00:00+00:00", "a")
    for answers in (CASES["one"].answers, (told,)):
        document = written("sigma", replace(CASES["one"], answers=answers), with_texts=True)
        documents = [d for d in yaml.safe_load_all(document) if d]
        counts = [d["correlation"] for d in documents if "correlation" in d]
        assert len(counts) == 3
        for correlation in counts:
            assert set(correlation) >= {"type", "rules", "timespan", "condition", "group-by"}
            assert correlation["group-by"]
            assert set(correlation["condition"]) == {"field", "gte"}
        for rule in documents:
            assert {"title", "id"} <= set(rule)
            assert len(rule["title"]) <= 256
            assert len(rule["description"]) <= 65_535
            assert len(set(rule["falsepositives"])) == len(rule["falsepositives"])
            if "detection" in rule:
                assert {"logsource", "detection"} <= set(rule)
                assert "condition" in rule["detection"]
    assert ("word " * 20_000).strip() in document


def test_a_rule_looks_for_the_pieces_between_numbers() -> None:
    document = written("sigma", CASES["one"], with_texts=True)
    base = next(d for d in yaml.safe_load_all(document) if d and "detection" in d)
    assert base["detection"]["selection"] == {
        "gen_ai.input.messages|contains|all": [WRAPPER.rpartition(" 0 lines")[0]]
    }


def test_text_cannot_become_yaml_or_a_wildcard() -> None:
    text = '- evil: *a\n---\ntitle: "x" \\ ? * {{ }} # and so on \u2028 \x85 \U0001f600 \x1b long enough to be told'
    document = written("sigma", sharing_case.case(sharing_case.finding(texts=[text])), with_texts=True)
    parsed = [d for d in yaml.safe_load_all(document) if d]
    assert len(parsed) == 4
    (piece,) = parsed[0]["detection"]["selection"]["gen_ai.input.messages|contains|all"]
    assert piece == text.replace("\\", "\\\\").replace("*", "\\*").replace("?", "\\?")


def test_what_sigma_cannot_say_is_said() -> None:
    document = written("sigma", CASES["one"])
    assert "# c-7f3a0011: not said: registration." in document
    assert "# c-7f3a0011: not said: networks" in document
    silent = sharing_case.case(sharing_case.finding(proposed_by="registration"))
    document = written("sigma", silent)
    assert "no rule: without its text, nothing of it is a count of distinct accounts" in document
    assert all(line.startswith("#") for line in document.splitlines())
    document = written("sigma", CASES["corrected"])
    assert "# c-gone: Withdrawn on 2026-11-23: an authorised study. Remove its rules." in document
    assert len(rules(CASES["corrected"]).rules) == 2


# -- CSV -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "|", "%", "'", "  =", "＝", "\n="])
def test_no_cell_is_a_formula(start: str) -> None:
    text = f"{start}cmd and a text that is long enough to be shared, whatever it may begin with"
    assert csv_file.guarded(text).startswith("'")
    assert csv_file.unguarded(csv_file.guarded(text)) == text
    case = sharing_case.case(sharing_case.finding(subject=text, texts=[text]))
    for row in csv.reader(io.StringIO(written("csv", case, with_texts=True), newline="")):
        assert not any(cell.lstrip(" ").startswith(tuple("=+-@|%\t\r\n＝＋－＠")) for cell in row)


def test_every_cell_is_quoted_and_the_header_is_the_documented_one() -> None:
    document = written("csv", CASES["corrected"])
    first = document.splitlines()[0]
    assert first == ",".join(f'"{name}"' for name in csv_file.COLUMNS)
    rows = list(csv.DictReader(io.StringIO(document, newline="")))
    assert Counter(r["status"] for r in rows) == {"taken back": 14, "stands": 5}
    assert {r["reason"][:9] for r in rows if r["status"] == "taken back"} == {"Corrected", "Withdrawn"}


def table(**more: str) -> bytes:
    """One good row, with changes."""
    rows = list(csv.DictReader(io.StringIO(written("csv", CASES["one"]), newline="")))
    row = {**rows[0], **more}
    out = io.StringIO()
    writer = csv.DictWriter(out, list(row))
    writer.writeheader()
    writer.writerow(row)
    return out.getvalue().encode()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "the file is empty"),
        (b"kind,pattern\n", "theirs.csv:1: the header lacks language"),
        (table().replace(b"kind,pattern", b"kind,kind"), "the header lacks pattern"),
        (table() + b"a,b\n", "theirs.csv:3: expected 17 cells, found 2"),
        (table(confidence="high"), "theirs.csv:2: confidence: expected a whole number"),
        (table(confidence="101"), "0 to 100"),
        (table(benign_hits="9", benign_of="8"), "at most benign_of"),
        (table(tlp="TLP:PURPLE"), "expected one of TLP:CLEAR"),
        (table(status="maybe"), "status: expected stands or taken back"),
        (table(valid_until=""), "expected a time"),
        (table(valid_from="2026-11-02T00:00:00"), "no time zone"),
        (table(kind=""), "kind: expected a text"),
        (table() + b'"unfinished', "unexpected end of data"),
        (table() + b'"a"b,c\n', "expected after"),
        (table(pattern="x" * 200_000), "larger than field limit"),
    ],
)  # fmt: skip
def test_broken_tables_are_refused_with_their_line(data: bytes, says: str) -> None:
    with pytest.raises(FormatError, match=says):
        sharing.read(data, "csv", source="theirs.csv", at=AT)


def test_columns_that_are_not_known_are_told() -> None:
    found = sharing.read(table(colour="red"), "csv", source="theirs.csv", at=AT)
    assert found.lost == ("columns that are not known: colour",)
    assert len(found.indicators) == 1
