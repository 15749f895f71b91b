"""The case store: what goes in comes out, nothing twice, nothing that refers to nothing; on SQLite and PostgreSQL."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from store_samples import AT, filled, finding, indicator, notice, run

from stillwatch.cases import migrations
from stillwatch.cases.database import Database
from stillwatch.cases.store import CaseStore
from stillwatch.errors import InputError, IntegrityError
from stillwatch.records import Answer, Asked, Custody, Delivery, Evidence, Note, Withdrawal, as_json

UNKNOWN = "f" * 64


def test_cases_are_numbered_and_listed(store: CaseStore) -> None:
    assert store.list() == ()
    first = store.open("One", by="ann", subjects=("c-1", "c-2"), tlp="TLP:GREEN")
    second = store.open("Two", by="ann")
    assert (first.id, second.id) == ("C-1", "C-2")
    assert (first.status, first.tlp, first.subjects) == ("open", "TLP:GREEN", ("c-1", "c-2"))
    assert [(s.id, s.title, s.entries) for s in store.list()] == [("C-1", "One", 1), ("C-2", "Two", 1)]
    assert store.get("C-1") == first


@pytest.mark.parametrize("number", [1, 2, 2**70])
def test_a_finding_comes_back_bit_for_bit(store: CaseStore, number: int) -> None:
    case = store.open("One").id
    given = finding(number)
    assert store.add_finding(case, given, run(), by="ann")
    (found,) = store.get(case).findings
    assert found == given
    assert found.id == given.id
    # Tuples are tuples, integers are integers, -0.0 is -0.0; keys of details come back in order of the alphabet.
    assert repr(replace(found, details={})) == repr(replace(given, details={}))
    assert as_json(found) == as_json(given)
    assert store.get(case).runs == (run(),)


def test_everything_comes_back(store: CaseStore) -> None:
    case = store.get(filled(store))
    assert [f.subject for f in case.findings] == ["c-000001", "c-000002", "c-000003"]
    assert case.runs == (run(),)
    assert [(e.role, e.size) for e in case.evidence] == [("log", 360), ("excerpt", 0)]
    assert case.evidence[1].derived_from == (case.evidence[0].sha256,)
    assert [c.action for c in case.custody] == ["collected", "added", "collected", "added", "read"]
    assert [n.text for n in case.notes] == ["Ask the reseller first."]
    assert [(a.party, a.due, a.finding) for a in case.asked] == [
        ("Reseller", "2026-12-01", case.findings[0].id)
    ]
    assert case.answers[0].statement == "These are our customers."
    assert case.notices == (notice(case.findings[0]),)
    assert case.deliveries[0].event == "delivered"
    assert case.indicators == (indicator(),)
    assert (case.withdrawals[0].finding, case.withdrawals[0].replaced_by) == (
        case.findings[1].id,
        case.findings[2].id,
    )
    assert case.status == "sealed"
    assert case.seals[0].case == case.id
    assert store.list()[0].head == case.head
    assert store.verify(case.id).findings == 3


def test_it_is_there_when_the_store_is_opened_again(reopen: Callable[[], CaseStore]) -> None:
    first = reopen()
    case = filled(first)
    before = first.get(case)
    first.close()
    assert reopen().get(case) == before


def test_the_same_thing_twice_is_once(store: CaseStore) -> None:
    case = store.open("One").id
    assert store.add_finding(case, finding(), run())
    assert not store.add_finding(case, finding(), run())
    assert store.add_many(case, [run(), finding(), finding(2), finding(2)]) == (False, False, True, False)
    about = {"media_type": "text/plain", "role": "log", "origin": "a", "by": "ann"}
    first = store.add_evidence(case, b"bytes", **about)
    assert store.add_evidence(case, b"bytes", **{**about, "origin": "elsewhere"}) == first
    assert store.add(case, notice(finding()))
    assert not store.add(case, notice(finding()))
    assert store.add(case, indicator())
    assert not store.add(case, indicator())
    assert len(store.get(case).evidence) == 1
    assert store.verify(case).entries == 1 + 1 + 2 + 1 + 1 + 1


def test_the_same_bytes_with_a_stricter_label_are_not_passed_over(store: CaseStore) -> None:
    case = store.open("One").id
    about = {"media_type": "text/plain", "role": "log", "origin": "a", "by": "ann"}
    store.add_evidence(case, b"bytes", **about, retain_until="2027-01-01")
    with pytest.raises(InputError, match="laxer than TLP:RED"):
        store.add_evidence(case, b"bytes", **about, tlp="TLP:RED")
    with pytest.raises(InputError, match="kept until 2027-01-01 already, not until 2026-12-01"):
        store.add_evidence(case, b"bytes", **about, retain_until="2026-12-01")
    assert store.add_evidence(case, b"bytes", **about, tlp="TLP:CLEAR").tlp == "TLP:AMBER"


def refused() -> dict[str, tuple[Any, str]]:
    sha = "a" * 64
    return {
        "finding without its run": (finding(), "refers to run .* add the run with it"),
        "details that are no JSON": (finding(run="", details={"x": (1, 2)}), "would not be read back"),
        "details with a number as key": (finding(run="", details={1: 2}), "would not be read back"),
        "a list for a tuple": (finding(run="", limits=["a"]), "would not be read back"),
        "a decision that is none": (finding(run="", decision="guilty"), "expected one of supported"),
        "bytes that are not here": (
            Evidence(sha, "text/plain", 1, "r", "o", AT, "ann"),
            "the bytes are not in this store",
        ),
        "no sha256": (Evidence("../../etc", "text/plain", 1, "r", "o", AT, "ann"), "expected a sha256"),
        "custody of nothing": (Custody(sha, AT, "ann", "read"), "refers to evidence"),
        "an empty note": (Note(AT, "ann", "  "), "needs words"),
        "half a character": (Note(AT, "ann", "\ud800"), "cannot be written as JSON"),
        "a note without a zone": (Note("2026-11-24T09:00:00", "ann", "x"), "time with its zone"),
        "asked about nothing": (Asked("P", UNKNOWN, AT, "2026-12-01"), "refers to finding"),
        "due some time": (Asked("P", "", AT, "soon"), "by a date such as"),
        "nobody is asked": (Asked(" ", "", AT, "2026-12-01"), "needs a name"),
        "an answer to nothing": (Answer("P", UNKNOWN, "no", AT, "ann"), "refers to finding"),
        "an answer with unknown evidence": (Answer("P", "", "no", AT, "ann", (sha,)), "refers to evidence"),
        "an answer without words": (Answer("P", "", "", AT, "ann"), "needs words"),
        "a withdrawal of nothing": (Withdrawal(UNKNOWN, AT, "ann", "x"), "refers to finding"),
        "a notice of nothing": (notice(finding()), "refers to finding"),
        "a delivery of nothing": (Delivery(UNKNOWN, "Desk A", AT, "ann", "delivered"), "refers to notice"),
        "an event that is none": (
            Delivery(UNKNOWN, "Desk A", AT, "ann", "eaten"),
            "expected one of delivered",
        ),
        "something else": ("words", "a case holds no str"),
    }


@pytest.mark.parametrize("name", refused())
def test_what_makes_no_sense_is_refused_and_leaves_nothing(lite: CaseStore, name: str) -> None:
    record, words = refused()[name]
    case = lite.open("One").id
    with pytest.raises(InputError, match=words):
        lite.add(case, record)
    with pytest.raises(InputError, match=words):
        lite.add_many(case, [Note(AT, "ann", "first"), record])
    assert lite.verify(case).entries == 1


def test_a_delivery_goes_to_an_addressee(lite: CaseStore) -> None:
    case = filled(lite)
    told = lite.get(case).notices[0]
    with pytest.raises(InputError, match="is addressed to Desk A, Desk B, not to 'Desk C'"):
        lite.add(case, Delivery(told.id, "Desk C", AT, "ann", "delivered"))


def test_a_finding_is_withdrawn_once(lite: CaseStore) -> None:
    case = filled(lite)
    entries = lite.verify(case).entries
    with pytest.raises(InputError, match="withdrawn or corrected before"):
        lite.withdraw(case, finding(2).id, "again", by="ann", replacement=finding(9))
    assert lite.verify(case).entries == entries


@pytest.mark.parametrize("case", ["C-2", "", "C-1'; drop table cases; --", "x" * 500])
def test_a_case_that_is_none(lite: CaseStore, case: str) -> None:
    lite.open("One")
    for ask in (
        lite.get,
        lite.verify,
        lambda c: lite.note(c, "x", by="ann"),
        lambda c: lite.evidence(c, "a" * 64),
    ):
        with pytest.raises(InputError, match=r"there is no case .*stillwatch case list"):
            ask(case)


def test_a_title_and_a_label_are_needed(lite: CaseStore) -> None:
    with pytest.raises(InputError, match="needs a title"):
        lite.open(" ")
    with pytest.raises(InputError, match="expected one of TLP:CLEAR"):
        lite.open("One", tlp="TLP:PINK")  # type: ignore[arg-type]


def test_the_status_follows_what_happened(store: CaseStore) -> None:
    case = store.open("One").id
    store.seal(case, by="ann")
    assert store.get(case).status == "sealed"
    store.note(case, "after the seal", by="ann")
    assert store.get(case).status == "open"
    assert store.verify(case).sealed == 1
    store.add_finding(case, finding(), run())
    store.close_case(case, "answered", by="ann")
    store.seal(case, by="ann")
    assert [s.status for s in store.list()] == ["closed"]
    with pytest.raises(InputError, match="is closed already"):
        store.close_case(case, "again", by="ann")
    for late in (finding(5), indicator()):
        with pytest.raises(InputError, match="is closed; open another"):
            store.add(case, late)
    store.answer(case, "P", "It was us, with your leave.", by="ann")  # a right, whatever the status
    store.withdraw(case, finding().id, "They had leave.", by="ann", replacement=finding(5))
    store.close_case(case, "a mistake", by="ann", withdrawn=True)
    assert store.get(case).status == "withdrawn"
    assert store.verify(case).status == "withdrawn"


def test_evidence_is_read_and_checked(lite: CaseStore) -> None:
    case = filled(lite)
    sha256 = lite.get(case).evidence[0].sha256
    assert b"".join(lite.evidence(case, sha256)) == b"line one\n" * 40
    with pytest.raises(InputError, match="it has no evidence"):
        lite.evidence(case, UNKNOWN)
    lite.files.path(sha256).write_bytes(b"other")
    with pytest.raises(IntegrityError, match=sha256):
        list(lite.evidence(case, sha256))


def test_deleted_evidence_keeps_its_record(lite: CaseStore) -> None:
    case = filled(lite)
    sha256 = lite.get(case).evidence[0].sha256
    lite.delete_evidence(case, sha256, "retention", by="ann")
    assert not lite.files.has(sha256)
    assert lite.verify(case).left_out == (("evidence", sha256, "deleted, as the journal says"),)
    other = lite.open("Other").id
    about = {"media_type": "text/plain", "role": "log", "origin": "a", "by": "ann"}
    shared = lite.add_evidence(other, b"shared", **about)
    lite.add_evidence(case, b"shared", **about)
    assert lite.holders(shared.sha256) == (case, other)
    lite.delete_evidence(case, shared.sha256, "retention", by="ann")
    assert lite.holders(shared.sha256) == (other,)
    assert lite.verify(case).left_out[-1][1] == shared.sha256
    assert b"".join(lite.evidence(other, shared.sha256)) == b"shared"
    with pytest.raises(InputError, match=r"it has no bytes of evidence .* deleted"):
        lite.evidence(case, shared.sha256)
    with pytest.raises(InputError, match=r"no bytes of evidence .* to delete"):
        lite.delete_evidence(case, shared.sha256, "again", by="ann")
    lite.delete_evidence(other, shared.sha256, "retention", by="ann")
    assert not lite.files.has(shared.sha256)


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from store_samples import finding, run
from stillwatch.cases.store import CaseStore
place, folder, who = sys.argv[2], sys.argv[3], sys.argv[4]
store = CaseStore(place, folder=Path(folder)) if "://" in place else CaseStore(Path(place))
store.open(f"by {who}")
for number in range(8):
    store.note("C-1", f"{who} {number}", by=who)
    store.add_finding("C-1", finding(number), run(), by=who)
    store.add_evidence("C-1", f"{number}".encode(), media_type="text/plain", role="r", origin="o", by=who)
"""


