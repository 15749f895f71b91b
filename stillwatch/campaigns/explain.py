"""A finding in words and numbers: why these accounts, and what else could explain it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow as pa

from stillwatch.campaigns import words
from stillwatch.campaigns.alternatives import Facts, explanations
from stillwatch.campaigns.groups import Group
from stillwatch.campaigns.scoring import Score
from stillwatch.identity import show
from stillwatch.records import Decision, Excluded, Finding

EXEMPT = 0.5
"""A group of which this share is exempt is never supported."""
DECLARED = 0.8
"""One organisation or payer with this share of the members is a customer to talk to, not a hidden campaign."""
WORTH_A_LOOK = float(np.log(20))
"""An e-value from here on that does not suffice is inconclusive rather than not supported."""
SHOWN = 300
"""Members listed in a finding; all of them are in the members table."""


def name_of(group: Group) -> str:
    """A name that depends on the accounts and the proposer only: ``c-`` and six hexadecimal digits."""
    return "c-" + sha256(group.proposer.encode() + group.accounts.astype("<i8").tobytes()).hexdigest()[:6]


def decide(result: Score, facts: Facts, *, rejected: bool, log_needed: float) -> tuple[Decision, str]:
    """The decision on one group and the reason in a few words."""
    if facts.exempt >= EXEMPT * facts.members:
        return "not supported", "exempt: " + "; ".join(facts.exempt_reasons)
    if rejected and max(facts.organisation_share or 0, facts.payer_share or 0) >= DECLARED:
        return "inconclusive", "one organisation or payer: ask it"
    if rejected:
        return "supported", ""
    if result.log_evalue is None or result.log_ceiling is None:
        return "inconclusive", "too little data"
    could_have_shown = result.harvesting_ceiling >= (WORTH_A_LOOK if result.harvesting <= 0 else log_needed)
    if could_have_shown and result.harvesting < WORTH_A_LOOK:
        return "not supported", _who(facts) if result.acts_as_one >= log_needed else "no shape of harvesting"
    if result.log_ceiling < log_needed:
        return "inconclusive", "too few accounts to tell"
    if result.log_evalue >= WORTH_A_LOOK:
        return "inconclusive", "some evidence, not enough"
    return "not supported", "no more alike than matched accounts"


def _who(facts: Facts) -> str:
    """Why accounts that act as one may do so, where they do not harvest."""
    if max(facts.organisation_share or 0, facts.payer_share or 0) < DECLARED:
        return "act as one, do not harvest"
    return "one organisation" + (", one gateway" if (facts.prefix_share or 0) >= DECLARED else "")


def campaign_finding(
    group: Group,
    result: Score,
    members: pa.Table,
    facts: Facts,
    shape: dict[str, float],
    *,
    decision: Decision,
    reason: str,
    log_needed: float,
    proposed: int,
    alpha: float,
    run: str,
    daily: dict[str, int],
    texts: Sequence[str],
    part_of: str,
) -> Finding:
    """One group as a Finding; `details` holds the facts that screens and reports show."""
    alternatives = explanations(facts, result, members, shape, log_needed)
    details = {
        "campaign": name_of(group),
        "reason": reason,
        "accounts": len(members),
        "exchanges": _total(members["exchanges"]),
        "share": _share(members),
        "since": _day(members["first"], min),
        "until": _day(members["last"], max),
        "takes": words.takes(shape),
        "daily": daily,
        "proposed_by": group.proposer,
        "acts_as_one": result.acts_as_one,
        "harvesting": result.harvesting,
        "confirmed_by": words.confirmed(result, facts),
        "harvest_words": words.harvest(shape),
        "texts": list(texts),
        "members": _listed(members),
        "part_of": part_of,
    }
    return Finding(
        subject=name_of(group),
        claim=words.claim(decision, len(members), log_needed, result),
        decision=decision,
        results=result.results,
        family=f"{proposed} groups proposed in this scan; e-BH at a false discovery rate of {alpha:.0%}",
        log_evalue=result.log_evalue,
        log_evalue_needed=log_needed,
        alternatives=tuple(alternatives),
        limits=tuple(_limits(result, members, alternatives)),
        run=run,
        details=details,
    )


def _limits(result: Score, members: pa.Table, alternatives: Sequence[Excluded]) -> list[str]:
    limits = [f"not tested: {missing}" for missing in result.not_tested]
    single = sum(len(e) <= 1 for e in members["evidence"].to_pylist())
    if single:
        limits.append(f"{single} accounts rest on the text or value that proposed the group alone")
    if result.log_ceiling is not None:
        limits.append(
            f"the largest e-value that this much data could have given is {words.power(result.log_ceiling)}"
        )
    limits += [f"cannot tell: {a.name} ({a.by})" for a in alternatives if a.excluded is None]
    limits.append("the finding is about accounts in this log; it does not say who runs them")
    return limits


def _listed(members: pa.Table) -> list[dict[str, Any]]:
    order = np.argsort(-members["exchanges"].to_numpy(), kind="stable")[:SHOWN]
    rows = members.take(pa.array(order)).to_pylist()
    return [
        {
            "account": show("account", row["account_id"]),
            "exchanges": row["exchanges"],
            "share": None if row["share"] is None else round(row["share"], 4),
            "first": iso_day(row["first"]),
            "evidence": dict.fromkeys(row["evidence"], True),
        }
        for row in rows
    ]


def _share(members: pa.Table) -> float | None:
    if members["share"].null_count:
        return None
    return round(_total(members["exchanges"]) / max(_total(members["total"]), 1), 4)


def _total(column: pa.ChunkedArray) -> int:
    return int(column.to_numpy().sum())


def _day(column: pa.ChunkedArray, pick: Any) -> str:
    return iso_day(pick(column.to_pylist())) if len(column) else ""


def iso_day(microseconds: int) -> str:
    """The UTC day of a time."""
    return datetime.fromtimestamp(microseconds / 1e6, UTC).date().isoformat()


def stitch(texts: Mapping[int, str], *, most: int = 20) -> list[str]:
    """Join overlapping shingle texts into the longest runs, longest first.

    Neighbouring fingerprints of a wrapper overlap (winnowing leaves no gap longer than a window), so that the end of
    one is the beginning of the next.
    """
    pieces = sorted(set(texts.values()))
    joined = True
    while joined and len(pieces) > 1:
        joined = False
        best = (7, -1, -1)  # an overlap of fewer than 8 characters is chance
        for i, left in enumerate(pieces):
            for j, right in enumerate(pieces):
                if i != j:
                    overlap = _overlap(left, right)
                    if overlap > best[0]:
                        best = (overlap, i, j)
        size, i, j = best
        if i >= 0:
            merged = pieces[i] + pieces[j][size:]
            pieces = [p for k, p in enumerate(pieces) if k not in (i, j)] + [merged]
            joined = True
    return sorted(pieces, key=lambda p: (-len(p), p))[:most]


def _overlap(left: str, right: str) -> int:
    if right in left:
        return len(right)
    for size in range(min(len(left), len(right)) - 1, 0, -1):
        if left.endswith(right[:size]):
            return size
    return 0
