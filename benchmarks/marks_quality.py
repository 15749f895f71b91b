"""What a mark costs a small model's answers, and how strong it is: loss, repetition, length, arithmetic, log10 p.

    python benchmarks/marks_quality.py MODEL --out quality.jsonl [--prompts 128] [--tokens 128] [--only "unmarked" ...]
    python benchmarks/marks_quality.py MODEL --out quality.jsonl --tables
    python benchmarks/marks_quality.py MODEL --out unused --answers PLAIN.npz MARKED.npz

The last form reads two corpora of `benchmarks/students.py`, made of the same prompts, and tells their repetition only.

MODEL is a folder of Hugging Face's format or a GGUF file of a small model of the Llama architecture. Same prompts, same
draws, one key; answers are sampled in bfloat16 and judged by the unmarked model itself. Each setting is one line of the
file, and what is there already is not made again. Differences are marked less unmarked, prompt by prompt, with a 95%
bootstrap interval over prompts. Needs torch, transformers and STILLWATCH_DATA (prompts that people wrote, and school
arithmetic).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import time
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from stillwatch.lab.teaching import llama
from stillwatch.marks.generation import marking
from stillwatch.marks.keys import Master, Scope
from stillwatch.marks.widths import reader
from stillwatch.models.local import load
from stillwatch.models.marking import Process, warped
from stillwatch.stats.intervals import bootstrap_by_unit

SEED = 20_261_124
MASTER = Master(bytes(range(32)))
"""Of this benchmark; any other does as well."""
ARITHMETIC = "\nThink step by step. End with: The answer is"


@dataclass(frozen=True)
class Setting:
    """One way to sample."""

    name: str
    scheme: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    temperature: float = 0.9
    seed: int = SEED


def settings() -> list[Setting]:
    """All settings; the first of each temperature is what the others are held against."""
    red = "transformers_red_green"
    found = [Setting("unmarked"), Setting("unmarked, another seed", seed=SEED + 1)]
    found += [Setting(f"red-green, delta {d}", red, {"gamma": 0.25, "delta": float(d)}) for d in (1, 2, 3, 4)]
    for width in (1, 2, 4):
        # The sum of the ids and not their product, which is 0 for many sets of even ids.
        kgw = {"gamma": 0.25, "delta": 2.0, "prefix_length": width, "f_scheme": "additive"}
        found.append(Setting(f"KGW, width {width}, delta 2", "markllm_kgw", kgw))
    for width in (1, 2, 4):
        gumbel = {"context_width": width}
        found.append(Setting(f"Gumbel, width {width}", "vllm_gumbel", gumbel))
        every = gumbel | {"deduplicate_contexts": "none"}
        found.append(Setting(f"Gumbel, width {width}, repeats marked too", "vllm_gumbel", every))
    found.append(Setting("SynthID, 30 layers", "synthid_table"))
    hot = [s for s in found if s.name in ("unmarked", "red-green, delta 2", "Gumbel, width 1, repeats marked too",
                                          "Gumbel, width 4", "SynthID, 30 layers")]  # fmt: skip
    return found + [Setting(s.name, s.scheme, s.parameters, 1.0) for s in hot]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--prompts", type=int, default=128)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument(
        "--arithmetic", type=int, default=96, help="items, for the settings of --solve; 0: none"
    )
    parser.add_argument("--solve", nargs="*", default=["unmarked", "red-green, delta 2", "red-green, delta 4",
                                                       "Gumbel, width 4", "SynthID, 30 layers"])  # fmt: skip
    parser.add_argument("--only", nargs="*", help="names of settings, in the order in which they are made")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--tables", action="store_true", help="only print the tables of --out")
    parser.add_argument("--answers", nargs=2, type=Path, help="two corpora to compare, plain and marked")
    options = parser.parse_args()
    if options.answers:
        print(repetition(*(np.load(path)["answers"] for path in options.answers)))
        return
    if not options.tables:
        run(options)
    print(tables([json.loads(line) for line in options.out.read_text().splitlines()]))


@dataclass(frozen=True)
class Answered:
    """The ids of an answer without its end, and what they cost the unmarked model at temperature 1, in nats."""

    ids: np.ndarray
    loss: float


class Teacher:
    """The model, arranged for sampling, and its tokenizer."""

    def __init__(self, path: Path, batch: int) -> None:
        weights, self.tokenizer = load(path, dtype="bfloat16")
        self.lean, self.batch = llama.Llama(weights), batch
        ends = weights.generation_config.eos_token_id
        self.ends = {self.tokenizer.eos_token_id} | set(ends if isinstance(ends, list) else [ends])

    def prompted(self, text: str) -> np.ndarray:
        words = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, tokenize=False
        )
        return np.array(self.tokenizer.encode(words, add_special_tokens=False), np.int64)

    @torch.inference_mode()
    def answers(self, setting: Setting, prompts: list[np.ndarray], tokens: int) -> list[Answered]:
        """An answer to each prompt; prompts of one length stand together."""
        how = None
        if setting.scheme:
            key = MASTER.key(setting.scheme, Scope())
            how = marking(setting.scheme, key, setting.parameters)
        found: list[Answered] = [Answered(np.empty(0, np.int64), 0.0)] * len(prompts)
        for number, places in enumerate(batches(prompts, self.batch)):
            rng = np.random.default_rng([setting.seed, number])
            process = Process(how, temperature=setting.temperature) if how else None
            ids = np.stack([prompts[i] for i in places])
            start = ids.shape[1]
            loss = np.zeros((len(places), tokens))
            logits, memory = self.lean.start(torch.from_numpy(ids), start + tokens)
            for at in range(start, start + tokens):
                scores = logits.numpy()
                scores = process(ids, scores) if process else warped(scores, setting.temperature, 1.0)
                chosen = drawn(scores, rng.random((len(ids), 1)))
                ids = np.column_stack([ids, chosen])
                taken = logits[torch.arange(len(ids)), torch.from_numpy(chosen)]
                loss[:, at - start] = (torch.logsumexp(logits, dim=1) - taken).numpy()
                if all(self.ends & set(row) for row in ids[:, start:].tolist()):
                    break
                logits = self.lean.step(torch.from_numpy(ids[:, -1:].copy()), memory, at)
            for place, row, cost in zip(places, ids[:, start:], loss, strict=True):
                ended = [i for i, t in enumerate(row.tolist()) if t in self.ends]
                length = ended[0] if ended else len(row)
                found[place] = Answered(row[:length], float(cost[:length].sum()))
        return found


def drawn(scores: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """The token of each row at one uniform number, by the distribution function: the same number for every mark."""
    parts = torch.softmax(torch.from_numpy(scores), dim=-1).cumsum(dim=-1, dtype=torch.float64)
    at = torch.from_numpy(uniform) * parts[:, -1:]
    return torch.searchsorted(parts, at, right=True)[:, 0].numpy()


def batches(prompts: list[np.ndarray], most: int) -> list[list[int]]:
    by_length = defaultdict(list)
    for i, ids in enumerate(prompts):
        by_length[len(ids)].append(i)
    return [v[k : k + most] for _, v in sorted(by_length.items()) for k in range(0, len(v), most)]


def run(options: argparse.Namespace) -> None:
    folder = os.environ.get("STILLWATCH_DATA")
    if not folder:
        raise SystemExit("STILLWATCH_DATA is not set: no prompts to ask")
    teacher = Teacher(options.model, options.batch)
    data = Path(folder)
    texts = [r["prompt"] for r in pq.read_table(data / "prompts/human_prism.parquet").to_pylist()]
    texts = [t for t in shuffled(texts) if 20 <= len(t) <= 80][:1500]
    prompts = [ids for _, ids in alike([teacher.prompted(t) for t in texts], options.prompts, options.batch)]
    items = (
        shuffled(pq.read_table(data / "audit/gsm8k_test.parquet").to_pylist()) if options.arithmetic else []
    )
    asked_items = [teacher.prompted(r["question"] + ARITHMETIC) for r in items[:600]]
    problems = [(items[i], ids) for i, ids in alike(asked_items, options.arithmetic, 16)]
    done = [json.loads(line) for line in options.out.read_text().splitlines()] if options.out.exists() else []
    held = {(row["name"], row["temperature"], row["kind"]) for row in done}
    wished = options.only or list(dict.fromkeys(s.name for s in settings()))
    for setting in [s for name in wished for s in settings() if s.name == name and s.temperature == 0.9] + [
        s for s in settings() if s.name in wished and s.temperature != 0.9
    ]:
        if (setting.name, setting.temperature, "prose") not in held:
            keep(options.out, prose(teacher, setting, prompts, options.tokens))
    for setting in settings():
        wanted = setting.name in options.solve and setting.temperature == 0.9 and problems
        if wanted and (setting.name, setting.temperature, "arithmetic") not in held:
            keep(options.out, arithmetic(teacher, setting, problems, 200))


def shuffled(rows: list[Any]) -> list[Any]:
    """In an order drawn once."""
    return [rows[i] for i in np.random.default_rng(1).permutation(len(rows))]


def alike(prompts: list[np.ndarray], count: int, batch: int) -> list[tuple[int, np.ndarray]]:
    """`count` prompts with their places: whole batches of one length each, the most common lengths first."""
    groups = sorted(batches(prompts, batch), key=lambda places: (-len(places), len(prompts[places[0]])))
    return [(i, prompts[i]) for places in groups for i in places][:count]


def keep(path: Path, row: dict[str, Any]) -> None:
    with path.open("a") as lines:
        lines.write(json.dumps(row) + "\n")
    print(
        f"{row['name']} (T {row['temperature']:g}, {row['kind']}): {row['seconds']:.0f} CPU seconds",
        flush=True,
    )


def prose(teacher: Teacher, setting: Setting, prompts: list[np.ndarray], tokens: int) -> dict[str, Any]:
    """What every answer costs, and its ids, from which the strength of the mark is read."""
    begin = time.process_time()
    made = teacher.answers(setting, prompts, tokens)
    ids = [a.ids for a in made]
    return {
        **{k: v for k, v in asdict(setting).items() if k != "seed"},
        "kind": "prose",
        "tokens": [len(i) for i in ids],
        "loss": [a.loss for a in made],
        "repeated": [1.0 - distinct(i, 4) for i in ids],
        "distinct": [distinct(i, 2) for i in ids],
        "cut": [len(i) == tokens for i in ids],
        "ids": [i.tolist() for i in ids],
        "seconds": time.process_time() - begin,
    }


def arithmetic(teacher: Teacher, setting: Setting, problems: list[Any], tokens: int) -> dict[str, Any]:
    begin = time.process_time()
    made = teacher.answers(setting, [ids for _, ids in problems], tokens)
    texts = [str(teacher.tokenizer.decode(a.ids.tolist(), skip_special_tokens=True)) for a in made]
    right = [last_number(t) == last_number(p["answer"]) for t, (p, _) in zip(texts, problems, strict=True)]
    return {
        "name": setting.name, "temperature": setting.temperature, "kind": "arithmetic", "right": right,
        "seconds": time.process_time() - begin,
    }  # fmt: skip


def distinct(ids: np.ndarray, size: int) -> float:
    """Different runs of `size` ids among all; 1 where there is none."""
    rows = [tuple(ids[i : i + size].tolist()) for i in range(len(ids) - size + 1)]
    return len(set(rows)) / len(rows) if rows else 1.0


def last_number(text: str) -> float | None:
    found = re.findall(r"-?\d[\d,]*\.?\d*", text)
    return float(found[-1].replace(",", "")) if found else None


def strength(row: dict[str, Any], scheme: str, parameters: dict[str, Any]) -> tuple[float, int]:
    """log10 p of one scheme's key over all answers, and the pairs that were scored."""
    taken = {k: v for k, v in parameters.items() if k not in ("delta", "deduplicate_contexts")}
    if scheme in ("transformers_red_green", "markllm_kgw"):
        taken["vocab_size"] = 49_152
    ids = np.concatenate([np.array(i, np.int64) for i in row["ids"]])
    found = reader(scheme).test(
        ids, MASTER.key(scheme, Scope()).as_read(), ends=np.cumsum(row["tokens"]), **taken
    )
    return found.log_pvalue / math.log(10), found.n


