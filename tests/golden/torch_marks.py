"""Golden vectors of the marks whose engines draw with torch's CPU generator, and the comparison with those engines.

    python tests/golden/torch_marks.py write                        # torch_marks.json anew, from the references
    python tests/golden/torch_marks.py compare --contexts 100000    # every list and every number, bit for bit

Runs where the references are installed (``pip install torch==2.13.0 transformers==5.23.0 numba scipy`` and ``pip
install --no-deps markllm==0.1.5``) with this repository on PYTHONPATH. They are called, nothing of theirs is copied:
transformers is Apache-2.0, MarkLLM Apache-2.0 (its wheel's classifier says MIT), torch BSD-3.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

FIXTURE = Path(__file__).with_suffix(".json")
ORIGIN = {
    "transformers_red_green": "transformers 5.23.0 WatermarkLogitsProcessor, torch 2.13.0+cpu; Apache-2.0",
    "markllm_kgw": "markllm 0.1.5 KGWUtils.get_greenlist_ids, torch 2.13.0+cpu; Apache-2.0",
    "markllm_exp": "markllm 0.1.5 EXPUtils.seed_rng and torch.rand, torch 2.13.0+cpu; Apache-2.0",
}
PUBLIC = 15485863  # the default key of all three
CASES: list[tuple[str, int, int, dict[str, Any]]] = [
    ("transformers_red_green", PUBLIC, 49_152, {"scheme": "lefthash", "gamma": 0.25}),
    ("transformers_red_green", 0xF00DFACE12345678, 50_257, {"scheme": "lefthash", "gamma": 0.5}),
    (
        "transformers_red_green",
        PUBLIC,
        49_152,
        {"scheme": "selfhash", "gamma": 0.25, "context_width": 4},
    ),
    (
        "transformers_red_green",
        2**61 + 12_345,
        151_936,
        {"scheme": "selfhash", "gamma": 0.1, "context_width": 2},
    ),
    ("markllm_kgw", PUBLIC, 49_152, {"prefix_length": 1, "f_scheme": "time", "gamma": 0.5}),
    ("markllm_kgw", 2**63 + 11, 32_000, {"prefix_length": 3, "f_scheme": "time", "gamma": 0.25}),
    ("markllm_kgw", 987_654_321, 50_257, {"prefix_length": 2, "f_scheme": "additive", "gamma": 0.5}),
    ("markllm_kgw", 24_680, 49_152, {"prefix_length": 4, "f_scheme": "skip", "gamma": 0.5}),
    ("markllm_exp", PUBLIC, 49_152, {"prefix_length": 4}),
    ("markllm_exp", 123_456_789_012_345, 50_257, {"prefix_length": 2}),
]
"""Scheme, key, vocabulary, parameters; keys above 2^32 and 2^63, vocabularies with many divisors and with few."""


def width_of(parameters: dict[str, Any]) -> int:
    """Ids before the token that a case needs."""
    if parameters.get("scheme") == "selfhash":
        return int(parameters["context_width"]) - 1
    return int(parameters.get("prefix_length", 1))


def contexts_of(vocab_size: int, width: int, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random contexts (count, width) and tokens (count,); half are frequent (small) ids, as in text."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, vocab_size, (count, width + 1))
    small = rng.random((count, width + 1)) < 0.5
    ids[small] = rng.integers(0, 1000, int(small.sum()))
    return ids[:, :width], ids[:, width]


def reference(name: str, key: int, vocab_size: int, parameters: dict[str, Any]) -> Callable[..., Any]:
    """What the engine draws for (context, token): its green list, or the number u of every token."""
    import torch

    torch.set_num_threads(1)
    if name == "transformers_red_green":
        from transformers.generation.logits_process import WatermarkLogitsProcessor

        engine = WatermarkLogitsProcessor(
            vocab_size,
            "cpu",
            greenlist_ratio=parameters["gamma"],
            hashing_key=key,
            seeding_scheme=parameters["scheme"],
            context_width=parameters.get("context_width", 1),
        )
        own = parameters["scheme"] == "selfhash"
        return lambda context, token: engine._get_greenlist_ids(
            torch.tensor([*context, token] if own else [*context])
        ).numpy()
    if name == "markllm_kgw":
        from markllm.watermark.kgw.kgw import KGWUtils

        settings = {"hash_key": key, "vocab_size": vocab_size, "device": "cpu", "window_scheme": "left"}
        kgw = KGWUtils(SimpleNamespace(**settings, **parameters))
        return lambda context, token: kgw.get_greenlist_ids(torch.tensor([*context])).numpy()
    from markllm.watermark.exp.exp import EXPUtils

    exp = EXPUtils(SimpleNamespace(hash_key=key, vocab_size=vocab_size, **parameters))

    def numbers(context: np.ndarray, token: int) -> np.ndarray:
        exp.seed_rng(torch.tensor([*context]))
        return torch.rand(vocab_size, generator=exp.rng).numpy()

    return numbers


def ours(
    name: str, key: int, vocab_size: int, parameters: dict[str, Any], contexts: np.ndarray, tokens: np.ndarray
) -> Iterator[tuple[np.ndarray, float]]:
    """For each pair the whole list (or all u), and what the reader's own loop says of the token."""
    from stillwatch.marks import _torch_lists, lists
    from stillwatch.marks.schemes import markllm_exp, markllm_kgw, transformers_red_green

    if name == "markllm_exp":
        products = np.ones(len(tokens), np.int64)
        for one in contexts.T:
            products = products * one % vocab_size
        seeds = markllm_exp._seeds(key, products)
        found = np.empty(len(tokens), np.float32)
        _torch_lists.uniforms_at(seeds, tokens, found)
        for seed, said in zip(seeds, found, strict=True):
            row = np.empty(vocab_size, np.float32)
            _torch_lists.uniforms(seed, row)
            yield row, float(said)
        return
    if name == "markllm_kgw":
        flat = np.column_stack([contexts, tokens]).ravel()
        width, how = parameters["prefix_length"], parameters["f_scheme"]
        seeds = markllm_kgw._seeds(
            key, markllm_kgw._combined(flat, width, how, vocab_size)[width :: width + 1], vocab_size
        )
    elif parameters["scheme"] == "lefthash":
        seeds = transformers_red_green._left_seeds(key, contexts[:, -1])
    else:
        seeds = transformers_red_green._self_seeds(key, np.column_stack([contexts, tokens]), vocab_size)
    green = lists.list_size(vocab_size, parameters["gamma"], tokens)
    flags = np.empty(len(tokens), np.bool_)
    _torch_lists.green_flags(seeds, np.arange(len(tokens) + 1), tokens, vocab_size, green, flags)
    for seed, said in zip(seeds, flags, strict=True):
        yield lists.green_list(int(seed), vocab_size, green), float(said)


