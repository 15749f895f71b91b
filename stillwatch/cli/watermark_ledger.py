"""``stillwatch watermark ledger``: what each account received, kept, found again and verified."""

from __future__ import annotations

import json as json_
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stillwatch.cli import _filing, output
from stillwatch.cli._ledger_add import add
from stillwatch.cli._ledger_find import find
from stillwatch.cli._ledger_folder import LedgerOption, folder_of, journal, policy_of, when
from stillwatch.cli._options import HOME, ByOption, JsonOption, WorkspaceOption
from stillwatch.cli.watermark_keys import CommandOption, KeyOption

if TYPE_CHECKING:
    from stillwatch.marks.ledger import Ledger, Policy


def add_to(app: typer.Typer) -> None:
    """Hang the commands of this file into ``stillwatch watermark``."""
    ledger = typer.Typer(
        help="What each account received: kept, found again, verified.", no_args_is_help=True
    )
    ledger.command("add")(add)
    ledger.command("find")(find)
    ledger.command("verify")(verify)
    ledger.command("describe")(describe)
    ledger.command("policy")(policy)
    ledger.command("expire")(expire)
    app.add_typer(ledger, name="ledger")


def verify(
    head: Annotated[
        str, typer.Option("--head", help="A head that was noted elsewhere; the ledger must go through it.")
    ] = "",
    ledger: LedgerOption = None,
    key: KeyOption = None,
    key_command: CommandOption = "",
    workspace: WorkspaceOption = HOME,
) -> None:
    """Hold every record against the one before; the first bad one is named, with exit code 5."""
    from stillwatch.cli.watermark_keys import master_of
    from stillwatch.marks.ledger import verify as held

    found = held(folder_of(ledger, workspace), master_of(key, key_command, workspace), head=head)
    output.line(
        f"{output.count(found.records, 'record')} hold, {output.count(found.answers, 'answer')} among them; "
        f"{output.count(found.texts, 'kept text')} opened."
    )
    if found.erased:
        output.line(
            f"Texts of {output.count(len(found.erased), 'segment')} were erased, as the ledger says itself."
        )
    if found.torn:
        output.line(
            f"{output.count(found.torn, 'byte')} at the end belong to no record: a write was cut off."
        )
    output.line(f"Head, worth noting outside this machine: {found.head}")


def describe(
    json: JsonOption = False,
    ledger: LedgerOption = None,
    key: KeyOption = None,
    key_command: CommandOption = "",
    workspace: WorkspaceOption = HOME,
) -> None:
    """Count answers, accounts and marks, and say what is kept. Reads the whole ledger."""
    from stillwatch.cli.watermark_keys import master_of
    from stillwatch.marks.ledger import Ledger

    folder = folder_of(ledger, workspace)
    with (
        Ledger(folder, master_of(key, key_command, workspace)) as opened,
        output.progress("reading") as update,
    ):
        said = _counted(opened, update)
    said["bytes"] = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    said["policy"] = asdict(policy_of(folder))
    if json:
        output.json_lines([said])
        return
    span = f", {said['first']} to {said['last']}" if said["answers"] else ""
    output.line(
        f"{output.count(said['answers'], 'answer')} of {output.count(said['accounts'], 'account')}{span}; "
        f"{said['bytes'] / 1e6:,.1f} MB."
    )
    output.line(
        f"Text or tokens kept of {said['kept']:,}, {said['erased']:,} of them erased since; {said['twins']:,} twins."
    )
    for mark, number in said["marks"].items():
        output.line(f"  {'marked with ' + mark if mark else 'no mark noted'}: {number:,}")
    output.line(_words(policy_of(folder)))


