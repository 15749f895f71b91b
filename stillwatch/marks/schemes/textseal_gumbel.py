"""The Gumbel mark of TextSeal (`gumbelmax`).

Formulas re-implemented from textseal 0.0.5 (MIT), textseal/common/watermark/{pseudorandom,core}.py and
textseal/posthoc/{generator,detector}.py; no code is copied. Checked bit for bit against it by
`tests/golden/hash_marks.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stillwatch.errors import InputError
from stillwatch.marks import lists, simulated
from stillwatch.marks._compiled import compiled
from stillwatch.marks._pairs import Words, key_words
from stillwatch.marks.reading import Reading, result
from stillwatch.marks.tape import Tape, documents, first_of
from stillwatch.records import Card, TestResult

CARD = Card(
    name="textseal_gumbel",
    version="1",
    title="Gumbel mark of TextSeal",
    question="carries our mark",
    null="The key was drawn at random and the text does not depend on it, so that the number u drawn for the token "
    "after each window is uniform on its 8,191 levels.",
    unit="distinct window",
    access=("tokens",),
    sources=(
        "Aaronson 2022, My AI Safety Lecture for UT Effective Altruism: choose the largest u^(1/p)",
        "textseal 0.0.5, common/watermark/pseudorandom.py (MIT): the numbers u, bit for bit",
    ),
    assumptions=(
        "the key is secret, was drawn at random, and nothing in the text was chosen by it",
        "the hash, which is no cryptographic function, gives independent uniform numbers for inputs that differ",
        "token ids are those of the marked model's tokenizer",
    ),
    looks_same=(
        "text of the marked service that was published and collected lawfully",
        "a text that quotes marked answers at length",
        "text of anybody who marks with the default key 42, which is public",
    ),
)
LEVELS = 8191
PRIMES = (10000019, 10000247, 10000439, 10000643, 10000747, 10000867, 10000993, 10001213, 10001357, 10001501)
TOKEN, KEY = 100000007, 500001713
FACTOR = np.uint64(15485863 * 40499)
U = np.uint64


def read(
    tokens: ArrayLike,
    keys: Sequence[int],
    *,
    ends: ArrayLike | None = None,
    ngram: int = 1,
    tape: Tape | None = None,
) -> Reading:
    """The sum of ``-log(1 - u)`` under each key, each window counted once, with the first token that followed it.

    The engine's detector counts a repeated window again unless it is handed a set to remember windows in; here it
    never counts twice. The number u depends on the window and the token through one weighted sum only, so what has the
    same sum is counted once too.

    Parameters
    ----------
    tokens
        Token ids (n,), whole numbers: the texts, one after the other.
    keys
        `secret_key`, 0 to 2^63 - 1.
    ends
        One past the last token of each document; None: one document.
    ngram
        Ids in a window, 1 to 10. The first `ngram` tokens of a document are not scored (the engine's detector leaves
        out one more).
    tape
        Leave out what it has seen, so that a corpus is read in pieces (`reading.together`).

    Returns
    -------
    Reading
        Law ``gamma``. u has 8,191 levels and lies up to one level low, so the tail is conservative: without a mark
        the scores have mean 0.9993 and variance 0.994.

    Raises
    ------
    InputError
        A parameter or an id is out of range.
    """
    ids, stops = documents(tokens, ends)
    _check(ngram)
    sums, inputs = np.empty(ids.size, U), np.empty(ids.size, U)
    n = _inputs(ids, stops, np.array(PRIMES[:ngram], U), sums, inputs)
    inputs = inputs[:n][first_of(sums[:n], tape)]
    if ngram > 1 or ids.max(initial=0) >= TOKEN:  # otherwise windows that differ have inputs that differ
        inputs = inputs[first_of(inputs)]
    wanted = key_words(keys, 63)
    out = np.empty(len(wanted))
    _score_sums(inputs, wanted, _scores(), out)
    return Reading("gamma", np.full(len(wanted), inputs.size, np.int64), out)


def test(tokens: ArrayLike, key: int, *, ends: ArrayLike | None = None, ngram: int = 1) -> TestResult:
    """Decide whether the tokens of a text have larger numbers u under one key than chance gives.

    *Null*: `CARD.null`. A score ``-log(1 - u)`` is then at most a standard exponential variable that is drawn with it,
    and the sum of n of them at most Gamma(n, 1).

    Parameters
    ----------
    tokens, ends, ngram
        As in `read`.
    key
        One `secret_key`.

    Raises
    ------
    InsufficientData
        Fewer than 20 distinct windows.
    InputError
        A parameter or an id is out of range.

    *Wrong when* the key was chosen after looking at the text, or many keys were tried and only the best is told.

    Examples
    --------
    >>> plain = np.random.default_rng(0).integers(0, 50_000, 500)
    >>> found = test(plain, 8_191)
    >>> f"{found.n} windows, mean score {1 + found.effect:.3f}, ln p {found.log_pvalue:.1f}: shows nothing"
    '498 windows, mean score 0.976, ln p -0.4: shows nothing'
    """
    return result(CARD, read(tokens, [key], ends=ends, ngram=ngram))


def mark(logits: NDArray[Any], context: ArrayLike, key: int, *, ngram: int = 1) -> NDArray[np.int64]:
    """The token that the engine chooses: the largest ``u^(1/p)``, compared as ``log(u) / p``.

    The engine takes the power in the precision of the probabilities, in which it is 0 for most tokens; the largest is
    the same unless all are 0. Of equal ones, which are common with 8,191 levels, it takes the likeliest.

    Parameters
    ----------
    logits
        Floats (V,) or (B, V), after temperature and truncation.
    context
        Ids so far, (k,) or (B, k), at least `ngram`, the last id last.
    key, ngram
        As in `read`.

    Returns
    -------
    int64 () or (B,).

    Raises
    ------
    InputError
        A parameter is out of range, or the context is too short.
    """
    rows, given, _ = lists.rows_of(logits, context)
    _check(ngram)
    if given.shape[1] < ngram:
        raise InputError(f"the context holds at least {ngram} ids, found {given.shape[1]}")
    with np.errstate(divide="ignore"):
        logs = np.log(np.arange(LEVELS) / LEVELS)[levels(given, key, rows.shape[1], ngram)]
    scores = rows.astype(np.float64)
    chosen = np.argmax(logs * np.exp(scores.max(axis=1, keepdims=True) - scores), axis=1)
    return chosen.reshape(np.shape(logits)[:-1])


def levels(context: ArrayLike, key: int, vocab_size: int, ngram: int = 1) -> NDArray[np.int64]:
    """u times 8,191 for every token after windows (k,) or (B, k): int64 (B, V), 0 to 8,190."""
    windows = np.atleast_2d(np.asarray(context, np.int64))[:, -ngram:]
    totals = _weighted(windows.T.astype(U), np.arange(len(windows)))
    inputs = totals[:, None] + np.arange(vocab_size, dtype=U) * U(TOKEN)
    out = np.empty(inputs.size, np.int64)
    _levels(inputs.ravel(), key_words([key], 63)[0], out)
    return out.reshape(inputs.shape)


def simulate(rng: np.random.Generator, *, effect: float, n: int) -> dict[str, Any]:
    """`n` answers of 16 tokens, each chosen by the mark with probability `effect`."""
    drawn = simulated.chosen(rng, mark, n=n, width=1, share=effect)
    return {name: drawn[name] for name in ("tokens", "ends", "key")}


def _check(ngram: int) -> None:
    if not 1 <= ngram <= len(PRIMES):
        raise InputError(f"ngram lies between 1 and {len(PRIMES)}, found {ngram}")


def _weighted(contexts: Words, targets: NDArray[np.int64]) -> Words:
    """Sum of prime times id over the window, oldest first, uint64 (m,)."""
    total = np.zeros(targets.size, U)
    for prime, row in zip(PRIMES, contexts, strict=False):
        total += U(prime) * row
    return total


@functools.cache
def _scores() -> NDArray[np.float64]:
    scores = -np.log1p(-np.arange(LEVELS) / LEVELS)
    scores.flags.writeable = False
    return scores


@compiled
def _inputs(ids, stops, primes, sums, inputs):
    """The weighted sums of whole windows, without and with the token behind each; returns how many."""
    n, begin, width = 0, 0, len(primes)
    for stop in stops:
        for i in range(begin + width, stop):
            total = U(0)
            for j in range(width):
                total += primes[j] * U(ids[i - width + j])
            sums[n], inputs[n] = total, total + U(ids[i]) * U(TOKEN)
            n += 1
        begin = stop
    return n


@compiled
def _level(x, shift):
    h = np.int64((x + shift) * FACTOR)
    return (h ^ (h >> 13)) % 8191


@compiled
def _levels(inputs, key, out):
    shift = key * U(KEY)
    for i in range(len(inputs)):
        out[i] = _level(inputs[i], shift)


@compiled
def _score_sums(inputs, keys, scores, out):
    """out[k] = sum of the scores of the levels under one key."""
    for k in range(len(keys)):
        shift, total = keys[k] * U(KEY), 0.0
        for i in range(len(inputs)):
            total += scores[_level(inputs[i], shift)]
        out[k] = total
