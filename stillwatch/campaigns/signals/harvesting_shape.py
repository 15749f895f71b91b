"""The shape of harvesting: many separate tasks, no conversation, long answers, round the clock."""

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
    name="harvesting_shape",
    version="3",
    title="shape of harvesting",
    question="shape of harvesting",
    null="A member is at most gamma times as likely, in odds, as an account drawn from the matched pool to have the "
    "shape of harvesting: no repeat, at all hours, and either separate tasks with more text taken than given or "
    "requests for more than an answer: reasoning, grades, rewritings, probabilities, several choices.",
    unit="account",
    access=("exchanges.time", "exchanges.prompt_digest", "exchanges.turns|exchanges.conversation_id"),
    sources=(
        "Joint advisory AA26-251A (as paraphrased in public tools): use without human rhythm, systematic coverage",
        "Juuti et al. 2019, PRADA (EuroS&P), for the idea that extraction does not ask as people do",
        "Shafer 2021, Testing by betting (JRSS A), for the e-value",
    ),
    assumptions=(
        "honest members of a group have this shape at most gamma times as often as matched accounts",
        "the shape was fixed before the log was read",
    ),
    looks_same=(
        "an authorised customer who makes synthetic data",
        "a batch job of many accounts over separate documents",
        "a product that answers single questions of people in all time zones",
    ),
)
PROPOSES = False
VALUES = Values("event", scoped=True)
LEAST_EXCHANGES = 12
FOLLOW_UPS = 0.25
"""At most this share of the requests continue a conversation."""
DISTINCT = 0.9
"""At least this share of the prompts is asked once only."""
TOLD = 0.5
"""Below this share of requests with turns or a conversation nobody can say what follows up, and there is no value."""
BEGAN = 6
"""At least so many requests begin something; a conversation is one beginning, however long."""
HOURS = 0.8
"""At least this share of the hours of the day that as many beginnings at random times would touch."""
YIELD = 1.0
"""At least this many output tokens for each input token, and no conversations from elsewhere; or else"""
ELICITED = 0.5
"""at least this share of the requests asks for more than an answer (reasoning, grading, rewriting, the probabilities of
tokens, several choices): a judge reads more than it writes, short answers with probabilities train a student too, and
who relays or replays conversations to harvest them has follow-ups or carries in their history."""


def steps() -> list[Step]:
    """``harvesting_shape``: (account_id, family) with the four shares, the number of exchanges and `value`.

    `value` is 1 when every share that is known passes its bound, else 0; null where no prompt is known, for then
    nobody can tell separate tasks from one that is repeated.
    """
    return [
        Step(
            "harvesting_shares",
            f"""
select s.account_id as account_id, s.family as family, count(*) as exchanges,
       avg(case when s.follow_up then 1e0 else 0e0 end) as follow_ups,
       count(distinct s.prompt_digest) * 1e0 / nullif(count(s.prompt_digest), 0) as distinct_prompts,
       sum(case when s.follow_up then 0 else 1 end) as began,
       count(distinct case when s.follow_up then null else s.time // 3600000000 % 24 end) * 1e0
         / nullif(24e0 * (1e0 - power(23e0 / 24e0, sum(case when s.follow_up then 0 else 1 end))), 0e0) as hours,
       sum(s.output_tokens) * 1e0 / nullif(sum(s.input_tokens), 0) as token_yield,
       avg(case when s.elicits then 1e0 else 0e0 end) as elicited,
       avg(case when s.carried_in then 1e0 else 0e0 end) as carried_in,
       avg(case when s.told then 1e0 else 0e0 end) as told
from scope as s
group by s.account_id, s.family
having count(*) >= {LEAST_EXCHANGES}""",
            "follow-ups, repeats, hours of the day and tokens taken for tokens given",
        ),
        Step(
            "harvesting_shape",
            f"""
select h.account_id as account_id, h.family as family, h.exchanges as exchanges, h.follow_ups as follow_ups,
       h.distinct_prompts as distinct_prompts, h.hours as hours, h.token_yield as token_yield, h.elicited as elicited,
       h.carried_in as carried_in,
       case when h.distinct_prompts is null or h.told < {TOLD} then null
            when h.distinct_prompts >= {DISTINCT} and h.began >= {BEGAN} and h.hours >= {HOURS}
             and (h.elicited >= {ELICITED}
                  or (h.follow_ups + h.carried_in <= {FOLLOW_UPS} and coalesce(h.token_yield, {YIELD}) >= {YIELD}))
            then 1 else 0 end as value
from harvesting_shares as h""",
            "1 where every known share passes its bound; nothing where the log holds no prompts",
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
    """Do more members have the shape of harvesting than matched accounts do?

    *Null*: `CARD.null`. Elicitation alone is no shape: one shared wrapper decides it for all members at once. A request
    whose history began in no exchange of the account or its organisation is no follow-up but carried in: stored
    conversations that are replayed, and live ones that a proxy spreads over accounts, look so. A reseller of honest
    traffic carries in as much; only with elicitation is it the shape.

    Parameters
    ----------
    values
        Shape (pool,), int8. 1: has the shape, 0: has not, negative: too few exchanges.
    members, strata, gamma
        As in `stats.sequential.predict_events`.

    Raises
    ------
    InsufficientData
        Fewer than five members have enough exchanges.
    """
    bets = predict_events(values, members, strata, gamma=gamma, rng=np.random.default_rng(seed))
    return member_result(CARD, bets, gamma=gamma, seed=seed)


def simulate(rng: np.random.Generator, *, effect: float, n: int) -> dict[str, Any]:
    """One account in ten has the shape; of the group, the share `effect` besides."""
    pool, members, strata = planted_pool(rng, n)
    values = (rng.random(len(pool)) < 0.1).astype(np.int8)
    values[members[rng.random(n) < 0.9 * effect]] = 1
    return {"values": values, "members": members, "strata": strata, "seed": int(rng.integers(2**31))}
