"""What may not be added to a case: a day before the thing itself, and a correction by something unrelated."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from store_samples import finding, notice, run

from stillwatch.cases.store import CaseStore
from stillwatch.errors import InputError
from stillwatch.records import Delivery, Finding

ON = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
LATER = "2026-11-25T09:00:00+00:00"


def held(store: CaseStore, *findings: Finding) -> str:
    case = store.open("Shared prompt", by="ann").id
    store.add_many(case, [run(), *findings], by="ann")
    return case


def test_an_answer_is_due_on_the_day_it_was_asked_for_at_the_earliest(lite: CaseStore) -> None:
    case = held(lite)
    with pytest.raises(
        InputError, match="due by 2026-11-20, which is before the day it was asked for, 2026-11-24"
    ):
        lite.ask(case, "Reseller", due="2026-11-20", by="ann", at=ON)
    assert lite.ask(case, "Reseller", due="2026-11-24", by="ann", at=ON)


def test_a_notice_and_a_follow_up_are_due_after_what_they_follow(lite: CaseStore) -> None:
    case = held(lite, finding(1))
    with pytest.raises(InputError, match="by 2020-01-01, which is before the day it was written, 2026-11-24"):
        lite.add(case, notice(finding(1), due="2020-01-01"), by="ann")
    told = notice(finding(1))
    lite.add(case, told, by="ann")
    with pytest.raises(InputError, match="by 2026-11-24, which is before the day of what it follows"):
        lite.add(case, Delivery(told.id, "Desk A", LATER, "ann", "delivered", "", "2026-11-24"), by="ann")
    assert lite.add(case, Delivery(told.id, "Desk A", LATER, "ann", "delivered", "", "2026-11-25"), by="ann")


def test_a_copy_can_be_delivered_and_nobody_else(lite: CaseStore) -> None:
    case = held(lite, finding(1))
    told = notice(finding(1), distribution=("Archive",))
    lite.add(case, told, by="ann")
    assert lite.add(case, Delivery(told.id, "Archive", LATER, "ann", "delivered"), by="ann")
    with pytest.raises(InputError, match="addressed to Desk A, Desk B, Archive, not to 'Press'"):
        lite.add(case, Delivery(told.id, "Press", LATER, "ann", "delivered"), by="ann")


def group(
    subject: str, accounts: range, shingles: tuple[str, ...] = (), *, listed: int | None = None
) -> Finding:
    members: list[dict[str, Any]] = [{"account": f"a-{n:016x}"} for n in accounts]
    details = {
        "accounts": len(accounts),
        "members": members[: listed if listed is not None else len(members)],
        "material": {"shingles": list(shingles)} if shingles else {},
    }
    return finding(1, subject=subject, claim=f"{len(accounts)} accounts act as one.", details=details)


OLD = group("c-1", range(40), ("aa", "bb"))


@pytest.mark.parametrize(
    "new",
    [
        group("c-2", range(39, 50)),  # an account in common
        group("c-2", range(100, 115), ("bb", "cc")),  # the same text
        group("c-1", range(100, 115)),  # the same subject
        group("c-2", range(100, 600), listed=300),  # not all of its accounts are listed
        finding(2),  # no group at all
    ],
)
def test_a_finding_is_corrected_by_one_about_the_same(lite: CaseStore, new: Finding) -> None:
    case = held(lite, OLD, new)
    assert lite.withdraw(case, OLD.id, "wrong.", by="ann", replaced_by=new.id).replaced_by == new.id


@pytest.mark.parametrize("shingles", [(), ("cc",)])
def test_a_finding_is_not_corrected_by_one_about_others(lite: CaseStore, shingles: tuple[str, ...]) -> None:
    other = group("c-2", range(100, 115), shingles)
    case = held(lite, OLD, other)
    with pytest.raises(InputError, match="c-1 and c-2 share no account and no text"):
        lite.withdraw(case, OLD.id, "wrong.", by="ann", replaced_by=other.id)
    with pytest.raises(InputError, match="share no account and no text"):
        lite.withdraw(case, OLD.id, "wrong.", by="ann", replacement=group("c-3", range(60, 70)))
    assert lite.withdraw(case, OLD.id, "wrong.", by="ann")
