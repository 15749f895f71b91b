"""Twins: does a model prefer the answers that were served over those that a coin withheld?"""

from __future__ import annotations

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


def test(preference: NDArray[np.float64]) -> TestResult:
    """Decide whether a model leans towards the served answers (`CARD`).

    *Null*: `CARD.null`. Which answer of a pair was served is then a fair coin whatever else is known, so each
    preference has its sign by that coin. The weight of a pair is a whole number made from its size alone.

    Parameters
    ----------
    preference
        Shape (pairs,), in the order in which the coins fell: log-probability of the served answer minus that of the
        withheld one, in one unit throughout (a total, or a mean by token). A 0 says nothing and is left out.

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


def simulate(rng: np.random.Generator, *, effect: float, n: int) -> dict[str, Any]:
    """`n` pairs whose two answers differ by heavy-tailed amounts; at effect 1 the served one is 1 ahead on average."""
    return {"preference": rng.standard_t(3, n) * rng.choice([1.0, 4.0], n) + effect}


def _weights(sizes: NDArray[np.float64]) -> NDArray[np.int64]:
    """1 to `LEVELS` by the rank of the size: bounded, so that one pair never decides."""
    order = np.argsort(np.argsort(sizes, kind="stable"), kind="stable")
    return (1 + (order * LEVELS) // len(sizes)).astype(np.int64)


def _bets(d: NDArray[np.float64]) -> tuple[float, float]:
    """Log wealth after all pairs, averaged over the stakes, and what it had been had every bet been won."""
    sizes = np.abs(d)
    # A pair weighs by its size against the mean of those before it, which is known before its coin is.
    before = np.r_[sizes[0], np.cumsum(sizes)[:-1] / np.arange(1, len(d))]
    weight, sign = sizes / (sizes + before), np.sign(d)
    won = np.array([np.log1p(stake * weight * sign).sum() for stake in STAKES])
    most = np.array([np.log1p(stake * weight).sum() for stake in STAKES])
    return _log_mean(won), _log_mean(most)


def _log_mean(logs: NDArray[np.float64]) -> float:
    return float(np.logaddexp.reduce(logs) - np.log(len(logs)))
