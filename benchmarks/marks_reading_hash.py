"""Speed of the readers of hash-based marks beside the engines' own detectors: equal input, equal result, one thread.

    python benchmarks/marks_reading_hash.py [--vllm V --sglang S --synthid D] [--rounds 3] [--keys 400]

CPU seconds of this process, the median of interleaved rounds; ratios are what to compare between machines. Ours reads
one key in each row, windows, tape and tail included. The text is chat answers (`marks_texts.py`, STILLWATCH_DATA);
g-values are counted on random ids, among which nothing repeats. Peers, and the folders V, S and D, are those of
`tests/golden/hash_marks.py`; what is not there is not timed.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import marks_peers
import marks_texts
import numpy as np

from stillwatch.marks import reading
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

KEY, OTHER = 0x0123456789ABCDEF, 0x7EDCBA9876543210
LAYERS = np.random.default_rng(30).integers(1, 2**62, 30).tolist()
Row = tuple[str, int, str, Callable[[], Any], Callable[[], Any], Callable[[Any, Any], bool]]
"""Title, tokens, ratio of the prototype, the peer, ours, and whether both found the same."""


def close(a: float, b: float, relative: float = 1e-6) -> bool:
    return math.isclose(a, b, rel_tol=relative)


def with_tail(scheme: Any, ids: np.ndarray, key: Any, **given: Any) -> Any:
    found = scheme.read(ids, [key], **given)
    return found, float(getattr(scheme, "log_pvalues", reading.log_pvalues)(found)[0])


def vllm_rows(script: Any, folder: Path, ids: np.ndarray) -> list[Row]:
    gumbel = script.load_vllm(folder)
    rows: list[Row] = []
    for count, before in ((20_000, "22"), (100_000, "16")):
        part = ids[:count]
        listed = part.tolist()
        one, two = gumbel.GumbelWatermarkDetector(KEY), gumbel.DualKeyGumbelWatermarkDetector(KEY)
        rows.append(
            (
                "vLLM Gumbel",
                count,
                before,
                lambda one=one, listed=listed: one.detect(listed),
                lambda part=part: with_tail(vllm_gumbel, part, KEY),
                lambda said, ours: (
                    said.num_scored_tokens == ours[0].scored[0]
                    and close(said.score, ours[0].statistic[0])
                    and close(math.log(said.p_value), ours[1], 1e-3)
                ),
            )
        )
        rows.append(
            (
                "vLLM dual-key Gumbel",
                count,
                "",
                lambda two=two, listed=listed: two.detect(listed),
                lambda part=part: with_tail(vllm_dual_gumbel, part, KEY),
                lambda said, ours, part=part: (
                    said.num_scored_tokens == ours[0].scored[0]
                    and close(said.score, vllm_dual_gumbel.fused(part, [KEY])[1][0])
                ),
            )
        )
    return rows


def sglang_rows(script: Any, folder: Path, ids: np.ndarray) -> list[Row]:
    sglang = script.load_sglang(folder)
    part = ids[:4_000]
    listed = part.tolist()
    one = sglang.WatermarkDetector(f"{KEY:x}")
    two = sglang.WatermarkDetector(f"{KEY:x}", key_b=f"{OTHER:x}")

    def same(said: Any, ours: Any) -> bool:
        n, score, log_p = said.combined.num_contexts, said.combined.score, said.combined.log_p_value
        return n == ours[0].scored[0] and close(score, ours[0].statistic[0]) and close(log_p, ours[1], 1e-3)

    return [
        (
            "SGLang",
            4_000,
            "",
            lambda: one.detect_tokens(listed),
            lambda: with_tail(sglang_gumbel, part, KEY),
            same,
        ),
        (
            "SGLang, two keys",
            4_000,
            "",
            lambda: two.detect_tokens(listed),
            lambda: with_tail(sglang_dual_gumbel, part, (KEY, OTHER)),
            same,
        ),
    ]


def textseal_rows(script: Any, ids: np.ndarray) -> list[Row]:
    """The detector, told to count each window once, and the vectorised scorer, whose windows wrap around."""
    script.load_textseal()
    import torch
    from textseal.common.watermark.core import WatermarkConfig, score_tokens
    from textseal.posthoc.detector import GumbelmaxDetector

    config = WatermarkConfig(secret_key=42, ngram=2, method="uniform", scoring_method="v1")
    part, long = ids[:5_000], np.append(ids[:50_000], ids.max() + 1)
    letters = types.SimpleNamespace(vocab_size=1, encode=lambda _, add_special_tokens: part.tolist())
    detector = GumbelmaxDetector(letters, config)
    row = torch.from_numpy(long)

    def scores() -> Any:
        (found,) = detector.get_scores_by_t([""], scoring_method="v1", seen_windows=set())
        return found, detector.get_pvalue(sum(found), len(found), 1e-200)

    def same_vector(said: Any, ours: Any) -> bool:
        u = np.array(said[0])[2:]  # the windows of the first two tokens reach back to the end
        return len(u) == ours[0].scored[0] and close(float(-np.log1p(-u).sum()), ours[0].statistic[0], 1e-5)

    return [
        (
            "TextSeal detector",
            5_000,
            "832",
            scores,
            lambda: with_tail(textseal_gumbel, part[1:], 42, ngram=2),  # it leaves out one token more
            lambda said, ours: (
                len(said[0]) == ours[0].scored[0] and close(sum(said[0]), ours[0].statistic[0], 1e-5)
            ),
        ),
        (
            "TextSeal vectorised",
            50_000,
            "325",
            lambda: score_tokens(row, config),
            lambda: with_tail(textseal_gumbel, long, 42, ngram=2),
            same_vector,
        ),
    ]


def synthid_rows(script: Any, folder: Path | None, ids: np.ndarray) -> list[Row]:
    import torch

    processor = script.transformers_processor(LAYERS)
    random = np.random.default_rng(1).integers(0, marks_texts.VOCABULARY, 20_000)
    batch, chat = torch.from_numpy(random)[None], ids[:5_000]

    def same(said: Any, ours: Any) -> bool:
        return int(said) == int(ours[0].statistic[0])

    rows: list[Row] = [
        (
            "transformers g-values",
            20_000,
            "12",
            lambda: processor.compute_g_values(batch)[0],
            lambda: synthid_table.text_g_values(random, LAYERS),
            lambda said, ours: bool((said.numpy() == ours).all()),
        ),
        (
            "  the same, against a test",
            20_000,
            "",
            lambda: processor.compute_g_values(batch).sum(),
            lambda: with_tail(synthid_table, random, LAYERS),
            same,
        ),
        (
            "transformers context mask",
            5_000,
            "471",
            lambda: processor.compute_context_repetition_mask(torch.from_numpy(chat)[None])[0].numpy(),
            lambda: synthid_table.repetition_mask(chat),
            lambda said, ours: bool((said.astype(bool) == ~ours[4:]).all()),
        ),
    ]
    if folder:
        main = script.other_processor(script.load_synthid_main(folder), LAYERS)
        rows.append(
            (
                "synthid-text g-values",
                20_000,
                "",
                lambda: main.compute_g_values(batch).sum(),
                lambda: with_tail(synthid_hash, random, LAYERS),
                same,
            )
        )
    return rows


MANY: list[tuple[str, Any, dict[str, Any]]] = [
    ("vLLM Gumbel", vllm_gumbel, {}),
    ("vLLM dual-key Gumbel", vllm_dual_gumbel, {}),
    ("vLLM SBW selfhash", vllm_sbw, {}),
    ("vLLM SBW lefthash", vllm_sbw, {"scheme": "lefthash"}),
    ("vLLM SynthID, 32 layers", synthid_philox, {}),
    ("SGLang, all contexts", sglang_gumbel, {"max_contexts": 1 << 30}),
    ("SGLang, two keys", sglang_dual_gumbel, {"max_contexts": 1 << 30}),
    ("TextSeal, 2 ids", textseal_gumbel, {"ngram": 2}),
    ("SynthID table, 30 layers", synthid_table, {}),
    ("SynthID hash, 30 layers", synthid_hash, {}),
]


def keys_of(scheme: Any, count: int) -> list[Any]:
    rng = np.random.default_rng(3)
    if scheme in (synthid_table, synthid_hash):
        return rng.integers(1, 2**62, (count, 30)).tolist()
    if scheme is sglang_dual_gumbel:
        return rng.integers(1, 2**62, (count, 2)).tolist()
    return rng.integers(1, 2**32, count).tolist()


def cpu(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def per_call(work: Callable[[], object]) -> float:
    """CPU seconds of one call, from as many as take a fifth of a second: the clock of a process is coarse."""
    took, calls = cpu(work), 1
    while took < 0.2:
        calls *= 4
        took = cpu(lambda calls=calls: [work() for _ in range(calls)])
    return took / calls


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("vllm", "sglang", "synthid"):
        options.add_argument(f"--{name}", type=Path, help=f"folder of {name}, see above")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--keys", type=int, default=400, help="keys over 20,000 tokens")
    chosen = options.parse_args()
    tokenizer, found = marks_texts.texts(130_000)
    ids = found["chat answers"][0]
    rows: list[Row] = []
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(1)
        script = marks_peers.golden()
        rows += vllm_rows(script, chosen.vllm, ids) if chosen.vllm else []
        rows += sglang_rows(script, chosen.sglang, ids) if chosen.sglang else []
        rows += textseal_rows(script, ids) if importlib.util.find_spec("textseal") else []
        rows += synthid_rows(script, chosen.synthid, ids) if importlib.util.find_spec("transformers") else []
    print(f"chat answers, ids: {tokenizer}; one key; tokens per CPU second, one thread")
    print(f"{'detector':<26}{'tokens':>8}{'peer':>12}{'ours':>14}{'ratio':>9}{'prototype':>11}")
    for title, count, before, peer, ours, same in rows:
        assert same(peer(), ours()), f"{title}: the peer found something else"
        both = [(per_call(peer), per_call(ours)) for _ in range(chosen.rounds)]
        slow, fast = np.median(both, axis=0)
        print(
            f"{title:<26}{count:>8}{count / slow:>12,.0f}{count / fast:>14,.0f}{slow / fast:>9.1f}{before:>11}"
        )
        sys.stdout.flush()
    print(f"\n{chosen.keys} keys over 20,000 tokens, one thread, tails included")
    for title, scheme, given in MANY:
        keys, tail = keys_of(scheme, chosen.keys), getattr(scheme, "log_pvalues", reading.log_pvalues)
        scheme.read(ids[:1000], keys[:2], **given)
        found = scheme.read(ids[:20_000], keys, **given)
        read = per_call(lambda s=scheme, k=keys, g=given: s.read(ids[:20_000], k, **g))
        took = per_call(lambda t=tail, f=found: t(f))
        print(
            f"{title:<26} read {read:>6.3f} CPU s, tails {took:>6.3f}; {int(np.median(found.scored))} pairs"
        )


if __name__ == "__main__":
    main()
