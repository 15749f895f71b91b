"""Replayed signatures: reasoning that was minted for one account and presented by another.

A provider signs or encrypts the reasoning it hands out, and a client hands it back to continue. The ledger is exact:
a signature was minted for this account, in this conversation, by this model; who presents it is in the log as well.

That one account presents what another was given shows that both draw on one store: these are the *links*, from which
groups are proposed. As evidence about a group that something else proposed, the event is narrower: the reasoning was
*taken out of its place*, presented in another conversation than the one it belongs to or, where the log knows no
conversations, to another model. It speaks for acting as one and not for harvesting: measured on composed logs, a
reseller that spreads its honest customers' conversations over its accounts does just that.
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
    name="signature_replay",
    version="2",
    title="replayed reasoning",
    question="acts as one",
    null="A member is at most gamma times as likely, in odds, as an account drawn from the matched pool of accounts "
    "with signed reasoning to present reasoning of other organisations' accounts outside its conversation or model.",
    unit="account",
    access=(
        "exchanges.signatures_minted",
        "exchanges.signatures_presented",
        "exchanges.conversation_id|exchanges.request_model",
    ),
    sources=(
        "Provider reports of 2026: a thinking signature saved and replayed in a new conversation",
        "arXiv 2608.09867 on blocks that are valid across conversations, users and models, put to a weaker sibling",
        "Shafer 2021, Testing by betting (JRSS A), for the e-value",
    ),
    assumptions=(
        "honest members of a group replay at most gamma times as often as matched accounts",
        "a signature names one piece of reasoning: the provider mints none twice",
    ),
    looks_same=(
        "a gateway that spreads conversations over accounts and models and gives each its own conversation id",
        "a project that moved its stored conversations to new accounts",
        "a study of how a provider binds its reasoning",
    ),
)
VALUES = Values("event")
PROPOSES = True
LINKS = "signature_links"
ALSO_USES = ("text",)
"""Who presents a signature sends back the history that it belongs to, and so its text."""
LEAST_SIGNATURES = 3
"""Signatures of others that an account has to present; one may have been pasted."""
MOST_PRESENTERS = 20
"""A signature that more accounts present is published text, such as a recorded example that a framework ships."""
LEAST_ACCOUNTS = 2
MOST_SHARE = 0.05
"""Accounts around one minting account that are more than this share of all (and than `MOST_FLOOR`) are not linked."""
MOST_FLOOR = 300
PASSES = 4
_SEEN = """
    select x.account_id as account_id, x.time as time, x.conversation_id as conversation_id,
           x.request_model as request_model, unnest(x.signatures_{how}) as signature, {minted} as minted
    from exchanges as x"""
_MINTED = _SEEN.format(how="minted", minted=1)
_PRESENTED = _SEEN.format(how="presented", minted=0)
_BOTH = f"({_MINTED}\n    union all{_PRESENTED}\n)"


def steps() -> list[Step]:
    """The ledger, cut down early to signatures that more than one account has seen.

    Returns
    -------
    list of Step
        ``passed_on`` (signature): minted in this log, and seen at two accounts or more. ``unseen_signatures``
        (account_id, signatures): presented, but minted before the log began or outside it; counted for one of the
        accounts that present them, one row an account and pass, and no part of anything else. ``minted`` (signature,
        account_id, time, conversation_id, request_model). ``replayed`` (signature, account_id, minter, time,
        elsewhere): presented by an account that did not mint it, of another organisation, after another had.
        ``replays`` (account_id, minter, signatures, elsewhere, first_time, last_time): the same by pair of accounts.
        ``signature_links`` (account_id, kind, value, degree): accounts around one minting account, which is the
        value. ``signature_replay`` (account_id, value): 1 replays out of place, 0 mints and does not, null neither.
    """
    return [
        Step(
            "passed_on",
            f"""
select t.signature as signature
from {_BOTH} as t
where (t.signature & 1023) % {{parts}} = {{part}}
group by t.signature
having min(t.account_id) <> max(t.account_id) and max(t.minted) = 1""",
            "of all signatures these few can be a replay",
            PASSES,
        ),
        Step(
            "unseen_signatures",
            f"""
