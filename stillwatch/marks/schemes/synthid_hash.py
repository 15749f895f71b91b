"""The SynthID-Text mark whose g-values are bits of a hash: google-deepmind/synthid-text since 13 June 2025.

Formulas re-implemented from google-deepmind/synthid-text main at addb4a1 (Apache-2.0), logits_processing.py; no code
is copied. Checked bit for bit against it by `tests/golden/hash_marks.py`. That code calls itself 0.2.1, as the wheel
does whose g-values `synthid_table` reads; neither reads the other. It is not the hash that Google uses in Gemini.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stillwatch.marks import _synthid, lists, simulated
from stillwatch.marks._pairs import Words, last_ids, layer_keys
from stillwatch.marks.reading import Reading, result
from stillwatch.marks.synthid_windows import after_contexts, pairs_once
from stillwatch.marks.tape import Tape
from stillwatch.records import Card, TestResult

CARD = Card(
    name="synthid_hash",
    version="1",
    title="SynthID-Text mark with hashed bits",
    question="carries our mark",
    null="The layer keys were drawn at random and the text does not depend on them, so that the g-value of each "
    "distinct pair and layer is 0 or 1 like a fair coin of its own.",
    unit="distinct pair of context and token, and layer",
    access=("tokens",),
    sources=(
        "Dathathri et al. 2024, Scalable watermarking for identifying large language model outputs (Nature 634, 818)",
        "google-deepmind/synthid-text at addb4a1, logits_processing.py (Apache-2.0): the g-values, bit for bit",
    ),
    assumptions=(
        "the layer keys are secret, were drawn at random, and nothing in the text was chosen by them",
        "the hash, which is no cryptographic function, gives independent fair bits for inputs that differ",
        "token ids are those of the marked model's tokenizer",
    ),
    looks_same=(
        "text of the marked service that was published and collected lawfully",
        "a text that quotes marked answers at length",
    ),
)
NGRAM = 5
HISTORY = 1024


def read(
    tokens: ArrayLike,
    keys: Sequence[Sequence[int]],
    *,
    ends: ArrayLike | None = None,
    ngram_len: int = NGRAM,
    context_history_size: int = HISTORY,
    from_start: bool = False,
    tape: Tape | None = None,
) -> Reading:
    """Ones among the g-values of all layers under each key, each pair of context and token counted once.

    Parameters
    ----------
    tokens, ends, ngram_len, context_history_size, from_start, tape
        As in `synthid_table.read`.
    keys
        `keys` of the engine: a sequence of layer keys for each key, equally many for all, unlike one another.

    Returns
    -------
    Reading
        Law ``binomial``, gamma 1/2, as many draws a pair as there are layers.

    Raises
    ------
    InputError
        A parameter is out of range.
    """
    linear = pairs_once(tokens, ends, ngram_len, context_history_size, from_start, np.uint64(0), tape)
    layers = layer_keys(keys)
    starts = np.array([_start(key) for key in layers], np.uint64)
    carry = np.uint64(pow(int(_synthid.FACTOR), ngram_len, 1 << 64))
    ones = np.empty(len(layers), np.int64)
    _synthid.hash_counts(linear, carry, starts, layers, ones)
    scored = np.full(len(layers), linear.size, np.int64)
    return Reading("binomial", scored, ones.astype(np.float64), gamma=0.5, draws=max(1, layers.shape[1]))


def test(
    tokens: ArrayLike,
    key: Sequence[int],
    *,
    ends: ArrayLike | None = None,
    ngram_len: int = NGRAM,
    context_history_size: int = HISTORY,
    from_start: bool = False,
) -> TestResult:
    """Decide whether the g-values of a text hold more ones under one key than chance gives.

    *Null*: `CARD.null`. A pair enters the hash as one number of 64 bits, to which each layer adds its key; pairs of one
    number are counted once and layer keys differ, so the bits are of inputs that differ and their sum is binomial.

    Parameters
    ----------
    tokens, ends, ngram_len, context_history_size, from_start
        As in `read`.
    key
        One sequence of layer keys.

    Raises
    ------
    InsufficientData
        Fewer than 20 pairs.
    InputError
        A parameter is out of range.

    *Wrong when* the layer keys are not random, were chosen after looking at the text, or many keys were tried and only
    the best is told.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> found = test(rng.integers(0, 50_000, 500), rng.integers(0, 2**63, 30).tolist())
    >>> f"{found.n} pairs, {found.statistic:.0f} ones, ln p {found.log_pvalue:.1f}: shows nothing"
    '496 pairs, 7469 ones, ln p -1.1: shows nothing'
    """
    reading = read(
        tokens,
        [key],
        ends=ends,
        ngram_len=ngram_len,
        context_history_size=context_history_size,
        from_start=from_start,
    )
    return result(CARD, reading)


def mark(
    logits: NDArray[Any], context: ArrayLike, key: Sequence[int], *, ngram_len: int = NGRAM
) -> NDArray[Any]:
    """The logarithms of the probabilities after the tournament of all layers; a token is then drawn from them.

    Parameters
    ----------
    logits, context
        As in `synthid_table.mark`.
    key, ngram_len
        As in `read`.

    Returns
    -------
    Log-probabilities, in the shape and type of `logits`.
    """
    rows, given, _ = lists.rows_of(logits, context)
    g = g_values(given, np.arange(rows.shape[1]), key, ngram_len=ngram_len)
    return _synthid.tournament(rows, g).reshape(np.shape(logits))


def g_values(
    context: ArrayLike, tokens: ArrayLike, key: Sequence[int], *, ngram_len: int = NGRAM
) -> NDArray[np.uint8]:
    """The g-values of tokens after contexts (k,) or (B, k), 0 or 1: uint8 (B, tokens, layers)."""
    (layers,) = layer_keys([key])
    hashes = after_contexts(
        last_ids(context, ngram_len - 1, 0), np.asarray(tokens, np.int64), np.uint64(_start(layers))
    )
    out = np.empty((hashes.size, layers.size), np.uint8)
    _synthid.hash_g_values(hashes.ravel(), layers, out)
    return out.reshape(*hashes.shape, layers.size)


def simulate(rng: np.random.Generator, *, effect: float, n: int) -> dict[str, Any]:
    """`n` answers of 16 tokens, each drawn from the marked law with probability `effect`; eight layers."""
    key = rng.integers(0, 2**63, 8).tolist()

    def chosen(logits: NDArray[Any], before: NDArray[np.int64], _: int) -> NDArray[np.int64]:
        return np.argmax(mark(logits, before, key) + rng.gumbel(size=logits.shape), axis=1)

    drawn = simulated.chosen(rng, chosen, n=n, width=NGRAM - 1, share=effect)
    return {"tokens": drawn["tokens"], "ends": drawn["ends"], "key": key}


def _start(layers: Words) -> int:
    """What the hash begins with: SHA-256 of the layer keys as 64-bit words, little end first, mod 2^63 - 1."""
    data = layers.astype("<u8").tobytes()
    return int.from_bytes(hashlib.sha256(data).digest(), "big") % (2**63 - 1)
