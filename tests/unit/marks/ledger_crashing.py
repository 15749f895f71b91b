"""Ledger writers that are killed: run as a program by test_ledger_crash.py.

Reads commands, one a line, from stdin: ``<folder> <step>``. Each is run in a forked process that appends, rolls,
erases and opens again, and kills itself (SIGKILL) right before its `step`-th durable step: a write at a place, a sync,
a rename, a truncation or a deletion; a write may also be torn in the middle. 0 lets it finish. What was acknowledged
is told at once through a pipe of its own. Answers ``killed`` or ``done``, the number of steps, and what was
acknowledged, a line.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
from ledger_samples import CLOCK, MASTER, answer

from stillwatch.marks.ledger import Ledger, Policy, expire
from stillwatch.text.sketch import sketch

taken = [0]


def arm(step: int) -> None:
    """Count the durable steps of this process from here on, and stop it dead before the `step`-th."""

    def counting(call: Callable[..., Any], torn: bool) -> Callable[..., Any]:
        def counted(*given: Any, **named: Any) -> Any:
            taken[0] += 1
            if taken[0] == step:
                if torn:
                    handle, data, at = given
                    call(handle, bytes(data)[: len(data) * 2 // 3], at)
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*given, **named)

        return counted

    for name in ("fsync", "fdatasync", "replace", "rename", "unlink", "ftruncate", "link"):
        setattr(os, name, counting(getattr(os, name), False))
    os.pwrite = counting(os.pwrite, True)
    unlink = Path.unlink
    Path.unlink = counting(unlink, False)  # type: ignore[method-assign]


def write(folder: Path, told: int) -> None:
    """A round of every way in which a ledger writes. What it adds is new in each round."""

    def say(*names: str) -> None:
        os.write(told, "".join(f"{name} " for name in names).encode())

    for part in range(2):
        with Ledger(
            folder, MASTER, write=True, policy=Policy(keep="both"), clock=CLOCK, segment_bytes=3000
        ) as ledger:
            first = len(ledger)
            for n in range(first, first + 6):
                ledger.append(answer(n))
                say(f"x-{n}")
            ledger.append_many([answer(n) for n in range(first + 6, first + 10)])
            say(*(f"x-{n}" for n in range(first + 6, first + 10)))
            if part:
                expire(ledger, days=20, by="ann")
                ledger.index.flush()


def main() -> None:
    sketch(pyarrow.array(["compiled once, not in every child"]), None, key=bytes(32))
    for line in sys.stdin:
        folder, step = line.split()
        reading, told = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            arm(int(step))
            write(Path(folder), told)
            os.write(told, f"steps:{taken[0]}".encode())
            os._exit(0)
        os.close(told)
        said = b""
        while more := os.read(reading, 65536):
            said += more
        os.close(reading)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        answer_ = (
            "killed"
            if killed
            else "done"
            if os.WEXITSTATUS(status) == 0
            else f"exit {os.WEXITSTATUS(status)}"
        )
        sys.stdout.write(f"{answer_} {said.decode()}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
