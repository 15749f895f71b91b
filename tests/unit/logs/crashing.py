"""Imports that are killed: run as a program by test_crash.py.

Reads commands, one a line, from stdin: ``<workspace> <log> <step>``. Each is run in a forked process that kills itself
(SIGKILL) right before its `step`-th durable step: a sync, a rename, a deletion, or either side of a ledger commit; 0
lets it finish. Answers ``killed``, or ``done`` and the number of steps, a line.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from stillwatch import logs
from stillwatch.logs.ledger import Ledger
from stillwatch.text.sketch import sketch

BLOCK_BYTES = 20_000


taken = [0]


def arm(step: int) -> None:
    """Count the durable steps of this process from here on, and stop it dead before the `step`-th."""

    def count() -> None:
        taken[0] += 1
        if taken[0] == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def counting(call: Callable[..., Any], after: bool) -> Callable[..., Any]:
        def counted(*given: Any, **named: Any) -> Any:
            count()
            result = call(*given, **named)
            if after:
                count()
            return result

        return counted

    for name in ("fsync", "rename", "unlink", "link"):
        setattr(os, name, counting(getattr(os, name), after=False))
    for name in ("commit_block", "replace_parts", "finish_file"):
        setattr(Ledger, name, counting(getattr(Ledger, name), after=True))


def main() -> None:
    sketch(pa.array(["loaded once, so that the forks are quick"]), None, key=bytes(32))
    for line in sys.stdin:
        workspace, log, step = line.split()
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            arm(int(step))
            logs.ingest([log], workspace, block_bytes=BLOCK_BYTES, threads=1)
            os.write(writing, str(taken[0]).encode())
            os._exit(0)
        os.close(writing)
        steps = os.read(reading, 20).decode()
        os.close(reading)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            answer = "killed" if os.WTERMSIG(status) == signal.SIGKILL else f"signal {os.WTERMSIG(status)}"
        else:
            answer = f"done {steps}" if os.WEXITSTATUS(status) == 0 else f"exit {os.WEXITSTATUS(status)}"
        sys.stdout.write(answer + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
