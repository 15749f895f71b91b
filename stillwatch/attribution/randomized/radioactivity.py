"""Radioactivity: do a model's predictions lean towards the tokens that a key of ours favours?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwatch.errors import InputError
from stillwatch.marks.drawn_keys import FEWEST_DECOYS, calibrated, chance_of, log_pvalues, standardised
from stillwatch.marks.reading import Reading
from stillwatch.marks.table_reading import TableReading
from stillwatch.marks.widths import reader
from stillwatch.records import Assumption, Card, Checked, Null, TestResult
from stillwatch.stats.multiplicity import holm

CARD = Card(
    name="radioactivity",
    version="1",
    title="predictions towards the tokens that our key favours",
    question="was it trained on what we served",
    null="The key was drawn at random and the model does not depend on it.",
    unit="distinct pair of context and predicted token",
    access=("model.predictions",),
    sources=(
        "Sander et al. 2024, Watermarking Makes Language Models Radioactive (NeurIPS), for the test and its tape",
        "Barnard 1963, discussion of Bartlett (JRSS B), for the rank of the true key among drawn ones",
    ),
    assumptions=(
        "under drawn keys the exact p-values of the same predictions behave as they should",
        "the predictions are in the ids of the marked model's tokenizer",
        "in each document that was read a context counts where it is new: nothing before it was chosen by its draw",
    ),
    looks_same=(
        "marked answers that were published, and read there",
        "a customer with the right to train on what it received",
        "a model trained on such a model",
    ),
)


def test(
    tokens: NDArray[np.int64],
    ends: NDArray[np.int64],
    key: Any,
    *,
    decoys: Sequence[Any],
    scheme: str,
    parameters: Mapping[str, Any],
) -> TestResult:
    """Decide whether a model's predictions depend on a key (`CARD`).

    *Null*: `CARD.null`. Each distinct pair of context and predicted token is then favoured by chance, as the exact tail
    of the scheme has it. The same predictions are read under at least 200 other keys: where their scores are
    higher than mean 0 or wider than spread 1 the tail is not believed, and p is the rank of the true key among them.

    Parameters
    ----------
    tokens, ends
        Of `stillwatch.attribution.predictions.Predictions`, or any text of a model: documents in token ids.
    key
        As the scheme's `read` takes one.
    decoys
        Other keys of the same shape that never served, at least 200.
    scheme
        Name of a module of `stillwatch.marks.schemes`.
    parameters
        Of its `read`.

    Raises
    ------
    InsufficientData
        Fewer distinct pairs than the scheme needs.
    InputError
        Fewer than 200 decoys, or there is no such scheme.

    *Wrong when* contexts are counted that stood before in a document that carries the key, or keys were tried until one
    passed: see `which_scope` for several.
    """
    return every(tokens, ends, {"": key}, decoys=decoys, scheme=scheme, parameters=parameters)[""]


def every(
    tokens: NDArray[np.int64],
    ends: NDArray[np.int64],
    keys: Mapping[str, Any],
    *,
    decoys: Sequence[Any],
    scheme: str,
    parameters: Mapping[str, Any],
) -> dict[str, TestResult]:
    """`test` for each of several keys of one scheme, on one reading; p-values are not adjusted for their number.

    Raises
    ------
    As `test`.
    """
    names = list(keys)
    reading: Reading | TableReading = reader(scheme).read(
        tokens, [*keys.values(), *_enough(decoys)], ends=ends, **parameters
    )
    return results(reading, names)


def results(
    reading: Reading | TableReading, names: Sequence[str], *, carried: bool = False
) -> dict[str, TestResult]:
    """What a reading says of its first keys, one for each name, against the decoys that follow them.

    Parameters
    ----------
    carried
        The documents that the model read carry a mark of these keys. No decoy made any of them, so decoys show how
        predictions behave under other keys and cannot show that nothing of the true key reached them by the text.

    Raises
    ------
    InsufficientData
        Fewer distinct pairs than the scheme needs.
    InputError
        Fewer than 200 decoys.
    """
    logs, scores = log_pvalues(reading), standardised(reading)
    drawn = np.sort(logs[len(names) :])
    _enough(drawn)
    sound, seen = calibrated(scores[len(names) :])
    null = (
        Null(CARD.null, "exact", CARD.unit)
        if sound
        else Null(CARD.null, "simulation", "drawn key", len(drawn))
    )
    chance = chance_of(reading)
    status: Checked = "violated" if not sound else "not checked" if carried else "checked"
    seen += "; none of them made the documents" if carried else ""
    found = {}
    for i, name in enumerate(names):
        rank = 1 + int(np.searchsorted(drawn, logs[i], "right"))
        n = int(reading.scored[i])
        found[name] = TestResult(
            test=f"{CARD.name}@{CARD.version}",
            statistic=float(scores[i]),
            null=null,
            n=n,
            unit=CARD.unit,
            log_pvalue=float(logs[i]) if sound else math.log(rank / (len(drawn) + 1)),
            effect=float(reading.statistic[i]) / (n * reading.draws) - chance,
            effect_name="mean score above 1" if chance == 1 else "share of favoured tokens above chance",
            assumptions=(
                Assumption(CARD.assumptions[0], status, seen),
                *(Assumption(text) for text in CARD.assumptions[1:]),
            ),
            note=f"rank of the true key: {rank} of {len(drawn) + 1}",
        )
    return found


def which_scope(
    tokens: NDArray[np.int64],
    ends: NDArray[np.int64],
    keys: Mapping[str, Any],
    *,
    decoys: Sequence[Any],
    scheme: str,
    parameters: Mapping[str, Any],
    alpha: float = 0.05,
) -> tuple[str | None, dict[str, float]]:
    """Through whose key did the text leave, if through any?

    Returns
    -------
    tuple
        The scope with the smallest adjusted p-value, or None where no adjusted p-value is `alpha` or less; and for each
        scope the logarithm of its p-value, adjusted over all of them (Holm: any dependence). The chance of naming a
        scope although the model depends on no key is at most `alpha`, over keys drawn anew; what was seen of it stands
        in the method's page.

    Raises
    ------
    As `test`.
    """
    found = every(tokens, ends, keys, decoys=decoys, scheme=scheme, parameters=parameters)
    return named(found, alpha=alpha)


def named(found: Mapping[str, TestResult], *, alpha: float = 0.05) -> tuple[str | None, dict[str, float]]:
    """`which_scope` of results that are there already."""
    names = list(found)
    adjusted = holm(np.array([found[name].log_pvalue for name in names]))
    told = dict(zip(names, adjusted.tolist(), strict=True))
    best = min(names, key=told.__getitem__) if names else None
    return (best if best is not None and told[best] <= math.log(alpha) else None), told


def simulate(rng: np.random.Generator, *, effect: float, n: int) -> dict[str, Any]:
    """`n` predictions after random contexts; at effect 1 the red-green mark adds 4 to the logits of favoured tokens."""
    scheme, vocabulary = "transformers_red_green", 512
    key, *decoys = (int(k) for k in rng.integers(1, 2**62, FEWEST_DECOYS + 1))
    context = rng.integers(1, vocabulary, (n, 1))
    logits = -1.1 * np.log(np.arange(2.0, vocabulary + 2)) + rng.normal(0.0, 1.0, (n, vocabulary))
    if effect:
        logits = reader(scheme).mark(logits, context, key, delta=4.0 * effect)
    best = np.argmax(logits + rng.gumbel(size=logits.shape), axis=1)
    return {
        "tokens": np.column_stack([context, best]).ravel(),
        "ends": 2 * np.arange(1, n + 1),
        "key": key,
        "decoys": decoys,
        "scheme": scheme,
        "parameters": {"vocab_size": vocabulary},
    }


def _enough(decoys: Sequence[Any] | NDArray[np.float64]) -> Sequence[Any] | NDArray[np.float64]:
    if len(decoys) < FEWEST_DECOYS:
        raise InputError(f"at least {FEWEST_DECOYS} decoy keys are needed, found {len(decoys)}")
    return decoys
