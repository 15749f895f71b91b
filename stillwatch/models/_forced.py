"""What a model that gives distributions holds of documents and of answers: the same for every library that runs one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stillwatch.errors import InputError
from stillwatch.models.protocol import Forced, Model


class Prompted(Model, Protocol):
    """A model that says what stands before an answer."""

    def prompted(self, prompt: str) -> NDArray[np.int64]:
        """The ids that stand before an answer to this prompt."""
        ...


def forced(model: Model, documents: Sequence[NDArray[np.int64]], starts: Sequence[int]) -> list[Forced]:
    """`Model.forced` from `Model.distributions`."""
    places = list(starts) or [1] * len(documents)
    if len(places) != len(documents) or min(places, default=1) < 1:
        raise InputError("starts: one place of 1 or more for each document")
    found = []
    for document, start, logs in zip(documents, places, model.distributions(documents), strict=True):
        n = len(document)
        likely, best = np.full(n, np.nan), np.full(n, -1, np.int64)
        rows = np.flatnonzero(np.arange(1, n) >= start)
        likely[rows + 1] = logs[rows, document[rows + 1]]
        best[rows + 1] = logs[rows].argmax(axis=1)
        found.append(Forced(document, likely, best))
    return found


def following(model: Model, contexts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """`Model.following` from `Model.forced`, one context after the other."""
    if any(len(c) == 0 for c in contexts):
        raise InputError("a context has one id at least")
    read = model.forced([np.append(c, 0) for c in contexts], starts=[len(c) for c in contexts])
    return np.array([f.best[-1] for f in read], np.int64)


def score(model: Prompted, pairs: Sequence[tuple[str, str]]) -> list[Forced]:
    """`Model.score` from `Model.forced`."""
    before = [model.prompted(prompt) for prompt, _ in pairs]
    answers = model.encode([answer for _, answer in pairs])
    whole = model.forced(
        [np.concatenate(both) for both in zip(before, answers, strict=True)],
        starts=[max(len(b), 1) for b in before],
    )
    return [
        Forced(f.tokens[len(b) :], f.log_probability[len(b) :], f.best[len(b) :])
        for f, b in zip(whole, before, strict=True)
    ]
