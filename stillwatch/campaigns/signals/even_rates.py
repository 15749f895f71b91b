"""Spread of rates: do the accounts of a group ask at nearly one rate?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwatch.campaigns.evidence import member_result, planted_pool
from stillwatch.campaigns.reading import Values
from stillwatch.engine.steps import Step
from stillwatch.records import Card, TestResult
from stillwatch.stats.sequential import predict_members

CARD = Card(
    name="even_rates",
    version="1",
    title="even rates",
    question="acts as one",
    null="A member is at most gamma times as likely, in odds, as an account drawn from the matched pool to ask at a "
    "rate within the shortest span of rates that holds four fifths of the members seen before.",
    unit="account",
    access=("exchanges.time",),
    sources=(
        "Provider reports of 2026 on traffic that resembles load balancing",
        "Shafer 2021, Testing by betting (JRSS A), for the e-value",
    ),
    assumptions=(
        "honest members of a group ask at equal rates at most gamma times as often as matched accounts",
        "accounts are compared within strata of volume, so a common level alone says nothing",
    ),
    looks_same=(
        "one scheduler run by several customers",
        "CI runners of one project",
        "a plan that most users exhaust",
    ),
)
PROPOSES = False
VALUES = Values("number", scoped=True)


def steps() -> list[Step]:
    """``even_rates`` (account_id, family, value): log requests a day over the account's active span in `scope`."""
    return [
        Step(
            "even_rates",
            """
select s.account_id as account_id, s.family as family,
       ln(count(*) * 1e0 / (max(s.day) - min(s.day) + 1)) as value
from scope as s
group by s.account_id, s.family
having max(s.day) > min(s.day)""",
            "requests a day between the first and the last day seen",
        )
    ]


def test(
    values: NDArray[np.float64],
    members: NDArray[np.int64],
    strata: NDArray[np.int64],
    *,
    seed: int,
    gamma: float = 3.0,
) -> TestResult:
    """Are the members' rates closer together than those of matched accounts?

    *Null*: `CARD.null`.

    Parameters
    ----------
    values
        Shape (pool,), natural logarithm of requests a day; NaN: seen on one day only.
    members, strata, gamma
        As in `stats.sequential.predict_members`.

    Raises
    ------
    InsufficientData
        Fewer than five members were seen on two days.
    """
    bets = predict_members(values, members, strata, gamma=gamma, rng=np.random.default_rng(seed))
    return member_result(CARD, bets, gamma=gamma, seed=seed)


def simulate(rng: np.random.Generator, *, effect: float, n: int) -> dict[str, Any]:
    """Log-normal rates; the share `effect` of the group within 5% of 26 a day."""
    pool, members, strata = planted_pool(rng, n)
    values = rng.normal(1, 1.5, len(pool))
    even = members[rng.random(n) < 0.9 * effect]
    values[even] = np.log(26) + rng.normal(0, 0.05, len(even))
    return {"values": values, "members": members, "strata": strata, "seed": int(rng.integers(2**31))}
