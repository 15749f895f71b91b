"""What a run has spent so far: tokens and seconds of each stage, kept when it is broken off."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stillwatch.lab.distill.settings import read, write

Amounts = dict[str, float]


class Spent:
    """Amounts by stage, in a file; seconds are those of this process, of its processors and on the clock.

    Parameters
    ----------
    path
        JSON; what it holds is gone on with.
    gpu
        Whether models run on a GPU: the seconds on the clock are then its seconds too.
    """

    def __init__(self, path: Path, *, gpu: bool = False) -> None:
        self.path, self.gpu = path, gpu
        self.stages: dict[str, Amounts] = read(path) if path.is_file() else {}

    def add(self, stage: str, amounts: Amounts) -> None:
        """Count, and keep."""
        held = self.stages.setdefault(stage, {})
        for name, amount in amounts.items():
            held[name] = held.get(name, 0) + amount
        write(self.path, self.stages)

    @contextmanager
    def clock(self, stage: str, amounts: Amounts | None = None) -> Iterator[Amounts]:
        """Count the seconds of a block that ended, and what it put into the amounts; nothing of one that broke."""
        watch, counted = Watch(gpu=self.gpu), dict(amounts or {})
        yield counted
        self.add(stage, {**counted, **watch.lap()})


class Watch:
    """Seconds since the last look."""

    def __init__(self, *, gpu: bool = False) -> None:
        self.gpu = gpu
        self.cpu, self.wall = time.process_time(), time.perf_counter()

    def lap(self) -> Amounts:
        """``cpu_seconds`` and ``wall_seconds`` since the last lap; ``gpu_seconds`` where there is one."""
        cpu, wall = time.process_time(), time.perf_counter()
        found = {"cpu_seconds": cpu - self.cpu, "wall_seconds": wall - self.wall}
        self.cpu, self.wall = cpu, wall
        return {**found, "gpu_seconds": found["wall_seconds"]} if self.gpu else found
