"""What a language model can be asked, whoever runs it: answers, and how likely it holds given tokens or texts.

A model that cannot do one of these raises `AccessError`: an endpoint that gives text only has no log-probabilities.
Log-probabilities are natural logarithms.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Answer:
    """One sampled answer."""

    text: str
    tokens: tuple[int, ...] = ()
    """Ids in the model's own vocabulary; empty where they are not given."""
    finish_reason: str = ""


@dataclass(frozen=True, slots=True)
class Forced:
    """What a model holds of a document that it was made to read, token by token.

    Each place is judged given everything before it in the document. Places that were not asked (the first one, those
    of a prompt) have NaN and -1.
    """

    tokens: NDArray[np.int64]
    """Shape (n,)."""
    log_probability: NDArray[np.float64]
    """Shape (n,). Of the token that stands there."""
    best: NDArray[np.int64]
    """Shape (n,). The token that the model holds most likely there."""

    @property
    def asked(self) -> NDArray[np.bool_]:
        return self.best >= 0

    @property
    def total(self) -> float:
        """Log-probability of all places that were asked."""
        return float(self.log_probability[self.asked].sum())


@runtime_checkable
class Model(Protocol):
    """A language model."""

    @property
    def name(self) -> str:
        """What it is called in findings; no path and no key."""
        ...

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """The ids of each text in this model's vocabulary, without special tokens."""
        ...

    def complete(
        self,
        prompts: Sequence[str],
        *,
        max_tokens: int,
        temperature: float = 1.0,
        top_p: float = 1.0,
        samples: int = 1,
        seed: int = 0,
    ) -> list[list[Answer]]:
        """`samples` answers to each prompt; the same seed gives the same answers where the model allows it."""
        ...

    def forced(self, documents: Sequence[NDArray[np.int64]], *, starts: Sequence[int] = ()) -> list[Forced]:
        """Make it read documents of ids.

        Parameters
        ----------
        starts
            For each document the first place that is asked, 1 or more; 1 for all where it is empty.
        """
        ...

    def following(self, contexts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
        """The token that it holds most likely after each context, of one id or more; those that begin alike together.

        Shape (contexts,).
        """
        ...

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[Forced]:
        """Make it read each answer after its prompt; places are those of the answer in its own vocabulary."""
        ...

    def distributions(self, documents: Sequence[NDArray[np.int64]]) -> Iterator[NDArray[np.float32]]:
        """For each document log-probabilities of every token at every place but the first; shape (n - 1, vocabulary).

        Row i judges place i + 1.
        """
        ...
