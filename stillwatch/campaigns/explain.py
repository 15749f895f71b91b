"""A finding in words and numbers: why these accounts, and what else could explain it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import SequenceMatcher
from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stillwatch.campaigns import words
from stillwatch.campaigns.alternatives import NEARLY_ALL, Facts, Look, asked_first
from stillwatch.campaigns.belonging import Keys
from stillwatch.campaigns.groups import Group
from stillwatch.campaigns.scoring import Score
from stillwatch.campaigns.share import Shares
from stillwatch.identity import show
from stillwatch.records import Decision, Finding

EXEMPT = 0.5
"""A group of which this share is exempt is never supported."""
DECLARED = 0.8
"""One organisation or payer with this share of the members is a customer to talk to, not a hidden campaign."""
WORTH_A_LOOK = float(np.log(20))
"""An e-value from here on that does not suffice is inconclusive rather than not supported."""
SHOWN = 300
"""Members listed in a finding; all of them are in the members table."""


def name_of(group: Group) -> str:
    """A name that depends on the accounts and the proposer only: ``c-`` and eight hexadecimal digits."""
    return "c-" + sha256(group.proposer.encode() + group.accounts.astype("<i8").tobytes()).hexdigest()[:8]


_FEW_HARVEST = "too few of its accounts harvest to tell"
_CORE_ALONE = "those that harvest do not act as one by themselves"
_NO_MORE_ALIKE = "no more alike than matched accounts"


def decide(
    result: Score,
    facts: Facts,
    looks: Sequence[Look] = (),
    *,
    rejected: bool,
    log_needed: float,
    placed: bool = True,
    proposed: Facts | None = None,
) -> tuple[Decision, str]:
    """The decision on one group and the reason in a few words.

    What an innocent explanation explains as well, for nearly all accounts, is not supported before somebody was
    asked. One organisation or payer, a contract, and the look-alikes that are told by what the accounts do have this
    say (`alternatives.asked_first`); an explanation that merely cannot be excluded has not. Nor is a group supported
    whose evidence cannot be placed on at least a handful of its accounts (`placed`, see `campaigns.placing`).

    Parameters
    ----------
    facts
        Without the accounts that were set apart.
    proposed
        With them: setting accounts apart neither shields the others by an exemption nor hides their firm.
    """
    whole = proposed or facts
    if whole.exempt >= EXEMPT * whole.members:
        return "not supported", "exempt: " + "; ".join(whole.exempt_reasons)
    if rejected and any(
        max(f.organisation_share or 0, f.payer_share or 0) >= DECLARED for f in (facts, whole)
    ):
        return "inconclusive", "one organisation or payer: ask it"
    if rejected and (look := asked_first(looks)) is not None:
        return "inconclusive", f"may be {look.name}: ask"
    if rejected and not placed:
        return "inconclusive", "those that harvest are not those that act as one"
    if rejected:
        return "supported", ""
    return _short_of_it(result, facts, log_needed)


def _short_of_it(result: Score, facts: Facts, log_needed: float) -> tuple[Decision, str]:
    """The decision on a group that e-BH did not pass."""
    acts, before, harvest = result.acts_as_one, result.before, result.harvesting
    lowered = before is not None
    if harvest is None or (acts is None and not lowered):
        return "inconclusive", "too little data"
    if lowered and min(before, harvest) >= log_needed:
        few = result.acts_ceiling is None or result.acts_ceiling < log_needed
        return "inconclusive", _FEW_HARVEST if few else _CORE_ALONE
    could_have_shown = result.harvesting_ceiling >= (WORTH_A_LOOK if harvest <= 0 else log_needed)
    if could_have_shown and harvest < WORTH_A_LOOK:
        alone = acts is not None and acts >= log_needed
        return "not supported", _who(facts) if alone else "no shape of harvesting"
    if acts is None:
        if before >= WORTH_A_LOOK:
            return "inconclusive", _FEW_HARVEST
        return "not supported", _NO_MORE_ALIKE
    if result.log_ceiling < log_needed:
        return "inconclusive", "too few accounts to tell"
    if result.log_evalue >= WORTH_A_LOOK:
        return "inconclusive", "some evidence, not enough"
    return "not supported", _NO_MORE_ALIKE


def _who(facts: Facts) -> str:
    """Why accounts that act as one may do so, where they do not harvest."""
    if max(facts.organisation_share or 0, facts.payer_share or 0) < DECLARED:
        return "act as one, do not harvest"
    return "one organisation" + (", one gateway" if (facts.prefix_share or 0) >= DECLARED else "")


@dataclass(frozen=True, slots=True)
class Examined:
    """What is measured of a group that acts as one, and of no other.

    Parameters
    ----------
    keys
        By what its exchanges are told.
    shares
        Of its accounts that are not exempt.
    taken
        What it took, see `stillwatch.campaigns.taken`; empty for a part of another group.
    """

    keys: Keys
    shares: Shares
    taken: dict[str, Any]


def campaign_finding(
    name: str,
    group: Group,
    result: Score,
    members: pa.Table,
    facts: Facts,
    shape: dict[str, float],
    *,
    apart: int,
    looks: Sequence[Look],
    examined: Examined | None,
    decision: Decision,
    reason: str,
    log_needed: float,
    proposed: int,
    alpha: float,
    gamma: float,
    run: str,
    daily: dict[str, int],
    texts: Sequence[str],
    part_of: str,
) -> Finding:
    """One group as a Finding; `details` holds the facts that screens and reports show.

    Parameters
    ----------
    name
        Of the group as it was proposed.
    group, members, facts, shape
        Without the accounts that were set apart (`stillwatch.campaigns.placing`), of which there are `apart`.
    """
    counted = members if _mostly_exempt(facts) else members.filter(pc.is_null(members["exemption"]))
    taken = examined.taken if examined else {}
    details = {
        "campaign": name,
        "reason": reason,
        "accounts": len(counted),
        "exchanges": _total(counted["exchanges"]),
        **_shares(counted, examined),
        "since": _day(counted["first"], min),
        "until": _day(counted["last"], max),
        "takes": words.takes(shape, taken),
        "daily": daily,
        "proposed_by": group.proposer,
        "gamma": gamma,
        "acts_as_one": result.acts_as_one,
        "harvesting": result.harvesting,
        "confirmed_by": words.confirmed(result, facts),
        "shape": shape,
        "harvest_words": words.harvest(shape),
        "taken": taken,
        "taken_words": [list(pair) for pair in words.what_was_taken(taken)],
        "open_for_nearly_all": [
            look.name for look in looks if look.excluded is False and look.open_for >= NEARLY_ALL
        ],
        "exempt": _exempt(members),
        "set_apart": apart,
        "texts": list(texts),
        "material": examined.keys.as_json() if examined else {},
        "members": _listed(counted),
        "part_of": part_of,
    }
    return Finding(
        subject=name,
        claim=words.claim(decision, len(counted), log_needed, result),
        decision=decision,
        results=result.results,
        family=f"{proposed} groups proposed in this scan; e-BH at a false discovery rate of {alpha:.0%}",
        log_evalue=result.log_evalue,
        log_evalue_needed=log_needed,
        alternatives=tuple(look.as_excluded() for look in looks),
        limits=tuple(_limits(result, counted, facts, examined, apart)),
        run=run,
        details=details,
    )


def _mostly_exempt(facts: Facts) -> bool:
    return facts.exempt >= EXEMPT * facts.members


def _exempt(members: pa.Table) -> dict[str, int]:
    """Exempt accounts by reason."""
    reasons = members["exemption"].drop_null().value_counts().to_pylist()
    return {r["values"]: r["counts"] for r in sorted(reasons, key=lambda r: (-r["counts"], r["values"]))}


def _limits(
    result: Score,
    members: pa.Table,
    facts: Facts,
    examined: Examined | None,
    apart: int,
) -> list[str]:
    limits = [f"not tested: {missing}" for missing in result.not_tested]
    single = sum(len(e) <= 1 for e in members["evidence"].to_pylist())
    if single:
        limits.append(
            f"{single} accounts are tied to the others one by one by the text or value that proposed the group alone"
        )
    if facts.exempt and not _mostly_exempt(facts):
        limits.append(
            f"{facts.exempt} exempt accounts took no part in the tests; everything is said without them"
        )
    if apart:
        limits.append(
            f"{apart} accounts that have the text or value as well, but are not like those that harvest with it, took "
            "part in the tests and are set apart: nothing is said of them"
        )
    if result.log_ceiling is not None:
        limits.append(
            f"the largest e-value that this much data could have given is {words.power(result.log_ceiling)}"
        )
    if examined is None:
        limits.append(
            "what its accounts took, and explanations that rest on what they do, were not examined: the group was "
            "not shown to act as one"
        )
    elif not examined.keys:
        limits.append("the share cannot be told: no text tells which of these accounts' exchanges are meant")
    elif examined.keys.proposed:
        limits.append(
            "requests without the shared text count as other traffic: the share is one of requests that carry it"
        )
    limits.append("the finding is about accounts in this log; it does not say who runs them")
    return limits


def _shares(members: pa.Table, examined: Examined | None) -> dict[str, Any]:
    """The group's share, its interval and by what it was told."""
    if examined is None:
        return {"share": _share(members), "share_low": None, "share_high": None, "share_by": ""}
    keys, shares = examined.keys, examined.shares
    if not keys:
        return {"share": None, "share_low": None, "share_high": None, "share_by": "no text tells it"}
    told = "the text that proposed the group"
    if not keys.proposed:
        told = f"text that {keys.users:.0%} of the accounts repeat; it did not propose the group"
    if shares.of_group is None:
        return {"share": None, "share_low": None, "share_high": None, "share_by": told}
    share, low, high = (round(x, 4) for x in shares.of_group)
    if shares.background > 0:
        told += f" (in {words.part(shares.background)} of other accounts' requests, taken off)"
    return {"share": share, "share_low": low, "share_high": high, "share_by": told}


