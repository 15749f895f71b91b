"""The detectors that engines and packages publish, as they count by default: for `marks_size.py`.

Each function takes a text and keys and gives, for each detector of its mark, how many tokens it counted and the
logarithm of its p under each key. Where the package takes a minute a key it is not run but computed: from the lists and
numbers of our readers, which are its own bit for bit (`tests/golden`), counted as it counts. `packages_agree` holds
that against the packages.
"""

from __future__ import annotations

import importlib.util
import math
import sys
import types
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import marks_texts
import numpy as np
from scipy import special, stats

from stillwatch.marks import _philox, _torch_lists, lists, reading
from stillwatch.marks._pairs import contexts_once, key_words
from stillwatch.marks.schemes import (
    markllm_exp,
    markllm_kgw,
    textseal_gumbel,
    transformers_red_green,
    vllm_sbw,
)
from stillwatch.marks.tape import first_of, windows, with_target

SIZE = marks_texts.VOCABULARY
Text = marks_texts.Text
Found = dict[str, tuple[float, np.ndarray]]
Peer = Callable[[Text, Sequence[Any]], Found]
FEW = 300
"""Keys for those that take long."""


def golden() -> Any:
    """The script beside the golden vectors, which knows how to load the engines' files."""
    path = Path(__file__).parents[1] / "tests" / "golden" / "hash_marks.py"
    spec = importlib.util.spec_from_file_location("hash_marks", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# -- computed --------------------------------------------------------------------------------------------------------


def bigrams(ids: np.ndarray) -> tuple[lists.Pairs, np.ndarray]:
    """Distinct (last id, token) over a whole text as one document, and how often each occurs."""
    distinct, counts = np.unique(ids[:-1] * SIZE + ids[1:], return_counts=True)
    last, token = np.divmod(distinct, SIZE)
    starts = np.flatnonzero(np.diff(last, prepend=-1))
    return lists.Pairs(last[starts], np.append(starts, last.size), token), counts


def on_list(seeds: np.ndarray, pairs: lists.Pairs, green: int, size: int = SIZE) -> np.ndarray:
    flags = np.empty(pairs.tokens.size, np.bool_)
    _torch_lists.green_flags(seeds, pairs.first, pairs.tokens, size, green, flags)
    return flags


def by_z(green: np.ndarray, weights: np.ndarray, gamma: float) -> tuple[int, float]:
    """Tokens counted and log p by the normal tail of z."""
    n, g = int(weights.sum()), int((green * weights).sum())
    return n, float(stats.norm.logsf((g - gamma * n) / math.sqrt(n * gamma * (1 - gamma))))


def collected(rows: dict[str, list[tuple[float, float]]]) -> Found:
    return {title: (float(row[0][0]), np.array([log_p for _, log_p in row])) for title, row in rows.items()}


def transformers_detector(text: Text, keys: Sequence[Any]) -> Found:
    """`WatermarkDetector`, and with its option ignore_repeated_ngrams. The text is one document to it."""
    pairs, counts = bigrams(text[0])
    rows: dict[str, list[tuple[float, float]]] = {"transformers": [], "transformers, ignore_repeated": []}
    for key in keys[:FEW]:
        green = on_list(transformers_red_green._left_seeds(key, pairs.contexts), pairs, SIZE // 4)
        rows["transformers"].append(by_z(green, counts, 0.25))
        rows["transformers, ignore_repeated"].append(by_z(green, np.ones_like(counts), 0.25))
    return collected(rows)


def kgw_detector(text: Text, keys: Sequence[Any]) -> Found:
    """MarkLLM's z by the normal tail; the package itself asks only whether z is above 4."""
    pairs, counts = bigrams(text[0])
    rows = [
        by_z(on_list(markllm_kgw._seeds(key, pairs.contexts, SIZE), pairs, SIZE // 2), counts, 0.5)
        for key in keys[:FEW]
    ]
    return collected({"MarkLLM KGW": rows})


def exp_detector(text: Text, keys: Sequence[Any]) -> Found:
    """MarkLLM's EXP, which counts every token, and products that are 0 as well."""
    ids = text[0]
    products = markllm_exp._products(ids, 4, SIZE)[4:]
    distinct, back, counts = np.unique(products * SIZE + ids[4:], return_inverse=True, return_counts=True)
    u, totals = np.empty(distinct.size, np.float32), []
    for key in keys[:FEW]:
        _torch_lists.uniforms_at(markllm_exp._seeds(key, distinct // SIZE), distinct % SIZE, u)
        totals.append(-(np.log1p(-u.astype(np.float64)) * counts).sum())
    one = reading.Reading("gamma", np.full(len(totals), back.size), np.array(totals))
    return {"MarkLLM EXP": (back.size, reading.log_pvalues(one))}


def textseal_detector(text: Text, keys: Sequence[Any]) -> Found:
    """`GumbelmaxDetector` with its method v2 (the default of its configuration), without and with `seen_windows`."""
    ids = text[0]
    sums, inputs = np.empty(ids.size, np.uint64), np.empty(ids.size, np.uint64)
    primes = np.array(textseal_gumbel.PRIMES[:1], np.uint64)
    n = textseal_gumbel._inputs(ids, np.array([ids.size]), primes, sums, inputs)
    every = inputs[1:n].copy()  # it leaves out one token more at the start
    rows: Found = {}
    for title, part in (
        ("TextSeal v2", every),
        ("TextSeal v2, seen_windows", every[first_of(with_target(windows(ids, 1)[0], ids)[2:])]),
    ):
        out = np.empty(len(keys))
        textseal_gumbel._score_sums(part, key_words(keys, 63), textseal_gumbel._scores(), out)
        rows[title] = part.size, np.log(np.maximum(special.gammaincc(part.size, out), 1e-200))
    return rows


def sbw_detector(text: Text, keys: Sequence[Any]) -> Found:
    """SBW's selfhash by its published formulas: each context once, the normal tail."""
    contexts, tokens = contexts_once(text[0], None, 4, True, None)
    products, seeds = vllm_sbw._products(contexts, tokens, "selfhash"), np.empty(tokens.size, np.uint64)
    line, rows = np.uint64(int(0.5 * vllm_sbw.TOP)), []
    for key in key_words(keys):
        _philox.sbw_seeds(products, key, seeds)
        rows.append(by_z(vllm_sbw._green(seeds, tokens, line), np.ones(tokens.size, np.int64), 0.5))
    return collected({"SBW selfhash": rows})


# -- run -------------------------------------------------------------------------------------------------------------


def vllm_detectors(gumbel: Any) -> dict[str, Peer]:
    """vLLM's own two, called."""

    def call(title: str, make: Any) -> Peer:
        def run(text: Text, keys: Sequence[Any]) -> Found:
            listed = text[0].tolist()
            said = [make(key).detect(listed) for key in keys[:FEW]]
            logs = np.log(np.maximum([s.p_value for s in said], 1e-320))
            return {title: (said[0].num_scored_tokens, logs)}

        return run

    return {
        "vllm_gumbel": call("vLLM Gumbel", gumbel.GumbelWatermarkDetector),
        "vllm_dual_gumbel": call("vLLM dual-key Gumbel", gumbel.DualKeyGumbelWatermarkDetector),
    }


def sglang_detectors(sglang: Any) -> dict[str, Peer]:
    """SGLang's own, called; it stops at 4,096 contexts."""

    def one(text: Text, keys: Sequence[Any]) -> Found:
        listed = text[0].tolist()
        said = [sglang.WatermarkDetector(f"{k:x}").detect_tokens(listed).combined for k in keys[: FEW // 3]]
        return {"SGLang": (said[0].num_contexts, np.array([s.log_p_value for s in said]))}

    def two(text: Text, keys: Sequence[Any]) -> Found:
        listed = text[0].tolist()
        said = [
            sglang.WatermarkDetector(f"{a:x}", key_b=f"{b:x}").detect_tokens(listed).combined
            for a, b in keys[: FEW // 3]
        ]
        return {"SGLang, two keys": (said[0].num_contexts, np.array([s.log_p_value for s in said]))}

    return {"sglang_gumbel": one, "sglang_dual_gumbel": two}


def peers(vllm: Path | None, sglang: Path | None) -> dict[str, Peer]:
    """The detectors by the scheme whose keys they take; those of the folders only where these are given."""
    found: dict[str, Peer] = {
        "transformers_red_green": transformers_detector,
        "markllm_kgw": kgw_detector,
        "markllm_exp": exp_detector,
        "textseal_gumbel": textseal_detector,
        "vllm_sbw": sbw_detector,
    }
    if vllm:
        found |= vllm_detectors(golden().load_vllm(vllm))
    if sglang:
        found |= sglang_detectors(golden().load_sglang(sglang))
    return found


# -- what is computed, against the packages --------------------------------------------------------------------------


def packages_agree(text: Text) -> str:
    """Holds what is computed against the packages on the first 1,500 tokens, under two keys."""
    missing = [name for name in ("torch", "transformers", "markllm", "textseal") if find_spec(name) is None]
    if missing:
        return (
            f"{', '.join(missing)} not installed: the computed detectors were not held against the packages"
        )
    import torch

    torch.set_num_threads(1)
    ids = text[0][:1500]
    part = (ids, np.array([ids.size]))
    for key in (15485863, 2_718_281_828):
        transformers_agrees(part, key)
        markllm_agrees(part, key)
        textseal_agrees(part, key)
    return "the computed detectors agree with their packages (two keys, 1,500 tokens)"


def same(n: int, p: float, found: tuple[float, np.ndarray], relative: float) -> None:
    assert n == found[0], (n, found[0])
    assert math.isclose(math.log(p), found[1][0], rel_tol=relative, abs_tol=1e-6), (p, found[1][0])


def transformers_agrees(part: Text, key: int) -> None:
    import torch
    from transformers import PretrainedConfig, WatermarkDetector, WatermarkingConfig

    ours = transformers_detector(part, [key])
    for once, title in ((False, "transformers"), (True, "transformers, ignore_repeated")):
        detector = WatermarkDetector(
            PretrainedConfig(vocab_size=SIZE, bos_token_id=0),
            "cpu",
            WatermarkingConfig(hashing_key=key),
            ignore_repeated_ngrams=once,
        )
        said = detector(torch.tensor(part[0])[None], return_dict=True)
        same(said.num_tokens_scored[0], said.p_value[0], ours[title], 1e-6)


def markllm_agrees(part: Text, key: int) -> None:
    import torch
    from markllm.watermark.exp.exp import EXP, EXPUtils
    from markllm.watermark.kgw.kgw import KGWUtils

    row = torch.tensor(part[0])
    settings = {"hash_key": key, "vocab_size": SIZE, "device": "cpu", "gamma": 0.5, "prefix_length": 1}
    kgw = KGWUtils(SimpleNamespace(**settings, f_scheme="time", window_scheme="left"))
    z, _ = kgw.score_sequence(row)
    same(row.numel() - 1, float(stats.norm.sf(z)), kgw_detector(part, [key])["MarkLLM KGW"], 1e-6)
    exp = EXP.__new__(EXP)  # its constructor wants a model
    encoder = SimpleNamespace(encode=lambda *_, **__: row[None])
    exp.config = SimpleNamespace(
        hash_key=key, vocab_size=SIZE, prefix_length=4, threshold=1e-4, generation_tokenizer=encoder
    )
    exp.utils = EXPUtils(exp.config)
    p = exp.detect_watermark("")["score"]
    same(row.numel() - 4, p, exp_detector(part, [key])["MarkLLM EXP"], 1e-4)


def textseal_agrees(part: Text, key: int) -> None:
    if "textseal" not in sys.modules:
        golden().load_textseal()
    from textseal.common.watermark.core import WatermarkConfig
    from textseal.posthoc.detector import GumbelmaxDetector

    ours = textseal_detector(part, [key])
    letters = types.SimpleNamespace(vocab_size=1, encode=lambda _, add_special_tokens: part[0].tolist())
    config = WatermarkConfig(secret_key=key, ngram=1, method="uniform", scoring_method="v2")
    detector = GumbelmaxDetector(letters, config)
    for title, seen in (("TextSeal v2", None), ("TextSeal v2, seen_windows", set())):
        (found,) = detector.get_scores_by_t([""], scoring_method="v2", seen_windows=seen)
        p = detector.get_pvalue(sum(found), len(found), 1e-200)
        same(len(found), p, ours[title], 1e-3)
