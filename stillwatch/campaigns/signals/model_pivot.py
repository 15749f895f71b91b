"""Model pivot: did the accounts of a group move to a new model together?

A release is a model that the log's first day does not know and that enough accounts ask for; of several, the one that
most accounts ask for is followed. An account moves at its first request for it, provided that it asked for other
models before and that the new one is most of what it asks for from then on: whoever tries a model once has not moved,
and whoever came after the release has nothing to move from.

What counts is the model that was *asked for*. When a provider points an alias at a new model, the answers change and
nobody has moved.
"""

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
    name="model_pivot",
    version="1",
    title="move to a new model",
    question="acts as one",
    null="A member is at most gamma times as likely, in odds, as an account drawn from the matched pool of accounts "
    "that moved to the new model to have done so within the shortest span that holds four fifths of the members seen "
    "before.",
    unit="account",
    access=("exchanges.time", "exchanges.request_model"),
    sources=(
        "Provider reports of 2026: half of one cluster's traffic moved to a new model within a day of its release",
        "Joint advisory AA26-251A (as paraphrased in public tools) on retargeting a new model on its first day",
        "Shafer 2021, Testing by betting (JRSS A), for the e-value",
    ),
    assumptions=(
        "honest members of a group move together at most gamma times as often as matched accounts",
        "the release is open to all accounts that are compared",
    ),
    looks_same=(
        "customers of one company that sets the model for all of them",
        "users of a framework whose new version asks for the new model",
        "evaluations that run on the day of a release",
    ),
)
VALUES = Values("number")
PROPOSES = False
LEAST_ACCOUNTS = 20
"""Accounts that ask for a model before it is a release; a private model tells nothing about others."""
LEAST_USES = 3
"""Requests for other models before the move, and for the new one after it."""
DAY = 86_400_000_000


def steps() -> list[Step]:
    """When each account moved to the release.

    Returns
    -------
    list of Step
        ``release`` (model, first_time, accounts): one row, or none; ``release_uses`` (account_id, moved_at, uses):
        first request and number of requests for it; ``model_pivot`` (account_id, value): the day of the move, with
        its fraction, of the accounts that moved. Requests that failed are none: a model can be asked for in vain
        before its release.
    """
    return [
        Step(
            "release",
            f"""
select r.model as model, r.first_time as first_time, r.accounts as accounts
from (
    select x.request_model as model, min(x.time) as first_time, count(distinct x.account_id) as accounts
    from exchanges as x
    where x.request_model is not null and coalesce(x.status_code, 200) < 400
    group by x.request_model
) as r
where r.accounts >= {LEAST_ACCOUNTS} and r.first_time >= (select min(p.first_time) from population as p) + {DAY}
order by r.accounts desc, r.first_time, r.model
limit 1""",
            "the model that most accounts ask for among those that the log's first day does not know",
        ),
        Step(
            "release_uses",
            """
select x.account_id as account_id, min(x.time) as moved_at, count(*) as uses
from exchanges as x
join release as r on r.model = x.request_model
where coalesce(x.status_code, 200) < 400
group by x.account_id""",
            "when each account first asked for it, and how often it did",
        ),
        Step(
            "model_pivot",
            f"""
select u.account_id as account_id, u.moved_at * 1e0 / {DAY} as value
from release_uses as u
cross join release as r
join exchanges as x on x.account_id = u.account_id
where x.request_model <> r.model and coalesce(x.status_code, 200) < 400 and u.uses >= {LEAST_USES}
group by u.account_id, u.moved_at, u.uses
having sum(case when x.time < u.moved_at then 1 else 0 end) >= {LEAST_USES}
   and sum(case when x.time >= u.moved_at then 1 else 0 end) < u.uses""",
            "only accounts that asked for other models before, and mostly for this one from then on",
        ),
    ]


def test(
    values: NDArray[np.float64],
    members: NDArray[np.int64],
    strata: NDArray[np.int64],
    *,
    seed: int,
    gamma: float = 3.0,
) -> TestResult:
    """Did the members move to the new model closer together than matched accounts did?

    *Null*: `CARD.null`. No hour is fixed beforehand: the span comes from the members already seen, and how many
    accounts of the pool moved within it says how surprising that is.

    Parameters
    ----------
    values
        Shape (pool,), days; NaN: did not move.
    members, strata, gamma
        As in `stats.sequential.predict_members`.

    Raises
    ------
    InsufficientData
        Fewer than five members moved, or everybody moved within the members' span.
    """
    bets = predict_members(values, members, strata, gamma=gamma, rng=np.random.default_rng(seed))
    return member_result(CARD, bets, gamma=gamma, seed=seed)


def simulate(rng: np.random.Generator, *, effect: float, n: int) -> dict[str, Any]:
    """A release on day 10, taken up over weeks by four fifths of all, at once by the share `effect` of the group."""
    pool, members, strata = planted_pool(rng, n)
    values = 10 + rng.exponential(12, len(pool))
    values[rng.random(len(pool)) < 0.2] = np.nan
    together = members[rng.random(n) < 0.9 * effect]
    values[together] = 10 + rng.uniform(0, 1, len(together))
    return {"values": values, "members": members, "strata": strata, "seed": int(rng.integers(2**31))}
