"""Twins held against what was published: what was turned, added, left out or never published is named."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from stillwatch.errors import InputError
from stillwatch.marks.keys import Master, Scope
from stillwatch.marks.twins import Day, Twin
from stillwatch.marks.twins_published import Published, held, published

MASTER = Master(bytes(range(32)))
DAY, OTHER = "2026-12-01", "2026-12-02"


def drawn(day: Day, n: int = 200) -> list[Twin]:
    made = [
        day.draw(f"x-{i}", f"one answer to {i}", f"another to {i}") for i in range(n) if day.selects(f"x-{i}")
    ]
    return [pair[1] for pair in made if pair]


def said(*days: tuple[Day, list[Twin]]) -> Published:
    lines = [text for day, twins in days for text in (day.commitment.line(), day.tally(twins).line())]
    return published([(f"p:{i}", json.loads(text)) for i, text in enumerate([*lines, *lines], 1)])


def test_a_day_as_it_was_published() -> None:
    day = Day(MASTER, DAY, share=0.5)
    twins = drawn(day)
    assert len(twins) > 50
    assert held(said((day, twins)), twins, MASTER, []) == (set(twins), [])


def test_a_coin_that_was_turned_later_is_named_and_the_others_stay() -> None:
    day = Day(MASTER, DAY, share=0.5)
    twins = drawn(day)
    forged = replace(twins[7], coin=1 - twins[7].coin)
    good, notes = held(said((day, twins)), [*twins[:7], forged, *twins[8:]], MASTER, [])
    assert good == set(twins) - {twins[7]} and len(notes) == 1
    assert repr(forged.exchange_id) in notes[0] and "its coin did not fall" in notes[0]


def test_a_pair_that_the_draw_did_not_pick_is_named() -> None:
    day = Day(MASTER, DAY, share=0.5)
    twins = drawn(day)
    name = next(f"y-{i}" for i in range(99) if not day.selects(f"y-{i}"))
    good, notes = held(said((day, twins)), [*twins, replace(twins[0], exchange_id=name)], MASTER, [])
    assert good == set(twins) and len(notes) == 1 and "did not pick" in notes[0] and name in notes[0]


@pytest.mark.parametrize(
    "what", ["left out", "added", "other answers", "tallied wrong", "no tally", "two tallies"]
)
def test_a_day_whose_list_is_not_the_published_one_is_left_out_as_a_whole(what: str) -> None:
    day, fine = Day(MASTER, DAY, share=0.5), Day(MASTER, OTHER, share=0.5)
    twins, others = drawn(day), drawn(fine)
    told, there = said((day, twins), (fine, others)), list(twins)
    if what == "left out":
        there = twins[1:]
    elif what == "added":
        name = next(f"y-{i}" for i in range(99) if day.selects(f"y-{i}"))
        there = [*twins, replace(twins[0], exchange_id=name)]
    elif what == "other answers":
        there[3] = replace(there[3], low="0" * 64)
    elif what == "tallied wrong":  # the coin was turned before the tally was published
        there[3] = replace(there[3], coin=1 - there[3].coin)
        told = said((day, there), (fine, others))
    elif what == "no tally":
        told = replace(told, tallies=told.tallies[1:])
    else:
        told = replace(told, tallies=(*told.tallies, day.tally(twins[1:])))
    good, notes = held(told, [*there, *others], MASTER, [])
    assert good == set(others) and len(notes) == 1 and f"{len(there)} twins of {DAY}" in notes[0]


def test_what_was_not_published_or_is_of_another_master_or_scope_is_left_out() -> None:
    whom = Scope(tenant="o-1")
    ours, theirs = Day(MASTER, DAY, share=0.5, scope=whom), Day(Master(b"x" * 32), OTHER, share=0.5)
    twins, others = drawn(ours), drawn(theirs)
    told = said((ours, twins), (theirs, others))
    good, notes = held(
        told, [*twins, *others, replace(twins[0], day="2026-12-03", exchange_id="z")], MASTER, [whom]
    )
    assert good == set(twins) and len(notes) == 2
    assert "of this master" in notes[0] and "no commitment of that day" in notes[1]
    assert held(told, twins, MASTER, [])[0] == set()


def test_two_draws_of_one_day_are_told_apart_by_their_notes() -> None:
    days = [Day(MASTER, DAY, share=0.5, scope=Scope(tenant=t)) for t in ("o-1", "o-2")]
    lists = [drawn(days[0]), [replace(t, exchange_id=t.exchange_id) for t in drawn(days[1])]]
    lists[1] = [t for t in lists[1] if t.exchange_id not in {u.exchange_id for u in lists[0]}]
    back = [Twin.from_note(t.exchange_id, t.note()) for twins in lists for t in twins]
    told = said(*zip(days, lists, strict=True))
    good, notes = held(told, [t for t in back if t], MASTER, [Scope(tenant="o-1"), Scope(tenant="o-2")])
    assert good == {t for twins in lists for t in twins} and notes == []
    bare = [replace(t, scope="") for twins in lists for t in twins]
    good, notes = held(told, bare, MASTER, [Scope(tenant="o-1"), Scope(tenant="o-2")])
    assert good == set() and "none of the draws" in notes[0]
    # Notes of an earlier version, of a day with one draw.
    alone = [replace(t, scope="") for t in lists[0]]
    assert held(said((days[0], lists[0])), alone, MASTER, [Scope(tenant="o-1")]) == (set(alone), [])


@pytest.mark.parametrize(
    "line",
    [
        {"day": DAY},
        {"day": DAY, "share": "0.5", "scope": "a", "digest": "b"},
        {"day": 1, "share": 0.5, "scope": "a", "digest": "b"},
        {"day": DAY, "twins": True, "root": "a", "commitment": "b"},
    ],
)
def test_other_lines_are_refused_with_their_place(line: dict[str, object]) -> None:
    with pytest.raises(InputError, match="f:3: neither"):
        published([("f:3", line)])
