"""Twins: a fair coin that nobody can turn, and nobody can say was turned."""

from __future__ import annotations

import json
import pickle
import random
from dataclasses import replace

import pytest

from stillwatch.errors import InputError, IntegrityError
from stillwatch.marks import merkle
from stillwatch.marks.keys import Master, Scope
from stillwatch.marks.twins import Commitment, Day, Tally, Twin, verify, without_twin

MASTER = Master(bytes(range(32)))
DAY = "2026-12-01"


def a_day(n: int = 400, share: float = 0.25) -> tuple[Day, list[str], list[Twin]]:
    day = Day(MASTER, DAY, share=share)
    ids = [f"x-{i}" for i in range(n)]
    drawn = [day.draw(x, f"first answer to {x}", f"second answer to {x}") for x in ids if day.selects(x)]
    return day, ids, [pair[1] for pair in drawn if pair]


def test_the_share_and_the_coin_are_fair() -> None:
    day = Day(MASTER, DAY, share=0.25)
    picked = [f"x-{i}" for i in range(20_000) if day.selects(f"x-{i}")]
    assert abs(len(picked) - 5000) < 4 * (20_000 * 0.25 * 0.75) ** 0.5
    served = [day.draw(x, f"a {x}", f"b {x}") for x in picked]
    firsts = sum(pair is not None and pair[0] == 0 for pair in served)
    coins = sum(pair is not None and pair[1].coin for pair in served)
    for ones in (firsts, coins):
        assert abs(ones - len(picked) / 2) < 4 * (len(picked) / 4) ** 0.5
    assert not any(Day(MASTER, DAY, share=0).selects(x) for x in picked)
    assert all(Day(MASTER, DAY, share=1).selects(x) for x in picked)


def test_which_answer_is_called_the_first_changes_nothing() -> None:
    day, ids, _ = a_day()
    for x in filter(day.selects, ids):
        one, two = day.draw(x, "yes", "no"), day.draw(x, "no", "yes")
        assert one and two
        assert one[1] == two[1]
        assert one[0] != two[0]


def test_equal_answers_have_no_twin_and_other_exchanges_none_either() -> None:
    day, ids, _ = a_day()
    picked = next(x for x in ids if day.selects(x))
    other = next(x for x in ids if not day.selects(x))
    assert day.draw(picked, "same", "same") is None
    with pytest.raises(InputError, match="none of those that get a twin"):
        day.draw(other, "a", "b")


def test_seeds_differ_by_day_scope_share_and_master() -> None:
    days = [
        Day(MASTER, DAY, share=0.5), Day(MASTER, "2026-12-02", share=0.5), Day(MASTER, DAY, share=0.25),
        Day(MASTER, DAY, share=0.5, scope=Scope(tenant="o-1")), Day(Master(b"x" * 32), DAY, share=0.5),
    ]  # fmt: skip
    assert len({d.open() for d in days}) == len({d.commitment.digest for d in days}) == 5
    assert Day(MASTER, DAY, share=0.5).open() == days[0].open()


def test_whoever_has_the_seed_can_check_it() -> None:
    day, ids, twins = a_day()
    commitment = Commitment(**json.loads(day.commitment.line()))
    tally = Tally(**json.loads(day.tally(twins).line()))
    back = [Twin.from_note(t.exchange_id, json.loads(json.dumps(t.note()))) for t in twins]
    assert back == twins
    assert Twin.from_note("x", {}) is None
    assert verify(commitment, tally, twins, day.open()) == len(twins) == tally.twins > 50
    assert without_twin(commitment, twins, day.open(), ids) == []
    assert without_twin(commitment, twins[1:], day.open(), ids) == [twins[0].exchange_id]


def test_an_empty_day() -> None:
    day = Day(MASTER, DAY, share=0.5)
    assert verify(day.commitment, day.tally([]), [], day.open()) == 0


