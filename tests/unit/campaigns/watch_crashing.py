"""Watches that are killed: run as a program by test_watch_days.py.

Reads commands, one a line, from stdin: ``<workspace> <until> <step>``. Each is run in a forked process that kills
itself (SIGKILL) right before its `step`-th durable step: a sync, a rename or a deletion; 0 lets it finish. Answers
``killed``, or ``done`` and the number of steps, a line.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from stillwatch import campaigns
from stillwatch.stats.sequential import predict_events, predict_members

taken = [0]


def arm(step: int) -> None:
    """Count the durable steps of this process from here on, and stop it dead before the `step`-th."""

    def counting(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*given: Any, **named: Any) -> Any:
            taken[0] += 1
            if taken[0] == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*given, **named)

        return counted

    for name in ("fsync", "replace", "rename", "unlink"):
        setattr(os, name, counting(getattr(os, name)))


def warm() -> None:
    """Compile once, so that the forks are quick."""
    rng = np.random.default_rng(1)
    members, strata = np.arange(6), np.zeros(30, np.int64)
    predict_members(rng.random(30), members, strata, gamma=2.0, rng=rng)
    predict_members(rng.integers(0, 3, 30), members, strata, gamma=2.0, rng=rng)
    predict_events((rng.random(30) < 0.5).astype(np.int8), members, strata, gamma=2.0, rng=rng)


def main() -> None:
    warm()
    for line in sys.stdin:
        workspace, until, step = line.split()
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            arm(int(step))
            campaigns.watch(workspace, until=until, window_days=2, threads=1)
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