def tables(rows: list[dict[str, Any]]) -> str:
    lines: list[str] = []
    order = [s.name for s in settings()]
    for temperature in sorted({r["temperature"] for r in rows}):
        own = [r for r in rows if r["temperature"] == temperature and r["kind"] == "prose"]
        own.sort(key=lambda r: order.index(r["name"]))
        base = next(r for r in own if r["name"] == "unmarked")
        lines += ["", f"Temperature {temperature:g}: {len(base['tokens'])} prompts", ""]
        heads = ["setting", "loss, nats a token", "repeated 4-grams", "distinct 2-grams", "tokens", "cut off",
                 "log10 p per 1,000 tokens", "log10 p of unmarked text"]  # fmt: skip
        lines.append("| " + " | ".join(heads) + " |")
        lines.append("|---|---|---|---|---|---:|---:|---:|")
        lines += [line(r, base) for r in own]
    solved = [r for r in rows if r["kind"] == "arithmetic"]
    if solved:
        base = next(r for r in solved if r["name"] == "unmarked")
        lines += ["", "| setting | solved | difference, share of items |", "|---|---:|---|"]
        for r in solved:
            lines.append(
                f"| {r['name']} | {sum(r['right'])} of {len(r['right'])} | {paired(r['right'], base['right'], 3)} |"
            )
    return "\n".join(lines)