def said_of(drawn: np.ndarray, token: int) -> float:
    """u of the token, or whether it is on the list."""
    return float(drawn[token]) if drawn.dtype.kind == "f" else float(token in drawn)


def compare(count: int) -> int:
    """Pairs in which anything differs, over all cases."""
    wrong = 0
    for case, (name, key, vocab_size, parameters) in enumerate(CASES):
        began = time.perf_counter()
        contexts, tokens = contexts_of(vocab_size, width_of(parameters), count, 1000 + case)
        engine = reference(name, key, vocab_size, parameters)
        differ = 0
        mine = ours(name, key, vocab_size, parameters, contexts, tokens)
        for context, token, (drawn, said) in zip(contexts.tolist(), tokens.tolist(), mine, strict=True):
            theirs = engine(context, token)
            differ += not (np.array_equal(theirs, drawn) and said_of(theirs, token) == said)
        wrong += differ
        took = time.perf_counter() - began
        sys.stdout.write(
            f"{name} V={vocab_size} {parameters}: {differ} of {count} contexts differ, {took:.0f} s\n"
        )
        sys.stdout.flush()
    return wrong


def compare_marks(count: int) -> int:
    """Rows of logits that `mark` changes otherwise than the engine's processor, or tokens it chooses otherwise."""
    import torch
    from markllm.watermark.exp.exp import EXPUtils
    from markllm.watermark.kgw.kgw import KGWLogitsProcessor, KGWUtils
    from transformers.generation.logits_process import WatermarkLogitsProcessor

    from stillwatch.marks.schemes import markllm_exp, markllm_kgw, transformers_red_green

    size, rng = 5_000, np.random.default_rng(9)
    engines: list[tuple[str, Callable[..., Any], Callable[..., Any]]] = []
    for scheme, width in (("lefthash", 1), ("selfhash", 1), ("selfhash", 4)):
        engine = WatermarkLogitsProcessor(size, "cpu", seeding_scheme=scheme, context_width=width)
        given: dict[str, Any] = {"scheme": scheme, "context_width": width}
        engines.append(
            (f"{scheme} {width}", engine, partial(transformers_red_green.mark, key=PUBLIC, **given))
        )
    for how, width in (("time", 1), ("time", 3), ("additive", 2), ("skip", 3)):
        given = {"prefix_length": width, "f_scheme": how}
        settings = {"hash_key": PUBLIC, "vocab_size": size, "device": "cpu", "gamma": 0.5, "delta": 2.0}
        config = SimpleNamespace(**settings, **given, window_scheme="left")
        engine = KGWLogitsProcessor(config, KGWUtils(config))
        engines.append((f"KGW {how} {width}", engine, partial(markllm_kgw.mark, key=PUBLIC, **given)))
    for top_k in (0, 20):
        exp = EXPUtils(SimpleNamespace(hash_key=PUBLIC, vocab_size=size, prefix_length=4, top_k=top_k))

        def choose(ids: Any, logits: Any, exp: Any = exp) -> Any:
            numbers = []
            for row in ids:
                exp.seed_rng(row)
                numbers.append(torch.rand(size, generator=exp.rng))
            return exp.exp_sampling(torch.softmax(logits, -1), torch.stack(numbers))[:, 0]

        engines.append((f"EXP top_k {top_k}", choose, partial(markllm_exp.mark, key=PUBLIC, top_k=top_k)))
    wrong = 0
    for name, engine, mine in engines:
        differ = 0
        for spread in (0.5, 1.0, 3.0):
            ids = rng.integers(1, size, (count // 3, 6))
            logits = rng.normal(0, spread, (count // 3, size)).astype(np.float32)
            theirs = engine(torch.tensor(ids), torch.tensor(logits)).numpy()
            made = mine(logits, ids)
            differ += int((theirs != made).reshape(len(ids), -1).any(axis=1).sum())
        wrong += differ
        sys.stdout.write(f"mark, {name}: {differ} of {count // 3 * 3} rows differ\n")
    return wrong


def write(count: int = 60) -> None:
    """The fixture: what the engine says of each token, and the digest of the whole list of the first five."""
    made = []
    for case, (name, key, vocab_size, parameters) in enumerate(CASES):
        contexts, tokens = contexts_of(vocab_size, width_of(parameters), count, case)
        engine = reference(name, key, vocab_size, parameters)
        drawn = [engine(c, t) for c, t in zip(contexts.tolist(), tokens.tolist(), strict=True)]
        said = [said_of(d, t) for d, t in zip(drawn, tokens.tolist(), strict=True)]
        exact = [int(x * 2**24) for x in said] if name == "markllm_exp" else [int(x) for x in said]
        made.append(
            {
                "name": name,
                "key": key,
                "vocab_size": vocab_size,
                "parameters": parameters,
                "contexts": contexts.tolist(),
                "tokens": tokens.tolist(),
                "said": exact,
                "digests": [digest(d) for d in drawn[:5]],
            }
        )
    head = {
        "origin": ORIGIN,
        "said": "1 green, 0 red; markllm_exp: u times 2^24",
        "made_by": "tests/golden/torch_marks.py",
    }
    FIXTURE.write_text(json.dumps(head | {"cases": made}, separators=(",", ":")) + "\n", encoding="utf-8")


def digest(drawn: np.ndarray) -> str:
    """sha256 of a list as int64, or of numbers as float32; little end first."""
    kind = "<f4" if drawn.dtype.kind == "f" else "<i8"
    return hashlib.sha256(drawn.astype(kind).tobytes()).hexdigest()


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("what", choices=["write", "compare"])
    options.add_argument("--contexts", type=int, default=100_000)
    chosen = options.parse_args()
    if chosen.what == "write":
        write()
    else:
        raise SystemExit(1 if compare_marks(600) + compare(chosen.contexts) else 0)