select g.account_id as account_id, count(*) as signatures
from (
    select t.signature as signature, min(t.account_id) as account_id
    from {_BOTH} as t
    where (t.signature & 1023) % {{parts}} = {{part}}
    group by t.signature
    having max(t.minted) = 0
) as g
group by g.account_id""",
            "the log began later than they were minted: nobody can tell whose they are",
            PASSES,
        ),
        Step(
            "minted",
            f"""
select t.signature as signature, t.account_id as account_id, min(t.time) as time,
       min(t.conversation_id) as conversation_id, min(t.request_model) as request_model
from ({_MINTED}) as t
join passed_on as p on p.signature = t.signature
group by t.signature, t.account_id""",
            "for whom, where and by which model",
        ),
        Step(
            "replayed",
            f"""
select t.signature as signature, t.account_id as account_id, m.account_id as minter, min(t.time) as time,
       max(case when coalesce(t.conversation_id <> m.conversation_id, t.request_model <> m.request_model)
           then 1 else 0 end) as elsewhere
from ({_PRESENTED}) as t
join minted as m on m.signature = t.signature and m.time <= t.time
left join minted as own on own.signature = t.signature and own.account_id = t.account_id
left join organizations as a on a.account_id = t.account_id
left join organizations as b on b.account_id = m.account_id
where own.signature is null and not coalesce(a.organization_id = b.organization_id, false)
group by t.signature, t.account_id, m.account_id""",
            "elsewhere must be seen: by the conversation, and by the model only where that is not known",
        ),
        Step(
            "replays",
            f"""
select r.account_id as account_id, r.minter as minter, count(*) as signatures, sum(r.elsewhere) as elsewhere,
       min(r.time) as first_time, max(r.time) as last_time
from replayed as r
join (
    select q.signature as signature from replayed as q
    group by q.signature having count(distinct q.account_id) <= {MOST_PRESENTERS}
) as k on k.signature = r.signature
group by r.account_id, r.minter""",
            "published reasoning is everybody's",
        ),
        Step(
            "signature_links",
            f"""
with held as (
    select r.account_id as account_id, r.minter as value
    from replays as r
    join (
        select s.account_id as account_id from replays as s
        group by s.account_id having sum(s.signatures) >= {LEAST_SIGNATURES}
    ) as k on k.account_id = r.account_id
), around as (
    select h.account_id as account_id, h.value as value from held as h
    union
    select h.value as account_id, h.value as value from held as h
)
select b.account_id as account_id, 0 as kind, b.value as value, d.degree as degree
from around as b
join (select e.value as value, count(*) as degree from around as e group by e.value) as d on d.value = b.value
where d.degree >= {LEAST_ACCOUNTS}
  and d.degree <= greatest({MOST_FLOOR}, {MOST_SHARE} * (select count(*) from population))""",
            "an account and those that present its reasoning; the cap is part of the finding",
        ),
        Step(
            "signature_replay",
            f"""
select u.account_id as account_id,
       case when r.account_id is not null then 1 when u.minted > 0 then 0 end as value
from (select x.account_id as account_id, sum(len(x.signatures_minted)) as minted from exchanges as x
      group by x.account_id) as u
left join (
    select s.account_id as account_id from replays as s
    group by s.account_id having sum(s.elsewhere) >= {LEAST_SIGNATURES}
) as r on r.account_id = u.account_id""",
            "an account that has no signed reasoning of its own and replays none tells nothing",
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
    """Do more members take reasoning of others out of its place than matched accounts do?

    *Null*: `CARD.null`.

    Parameters
    ----------
    values
        Shape (pool,), int8. 1: replays out of place, 0: does not, negative: has no signed reasoning.
    members, strata, gamma
        As in `stats.sequential.predict_events`.

    Raises
    ------
    InsufficientData
        Fewer than five members have signed reasoning, or nobody replays any.
    """
    bets = predict_events(values, members, strata, gamma=gamma, rng=np.random.default_rng(seed))
    return member_result(CARD, bets, gamma=gamma, seed=seed)


def simulate(rng: np.random.Generator, *, effect: float, n: int) -> dict[str, Any]:
    """One account in fifty replays, one in five has no signed reasoning; of the group, the share `effect` replays."""
    pool, members, strata = planted_pool(rng, n)
    values = (rng.random(len(pool)) < 0.02).astype(np.int8)
    values[rng.random(len(pool)) < 0.2] = -1
    values[members[rng.random(n) < 0.9 * effect]] = 1
    return {"values": values, "members": members, "strata": strata, "seed": int(rng.integers(2**31))}
