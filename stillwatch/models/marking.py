"""A mark at generation, as an engine applies it: which ids are its context, which places it leaves out, and when.

`Marking` says so for one key; `stillwatch.marks.generation` makes it from a scheme. `Process` does it, step by step,
for the answers of one batch: it is a logits processor of llama-cpp-python, and `for_transformers` makes one for
`generate`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stillwatch.errors import InputError
from stillwatch.extras import need

Draw = Callable[[NDArray[np.float32], NDArray[np.int64]], NDArray[Any]]
"""Logits (B, V) and contexts (B, k) -> changed logits (B, V), or the token of each row, whole numbers (B,)."""


@dataclass(frozen=True, slots=True)
class Marking:
    """How one engine marks under one key; the key is inside `draw` and in no message."""

    name: str
    """The scheme."""
    width: int
    """Ids before a token that its draw depends on, 1 or above."""
    draw: Draw = field(repr=False)
    prompt: bool = False
    """Contexts run back into the prompt; else they begin with the answer."""
    least: int = 0
    """Ids that a context must have; a place with fewer is left as it is."""
    history: int = 0
    """A context that was among so many last ones of the answer is left as it is; 0: none is."""
    limit: int = 0
    """Contexts marked in one answer; what follows is left as it is. 0: no limit."""
    first: int = 0
    """Tokens at the start of an answer that are left as they are."""
    missing: int = -1
    """What stands for ids before the start of the answer where contexts are compared."""
    early: bool = False
    """Before temperature and truncation; else after them."""
    greedy: bool = False
    """At temperature 0 too."""


class Process:
    """One generation under a mark: ids so far and the logits of the next token in, what is sampled from out.

    Temperature and truncation are applied here, before or after the mark as the engine does, so the sampler that
    follows takes temperature 1 and truncates nothing. Where the scheme chooses the token itself, it is the only one
    left finite.

    Parameters
    ----------
    marking
        The mark.
    temperature
        0 or above. 0: logits are not divided; what follows takes the largest.
    top_p
        In (0, 1]: the likeliest tokens whose probabilities together reach it stay.
    padding
        Ids on the left of each row that are no ids, whole numbers (B,); None: none.

    Notes
    -----
    Rows keep their places and grow by one id a call, so that neither beams nor a second generation can be served: the
    one is not noticed, the other is an `InputError`. At each call a row costs the scheme's `mark` over the vocabulary.
    """

    def __init__(
        self,
        marking: Marking,
        *,
        temperature: float = 1.0,
        top_p: float = 1.0,
        padding: ArrayLike | None = None,
    ) -> None:
        if not temperature >= 0.0:
            raise InputError(f"temperature is 0 or above, found {temperature:g}")
        if not 0.0 < top_p <= 1.0:
            raise InputError(f"top_p lies between 0 and 1, found {top_p:g}")
        self.marking, self.temperature, self.top_p = marking, temperature, top_p
        self._padding = None if padding is None else np.asarray(padding, np.int64)
        self._answer = self._length = -1
        self._seen: list[dict[bytes, int]] = []
        self._marked = np.zeros(0, np.int64)

    def __call__(self, ids: NDArray[Any], logits: NDArray[Any]) -> NDArray[np.float32]:
        """Logits (B, V), float32, for ids (B, n) and logits (B, V); or (V,) for (n,) and (V,)."""
        rows, scores = np.atleast_2d(np.asarray(ids)), np.atleast_2d(np.asarray(logits, np.float32))
        self._advance(rows)
        marks = self.temperature > 0.0 or self.marking.greedy
        if marks and self.marking.early:
            scores = self._mark(rows, scores)
        scores = warped(scores, self.temperature, self.top_p)
        if marks and not self.marking.early:
            scores = self._mark(rows, scores)
        return scores.reshape(np.shape(logits))

    def _advance(self, rows: NDArray[Any]) -> None:
        if self._length < 0:
            self._answer = rows.shape[1]
            if self._padding is None:
                self._padding = np.zeros(len(rows), np.int64)
            self._seen = [{} for _ in rows]
            self._marked = np.zeros(len(rows), np.int64)
        if rows.shape != (len(self._seen), max(self._length + 1, self._answer)) or self._padding is None:
            raise InputError(
                "a processor serves one generation, which grows by one id a call: make a new one for the next"
            )
        if self._padding.shape != (len(rows),):
            raise InputError(f"padding holds one number a row, found {self._padding.shape} for {len(rows)}")
        self._length = rows.shape[1]

    def _mark(self, rows: NDArray[Any], scores: NDArray[np.float32]) -> NDArray[np.float32]:
        mark, step = self.marking, self._length - self._answer
        if step < mark.first or self._padding is None:
            return scores
        begins = self._padding if mark.prompt else np.full(len(rows), self._answer)
        have = np.minimum(self._length - begins, mark.width)
        out = scores.copy()
        for count in np.unique(have).tolist():
            at = np.flatnonzero(have == count)
            contexts = rows[at, self._length - count :].astype(np.int64)
            fresh = np.array([self._fresh(i, c, step) for i, c in zip(at.tolist(), contexts, strict=True)])
            at, contexts = at[fresh], contexts[fresh]
            if count < mark.least or not at.size:
                continue
            found = mark.draw(scores[at], contexts)
            if found.ndim == 1:
                out[at] = -np.inf
                out[at, found] = 0.0
            else:
                out[at] = found
        return out

    def _fresh(self, row: int, context: NDArray[np.int64], step: int) -> bool:
        """Whether a context is marked; it is remembered where the engine remembers it."""
        mark, seen = self.marking, self._seen[row]
        if mark.limit and self._marked[row] >= mark.limit:
            return False
        if mark.history:
            lacking = [mark.missing] * (mark.width - len(context)) if mark.missing >= 0 else []
            key = np.append(np.array(lacking, np.int64), context).tobytes()
            last = seen.get(key)
            seen[key] = step
            if last is not None and step - last <= mark.history:
                return False
        self._marked[row] += 1
        return True


def warped(logits: NDArray[np.float32], temperature: float, top_p: float) -> NDArray[np.float32]:
    """Logits (B, V) over the temperature, with -inf for what `top_p` cuts off; at temperature 0 as they are."""
    if temperature == 0.0:
        return logits
    logits = logits / np.float32(temperature)
    if top_p == 1.0:
        return logits
    order = np.argsort(-logits, axis=1, kind="stable")
    likely = np.take_along_axis(logits, order, axis=1).astype(np.float64)
    shares = np.exp(likely - likely[:, :1])
    shares /= shares.sum(axis=1, keepdims=True)
    cut = np.cumsum(shares, axis=1) - shares >= top_p  # what stands before it reaches top_p already
    cut[:, 0] = False
    np.put_along_axis(logits, order, np.where(cut, -np.inf, likely).astype(np.float32), axis=1)
    return logits


def for_transformers(
    marking: Marking, *, temperature: float = 1.0, top_p: float = 1.0, attention_mask: Any = None
) -> Callable[[Any, Any], Any]:
    """A logits processor for one call of `generate` of transformers, in its `logits_processor` list.

    `generate` then takes ``do_sample=True, temperature=1.0, top_p=1.0, top_k=0``: it applies processors that it is
    given before its own temperature, and most engines mark after it.

    Parameters
    ----------
    marking, temperature, top_p
        As in `Process`.
    attention_mask
        That of the prompts, (B, n), padded on the left; None: nothing is padded.
    """
    torch = need("torch")
    padding = None if attention_mask is None else (attention_mask == 0).sum(dim=1).cpu().numpy()
    process = Process(marking, temperature=temperature, top_p=top_p, padding=padding)

    def processor(input_ids: Any, scores: Any) -> Any:
        found = process(input_ids.cpu().numpy(), scores.detach().float().cpu().numpy())
        return torch.from_numpy(found).to(scores.device)

    return processor
