"""A notice as mail: encoded headers, nobody addressed by accident, and no line of a header that somebody else wrote."""

from __future__ import annotations

import dataclasses
import email
import email.policy
import random
from datetime import UTC, datetime, timedelta, timezone
from email.header import decode_header, make_header
from email.message import EmailMessage
from typing import Any

import pytest
from documents_samples import CREATED, TODAY, case, request

from stillwatch.cases.as_html import as_html
from stillwatch.cases.as_mail import as_mail
from stillwatch.cases.as_text import as_text
from stillwatch.cases.content import Document, Span
from stillwatch.cases.notices import make_notice
from stillwatch.errors import InputError


def document(**more: Any) -> Document:
    return make_notice(case(), "demarche", request(**more), today=TODAY)[1]


def mail(of: Document | None = None, **more: Any) -> EmailMessage:
    data = as_mail(of if of is not None else document(), **{"date": CREATED, **more})
    message = email.message_from_bytes(data, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return message


def test_it_is_a_whole_message_that_nobody_gets_by_itself() -> None:
    message = mail()
    assert message["To"] == "undisclosed-recipients:;"
    assert message["From"] == "draft@stillwatch.invalid"
    assert message["Date"] == "Tue, 24 Nov 2026 09:00:00 +0000"
    assert message["Subject"] == "[TLP:AMBER] Démarche: Harvesting of reasoning"
    assert message["X-Unsent"] == "1"
    assert message["Content-Language"] == "en"
    assert message["Message-ID"].endswith("@stillwatch.invalid>")
    assert message["Cc"] is None and message["Bcc"] is None


def test_the_body_is_the_text_of_the_document() -> None:
    made = document()
    body = mail(made).get_body()
    assert body is not None
    assert body.get_content().replace("\r\n", "\n") == as_text(made)


def test_lines_end_as_rfc_5322_wants_and_are_no_longer_than_it_allows() -> None:
    data = as_mail(document(language="ar"), date=CREATED, attachments={"notice.html": b"<p>" + b"x" * 5000})
    assert data.replace(b"\r\n", b"").count(b"\n") == 0
    assert max(len(line) for line in data.split(b"\r\n")) <= 998
    data.decode("ascii")


def test_addresses_with_names_in_any_script() -> None:
    message = mail(
        sender="Überwachung <desk@provider.example>", to=["مكتب <office@example.org>", "b@example.org"]
    )
    assert message["From"].addresses[0].display_name == "Überwachung"
    assert [a.addr_spec for a in message["To"].addresses] == ["office@example.org", "b@example.org"]
    assert message["To"].addresses[0].display_name == "مكتب"


def raw(data: bytes, header: str) -> str:
    """A header as another program than Python reads it: its lines joined, then its words decoded."""
    head = data.split(b"\r\n\r\n")[0].decode("ascii").replace("\r\n ", " ")
    line = next(one for one in head.split("\r\n") if one.startswith(f"{header}: "))
    return str(make_header(decode_header(line.removeprefix(f"{header}: "))))


def test_no_blank_is_lost_where_long_words_are_folded() -> None:
    words = ["مسعى", "رسمي", "حملات", "في", "سجل", "طويل", "العناوين", "c-350e94", "الطويلة", "plain"]
    rng = random.Random(1)
    made = document()
    for _ in range(60):
        said = " ".join(rng.choice(words) for _ in range(rng.randint(5, 30)))
        titled = dataclasses.replace(made, title=(Span(said, "user"),))
        data = as_mail(titled, date=CREATED, to=[f"{said} <a@example.org>"], copies=["b@example.org"])
        assert raw(data, "Subject") == f"[TLP:AMBER] {said}"
        assert raw(data, "To") == f"{said} <a@example.org>"
        assert max(len(line) for line in data.split(b"\r\n\r\n")[0].split(b"\r\n")) <= 78


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("a@müller.example", "a@xn--mller-kva.example"),
        ("مكتب <a@وزارة.السعودية>", "a@xn--mgbexc3i.xn--mgberp4a5d4ar"),
        ("a@例え.jp", "a@xn--r8jz45g.jp"),
    ],
)
def test_a_domain_in_any_script_is_written_as_idna_has_it(given: str, written: str) -> None:
    data = as_mail(document(), date=CREATED, to=[given])
    assert written.encode() in data.split(b"\r\n\r\n")[0]
    assert mail(to=[given])["To"].addresses[0].addr_spec == written


