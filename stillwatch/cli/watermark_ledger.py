"""``stillwatch watermark ledger``: what each account received, kept and found again.

No text is printed unless it is asked for, and then the journal says so.
"""

from __future__ import annotations

import json as json_
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stillwatch.cli import _filing, output
from stillwatch.cli._options import HOME, ByOption, JsonOption, WorkspaceOption
from stillwatch.cli.watermark_keys import CommandOption, KeyOption

if TYPE_CHECKING:
    from stillwatch.cli._documents import Bad
    from stillwatch.marks.ledger import Answer, Entry, Ledger, Policy

TOGETHER = 1_000
"""Answers that share one write and one sync."""
FIELDS = (
    "exchange_id", "time", "account", "text", "tokens", "mark", "model", "withheld_text", "withheld_tokens", "keep",
    "note", "conversation",
)  # fmt: skip

LedgerOption = Annotated[
    Path | None,
    typer.Option("--ledger", help="Folder of the ledger.", show_default="marks/ledger in the workspace"),
]


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


def add(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="JSON lines of served answers: paths, globs or - for stdin."),
    ],
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Count lines that cannot be taken, and go on.")
    ] = False,
    ledger: LedgerOption = None,
    key: KeyOption = None,
    key_command: CommandOption = "",
    workspace: WorkspaceOption = HOME,
) -> None:
    """Add served answers. What is there already, the same exchange with the same text, is not added again."""
    from stillwatch.cli._documents import Bad
    from stillwatch.cli.watermark_keys import master_of
    from stillwatch.logs.sources import expand
    from stillwatch.marks.ledger import Ledger

    sources, bad = expand(files), Bad(skip_bad)
    master, folder = master_of(key, key_command, workspace), _folder(ledger, workspace)
    added = there = 0
    with (
        Ledger(folder, master, write=True, policy=_policy(folder)) as opened,
        output.progress("adding") as update,
    ):
        size, before = sum(source.size for source in sources) or 1, 0
        for source in sources:
            used = [0]
            for answers in _answers(source, used, bad, workspace):
                fresh = _fresh(opened, answers)
                opened.append_many(fresh)
                added, there = added + len(fresh), there + len(answers) - len(fresh)
                update((before + used[0]) / size, f"{added:,} answers")
            before += source.size
        head = opened.head()
    output.line(
        f"{output.count(added, 'answer')} added, {there:,} were there already, {bad.count:,} passed over."
    )
    for text in bad.first:
        output.note(f"passed over: {text}")
    output.line(f"Head, worth noting outside this machine: {head}")


