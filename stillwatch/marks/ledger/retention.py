"""Texts are destroyed when their days are over: first the segment's salt, then the bytes; digests and chain stay.

The salt is overwritten, synced and removed, so the ledger's own disk no longer has it. Copies elsewhere (backups,
snapshots, a file system or drive that writes elsewhere than it is told) are not reached: keep ``*.salt`` out of them.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from stillwatch.identity.keys import sync_folder
from stillwatch.marks.ledger.answers import ERASED
from stillwatch.marks.ledger.appending import DAY
from stillwatch.marks.ledger.segments import FRAME, HEADER, Files, frames, places, salt_of
from stillwatch.marks.ledger.store import Ledger


def expire(ledger: Ledger, *, days: int | None = None, by: str) -> list[int]:
    """Destroy text and tokens of every segment whose latest answer is older than so many days.

    The ledger says so in a record of its own before it is done, so a text that is gone was erased on purpose; an
    erasure that was interrupted is finished by the next call.

    Parameters
    ----------
    ledger
        Open for writing.
    days
        Days after serving; those of the ledger's policy if not given.
    by
        Who does it.

    Returns
    -------
    list of int
        Segments whose texts were destroyed.
    """
    days = ledger.policy.retain_days if days is None else days
    before = ledger.clock() - days * DAY
    if ledger.headers and ledger.latest() and ledger.latest() < before:
        ledger.roll()
    due = []
    for header in ledger.headers[:-1]:
        kept = ledger.files.named(header.number, "seg").exists()
        if kept and 0 < places(ledger.files, header.number).latest < before:
            due.append(header.number)
    fresh = [n for n in due if salt_of(ledger.files, n) is not None]
    if fresh:
        said: dict[str, object] = {
            "segments": fresh,
            "before": datetime.fromtimestamp(before / 1e6, UTC).isoformat(timespec="seconds"),
            "by": by,
        }
        ledger.append_own(ERASED, said)
    for number in due:
        destroy_salt(ledger.files, number)
    for number in due:
        take_out(ledger.files, number)
        ledger.forget_handle(number)
    return fresh


def destroy_salt(files: Files, number: int) -> None:
    """Overwrite, sync and remove the salt of a segment; nothing happens if it is gone already."""
    path = files.named(number, "salt")
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.pwrite(handle, bytes(os.fstat(handle).st_size), 0)
        os.fsync(handle)
    finally:
        os.close(handle)
    path.unlink()
    sync_folder(files.folder)


def take_out(files: Files, number: int) -> None:
    """Write a segment again without its sealed texts; the chain does not rest on them."""
    source, bare = files.named(number, "seg"), files.named(number, "bare")
    draft = bare.with_suffix(".bare.tmp")
    with draft.open("wb") as file:
        Path(draft).chmod(0o600)
        with source.open("rb") as old:
            file.write(old.read(HEADER.size))
        for frame in frames(source):
            file.write(FRAME.pack(len(frame.record), 0, frame.link) + frame.record)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, bare)  # noqa: PTH105
    sync_folder(files.folder)
    source.unlink()
    sync_folder(files.folder)
    files.named(number, "places").unlink(missing_ok=True)
