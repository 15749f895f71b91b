"""Golden vectors of the hash-based marks, and the comparison with the engines that make them.

    python tests/golden/hash_marks.py write    --vllm V --sglang S --synthid D    # hash_marks.json anew
    python tests/golden/hash_marks.py compare  --vllm V --sglang S --synthid D [--contexts 100000]

Runs where the references are installed, with this repository on PYTHONPATH: ``pip install torch==2.13.0
transformers==5.23.0 numba scipy msgspec`` and ``pip install --no-deps synthid-text==0.2.1 textseal==0.0.5``. V is the
unpacked source distribution of vllm 0.33.0 (the whole of it needs no installing: the four files of the mark are loaded
beside stand-ins for its configuration and its GPU sampler), S the unpacked wheel of sglang 0.5.23, D the folder src of
google-deepmind/synthid-text at addb4a1. They are called, nothing of theirs is copied: vLLM, SGLang, transformers and
synthid-text are Apache-2.0, TextSeal MIT, torch BSD-3.

Two marks of vLLM are in no release: sbw (pull request 56859, sbw.py at caaac7c) and synthid (a branch, synthid.py at
0265d6b). Their files import the engine throughout, so their formulas are transcribed below, in torch and from the
reading of those files, apart from what is tested.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stillwatch.marks import _murmur, _philox, _synthid
from stillwatch.marks.schemes import (
    sglang_dual_gumbel,
    sglang_gumbel,
    synthid_hash,
    synthid_table,
    textseal_gumbel,
    vllm_dual_gumbel,
    vllm_gumbel,
    vllm_sbw,
)

FIXTURE = Path(__file__).with_suffix(".json")
ORIGIN = {
    "vllm_gumbel": "vLLM 0.33.0, vllm/v1/watermarking, on CPU; Apache-2.0",
    "vllm_own": "chosen from vLLM 0.33.0, tests/watermarking/watermarking_goldens.json; Apache-2.0",
    "vllm_sbw": "transcribed from vLLM's sbw.py at caaac7c (pull request 56859); Apache-2.0",
    "synthid_philox": "transcribed from vLLM's synthid.py at 0265d6b (a branch); Apache-2.0",
    "sglang": "SGLang 0.5.23, sampling/watermarking; Apache-2.0",
    "textseal_gumbel": "textseal 0.0.5; MIT",
    "synthid_table": "transformers 5.23.0, equal to synthid-text 0.2.1 (checked), torch 2.13.0+cpu; Apache-2.0",
    "synthid_hash": "google-deepmind/synthid-text at addb4a1, torch 2.13.0+cpu; Apache-2.0",
}
KEYS = (0, 42, 2**32 + 7, 0x0123456789ABCDEF, 2**64 - 1)
LAYERS = [654, 400, 836, 123, 340, 443, 597, 160, 57, 29, -5, 2**40 + 1]
VOCABULARY = 151_936
U = np.uint64


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


# -- the references ------------------------------------------------------------------------------------------------


def load(name: str, path: Path) -> Any:
    """A file as a module of that name."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def load_vllm(folder: Path) -> Any:
    """vLLM's gumbel.py with its PRF and detector, as published; configuration and GPU sampler are stand-ins."""
    for package in (
        "vllm",
        "vllm.config",
        "vllm.v1",
        "vllm.v1.watermarking",
        "vllm.v1.worker",
        "vllm.v1.worker.gpu",
    ):
        sys.modules[package] = types.ModuleType(package)
    sys.modules["vllm.v1.worker.gpu.sample"] = types.ModuleType("sample")
    sampler = types.ModuleType("gumbel")
    sampler.gumbel_sample = None  # type: ignore[attr-defined]
    sys.modules["vllm.v1.worker.gpu.sample.gumbel"] = sampler
    text = (folder / "vllm/config/watermarking.py").read_text(encoding="utf-8")
    derive = next(n for n in ast.parse(text).body if getattr(n, "name", "") == "derive_watermark_key")
    config = types.ModuleType("watermarking")
    exec("import hashlib\n" + ast.unparse(derive), config.__dict__)  # noqa: S102 - the published function alone
    config.WatermarkPRFName = config.WatermarkContextScope = str  # type: ignore[attr-defined]
    sys.modules["vllm.config.watermarking"] = config
    here = folder / "vllm/v1/watermarking"
    for name in ("detector", "watermarker", "prfs.base", "prfs.philox"):
        load(f"vllm.v1.watermarking.{name}", here / f"{name.replace('.', '/')}.py")
    load("vllm.v1.watermarking.prfs", here / "prfs/__init__.py")
    return load("vllm.v1.watermarking.gumbel", here / "gumbel.py")


