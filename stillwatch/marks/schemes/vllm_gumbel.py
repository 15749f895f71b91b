"""The Gumbel mark of vLLM (`gumbel`, PRF "philox4x32-10-v1").

Formulas re-implemented from vLLM 0.33.0 (Apache-2.0), vllm/v1/watermarking/{gumbel,detector}.py and prfs/; no code is
copied. Checked bit for bit against it by `tests/golden/hash_marks.py`, and against vLLM's own golden vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stillwatch.marks import _philox, lists, simulated
from stillwatch.marks._pairs import contexts_once, key_words, last_ids
from stillwatch.marks.reading import Reading, result
from stillwatch.marks.tape import Tape
from stillwatch.records import Card, TestResult

CARD = Card(
    name="vllm_gumbel",
    version="1",
    title="Gumbel mark of vLLM",
    question="carries our mark",
    null="The key was drawn at random and the text does not depend on it, so that the number u drawn for the token "
    "after each context is uniform on (0, 1).",
    unit="distinct context",
    access=("tokens",),
    sources=(
        "Aaronson 2022, My AI Safety Lecture for UT Effective Altruism: choose the largest u^(1/p)",
        "Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3 (SC11): Philox4x32-10",
        "vLLM 0.33.0, vllm/v1/watermarking (Apache-2.0): the numbers u, bit for bit",
    ),
    assumptions=(
        "the key is secret, was drawn at random, and nothing in the text was chosen by it",
        "Philox gives independent uniform words for inputs that differ",
        "token ids are those that were served; encoding the text again need not give them back",
    ),
    looks_same=(
        "text of the marked service that was published and collected lawfully",
        "a text that quotes marked answers at length",
    ),
)
WIDTH = 4


def read(
    tokens: ArrayLike,
    keys: Sequence[int],
    *,
    ends: ArrayLike | None = None,
    context_width: int = WIDTH,
    from_start: bool = True,
    tape: Tape | None = None,
) -> Reading:
    """The sum of ``-log(1 - u)`` under each key, each context counted once, with the first token that followed it.

    Parameters
    ----------
    tokens
        Token ids (n,), whole numbers: the answers, one after the other, without their prompts.
    keys
        `key` of the engine, 0 to 2^64 - 1.
    ends
        One past the last token of each answer; None: one answer.
    context_width
        As in the engine's configuration, 1 or above.
    from_start
        Every document begins where an answer begins. False for cut-outs: their first tokens are left out then.
    tape
        Leave out what it has seen, so that a corpus is read in pieces (`reading.together`).

    Returns
    -------
    Reading
        Law ``gamma``. The engine adds up to 2^-23 to each score; what is given here lies below a standard exponential
        variable in every case, so the tail is conservative by that much and no more.

    Raises
    ------
    InputError
        A parameter or an id is out of range.
    """
    contexts, targets = contexts_once(tokens, ends, context_width, from_start, tape)
    wanted = key_words(keys)
    sums = np.empty(len(wanted))
    _philox.gumbel_sums(contexts, targets, wanted, sums)
    return Reading("gamma", np.full(len(wanted), targets.size, np.int64), sums)


def test(
    tokens: ArrayLike,
    key: int,
    *,
    ends: ArrayLike | None = None,
    context_width: int = WIDTH,
    from_start: bool = True,
) -> TestResult:
    """Decide whether the tokens of a text have larger numbers u under one key than chance gives.

    *Null*: `CARD.null`. A score ``-log(1 - u)`` is then standard exponential, and the sum of n of them Gamma(n, 1).
    Contexts that differ have words of their own, so a token after a new context is a new draw.

    Parameters
    ----------
    tokens, ends, context_width, from_start
        As in `read`.
    key
        One `key`.

    Raises
    ------
    InsufficientData
        Fewer than 20 distinct contexts.
    InputError
        A parameter or an id is out of range.

    *Wrong when* the key was chosen after looking at the text, or many keys were tried and only the best is told.

    Examples
    --------
    >>> plain = np.random.default_rng(0).integers(0, 50_000, 500)
    >>> found = test(plain, 8_191)
    >>> f"{found.n} contexts, mean score {1 + found.effect:.3f}, ln p {found.log_pvalue:.1f}: shows nothing"
    '500 contexts, mean score 0.927, ln p -0.0: shows nothing'
    """
    found = read(tokens, [key], ends=ends, context_width=context_width, from_start=from_start)
    return result(CARD, found)


def mark(
    logits: NDArray[Any], context: ArrayLike, key: int, *, context_width: int = WIDTH
) -> NDArray[np.int64]:
    """The token that the engine chooses: the largest ``logit - log(-log u)``.

    Parameters
    ----------
    logits
        Floats (V,) or (B, V), after temperature and truncation.
    context
        Ids of the answer so far, (k,) or (B, k), the last id last; missing ones count as the start of the answer.
        The engine marks no context of an answer twice and no greedy token; that is left to the caller.
    key, context_width
        As in `read`.

    Returns
    -------
    int64 () or (B,).
    """
    rows, given, _ = lists.rows_of(logits, context)
    contexts = np.ascontiguousarray(last_ids(given, context_width).T.astype(np.uint64) & _philox.LOW)
    chosen = np.empty(len(rows), np.int64)
    _philox.gumbel_choices(
        contexts, key_words([key])[0], np.ascontiguousarray(rows), _philox.gumbel_limits(), chosen
    )
    return chosen.reshape(np.shape(logits)[:-1])


def uniforms(
    context: ArrayLike, key: int, vocab_size: int, context_width: int = WIDTH
) -> NDArray[np.float32]:
    """The engine's numbers u for every token after contexts (k,) or (B, k): float32 (B, V), in (0, 1)."""
    windows = last_ids(context, context_width)
    return _philox.as_uniform(_philox.vocabulary_words(windows, key_words([key])[0], vocab_size))


def simulate(rng: np.random.Generator, *, effect: float, n: int) -> dict[str, Any]:
    """`n` answers of 16 tokens, each chosen by the mark with probability `effect`."""
    drawn = simulated.chosen(rng, mark, n=n, width=WIDTH, share=effect)
    return {name: drawn[name] for name in ("tokens", "ends", "key")} | {"from_start": False}
