"""Documents of a case: the report, what a page or a message looks like as bytes, and the file they go to."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stillwatch.cases.content import Document
    from stillwatch.records import Card, Case


def report_of(held: Case, *, day: date, language: str, by: str) -> Document:
    """The report of a case, with the cards of every method that findings rest on."""
    from stillwatch.cases.case_report import case_report

    return case_report(held, today=day, created_at=now(), cards=cards(), language_code=language, author=by)


def cards() -> list[Card]:
    """The card of every method that findings rest on."""
    from stillwatch import plugins

    rooms = ("campaigns.signals", "attribution.randomized")
    return [method.CARD for room in rooms for method in plugins.find(room).values()]


def report_name(document: Document, case: str) -> str:
    """What the file of a report is called: one language does not overwrite another."""
    return f"{case}-report-{document.language}"


def now() -> str:
    """The moment, whole and not cut to seconds: a correction must not look older than the withdrawal it tells of."""
    return datetime.now(UTC).isoformat()


def drawn(document: Document, kind: str) -> bytes:
    """A document as ``pdf``, ``text`` or ``html``."""
    if kind == "pdf":
        from stillwatch.cases.as_pdf import as_pdf

        return as_pdf(document)
    if kind == "text":
        from stillwatch.cases.as_text import as_text

        return as_text(document).encode()
    from stillwatch.cases.as_html import as_html

    return as_html(document).encode()


def mail(
    document: Document,
    name: str,
    sender: str,
    to: tuple[str, ...],
    copies: tuple[str, ...],
    attach: list[str] | None,
) -> bytes:
    """A document as a message with itself attached, in files of this name."""
    from stillwatch.cases.as_mail import DRAFT, as_mail
    from stillwatch.errors import InputError

    wanted = attach or ["pdf", "html"]
    if set(wanted) - {"pdf", "html"}:
        raise InputError(f"--attach is pdf or html, found {', '.join(wanted)}")
    files: dict[str, Any] = {f"{name}.{kind}": drawn(document, kind) for kind in dict.fromkeys(wanted)}
    # A desk by its name has no address: whoever sends the message fills it in.
    return as_mail(
        document,
        date=document.created_at,
        sender=sender or DRAFT,
        to=[a for a in to if "@" in a],
        copies=[a for a in copies if "@" in a],
        attachments=files,
    )


def write(content: bytes, out: Path | None, workspace: Path, name: str, kind: str) -> Path | None:
    """Write a document where it is asked for, and say where; None: to standard output."""
    if out is not None and str(out) == "-":
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        return None
    ending = "txt" if kind == "text" else kind
    target = out if out is not None else workspace / "reports" / f"{name}.{ending}"
    write_file(target, content)
    return target


def write_file(target: Path, content: bytes) -> None:
    """A file that is whole or as it was before, and readable by its owner alone.

    A pipe or a device is written to and not replaced, and a link stays one: what it points at is written.

    Raises
    ------
    InputError
        It cannot be written.
    """
    import os

    from stillwatch.errors import InputError

    part: Path | None = None
    try:
        if target.exists() and not target.is_file():
            with target.open("wb") as there:
                there.write(content)
            return
        real = target.resolve()
        real.parent.mkdir(parents=True, exist_ok=True)
        part = real.with_name(f".{real.name}.{os.getpid()}.part")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
        part.replace(real)
    except (OSError, RuntimeError) as problem:  # a link to itself
        if part is not None:
            part.unlink(missing_ok=True)
        why = getattr(problem, "strerror", None) or problem
        raise InputError(f"{target}: cannot be written: {why}") from problem
