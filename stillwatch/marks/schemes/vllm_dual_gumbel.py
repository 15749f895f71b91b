"""The dual-key Gumbel mark of vLLM (`dual_key_gumbel`), which also marks under speculative decoding.

Formulas re-implemented from vLLM 0.33.0 (Apache-2.0), vllm/v1/watermarking/gumbel.py and vllm/config/watermarking.py;
no code is copied. Checked against it by `tests/golden/hash_marks.py`, and against vLLM's own golden vectors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stillwatch.errors import InputError
from stillwatch.marks import _philox, lists, simulated
from stillwatch.marks._pairs import Words, contexts_once, key_words, last_ids
from stillwatch.marks.reading import Reading, result
from stillwatch.marks.tape import Tape
from stillwatch.records import Card, TestResult

CARD = Card(
    name="vllm_dual_gumbel",
    version="1",
    title="dual-key Gumbel mark of vLLM",
    question="carries our mark",
    null="The key was drawn at random and the text does not depend on it, so that the two numbers u drawn for the "
    "token after each context, one for each derived key, are independent and uniform on (0, 1).",
    unit="distinct context",
    access=("tokens",),
    sources=(
        "Aaronson 2022, My AI Safety Lecture for UT Effective Altruism: choose the largest u^(1/p)",
        "vLLM 0.33.0, vllm/v1/watermarking (Apache-2.0): the numbers u and the derived keys, bit for bit",
        "Moschopoulos 1985 (Ann. Inst. Statist. Math. 37): the law of a sum of scaled gammas",
    ),
    assumptions=(
        "the key is secret, was drawn at random, and nothing in the text was chosen by it",
        "Philox gives independent uniform words for inputs and keys that differ",
        "token ids are those that were served; encoding the text again need not give them back",
    ),
    looks_same=(
        "text of the marked service that was published and collected lawfully",
        "a text that quotes marked answers at length",
    ),
)
WIDTH = 4
ALPHA = 0.1


def derived_keys(key: int) -> tuple[int, int]:
    """The engine's keys A and B: the first 8 bytes of SHA-256 over a name and the key, big end first."""
    (word,) = key_words([key])
    data = int(word).to_bytes(8, "big")
    a, b = (hashlib.sha256(name + data).digest()[:8] for name in (b"key_a", b"key_b"))
    return int.from_bytes(a, "big"), int.from_bytes(b, "big")


def read(
    tokens: ArrayLike,
    keys: Sequence[int],
    *,
    ends: ArrayLike | None = None,
    context_width: int = WIDTH,
    alpha: float = ALPHA,
    from_start: bool = True,
    tape: Tape | None = None,
) -> Reading:
    """The sum of the scores under each key, each context counted once, with the first token that followed it.

    The engine adds m = (1 - alpha) s_A + alpha s_B, with s = -log(1 - u), and takes a gamma law that has the right
    variance and too light a tail. The score here is -log P(m' >= m), with the exact law of one such m' without a mark,
    so that it is standard exponential whatever alpha is; far out it is m / (1 - alpha) plus a constant. The engine's
    own sum is `fused`.

    Parameters
    ----------
    tokens, ends, context_width, from_start, tape
        As in `vllm_gumbel.read`.
    keys
        `key` of the engine, 0 to 2^64 - 1; A and B are derived here.
    alpha
        The engine's share of key B, in [0, 1]. Under speculative decoding the engine ignores it: tokens of the draft
        carry A, corrected and bonus tokens B, so give the share of the latter if it is known.

    Returns
    -------
    Reading
        Law ``gamma``; conservative by at most 2^-23 a score, see `vllm_gumbel.read`.

    Raises
    ------
    InputError
        A parameter or an id is out of range.
    """
    n, scores, _ = _sums(tokens, keys, ends, context_width, alpha, from_start, tape)
    return Reading("gamma", np.full(len(scores), n, np.int64), scores)


def fused(
    tokens: ArrayLike,
    keys: Sequence[int],
    *,
    ends: ArrayLike | None = None,
    context_width: int = WIDTH,
    alpha: float = ALPHA,
    from_start: bool = True,
    tape: Tape | None = None,
) -> tuple[int, NDArray[np.float64]]:
    """Distinct contexts, and the engine's own sum under each key; its exact tail is `two_gammas_log_pvalue`.

    The parameters are those of `read`.
    """
    n, _, sums = _sums(tokens, keys, ends, context_width, alpha, from_start, tape)
    return n, sums


