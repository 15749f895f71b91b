"""How often unmarked text is called marked: every reader under wrong keys, beside the published detectors.

    python benchmarks/marks_size.py [--keys 1000] [--tokens 20000] [--only transformers_red_green ...]

Texts are real and unmarked by these keys (`marks_texts.py`, needs STILLWATCH_DATA); keys are drawn at random. Shares
are of keys whose p is at most alpha, p by the exact tail. `!` marks a share whose exact 99% interval lies wholly above
alpha. A published detector is computed from the same lists and numbers, which are its own bit for bit, counted as it
counts; where its package is installed, that is held against the package under two keys first.
"""

from __future__ import annotations

import argparse
import inspect
import math
import time
from collections.abc import Callable
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace
from typing import Any

import marks_texts
import numpy as np
from scipy import stats

from stillwatch import plugins
from stillwatch.errors import InsufficientData
from stillwatch.marks import _torch_lists, lists, reading
from stillwatch.marks.schemes import markllm_exp, markllm_kgw, transformers_red_green
from stillwatch.stats.intervals import clopper_pearson

ALPHAS = (0.05, 0.01, 1e-5)
SIZE = marks_texts.VOCABULARY
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "transformers_red_green": [{}, {"scheme": "selfhash", "context_width": 4}],
    "vllm_sbw": [{}, {"scheme": "lefthash"}],
}
"""Parameters beside the defaults."""
Text = marks_texts.Text
Flags = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]


def keys_of(scheme: ModuleType, count: int) -> list[Any]:
    """Random keys of the kind that the scheme takes, as its own simulation draws them."""
    rng = np.random.default_rng(20_261_124)
    return [scheme.simulate(rng, effect=0.0, n=1)["key"] for _ in range(count)]


def ours(scheme: ModuleType, text: Text, keys: list[Any], given: dict[str, Any]) -> tuple[float, np.ndarray]:
    """Pairs (the median over keys) and log p of each key."""
    ids, ends = text
    needs = inspect.signature(scheme.read).parameters
    more = {"vocab_size": SIZE} if "vocab_size" in needs else {}
    found = scheme.read(ids, keys, ends=ends, **more, **given)
    tail = getattr(scheme, "log_pvalues", reading.log_pvalues)
    return float(np.median(found.scored)), tail(found)


def bigrams(ids: np.ndarray) -> tuple[lists.Pairs, np.ndarray]:
    """Distinct (last id, token) over a whole text as one document, and how often each occurs."""
    distinct, counts = np.unique(ids[:-1] * SIZE + ids[1:], return_counts=True)
    last, token = np.divmod(distinct, SIZE)
    starts = np.flatnonzero(np.diff(last, prepend=-1))
    return lists.Pairs(last[starts], np.append(starts, last.size), token), counts


def on_list(seeds: np.ndarray, pairs: lists.Pairs, green: int) -> np.ndarray:
    flags = np.empty(pairs.tokens.size, np.bool_)
    _torch_lists.green_flags(seeds, pairs.first, pairs.tokens, SIZE, green, flags)
    return flags


