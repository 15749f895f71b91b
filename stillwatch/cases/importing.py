"""Taking a verified portable file into a store."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from stillwatch.cases import chain, events
from stillwatch.cases.evidence import Draft, Files
from stillwatch.cases.imports import chained, imports_of, keep_import, signers
from stillwatch.cases.manifest import Imported
from stillwatch.cases.marks import Mark, Marks
from stillwatch.cases.portable import Portable
from stillwatch.cases.schema import CASES, ENTRIES, THINGS
from stillwatch.cases.sealing import Signer
from stillwatch.cases.verify import Verified
from stillwatch.cases.writing import check_end, insert_rows, signed_mark
from stillwatch.errors import InputError, IntegrityError

_PAGE = 2000
LAST = 999_999_999
"""The highest number of a case."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A verified file, and who takes it in.

    Parameters
    ----------
    known
        Keys that are known beforehand: this store's own, and the one that was given.
    """

    source: Portable
    found: Verified
    known: Sequence[str]
    as_case: str
    by: str
    at: str

    @property
    def is_named(self) -> bool:
        """Its signer is known beforehand."""
        return self.found.vouched in self.known


def evidence_of(source: Portable, files: Files) -> AbstractContextManager[list[Draft]]:
    """The evidence of a verified file, as drafts; `check_drafts` says that they are what was verified."""
    names = [name for name in source.archive.members if name.startswith("evidence/")]
    return files.drafted(source.archive.blocks(name) for name in names)


def check_drafts(source: Portable, drafts: Sequence[Draft]) -> None:
    """Raise IntegrityError where the file was changed since it was verified."""
    names = [name for name in source.archive.members if name.startswith("evidence/")]
    for name, draft in zip(names, drafts, strict=True):
        if name != f"evidence/{draft.sha256}":
            raise IntegrityError(f"{source.name}: {name}", name.removeprefix("evidence/"), draft.sha256)


def check_place(
    connection: Connection, incoming: Incoming, marks: Marks, *, hold: bool = False
) -> Row[Any] | None:
    """The row of the case that the file continues; None where it is a new one, under an id that is free.

    Parameters
    ----------
    hold
        Nobody else writes to that case until the transaction ends.

    Raises
    ------
    InputError, IntegrityError
        See `stillwatch.cases.store.CaseStore.import_file`.
    """
    asked = select(CASES).where(CASES.c.opened == incoming.found.opened)
    row = connection.execute(asked.with_for_update() if hold else asked).one_or_none()
    if row is None:
        _check_free(connection, incoming.as_case or incoming.found.case)
        return None
    imports = check_end(connection, row, marks.find(row.id), incoming.known)
    _must_continue(connection, incoming, row, imports)
    return row


def merge(connection: Connection, incoming: Incoming, *, signer: Signer, marks: Marks) -> tuple[Mark, int]:
    """Add a verified file to the database, as a new case or to the one that it continues.

    Parameters
    ----------
    connection
        In a transaction that writes.

    Returns
    -------
    tuple
        The mark to note once this is committed, and how many entries are new.

    Raises
    ------
    InputError, IntegrityError
        As for `check_place`.
    """
    source, found = incoming.source, incoming.found
    row = check_place(connection, incoming, marks, hold=True)
    here = 0 if row is None else int(row.seq)
    case = incoming.as_case or found.case if row is None else str(row.id)
    if row is None:
        _insert_case(connection, case, found)
    _insert_rest(connection, source, case, here)
    imports = _note_import(connection, incoming, case, here)
    mark = signed_mark(signer, case, found.entries, found.head, chained(imports)[-1])
    connection.execute(
        update(CASES)
        .where(CASES.c.id == case)
        .values(
            seq=found.entries,
            head=found.head,
            status=found.status,
            public_key=mark.public_key,
            signature=mark.signature,
        )
    )
    return mark, found.entries - here


def _check_free(connection: Connection, case: str) -> None:
    if not re.fullmatch("C-[1-9][0-9]{0,8}", case):
        raise InputError(f"an id of a case is C- and a number, found {case[:40]!r}; give one with --as")
    if connection.execute(select(CASES.c.id).where(CASES.c.id == case)).first():
        free = next_number(connection)
        raise InputError(f"another case is {case} here; import this one with --as C-{free}")


def next_number(connection: Connection) -> int:
    """The number of the next case: after the last one, or the first that is free where somebody's case has the last."""
    last: int = connection.execute(select(func.max(CASES.c.number))).scalar() or 0
    if last < LAST:
        return last + 1
    after = CASES.alias()
    taken = select(after.c.number).where(after.c.number == CASES.c.number + 1).exists()
    first: int = (
        connection.execute(select(func.min(CASES.c.number)).where(CASES.c.number < LAST, ~taken)).scalar()
        or 0
    )
    return first + 1


