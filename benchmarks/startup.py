"""How long `stillwatch --help` takes, against an interpreter that does nothing, in the same run."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 9
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import typer": [sys.executable, "-c", "import typer"],
    "stillwatch --help": [str(Path(sys.executable).with_name("stillwatch")), "--help"],
}


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> None:
    """Median of several rounds that take turns, so that a busy moment hits every command alike."""
    for command in COMMANDS.values():
        seconds(command)  # fills the byte code and file caches
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):
        for name, command in COMMANDS.items():
            taken[name].append(seconds(command))
    floor = statistics.median(taken["python -c pass"])
    for name, values in taken.items():
        middle = statistics.median(values)
        print(f"{name:<20}{middle * 1e3:8.0f} ms  {middle / floor:5.1f} x the empty interpreter")


if __name__ == "__main__":
    main()
