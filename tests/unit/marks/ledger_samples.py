"""Answers and a clock for the tests of the ledger."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from stillwatch.marks.keys import Master
from stillwatch.marks.ledger import Answer

MASTER = Master(bytes(range(32)))
DAY = 86_400_000_000
NOW = 1_796_000_000_000_000
_WORDS = """river bridge stone water winter garden number seven answer letter glass morning paper street market
silver window table candle forest harbour lantern orchard saddle thunder velvet walnut yellow meadow cobalt"""
WORDS = tuple(_WORDS.split())


def quick_folder() -> Iterator[Path]:
    """A folder in memory where there is one: a kill loses nothing that was written, synced or not, and a busy disk
    would make these tests take minutes."""
    memory = Path("/dev/shm")
    place = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="sw-ledger-", dir=place))
    yield folder
    shutil.rmtree(folder)


def CLOCK() -> int:
    return NOW


def text_of(n: int, words: int = 60) -> str:
    """A text of its own for each number."""
    rng = random.Random(n)
    return " ".join(rng.choice(WORDS) for _ in range(words)) + "."


def answer(n: int, *, words: int = 60, days_ago: float = 1, **more: object) -> Answer:
    """The n-th answer; every seventh has a twin."""
    twin = {"withheld_text": text_of(-n - 1), "note": {"twin": {"coin": n % 2}}} if n % 7 == 0 else {}
    given: dict[str, object] = {
        "exchange_id": f"x-{n}",
        "time": NOW - int(days_ago * DAY) + n,
        "account": n % 5,
        "text": text_of(n, words),
        "tokens": [n, n + 1, n + 2],
        "mark": "0123456789abcdef" if n % 2 else "",
    }
    return Answer(**(given | twin | more))  # type: ignore[arg-type]
