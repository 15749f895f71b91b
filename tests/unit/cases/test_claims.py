"""What became of a finding: it stands, was withdrawn or corrected, or fell with its case."""

from __future__ import annotations

from documents_samples import GOOD, OLD, OPEN, WRONG, case

from stillwatch.cases.claims import fallen, withdrawal_of
from stillwatch.cases.store import CaseStore
from stillwatch.records import Closing, Withdrawal

CLOSING = Closing("2026-11-25T08:00:00+00:00", "analyst 3", "The log was another provider's.", True)


def test_each_finding_says_what_became_of_it() -> None:
    gone = fallen(case())

    assert {f: g.state for f, g in gone.items()} == {OLD.id: "corrected", WRONG.id: "withdrawn"}
    assert gone[OLD.id].word.replaced_by == GOOD.id


def test_nothing_stands_in_a_case_that_was_withdrawn() -> None:
    gone = fallen(case(status="withdrawn", closing=CLOSING))

    assert {f: g.state for f, g in gone.items()} == {
        GOOD.id: "withdrawn with its case",
        OPEN.id: "withdrawn with its case",
        OLD.id: "withdrawn with its case",  # what corrected it fell as well
        WRONG.id: "withdrawn",  # nothing new to say
    }
    assert gone[GOOD.id].word == Withdrawal(GOOD.id, CLOSING.at, "analyst 3", CLOSING.reason)


def test_a_case_that_was_only_closed_keeps_its_findings() -> None:
    closed = Closing(CLOSING.at, "analyst 3", "Nothing more to do.", False)

    assert set(fallen(case(status="closed", closing=closed))) == {OLD.id, WRONG.id}


def test_the_latest_word_counts_and_of_two_at_one_time_the_later_filed() -> None:
    first, second = (Withdrawal(OPEN.id, CLOSING.at, "a", reason) for reason in ("first", "second"))
    early = Withdrawal(OPEN.id, "2026-01-01T00:00:00+00:00", "a", "early")

    assert withdrawal_of(case(withdrawals=(first, second, early)), OPEN.id) == second


def test_one_at_a_time_or_all_at_once_is_the_same() -> None:
    for held in (case(), case(status="withdrawn", closing=CLOSING)):
        words = {f: g.word for f, g in fallen(held).items()}
        assert {f.id: w for f in held.findings if (w := withdrawal_of(held, f.id))} == words


def test_a_store_gives_back_why_the_case_was_withdrawn(store: CaseStore) -> None:
    number = store.open("Shared prompt", by="ann").id
    store.close_case(number, "Nothing more to do.", by="ann")
    store.close_case(number, "All of it was wrong.", by="ben", withdrawn=True)

    closing = store.get(number).closing
    assert closing is not None
    assert (closing.by, closing.reason, closing.withdrawn) == ("ben", "All of it was wrong.", True)
