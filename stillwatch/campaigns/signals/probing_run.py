"""Probing: are many requests refused, and do they try one way of extraction after the other?

The bound on the refused share finds who is refused often, which many honest accounts are; the number of techniques
finds who asks for training material in several ways. A technique is a set of elicitation flags (see
`stillwatch.text.elicitation`): a wrapper that never changes is one technique, however many flags it raises.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwatch.campaigns.evidence import member_result, planted_pool
from stillwatch.campaigns.reading import Values
from stillwatch.engine.steps import Step
from stillwatch.records import Card, TestResult
from stillwatch.stats.sequential import predict_events

CARD = Card(
    name="probing_run",
    version="1",
    title="probing for what is refused",
    question="shape of harvesting",
    null="A member is at most gamma times as likely, in odds, as an account drawn from the matched pool to be refused "
    "often while it tries several techniques of extraction.",
    unit="account",
    access=(
        "exchanges.refused|exchanges.finish_reason",
        "exchanges.elicitation",
        "exchanges.template_digest",
    ),
    sources=(
        "Provider reports of 2026 on a run of requests, each another extraction technique and mostly refused, of "
        "which the surviving ones were then used at scale",
        "Joint advisory AA26-251A (as paraphrased in public tools) on prompts that ask for written-out reasoning",
        "Shafer 2021, Testing by betting (JRSS A), for the e-value",
    ),
    assumptions=(
        "honest members of a group probe at most gamma times as often as matched accounts",
        "the bounds were fixed before the log was read",
        "refusals are logged for all accounts alike",
    ),
    looks_same=(
        "safety researchers and red teams, whose work is just this",
        "a benchmark of jailbreaks or of refusals that is run against every model",
        "developers of a classifier that is to catch extraction",
    ),
)
VALUES = Values("event")
PROPOSES = False
LEAST_REFUSED = 5
REFUSED_SHARE = 0.2
"""More than this share of the exchanges whose outcome is known was refused."""
TECHNIQUES = 3
"""At least so many different sets of elicitation flags among all requests, refused or not."""
WORDINGS = 3
"""At least so many different templates among the refused requests; a request that is retried is one."""


def steps() -> list[Step]:
    """``probing_counts`` and ``probing_run`` (account_id, value).

    `value` is 1 when all four bounds are passed, else 0; null where fewer than `LEAST_REFUSED` outcomes are known or
    where no text was, so that nobody can tell techniques. What passes need not be refused: the way that works is a
    technique too.
    """
    return [
        Step(
            "probing_counts",
            """
select o.account_id as account_id, count(o.refused) as outcomes,
       sum(case when o.refused then 1 else 0 end) as refusals,
       count(distinct case when o.elicitation > 0 then o.elicitation end) as techniques,
       count(distinct case when o.refused then o.template_digest end) as wordings,
       count(o.elicitation) as texts
from (
    select x.account_id as account_id, x.elicitation as elicitation, x.template_digest as template_digest,
           coalesce(x.refused, x.finish_reason in ('content_filter', 'refusal')) as refused
    from exchanges as x
) as o
group by o.account_id""",
            "refusals, sets of elicitation flags, and templates among what was refused",
        ),
        Step(
            "probing_run",
            f"""
select c.account_id as account_id,
       case when c.outcomes < {LEAST_REFUSED} or c.texts = 0 then null
            when c.refusals >= {LEAST_REFUSED} and c.refusals > {REFUSED_SHARE} * c.outcomes
             and c.techniques >= {TECHNIQUES} and c.wordings >= {WORDINGS} then 1 else 0 end as value
from probing_counts as c""",
            "1 where the account is refused often and tries several techniques",
        ),
    ]


def test(
    values: NDArray[np.int8],
    members: NDArray[np.int64],
    strata: NDArray[np.int64],
    *,
    seed: int,
    gamma: float = 3.0,
) -> TestResult:
    """Do more members probe than matched accounts do?

    *Null*: `CARD.null`.

    Parameters
    ----------
    values
        Shape (pool,), int8. 1: probes, 0: does not, negative: too few known outcomes, or no text.
    members, strata, gamma
        As in `stats.sequential.predict_events`.

    Raises
    ------
    InsufficientData
        Fewer than five members are known, or nobody probes.
    """
    bets = predict_events(values, members, strata, gamma=gamma, rng=np.random.default_rng(seed))
    return member_result(CARD, bets, gamma=gamma, seed=seed)


def simulate(rng: np.random.Generator, *, effect: float, n: int) -> dict[str, Any]:
    """Three accounts in a hundred probe; of the group, the share `effect` besides."""
    pool, members, strata = planted_pool(rng, n)
    values = (rng.random(len(pool)) < 0.03).astype(np.int8)
    values[members[rng.random(n) < 0.9 * effect]] = 1
    return {"values": values, "members": members, "strata": strata, "seed": int(rng.integers(2**31))}
