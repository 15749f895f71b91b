"""The hash-based marks against vectors that the engines made (tests/golden/hash_marks.py), and the engines' defects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from stillwatch.errors import InsufficientData
from stillwatch.marks import _murmur, _philox
from stillwatch.marks._pairs import contexts_once
from stillwatch.marks.reading import log_pvalues
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
from stillwatch.stats.gamma_sums import two_gammas_log_pvalue

GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "golden" / "hash_marks.json").read_text(encoding="utf-8")
)
LEAST = 2.0**-23
"""Most that vLLM adds to a score above what is read here."""


@pytest.mark.parametrize("case", GOLDEN["vllm_gumbel"], ids=lambda c: f"width {len(c['contexts'][0])}")
def test_vllm_numbers_are_the_engines(case: dict[str, Any]) -> None:
    contexts, width = np.array(case["contexts"]), len(case["contexts"][0])
    for context, token, u in zip(contexts, case["tokens"], case["u"], strict=True):
        given = context[context >= 0]  # what is missing stands at the start
        ours = vllm_gumbel.uniforms(given, int(case["key"]), token + 1, width)[0, token]
        assert ours == np.float32(u)


@pytest.mark.parametrize("case", GOLDEN["synthid_philox"], ids=lambda c: f"width {len(c['contexts'][0])}")
def test_the_bits_of_the_words_are_those_transcribed(case: dict[str, Any]) -> None:
    width = len(case["contexts"][0])
    for context, token, word in zip(case["contexts"], case["tokens"], case["words"], strict=True):
        given = [x for x in context if x >= 0]
        bits = synthid_philox.g_values(given, int(case["key"]), token + 1, context_width=width)[0, token]
        assert sum(int(b) << i for i, b in enumerate(bits)) == word


@pytest.mark.parametrize("name", GOLDEN["vllm_own"])
def test_vllms_own_vectors(name: str) -> None:
    case = GOLDEN["vllm_own"][name]
    key, n = int(case["key"]), case["scored"]
    if case["scheme"] == "gumbel":
        found = vllm_gumbel.read(case["tokens"], [key], context_width=case["width"])
        scored, score = int(found.scored[0]), float(found.statistic[0])
        log_p = float(log_pvalues(found, need=1)[0])
        assert log_p == pytest.approx(np.log(case["p_value"]), abs=n * LEAST)
    else:
        scored, sums = vllm_dual_gumbel.fused(
            case["tokens"], [key], context_width=case["width"], alpha=case["alpha"]
        )
        score = float(sums[0])
    assert scored == n
    assert score <= case["score"] + 1e-9
    assert score >= case["score"] - n * LEAST - 1e-9


def test_vllm_detectors_on_a_text_that_repeats() -> None:
    case = GOLDEN["vllm_text"]
    key = int(case["key"])
    one = vllm_gumbel.read(case["tokens"], [key], context_width=2)
    assert one.scored[0] == case["vllm_gumbel"]["scored"]
    assert one.statistic[0] == pytest.approx(case["vllm_gumbel"]["score"], rel=1e-7)
    n, sums = vllm_dual_gumbel.fused(case["tokens"], [key], context_width=2)
    assert n == case["vllm_dual_gumbel"]["scored"]
    assert sums[0] == pytest.approx(case["vllm_dual_gumbel"]["score"], rel=1e-7)


def test_vllms_dual_key_p_value_is_too_small_far_out() -> None:
    """Its gamma law has the right variance and too light a tail: at ten standard deviations p is 2.2 times as large."""
    n, alpha = 300, 0.1
    v = (1 - alpha) ** 2 + alpha**2
    for z, ratio in ((3, 1.03), (5, 1.14), (10, 2.21)):
        total = n + z * (n * v) ** 0.5
        theirs = stats.gamma.logsf(total / v, n / v)
        assert np.exp(two_gammas_log_pvalue(total, n, alpha) - theirs) == pytest.approx(ratio, abs=0.01)


@pytest.mark.parametrize("case", GOLDEN["vllm_sbw"], ids=lambda c: f"{c['scheme']} {len(c['contexts'][0])}")
def test_sbw_lists_are_those_transcribed(case: dict[str, Any]) -> None:
    width = len(case["contexts"][0])
    for context, token, green in zip(case["contexts"], case["tokens"], case["green"], strict=True):
        given = [x for x in context if x >= 0]
        listed = vllm_sbw.green_tokens(
            given,
            int(case["key"]),
            token + 1,
            scheme=case["scheme"],
            context_width=width,
            gamma=case["gamma"],
        )
        assert listed[0, token] == bool(green)


def test_the_sbw_detector_reads_other_lists_than_its_generator_writes() -> None:
    """lefthash: the sum of the ids against the sum of their hashes; marked text is half green to the detector."""
    case = next(c for c in GOLDEN["vllm_sbw"] if c["scheme"] == "lefthash" and c["gamma"] == 0.5)
    writes, reads = np.array(case["green"], bool), np.array(case["green_of_the_detector"], bool)
    assert 0.3 < reads[writes].mean() < 0.7


def test_the_sbw_detector_counts_one_draw_many_times() -> None:
    """selfhash: it drops repeated contexts, but contexts that differ share seeds; ours counts a seed and token once."""
    rng = np.random.default_rng(3)
    text = rng.choice(200, 6000, p=(w := 1 / np.arange(1, 201)) / w.sum())
    keys = rng.integers(1, 2**62, 100).astype(np.uint64)
    contexts, tokens = contexts_once(text, None, 4, True, None)
    products = vllm_sbw._products(contexts, tokens, "selfhash")
    seeds, z = np.empty(tokens.size, np.uint64), []
    for key in keys:
        _philox.sbw_seeds(products, key, seeds)
        green = vllm_sbw._green(seeds, tokens, np.uint64(2**30)).sum()
        z.append((green - tokens.size / 2) / (tokens.size / 4) ** 0.5)
    assert np.mean(stats.norm.sf(z) < 1e-5) > 0.1
    ours = log_pvalues(vllm_sbw.read(text, keys.tolist()))
    assert ours.min() > np.log(1e-5)


@pytest.mark.parametrize("case", GOLDEN["sglang"], ids=lambda c: f"width {len(c['contexts'][0])}")
def test_sglang_hashes_and_coins_are_the_engines(case: dict[str, Any]) -> None:
    width, tokens = len(case["contexts"][0]), np.array(case["tokens"], np.uint64)
    ids = np.column_stack([case["contexts"], case["tokens"]]).ravel()
    ends = np.arange(1, len(tokens) + 1) * (width + 1)
    hashes = np.empty(ids.size, np.uint64)
    _murmur.context_hashes(ids, ends, width, hashes)
    contexts = hashes[width :: width + 1].copy()
    assert contexts.tolist() == case["context_hashes"]
    a, b = (np.uint64(int(key)) for key in case["keys"])
    out = np.empty(tokens.size, np.uint64)
    _murmur.hashes(contexts, tokens, b, out)
    assert out.tolist() == case["hashes"]
    _murmur.coins(contexts, a, b, out)
    assert out.tolist() == case["coins"]


def test_sglang_detector_with_prompt_and_limit() -> None:
    case = GOLDEN["sglang_text"]
    a, b = (int(key) for key in case["keys"])
    whole, prompts = case["prompt"] + case["tokens"], [len(case["prompt"])]
    one = sglang_gumbel.read(whole, [a], prompts=prompts, max_contexts=case["max_contexts"])
    assert one.scored[0] == case["one"][0]
    assert one.statistic[0] == pytest.approx(case["one"][1], rel=1e-8)
    two = sglang_dual_gumbel.read(whole, [(a, b)], prompts=prompts, max_contexts=case["max_contexts"])
    assert two.scored[0] == case["two"][0]
    assert two.statistic[0] == pytest.approx(case["two"][1], rel=1e-8)
    assert log_pvalues(two)[0] == pytest.approx(case["two"][2], rel=1e-6)


@pytest.mark.parametrize("case", GOLDEN["textseal_gumbel"], ids=lambda c: f"{len(c['contexts'][0])} ids")
def test_textseal_numbers_are_the_engines(case: dict[str, Any]) -> None:
    ngram = len(case["contexts"][0])
    for context, token, u in zip(case["contexts"], case["tokens"], case["u"], strict=True):
        level = textseal_gumbel.levels(context, int(case["key"]), token + 1, ngram)[0, token]
        assert np.float32(level) / np.float32(8191) == np.float32(u)


def test_textseals_detector_counts_repeats_and_ours_does_not() -> None:
    """`v2` without `seen_windows`: a text of four pairs counts as 197, and unmarked text has p below 1e-50."""
    case = GOLDEN["textseal_repeats"]
    assert case["scored"] == 197
    assert case["smallest_p"] < 1e-50
    text = [ord(letter) for letter in case["text"]]
    found = textseal_gumbel.read(text, list(range(case["keys"])), ngram=2)
    assert set(found.scored.tolist()) == {4}
    with pytest.raises(InsufficientData):
        textseal_gumbel.test(text, 42, ngram=2)


@pytest.mark.parametrize(("module", "name"), [(synthid_table, "table"), (synthid_hash, "hash")])
def test_synthid_g_values_are_the_engines(module: Any, name: str) -> None:
    case = GOLDEN["synthid"]
    tokens = np.array(case["tokens"])
    for i, row in enumerate(case[name]):
        found = module.g_values(tokens[i : i + 4], tokens[i + 4 : i + 5], case["layers"])
        assert "".join(map(str, found[0, 0].tolist())) == row


def test_synthid_counts_are_those_of_the_g_values() -> None:
    case = GOLDEN["synthid"]
    for module, name in ((synthid_table, "table"), (synthid_hash, "hash")):
        found = module.read(case["tokens"], [case["layers"]])
        assert found.scored[0] == len(case[name])
        assert found.statistic[0] == "".join(case[name]).count("1")


def test_the_context_mask_is_the_engines() -> None:
    case = GOLDEN["synthid"]["mask"]
    ours = synthid_table.repetition_mask(case["tokens"], context_history_size=case["history"])
    assert "".join("0" if repeated else "1" for repeated in ours[4:].tolist()) == case["fresh"]


def test_ids_equal_modulo_the_table_share_every_g_value_of_the_table_form_only() -> None:
    """The engine's table form: five ids and the same five plus 65,536 have the same g-values in all layers."""
    case = GOLDEN["synthid"]
    assert case["tokens"][30:35] == [x + 65_536 for x in case["tokens"][10:15]]
    assert case["table"][30] == case["table"][10]
    assert case["hash"][30] != case["hash"][10]


def test_the_two_published_forms_do_not_read_each_other() -> None:
    case = GOLDEN["synthid"]
    table, hashed = ("".join(case[name]) for name in ("table", "hash"))
    assert 0.4 < np.mean([a == b for a, b in zip(table, hashed, strict=True)]) < 0.6
