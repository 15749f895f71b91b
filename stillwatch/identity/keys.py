"""The one secret of a workspace: a key file from which every other key is derived."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from stillwatch.errors import InputError

KEY_BYTES = 32


class Keys:
    """The key file of a workspace.

    Created with 32 random bytes and mode 0600 if it is absent. Everything else is derived from it with HKDF-SHA256
    (RFC 5869), one label a purpose, so that a leaked derived key opens nothing else.

    Parameters
    ----------
    path
        The key file. Its folder must exist.

    Raises
    ------
    InputError
        The file can be read by others than its owner, is no regular file, has not the length of a key, or cannot be
        read or made.
    """

    __slots__ = ("_secret",)

    def __init__(self, path: Path) -> None:
        try:
            self._secret = _read(path) if path.exists() else _create(path)
        except OSError as problem:
            raise InputError(f"{path}: the key file cannot be read or made: {problem.strerror}") from problem

    def derive(self, label: str) -> bytes:
        """32 bytes for one purpose; the same label always gives the same bytes."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        kdf = HKDF(
            algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info=b"stillwatch/" + label.encode()
        )
        return kdf.derive(self._secret)

    def __repr__(self) -> str:
        return "Keys(...)"  # the secret must not reach a log through a repr


def _create(path: Path) -> bytes:
    # Written beside and linked into place: a reader never sees half a key, and two processes that start at once
    # agree on one key (link fails for the second).
    secret = os.urandom(KEY_BYTES)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(handle, secret)
        os.fsync(handle)
    finally:
        os.close(handle)
    try:
        os.link(draft, path)
    except FileExistsError:
        return _read(path)
    finally:
        draft.unlink()
    sync_folder(path.parent)
    return secret


def _read(path: Path) -> bytes:
    state = path.stat()
    if not stat.S_ISREG(state.st_mode):
        raise InputError(f"{path}: the key file is not a regular file")
    if state.st_mode & 0o077:
        raise InputError(
            f"{path}: the key file can be read by others (mode {stat.S_IMODE(state.st_mode):04o}); "
            f"if nobody has copied it, repair with: chmod 600 {path}"
        )
    secret = path.read_bytes()
    if len(secret) != KEY_BYTES:
        raise InputError(
            f"{path}: a key file has {KEY_BYTES} bytes, this has {len(secret)}: it was cut, or is another file"
        )
    return secret


def sync_folder(folder: Path) -> None:
    """Make a rename or a new file in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
