"""Innocent explanations, each a named test that excludes it, does not, or cannot tell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from stillwatch.campaigns.scoring import Score
from stillwatch.engine.duckdb import Engine
from stillwatch.records import Excluded

ONE_COMPANY = 0.5
"""Share of members in one organisation (or behind one prefix) from which one company explains the group."""
FEW = 0.2
"""Below this share of members in any one organisation and behind any one prefix, one company is excluded."""
REPEATS = 0.9
MIXED = 0.9
"""A member with a smaller share than this may resell honest traffic beside the rest."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the accounts table and the log say of the members.

    Parameters
    ----------
    organisation_share, prefix_share
        Largest share of members in one organisation and behind one client prefix; None: not known for any.
    prefixes
        Number of distinct client prefixes.
    cards
        Distinct payment tokens, and how many members have one.
    exempt
        Members with an exemption, and its reasons.
    """

    members: int
    organisation_share: float | None
    prefix_share: float | None
    prefixes: int
    cards: int
    with_card: int
    registered_days: float | None
    exempt: int
    exempt_reasons: tuple[str, ...]


def read_facts(engine: Engine, members: pa.Table) -> Facts:
    """Facts about the members of one group."""
    engine.table("members", members.select(["account_id"]))
    row = engine.read(
        """
select count(*) as members, count(a.payment_token) as with_card, count(distinct a.payment_token) as cards,
       count(distinct v.client_prefix) as prefixes, count(v.client_prefix) as with_prefix,
       count(a.exemption) as exempt, array_agg(distinct coalesce(a.exemption_reason, a.exemption))
           filter (where a.exemption is not null) as reasons,
       (quantile_cont(a.created_at, 9e-1) - quantile_cont(a.created_at, 1e-1)) / 86400e6 as days
from members as m
left join accounts as a on a.account_id = m.account_id
left join main_values as v on v.account_id = m.account_id"""
    ).to_pylist()[0]
    prefix = _largest(engine, "main_values", "client_prefix")
    organisation = _largest(engine, "organizations", "organization_id")
    return Facts(
        members=row["members"],
        organisation_share=organisation,
        prefix_share=prefix,
        prefixes=row["prefixes"],
        cards=row["cards"],
        with_card=row["with_card"],
        registered_days=row["days"],
        exempt=row["exempt"],
        exempt_reasons=tuple(sorted(row["reasons"] or ())),
    )


def _largest(engine: Engine, table: str, column: str) -> float | None:
    """Largest share of members that hold one value; None when no member has any."""
    rows = engine.read(
        f"""
select max(g.n) * 1e0 / (select count(*) from members) as share
from (
    select v.{column} as value, count(*) as n
    from {table} as v join members as m on m.account_id = v.account_id
    where v.{column} is not null
    group by v.{column}
) as g"""
    )
    return rows["share"][0].as_py()


def explanations(
    facts: Facts, result: Score, members: pa.Table, shape: dict[str, float], needed: float
) -> list[Excluded]:
    """Every innocent explanation of one group with what the data says of it."""
    return [
        _one_company(facts),
        _framework(result, needed),
        _evaluation(shape),
        _reseller(members),
        _authorised(facts),
    ]


def _one_company(facts: Facts) -> Excluded:
    name = "one company or class behind all accounts"
    shares = [s for s in (facts.organisation_share, facts.prefix_share) if s is not None]
    if not shares:
        return Excluded(name, None, "the log names neither organisations nor client prefixes")
    if max(shares) >= ONE_COMPANY:
        what = "organisation" if facts.organisation_share == max(shares) else "client prefix"
        return Excluded(name, False, f"{max(shares):.0%} of the accounts share one {what}")
    if max(shares) < FEW:
        return Excluded(
            name,
            True,
            f"no shared organisation, {facts.prefixes} client prefixes for {facts.members} accounts",
        )
    return Excluded(
        name, None, f"at most {max(shares):.0%} of the accounts share an organisation or client prefix"
    )


def _framework(result: Score, needed: float) -> Excluded:
    name = "users of a popular framework or prompt"
    if result.acts_as_one is None:
        return Excluded(name, None, "too few kinds of evidence besides the one that proposed the group")
    if result.acts_as_one >= needed:
        return Excluded(
            name, True, "in at least two other ways the accounts are more alike than matched accounts are"
        )
    return Excluded(
        name, False, "apart from what proposed the group, its accounts are no more alike than others"
    )


def _evaluation(shape: dict[str, float]) -> Excluded:
    name = "an evaluation that is run again and again"
    distinct = shape.get("distinct_prompts")
    if distinct is None:
        return Excluded(name, None, "too few exchanges to see repeats")
    if distinct >= REPEATS:
        return Excluded(name, True, f"{distinct:.0%} of the prompts of a typical account are asked once only")
    return Excluded(
        name, False, f"only {distinct:.0%} of the prompts of a typical account are asked once only"
    )


def _reseller(members: pa.Table) -> Excluded:
    name = "a reseller whose customers ask for themselves"
    share = members["share"].to_numpy(zero_copy_only=False)
    if np.isnan(share).all():
        return Excluded(name, None, "no text tells which exchanges belong to the group")
    mixed = int((share < MIXED).sum())
    if mixed:
        return Excluded(name, False, f"not excluded for {mixed} accounts: they carry other traffic as well")
    return Excluded(name, True, "every account carries the group's text in nearly all its requests")


def _authorised(facts: Facts) -> Excluded:
    name = "an authorised project"
    if facts.exempt:
        reasons = "; ".join(facts.exempt_reasons)
        return Excluded(name, False, f"{facts.exempt} of {facts.members} accounts are exempt: {reasons}")
    return Excluded(name, True, "no account of the group is exempt")
