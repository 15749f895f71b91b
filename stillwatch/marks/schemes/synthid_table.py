"""The SynthID-Text mark whose g-values are looked up in a table: transformers, and synthid-text up to its wheel 0.2.1.

Formulas re-implemented from transformers 5.23.0 (Apache-2.0), generation/logits_process.py, and synthid-text 0.2.1
(Apache-2.0), logits_processing.py; no code is copied. Checked bit for bit against both by
`tests/golden/hash_marks.py`. It is not the hash that Google uses in Gemini (docstring of transformers).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stillwatch.errors import InputError
from stillwatch.marks import _synthid, lists, simulated, table_reading
from stillwatch.marks._pairs import Words, last_ids, layer_keys
from stillwatch.marks.synthid_windows import ONE, after_contexts, context_hashes, pairs_once, repeated
from stillwatch.marks.table_reading import TableReading, counts_by_shift
from stillwatch.marks.tape import Tape, documents
from stillwatch.records import Card, TestResult

CARD = Card(
    name="synthid_table",
    version="1",
    title="SynthID-Text mark with a sampling table",
    question="carries our mark",
    null="Each layer key was drawn at random, uniformly modulo the size of the table, and the text does not depend on "
    "the keys.",
    unit="key",
    access=("tokens",),
    sources=(
        "Dathathri et al. 2024, Scalable watermarking for identifying large language model outputs (Nature 634)",
        "transformers 5.23.0, generation/logits_process.py (Apache-2.0): g-values and context mask, bit for bit",
        "synthid-text 0.2.1 (Apache-2.0): the same g-values",
    ),
    assumptions=(
        "the layer keys are secret, were drawn at random, and nothing in the text was chosen by them",
        "token ids are those of the marked model's tokenizer",
        "the table was made with torch's CPU generator; a CUDA generator makes another",
    ),
    looks_same=(
        "text of the marked service that was published and collected lawfully",
        "a text that quotes marked answers at length",
        "text of anybody who marks with the layer keys of the documentation, which are public",
    ),
)
NGRAM = 5
TABLE_SIZE = 1 << 16
HISTORY = 1024
log_pvalues = table_reading.log_pvalues
together = table_reading.together


def read(
    tokens: ArrayLike,
    keys: Sequence[Sequence[int]],
    *,
    ends: ArrayLike | None = None,
    ngram_len: int = NGRAM,
    context_history_size: int = HISTORY,
    sampling_table_size: int = TABLE_SIZE,
    sampling_table_seed: int = 0,
    from_start: bool = False,
    tape: Tape | None = None,
) -> TableReading:
    """Ones among the g-values of all layers under each key, each pair of context and token counted once.

    A context that was among the last `context_history_size` of its document was generated unmarked and is left out.

    Parameters
    ----------
    tokens
        Token ids (n,), whole numbers: the answers, one after the other, without their prompts.
    keys
        `keys` of the engine: a sequence of layer keys (usually 20 to 30) for each key, equally many for all.
    ends
        One past the last token of each answer; None: one answer.
    ngram_len, context_history_size, sampling_table_size, sampling_table_seed
        As in the engine's configuration; the size of the table is a power of 2.
    from_start
        Every document begins where an answer begins: its first tokens are then read with zeros before them, as
        transformers marks them. Without it they are left out, as its detector does.
    tape
        Leave out what it has seen, so that a corpus is read in pieces (`together`).

    Returns
    -------
    TableReading
        With what each layer would have under every possible key. All keys are read off that list: it takes one
        Fourier transform, however many they are.

    Raises
    ------
    InputError
        A parameter is out of range.
    """
    hashes = pairs_once(tokens, ends, ngram_len, context_history_size, from_start, ONE, tape)
    spectrum = _spectrum(sampling_table_size, sampling_table_seed)
    counts = counts_by_shift(_places(hashes * _synthid.FACTOR, sampling_table_size), spectrum)
    layers = layer_keys(keys)
    ones = counts[_places(layers * _synthid.FACTOR + ONE, sampling_table_size)].sum(axis=1)
    scored = np.full(len(layers), hashes.size, np.int64)
    return TableReading(scored, ones.astype(np.float64), layers.shape[1], counts)


def test(
    tokens: ArrayLike,
    key: Sequence[int],
    *,
    ends: ArrayLike | None = None,
    ngram_len: int = NGRAM,
    context_history_size: int = HISTORY,
    sampling_table_size: int = TABLE_SIZE,
    sampling_table_seed: int = 0,
    from_start: bool = False,
) -> TestResult:
    """Decide whether the g-values of a text hold more ones under one key than chance gives.

    *Null*: `CARD.null`. A layer key shifts all places in the table alike, so the count of a layer is one entry, drawn
    at random, of the list of counts under every shift, and the layers are drawn independently. The law of their sum is
    computed from that list (`stats.drawn_sums`). Ids that are equal modulo the table's size, tokens that share a
    context, pairs that repeat and a table that is not half ones are all in the list: nothing is assumed of the hash.

    Parameters
    ----------
    tokens, ends, ngram_len, context_history_size, sampling_table_size, sampling_table_seed, from_start
        As in `read`.
    key
        One sequence of layer keys.

    Raises
    ------
    InsufficientData
        Fewer than 20 pairs.
    InputError
        A parameter is out of range.

    *Wrong when* the layer keys are not random (those of the documentation are 654, 400, 836, ..), were chosen after
    looking at the text, or many keys were tried and only the best is told.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> found = test(rng.integers(0, 50_000, 500), rng.integers(0, 2**63, 30).tolist())
    >>> f"{found.n} pairs, {found.statistic:.0f} ones, ln p {found.log_pvalue:.1f}: shows nothing"
    '496 pairs, 7456 ones, ln p -1.0: shows nothing'
    """
    reading = read(
        tokens,
        [key],
        ends=ends,
        ngram_len=ngram_len,
        context_history_size=context_history_size,
        sampling_table_size=sampling_table_size,
        sampling_table_seed=sampling_table_seed,
        from_start=from_start,
    )
    return table_reading.result(CARD, reading)


def mark(
    logits: NDArray[Any],
    context: ArrayLike,
    key: Sequence[int],
    *,
    ngram_len: int = NGRAM,
    sampling_table_size: int = TABLE_SIZE,
    sampling_table_seed: int = 0,
) -> NDArray[Any]:
    """The logarithms of the probabilities after the tournament of all layers; a token is then drawn from them.

    Parameters
    ----------
    logits
        Floats (V,) or (B, V), after temperature and truncation.
    context
        Ids of the answer so far, (k,) or (B, k), the last id last; missing ones count as 0. The engine leaves a
        repeated context unmarked; that is left to the caller.
    key, ngram_len, sampling_table_size, sampling_table_seed
        As in `read`.

    Returns
    -------
    Log-probabilities, in the shape and type of `logits`.
    """
    rows, given, _ = lists.rows_of(logits, context)
    g = g_values(
        given,
        np.arange(rows.shape[1]),
        key,
        ngram_len=ngram_len,
        sampling_table_size=sampling_table_size,
        sampling_table_seed=sampling_table_seed,
    )
    return _synthid.tournament(rows, g).reshape(np.shape(logits))


def g_values(
    context: ArrayLike,
    tokens: ArrayLike,
    key: Sequence[int],
    *,
    ngram_len: int = NGRAM,
    sampling_table_size: int = TABLE_SIZE,
    sampling_table_seed: int = 0,
) -> NDArray[np.uint8]:
    """The g-values of tokens after contexts (k,) or (B, k), 0 or 1: uint8 (B, tokens, layers)."""
    table = sampling_table(sampling_table_size, sampling_table_seed)
    hashes = after_contexts(last_ids(context, ngram_len - 1, 0), np.asarray(tokens, np.int64), ONE)
    (layers,) = layer_keys([key])
    out = np.empty((hashes.size, layers.size), np.uint8)
    _synthid.table_g_values(hashes.ravel(), layers, table, out)
    return out.reshape(*hashes.shape, layers.size)


def text_g_values(
    tokens: ArrayLike,
    key: Sequence[int],
    *,
    ends: ArrayLike | None = None,
    ngram_len: int = NGRAM,
    sampling_table_size: int = TABLE_SIZE,
    sampling_table_seed: int = 0,
) -> NDArray[np.uint8]:
    """The g-values of a text, a row for each token that has a whole context: uint8 (rows, layers), as the engine's."""
    ids, stops = documents(tokens, ends)
    contexts, whole = context_hashes(ids, stops, ngram_len, ONE)
    hashes = np.empty(int(whole.sum()), np.uint64)
    _synthid.step(contexts[whole], ids[whole], hashes)
    (layers,) = layer_keys([key])
    out = np.empty((hashes.size, layers.size), np.uint8)
    _synthid.table_g_values(hashes, layers, sampling_table(sampling_table_size, sampling_table_seed), out)
    return out