def load_sglang(folder: Path) -> Any:
    """SGLang's package `watermarking`, as published."""
    sys.path.insert(0, str(folder / "sglang/srt/sampling"))
    importlib.import_module("watermarking.core")
    return importlib.import_module("watermarking")


def load_textseal() -> None:
    """TextSeal's packages without their `__init__`, which import all of its evaluation."""
    found = importlib.util.find_spec("textseal")
    assert found and found.submodule_search_locations, "textseal is not installed"
    root = Path(found.submodule_search_locations[0])
    for name in ("textseal", "textseal.common", "textseal.posthoc"):
        package = types.ModuleType(name)
        package.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = package


def load_synthid_main(folder: Path) -> Any:
    return load("synthid_main", folder / "synthid_text/logits_processing.py")


def transformers_processor(keys: list[int], ngram_len: int = 5, history: int = 1024) -> Any:
    from transformers.generation.logits_process import SynthIDTextWatermarkLogitsProcessor

    return SynthIDTextWatermarkLogitsProcessor(
        ngram_len=ngram_len,
        keys=keys,
        sampling_table_size=2**16,
        sampling_table_seed=0,
        context_history_size=history,
        device=torch.device("cpu"),
    )


def other_processor(
    module: Any, keys: list[int], ngram_len: int = 5, history: int = 1024, **more: int
) -> Any:
    return module.SynthIDLogitsProcessor(
        ngram_len=ngram_len,
        keys=keys,
        context_history_size=history,
        temperature=1.0,
        top_k=2,
        device=torch.device("cpu"),
        **more,
    )


def wheel_processor(keys: list[int], ngram_len: int = 5, history: int = 1024) -> Any:
    from synthid_text import logits_processing

    return other_processor(
        logits_processing, keys, ngram_len, history, sampling_table_size=2**16, sampling_table_seed=0
    )


def signed(key: int) -> int:
    return key if key < 2**63 else key - 2**64


# -- transcribed: vLLM's sbw.py at caaac7c and synthid.py at 0265d6b -----------------------------------------------


def sbw_hash(x: torch.Tensor) -> torch.Tensor:
    h = (x + 1).to(torch.int32)
    for shift, left, subtract in (
        (6, 1, 1),
        (17, 0, 0),
        (9, 1, 1),
        (4, 1, 0),
        (3, 1, 1),
        (10, 1, 0),
        (15, 0, 0),
    ):
        moved = h << shift if left else h >> shift
        h = h - moved if subtract else h ^ moved
    return h.long()


