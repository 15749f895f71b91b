"""Does a ledger hold? The first bad record is named."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from stillwatch.errors import IntegrityError
from stillwatch.marks.keys import Master
from stillwatch.marks.ledger import opening
from stillwatch.marks.ledger.answers import ANSWER, ERASED, sealing_of
from stillwatch.marks.ledger.head import HeadFile, parse
from stillwatch.marks.ledger.secrets import Sealer, Secrets
from stillwatch.marks.ledger.segments import HEADER, START, Files, Frame, checked, read_header, salt_of


@dataclass(frozen=True, slots=True)
class Verified:
    """What was held against its links, and held."""

    records: int
    answers: int
    texts: int
    """Sealed texts that were opened."""
    erased: tuple[int, ...]
    """Segments whose texts were destroyed, as the ledger says itself."""
    torn: int
    """Bytes at the end that no record has: a write was cut off there."""
    head: str


def verify(folder: Path, master: Master, *, head: str = "") -> Verified:
    """Read the whole ledger and hold every record against the one before, and every sealed text against its tag.

    Changes, removals, insertions and moves are found by the chain; a cut at the end by the ledger's own head. Somebody
    who puts back all files as they once were is found only by a head that was noted elsewhere.

    Parameters
    ----------
    head
        What `Ledger.head` gave at an earlier time.

    Raises
    ------
    IntegrityError
        Names the first bad record.
    InputError
        There is no ledger, or it is another master's.
    """
    secrets = opening.identity(folder, master, create=False)
    files = Files(folder)
    known = HeadFile(folder / "head", secrets.head).read()
    noted, link = parse(head) if head else (0, START.hex())
    walk = _Walk(files, secrets, {known.records, noted})
    numbers = files.numbers()
    for number in range(1, max([known.segment, *numbers]) + 1):
        if number not in numbers:
            raise IntegrityError(f"{files.named(number, 'seg')}", "of a segment that was written", "no file")
        walk.segment(number, last=number == numbers[-1], known=known.records)
    if known.link not in walk.links.get(known.records, ()):
        raise IntegrityError(
            f"{folder}: record {walk.records}", f"of one of {known.records} that were acknowledged", "the end"
        )
    if bytes.fromhex(link) not in walk.links.get(noted, ()):
        raise IntegrityError(
            f"{folder}: the head noted elsewhere", head, f"{walk.records} records, none of them with it"
        )
    missing = walk.closed - walk.erased
    if missing:
        raise IntegrityError(
            f"{files.data(min(missing))}: kept texts",
            "that can be opened",
            "no salt, and no record of an erasure",
        )
    return Verified(
        walk.records,
        walk.answers,
        walk.texts,
        tuple(sorted(walk.erased)),
        walk.torn,
        f"{walk.records}:{walk.link.hex()}",
    )


class _Walk:
    """What is known after each segment."""

    def __init__(self, files: Files, secrets: Secrets, watched: set[int]) -> None:
        self.files, self.secrets = files, secrets
        self.records = self.answers = self.texts = self.torn = 0
        self.link = START
        # Links that the chain had when it was so many records long.
        self.links: dict[int, set[bytes]] = {count: set() for count in watched}
        self._reached(START)
        self.erased: set[int] = set()
        self.closed: set[int] = set()

    def _reached(self, link: bytes) -> None:
        self.link = link
        if self.records in self.links:
            self.links[self.records].add(link)

    def segment(self, number: int, *, last: bool, known: int) -> None:
        path = self.files.data(number)
        header = read_header(path, number, self.secrets)
        if header.previous != self.link or header.first != self.records:
            raise IntegrityError(
                f"{path}: header", f"after record {self.records - 1}",
                f"one after record {header.first - 1}: records were cut or a segment was exchanged",
            )  # fmt: skip
        self._reached(header.link)
        salt = salt_of(self.files, number)
        sealer = None if salt is None else self.secrets.segment(number, salt)
        end = HEADER.size
        try:
            for frame in checked(path, header.first, header.link, self.secrets):
                self._frame(frame, number, path, sealer)
                end = frame.end
        except IntegrityError:
            # After the last acknowledged record a write may have been cut off, in a power cut even with whole lengths.
            if not last or self.records < known:
                raise
        torn = path.stat().st_size - end
        if torn and (not last or self.records < known):
            raise IntegrityError(
                f"{path}: record {self.records} (byte {end})", "of a whole record", "its beginning"
            )
        self.torn = torn

    def _frame(self, frame: Frame, number: int, path: Path, sealer: Sealer | None) -> None:
        item = f"{path}: record {self.records}"
        if frame.record[0] == ANSWER:
            self.answers += 1
            size, nonce, tag, bound = sealing_of(frame.record)
            if size and sealer is not None and frame.content:
                sealer.open(nonce, frame.content, tag, bound, item)
                self.texts += 1
            elif size:
                self.closed.add(number)
        elif frame.record[0] == ERASED:
            self.erased.update(json.loads(frame.record[1:])["segments"])
        self.records += 1
        self._reached(frame.link)
