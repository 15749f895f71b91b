"""Indicators of others in a case."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest
from sharing_case import case, evidence, finding

from stillwatch.cases import indicators, received, sharing
from stillwatch.cases.notices import Request, make_notice
from stillwatch.errors import InputError
from stillwatch.records import Case, Indicator, Revocation, digest

AT = "2026-11-24T00:00:00Z"
SHARED = indicators.of_case(case(finding()), with_texts=True)
IMPORTED = sharing.read(
    sharing.write(case(finding()), SHARED, "csv", producer="Provider A"), "csv", source="f", at=AT
)
DOCUMENT = evidence(IMPORTED.provenance.sha256, origin="Provider A, f", role="imported indicators")
FILED = IMPORTED.filed()
HELD = Case("C-2", "others", "open", AT, "TLP:AMBER", (), evidence=(DOCUMENT,), indicators=FILED)
BACK = sharing.read(
    sharing.write(
        case(finding(), status="withdrawn"), indicators.of_case(case(finding(), status="withdrawn")), "csv"
    ), "csv", source="g", at=AT
).revoked  # fmt: skip


def test_all_of_a_finding_is_taken_back_also_what_is_withheld() -> None:
    found, others = received.revoked_by(HELD, BACK, "Provider A")
    assert (set(found), others) == ({digest(i) for i in FILED}, 0)
    assert any(i.pattern != b.pattern for i, b in zip(SHARED.indicators, BACK, strict=True))


def test_only_what_is_meant_is_taken_back() -> None:
    assert received.revoked_by(HELD, BACK[:1], "Provider A") == ([digest(FILED[0])], 0)
    assert received.revoked_by(HELD, [replace(b, kind="another") for b in BACK], "Provider A") == ([], 0)
    assert received.revoked_by(HELD, [replace(b, derived_from=("f" * 64,)) for b in BACK], "Provider A") == (
        [],
        0,
    )
    assert received.revoked_by(HELD, [], "Provider A") == ([], 0)


def test_only_its_producer_takes_an_indicator_back() -> None:
    assert received.revoked_by(HELD, BACK, "Provider B") == ([], len(FILED))


def test_an_id_of_one_object_alone_is_enough() -> None:
    name = "indicator--00000000-0000-4000-8000-000000000003"
    theirs = Indicator(
        "a domain", "[a:b = 'c']", "stix", AT, "2027-01-01T00:00:00Z", 0, "TLP:CLEAR", (name,), 0, 0
    )
    filed = replace(theirs, derived_from=(FILED[0].derived_from[0], f"theirs:{name}"))
    held = replace(HELD, indicators=(filed, *FILED))
    # Its producer may have changed everything else when it took it back.
    changed = replace(theirs, pattern="[a:b = 'd']", kind="renamed")
    assert received.revoked_by(held, [changed], "Provider A") == ([digest(filed)], 0)


def test_what_was_taken_back_stands_no_longer() -> None:
    gone = replace(HELD, revocations=(Revocation(digest(FILED[1]), AT, "a", "0" * 64),))
    assert received.standing(HELD) == FILED
    assert received.standing(gone) == (FILED[0], *FILED[2:])


@pytest.mark.parametrize("status", ["closed", "withdrawn"])
def test_a_closed_case_takes_none(status: str) -> None:
    with pytest.raises(InputError, match="open another"):
        received.check_takes(replace(HELD, status=status), FILED)
    received.check_takes(replace(HELD, status=status), ())


def test_a_notice_never_prints_what_a_stranger_derives_from_our_finding() -> None:
    ours = case(finding())
    theirs = Indicator(
        "domain", "[domain-name:value = 'innocent-competitor.example']", "stix", AT, "2027-01-01T00:00:00Z", 100,
        "TLP:CLEAR", (ours.findings[0].id,), 0, 0,
    )  # fmt: skip
    filed = sharing.Imported((theirs,), IMPORTED.provenance).filed()
    request = Request(created_at="2026-11-24T00:00:00+00:00", created_by="a", addressees=("A desk",))
    notice, _ = make_notice(replace(ours, indicators=filed), "partner", request, today=date(2026, 11, 24))
    assert "innocent-competitor" not in str(notice.content)
    assert "stillwatch-text" in str(notice.content)
