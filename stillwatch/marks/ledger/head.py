"""How far the ledger is known to reach: written after each commit, before it is acknowledged.

Two slots, written in turn, so that one of them is whole whatever happens; each under a MAC. It is not synced each
time: after a kill it is exact, after a power cut it may be older than the ledger, and older is only a weaker promise.
"""

from __future__ import annotations

import hmac
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from stillwatch.errors import IntegrityError

SLOT = 512
_BODY = struct.Struct("<8sQQQQ32s")
MAGIC = b"SWHEAD01"


@dataclass(frozen=True, slots=True)
class Head:
    """What was acknowledged."""

    counter: int
    segment: int
    """0 before the first."""
    end: int
    """Bytes of that segment."""
    records: int
    """Over all segments."""
    link: bytes
    """Of the last record, or of the ledger's beginning."""

    def __str__(self) -> str:
        """Worth noting outside this machine; `Ledger.verify` takes it."""
        return f"{self.records}:{self.link.hex()}"


def parse(text: str) -> tuple[int, str]:
    """Number of records and link of a noted head."""
    records, _, link = text.strip().partition(":")
    if not records.isdigit() or len(link) != 64:
        raise IntegrityError("the head noted elsewhere", "such as 1204:9f86d0...", repr(text[:40]))
    return int(records), link


class HeadFile:
    """The file; open while the ledger is."""

    def __init__(self, path: Path, key: bytes) -> None:
        self._path, self._key = path, key

    def read(self) -> Head:
        """The newer of the slots that are whole.

        Raises
        ------
        IntegrityError
            None is.
        """
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            data = b""
        found = []
        for at in (0, SLOT):
            body, mac = data[at : at + _BODY.size], data[at + _BODY.size : at + _BODY.size + 32]
            if len(mac) == 32 and hmac.compare_digest(hmac.digest(self._key, body, "sha256"), mac):
                magic, counter, segment, end, records, link = _BODY.unpack(body)
                if magic == MAGIC:
                    found.append(Head(counter, segment, end, records, link))
        if not found:
            raise IntegrityError(
                f"{self._path}", "under this ledger's key", "none; it was removed or changed"
            )
        return max(found, key=lambda head: head.counter)

    def write(self, handle: int, head: Head) -> None:
        """Write one slot through an open handle."""
        body = _BODY.pack(MAGIC, head.counter, head.segment, head.end, head.records, head.link)
        os.pwrite(handle, body + hmac.digest(self._key, body, "sha256"), SLOT * (head.counter % 2))

    def open(self) -> int:
        """A handle for `write`."""
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
