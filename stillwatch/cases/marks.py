"""The last head of each case, kept outside the database: an older copy of the database that is put back shows.

A mark is written after the commit that it speaks of, so a process that is killed between the two leaves an older mark,
which still fits. It is signed like the head in the database.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from stillwatch.cases.chain import canonical
from stillwatch.cases.evidence import write_whole
from stillwatch.cases.reading import loads, read
from stillwatch.cases.sealing import check_signature, head_values
from stillwatch.errors import InputError, IntegrityError

_REPAIR = (
    "Whoever damaged it could have put an older database in place as well: compare the case with a head that you noted "
    "elsewhere (stillwatch case verify {case} --head HEAD), and only then remove the file; the next write makes a new "
    "one"
)


@dataclass(frozen=True, slots=True)
class Mark:
    """What was the last entry of a case when somebody wrote to it here."""

    case: str
    seq: int
    head: str
    public_key: str
    signature: str
    """Over `stillwatch.cases.sealing.head_values` of the others."""
    imports: str = ""
    """Digest of the list of what was taken in from portable files; empty where there was nothing."""


class Marks:
    """The marks of one store, a file a case.

    Parameters
    ----------
    folder
        ``cases/heads`` of the workspace; made when the first mark is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def note(self, mark: Mark) -> None:
        """Keep a mark, unless there is a later one.

        Raises
        ------
        InputError
            The disk refuses the write.
        """
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as problem:
            raise InputError(f"{self.folder}: the head was not noted: {problem.strerror}") from problem
        with self._locked():
            try:
                earlier = self.find(mark.case)
            except IntegrityError:
                earlier = None  # it was whole when this write began
            if earlier is None or earlier.seq <= mark.seq:
                write_whole(self._path(mark.case), canonical(asdict(mark)) + b"\n")

    def find(self, case: str) -> Mark | None:
        """The mark of a case; None where there is none. Whose signature it has is what `writing.check_end` looks at.

        Raises
        ------
        IntegrityError
            It is not what was written.
        """
        if not re.fullmatch("C-[0-9]{1,18}", case):
            return None
        path = self._path(case)
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as problem:
            raise InputError(f"{path}: cannot be read: {problem.strerror}") from problem
        try:
            values = loads(text, str(path))
            mark = read(Mark, {"imports": "", **values} if isinstance(values, dict) else values, str(path))
        except InputError as problem:
            raise IntegrityError(
                f"{path}: the noted head", "as it was written", f"{problem}. {_REPAIR.format(case=case)}"
            ) from problem
        signed = head_values(mark.case, mark.seq, mark.head, mark.public_key, mark.imports)
        check_signature(mark.public_key, mark.signature, signed, str(path))
        if mark.case != case:
            raise IntegrityError(f"{path}: the noted head", f"of {case}", mark.case)
        return mark

    def _path(self, case: str) -> Path:
        return self.folder / f"{case}.json"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            handle = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as problem:
            raise InputError(f"{self.folder}: the head was not noted: {problem.strerror}") from problem
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)