def test_every_way_to_choose_a_coin_later_is_found() -> None:
    day, _, twins = a_day()
    tally, seed = day.tally(twins), day.open()
    other = Day(MASTER, "2026-12-02", share=0.25)
    turned = [replace(twins[0], coin=1 - twins[0].coin), *twins[1:]]
    for wrong, says in (
        (turned, "twin 0 .*with coin"),
        (twins[:-1], f"of {len(twins)} pairs"),
        ([*twins[:-1], twins[0]], "of one pair of that day"),
        ([*twins[:-1], replace(twins[-1], exchange_id="invented")], "twin .*invented"),
        ([twins[1], twins[0], *twins[2:]], "expected digest"),
        ([*twins[:-1], replace(twins[-1], low="0" * 64)], "expected digest"),
        ([replace(twins[0], low=twins[0].high, high=twins[0].low), *twins[1:]], "in order"),
    ):
        with pytest.raises(IntegrityError, match=says):
            verify(day.commitment, tally, wrong, seed)
    with pytest.raises(IntegrityError, match=f"seed of {DAY}"):
        verify(day.commitment, tally, twins, other.open())
    with pytest.raises(IntegrityError, match=f"seed of {DAY}"):
        verify(replace(day.commitment, share=0.5), tally, twins, seed)
    with pytest.raises(IntegrityError, match="tally"):
        verify(day.commitment, replace(tally, commitment=other.commitment.digest), twins, seed)
    with pytest.raises(InputError, match="64 hexadecimal digits"):
        verify(day.commitment, tally, twins, "abc")
    with pytest.raises(InputError, match="its note has no twin"):
        Twin.from_note("x", {"twin": {"coin": 1}})
    with pytest.raises(InputError, match="an exchange with two"):
        day.tally([*twins, twins[0]])
    with pytest.raises(InputError, match="another day"):
        other.tally(twins)


def test_a_tally_says_nothing_of_the_answers_before_the_seed_is_open() -> None:
    _, _, twins = a_day(20, share=1)
    root = Day(MASTER, DAY, share=1).tally(twins[:1]).root
    said = json.dumps(
        [DAY, twins[0].exchange_id, twins[0].low, twins[0].high, twins[0].coin], separators=(",", ":")
    )
    assert root != merkle.leaf(said.encode()).hex()


def test_the_seed_leaves_by_one_door() -> None:
    day, _, twins = a_day(40)
    for text in (repr(day), str(day.commitment), day.commitment.line(), day.tally(twins).line(), repr(twins)):
        assert day.open() not in text
    with pytest.raises(InputError, match="not pickled"):
        pickle.dumps(day)


@pytest.mark.parametrize(("day", "share"), [("2026-13-01", 0.5), ("20261201", 0.5), (DAY, 1.5), (DAY, -0.1)])
def test_what_is_no_draw(day: str, share: float) -> None:
    with pytest.raises(InputError):
        Day(MASTER, day, share=share)


# RFC 6962's own test vectors, as they stand in its reference implementation (google/certificate-transparency,
# Apache-2.0): inputs and roots.
INPUTS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def test_published_roots() -> None:
    leaves = [merkle.leaf(bytes.fromhex(x)) for x in INPUTS]
    assert [merkle.root(leaves[: n + 1]).hex() for n in range(8)] == ROOTS
    assert merkle.root([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_one_pair_can_be_shown_without_the_others() -> None:
    rng = random.Random(1)
    for n in [*range(1, 34), 100, 255, 256, 257]:
        leaves = [merkle.leaf(bytes([i % 256, i // 256])) for i in range(n)]
        root = merkle.root(leaves)
        for place in {0, n - 1, n // 2, rng.randrange(n)}:
            steps = merkle.path(leaves, place)
            assert merkle.leads_to(leaves[place], place, n, steps, root)
            assert not merkle.leads_to(merkle.leaf(b"other"), place, n, steps, root)
            if n > 1:
                assert not merkle.leads_to(leaves[place], (place + 1) % n, n, steps, root)
                assert not merkle.leads_to(leaves[place], place, n, steps[:-1], root)
                assert not merkle.leads_to(leaves[place], place, n, [*steps, steps[0]], root)
        assert not merkle.leads_to(leaves[0], n, n, [], root)