@pytest.mark.parametrize("address", ["müller@example.org", "a@straße.example", "a@a\u200cb.example", "a@..é"])
def test_an_address_that_would_become_another_is_refused(address: str) -> None:
    with pytest.raises(InputError, match=r"is no address|one line of printable"):
        mail(to=[address])


@pytest.mark.parametrize(("code", "forms"), [("ar", ["text/plain", "text/html"]), ("en", ["text/plain"])])
def test_what_runs_from_right_to_left_is_html_as_well(code: str, forms: list[str]) -> None:
    made = document(language=code)
    message = mail(made, attachments={"notice.html": b"<p>"})
    inline = [p for p in message.walk() if p.get_content_maintype() == "text" and not p.get_filename()]
    assert [p.get_content_type() for p in inline] == forms
    if code == "ar":
        assert inline[1].get_content().replace("\r\n", "\n").rstrip() == as_html(made).rstrip()
        assert message["Content-Language"] == "ar"
    bounds = [p.get_boundary() for p in message.walk() if p.is_multipart()]
    assert len(bounds) == len(set(bounds)) == len(forms)


def test_attachments_come_back_as_they_went_in() -> None:
    message = mail(attachments={"notice.pdf": b"%PDF-1.7\n\x00\xff", "notice.html": "<p>é</p>".encode()})
    parts = {p.get_filename(): p for p in message.iter_attachments()}
    assert parts["notice.pdf"].get_content_type() == "application/pdf"
    assert parts["notice.pdf"].get_payload(decode=True) == b"%PDF-1.7\n\x00\xff"
    assert parts["notice.html"].get_payload(decode=True) == "<p>é</p>".encode()


def test_a_zone_is_kept_and_no_zone_is_utc() -> None:
    east = datetime(2026, 11, 24, 12, 0, tzinfo=timezone(timedelta(hours=3)))
    assert mail(date=east)["Date"] == "Tue, 24 Nov 2026 12:00:00 +0300"
    assert mail(date=datetime(2026, 11, 24, 9, 0))["Date"] == "Tue, 24 Nov 2026 09:00:00 +0000"
    assert mail(date=datetime(2026, 11, 24, 9, 0, tzinfo=UTC))["Date"].endswith("+0000")


@pytest.mark.parametrize(
    "end", ["\r\n", "\n", "\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\x00"]
)
def test_no_title_can_add_a_line_to_the_header(end: str) -> None:
    title = f"Hello{end}Bcc: everybody@example.org{end}{end}<script>"
    message = mail(document(title=title))
    assert message["Bcc"] is None
    assert message["Subject"].startswith("[TLP:AMBER] Hello")
    assert len(message.get_all("Subject")) == 1


@pytest.mark.parametrize(
    "address",
    [
        "a@example.org\r\nBcc: b@example.org",
        "a@example.org\nX: y",
        "x\u2028 <a@example.org>",
        "a@example.org, b@example.org",
        "nobody",
        "@example.org",
        "a@",
        "<>",
        "",
        "a@localhost.",
        "two <a@example.org> <b@example.org>",
        "a b@example.org",
    ],
)
def test_what_is_no_single_address_is_refused(address: str) -> None:
    for where in ({"to": [address]}, {"sender": address}, {"copies": [address]}):
        with pytest.raises(InputError, match=r"address"):
            mail(**where)


@pytest.mark.parametrize("name", ["notice.exe", "notice", "a\r\nb.pdf", "../../x.pdf", "..\\x.html"])
def test_what_may_not_be_attached(name: str) -> None:
    with pytest.raises(InputError, match=r"an attachment is called"):
        mail(attachments={name: b"x"})


def test_the_same_arguments_give_the_same_bytes() -> None:
    files = {"notice.pdf": b"1", "notice.html": b"2"}
    assert as_mail(document(), date=CREATED, attachments=files) == as_mail(
        document(), date=CREATED, attachments=files
    )