def _insert_case(connection: Connection, case: str, found: Verified) -> None:
    connection.execute(
        insert(CASES).values(
            id=case, number=int(case.removeprefix("C-")), opened=found.opened, title=found.title,
            status=found.status, tlp=found.tlp, opened_at=found.opened_at, seq=0, head="", public_key="", signature="",
        )
    )  # fmt: skip


def _must_continue(
    connection: Connection, incoming: Incoming, row: Row[Any], imports: Sequence[Imported]
) -> None:
    """The file's journal begins with the one that is here, and somebody who may continue the case signed it."""
    source, found = incoming.source, incoming.found
    if incoming.as_case and incoming.as_case != row.id:
        raise InputError(f"{source.name}: the case is here already, as {row.id}")
    if found.entries < row.seq:
        raise InputError(
            f"{source.name}: {found.entries} entries, {row.id} has {row.seq} here already: an older export, or another "
            "continuation"
        )
    for number, (ours, theirs) in enumerate(zip(_lines(connection, row.id), source.lines(), strict=False), 1):
        if ours.encode() != theirs:
            raise InputError(
                f"{source.name}: entry {number} is not that of {row.id} here: both continued one case apart, and "
                "neither journal can take in the other"
            )
    if not incoming.is_named and found.vouched not in signers(imports):
        raise InputError(
            f"{source.name}: it is {row.id} with the signature of a key that is not known here for this case, "
            f"{found.vouched}; if you know whose it is, give it with --public-key"
        )


def _insert_rest(connection: Connection, source: Portable, case: str, here: int) -> None:
    """The entries after number `here`, and documents that an earlier import was without."""
    lines: list[dict[str, Any]] = []
    things: list[dict[str, Any]] = []
    for number, line in enumerate(source.lines(), 1):
        entry = chain.unchecked(line, f"{source.name}: entry {number}")
        thing = events.thing_of(entry.kind, entry.body)
        content = source.document(*thing) if thing and thing[0] in events.DOCUMENTS else None
        if number > here:
            lines.append({"case_id": case, "seq": number, "line": line.decode()})
            if thing:
                things.append(
                    {"case_id": case, "kind": thing[0], "id": thing[1], "seq": number, "content": content}
                )
        elif thing and content is not None:
            kind, identity = thing
            connection.execute(
                update(THINGS)
                .where(
                    THINGS.c.case_id == case,
                    THINGS.c.kind == kind,
                    THINGS.c.id == identity,
                    THINGS.c.content.is_(None),
                )
                .values(content=content)
            )
        if len(lines) >= _PAGE:
            insert_rows(connection, ENTRIES.name, lines)
            insert_rows(connection, THINGS.name, things)
            lines, things = [], []
    insert_rows(connection, ENTRIES.name, lines)
    insert_rows(connection, THINGS.name, things)


def _note_import(connection: Connection, incoming: Incoming, case: str, here: int) -> tuple[Imported, ...]:
    """Note what the file brought, unless the same file was taken in before; all imports of the case."""
    source, earlier = incoming.source, imports_of(connection, case)
    manifest = hashlib.sha256(source.manifest_bytes).hexdigest()
    if any(i.manifest == manifest and (i.named or not incoming.is_named) for i in earlier):
        return earlier
    imported = Imported(
        number=len(earlier) + 1, at=incoming.at, by=incoming.by, first=here + 1, last=incoming.found.entries,
        public_key=incoming.found.vouched, named=incoming.is_named, manifest=manifest,
    )  # fmt: skip
    keep_import(connection, case, imported, content=source.manifest_bytes, signature=source.signature)
    return (*earlier, imported)


def _lines(connection: Connection, case: str) -> Iterator[str]:
    after = 0
    while True:
        rows = connection.execute(
            select(ENTRIES.c.seq, ENTRIES.c.line)
            .where(ENTRIES.c.case_id == case, ENTRIES.c.seq > after)
            .order_by(ENTRIES.c.seq)
            .limit(_PAGE)
        ).all()
        if not rows:
            return
        for row in rows:
            yield row.line
        after = rows[-1].seq
