"""``stillwatch campaigns``: which accounts act as one and harvest, and why we think so."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stillwatch.cli import _filing, output
from stillwatch.cli._options import HOME, JsonOption, WorkspaceOption

if TYPE_CHECKING:
    from stillwatch.campaigns import Scan, Watch
    from stillwatch.records import Card, Finding

app = typer.Typer(help="Which accounts act as one and harvest the model?", no_args_is_help=True)

FEW = 6
"""Undecided groups, and groups that act as one without harvesting, that a screen and a report list."""
WORTH_A_LOOK = 3.0
"""Log e-value (e = 20) from which an undecided group is listed."""


@app.command()
def scan(
    workspace: WorkspaceOption = HOME,
    alpha: Annotated[float, typer.Option(help="Bound on the false discovery rate over all groups.")] = 0.01,
    gamma: Annotated[
        float,
        typer.Option(
            help="How much likelier, in odds, honest groups may be to be alike than matched accounts."
        ),
    ] = 3.0,
    seed: Annotated[int, typer.Option(help="Seed of the random orders in which members are drawn.")] = 1,
    memory_limit: Annotated[str, typer.Option(help="Memory for the engine, such as 1GB.")] = "1GB",
    threads: Annotated[int, typer.Option(min=1, help="Threads for the engine.")] = 2,
    print_sql: Annotated[
        bool, typer.Option("--print-sql", help="Print the steps as SQL and do nothing.")
    ] = False,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Write the HTML report.")] = True,
    case: Annotated[
        str,
        typer.Option("--case", help="File the supported findings in this case, such as C-1; new opens one."),
    ] = "",
    everything: Annotated[bool, typer.Option("--all", help="With --case, file every finding.")] = False,
    by: Annotated[
        str, typer.Option("--by", help="With --case, who files them; else the user who runs the program.")
    ] = "",
    store: Annotated[
        str,
        typer.Option(
            "--store",
            envvar="STILLWATCH_CASE_STORE",
            show_envvar=True,
            help="With --case, URL of a PostgreSQL database with the cases; else they lie in the workspace.",
        ),
    ] = "",
    fail_on: Annotated[str, typer.Option(help="Exit with 10 when a finding has this decision.")] = "",
    json: JsonOption = False,
) -> None:
    """Find groups of accounts that act as one and have the shape of harvesting."""
    from stillwatch import campaigns, logs
    from stillwatch.campaigns.findings import exempted
    from stillwatch.cases.journal import Journal
    from stillwatch.engine.tables import Workspace
    from stillwatch.errors import InputError

    if fail_on not in ("", "supported", "inconclusive"):
        raise InputError(f"--fail-on takes supported or inconclusive, found {fail_on!r}")
    if print_sql:
        output.line(campaigns.planned_sql())
        return
    if case and case != _filing.NEW:
        with _filing.store(workspace, store) as cases:
            cases.must_have(case)  # before the scan, which may take long
    with output.progress("scanning") as update:
        stages = iter(range(1, 100))
        found = campaigns.scan(
            workspace,
            alpha=alpha,
            gamma=gamma,
            seed=seed,
            memory_limit=memory_limit,
            threads=threads,
            read_texts=lambda shingles: logs.texts(workspace, shingles),
            on_stage=lambda stage: update(next(stages) / 7, stage),
        )
    campaigns.save(found, workspace)
    place = Workspace(workspace)
    journal = Journal(place.journal)
    journal.append(
        "scan", {"run": found.run.id, "findings": [f.id for f in found.findings], "config": found.run.config}
    )
    if apart := exempted(found.findings, found.members):
        journal.append("exemption", {"run": found.run.id, "findings": apart})
    written = _write_report(found, workspace) if report else None
    _show(found, json=json, everything=False)
    if written:
        output.note(f"report: {written}")
    if case:
        _filing.file_in(found, workspace, store, case, everything=everything, by=by)
    if fail_on and any(f.decision == fail_on for f in found.findings):
        raise typer.Exit(10)


@app.command()
def watch(
    workspace: WorkspaceOption = HOME,
    until: Annotated[
        str, typer.Option(help="Days up to this one (YYYY-MM-DD) are complete; else the newest day waits.")
    ] = "",
    window_days: Annotated[
        int | None, typer.Option(help="Days from which groups are proposed.", show_default="14")
    ] = None,
    alpha: Annotated[
        float | None, typer.Option(help="Bound on the false discovery rate, for ever.", show_default="0.01")
    ] = None,
    gamma: Annotated[
        float | None,
        typer.Option(
            help="How much likelier, in odds, honest groups may be to be alike than matched accounts.",
            show_default="3.0",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Seed of the random orders in which members are drawn.", show_default="1"),
    ] = None,
    memory_limit: Annotated[str, typer.Option(help="Memory for the engine, such as 1GB.")] = "1GB",
    threads: Annotated[int, typer.Option(min=1, help="Threads for the engine.")] = 2,
    fail_on: Annotated[str, typer.Option(help="Exit with 10 when a group has this decision.")] = "",
    reveal: Annotated[
        bool, typer.Option("--reveal", help="With --json, real account names; the journal records it.")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="Also groups with nothing to tell.")] = False,
    json: JsonOption = False,
) -> None:
    """Process the days that came since the last time: test what was frozen before them, freeze what is new."""
    from stillwatch import campaigns
    from stillwatch.cases.journal import Journal
    from stillwatch.engine.tables import Workspace
    from stillwatch.errors import InputError

    if fail_on not in ("", "supported", "inconclusive"):
        raise InputError(f"--fail-on takes supported or inconclusive, found {fail_on!r}")
    with output.progress("watching") as update:
        found = campaigns.watch(
            workspace,
            until=until or None,
            window_days=window_days,
            alpha=alpha,
            gamma=gamma,
            seed=seed,
            memory_limit=memory_limit,
            threads=threads,
            on_day=lambda day, number, days: update(number / days, day),
        )
    supported = [w.group.key for w in found.supported]
    Journal(Workspace(workspace).journal).append(
        "watch",
        {
            "run": found.run.id, "days": list(found.days), "state": found.state, "supported": supported,
            "late": found.late, "config": found.run.config,
        },
    )  # fmt: skip
    _show_watch(found, workspace, json=json, reveal=reveal, everything=everything)
    if fail_on and any(w.decision == fail_on for w in found.groups):
        raise typer.Exit(10)


@app.command("list")
def list_(
    workspace: WorkspaceOption = HOME,
    everything: Annotated[
        bool, typer.Option("--all", help="Also groups that are part of another or plainly dull.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """List the groups of the latest scan."""
    from stillwatch import campaigns

    _show(campaigns.latest(workspace), json=json, everything=everything)


@app.command()
def members(
    campaign: Annotated[str, typer.Argument(help="One campaign; all supported ones when left out.")] = "",
    workspace: WorkspaceOption = HOME,
    exchanges: Annotated[
        bool,
        typer.Option("--exchanges", help="The exchanges that are meant, and where in the log they stand."),
    ] = False,
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Real account names; the journal records it.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """List the accounts of one campaign, or of all that are supported, with the evidence for each."""
    import pyarrow.compute as pc

    from stillwatch import campaigns, identity

    found = campaigns.latest(workspace)
    wanted = _one(found, campaign).subject if campaign else None
    column, value = ("campaign", wanted) if wanted else ("decision", "supported")
    table = found.members.filter(pc.equal(found.members[column], value))
    names = _names(workspace, table["account_id"].to_pylist(), reveal=reveal, why=wanted or "all supported")
    if exchanges:
        _show_exchanges(workspace, table, names, json=json)
        return
    rows = [
        {
            "campaign": row["campaign"],
            "decision": row["decision"],
            "account": names.get(row["account_id"], identity.show("account", row["account_id"])),
            "exchanges": row["exchanges"],
            "share": row["share"],
            "share_low": row["share_low"],
            "share_high": row["share_high"],
            "evidence": row["evidence"],
        }
        for row in table.to_pylist()
    ]
    if json:
        output.json_lines(rows)
        return
    output.table(
        [
            (r["campaign"], r["account"], r["exchanges"], _percent(r["share"]), _span(r), _why(r))
            for r in rows
        ],
        ["CAMPAIGN", "ACCOUNT", "EXCHANGES", "SHARE", "95%", "EVIDENCE"],
        right=["SHARE", "95%"],
    )
    if not reveal:
        output.note("Next: --reveal shows the real accounts, and the workspace journal records that it did")


def _span(row: dict[str, Any]) -> str:
    if row["share_low"] is None:
        return "-"
    return f"{100 * row['share_low']:.0f} to {100 * row['share_high']:.0f}"


def _why(row: dict[str, Any]) -> str:
    evidence = ", ".join(row["evidence"])
    return f"({row['decision']}) {evidence}" if row["decision"] in ("exempt", "set apart") else evidence


def _show_exchanges(workspace: Path, members: Any, names: dict[int, str], *, json: bool) -> None:
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


@app.command()
def explain(
    campaign: Annotated[str, typer.Argument(help="Name of the campaign, such as c-7f3a104b.")],
    workspace: WorkspaceOption = HOME,
    json: JsonOption = False,
) -> None:
    """Why these accounts: in words, in numbers, and with the innocent explanations."""
    from stillwatch import campaigns
    from stillwatch.campaigns.words import explained

    found = campaigns.latest(workspace)
    finding = _one(found, campaign)
    if json:
        output.json_lines([asdict(finding)])
        return
    output.line(finding.claim)
    output.line()
    for name, text in explained(finding, _titles()):
        _item(name, text)
    output.line(f"Next: stillwatch campaigns members {finding.subject}")


def _item(name: str, text: str) -> None:
    import textwrap

    lines = textwrap.wrap(output.printable(text), output.WIDTH - 18) or [""]
    output.line(f"  {name:<15} {lines[0]}")
    for more in lines[1:]:
        output.line(" " * 18 + more)


def _show(found: Scan, *, json: bool, everything: bool) -> None:
    from stillwatch.campaigns.words import power

    if json:
        output.json_lines(asdict(f) for f in found.findings)
        return
    shown = list(found.findings) if everything else _worth_showing(found)
    rows = []
    for f in shown:
        facts = f.details
        takes = facts["takes"] if f.decision == "supported" else f"({facts['reason']})"
        share = _percent(facts["share"]) if f.decision == "supported" else "-"
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


def _show_watch(found: Watch, workspace: Path, *, json: bool, reveal: bool, everything: bool) -> None:
    from stillwatch import identity
    from stillwatch.campaigns.words import power

    if json:
        ids = sorted({account for w in found.groups for account in w.members})
        names = _names(workspace, ids, reveal=reveal, why="watch")
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


def _one(found: Scan, campaign: str) -> Finding:
    from stillwatch.errors import InputError

    matching = [f for f in found.findings if f.subject.startswith(campaign)]
    if len(matching) == 1:
        return matching[0]
    names = ", ".join(f.subject for f in (matching or found.findings)[:5])
    what = "fits several campaigns" if matching else "is no campaign of the latest scan"
    raise InputError(f"{campaign!r} {what}; there are: {names or 'none'}")


def _names(workspace: Path, ids: list[int], *, reveal: bool, why: str) -> dict[int, str]:
    if not reveal:
        return {}
    from stillwatch.cases.journal import Journal
    from stillwatch.engine.tables import Workspace
    from stillwatch.identity import Keys, Pseudonyms

    place = Workspace(workspace)
    Journal(place.journal).append("reveal", {"kind": "account", "count": len(ids), "for": why})
    return Pseudonyms(Keys(place.key_file), place.vault).reveal("account", ids)


def _titles() -> dict[str, str]:
    from stillwatch import plugins

    return {name: signal.CARD.title for name, signal in plugins.find("campaigns.signals").items()}


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{share:.0%}"


def _write_report(found: Scan, workspace: Path) -> Path:
    from stillwatch import plugins
    from stillwatch.cases.report import write_report
    from stillwatch.engine.tables import Workspace

    cards = [signal.CARD for signal in plugins.find("campaigns.signals").values()]
    path = Workspace(workspace).reports / f"scan-{found.run.id[:12]}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_report(
        path,
        title="Campaigns in this log",
        run=found.run,
        findings=found.findings,
        cards=cards,
        summary=_summary(found, workspace, cards),
    )


def _summary(found: Scan, workspace: Path, cards: list[Card]) -> dict[str, Any]:
    """What a reader of the report needs to know of the log: how much of it there is, and what it cannot tell."""
    from stillwatch import logs
    from stillwatch.campaigns.explain import iso_day

    held = logs.describe(workspace)
    return {
        "proposed": found.proposed,
        "alpha": found.alpha,
        "log_needed": found.log_needed,
        "accounts": held.accounts,
        "exchanges": held.exchanges,
        "first": "" if held.first_time is None else iso_day(held.first_time),
        "last": "" if held.last_time is None else iso_day(held.last_time),
        "quarantined": sum(rows for _, rows in held.quarantine),
        "not_tested": [{"name": r.title, "why": r.why} for r in logs.check(workspace, cards) if not r.runs],
    }
