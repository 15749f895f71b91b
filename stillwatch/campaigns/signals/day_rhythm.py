"""Day rhythm: do the accounts of a group have one rhythm of the day, or all of them none?"""

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
    name="day_rhythm",
    version="1",
    title="day rhythm",
    question="acts as one",
    null="A member is at most gamma times as likely, in odds, as an account drawn from the matched pool to have a "
    "strength of daily rhythm within the shortest span that holds four fifths of the members seen before.",
    unit="account",
    access=("exchanges.time",),
    sources=(
        "Mardia, Jupp 2000, Directional Statistics, section 2.3, for the mean resultant length",
        "Joint advisory AA26-251A (as paraphrased in public tools) on use round the clock without a human rhythm",
    ),
    assumptions=(
        "honest members of a group are alike in rhythm at most gamma times as often as matched accounts",
    ),
    looks_same=("services of unrelated customers, which have no rhythm either", "people of one time zone"),
)
PROPOSES = False
VALUES = Values("number", scoped=True)
LEAST_EXCHANGES = 8


def steps() -> list[Step]:
    """``day_rhythm`` (account_id, family, value): mean resultant length of the times of day in `scope`, 0 flat to 1."""
    return [
        Step(
            "day_rhythm",
            f"""
select s.account_id as account_id, s.family as family,
       sqrt(power(avg(cos(s.time % 86400000000 * 2e0 * pi() / 86400e6)), 2)
          + power(avg(sin(s.time % 86400000000 * 2e0 * pi() / 86400e6)), 2)) as value
from scope as s
group by s.account_id, s.family
having count(*) >= {LEAST_EXCHANGES}""",
            "how strongly the account's requests gather at one time of the day",
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
    """Are the members' daily rhythms closer together than those of matched accounts?

    *Null*: `CARD.null`.

    Parameters
    ----------
    values
        Shape (pool,), 0 to 1; NaN: too few exchanges.
    members, strata, gamma
        As in `stats.sequential.predict_members`.

    Raises
    ------
    InsufficientData
        Fewer than five members have enough exchanges.
    """
    bets = predict_members(values, members, strata, gamma=gamma, rng=np.random.default_rng(seed))
    return member_result(CARD, bets, gamma=gamma, seed=seed)


def simulate(rng: np.random.Generator, *, effect: float, n: int) -> dict[str, Any]:
    """Rhythms between 0.2 and 0.9; the share `effect` of the group has none."""
    pool, members, strata = planted_pool(rng, n)
    values = rng.uniform(0.2, 0.9, len(pool))
    flat = members[rng.random(n) < 0.9 * effect]
    values[flat] = rng.uniform(0.02, 0.12, len(flat))
    return {"values": values, "members": members, "strata": strata, "seed": int(rng.integers(2**31))}
