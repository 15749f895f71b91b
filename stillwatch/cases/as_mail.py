"""A document as one RFC 5322 message, ready to be opened and sent by a person. Nothing here sends anything."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from stillwatch.cases.as_text import as_text
from stillwatch.cases.claims import moment
from stillwatch.cases.content import Document, string
from stillwatch.errors import InputError

DRAFT = "draft@stillwatch.invalid"
"""Sender of a message that nobody signed yet: a domain that can never exist (RFC 2606)."""
TYPES = {"pdf": ("application", "pdf"), "html": ("text", "html")}


def as_mail(
    document: Document,
    *,
    date: datetime | str,
    sender: str = DRAFT,
    to: Sequence[str] = (),
    copies: Sequence[str] = (),
    attachments: Mapping[str, bytes] | None = None,
) -> bytes:
    """The message: the document as its text, and what is attached.

    Parameters
    ----------
    document
        What is said.
    date
        Time of the message; without a zone it is UTC.
    sender, to, copies
        Addresses such as ``desk@example.org`` or ``Desk <desk@example.org>``. Without `to` the message goes to
        undisclosed recipients: whoever sends it fills that in.
    attachments
        File name -> content; the name ends in ``.pdf`` or ``.html``.

    Returns
    -------
    bytes
        Lines end in CR LF, header lines are folded and encoded. The same arguments give the same bytes.

    Raises
    ------
    InputError
        An address or a file name is not one, or tries to add a line to the header.
    """
    when = moment(date, "date of the message") if isinstance(date, str) else date
    if when.tzinfo is None:
        when = moment(when.isoformat(), "date of the message")
    message = EmailMessage(policy=SMTP)
    message["From"] = _address(sender)
    if to:
        message["To"] = tuple(_address(a) for a in to)
    else:
        message["To"] = "undisclosed-recipients:;"
    if copies:
        message["Cc"] = tuple(_address(a) for a in copies)
    # A title is somebody's words: white space of any kind becomes a blank, so that no line can begin in it.
    message["Subject"] = " ".join(f"[{document.tlp}] {string(document.title)}".split())
    message["Date"] = format_datetime(when)
    text = as_text(document)
    mark = hashlib.sha256(text.encode() + repr(sorted(attachments or {})).encode()).hexdigest()
    message["Message-ID"] = f"<{mark[:32]}@stillwatch.invalid>"
    # Mail programs that know it open the file as a draft.
    message["X-Unsent"] = "1"
    message.set_content(text, cte="base64" if not text.isascii() else "quoted-printable")
    for name, data in (attachments or {}).items():
        main, sub = TYPES.get(name.rpartition(".")[2].lower(), ("", ""))
        if not main or not name.isprintable() or "/" in name or "\\" in name:
            raise InputError(f"an attachment is called something.pdf or something.html, found {name!r}")
        message.add_attachment(data, maintype=main, subtype=sub, filename=name)
    if attachments:
        message.set_boundary(f"={mark[:40]}=")
    # Last: setting the content throws away what describes it.
    message["Content-Language"] = document.language
    return message.as_bytes()


def _address(text: str) -> Address:
    """One mailbox.

    The parser of the standard library reads folded lines as one; whatever holds a control character is refused
    before it comes there.
    """
    if not text.isprintable():
        raise InputError(f"an address is one line of printable characters, found {text!r}")
    name, _, rest = text.rpartition("<")
    if set(name) & set("<>,;"):
        raise InputError(f"{text!r} is no address: expected one, such as Desk <desk@example.org>")
    spec = rest.removesuffix(">").strip() if rest.endswith(">") else text.strip()
    try:
        address = Address(display_name=name.strip().strip('"') if rest.endswith(">") else "", addr_spec=spec)
    except (MessageError, ValueError, IndexError) as problem:
        raise InputError(f"{text!r} is no address: {problem}") from problem
    if not address.username or ("." not in address.domain and address.domain != "localhost"):
        raise InputError(f"{text!r} is no address: expected name@domain")
    return address
