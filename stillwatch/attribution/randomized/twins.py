"""Twins: does a model prefer the answers that were served over those that a coin withheld?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwatch.errors import InputError, InsufficientData
from stillwatch.records import Assumption, Card, Null, TestResult
from stillwatch.stats.intervals import clopper_pearson
from stillwatch.stats.sums import coins_log_pvalue

CARD = Card(
    name="twins",
    version="1",
    title="served answers against their withheld twins",
    question="was it trained on what we served",
    null="The model depends on no coin that decided which of two answers was served.",
    unit="pair of answers, one coin each",
    access=("model.log_probabilities",),
    sources=(
        "Fisher 1935, The Design of Experiments, ch. II, for the test by the coins themselves",
        "Shafer 2021, Testing by betting (JRSS A), for the e-value",
    ),
    assumptions=(
        "the coins were fair and committed before the answers were drawn; one answer of each pair was never given away",
        "each coin is counted once: pairs with the same two answers are one pair",
    ),
    looks_same=(
        "somebody else published the served answers, and the model read them there",
        "a customer with the right to train on what it received",
    ),
)
FEWEST = 10
LEVELS = 32
"""Steps of the weights: a pair counts by how far its two answers lie apart."""
STAKES = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Parts of the wealth that are bet; the e-value is the mean over them."""
SHINGLE = 5
"""Characters in a shingle of the text form."""


def test(preference: NDArray[np.float64]) -> TestResult:
    """Decide whether a model leans towards the served answers (`CARD`).

    *Null*: `CARD.null`. Which answer of a pair was served is then a fair coin whatever else is known, so each
    preference has its sign by that coin. The weight of a pair is a whole number made from its size alone.

    Parameters
    ----------
    preference
        Shape (pairs,), in the order in which the coins fell: log-probability of the served answer minus that of the
        withheld one, in one unit throughout (a total, or a mean by token); or what `nearer` gives, where only texts of
        the model are to be had. A 0 says nothing and is left out.

    Returns
    -------
    p: exact, of the sum of the weights of the pairs that prefer the served answer. e: wealth of bets on one pair
    after the other, each with a weight from what came before; it may be looked at after any pair.

    Raises
    ------
    InsufficientData
        Fewer than ten pairs with a preference.

    *Wrong when* the withheld answers were given away too, or the pairs were picked after the model was asked.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> found = test(rng.normal(0.5, 1.0, 400))
    >>> f"p = {np.exp(found.log_pvalue):.0e}: it prefers {found.effect + 0.5:.0%} of the answers that were served"
    'p = 1e-18: it prefers 68% of the answers that were served'
    """
    given = np.asarray(preference, np.float64)
    if given.ndim != 1 or not np.isfinite(given).all():
        raise InputError("preference: finite numbers, one for each pair")
    d = given[given != 0]
    if d.size < FEWEST:
        raise InsufficientData(FEWEST, int(d.size), "pairs with a preference")
    weights = _weights(np.abs(d))
    won = d > 0
    share = float(won.mean())
    low, high = clopper_pearson(int(won.sum()), int(d.size))
    log_e, ceiling = _bets(d)
    return TestResult(
        test=f"{CARD.name}@{CARD.version}",
        statistic=float(weights[won].sum()),
        null=Null(CARD.null, "exact", CARD.unit),
        n=int(d.size),
        unit="pair with a preference",
        log_pvalue=coins_log_pvalue(weights, int(weights[won].sum())),
        log_evalue=log_e,
        log_evalue_ceiling=ceiling,
        anytime=True,
        effect=share - 0.5,
        effect_name="share of pairs that prefer the served answer, above one half",
        interval=(low - 0.5, high - 0.5),
        assumptions=tuple(Assumption(text) for text in CARD.assumptions),
        note=f"{given.size - d.size} pairs without a preference" if d.size < given.size else "",
    )


def wealth(preference: NDArray[np.float64]) -> NDArray[np.float64]:
    """The log e-value of `test` after each pair, so that it can be watched day by day.

    Parameters
    ----------
    preference
        As in `test`, in the order in which the coins fell.

    Returns
    -------
    float64 (pairs,), 0 while no pair had a preference. Under the null it ever reaches log(1 / alpha), on whatever day
    and however often it is looked at, with probability alpha at most (Ville 1939).

    Examples
    --------
    >>> log_e = wealth(np.r_[np.ones(20), -1.0])
    >>> f"{np.exp(log_e[9]):.0f} after ten pairs, {np.exp(log_e[19]):.0f} after twenty, then {np.exp(log_e[20]):.0f}"
    '8 after ten pairs, 177 after twenty, then 109'
    """
    given = np.asarray(preference, np.float64)
    if given.ndim != 1 or not np.isfinite(given).all():
        raise InputError("preference: finite numbers, one for each pair")
    told = given != 0
    logs = np.r_[0.0, _running(given[told], np.sign(given[told]))]
    return np.asarray(logs[np.cumsum(told)])


