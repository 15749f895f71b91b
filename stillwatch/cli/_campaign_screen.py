"""A scan, a watch and their members on a screen."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillwatch.cli import output

if TYPE_CHECKING:
    from stillwatch.campaigns import Scan, Watch
    from stillwatch.records import Finding

FEW = 6
"""Undecided groups, and groups that act as one without harvesting, that a screen and a report list."""
WORTH_A_LOOK = 3.0
"""Log e-value (e = 20) from which an undecided group is listed."""


def span(row: dict[str, Any]) -> str:
    """A share's interval in per cent."""
    if row["share_low"] is None:
        return "-"
    return f"{100 * row['share_low']:.0f} to {100 * row['share_high']:.0f}"


def why(row: dict[str, Any]) -> str:
    """What speaks for a member, or why nothing does."""
    evidence = ", ".join(row["evidence"])
    return f"({row['decision']}) {evidence}" if row["decision"] in ("exempt", "set apart") else evidence


def show_exchanges(workspace: Path, members: Any, names: dict[int, str], *, json: bool) -> None:
    """The exchanges of these members that the latest scan means, as many as it listed."""
    from datetime import UTC, datetime

    import pyarrow.compute as pc

    from stillwatch import identity
    from stillwatch.campaigns import store

    listed = store.exchanges(workspace)
    listed = listed.filter(pc.is_in(listed["campaign"], value_set=members["campaign"].unique()))
    rows = [
        {
            "campaign": row["campaign"],
            "exchange": f"{row['exchange_id'] & (2**64 - 1):016x}",
            "time": datetime.fromtimestamp(row["time"] / 1e6, UTC).isoformat(timespec="seconds"),
            "account": names.get(row["account_id"], identity.show("account", row["account_id"])),
            "follow_up": row["follow_up"],
            "model": row["model"],
            "source": f"{row['source_file']}:{row['source_line']}",
        }
        for row in listed.to_pylist()
    ]
    if json:
        output.json_lines(rows)
        return
    output.table(
        [
            (
                r["campaign"],
                r["time"][:19],
                r["account"],
                "follow-up" if r["follow_up"] else "first",
                r["source"],
            )
            for r in rows
        ],
        ["CAMPAIGN", "TIME", "ACCOUNT", "IS", "WHERE IN THE LOG"],
    )
    of = sum(n for n in members["exchanges"].to_pylist() if n is not None)
    if len(rows) < of:
        output.note(f"{len(rows):,} of {of:,} exchanges: a scan lists a sample of bounded size")


def item(name: str, text: str) -> None:
    """A word on the left and what is said of it, wrapped."""
    import textwrap

    lines = textwrap.wrap(output.printable(text), output.WIDTH - 18) or [""]
    output.line(f"  {name:<15} {lines[0]}")
    for more in lines[1:]:
        output.line(" " * 18 + more)


def show(found: Scan, *, json: bool, everything: bool) -> None:
    """Print what a scan found: all of it, or what is worth showing."""
    from stillwatch.campaigns.words import power

    if json:
        output.json_lines(asdict(f) for f in found.findings)
        return
    shown = list(found.findings) if everything else _worth_showing(found)
    rows = []
    for f in shown:
        facts = f.details
        takes = facts["takes"] if f.decision == "supported" else f"({facts['reason']})"
        share = percent(facts["share"]) if f.decision == "supported" else "-"
        acts, harvest = power(facts["acts_as_one"]), power(facts["harvesting"])
        rows.append(
            (f.subject, f.decision, facts["accounts"], facts["exchanges"], share, f"e = {acts}", f"e = {harvest}",
             facts["since"], takes)
        )  # fmt: skip
    columns = [
        "CAMPAIGN",
        "DECISION",
        "ACCOUNTS",
        "EXCHANGES",
        "SHARE",
        "ACTS AS ONE",
        "HARVESTING",
        "SINCE",
        "TAKES",
    ]
    if rows:
        output.table(rows, columns, right=["SHARE"], words=True)
    for f in shown:
        if f.decision == "supported" and (open_for := f.details["open_for_nearly_all"]):
            output.line(f"NOT excluded for nearly all accounts of {f.subject}: {'; '.join(open_for)}")
    hidden = len(found.findings) - len(rows)
    if not found.findings:
        output.line("No group of accounts was proposed: nothing rare is shared by five accounts or more.")
        return
    output.line(
        f"{output.count(found.proposed, 'group was', 'groups were')} proposed; false discovery rate held at "
        f"{found.alpha:.0%} over all of them (a single group needs e of {power(found.log_needed)})."
    )
    if hidden:
        output.line(
            f"{output.count(hidden, 'group')} not shown: part of another, too little data, or no more alike than "
            "matched accounts (list --all)."
        )
    if rows:
        output.line(f"Next: stillwatch campaigns explain {rows[0][0]}")


