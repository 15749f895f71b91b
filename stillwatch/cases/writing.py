"""Adding to the journal of one case, inside one transaction that holds it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from sqlalchemy import Connection, Row, insert, select, text, update

from stillwatch.cases import chain, events
from stillwatch.cases.chain import Entry
from stillwatch.cases.database import lock_files
from stillwatch.cases.events import Planned
from stillwatch.cases.holdings import Holdings
from stillwatch.cases.imports import chained, imports_of
from stillwatch.cases.manifest import Imported
from stillwatch.cases.marks import Mark, Marks
from stillwatch.cases.schema import CASES, ENTRIES, THINGS
from stillwatch.cases.sealing import Signer, check_signature, head_values
from stillwatch.errors import InputError, IntegrityError
from stillwatch.records import CaseStatus

_BULK = 2000
"""Rows that go to the database at once."""
_BULK_BYTES = 8 << 20


class Writer:
    """The end of one case's chain, held until the transaction of `connection` ends.

    Parameters
    ----------
    connection
        In a transaction that writes.
    case
        Id of the case here.
    known
        Public keys whose signature over the head, and over the mark, is taken: who may continue this chain.
    time
        Of every entry that is added.

    Raises
    ------
    InputError
        There is no such case.
    IntegrityError
        The last entry, its signature or the mark outside the database do not fit: nothing is added to a broken chain.
    """

    def __init__(
        self,
        connection: Connection,
        case: str,
        *,
        signer: Signer,
        known: Sequence[str],
        marks: Marks,
        time: str,
    ) -> None:
        row = connection.execute(select(CASES).where(CASES.c.id == case).with_for_update()).one_or_none()
        if row is None:
            raise InputError(f"there is no case {case[:80]!r}; see: stillwatch case list")
        self.case, self.seq, self.head = case, int(row.seq), str(row.head)
        self.status = cast(CaseStatus, row.status)
        self.connection, self._signer, self._time = connection, signer, time
        self._known: dict[tuple[str, str], int] | None = None
        self._lines: list[dict[str, Any]] = []
        self._things: list[dict[str, Any]] = []
        self._added: dict[tuple[str, str], int] = {}
        self._imports = check_end(connection, row, marks.find(case), known)
        self._holdings: Holdings | None = None
        self._holds_files = False

    def has(self, kind: str, identity: str) -> bool:
        """The case holds a thing of this kind and id."""
        thing = (kind, identity)
        if thing in self._added:
            return True
        if self._known is not None:
            return thing in self._known
        asked = (
            select(THINGS.c.seq)
            .where(THINGS.c.case_id == self.case, THINGS.c.kind == kind, THINGS.c.id == identity)
            .limit(1)
        )
        return self.connection.execute(asked).first() is not None

    def expect_many(self) -> None:
        """Read what the case holds once, because it will be asked for more often than that costs."""
        asked = select(THINGS.c.kind, THINGS.c.id, THINGS.c.seq).where(THINGS.c.case_id == self.case)
        self._known = {(kind, identity): seq for kind, identity, seq in self.connection.execute(asked)}

    def record_of(self, kind: str, identity: str) -> dict[str, Any]:
        """The body of the entry that brought a thing in."""
        seq = self._added.get((kind, identity))
        if seq is not None:
            line = next(row["line"] for row in self._lines if row["seq"] == seq)
        else:
            line = self.connection.execute(
                select(ENTRIES.c.line)
                .join(THINGS, (THINGS.c.case_id == ENTRIES.c.case_id) & (THINGS.c.seq == ENTRIES.c.seq))
                .where(THINGS.c.case_id == self.case, THINGS.c.kind == kind, THINGS.c.id == identity)
            ).scalar_one()
        return chain.parse(line.encode(), f"case {self.case}: {kind} {identity[:12]}").body

    def document(self, kind: str, identity: str) -> str:
        """Canonical JSON of a document that the case holds; empty where it was left out of an import."""
        for row in self._things:
            if (row["kind"], row["id"]) == (kind, identity):
                return str(row["content"])
        asked = select(THINGS.c.content).where(
            THINGS.c.case_id == self.case, THINGS.c.kind == kind, THINGS.c.id == identity
        )
        return self.connection.execute(asked).scalar_one() or ""

    def has_bytes(self, sha256: str) -> bool:
        """The case has the bytes of an item that it names: they were neither deleted nor left out of an import."""
        thing = ("evidence", sha256)
        if thing in self._added:
            return True
        if self._holdings is None:
            self._holdings = Holdings(self.connection, self.case, self._imports)
        if self._known is not None:
            return self._holdings.has(sha256, self._known[thing])
        asked = select(THINGS.c.seq).where(
            THINGS.c.case_id == self.case, THINGS.c.kind == "evidence", THINGS.c.id == sha256
        )
        return self._holdings.has(sha256, self.connection.execute(asked).scalar_one())

    def hold_files(self) -> None:
        """Nobody removes files of evidence until the transaction ends."""
        if not self._holds_files:
            lock_files(self.connection)
            self._holds_files = True

    def first(self) -> dict[str, Any]:
        """The body of the entry that opened the case."""
        line = line_at(self.connection, self.case, 1) or ""
        return chain.parse(line.encode(), f"case {self.case}: entry 1").body

    def add(self, planned: Planned) -> bool:
        """Add one entry; False, and nothing is added, where the case has the thing already."""
        if planned.thing is not None and self.has(*planned.thing):
            return False
        # What could not be read back would make the whole case unreadable.
        item = f"case {self.case}: {planned.kind}"
        if planned.sound:
            events.check_author(planned.body, item)
        else:
            chain.check_body(planned.kind, planned.body)
            entry = Entry(self.seq + 1, self._time, planned.kind, planned.body, self.head, "")
            events.checked(entry, item)
        self._append(planned)
        return True

    def finish(self) -> Mark:
        """Send everything to the database and sign the new head; the mark to note once it is committed."""
        self._flush()
        imports = chained(self._imports)[-1]
        mark = signed_mark(self._signer, self.case, self.seq, self.head, imports)
        self.connection.execute(
            update(CASES)
            .where(CASES.c.id == self.case)
            .values(
                seq=self.seq,
                head=self.head,
                status=self.status,
                public_key=mark.public_key,
                signature=mark.signature,
            )
        )
        return mark

    def _append(self, planned: Planned) -> None:
        seq = self.seq + 1
        digest, line = link_entry(self.case, seq, self.head, self._time, planned.kind, planned.body)
        self._lines.append({"case_id": self.case, "seq": seq, "line": line.decode()})
        if planned.thing is not None:
            kind, identity = planned.thing
            self._things.append(
                {"case_id": self.case, "kind": kind, "id": identity, "seq": seq, "content": planned.content}
            )
            self._added[planned.thing] = seq
        self.seq, self.head = seq, digest
        self.status = events.status_after(self.status, planned.kind, planned.body)

    def _flush(self) -> None:
        insert_rows(self.connection, ENTRIES.name, self._lines)
        insert_rows(self.connection, THINGS.name, self._things)
        self._lines, self._things = [], []


def link_entry(
    case: str, seq: int, previous: str, time: str, kind: str, body: Mapping[str, Any]
) -> tuple[str, bytes]:
    """Digest and line of a new entry, see `stillwatch.cases.chain.link`.

    Raises
    ------
    InputError
        It is larger than an entry may be, so that no portable file could hold it.
    """
    digest, line = chain.link(seq, previous, time, kind, body)
    if len(line) > events.MAX_ENTRY:
        raise InputError(
            f"case {case}: an entry of {len(line) >> 20} MiB; file what is long as evidence instead"
        )
    return digest, line


def signed_mark(signer: Signer, case: str, seq: int, head: str, imports: str = "") -> Mark:
    """The mark of a state, with the signature that the database keeps as well."""
    values = head_values(case, seq, head, signer.public_key, imports)
    return Mark(case, seq, head, signer.public_key, signer.sign(values), imports)


def check_end(
    connection: Connection, row: Row[Any], mark: Mark | None, known: Sequence[str]
) -> tuple[Imported, ...]:
    """The end of a case's chain is what a known key signed, and holds what was noted outside the database; its imports.

    A mark must have been read before the transaction of `connection` began, or while it holds the case.

    Parameters
    ----------
    known
        Public keys. Empty: whoever signed it, because this workspace has no key.

    Raises
    ------
    IntegrityError
        It is not.
    """
    item = f"case {row.id}"
    imports = imports_of(connection, row.id)
    digests = chained(imports)
    _check_known(row.public_key, known, f"{item}: the signature of its head")
    values = head_values(row.id, row.seq, row.head, row.public_key, digests[-1])
    check_signature(row.public_key, row.signature, values, f"{item}: the head of entry {row.seq}")
    last = line_at(connection, row.id, row.seq)
    if last is None:
        raise IntegrityError(f"{item}: entry {row.seq}, the last", row.head, "no entry: it was removed")
    entry = chain.parse(last.encode(), f"{item}: entry {row.seq}")
    if entry.digest != row.head:
        raise IntegrityError(f"{item}: entry {row.seq}, the last", row.head, entry.digest)
    if mark is None:
        return imports
    _check_known(mark.public_key, known, f"{item}: the signature of the head noted outside the database")
    older = "the database is an older one than was written here, or another"
    noted = line_at(connection, row.id, mark.seq)
    found = (
        "no such entry" if noted is None else chain.parse(noted.encode(), f"{item}: entry {mark.seq}").digest
    )
    if found != mark.head:
        raise IntegrityError(
            f"{item}: entry {mark.seq}, noted outside the database", mark.head, f"{found}: {older}"
        )
    if mark.imports not in digests:
        raise IntegrityError(
            f"{item}: its imports, noted outside the database", mark.imports, f"others: {older}"
        )
    return imports


def _check_known(public_key: str, known: Sequence[str], item: str) -> None:
    if known and public_key not in known:
        raise IntegrityError(
            item,
            f"by a key that is known here, {' or '.join(known)}",
            f"by {public_key}; if that is a key of yours, say so with --public-key",
        )


def line_at(connection: Connection, case: str, seq: int) -> str | None:
    """The line of one entry."""
    asked = select(ENTRIES.c.line).where(ENTRIES.c.case_id == case, ENTRIES.c.seq == seq)
    line: str | None = connection.execute(asked).scalar_one_or_none()
    return line


def insert_rows(connection: Connection, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Many rows at once."""
    target = {t.name: t for t in (ENTRIES, THINGS)}[table]
    for some in _in_bulk(rows):
        if connection.dialect.name == "postgresql":
            _insert_postgres(connection, table, some)
        else:
            connection.execute(insert(target), list(some))


def _in_bulk(rows: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[Mapping[str, Any]]]:
    some: list[Mapping[str, Any]] = []
    size = 0
    for row in rows:
        some.append(row)
        size += len(row.get("line") or row.get("content") or "")
        if len(some) == _BULK or size > _BULK_BYTES:
            yield some
            some, size = [], 0
    if some:
        yield some


def _insert_postgres(connection: Connection, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    # One statement and one value for thousands of rows: a round trip for each row would take minutes.
    columns = {
        ENTRIES.name: "case_id text, seq bigint, line text",
        THINGS.name: "case_id text, kind text, id text, seq bigint, content text",
    }[table]
    names = ", ".join(part.split()[0] for part in columns.split(", "))
    value = chain.canonical([dict(row) for row in rows]).decode()
    connection.execute(
        text(
            f"insert into {table} ({names}) "
            f"select {names} from json_to_recordset(cast(:rows as json)) as given({columns})"
        ),
        {"rows": value},
    )
