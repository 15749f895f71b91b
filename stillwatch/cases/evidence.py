"""Evidence as files that are named by what they hold: ``evidence/ab/<sha256>``.

A file comes into being by a rename after its bytes are on the disk, so there is no half one; the same bytes are one
file, however often they are added. Nothing is evidence until a case's journal says so: a file that no journal names (a
process was killed between the two) is an orphan and does no harm.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

from stillwatch.errors import InputError, IntegrityError

Content = bytes | Path | Iterator[bytes]
"""Bytes, a file that has them, or blocks of them."""

BLOCK = 1 << 20
MAX_EVIDENCE = 16 << 30
"""Bytes of one item."""
_LEFT_BEHIND = 86_400.0
"""Seconds after which a draft is one that a killed writer left."""
_SYNCS = 16
"""Files of a bulk that are brought to the disk at the same time: a journalling file system then waits once for many."""


@dataclass(frozen=True, slots=True)
class Draft:
    """Bytes on the disk that are no evidence yet."""

    path: Path
    sha256: str
    size: int


class Files:
    """The files of one store.

    Parameters
    ----------
    folder
        ``cases/evidence`` of the workspace; made when the first file is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._swept = False

    def path(self, sha256: str) -> Path:
        """Where an item lies, if it is here."""
        if len(sha256) != 64 or set(sha256) - set("0123456789abcdef"):
            raise InputError(f"expected a sha256 in 64 hexadecimal digits, found {sha256[:80]!r}")
        return self.folder / sha256[:2] / sha256

    def put(self, data: Content, *, expected: str = "") -> tuple[str, int]:
        """Keep bytes, blocks of them, or a file; their sha256 and how many there are. Durable when this returns.

        Parameters
        ----------
        expected
            The sha256 that they must have.

        Raises
        ------
        InputError
            The file cannot be read or is too large, or the disk refuses the write.
        IntegrityError
            They have another sha256 than expected; nothing is kept.
        """
        with self.drafted([data]) as (draft,):
            if expected and draft.sha256 != expected:
                raise IntegrityError(f"evidence {expected[:12]}", expected, draft.sha256)
            self.keep([draft])
        return draft.sha256, draft.size

    def put_many(self, items: Iterable[Content]) -> list[tuple[str, int]]:
        """As `put`, for many items, in their order. All are durable when this returns."""
        kept: list[tuple[str, int]] = []
        left = iter(items)
        while some := list(islice(left, 1024)):
            with self.drafted(some) as drafts:
                self.keep(drafts)
                kept += [(draft.sha256, draft.size) for draft in drafts]
        return kept

    @contextmanager
    def drafted(self, items: Iterable[Content]) -> Iterator[list[Draft]]:
        """Bytes that are on the disk under names that nobody looks for, until `keep`; gone again after the block.

        So that whoever may still refuse them has not let them in.

        Raises
        ------
        InputError
            As for `put`.
        """
        drafts: list[Draft] = []
        try:
            with ThreadPoolExecutor(_SYNCS) as pool:
                waiting: list[Draft] = []
                for item in items:
                    drafts.append(self._draft(item))
                    waiting.append(drafts[-1])
                    if len(waiting) >= 1024:
                        _sync_all(pool, [draft.path for draft in waiting])
                        waiting = []
                _sync_all(pool, [draft.path for draft in waiting])
            yield drafts
        finally:
            for draft in drafts:
                draft.path.unlink(missing_ok=True)

    def keep(self, drafts: Sequence[Draft]) -> None:
        """Give drafts the names under which they are looked for. Durable when this returns.

        Raises
        ------
        InputError
            The disk refuses the write.
        """
        with ThreadPoolExecutor(_SYNCS) as pool:
            folders = {self._named(draft.path, draft.sha256) for draft in drafts}
            _sync_all(pool, sorted(folders))

    def has(self, sha256: str) -> bool:
        """The file is here; whether it is whole is what `chunks` and a hash tell."""
        return self.path(sha256).is_file()

    def size(self, sha256: str) -> int:
        """Bytes of the file.

        Raises
        ------
        InputError
            It is not here.
        """
        try:
            return self.path(sha256).stat().st_size
        except FileNotFoundError as missing:
            raise InputError(f"evidence {sha256[:12]}: the bytes are not in this store") from missing

    def chunks(self, sha256: str) -> Iterator[bytes]:
        """The bytes, in blocks.

        Raises
        ------
        InputError
            They are not here, or cannot be read.
        """
        try:
            with self.path(sha256).open("rb") as file:
                yield from _blocks(file)
        except FileNotFoundError as missing:
            raise InputError(f"evidence {sha256[:12]}: the bytes are not in this store") from missing
        except OSError as problem:
            raise InputError(f"evidence {sha256[:12]}: cannot be read: {problem.strerror}") from problem

    def checked(self, sha256: str) -> Iterator[bytes]:
        """As `chunks`; after the last block, an error if the bytes were others.

        Raises
        ------
        IntegrityError
            The bytes have another sha256.
        """
        hashed = hashlib.sha256()
        for block in self.chunks(sha256):
            hashed.update(block)
            yield block
        if hashed.hexdigest() != sha256:
            raise IntegrityError(f"evidence {sha256}", sha256, hashed.hexdigest())

    # -- writing ------------------------------------------------------------------------------------------------

    def _draft(self, data: Content) -> Draft:
        """The bytes under a name that nobody looks for; not durable yet."""
        hashed, size = hashlib.sha256(), 0
        draft = self.folder / f".{os.getpid()}-{os.urandom(8).hex()}.tmp"
        try:
            if not self.folder.is_dir():
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                sync(self.folder.parent)
            self._sweep()
            with created(draft) as out:
                for block in _content(data):
                    hashed.update(block)
                    size += len(block)
                    if size > MAX_EVIDENCE:
                        raise InputError(f"evidence larger than {MAX_EVIDENCE >> 30} GiB")
                    out.write(block)
        except OSError as problem:
            draft.unlink(missing_ok=True)
            raise InputError(f"{self.folder}: evidence was not written: {problem.strerror}") from problem
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        return Draft(draft, hashed.hexdigest(), size)

    def _sweep(self) -> None:
        """Remove what killed writers left more than a day ago: nobody will ever look for it, and it may be personal."""
        if self._swept:
            return
        self._swept = True
        for draft in self.folder.glob(".*.tmp"):
            try:
                if time.time() - draft.stat().st_mtime > _LEFT_BEHIND:
                    draft.unlink()
            except FileNotFoundError:
                continue

    def _named(self, draft: Path, sha256: str) -> Path:
        """Give a durable draft its name; the folder that has to be synced for the name to be durable."""
        final = self.path(sha256)
        try:
            if not final.parent.is_dir():
                final.parent.mkdir(mode=0o700, exist_ok=True)
                sync(self.folder)
            # Over an equal file, too: one that was damaged on the disk is whole again afterwards.
            draft.replace(final)
        except OSError as problem:
            raise InputError(f"{final}: evidence was not written: {problem.strerror}") from problem
        return final.parent


