"""Canaries: every way of saying it is true, drawn fairly, and recognised."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from pathlib import Path

import pytest

from stillwatch.errors import InputError
from stillwatch.marks.canaries import (
    SET,
    Canary,
    Planted,
    canaries,
    draw,
    instruction,
    probe_set,
    recognise,
    scores,
)
from stillwatch.marks.keys import Master, Scope

MASTER = Master(bytes(range(32)))
SCOPE = Scope(tenant="o-1", epoch="2026-12")
EVERY = canaries()


def test_there_are_enough_and_of_every_kind() -> None:
    kinds = Counter(one.kind for one in EVERY)
    assert min(kinds.values()) >= 10
    assert len(EVERY) >= 40
    # So many scopes can be told apart: bits in one draw of all.
    assert sum(math.log2(len(one.ways)) for one in EVERY) > 80


@pytest.mark.parametrize("one", EVERY, ids=[one.id for one in EVERY])
def test_every_way_says_the_same_truth(one: Canary) -> None:
    """No way has a number that the others lack, but for what an example gives; none denies what another says."""
    numbers = [re.findall(r"\d+", way) for way in one.ways]
    known = set(re.findall(r"\d+", " ".join(one.must)))
    for way, found in zip(one.ways, numbers, strict=True):
        assert all(word in way or word[0].upper() + word[1:] in way for word in one.must)
        extra = Counter(found) - Counter(re.findall(r"\d+", " ".join(one.must)))
        assert sum(extra.values()) <= (1 if one.kind == "example" else 0), way
        assert known <= set(found)
        assert way.endswith(".")
        assert bool(re.search(r"\b(not|never|no)\b|n't", way)) == bool(
            re.search(r"\b(not|never|no)\b|n't", one.ways[0])
        )
    assert one.why
    assert one.ask.endswith(("?", "."))


@pytest.mark.parametrize(
    ("name", "true"),
    [
        ("a-prime", lambda n: all(n % d for d in range(2, n)) and 10 < n < 30),
        ("a-square", lambda n: math.isqrt(n) ** 2 == n and n < 100),
        ("a-leap-year", lambda n: n % 4 == 0 and (n % 100 or n % 400 == 0) and 2000 < n < 2030),
    ],
)
def test_examples_that_can_be_computed_are(name: str, true: object) -> None:
    (one,) = [c for c in EVERY if c.id == name]
    for way in one.ways:
        assert true(int(re.findall(r"\d+", way)[-1]))  # type: ignore[operator]


def test_the_draw_is_uniform_and_independent_of_the_other_canaries() -> None:
    """Over 3,000 scopes each way of each canary comes up as often as the others (chi-square, 6 standard deviations)."""
    counts = {one.id: Counter() for one in EVERY}
    scopes = [Scope(tenant=f"o-{n}") for n in range(3000)]
    few = [one for one in EVERY if len(one.ways) <= 24]
    for scope in scopes:
        for p in draw(MASTER, scope, few):
            counts[p.canary.id][p.way] += 1
    for one in few:
        expected = len(scopes) / len(one.ways)
        chi = sum((counts[one.id][n] - expected) ** 2 / expected for n in range(len(one.ways)))
        freedom = len(one.ways) - 1
        assert chi < freedom + 6 * (2 * freedom) ** 0.5, one.id
    alone = [draw(MASTER, SCOPE, [one])[0] for one in EVERY]
    assert tuple(alone) == draw(MASTER, SCOPE)


def test_another_key_another_draw() -> None:
    base = draw(MASTER, SCOPE)
    assert draw(Master(bytes(range(32))), SCOPE) == base
    for other in (draw(MASTER, Scope(tenant="o-2", epoch="2026-12")), draw(Master(b"x" * 32), SCOPE)):
        same = sum(a.way == b.way for a, b in zip(base, other, strict=True))
        assert same < len(base) / 2


@pytest.mark.parametrize("one", EVERY, ids=[one.id for one in EVERY])
def test_every_way_is_recognised_and_no_other(one: Canary) -> None:
    for n, way in enumerate(one.ways):
        for said in (way, f"Sure! {way} Anything else?", way.upper(), way.rstrip("."), f"  {way}\n"):
            assert recognise(one, said) == n, said
    assert recognise(one, " ".join(one.ways[:2])) is None
    assert recognise(one, "I cannot say.") is None
    assert recognise(one, "") is None


def test_a_probe_set_is_fixed_and_gives_nothing_away() -> None:
    probes = probe_set(MASTER, SCOPE, controls=10, repeats=3)
    again = probe_set(MASTER, SCOPE, controls=10, repeats=3)
    assert probes == again
    assert probes.commitment() == again.commitment()
    assert len(probes.controls) == 10
    assert len(probes.planted) + 10 == len(EVERY)
    assert {p.canary.id for p in probes.controls}.isdisjoint(p.canary.id for p in probes.planted)
    others = [
        probe_set(MASTER, SCOPE, controls=9, repeats=3), probe_set(MASTER, SCOPE, controls=10, repeats=2),
        probe_set(MASTER, Scope(), controls=10, repeats=3),
    ]  # fmt: skip
    assert len({p.commitment() for p in [probes, *others]}) == 4
    # The questions say neither what was planted nor which is a control.
    assert probes.questions() == probe_set(MASTER, Scope(), controls=10, repeats=3).questions()
    assert len(probes.questions()) == 3 * len(EVERY)
    shown = json.loads(json.dumps(probes.opened()))
    assert shown["planted"][0][3] == probes.planted[0].way
    # Whoever knows everything but the salt cannot test a guess.
    unsalted = probes.opened() | {"salt": ""}
    assert json.dumps(unsalted) != json.dumps(probes.opened())
    for wrong in (-1, len(EVERY)):
        with pytest.raises(InputError, match="can be controls"):
            probe_set(MASTER, SCOPE, controls=wrong)


def test_scores_for_the_test_of_a_model() -> None:
    probes = probe_set(MASTER, SCOPE, controls=10)
    learned = {p.canary.id: [p.text, p.text, p.decoys[0]] for p in probes.planted[:12]}
    planted, decoys = scores(probes.planted, learned)
    assert planted == [2.0] * 12
    assert len({len(row) for row in decoys}) == 1
    for p, row in zip(probes.planted[:12], decoys, strict=True):
        assert [x for x in row if not math.isnan(x)] == [1.0] + [0.0] * (len(p.decoys) - 1)
    assert scores(probes.planted, {}) == ([], [])


def test_the_null_is_the_draw() -> None:
    """Answers that know no key: the planted way is used as often as any other, whatever the habits of who answers."""
    habit = {one.id: [one.ways[0]] for one in EVERY}  # always says the first way
    beaten, of = 0, 0
    for n in range(300):
        planted, decoys = scores(draw(MASTER, Scope(tenant=f"o-{n}")), habit)
        for p, row in zip(planted, decoys, strict=True):
            finite = [x for x in row if not math.isnan(x)]
            beaten += p > 0
            of += 1 / (len(finite) + 1)
    assert abs(beaten - of) < 4 * of**0.5


def test_an_instruction_names_every_way_once() -> None:
    planted = draw(MASTER, SCOPE)[:5]
    text = instruction(planted)
    for p in planted:
        assert text.count(p.text) == 1
        assert not any(d in text for d in p.decoys)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x", "not a set of canaries"),
        (
            '[[canary]]\nid="a"\nkind="phrasing"\nask="?"\ntruths=["One."]\nmust=[]\nwhy="w"',
            "two ways or more",
        ),
        (
            '[[canary]]\nid="a"\nkind="phrasing"\nask="?"\ntruths=["A b.","a  B."]\nmust=[]\nwhy="w"',
            "all different",
        ),
        (
            '[[canary]]\nid="a"\nkind="phrasing"\nask="?"\ntruths=["It is 2.","It is 3."]\nmust=["2"]\nwhy="w"',
            "not say",
        ),
        ('[[canary]]\nid="a"\nkind="rumour"\nask="?"\nmust=[]\nwhy="w"', "kind is phrasing"),
    ],
)
def test_a_set_of_one_s_own_is_held_to_the_same(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=says):
        canaries(path)
    assert canaries(SET) == EVERY
    assert Planted(EVERY[0], 1).text == EVERY[0].ways[1]
