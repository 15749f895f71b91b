"""What the tests of the signals share: from bets to a result, and a pool for `simulate`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stillwatch.errors import InsufficientData
from stillwatch.records import Assumption, Card, Null, TestResult
from stillwatch.stats.combine import average_evalues
from stillwatch.stats.intervals import clopper_pearson
from stillwatch.stats.sequential import MemberBets, predict_members


def member_result(card: Card, bets: MemberBets, *, gamma: float, seed: int, note: str = "") -> TestResult:
    """The bets on one group as a TestResult.

    The effect is the share of bets won less the share that the matched pool would have won, with the
    Clopper-Pearson interval of the former.

    Raises
    ------
    InsufficientData
        No bet could be placed: nobody, or everybody, in the pool has what was predicted.
    """
    if bets.bets == 0:
        raise InsufficientData(1, 0, "members on whom a bet can be placed")
    low, high = clopper_pearson(bets.wins, bets.bets, 0.95)
    return TestResult(
        test=f"{card.name}@{card.version}",
        statistic=float(bets.wins),
        null=Null(card.null.replace("gamma", f"{gamma:g}", 1), "betting", card.unit),
        n=bets.bets,
        unit="bets on a member",
        log_evalue=bets.log_evalue,
        log_evalue_ceiling=max(bets.log_ceiling, bets.log_evalue),
        effect=bets.wins / bets.bets - bets.expected,
        effect_name="share of members alike, less the share of matched accounts",
        interval=(low - bets.expected, high - bets.expected),
        assumptions=tuple(Assumption(text.replace("gamma", f"{gamma:g}")) for text in card.assumptions),
        seed=seed,
        note=note,
    )


def planted_pool(
    rng: np.random.Generator, n: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Positions of a pool of ``20 n`` accounts, `n` members drawn from it at random, and three strata."""
    pool = np.arange(20 * n)
    return pool, rng.choice(pool, n, replace=False), rng.integers(0, 3, len(pool))


def average_result(
    card: Card,
    kinds: list[NDArray[np.int64]],
    members: NDArray[np.int64],
    strata: NDArray[np.int64],
    *,
    gamma: float,
    seed: int,
) -> TestResult:
    """One e-value for each kind of value, averaged; the statistic and the effect are those of the strongest kind.

    Raises
    ------
    InsufficientData
        No kind allows a bet.
    """
    rng = np.random.default_rng(seed)
    results, missing = [], InsufficientData(1, 0, "kinds of value that are known")
    for values in kinds:
        try:
            bets = predict_members(values, members, strata, gamma=gamma, rng=rng)
            results.append(member_result(card, bets, gamma=gamma, seed=seed))
        except InsufficientData as why:
            missing = why
    if not results:
        raise missing
    logs = np.array([r.log_evalue for r in results], float)
    ceilings = np.array([r.log_evalue_ceiling for r in results], float)
    return replace(
        results[int(logs.argmax())],
        log_evalue=float(average_evalues(logs)),
        log_evalue_ceiling=float(average_evalues(ceilings)),
        note=f"average over {len(results)} kinds of value",
    )
