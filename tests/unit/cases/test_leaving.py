"""Words and counts as they may leave."""

from __future__ import annotations

import pytest
from sharing_case import ACCOUNT, case

from stillwatch.cases import leaving
from stillwatch.records import Answer, Asked


@pytest.mark.parametrize(
    ("text", "leaves"),
    [
        (f"by {ACCOUNT}, 3 accounts, 12 accounts, 1 member, 0 accounts",
         "by (withheld), fewer than 5 accounts, 12 accounts, fewer than 5 members, 0 accounts"),
        ("1 of 198 accounts", "fewer than 5 of 198 accounts"),
        ("3 of the accounts", "fewer than 5 of the accounts"),
        ("three accounts", "fewer than 5 accounts"),
        ("2 distinct accounts", "fewer than 5 distinct accounts"),
        ("1 organisation", "fewer than 5 organisations"),
        ("one company behind all accounts", "one company behind all accounts"),
        (ACCOUNT.upper(), "(withheld)"),
        (f"ft:{ACCOUNT}", "ft:(withheld)"),
        ("write to bob.doe+x@mail.example.com, or (eve@example.org).", "write to (withheld), or ((withheld))."),
        ("192.0.2.7 and 2001:db8::17, not 10:30:00, 1.2.3", "(withheld) and (withheld), not 10:30:00, 1.2.3"),
        (f"x\\n{ACCOUNT}", "x\\n(withheld)"),
        (f"%3A{ACCOUNT}", "%3A(withheld)"),
        ("4bf92f3577b34da6-00f067aa0ba902b7", "4bf92f3577b34da6-00f067aa0ba902b7"),
    ],
)  # fmt: skip
def test_small_counts_and_pseudonyms(text: str, leaves: str) -> None:
    assert leaving.public(text, {}) == leaves


@pytest.mark.parametrize(
    ("text", "leaves"),
    [
        ("needs at least 8 members, found 3", "needs at least some members, found a number"),
        ("3 of 198 accounts rest on it", "some of some accounts rest on it"),
        ("194 were one customer (three of them)", "some were one customer (some of them)"),
        ("12% of the requests", "a share of the requests"),
        ("an e-value of 3.1e+193 at most", "an e-value of 3.1e+193 at most"),
        ("from 2026-11-02 on, c-7f3a0011", "from 2026-11-02 on, c-7f3a0011"),
        ("71,204 exchanges of 198 accounts", "71,204 exchanges of some accounts"),
    ],
)
def test_no_number_but_those_that_may(text: str, leaves: str) -> None:
    assert leaving.numberless(text, {}, keep=(71_204,)) == leaves


def test_limits() -> None:
    assert leaving.limits_of(case().findings[0], {}) == [
        "some accounts rest on the text that proposed the group alone",
        "(withheld) joined late",
    ]


def test_parties_get_letters_in_the_order_in_which_they_came() -> None:
    late, early = "2026-11-21T12:00:00+00:00", "2026-11-20T12:00:00+00:00"
    held = case(
        asked=(Asked("Yew", "", late, "2026-12-01"), Asked("c-7f3a0011", "", early, "2026-12-01")),
        answers=(Answer("Zelkova", "", "no", early, "a"), Answer("Yew", "", "yes", late, "a")),
    )
    parties = leaving.parties_of(held)
    # A pseudonym of the case is one already.
    assert parties == {"Zelkova": "party A", "Yew": "party C"}
    assert leaving.nameless("YEW and yew's, not Yewtree", parties) == "party C and party C's, not Yewtree"
    many = case(asked=tuple(Asked(f"p{n:03d}", "", late, "2026-12-01") for n in range(30)), answers=())
    assert list(leaving.parties_of(many).values())[24:28] == ["party Y", "party Z", "party AA", "party AB"]