def _listed(members: pa.Table) -> list[dict[str, Any]]:
    order = np.argsort(-members["exchanges"].to_numpy(), kind="stable")[:SHOWN]
    rows = members.take(pa.array(order)).to_pylist()
    return [
        {
            "account": show("account", row["account_id"]),
            "exchanges": row["exchanges"],
            **{
                name: None if row[name] is None else round(row[name], 4)
                for name in ("share", "share_low", "share_high")
            },
            "first": iso_day(row["first"]),
            "evidence": dict.fromkeys(row["evidence"], True),
        }
        for row in rows
    ]


def _share(members: pa.Table) -> float | None:
    if members["share"].null_count or not len(members):
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
    return _without_repeats(sorted(pieces, key=lambda p: (-len(p), p)))[:most]


def _without_repeats(pieces: Sequence[str]) -> list[str]:
    """Those of which at least half stands in no longer one: the end of a wrapper with each of fifty first words is one
    wrapper and not fifty texts."""
    kept: list[str] = []
    for piece in pieces:
        longest = (SequenceMatcher(None, piece, k, autojunk=False).find_longest_match().size for k in kept)
        if max(longest, default=0) < len(piece) / 2:
            kept.append(piece)
    return kept


def _overlap(left: str, right: str) -> int:
    if right in left:
        return len(right)
    for size in range(min(len(left), len(right)) - 1, 0, -1):
        if left.endswith(right[:size]):
            return size
    return 0
