"""Summed over a window, daily aggregates are row for row the tables that a full scan of the window makes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from watch_samples import by_days, by_scan, day_name, scan_steps, write_days

from stillwatch.campaigns import daily

DAYS = 5


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.mark.parametrize(("first", "last"), [(0, 4), (1, 3), (2, 2)])
@pytest.mark.parametrize("seed", range(3))
def test_sums_equal_a_full_scan(seed: int, first: int, last: int, tmp_path: Path) -> None:
    parts = write_days(tmp_path, np.random.default_rng(seed), DAYS, 120)
    for day, files in parts.items():
        daily.aggregate(tmp_path / "days", day, files, memory_limit="1GB", threads=2)
    window = [day_name(n) for n in range(first, last + 1)]
    files = [path for day in window for path in parts[day]]
    whole, summed = by_scan(files), by_days(tmp_path / "days", window, files)
    assert sorted(whole) == sorted(s.name for s in scan_steps())
    for name, table in whole.items():
        assert table.num_rows > 0, f"{name} shows nothing"
        assert summed[name].equals(table), name


def test_every_step_that_is_answered_is_a_step_of_the_scan() -> None:
    answered = daily.answers()
    assert len([s for s in scan_steps() if s.sql in answered]) == len(answered) == len(daily.TABLES)


def test_the_shingles_of_the_window_are_not_read(tmp_path: Path, rng: np.random.Generator) -> None:
    """Parts without any shingle give the same groups' tables: only the aggregates were asked."""
    parts = write_days(tmp_path, rng, DAYS, 120)
    bare = {}
    for day, files in parts.items():
        daily.aggregate(tmp_path / "days", day, files, memory_limit="1GB", threads=2)
        bare[day] = []
        for path in files:
            rows = pq.read_table(path)
            at = rows.column_names.index("shingles")
            rows = rows.set_column(at, "shingles", pa.nulls(len(rows), pa.list_(pa.int64())))
            pq.write_table(rows, tmp_path / f"bare-{path.name}")
            bare[day].append(tmp_path / f"bare-{path.name}")
    window = sorted(parts)
    with_text = by_days(tmp_path / "days", window, [p for d in window for p in parts[d]])
    without = by_days(tmp_path / "days", window, [p for d in window for p in bare[d]])
    assert with_text == without


def test_the_same_exchanges_give_the_same_bytes(tmp_path: Path, rng: np.random.Generator) -> None:
    parts = write_days(tmp_path, rng, 1, 200)
    (day, files), *_ = parts.items()
    for folder, order, threads in (("a", files, 1), ("b", files[::-1], 2)):
        size = daily.aggregate(tmp_path / folder, day, order, memory_limit="1GB", threads=threads)
        assert size == sum(path.stat().st_size for path in daily.files_of(tmp_path / folder, day))
    for path in daily.files_of(tmp_path / "a", day):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_aggregates_hold_integers_and_names_of_models_only(tmp_path: Path, rng: np.random.Generator) -> None:
    parts = write_days(tmp_path, rng, 1, 50)
    (day, files), *_ = parts.items()
    daily.aggregate(tmp_path / "days", day, files, memory_limit="1GB", threads=1)
    for path in daily.files_of(tmp_path / "days", day):
        for field in pq.read_schema(path):
            assert pa.types.is_integer(field.type) or field.name == "model"


@pytest.mark.parametrize("pairs", [40, 200])
def test_passes_change_nothing(
    pairs: int, tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = write_days(tmp_path, rng, 2, 60)
    for day, files in parts.items():
        daily.aggregate(tmp_path / "one", day, files, memory_limit="1GB", threads=2)
    files = [p for d in sorted(parts) for p in parts[d]]
    whole = by_days(tmp_path / "one", sorted(parts), files)
    monkeypatch.setattr(daily, "PAIRS_A_PASS", pairs)
    for day, given in parts.items():
        daily.aggregate(tmp_path / "many", day, given, memory_limit="1GB", threads=2)
    assert by_days(tmp_path / "many", sorted(parts), files) == whole
