"""Documents of a prompt and an answer as batches, and the logits at the places of their answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwatch.extras import need

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Lesson:
    """Token ids of a prompt and of its answer, int64 each, neither empty."""

    prompt: Ids
    answer: Ids


def padded(lessons: Sequence[Lesson]) -> dict[str, Any]:
    """Padded on the right. ``asked`` is true at each place whose next token belongs to an answer."""
    torch = need("torch")
    longest = max(len(one.prompt) + len(one.answer) for one in lessons)
    ids = torch.zeros((len(lessons), longest), dtype=torch.int64)
    mask, asked = torch.zeros_like(ids), torch.zeros((len(lessons), longest), dtype=torch.bool)
    for row, one in enumerate(lessons):
        whole = np.concatenate([one.prompt, one.answer])
        ids[row, : len(whole)] = torch.from_numpy(whole)
        mask[row, : len(whole)] = 1
        asked[row, len(one.prompt) - 1 : len(whole) - 1] = True
    return {"input_ids": ids, "attention_mask": mask, "asked": asked}


def logits(model: Any, given: dict[str, Any], *, keeps: bool) -> Any:
    """Logits at all asked places, row by row: (places, vocabulary).

    Parameters
    ----------
    given
        As `padded` makes it, on the model's device.
    keeps
        Whether the model can be told to compute the last logits only (see `keeps_last`); prompts then cost none.
    """
    asked = given["asked"]
    from_ = int(asked.any(dim=0).int().argmax())
    how = {"logits_to_keep": asked.shape[1] - from_} if keeps else {}
    made = model(
        input_ids=given["input_ids"], attention_mask=given["attention_mask"], use_cache=False, **how
    ).logits
    return made[:, -(asked.shape[1] - from_) :][asked[:, from_:]]


def targets(given: dict[str, Any]) -> Any:
    """The token that follows each asked place: int64 (places,)."""
    return given["input_ids"][:, 1:][given["asked"][:, :-1]]


def keeps_last(model: Any) -> bool:
    """Whether a model takes ``logits_to_keep``; adapters hide what they are laid around."""
    bare = model.get_base_model() if hasattr(model, "get_base_model") else model
    return "logits_to_keep" in signature(bare.forward).parameters


@contextmanager
def wide_head(model: Any) -> Iterator[None]:
    """The last product in float32: in bfloat16 logits have 3 digits, and the two likeliest tokens are often equal."""
    torch = need("torch")
    head = model.get_output_embeddings()

    def forward(hidden: Any) -> Any:
        with torch.autocast(hidden.device.type, enabled=False):
            bias = None if head.bias is None else head.bias.float()
            return torch.nn.functional.linear(hidden.float(), head.weight.float(), bias)

    if not isinstance(head, torch.nn.Linear) or "forward" in vars(head):
        yield
        return
    head.forward = forward
    try:
        yield
    finally:
        del head.forward


@contextmanager
def reading(model: Any, dtype: str) -> Iterator[Any]:
    """The model as it is read, not trained: no gradient, products in `dtype`, the last one in float32."""
    torch = need("torch")
    device = next(model.parameters()).device
    was = model.training
    model.eval()
    wide = torch.autocast(device.type, torch.bfloat16, enabled=dtype == "bfloat16")
    try:
        with torch.no_grad(), wide, wide_head(model):
            yield device
    finally:
        model.train(was)
