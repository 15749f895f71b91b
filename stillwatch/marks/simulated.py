"""Short answers of a small model that stands for any: what the `simulate` of a scheme draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwatch.marks.tape import Ids

VOCABULARY = 256
LENGTH = 16
"""Tokens in an answer."""


def biased(
    rng: np.random.Generator, mark: Callable[..., NDArray[Any]], *, n: int, width: int, delta: float
) -> dict[str, Any]:
    """`n` answers whose logits `mark` changes by `delta`; at 0 they are not marked at all.

    Returns
    -------
    Arguments of a `test`: ``tokens``, ``ends``, ``key`` (new in each call) and ``vocab_size``.
    """
    key = int(rng.integers(1, 2**62))

    def choose(logits: NDArray[Any], before: Ids) -> Ids:
        return _sampled(rng, mark(logits, before, key, delta=delta))

    return _answers(rng, choose if delta else None, n, width) | {"key": key}


def chosen(
    rng: np.random.Generator, mark: Callable[..., NDArray[Any]], *, n: int, width: int, share: float
) -> dict[str, Any]:
    """`n` answers in which `mark` chooses each token with probability `share`, otherwise chance does."""
    key = int(rng.integers(1, 2**62))

    def choose(logits: NDArray[Any], before: Ids) -> Ids:
        return np.where(rng.random(len(logits)) < share, mark(logits, before, key), _sampled(rng, logits))

    return _answers(rng, choose if share else None, n, width) | {"key": key}


def _answers(
    rng: np.random.Generator, choose: Callable[[NDArray[Any], Ids], Ids] | None, n: int, width: int
) -> dict[str, Any]:
    """Tokens with frequencies as in text (Zipf); `choose` draws each from logits, None: chance alone does."""
    logits = np.tile(-1.1 * np.log(np.arange(2.0, VOCABULARY + 2)), (n, 1))
    if choose is None:
        shares = np.cumsum(np.exp(logits[0]))
        ids = np.searchsorted(shares, rng.random((n, width + LENGTH)) * shares[-1]).astype(np.int64)
    else:
        ids = np.empty((n, width + LENGTH), np.int64)
        ids[:, :width] = rng.integers(1, VOCABULARY, (n, width))
        for at in range(width, width + LENGTH):
            ids[:, at] = choose(logits, ids[:, at - width : at])
    return {
        "tokens": ids.ravel(),
        "ends": np.arange(1, n + 1) * ids.shape[1],
        "vocab_size": VOCABULARY,
    }


def _sampled(rng: np.random.Generator, logits: NDArray[Any]) -> Ids:
    return np.asarray(np.argmax(logits + rng.gumbel(size=logits.shape), axis=1), np.int64)
