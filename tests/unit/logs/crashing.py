"""Imports that are killed: run as a program by test_crash.py.

Reads commands, one a line, from stdin: ``<workspace> <log> <step>``. Each is run in a forked process that kills itself
(SIGKILL) right before its `step`-th durable step: a sync, a rename, a deletion, or either side of a ledger commit; 0
lets it finish. Answers ``killed`` or ``done`` a line.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from stillwatch import logs
from stillwatch.logs import ingest as importing
from stillwatch.logs import rows
from stillwatch.logs.ledger import Ledger

BLOCK_BYTES = 12_000


def counted(step: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    left = [step]

    def before(call: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*given: Any, **named: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*given, **named)

        return counting

    return before


def arm(step: int) -> None:
    before = counted(step)
    for name in ("fsync", "rename", "unlink", "link"):
        setattr(os, name, before(getattr(os, name)))
    for name in ("commit_block", "replace_parts", "finish_file"):
        done = getattr(Ledger, name)

        def around(*given: Any, _done: Callable[..., Any] = done) -> None:
            before(lambda: None)()
            _done(*given)
            before(lambda: None)()

        setattr(Ledger, name, around)


def main() -> None:
    assert importing and rows  # loaded here, once, so that the forks are quick
    for line in sys.stdin:
        workspace, log, step = line.split()
        child = os.fork()
        if child == 0:
            if int(step):
                arm(int(step))
            logs.ingest([log], workspace, block_bytes=BLOCK_BYTES, threads=1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            answer = "killed" if os.WTERMSIG(status) == signal.SIGKILL else f"signal {os.WTERMSIG(status)}"
        else:
            answer = "done" if os.WEXITSTATUS(status) == 0 else f"exit {os.WEXITSTATUS(status)}"
        sys.stdout.write(answer + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
