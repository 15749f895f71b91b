"""The Gumbel mark of SGLang with two keys, between which a keyed coin of the context decides.

Formulas re-implemented from SGLang 0.5.23 (Apache-2.0), python/sglang/srt/sampling/watermarking/{core,detector}.py;
no code is copied. Checked bit for bit against it by `tests/golden/hash_marks.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stillwatch.errors import InputError
from stillwatch.marks import _murmur, lists, simulated
from stillwatch.marks._pairs import Words, key_words
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
    name="sglang_dual_gumbel",
    version="1",
    title="Gumbel mark of SGLang with two keys",
    question="carries our mark",
    null="Both keys were drawn at random and the text does not depend on them, so that the number u drawn for the "
    "token after each context, under the key that the context's coin names, is uniform on (0, 1).",
    unit="distinct hash of a context",
    access=("tokens",),
    sources=(
        "Aaronson 2022, My AI Safety Lecture for UT Effective Altruism: choose the largest u^(1/p)",
        "SGLang 0.5.23, sampling/watermarking (Apache-2.0): the coin and the numbers u, bit for bit",
    ),
    assumptions=(
        "the keys are secret, were drawn at random, and nothing in the text was chosen by them",
        "the 32-bit mix, which is no cryptographic function, gives independent uniform numbers for hashes that differ",
        "token ids are those that were served; encoding the text again need not give them back",
    ),
    looks_same=(
        "text of the marked service that was published and collected lawfully",
        "a text that quotes marked answers at length",
    ),
)
MIXING = 0.5


def read(
    tokens: ArrayLike,
    keys: Sequence[tuple[int, int]],
    *,
    ends: ArrayLike | None = None,
    prompts: ArrayLike | None = None,
    context_window: int = WIDTH,
    mixing_probability: float = MIXING,
    max_contexts: int = LIMIT,
    tape: Tape | None = None,
) -> Reading:
    """The sum of ``-log(1 - u)`` under each pair of keys, each context counted once.

    Parameters
    ----------
    tokens, ends, prompts, context_window, max_contexts, tape
        As in `sglang_gumbel.read`.
    keys
        Pairs (A, B), each 0 to 2^64 - 1.
    mixing_probability
        How often the coin names A, in (0, 1).

    Returns
    -------
    Reading
        Law ``gamma``: one score a context, so nothing is approximated; conservative as in `sglang_gumbel.read`.

    Raises
    ------
    InputError
        A parameter or an id is out of range.
    """
    if not 0.0 < mixing_probability < 1.0:
        raise InputError(f"mixing_probability lies between 0 and 1, found {mixing_probability:g}")
    contexts, targets = hashed_once(tokens, ends, prompts, context_window, max_contexts, tape)
    a, b = _both(keys)
    sums = np.empty(len(a))
    _murmur.dual_sums(contexts, targets, a, b, np.uint64(int(mixing_probability * 2**32)), sums)
    return Reading("gamma", np.full(len(a), targets.size, np.int64), sums)


def test(
    tokens: ArrayLike,
    key: tuple[int, int],
    *,
    ends: ArrayLike | None = None,
    prompts: ArrayLike | None = None,
    context_window: int = WIDTH,
    mixing_probability: float = MIXING,
    max_contexts: int = LIMIT,
) -> TestResult:
    """Decide whether the tokens of a text have larger numbers u under one pair of keys than chance gives.

    *Null*: `CARD.null`. A score ``-log(1 - u)`` is then standard exponential, and the sum of n of them Gamma(n, 1).

    Parameters
    ----------
    tokens, ends, prompts, context_window, mixing_probability, max_contexts
        As in `read`.
    key
        One pair (A, B).

    Raises
    ------
    InsufficientData
        Fewer than 20 distinct contexts.
    InputError
        A parameter or an id is out of range.

    *Wrong when* the keys were chosen after looking at the text, or many were tried and only the best is told.

    Examples
    --------
    >>> plain = np.random.default_rng(0).integers(0, 50_000, 500)
    >>> found = test(plain, (8_191, 131_071))
    >>> f"{found.n} contexts, mean score {1 + found.effect:.3f}, ln p {found.log_pvalue:.1f}: shows nothing"
    '496 contexts, mean score 0.929, ln p -0.1: shows nothing'
    """
    found = read(
        tokens,
        [key],
        ends=ends,
        prompts=prompts,
        context_window=context_window,
        mixing_probability=mixing_probability,
        max_contexts=max_contexts,
    )
    return result(CARD, found)


def mark(
    logits: NDArray[Any],
    context: ArrayLike,
    key: tuple[int, int],
    *,
    context_window: int = WIDTH,
    mixing_probability: float = MIXING,
) -> NDArray[np.int64]:
    """The token that the engine chooses: the largest ``log(u) / p``, u of the key that the context's coin names.

    Parameters
    ----------
    logits, context, context_window
        As in `sglang_gumbel.mark`.
    key, mixing_probability
        As in `read`.

    Returns
    -------
    int64 () or (B,).
    """
    rows, given, _ = lists.rows_of(logits, context)
    contexts = last_hashes(given, context_window)
    a, b = (words[0] for words in _both([key]))
    coins, out = np.empty(len(rows), np.uint64), np.empty(len(rows), np.int64)
    _murmur.coins(contexts, a, b, coins)
    named = coins < np.uint64(int(mixing_probability * 2**32))
    for word, chosen in ((a, named), (b, ~named)):
        out[chosen] = largest(rows[chosen], vocabulary_hashes(contexts[chosen], word, rows.shape[1]))
    return out.reshape(np.shape(logits)[:-1])


def simulate(rng: np.random.Generator, *, effect: float, n: int) -> dict[str, Any]:
    """`n` answers of 16 tokens, each chosen by the mark with probability `effect`."""
    other = int(rng.integers(1, 2**62))

    def chosen(logits: NDArray[Any], before: NDArray[np.int64], key: int) -> NDArray[np.int64]:
        return mark(logits, before, (key, other))

    drawn = simulated.chosen(rng, chosen, n=n, width=WIDTH, share=effect)
    return {"tokens": drawn["tokens"], "ends": drawn["ends"], "key": (drawn["key"], other)}


def _both(keys: Sequence[tuple[int, int]]) -> tuple[Words, Words]:
    if any(len(key) != 2 for key in keys):
        raise InputError("a key of this mark is a pair of whole numbers, A and B")
    return key_words([key[0] for key in keys]), key_words([key[1] for key in keys])
