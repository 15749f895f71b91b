"""How the loops of this room are compiled. Numba's cache looks at the date of the caller's file only, so a compiled
loop calls only loops of its own file or of a file that never changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` in machine code, kept on disk where that can be written; releases the interpreter lock."""
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:  # numba: "cannot cache function: no locator available", nothing is writable
        return njit(nogil=True)(function)
