"""Asking a case store: one case, the list of them, the bytes of evidence, and whether a case holds."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from sqlalchemy import func, select

from stillwatch.cases import chain, events, sealing
from stillwatch.cases.database import Database, parse
from stillwatch.cases.evidence import Files
from stillwatch.cases.holdings import holders
from stillwatch.cases.journal import Journal
from stillwatch.cases.marks import Marks
from stillwatch.cases.schema import CASES, THINGS
from stillwatch.cases.sealing import Signer
from stillwatch.cases.source import Stored
from stillwatch.cases.verify import Verified, check, sealed_by
from stillwatch.cases.writing import check_end
from stillwatch.errors import InputError, IntegrityError
from stillwatch.records import Case, Custody

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Summary:
    """One line of the list of cases."""

    id: str
    title: str
    status: str
    tlp: str
    opened_at: str
    findings: int
    withdrawn: int
    """Of the findings, those that no longer stand: withdrawn, corrected, or all of them with their case."""
    evidence: int
    entries: int
    head: str


class CaseReader:
    """The cases of one workspace, or of one database that several share.

    Parameters
    ----------
    place
        Folder of a workspace (cases lie in ``cases/cases.db``), or the URL of a database:
        ``postgresql+pg8000://USER:PASSWORD@HOST/DATABASE``. A text with a colon, or given with `folder`, is a URL.
    folder
        Where evidence and noted heads lie; ``cases`` of the workspace if not given. A URL needs it.
    key_file
        The workspace's key, from which the sealing key is derived; ``key`` of the workspace if not given.
    signer
        Another sealing key, such as ``Signer.of_pem(path)``; then no key file is touched.
    known
        Public keys besides the store's own whose signature over a case is taken, such as the one that it had before.
    create
        Whether a store that is not there is made.

    Raises
    ------
    InputError
        There is no store and `create` is false; the database cannot be opened, or is newer than this program.
    MissingExtra
        PostgreSQL without ``stillwatch[postgres]``.
    """

    def __init__(
        self,
        place: Path | str,
        *,
        folder: Path | None = None,
        key_file: Path | None = None,
        signer: Signer | None = None,
        known: Sequence[str] = (),
        create: bool = True,
    ) -> None:
        database, root, key = _where(place, folder, key_file)
        try:
            if not create and isinstance(database, Path) and not database.exists():
                raise InputError(f"{place}: no case here yet; start with: stillwatch case open TITLE")
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as problem:
            raise InputError(f"{root}: the case store cannot be opened: {problem.strerror}") from problem
        self._key, self._given = key, signer
        self._others = [sealing.public_key_of(text) for text in known]
        self.files = Files(root / "evidence")
        """Where the evidence lies; its digests are what a case holds."""
        self._marks = Marks(root / "heads")
        self._journal = root.parent / "journal.jsonl"
        self._database = Database(database)

    def close(self) -> None:
        """Give back every connection."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._database.name!r})"

    # -- reading ------------------------------------------------------------------------------------------------

    def get(self, case: str) -> Case:
        """The whole case, from a chain that is whole and whose head a known key signed; `verify` checks the rest too.

        Raises
        ------
        InputError
            There is no such case.
        IntegrityError
            An entry is gone or another, a record is not what its entry says, or somebody else signed the head.
        """
        with self._sound(case) as source:

            def document(kind: str, identity: str) -> str | None:
                text = source.document(kind, identity)
                if text is None and source.left_out(kind, identity) is None:
                    raise IntegrityError(
                        f"case {case}: {kind} {identity}", identity, "nothing: the record is gone"
                    )
                return text

            entries = chain.linked(source.lines(), source.name)
            found = events.fold(entries, document, case, _taken_in(source))
            if found.head != source.row.head:
                raise IntegrityError(f"case {case}: its last entry", source.row.head, found.head)
        return found

    def must_have(self, case: str) -> None:
        """Raise InputError where there is no such case."""
        with self._stored(case):
            pass

    def list(self) -> tuple[Summary, ...]:
        """Every case, the first one first."""
        counted = select(THINGS.c.case_id, THINGS.c.kind, func.count().label("number")).group_by(
            THINGS.c.case_id, THINGS.c.kind
        )
        with self._database.reading() as connection:
            numbers = {(case, kind): n for case, kind, n in connection.execute(counted)}
            rows = connection.execute(select(CASES).order_by(CASES.c.number)).all()

        def line(row: Any) -> Summary:
            findings, gone, evidence = (
                numbers.get((row.id, kind), 0) for kind in ("finding", "withdrawal", "evidence")
            )
            return Summary(
                id=row.id,
                title=row.title,
                status=row.status,
                tlp=row.tlp,
                opened_at=row.opened_at,
                findings=findings,
                withdrawn=findings if row.status == "withdrawn" else gone,
                evidence=evidence,
                entries=row.seq,
                head=row.head,
            )

        return tuple(map(line, rows))

    def evidence(self, case: str, sha256: str) -> Iterator[bytes]:
        """The bytes of an item of a case, in blocks.

        Raises
        ------
        InputError
            The case has no such item, or its bytes are not here.
        IntegrityError
            The bytes are others.
        """
        with self._sound(case) as source:
            if not source.holds("evidence", sha256):
                raise InputError(f"case {case}: it has no evidence {sha256[:12]}")
            if source.evidence(sha256) is None:
                why = "they were deleted" if sha256 in source.deleted() else "they are not in this store"
                raise InputError(f"case {case}: it has no bytes of evidence {sha256[:12]}: {why}")
        return self.files.checked(sha256)

    def holders(self, sha256: str) -> tuple[str, ...]:
        """The cases that have the bytes of an item here."""
        with self._database.reading() as connection:
            return holders(connection, sha256)

    def verify(
        self,
        case: str,
        *,
        public_key: str = "",
        heads: Sequence[str] = (),
        bytes_too: bool = True,
        later_too: bool = False,
    ) -> Verified:
        """Check everything: chain, records, bytes, seals, the signed head, and the head noted outside the database.

        Parameters
        ----------
        public_key
            A key that must vouch for the case: it signed the head, or sealed entries of a case whose head this
            workspace signed. If not given, the key of this workspace must have signed the head.
        heads
            Digests that were noted elsewhere, such as those of printed seals; each must be in the chain.
        bytes_too
            Also hash the evidence.
        later_too
            Take the head of whoever signed it, where the given key sealed entries before it.

        Raises
        ------
        IntegrityError
            Names the first thing that is broken.
        InputError
            There is no such case.

        Examples
        --------
        >>> import tempfile, pathlib
        >>> from stillwatch.cases.store import CaseStore
        >>> store = CaseStore(pathlib.Path(tempfile.mkdtemp()))
        >>> case = store.open("Shared prompt in 198 accounts", by="analyst")
        >>> store.verify(case.id).entries
        1

        "Case C-1 is whole: one entry, signed by this workspace's key."
        """
        given = sealing.public_key_of(public_key) if public_key else ""
        known = [key for key in (*self._known(), given) if key]
        with self._sound(case, known=() if given and later_too else known) as source:
            found, things = check(source, heads=tuple(heads), bytes_too=bytes_too)
            source.check_rows(found, things)
            vouched, imports = str(source.row.public_key), source.holdings.imports
            own_words = [head for seq, head in found.noted if source.holdings.came_here(seq)]
            is_marked = source.is_marked
        if own_words:
            self._check_workspace(case, own_words)
        notes = list(found.notes)
        if not is_marked:
            notes.append("no head is noted outside the database, so an older copy of it would not show")
        if not known:
            notes.append(f"this workspace has no key, so {vouched} is only what the store itself says")
        if given and vouched != given:
            notes.append(sealed_by(found, vouched, given, later_too=later_too or vouched in known))
        return replace(
            found, vouched=vouched, pinned=vouched in known, imports=tuple(imports), notes=tuple(notes)
        )

    @property
    def public_key(self) -> str:
        """The key with which this store signs, hexadecimal; worth noting elsewhere."""
        return self._signer().public_key

    # -- inside -----------------

    def _check_workspace(self, case: str, noted: Sequence[str]) -> None:
        """Each head of the workspace's journal that the case noted is still in that journal."""
        journal = Journal(self._journal)
        left = set(noted) - {entry.digest for entry in journal.entries()}
        if left:
            raise IntegrityError(
                f"{journal.path}: the entry noted in case {case}", sorted(left)[0], "no such entry"
            )

    @contextmanager
    def _stored(self, case: str) -> Iterator[Stored]:
        with self._database.reading() as connection:
            yield Stored(connection, case, self.files)

    @contextmanager
    def _sound(self, case: str, *, known: Sequence[str] | None = None) -> Iterator[Stored]:
        """A case whose head is signed by a key that is known, and is no older than the one noted outside."""
        keys = self._known() if known is None else known
        # Before the database is read, so that it cannot be ahead of what is read.
        mark = self._marks.find(case)
        with self._stored(case) as source:
            check_end(source.connection, source.row, mark, keys)
            source.is_marked = mark is not None
            if known is None and not keys:
                _log.warning("case %s: nobody's key is known here, so who signed it was not checked", case)
            yield source

    def _signer(self) -> Signer:
        if self._given is None:
            from stillwatch.identity.keys import Keys

            if not self._key.exists() and not self._others and self.list():
                raise InputError(
                    f"{self._key}: the key is gone with which the cases here are signed; put its copy back. Nothing is "
                    "signed with a new one, which would hide what was changed before it, unless you name the old one: "
                    "stillwatch case seal CASE --public-key KEY"
                )
            self._given = Signer.derived(Keys(self._key).derive)
        return self._given

    def _known(self) -> tuple[str, ...]:
        """Keys whose signature over a case is taken, the store's own first; a key file that is gone is not made."""
        own = [self._signer().public_key] if self._given or os.access(self._key, os.R_OK) else []
        return (*own, *self._others)


def _taken_in(source: Stored) -> dict[int, list[Custody]]:
    """Number of an entry -> the evidence that came with the file that had the entries up to it."""
    found: dict[int, list[Custody]] = {}
    if source.holdings.imports:
        for (kind, identity), taken in source.holdings.contents.brought.items():
            if kind == "evidence":
                note = f"in a file that {sealing.fingerprint(taken.public_key)} signed"
                found.setdefault(taken.last, []).append(
                    Custody(identity, taken.at, taken.by, "imported", note)
                )
    return found


def _where(place: Path | str, folder: Path | None, key_file: Path | None) -> tuple[Path | str, Path, Path]:
    """The database, the folder of the files, and the key file."""
    if isinstance(place, str) and (folder is not None or ":" in place):
        parse(place)
        if folder is None:
            raise InputError("a case store in a database needs a folder for evidence; give its workspace too")
        return place, folder, key_file or folder.parent / "key"
    cases = folder or Path(place) / "cases"
    return cases / "cases.db", cases, key_file or Path(place) / "key"
