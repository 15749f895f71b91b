"""``stillwatch case offer`` and ``case match``: what two providers both hold, by keyed digests.

`add_to` hangs both into the app of ``stillwatch case``.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from stillwatch.cli import _drawing, _filing, output
from stillwatch.cli._options import HOME, ByOption, CaseArgument, JsonOption, StoreOption, WorkspaceOption
from stillwatch.records import Case, Share

WINDOWS = "wrapper windows"
"""The kind of value that a case itself has."""

SecretOption = Annotated[
    Path, typer.Option("--secret", help="File with the 64 hexadecimal digits that both agreed on.")
]
ExchangeOption = Annotated[str, typer.Option("--exchange", help="What both call this exchange.")]
AsOption = Annotated[str, typer.Option("--as", help="Who you are, as the other knows you.")]
KindOption = Annotated[
    str,
    typer.Option("--kind", help="What the values are; the windows of the case's shared text if not given."),
]
ValuesOption = Annotated[
    Path | None, typer.Option("--values", help="Other values, a CSV of value and number of accounts.")
]


def add_to(app: typer.Typer) -> None:
    """Hang the commands of this file into ``stillwatch case``."""
    app.command("offer")(offer_)
    app.command("match")(match)


def offer_(
    case: CaseArgument,
    secret: SecretOption,
    exchange: ExchangeOption,
    sender: AsOption,
    out: Annotated[Path, typer.Option("--out", help="File for the offer.")],
    kind: KindOption = WINDOWS,
    values: ValuesOption = None,
    by: ByOption = "",
    workspace: WorkspaceOption = HOME,
    store: StoreOption = "",
) -> None:
    """Write an offer, and print its commitment: send that first, and the offer once you have the other's commitment."""
    from stillwatch.cases import matching

    key = matching.exchange_key(_secret(secret), exchange=exchange, kind=kind)
    with _filing.store(workspace, store) as cases:
        found = cases.get(case)
        held = _values(found, kind, values, matching.offered_windows)
        made = matching.offer(held, key, exchange=exchange, kind=kind, sender=sender)
        at = datetime.now(UTC).isoformat()
        record = Share(
            at=at, by=_filing.whoever(by), format="match offer", producer=sender, tlp=found.tlp, sha256=made.commitment,
            version=at, state="", findings=(), options={"exchange": exchange, "kind": kind},
        )  # fmt: skip
        cases.note_share(case, record, head=found.head)
    _drawing.write_file(out, made.as_json())
    taking = sum(n >= made.least for n in held.values())
    output.note(
        f"{output.count(taking, 'value')} of {len(held):,} among {len(made.digests):,} digests: {out}; send it once "
        "you have the commitment of the other"
    )
    output.line(made.commitment)


def match(
    case: CaseArgument,
    offer: Annotated[Path, typer.Argument(help="The offer of the other.")],
    secret: SecretOption,
    exchange: ExchangeOption,
    receiver: AsOption,
    commitment: Annotated[
        str, typer.Option("--commitment", help="What the other committed to before it had your offer.")
    ],
    kind: KindOption = WINDOWS,
    values: ValuesOption = None,
    workspace: WorkspaceOption = HOME,
    store: StoreOption = "",
    json: JsonOption = False,
) -> None:
    """Which of your values the other offers too."""
    from stillwatch.cases import matching
    from stillwatch.errors import InputError

    try:
        data = offer.read_bytes()
    except OSError as problem:
        raise InputError(f"{offer}: {problem.strerror}") from problem
    theirs = matching.read_offer(data, source=offer.name)
    matching.check_commitment(theirs, commitment)
    key = matching.exchange_key(_secret(secret), exchange=exchange, kind=kind)
    with _filing.store(workspace, store) as cases:
        held = _values(cases.get(case), kind, values, matching.sought_windows)
    found = matching.matches(held, theirs, key, receiver=receiver)
    if json:
        output.json_lines({"value": v, "accounts": held[v]} for v in found.values)
    else:
        output.table([(held[v], v) for v in found.values], ["ACCOUNTS", "VALUE"], words=True)
    output.note(
        f"{len(found.values):,} of {found.sought:,} values are held by {theirs.sender} too; {found.held_back:,} took "
        f"no part. Destroy the secret: {secret}"
    )


def _secret(path: Path) -> bytes:
    from stillwatch.errors import InputError

    try:
        text = path.read_text("ascii").strip()
    except OSError as problem:
        raise InputError(f"{path}: {problem.strerror}") from problem
    except UnicodeDecodeError:
        text = ""
    if not re.fullmatch("[0-9a-fA-F]{64}", text):
        raise InputError(f"{path}: expected 64 hexadecimal digits, as openssl rand -hex 32 prints them")
    return bytes.fromhex(text)


def _values(
    case: Case, kind: str, path: Path | None, windows: Callable[[Iterable[str]], set[str]]
) -> dict[str, int]:
    """Value -> how many accounts hold it: of a file, or the windows of the text of what may be shared of the case."""
    from stillwatch.cases import indicators
    from stillwatch.errors import InputError

    if path is not None:
        return _of_file(path)
    if kind != WINDOWS:
        raise InputError(f"a case has {WINDOWS} only; give {kind!r} with --values")
    held: dict[str, int] = {}
    for item in indicators.of_case(case).items:
        if item.fallen is None:
            accounts = int(item.finding.details["accounts"])
            texts = [str(text) for text in item.finding.details.get("texts") or ()]
            held |= {w: max(accounts, held.get(w, 0)) for w in windows(texts)}
    return held


def _of_file(path: Path) -> dict[str, int]:
    from stillwatch.errors import FormatError, InputError

    found: dict[str, int] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, row in enumerate(csv.reader(file), 1):
                if row:
                    if len(row) != 2 or not (row[1].isascii() and row[1].isdigit()):
                        raise FormatError(
                            "expected a value and the number of accounts that hold it", str(path), number
                        )
                    found[row[0]] = int(row[1])
    except OSError as problem:
        raise InputError(f"{path}: {problem.strerror}") from problem
    except (UnicodeDecodeError, csv.Error) as problem:
        raise FormatError(f"no CSV in UTF-8: {problem}", str(path)) from problem
    return found
