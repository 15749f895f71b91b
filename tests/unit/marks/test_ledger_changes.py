"""The ledger: what is changed is named at its first bad record, what is over is gone, what is derived is made again."""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ledger_samples import CLOCK, DAY, MASTER, NOW, answer, quick_folder, text_of

from stillwatch.errors import InputError, IntegrityError
from stillwatch.marks.ledger import Answer, Ledger, Policy, expire, verify
from stillwatch.marks.ledger import index as index_module
from stillwatch.marks.ledger.runs import Run, digest_of, merge, write_run

BOTH = Policy(keep="both")


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    yield from quick_folder()


def opened(folder: Path, policy: Policy = BOTH, **more: object) -> Ledger:
    return Ledger(folder, MASTER, write=True, clock=CLOCK, policy=policy, **more)  # type: ignore[arg-type]


def filled(folder: Path, n: int = 60, segment_bytes: int = 8000) -> None:
    with opened(folder, segment_bytes=segment_bytes) as ledger:
        ledger.append_many([answer(i) for i in range(n // 2)])
        for i in range(n // 2, n):
            ledger.append(answer(i))


# -- tampering ----------------------------------------------------------------------------------------------------


def files(folder: Path) -> list[Path]:
    return sorted((folder / "segments").glob("*.seg"))


def named(folder: Path) -> str:
    with pytest.raises(IntegrityError) as found:
        verify(folder, MASTER)
    return str(found.value)


def spans(folder: Path) -> list[tuple[Path, int, int, int]]:
    """File, first byte and end of each record's frame, and where its sealed text begins."""
    from stillwatch.marks.ledger.segments import FRAME, frames

    return [
        (path, f.at, f.end, f.at + FRAME.size + len(f.record)) for path in files(folder) for f in frames(path)
    ]


def test_a_changed_byte_is_named_at_its_record(tmp_path: Path) -> None:
    filled(tmp_path)
    there = spans(tmp_path)
    rng = random.Random(1)
    for _ in range(150):
        number = rng.randrange(len(there))
        path, at, end, _ = there[number]
        whole = path.read_bytes()
        byte = rng.randrange(at, end)
        with path.open("r+b") as file:
            file.seek(byte)
            file.write(bytes([whole[byte] ^ (1 << rng.randrange(8))]))
        told = named(tmp_path)
        assert re.search(rf"{path.name}: record {number}\b", told), (number, byte - at, told)
        path.write_bytes(whole)
    assert verify(tmp_path, MASTER).records == 60


def test_a_changed_record_is_not_given_out(tmp_path: Path) -> None:
    filled(tmp_path)
    path, at, end, sealed = spans(tmp_path)[20]
    for byte in (at + 60, sealed + 5):
        whole = path.read_bytes()
        path.write_bytes(whole[:byte] + bytes([whole[byte] ^ 1]) + whole[byte + 1 :])
        with Ledger(tmp_path, MASTER) as ledger, pytest.raises(IntegrityError, match="record 20"):
            ledger.kept(ledger.entry(20))
        path.write_bytes(whole)
    assert end > sealed


@pytest.mark.parametrize("change", ["drop", "swap", "twice", "foreign"])
def test_records_that_are_moved(tmp_path: Path, change: str) -> None:
    filled(tmp_path)
    there = spans(tmp_path)
    (path, a, b, _), (other, c, d, _) = there[5], there[6]
    assert path == other
    data = path.read_bytes()
    new = {
        "drop": data[:a] + data[b:], "swap": data[:a] + data[c:d] + data[a:b] + data[d:],
        "twice": data[:b] + data[a:b] + data[b:], "foreign": data[:a] + files(tmp_path)[2].read_bytes()[96:] + data[b:],
    }  # fmt: skip
    path.write_bytes(new[change])
    assert re.search(rf"{path.name}: record {6 if change == 'twice' else 5}\b", named(tmp_path))


def test_cuts_at_the_end_and_segments_that_go(tmp_path: Path) -> None:
    filled(tmp_path)
    there, segments = spans(tmp_path), files(tmp_path)
    last, number = segments[-1], len(there)
    whole = last.read_bytes()
    # A clean cut after a whole record, at the end of the last segment.
    os.truncate(last, there[-1][1])
    assert f"record {number - 1}" in named(tmp_path)
    with pytest.raises(IntegrityError, match=f"record {number - 1}.*acknowledged"):
        Ledger(tmp_path, MASTER)
    last.unlink()
    assert last.name in named(tmp_path)
    last.write_bytes(whole)
    first = segments[0].read_bytes()
    ends = [t for t in there if t[0] == segments[0]]
    os.truncate(segments[0], ends[-1][1])
    assert "records were cut" in named(tmp_path)
    segments[0].unlink()
    assert segments[0].name in named(tmp_path)
    segments[0].write_bytes(segments[1].read_bytes())
    assert "header" in named(tmp_path)
    segments[0].write_bytes(first)
    assert verify(tmp_path, MASTER).records == number


def test_everything_put_back_as_it_once_was_is_found_by_a_noted_head_only(tmp_path: Path) -> None:
    import shutil

    filled(tmp_path / "l")
    shutil.copytree(tmp_path / "l", tmp_path / "early")
    with opened(tmp_path / "l") as ledger:
        early = ledger.head()
        ledger.append(answer(100))
        noted = ledger.head()
        ledger.roll()
    assert verify(tmp_path / "l", MASTER, head=early).records == 61
    assert verify(tmp_path / "l", MASTER, head=noted).records == 61
    assert verify(tmp_path / "early", MASTER, head=early).records == 60
    with pytest.raises(IntegrityError, match="noted elsewhere"):
        verify(tmp_path / "early", MASTER, head=noted)
    with opened(tmp_path / "early") as ledger:
        ledger.append(answer(101))
    with pytest.raises(IntegrityError, match="noted elsewhere"):
        verify(tmp_path / "early", MASTER, head=noted)
    with pytest.raises(IntegrityError, match="such as"):
        verify(tmp_path / "l", MASTER, head="nonsense")


def test_a_ledger_of_the_same_master_cannot_lend_a_segment(tmp_path: Path) -> None:
    filled(tmp_path / "a")
    filled(tmp_path / "b")
    files(tmp_path / "a")[1].write_bytes(files(tmp_path / "b")[1].read_bytes())
    assert "000002.seg: header" in named(tmp_path / "a")


# -- retention ----------------------------------------------------------------------------------------------------


def test_texts_go_after_their_days_and_digests_stay(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=6000) as ledger:
        ledger.append_many([answer(n, days_ago=40) for n in range(20)])
        ledger.roll()
        ledger.append_many([answer(n, days_ago=10) for n in range(20, 40)])
        before = sum(p.stat().st_size for p in files(tmp_path))
        old = ledger.by_text(text_of(3))[0]
        assert expire(ledger, by="ann") == [1]
        assert ledger.kept(old) is None
        assert ledger.by_text(text_of(3)) == [old]
        assert [e.exchange_id for e in ledger.by_account(3)][:3] == ["x-3", "x-8", "x-13"]
        assert ledger.kept(ledger.by_text(text_of(25))[0]) is not None
        assert expire(ledger, by="ann") == []
    assert not (tmp_path / "segments" / "000001.salt").exists()
    assert not (tmp_path / "segments" / "000001.seg").exists()
    assert sum(p.stat().st_size for p in (tmp_path / "segments").iterdir()) < before
    found = verify(tmp_path, MASTER)
    assert (found.erased, found.answers, found.texts) == ((1,), 40, 20)
    with opened(tmp_path) as ledger:
        assert expire(ledger, days=5, by="ann") == [2]
        assert all(ledger.kept(e) is None for e in ledger.entries())
        ledger.append(answer(99))
        assert ledger.kept(ledger.by_text(text_of(99))[0]) is not None
    assert verify(tmp_path, MASTER).erased == (1, 2)


def test_an_erasure_that_was_cut_short_is_finished(tmp_path: Path) -> None:
    from stillwatch.marks.ledger.answers import ERASED
    from stillwatch.marks.ledger.retention import destroy_salt

    with opened(tmp_path) as ledger:
        ledger.append_many([answer(n, days_ago=40) for n in range(20)])
        ledger.roll()
        ledger.append_own(ERASED, {"segments": [1], "before": "", "by": "ann"})
        destroy_salt(ledger.files, 1)
    assert verify(tmp_path, MASTER).erased == (1,)
    with opened(tmp_path) as ledger:
        assert ledger.kept(ledger.entry(3)) is None
        expire(ledger, by="ann")
    assert not (tmp_path / "segments" / "000001.seg").exists()
    assert verify(tmp_path, MASTER).answers == 20


def test_texts_that_go_without_a_word_are_noticed(tmp_path: Path) -> None:
    filled(tmp_path)
    salt = tmp_path / "segments" / "000002.salt"
    kept = salt.read_bytes()
    salt.unlink()
    assert "000002.seg: kept texts" in named(tmp_path)
    salt.write_bytes(bytes(len(kept)))
    assert "000002.seg: kept texts" in named(tmp_path)
    salt.write_bytes(bytes([kept[0] ^ 1]) + kept[1:])
    assert "000002.seg: record" in named(tmp_path)


def test_a_day_is_a_segment_so_that_texts_go_on_their_day(tmp_path: Path) -> None:
    now = [NOW]
    with Ledger(tmp_path, MASTER, write=True, clock=lambda: now[0], policy=BOTH) as ledger:
        for day in range(4):
            now[0] = NOW + day * DAY
            ledger.append(Answer(f"x-{day}", now[0], 1, text=f"day {day}"))
        now[0] = NOW + 32 * DAY
        expire(ledger, by="ann")
        assert [e.exchange_id for e in ledger.entries() if ledger.kept(e)] == ["x-2", "x-3"]


# -- the index ----------------------------------------------------------------------------------------------------


def test_an_index_that_is_gone_or_changed(tmp_path: Path) -> None:
    filled(tmp_path)
    (tmp_path / "index" / "manifest.json").unlink()
    with Ledger(tmp_path, MASTER) as reader:
        assert len(reader.by_text(text_of(40))) == 1
    with opened(tmp_path) as ledger:
        assert len(ledger.by_text(text_of(40))) == 1
    run = next((tmp_path / "index").glob("digest-*.run"))
    data = bytearray(run.read_bytes())
    data[200] ^= 1
    run.write_bytes(data)
    with opened(tmp_path) as ledger:
        with pytest.raises(IntegrityError, match="rebuild the index"):
            ledger.index.verify()
        ledger.rebuild()
        ledger.index.verify()
        assert all(len(ledger.by_text(text_of(n))) == 1 for n in range(60))
    run = next((tmp_path / "index").glob("digest-*.run"))
    run.write_bytes(run.read_bytes()[:-8])
    with pytest.raises(IntegrityError, match="rebuild the index"):
        Ledger(tmp_path, MASTER)


def test_runs_are_merged_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "ROOM", 64)
    with opened(tmp_path, Policy()) as ledger:
        for first in range(0, 3000, 20):
            ledger.append_many([Answer(f"x-{n}", NOW, n % 3, text=f"t{n}") for n in range(first, first + 20)])
    levels = json.loads((tmp_path / "index" / "manifest.json").read_text())["runs"]
    assert max(level for _, _, level, _ in levels) >= 1
    assert len([kind for _, kind, _, _ in levels if kind == "account"]) < 24
    assert {p.name for p in (tmp_path / "index").glob("*.run")} == {name for name, *_ in levels}
    with opened(tmp_path, Policy()) as ledger:
        ledger.index.verify()
        for n in range(0, 3000, 37):
            assert [e.exchange_id for e in ledger.by_text(f"t{n}")] == [f"x-{n}"]
        assert ledger.index.find("account", 1).tolist() == list(range(1, 3000, 3))
        ledger.index.compact()
        assert len(list((tmp_path / "index").glob("account-*.run"))) == 1
        assert ledger.index.find("account", 1).tolist() == list(range(1, 3000, 3))


@pytest.mark.parametrize("seed", range(4))
def test_a_merge_is_a_sort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    from stillwatch.marks.ledger import runs as runs_module

    monkeypatch.setattr(runs_module, "PIECE", 700)
    monkeypatch.setattr(runs_module, "STEP", 16)
    rng = np.random.default_rng(seed)
    parts, value = [], 0
    for i in range(5):
        n = int(rng.integers(1, 3000))
        keys = rng.integers(0, [2**63, 50, 3, 1][seed], n, dtype=np.uint64)
        if seed == 0:
            keys[: n // 2] = 7  # one key with very many values
        order = np.argsort(keys, kind="stable")
        write_run(
            tmp_path / f"{i}.run", keys[order], (np.arange(n, dtype=np.uint64) + np.uint64(value))[order]
        )
        value += n
        parts.append(Run(tmp_path / f"{i}.run"))
    digest = merge(tmp_path / "all.run", parts)
    made = Run(tmp_path / "all.run")
    keys = np.concatenate([p.read(0, 0, p.n) for p in parts])
    values = np.concatenate([p.read(1, 0, p.n) for p in parts])
    order = np.lexsort((values, keys))
    assert np.array_equal(made.read(0, 0, made.n), keys[order])
    assert np.array_equal(made.read(1, 0, made.n), values[order])
    assert digest_of(made) == digest
    for key in [0, 7, *rng.choice(keys, 20).tolist(), 2**64 - 1]:
        assert made.find(key).tolist() == sorted(values[keys == np.uint64(key)].tolist())


def test_whatever_is_changed_the_error_is_one_of_ours(tmp_path: Path) -> None:
    """Random bytes in random files: it opens and gives out what was written, or says which file is wrong."""
    import shutil

    filled(tmp_path / "l")
    rng = random.Random(5)
    names = [p.relative_to(tmp_path / "l") for p in (tmp_path / "l").rglob("*") if p.is_file()]
    refused = 0
    for n in range(120):
        place = tmp_path / f"{n}"
        shutil.copytree(tmp_path / "l", place)
        path = place / rng.choice(names)
        data = bytearray(path.read_bytes())
        for _ in range(rng.choice([1, 1, 4])):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data[: rng.randrange(len(data) + 1)] if rng.random() < 0.3 else data)
        try:
            with Ledger(place, MASTER) as ledger:
                for i in range(0, 60, 7):
                    for entry in ledger.by_text(text_of(i)):
                        assert entry.exchange_id == f"x-{i}"
                        kept = ledger.kept(entry)
                        assert kept is None or kept.text == text_of(i)
        except (InputError, IntegrityError):
            refused += 1
        shutil.rmtree(place)
    assert refused > 20