def test(
    tokens: ArrayLike,
    key: int,
    *,
    ends: ArrayLike | None = None,
    context_width: int = WIDTH,
    alpha: float = ALPHA,
    from_start: bool = True,
) -> TestResult:
    """Decide whether the tokens of a text have larger numbers u under a key's two derived keys than chance gives.

    *Null*: `CARD.null`. Each score is then standard exponential, and the sum of n of them Gamma(n, 1).

    Parameters
    ----------
    tokens, ends, context_width, alpha, from_start
        As in `read`.
    key
        One `key`.

    Raises
    ------
    InsufficientData
        Fewer than 20 distinct contexts.
    InputError
        A parameter or an id is out of range.

    *Wrong when* the key or alpha was chosen after looking at the text, or many were tried and only the best is told.

    Examples
    --------
    >>> plain = np.random.default_rng(0).integers(0, 50_000, 500)
    >>> found = test(plain, 8_191)
    >>> f"{found.n} contexts, mean score {1 + found.effect:.3f}, ln p {found.log_pvalue:.1f}: shows nothing"
    '500 contexts, mean score 1.086, ln p -3.5: shows nothing'
    """
    found = read(tokens, [key], ends=ends, context_width=context_width, alpha=alpha, from_start=from_start)
    return result(CARD, found)


def mark(
    logits: NDArray[Any],
    context: ArrayLike,
    key: int,
    *,
    use_b: bool | NDArray[np.bool_] = False,
    context_width: int = WIDTH,
) -> NDArray[np.int64]:
    """The token that the engine chooses: the largest ``logit - log(-log u)``, u of the derived key A or B.

    Parameters
    ----------
    logits, context, key, context_width
        As in `vllm_gumbel.mark`.
    use_b
        Whether key B marks, one for all or one a row. The engine draws it with probability alpha, without a key, so
        it is the caller's draw.

    Returns
    -------
    int64 () or (B,).
    """
    rows, given, _ = lists.rows_of(logits, context)
    windows, wanted = last_ids(given, context_width), np.broadcast_to(np.asarray(use_b), len(rows))
    out = np.empty(len(rows), np.int64)
    for derived, chosen in zip(key_words(derived_keys(key)), (~wanted, wanted), strict=True):
        words = _philox.vocabulary_words(windows[chosen], derived, rows.shape[1])
        u = _philox.as_uniform(words).astype(np.float64)
        out[chosen] = np.argmax(rows[chosen] - np.log(-np.log(u)), axis=1)
    return out.reshape(np.shape(logits)[:-1])


def simulate(rng: np.random.Generator, *, effect: float, n: int) -> dict[str, Any]:
    """`n` answers of 16 tokens, each chosen by the mark with probability `effect`, by key B one time in ten."""

    def chosen(logits: NDArray[Any], before: NDArray[np.int64], key: int) -> NDArray[np.int64]:
        return mark(logits, before, key, use_b=rng.random(len(logits)) < ALPHA)

    drawn = simulated.chosen(rng, chosen, n=n, width=WIDTH, share=effect)
    return {name: drawn[name] for name in ("tokens", "ends", "key")} | {"from_start": False}


def _sums(
    tokens: ArrayLike,
    keys: Sequence[int],
    ends: ArrayLike | None,
    context_width: int,
    alpha: float,
    from_start: bool,
    tape: Tape | None,
) -> tuple[int, NDArray[np.float64], NDArray[np.float64]]:
    if not 0.0 <= alpha <= 1.0:
        raise InputError(f"alpha lies between 0 and 1, found {alpha:g}")
    contexts, targets = contexts_once(tokens, ends, context_width, from_start, tape)
    a, b = _both(keys)
    scores, sums = np.empty(len(a)), np.empty(len(a))
    _philox.dual_sums(contexts, targets, a, b, float(alpha), scores, sums)
    return targets.size, scores, sums


def _both(keys: Sequence[int]) -> tuple[Words, Words]:
    pairs = np.array([derived_keys(int(key)) for key in key_words(keys)], np.uint64).reshape(-1, 2)
    return pairs[:, 0].copy(), pairs[:, 1].copy()
