"""Writers that are killed: run as a program by test_store_crash.py.

Reads commands, one a line, from stdin: ``<workspace> <step>``. Each is run in a forked process that does a round of
writing and kills itself (SIGKILL) right before its `step`-th durable step: a sync, a rename or a deletion, or either
side of a commit; 0 lets it finish. Answers ``killed``, or ``done`` and the number of steps, a line.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine
from store_samples import finding, run

from stillwatch.cases.store import CaseStore

taken = [0]


def arm(step: int) -> None:
    """Count the durable steps of this process from here on, and stop it dead before the `step`-th."""

    def count(*_: Any) -> None:
        taken[0] += 1
        if taken[0] == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def counting(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*given: Any, **named: Any) -> Any:
            count()
            return call(*given, **named)

        return counted

    for name in ("fsync", "replace", "rename", "unlink"):
        setattr(os, name, counting(getattr(os, name)))
    event.listen(Engine, "commit", count)
    event.listen(Engine, "after_cursor_execute", count)


def write(workspace: Path) -> None:
    """A round of every way in which the store writes. What it adds is new in each round."""
    with CaseStore(workspace) as store:
        number = len(store.list())
        case = store.open(f"Round {number}", by="ann").id
        store.add_many(case, [run(number), finding(number, of=run(number))], by="ann")
        item = store.add_evidence(
            case, f"evidence {number}".encode() * 100, media_type="text/plain", role="r", origin="o", by="ann"
        )
        store.note(case, "noted", by="ann")
        store.seal(case, by="ann")
        store.export(case, workspace / f"{case}.zip", by="ann", replace_it=True)
        store.delete_evidence(case, item.sha256, "retention", by="ann")


def main() -> None:
    for line in sys.stdin:
        workspace, step = line.split()
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            arm(int(step))
            write(Path(workspace))
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
