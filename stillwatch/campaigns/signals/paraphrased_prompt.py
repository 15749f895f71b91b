"""Re-worded prompt material: texts that keep most of their words and no long run of them.

Proposes groups: the tokens are the positions of MinHash with their values (Broder 1997), so that two wordings of one
wrapper share about as many tokens as the share of 8-byte grams that they have in common. A token that an account
repeats, in several accounts, is material in the same way as a shingle (`shared_prompt`), but one token alone says
nothing: a material needs `LEAST_TOKENS` of them with nearly one set of accounts, and an exchange carries it when it
has `CARRIES`. These are verified families, not band collisions, which chain unrelated texts together.
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
    name="paraphrased_prompt",
    version="1",
    title="re-worded prompt material",
    question="acts as one",
    null="The main re-worded text of a member is at most gamma times as likely, in odds, to be another member's as it "
    "is for an account drawn from the matched pool.",
    unit="account",
    access=("exchanges.minhash",),
    sources=(
        "Broder 1997, On the resemblance and containment of documents (SEQUENCES), for MinHash",
        "Shrivastava 2017, Optimal densification (ICML), for one-permutation MinHash",
        "Hooi et al. 2016, FRAUDAR (KDD), section 4.2, for weights that popular columns cannot dominate",
    ),
    assumptions=(
        "honest members of a group are at most gamma times as alike as matched accounts",
        "accounts of the pool outside the group are unrelated to it",
    ),
    looks_same=(
        "users of a framework that fills a long template",
        "people who translate or adapt one prompt from a web page",
        "customers of one trade who ask in the same words",
    ),
)
PROPOSES = True
VALUES = Values("codes", ("family",), table="main_words")
KIND = "text"
POSITIONS = 16
"""Positions of MinHash that are read, of 32."""
LOOKED_AT = 128
"""Exchanges of one account that are looked at for tokens, about: a part drawn by their ids, the same whoever asks."""
LEAST_USES = 3
LEAST_SHARE = 0.05
"""An account repeats a token when this share of its exchanges has it, and `LEAST_USES` of them do: common words come
back in any busy account."""
LEAST_ACCOUNTS = 5
LEAST_TOKENS = 8
"""Tokens with nearly one set of accounts that make a material."""
CARRIES = 4
"""Tokens of a material that an exchange must have: of `POSITIONS` an unrelated text has about none or one."""


def minhash_tokens(columns: str, source: str = "exchanges") -> str:
    """A SELECT of `columns` of `source` ``as x`` and one `shingle` for each MinHash position that is read."""
    return f"""
    select t.*, t.place * 4294967296 + (t.value & 4294967295) as shingle
    from (
        select {columns}, generate_subscripts(x.minhash, 1) as place, unnest(x.minhash)::bigint as value
        from {source} as x
    ) as t
    where t.place <= {POSITIONS}"""


def steps(passes: int) -> list[Step]:
    """Tokens that several accounts repeat.

    Parameters
    ----------
    passes
        Parts into which the tokens are cut, 1 or above.

    Returns
    -------
    list of Step
        ``repeated`` (account_id, shingle, uses) and ``word_links``, as those of `shared_prompt`.
    """
    return [
        Step(
            "some_exchanges",
            f"""
select x.account_id as account_id, x.minhash as minhash, least(p.exchanges, {LOOKED_AT}) as of,
       p.exchanges as exchanges
from exchanges as x
join population as p on p.account_id = x.account_id
where (x.exchange_id & 1048575) * p.exchanges < {LOOKED_AT} * 1048576""",
            "a busy account repeats everything: as many exchanges of each are looked at",
        ),
        Step(
            "repeated",
            f"""
select r.account_id as account_id, r.shingle as shingle,
       count(*) * any_value(r.exchanges) // any_value(r.of) as uses
from ({minhash_tokens("x.account_id as account_id, x.of as of, x.exchanges as exchanges", "some_exchanges")}
) as r
where (r.shingle & 1023) % {{parts}} = {{part}}
group by r.account_id, r.shingle
having count(*) >= {LEAST_USES} and count(*) >= {LEAST_SHARE} * any_value(r.of)""",
            "words that come back in one account's prompts: a template of its own or of somebody's, however worded",
            passes,
        ),
        Step(
            "word_links",
            f"""
select u.account_id as account_id, u.shingle as shingle, u.uses as uses
from repeated as u
join (
    select v.shingle as shingle from repeated as v group by v.shingle having count(*) >= {LEAST_ACCOUNTS}
) as k on k.shingle = u.shingle""",
            "an account's private words link nobody",
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
    """Do the members repeat one text, however worded, more than matched accounts do?

    *Null*: `CARD.null`. The e-value comes from bets on the next member, see `stats.sequential.predict_members`.

    Parameters
    ----------
    values
        Shape (pool,), int64. Code of the account's main re-worded material; -1 where it repeats none that is shared.
    members, strata, gamma
        As in `stats.sequential.predict_members`.

    Raises
    ------
    InsufficientData
        Fewer than five members repeat any.
    """
    bets = predict_members(values, members, strata, gamma=gamma, rng=np.random.default_rng(seed))
    return member_result(CARD, bets, gamma=gamma, seed=seed)


def simulate(rng: np.random.Generator, *, effect: float, n: int) -> dict[str, Any]:
    """A pool of ``20 n`` accounts and a group of `n`, of which the share `effect` repeats one text."""
    codes, members, strata = planted_pool(rng, n)
    values = rng.integers(0, 4 * n, len(codes))
    values[members[rng.random(n) < 0.9 * effect]] = 4 * n
    return {"values": values, "members": members, "strata": strata, "seed": int(rng.integers(2**31))}
