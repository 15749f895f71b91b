"""``stillwatch campaigns``: which accounts act as one and harvest, and why we think so."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stillwatch.cli import _campaign_screen, _filing, output
from stillwatch.cli._options import HOME, JsonOption, WorkspaceOption

if TYPE_CHECKING:
    from stillwatch.campaigns import Scan
    from stillwatch.records import Card, Finding

app = typer.Typer(help="Which accounts act as one and harvest the model?", no_args_is_help=True)


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
    _campaign_screen.show(found, json=json, everything=False)
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
    ids = sorted({account for w in found.groups for account in w.members})
    names = _names(workspace, ids, reveal=reveal, why="watch") if json else {}
    _campaign_screen.show_watch(found, names, json=json, everything=everything)
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

    _campaign_screen.show(campaigns.latest(workspace), json=json, everything=everything)


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
        _campaign_screen.show_exchanges(workspace, table, names, json=json)
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
            (
                r["campaign"],
                r["account"],
                r["exchanges"],
                _campaign_screen.percent(r["share"]),
                _campaign_screen.span(r),
                _campaign_screen.why(r),
            )
            for r in rows
        ],
        ["CAMPAIGN", "ACCOUNT", "EXCHANGES", "SHARE", "95%", "EVIDENCE"],
        right=["SHARE", "95%"],
    )
    if not reveal:
        output.note("Next: --reveal shows the real accounts, and the workspace journal records that it did")


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
    for name, text in explained(finding, _campaign_screen.titles()):
        _campaign_screen.item(name, text)
    output.line(f"Next: stillwatch campaigns members {finding.subject}")


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