def policy(
    keep: Annotated[str, typer.Option("--keep", help="Beside digests: digests, text, tokens or both.")] = "",
    share: Annotated[
        float | None, typer.Option("--share", help="Of the exchanges, 0 to 1, drawn by a keyed hash.")
    ] = None,
    retain_days: Annotated[
        int | None, typer.Option("--retain-days", help="Days after which `expire` destroys text and tokens.")
    ] = None,
    shingle_every: Annotated[
        int | None, typer.Option("--shingle-every", help="Keep one in so many shingles; 0: none.")
    ] = None,
    by: ByOption = "",
    ledger: LedgerOption = None,
    workspace: WorkspaceOption = HOME,
) -> None:
    """Show or change what is kept of answers that are added from now on; the journal records a change."""
    from dataclasses import replace

    folder = folder_of(ledger, workspace)
    before = policy_of(folder)
    given = {"keep": keep or None, "share": share, "retain_days": retain_days, "shingle_every": shingle_every}
    changed = replace(before, **{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    if changed != before:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        journal(workspace, "ledger.policy", {"by": _filing.whoever(by), **asdict(changed)})
        draft = folder / "policy.json.tmp"
        draft.write_text(json_.dumps(asdict(changed)) + "\n", "utf-8")
        draft.replace(folder / "policy.json")
    output.line(_words(changed))


def expire(
    days: Annotated[
        int | None,
        typer.Option("--days", min=0, help="Days after serving; those of the policy if not given."),
    ] = None,
    by: ByOption = "",
    ledger: LedgerOption = None,
    key: KeyOption = None,
    key_command: CommandOption = "",
    workspace: WorkspaceOption = HOME,
) -> None:
    """Destroy kept text and tokens whose days are over; digests stay. It cannot be undone."""
    from stillwatch.cli.watermark_keys import master_of
    from stillwatch.errors import InputError
    from stillwatch.marks.ledger import Ledger
    from stillwatch.marks.ledger import expire as destroy

    folder = folder_of(ledger, workspace)
    if not (folder / "ledger.json").exists():
        raise InputError(f"{folder}: there is no ledger here")
    master = master_of(key, key_command, workspace)
    with Ledger(folder, master, write=True, policy=policy_of(folder)) as opened:
        gone = destroy(opened, days=days, by=_filing.whoever(by))
    output.line(
        f"Texts of {output.count(len(gone), 'segment')} destroyed. Copies of *.salt in backups are not reached."
    )


def _counted(ledger: Ledger, update: Any) -> dict[str, Any]:
    from bisect import bisect_right
    from collections import Counter

    accounts: set[int] = set()
    marks: Counter[str] = Counter()
    first, last, answers, kept, twins, erased = 1 << 62, 0, 0, 0, 0, 0
    total = len(ledger) or 1
    gone = {h.number for h in ledger.headers if ledger.sealer(h.number) is None}
    starts = [h.first for h in ledger.headers]
    numbers = [h.number for h in ledger.headers]
    for entry in ledger.entries():
        answers += 1
        accounts.add(entry.account)
        marks[entry.mark] += 1
        first, last = min(first, entry.time), max(last, entry.time)
        kept, twins = kept + entry.kept, twins + entry.withheld
        if gone and entry.kept:
            erased += numbers[bisect_right(starts, entry.number) - 1] in gone
        if answers % 10_000 == 0:
            update(entry.number / total, f"{answers:,} answers")
    return {
        "answers": answers,
        "accounts": len(accounts),
        "first": when(first)[:10] if answers else "",
        "last": when(last)[:10] if answers else "",
        "kept": kept,
        "erased": erased,
        "twins": twins,
        "marks": dict(marks.most_common()),
        "segments": len(numbers),
        "head": ledger.head(),
    }


def _words(found: Policy) -> str:
    if found.keep == "digests":
        kept = "digests only"
    else:
        what = {"text": "text", "tokens": "token ids", "both": "text and token ids"}[found.keep]
        kept = f"digests, and {what} of {found.share:.0%} of the exchanges, encrypted, for {found.retain_days} days"
    shingles = f"one shingle in {found.shingle_every}" if found.shingle_every else "no shingles"
    return f"Policy: {kept}; {shingles}."
