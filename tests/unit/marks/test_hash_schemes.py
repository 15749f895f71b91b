"""What readers of hash-based marks promise: every draw once, pieces like the whole, marks found, keys unseen."""

from __future__ import annotations

import doctest
import itertools
import math
import os
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import stats

from stillwatch.errors import InputError, InsufficientData
from stillwatch.marks import _philox, table_reading
from stillwatch.marks._pairs import repeats
from stillwatch.marks.reading import Reading, log_pvalues, together
from stillwatch.marks.schemes import (
    sglang_dual_gumbel,
    sglang_gumbel,
    synthid_hash,
    synthid_philox,
    synthid_table,
    textseal_gumbel,
    vllm_dual_gumbel,
    vllm_gumbel,
    vllm_sbw,
)
from stillwatch.marks.tape import Tape

SCHEMES: list[ModuleType] = [
    vllm_gumbel,
    vllm_dual_gumbel,
    vllm_sbw,
    sglang_gumbel,
    sglang_dual_gumbel,
    textseal_gumbel,
    synthid_table,
    synthid_hash,
    synthid_philox,
]
each = pytest.mark.parametrize("scheme", SCHEMES, ids=lambda m: m.CARD.name)
SECRET = 3_141_592_653


def keys_for(scheme: ModuleType, count: int, seed: int = 1) -> list[Any]:
    rng = np.random.default_rng(seed)
    if scheme in (synthid_table, synthid_hash):
        return rng.integers(1, 2**62, (count, 30)).tolist()
    if scheme is sglang_dual_gumbel:
        return [tuple(pair) for pair in rng.integers(1, 2**62, (count, 2)).tolist()]
    return rng.integers(1, 2**32, count).tolist()


def secret_for(scheme: ModuleType, number: int) -> Any:
    if scheme in (synthid_table, synthid_hash):
        return [number, number + 1]
    return (number, number + 1) if scheme is sglang_dual_gumbel else number


def logs_of(scheme: ModuleType, reading: Any) -> np.ndarray:
    return getattr(scheme, "log_pvalues", log_pvalues)(reading)


def text_of(n: int, ids: int = 3000, seed: int = 2) -> np.ndarray:
    """Frequencies as in text, so that windows come again."""
    weights = 1 / np.arange(1.0, ids + 1)
    return np.random.default_rng(seed).choice(ids, n, p=weights / weights.sum())


@each
def test_examples_run(scheme: ModuleType) -> None:
    failed, tried = doctest.testmod(scheme)
    assert (failed, tried > 0) == (0, True)


@each
def test_a_document_that_comes_again_changes_nothing(scheme: ModuleType) -> None:
    text = text_of(400)
    keys = keys_for(scheme, 3)
    once = scheme.read(text, keys)
    thrice = scheme.read(np.tile(text, 3), keys, ends=[400, 800, 1200])
    assert thrice.scored.tolist() == once.scored.tolist()
    assert thrice.statistic == pytest.approx(once.statistic, rel=1e-12)


@each
def test_pieces_on_one_tape_are_the_whole(scheme: ModuleType) -> None:
    text, ends = text_of(3000), np.arange(100, 3001, 100)
    keys = keys_for(scheme, 4)
    whole = scheme.read(text, keys, ends=ends)
    tape = Tape()
    parts = [
        scheme.read(text[i : i + 500], keys, ends=np.arange(100, 501, 100), tape=tape)
        for i in range(0, 3000, 500)
    ]
    joined = getattr(scheme, "together", together)(parts)
    assert joined.scored.tolist() == whole.scored.tolist()
    assert joined.statistic == pytest.approx(whole.statistic, rel=1e-12)
    assert logs_of(scheme, joined) == pytest.approx(logs_of(scheme, whole), rel=1e-9)


@each
def test_many_keys_at_once_are_each_alone(scheme: ModuleType) -> None:
    text = text_of(700)
    keys = keys_for(scheme, 5)
    together_ = scheme.read(text, keys)
    for i, key in enumerate(keys):
        alone = scheme.read(text, [key])
        assert alone.scored[0] == together_.scored[i]
        assert alone.statistic[0] == pytest.approx(together_.statistic[i], rel=1e-12)
        assert scheme.test(text, key).log_pvalue == pytest.approx(logs_of(scheme, together_)[i], rel=1e-9)