def sbw_green(
    context: torch.Tensor, tokens: torch.Tensor, key: int, scheme: str, gamma: float, hashed_sum: bool
):
    """Greenness of tokens (n,) after contexts (n, width); `hashed_sum`: lefthash as the detector has it."""
    k = torch.tensor(key, dtype=torch.int64)
    if scheme == "selfhash":
        h = sbw_hash(tokens)
        seeds = k * h * h
        if context.shape[1] > 1:
            seeds = torch.minimum((k * (sbw_hash(context[:, 1:]) * h[:, None])).min(dim=1).values, seeds)
    else:
        seeds = k * (sbw_hash(context) if hashed_sum else context).sum(dim=1)
    c = [(tokens // 4).to(torch.int64), *(torch.zeros_like(tokens) for _ in range(3))]
    low, high = seeds & 0xFFFFFFFF, (seeds >> 32) & 0xFFFFFFFF
    for _ in range(10):
        # Python integers: the products need 64 unsigned bits
        p0 = [int(x) * 0xD2511F53 for x in c[0].tolist()]
        p1 = [int(x) * 0xCD9E8D57 for x in c[2].tolist()]
        h0, l0 = torch.tensor([x >> 32 for x in p0]), torch.tensor([x & 0xFFFFFFFF for x in p0])
        h1, l1 = torch.tensor([x >> 32 for x in p1]), torch.tensor([x & 0xFFFFFFFF for x in p1])
        c = [h1 ^ c[1] ^ low, l1, h0 ^ c[3] ^ high, l0]
        low, high = (low + 0x9E3779B9) & 0xFFFFFFFF, (high + 0xBB67AE85) & 0xFFFFFFFF
    word = torch.stack(c, dim=1).gather(1, (tokens % 4)[:, None])[:, 0]
    return (word & 0x7FFFFFFF) < int(gamma * 0x7FFFFFFF)


def philox_words(context: torch.Tensor, tokens: torch.Tensor, key: int) -> torch.Tensor:
    """Words of (n, width) and (n,): vLLM's published rounds, with the word kept whole as the branch does."""
    rounds = sys.modules["vllm.v1.watermarking.prfs.philox"]._philox4x32_10
    n, width = context.shape
    mask = 0xFFFFFFFF
    low, high = torch.full((n,), key & mask), torch.full((n,), key >> 32)
    state = [torch.full((n,), v) for v in (0x574D4358, width, 0, 0)]
    for offset in range(0, width, 4):
        block = [
            context[:, offset + j] & mask if offset + j < width else torch.full((n,), mask - j)
            for j in range(4)
        ]
        state = rounds(tuple(s ^ b for s, b in zip(state, block, strict=True)), (low ^ offset, high))
    out = rounds((tokens >> 2, *state[:3]), (low ^ state[3], high ^ 0x574D544B))
    return torch.stack(out, dim=1).gather(1, (tokens & 3)[:, None])[:, 0]


# -- what both commands draw ---------------------------------------------------------------------------------------


def drawn(width: int, count: int, seed: int, missing: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Random contexts (count, width) and tokens (count,); half are small ids, as in text, some are missing."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, VOCABULARY, (count, width + 1))
    small = rng.random((count, width + 1)) < 0.5
    ids[small] = rng.integers(0, 1000, int(small.sum()))
    contexts, tokens = ids[:, :width].copy(), ids[:, width].copy()
    if missing is not None:
        begins = rng.integers(0, width + 1, count // 50)
        for row, begin in enumerate(begins):
            contexts[row, :begin] = missing
    return contexts, tokens


def words(contexts: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray((contexts & 0xFFFFFFFF).T.astype(U))


def our_word(contexts: np.ndarray, tokens: np.ndarray, key: int) -> np.ndarray:
    out = np.empty(len(tokens), U)
    _philox.words(words(contexts), tokens.astype(U), U(key), out)
    return out


def our_sbw(contexts: np.ndarray, tokens: np.ndarray, key: int, scheme: Any, gamma: float) -> np.ndarray:
    products = vllm_sbw._products(words(contexts), tokens.astype(U), scheme)
    seeds = np.empty(len(tokens), U)
    _philox.sbw_seeds(products, U(key), seeds)
    return vllm_sbw._green(seeds, tokens.astype(U), U(int(gamma * (2**31 - 1))))


def our_g_values(module: Any, ids: np.ndarray, layers: list[int]) -> np.ndarray:
    """Of every 5-gram of one text, (n - 4, layers)."""
    _, whole = synthid_table.context_hashes(ids, np.array([ids.size]), 5, U(1))
    keys = np.array([k % 2**64 for k in layers], U)
    start = U(1) if module is synthid_table else U(synthid_hash._start(keys))
    hashes = np.empty(ids.size, U)
    _synthid.window_hashes(ids, np.array([ids.size]), 4, start, 0, hashes, whole)
    full = np.empty(int(whole.sum()), U)
    _synthid.step(hashes[whole], ids[whole], full)
    if module is synthid_table:
        return synthid_table.text_g_values(ids, layers)
    out = np.empty((full.size, keys.size), np.uint8)
    _synthid.hash_g_values(full, keys, out)
    return out


def repeating(count: int, ids: int, seed: int) -> np.ndarray:
    """A text of few ids, so that contexts come again at every distance."""
    rng = np.random.default_rng(seed)
    text = rng.integers(0, ids, count)
    text[count // 2 : count // 2 + count // 8] = text[: count // 8]
    return text


def load_own(folder: Path) -> dict[str, Any]:
    """vLLM's own vectors of its detectors, those that drop repeated contexts."""
    path = folder / "tests/watermarking/watermarking_goldens.json"
    found = json.loads(path.read_text(encoding="utf-8"))["candidates"]
    kept = {}
    for name, one in found.items():
        config = one["configuration"]["scheme_config"]
        if config["detection_deduplicate_contexts"]:
            kept[name] = {
                "scheme": one["configuration"]["scheme"],
                "key": one["configuration"]["detection_key"],
                "width": config["context_width"],
                "alpha": config["detection_alpha"],
                "tokens": one["generation"],
                "scored": one["detection"]["num_scored_tokens"],
                "score": one["detection"]["score"],
                "p_value": one["detection"]["p_value"],
            }
    return kept


# -- compare ---------------------------------------------------------------------------------------------------------


class Tally:
    """Counts equal things and prints a line for each comparison; anything unlike ends the run with an error."""

    def __init__(self) -> None:
        self.unlike = 0

    def exact(self, what: str, theirs: Any, ours: Any) -> None:
        theirs, ours = np.asarray(theirs), np.asarray(ours)
        assert theirs.shape == ours.shape, (what, theirs.shape, ours.shape)
        wrong = int((theirs != ours).sum())
        self.unlike += wrong
        say(f"{what}: {theirs.size - wrong} of {theirs.size} equal")

    def near(self, what: str, theirs: float, ours: float, relative: float) -> None:
        gap = abs(theirs - ours) / max(abs(theirs), 1e-300)
        self.unlike += gap > relative
        say(
            f"{what}: theirs {theirs:.12g}, ours {ours:.12g}, relative gap {gap:.1e} (allowed {relative:.0e})"
        )


def compare(paths: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    tally, n = Tally(), paths.contexts
    compare_vllm(tally, paths.vllm, n)
    compare_sglang(tally, load_sglang(paths.sglang), n)
    compare_textseal(tally, n)
    compare_synthid(tally, load_synthid_main(paths.synthid), n)
    assert not tally.unlike, f"{tally.unlike} things are not equal"
    say("all equal")


def compare_vllm(tally: Tally, folder: Path, n: int) -> None:
    gumbel = load_vllm(folder)
    for i, (width, key) in enumerate(zip((1, 4, 5, 16, 4), KEYS, strict=True)):
        contexts, tokens = drawn(width, n, i, missing=-1)
        prf = sys.modules["vllm.v1.watermarking.prfs.philox"].PhiloxPRF(key)
        theirs = prf.uniform(torch.from_numpy(contexts), torch.from_numpy(tokens)[:, None])[:, 0].numpy()
        word = our_word(contexts, tokens, key)
        tally.exact(f"vllm u, width {width}", theirs, _philox.as_uniform(word))
        tally.exact(
            f"vllm synthid word (transcribed), width {width}",
            philox_words(torch.from_numpy(contexts), torch.from_numpy(tokens), key).numpy(),
            word.astype(np.int64),
        )
    text = repeating(20_000, 12, 1)
    for key in KEYS:
        for width in (1, 2, 4):
            peer = gumbel.GumbelWatermarkDetector(key, width).detect(text.tolist())
            ours = vllm_gumbel.read(text, [key], context_width=width)
            tally.exact(f"vllm contexts scored, width {width}", peer.num_scored_tokens, ours.scored[0])
            tally.near("vllm score", peer.score, ours.statistic[0], 1e-6)
            peer = gumbel.DualKeyGumbelWatermarkDetector(key, width).detect(text.tolist())
            count, sums = vllm_dual_gumbel.fused(text, [key], context_width=width)
            tally.exact("vllm dual contexts scored", peer.num_scored_tokens, count)
            tally.near("vllm dual score", peer.score, sums[0], 1e-6)
    for name, one in load_own(folder).items():
        check_own(tally, name, one)
    logits = np.random.default_rng(3).normal(0, 2, (200, 4096)).astype(np.float32)
    contexts, _ = drawn(4, 200, 9)
    peer = gumbel.GumbelWatermarker(KEYS[3], 4)._sample_watermarked(
        torch.from_numpy(logits), torch.from_numpy(contexts)
    )
    tally.exact("vllm token chosen", peer.token_ids.numpy(), vllm_gumbel.mark(logits, contexts, KEYS[3]))
    for scheme, width, gamma in (
        ("selfhash", 4, 0.5),
        ("selfhash", 1, 0.25),
        ("lefthash", 1, 0.5),
        ("lefthash", 4, 0.25),
    ):
        contexts, tokens = drawn(width, n, 77 + width, missing=-1)
        theirs = sbw_green(
            torch.from_numpy(contexts), torch.from_numpy(tokens), 2**62 + 12_345, scheme, gamma, False
        )
        tally.exact(
            f"sbw green (transcribed), {scheme} {width}",
            theirs.numpy(),
            our_sbw(contexts, tokens, 2**62 + 12_345, scheme, gamma),
        )


def check_own(tally: Tally, name: str, one: dict[str, Any]) -> None:
    key, width = int(one["key"]), one["width"]
    if one["scheme"] == "gumbel":
        found = vllm_gumbel.read(one["tokens"], [key], context_width=width)
        scored, score = int(found.scored[0]), float(found.statistic[0])
    else:
        scored, sums = vllm_dual_gumbel.fused(one["tokens"], [key], context_width=width, alpha=one["alpha"])
        score = float(sums[0])
    tally.exact(f"vllm's own vector {name}: contexts", one["scored"], scored)
    tally.near(f"vllm's own vector {name}: score", one["score"], score, 1e-6)


def compare_sglang(tally: Tally, sglang: Any, n: int) -> None:
    detector, core = sys.modules["watermarking.detector"], sys.modules["watermarking.core"]
    for width in (1, 4, 7):
        contexts, tokens = drawn(width, n if width == 4 else n // 10, width)
        theirs = np.array([detector.hash_context(c) for c in contexts.tolist()], U)
        flat = np.concatenate([contexts, tokens[:, None]], axis=1).ravel()
        ends = np.arange(1, len(tokens) + 1) * (width + 1)
        hashes = np.empty(flat.size, U)
        _murmur.context_hashes(flat, ends, width, hashes)
        ours = hashes[width :: width + 1].copy()
        tally.exact(f"sglang context hash, width {width}", theirs, ours)
        for key, other in ((KEYS[3], KEYS[4]), (KEYS[4], KEYS[1])):
            out, coin = np.empty(tokens.size, U), np.empty(tokens.size, U)
            _murmur.hashes(ours, tokens.astype(U), U(key), out)
            _murmur.coins(ours, U(key), U(other), coin)
            pairs = list(zip(theirs.tolist(), tokens.tolist(), strict=True))
            tally.exact(
                "sglang hash",
                [detector.watermark_hash(signed(key), c, t) for c, t in pairs],
                out.astype(np.int64),
            )
            tally.exact(
                "sglang coin",
                [detector.position_coin(signed(key), signed(other), c) for c, _ in pairs],
                coin.astype(np.int64),
            )
    text, prompt = repeating(6_000, 40, 2), [3, 1, 4, 1, 5]
    for before, limit in (((), 4096), (prompt, 4096), (prompt[:2], 500)):
        key, other = "0123456789abcdef", "ffffffff00000001"
        peer = sglang.WatermarkDetector(key, key_b=other, max_contexts=limit).detect_tokens(
            text.tolist(), prompt_token_ids=before
        )
        whole = np.concatenate([np.array(before, np.int64), text])
        given = {"prompts": [len(before)] if len(before) else None, "max_contexts": limit}
        one = sglang_gumbel.read(whole, [int(key, 16)], **given)
        two = sglang_dual_gumbel.read(whole, [(int(key, 16), int(other, 16))], **given)
        tally.exact(
            "sglang contexts",
            [peer.key_a_all_positions.num_contexts, peer.combined.num_contexts],
            [one.scored[0], two.scored[0]],
        )
        tally.near("sglang score", peer.key_a_all_positions.score, one.statistic[0], 1e-8)
        tally.near("sglang dual score", peer.combined.score, two.statistic[0], 1e-8)
        tally.near("sglang dual ln p", peer.combined.log_p_value, float(log_p_of(two)), 1e-6)
    probabilities = torch.softmax(
        torch.from_numpy(np.random.default_rng(3).normal(0, 2, (200, 4096)).astype(np.float32)), -1
    )
    contexts, _ = drawn(4, 200, 9)
    hashed = torch.tensor([detector.hash_context(c) for c in contexts.tolist()])
    keys = torch.full((200,), KEYS[3])
    peer = core.select_watermark_tokens_torch(probabilities, hashed, keys)
    logits = np.log(probabilities.numpy())
    tally.exact("sglang token chosen", peer.numpy(), sglang_gumbel.mark(logits, contexts, KEYS[3]))
    other, line = torch.full((200,), signed(KEYS[4])), torch.full((200,), 2**31)
    peer = core.select_watermark_tokens_torch(probabilities, hashed, keys, other, line)
    tally.exact(
        "sglang dual token chosen",
        peer.numpy(),
        sglang_dual_gumbel.mark(logits, contexts, (KEYS[3], KEYS[4])),
    )


def log_p_of(reading: Any) -> float:
    from stillwatch.marks.reading import log_pvalues

    return float(log_pvalues(reading)[0])


def compare_textseal(tally: Tally, n: int) -> None:
    load_textseal()
    from textseal.common.watermark.pseudorandom import prf_uniform

    for width, key in ((1, 42), (2, 7), (4, 2**32 - 1), (10, 2**62 + 9)):
        contexts, tokens = drawn(width, n, 5 + width)
        theirs = prf_uniform(torch.from_numpy(contexts), torch.from_numpy(tokens), key).numpy()
        inputs = textseal_gumbel._weighted(words(contexts), tokens) + tokens.astype(U) * U(
            textseal_gumbel.TOKEN
        )
        ours = np.empty(n, np.int64)
        textseal_gumbel._levels(inputs, U(key), ours)
        tally.exact(f"textseal u, {width} ids", theirs, ours.astype(np.float32) / np.float32(8191))


def compare_synthid(tally: Tally, main: Any, n: int) -> None:
    ids = drawn(0, n, 13)[1]
    batch = torch.from_numpy(ids)[None]
    theirs = transformers_processor(LAYERS).compute_g_values(batch)[0].numpy()
    tally.exact("transformers g-values", theirs, our_g_values(synthid_table, ids, LAYERS))
    tally.exact(
        "synthid-text 0.2.1 g-values", wheel_processor(LAYERS).compute_g_values(batch)[0].numpy(), theirs
    )
    theirs = other_processor(main, LAYERS).compute_g_values(batch)[0].numpy()
    tally.exact("synthid-text main g-values", theirs, our_g_values(synthid_hash, ids, LAYERS))
    for history, few in ((1024, 6), (50, 4), (1024, 40)):
        text = repeating(10_000, few, history + few)
        peer = transformers_processor(LAYERS, history=history).compute_context_repetition_mask(
            torch.from_numpy(text)[None]
        )
        ours = synthid_table.repetition_mask(text, context_history_size=history)[4:]
        tally.exact(f"transformers context mask, history {history}", ~peer[0].numpy().astype(bool), ours)
    logits = np.random.default_rng(3).normal(0, 2, (20, 3000)).astype(np.float32)
    contexts, _ = drawn(4, 20, 9)
    for name, module, processor in (
        ("transformers", synthid_table, transformers_processor(LAYERS)),
        ("synthid-text main", synthid_hash, other_processor(main, LAYERS)),
    ):
        every = torch.arange(3000)[None].expand(20, -1)
        keys, _ = processor._compute_keys(torch.from_numpy(contexts), every)
        g = processor.sample_g_values(keys) if module is synthid_table else processor.get_gvals(keys)
        ours = module.g_values(contexts, np.arange(3000), LAYERS)
        tally.exact(f"{name} g-values of a vocabulary", g.numpy(), ours)
        update = processor.update_scores if module is synthid_table else main.update_scores
        gap = np.abs(update(torch.from_numpy(logits), g).numpy() - module.mark(logits, contexts, LAYERS))
        say(f"{name} marked log-probabilities: largest gap {gap[gap < 1e6].max():.1e}")
        tally.unlike += int((gap[gap < 1e6] > 1e-3).sum())


# -- write -----------------------------------------------------------------------------------------------------------


def write(paths: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    gumbel, sglang = load_vllm(paths.vllm), load_sglang(paths.sglang)
    main = load_synthid_main(paths.synthid)
    prfs = sys.modules["vllm.v1.watermarking.prfs.philox"]
    detector = sys.modules["watermarking.detector"]
    out: dict[str, Any] = {"origin": ORIGIN}
    out["vllm_gumbel"] = []
    out["synthid_philox"] = []
    for width, key in zip((1, 4, 5, 16, 4), KEYS, strict=True):
        contexts, tokens = drawn(width, 100, width, missing=-1)
        contexts, tokens = contexts[:12], tokens[:12]
        c, t = torch.from_numpy(contexts), torch.from_numpy(tokens)
        u = prfs.PhiloxPRF(key).uniform(c, t[:, None])[:, 0].tolist()
        common = {"key": str(key), "contexts": contexts.tolist(), "tokens": tokens.tolist()}
        out["vllm_gumbel"].append(common | {"u": u})
        out["synthid_philox"].append(common | {"words": philox_words(c, t, key).tolist()})
    own = load_own(paths.vllm)
    out["vllm_own"] = {name: own[name] for name in list(own)[::2]}
    text = repeating(400, 12, 1)
    out["vllm_text"] = {"tokens": text.tolist(), "key": str(KEYS[3])}
    for name, peer in (
        ("vllm_gumbel", gumbel.GumbelWatermarkDetector(KEYS[3], 2)),
        ("vllm_dual_gumbel", gumbel.DualKeyGumbelWatermarkDetector(KEYS[3], 2)),
    ):
        found = peer.detect(text.tolist())
        out["vllm_text"][name] = {
            "scored": found.num_scored_tokens,
            "score": found.score,
            "p_value": found.p_value,
        }
    out["vllm_sbw"] = []
    for scheme, width, gamma in (
        ("selfhash", 4, 0.5),
        ("selfhash", 2, 0.25),
        ("lefthash", 1, 0.5),
        ("lefthash", 4, 0.3),
    ):
        count = 250 if scheme == "lefthash" and width == 1 else 60
        contexts, tokens = drawn(width, 400, 7 + width, missing=-1)
        contexts, tokens = contexts[:count], tokens[:count]
        c, t = torch.from_numpy(contexts), torch.from_numpy(tokens)
        one = {
            "scheme": scheme,
            "gamma": gamma,
            "key": str(2**62 + 12_345),
            "contexts": contexts.tolist(),
            "tokens": tokens.tolist(),
        }
        one["green"] = sbw_green(c, t, 2**62 + 12_345, scheme, gamma, False).int().tolist()
        if scheme == "lefthash":
            one["green_of_the_detector"] = sbw_green(c, t, 2**62 + 12_345, scheme, gamma, True).int().tolist()
        out["vllm_sbw"].append(one)
    out["sglang"] = []
    for width in (1, 4, 6):
        contexts, tokens = drawn(width, 20, width)
        one = {"contexts": contexts.tolist(), "tokens": tokens.tolist(), "keys": [str(KEYS[3]), str(KEYS[4])]}
        hashes = [detector.hash_context(c) for c in contexts.tolist()]
        one["context_hashes"] = hashes
        one["hashes"] = [
            detector.watermark_hash(signed(KEYS[4]), c, t)
            for c, t in zip(hashes, tokens.tolist(), strict=True)
        ]
        one["coins"] = [detector.position_coin(signed(KEYS[3]), signed(KEYS[4]), c) for c in hashes]
        out["sglang"].append(one)
    peer = sglang.WatermarkDetector("0123456789abcdef", key_b="ffffffff00000001", max_contexts=150)
    found = peer.detect_tokens(text.tolist(), prompt_token_ids=[3, 1, 4])
    out["sglang_text"] = {
        "prompt": [3, 1, 4],
        "tokens": text.tolist(),
        "keys": [str(0x0123456789ABCDEF), str(0xFFFFFFFF00000001)],
        "max_contexts": 150,
        "one": [found.key_a_all_positions.num_contexts, found.key_a_all_positions.score],
        "two": [found.combined.num_contexts, found.combined.score, found.combined.log_p_value],
    }
    out["textseal_gumbel"], out["textseal_repeats"] = textseal_vectors()
    ids = drawn(0, 60, 13)[1]
    ids[30:35] = ids[10:15] + 65_536  # five ids that alias
    batch = torch.from_numpy(ids)[None]
    table = transformers_processor(LAYERS).compute_g_values(batch)[0].numpy()
    assert (table == wheel_processor(LAYERS).compute_g_values(batch)[0].numpy()).all()
    hashed = other_processor(main, LAYERS).compute_g_values(batch)[0].numpy()
    mask = transformers_processor(LAYERS, history=20).compute_context_repetition_mask(
        torch.from_numpy(text)[None]
    )
    out["synthid"] = {
        "layers": LAYERS,
        "tokens": ids.tolist(),
        "table": ["".join(map(str, row)) for row in table.tolist()],
        "hash": ["".join(map(str, row)) for row in hashed.tolist()],
        "mask": {
            "tokens": text.tolist(),
            "history": 20,
            "fresh": "".join(str(int(x)) for x in mask[0].tolist()),
        },
    }
    FIXTURE.write_text(json.dumps(out, separators=(",", ":")) + "\n", encoding="utf-8")
    say(f"{FIXTURE}: {FIXTURE.stat().st_size} bytes")


def textseal_vectors() -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Numbers u, and what the engine's detector makes of a text that repeats itself."""
    load_textseal()
    from textseal.common.watermark.core import WatermarkConfig
    from textseal.common.watermark.pseudorandom import prf_uniform
    from textseal.posthoc.detector import GumbelmaxDetector

    vectors = []
    for width, key in ((1, 42), (2, 7), (4, 2**32 - 1), (10, 2**62 + 9)):
        contexts, tokens = drawn(width, 12, width)
        u = prf_uniform(torch.from_numpy(contexts), torch.from_numpy(tokens), key)
        vectors.append(
            {"key": str(key), "contexts": contexts.tolist(), "tokens": tokens.tolist(), "u": u.tolist()}
        )
    letters = types.SimpleNamespace(
        vocab_size=256, encode=lambda text, add_special_tokens: [ord(x) for x in text]
    )
    smallest = 1.0
    for key in range(300):
        peer = GumbelmaxDetector(letters, WatermarkConfig(secret_key=key, ngram=2, method="uniform"))
        (scores,) = peer.get_scores_by_t(["abcd" * 50], scoring_method="v2")
        smallest = min(smallest, float(peer.get_pvalue(sum(scores), len(scores), eps=0.0)))
    return vectors, {"text": "abcd" * 50, "scored": len(scores), "keys": 300, "smallest_p": smallest}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["write", "compare"])
    for name in ("vllm", "sglang", "synthid"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--contexts", type=int, default=100_000)
    paths = parser.parse_args()
    (write if paths.command == "write" else compare)(paths)


if __name__ == "__main__":
    main()
