"""Green mass: did training move probability towards the tokens that a key of ours favours?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from stillwatch.errors import InputError, InsufficientData
from stillwatch.marks.drawn_keys import FEWEST_DECOYS, calibrated
from stillwatch.marks.favoured import Asked, favoured
from stillwatch.marks.tape import first_of, windows
from stillwatch.marks.widths import reader
from stillwatch.records import Assumption, Card, Null, TestResult

CARD = Card(
    name="green_mass",
    version="1",
    title="probability that moved to the tokens that our key favours",
    question="was it trained on what we served",
    null="The key was drawn at random, and neither the model nor the one it is held against depends on it.",
    unit="distinct context",
    access=("model.logprobs", "reference.logprobs"),
    sources=(
        "Sander et al. 2024, Watermarking Makes Language Models Radioactive (NeurIPS): open model",
        "Hoeffding 1963 (J. Amer. Statist. Assoc. 58), theorem 4: draws without replacement are no wider than with",
        "Barnard 1963, discussion of Bartlett (JRSS B), for the rank of the true key among drawn ones",
    ),
    assumptions=(
        "under drawn keys the sums behave as their law has it",
        "the documents that were read carry no mark of the key",
        "both models have the marked model's tokenizer",
    ),
    looks_same=(
        "marked answers that were published, and read there",
        "a customer with the right to train on what it received",
        "a model trained on such a model",
    ),
)
NEED = 20
KEPT = 256
COMPARED = 8
"""Drawn keys by which it is told whether the list of a context depends on the key."""
Averaged = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Shift:
    """How two models differ, place by place; a context counts once a document.

    Attributes
    ----------
    contexts
        int64 (places, width). Ids before each place.
    tokens
        int64 (places, kept). Those whose probability differs most, by the difference and never by a key.
    weights
        float32 (places, kept). Probability under the model less that under its reference.
    """

    contexts: NDArray[np.int64]
    tokens: NDArray[np.int64]
    weights: NDArray[np.float32]


def shift(
    documents: Sequence[NDArray[np.int64]],
    starts: Sequence[int],
    model: Iterable[NDArray[np.float32]],
    reference: Iterable[NDArray[np.float32]],
    *,
    width: int,
    kept: int = KEPT,
) -> Shift:
    """How a model differs from its reference on documents that both read.

    Parameters
    ----------
    starts
        First place of each document that is asked.
    model, reference
        For each document log-probabilities of every token at the places from its start on, (places, vocabulary).
    width
        Ids of the context that the mark's list depends on, 1 or above.
    kept
        Tokens that are kept at each place.
    """
    contexts, tokens, weights = [np.empty((0, width), np.int64)], [], []
    for document, start, ours, theirs in zip(documents, starts, model, reference, strict=True):
        prints, whole = windows(document, width)
        new = np.zeros(len(prints), bool)
        new[whole] = first_of(prints[whole])
        places = np.arange(start, len(document))[(new & whole)[start:]]
        moved = np.exp(ours[places - start]) - np.exp(theirs[places - start])
        kept = min(kept, moved.shape[1])
        most = np.sort(np.argpartition(-np.abs(moved), kept - 1, axis=1)[:, :kept], axis=1)
        contexts.append(document[places[:, None] + np.arange(-width, 0)])
        tokens.append(most)
        weights.append(np.take_along_axis(moved, most, axis=1))
    if not tokens:
        return Shift(contexts[0], np.empty((0, kept), np.int64), np.empty((0, kept), np.float32))
    return Shift(np.concatenate(contexts), np.concatenate(tokens), np.concatenate(weights))


def test(
    contexts: NDArray[np.int64],
    tokens: NDArray[np.int64],
    weights: NDArray[np.float32],
    key: Any,
    *,
    decoys: Sequence[Any],
    scheme: str,
    parameters: Mapping[str, Any],
    vocabulary: int,
) -> TestResult:
    """Decide whether the probability that training moved went to a key's favoured tokens (`CARD`).

    *Null*: `CARD.null`. The list of each context is then a random part of the vocabulary, drawn anew for each. The sum
    of what moved to favoured tokens has a bound from its moments (Chernoff, Hoeffding 1963), and among drawn keys a
    random rank. p is twice the smaller of the two, so that neither is chosen afterwards; where drawn keys do not behave
    as the law has it, the rank alone.

    Parameters
    ----------
    contexts, tokens, weights
        As in `Shift`. Places of one context are averaged, so that a frequent one does not outweigh all others. One
        whose list is the same for every key is left out.
    key, decoys
        As the scheme's `mark` takes one; decoys never served, at least 200 of them.
    scheme
        Name of a module of `stillwatch.marks.schemes` that adds to the logits of a list.
    parameters
        Of its `read`.
    vocabulary
        Tokens of the marked model.

    Raises
    ------
    InsufficientData
        Fewer than 20 distinct contexts.
    InputError
        Fewer than 200 decoys, or the scheme has no lists.

    *Wrong when* the documents carry the mark, or the reference was itself trained on marked answers.
    """
    return every(
        contexts, tokens, weights, {"": key},
        decoys=decoys, scheme=scheme, parameters=parameters, vocabulary=vocabulary,
    )[""]  # fmt: skip


def every(
    contexts: NDArray[np.int64],
    tokens: NDArray[np.int64],
    weights: NDArray[np.float32],
    keys: Mapping[str, Any],
    *,
    decoys: Sequence[Any],
    scheme: str,
    parameters: Mapping[str, Any],
    vocabulary: int,
) -> dict[str, TestResult]:
    """`test` for each of several keys of one scheme, against the same decoys; p-values are not adjusted for them all.

    Raises
    ------
    As `test`.
    """
    if len(decoys) < FEWEST_DECOYS:
        raise InputError(f"at least {FEWEST_DECOYS} decoy keys are needed, found {len(decoys)}")
    share = gamma_of(scheme, parameters, vocabulary)
    green = favoured(scheme, parameters, vocabulary)
    own, first, ids, moved = _by_key(_averaged(contexts, tokens, weights), green, decoys)
    if len(own) < NEED:
        raise InsufficientData(NEED, len(own), "distinct contexts")
    sums = np.array([float(moved[green(k, own, first, ids)].sum()) for k in (*keys.values(), *decoys)])
    of_context = np.add.reduceat(moved, first[:-1])
    if not np.square(moved).sum() > 0:
        raise InsufficientData(1, 0, "contexts in which anything moved")
    variance = share * (1 - share) * (np.square(moved).sum() - np.square(of_context).sum() / vocabulary)
    scores = (sums - share * moved.sum()) / math.sqrt(variance)
    drawn = scores[len(keys) :]
    sound, seen = calibrated(drawn)
    found = {}
    for name, total, score in zip(keys, sums.tolist(), scores.tolist(), strict=False):
        effect = (total - share * float(moved.sum())) / len(own)
        found[name] = _result(effect, score, log_bound(moved, total, share), drawn, sound, seen, len(own))
    return found


def _result(
    effect: float,
    score: float,
    bound: float,
    drawn: NDArray[np.float64],
    sound: bool,
    seen: str,
    contexts: int,
) -> TestResult:
    rank = 1 + int((drawn >= score).sum())
    by_rank = math.log(rank / (len(drawn) + 1))
    by_bound = sound and bound < by_rank
    log_p = min(0.0, math.log(2) + min(bound, by_rank)) if sound else by_rank
    return TestResult(
        test=f"{CARD.name}@{CARD.version}",
        statistic=score,
        null=Null(CARD.null, "exact", CARD.unit)
        if by_bound
        else Null(CARD.null, "simulation", "drawn key", len(drawn)),
        n=contexts,
        unit=CARD.unit,
        log_pvalue=log_p,
        effect=effect,
        effect_name="probability moved to favoured tokens, a context",
        assumptions=(
            Assumption(CARD.assumptions[0], "checked" if sound else "violated", seen),
            *(Assumption(text) for text in CARD.assumptions[1:]),
        ),
        note=f"rank of the true key: {rank} of {len(drawn) + 1}",
    )


def log_bound(weights: NDArray[np.float64], total: float, share: float) -> float:
    """At most the natural log of how improbable it is that random lists take `total` or more of `weights`; at most 0.

    The logarithm of the moment generating function of one list is at most ``share * sum(exp(t w) - 1)``: drawn without
    replacement it is below that of draws with replacement (Hoeffding 1963, theorem 4), and ``log(1 + x) <= x``.
    """
    if total <= share * weights.sum():
        return 0.0
    large = float(np.abs(weights).max())

    def log_p(t: float) -> float:
        return float(share * np.expm1(t * weights).sum() - t * total)

    found = minimize_scalar(
        log_p, bounds=(0.0, 100.0 / large), method="bounded", options={"xatol": 1e-6 / large}
    )
    return min(0.0, float(found.fun))


def gamma_of(scheme: str, parameters: Mapping[str, Any], vocabulary: int) -> float:
    """The share of the vocabulary that a list has.

    Raises
    ------
    InputError
        The scheme has no lists.
    """
    taken = signature(reader(scheme).read).parameters
    if "gamma" not in taken:
        raise InputError(f"{scheme} favours no list of tokens, so there is no mass of one")
    share = float(parameters.get("gamma", taken["gamma"].default))
    return int(share * vocabulary) / vocabulary


def simulate(rng: np.random.Generator, *, effect: float, n: int) -> dict[str, Any]:
    """Two models that differ at `n` contexts; at effect 1 one has 2 added to the logits of favoured tokens."""
    scheme, vocabulary = "transformers_red_green", 512
    key, *decoys = (int(k) for k in rng.integers(1, 2**62, FEWEST_DECOYS + 1))
    context = rng.permutation(np.arange(1, vocabulary))[:n, None]
    before = -1.1 * np.log(np.arange(2.0, vocabulary + 2)) + rng.normal(0.0, 1.0, (n, vocabulary))
    after = before + rng.normal(0.0, 0.3, before.shape)
    if effect:
        after = reader(scheme).mark(after, context, key, delta=2.0 * effect)
    logs = [(x - np.log(np.exp(x).sum(axis=1, keepdims=True))).astype(np.float32) for x in (after, before)]
    moved = np.exp(logs[0]) - np.exp(logs[1])
    most = np.argsort(-np.abs(moved), axis=1)[:, :64]
    return {
        "contexts": context,
        "tokens": most,
        "weights": np.take_along_axis(moved, most, axis=1),
        "key": key,
        "decoys": decoys,
        "scheme": scheme,
        "parameters": {"vocab_size": vocabulary},
        "vocabulary": vocabulary,
    }


def _by_key(averaged: Averaged, green: Asked, decoys: Sequence[Any]) -> Averaged:
    """Without contexts whose list is the same for every key, such as id 0 in Hugging Face's left hash."""
    own, first, ids, moved = averaged
    if not len(own):
        return averaged
    told = np.array([green(key, own, first, ids) for key in decoys[:COMPARED]])
    differs = np.logical_or.reduceat((told != told[0]).any(axis=0), first[:-1])
    kept = np.repeat(differs, np.diff(first))
    return own[differs], np.append(0, np.cumsum(np.diff(first)[differs])), ids[kept], moved[kept]


def _averaged(
    contexts: NDArray[np.int64], tokens: NDArray[np.int64], weights: NDArray[np.float32]
) -> Averaged:
    """Distinct contexts, where the pairs of each begin, and of each pair the token and the mean over its places."""
    own, which, places = np.unique(contexts, axis=0, return_inverse=True, return_counts=True)
    of_pair = np.repeat(which.ravel(), tokens.shape[1]) if tokens.size else np.empty(0, np.int64)
    pairs, where = np.unique(np.column_stack([of_pair, tokens.ravel()]), axis=0, return_inverse=True)
    total = np.bincount(where.ravel(), weights.ravel().astype(np.float64), len(pairs))
    first = np.searchsorted(pairs[:, 0], np.arange(len(own) + 1))
    return own, first, np.ascontiguousarray(pairs[:, 1]), total / places[pairs[:, 0]]
