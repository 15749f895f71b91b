"""Documents of a case: the report, what a page or a message looks like as bytes, and the file they go to."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stillwatch.cases.content import Document
    from stillwatch.records import Case


def report_of(held: Case, *, day: date, language: str, by: str) -> Document:
    """The report of a case, with the cards of every signal."""
    from stillwatch import plugins
    from stillwatch.cases.case_report import case_report

    return case_report(
        held,
        today=day,
        created_at=now(),
        cards=[signal.CARD for signal in plugins.find("campaigns.signals").values()],
        language_code=language,
        author=by,
    )


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
    document: Document, sender: str, to: tuple[str, ...], copies: list[str], attach: list[str] | None
) -> bytes:
    """A document as a message with itself attached."""
    from stillwatch.cases.as_mail import DRAFT, as_mail
    from stillwatch.errors import InputError

    wanted = attach or ["pdf", "html"]
    if set(wanted) - {"pdf", "html"}:
        raise InputError(f"--attach is pdf or html, found {', '.join(wanted)}")
    files: dict[str, Any] = {f"notice.{kind}": drawn(document, kind) for kind in dict.fromkeys(wanted)}
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
    """Write a document, whole or not at all, and say where; None: to standard output."""
    import os

    from stillwatch.errors import InputError

    if out is not None and str(out) == "-":
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        return None
    ending = "txt" if kind == "text" else kind
    target = out if out is not None else workspace / "reports" / f"{name}.{ending}"
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
        part.replace(target)
    except OSError as problem:
        part.unlink(missing_ok=True)
        raise InputError(f"{target}: cannot be written: {problem.strerror}") from problem
    return target
