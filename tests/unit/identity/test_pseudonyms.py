"""Pseudonyms join inside a workspace and open only with its key."""

from __future__ import annotations

import hashlib
import hmac
import sqlite3

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillwatch.errors import InputError, IntegrityError
from stillwatch.identity import KEPT, PREFIX, Keys, Pseudonyms, parse, show
from stillwatch.identity.digests import digests


@pytest.fixture
def names(tmp_path):
    return Pseudonyms(Keys(tmp_path / "key"), tmp_path / "vault.db")


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]))), max_size=20),
    st.binary(min_size=1, max_size=64),
)
def test_digests_are_truncated_hmac_sha256(values, key):
    found = digests(key, "kind", pa.array(values, pa.string())).to_pylist()
    expected = [
        None
        if v is None
        else int.from_bytes(hmac.digest(key, b"kind\0" + v.encode(), hashlib.sha256)[:8]) >> 1
        for v in values
    ]
    assert found == expected


def test_equal_values_join_and_nulls_stay_null(names):
    ids = names.map("account", pa.array(["x", None, "y", "x", ""])).to_pylist()
    assert ids[0] == ids[3]
    assert ids[1] is None
    assert len({ids[0], ids[2], ids[4]}) == 3
    assert all(0 <= i < 1 << 63 for i in ids if i is not None)
    assert names.map("account", pa.chunked_array([["y"], ["x"]])).to_pylist() == [ids[2], ids[0]]


def test_kinds_and_keys_do_not_join(tmp_path, names):
    other = Pseudonyms(Keys(tmp_path / "other"), tmp_path / "other.db")
    found = {names.map(kind, pa.array(["x"]))[0].as_py() for kind in PREFIX}
    found.add(other.map("account", pa.array(["x"]))[0].as_py())
    assert len(found) == len(PREFIX) + 1


@pytest.mark.parametrize(
    "values", [pa.array([], pa.string()), pa.array([None, None], pa.string()), pa.array(["a", "b"]).slice(1)]
)
def test_empty_null_and_sliced_arrays(names, values):
    found = names.map("account", values)
    assert found.type == pa.int64()
    assert found.null_count == values.null_count
    assert len(found) == len(values)


@pytest.mark.parametrize("kind", sorted(PREFIX))
def test_the_vault_gives_back_what_it_keeps_and_nothing_else(names, kind):
    ids = names.map(kind, pa.array(["anna", "ben", "ümit\0🙂"])).to_pylist()
    expected = dict(zip(ids, ["anna", "ben", "ümit\0🙂"], strict=True)) if kind in KEPT else {}
    assert names.reveal(kind, [*ids, 12345]) == expected


def test_many_values_and_a_second_pass(names):
    values = pa.array([f"user-{i}" for i in range(70_000)])
    ids = names.map("account", values)
    assert names.map("account", values).equals(ids)
    assert names.reveal("account", ids.to_pylist()) == dict(
        zip(ids.to_pylist(), values.to_pylist(), strict=True)
    )


def test_nothing_readable_lies_on_disk(tmp_path, names):
    names.map("account", pa.array(["somebody@example.org"]))
    for path in tmp_path.iterdir():
        assert b"somebody" not in path.read_bytes()
    assert "somebody" not in repr(names)
    assert (tmp_path / "vault.db").stat().st_mode & 0o077 == 0


def test_another_key_does_not_open_the_vault(tmp_path, names):
    ids = names.map("account", pa.array(["anna"])).to_pylist()
    stranger = Pseudonyms(Keys(tmp_path / "other"), tmp_path / "vault.db")
    with pytest.raises(IntegrityError, match="a-"):
        stranger.reveal("account", ids)


def test_an_entry_moved_to_another_pseudonym_is_noticed(tmp_path, names):
    anna, ben = names.map("account", pa.array(["anna", "ben"])).to_pylist()
    with sqlite3.connect(tmp_path / "vault.db") as vault:
        sealed = vault.execute("select sealed from pairs where id = ?", (ben,)).fetchone()[0]
        vault.execute("update pairs set sealed = ? where id = ?", (sealed, anna))
    vault.close()
    with pytest.raises(IntegrityError) as caught:
        names.reveal("account", [anna])
    assert "anna" not in str(caught.value)


def test_reveal_without_a_vault_is_empty(names):
    assert names.reveal("account", [1]) == {}


@given(st.sampled_from(sorted(PREFIX)), st.integers(0, (1 << 63) - 1))
def test_show_and_parse_are_inverse(kind, number):
    text = show(kind, number)
    assert parse(text) == (kind, number)
    assert parse(f" {text.upper()} ") == (kind, number)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a-",
        "a-123",
        "z-0123456789abcdef",
        "a-0123456789abcdeg",
        "a-ffffffffffffffff",
        "a0123456789abcdef",
    ],
)
def test_what_is_no_pseudonym_is_refused(text):
    with pytest.raises(InputError, match="expected a pseudonym"):
        parse(text)


def test_an_unknown_kind_is_refused(names):
    for call in (
        lambda: names.map("email", pa.array(["x"])),
        lambda: names.reveal("email", [1]),
        lambda: show("email", 1),
    ):
        with pytest.raises(InputError, match="unknown kind"):
            call()