def nearer(
    answers: Sequence[Sequence[str]], served: Sequence[str], withheld: Sequence[str]
) -> NDArray[np.float64]:
    """The text form: how much nearer a model's own answers stand to the served answer than to its twin.

    Of the shingles (runs of five characters, case and white space folded) that only one of the two answers has, the
    part that the model's answer has too: of those of the served one, less of those of the withheld one. A shingle
    counts by how few of all answers have it. Exchanging the two changes the sign and nothing else, which is all that
    `test` needs.

    Parameters
    ----------
    answers
        For each pair, what the model says to the same prompt, once or several times (the mean is taken).
    served, withheld
        The two answers of each pair.

    Returns
    -------
    float64 (pairs,), -1 to 1: a `preference` for `test`. 0 where there is no answer, or none says anything.

    Raises
    ------
    InputError
        Unlike numbers of pairs.

    Examples
    --------
    >>> nearer([["The sky is blue, as is the sea."]], ["Blue is the sky."], ["It has no colour."]).round(2).tolist()
    [0.58]
    """
    if not len(answers) == len(served) == len(withheld):
        raise InputError(
            f"pairs of unlike number: {len(answers)} answers, {len(served)} served, {len(withheld)} withheld"
        )
    pairs = [(_shingles(one), _shingles(other)) for one, other in zip(served, withheld, strict=True)]
    often = Counter(shingle for pair in pairs for side in pair for shingle in side)
    out = np.zeros(len(pairs))
    for i, (one, other) in enumerate(pairs):
        own = [_shingles(text) for text in answers[i]]
        if own:
            out[i] = np.mean([_shared(a, one - other, often) - _shared(a, other - one, often) for a in own])
    return out


def simulate(rng: np.random.Generator, *, effect: float, n: int) -> dict[str, Any]:
    """`n` pairs whose two answers differ by heavy-tailed amounts; at effect 1 the served one is 1 ahead on average."""
    return {"preference": rng.standard_t(3, n) * rng.choice([1.0, 4.0], n) + effect}


def _weights(sizes: NDArray[np.float64]) -> NDArray[np.int64]:
    """1 to `LEVELS` by the rank of the size: bounded, so that one pair never decides."""
    order = np.argsort(np.argsort(sizes, kind="stable"), kind="stable")
    return (1 + (order * LEVELS) // len(sizes)).astype(np.int64)


def _shingles(text: str) -> set[str]:
    folded = " ".join(text.casefold().split())
    return {folded[i : i + SHINGLE] for i in range(max(1, len(folded) - SHINGLE + 1))} if folded else set()


def _shared(own: set[str], only: set[str], often: Counter[str]) -> float:
    """The part of `only` that `own` has too; sorted, so that the sum does not hang on the order of a set."""
    weights = [(1.0 / often[shingle], shingle in own) for shingle in sorted(only)]
    return sum(w for w, has in weights if has) / sum(w for w, _ in weights) if weights else 0.0


def _bets(d: NDArray[np.float64]) -> tuple[float, float]:
    """Log wealth after all pairs, averaged over the stakes, and what it had been had every bet been won."""
    return float(_running(d, np.sign(d))[-1]), float(_running(d, np.ones(len(d)))[-1])


def _running(d: NDArray[np.float64], sign: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log wealth after each of the pairs, the mean over the stakes; `sign` says which bets are won."""
    if len(d) == 0:
        return np.empty(0)
    sizes = np.abs(d)
    # A pair weighs by its size against the mean of those before it, which is known before its coin is.
    before = np.r_[sizes[0], np.cumsum(sizes)[:-1] / np.arange(1, len(d))]
    weight = sizes / (sizes + before) * sign
    logs = np.cumsum(np.log1p(np.outer(STAKES, weight)), axis=1)
    return np.asarray(np.logaddexp.reduce(logs, axis=0) - np.log(len(STAKES)))
