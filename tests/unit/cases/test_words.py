"""Numbers as a reader sees them."""

from __future__ import annotations

import math
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillwatch.cases import charts, words


@pytest.mark.parametrize(
    ("log_value", "shown"),
    [
        (math.log(3e41), "3e+41"),
        (math.log(9.96e12), "1e+13"),
        (math.log(5.54e5), "5.5e+05"),
        (math.log(0.4), "0.4"),
        (0.0, "1"),
        (math.log(61.2), "61"),
        (math.log(4100), "4,100"),
        (math.log(141_200), "1.4e+05"),
        (-math.log(2e6), "5e-07"),
        (-400 * math.log(10), "1e-400"),
        (5000 * math.log(10), "1e+5000"),
        (-math.inf, "0"),
        (math.inf, "infinite"),
    ],
)
def test_power(log_value: float, shown: str) -> None:
    assert words.power(log_value) == shown


@given(st.floats(-800, 800))
def test_power_is_the_number_to_two_digits(log_value: float) -> None:
    shown = float(words.power(log_value).replace(",", "")) if abs(log_value) < 700 else None
    if shown is not None:
        assert abs(math.log(shown) - log_value) < math.log(1.06)


@pytest.mark.parametrize(
    ("share", "shown"), [(0, "0%"), (0.001, "under 1%"), (0.97, "97%"), (0.999, "over 99%"), (1, "100%")]
)
def test_percent_keeps_all_and_nothing_for_all_and_nothing(share: float, shown: str) -> None:
    assert words.percent(share) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(71204, "71,204"), (4.25, "4.25"), (0.000123, "0.000123"), (2.0, "2")]
)
def test_number(value: float, shown: str) -> None:
    assert words.number(value) == shown


def test_days_without_exchanges_are_drawn_as_nothing_and_not_left_out() -> None:
    days = words.every_day({"2026-11-03": 5, "2026-11-01": 2, "soon": 9})
    assert days == [(date(2026, 11, 1), 2), (date(2026, 11, 2), 0), (date(2026, 11, 3), 5)]
    svg = charts.timeline({"2026-11-03": 5, "2026-11-01": 2}, "t")
    assert svg.count("<rect") == 3
    assert (
        "t. One bar is one day, 1 November 2026 to 3 November 2026. The highest: 5, 3 November 2026." in svg
    )


def test_years_are_drawn_as_weeks_so_that_the_picture_stays_small() -> None:
    svg = charts.timeline({"1990-01-01": 1, "2100-01-01": 1}, "t")
    assert 100 < svg.count("<rect") <= 200


@given(st.floats(0, 1e12))
def test_the_axis_reaches_over_the_largest_bar(largest: float) -> None:
    top, ticks = charts._scale(largest)
    assert top >= largest
    assert 2 <= len(ticks) <= 6
    assert ticks[-1] == top


def test_the_membership_picture_counts_each_kind_and_orders_weak_members_last() -> None:
    accounts = [{"prompt": True, "funding": n < 3} for n in range(5)]
    svg = charts.membership(accounts, 9, "t")
    assert "t. prompt: 5 of 5; funding: 3 of 5" in svg
    assert "5 accounts of 9" in svg
    assert svg.count('class="mark"') == 2  # each kind is one run: the order puts like beside like


def test_pictures_of_nothing_are_nothing() -> None:
    assert charts.timeline({}, "t") == ""
    assert charts.membership([], 0, "t") == ""