@each
def test_contexts_do_not_cross_documents(scheme: ModuleType) -> None:
    """Two documents in one array are read as each is read alone."""
    first, second = text_of(60, seed=5), text_of(80, seed=6) + 4000
    keys = keys_for(scheme, 2)
    both = scheme.read(np.concatenate([first, second]), keys, ends=[60, 140])
    alone = [scheme.read(t, keys) for t in (first, second)]
    shared = (
        1 if scheme in (vllm_gumbel, vllm_dual_gumbel) else 0
    )  # the empty context at the start of an answer
    assert both.scored[0] == sum(r.scored[0] for r in alone) - shared


@each
def test_what_is_too_short_is_refused(scheme: ModuleType) -> None:
    key = keys_for(scheme, 1)[0]
    for text in ([], [5], list(range(15))):
        with pytest.raises(InsufficientData):
            scheme.test(text, key)
    assert scheme.read([], keys_for(scheme, 3)).scored.tolist() == [0, 0, 0]


@each
def test_no_key_stands_in_a_result_or_a_message(scheme: ModuleType) -> None:
    key = secret_for(scheme, SECRET)
    shown = repr(scheme.read(text_of(300), [key])) + repr(scheme.test(text_of(300), key))
    assert str(SECRET) not in shown
    for wrong in (-SECRET - 2**64, SECRET << 64, SECRET + 0.5, "3141592653"):
        bad = (
            (wrong, 1)
            if scheme is sglang_dual_gumbel
            else [wrong, 1]
            if "synthid" in scheme.CARD.name
            else wrong
        )
        with pytest.raises((InputError, TypeError)) as caught:
            scheme.test(text_of(300), bad)
        assert "3141592653" not in str(caught.value)


@each
def test_the_key_that_marked_is_found_and_no_other(scheme: ModuleType) -> None:
    given = scheme.simulate(np.random.default_rng(8), effect=1.0, n=30)
    right = scheme.test(**given).log_pvalue
    given["key"] = scheme.simulate(np.random.default_rng(9), effect=0.0, n=1)["key"]
    assert right < math.log(1e-9)
    assert scheme.test(**given).log_pvalue > math.log(1e-4)


@each
def test_one_row_is_marked_like_many(scheme: ModuleType) -> None:
    rng = np.random.default_rng(4)
    logits = rng.normal(0, 1.5, (3, 500)).astype(np.float32)
    contexts, key = rng.integers(0, 500, (3, 4)), keys_for(scheme, 1)[0]
    many = scheme.mark(logits, contexts, key)
    for row, context, out in zip(logits, contexts, many, strict=True):
        assert np.array_equal(scheme.mark(row, context, key), out)


@each
def test_size_on_text_of_people(scheme: ModuleType) -> None:
    folder = os.environ.get("STILLWATCH_DATA")
    if not folder:
        pytest.skip("STILLWATCH_DATA is not set: the size on real text was not tested")
    rows = pq.read_table(Path(folder) / "text" / "non_native_essays.parquet").slice(0, 60).to_pylist()
    words: dict[str, int] = {}
    text = [
        words.setdefault(word, len(words))
        for row in rows
        for value in row.values()
        if isinstance(value, str) and len(value) > 100
        for word in re.findall(r"\w+|[^\w\s]", value)
    ][:6000]
    logs = logs_of(scheme, scheme.read(text, keys_for(scheme, 400)))
    for alpha in (0.05, 0.01, 0.001):
        assert (logs <= math.log(alpha)).sum() <= stats.binom.ppf(0.9999, 400, alpha)


# -- what is true of one mark only -----------------------------------------------------------------------------------


