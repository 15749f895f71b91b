"""The EXP mark of MarkLLM (Aaronson's Gumbel mark), made with the CPU generator.

Formulas re-implemented from markllm 0.1.5 (Apache-2.0 in its repository, MIT in the wheel's classifiers),
markllm/watermark/exp/exp.py; no code is copied. Checked bit for bit against it by `tests/golden/torch_marks.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stillwatch.errors import InputError
from stillwatch.marks import _torch_lists, lists, simulated
from stillwatch.marks.reading import Reading, result
from stillwatch.marks.tape import Ids, Prints, Tape, documents, first_of, windows, with_target
from stillwatch.records import Card, TestResult

CARD = Card(
    name="markllm_exp",
    version="1",
    title="EXP mark of MarkLLM",
    question="carries our mark",
    null="The key was drawn at random and the text does not depend on it, so that the number u drawn for each token is "
    "uniform on [0, 1).",
    unit="distinct seed",
    access=("tokens",),
    sources=(
        "Aaronson 2022, My AI Safety Lecture for UT Effective Altruism: choose the largest u^(1/p)",
        "markllm 0.1.5, watermark/exp/exp.py: the numbers u, bit for bit",
    ),
    assumptions=(
        "the key is secret, was drawn at random, and nothing in the text was chosen by it",
        "token ids are those of the marked model's tokenizer, and vocab_size that of the engine's configuration",
    ),
    looks_same=(
        "text of the marked service that was published and collected lawfully",
        "a text that quotes marked answers at length",
        "text of anybody who marks with the default key 15485863, which is public",
    ),
)
MOST = 2**64 - 1
UNDERFLOW = -150 * math.log(2.0)
"""Below it the power is 0 in 32 bits."""


def read(
    tokens: ArrayLike,
    keys: Sequence[int],
    *,
    vocab_size: int,
    ends: ArrayLike | None = None,
    prefix_length: int = 4,
    tape: Tape | None = None,
) -> Reading:
    """The sum of ``-log(1 - u)`` under each key, each seed counted once, with the first token that followed it.

    The seed is the key times the product of the last ids, mod vocab_size. The product forgets the order, and with a
    vocab_size of many divisors it is often 0, where the numbers are the same under every key: those are left out.

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
    prefix_length
        Ids in the product, 1 or above.
    tape
        Leave out what it has seen, so that a corpus is read in pieces (`reading.together`). One entry a product, or,
        where a key is a multiple of so large a power of 2 that two products can share a seed, a product and key.

    Returns
    -------
    Reading
        Law ``gamma``. u is a multiple of 2^-24 and lies a little low, so that the tail is conservative.

    Raises
    ------
    InputError
        A parameter or an id is out of range.
    """
    ids, stops = documents(tokens, ends)
    _check(vocab_size, prefix_length, ids)
    wanted = lists.checked_keys(keys, MOST)
    _, whole = windows(ids, prefix_length, stops)
    products = _products(ids, prefix_length, vocab_size)
    at = np.flatnonzero(whole & (products > 0))
    shared = all((key & -key) * vocab_size <= 1 << 32 for key in wanted)
    at = at[first_of(_prints(products[at]), tape if shared else None)]
    scored = np.empty(len(wanted), np.int64)
    sums = np.empty(len(wanted))
    for i, key in enumerate(wanted):
        seeds = _seeds(key, products[at])
        kept = seeds > 0
        if not shared:
            kept[kept] = first_of(_prints(seeds[kept].astype(np.int64)))
            if tape is not None:
                prints = lists.under_key(key, _prints(seeds[kept].astype(np.int64)))
                kept[kept] = tape.first(prints)
        u = np.empty(int(kept.sum()), np.float32)
        _torch_lists.uniforms_at(seeds[kept], ids[at[kept]], u)
        scored[i], sums[i] = u.size, -np.log1p(-u.astype(np.float64)).sum()
    return Reading("gamma", scored, sums)


def test(
    tokens: ArrayLike,
    key: int,
    *,
    vocab_size: int,
    ends: ArrayLike | None = None,
    prefix_length: int = 4,
) -> TestResult:
    """Decide whether the tokens of a text have larger numbers u under one key than chance gives.

    *Null*: `CARD.null`. A score ``-log(1 - u)`` is then standard exponential, and the sum of n of them Gamma(n, 1).

    Parameters
    ----------
    tokens, vocab_size, ends, prefix_length
        As in `read`.
    key
        One `hash_key`.

    Raises
    ------
    InsufficientData
        Fewer than 20 distinct seeds.
    InputError
        A parameter or an id is out of range.

    *Wrong when* the key was chosen after looking at the text, or many keys were tried and only the best is told.

    Examples
    --------
    >>> plain = np.random.default_rng(0).integers(0, 1000, 500)
    >>> found = test(plain, 8_191, vocab_size=1000)
    >>> f"{found.n} seeds, mean score {1 + found.effect:.3f}, ln p {found.log_pvalue:.1f}: shows nothing"
    '208 seeds, mean score 0.948, ln p -0.3: shows nothing'
    """
    return result(
        CARD,
        read(tokens, [key], vocab_size=vocab_size, ends=ends, prefix_length=prefix_length),
    )


def mark(
    logits: NDArray[Any], context: ArrayLike, key: int, *, prefix_length: int = 4, top_k: int = 0
) -> NDArray[np.int64]:
    """The token that the engine chooses: the largest ``u^(1/p)``, compared as ``log(u) / p``.

    Parameters
    ----------
    logits
        Floats (V,) or (B, V), after temperature.
    context
        Ids so far, whole numbers (k,) or (B, k), at least `prefix_length`, the last id last.
    key, prefix_length
        As in `read`.
    top_k
        Choose among so many largest logits; 0: among all.

    Returns
    -------
    int64 () or (B,).

    Raises
    ------
    InputError
        Shapes do not match, a parameter is out of range, or the context is too short.
    """
    rows, before, _ = lists.rows_of(logits, context)
    vocab_size = rows.shape[1]
    _check(vocab_size, prefix_length, before)
    (key,) = lists.checked_keys([key], MOST)
    if before.shape[1] < prefix_length:
        raise InputError(f"the context holds at least {prefix_length} ids, found {before.shape[1]}")
    products = np.ones(len(before), np.int64)
    for back in range(1, prefix_length + 1):
        products = products * before[:, -back] % vocab_size
    chosen = np.empty(len(rows), np.int64)
    u = np.empty(vocab_size, np.float32)
    for b, seed in enumerate(_seeds(key, products)):
        _torch_lists.uniforms(seed, u)
        p = np.exp(rows[b].astype(np.float64) - rows[b].max())
        p /= p.sum()
        among = (
            np.argsort(-rows[b], kind="stable")[:top_k] if 0 < top_k < vocab_size else np.arange(vocab_size)
        )
        with np.errstate(divide="ignore", over="ignore"):
            score = np.log(u[among].astype(np.float64)) / p[among]
        # Powers that underflow are equal to the engine, which then takes the first.
        chosen[b] = among[np.argmax(score) if score.max() > UNDERFLOW else 0]
    return chosen.reshape(np.shape(logits)[:-1])


def simulate(rng: np.random.Generator, *, effect: float, n: int) -> dict[str, Any]:
    """`n` short answers of a small model; `effect` of the tokens are chosen by the mark."""
    return simulated.chosen(rng, mark, n=n, width=4, share=effect)


def _check(vocab_size: int, prefix_length: int, ids: Ids) -> None:
    lists.list_size(vocab_size, 0.5, ids)
    if prefix_length < 1:
        raise InputError(f"prefix_length is 1 or above, found {prefix_length}")


def _products(ids: Ids, width: int, vocab_size: int) -> Ids:
    """The product of the `width` ids before each token, mod vocab_size; no meaning where there are fewer."""
    out = np.ones(ids.size, np.int64)
    for back in range(1, width + 1):
        out = out * np.roll(ids, back) % vocab_size
    return out


def _prints(values: Ids) -> Prints:
    return with_target(np.zeros(len(values), np.uint64), values)


def _seeds(key: int, products: Ids) -> Prints:
    low = np.uint64(key & 0xFFFFFFFF)
    return (products.astype(np.uint64) * low) & np.uint64(0xFFFFFFFF)
