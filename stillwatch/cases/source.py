"""A case as it lies in a store, for reading and for checking."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, func, select

from stillwatch.cases.evidence import Files
from stillwatch.cases.holdings import Holdings
from stillwatch.cases.schema import CASES, ENTRIES, THINGS
from stillwatch.cases.verify import Verified
from stillwatch.errors import InputError, IntegrityError

_PAGE = 2000
"""Entries that are read at once."""


class Stored:
    """One case in a store, within one transaction that reads.

    Raises
    ------
    InputError
        There is no such case.
    """

    def __init__(self, connection: Connection, case: str, files: Files) -> None:
        row = connection.execute(select(CASES).where(CASES.c.id == case)).one_or_none()
        if row is None:
            raise InputError(f"there is no case {case[:80]!r}; see: stillwatch case list")
        self.name, self.case, self.row = f"case {case}", case, row
        self.connection, self._files = connection, files
        self.holdings = Holdings(connection, case)
        self.is_marked = False
        """A head of it is noted outside the database."""
        self._page: dict[tuple[str, str], tuple[int, str | None]] = {}

    def lines(self) -> Iterator[bytes]:
        """The lines of its journal; while one is out, `document` answers for its page."""
        after = 0
        joined = ENTRIES.outerjoin(
            THINGS, (THINGS.c.case_id == ENTRIES.c.case_id) & (THINGS.c.seq == ENTRIES.c.seq)
        )
        asked = select(ENTRIES.c.seq, ENTRIES.c.line, THINGS.c.kind, THINGS.c.id, THINGS.c.content)
        while True:
            rows = self.connection.execute(
                asked.select_from(joined)
                .where(ENTRIES.c.case_id == self.case, ENTRIES.c.seq > after)
                .order_by(ENTRIES.c.seq)
                .limit(_PAGE)
            ).all()
            if not rows:
                return
            page = {(kind, identity): (seq, content) for seq, _, kind, identity, content in rows if kind}
            for row in rows:
                self._page = page  # again for each: another reading of the same case may have turned the page
                yield row.line.encode()
            after = rows[-1].seq

    def document(self, kind: str, identity: str) -> str | None:
        """Canonical JSON of a document; at once where an entry of the current page brought it in."""
        known = self._page.get((kind, identity))
        if known is not None:
            return known[1]
        asked = select(THINGS.c.content).where(
            THINGS.c.case_id == self.case, THINGS.c.kind == kind, THINGS.c.id == identity
        )
        content: str | None = self.connection.execute(asked).scalar_one_or_none()
        return content

    def has_row(self, kind: str, identity: str, seq: int) -> bool:
        """The table of things says the same as the entry."""
        return self._page.get((kind, identity), (0, None))[0] == seq

    def evidence(self, sha256: str) -> Iterator[bytes] | None:
        """The bytes of an item; None where this case has none, whatever lies in the folder for another."""
        seq = self._seq("evidence", sha256)
        if seq is None or not self.holdings.has(sha256, seq) or not self._files.has(sha256):
            return None
        return self._files.chunks(sha256)

    def left_out(self, kind: str, identity: str) -> str | None:
        """Why an import did not bring a document or an item: the exporter signed it."""
        seq = self._seq(kind, identity)
        if seq is None or not self.holdings.imports:
            return None
        return self.holdings.contents.left_out(kind, identity, seq)

    def deleted(self) -> frozenset[str]:
        """Evidence whose bytes were deleted, as the journal says."""
        return self.holdings.deleted

    def holds(self, kind: str, identity: str) -> bool:
        """The case has a thing of this kind and id."""
        return self._seq(kind, identity) is not None

    def _seq(self, kind: str, identity: str) -> int | None:
        """The entry that brought a thing in."""
        known = self._page.get((kind, identity))
        if known is not None:
            return known[0]
        asked = select(THINGS.c.seq).where(
            THINGS.c.case_id == self.case, THINGS.c.kind == kind, THINGS.c.id == identity
        )
        seq: int | None = self.connection.execute(asked).scalar_one_or_none()
        return seq

    def check_rows(self, found: Verified, things: int) -> None:
        """The tables beside the journal say what the journal says, and no more.

        Raises
        ------
        IntegrityError
            A row says something else.
        """
        expected: dict[str, Any] = {
            "seq": found.entries, "head": found.head, "opened": found.opened, "title": found.title,
            "status": found.status, "tlp": found.tlp, "opened_at": found.opened_at,
        }  # fmt: skip
        for name, value in expected.items():
            if getattr(self.row, name) != value:
                raise IntegrityError(
                    f"{self.name}: its {name} in the table", str(value), str(getattr(self.row, name))
                )
        asked = select(func.count()).select_from(THINGS).where(THINGS.c.case_id == self.case)
        rows = self.connection.execute(asked).scalar_one()
        if rows != things:
            raise IntegrityError(f"{self.name}: the table of its things", f"of {things} rows", f"{rows} rows")
