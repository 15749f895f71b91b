"""Speed of the readers that draw with torch beside the engines' own detectors: equal input, equal result, one thread.

    python benchmarks/marks_reading.py [--rounds 3] [--keys 400]

CPU seconds of this process, the median of interleaved rounds; ratios are what to compare between machines. Ours reads
one key in each row, lists and tail included. The text is chat answers (`marks_texts.py`, needs STILLWATCH_DATA). Peers
need ``torch==2.13.0+cpu transformers==5.23.0 markllm==0.1.5``; without them only ours is timed. Hash-based marks stand
in `marks_reading_hash.py`.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import marks_peers
import marks_texts
import numpy as np
from scipy import stats

from stillwatch.marks import reading
from stillwatch.marks.schemes import markllm_exp, markllm_kgw, transformers_red_green

KEY = 15485863
SIZE = marks_texts.VOCABULARY


def cpu(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def red_green_peer(ids: np.ndarray) -> tuple[Callable[[], Any], Callable[[Any], bool]]:
    """`WatermarkDetector` with the option under which it counts as ours does, and whether it found the same."""
    import torch
    from transformers import PretrainedConfig, WatermarkDetector, WatermarkingConfig

    row = torch.tensor(ids)[None]
    model, settings = PretrainedConfig(vocab_size=SIZE, bos_token_id=0), WatermarkingConfig(hashing_key=KEY)
    detector = WatermarkDetector(model, "cpu", settings, ignore_repeated_ngrams=True)

    def work() -> Any:
        detector._get_ngram_score_cached.cache_clear()
        return detector(row, return_dict=True)

    def same(said: Any) -> bool:
        ours = transformers_red_green.read(ids, [KEY], vocab_size=SIZE)
        theirs = (said.num_tokens_scored[0], said.num_green_tokens[0])
        return theirs == (ours.scored[0], ours.statistic[0])

    return work, same


def kgw_peer(ids: np.ndarray) -> tuple[Callable[[], Any], Callable[[Any], bool]]:
    """`KGWUtils.score_sequence`, which counts every token, and whether our lists counted so give its z."""
    import torch
    from markllm.watermark.kgw.kgw import KGWUtils

    settings = {"hash_key": KEY, "vocab_size": SIZE, "device": "cpu", "gamma": 0.5, "prefix_length": 1}
    kgw = KGWUtils(SimpleNamespace(**settings, f_scheme="time", window_scheme="left"))
    row = torch.tensor(ids)

    def same(said: Any) -> bool:
        _, (log_p,) = marks_peers.kgw_detector((ids, np.array([ids.size])), [KEY])["MarkLLM KGW"]
        return math.isclose(float(stats.norm.logsf(said[0])), log_p, rel_tol=1e-6)

    return lambda: kgw.score_sequence(row), same


def exp_peer(ids: np.ndarray) -> tuple[Callable[[], Any], Callable[[Any], bool]]:
    """`EXP.detect_watermark`, which counts every token, and whether our numbers counted so give its p."""
    import torch
    from markllm.watermark.exp.exp import EXP, EXPUtils

    exp = EXP.__new__(EXP)  # its constructor wants a model
    row = torch.tensor(ids)[None]
    encoder = SimpleNamespace(encode=lambda *_, **__: row)
    exp.config = SimpleNamespace(
        hash_key=KEY, vocab_size=SIZE, prefix_length=4, threshold=1e-4, generation_tokenizer=encoder
    )
    exp.utils = EXPUtils(exp.config)

    def same(said: Any) -> bool:
        _, (log_p,) = marks_peers.exp_detector((ids, np.array([ids.size])), [KEY])["MarkLLM EXP"]
        return math.isclose(math.log(said["score"]), log_p, rel_tol=1e-4, abs_tol=1e-6)

    return lambda: exp.detect_watermark(""), same


Peer = Callable[[np.ndarray], tuple[Callable[[], Any], Callable[[Any], bool]]]
Row = tuple[str, int, Any, dict[str, Any], Peer, str, str]
ROWS: list[Row] = [
    ("transformers lefthash", 3_000, transformers_red_green, {}, red_green_peer, "transformers", "11"),
    ("transformers lefthash", 20_000, transformers_red_green, {}, red_green_peer, "transformers", "15"),
    ("transformers lefthash", 100_000, transformers_red_green, {}, red_green_peer, "transformers", "22"),
    ("MarkLLM KGW", 1_500, markllm_kgw, {}, kgw_peer, "markllm", "8.7"),
    ("MarkLLM KGW", 20_000, markllm_kgw, {}, kgw_peer, "markllm", ""),
    ("MarkLLM EXP", 3_000, markllm_exp, {}, exp_peer, "markllm", "100"),
    ("MarkLLM EXP", 20_000, markllm_exp, {}, exp_peer, "markllm", ""),
]
"""Detector, tokens, ours, parameters, the peer, its package, and the ratio of the prototype."""
MANY: list[tuple[str, Any, dict[str, Any]]] = [
    ("transformers lefthash", transformers_red_green, {}),
    ("transformers selfhash, 4 ids", transformers_red_green, {"scheme": "selfhash", "context_width": 4}),
    ("MarkLLM KGW", markllm_kgw, {}),
    ("MarkLLM EXP", markllm_exp, {}),
]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--keys", type=int, default=400, help="keys over 20,000 tokens")
    chosen = options.parse_args()
    if find_spec("torch"):
        import torch

        torch.set_num_threads(1)
    tokenizer, found = marks_texts.texts(130_000)
    ids = found["chat answers"][0]
    ids = ids[ids > 0]  # id 0 draws one list under every key: the peer counts it, ours leaves it out
    print(f"chat answers, ids: {tokenizer}; one key; tokens per CPU second, one thread")
    print(f"{'detector':<24}{'tokens':>8}{'peer':>12}{'ours':>13}{'ratio':>8}{'prototype':>11}")
    for title, count, scheme, given, peer, package, before in ROWS:
        part = ids[:count]
        assert part.size == count, f"the text has only {part.size} tokens"

        def ours(scheme: Any = scheme, part: np.ndarray = part, given: dict[str, Any] = given) -> np.ndarray:
            return reading.log_pvalues(scheme.read(part, [KEY], vocab_size=SIZE, **given))

        ours()
        work = None
        if find_spec(package) and find_spec("torch"):
            work, same = peer(part)
            assert same(work()), f"{title}: the peer counts otherwise"
        both = [
            (cpu(work) if work else math.nan, cpu(lambda ours=ours: [ours() for _ in range(5)]) / 5)
            for _ in range(chosen.rounds)
        ]
        slow, fast = np.median(both, axis=0)
        print(
            f"{title:<24}{count:>8}{count / slow:>12,.0f}{count / fast:>13,.0f}{slow / fast:>8.1f}{before:>11}"
        )
    print(f"\n{chosen.keys} keys over 20,000 tokens, one thread, tails included")
    keys = np.random.default_rng(3).integers(1, 2**62, chosen.keys).tolist()
    for title, scheme, given in MANY:
        took = cpu(
            lambda scheme=scheme, given=given: reading.log_pvalues(
                scheme.read(ids[:20_000], keys, vocab_size=SIZE, **given)
            )
        )
        print(f"{title:<32}{took:>8.1f} CPU s, {1000 * took / len(keys):.1f} ms a key")


if __name__ == "__main__":
    main()
