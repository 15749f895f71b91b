"""Tokens a second of the lab's teacher and of its training, beside plain transformers and llama.cpp, in turns.

    python benchmarks/lab_speed.py MODEL.gguf [--rounds 3] [--prompts 64] [--tokens 64] [--only NAME ...]

MODEL is the GGUF file of a small Llama model; torch runs with the threads of OMP_NUM_THREADS. Every way answers the
same prompts with as many tokens; a round has each way once. Told are the medians over rounds, in seconds of the wall
clock and of this process. llama.cpp (needs llama-cpp-python) runs the file as it is, quantised, one prompt after the
other, and is given a quarter of the prompts.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch

from stillwatch.errors import MissingExtra
from stillwatch.extras import need
from stillwatch.lab.teaching import training
from stillwatch.lab.teaching.corpus import Corpus
from stillwatch.lab.teaching.marking import TeacherMark
from stillwatch.lab.teaching.prompts import prompts
from stillwatch.lab.teaching.sampling import sample
from stillwatch.marks.keys import Master, Scope
from stillwatch.models.local import Local, load

MASTER = Master(bytes(range(32)))
TEMPERATURE = 0.9


def mark(scheme: str, **making: Any) -> TeacherMark:
    return TeacherMark(MASTER.key(scheme, Scope()), making, {k: v for k, v in making.items() if k != "delta"})


def generating(path: Path, asked: list[np.ndarray], tokens: int, batch: int) -> dict[str, Callable[[], int]]:
    """Ways to answer; each gives the number of tokens that it made."""
    exact = Local(path, dtype="float32")
    model = Local(path, dtype="bfloat16")
    barred = model.special

    def ours(given: TeacherMark | None) -> Callable[[], int]:
        def run() -> int:
            made = sample(
                model.weights,
                asked,
                length=tokens,
                temperature=TEMPERATURE,
                barred=barred,
                mark=given,
                batch=batch,
            )
            return int(made.size)

        return run

    def plain(weights: Any, rows: int) -> Callable[[], int]:
        def run() -> int:
            made = 0
            for first in range(0, len(asked), rows):
                given = torch.from_numpy(np.stack(asked[first : first + rows]))
                with torch.inference_mode():
                    out = weights.generate(
                        input_ids=given, attention_mask=torch.ones_like(given), max_new_tokens=tokens,
                        min_new_tokens=tokens, do_sample=True, temperature=TEMPERATURE, top_k=0, top_p=1.0,
                        pad_token_id=0,
                    )  # fmt: skip
                made += out[:, given.shape[1] :].numel()
            return made

        return run

    ways = {
        "lab, no mark": ours(None),
        "lab, red-green": ours(mark("transformers_red_green", delta=2.0)),
        "lab, Gumbel of vLLM": ours(mark("vllm_gumbel", context_width=1)),
        "lab, SynthID": ours(mark("synthid_hash")),
        f"generate, bfloat16, {batch} at a time": plain(model.weights, batch),
        f"generate, float32, {batch} at a time": plain(exact.weights, batch),
        "generate, bfloat16, 8 at a time": plain(model.weights, 8),
    }
    try:
        need("llama_cpp")
    except MissingExtra:
        return ways
    from stillwatch.models.llama_cpp import LlamaCpp

    small = LlamaCpp(path, threads=torch.get_num_threads())
    texts = model.decode(asked[: max(1, len(asked) // 4)])

    def one_by_one() -> int:
        said = small.complete(texts, max_tokens=tokens, temperature=TEMPERATURE)
        return sum(len(answers[0].tokens) for answers in said)

    writer = small._writer

    def bare() -> int:
        made = 0
        for ids in asked[: len(texts)]:
            writer.reset()
            for made_here, _ in enumerate(
                writer.generate(ids.tolist(), temp=TEMPERATURE, top_k=0, top_p=1.0, min_p=0.0), 1
            ):
                if made_here == tokens:
                    break
            made += tokens
        return made

    return ways | {"llama.cpp, our adapter": one_by_one, "llama.cpp itself": bare}


def learning(path: Path, asked: list[np.ndarray], tokens: int, folder: Path) -> dict[str, Callable[[], int]]:
    """Ways to train one pass; each gives the number of tokens that were read, prompts among them."""
    answers = np.random.default_rng(0).integers(100, 10_000, (len(asked), tokens))
    corpus = Corpus(tuple(asked), answers)
    read = sum(map(len, corpus.documents()))
    few = corpus.rows([0])

    def trainer() -> int:
        training.train(load(path)[0], corpus, folder, held_out=few, save_every=0)
        return read

    def bare(kind: Any) -> Callable[[], int]:
        def run() -> int:
            model = load(path)[0].train()
            steps = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.0)
            ids = torch.from_numpy(np.stack(corpus.documents()))
            labels = ids.clone()
            labels[:, : len(asked[0])] = training.IGNORED
            for first in range(0, len(ids), 8):
                with torch.autocast("cpu", torch.bfloat16, enabled=kind == "bfloat16"):
                    loss = model(input_ids=ids[first : first + 8], labels=labels[first : first + 8]).loss
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                steps.step()
                steps.zero_grad()
            return read

        return run

    return {
        "train: lab (Trainer, bfloat16)": trainer,
        "train: a bare loop, bfloat16": bare("bfloat16"),
        "train: a bare loop, float32": bare("float32"),
    }


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("model", type=Path)
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--prompts", type=int, default=64)
    asked.add_argument("--tokens", type=int, default=64)
    asked.add_argument("--only", nargs="*", default=[])
    asked.add_argument("--scratch", type=Path, default=Path("lab-speed"), help="a folder that Trainer wants")
    given = asked.parse_args()
    torch.manual_seed(0)
    local = Local(given.model)
    every = prompts("topics", given.prompts, local.prompted)
    length = max({len(p) for p in every}, key=lambda n: sum(len(p) == n for p in every))
    same = ([p for p in every if len(p) == length] * given.prompts)[: given.prompts]
    ways = generating(given.model, same, given.tokens, given.prompts)
    ways |= learning(given.model, same[: max(8, given.prompts // 4)], given.tokens, given.scratch)
    ways = {name: way for name, way in ways.items() if not given.only or any(o in name for o in given.only)}
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number in range(given.rounds + 1):
        for name, way in ways.items():
            wall, own = time.perf_counter(), time.process_time()
            made = way()
            if number:  # the first round warms caches
                rates[name].append((made / (time.perf_counter() - wall), made / (time.process_time() - own)))
    print(f"{len(same)} prompts of {length} ids, {given.tokens} tokens each, {torch.get_num_threads()} thread(s), "
          f"medians of {given.rounds} rounds\n")  # fmt: skip
    print("| way | tokens a second | lowest to highest | a second of processor time |\n|---|---:|---:|---:|")
    for name, found in rates.items():
        wall = [w for w, _ in found]
        own = statistics.median(o for _, o in found)
        print(
            f"| {name} | {statistics.median(wall):,.0f} | {min(wall):,.0f} to {max(wall):,.0f} | {own:,.0f} |"
        )


if __name__ == "__main__":
    main()
