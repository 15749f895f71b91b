"""The embedded engine: errors that say where, bounds that hold, nothing left behind."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stillwatch.engine import schema
from stillwatch.engine.duckdb import Engine
from stillwatch.engine.steps import Step, most_frequent, printable
from stillwatch.errors import EngineError, InputError


@pytest.fixture
def spill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which temporary folders are made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_failed_step_names_itself_and_its_sql() -> None:
    with Engine() as engine, pytest.raises(EngineError) as failed:
        engine.run([Step("fine", "select 1 as a", "a"), Step("broken", "select b from fine", "b")])
    assert failed.value.engine == "duckdb"
    assert failed.value.step == "broken"
    assert "select b from fine" in failed.value.sql
    assert "'broken'" in str(failed.value) and "\n" not in str(failed.value)


def test_a_failed_pass_names_its_own_sql() -> None:
    step = Step("halves", "select 1 / (1 - {part}) as a, error('no') as b where {part} = 1", "", passes=2)
    with Engine() as engine, pytest.raises(EngineError) as failed:
        engine.run([step])
    assert failed.value.step == "halves"
    assert "where 1 = 1" in failed.value.sql


def test_a_failed_read_is_an_engine_error() -> None:
    with Engine() as engine, pytest.raises(EngineError) as failed:
        engine.read("select * from nowhere", "looking")
    assert (failed.value.step, failed.value.sql) == ("looking", "select * from nowhere")


@pytest.mark.parametrize(
    "limit", ["plenty", "", "none", "-1", "-3GB", " null ", "1GB; drop table x", "12 parsecs"]
)
def test_a_memory_limit_that_is_none(limit: str, spill: Path) -> None:
    with pytest.raises(InputError, match="memory limit"):
        Engine(memory_limit=limit)
    assert not list(spill.iterdir()), "a refused engine left its folder behind"


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_below_one(threads: int) -> None:
    with pytest.raises(InputError, match="threads"):
        Engine(threads=threads)


def test_a_limit_with_a_quote_in_it_cannot_reach_the_sql() -> None:
    with pytest.raises(InputError):
        Engine(memory_limit="1GB'; create table planted as select 1; --")


def test_the_limit_and_the_clock_are_set() -> None:
    with Engine(memory_limit="100MB", threads=1) as engine:
        row = engine.read(
            "select current_setting('threads') as threads, current_setting('memory_limit') as bytes, "
            "current_setting('TimeZone') as zone"
        ).to_pylist()[0]
    assert row["threads"] == 1
    assert row["bytes"] == "95.3 MiB"
    assert row["zone"] == "UTC"


def test_a_grouping_above_the_limit_goes_to_disk_or_fails_as_an_engine_error(spill: Path) -> None:
    """More keys than fit: the answer is right, or the error is ours; never a killed process."""
    with Engine(memory_limit="60MB", threads=1) as engine:
        engine.run(
            [Step("many", "select r.range as a, r.range % 7 as b from range(3000000) as r", "rows to group")]
        )
        try:
            rows = engine.read(
                "select count(*) as n from (select m.a, sum(m.b) as s from many as m group by m.a)"
            )
        except EngineError as failed:
            assert "memory" in str(failed).lower()
        else:
            assert rows["n"][0].as_py() == 3_000_000


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_left_in_the_temporary_folder(fails: bool, spill: Path) -> None:
    try:
        with Engine() as engine:
            assert len(list(spill.glob("stillwatch-*"))) == 1
            engine.read("nonsense" if fails else "select 1")
    except EngineError:
        assert fails
    assert not list(spill.iterdir())


def test_passes_stack_the_same_rows() -> None:
    rows = pa.table({"key": [i * 7919 % 1000 for i in range(5000)]})
    step = (
        "select e.key as key, count(*) as n from entries as e where e.key % {parts} = {part} group by e.key"
    )
    tables = []
    for passes in (1, 2, 7):
        with Engine() as engine:
            engine.table("entries", rows)
            engine.run([Step("counted", step, "counts", passes)])
            tables.append(engine.read("select * from counted order by key"))
    assert tables[0].num_rows == 1000
    assert tables[0] == tables[1] == tables[2]


def test_printed_steps_run_as_they_stand() -> None:
    steps = [
        Step("a", "\nselect r.range as x from range(10) as r", "ten numbers"),
        Step("b", "select a.x as x from a where a.x % {parts} = {part}", "every number once", 3),
    ]
    text = printable(steps)
    assert "-- a: ten numbers\nselect" in text
    assert "-- b (3 passes): every number once" in text
    assert "{part" not in text
    with Engine() as engine:
        for step, block in zip(steps, text.split(";\n")[:2], strict=True):
            engine.run([Step(step.name, block.split("\n", 1)[1] if step.name == "a" else block.strip(), "")])
        assert engine.read("select count(*) as n, sum(b.x) as s from b").to_pylist() == [{"n": 10, "s": 45}]


def test_steps_are_remembered_in_the_order_in_which_they_ran() -> None:
    with Engine() as engine:
        engine.run([Step("a", "select 1 as x", ""), Step("b", "select a.x as x from a", "")])
        engine.run([Step("a", "select 2 as x", "")])
        assert [s.name for s in engine.steps] == ["a", "b", "a"]
        assert engine.read("select x from a")["x"].to_pylist() == [2]


def test_parquet_files_of_older_schemas_are_read_by_name(tmp_path: Path) -> None:
    pq.write_table(pa.table({"b": [1], "a": ["x"]}), tmp_path / "it's old.parquet")
    pq.write_table(pa.table({"a": ["y"], "b": [2], "c": [3.5]}), tmp_path / "new.parquet")
    with Engine() as engine:
        engine.parquet("rows_of_both", sorted(tmp_path.glob("*.parquet")), pa.schema([]))
        found = engine.read("select a, b, c from rows_of_both order by b").to_pylist()
    assert found == [{"a": "x", "b": 1, "c": None}, {"a": "y", "b": 2, "c": 3.5}]


def test_no_files_are_an_empty_table_with_its_columns() -> None:
    with Engine() as engine:
        engine.parquet("exchanges", [], schema.EXCHANGES)
        rows = engine.read("select * from exchanges")
    assert rows.num_rows == 0
    assert rows.column_names == schema.EXCHANGES.names


def test_a_file_that_is_no_parquet_is_an_engine_error(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"not parquet at all")
    with Engine() as engine, pytest.raises(EngineError) as failed:
        engine.parquet("exchanges", [tmp_path / "a.parquet"], schema.EXCHANGES)
    assert failed.value.step == "exchanges"


def test_a_dropped_table_is_gone_and_dropping_it_again_is_nothing() -> None:
    with Engine() as engine:
        engine.run([Step("a", "select 1 as x", "")])
        engine.drop("a", "a", "never")
        with pytest.raises(EngineError):
            engine.read("select * from a")


@pytest.mark.parametrize("turn", [1, -1], ids=["as it came", "backwards"])
def test_the_most_frequent_value_does_not_depend_on_the_order_of_rows(turn: int) -> None:
    account = [1, 1, 1, 1, 1, 2, 2, 3, 4][::turn]
    value = [7, 7, 3, 3, 9, None, 5, None, 8][::turn]
    with Engine(threads=1) as engine:
        engine.table("uses", pa.table({"account_id": account, "v": pa.array(value, pa.int64())}))
        rows = engine.read(most_frequent("uses", "account_id", "e.v") + "\norder by account_id").to_pylist()
    # Account 1 used 7 and 3 twice each: the smaller stands. Account 3 has no value at all.
    assert rows == [
        {"account_id": 1, "value": 3, "uses": 2},
        {"account_id": 2, "value": 5, "uses": 1},
        {"account_id": 4, "value": 8, "uses": 1},
    ]
