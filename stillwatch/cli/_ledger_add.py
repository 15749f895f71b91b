"""``stillwatch watermark ledger add``: served answers go in."""

from __future__ import annotations

import json as json_
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stillwatch.cli import output
from stillwatch.cli._ledger_folder import LedgerOption, folder_of, parsed, policy_of
from stillwatch.cli._options import HOME, WorkspaceOption
from stillwatch.cli.watermark_keys import CommandOption, KeyOption

if TYPE_CHECKING:
    from stillwatch.cli._documents import Bad
    from stillwatch.marks.ledger import Answer, Ledger

TOGETHER = 1_000
"""Answers that share one write and one sync."""
FIELDS = (
    "exchange_id", "time", "account", "text", "tokens", "mark", "model", "withheld_text", "withheld_tokens", "keep",
    "note", "conversation",
)  # fmt: skip


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
    master, folder = master_of(key, key_command, workspace), folder_of(ledger, workspace)
    added = there = 0
    with (
        Ledger(folder, master, write=True, policy=policy_of(folder)) as opened,
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
        number = parsed(name)
        if number is None:
            real.append(name)
        else:
            known[name] = number
    if real:
        place = Workspace(workspace)
        workspace.mkdir(parents=True, exist_ok=True)
        found = Pseudonyms(Keys(place.key_file), place.vault).map("account", pa.array(real))
        known.update(zip(real, found.to_pylist(), strict=True))


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
