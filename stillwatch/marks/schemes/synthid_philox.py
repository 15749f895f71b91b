"""The SynthID mark as proposed for vLLM: the g-values of a pair are the bits of one Philox word.

Formulas re-implemented from a branch of vLLM (Apache-2.0), vllm/v1/watermarking/synthid.py at 0265d6b; no code is
copied. vLLM 0.33.0 does not have it. The file needs all of vLLM to run, so `tests/golden/hash_marks.py` transcribes
its formulas into torch and compares bit for bit. An earlier commit of the branch (789eef7) looked its g-values up in
the table of transformers: read that with `synthid_table`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stillwatch.errors import InputError
from stillwatch.marks import _philox, _synthid, lists, simulated
from stillwatch.marks._pairs import before, key_words, last_ids, repeats
from stillwatch.marks.reading import Reading, result
from stillwatch.marks.tape import Tape, documents, first_of, windows, with_target
from stillwatch.records import Card, TestResult

CARD = Card(
    name="synthid_philox",
    version="1",
    title="SynthID mark of vLLM",
    question="carries our mark",
    null="The key was drawn at random and the text does not depend on it, so that the bits of the word of each "
    "distinct pair are fair coins.",
    unit="distinct pair of context and token, and layer",
    access=("tokens",),
    sources=(
        "Dathathri et al. 2024, Scalable watermarking for identifying large language model outputs (Nature 634, 818)",
        "vLLM, vllm/v1/watermarking/synthid.py at 0265d6b (Apache-2.0): the g-values, bit for bit",
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
DEPTH = 32
HISTORY = 8192


def read(
    tokens: ArrayLike,
    keys: Sequence[int],
    *,
    ends: ArrayLike | None = None,
    context_width: int = WIDTH,
    depth: int = DEPTH,
    history: int = HISTORY,
    from_start: bool = True,
    tape: Tape | None = None,
) -> Reading:
    """Ones among the lowest `depth` bits of the words under each key, each pair of context and token counted once.

    Parameters
    ----------
    tokens, keys, ends, context_width, from_start, tape
        As in `vllm_gumbel.read`.
    depth
        Layers, 1 to 32.
    history
        A context that was among so many last ones of its answer was generated unmarked and is left out
        (``deduplicate_contexts_max_history``).

    Returns
    -------
    Reading
        Law ``binomial``, gamma 1/2, `depth` draws a pair.

    Raises
    ------
    InputError
        A parameter or an id is out of range.
    """
    ids, stops = documents(tokens, ends)
    if context_width < 1:
        raise InputError(f"context_width is 1 or above, found {context_width}")
    if not 1 <= depth <= 32:
        raise InputError(f"depth lies between 1 and 32, found {depth}")
    prints, whole = windows(ids, context_width, stops)
    use = ~repeats(prints, stops, history)
    at = np.flatnonzero(use if from_start else use & whole)
    at = at[first_of(with_target(prints, ids)[at], tape)]
    wanted = key_words(keys)
    ones = np.empty(len(wanted), np.int64)
    contexts = before(ids, stops, at, context_width, -1)
    _philox.bit_counts(contexts, ids[at].astype(np.uint64), wanted, depth, ones)
    scored = np.full(len(wanted), at.size, np.int64)
    return Reading("binomial", scored, ones.astype(np.float64), gamma=0.5, draws=depth)


def test(
    tokens: ArrayLike,
    key: int,
    *,
    ends: ArrayLike | None = None,
    context_width: int = WIDTH,
    depth: int = DEPTH,
    history: int = HISTORY,
    from_start: bool = True,
) -> TestResult:
    """Decide whether the g-values of a text hold more ones under one key than chance gives.

    *Null*: `CARD.null`. Pairs that differ have words of their own, of independent fair bits: the sum is binomial.

    Parameters
    ----------
    tokens, ends, context_width, depth, history, from_start
        As in `read`.
    key
        One `key`.

    Raises
    ------
    InsufficientData
        Fewer than 20 pairs.
    InputError
        A parameter or an id is out of range.

    *Wrong when* the key was chosen after looking at the text, or many keys were tried and only the best is told.

    Examples
    --------
    >>> plain = np.random.default_rng(0).integers(0, 50_000, 500)
    >>> found = test(plain, 8_191)
    >>> f"{found.n} pairs, {found.statistic:.0f} ones, ln p {found.log_pvalue:.1f}: shows nothing"
    '500 pairs, 8000 ones, ln p -0.7: shows nothing'
    """
    found = read(
        tokens,
        [key],
        ends=ends,
        context_width=context_width,
        depth=depth,
        history=history,
        from_start=from_start,
    )
    return result(CARD, found)


def mark(
    logits: NDArray[Any], context: ArrayLike, key: int, *, context_width: int = WIDTH, depth: int = DEPTH
) -> NDArray[Any]:
    """The logarithms of the probabilities after the tournament of all layers; a token is then drawn from them.

    Parameters
    ----------
    logits
        Floats (V,) or (B, V), after temperature and truncation.
    context
        Ids of the answer so far, (k,) or (B, k), the last id last; missing ones count as the start of the answer.
        The engine leaves a repeated context unmarked; that is left to the caller.
    key, context_width, depth
        As in `read`.

    Returns
    -------
    Log-probabilities, in the shape and type of `logits`.
    """
    rows, given, _ = lists.rows_of(logits, context)
    g = g_values(given, key, rows.shape[1], context_width=context_width, depth=depth)
    return _synthid.tournament(rows, g).reshape(np.shape(logits))


def g_values(
    context: ArrayLike, key: int, vocab_size: int, *, context_width: int = WIDTH, depth: int = DEPTH
) -> NDArray[np.uint8]:
    """The g-values of every token after contexts (k,) or (B, k), 0 or 1: uint8 (B, V, depth)."""
    windows = last_ids(context, context_width)
    words = _philox.vocabulary_words(windows, key_words([key])[0], vocab_size)
    return ((words[:, :, None] >> np.arange(depth, dtype=np.uint64)) & np.uint64(1)).astype(np.uint8)


def simulate(rng: np.random.Generator, *, effect: float, n: int) -> dict[str, Any]:
    """`n` answers of 16 tokens, each drawn from the marked law with probability `effect`; eight layers."""

    def chosen(logits: NDArray[Any], before: NDArray[np.int64], key: int) -> NDArray[np.int64]:
        return np.argmax(mark(logits, before, key, depth=8) + rng.gumbel(size=logits.shape), axis=1)

    drawn = simulated.chosen(rng, chosen, n=n, width=WIDTH, share=effect)
    return {name: drawn[name] for name in ("tokens", "ends", "key")} | {"from_start": False, "depth": 8}