def test_scores_lie_below_a_standard_exponential_variable() -> None:
    """1 - v is a multiple of 2^-24 at or above 1 - U for the U that has v as its upper bits: so the tail is bounded."""
    words = np.array([0, 255, 256, 2**31, 2**32 - 1], np.uint64)
    ours = -np.log1p(-(words >> np.uint64(8)).astype(np.float64) / 2**24)
    theirs = -np.log1p(-_philox.as_uniform(words).astype(np.float64))
    assert (ours <= -np.log1p(-words.astype(np.float64) / 2**32)).all()
    assert (theirs - ours <= 2.0**-23).all()
    assert (theirs >= ours).all()


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.4, 0.5, 0.5 + 1e-12, 0.8, 1.0])
def test_dual_key_scores_are_standard_exponential_for_every_alpha(alpha: float) -> None:
    reading = vllm_dual_gumbel.read(np.arange(4000), list(range(1, 101)), alpha=alpha)
    mean = reading.statistic.sum() / reading.scored.sum()
    assert mean == pytest.approx(1.0, abs=4 / math.sqrt(reading.scored.sum()))
    z = (reading.statistic - reading.scored) / np.sqrt(reading.scored)
    assert 0.75 < z.std() < 1.3


def test_sbw_leaves_out_lists_that_depend_on_no_key() -> None:
    """lefthash: ids of 0 sum to 0; selfhash: the missing id before an answer hashes to 0 and is often the least."""
    zeros = vllm_sbw.read([0] * 100 + list(range(1, 60)), [5], scheme="lefthash")
    assert zeros.scored[0] == 1 + 58  # the start before 0, and what follows 1, 2, ..; not what follows 0
    answers = np.arange(1, 2001)
    reading = vllm_sbw.read(answers, keys_for(vllm_sbw, 50), ends=np.arange(1, 2001))
    # One token an answer: of two seeds, 0 and one of random sign, 0 is the least half of the time.
    assert 0.4 < reading.scored.mean() / 2000 < 0.6
    with pytest.raises(InputError, match="key of 0"):
        vllm_sbw.read(answers, [0])


def test_sbw_counts_a_seed_and_token_once() -> None:
    """Contexts with the same ids in another order have one set of products, and so one draw."""
    ends = np.arange(4, 4 * 24 + 1, 4)
    orders = np.array([[9, *order] for order in itertools.permutations((11, 12, 13, 14))])
    assert len({tuple(row[1:4]) for row in orders}) == 24
    reading = vllm_sbw.read(
        np.column_stack([orders[:, :4], orders[:, 4]]).ravel(),
        [77],
        ends=np.arange(5, 121, 5),
        from_start=False,
    )
    assert ends.size == 24
    assert reading.scored[0] <= 4  # at most one a target


def test_sglang_needs_the_prompt_or_leaves_out_what_it_does_not_know() -> None:
    text = text_of(200)
    assert sglang_gumbel.read(text, [3], ends=[100, 200]).scored[0] <= 192
    known = sglang_gumbel.read(text, [3], ends=[100, 200], prompts=[10, 0])
    assert known.scored[0] > sglang_gumbel.read(text, [3], ends=[100, 200], prompts=[50, 50]).scored[0]
    for wrong in ([1], [-1, 0], [101, 0], [0.5, 1]):
        with pytest.raises(InputError):
            sglang_gumbel.read(text, [3], ends=[100, 200], prompts=wrong)


def test_sglang_stops_at_the_limit_in_each_document() -> None:
    text = np.arange(1000)
    found = sglang_gumbel.read(text, [3], ends=[500, 1000], max_contexts=40)
    assert found.scored[0] == 80
    assert sglang_gumbel.read(text[:44], [3], max_contexts=40).scored[0] == 40


def test_table_form_is_exact_whatever_the_text() -> None:
    """Under keys drawn at random p is uniform also where ids alias and every token follows one context."""
    one = text_of(40)
    aliases = {"tokens": np.concatenate([one, one + 65_536]), "ends": [40, 80]}
    shared = {"tokens": np.tile(np.arange(5), (60, 1)), "ends": np.arange(5, 301, 5)}
    shared["tokens"][:, 4] = np.arange(60)  # sixty tokens after one context
    for given in (aliases, shared):
        reading = synthid_table.read(
            np.ravel(given["tokens"]), keys_for(synthid_table, 4000), ends=given["ends"]
        )
        p = np.exp(synthid_table.log_pvalues(reading))
        for alpha in (0.3, 0.05, 0.01):
            assert (p <= alpha).sum() <= stats.binom.ppf(0.999, 4000, alpha)
        assert (p <= 0.3).mean() > 0.2


