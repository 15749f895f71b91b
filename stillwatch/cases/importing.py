"""Taking a verified portable file into a store."""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from stillwatch.cases import chain, events
from stillwatch.cases.evidence import Files
from stillwatch.cases.marks import Mark, Marks
from stillwatch.cases.portable import Portable
from stillwatch.cases.schema import CASES, ENTRIES, IMPORTS, THINGS
from stillwatch.cases.sealing import Signer, head_values
from stillwatch.cases.verify import Verified
from stillwatch.cases.writing import check_end, insert_rows
from stillwatch.errors import InputError, IntegrityError

_PAGE = 2000


def keep_evidence(source: Portable, files: Files) -> None:
    """Keep the evidence of a verified file.

    Raises
    ------
    IntegrityError
        The file was changed since it was verified.
    """
    names = [name for name in source.archive.members if name.startswith("evidence/")]
    wanted = [name.removeprefix("evidence/") for name in names]
    kept = files.put_many(source.archive.blocks(name) for name in names)
    for sha256, (found, _) in zip(wanted, kept, strict=True):
        if sha256 != found:
            raise IntegrityError(f"{source.name}: evidence/{sha256}", sha256, found)


def merge(
    connection: Connection,
    source: Portable,
    found: Verified,
    *,
    signer: Signer,
    known: Set[str],
    as_case: str,
    marks: Marks,
) -> tuple[Mark, int]:
    """Add a verified file to the database, as a new case or to the one that it continues.

    Parameters
    ----------
    connection
        In a transaction that writes.
    known
        Keys whose signature may continue a case that is here.

    Returns
    -------
    tuple
        The mark to note once this is committed, and how many entries are new.

    Raises
    ------
    InputError
        See `stillwatch.cases.store.CaseStore.import_file`.
    """
    asked = select(CASES).where(CASES.c.opened == found.opened).with_for_update()
    row = connection.execute(asked).one_or_none()
    here = 0 if row is None else int(row.seq)
    if row is None:
        case = _free_id(connection, as_case or found.case)
        _insert_case(connection, case, found)
    else:
        case = str(row.id)
        check_end(connection, row, marks.find(case))
        _must_continue(connection, source, found, row, known, as_case)
    _insert_rest(connection, source, case, here)
    _note_manifest(connection, source, case)
    signature = signer.sign(head_values(case, found.entries, found.head, signer.public_key))
    connection.execute(
        update(CASES)
        .where(CASES.c.id == case)
        .values(
            seq=found.entries,
            head=found.head,
            status=found.status,
            public_key=signer.public_key,
            signature=signature,
        )
    )
    return Mark(case, found.entries, found.head, signer.public_key, signature), found.entries - here


def _free_id(connection: Connection, case: str) -> str:
    if not re.fullmatch("C-[1-9][0-9]{0,8}", case):
        raise InputError(f"an id of a case is C- and a number, found {case[:40]!r}; give one with --as")
    if connection.execute(select(CASES.c.id).where(CASES.c.id == case)).first():
        last = connection.execute(select(func.max(CASES.c.number))).scalar_one()
        raise InputError(f"another case is {case} here; import this one with --as C-{last + 1}")
    return case


def _insert_case(connection: Connection, case: str, found: Verified) -> None:
    connection.execute(
        insert(CASES).values(
            id=case, number=int(case.removeprefix("C-")), opened=found.opened, title=found.title,
            status=found.status, tlp=found.tlp, opened_at=found.opened_at, seq=0, head="", public_key="", signature="",
        )
    )  # fmt: skip


def _must_continue(
    connection: Connection, source: Portable, found: Verified, row: Row[Any], known: Set[str], as_case: str
) -> None:
    """The file's journal begins with the one that is here, and somebody whom we know signed it."""
    if as_case and as_case != row.id:
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
    earlier = select(IMPORTS.c.public_key).where(IMPORTS.c.case_id == row.id)
    signers = {*known, *connection.execute(earlier).scalars()}
    if found.entries > row.seq and found.vouched not in signers:
        raise InputError(
            f"{source.name}: it continues {row.id} with the signature of a key that is not known here, "
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


def _note_manifest(connection: Connection, source: Portable, case: str) -> None:
    """Keep the manifest: it proves why something that the journal names is not here."""
    text = source.manifest_bytes.decode()
    asked = select(IMPORTS.c.at).where(IMPORTS.c.case_id == case, IMPORTS.c.manifest == text)
    if connection.execute(asked).first() is None:
        values = {"case_id": case, "at": chain.moment(), "manifest": text}
        values |= {"public_key": source.manifest.public_key, "signature": source.signature}
        connection.execute(insert(IMPORTS).values(**values))


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
