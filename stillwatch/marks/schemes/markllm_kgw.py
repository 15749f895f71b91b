"""The KGW mark of MarkLLM, made with the CPU generator.

Formulas re-implemented from markllm 0.1.5 (Apache-2.0 in its repository, MIT in the wheel's classifiers),
markllm/watermark/kgw/kgw.py; no code is copied. Checked bit for bit against it by `tests/golden/torch_marks.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stillwatch.errors import InputError
from stillwatch.marks import lists, simulated
from stillwatch.marks.reading import Reading, result
from stillwatch.marks.tape import Ids, Prints, Tape, documents, windows
from stillwatch.records import Card, TestResult

CARD = Card(
    name="markllm_kgw",
    version="1",
    title="KGW mark of MarkLLM",
    question="carries our mark",
    null="The key was drawn at random and the text does not depend on it, so that each list of green tokens is a "
    "random draw from the vocabulary.",
    unit="distinct pair of list and token",
    access=("tokens",),
    sources=(
        "Kirchenbauer et al. 2023, A Watermark for Large Language Models (ICML)",
        "markllm 0.1.5, watermark/kgw/kgw.py: the lists, bit for bit",
        "Hoeffding 1956 (Ann. Math. Statist. 27): the binomial tail bounds that of draws without replacement",
    ),
    assumptions=(
        "the key is secret, was drawn at random, and nothing in the text was chosen by it",
        "token ids are those of the marked model's tokenizer, and vocab_size that of the engine's configuration",
        "the mark was made with torch's CPU generator; a CUDA generator draws other lists",
    ),
    looks_same=(
        "text of the marked service that was published and collected lawfully",
        "a text that quotes marked answers at length",
        "text of anybody who marks with the default key 15485863, which is public",
    ),
)
MOST = 2**64 - 1
Combined = Literal["time", "additive", "skip"]


def read(
    tokens: ArrayLike,
    keys: Sequence[int],
    *,
    vocab_size: int,
    ends: ArrayLike | None = None,
    gamma: float = 0.5,
    prefix_length: int = 1,
    f_scheme: Combined = "time",
    tape: Tape | None = None,
) -> Reading:
    """Green tokens under each key, every pair counted once over the whole corpus.

    The engine has one list for each of vocab_size seeds, and a key that shares a divisor with vocab_size reaches only
    a part of them. Pairs are counted by list, so that such a key has fewer.

    Parameters
    ----------
    tokens
        Token ids (n,), whole numbers from 0 to vocab_size - 1: the answers, one after the other.
    keys
        `hash_key` of the engine, 1 to 2^64 - 1.
    vocab_size
        `vocab_size` in the engine's configuration.
    ends
        One past the last token of each document; None: one document.
    gamma
        A list holds ``int(gamma * vocab_size)`` tokens.
    prefix_length, f_scheme
        How the last `prefix_length` ids become one: their product (time), their sum (additive), the first of them
        (skip); each mod vocab_size. `window_scheme` is left; min and self are not read.
    tape
        Leave out what it has seen, so that a corpus is read in pieces (`reading.together`). It takes one entry a pair
        where no key shares a divisor with vocab_size, else one for each key.

    Returns
    -------
    Reading
        Law ``binomial`` with ``gamma = int(gamma * vocab_size) / vocab_size``.

    Raises
    ------
    InputError
        A parameter or an id is out of range.
    """
    ids, stops = documents(tokens, ends)
    green = lists.list_size(vocab_size, gamma, ids)
    wanted = lists.checked_keys(keys, MOST)
    _, whole = windows(ids, _width(prefix_length, f_scheme), stops)
    shared = all(math.gcd(key, vocab_size) == 1 for key in wanted)
    pairs = lists.distinct_pairs(
        _combined(ids, prefix_length, f_scheme, vocab_size), ids, whole, tape if shared else None
    )
    counts = [
        lists.count_green(
            _seeds(key, pairs.contexts, vocab_size),
            pairs,
            vocab_size,
            green,
            key=key,
            tape=None if shared else tape,
        )
        for key in wanted
    ]
    scored, found = np.array(counts, np.int64).T
    return Reading("binomial", scored, found.astype(np.float64), green / vocab_size)


def test(
    tokens: ArrayLike,
    key: int,
    *,
    vocab_size: int,
    ends: ArrayLike | None = None,
    gamma: float = 0.5,
    prefix_length: int = 1,
    f_scheme: Combined = "time",
) -> TestResult:
    """Decide whether a text holds more green tokens of one key than chance gives.

    *Null*: `CARD.null`. The count is then binomial, or less spread where one list is asked about several tokens; see
    `reading.log_pvalues`.

    Parameters
    ----------
    tokens, vocab_size, ends, gamma, prefix_length, f_scheme
        As in `read`.
    key
        One `hash_key`.

    Raises
    ------
    InsufficientData
        Fewer than 20 distinct pairs.
    InputError
        A parameter or an id is out of range.

    *Wrong when* the key was chosen after looking at the text, or many keys were tried and only the best is told.

    Examples
    --------
    >>> plain = np.random.default_rng(0).integers(0, 1000, 500)
    >>> found = test(plain, 8_191, vocab_size=1000)
    >>> f"{found.n} pairs, green {found.effect:+.3f} above chance, ln p {found.log_pvalue:.1f}: shows nothing"
    '499 pairs, green -0.009 above chance, ln p -0.4: shows nothing'
    """
    return result(
        CARD,
        read(
            tokens,
            [key],
            vocab_size=vocab_size,
            ends=ends,
            gamma=gamma,
            prefix_length=prefix_length,
            f_scheme=f_scheme,
        ),
    )


def mark(
    logits: NDArray[Any],
    context: ArrayLike,
    key: int,
    *,
    gamma: float = 0.5,
    delta: float = 2.0,
    prefix_length: int = 1,
    f_scheme: Combined = "time",
) -> NDArray[Any]:
    """Logits with `delta` added to the green tokens, a new array; for generation.

    Parameters
    ----------
    logits
        Floats (V,) or (B, V).
    context
        Ids so far, whole numbers (k,) or (B, k), the last id last. Fewer than `prefix_length`: nothing is changed, as
        in the engine.
    key, gamma, prefix_length, f_scheme
        As in `read`.

    Raises
    ------
    InputError
        Shapes do not match, or a parameter is out of range.
    """
    rows, before, out = lists.rows_of(logits, context)
    vocab_size = rows.shape[1]
    green = lists.list_size(vocab_size, gamma, before)
    (key,) = lists.checked_keys([key], MOST)
    width = _width(prefix_length, f_scheme)
    if before.shape[1] < width:
        return out.reshape(logits.shape)
    last = np.column_stack([before[:, before.shape[1] - width :], np.zeros(len(before), np.int64)])
    contexts = _combined(last.ravel(), prefix_length, f_scheme, vocab_size)[width :: width + 1]
    for row, seed in zip(out, _seeds(key, contexts, vocab_size), strict=True):
        row[lists.green_list(int(seed), vocab_size, green)] += out.dtype.type(delta)
    return out.reshape(logits.shape)


def simulate(rng: np.random.Generator, *, effect: float, n: int) -> dict[str, Any]:
    """`n` short answers of a small model; with `effect`, marked with a bias of 5 times that."""
    return simulated.biased(rng, mark, n=n, width=1, delta=5.0 * effect)


def _width(prefix_length: int, f_scheme: str) -> int:
    if prefix_length < 1:
        raise InputError(f"prefix_length is 1 or above, found {prefix_length}")
    if f_scheme not in ("time", "additive", "skip"):
        raise InputError(f"f_scheme is time, additive or skip, found {f_scheme!r}")
    return prefix_length


def _combined(ids: Ids, width: int, f_scheme: str, vocab_size: int) -> Ids:
    """What the `width` ids before each token become, int64 (n,); no meaning where there are fewer."""
    if f_scheme == "skip":
        return np.roll(ids, width) % vocab_size
    out = np.full(ids.size, f_scheme == "time", np.int64)
    for back in range(1, width + 1):
        one = np.roll(ids, back)
        out = (out * one if f_scheme == "time" else out + one) % vocab_size
    return out


def _seeds(key: int, contexts: Ids, vocab_size: int) -> Prints:
    table = lists.table(key, vocab_size, vocab_size)
    return (table[contexts] * (key % vocab_size) % vocab_size).astype(np.uint64)
