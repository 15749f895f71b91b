"""A document as one RFC 5322 message, ready to be opened and sent by a person. Nothing here sends anything."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from email.errors import MessageError
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from stillwatch.cases.as_html import as_html
from stillwatch.cases.as_text import as_text
from stillwatch.cases.claims import moment
from stillwatch.cases.content import Document, string
from stillwatch.errors import InputError

DRAFT = "draft@stillwatch.invalid"
"""Sender of a message that nobody signed yet: a domain that can never exist (RFC 2606)."""
AS_GIVEN = SMTP.clone(refold_source="none")
"""Header lines that are folded already stay so: the standard library loses blanks where it folds encoded words."""
PLAIN_NAME = 50
"""Characters of a name in ASCII that needs no folding."""
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
    """The message: the document as its text, and what is attached. What runs from right to left is in it as HTML too,
    because plain text has no direction of its own.

    Parameters
    ----------
    document
        What is said.
    date
        Time of the message; without a zone it is UTC.
    sender, to, copies
        Addresses such as ``desk@example.org`` or ``Desk <desk@example.org>``; a domain that is not ASCII goes out as
        IDNA has it. Without `to` the message goes to undisclosed recipients: whoever sends it fills that in.
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
    message.set_raw("From", _addresses([sender], "From"))
    message.set_raw("To", _addresses(to, "To") or "undisclosed-recipients:;")
    if copies:
        message.set_raw("Cc", _addresses(copies, "Cc"))
    # A title is somebody's words: white space of any kind becomes a blank, so that no line can begin in it.
    subject = " ".join(f"[{document.tlp}] {string(document.title)}".split())
    message.set_raw("Subject", _encoded(subject, "Subject"))
    message["Date"] = format_datetime(when)
    text = as_text(document)
    mark = hashlib.sha256(text.encode() + repr(sorted(attachments or {})).encode()).hexdigest()
    message["Message-ID"] = f"<{mark[:32]}@stillwatch.invalid>"
    # Mail programs that know it open the file as a draft.
    message["X-Unsent"] = "1"
    message.set_content(text, cte="base64" if not text.isascii() else "quoted-printable")
    if document.direction == "rtl":
        message.add_alternative(as_html(document), subtype="html", cte="base64")
    for name, data in (attachments or {}).items():
        main, sub = TYPES.get(name.rpartition(".")[2].lower(), ("", ""))
        if not main or not name.isprintable() or "/" in name or "\\" in name:
            raise InputError(f"an attachment is called something.pdf or something.html, found {name!r}")
        message.add_attachment(data, maintype=main, subtype=sub, filename=name)
    for number, part in enumerate(p for p in message.walk() if p.is_multipart()):
        part.set_boundary(f"={mark[:36]}-{number}=")
    # Last: setting the content throws away what describes it.
    message["Content-Language"] = document.language
    return message.as_bytes(policy=AS_GIVEN)


def _encoded(text: str, header: str) -> str:
    """Words of a header, folded; in encoded words where they are not ASCII."""
    charset = "us-ascii" if text.isascii() else "utf-8"
    return Header(text, charset, header_name=header).encode(linesep="\r\n")


def _addresses(texts: Sequence[str], header: str) -> str:
    """Mailboxes, one a line."""
    return ",\r\n ".join(_mailbox(_address(text), header) for text in texts)


def _mailbox(address: Address, header: str) -> str:
    name = address.display_name
    if not name or (name.isascii() and len(name) <= PLAIN_NAME):
        return str(address)
    encoded = Header(name, "utf-8", header_name=header).encode(linesep="\r\n")
    return f"{encoded}\r\n <{address.addr_spec}>"


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
        address = Address(
            display_name=name.strip().strip('"') if rest.endswith(">") else "", addr_spec=_ascii(spec)
        )
    except (MessageError, ValueError, IndexError) as problem:
        raise InputError(f"{text!r} is no address: {problem}") from problem
    if not address.username or ("." not in address.domain and address.domain != "localhost"):
        raise InputError(f"{text!r} is no address: expected name@domain")
    return address


def _ascii(spec: str) -> str:
    """The address with its domain as IDNA has it; in front of the @ there is no way to say anything but ASCII.

    Raises
    ------
    ValueError
        The name of a mailbox is not ASCII, or the domain has no form that says the same.
    """
    mailbox, _, domain = spec.rpartition("@")
    if spec.isascii():
        return spec
    if not mailbox.isascii():
        raise ValueError("what stands before the @ must be ASCII")
    # The codec is that of 2003: where that of 2008 says something else (ß, ς, joiners), it is another domain.
    found = domain.encode("idna")
    if found.decode("idna") != domain.lower():
        raise ValueError("write its domain in ASCII, as it is registered (xn--...)")
    return f"{mailbox}@{found.decode('ascii')}"
