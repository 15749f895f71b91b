"""Which bytes of evidence a case has here. The folder of a store is one for all its cases, but each gives out its own.

A case has the bytes that somebody added to it here, and those that came with a file that was taken in, until its
journal says that they were deleted. That it names a digest is not enough: whoever writes a portable file can name any.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, select

from stillwatch.cases import chain, events
from stillwatch.cases.evidence import Files
from stillwatch.cases.imports import Contents, imports_of
from stillwatch.cases.manifest import Imported
from stillwatch.cases.schema import ENTRIES, THINGS
from stillwatch.records import TLP, Evidence


class Holdings:
    """What one case has here, as one transaction sees it.

    Parameters
    ----------
    imports
        The imports of the case, where they were read before.
    """

    def __init__(self, connection: Connection, case: str, imports: Sequence[Imported] | None = None) -> None:
        self._connection, self._case = connection, case
        self.imports = imports_of(connection, case) if imports is None else imports
        self._contents: Contents | None = None
        self._deleted: frozenset[str] | None = None

    @property
    def contents(self) -> Contents:
        """What the imported files held and left out."""
        if self._contents is None:
            self._contents = Contents(self._connection, self._case, self.imports, f"case {self._case}")
        return self._contents

    @property
    def deleted(self) -> frozenset[str]:
        """Evidence whose bytes were deleted, as the journal says."""
        if self._deleted is None:
            asked = select(ENTRIES.c.line).where(
                ENTRIES.c.case_id == self._case, ENTRIES.c.line.contains(events.DELETION)
            )
            lines = self._connection.execute(asked).scalars()
            self._deleted = events.deletions((line.encode() for line in lines), f"case {self._case}")
        return self._deleted

    def came_here(self, seq: int) -> bool:
        """An entry was written here, and came with no file."""
        return not any(i.first <= seq <= i.last for i in self.imports)

    def has(self, sha256: str, seq: int) -> bool:
        """The case has the bytes of the item that entry `seq` names."""
        if sha256 in self.deleted:
            return False
        return self.came_here(seq) or ("evidence", sha256) in self.contents.brought


def holders(connection: Connection, sha256: str) -> tuple[str, ...]:
    """The cases that have the bytes of an item."""
    asked = select(THINGS.c.case_id, THINGS.c.seq).where(THINGS.c.kind == "evidence", THINGS.c.id == sha256)
    rows = connection.execute(asked.order_by(THINGS.c.case_id)).all()
    return tuple(case for case, seq in rows if Holdings(connection, case).has(sha256, seq))


def remove_deleted(connection: Connection, files: Files) -> None:
    """Remove the files of evidence that a journal says was deleted and that no case has any more.

    Those of an earlier deletion, too, whose process was killed before it came to this. The folder must be held alone.
    """
    asked = select(ENTRIES.c.line).where(ENTRIES.c.line.contains(events.DELETION))
    lines = connection.execute(asked).scalars()
    for sha256 in events.deletions((line.encode() for line in lines), "the journals"):
        if files.has(sha256) and not holders(connection, sha256):
            files.path(sha256).unlink(missing_ok=True)


def elsewhere(connection: Connection, case: str) -> Iterator[tuple[str, Evidence]]:
    """Evidence of a case whose bytes another case here has as well: that case, and the record there."""
    own = select(THINGS.c.id).where(THINGS.c.case_id == case, THINGS.c.kind == "evidence")
    asked = (
        select(THINGS.c.case_id, THINGS.c.id, THINGS.c.seq, ENTRIES.c.line)
        .join(ENTRIES, (ENTRIES.c.case_id == THINGS.c.case_id) & (ENTRIES.c.seq == THINGS.c.seq))
        .where(THINGS.c.kind == "evidence", THINGS.c.case_id != case, THINGS.c.id.in_(own))
    )
    known: dict[str, Holdings] = {}
    for other, sha256, seq, line in connection.execute(asked).all():
        if other not in known:
            known[other] = Holdings(connection, other)
        if known[other].has(sha256, seq):
            item = f"case {other}: entry {seq}"
            yield other, events.checked(chain.parse(line.encode(), item), item)


def strictest(connection: Connection, case: str) -> dict[str, tuple[TLP, str]]:
    """Of evidence that other cases have as well: the strictest label and the earliest retention date there."""
    found: dict[str, tuple[TLP, str]] = {}
    for _, record in elsewhere(connection, case):
        tlp, until = found.get(record.sha256, (record.tlp, record.retain_until))
        tlp = max(tlp, record.tlp, key=events.rank)
        until = min(until or record.retain_until, record.retain_until or until)
        found[record.sha256] = (tlp, until)
    return found
