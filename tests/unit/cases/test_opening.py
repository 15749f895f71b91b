"""Opening a case store: which database a URL means, a store that may only be read, and what cannot be opened at all."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from store_samples import filled

from stillwatch.cases import database
from stillwatch.cases.database import Database, parse
from stillwatch.cases.reader import CaseReader
from stillwatch.cases.store import CaseStore
from stillwatch.errors import InputError, IntegrityError
from stillwatch.records import Note

SECRET = "s3cret"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (f"postgresql+pg8000:/ann:{SECRET}@host/db", "cannot be read; expected postgresql"),
        (f"ann:{SECRET}@host/db", "cannot be read; expected postgresql"),
        ("cases", "cannot be read; expected postgresql"),
        (f"mysql://ann:{SECRET}@host/db", "sqlite or postgresql.pg8000, found mysql"),
        (f"postgresql://ann:{SECRET}@host", "does not name a database"),
        (f"postgresql://ann:x@{SECRET}@host/db", "more than one @"),
        (f"postgresql://host/db?password={SECRET}", "application_name and unix_sock only"),
        (f"postgresql://ann:{SECRET}@host:port/db", "cannot be read"),
    ],
)
def test_what_is_no_url_of_a_store_never_opens_another_one(tmp_path: Path, url: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        CaseStore(url, folder=tmp_path / "cases")
    assert SECRET not in str(caught.value)
    assert not (tmp_path / "cases").exists()


@pytest.mark.parametrize("scheme", ["PostgreSQL", "postgres", "postgresql+pg8000", "POSTGRESQL+PG8000"])
def test_the_scheme_may_be_spelled_in_any_way(scheme: str) -> None:
    assert parse(f"{scheme}://ann@host/db").drivername == "postgresql+pg8000"


def test_the_name_of_a_database_shows_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Database, "_migrate", lambda self: None)
    name = Database(f"postgresql://ann:{SECRET}@host/db?application_name={SECRET}").name
    assert name == "postgresql+pg8000://ann:***@host/db"


def test_a_workspace_that_is_a_file_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for create in (True, False):
        with pytest.raises(InputError):
            CaseStore(tmp_path / "file", create=create)


# -- only to be read -----------------------------------------------------------------------------------------------


@pytest.fixture
def frozen(lite: CaseStore, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where nothing can be written to the database from here on; the id of the case in it."""
    case = filled(lite)
    lite.close()
    monkeypatch.setattr(database, "_writable", lambda path: False)
    return case


def test_a_store_that_may_only_be_read_is_read(lite: CaseStore, frozen: str) -> None:
    place = Path(lite._database.name)
    before = place.read_bytes()
    with CaseReader(place.parent.parent, create=False) as reader:
        assert [row.id for row in reader.list()] == [frozen]
        assert reader.get(frozen).findings
        assert reader.verify(frozen).entries == 16
    assert place.read_bytes() == before


def test_a_store_that_may_only_be_read_takes_nothing(lite: CaseStore, frozen: str) -> None:
    with (
        CaseStore(Path(lite._database.name).parent.parent) as store,
        pytest.raises(InputError, match="not written; it is as it was: attempt to write a readonly database"),
    ):
        store.note(frozen, "x", by="ann")


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody may enter; those of pytest belong to one user."""
    place = Path(tempfile.mkdtemp(prefix="stillwatch-"))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place)


def as_nobody(what: Callable[[], str]) -> str:
    """What a function says to another user: its answer, or its error."""
    hear, say = os.pipe()
    if not os.fork():
        try:
            os.setgid(65534)
            os.setuid(65534)
            answer = what()
        except BaseException as problem:
            answer = repr(problem)
        os.write(say, answer.encode())
        os._exit(0)
    os.close(say)
    with os.fdopen(hear) as told:
        return told.read()


@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user")
def test_another_user_reads_and_verifies_a_store_that_is_not_theirs(public: Path) -> None:
    with CaseStore(public / "ws") as store:
        case, key = filled(store), store.public_key
        expected = f"{len(store.list())} {store.get(case).head} {store.verify(case).entries}"
    (public / "ws" / "key").unlink()  # it is for its owner alone
    for path in [public / "ws", *(public / "ws").rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)

    def read() -> str:
        with CaseReader(public / "ws", create=False) as reader:
            return (
                f"{len(reader.list())} {reader.get(case).head} {reader.verify(case, public_key=key).entries}"
            )

    assert as_nobody(read) == expected


def test_changes_that_lie_beside_a_store_are_not_overlooked(
    lite: CaseStore, frozen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Path(lite._database.name)
    place.with_name("cases.db-wal").write_bytes(b"x")

    class NotThere:
        def execute(self, _: str) -> None:
            raise database.sqlite3.OperationalError("unable to open database file")

        def close(self) -> None:
            pass

    monkeypatch.setattr(database.sqlite3, "connect", lambda *a, **k: NotThere())
    with pytest.raises(InputError, match=r"cases\.db-wal holds changes"):
        CaseReader(place.parent.parent)


# -- the head outside the database ---------------------------------------------------------------------------------


def test_a_head_that_cannot_be_noted_is_no_failure_of_the_write(
    lite: CaseStore, caplog: pytest.LogCaptureFixture
) -> None:
    case = lite.open("T", by="ann").id
    lock = lite._marks.folder / "lock"
    lock.unlink()
    lock.mkdir()
    with caplog.at_level(logging.WARNING):
        lite.note(case, "x", by="ann")
    assert "the case itself was written" in caplog.text
    assert [n.text for n in lite.get(case).notes] == ["x"]


def test_a_damaged_mark_says_what_to_do(lite: CaseStore) -> None:
    case = lite.open("T", by="ann").id
    (lite._marks.folder / f"{case}.json").write_bytes(b"")
    with pytest.raises(IntegrityError, match="remove the file"):
        lite.note(case, "x", by="ann")
    (lite._marks.folder / f"{case}.json").unlink()
    lite.note(case, "x", by="ann")
    assert not lite.verify(case).notes


@pytest.mark.parametrize("half", ["caf\udce9", "\ud800"])
def test_what_could_not_be_read_back_is_not_written(lite: CaseStore, tmp_path: Path, half: str) -> None:
    case = lite.open("T", by="ann").id
    for write in (
        lambda: lite.close_case(case, half, by="ann"),
        lambda: lite.close_case(case, "over", by=half),
        lambda: lite.seal(case, by=half),
        lambda: lite.export(case, tmp_path / "c.zip", by=half),
        lambda: lite.note(case, "x", by=half),
        lambda: lite.add(case, Note("2026-11-24T09:00:00+00:00", "ann", "x"), by=half),
        lambda: lite.note_workspace(case, "a" * 64, 1, by=half),
        lambda: lite.open("T", by=half),
        lambda: lite.open(half, by="ann"),
    ):
        with pytest.raises(InputError):
            write()
    assert not (tmp_path / "c.zip").exists()
    assert lite.get(case).status == "open"
    assert lite.verify(case).entries == 1
    assert len(lite.list()) == 1


def test_the_list_says_how_many_findings_fell(store: CaseStore) -> None:
    case = filled(store)
    (row,) = store.list()
    assert row.withdrawn == len(store.get(case).withdrawals) > 0
    store.close_case(case, "All of it was wrong.", by="ann", withdrawn=True)
    (row,) = store.list()
    assert row.withdrawn == row.findings > 1