def find(
    exact: Annotated[
        list[str] | None,
        typer.Option(
            "--exact", metavar="FILE", help="Answers that are these texts or token ids; - for stdin."
        ),
    ] = None,
    like: Annotated[
        list[str] | None,
        typer.Option("--like", metavar="FILE", help="Answers that share runs of 63 bytes with these texts."),
    ] = None,
    digest: Annotated[
        str, typer.Option("--digest", help="Digest of text or tokens, as it is shown with --json.")
    ] = "",
    account: Annotated[
        str, typer.Option("--account", help="Pseudonym, such as a-0123456789abcdef, or the real name.")
    ] = "",
    column: Annotated[str, typer.Option("--column", help="Field or column of the files with the text.")] = "",
    lines: Annotated[bool, typer.Option("--lines", help="Plain text holds one document a line.")] = False,
    least: Annotated[int, typer.Option("--least", min=1, help="Shingles in common, for --like.")] = 1,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Most answers for each document.")] = 20,
    text: Annotated[
        bool, typer.Option("--text", help="Show texts that were kept; the journal records it.")
    ] = False,
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Real account names; the journal records it.")
    ] = False,
    json: JsonOption = False,
    ledger: LedgerOption = None,
    key: KeyOption = None,
    key_command: CommandOption = "",
    workspace: WorkspaceOption = HOME,
) -> None:
    """Which account received this? By text, by what is like it, by digest, or all that one account received."""
    from stillwatch.cli.watermark_keys import master_of
    from stillwatch.errors import InputError
    from stillwatch.marks.ledger import Ledger

    if sum(map(bool, (exact, like, digest, account))) != 1:
        raise InputError("ask by one of --exact, --like, --digest and --account")
    master = master_of(key, key_command, workspace)
    with Ledger(_folder(ledger, workspace), master) as opened:
        found = list(
            _by_files(opened, exact or like or [], bool(like), column, lines, least, limit)
            if exact or like
            else _by_name(opened, digest, account, limit, workspace)
        )
        hits = [entry for _, entries, _ in found for entry, _ in entries]
        asked = "ledger find"
        names = _names(workspace, [e.account for e in hits], asked) if reveal else {}
        texts = _texts(workspace, opened, hits, asked) if text else {}
    _show(found, names, texts, json=json, with_text=text)


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

    found = held(_folder(ledger, workspace), master_of(key, key_command, workspace), head=head)
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

    folder = _folder(ledger, workspace)
    with (
        Ledger(folder, master_of(key, key_command, workspace)) as opened,
        output.progress("reading") as update,
    ):
        said = _counted(opened, update)
    said["bytes"] = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    said["policy"] = asdict(_policy(folder))
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
    output.line(_words(_policy(folder)))


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

    folder = _folder(ledger, workspace)
    before = _policy(folder)
    given = {"keep": keep or None, "share": share, "retain_days": retain_days, "shingle_every": shingle_every}
    changed = replace(before, **{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    if changed != before:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _journal(workspace, "ledger.policy", {"by": _filing.whoever(by), **asdict(changed)})
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

    folder = _folder(ledger, workspace)
    if not (folder / "ledger.json").exists():
        raise InputError(f"{folder}: there is no ledger here")
    master = master_of(key, key_command, workspace)
    with Ledger(folder, master, write=True, policy=_policy(folder)) as opened:
        gone = destroy(opened, days=days, by=_filing.whoever(by))
    output.line(
        f"Texts of {output.count(len(gone), 'segment')} destroyed. Copies of *.salt in backups are not reached."
    )


# -- what goes in -----------------------------------------------------------------------------------------------


def _answers(source: Any, used: list[int], bad: Bad, workspace: Path) -> Iterator[list[Answer]]:
    """Answers of one file, `TOGETHER` at a time."""
    from stillwatch.errors import InputError
    from stillwatch.logs.sources import line_blocks

    known: dict[str, int] = {}
    for block in line_blocks(source.text(used), source.name, 4 << 20):
        for number, reason in block.broken:
            bad(reason, source.name, number)
        rows = []
        for line, number in zip(block.lines.to_pylist(), block.line_numbers.to_pylist(), strict=True):
            try:
                rows.append((number, _row(line)))
            except (InputError, RecursionError) as problem:
                bad(str(problem), source.name, number)
        _learn(known, {row["account"] for _, row in rows if isinstance(row["account"], str)}, workspace)
        found: list[Answer] = []
        for number, row in rows:
            try:
                found.append(_answer(row, known))
            except InputError as problem:
                bad(str(problem), source.name, number)
            if len(found) == TOGETHER:
                yield found
                found = []
        if found:
            yield found


def _row(line: str) -> dict[str, Any]:
    """One line as its fields, each of the kind it has to be."""
    from stillwatch.errors import InputError

    try:
        row = json_.loads(line)
    except ValueError as problem:
        raise InputError(f"not JSON ({getattr(problem, 'msg', problem)})") from None
    if not isinstance(row, dict):
        raise InputError(f"a JSON object is expected on each line, found {type(row).__name__}")
    for name in ("exchange_id", "time", "account"):
        if row.get(name) is None:
            there = ", ".join(map(str, list(row)[:12])) or "nothing"
            raise InputError(f"{name} is missing; there is {there}; taken are {', '.join(FIELDS)}")
    for name in ("exchange_id", "text", "mark", "model", "withheld_text", "conversation"):
        if not isinstance(row.get(name, ""), str | None):
            raise InputError(f"{name} is text, found {type(row[name]).__name__}")
    for name in ("tokens", "withheld_tokens"):
        value = row.get(name)
        if value is not None and not (
            isinstance(value, list) and all(type(i) is int and 0 <= i < 1 << 32 for i in value)
        ):
            raise InputError(f"{name} is a list of token ids, 0 or above and below 2^32")
    if not (type(row["account"]) is int or (isinstance(row["account"], str) and row["account"])):
        raise InputError(f"account is a name or a pseudonym, found {str(row['account'])[:40]!r}")
    for name in ("exchange_id", "account"):
        if any("\ud800" <= c <= "\udfff" for c in str(row[name])):
            raise InputError(f"{name} holds half a character")
    if row.get("keep") not in (None, True, False):
        raise InputError(f"keep is true or false, found {row['keep']!r}")
    if not isinstance(row.get("note") or {}, dict):
        raise InputError(f"note is a JSON object, found {type(row['note']).__name__}")
    return row


def _answer(row: dict[str, Any], known: dict[str, int]) -> Answer:
    from stillwatch.errors import InputError
    from stillwatch.marks.ledger import Answer
    from stillwatch.marks.ledger.answers import note_bytes

    note = row.get("note") or {}
    if row.get("model"):
        note = {**note, "model": row["model"]}
    account = row["account"]
    answer = Answer(
        row["exchange_id"],
        _micros(row["time"]),
        known[account] if isinstance(account, str) else account,
        text=row.get("text"),
        tokens=row.get("tokens"),
        mark=row.get("mark") or "",
        withheld_text=row.get("withheld_text"),
        withheld_tokens=row.get("withheld_tokens"),
        keep=row.get("keep"),
        note=note,
        conversation=row.get("conversation") or "",
    )
    # The ledger refuses these too, but then with everything that is written together.
    note_bytes(answer)
    if answer.time > (time.time() + 86_400) * 1e6:
        raise InputError(f"its time, {row['time']}, lies more than a day ahead of the clock")
    return answer


def _learn(known: dict[str, int], names: set[str], workspace: Path) -> None:
    """Pseudonyms of accounts as lines give them; real names go through the vault of the workspace."""
    import pyarrow as pa

    from stillwatch.engine.tables import Workspace
    from stillwatch.identity import Keys, Pseudonyms

    if len(known) > 1_000_000:
        known.clear()
    real = []
    for name in sorted(names - known.keys()):
        number = _parsed(name)
        if number is None:
            real.append(name)
        else:
            known[name] = number
    if real:
        place = Workspace(workspace)
        workspace.mkdir(parents=True, exist_ok=True)
        found = Pseudonyms(Keys(place.key_file), place.vault).map("account", pa.array(real))
        known.update(zip(real, found.to_pylist(), strict=True))


def _parsed(name: str) -> int | None:
    """The number of an account's pseudonym; None if it is no pseudonym but a name."""
    from stillwatch.errors import InputError
    from stillwatch.identity.pseudonyms import parse

    try:
        kind, number = parse(name)
    except InputError:
        return None
    return number if kind == "account" else None


def _micros(value: Any) -> int:
    from stillwatch.errors import InputError

    if type(value) is int and value >= 10**14:
        return value
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise InputError(
            "time is such as 2026-12-01T00:00:00Z, with its zone, or microseconds since 1970; found "
            f"{str(value)[:40]!r}"
        )
    passed = at - datetime(1970, 1, 1, tzinfo=UTC)
    return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds


def _fresh(ledger: Ledger, answers: Sequence[Answer]) -> list[Answer]:
    """Those that the ledger does not have, each once."""
    kept: list[Answer] = []
    seen: set[tuple[str, str | None, tuple[int, ...] | None]] = set()
    for one in answers:
        name = (one.exchange_id, one.text, None if one.tokens is None else tuple(one.tokens))
        there = ledger.by_text(one.text) if one.text is not None else ledger.by_tokens(one.tokens or ())
        if name in seen or any(entry.exchange_id == one.exchange_id for entry in there):
            continue
        seen.add(name)
        kept.append(one)
    return kept


# -- what comes out ---------------------------------------------------------------------------------------------

Hits = tuple[str, list[tuple["Entry", str]], int]
"""What was asked for, answers with how they fit, and how many fit beside those."""


def _by_files(
    ledger: Ledger, files: Sequence[str], like: bool, column: str, lines: bool, least: int, limit: int
) -> Iterator[Hits]:
    from stillwatch.cli._documents import Bad, batches
    from stillwatch.errors import InputError
    from stillwatch.logs.sources import expand

    for source in expand(files):
        for batch in batches(source, [0], Bad(), column=column, lines=lines):
            if batch.texts is None:
                if like or batch.ids is None or batch.ends is None:
                    raise InputError(f"{batch.place(0)}: --like takes text, found token ids")
                begin = 0
                for i, end in enumerate(batch.ends.tolist()):
                    found = ledger.by_tokens(batch.ids[begin:end].tolist())
                    yield batch.place(i), [(e, "the same tokens") for e in found[:limit]], len(found) - limit
                    begin = end
                continue
            for i, text in enumerate(batch.texts):
                if like:
                    near = ledger.by_shingles(text, least=least, limit=limit)
                    yield batch.place(i), [(n.entry, f"{n.shared} of {n.asked}") for n in near], 0
                    continue
                # A text file ends with a line end that the answer need not have had.
                found = ledger.by_text(text) or ledger.by_text(text.removesuffix("\n"))
                yield batch.place(i), [(e, "the same text") for e in found[:limit]], len(found) - limit


def _by_name(ledger: Ledger, digest: str, account: str, limit: int, workspace: Path) -> Iterator[Hits]:
    from itertools import islice

    from stillwatch.errors import InputError

    if account:
        entries = ledger.by_account(_known_account(account, workspace))
        found = list(islice(entries, limit))
        yield account, [(entry, "its account") for entry in found], sum(1 for _ in entries)
        return
    if len(digest) != 64 or any(c not in "0123456789abcdef" for c in digest):
        raise InputError(f"a digest is 64 hexadecimal digits, found {digest[:70]!r}")
    found = ledger.by_digest(digest)
    yield digest[:16], [(entry, "the same digest") for entry in found[:limit]], len(found) - limit


def _known_account(name: str, workspace: Path) -> int:
    """The number of a pseudonym or of a real name; asking does not write the name anywhere."""
    import pyarrow as pa

    from stillwatch.engine.tables import Workspace
    from stillwatch.errors import InputError
    from stillwatch.identity import Keys
    from stillwatch.identity.digests import digests

    number = _parsed(name)
    if number is not None:
        return number
    place = Workspace(workspace)
    if not place.key_file.exists():
        raise InputError(f"expected a pseudonym such as a-0123456789abcdef; {workspace} knows no names")
    secret = Keys(place.key_file).derive("pseudonyms")
    return int(digests(secret, "account", pa.array([name], pa.large_string()))[0].as_py())


def _names(workspace: Path, ids: Sequence[int], asked: str) -> dict[int, str]:
    from stillwatch.engine.tables import Workspace
    from stillwatch.identity import Keys, Pseudonyms

    place = Workspace(workspace)
    distinct = sorted(set(ids))
    _journal(workspace, "reveal", {"kind": "account", "count": len(distinct), "for": asked})
    return Pseudonyms(Keys(place.key_file), place.vault).reveal("account", distinct)


def _texts(workspace: Path, ledger: Ledger, hits: Sequence[Entry], asked: str) -> dict[int, str | None]:
    numbers = {entry.number: entry for entry in hits if entry.kept}
    said = {"kind": "text", "count": len(numbers), "for": asked, "records": sorted(numbers)[:1000]}
    _journal(workspace, "reveal", said)
    kept = {number: ledger.kept(entry) for number, entry in numbers.items()}
    return {number: None if one is None else one.text for number, one in kept.items()}


def _journal(workspace: Path, kind: str, said: dict[str, Any]) -> None:
    from stillwatch.cases.journal import Journal
    from stillwatch.engine.tables import Workspace

    workspace.mkdir(parents=True, exist_ok=True)
    Journal(Workspace(workspace).journal).append(kind, said)


def _show(
    found: Sequence[Hits],
    names: dict[int, str],
    texts: dict[int, str | None],
    *,
    json: bool,
    with_text: bool,
) -> None:
    from stillwatch.identity import show

    rows = [
        {
            "asked": asked,
            "account": names.get(entry.account, show("account", entry.account)),
            "exchange_id": entry.exchange_id,
            "time": _when(entry.time),
            "mark": entry.mark,
            "fits": fits,
            "record": entry.number,
            "kept": entry.kept,
            "text_digest": entry.text_digest,
            "token_digest": entry.token_digest,
            "note": dict(entry.note),
        }
        | ({"text": texts.get(entry.number)} if with_text else {})
        for asked, entries, _ in found
        for entry, fits in entries
    ]
    if json:
        output.json_lines(rows)
        return
    if rows:
        output.table(
            [
                (r["asked"], r["account"], r["exchange_id"], r["time"][:16], r["mark"][:8] or "-", r["fits"])
                for r in rows
            ],
            ["ASKED", "ACCOUNT", "EXCHANGE", "TIME", "MARK", "FITS"],
        )
    for r in rows if with_text else []:
        kept = "was not kept, or is erased" if r["text"] is None else r["text"]
        output.line(f"{r['exchange_id']}: {kept}")
    more = sum(max(0, beside) for *_, beside in found)
    if more:
        output.line(f"{more:,} more: --limit")
    output.line(
        f"{sum(bool(entries) for _, entries, _ in found):,} of {len(found):,} asked for are in the ledger, with "
        f"{output.count(len({r['account'] for r in rows}), 'account')}."
    )
    if rows and not names:
        output.note(
            "Next: --reveal shows the real accounts, --text what was kept; the journal records that it did"
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
        "first": _when(first)[:10] if answers else "",
        "last": _when(last)[:10] if answers else "",
        "kept": kept,
        "erased": erased,
        "twins": twins,
        "marks": dict(marks.most_common()),
        "segments": len(numbers),
        "head": ledger.head(),
    }


def _folder(ledger: Path | None, workspace: Path) -> Path:
    return ledger or workspace / "marks" / "ledger"


def _policy(folder: Path) -> Policy:
    """What `ledger policy` said last for this ledger; the narrowest if it said nothing."""
    from stillwatch.errors import InputError
    from stillwatch.marks.ledger import Policy

    path = folder / "policy.json"
    if not path.exists():
        return Policy()
    try:
        return Policy(**json_.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError) as problem:
        raise InputError(f"{path}: not a policy of keeping: {problem}") from problem


def _words(found: Policy) -> str:
    if found.keep == "digests":
        kept = "digests only"
    else:
        what = {"text": "text", "tokens": "token ids", "both": "text and token ids"}[found.keep]
        kept = f"digests, and {what} of {found.share:.0%} of the exchanges, encrypted, for {found.retain_days} days"
    shingles = f"one shingle in {found.shingle_every}" if found.shingle_every else "no shingles"
    return f"Policy: {kept}; {shingles}."


def _when(micros: int) -> str:
    return datetime.fromtimestamp(micros / 1e6, UTC).isoformat(timespec="seconds")