def transformers_detector(text: Text, key: int, once: bool = False) -> tuple[int, float]:
    """n and log p of `WatermarkDetector`; `once` is its option ignore_repeated_ngrams. The text is one document."""
    pairs, counts = bigrams(text[0])
    green = on_list(transformers_red_green._left_seeds(key, pairs.contexts), pairs, SIZE // 4)
    weights = np.ones_like(counts) if once else counts
    n, g = int(weights.sum()), int((green * weights).sum())
    return n, float(stats.norm.logsf((g - 0.25 * n) / math.sqrt(n * 0.25 * 0.75)))


def markllm_kgw_detector(text: Text, key: int) -> tuple[int, float]:
    """n and log p of the z of MarkLLM's KGW by the normal tail; the package itself asks only whether z is above 4."""
    pairs, counts = bigrams(text[0])
    green = on_list(markllm_kgw._seeds(key, pairs.contexts, SIZE), pairs, SIZE // 2)
    n, g = int(counts.sum()), int((green * counts).sum())
    return n, float(stats.norm.logsf((g - 0.5 * n) / math.sqrt(n * 0.25)))


def markllm_exp_detector(text: Text, key: int) -> tuple[int, float]:
    """n and log p of MarkLLM's EXP, which counts every token and products that are 0 as well."""
    ids = text[0]
    products = markllm_exp._products(ids, 4, SIZE)[4:]
    distinct, back, counts = np.unique(products * SIZE + ids[4:], return_inverse=True, return_counts=True)
    u = np.empty(distinct.size, np.float32)
    _torch_lists.uniforms_at(markllm_exp._seeds(key, distinct // SIZE), distinct % SIZE, u)
    total = -(np.log1p(-u.astype(np.float64)) * counts).sum()
    one = reading.Reading("gamma", np.array([back.size]), np.array([total]))
    return back.size, float(reading.log_pvalues(one)[0])


PEERS: dict[str, tuple[str, Callable[[Text, int], tuple[int, float]]]] = {
    "transformers WatermarkDetector": ("transformers_red_green", transformers_detector),
    "  ignore_repeated_ngrams=True": (
        "transformers_red_green",
        lambda text, key: transformers_detector(text, key, once=True),
    ),
    "MarkLLM KGW": ("markllm_kgw", markllm_kgw_detector),
    "MarkLLM EXP": ("markllm_exp", markllm_exp_detector),
}


def packages_agree(text: Text) -> str:
    """Holds the detectors above against the packages on the first 1,500 tokens, under two keys."""
    missing = [name for name in ("torch", "transformers", "markllm") if find_spec(name) is None]
    if missing:
        return f"{', '.join(missing)} not installed: the detectors were not held against their packages"
    import torch
    from markllm.watermark.exp.exp import EXP, EXPUtils
    from markllm.watermark.kgw.kgw import KGWUtils
    from transformers import PretrainedConfig, WatermarkDetector, WatermarkingConfig

    torch.set_num_threads(1)
    ids = text[0][:1500]
    part = (ids, np.array([ids.size]))
    row = torch.tensor(ids)
    for key in (15485863, 2_718_281_828):
        for once in (False, True):
            detector = WatermarkDetector(
                PretrainedConfig(vocab_size=SIZE, bos_token_id=0),
                "cpu",
                WatermarkingConfig(hashing_key=key),
                ignore_repeated_ngrams=once,
            )
            said = detector(row[None], return_dict=True)
            n, log_p = transformers_detector(part, key, once)
            assert said.num_tokens_scored[0] == n
            assert math.isclose(math.log(said.p_value[0]), log_p, rel_tol=1e-6)
        settings = {"hash_key": key, "vocab_size": SIZE, "device": "cpu", "gamma": 0.5, "prefix_length": 1}
        kgw = KGWUtils(SimpleNamespace(**settings, f_scheme="time", window_scheme="left"))
        z, _ = kgw.score_sequence(row)
        assert math.isclose(stats.norm.logsf(z), markllm_kgw_detector(part, key)[1], rel_tol=1e-6)
        exp = EXP.__new__(EXP)
        encoder = SimpleNamespace(encode=lambda *_, **__: row[None])
        exp.config = SimpleNamespace(
            hash_key=key, vocab_size=SIZE, prefix_length=4, threshold=1e-4, generation_tokenizer=encoder
        )
        exp.utils = EXPUtils(exp.config)
        p = exp.detect_watermark("")["score"]
        assert math.isclose(math.log(p), markllm_exp_detector(part, key)[1], rel_tol=1e-4, abs_tol=1e-6)
    return "the published detectors agree with their packages (two keys, 1,500 tokens)"


def line(name: str, kind: str, pairs: float, logs: np.ndarray, seconds: float) -> str:
    """One row of the table."""
    cells = []
    for alpha in ALPHAS:
        hits = int((logs <= math.log(alpha)).sum())
        low, _ = clopper_pearson(hits, len(logs), 0.99)
        cells.append(f"{hits / len(logs):>8.4f}{'!' if low > alpha else ' '}")
    uniform = stats.kstest(np.exp(logs), "uniform").pvalue
    return (
        f"{name:<40}{kind:<22}{pairs:>7.0f}{len(logs):>6}{''.join(cells)}"
        f"{logs.min() / math.log(10):>9.1f}{uniform:>9.3f}{seconds:>8.1f}"
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--keys", type=int, default=1000)
    options.add_argument("--tokens", type=int, default=20_000)
    options.add_argument("--only", nargs="*", default=[], help="names of schemes")
    chosen = options.parse_args()
    tokenizer, found = marks_texts.texts(chosen.tokens)
    print(f"about {chosen.tokens} tokens of each text, ids: {tokenizer}; {chosen.keys} random wrong keys")
    print(packages_agree(found["human text"]))
    head = "".join(f"{a:>8g} " for a in ALPHAS)
    print(f"{'reader':<40}{'text':<22}{'pairs':>7}{'keys':>6}{head}{'least':>9}{'KS p':>9}{'CPU s':>8}")
    for name, scheme in plugins.find("marks.schemes").items():
        if chosen.only and name not in chosen.only:
            continue
        keys = keys_of(scheme, chosen.keys)
        for given in VARIANTS.get(name, [{}]):
            for kind, text in found.items():
                began = time.process_time()
                title = " ".join([name, *(f"{v}" for v in given.values())])
                try:
                    pairs, logs = ours(scheme, text, keys, given)
                except InsufficientData as refused:
                    print(f"{title:<40}{kind:<22}too little: {refused}")
                    continue
                print(line(title, kind, pairs, logs, time.process_time() - began), flush=True)
        for title, (of, peer) in PEERS.items():
            for kind, text in found.items() if of == name else []:
                began = time.process_time()
                seen = [peer(text, key) for key in keys]
                logs = np.array([log_p for _, log_p in seen])
                print(line(title, kind, seen[0][0], logs, time.process_time() - began), flush=True)
    print("least: log10 of the smallest p; KS p: are the p-values of the keys uniform?")


if __name__ == "__main__":
    main()
