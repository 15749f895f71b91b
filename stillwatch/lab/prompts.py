"""What is asked: the templates of every kind of text, from real prompts where they are at hand."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stillwatch.errors import InputError
from stillwatch.lab import grammar
from stillwatch.lab.texts import Range, Texts

_FILES = {
    "chat": ("human_prism", "human_arena_hard", "human_nq_open"),
    "public": ("human_system_prompts",),
    "instruction": ("distillation_alpaca",),
}


@dataclass(frozen=True, slots=True)
class Prompts:
    """Templates by kind.

    ``chat`` first questions, ``follow`` later turns, ``system`` sentences of private system prompts and
    ``application`` whole ones (only with real prompts), ``public`` texts that stand on the web and in frameworks,
    ``instruction`` tasks of honest batch users and ``campaign`` those of a campaign, ``document``, ``code``,
    ``batch`` headers, ``boilerplate`` phrases that many people use, ``wrapper``.
    """

    texts: Texts
    ranges: dict[str, Range]
    source: str

    def __getitem__(self, kind: str) -> Range:
        return self.ranges[kind]


def prompts(rng: np.random.Generator, data: Path | None) -> Prompts:
    """Templates from the real prompts in `data`, or from the grammar alone.

    Every real prompt gets slots that are filled with other words of the same corpus, because a few thousand
    prompts drawn a million times would make unrelated accounts share text as they never do. Honest users of
    instruction-like prompts and campaigns draw from separate halves of one list and are varied alike.

    Raises
    ------
    InputError
        `data` has no folder ``prompts`` with the expected files.
    """
    texts = Texts()
    ranges = grammar.fill(texts)
    if data is None:
        # A public text is one fixed draw of a few sentences: every copy of it is the same.
        drawn = rng.integers(1, 2**62, 600).tolist()
        ranges["public"] = texts.copy([_public(texts, ranges, seed) for seed in drawn])
        ranges["instruction"] = ranges["campaign"] = ranges["task"]
        return Prompts(texts, ranges, "the built-in grammar")
    found = {kind: [t for f in files for t in _read(data, f)] for kind, files in _FILES.items()}
    found["public"] = [t for t in found["public"] if len(t) >= 120]
    seen = Counter(w for kind in found.values() for t in kind for w in set(t.split()))
    # Words that only one prompt has are mostly names, code and other languages.
    small = sorted(
        w
        for w, n in seen.items()
        if n > 1 and w.isascii() and w.isalpha() and w.islower() and 3 < len(w) < 13
    )
    texts.words("word", small)
    texts.words("word_capital", [w.capitalize() for w in small])
    alpaca = [found["instruction"][i] for i in rng.permutation(len(found["instruction"]))]
    half = len(alpaca) * 2 // 5
    short = [12 < len(t) < 90 for t in found["chat"]]
    follow = texts.vary((t for t, s in zip(found["chat"], short, strict=True) if s), "word")
    rest = texts.vary((t for t, s in zip(found["chat"], short, strict=True) if not s), "word")
    ranges["follow"], ranges["chat"] = follow, Range(follow.lo, follow.span + rest.span)
    ranges["instruction"] = texts.vary(alpaca[:half], "word")
    ranges["campaign"] = texts.vary(alpaca[half:], "word")
    ranges["application"] = texts.vary((t for t in found["public"] if len(t) < 1500), "word")
    ranges["public"] = texts.copy(found["public"])
    return Prompts(texts, ranges, "public prompt sets, varied")


def _read(data: Path, name: str) -> list[str]:
    import pyarrow.parquet as pq

    path = data / "prompts" / f"{name}.parquet"
    if not path.is_file():
        raise InputError(
            f"{path}: not found; --data wants the folder that holds prompts/ and traffic/, or leave it out"
        )
    return [t for t in pq.read_table(path, columns=["prompt"])["prompt"].to_pylist() if t and t.strip()]


def _public(texts: Texts, ranges: dict[str, Range], seed: int) -> str:
    r = ranges["system"]
    one = np.array([r.lo]), np.array([r.span]), np.array([4 + seed % 5]), np.array([seed], np.uint64)
    return str(texts.render(*one)[0].as_py())
