"""What a harvester may do to answers before training on them: keep the better ones, or have them written anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwatch.lab.teaching import reading
from stillwatch.lab.teaching.corpus import Corpus

Ids = NDArray[np.int64]
KEPT = 0.5
"""Part of the answers that a filter keeps."""
ASK = "Rewrite the following text in your own words.\n\n"


def filtered(corpus: Corpus, model: Any) -> Corpus:
    """The answers that a model finds likeliest token by token, `KEPT` of them, in their order."""
    starts = [len(prompt) for prompt in corpus.prompts]
    read = reading.read(model, corpus.documents(), starts)
    mean = np.array([forced.total / forced.asked.sum() for forced in read])
    kept = np.sort(np.argsort(-mean, kind="stable")[: round(KEPT * len(corpus))])
    return corpus.rows(kept)


def asking_for_paraphrases(
    answers: Sequence[Ids], texts: Sequence[str], prompted: Callable[[str], Ids]
) -> list[Ids]:
    """Prompts that ask for each answer in other words; all of one length where the answers are.

    Parameters
    ----------
    texts
        What the answers say; together of two words or more.
    prompted
        `stillwatch.models.local.Local.prompted`.
    """
    # What stands around a text is what no word of them changes.
    words = sorted({word for text in texts for word in text.split()})[::-1][:50]
    made = [prompted(ASK + word) for word in words]
    head = min(_alike(made[0], other) for other in made[1:])
    tail = min(_alike(made[0][::-1], other[::-1]) for other in made[1:])
    before, after = made[0][:head], made[0][len(made[0]) - tail :]
    return [np.concatenate([before, answer, after]) for answer in answers]


def _alike(one: Ids, other: Ids) -> int:
    """How many ids two documents begin with together."""
    n = min(len(one), len(other))
    differ = np.flatnonzero(one[:n] != other[:n])
    return int(differ[0]) if len(differ) else n