def test_many_processes_write_one_chain(
    reopen: Callable[[], CaseStore], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    store = reopen()
    store.open("All of us")
    is_postgres = "postgresql" in request.node.name
    place = request.getfixturevalue("fresh_database") if is_postgres else str(tmp_path / "workspace")
    command = [
        sys.executable,
        "-c",
        WRITER,
        str(Path(__file__).parent),
        place,
        str(tmp_path / "workspace" / "cases"),
    ]
    writers = [subprocess.Popen([*command, who], stderr=subprocess.PIPE, text=True) for who in "abcd"]
    while any(w.poll() is None for w in writers):
        store.verify("C-1")  # a reader never sees half a write, nor a mark that is ahead of what it read
    told = [w.communicate(timeout=300)[1] for w in writers]
    assert [w.returncode for w in writers] == [0] * 4, told
    case = store.get("C-1")
    for who in "abcd":
        assert [n.text for n in case.notes if n.by == who] == [f"{who} {n}" for n in range(8)]
    assert len(case.findings) == len({f.id for f in case.findings}) == 8
    assert len(case.evidence) == 8
    assert store.verify("C-1").entries == 1 + 4 * 8 + 8 + 8 + 1
    assert sorted(s.id for s in store.list()) == ["C-1", "C-2", "C-3", "C-4", "C-5"]


def test_a_newer_store_is_refused(reopen: Callable[[], CaseStore]) -> None:
    store = reopen()
    store.open("One")
    with store._database.writing() as connection:
        connection.execute(text("update schema_version set version = 99"))
    with pytest.raises(InputError, match=r"schema version 99, this program knows 2; .*pip install -U"):
        reopen()
    with store._database.writing() as connection:
        connection.execute(text("update schema_version set version = 2"))
    assert reopen().get("C-1").title == "One"


def test_an_older_store_is_brought_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with CaseStore(tmp_path) as store:
        store.open("One")

    def third(connection: Any) -> None:
        connection.execute(text("create table more (n integer)"))

    monkeypatch.setattr(migrations, "STEPS", (*migrations.STEPS, third))
    monkeypatch.setattr(migrations.migrate, "__defaults__", (migrations.STEPS,))
    with CaseStore(tmp_path) as store:
        assert store.get("C-1").title == "One"
        with store._database.reading() as connection:
            assert migrations.version(connection) == 3
            assert connection.execute(text("select count(*) from more")).scalar() == 0


def test_what_is_too_large_is_said(lite: CaseStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stillwatch.cases.events.MAX_ENTRY", 2000)
    monkeypatch.setattr("stillwatch.cases.events.MAX_DOCUMENT", 2000)
    case = lite.open("One").id
    with pytest.raises(InputError, match="file what is long as evidence"):
        lite.note(case, "x" * 2000, by="ann")
    with pytest.raises(InputError, match="file the bulk as evidence"):
        lite.add(case, finding(run="", details={"x": "y" * 2000}))
    assert lite.verify(case).entries == 1


def test_half_a_character_in_a_title(store: CaseStore) -> None:
    with pytest.raises(InputError, match="half a character"):
        store.open("\ud800")
    assert store.list() == ()


def test_only_the_owner_may_read_it(lite: CaseStore, tmp_path: Path) -> None:
    filled(lite)
    root = tmp_path / "workspace" / "cases"
    assert all(path.stat().st_mode & 0o077 == 0 for path in root.rglob("*")), "somebody else may read a case"


def test_a_question_makes_no_store(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="start with: stillwatch case open"):
        CaseStore(tmp_path / "nowhere", create=False)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql+pg8000://ann:s3cret@127.0.0.1:1/x", "was not read"),
        ("mysql://ann:s3cret@host/x", "found mysql"),
        ("postgresql+pg8000://ann:s3cret@host", "does not name a database"),
        ("postgresql://ann:s3cret@127.0.0.1:1/x", "was not read"),
        ("postgresql+pg8000://ann:s3cret@host:port/x", "cannot be read"),
    ],
)
def test_a_password_stays_out_of_errors(url: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words) as caught:
        CaseStore(url, folder=tmp_path)
    shown = f"{caught.value!r} {caught.value.__cause__!r}"
    assert "s3cret" not in shown


