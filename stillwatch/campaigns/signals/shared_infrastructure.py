"""Shared infrastructure: one payment token, device, prefix or TLS fingerprint behind several accounts.

Proposes groups from values that few accounts share; confirms groups that something else proposed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwatch.campaigns.evidence import average_result, planted_pool
from stillwatch.campaigns.reading import Values
from stillwatch.engine.steps import Step, most_frequent
from stillwatch.records import Card, TestResult

CARD = Card(
    name="shared_infrastructure",
    version="1",
    title="funding and infrastructure",
    question="acts as one",
    null="For each kind of value (payment token, device, registration prefix, client prefix), a member is at most "
    "gamma times as likely, in odds, as an account drawn from the matched pool to hold a value that others hold.",
    unit="account",
    access=(
        "accounts.payment_token|accounts.device_token|accounts.signup_prefix|exchanges.client_prefix"
        "|exchanges.tls_fingerprint",
    ),
    sources=(
        "Provider reports of 2026 on shared payment methods and registration in account clusters",
        "Hooi et al. 2016, FRAUDAR (KDD), section 4.2, for weights that popular columns cannot dominate",
        "Vovk, Wang 2021, E-values (Annals of Statistics), section 3, for the average over kinds",
    ),
    assumptions=("honest members of a group share at most gamma times as often as matched accounts",),
    looks_same=(
        "one company that pays for its employees' accounts",
        "a campus, a mobile carrier or a gateway behind one prefix",
        "a family or a reseller with one card",
    ),
)
PROPOSES = True
KINDS = ("payment_token", "device_token", "signup_prefix", "client_prefix", "tls_fingerprint")
VALUES = Values("codes", KINDS, table="main_values")
LINKS = "infrastructure_links"
ALSO_USES = ("account_class",)
"""One card has one type: accounts that a card proposes are alike in that by themselves."""
LEAST_ACCOUNTS = 2
MOST_SHARE = 0.05
"""A value held by more than this share of all accounts (and by more than `MOST_FLOOR`) weighs nothing."""
MOST_FLOOR = 300


def steps() -> list[Step]:
    """Values that few accounts share.

    Returns
    -------
    list of Step
        ``main_values`` (account_id and the `KINDS`): the account's own and its most used ones; ``attributes``
        (account_id, kind, value, kind numbered as in `KINDS`) in long form; ``infrastructure_links``: those of
        values that at least `LEAST_ACCOUNTS` and at most the capped number of accounts hold.
    """
    long_form = "\nunion all\n".join(
        f"select v.account_id as account_id, {i} as kind, v.{kind} as value from main_values as v "
        f"where v.{kind} is not null"
        for i, kind in enumerate(KINDS)
    )
    return [
        Step(
            "main_values",
            f"""
select p.account_id as account_id, a.payment_token as payment_token, a.device_token as device_token,
       a.signup_prefix as signup_prefix, c.value as client_prefix, t.value as tls_fingerprint
from population as p
left join accounts as a on a.account_id = p.account_id
left join ({most_frequent("exchanges", "account_id", "e.client_prefix")}
) as c on c.account_id = p.account_id
left join ({most_frequent("exchanges", "account_id", "e.tls_fingerprint")}
) as t on t.account_id = p.account_id""",
            "one row an account, so that a client that changes addresses is not linked to all of them",
        ),
        Step("attributes", "\n" + long_form, "one row an account and value"),
        Step(
            "infrastructure_links",
            f"""
select b.account_id as account_id, b.kind as kind, b.value as value, d.degree as degree
from attributes as b
join (
    select e.kind as kind, e.value as value, count(*) as degree from attributes as e group by e.kind, e.value
) as d on d.kind = b.kind and d.value = b.value
where d.degree >= {LEAST_ACCOUNTS}
  and d.degree <= greatest({MOST_FLOOR}, {MOST_SHARE} * (select count(*) from population))""",
            "popular values (a carrier's prefix, a common TLS stack) link nobody; the cap is part of the finding",
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
    """Do the members share funding or infrastructure more than matched accounts do?

    *Null*: `CARD.null`. One e-value a kind, averaged, which is valid however the kinds depend on each other.

    Parameters
    ----------
    values
        Shape (pool, kinds), int64 codes; negative: not known.
    members, strata, gamma
        As in `stats.sequential.predict_members`.

    Raises
    ------
    InsufficientData
        No kind is known for five members.
    """
    return average_result(CARD, list(values.T), members, strata, gamma=gamma, seed=seed)


def simulate(rng: np.random.Generator, *, effect: float, n: int) -> dict[str, Any]:
    """A pool of ``20 n`` accounts, each with a card and a prefix; the share `effect` of the group uses 3 cards."""
    pool, members, strata = planted_pool(rng, n)
    values = rng.integers(0, 10 * n, (len(pool), 2))
    paid = members[rng.random(n) < 0.9 * effect]
    values[paid, 0] = 10 * n + rng.integers(0, 3, len(paid))
    return {"values": values, "members": members, "strata": strata, "seed": int(rng.integers(2**31))}
