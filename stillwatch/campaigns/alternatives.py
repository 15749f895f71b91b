"""Innocent explanations, each a named test that excludes it, does not, or cannot tell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stillwatch.campaigns.members import Accounts
from stillwatch.campaigns.scoring import Score
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
    organisation_share, prefix_share, payer_share
        Largest share of members in one organisation, behind one client prefix, on one payment token; None: not known
        for any.
    prefixes
        Number of distinct client prefixes.
    cards
        Distinct payment tokens, and how many members have one.
    exempt
        Members with an exemption, and its reasons.
    described
        Members of whom the table of accounts says anything.
    """

    members: int
    organisation_share: float | None
    prefix_share: float | None
    payer_share: float | None
    prefixes: int
    cards: int
    with_card: int
    registered_days: float | None
    exempt: int
    exempt_reasons: tuple[str, ...]
    described: int


def read_facts(accounts: Accounts, members: NDArray[np.int64]) -> Facts:
    """Facts about the members of one group, from the tables that are read once a scan."""
    at = np.searchsorted(accounts.account, members)
    created = accounts.created[at]
    created = created[~np.isnan(created)]
    days = float(np.subtract(*np.quantile(created, [0.9, 0.1]))) if len(created) else None
    cards = accounts.payment_token[at]
    prefixes = accounts.client_prefix[at]
    reasons = [r for r in accounts.exemption.take(pa.array(at)).to_pylist() if r is not None]
    return Facts(
        members=len(members),
        organisation_share=_largest(accounts.organization[at]),
        prefix_share=_largest(prefixes),
        payer_share=_largest(cards),
        prefixes=len(np.unique(prefixes[prefixes >= 0])),
        cards=len(np.unique(cards[cards >= 0])),
        with_card=int((cards >= 0).sum()),
        registered_days=days,
        exempt=len(reasons),
        exempt_reasons=tuple(sorted(set(reasons))),
        described=int(accounts.described[at].sum()),
    )


def _largest(codes: NDArray[np.int64]) -> float | None:
    """Largest share of members that hold one value; None when no member has any."""
    known = codes[codes >= 0]
    return float(np.unique(known, return_counts=True)[1].max() / len(codes)) if len(known) else None


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
    kinds = {
        "organisation": facts.organisation_share,
        "payment token": facts.payer_share,
        "client prefix": facts.prefix_share,
    }
    shares = {kind: share for kind, share in kinds.items() if share is not None}
    if not shares:
        return Excluded(name, None, "the log names no organisation, payment or client prefix")
    what, largest = max(shares.items(), key=lambda item: item[1])
    if largest >= ONE_COMPANY:
        return Excluded(name, False, f"{largest:.0%} of the accounts share one {what}")
    if largest < FEW and set(shares) == {"client prefix"}:
        # People of one company who work from home look just like this.
        return Excluded(name, None, "addresses differ, but nobody's organisation or payment is known")
    if largest < FEW:
        return Excluded(
            name,
            True,
            f"no shared organisation, {facts.prefixes} client prefixes for {facts.members} accounts",
        )
    return Excluded(name, None, f"{largest:.0%} of the accounts share one {what}")


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
    if facts.described < facts.members:
        unknown = facts.members - facts.described
        return Excluded(name, None, f"no exemption known, but {unknown} accounts are not described anywhere")
    return Excluded(name, True, "no account of the group is exempt")
