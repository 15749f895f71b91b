"""What ties a member to the others one by one, and what a measurement is said to have counted."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from stillwatch.campaigns import words
from stillwatch.campaigns.alternatives import Facts
from stillwatch.campaigns.members import ties
from stillwatch.campaigns.scoring import Score
from stillwatch.records import Null, TestResult

MEMBERS = np.arange(40)
RNG = np.random.default_rng(1)


def test_a_number_ties_nobody_however_close_the_members_are() -> None:
    close = np.r_[RNG.uniform(650, 660, 40), RNG.uniform(0, 700, 400)]
    assert not ties(close, MEMBERS).any()


def test_an_event_ties_whom_it_happened_to() -> None:
    happened = np.r_[np.ones(30), np.zeros(5), -np.ones(5), np.ones(400)].astype(np.int8)
    assert ties(happened, MEMBERS).tolist() == [True] * 30 + [False] * 10


@pytest.mark.parametrize(
    ("of_members", "of_others", "tied"),
    [
        ([1] * 20 + [2] * 19 + [3], [7] * 400, 39),  # nobody else holds what one alone holds
        ([1] * 40, [1] * 396 + [2] * 4, 0),  # all have it, and so have nearly all others
        ([1] * 30 + [2] * 10, [1] * 300 + [2] * 100, 0),  # as frequent outside: a kind of mail that is usual
        ([1] * 30 + [-1] * 10, [1] * 100 + [2] * 300, 30),  # what is not known ties nobody
        ([-1] * 40, [1] * 400, 0),
    ],
)
def test_a_value_ties_those_who_share_it_where_it_is_rarer_outside(
    of_members: list[int], of_others: list[int], tied: int
) -> None:
    assert ties(np.array(of_members + of_others), MEMBERS).sum() == tied


def test_one_kind_of_value_is_enough() -> None:
    card = np.r_[np.repeat([1, 2], 20), np.arange(10, 410)]
    usual = np.ones(440, np.int64)
    assert ties(np.stack([usual, card], axis=1), MEMBERS).all()
    assert ties(np.stack([usual, card], axis=1)[:, :1], MEMBERS).sum() == 0


# ---------------------------------------------------------------------------------------------------------------------

BETS = TestResult(
    "registration@1", 26.0, Null("as matched accounts", "betting", "account"), 37, "bets on a member",
    log_evalue=math.log(2.7), effect=26 / 37 - 0.26,
)  # fmt: skip
PLACES = replace(
    BETS, test="synchrony@1", unit="account-windows", n=1305, statistic=45.0, effect=0.41,
    effect_name="requests within the same two seconds, per expected, less 1",
)  # fmt: skip
FACTS = Facts(40, None, None, 0.4, 40, 3, 40, 8.0, 0, (), 40)


def test_a_measurement_is_told_by_what_was_counted_and_without_its_evalue() -> None:
    assert (
        words.counted(BETS)
        == "26 of 37 accounts as predicted from those before them, of matched accounts 26%"
    )
    assert words.counted(replace(BETS, test="ban_failover@1")).startswith(
        "26 of 37 accounts show it, of matched"
    )
    assert words.counted(PLACES) == "41% more requests within the same two seconds than chance and habit give"
    assert words.counted(replace(PLACES, effect=-0.66)).startswith("66% fewer requests")


@pytest.mark.parametrize(("cards", "said"), [(1, "1 payment token for"), (3, "3 payment tokens for")])
def test_what_ties_them_is_told_in_plain_counts(cards: int, said: str) -> None:
    paid = replace(BETS, test="shared_infrastructure@1", log_evalue=9.0)
    score = Score(9.0, 9.0, 9.0, 9.0, (BETS, paid, replace(PLACES, log_evalue=-1.0)), ())
    sentences = words.confirmed(score, replace(FACTS, cards=cards))
    assert [s.partition(":")[0] for s in sentences] == ["funding and infrastructure", "registration times"]
    assert said + " 40 accounts" in sentences[0] and "four fifths within 8 days" in sentences[1]
    assert not any("e =" in s for s in sentences)
