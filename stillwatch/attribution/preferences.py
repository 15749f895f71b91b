"""Which of two answers a suspect prefers, for the test of twins."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from stillwatch.models.protocol import Forced, Model

AT_ONCE = 8


def preferences(
    suspect: Model,
    pairs: Sequence[tuple[str, str, str]],
    *,
    reference: Model | None = None,
    on_read: Callable[[int], None] = lambda n: None,
) -> NDArray[np.float64]:
    """How much likelier a suspect holds the served answer than the withheld one, in nats a token.

    Parameters
    ----------
    pairs
        Prompt (empty where it is not known), served answer, withheld answer.
    reference
        A model that saw neither answer: its preference is taken off, which leaves less noise.

    Returns
    -------
    Shape (pairs,); 0 where an answer has no token.
    """
    found = np.zeros(len(pairs))
    for first in range(0, len(pairs), AT_ONCE):
        piece = pairs[first : first + AT_ONCE]
        part = _of(suspect, piece)
        if reference is not None:
            part = part - _of(reference, piece)
        found[first : first + len(piece)] = part
        on_read(len(piece))
    return found


def _of(model: Model, pairs: Sequence[tuple[str, str, str]]) -> NDArray[np.float64]:
    served = model.score([(prompt, one) for prompt, one, _ in pairs])
    withheld = model.score([(prompt, other) for prompt, _, other in pairs])
    return np.array([_a_token(a) - _a_token(b) for a, b in zip(served, withheld, strict=True)])


def _a_token(read: Forced) -> float:
    asked = read.asked
    return float(read.log_probability[asked].mean()) if asked.any() else 0.0
