"""How every command prints: data on stdout, progress on stderr and only on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

WIDTH = 100
"""Screens fit this many columns."""


def line(text: str = "") -> None:
    """One line of output, on stdout."""
    sys.stdout.write(printable(text) + "\n")


def printable(text: str) -> str:
    """`text` with control and bidirectional-override characters shown as escapes: log contents are hostile."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def table(
    rows: Iterable[Sequence[object]],
    columns: Sequence[str],
    *,
    right: Sequence[str] = (),
    words: bool = False,
) -> None:
    """A plain aligned table on stdout, at most WIDTH wide: the widest column is cut, with an ellipsis.

    Parameters
    ----------
    rows
        One sequence a row, as long as `columns`; None prints as ``-``, integers with thousands separators.
    columns
        Headings, in upper case.
    right
        Columns aligned to the right; columns whose cells are all numbers are so anyway.
    words
        The last column holds words: what does not fit beside the others stands under its row, whole.
    """
    cells: list[list[str]] = []
    numeric = [True] * len(columns)
    for row in rows:
        numeric = [
            n and (v is None or isinstance(v, (int, float))) for n, v in zip(numeric, row, strict=True)
        ]
        cells.append([_cell(value) for value in row])
    widths = [max(len(head), *(len(r[i]) for r in cells), 0) for i, head in enumerate(columns)]
    if words:
        widths[-1] = max(len(columns[-1]), WIDTH - sum(widths[:-1]) - 2 * (len(widths) - 1))
    while sum(widths) + 2 * (len(widths) - 1) > WIDTH and max(widths) > 8:
        widths[widths.index(max(widths))] -= 1
    align_right = [(n and bool(cells)) or head in right for n, head in zip(numeric, columns, strict=True)]
    for row_cells in [list(columns), *cells]:
        below = row_cells.pop() if words and len(row_cells[-1]) > widths[-1] else ""
        if below:
            row_cells.append("")
        parts = [
            _fit(text, width).rjust(width) if flip else _fit(text, width).ljust(width)
            for text, width, flip in zip(row_cells, widths, align_right, strict=True)
        ]
        line("  ".join(parts).rstrip())
        if below:
            line(" " * 10 + below)


def json_lines(rows: Iterable[Mapping[str, Any]]) -> None:
    """One JSON record a line on stdout."""
    for row in rows:
        text = json.dumps(row, ensure_ascii=False, allow_nan=False, default=str)
        # Half a character, as a name of a file can hold, is spelled as JSON spells it.
        sys.stdout.write(text.encode("utf-8", "backslashreplace").decode() + "\n")


def note(text: str) -> None:
    """One line on stderr: what a person should know but a pipe should not get."""
    sys.stderr.write(printable(text) + "\n")


@contextmanager
def progress(title: str) -> Iterator[Callable[[float, str], None]]:
    """A progress bar on stderr while the block runs; nothing at all where stderr is not a terminal.

    Yields ``update(share, words)``: share of the work done, 0 to 1, and a few words behind the bar.
    """
    if not sys.stderr.isatty():
        yield lambda share, words: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TextColumn("{task.fields[words]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    ) as bars:
        task = bars.add_task(title, total=1.0, words="")
        yield lambda share, words: bars.update(task, completed=min(share, 1.0), words=words)


def count(number: int, noun: str, plural: str = "") -> str:
    """``1 row``, ``1,204 rows``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.3g}"
    return printable(str(value)).replace("\n", " ")


def _fit(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
