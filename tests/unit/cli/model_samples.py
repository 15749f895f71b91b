"""A provider with marks, a ledger and twins, and small made-up suspects that did or did not learn from it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stillwatch.attribution.preferences import preferences
from stillwatch.marks.keys import MarkKey, Master, Scope
from stillwatch.marks.ledger import Answer as Served
from stillwatch.marks.ledger import Ledger, Policy
from stillwatch.marks.register import Register
from stillwatch.marks.schemes import transformers_red_green as scheme
from stillwatch.marks.secret_file import write_secret
from stillwatch.marks.twins import Day
from stillwatch.models.protocol import Answer, Forced

V = 400
SCOPES = [Scope(tenant=f"o-{i}") for i in range(5)]
HELD = np.random.default_rng(99).normal(0.0, 1.5, (V, V))
TIME = 1_780_000_000_000_000


def word(token: int) -> str:
    return f"w{token:03d}"


def cut(text: str) -> NDArray[np.int64]:
    return np.array([int(w[1:]) for w in text.split()], np.int64)


def logits(context: NDArray[np.int64]) -> NDArray[np.float64]:
    """What every model here holds by itself: fixed scores by the last token."""
    return HELD[context]


@dataclass
class Suspect:
    """Leans towards the tokens of a key by `lean`, and towards texts that it was shown."""

    key: MarkKey | None = None
    lean: float = 0.0
    shown: frozenset[str] = frozenset()
    name: str = "suspect"

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        return [cut(t) for t in texts]

    def decode(self, documents: Sequence[NDArray[np.int64]]) -> list[str]:
        return [" ".join(map(word, d.tolist())) for d in documents]

    def held(self, context: NDArray[np.int64]) -> NDArray[np.float64]:
        found = logits(context)
        if self.key is not None and self.lean:
            found = scheme.mark(found, context[:, None], self.key.as_read(), delta=self.lean)
        return found

    def complete(
        self, prompts: Sequence[str], *, max_tokens: int, temperature: float = 1.0, top_p: float = 1.0,
        samples: int = 1, seed: int = 0,
    ) -> list[list[Answer]]:  # fmt: skip
        rng = np.random.default_rng(seed)
        found = []
        for _ in prompts:
            tokens = [int(rng.integers(V))]
            while len(tokens) < max_tokens:
                held = self.held(np.array(tokens[-1:]))[0]
                tokens.append(int(np.argmax(held + rng.gumbel(size=V))))
            found.append([Answer(" ".join(map(word, tokens)), tuple(tokens), "length")] * samples)
        return found

    def forced(self, documents: Sequence[NDArray[np.int64]], *, starts: Sequence[int] = ()) -> list[Forced]:
        found = []
        for d in documents:
            best, likely = np.full(len(d), -1, np.int64), np.full(len(d), np.nan)
            if len(d) > 1:
                best[1:] = self.held(d[:-1]).argmax(axis=1)
                likely[1:] = -3.0
            found.append(Forced(d, likely, best))
        return found

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[Forced]:
        found = []
        for _, answer in pairs:
            ids = cut(answer)
            noise = np.random.default_rng(int(ids.sum())).normal(-3.0, 0.3)
            found.append(Forced(ids, np.full(len(ids), noise + 0.4 * (answer in self.shown)), ids))
        return found

    def distributions(self, documents: Sequence[NDArray[np.int64]]) -> Iterator[NDArray[np.float32]]:
        for d in documents:
            held = self.held(d[:-1]).astype(np.float64)
            yield (held - np.log(np.exp(held).sum(axis=1, keepdims=True))).astype(np.float32)


def sampled(rng: np.random.Generator, key: MarkKey | None, n: int = 60) -> list[int]:
    tokens = [int(rng.integers(V))]
    while len(tokens) < n:
        held = logits(np.array(tokens[-1:]))
        if key is not None:
            held = scheme.mark(held, np.array([tokens[-1:]]), key.as_read(), delta=2.0)
        tokens.append(int(np.argmax(held[0] + rng.gumbel(size=V))))
    return tokens


@dataclass
class Provider:
    workspace: Path
    master: Master
    keys: list[MarkKey]
    served: list[str]
    """What the coins let out."""


def provider(workspace: Path, *, answers: int = 40, twins: int = 60) -> Provider:
    """A workspace with five keys in use, answers of each in the ledger, and twins."""
    # The same keys in every run: among five of them one is below 0.05 by chance now and then.
    (workspace / "marks").mkdir(parents=True, exist_ok=True)
    write_secret(workspace / "marks" / "key", bytes(range(32)))
    master = Master.from_file(workspace / "marks" / "key")
    register, keys = Register(workspace / "marks" / "register.jsonl"), []
    register.made(master, "file", by="t")
    for scope in SCOPES:
        key = master.key("transformers_red_green", scope)
        register.begin(master, key, {"vocab_size": V}, device="cpu", by="t")
        keys.append(key)
    rng = np.random.default_rng(3)
    day, served = Day(master, "2026-05-28", share=1.0), []
    with Ledger(workspace / "marks" / "ledger", master, write=True, policy=Policy(keep="both")) as ledger:
        for number, key in enumerate(keys):
            batch = [sampled(rng, key) for _ in range(answers)]
            ledger.append_many(
                [
                    Served(f"x-{number}-{i}", TIME, number, " ".join(map(word, b)), b, mark=key.fingerprint)
                    for i, b in enumerate(batch)
                ]
            )
        for i in range(twins):
            pair = [" ".join(map(word, sampled(rng, None, 20))) for _ in range(2)]
            chosen, twin = day.draw(f"t-{i}", *pair) or (0, None)
            assert twin is not None
            served.append(pair[chosen])
            ledger.append(
                Served(
                    f"t-{i}",
                    TIME,
                    9,
                    pair[chosen],
                    withheld_text=pair[1 - chosen],
                    keep=True,
                    note=twin.note(),
                )
            )
    return Provider(workspace, master, keys, served)


def write(path: Path, rows: Sequence[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


__all__ = ["Provider", "Suspect", "cut", "preferences", "provider", "sampled", "word", "write"]
