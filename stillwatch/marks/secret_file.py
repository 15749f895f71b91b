"""Files that hold a secret: mode 0600 from their first byte on, whole or not there."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from stillwatch.errors import InputError
from stillwatch.identity.keys import sync_folder


def write_secret(path: Path, data: bytes, *, replace: bool = True) -> None:
    """Write a file that only its owner can read, at once and durably.

    Raises
    ------
    InputError
        The disk refuses, or the file is there and `replace` is False. The message never has the content.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        draft.unlink(missing_ok=True)
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            done = 0
            while done < len(data):
                done += os.write(handle, data[done:])
            os.fsync(handle)
        finally:
            os.close(handle)
        if replace:
            os.replace(draft, path)  # noqa: PTH105
        else:
            os.link(draft, path)
            draft.unlink()
        sync_folder(path.parent)
    except FileExistsError:
        draft.unlink(missing_ok=True)
        raise InputError(f"{path}: there is a file already; name another, or remove it first") from None
    except OSError as problem:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise InputError(f"{path}: not written: {problem.strerror}") from None
