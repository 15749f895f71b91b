"""How long `stillwatch --help` takes, against an interpreter that does nothing, in the same run."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 12
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
    """Best of several rounds that take turns: what other programs do can only add to a time."""
    for command in COMMANDS.values():
        seconds(command)  # fills the byte code and file caches
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):
        for name, command in COMMANDS.items():
            taken[name].append(seconds(command))
    floor = min(taken["python -c pass"])
    for name, values in taken.items():
        print(f"{name:<20}{min(values) * 1e3:8.0f} ms  {min(values) / floor:5.1f} x the empty interpreter")


if __name__ == "__main__":
    main()
