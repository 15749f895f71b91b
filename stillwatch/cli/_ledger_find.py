"""``stillwatch watermark ledger find``: accounts come out.

No text is printed unless it is asked for, and then the journal says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stillwatch.cli import output
from stillwatch.cli._ledger_folder import LedgerOption, folder_of, journal, parsed, when
from stillwatch.cli._options import HOME, JsonOption, WorkspaceOption
from stillwatch.cli.watermark_keys import CommandOption, KeyOption

if TYPE_CHECKING:
    from stillwatch.marks.ledger import Entry, Ledger

Hits = tuple[str, list[tuple["Entry", str]], int]
"""What was asked for, answers with how they fit, and how many fit beside those."""


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
    with Ledger(folder_of(ledger, workspace), master) as opened:
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

    number = parsed(name)
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
    journal(workspace, "reveal", {"kind": "account", "count": len(distinct), "for": asked})
    return Pseudonyms(Keys(place.key_file), place.vault).reveal("account", distinct)


def _texts(workspace: Path, ledger: Ledger, hits: Sequence[Entry], asked: str) -> dict[int, str | None]:
    numbers = {entry.number: entry for entry in hits if entry.kept}
    said = {"kind": "text", "count": len(numbers), "for": asked, "records": sorted(numbers)[:1000]}
    journal(workspace, "reveal", said)
    kept = {number: ledger.kept(entry) for number, entry in numbers.items()}
    return {number: None if one is None else one.text for number, one in kept.items()}


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
            "time": when(entry.time),
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