def repetition_mask(
    tokens: ArrayLike,
    *,
    ends: ArrayLike | None = None,
    ngram_len: int = NGRAM,
    context_history_size: int = HISTORY,
) -> NDArray[np.bool_]:
    """True where the context of a token was among the last ones of its document, bool (n,): the engine's mask, negated.

    Tokens without a whole context are False.
    """
    ids, stops = documents(tokens, ends)
    hashes, whole = context_hashes(ids, stops, ngram_len, ONE)
    return repeated(hashes, whole, stops, context_history_size)


@functools.lru_cache(maxsize=4)
def sampling_table(size: int = TABLE_SIZE, seed: int = 0) -> NDArray[np.uint8]:
    """The table of the engine: the lowest bits of torch's CPU generator, uint8 (size,), read-only."""
    if not 2 <= size <= 1 << 24 or size & (size - 1):
        raise InputError(f"sampling_table_size is a power of 2 from 2 to 2^24, found {size}")
    if not 0 <= seed < 1 << 64:
        raise InputError("sampling_table_seed is a whole number of 64 bits")
    words = np.random.MT19937()
    words._legacy_seeding(seed & 0xFFFFFFFF)  # type: ignore[attr-defined]
    table = (np.asarray(words.random_raw(size)) & 1).astype(np.uint8)
    table.flags.writeable = False
    return table


@functools.lru_cache(maxsize=4)
def _spectrum(size: int, seed: int) -> NDArray[np.complex128]:
    return np.fft.rfft(sampling_table(size, seed).astype(np.float64))


def simulate(rng: np.random.Generator, *, effect: float, n: int) -> dict[str, Any]:
    """`n` answers of 16 tokens, each drawn from the marked law with probability `effect`; eight layers."""
    key = rng.integers(0, 2**63, 8).tolist()

    def chosen(logits: NDArray[Any], before: NDArray[np.int64], _: int) -> NDArray[np.int64]:
        return np.argmax(mark(logits, before, key) + rng.gumbel(size=logits.shape), axis=1)

    drawn = simulated.chosen(rng, chosen, n=n, width=NGRAM - 1, share=effect)
    return {"tokens": drawn["tokens"], "ends": drawn["ends"], "key": key}


def _places(hashes: Words, size: int) -> NDArray[np.int64]:
    return (hashes & np.uint64(size - 1)).astype(np.int64)
