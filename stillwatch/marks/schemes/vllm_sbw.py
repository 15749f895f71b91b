"""The stateless Bernoulli mark (SBW) as proposed for vLLM: a green list that Philox draws token by token.

Formulas re-implemented from vLLM's pull request 56859 (Apache-2.0), vllm/v1/watermarking/sbw.py at caaac7c; no code
is copied, and neither `sbw` nor `vllm-sbw` (EUPL-1.2) was looked at. vLLM 0.33.0 does not have it. The file needs all
of vLLM to run, so `tests/golden/hash_marks.py` transcribes its formulas into torch and compares bit for bit.

The generator and the detector of that file disagree on lefthash: the one seeds with the sum of the ids, the other with
the sum of their hashes. What is read here is what the generator writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stillwatch.errors import InputError
from stillwatch.marks import _philox, lists, simulated
from stillwatch.marks._pairs import Words, before, key_words, last_ids
from stillwatch.marks.reading import Reading, result
from stillwatch.marks.tape import Tape, documents, first_of, windows, with_target
from stillwatch.records import Card, TestResult

CARD = Card(
    name="vllm_sbw",
    version="1",
    title="stateless Bernoulli mark of vLLM",
    question="carries our mark",
    null="The key was drawn at random and the text does not depend on it, so that each distinct pair of seed and token "
    "is green with probability gamma, independently of the others.",
    unit="distinct pair of seed and token",
    access=("tokens",),
    sources=(
        "Ceppi, Sanchez 2026, Flip, Don't Shuffle: Watermarking LLMs at the Speed of Inference (EMNLP, 2609.03844)",
        "vLLM pull request 56859, sbw.py at caaac7c (Apache-2.0): the green lists, bit for bit",
    ),
    assumptions=(
        "the key is secret, was drawn at random, and nothing in the text was chosen by it",
        "Philox gives independent words for seeds and counters that differ",
        "token ids are those that were served; encoding the text again need not give them back",
    ),
    looks_same=(
        "text of the marked service that was published and collected lawfully",
        "a text that quotes marked answers at length",
    ),
)
Scheme = Literal["selfhash", "lefthash"]
WIDTHS: dict[str, int] = {"selfhash": 4, "lefthash": 1}
"""The engine's default widths."""
TOP = 2**31 - 1


def read(
    tokens: ArrayLike,
    keys: Sequence[int],
    *,
    ends: ArrayLike | None = None,
    scheme: Scheme = "selfhash",
    context_width: int | None = None,
    gamma: float = 0.5,
    from_start: bool = True,
    tape: Tape | None = None,
) -> Reading:
    """Green pairs under each key, every (seed, token) counted once.

    selfhash seeds with the least of several products, one of which belongs to the token alone. Contexts that differ
    therefore often share a seed, which ones depends on the key, and such pairs are one draw: they are counted once,
    under each key for itself. A seed of 0 gives a list that depends on no key and is left out: it stands at the start
    of an answer (the hash of the missing id -1 is 0) and, in lefthash, where all ids of a context are 0.

    Parameters
    ----------
    tokens, ends, from_start
        As in `vllm_gumbel.read`.
    keys
        `key` of the engine, 1 to 2^64 - 1.
    scheme, context_width, gamma
        As in the engine's configuration; the width is 4 for selfhash and 1 for lefthash unless given.
    tape
        Leave out what it has seen, so that a corpus is read in pieces (`reading.together`). One entry a pair in
        lefthash, a pair and key in selfhash.

    Returns
    -------
    Reading
        Law ``binomial``; `scored` differs from key to key in selfhash.

    Raises
    ------
    InputError
        A parameter or an id is out of range.
    """
    width = _checked(scheme, context_width, gamma)
    products, targets = _pairs(tokens, ends, scheme, width, from_start, tape)
    wanted, line = _nonzero(keys), np.uint64(int(gamma * TOP))
    scored, green = np.empty(len(wanted), np.int64), np.empty(len(wanted), np.int64)
    if tape is None or scheme == "lefthash":
        _philox.sbw_counts(products, targets, wanted, line, scored, green)
    else:
        for k, key in enumerate(wanted):
            scored[k], green[k] = _one_key(products, targets, key, line, tape)
    return Reading("binomial", scored, green.astype(np.float64), gamma=int(gamma * TOP) / 2**31)


def test(
    tokens: ArrayLike,
    key: int,
    *,
    ends: ArrayLike | None = None,
    scheme: Scheme = "selfhash",
    context_width: int | None = None,
    gamma: float = 0.5,
    from_start: bool = True,
) -> TestResult:
    """Decide whether more tokens of a text are green under one key than chance gives.

    *Null*: `CARD.null`. Given the key the number of distinct pairs is fixed and the green ones are binomial.

    Parameters
    ----------
    tokens, ends, scheme, context_width, gamma, from_start
        As in `read`.
    key
        One `key`.

    Raises
    ------
    InsufficientData
        Fewer than 20 distinct pairs.
    InputError
        A parameter or an id is out of range.

    *Wrong when* the key was chosen after looking at the text, or many keys were tried and only the best is told.

    Examples
    --------
    >>> plain = np.random.default_rng(0).integers(0, 50_000, 500)
    >>> found = test(plain, 8_191)
    >>> f"{found.n} pairs, {found.statistic:.0f} green, ln p {found.log_pvalue:.1f}: shows nothing"
    '499 pairs, 247 green, ln p -0.5: shows nothing'
    """
    found = read(
        tokens,
        [key],
        ends=ends,
        scheme=scheme,
        context_width=context_width,
        gamma=gamma,
        from_start=from_start,
    )
    return result(CARD, found)


