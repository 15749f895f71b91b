"""Shared prompt material: the same run of text in the requests of several accounts.

Proposes groups: a shingle that several accounts use again and again is material, and shingles with nearly one
set of accounts are one material (see `stillwatch.campaigns.materials`). Confirms groups that something else proposed.
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
    name="shared_prompt",
    version="1",
    title="shared prompt material",
    question="acts as one",
    null="The main repeated text of one member is at most gamma times as likely, in odds, to be another member's as it "
    "is for an account drawn from the matched pool.",
    unit="account",
    access=("exchanges.shingles",),
    sources=(
        "Schleimer, Wilkerson, Aiken 2003, Winnowing (SIGMOD), for the fingerprints",
        "Hooi et al. 2016, FRAUDAR (KDD), section 4.2, for weights that popular columns cannot dominate",
        "Shafer 2021, Testing by betting (JRSS A), for the e-value",
    ),
    assumptions=(
        "honest members of a group are at most gamma times as alike as matched accounts",
        "accounts of the pool outside the group are unrelated to it",
    ),
    looks_same=(
        "users of one popular framework or SDK prompt",
        "employees behind one internal prompt",
        "a school class with one assignment",
        "people who copied one prompt from a web page",
    ),
)
PROPOSES = True
VALUES = Values("codes", ("family",), table="main_text")
KIND = "text"
LEAST_USES = 3
"""Exchanges of one account that must hold a shingle before it counts as that account's material."""
LEAST_ACCOUNTS = 5
"""Accounts that must use a shingle before it can link anybody."""


def steps(passes: int) -> list[Step]:
    """Shingles that several accounts repeat.

    Parameters
    ----------
    passes
        Parts into which the shingles are cut, 1 or above: memory goes down with it and time hardly up.

    Returns
    -------
    list of Step
        ``repeated`` (account_id, shingle, uses): every shingle an account used `LEAST_USES` times or more;
        ``material_links``: those of shingles that `LEAST_ACCOUNTS` accounts or more repeat.
    """
    return [
        Step(
            "repeated",
            f"""
select r.account_id as account_id, r.shingle as shingle, count(*) as uses
from (select x.account_id as account_id, unnest(x.shingles) as shingle from exchanges as x) as r
where (r.shingle & 1023) % {{parts}} = {{part}}
group by r.account_id, r.shingle
having count(*) >= {LEAST_USES}""",
            "text that one account repeats is a template of its own or of somebody's; a chance match is not repeated",
            passes,
        ),
        Step(
            "material_links",
            f"""
select u.account_id as account_id, u.shingle as shingle, u.uses as uses
from repeated as u
join (
    select v.shingle as shingle from repeated as v group by v.shingle having count(*) >= {LEAST_ACCOUNTS}
) as k on k.shingle = u.shingle""",
            "an account's private template links nobody",
        ),
    ]


def test(
    values: NDArray[np.int64],
    members: NDArray[np.int64],
    strata: NDArray[np.int64],
    *,
    seed: int,
    gamma: float = 3.0,
) -> TestResult:
    """Do the members repeat one text more than matched accounts do?

    *Null*: `CARD.null`. The e-value comes from bets on the next member, see `stats.sequential.predict_members`.

    Parameters
    ----------
    values
        Shape (pool,), int64. Code of the account's main material; -1 where it repeats none that is shared.
    members, strata, gamma
        As in `stats.sequential.predict_members`.

    Raises
    ------
    InsufficientData
        Fewer than five members repeat any shared text.
    """
    bets = predict_members(values, members, strata, gamma=gamma, rng=np.random.default_rng(seed))
    return member_result(CARD, bets, gamma=gamma, seed=seed)


def simulate(rng: np.random.Generator, *, effect: float, n: int) -> dict[str, Any]:
    """A pool of ``20 n`` accounts and a group of `n`, of which the share `effect` repeats one text."""
    codes, members, strata = planted_pool(rng, n)
    values = rng.integers(0, 4 * n, len(codes))
    values[members[rng.random(n) < 0.9 * effect]] = 4 * n
    return {"values": values, "members": members, "strata": strata, "seed": int(rng.integers(2**31))}
