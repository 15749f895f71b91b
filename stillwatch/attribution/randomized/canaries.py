"""Canaries: does a model favour the phrasings that were planted over decoys drawn in the same way?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwatch.errors import InputError, InsufficientData
from stillwatch.records import Assumption, Card, Null, TestResult
from stillwatch.stats.sums import ranks_log_pvalue

CARD = Card(
    name="canaries",
    version="1",
    title="planted phrasings against decoys",
    question="was it trained on what we served",
    null="The model does not depend on which of the drawn phrasings was planted.",
    unit="canary with its decoys",
    access=("model.log_probabilities|model.answers",),
    sources=(
        "Carlini et al. 2019, The Secret Sharer (USENIX Security), for exposure by rank among decoys",
        "Barnard 1963, discussion of Bartlett (JRSS B), for the Monte Carlo rank test",
    ),
    assumptions=(
        "the planted phrasing and its decoys were drawn by key from one distribution, and the decoys were never served",
        "what is asked, and in which words, was registered before the model was",
    ),
    looks_same=("the served answers were published, and the model read them there",),
)
FEWEST = 8


def test(planted: NDArray[np.float64], decoys: NDArray[np.float64]) -> TestResult:
    """Decide whether planted phrasings rank above their decoys more than a draw allows (`CARD`).

    *Null*: `CARD.null`. Among itself and its m decoys each planted one then has a uniform rank, independently of the
    others. The statistic is the number of decoys beaten, over all canaries; a tie is no win, which is conservative.

    Parameters
    ----------
    planted
        Shape (canaries,): how much the model favours each (a log-probability, or how often it says it).
    decoys
        Shape (canaries, m): the same of each decoy. NaN where a canary has fewer.

    Raises
    ------
    InsufficientData
        Fewer than eight canaries with a decoy.

    *Wrong when* decoys differ from what was planted in more than the draw (longer, rarer), or were served as well.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> found = test(rng.normal(1.0, 1.0, 40), rng.normal(0.0, 1.0, (40, 9)))
    >>> f"p = {np.exp(found.log_pvalue):.0e}: a planted phrasing beats {found.effect + 0.5:.0%} of its decoys"
    'p = 5e-07: a planted phrasing beats 73% of its decoys'
    """
    one, many = np.asarray(planted, np.float64), np.asarray(decoys, np.float64)
    if one.ndim != 1 or many.ndim != 2 or len(one) != len(many):
        raise InputError(
            f"planted (canaries,) and decoys (canaries, m) are expected, found {one.shape} and {many.shape}"
        )
    if not np.isfinite(one).all():
        raise InputError("planted: finite numbers, one for each canary")
    sizes = (~np.isnan(many)).sum(axis=1)
    told = sizes > 0
    if told.sum() < FEWEST:
        raise InsufficientData(FEWEST, int(told.sum()), "canaries with a decoy")
    beaten = (one[told, None] > many[told]).sum(axis=1)
    total, most = int(beaten.sum()), int(sizes[told].sum())
    return TestResult(
        test=f"{CARD.name}@{CARD.version}",
        statistic=float(total),
        null=Null(CARD.null, "exact", CARD.unit),
        n=int(told.sum()),
        unit="canary",
        log_pvalue=ranks_log_pvalue(sizes[told], total),
        effect=total / most - 0.5,
        effect_name="share of decoys beaten, above one half",
        assumptions=tuple(Assumption(text) for text in CARD.assumptions),
    )


def simulate(rng: np.random.Generator, *, effect: float, n: int) -> dict[str, Any]:
    """`n` canaries with nine decoys each, scores standard normal; the planted ones are `effect` higher."""
    level = rng.normal(0, 3, n)  # some phrasings are likelier than others, decoys with them
    return {"planted": level + rng.normal(effect, 1, n), "decoys": level[:, None] + rng.normal(0, 1, (n, 9))}
