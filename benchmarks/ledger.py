"""The ledger of served answers: appends beside a plain write and sync of the same bytes, and look-ups among many.

    python benchmarks/ledger.py [--answers 200000] [--folder DIR] [--keep]

With --folder and --keep a run that was interrupted goes on where it stopped, so ten million can be filled in pieces.
Answers are made up, about 450 bytes of text each; digests, accounts and one in four shingles are kept, no text.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from stillwatch.marks.keys import Master
from stillwatch.marks.ledger import Answer, Ledger, Policy, verify

MASTER = Master(bytes(range(32)))
_WORDS = """please write a short story about the people who live near old bridge and explain why they never cross it
give me three reasons in simple words then list what would change if river were dry use an honest tone water stone
winter garden letter glass morning paper street market silver window table candle forest harbour lantern orchard"""
WORDS = _WORDS.split()
START = 1_780_000_000_000_000
BATCH = 5_000


def text_of(n: int) -> str:
    """A text of its own for each number; quick to make, so that the ledger is what is measured."""
    rng = random.Random(n)
    return f"{n} " + " ".join(rng.choices(WORDS, k=80))


def answer(n: int) -> Answer:
    return Answer(f"req-{n:012d}", START + n, account_of(n), text=text_of(n), mark="0123456789abcdef")


def account_of(n: int) -> int:
    """A few accounts receive very much, most a little."""
    return (n * 2654435761 % 2**32) ** 2 // 2**44


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--answers", type=int, default=200_000, help="in the ledger that is asked")
    options.add_argument("--folder", type=Path, help="where to work; else a folder that is removed")
    options.add_argument("--keep", action="store_true", help="leave the folder, and go on in it next time")
    options.add_argument("--only", choices=["append", "lookup"], help="one of the two parts")
    given = options.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="sw-bench-ledger-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with Ledger(folder / "warm", MASTER, write=True) as ledger:
            ledger.append(answer(0))  # compiles the sketch
        shutil.rmtree(folder / "warm")
        if given.only != "lookup":
            appends(folder)
        if given.only != "append":
            fill(folder / "many", given.answers)
            lookups(folder / "many", "as it was filled")
            start = time.perf_counter()
            with Ledger(folder / "many", MASTER, write=True) as ledger:
                ledger.compact()
            print(
                f"index merged into one run of each kind in {time.perf_counter() - start:.0f} s, {memory():.0f} MB"
            )
            lookups(folder / "many", "merged")
    finally:
        if not given.keep:
            shutil.rmtree(folder, ignore_errors=True)


# -- appends ------------------------------------------------------------------------------------------------------


def appends(folder: Path) -> None:
    print(f"{'appends':<34}{'answers/s':>11}{'floor/s':>10}{'of floor':>10}{'CPU us':>9}")
    for keep in ("digests", "text"):
        policy = Policy(keep=keep)  # type: ignore[arg-type]
        for size, total in ((1, 300), (64, 6_400), (1_000, 30_000)):
            made = [answer(n) for n in range(total)]
            groups = [made[i : i + size] for i in range(0, total, size)]
            seconds, busy, lengths = appended(folder, policy, groups)
            row(f"{keep}, {size} a sync", total, seconds, floor(folder, lengths), busy)
        made = [answer(n) for n in range(960)]
        seconds, busy, _ = threaded(folder, policy, made, 16)
        one_by_one = floor(folder, [300] * 300) * 960 / 300
        row(f"{keep}, 16 threads, one each", len(made), seconds, one_by_one, busy)
    print(
        "floor: the same bytes written and synced (fdatasync) in the same groups; for threads, one after the other"
    )


def row(name: str, total: int, seconds: float, least: float, busy: float) -> None:
    print(
        f"{name:<34}{total / seconds:>11,.0f}{total / least:>10,.0f}{least / seconds:>10.2f}{busy / total * 1e6:>9.0f}",
        flush=True,
    )


def appended(folder: Path, policy: Policy, groups: list[list[Answer]]) -> tuple[float, float, list[int]]:
    place = folder / "append"
    shutil.rmtree(place, ignore_errors=True)
    lengths = []
    with Ledger(place, MASTER, write=True, policy=policy) as ledger:
        ledger.append(answer(10**9))
        path = max((place / "segments").glob("*.seg"))
        before = path.stat().st_size
        start, busy = time.perf_counter(), time.process_time()
        for group in groups:
            ledger.append_many(group)
        seconds, busy = time.perf_counter() - start, time.process_time() - busy
        size = sum(p.stat().st_size for p in (place / "segments").glob("*.seg")) - before
        lengths = [size // len(groups)] * len(groups)
    shutil.rmtree(place)
    return seconds, busy, lengths


def threaded(folder: Path, policy: Policy, made: list[Answer], n: int) -> tuple[float, float, None]:
    place = folder / "append"
    shutil.rmtree(place, ignore_errors=True)
    with Ledger(place, MASTER, write=True, policy=policy) as ledger:
        ledger.append(answer(10**9))

        def some(first: int) -> None:
            for one in made[first::n]:
                ledger.append(one)

        threads = [threading.Thread(target=some, args=(i,)) for i in range(n)]
        start, busy = time.perf_counter(), time.process_time()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds, busy = time.perf_counter() - start, time.process_time() - busy
    shutil.rmtree(place)
    return seconds, busy, None


def floor(folder: Path, lengths: list[int]) -> float:
    path = folder / "floor"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    data = os.urandom(max(lengths))
    start = time.perf_counter()
    for length in lengths:
        os.write(handle, data[:length])
        os.fdatasync(handle)
    seconds = time.perf_counter() - start
    os.close(handle)
    path.unlink()
    return seconds


# -- look-ups -----------------------------------------------------------------------------------------------------


def fill(folder: Path, total: int) -> None:
    """Fill the ledger up to `total` answers; those that are there stay."""
    start, busy = time.perf_counter(), time.process_time()
    told = start
    with Ledger(folder, MASTER, write=True, policy=Policy()) as ledger:
        had = len(ledger)
        while len(ledger) < total:
            first = len(ledger)
            ledger.append_many([answer(n) for n in range(first, min(total, first + BATCH))])
            if time.perf_counter() - told > 60:
                told = time.perf_counter()
                print(f"  {len(ledger):,} answers after {told - start:.0f} s, {memory():.0f} MB", flush=True)
        filled = len(ledger)
        start_close = time.perf_counter()
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    print(
        f"filled {filled - had:,} answers to {filled:,} in {seconds:.0f} s ({busy:.0f} s of CPU, making the text "
        f"included; {time.perf_counter() - start_close:.0f} s of it closing)"
    )
    sizes = {name: sum(p.stat().st_size for p in (folder / name).iterdir()) for name in ("segments", "index")}
    runs = len(list((folder / "index").glob("*.run")))
    print(
        f"segments {sizes['segments'] / 1e9:.2f} GB, index {sizes['index'] / 1e9:.2f} GB in {runs} runs; peak memory "
        f"of this process {memory():.0f} MB"
    )


def lookups(folder: Path, state: str) -> None:
    start = time.perf_counter()
    with Ledger(folder, MASTER) as ledger:
        total = len(ledger)
        runs = len(list((folder / "index").glob("*.run")))
        print(f"{total:,} records, index {state}: {runs} runs, opened in {time.perf_counter() - start:.2f} s")
        rng = random.Random(1)
        picked = [rng.randrange(total) for _ in range(2_000)]
        texts = {n: text_of(n) for n in picked}
        some = shingles(ledger, picked)
        few = [a for a in {account_of(n) for n in picked} if len(ledger.index.find("account", a)) < 100][:500]
        print(f"{'look-up':<46}{'median us':>10}{'99% us':>9}{'most us':>9}")
        # Cold: what the page cache has of the ledger is given back before each look-up.
        timed(
            "text, cold: found and read",
            [lambda n=n: found(ledger, texts[n], n) for n in picked[:200]],
            folder,
        )
        timed(
            "shingle, cold: its numbers",
            [lambda k=k: ledger.index.find("shingle", k) for k in some[:200]],
            folder,
        )
        warm(folder)
        timed("text: found and read", [lambda n=n: found(ledger, texts[n], n) for n in picked])
        timed("text that was never served", [lambda n=n: ledger.by_text(texts[n] + "!") for n in picked])
        timed("shingle: its numbers", [lambda k=k: ledger.index.find("shingle", k) for k in some])
        timed(
            "account of fewer than 100: its numbers",
            [lambda a=a: ledger.index.find("account", a) for a in few],
        )
        timed(
            "altered text, all its shingles, best 3",
            [lambda n=n: ledger.by_shingles(texts[n][30:300] + " altered", limit=3) for n in picked[:300]],
        )
    if total <= 500_000 and state == "merged":
        start = time.perf_counter()
        done = verify(folder, MASTER)
        print(f"verified {done.records:,} records in {time.perf_counter() - start:.1f} s")
    print(f"peak memory of this process {memory():.0f} MB")


def found(ledger: Ledger, text: str, n: int) -> None:
    assert any(entry.number == n for entry in ledger.by_text(text))


def shingles(ledger: Ledger, picked: list[int]) -> list[int]:
    return [ledger.entry(n).shingles[0] for n in picked[:1_000] if ledger.entry(n).shingles]


def timed(name: str, calls: list[Callable[[], object]], cold: Path | None = None) -> None:
    for call in calls[:20]:
        call()
    taken = []
    for call in calls:
        if cold:
            drop(cold)
        start = time.perf_counter()
        call()
        taken.append((time.perf_counter() - start) * 1e6)
    low, high = np.percentile(taken, [50, 99])
    print(f"{name:<46}{low:>10.0f}{high:>9.0f}{max(taken):>9.0f}", flush=True)


def drop(folder: Path) -> None:
    for path in [*folder.glob("index/*.run"), *folder.glob("segments/*")]:
        handle = os.open(path, os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def warm(folder: Path) -> None:
    for path in [*folder.glob("index/*.run"), *folder.glob("segments/*")]:
        with path.open("rb") as file:
            while file.read(1 << 24):
                pass


def memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