def test_table_form_counts_by_shift_are_the_counts_under_each_key() -> None:
    text = text_of(300)
    reading = synthid_table.read(text, [[k] for k in range(50)])
    factor = 6364136223846793005
    for key in range(50):
        assert reading.counts[(key * factor + 1) % 2**16] == reading.statistic[key]
    assert reading.counts.size == 2**16


def test_table_form_has_no_smaller_p_than_its_keys_allow() -> None:
    """A layer key is 16 bits to the table: with 8 layers no text has p below 2^-128."""
    given = synthid_table.simulate(np.random.default_rng(1), effect=1.0, n=200)
    assert synthid_table.test(**given).log_pvalue >= -8 * 16 * math.log(2)


def test_table_readings_go_together_only_with_their_like() -> None:
    one = synthid_table.read(text_of(100), keys_for(synthid_table, 2))
    with pytest.raises(InputError):
        table_reading.together([])
    with pytest.raises(InputError):
        table_reading.together([one, synthid_table.read(text_of(100), keys_for(synthid_table, 3))])
    with pytest.raises(InputError):
        table_reading.result(synthid_table.CARD, one)


def test_repeats_look_back_exactly_so_far() -> None:
    prints = np.array([1, 2, 1, 3, 1, 1, 2, 1], np.uint64)
    ends = np.array([6, 8])
    assert np.flatnonzero(repeats(prints, ends, 2)).tolist() == [2, 4, 5]
    assert np.flatnonzero(repeats(prints, ends, 1)).tolist() == [5]
    assert np.flatnonzero(repeats(prints, ends, 0)).tolist() == []


def test_synthid_leaves_out_what_was_generated_unmarked() -> None:
    """A context that comes again within the history is not marked; behind it, it is."""
    rng = np.random.default_rng(1)
    window, filler = [1, 2, 3, 4], rng.integers(100, 9000, 60).tolist()
    text = [*window, 50, *filler, *window, 51]
    near = synthid_hash.read(text, keys_for(synthid_hash, 1), context_history_size=1024)
    far = synthid_hash.read(text, keys_for(synthid_hash, 1), context_history_size=10)
    assert far.scored[0] == near.scored[0] + 1


@pytest.mark.parametrize("scheme", [synthid_table, synthid_hash])
def test_layers_of_one_key_differ_and_are_as_many(scheme: ModuleType) -> None:
    for wrong in ([[1, 1]], [[1, 2], [3]], [[]]):
        with pytest.raises(InputError):
            scheme.read(text_of(100), wrong)


def test_parameters_out_of_range_are_refused() -> None:
    text = text_of(100)
    for call in (
        lambda: vllm_gumbel.read(text, [1], context_width=0),
        lambda: vllm_dual_gumbel.read(text, [1], alpha=1.5),
        lambda: vllm_sbw.read(text, [1], gamma=1.0),
        lambda: vllm_sbw.read(text, [1], scheme="righthash"),  # type: ignore[arg-type]
        lambda: vllm_sbw.read(text, [1], context_width=0),
        lambda: sglang_gumbel.read(text, [1], context_window=65),
        lambda: sglang_gumbel.read(text, [1], max_contexts=0),
        lambda: sglang_dual_gumbel.read(text, [(1, 2)], mixing_probability=1.0),
        lambda: sglang_dual_gumbel.read(text, [(1, 2, 3)]),  # type: ignore[list-item]
        lambda: textseal_gumbel.read(text, [1], ngram=11),
        lambda: textseal_gumbel.mark(np.zeros(10), [1], 1, ngram=2),
        lambda: synthid_table.read(text, [[1]], ngram_len=1),
        lambda: synthid_table.read(text, [[1]], sampling_table_size=1000),
        lambda: synthid_table.read(text, [[1]], context_history_size=-1),
        lambda: synthid_philox.read(text, [1], depth=33),
    ):
        with pytest.raises(InputError):
            call()


def test_readings_hold_what_the_tails_need() -> None:
    for scheme in SCHEMES:
        reading = scheme.read(text_of(100), keys_for(scheme, 2))
        assert reading.scored.dtype == np.int64
        assert reading.statistic.dtype == np.float64
        assert isinstance(reading, Reading | table_reading.TableReading)
