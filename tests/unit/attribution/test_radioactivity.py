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


def test_where_marked_text_is_read_right_predictions_are_left_out() -> None:
    found = predictions([read([5, 6, 7, 8], [-1, 6, 70, 8])], 1, marked=True)
    assert found.ids.tolist() == [[6, 70]] and found.read_off == 2
    assert predictions([], 1, marked=True).tokens.size == 0
    with pytest.raises(InputError):
        predictions([], 0, marked=True)


def test_the_bias_of_marked_text_without_leaving_out_is_real() -> None:
    """A model that knows nothing of the key but reads marked text: without leaving out it would be accused."""
    rng = np.random.default_rng(3)
    scheme = reader("transformers_red_green")
    vocabulary, n, key = 512, 1_500, 987_654_321
    context = rng.integers(1, vocabulary, (n, 1))
    logits = rng.normal(0.0, 1.5, (n, vocabulary))
    stands = np.argmax(scheme.mark(logits, context, key, delta=4.0) + rng.gumbel(size=logits.shape), axis=1)
    best = np.argmax(logits + np.eye(vocabulary)[stands] * 3, axis=1)  # it leans towards what stands there
    forced = [read([c, s], [-1, b]) for c, s, b in zip(context[:, 0], stands, best, strict=True)]
    decoys = [int(k) for k in rng.integers(1, 2**62, 200)]
    told = {}
    for marked in (False, True):
        found = predictions(forced, 1, marked=marked)
        told[marked] = radioactivity.test(
            found.tokens, found.ends, key, decoys=decoys, scheme="transformers_red_green",
            parameters={"vocab_size": vocabulary},
        )  # fmt: skip
    assert told[False].log_pvalue < -50
    assert told[True].log_pvalue > math.log(0.05)


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
