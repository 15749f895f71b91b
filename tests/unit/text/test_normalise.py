"""The tables and shortcuts of the normal form against Python's own Unicode."""

from __future__ import annotations

import unicodedata

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import sketch_reference as reference

from stillwatch.text import _kernel
from stillwatch.text.normalise import IGNORABLE, ZEROS, column, inert_table, pieces
from stillwatch.text.sketch import sketch

ASSIGNED = [chr(cp) for cp in range(0x110000) if unicodedata.category(chr(cp)) not in ("Cn", "Cs")]


def normal(texts: list[str]) -> list[bytes]:
    return sketch(pa.array(texts), None, key=bytes(32), with_text=True).normalised.to_pylist()


def test_every_assigned_character_between_two_letters():
    ours = normal([f"x{c}y" for c in ASSIGNED])
    wrong = [
        c for c, got in zip(ASSIGNED, ours, strict=True) if got != reference.normalise(f"x{c}y".encode())
    ]
    assert wrong == []


def test_a_row_is_the_same_alone_and_beside_what_needs_composing():
    # the composing letter sends the whole row through Arrow; without it the row may take the short way
    inert = [c for c in ASSIGNED if ord(c) >= 0x80]
    quick, slow = normal([f"x{c}y" for c in inert]), normal([f"x{c}yﬁ" for c in inert])
    assert [a + b"fi" for a in quick] == slow


@pytest.mark.parametrize("seed", range(3))
def test_arrow_composes_as_python_does(seed):
    rng = np.random.default_rng(seed)
    marks = np.array([c for c in ASSIGNED if unicodedata.combining(c)])
    every = np.array([c for c in ASSIGNED if unicodedata.category(c) != "Co"])
    texts = [
        "".join(np.where(rng.random(12) < 0.5, rng.choice(marks, 12), rng.choice(every, 12)))
        for _ in range(20_000)
    ]
    ours = pc.utf8_normalize(pa.array(texts), "NFKC").to_pylist()
    assert ours == [unicodedata.normalize("NFKC", text) for text in texts]


def test_no_inert_character_is_touched_by_nfkc():
    table = inert_table()
    high = [(0x3400, 0x4DBF), (0x4E00, 0x9FFC), (0xAC00, 0xD7A3), (0x1F300, 0x1FAFF)]
    inert = [cp for cp in range(len(table)) if table[cp] == 1]
    inert += [cp for first, last in high for cp in range(first, last + 1)]
    starters = "aàeoᄀ가かकঅஒ0\u00a8"
    for cp in inert:
        assert unicodedata.normalize("NFKC", chr(cp)) == chr(cp) and not unicodedata.combining(chr(cp))
    # nor does it compose with what stands before it
    for before in starters:
        before = unicodedata.normalize("NFKC", before)
        joined = "|".join(before + chr(cp) for cp in inert)
        assert unicodedata.normalize("NFKC", joined) == joined


def test_short_way_and_table_agree_with_the_kernel():
    text = [chr(cp) for cp in range(0x80, 0x3100)] + ["中", "한", "😀", "ﬁ", "，", "\U0001d7ce"]
    raw = column(pa.array(text), "x")
    flags, ends = np.empty(len(text), np.bool_), np.empty(len(text), np.int64)
    out = np.empty(3 * len(raw.data), np.uint8)
    _kernel.clean(raw.data, raw.offsets[:-1], raw.offsets[1:], IGNORABLE, inert_table(), out, ends, flags)
    assert flags[:-6].tolist() == (inert_table()[0x80:] > 0).tolist()
    assert flags[-6:].tolist() == [True, True, True, False, False, False]


def test_digits_are_all_of_python_and_no_other_kind():
    ours = {zero + k for zero in ZEROS for k in range(10)}
    decimal = {cp for cp in map(ord, ASSIGNED) if unicodedata.category(chr(cp)) == "Nd"}
    assert {cp for cp in decimal if unicodedata.normalize("NFKC", chr(cp)) == chr(cp)} <= ours
    assert all(unicodedata.category(chr(cp)) in ("Nd", "Cn") for cp in ours)


def test_nothing_that_turns_or_hides_text_stays():
    hidden = [
        c
        for c in ASSIGNED
        if unicodedata.bidirectional(c)
        in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI", "BN")
    ]
    shown = [
        c
        for c, got in zip(hidden, normal(["x" + c + "y" for c in hidden]), strict=True)
        if got not in (b"xy", b"x y")
    ]
    # interlinear annotation and shorthand controls are visible instructions of other standards: no default-ignorables
    assert [c for c in shown if unicodedata.category(c) == "Cf" and not 0xFFF9 <= ord(c) <= 0xFFFB] == []


@pytest.mark.parametrize(
    "raw",
    [
        b"\x80",
        b"\xc0\x80",
        b"\xed\xa0\x80\xed\xb0\x80",
        b"\xf4\x90\x80\x80",
        b"\xe2\x82",
        b"a\xf0\x9f\x98",
        b"\xf0\x9f\x98\x80\xff",
        b"\xc3",
    ],
)
def test_ill_formed_bytes_become_replacement_characters(raw):
    made = sketch(pa.array([raw, b"pad " + raw]), None, key=bytes(32), with_text=True).normalised.to_pylist()
    assert made == [reference.normalise(raw), reference.normalise(b"pad " + raw)]


def test_pieces_of_a_slice_lie_where_they_say():
    array = pa.array(["one", None, "zwei ü", "ﬁ drei", ""])[1:]
    made = pieces(column(array, "x"), 0, 4)
    assert [bytes(made.data[a:b]) for a, b in zip(made.start, made.end, strict=True)] == [
        b"",
        "zwei ü".encode(),
        b"fi drei",
        b"",
    ]
    assert made.is_utf8.tolist() == [0, 1, 1, 0]