def mark(
    logits: NDArray[Any],
    context: ArrayLike,
    key: int,
    *,
    delta: float = 2.0,
    scheme: Scheme = "selfhash",
    context_width: int | None = None,
    gamma: float = 0.5,
) -> NDArray[Any]:
    """The logits with `delta` added to those of green tokens, before any truncation, as the engine does.

    Parameters
    ----------
    logits
        Floats (V,) or (B, V).
    context
        Ids of the answer so far, (k,) or (B, k), the last id last; missing ones count as the start of the answer.
    key, scheme, context_width, gamma
        As in `read`.
    delta
        Nats.

    Returns
    -------
    Changed logits, in the shape and type of `logits`.
    """
    rows, given, out = lists.rows_of(logits, context)
    green = green_tokens(given, key, rows.shape[1], scheme=scheme, context_width=context_width, gamma=gamma)
    out[green] += delta
    return out.reshape(np.shape(logits))


def green_tokens(
    context: ArrayLike,
    key: int,
    vocab_size: int,
    *,
    scheme: Scheme = "selfhash",
    context_width: int | None = None,
    gamma: float = 0.5,
) -> NDArray[np.bool_]:
    """Which tokens are green after contexts (k,) or (B, k): bool (B, V)."""
    windows = last_ids(context, _checked(scheme, context_width, gamma))
    every = np.tile(np.arange(vocab_size, dtype=np.uint64), len(windows))
    columns = np.repeat(windows.T.astype(np.uint64) & np.uint64(0xFFFFFFFF), vocab_size, axis=1)
    seeds = np.empty(every.size, np.uint64)
    _philox.sbw_seeds(_products(columns, every, scheme), _nonzero([key])[0], seeds)
    return _green(seeds, every, np.uint64(int(gamma * TOP))).reshape(len(windows), vocab_size)


def simulate(rng: np.random.Generator, *, effect: float, n: int) -> dict[str, Any]:
    """`n` answers of 16 tokens, marked with selfhash and a delta of 2 times `effect`."""
    drawn = simulated.biased(rng, mark, n=n, width=WIDTHS["selfhash"], delta=2.0 * effect)
    return {name: drawn[name] for name in ("tokens", "ends", "key")} | {"from_start": False}


def _checked(scheme: str, context_width: int | None, gamma: float) -> int:
    if scheme not in WIDTHS:
        raise InputError(f"scheme is selfhash or lefthash, found {scheme!r}")
    if not 0.0 < gamma < 1.0:
        raise InputError(f"gamma lies between 0 and 1, found {gamma:g}")
    width = WIDTHS[scheme] if context_width is None else context_width
    if width < 1:
        raise InputError(f"context_width is 1 or above, found {width}")
    return width


def _nonzero(keys: Sequence[int]) -> Words:
    words = key_words(keys)
    if (words == 0).any():
        raise InputError("a key of 0 seeds every list with 0; a key is 1 or above")
    return words


def _green(seeds: Words, tokens: Words, line: np.uint64) -> NDArray[np.bool_]:
    words = np.empty(tokens.size, np.uint64)
    _philox.sbw_words(seeds, tokens, words)
    return (words & np.uint64(0x7FFFFFFF)) < line


def _one_key(
    products: NDArray[np.int64], targets: Words, key: np.uint64, line: np.uint64, tape: Tape
) -> tuple[int, int]:
    """Pairs that the tape has not seen under this key, and the green ones among them."""
    seeds = np.empty(targets.size, np.uint64)
    _philox.sbw_seeds(products, key, seeds)
    at = np.flatnonzero(seeds)
    at = at[tape.first(lists.under_key(int(key), with_target(seeds[at], targets[at])))]
    return at.size, int(_green(seeds[at], targets[at], line).sum())


def _pairs(
    tokens: ArrayLike, ends: ArrayLike | None, scheme: Scheme, width: int, from_start: bool, tape: Tape | None
) -> tuple[NDArray[np.int64], Words]:
    """The products that a key is multiplied with, (products, m), and tokens, (m,), of pairs that can differ."""
    ids, stops = documents(tokens, ends)
    # The oldest id of the window does not enter the seed of selfhash.
    used = width - 1 if scheme == "selfhash" else width
    prints, _ = windows(ids, used, stops)
    at = np.arange(ids.size) if from_start else np.flatnonzero(windows(ids, width, stops)[1])
    if scheme == "lefthash":
        products = _products(before(ids, stops, at, width, -1), ids[at].astype(np.uint64), scheme)
        fresh = first_of(with_target(products[0].astype(np.uint64), ids[at]), tape)
        return np.ascontiguousarray(products[:, fresh]), ids[at[fresh]].astype(np.uint64)
    at = at[first_of(with_target(prints, ids)[at])]
    targets = ids[at].astype(np.uint64)
    return _products(before(ids, stops, at, width, -1), targets, scheme), targets


def _products(contexts: Words, targets: Words, scheme: Scheme) -> NDArray[np.int64]:
    if scheme == "lefthash":
        return contexts.astype(np.uint32).view(np.int32).astype(np.int64).sum(axis=0, keepdims=True)
    out = np.empty((len(contexts), targets.size), np.int64)
    signed = contexts.astype(np.uint32).view(np.int32).astype(np.int64)
    _philox.selfhash_products(signed, targets, out)
    return out
