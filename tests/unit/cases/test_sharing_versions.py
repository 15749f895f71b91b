"""Ids and versions of what leaves, and that everything that left can be taken back."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import sharing_case
from sharing_case import evidence, finding, shared_once

from stillwatch.cases import indicators, sharing
from stillwatch.errors import InputError
from stillwatch.records import Answer, Asked, Case, Withdrawal

ONE = sharing_case.case(finding(), asked=(), answers=())
WITHDRAWN = "2026-11-23T08:00:00+00:00"


def written(held: Case, name: str = "stix", *, producer: str = "Provider A", **options: Any) -> str:
    return sharing.write(held, indicators.of_case(held, **options), name, producer=producer).decode()


def objects(held: Case, **more: Any) -> dict[str, dict[str, Any]]:
    return {o["id"]: o for o in json.loads(written(held, **more))["objects"]}


def withdrawn(held: Case, *, replaced_by: str = "") -> Case:
    gone = Withdrawal(held.findings[0].id, WITHDRAWN, "x", "an agreed study", replaced_by)
    return replace(held, withdrawals=(gone,), changed_at=WITHDRAWN)


# -- ids -----------------------------------------------------------------------------------------------------------


def test_two_first_cases_have_no_id_in_common_that_means_two_things() -> None:
    """Every store calls its first case C-1, and may even have the same finding in it."""
    other = replace(ONE, opened="2" * 64, opened_at="2026-05-02T00:00:00+00:00", title="another")
    for held, producer in ((other, "Provider A"), (other, "Provider B"), (ONE, "Provider B")):
        a, b = objects(ONE), objects(held, producer=producer)
        for i in a.keys() & b.keys():
            assert a[i] == b[i], i
        assert {i.partition("--")[0] for i in a.keys() & b.keys()} <= {
            "identity", "extension-definition", "marking-definition", "software"
        }  # fmt: skip
        for name, ids in (("misp", uuids), ("ocsf", uids), ("sigma", rule_ids)):
            assert not ids(written(ONE, name)) & ids(written(held, name, producer=producer)), name


def uuids(text: str) -> set[str]:
    event = json.loads(text)["Event"]
    parts = [
        event,
        *event["Object"],
        *(a for o in event["Object"] for a in o["Attribute"]),
        *event["EventReport"],
    ]
    return {p["uuid"] for p in parts}


def uids(text: str) -> set[str]:
    return {
        json.loads(line)["metadata"][field]
        for line in text.splitlines()
        for field in ("uid", "correlation_uid")
    }


def rule_ids(text: str) -> set[str]:
    return {line for line in text.splitlines() if line.startswith("id: ")}


def test_a_case_that_does_not_say_how_it_began_is_not_shared() -> None:
    with pytest.raises(InputError, match="with which entry it began"):
        written(replace(ONE, opened=""))


# -- versions ------------------------------------------------------------------------------------------------------

CHANGES: dict[str, Any] = {
    "a second finding": lambda held: (
        replace(held, findings=(*held.findings, finding("c-second")), changed_at="2026-11-24T09:00:00+00:00"), {}),
    "an answer that came before": lambda held: (
        replace(held, answers=(Answer("B", "", "no", "2026-11-01T00:00:00+00:00", "a"),),
                changed_at="2026-11-24T09:00:00.000001+00:00"), {}),
    "another honest rate": lambda held: (held, {"benign": {held.findings[0].id: (5_000, 20_000)}}),
    "another end": lambda held: (held, {"valid_days": 10}),
    "a narrower label": lambda held: (held, {"tlp": "TLP:RED"}),
    "names of parties": lambda held: (held, {"name_parties": True}),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_another_content_has_a_later_version(change: str) -> None:
    asked = replace(ONE, asked=(Asked("B", "", "2026-11-20T12:00:00+00:00", "2026-12-05"),))
    first = shared_once(asked)
    second, options = CHANGES[change](first)
    a, b = objects(first), objects(second, **options)
    for i in a.keys() & b.keys():
        # The standard gives software one id and no version.
        if a[i] != b[i] and a[i]["type"] != "software":
            assert b[i]["modified"] > a[i]["modified"], i
    for before, after in ((written(first, "misp"), written(second, "misp", **options)),):
        assert int(json.loads(after)["Event"]["timestamp"]) > int(json.loads(before)["Event"]["timestamp"])
    # And back again: what stood first is told a third time, as the newest.
    third = objects(shared_once(second, **options))
    assert max(o["modified"] for o in third.values() if "modified" in o) >= max(
        o["modified"] for o in b.values() if "modified" in o
    )


def test_sharing_twice_gives_the_same_bytes_and_what_never_leaves_changes_nothing() -> None:
    for name in sharing.formats():
        once = written(ONE, name)
        assert written(shared_once(ONE), name) == once
        assert written(shared_once(shared_once(ONE)), name) == once
        assert written(replace(shared_once(ONE), head="1" * 64, status="sealed"), name) == once


def test_what_happens_to_a_finding_is_an_event_each_time() -> None:
    def event(held: Case, **options: Any) -> tuple[str, str, str]:
        line = json.loads(written(held, "ocsf", **options))
        return line["activity_name"], line["metadata"]["uid"], line["finding_info"]["uid"]

    held = shared_once(ONE)
    told = [event(ONE), event(held), event(held, valid_days=9), event(withdrawn(held))]
    assert [t[0] for t in told] == ["Create", "Create", "Update", "Close"]
    assert len({t[1] for t in told}) == 3
    assert len({t[2] for t in told}) == 1


# -- taking back ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_texts", [True, False])
def test_every_indicator_that_left_is_taken_back_whatever_is_asked_for_now(with_texts: bool) -> None:
    before = objects(ONE, with_texts=True)
    left = {i for i, o in before.items() if o["type"] == "indicator"}
    after = objects(withdrawn(shared_once(ONE, with_texts=True)), with_texts=with_texts)
    assert left == {i for i, o in after.items() if o["type"] == "indicator"}
    assert all(after[i]["revoked"] for i in left)
    assert all(after[i]["modified"] > before[i]["modified"] for i in left)
    assert {o["type"] for o in after.values() if o.get("revoked")} == {
        "campaign", "indicator", "observed-data", "relationship"
    }  # fmt: skip
    # And the text is not told once more.
    assert sharing_case.WRAPPER[:40] not in json.dumps(after)


def test_a_revoked_text_is_deleted_in_misp_too() -> None:
    def texts(document: str) -> dict[str, bool]:
        objects = json.loads(document)["Event"]["Object"]
        return {
            o["uuid"]: bool(o.get("deleted")) for o in objects if "chat" in o["name"] or "words" in str(o)
        }

    before = texts(written(ONE, "misp", with_texts=True))
    after = texts(written(withdrawn(ONE), "misp"))
    assert before.keys() == after.keys()
    assert (set(before.values()), set(after.values())) == ({False}, {True})


def test_a_note_of_silence_is_taken_back_once_there_is_an_answer() -> None:
    asked = replace(ONE, asked=(Asked("B", ONE.findings[0].id, "2026-11-20T12:00:00+00:00", "2026-12-05"),))
    silent = [o for o in objects(asked).values() if o.get("abstract") == "Asked to answer"]
    assert [o.get("revoked", False) for o in silent] == [False]
    assert "no answer is on file" in silent[0]["content"]
    told = Answer("B", "", "We deny it", "2026-11-21T09:00:00+00:00", "a")
    after = objects(replace(shared_once(asked), answers=(told,), changed_at="2026-11-25T00:00:00+00:00"))
    assert after[silent[0]["id"]]["revoked"] is True
    assert after[silent[0]["id"]]["modified"] > silent[0]["modified"]
    # Asked once more, the first question makes way for the second.
    again = (*asked.asked, Asked("B", ONE.findings[0].id, "2026-11-22T12:00:00+00:00", "2026-12-09"))
    notes = [
        o for o in objects(replace(asked, asked=again)).values() if o.get("abstract") == "Asked to answer"
    ]
    assert sorted(o.get("revoked", False) for o in notes) == [False, True]


def test_what_left_with_a_wider_label_is_taken_back_without_the_flag() -> None:
    told = replace(finding(), evidence=("e" * 64,))
    held = sharing_case.case(told, asked=(), answers=(), evidence=(evidence("e" * 64, tlp="TLP:RED"),))
    left = shared_once(held, downgrade=True)
    assert not indicators.of_case(left).items  # while it stands, it takes the flag each time
    back = indicators.of_case(withdrawn(left))
    assert len(back.revoked) == len(indicators.of_case(held, downgrade=True, with_texts=True).indicators)
    # Whoever was never told of it is not told now.
    assert not indicators.of_case(withdrawn(held)).items
    wider = replace(left, tlp="TLP:GREEN")
    assert not indicators.of_case(withdrawn(wider), tlp="TLP:GREEN").items


def test_what_corrects_a_finding_is_named_only_where_it_leaves() -> None:
    for accounts, named in ((4, False), (150, True)):
        small = finding("c-corrects", accounts=accounts)
        held = withdrawn(replace(ONE, findings=(*ONE.findings, small)), replaced_by=small.id)
        assert ("c-corrects" in written(held)) is named
