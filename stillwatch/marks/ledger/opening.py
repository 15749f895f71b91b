"""How a ledger is found when it is opened: what is acknowledged has to be there, what was cut off is set aside."""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
from array import array
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from stillwatch.errors import InputError, IntegrityError
from stillwatch.identity.keys import sync_folder
from stillwatch.marks.keys import Master
from stillwatch.marks.ledger.answers import time_of
from stillwatch.marks.ledger.head import Head, HeadFile
from stillwatch.marks.ledger.secrets import Secrets
from stillwatch.marks.ledger.segments import HEADER, START, Files, Header, checked, read_header
from stillwatch.marks.secret_file import write_secret

VERSION = 1


@dataclass(frozen=True, slots=True)
class Found:
    """Where a ledger ends."""

    headers: list[Header]
    """Of every segment, in order."""
    head: Head
    """As noted, moved on over whole records that were written after it."""
    at: array[int]
    """Places of the last segment's records."""
    latest: int
    """Latest time of an answer in it."""
    torn: int
    """Bytes after its last whole record."""


def lock(folder: Path) -> int:
    """Hold the ledger for one writer; a handle that gives it back when it is closed.

    Raises
    ------
    InputError
        Another writer has it.
    """
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(handle, 32).decode("ascii", "replace").strip()
        os.close(handle)
        raise InputError(
            f"{folder}: another writer has this ledger open (process {owner or 'unknown'}); a ledger has one writer"
        ) from None
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle


def identity(folder: Path, master: Master, *, create: bool) -> Secrets:
    """The keys of the ledger in a folder; a new ledger if there is none and `create`.

    Raises
    ------
    InputError
        There is no ledger, it is of another version, or it was begun under another master key.
    """
    path = folder / "ledger.json"
    if not path.exists():
        if not create:
            raise InputError(f"{folder}: there is no ledger here")
        ledger_id = os.urandom(8).hex()
        secrets = Secrets(master, ledger_id)
        head_file = HeadFile(folder / "head", secrets.head)
        handle = head_file.open()
        try:
            # The beginning stands in the head before the ledger counts as one.
            head_file.write(handle, Head(0, 0, 0, 0, START))
            os.fsync(handle)
        finally:
            os.close(handle)
        values = {
            "version": VERSION,
            "id": ledger_id,
            "master": master.fingerprint,
            "check": _check(master, ledger_id),
        }
        write_secret(path, json.dumps(values, sort_keys=True).encode())
        return secrets
    try:
        values = json.loads(path.read_bytes())
        version, ledger_id, owner = values["version"], str(values["id"]), str(values["master"])
    except (ValueError, KeyError, TypeError):
        raise IntegrityError(f"{path}", "of a ledger", "something else") from None
    if version != VERSION:
        raise InputError(f"{path}: ledger version {version}, this program reads {VERSION}")
    if owner != master.fingerprint or not hmac.compare_digest(
        str(values.get("check")), _check(master, ledger_id)
    ):
        raise InputError(
            f"{folder}: this ledger was begun under master key {owner[:16]}, the one given is {master.fingerprint}"
        )
    return Secrets(master, ledger_id)


def _check(master: Master, ledger_id: str) -> str:
    return hmac.digest(master.secret("ledger/check"), ledger_id.encode(), "sha256").hex()


def find_end(folder: Path, secrets: Secrets) -> Found:
    """Read the noted head, find it in its segment, and read on to the last whole record.

    Raises
    ------
    IntegrityError
        A segment or a record that was acknowledged is missing or another.
    """
    files = Files(folder)
    head = HeadFile(folder / "head", secrets.head).read()
    numbers = files.numbers()
    if numbers != list(range(1, len(numbers) + 1)) or len(numbers) < head.segment:
        lost = next((n for n in range(1, head.segment + 1) if n not in numbers), len(numbers) + 1)
        raise IntegrityError(f"{files.named(lost, 'seg')}", "of a segment that was written", "no file")
    headers = [read_header(files.data(n), n, secrets) for n in numbers]
    at, latest, torn = array("Q"), 0, 0
    if head.segment:
        at, latest, end = _up_to(files.data(head.segment), head, headers[head.segment - 1], secrets)
        head = replace(head, end=end)
    for header in headers[max(head.segment, 1) - 1 :]:
        if header.number > head.segment:
            _follows(files, header, head)
            at, latest = array("Q"), 0
            head = Head(head.counter, header.number, HEADER.size, head.records, header.link)
        path = files.data(header.number)
        problem = None
        try:
            for frame in checked(path, head.records, head.link, secrets, start=head.end):
                at.append(frame.at)
                latest = max(latest, time_of(frame.record))
                head = Head(head.counter, header.number, frame.end, head.records + 1, frame.link)
        except IntegrityError as found:
            problem = found
        torn = path.stat().st_size - head.end
        if torn and header.number < len(headers):
            raise problem or IntegrityError(f"{path}: byte {head.end}", "of a record", "something else")
    return Found(headers, head, at, latest, torn)


def _up_to(path: Path, head: Head, header: Header, secrets: Secrets) -> tuple[array[int], int, int]:
    at, latest, link, end = array("Q"), 0, header.link, HEADER.size
    # Not one more: what follows was never acknowledged and may be half a write.
    for frame in islice(
        checked(path, header.first, header.link, secrets), max(0, head.records - header.first)
    ):
        at.append(frame.at)
        latest = max(latest, time_of(frame.record))
        link, end = frame.link, frame.end
    # Where the texts were taken out since, the bytes moved; the records did not.
    if (
        (end != head.end and path.suffix == ".seg")
        or link != head.link
        or header.first + len(at) != head.records
    ):
        raise IntegrityError(
            f"{path}: record {header.first + len(at)}",
            f"of one of {head.records} records that were acknowledged",
            "the end; it was cut or changed (see verify for the first bad record)",
        )
    return at, latest, end


def _follows(files: Files, header: Header, head: Head) -> None:
    if header.previous != head.link or header.first != head.records:
        raise IntegrityError(
            f"{files.data(header.number)}: header", f"after record {head.records - 1}", "of another place"
        )


def cut(files: Files, found: Found) -> dict[str, object]:
    """Move what follows the last whole record to a file beside the segment; what a record should say of it."""
    header = found.headers[-1]
    path = files.data(header.number)
    with path.open("rb") as file:
        file.seek(found.head.end)
        torn = file.read()
    number = 1
    while (kept := path.with_suffix(f".torn-{number}")).exists():
        number += 1
    write_secret(kept, torn)
    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.ftruncate(handle, found.head.end)
        os.fsync(handle)
    finally:
        os.close(handle)
    sync_folder(files.folder)
    return {
        "segment": header.number,
        "bytes": len(torn),
        "sha256": hashlib.sha256(torn).hexdigest(),
        "kept_as": kept.name,
    }
