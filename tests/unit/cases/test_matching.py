"""Matching across providers: what both learn, and what neither does."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from stillwatch.cases import matching
from stillwatch.errors import FormatError, InputError, IntegrityError

SECRET = bytes(range(32))
NAMES: dict[str, Any] = {"exchange": "a and b, 2026-11-24", "kind": "payment tokens"}
KEY = matching.exchange_key(SECRET, **NAMES)


def token(start: str, number: int) -> str:
    """As random as a token of a processor is."""
    return f"tok_{start}_{sha256(f'{start} {number}'.encode()).hexdigest()[:20]}"


OURS = {token("our", i): 5 + i for i in range(20)} | {"tok_both_00aa11bb22": 9, "tok_both_rare_000": 4}
THEIRS = {token("their", i): 7 for i in range(90)} | {"tok_both_00aa11bb22": 30, "tok_both_rare_000": 50}


def offer(values: dict[str, int], key: bytes = KEY, *, sender: str = "a", **more: Any) -> matching.Offer:
    return matching.offer(values, key, sender=sender, **NAMES, **more)


def test_each_learns_what_both_hold_and_nothing_of_small_groups() -> None:
    a, b = offer(OURS), offer(THEIRS, sender="b")
    for mine, other, receiver in ((OURS, b, "a"), (THEIRS, a, "b")):
        found = matching.matches(mine, other, KEY, receiver=receiver)
        assert found.values == ("tok_both_00aa11bb22",)
    assert matching.matches(OURS, b, KEY, receiver="a").held_back == 1
    # Held by 4 accounts at one of the two: neither side sees it.
    assert "tok_both_rare_000" not in matching.matches(THEIRS, a, KEY, receiver="b").values


def test_an_offer_that_comes_back_has_nothing_in_common_with_its_own_values() -> None:
    sent = offer(OURS)
    with pytest.raises(InputError, match="compared with itself"):
        matching.matches(OURS, matching.read_offer(sent.as_json(), source="b"), KEY, receiver="A")
    # Under another name, and under another nonce, its digests are not those of its values.
    for changed in (replace(sent, sender="b"), replace(sent, sender="b", nonce="0" * 32)):
        assert matching.matches(OURS, changed, KEY, receiver="a").values == ()


def test_an_offer_is_held_to_its_commitment() -> None:
    sent = offer(OURS)
    matching.check_commitment(
        matching.read_offer(sent.as_json(), source="a"), f" {sent.commitment.upper()}\n"
    )
    for other in (offer(OURS), replace(sent, sender="c"), replace(sent, digests=sent.digests[1:])):
        with pytest.raises(IntegrityError, match="the offer of"):
            matching.check_commitment(other, sent.commitment)
    # The nonce is random, so that a commitment to known values cannot be guessed.
    assert offer({}).commitment != offer({}).commitment


def test_an_offer_hides_values_and_how_many_there_are() -> None:
    few, some = (offer(dict(list(OURS.items())[:n])) for n in (1, 20))
    assert len(few.digests) == len(some.digests) == 64
    assert list(some.digests) == sorted(some.digests)
    sent = some.as_json().decode()
    assert not any(v in sent for v in OURS)
    assert len(offer({token("x", i): 5 for i in range(65)}).digests) == 128


@pytest.mark.parametrize(
    "other",
    [
        matching.exchange_key(bytes(32), **NAMES),
        matching.exchange_key(SECRET, exchange="another", kind=NAMES["kind"]),
        matching.exchange_key(SECRET, exchange=NAMES["exchange"], kind="wrapper windows"),
    ],
)
def test_another_secret_exchange_or_kind_has_unrelated_digests(other: bytes) -> None:
    offered = offer(THEIRS, sender="b")
    with pytest.raises(InputError, match="another secret, exchange or kind"):
        matching.matches(OURS, offered, other, receiver="a")
    assert not set(offer(THEIRS, other, sender="b").digests) & set(offered.digests)


def test_what_a_key_holder_can_do_is_guess() -> None:
    """The leak that the guide tells of: with the key, a guess can be tested. Without it, it cannot."""
    offered = offer({"tok_both_00aa11bb22": 9})
    assert matching.matches({"tok_both_00aa11bb22": 99}, offered, KEY, receiver="b").values
    forged = replace(offered, key_check=matching._key_check(bytes(32)))
    assert not matching.matches({"tok_both_00aa11bb22": 99}, forged, bytes(32), receiver="b").values


@pytest.mark.parametrize(
    "value",
    [
        "4111 1111 1111 1111", "+49 (30) 1234 5678 901", "short", "1" * 30, "pan 4111111111111111",
        "4111111111111111x", "visa-4111-1111-1111-1111", "\uff14" + "\uff11" * 15, "john.doe@example.com",
        "mail: <john.doe@example.com>", "2001:db8:0:1:2:3:4:5", "address 2001:db8::17 of a", "192.168.100.1 /24 a",
        "card aa:bb:cc:dd:ee:ff", "order number 2026-11-24/0017",
    ],
)  # fmt: skip
def test_values_that_can_be_listed_are_refused(value: str) -> None:
    with pytest.raises(InputError, match="could be listed and tried"):
        offer({value: 50})
    with pytest.raises(InputError, match="could be listed and tried"):
        matching.matches({value: 50}, offer({}), KEY, receiver="b")


def test_random_tokens_are_no_numbers() -> None:
    """Some of 20,000 have long runs of digits by chance, and a value that is refused stops the whole offer."""
    names = [sha256(str(n).encode()).hexdigest() for n in range(20_000)]
    uuids = [f"{n[:8]}-{n[8:12]}-{n[12:16]}-{n[16:20]}-{n[20:32]}" for n in names]
    for values in (names, [f"pm_{n[:24]}" for n in names], uuids, [f"card {u.upper()}" for u in uuids]):
        assert not [v for v in values if matching.listable(v)]


def test_wrappers_match_wherever_each_side_cut_them() -> None:
    text = "before you answer articulate the internal reasoning behind the completed response step by step"
    ours, theirs = text[3:], "x " + text[10:] + " ok"
    offered = offer(dict.fromkeys(matching.offered_windows([ours]), 40))
    found = matching.matches(dict.fromkeys(matching.sought_windows([theirs]), 60), offered, KEY, receiver="b")
    assert len(found.values) == 1
    assert found.values[0] in text
    other = dict.fromkeys(
        matching.sought_windows(["a quite different text that has no window in common with it"]), 60
    )
    assert not matching.matches(other, offered, KEY, receiver="b").values
    # Every script, and no window that could be listed.
    arabic = "\u0627\u0644\u0645\u0647\u0645\u0629 " * 9
    assert matching.offered_windows([arabic]) <= matching.sought_windows(["x" + arabic])
    assert not matching.offered_windows(["write to john.doe@example.com now"])


def test_an_offer_comes_back_as_it_was_sent_and_its_commitment_holds() -> None:
    sent = offer(OURS)
    back = matching.read_offer(sent.as_json(), source="offer.json")
    assert back == sent
    assert back.commitment == sent.commitment
    assert offer(OURS).commitment != sent.commitment  # padding and nonce are drawn anew


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
        ("nonce", "x", "hexadecimal"),
        ("sender", "", "short name"),
        ("more", 1, "expected an offer"),
    ],
)
def test_a_broken_offer_is_refused(field: str, value: object, says: str) -> None:
    sent = json.loads(offer(OURS).as_json())
    with pytest.raises(FormatError, match=says):
        matching.read_offer(json.dumps({**sent, field: value}).encode(), source="offer.json")


def test_padding_that_repeats_is_no_padding() -> None:
    with pytest.raises(InputError, match="repeats itself"):
        offer(OURS, draw=bytes)


def test_secrets_and_names_are_checked() -> None:
    with pytest.raises(InputError, match="32 random bytes"):
        matching.exchange_key(b"password", **NAMES)
    with pytest.raises(InputError, match="kind"):
        matching.exchange_key(SECRET, exchange="a", kind="")
    with pytest.raises(InputError, match="sender"):
        offer(OURS, sender="")