def repetition(plain: np.ndarray, marked: np.ndarray) -> str:
    """What repeats within answers, row i of both arrays answering the same prompt."""
    lines = [f"{plain.shape[0]} prompts, answers of {plain.shape[1]} and {marked.shape[1]} tokens"]
    for size, title in ((4, "repeated 4-grams"), (2, "repeated 2-grams")):
        one, other = ([1.0 - distinct(row, size) for row in rows] for rows in (plain, marked))
        lines.append(
            f"{title}: plain {np.mean(one):.4f}, marked {np.mean(other):.4f} {paired(other, one, 4)}"
        )
    return "\n".join(lines)


def line(row: dict[str, Any], base: dict[str, Any]) -> str:
    values = np.column_stack([row["loss"], row["tokens"], base["loss"], base["tokens"]]).astype(float)
    loss = f"{values[:, 0].sum() / values[:, 1].sum():.3f}"
    if row is not base:
        loss += (
            f" {interval(values, lambda v: v[:, 0].sum() / v[:, 1].sum() - v[:, 2].sum() / v[:, 3].sum(), 3)}"
        )
    cells = [row["name"], loss]
    for name, digits in (("repeated", 3), ("distinct", 3), ("tokens", 1)):
        cell = f"{np.mean(row[name]):.{digits}f}"
        cells.append(cell if row is base else f"{cell} {paired(row[name], base[name], digits)}")
    cells.append(f"{np.mean(row['cut']):.0%}")
    if row["scheme"]:
        log_p, _ = strength(row, row["scheme"], row["parameters"])
        wrong, _ = strength(base, row["scheme"], row["parameters"])
        cells += [f"{1000 * log_p / sum(row['tokens']):.1f}", f"{wrong:.1f}"]
    else:
        cells += ["", ""]
    return "| " + " | ".join(cells) + " |"


def paired(values: list[float], base: list[float], digits: int) -> str:
    difference = np.array(values, float) - np.array(base, float)
    if not difference.any():
        return "(+0)"
    return interval(difference, lambda v: float(v.mean()), digits)


def interval(values: np.ndarray, statistic: Any, digits: int) -> str:
    low, high = bootstrap_by_unit(values, np.arange(len(values)), statistic, np.random.default_rng(2))
    return f"({statistic(values):+.{digits}f}, {low:+.{digits}f} to {high:+.{digits}f})"


if __name__ == "__main__":
    main()
