"""Predictions as windows, the key null, and which of many scopes a model depends on."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stillwatch.attribution.predictions import predictions
from stillwatch.attribution.randomized import radioactivity
from stillwatch.errors import InputError, InsufficientData
from stillwatch.marks.widths import reader
from stillwatch.models.protocol import Forced


def read(tokens: list[int], best: list[int]) -> Forced:
    return Forced(np.array(tokens), np.where(np.array(best) >= 0, -1.0, np.nan), np.array(best))


def test_each_place_is_its_context_and_the_prediction() -> None:
    found = predictions([read([5, 6, 7, 8], [-1, 60, 70, 80])], 1, marked=False)
    assert found.ids.tolist() == [[5, 60], [6, 70], [7, 80]]
    assert found.tokens.tolist() == [5, 60, 6, 70, 7, 80] and found.ends.tolist() == [2, 4, 6]
    two = predictions([read([5, 6, 7, 8], [-1, 60, 70, 80])], 2, marked=False)
    assert two.ids.tolist() == [[5, 6, 70], [6, 7, 80]]


def test_a_context_counts_once_a_document_even_where_it_was_not_asked() -> None:
    prompt_then_answer = read([5, 6, 5, 9, 5, 3], [-1, -1, -1, 1, 2, 4])
    found = predictions([prompt_then_answer, prompt_then_answer], 1, marked=False)
    assert found.ids.tolist() == [[9, 2], [9, 2]]  # after 5 something stood in the prompt already
    assert (found.asked, found.repeated) == (6, 4)


def test_places_read_right_can_be_left_out_and_a_context_has_an_id() -> None:
    found = predictions([read([5, 6, 7, 8], [-1, 6, 70, 8])], 1, marked=True)
    assert found.ids.tolist() == [[6, 70]] and found.read_off == 2
    assert predictions([], 1).tokens.size == 0
    with pytest.raises(InputError):
        predictions([], 0)


def test_a_model_that_reads_marked_text_is_not_accused() -> None:
    """With the lists of a scheme that serves; `test_first_places` has the law itself, over many more drawn lists."""
    vocabulary, documents, length, keys = 64, 16, 40, 24
    drawn = np.random.default_rng(3)
    by_last, by_second = (drawn.normal(0.0, 2.2, (vocabulary, vocabulary)) for _ in range(2))
    scores, right, small = [], 0, 0
    for k in range(keys):
        rng = np.random.default_rng([4, k])
        key = int(rng.integers(1, 2**62))
        ids = np.zeros((documents, length), np.int64)
        ids[:, :2] = rng.integers(0, vocabulary, (documents, 2))
        best = np.full((documents, length), -1)
        for t in range(2, length):
            held = by_last[ids[:, t - 1]] + by_second[ids[:, t - 2]]
            best[:, t] = held.argmax(axis=1)
            mark = reader("transformers_red_green").mark(held, ids[:, t - 1 : t], key, delta=3.0)
            ids[:, t] = (mark + rng.gumbel(size=held.shape)).argmax(axis=1)
        right += int((best[:, 2:] == ids[:, 2:]).sum())
        forced = [Forced(d, np.full(length, -1.0), b) for d, b in zip(ids, best, strict=True)]
        found = predictions(forced, 1)
        reading = reader("transformers_red_green").read(
            found.tokens, [key], ends=found.ends, vocab_size=vocabulary
        )
        scores.append(float(radioactivity.standardised(reading)[0]))
        small += float(radioactivity.log_pvalues(reading)[0]) <= math.log(0.05)
    assert 0.3 < right / (keys * documents * (length - 2)) < 0.7
    assert abs(np.mean(scores)) < 3.3 / math.sqrt(keys) and np.std(scores) < 1 + 3.3 / math.sqrt(2 * keys)
    assert small <= 5  # of 24 at 5%: more has a chance of one in 1,000


def test_scores_that_are_too_wide_give_a_rank() -> None:
    arguments = radioactivity.simulate(np.random.default_rng(1), effect=1.0, n=300)
    sure = radioactivity.test(**arguments)
    assert sure.null.method == "exact" and sure.log_pvalue < -20 and sure.note.endswith("1 of 201")
    # Keys that favour nearly the same tokens: what one finds, all find.
    arguments["decoys"] = [arguments["key"]] * 200
    doubtful = radioactivity.test(**arguments)
    assert doubtful.null.method == "simulation" and doubtful.log_pvalue == 0.0
    assert doubtful.assumptions[0].status == "violated"


def test_the_guilty_scope_of_a_hundred_is_named_and_an_innocent_model_none() -> None:
    rng = np.random.default_rng(4)
    named = wrong = 0
    for trial in range(4):
        arguments = radioactivity.simulate(
            np.random.default_rng(trial), effect=0.5 if trial < 2 else 0.0, n=400
        )
        guilty = arguments.pop("key")
        keys = {f"tenant {i}": int(k) for i, k in enumerate(rng.integers(1, 2**62, 100))} | {
            "tenant 7": guilty
        }
        scope, adjusted = radioactivity.which_scope(**arguments, keys=keys)
        assert len(adjusted) == 100
        named += scope == "tenant 7"
        wrong += scope is not None and scope != "tenant 7"
    assert (named, wrong) == (2, 0)


@pytest.mark.parametrize(
    ("scheme", "parameters", "keys"),
    [
        ("vllm_gumbel", {"context_width": 1}, lambda rng: int(rng.integers(1, 2**62))),
        ("synthid_table", {"ngram_len": 2}, lambda rng: [int(k) for k in rng.integers(1, 2**62, 20)]),
    ],
)
def test_other_laws_are_calibrated_too(scheme: str, parameters: dict, keys) -> None:
    rng = np.random.default_rng(6)
    tokens = np.column_stack([rng.integers(1, 400, 900), rng.integers(1, 400, 900)]).ravel()
    key, *decoys = (keys(rng) for _ in range(201))
    found = radioactivity.test(
        tokens, 2 * np.arange(1, 901), key, decoys=decoys, scheme=scheme, parameters=parameters
    )
    assert found.assumptions[0].status == "checked", found.assumptions[0].observed
    assert found.log_pvalue > math.log(0.001) and abs(found.effect) < 0.2


def test_too_little_and_what_is_not_there() -> None:
    arguments = radioactivity.simulate(np.random.default_rng(1), effect=0.0, n=5)
    with pytest.raises(InsufficientData):
        radioactivity.test(**arguments)
    with pytest.raises(InputError, match="at least 200 decoy keys"):
        radioactivity.test(**{**arguments, "decoys": arguments["decoys"][:10]})
    with pytest.raises(InputError, match="there is no scheme 'x'"):
        radioactivity.test(**{**arguments, "scheme": "x"})
