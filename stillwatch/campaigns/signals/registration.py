"""Registration times: were the accounts of a group opened together?"""

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
    name="registration",
    version="1",
    title="registration times",
    question="acts as one",
    null="A member is at most gamma times as likely, in odds, as an account drawn from the matched pool to have been "
    "opened within the shortest span that holds four fifths of the members seen before.",
    unit="account",
    access=("accounts.created_at",),
    sources=(
        "Yuan et al. 2019, Ianus (CCS), on synchronised registrations of Sybil accounts",
        "Shafer 2021, Testing by betting (JRSS A), for the e-value",
    ),
    assumptions=(
        "honest members of a group were opened together at most gamma times as often as matched accounts",
    ),
    looks_same=(
        "employees enrolled on one day",
        "users who came with the release of a framework or with a campaign of advertising",
        "a school class",
    ),
)
PROPOSES = True
ALSO_USES = ("shared_infrastructure", "account_class")
"""It proposes cohorts of payment tokens (`groups.groups_of_cohorts`), and one card has one type: neither confirms."""
VALUES = Values("number")


def steps() -> list[Step]:
    """``registration`` (account_id, value): the day of registration, with its fraction."""
    return [
        Step(
            "registration",
            """
select a.account_id as account_id, a.created_at * 1e0 / 86400e6 as value
from accounts as a where a.created_at is not null""",
            "when the account was opened, in days",
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
    """Were the members opened closer together than matched accounts?

    *Null*: `CARD.null`.

    Parameters
    ----------
    values
        Shape (pool,), days; NaN: not known.
    members, strata, gamma
        As in `stats.sequential.predict_members`.

    Raises
    ------
    InsufficientData
        Fewer than five members have a registration time.
    """
    bets = predict_members(values, members, strata, gamma=gamma, rng=np.random.default_rng(seed))
    return member_result(CARD, bets, gamma=gamma, seed=seed)


def simulate(rng: np.random.Generator, *, effect: float, n: int) -> dict[str, Any]:
    """Registrations over 700 days; the share `effect` of the group within 10 days."""
    pool, members, strata = planted_pool(rng, n)
    values = rng.uniform(0, 700, len(pool))
    together = members[rng.random(n) < 0.9 * effect]
    values[together] = rng.uniform(650, 660, len(together))
    return {"values": values, "members": members, "strata": strata, "seed": int(rng.integers(2**31))}
