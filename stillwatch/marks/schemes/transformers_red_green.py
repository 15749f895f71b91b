"""The red-green mark of Hugging Face transformers (`WatermarkLogitsProcessor`), made with the CPU generator.

Formulas re-implemented from transformers 5.23.0 (Apache-2.0), src/transformers/generation/logits_process.py; no code
is copied. Checked bit for bit against it by `tests/golden/torch_marks.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stillwatch.errors import InputError
from stillwatch.marks import _torch_lists, lists, simulated
from stillwatch.marks.lists import Pairs
from stillwatch.marks.reading import Reading, result
from stillwatch.marks.tape import Ids, Prints, Tape, documents, first_of, windows, with_target
from stillwatch.records import Card, TestResult

CARD = Card(
    name="transformers_red_green",
    version="1",
    title="red-green mark of Hugging Face transformers",
    question="carries our mark",
    null="The key was drawn at random and the text does not depend on it, so that each list of green tokens is a "
    "random draw from the vocabulary.",
    unit="distinct pair of list and token",
    access=("tokens",),
    sources=(
        "Kirchenbauer et al. 2023, A Watermark for Large Language Models (ICML)",
        "Kirchenbauer et al. 2024, On the Reliability of Watermarks for Large Language Models (ICLR): selfhash",
        "transformers 5.23.0, generation/logits_process.py (Apache-2.0): the lists, bit for bit",
        "Hoeffding 1956 (Ann. Math. Statist. 27): the binomial tail bounds that of draws without replacement",
    ),
    assumptions=(
        "the key is secret, was drawn at random, and nothing in the text was chosen by it",
        "token ids are those of the marked model's tokenizer, and vocab_size that of its configuration",
        "the mark was made with torch's CPU generator; a CUDA generator draws other lists",
    ),
    looks_same=(
        "text of the marked service that was published and collected lawfully",
        "a text that quotes marked answers at length",
        "text of anybody who marks with the default key 15485863, which is public",
    ),
)
TABLE = 1_000_003
CANDIDATES = 40
"""Most likely tokens that selfhash tries at generation; every other token is left as it is."""
Scheme = Literal["lefthash", "selfhash"]


def read(
    tokens: ArrayLike,
    keys: Sequence[int],
    *,
    vocab_size: int,
    ends: ArrayLike | None = None,
    scheme: Scheme = "lefthash",
    gamma: float = 0.25,
    context_width: int = 1,
    tape: Tape | None = None,
) -> Reading:
    """Green tokens under each key, every pair counted once over the whole corpus.

    Parameters
    ----------
    tokens
        Token ids (n,), whole numbers from 0 to vocab_size - 1: the answers, one after the other, without a leading
        token that the engine adds (BOS).
    keys
        `hashing_key` of the engine, 1 to 2^64 - 1 (selfhash: 2^63 - 1).
    vocab_size
        `vocab_size` in the configuration of the model, which may exceed the tokenizer's.
    ends
        One past the last token of each document; None: one document.
    scheme
        `seeding_scheme`. lefthash: the list depends on the id before the token, whatever `context_width` says.
        selfhash: on the last `context_width` ids, the token itself among them.
    gamma
        `greenlist_ratio`; a list holds ``int(gamma * vocab_size)`` tokens.
    tape
        Leave out what it has seen, so that a corpus is read in pieces (`reading.together`). lefthash takes one entry
        a pair for all keys together, selfhash one for each key.

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
    most = 2**64 - 1 if _is_left(scheme, context_width) else 2**63 - 1
    wanted = lists.checked_keys(keys, most)
    if scheme == "lefthash":
        _, whole = windows(ids, 1, stops)
        pairs = lists.distinct_pairs(np.roll(ids, 1), ids, whole, tape)
        counts = [
            lists.count_green(_left_seeds(key, pairs.contexts), pairs, vocab_size, green) for key in wanted
        ]
    else:
        seen = _windows_once(ids, stops, context_width)
        pairs = Pairs(np.arange(len(seen)), np.arange(len(seen) + 1), np.ascontiguousarray(seen[:, -1]))
        counts = [
            lists.count_green(
                _self_seeds(key, seen, vocab_size), pairs, vocab_size, green, key=key, tape=tape
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
    scheme: Scheme = "lefthash",
    gamma: float = 0.25,
    context_width: int = 1,
) -> TestResult:
    """Decide whether a text holds more green tokens of one key than chance gives.

    *Null*: `CARD.null`. The count is then binomial, or less spread where one list is asked about several tokens; see
    `reading.log_pvalues`.

    Parameters
    ----------
    tokens, vocab_size, ends, scheme, gamma, context_width
        As in `read`.
    key
        One `hashing_key`.

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
    '499 pairs, green +0.005 above chance, ln p -0.9: shows nothing'
    """
    return result(
        CARD,
        read(
            tokens,
            [key],
            vocab_size=vocab_size,
            ends=ends,
            scheme=scheme,
            gamma=gamma,
            context_width=context_width,
        ),
    )


def mark(
    logits: NDArray[Any],
    context: ArrayLike,
    key: int,
    *,
    scheme: Scheme = "lefthash",
    gamma: float = 0.25,
    delta: float = 2.0,
    context_width: int = 1,
) -> NDArray[Any]:
    """Logits with `delta` added to the green tokens, a new array; for generation.

    Parameters
    ----------
    logits
        Floats (V,) or (B, V).
    context
        Ids so far, whole numbers (k,) or (B, k), the last id last. Fewer than `context_width`: nothing is changed, as
        in the engine.
    key, scheme, gamma, context_width
        As in `read`; `delta` is `bias`. selfhash tries the 40 largest logits only.

    Raises
    ------
    InputError
        Shapes do not match, or a parameter is out of range.
    """
    rows, before, out = lists.rows_of(logits, context)
    vocab_size = rows.shape[1]
    green = lists.list_size(vocab_size, gamma, before)
    left = _is_left(scheme, context_width)
    (key,) = lists.checked_keys([key], 2**64 - 1 if left else 2**63 - 1)
    if before.shape[1] < max(1, context_width - (not left)):
        return out.reshape(logits.shape)
    if left:
        for row, seed in zip(out, _left_seeds(key, before[:, -1]), strict=True):
            row[lists.green_list(int(seed), vocab_size, green)] += out.dtype.type(delta)
        return out.reshape(logits.shape)
    likely = np.argsort(-rows, axis=1, kind="stable")[:, :CANDIDATES]
    for row, ids, tried in zip(out, before, likely, strict=True):
        window = np.repeat(ids[None, ids.size - context_width + 1 :], tried.size, axis=0)
        seeds = _self_seeds(key, np.column_stack([window, tried]), vocab_size)
        flags = np.empty(tried.size, np.bool_)
        _torch_lists.green_flags(seeds, np.arange(tried.size + 1), tried, vocab_size, green, flags)
        row[tried[flags]] += out.dtype.type(delta)
    return out.reshape(logits.shape)


def green(
    contexts: Ids,
    first: Ids,
    tokens: Ids,
    key: int,
    *,
    vocab_size: int,
    scheme: Scheme = "lefthash",
    gamma: float = 0.25,
    context_width: int = 1,
) -> NDArray[np.bool_]:
    """For each token whether it is green after its context, bool (tokens,); lefthash only.

    Parameters
    ----------
    contexts
        int64 (contexts, k), the last id last.
    first
        int64 (contexts + 1,). Context i is asked about ``tokens[first[i] : first[i + 1]]``, which differ.
    key, vocab_size, scheme, gamma, context_width
        As in `read`.
    """
    if not _is_left(scheme, context_width):
        raise InputError("the list of selfhash depends on the token that it is asked about")
    (key,) = lists.checked_keys([key], 2**64 - 1)
    out = np.empty(len(tokens), np.bool_)
    seeds = _left_seeds(key, contexts[:, -1])
    _torch_lists.green_flags(
        seeds,
        np.asarray(first, np.int64),
        tokens,
        vocab_size,
        lists.list_size(vocab_size, gamma, tokens),
        out,
    )
    return out


def simulate(rng: np.random.Generator, *, effect: float, n: int) -> dict[str, Any]:
    """`n` short answers of a small model; with `effect`, marked with a bias of 5 times that."""
    return simulated.biased(rng, mark, n=n, width=1, delta=5.0 * effect)


def _is_left(scheme: str, context_width: int) -> bool:
    if scheme not in ("lefthash", "selfhash"):
        raise InputError(f"scheme is lefthash or selfhash, found {scheme!r}")
    if context_width < 1:
        raise InputError(f"context_width is 1 or above, found {context_width}")
    return scheme == "lefthash"


def _left_seeds(key: int, contexts: Ids) -> Prints:
    seeds = np.empty(len(contexts), np.uint64)
    _torch_lists.lefthash_seeds(np.uint64(key % (2**64 - 1)), np.ascontiguousarray(contexts), seeds)
    return seeds


def _self_seeds(key: int, seen: Ids, vocab_size: int) -> Prints:
    """Seeds of windows (n, width); the table is settled as far as ids reach."""
    seeds = np.empty(len(seen), np.uint64)
    table = lists.table(key, TABLE, min(vocab_size, TABLE))
    _torch_lists.selfhash_seeds(np.uint64(key), table, seen % TABLE, seeds)
    return seeds


def _windows_once(ids: Ids, stops: Ids, width: int) -> Ids:
    """Distinct windows of `width` ids, the token itself the last of them, int64 (windows, width)."""
    prints, whole = windows(ids, width - 1, stops)
    at = np.flatnonzero(whole)
    at = at[first_of(with_target(prints[at], ids[at]))]
    rows: Ids = ids[at[:, None] + np.arange(1 - width, 1)]
    return rows