def _sync_all(pool: ThreadPoolExecutor, paths: Iterable[Path]) -> None:
    for _ in pool.map(sync, paths):
        pass


def digest_file(path: Path) -> tuple[str, int]:
    """sha256 and size of a file.

    Raises
    ------
    InputError
        It cannot be read.
    """
    hashed, size = hashlib.sha256(), 0
    with _opened(path) as file:
        for block in _blocks(file):
            hashed.update(block)
            size += len(block)
    return hashed.hexdigest(), size


def created(path: Path) -> IO[bytes]:
    """A new file, open for writing, that only its owner may read."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o600), "wb")


def write_whole(path: Path, data: bytes) -> None:
    """A file that is whole or as it was before, and durable when this returns.

    Raises
    ------
    InputError
        The disk refuses the write.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    try:
        with created(draft) as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        draft.replace(path)
        sync(path.parent)
    except OSError as problem:
        draft.unlink(missing_ok=True)
        raise InputError(f"{path}: was not written: {problem.strerror}") from problem


def _opened(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as problem:
        raise InputError(f"{path}: cannot be read: {problem.strerror}") from problem


def _content(data: Content) -> Iterator[bytes]:
    if isinstance(data, bytes):
        yield data
    elif isinstance(data, Path):
        with _opened(data) as file:
            yield from _blocks(file)
    else:
        yield from data


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(BLOCK):
        yield block


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as problem:
        raise InputError(f"{path}: was not brought to the disk: {problem.strerror}") from problem
    finally:
        os.close(handle)
