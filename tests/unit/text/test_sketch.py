"""The kernel against the plain reference, and what it promises."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import sketch_reference as reference
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from stillwatch.engine.schema import EXCHANGES
from stillwatch.errors import InputError, SchemaError
from stillwatch.text import _kernel
from stillwatch.text.elicitation import ELICITATION, PATTERNS
from stillwatch.text.sketch import SCHEMA, sketch, sketch_batch

KEY = bytes(range(32))
BITS = [(ELICITATION[flag], phrases) for flag, phrases in PATTERNS]
# Python's own tables end at an older Unicode than Arrow's; beyond them there is nothing to compare with
known = st.characters(exclude_categories=["Cn", "Cs", "Co"])
words = "\" ' ` `` ``` “ ” « » 「 」 0 1.5 ٣٤ 12:30 https:// http:// www. x.org/a?b s:// ﬁ Ａ İ Σ ǅ a\u0301"
words += " \u0301 \u200d \u202e \ufeff \U000e0041 \u1100 \u1161 \u11a8 각 か\u3099 👩\u200d🔬 ½ ﷺ"
words += " it's don't articulate response"
spaced = ["\t", "\x00", "\u2028", "\xa0", "internal\xa0reasoning", "DO\nNOT flag", "working memory", " "]
tokens = st.sampled_from([*words.split(" "), *spaced])
texts = st.lists(st.one_of(tokens, st.text(known, max_size=12), st.just(" ")), max_size=40).map("".join)
raw = st.one_of(
    texts.map(str.encode),
    st.binary(max_size=60),
    st.lists(st.binary(max_size=5) | texts.map(str.encode)).map(b"".join),
)
relaxed = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])


def rows_of(made) -> list[dict]:
    rows = made.table.to_pylist()
    for row, text, offsets in zip(
        rows, made.normalised.to_pylist(), made.shingle_offsets.to_pylist(), strict=True
    ):
        row["normalised"], row["offsets"] = text, offsets
    return rows


def ours(prompts: list, systems: list | None = None, key: bytes = KEY) -> list[dict]:
    rules = None if systems is None else pa.array(systems, pa.large_binary())
    return rows_of(sketch(pa.array(prompts, pa.binary()), rules, key=key, with_text=True))


@relaxed
@given(st.lists(st.tuples(st.none() | raw, st.none() | raw), max_size=4), st.binary(min_size=32, max_size=32))
@example(
    [
        (b"\xed\xa0\x80 lone \xf0\x9f\x98", b"\xf8\xc0\x80"),
        (b"\x00", None),
        (b"  ", b"You are"),
        (None, b"x"),
    ],
    KEY,
)
def test_kernel_equals_the_plain_reference(pairs, key):
    made = ours([p for p, _ in pairs], [s for _, s in pairs], key)
    assert made == [reference.sketch(p, s, key, BITS) for p, s in pairs]


@settings(deadline=None, max_examples=30)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([31, 32, 33, 62, 63, 64, 65, 200, 1000, 3000]),
    st.sampled_from([b"ab", b"abcdefghijklmnop ", bytes(range(97, 123)) + b"0\"'` .:/"]),
)
def test_long_texts_equal_the_reference(seed, length, alphabet):
    rng = np.random.default_rng(seed)
    text = bytes(rng.choice(list(alphabet), length).astype(np.uint8))
    period = int(rng.integers(1, 70))
    both = [text, (text[:period] * length)[:length]]
    assert ours(both) == [reference.sketch(t, None, KEY, BITS) for t in both]


def test_more_than_512_shingles_keep_both_ends_and_the_smallest():
    rng = np.random.default_rng(5)
    text = bytes(rng.integers(97, 123, 20_000).astype(np.uint8))
    made = ours([text])[0]
    assert made == reference.sketch(text, None, KEY, BITS)
    assert len(made["shingles"]) == 512
    # a wrapper at either end survives whatever it is wrapped round, and so do most of the middle's
    wrapper = bytes(rng.integers(97, 123, 600).astype(np.uint8))
    alone = set(ours([wrapper])[0]["shingles"])
    for wrapped in (wrapper + text, text + wrapper):
        kept = set(ours([wrapped])[0]["shingles"])
        assert len(alone & kept) >= 0.9 * len(alone)
        assert len(set(made["shingles"][128:-128]) & kept) >= 0.75 * 256


@relaxed
@given(st.data())
def test_any_shared_run_of_63_bytes_shares_a_shingle(data):
    letters = st.text("abcdefgh .", max_size=300).map(lambda t: " ".join(t.split()).encode())
    run = data.draw(st.text("abcdefgh", min_size=63, max_size=63)).encode()
    around = [data.draw(letters) for _ in range(4)]
    a, b = around[0] + run + around[1], around[2] + run + around[3]
    first, second = ours([a, b])
    assert run in first["normalised"] and run in second["normalised"]
    assert set(first["shingles"]) & set(second["shingles"])


def test_40_bytes_may_share_nothing():
    # the guarantee is no accident of keeping every hash: 9 shared positions are often outdone by their neighbours
    rng = np.random.default_rng(11)
    misses = 0
    for _ in range(200):
        run, *around = (bytes(rng.integers(97, 123, n).astype(np.uint8)) for n in (40, 80, 80, 80, 80))
        a, b = ours([around[0] + run + around[1], around[2] + run + around[3]])
        misses += not set(a["shingles"]) & set(b["shingles"])
    assert misses > 40


@relaxed
@given(raw, raw)
def test_offsets_point_at_the_text_of_their_shingle(prompt, system):
    (row,) = ours([prompt], [system])
    assert len(set(row["shingles"])) == len(row["shingles"]) == len(row["offsets"])
    for value, place in zip(row["shingles"], row["offsets"], strict=True):
        piece = row["normalised"][place : place + 32]
        assert [value] == [h for h, _ in reference.shingles(piece, reference.secrets(KEY))]


def test_minhash_estimates_the_jaccard_likeness_within_theory():
    rng = np.random.default_rng(3)
    errors, expected = [], []
    for share in (0.1, 0.3, 0.5, 0.8, 0.95):
        for _ in range(120):
            n = 400
            common = bytes(rng.integers(97, 123, int(n * share)).astype(np.uint8))
            a, b = (common + bytes(rng.integers(97, 123, n - len(common)).astype(np.uint8)) for _ in range(2))
            exact = len(reference.grams(a) & reference.grams(b)) / len(
                reference.grams(a) | reference.grams(b)
            )
            one, two = ours([a, b], key=rng.bytes(32))
            errors.append(np.mean(np.equal(one["minhash"], two["minhash"])) - exact)
            expected.append(exact * (1 - exact) / 32)
    n, variance = len(errors), np.mean(expected)
    assert abs(np.mean(errors)) < 4 * np.sqrt(variance / n)
    # fourth moment of a binomial-like error is near 3 variance^2, so its square has relative error sqrt(2 / n)
    assert np.mean(np.square(errors)) < variance * (1 + 4 * np.sqrt(2 / n))


def test_densified_minhash_of_short_texts_stays_unbiased():
    rng = np.random.default_rng(4)
    errors = []
    for _ in range(600):
        common = bytes(rng.integers(97, 123, 14).astype(np.uint8))
        a, b = (common + bytes(rng.integers(97, 123, 6).astype(np.uint8)) for _ in range(2))
        exact = len(reference.grams(a) & reference.grams(b)) / len(reference.grams(a) | reference.grams(b))
        one, two = ours([a, b], key=rng.bytes(32))
        errors.append(np.mean(np.equal(one["minhash"], two["minhash"])) - exact)
    assert abs(np.mean(errors)) < 4 * np.std(errors) / np.sqrt(len(errors))


def test_siphash_vectors_of_its_authors():
    # github.com/veorq/SipHash, vectors.h (CC0), and the paper's appendix A: key 00..0f, message 00..n-1
    vectors = {0: 0x726FDB47DD0E0E31, 1: 0x74F839C593DC67FD, 8: 0x93F5F5799A932462, 15: 0xA129CA6149BE45E5}
    k0, k1 = (np.uint64(int.from_bytes(bytes(range(n, n + 8)), "little")) for n in (0, 8))
    for length, expected in vectors.items():
        message = np.arange(length, dtype=np.uint8)
        assert (
            int(_kernel.siphash(message, k0, k1))
            == expected
            == reference.siphash(bytes(message), int(k0), int(k1))
        )


def test_no_text_of_thue_and_morse_collides():
    # a plain polynomial mod 2^64 gives these two one hash whatever its base
    word = "a"
    for _ in range(11):
        word += word.translate(str.maketrans("ab", "ba"))
    a, b = ours([word.encode(), word.translate(str.maketrans("ab", "ba")).encode()])
    assert a["prompt_digest"] != b["prompt_digest"] and a["template_digest"] != b["template_digest"]


PAIRS = [
    ("Say  HELLO\tto 12 people", "say hello to 7 people", True),
    ("Ｆｕｌｌ width", "full width", True),
    ("zero\u200bwidth \u202eand bidi", "zerowidth and bidi", True),
    ("a\x00b", "a b", True),
    ("e\u0301te\u0301", "été", True),
    ("٣ apples", "3 apples", True),
    ("word", "words", False),
    ("a b", "ab", False),
    ("naïve", "naive", False),
]


@pytest.mark.parametrize(("one", "two", "same"), PAIRS)
def test_what_counts_as_the_same_prompt(one, two, same):
    a, b = ours([one.encode(), two.encode()])
    assert (a["prompt_digest"] == b["prompt_digest"]) == same


TEMPLATES = [
    ('Translate "good morning" into French', 'Translate "ok, it\'s late" into French', True),
    ("Translate “good” into French", "Translate “rather bad” into French", True),
    ("Review 'abc def' now", "Review 'x' now", True),
    ("It's Ann's book", "It's Bob's book", False),
    ("Fix `x = 1` please", "Fix `y` please", True),
    ("Fix\n```\na\nb\n```\nplease", "Fix\n```python\nprint('`')\n```\nplease", True),
    ("Sum up https://a.org/x?y=1 in 3 lines", "Sum up http://b.com in 10 lines", True),
    ("Read (www.a.org/b) first", "Read (www.c.net) first", True),
    ("On 2024-01-31 at 10:30 it cost 1,000.50", "On 1999-12-1 at 9:05 it cost 7", True),
    ("Add 1 and 2", "Add 1", False),
    ('An open quote " here', 'An open quote " there', False),
    ("Tell me about cats", "Tell me about dogs", False),
    ("the shttp://a", "the shttp://b", False),
]


@pytest.mark.parametrize(("one", "two", "same"), TEMPLATES)
def test_what_counts_as_the_same_template(one, two, same):
    a, b = ours([one.encode(), two.encode()])
    assert (a["template_digest"] == b["template_digest"]) == same
    assert a["prompt_digest"] != b["prompt_digest"]


def test_slots_do_not_reach_from_system_to_prompt():
    a, b = ours([b'x" y', b'z" y'], [b'say "', b'say "'])
    assert a["template_digest"] != b["template_digest"]


def test_columns_are_those_of_the_exchange_table():
    assert [EXCHANGES.field(field.name) for field in SCHEMA] == list(SCHEMA)
    assert sketch(pa.array(["x"]), None, key=KEY).table.schema == SCHEMA


def test_nulls_and_empty_texts():
    made = ours([None, None, b"", b"", b"hi"], [None, b"", None, b"", None])
    assert all(value is None for value in made[0].values())
    assert made[1]["prompt_digest"] is None and made[1]["system_digest"] is not None
    assert made[2]["shingles"] == made[2]["minhash"] == [] and made[2]["prompt_bytes"] == 0
    assert (
        made[2]["system_digest"] is None and made[2]["prompt_digest"] == made[3]["prompt_digest"] is not None
    )
    assert len(made[4]["shingles"]) == 1 and len(made[4]["minhash"]) == 32
    assert made[4]["template_digest"] not in (made[4]["prompt_digest"], None)


def test_no_rows():
    for empty in (pa.array([], pa.string()), pa.chunked_array([], pa.string()), pa.nulls(0)):
        made = sketch(empty, None, key=KEY, with_text=True)
        assert made.table.schema == SCHEMA and made.table.num_rows == len(made.normalised) == 0


WORDS = ["alpha", None, "Übung " * 30, "", "x\u0301" * 50, "ｅ", "قل لي", "👩‍🔬 ok", "tail " * 40] * 3


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view()],
)
def test_every_arrow_form_gives_the_same(kind):
    plain = sketch(pa.array(WORDS), pa.array(WORDS[::-1]), key=KEY).table
    encoded = [None if w is None else w.encode() for w in WORDS]
    array = pa.array(encoded if "binary" in str(kind) else WORDS, kind)
    rules = pa.array(WORDS[::-1])
    assert sketch(array, rules, key=KEY).table.equals(plain)
    pieces = pa.chunked_array([array[:4], array[4:4], array[4:11], array[11:]])
    assert sketch(pieces, rules, key=KEY).table.equals(plain)
    assert (
        sketch(array[5:17], rules[5:17], key=KEY).table.combine_chunks().equals(plain[5:17].combine_chunks())
    )


def test_dictionary_and_null_columns():
    plain = sketch(pa.array(WORDS), None, key=KEY).table
    assert sketch(pa.array(WORDS).dictionary_encode(), pa.nulls(len(WORDS)), key=KEY).table.equals(plain)


def test_blocks_do_not_show(monkeypatch):
    rng = np.random.default_rng(8)
    words = [w * int(rng.integers(1, 30)) if w else w for w in WORDS * 4]
    whole = rows_of(sketch(pa.array(words), pa.array(words[::-1]), key=KEY, with_text=True))
    monkeypatch.setattr("stillwatch.text.sketch.BLOCK", 500)
    assert rows_of(sketch(pa.array(words), pa.array(words[::-1]), key=KEY, with_text=True)) == whole


def test_the_room_for_shingles_may_run_out():
    # rising hashes cannot be had without the key; many short rows of one shingle each fill the room instead
    words = [f"{chr(97 + i % 26)}{chr(97 + i // 26 % 26)}{chr(97 + i // 676)}" for i in range(900)]
    made = ours([w.encode() for w in words])
    assert [row["shingles"] for row in made] == [
        reference.sketch(w.encode(), None, KEY, [])["shingles"] for w in words
    ]


def test_one_character_and_a_million():
    million = ("lorem ipsum é " * 71_429)[:1_000_000]
    one, many, noise = ours([b"x", million.encode(), np.random.default_rng(1).bytes(1_000_000)])
    assert len(one["shingles"]) == 1
    assert len(many["shingles"]) < 20  # it repeats every 14 characters
    assert len(noise["shingles"]) == 512


def test_another_key_gives_other_hashes():
    a, b = (
        ours([b"the same text, long enough to have a shingle"] * 1),
        ours([b"the same text, long enough to have a shingle"], key=bytes(32)),
    )
    for name in ("prompt_digest", "template_digest", "shingles", "minhash"):
        assert a[0][name] != b[0][name]
    assert a[0]["normalised"] == b[0]["normalised"]


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33), "x" * 32])
def test_a_key_has_32_bytes(key):
    with pytest.raises(InputError, match="32 bytes"):
        sketch(pa.array(["x"]), None, key=key)


def test_what_is_no_text_is_refused():
    with pytest.raises(SchemaError, match="prompt"):
        sketch(pa.array([1, 2]), None, key=KEY)
    with pytest.raises(SchemaError, match="2 rows"):
        sketch(pa.array(["a", "b"]), pa.array(["a"]), key=KEY)
    with pytest.raises(SchemaError, match="prompt"):
        sketch_batch(pa.record_batch({"text": ["a"]}), key=KEY)


@pytest.mark.parametrize("rows", [0, 1, 7])
def test_batch_replaces_text_by_integers(rows):
    texts, numbers = ["Hello 1", None, "bye"][:rows] * 3, list(range(9))
    batch = pa.record_batch(
        {"n": numbers[: len(texts)], "prompt": pa.array(texts, pa.string()), "minhash": numbers[: len(texts)]}
    )
    made = sketch_batch(batch, key=KEY)
    assert made.schema.names == ["n", *SCHEMA.names] and made.num_rows == batch.num_rows
    assert made["n"].equals(batch["n"])
    expected = sketch(batch["prompt"], None, key=KEY).table
    assert pa.Table.from_batches([made]).drop(["n"]).equals(expected)


def test_golden_values_hold_on_every_machine():
    golden = json.loads((Path(__file__).parents[2] / "golden" / "text_sketch.json").read_text())
    made = ours(
        [None if p is None else p.encode() for p in golden["prompt"]],
        [None if s is None else s.encode() for s in golden["system"]],
        bytes.fromhex(golden["key"]),
    )
    for row in made:
        row["normalised"] = None if row["normalised"] is None else row["normalised"].decode()
    assert made == golden["rows"]


def test_another_process_gives_the_same():
    code = (
        "import pyarrow as pa; from stillwatch.text.sketch import sketch;"
        "t = sketch(pa.array(['Some prompt that is long enough, “quotes”, 12']), None, key=bytes(range(32)));"
        "print(t.table.to_pylist())"
    )
    told = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "1"},
    ).stdout
    here = sketch(pa.array(["Some prompt that is long enough, “quotes”, 12"]), None, key=KEY)
    assert told.strip() == str(here.table.to_pylist())


def test_without_a_place_for_the_cache_the_loops_still_compile(monkeypatch):
    asked = []

    def no_locator(**options):
        asked.append(options)
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(_kernel, "njit", no_locator)
    assert _kernel._jit(abs) is abs
    assert asked == [{"cache": True, "nogil": True}, {"nogil": True}]


def test_hostile_quotes_take_linear_time():
    # each of these would be quadratic with a search for the end from every opening sign: 10^11 steps, minutes
    n = 300_000
    for sign in ("“", "«", "「", "' 'a", "` ``` ", "`` ``` a", "http", "www", "ab'"):
        text = (sign * n)[:n]
        assert sketch(pa.array([text]), None, key=KEY).table["template_digest"].null_count == 0


@relaxed
@given(st.text("abXYéÉжЖωΩ ,", max_size=80))
def test_case_and_space_never_matter(text):
    plain, loud = ours([text.encode(), ("  " + text.upper().replace(" ", "\t ") + "\n").encode()])
    assert plain["prompt_digest"] == loud["prompt_digest"] and plain["shingles"] == loud["shingles"]
