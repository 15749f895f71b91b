"""Classes of account: do the accounts of a group have one kind of e-mail, card and plan?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwatch.campaigns.evidence import average_result, planted_pool
from stillwatch.campaigns.reading import Values
from stillwatch.engine.steps import Step
from stillwatch.records import Card, TestResult

CARD = Card(
    name="account_class",
    version="1",
    title="kinds of e-mail and card",
    question="acts as one",
    null="For each class (e-mail, card), a member is at most gamma times as likely, in odds, as an account drawn from "
    "the matched pool to be of the classes that four fifths of the members seen before are of.",
    unit="account",
    access=("accounts.email_class|accounts.card_type",),
    sources=(
        "Provider reports of 2026 on disposable e-mail and virtual cards in account clusters",
        "Vovk, Wang 2021, E-values (Annals of Statistics), section 3, for the average over classes",
    ),
    assumptions=(
        "honest members of a group are of one class at most gamma times as often as matched accounts",
    ),
    looks_same=("a country where one kind of card is usual", "customers of one corporate plan"),
)
PROPOSES = False
VALUES = Values("codes", ("email_class", "card_type"))
KINDS = VALUES.columns


def steps() -> list[Step]:
    """``account_class`` (account_id and the `KINDS`, as text)."""
    columns = ", ".join(f"a.{kind} as {kind}" for kind in KINDS)
    return [
        Step(
            "account_class",
            f"\nselect a.account_id as account_id, {columns} from accounts as a",
            "what kind of e-mail and card the account was opened with",
        )
    ]


def test(
    values: NDArray[np.int64],
    members: NDArray[np.int64],
    strata: NDArray[np.int64],
    *,
    seed: int,
    gamma: float = 3.0,
) -> TestResult:
    """Are the members of one class more than matched accounts are?

    *Null*: `CARD.null`. One e-value a class, averaged, which is valid however the classes depend on each other.

    Parameters
    ----------
    values
        Shape (pool, classes), int64 codes; negative: not known.
    members, strata, gamma
        As in `stats.sequential.predict_members`.

    Raises
    ------
    InsufficientData
        No class is known for five members.
    """
    return average_result(CARD, list(values.T), members, strata, gamma=gamma, seed=seed)


def simulate(rng: np.random.Generator, *, effect: float, n: int) -> dict[str, Any]:
    """Five classes of e-mail, one of them with 3% of the pool and the share `effect` of the group."""
    pool, members, strata = planted_pool(rng, n)
    values = rng.choice(5, (len(pool), 1), p=[0.4, 0.3, 0.17, 0.1, 0.03])
    values[members[rng.random(n) < 0.9 * effect], 0] = 4
    return {"values": values, "members": members, "strata": strata, "seed": int(rng.integers(2**31))}
