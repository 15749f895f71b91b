"""Answers of a model to many prompts at once, sampled with or without a mark; the same seed gives the same answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwatch.errors import InputError
from stillwatch.extras import need
from stillwatch.lab.teaching import llama
from stillwatch.lab.teaching.marking import TeacherMark

Ids = NDArray[np.int64]


def sample(
    model: Any,
    prompts: Sequence[Ids],
    *,
    length: int,
    temperature: float = 1.0,
    barred: Sequence[int] = (),
    mark: TeacherMark | None = None,
    batch: int = 64,
    seed: int = 0,
) -> Ids:
    """Answers of `length` tokens each, int64 (prompts, length).

    Parameters
    ----------
    model
        As `stillwatch.models.local.load` gives it. Llama models go through `llama.Llama`, all others through
        `generate` of transformers.
    prompts
        Ids of each prompt, special ones included.
    temperature
        Above 0.
    barred
        Ids that are never sampled. Bar those that end an answer, so that all have `length` tokens.
    mark
        Applied in the same step, with the habits of its engine: a Gumbel mark of vLLM, for one, leaves a context that
        stood earlier in the same answer unmarked.
    batch
        Prompts at a time; those of one length stand together.
    seed
        Of the sampling. Batches draw from streams of their own.

    Raises
    ------
    InputError
        No prompt, an empty one, or a temperature of 0.
    """
    if not len(prompts) or min(len(p) for p in prompts) < 1 or temperature <= 0 or length < 1:
        raise InputError(
            "sampling needs prompts of 1 id or more, a length of 1 or more and a temperature above 0"
        )
    torch = need("torch")
    answers = np.empty((len(prompts), length), np.int64)
    lean = llama.Llama(model) if llama.fits(model) else None
    for number, rows in enumerate(_batches(prompts, batch)):
        given = torch.from_numpy(np.stack([prompts[r] for r in rows]))
        pick = _Picker(np.random.default_rng([seed, number]), temperature, barred, mark)
        with torch.inference_mode():
            if lean is None:
                answers[rows] = _general(model, given, length, pick)
            else:
                answers[rows] = _lean(lean, given, length, pick)
    return answers


class _Picker:
    """The next token of each row: barred ids, temperature, mark and draw, in one place."""

    def __init__(
        self, rng: np.random.Generator, temperature: float, barred: Sequence[int], mark: TeacherMark | None
    ) -> None:
        self.torch = need("torch")
        self.rng, self.temperature, self.barred = rng, temperature, list(barred)
        self.process = mark.process(temperature, rng) if mark is not None else None

    def __call__(self, logits: Any, ids: Ids) -> Ids:
        torch = self.torch
        logits = logits.float()
        logits[:, self.barred] = -float("inf")
        if self.process is None:
            logits = logits / self.temperature
        else:
            logits = torch.from_numpy(self.process(ids, logits.numpy()))
        parts = torch.softmax(logits, dim=-1).cumsum(dim=-1, dtype=torch.float64)
        # Drawn for every row, used or not: what a row gets does not depend on the other rows.
        at = torch.from_numpy(self.rng.random((len(logits), 1))) * parts[:, -1:]
        found: Ids = torch.searchsorted(parts, at, right=True)[:, 0].numpy()
        return found


def _lean(lean: llama.Llama, given: Any, length: int, pick: _Picker) -> Ids:
    torch = need("torch")
    prompt = given.shape[1]
    ids = np.empty((len(given), prompt + length), np.int64)
    ids[:, :prompt] = given.numpy()
    logits, memory = lean.start(given, prompt + length)
    for at in range(prompt, prompt + length):
        ids[:, at] = pick(logits, ids[:, :at])
        if at + 1 < prompt + length:
            logits = lean.step(torch.from_numpy(ids[:, at : at + 1]), memory, at)
    return ids[:, prompt:]


def _general(model: Any, given: Any, length: int, pick: _Picker) -> Ids:
    """The same with transformers: all but the token that was picked is ruled out, and the likeliest one is taken."""
    torch = need("torch")

    def process(input_ids: Any, scores: Any) -> Any:
        chosen = torch.from_numpy(pick(scores.cpu(), input_ids.cpu().numpy())).to(scores.device)
        only = torch.full_like(scores, -float("inf"))
        return only.scatter_(1, chosen[:, None], 0.0)

    device = next(model.parameters()).device
    made = model.generate(
        input_ids=given.to(device),
        attention_mask=torch.ones_like(given, device=device),
        max_new_tokens=length,
        min_new_tokens=length,
        do_sample=False,
        logits_processor=[process],
    )
    found: Ids = made[:, given.shape[1] :].cpu().numpy()
    return found


def _batches(prompts: Sequence[Ids], batch: int) -> Iterator[list[int]]:
    """Places of prompts of one length, at most `batch` together, in a fixed order."""
    by_length: dict[int, list[int]] = defaultdict(list)
    for place, prompt in enumerate(prompts):
        by_length[len(prompt)].append(place)
    for _, places in sorted(by_length.items()):
        for first in range(0, len(places), batch):
            yield places[first : first + batch]