def show_watch(found: Watch, names: dict[int, str], *, json: bool, everything: bool) -> None:
    """A watch so far; `names` are the real accounts of those that may be named."""
    from stillwatch import identity
    from stillwatch.campaigns.words import power

    if json:
        output.json_lines(
            {
                "campaign": w.group.name,
                "decision": w.decision,
                "reason": w.reason,
                "days_tested": w.days_tested,
                "acts_as_one": w.group.acts_as_one,
                "harvesting": w.group.harvesting,
                "log_evalue": w.group.log_evalue,
                "log_evalue_needed": w.log_needed,
                "members": [names.get(a, identity.show("account", a)) for a in w.members],
                **{k: v for k, v in asdict(w.group).items() if k not in ("name", "place", "materials")},
            }
            for w in found.groups
        )
        return
    shown = [w for w in found.groups if everything or w.decision == "supported"]
    if not everything:
        near = [w for w in found.groups if w.decision != "supported" and _near(w.group.log_evalue)]
        shown += near[:FEW]
    rows = [
        (w.group.name, w.decision, w.group.accounts, w.days_tested, f"e = {power(w.group.acts_as_one)}",
         f"e = {power(w.group.harvesting)}", w.group.frozen, f"({w.reason})" if w.reason else "")
        for w in shown
    ]  # fmt: skip
    columns = [
        "CAMPAIGN",
        "DECISION",
        "ACCOUNTS",
        "DAYS TESTED",
        "ACTS AS ONE",
        "HARVESTING",
        "FROZEN",
        "",
    ]
    if rows:
        output.table(rows, columns, words=True)
    if not found.last_day:
        output.line("No day is complete yet: a day is when a later one has exchanges, or with --until.")
        return
    output.line(
        f"{output.count(len(found.days), 'day')} processed, the last one {found.last_day}; "
        f"{output.count(len(found.groups), 'group was', 'groups were')} frozen so far; "
        f"false discovery rate held at {found.alpha:.0%} for ever."
    )
    if hidden := len(found.groups) - len(rows):
        output.line(f"{output.count(hidden, 'group')} not shown: nothing to tell so far (--all).")
    if found.waiting:
        output.line(f"{found.waiting} may still get exchanges and waits for a later day (--until).")
    if found.late:
        output.line(
            f"{output.count(sum(found.late.values()), 'exchange')} came after their day was processed: "
            "earlier tests stay as they were."
        )
    if found.unplaced:
        output.line(f"{output.count(found.unplaced, 'proposal')} found no place among the open groups.")
    if any(g.decision == "supported" for g in found.groups):
        output.line("Next: stillwatch campaigns scan, which holds innocent look-alikes against each group")
    else:
        output.line("Next: stillwatch logs import FILE, then stillwatch campaigns watch again")


def _near(log_evalue: float | None) -> bool:
    return log_evalue is not None and log_evalue >= WORTH_A_LOOK


def _worth_showing(found: Scan) -> list[Finding]:
    """Everything supported, and of the rest the few that come nearest or act as one."""
    whole = [f for f in found.findings if not f.details["part_of"]]
    undecided = [f for f in whole if f.decision == "inconclusive" and (f.log_evalue or 0.0) >= WORTH_A_LOOK]
    as_one = [f for f in whole if f.decision == "not supported" and _acts(f) >= found.log_needed]
    return [f for f in whole if f.decision == "supported"] + undecided[:FEW] + as_one[:FEW]


def _acts(finding: Finding) -> float:
    return finding.details["acts_as_one"] or 0.0


def titles() -> dict[str, str]:
    """The title of each signal."""
    from stillwatch import plugins

    return {name: signal.CARD.title for name, signal in plugins.find("campaigns.signals").items()}


def percent(share: float | None) -> str | None:
    """A share in per cent; None where it is not known."""
    return None if share is None else f"{share:.0%}"
