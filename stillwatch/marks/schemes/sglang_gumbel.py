"""The Gumbel mark of SGLang with one key.

Formulas re-implemented from SGLang 0.5.23 (Apache-2.0), python/sglang/srt/sampling/watermarking/{core,detector}.py;
no code is copied. Checked bit for bit against it by `tests/golden/hash_marks.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stillwatch.marks import _murmur, lists, simulated
from stillwatch.marks._pairs import key_words
from stillwatch.marks.reading import Reading, result
from stillwatch.marks.sglang_contexts import (
    LIMIT,
    WIDTH,
    hashed_once,
    largest,
    last_hashes,
    vocabulary_hashes,
)
from stillwatch.marks.tape import Tape
from stillwatch.records import Card, TestResult

CARD = Card(
    name="sglang_gumbel",
    version="1",
    title="Gumbel mark of SGLang",
    question="carries our mark",
    null="The key was drawn at random and the text does not depend on it, so that the number u drawn for the token "
    "after each context is uniform on (0, 1).",
    unit="distinct hash of a context",
    access=("tokens",),
    sources=(
        "Aaronson 2022, My AI Safety Lecture for UT Effective Altruism: choose the largest u^(1/p)",
        "SGLang 0.5.23, sampling/watermarking (Apache-2.0): the numbers u, bit for bit",
    ),
    assumptions=(
        "the key is secret, was drawn at random, and nothing in the text was chosen by it",
        "the 32-bit mix, which is no cryptographic function, gives independent uniform numbers for hashes that differ",
        "token ids are those that were served; encoding the text again need not give them back",
    ),
    looks_same=(
        "text of the marked service that was published and collected lawfully",
        "a text that quotes marked answers at length",
        "text under another key of the 2^32 that share the state of this one",
    ),
)


def read(
    tokens: ArrayLike,
    keys: Sequence[int],
    *,
    ends: ArrayLike | None = None,
    prompts: ArrayLike | None = None,
    context_window: int = WIDTH,
    max_contexts: int = LIMIT,
    tape: Tape | None = None,
) -> Reading:
    """The sum of ``-log(1 - u)`` under each key, each context counted once, with the first token that followed it.

    Contexts that differ can share a 32-bit hash, and then every draw: they are counted once by the hash.

    Parameters
    ----------
    tokens
        Token ids (n,), whole numbers: prompts and answers, one after the other.
    keys
        0 to 2^64 - 1: the engine's 1 to 16 hexadecimal digits as a number.
    ends
        One past the last token of each document; None: one document.
    prompts
        Tokens of the prompt at the start of each document, (documents,). The engine's contexts run back into the
        prompt. None: not known, and the first `context_window` tokens of each document are left out.
    context_window
        As in the engine's configuration, 1 to 64.
    max_contexts
        Contexts that the engine marks in one answer; what follows is left out.
    tape
        Leave out what it has seen, so that a corpus is read in pieces (`reading.together`).

    Returns
    -------
    Reading
        Law ``gamma``. The engine puts u half a step of 2^-32 higher; what is given here is conservative by that much.

    Raises
    ------
    InputError
        A parameter or an id is out of range.
    """
    contexts, targets = hashed_once(tokens, ends, prompts, context_window, max_contexts, tape)
    wanted = key_words(keys)
    sums = np.empty(len(wanted))
    _murmur.gumbel_sums(contexts, targets, wanted, sums)
    return Reading("gamma", np.full(len(wanted), targets.size, np.int64), sums)


def test(
    tokens: ArrayLike,
    key: int,
    *,
    ends: ArrayLike | None = None,
    prompts: ArrayLike | None = None,
    context_window: int = WIDTH,
    max_contexts: int = LIMIT,
) -> TestResult:
    """Decide whether the tokens of a text have larger numbers u under one key than chance gives.

    *Null*: `CARD.null`. A score ``-log(1 - u)`` is then standard exponential, and the sum of n of them Gamma(n, 1).

    Parameters
    ----------
    tokens, ends, prompts, context_window, max_contexts
        As in `read`.
    key
        One key.

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
    '496 contexts, mean score 0.964, ln p -0.2: shows nothing'
    """
    found = read(
        tokens,
        [key],
        ends=ends,
        prompts=prompts,
        context_window=context_window,
        max_contexts=max_contexts,
    )
    return result(CARD, found)


def mark(
    logits: NDArray[Any], context: ArrayLike, key: int, *, context_window: int = WIDTH
) -> NDArray[np.int64]:
    """The token that the engine chooses: the largest ``log(u) / p``.

    Parameters
    ----------
    logits
        Floats (V,) or (B, V), after temperature and truncation.
    context
        Ids of prompt and answer so far, (k,) or (B, k), the last id last. The engine marks no context of an answer
        twice, no greedy token and no more than 4,096 contexts; that is left to the caller.
    key, context_window
        As in `read`.

    Returns
    -------
    int64 () or (B,).
    """
    rows, given, _ = lists.rows_of(logits, context)
    contexts = last_hashes(given, context_window)
    hashed = vocabulary_hashes(contexts, key_words([key])[0], rows.shape[1])
    return largest(rows, hashed).reshape(np.shape(logits)[:-1])


def simulate(rng: np.random.Generator, *, effect: float, n: int) -> dict[str, Any]:
    """`n` answers of 16 tokens, each chosen by the mark with probability `effect`."""
    drawn = simulated.chosen(rng, mark, n=n, width=WIDTH, share=effect)
    return {name: drawn[name] for name in ("tokens", "ends", "key")}