def test_a_database_needs_a_folder_for_evidence() -> None:
    with pytest.raises(InputError, match="give its workspace"):
        CaseStore("postgresql+pg8000://ann@host/x")


def test_a_wrong_password_is_said_without_it(postgres: str, tmp_path: Path) -> None:
    user, _, place = postgres.rpartition("@")
    with pytest.raises(InputError, match="authentication failed") as caught:
        CaseStore(f"{user.rpartition(':')[0]}:wr0ng@{place}/postgres", folder=tmp_path)
    assert "wr0ng" not in str(caught.value)


def test_what_is_no_database_is_an_integrity_error(tmp_path: Path) -> None:
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "cases.db").write_bytes(b"not a database at all, but long enough to be one " * 40)
    with pytest.raises(IntegrityError, match="not a database"):
        CaseStore(tmp_path)


def test_a_failing_block_changes_nothing(tmp_path: Path) -> None:
    database = Database(tmp_path / "x.db")
    with pytest.raises(ZeroDivisionError), database.writing() as connection:
        connection.execute(text("create table t (n integer)"))
        _ = 1 / 0
    with database.reading() as connection, pytest.raises(Exception, match="no such table"):
        connection.execute(text("select * from t"))


def test_a_store_needs_neither_arrow_nor_an_engine(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path\nfrom store_samples import filled\n"
        "from stillwatch.cases import portable\nfrom stillwatch.cases.store import CaseStore\n"
        f"place = Path({str(tmp_path)!r})\nstore = CaseStore(place / 'w')\ncase = filled(store)\n"
        "store.export(case, place / 'c.zip', by='ann')\n"
        "with portable.opened(place / 'c.zip') as source:\n    portable.check_file(source)\n"
        "heavy = {'numpy', 'pyarrow', 'duckdb', 'scipy', 'numba'} & {m.partition('.')[0] for m in sys.modules}\n"
        "ours = {m for m in sys.modules if m.startswith(('stillwatch.campaigns', 'stillwatch.logs'))}\n"
        "assert not heavy | ours, heavy | ours"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_key_that_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    with CaseStore(tmp_path) as store:
        case = store.open("One").id
    (tmp_path / "key").unlink()
    with CaseStore(tmp_path) as store:
        assert any("has no key" in note for note in store.verify(case).notes)
        assert not store.verify(case).pinned
        assert not (tmp_path / "key").exists()
        assert store.get(case).title == "One"


def test_many_records_at_once_are_one_chain(store: CaseStore) -> None:
    case = store.open("One").id
    findings, notes = [finding(n) for n in range(60)], [Note(AT, "ann", str(n)) for n in range(60)]
    assert all(store.add_many(case, [run(), *findings, *notes], by="ann"))
    found = store.get(case)
    assert found.findings == tuple(findings)
    assert [n.text for n in found.notes] == [str(n) for n in range(60)]
    assert store.verify(case).entries == 122
