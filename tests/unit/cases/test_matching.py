"""Matching across providers: what both learn, and what neither does."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stillwatch.cases import matching
from stillwatch.errors import FormatError, InputError

SECRET = bytes(range(32))
NAMES: dict[str, Any] = {"exchange": "a and b, 2026-11-24", "kind": "payment tokens"}
KEY = matching.exchange_key(SECRET, **NAMES)
OURS = {f"tok_our_{i:016x}": 5 + i for i in range(20)} | {"tok_both_00aa11bb22": 9, "tok_both_rare_000": 4}
THEIRS = {f"tok_their_{i:016x}": 7 for i in range(90)} | {"tok_both_00aa11bb22": 30, "tok_both_rare_000": 50}


def test_each_learns_what_both_hold_and_nothing_of_small_groups() -> None:
    a, b = (matching.offer(values, KEY, **NAMES) for values in (OURS, THEIRS))
    for mine, other in ((OURS, b), (THEIRS, a)):
        found = matching.matches(mine, other, KEY)
        assert found.values == ("tok_both_00aa11bb22",)
    assert matching.matches(OURS, b, KEY).held_back == 1
    # Held by 4 accounts at one of the two: neither side sees it.
    assert "tok_both_rare_000" not in matching.matches(THEIRS, a, KEY).values


def test_an_offer_hides_values_and_how_many_there_are() -> None:
    few, some = (matching.offer(dict(list(OURS.items())[:n]), KEY, **NAMES) for n in (1, 20))
    assert len(few.digests) == len(some.digests) == 64
    assert list(some.digests) == sorted(some.digests)
    sent = some.as_json().decode()
    assert not any(v in sent for v in OURS)
    assert len(matching.offer({f"tok_{i:020d}x": 5 for i in range(65)}, KEY, **NAMES).digests) == 128


@pytest.mark.parametrize(
    "other",
    [
        matching.exchange_key(bytes(32), **NAMES),
        matching.exchange_key(SECRET, exchange="another", kind=NAMES["kind"]),
        matching.exchange_key(SECRET, exchange=NAMES["exchange"], kind="wrapper windows"),
    ],
)
def test_another_secret_exchange_or_kind_has_unrelated_digests(other: bytes) -> None:
    offered = matching.offer(THEIRS, KEY, **NAMES)
    with pytest.raises(InputError, match="another secret, exchange or kind"):
        matching.matches(OURS, offered, other)
    assert not set(matching.offer(THEIRS, other, **NAMES).digests) & set(offered.digests)


def test_what_a_key_holder_can_do_is_guess() -> None:
    """The leak that the guide tells of: with the key, a guess can be tested. Without it, it cannot."""
    offered = matching.offer({"tok_both_00aa11bb22": 9}, KEY, **NAMES)
    assert matching.digest("tok_both_00aa11bb22", KEY) in offered.digests
    assert matching.digest("tok_both_00aa11bb22", bytes(32)) not in offered.digests


@pytest.mark.parametrize("value", ["4111 1111 1111 1111", "+49 (30) 1234 5678 901", "short", "1" * 30])
def test_values_that_can_be_listed_are_refused(value: str) -> None:
    with pytest.raises(InputError, match="could be listed and tried"):
        matching.offer({value: 50}, KEY, **NAMES)
    with pytest.raises(InputError, match="could be listed and tried"):
        matching.matches({value: 50}, matching.offer({}, KEY, **NAMES), KEY)


def test_wrappers_match_wherever_each_side_cut_them() -> None:
    text = "before you answer articulate the internal reasoning behind the completed response step by step"
    ours, theirs = text[3:], "x " + text[10:] + " ok"
    offered = matching.offer(dict.fromkeys(matching.offered_windows([ours]), 40), KEY, **NAMES)
    found = matching.matches(dict.fromkeys(matching.sought_windows([theirs]), 60), offered, KEY)
    assert len(found.values) == 1
    assert bytes.fromhex(found.values[0]).decode() in text
    other = dict.fromkeys(
        matching.sought_windows(["a quite different text that has no window in common with it"]), 60
    )
    assert not matching.matches(other, offered, KEY).values


def test_an_offer_comes_back_as_it_was_sent_and_its_commitment_holds() -> None:
    sent = matching.offer(OURS, KEY, **NAMES)
    back = matching.read_offer(sent.as_json(), source="offer.json")
    assert back == sent
    assert back.commitment == sent.commitment
    assert matching.offer(OURS, KEY, **NAMES).commitment != sent.commitment  # padding is drawn anew


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("digests", ["0" * 32, "0" * 32], "in ascending order"),
        ("digests", ["z" * 32], "hexadecimal"),
        ("digests", "all", "expected a list"),
        ("least", 1, "from 5 on"),
        ("least", True, "from 5 on"),
        ("exchange", "<script>", "short name"),
        ("key_check", "", "hexadecimal"),
        ("more", 1, "expected an offer"),
    ],
)
def test_a_broken_offer_is_refused(field: str, value: object, says: str) -> None:
    sent = json.loads(matching.offer(OURS, KEY, **NAMES).as_json())
    with pytest.raises(FormatError, match=says):
        matching.read_offer(json.dumps({**sent, field: value}).encode(), source="offer.json")


def test_padding_that_repeats_is_no_padding() -> None:
    with pytest.raises(InputError, match="repeats itself"):
        matching.offer(OURS, KEY, **NAMES, draw=bytes)


def test_secrets_and_names_are_checked() -> None:
    with pytest.raises(InputError, match="32 random bytes"):
        matching.exchange_key(b"password", **NAMES)
    with pytest.raises(InputError, match="kind"):
        matching.exchange_key(SECRET, exchange="a", kind="")
