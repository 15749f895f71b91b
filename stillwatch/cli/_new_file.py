"""JSON lines into a new file, which has its name once it is whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stillwatch.cli import output


@contextmanager
def written(out: Path | None, wanted: bool) -> Iterator[Callable[[dict[str, Any]], object] | None]:
    """Where JSON lines go: a new file, stdout, or nowhere.

    The file is called ``NAME.part`` until it is whole: what was cut off never has the name that was asked for.
    """
    from stillwatch.errors import InputError

    if out is None:
        yield (lambda row: output.json_lines([row])) if wanted else None
        return
    part = out.with_name(f"{out.name}.part")
    try:
        if out.exists():
            raise InputError(f"{out}: there is a file already; it is not written over")
        file = part.open("x", encoding="utf-8", errors="backslashreplace")
    except FileExistsError as problem:
        raise InputError(
            f"{part}: what a run left that was cut off, or one that still goes on; move it away first"
        ) from problem
    except OSError as problem:
        raise InputError(f"{out}: cannot be written: {problem.strerror}") from problem
    try:
        with file:
            yield lambda row: file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
    except BaseException:
        if part.stat().st_size:
            output.note(f"{part}: what was written before it ended; it is not whole")
        else:
            part.unlink()
        raise
    if out.exists():
        raise InputError(f"{out}: came about meanwhile and is not written over; the new lines are in {part}")
    part.rename(out)
