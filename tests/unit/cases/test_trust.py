"""Whose word counts in a store: who may continue a case, what an import may excuse, whose bytes a case gives out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from forged_samples import (
    eve,
    forged,
    item,
    opening,
    put_mark,
    rewrite,
    sha,
    signed_file,
    stripped,
    take_over,
)
from portable_changes import packed, unpacked
from sqlalchemy import text
from store_samples import AT, filled, finding, indicator, notice, run

from stillwatch.cases import events, portable
from stillwatch.cases.followups import all_followups
from stillwatch.cases.journal import Journal
from stillwatch.cases.manifest import ELSEWHERE, FORMAT, LeftOut, Manifest
from stillwatch.cases.portable import check_file
from stillwatch.cases.reading import text_of
from stillwatch.cases.sealing import Signer
from stillwatch.cases.store import CaseStore
from stillwatch.cases.verify import Verified
from stillwatch.cases.writing import Writer
from stillwatch.errors import InputError, IntegrityError, StillwatchError
from stillwatch.records import Answer, Asked, Evidence, Note, Withdrawal

ABOUT: dict[str, Any] = {"media_type": "text/plain", "role": "log", "origin": "a.log", "by": "ann"}
SECRET = b"which account is whose\n" * 20
CONFESSION = "We confess to everything."


def export(store: CaseStore, case: str, path: Path, **more: Any) -> Path:
    return store.export(case, path, by="ann", **more).path


def checked(path: Path, **more: Any) -> Verified:
    with portable.opened(path) as source:
        return check_file(source, **more)


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def bytes_in(folder: Path) -> set[str]:
    """Every file of evidence, drafts included."""
    return {path.name for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def other(tmp_path: Path) -> CaseStore:
    """Somebody else's store."""
    return CaseStore(tmp_path / "theirs")


@pytest.fixture
def hers(tmp_path: Path) -> CaseStore:
    """Eve's."""
    return CaseStore(tmp_path / "hers", signer=eve())


# -- who may continue a case ------------------------------------------------------------------------------------------


def test_what_a_stranger_signed_is_neither_shown_nor_continued(store: CaseStore, tmp_path: Path) -> None:
    case = filled(store)
    own = export(store, case, tmp_path / "before.zip")
    store.seal(case, by="ann")
    take_over(store, case)
    todo: dict[str, Callable[[], object]] = {
        "verify": lambda: store.verify(case),
        "show": lambda: store.get(case),
        "note": lambda: store.note(case, "more", by="ann"),
        "seal": lambda: store.seal(case, by="ann"),
        "export": lambda: export(store, case, tmp_path / "after.zip"),
        "import": lambda: store.import_file(own),
        "bytes": lambda: list(store.evidence(case, sha(b""))),
    }
    for what, do in todo.items():
        with pytest.raises(IntegrityError, match=f"by a key that is known here, {store.public_key}"):
            do()
        assert not (tmp_path / "after.zip").exists(), what


def test_an_older_database_with_a_mark_of_a_stranger_is_found(tmp_path: Path) -> None:
    place = tmp_path / "w"
    with CaseStore(place) as store:
        case = filled(store)
    shutil.copy(place / "cases" / "cases.db", tmp_path / "before.db")
    with CaseStore(place) as store:
        store.withdraw(case, finding(1).id, "It was wrong.", by="ann")
    for path in (place / "cases").glob("cases.db*"):
        path.unlink()
    shutil.copy(tmp_path / "before.db", place / "cases" / "cases.db")
    with CaseStore(place) as store:
        row = store.list()[0]
        put_mark(store, case, row.entries, row.head)
        for do in (store.verify, store.get, lambda c: store.note(c, "x", by="ann")):
            with pytest.raises(IntegrityError, match="noted outside the database: expected digest by a key"):
                do(case)


def test_no_key_is_made_where_cases_are(tmp_path: Path) -> None:
    with CaseStore(tmp_path) as store:
        case = filled(store)
        key, file = store.public_key, export(store, case, tmp_path / "c.zip")
    secret = (tmp_path / "key").read_bytes()
    (tmp_path / "key").unlink()
    with CaseStore(tmp_path) as store:
        for do in (
            lambda: store.note(case, "x", by="ann"),
            lambda: store.seal(case, by="ann"),
            lambda: store.open("Next"),
            lambda: store.import_file(file),
            lambda: export(store, case, tmp_path / "d.zip"),
            lambda: store.public_key,
        ):
            with pytest.raises(InputError, match=r"the key is gone .* put its copy back"):
                do()
        assert not (tmp_path / "key").exists()
        assert store.verify(case, public_key=key).pinned
        assert not store.verify(case).pinned
    # Another command may make one; it is not the one that signed.
    (tmp_path / "key").touch(0o600)
    (tmp_path / "key").write_bytes(b"n" * 32)
    with CaseStore(tmp_path) as store:
        for do in (store.verify, store.get, lambda c: store.note(c, "x", by="ann")):
            with pytest.raises(IntegrityError, match=f"by {key}; if that is a key of yours"):
                do(case)
    with CaseStore(tmp_path, known=[key]) as store:  # its owner says so
        store.seal(case, by="ann")
        assert store.verify(case).pinned
        new = store.public_key
    with CaseStore(tmp_path) as store:
        assert store.verify(case).vouched == new != key
    (tmp_path / "key").write_bytes(secret)
    with CaseStore(tmp_path) as store, pytest.raises(IntegrityError, match=f"by {new}"):
        store.get(case)


def continued(store: CaseStore, hers: CaseStore, tmp_path: Path) -> tuple[str, Path, Path]:
    """A case, the file that its owner gave away, and Eve's continuation of it."""
    case = filled(store)
    with store._stored(case) as source:
        portable.write(source, tmp_path / "1.zip", signer=store._signer())
    hers.import_file(tmp_path / "1.zip")
    with hers._stored(case) as source:
        portable.write(source, tmp_path / "same.zip", signer=eve())
    hers.add(case, Answer("Reseller", finding(1).id, CONFESSION, AT, "ann"), by="ann")
    return case, tmp_path / "1.zip", export(hers, case, tmp_path / "more.zip")


def test_a_seal_of_ours_does_not_vouch_for_what_a_stranger_added(
    store: CaseStore, other: CaseStore, hers: CaseStore, tmp_path: Path
) -> None:
    case, first, more = continued(store, hers, tmp_path)
    key = store.public_key
    other.import_file(first, public_key=key)
    for one in (store, other):
        with pytest.raises(IntegrityError, match=f"only the word of {eve().public_key} for 1 later entry"):
            one.import_file(more, public_key=key)
        with pytest.raises(InputError, match="not known here for this case"):
            one.import_file(more)
        assert CONFESSION not in {a.statement for a in one.get(case).answers}
        assert one.verify(case).entries == 16


def test_a_file_that_brings_nothing_makes_nobody_known(
    store: CaseStore, other: CaseStore, hers: CaseStore, tmp_path: Path
) -> None:
    case, first, more = continued(store, hers, tmp_path)
    other.import_file(first, public_key=store.public_key)
    for one in (store, other):
        for file in (tmp_path / "same.zip", more):
            with pytest.raises(InputError, match="not known here for this case"):
                one.import_file(file)
        assert one.verify(case).entries == 16


def test_a_key_that_was_named_ends_the_trust_in_whoever_came_first(
    store: CaseStore, other: CaseStore, hers: CaseStore, tmp_path: Path
) -> None:
    case, first, more = continued(store, hers, tmp_path)
    other.import_file(tmp_path / "same.zip")  # on nobody's word but Eve's
    (brought,) = other.verify(case).imports
    assert (brought.public_key, brought.named, brought.first, brought.last) == (
        eve().public_key,
        False,
        1,
        16,
    )
    other.import_file(first, public_key=store.public_key)
    with pytest.raises(InputError, match="not known here for this case"):
        other.import_file(more)
    store.note(case, "later", by="ann")
    assert other.import_file(export(store, case, tmp_path / "2.zip"))[1] == 1


# -- what an import may excuse ----------------------------------------------------------------------------------------


def add_import(store: CaseStore, case: str, manifest: Manifest) -> None:
    values = {
        "case_id": case, "number": 1, "at": AT, "by": "ann", "first": 1, "last": 99, "named": True,
        "public_key": eve().public_key, "manifest": sha(manifest.encoded()), "content": manifest.encoded().decode(),
        "signature": manifest.signature(eve()),
    }  # fmt: skip
    names = ", ".join(values)
    with store._database.writing() as connection:
        connection.execute(text(f"insert into imports ({names}) values (:{', :'.join(values)})"), values)


def test_a_row_of_an_import_that_was_none_excuses_nothing(store: CaseStore) -> None:
    case = filled(store)
    held = store.get(case)
    left = [LeftOut("finding", f.id, "TLP:RED is stricter than TLP:AMBER") for f in held.findings]
    left += [LeftOut("evidence", e.sha256, "was to be kept until 2026-01-01") for e in held.evidence]
    add_import(
        store, case, Manifest(FORMAT, 1, "C-9", "x", 1, "y", "TLP:AMBER", eve().public_key, (), tuple(left))
    )
    with store._database.writing() as connection:
        connection.execute(text("update things set content = null where kind = 'finding'"))
    for entry in held.evidence:
        store.files.path(entry.sha256).unlink()
    for do in (store.verify, store.get, lambda c: store.note(c, "x", by="ann")):
        with pytest.raises(IntegrityError, match="the head of entry"):
            do(case)
    with store._database.writing() as connection:
        connection.execute(text("delete from imports"))
    with pytest.raises(IntegrityError, match="the record is gone"):
        store.get(case)


def test_an_import_that_is_taken_from_the_list_is_found(
    store: CaseStore, other: CaseStore, tmp_path: Path
) -> None:
    case = filled(store)
    other.import_file(export(store, case, tmp_path / "1.zip"))
    for change in ("delete from imports", "update imports set named = true", "update imports set last = 9"):
        with CaseStore(tmp_path / "theirs") as again, again._database.writing() as connection:
            before = connection.execute(text("select * from imports")).mappings().one()
            connection.execute(text(change))
        with pytest.raises(IntegrityError, match="the head of entry"):
            other.verify(case)
        with other._database.writing() as connection:
            connection.execute(text("delete from imports"))
            names = ", ".join(before)
            connection.execute(
                text(f"insert into imports ({names}) values (:{', :'.join(before)})"), dict(before)
            )
        assert other.verify(case)


def test_a_mark_knows_the_imports(store: CaseStore, other: CaseStore, tmp_path: Path) -> None:
    case = labelled(store)
    other.import_file(file_of(store, case, tmp_path / "amber.zip"))
    with other._database.reading() as connection:
        old = dict(connection.execute(text("select * from cases")).mappings().one())
    other.import_file(file_of(store, case, tmp_path / "red.zip", tlp="TLP:RED"))
    assert other.verify(case).left_out == ()
    with other._database.writing() as connection:
        connection.execute(text("delete from imports where number = 2"))
        connection.execute(text("update cases set signature = :signature"), {"signature": old["signature"]})
        connection.execute(text("update things set content = null where kind = 'notice'"))
    with pytest.raises(IntegrityError, match="its imports, noted outside the database"):
        other.verify(case)


def file_of(store: CaseStore, case: str, path: Path, **more: Any) -> Path:
    """A file of the state, without an entry that says so."""
    with store._stored(case) as source:
        return portable.write(source, path, signer=store._signer(), **more).path


def labelled(store: CaseStore) -> str:
    case = store.open("One", tlp="TLP:AMBER", by="ann").id
    store.add_many(case, [run(), finding()], by="ann")
    store.add_evidence(case, SECRET, tlp="TLP:RED", **ABOUT)
    store.add(case, notice(finding(), tlp="TLP:RED"))
    return case


def test_what_one_import_brought_no_other_excuses(store: CaseStore, other: CaseStore, tmp_path: Path) -> None:
    case = labelled(store)
    other.import_file(export(store, case, tmp_path / "amber.zip"))
    other.import_file(export(store, case, tmp_path / "red.zip", tlp="TLP:RED"))
    assert other.verify(case).left_out == ()
    other.files.path(sha(SECRET)).unlink()
    with pytest.raises(IntegrityError, match="the bytes are gone"):
        other.verify(case)
    other.import_file(tmp_path / "red.zip", public_key=store.public_key)
    assert other.verify(case).left_out == ()
    with other._database.writing() as connection:
        connection.execute(text("update things set content = null where kind = 'notice'"))
    with pytest.raises(IntegrityError, match="the record is gone"):
        other.verify(case)


def test_an_import_does_not_silence_the_workspace_journal(
    store: CaseStore, other: CaseStore, tmp_path: Path
) -> None:
    theirs = Journal(tmp_path / "workspace" / "journal.jsonl")
    theirs.append("scan", {"number": 1})
    case = filled(store)
    store.note_workspace(case, theirs.head(), 1, by="ann")
    other.import_file(export(store, case, tmp_path / "c.zip"))
    assert other.verify(case).noted  # of their journal, which is not here
    journal = Journal(tmp_path / "theirs" / "journal.jsonl")
    journal.append("scan", {"number": 1})
    other.note_workspace(case, journal.head(), 1, by="bob")
    assert other.verify(case)
    journal.path.write_bytes(b"")
    with pytest.raises(IntegrityError, match="the entry noted in case"):
        other.verify(case)


LEFT_OUT = {
    "a finding": ("finding", "TLP:RED is stricter than TLP:AMBER"),
    "a run": ("run", "TLP:RED is stricter than TLP:AMBER"),
    "evidence of the same label": ("evidence", "TLP:AMBER is stricter than TLP:AMBER"),
    "evidence of a label that it has not": ("evidence", "TLP:RED is stricter than TLP:AMBER"),
    "evidence without a date": ("evidence", "was to be kept until 2026-01-01"),
    "evidence that nobody deleted": ("evidence", "deleted, as the journal says"),
    "an indicator of the same label": ("indicator", "TLP:GREEN is stricter than TLP:CLEAR"),
    "for no reason": ("evidence", "because"),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_a_manifest_excuses_only_what_the_journal_bears_out(
    lite: CaseStore, tmp_path: Path, name: str
) -> None:
    kind, reason = LEFT_OUT[name]
    path = export(lite, filled(lite), tmp_path / "c.zip")
    members = unpacked(path.read_bytes())
    gone = next(n for n in members if n.startswith(kind[:3]))
    manifest = json.loads(members["manifest.json"])
    rest = {n: data for n, data in members.items() if n != gone and not n.startswith("manifest")}
    left = [LeftOut(kind, gone.partition("/")[2].removesuffix(".json"), reason)]
    path.write_bytes(
        signed_file(
            rest,
            "C-1",
            manifest["opened"],
            manifest["seq"],
            manifest["head"],
            left,
            "TLP:AMBER",
            lite._signer(),
        )
    )
    with pytest.raises(IntegrityError, match="for a reason that the journal bears out"):
        checked(path, public_key=lite.public_key)


# -- what leaves ------------------------------------------------------------------------------------------------------


def test_a_case_that_does_not_hold_leaves_no_file(store: CaseStore, tmp_path: Path) -> None:
    case = filled(store)
    mark = store._marks.folder / f"{case}.json"
    whole = mark.read_bytes()
    mark.write_bytes(whole.replace(b'"seq":16', b'"seq":3'))
    with pytest.raises(IntegrityError):
        export(store, case, tmp_path / "c.zip")
    mark.write_bytes(whole)
    with store._database.writing() as connection:
        rewrite(connection, case)
    with pytest.raises(IntegrityError):
        export(store, case, tmp_path / "c.zip")
    assert not list(tmp_path.glob("*.zip*")) + list(tmp_path.glob(".c*"))


def test_no_file_is_there_before_the_journal_says_so(
    store: CaseStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = filled(store)

    def broken(_: Writer) -> None:
        assert not (tmp_path / "c.zip").exists()
        raise InputError("the disk is full")

    monkeypatch.setattr(Writer, "finish", broken)
    with pytest.raises(InputError, match="the disk is full"):
        export(store, case, tmp_path / "c.zip")
    assert not list(tmp_path.glob("*.zip*")) + list(tmp_path.glob(".c*"))
    monkeypatch.undo()
    assert store.verify(case).entries == 16


def test_the_journal_knows_the_label_under_which_a_file_left(lite: CaseStore, tmp_path: Path) -> None:
    case = lite.open("One", tlp="TLP:GREEN").id
    written = lite.export(case, tmp_path / "c.zip", by="ann")
    with lite._stored(case) as source:
        body = json.loads(list(source.lines())[-1])["body"]
    assert body == {"sha256": written.sha256, "tlp": "TLP:GREEN", "left_out": 0, "by": "ann"}
    assert written.tlp == "TLP:GREEN"


# -- whose bytes ------------------------------------------------------------------------------------------------------


def test_a_case_gives_out_no_bytes_of_another(store: CaseStore, hers: CaseStore, tmp_path: Path) -> None:
    case = store.open("Ours", by="ann").id
    store.add_evidence(case, SECRET, tlp="TLP:RED", **ABOUT)
    hers.import_file(export(store, case, tmp_path / "c.zip"))
    (known,) = hers.get(case).evidence  # the digest and the size are all that she learnt
    entries = [opening(tlp="TLP:CLEAR"), item(SECRET, tlp="TLP:CLEAR", retain_until="2026-01-01")]
    left = [LeftOut("evidence", known.sha256, "was to be kept until 2026-01-01")]
    store.import_file(written(tmp_path / "eve.zip", forged(entries, left_out=left, tlp="TLP:CLEAR")))
    assert store.verify("C-7").left_out == (("evidence", known.sha256, left[0].reason),)
    with pytest.raises(InputError, match="it has no bytes of evidence"):
        store.evidence("C-7", known.sha256)
    assert SECRET not in export(store, "C-7", tmp_path / "back.zip").read_bytes()
    assert store.holders(known.sha256) == (case,)
    with pytest.raises(InputError, match="left out when the case was taken in"):
        store.add_evidence("C-7", SECRET, **ABOUT)
    store.delete_evidence(case, known.sha256, "retention", by="ann")
    assert not store.files.has(known.sha256)


@pytest.mark.parametrize("terms", [{"tlp": "TLP:RED"}, {"retain_until": "2026-01-01"}])
def test_the_strictest_terms_in_the_store_hold_for_the_same_bytes(
    store: CaseStore, other: CaseStore, tmp_path: Path, terms: dict[str, Any]
) -> None:
    lax, strict = store.open("Lax", tlp="TLP:CLEAR").id, store.open("Strict").id
    store.add_evidence(lax, SECRET, **{**ABOUT, "tlp": "TLP:CLEAR"})
    store.add_evidence(strict, SECRET, **ABOUT, **terms)
    left = store.export(lax, tmp_path / "c.zip", by="ann").left_out
    assert left == (LeftOut("evidence", sha(SECRET), ELSEWHERE),)
    assert SECRET not in (tmp_path / "c.zip").read_bytes()
    assert checked(tmp_path / "c.zip", public_key=store.public_key).left_out[0][2] == ELSEWHERE
    other.import_file(tmp_path / "c.zip")
    other.export(lax, tmp_path / "on.zip", by="bob")
    assert checked(tmp_path / "on.zip").left_out[0][2] == ELSEWHERE
    store.delete_evidence(strict, sha(SECRET), "no longer needed", by="ann")
    assert store.export(lax, tmp_path / "d.zip", by="ann").left_out == ()


def test_deleted_evidence_stays_deleted(store: CaseStore, tmp_path: Path) -> None:
    case = store.open("One").id
    kept = store.add_evidence(case, SECRET, **ABOUT)
    old = export(store, case, tmp_path / "old.zip")
    store.delete_evidence(case, kept.sha256, "court order", by="ann")
    with pytest.raises(InputError, match="an older export"):
        store.import_file(old)
    for again in (
        lambda: store.add_evidence(case, SECRET, **ABOUT),
        lambda: store.add(case, Evidence(kept.sha256, "text/plain", len(SECRET), "log", "a", AT, "ann")),
    ):
        with pytest.raises(InputError, match=r"were deleted, .* they do not come back"):
            again()
    assert not bytes_in(store.files.folder)
    elsewhere = store.open("Two").id
    store.add_evidence(elsewhere, SECRET, **ABOUT)
    with pytest.raises(InputError, match="they were deleted"):
        store.evidence(case, kept.sha256)
    assert [i.reason for i in store.export(case, tmp_path / "n.zip", by="ann").left_out] == [
        "deleted, as the journal says"
    ]
    assert SECRET not in (tmp_path / "n.zip").read_bytes()
    assert store.verify(case).left_out and not store.verify(elsewhere).left_out


def test_what_its_owner_deleted_goes_where_it_was_taken_in(
    store: CaseStore, other: CaseStore, tmp_path: Path
) -> None:
    case = store.open("One").id
    kept = store.add_evidence(case, SECRET, **ABOUT)
    other.import_file(export(store, case, tmp_path / "1.zip"))
    assert other.files.has(kept.sha256)
    store.delete_evidence(case, kept.sha256, "court order", by="ann")
    other.import_file(export(store, case, tmp_path / "2.zip"))
    assert not other.files.has(kept.sha256)
    assert other.verify(case).left_out == store.verify(case).left_out


def test_a_file_with_bytes_that_its_journal_deleted_is_refused(lite: CaseStore, tmp_path: Path) -> None:
    gone = {"evidence": sha(SECRET), "at": AT, "by": "eve", "action": "deleted", "note": "x"}
    entries = [opening(), item(SECRET), ("evidence.custody", {"custody": gone, "by": "eve"})]
    path = written(tmp_path / "c.zip", forged(entries, evidence=[SECRET]))
    with pytest.raises(IntegrityError, match="deleted, as the journal says, found its bytes"):
        lite.import_file(path)


def test_what_is_refused_leaves_no_bytes(store: CaseStore, other: CaseStore, tmp_path: Path) -> None:
    case = store.open("One").id
    path = tmp_path / "c.zip"
    store.add_evidence(case, SECRET, **ABOUT)
    export(store, case, path)
    other.open("Theirs")
    for more in ({}, {"as_case": "X"}):
        with pytest.raises(InputError):
            other.import_file(path, **more)
    with pytest.raises(InputError):
        other.add_evidence("C-1", SECRET, **ABOUT, retain_until="soon")
    with pytest.raises(InputError):
        other.add_evidence("C-9", SECRET, **ABOUT)
    assert not bytes_in(other.files.folder)


def test_a_file_that_is_refused_late_leaves_no_bytes(
    store: CaseStore, other: CaseStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = export(store, filled(store), tmp_path / "c.zip")

    def broken(*_: Any, **__: Any) -> None:
        raise InputError("the disk is full")

    monkeypatch.setattr("stillwatch.cases.importing.merge", broken)
    with pytest.raises(InputError, match="disk is full"):
        other.import_file(path)
    assert not bytes_in(other.files.folder)


def test_a_deletion_takes_nothing_from_who_adds_the_same_bytes(
    reopen: Callable[[], CaseStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other case adds them between the deletion's commit and the removal of the file, or just before the commit."""
    one, two = reopen(), reopen()
    first, second = one.open("One").id, one.open("Two").id
    kept = one.add_evidence(first, SECRET, **ABOUT)
    remove = one._remove_deleted

    def late() -> None:
        two.add_evidence(second, SECRET, **ABOUT)
        remove()

    monkeypatch.setattr(one, "_remove_deleted", late)
    one.delete_evidence(first, kept.sha256, "retention", by="ann")
    assert two.verify(second).evidence_bytes == len(SECRET)
    monkeypatch.undo()
    third = one.open("Three").id
    with two.files.drafted([SECRET]) as (draft,):  # on the disk, and not in the case yet
        one.delete_evidence(second, kept.sha256, "retention", by="ann")
        assert not one.files.has(kept.sha256)
        assert draft.path.exists()
    two.add_evidence(third, SECRET, **ABOUT)
    assert b"".join(one.evidence(third, kept.sha256)) == SECRET


def test_a_deletion_that_was_cut_off_is_finished_by_the_next(
    store: CaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = store.open("One").id
    first, second = (store.add_evidence(case, data, **ABOUT) for data in (SECRET, b"two"))
    monkeypatch.setattr(store, "_remove_deleted", lambda: None)
    store.delete_evidence(case, first.sha256, "retention", by="ann")
    assert store.files.has(first.sha256)
    assert store.verify(case).left_out[0][2] == "deleted, as the journal says"
    monkeypatch.undo()
    store.delete_evidence(case, second.sha256, "retention", by="ann")
    assert not bytes_in(store.files.folder)


# -- what is shown ----------------------------------------------------------------------------------------------------

BROKEN = {
    "a withdrawal removed": "delete from entries where line like '%finding.withdrawn%'",
    "an answer removed": "delete from entries where line like '%answer.received%'",
    "a withdrawal in other words": "update entries set line = replace(line, 'another one', 'fine')",
    "a finding nulled": "update things set content = null where kind = 'finding'",
    "the row of a finding removed": "delete from things where kind = 'finding'",
    "an entry beyond the last": "insert into entries select case_id, seq + 1, line from entries where seq = 16",
    "the end cut off": "delete from entries where seq = 16",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_chain_is_not_shown(store: CaseStore, name: str) -> None:
    case = filled(store)
    with store._database.writing() as connection:
        assert connection.execute(text(BROKEN[name])).rowcount
    with pytest.raises(IntegrityError):
        store.get(case)


# -- what a known key vouches for -------------------------------------------------------------------------------------


def test_a_seal_vouches_for_no_more_than_it_covers(lite: CaseStore, other: CaseStore, tmp_path: Path) -> None:
    case = lite.open("One", by="ann").id
    lite.add_many(case, [run(), finding()], by="ann")
    lite.add_evidence(case, b"red", tlp="TLP:RED", **ABOUT)
    lite.seal(case, by="ann")
    whole = export(lite, case, tmp_path / "c.zip", tlp="TLP:RED").read_bytes()
    key = lite.public_key
    confession = Answer("Reseller", finding(1).id, CONFESSION, AT, "ann")
    answer = ("answer.received", {"answer": json.loads(json.dumps(asdict(confession))), "by": "ann"})

    path = written(tmp_path / "eve.zip", stripped(whole, [answer], lambda name: True))
    with pytest.raises(
        IntegrityError, match=r"which sealed entries 1 to 4, found only the word of .* 1 later entry"
    ):
        checked(path, public_key=key)
    found = checked(path, public_key=key, later_too=True)
    assert (found.vouched, found.pinned) == (eve().public_key, False)
    assert any("1 later entry: only" in note for note in found.notes)
    with pytest.raises(IntegrityError):
        other.import_file(path, public_key=key)

    path.write_bytes(stripped(whole, [], lambda name: not name.startswith("evidence")))
    with pytest.raises(IntegrityError, match="that 1 thing was left out"):
        checked(path, public_key=key)
    path.write_bytes(stripped(whole, [answer], lambda name: False))
    with pytest.raises(IntegrityError, match="for a reason that the journal bears out"):
        checked(path, public_key=key, later_too=True)
    path.write_bytes(stripped(whole, [], lambda name: True))
    assert not checked(path, public_key=key).pinned


def test_a_store_says_who_signed_what_it_took_in(lite: CaseStore, other: CaseStore, tmp_path: Path) -> None:
    case = filled(lite)
    first = export(lite, case, tmp_path / "1.zip")
    other.import_file(first, by="bob")
    lite.note(case, "later", by="ann")
    other.import_file(export(lite, case, tmp_path / "2.zip"), public_key=lite.public_key, by="carol")
    one, two = other.verify(case).imports
    assert (one.first, one.last, one.by, one.named) == (1, 16, "bob", False)
    assert (two.first, two.last, two.by, two.named) == (17, 18, "carol", True)
    assert {one.public_key, two.public_key} == {lite.public_key}
    assert lite.verify(case).imports == ()


def test_a_key_elsewhere_that_sealed_everything(lite: CaseStore, tmp_path: Path) -> None:
    case = filled(lite)
    far = Signer.derived(lambda label: b"f" * 32)
    lite.seal(case, by="ann", signer=far)
    path = export(lite, case, tmp_path / "c.zip")
    found = checked(path, public_key=far.public_key)
    assert (found.pinned, found.vouched) == (False, lite.public_key)
    (tmp_path / "workspace" / "key").rename(tmp_path / "kept")
    with CaseStore(tmp_path / "workspace") as auditor:
        with pytest.raises(IntegrityError, match="a key that is known here"):
            auditor.verify(case, public_key=far.public_key)
        found = auditor.verify(case, public_key=far.public_key, later_too=True)
        assert not found.pinned


# -- what comes in ----------------------------------------------------------------------------------------------------


def document(
    record: Any, kind: str, **body: Any
) -> tuple[tuple[str, dict[str, Any]], dict[tuple[str, str], bytes]]:
    planned = events.plan(record, "eve")
    assert planned.thing is not None and planned.content is not None
    entry = (planned.kind, {k: v for k, v in {**planned.body, **body}.items() if v is not None})
    return entry, {planned.thing: planned.content.encode()}


RED = notice(finding(), tlp="TLP:RED", findings=(), addressees=())
LABELS: dict[str, tuple[dict[str, Any], str, str]] = {
    "another label than its entry says": ({"tlp": "TLP:CLEAR"}, "TLP:CLEAR", "tlp of the notice"),
    "no label in its entry": ({"tlp": None}, "TLP:CLEAR", "lacks tlp"),
    "a label that is none": ({"tlp": [5]}, "TLP:CLEAR", "expected one of TLP:RED"),
    "a stricter label than the file": ({}, "TLP:CLEAR", "of no label stricter than TLP:CLEAR"),
}


@pytest.mark.parametrize("name", LABELS)
def test_a_notice_has_the_label_that_everything_says(lite: CaseStore, tmp_path: Path, name: str) -> None:
    body, tlp, words = LABELS[name]
    entry, documents = document(RED, "notice", **body)
    path = written(tmp_path / "c.zip", forged([opening(tlp=tlp), entry], documents, tlp=tlp))
    with pytest.raises(StillwatchError, match=words):
        lite.import_file(path)
    assert lite.list() == ()


def test_evidence_and_indicators_have_no_stricter_label_than_the_file(
    lite: CaseStore, tmp_path: Path
) -> None:
    entry, documents = document(indicator(tlp="TLP:AMBER"), "indicator")
    files = (
        forged([opening(tlp="TLP:GREEN"), entry], documents, tlp="TLP:GREEN"),
        forged([opening(tlp="TLP:GREEN"), item(b"x", tlp="TLP:RED")], evidence=[b"x"], tlp="TLP:GREEN"),
    )
    for data in files:
        with pytest.raises(IntegrityError, match="of no label stricter than TLP:GREEN"):
            checked(written(tmp_path / "c.zip", data))


def entry_of(record: Any) -> tuple[str, dict[str, Any]]:
    planned = events.plan(record, "eve")
    return planned.kind, json.loads(json.dumps(planned.body))


def closed(withdrawn: bool = False) -> tuple[str, dict[str, Any]]:
    return "case.closed", {"by": "eve", "reason": "done", "withdrawn": withdrawn}


def rules_broken() -> dict[str, tuple[list[Any], str]]:
    bare = finding(run="")
    added, documents = document(bare, "finding")
    right = finding(2, run="", subject=bare.subject)
    more, other_documents = document(right, "finding")
    replaced = entry_of(Withdrawal(bare.id, AT, "eve", "x", right.id))
    return {
        "due some time": ([entry_of(Asked("P", "", AT, "soon"))], "by a date such as"),
        "asked some time": ([entry_of(Asked("P", "", "then", "2026-12-01"))], "a time with its zone"),
        "nobody is asked": ([entry_of(Asked(" ", "", AT, "2026-12-01"))], "needs a name"),
        "an empty note": ([entry_of(Note(AT, "eve", " "))], "needs words"),
        "a note at no time": ([entry_of(Note("2026", "eve", "x"))], "a time with its zone"),
        "an answer at no time": ([entry_of(Answer("P", "", "x", "zz", "eve"))], "a time with its zone"),
        "evidence to be kept for ever and a day": ([item(b"x", retain_until="never")], "by a date such as"),
        "a withdrawal without a reason": (
            [(added, documents), entry_of(Withdrawal(bare.id, AT, "eve", " "))],
            "needs a reason",
        ),
        "a withdrawal at no time": (
            [(added, documents), entry_of(Withdrawal(bare.id, "zz", "eve", "x"))],
            "a time with its zone",
        ),
        "a finding in its own place": (
            [(added, documents), entry_of(Withdrawal(bare.id, AT, "eve", "x", bare.id))],
            "take its own place",
        ),
        "an indicator of no time": ([document(indicator(valid_from="zz"), "indicator")], "a day or a time"),
        "closed twice": ([closed(), closed()], "is closed already"),
        "open again": ([closed(withdrawn=True), closed()], "is withdrawn already"),
        "a finding after the end": ([closed(), (added, documents)], "none in a closed case"),
        "an indicator after the end": ([closed(), document(indicator(), "indicator")], "because the case is closed"),
        "a correction after the end": (
            [(added, documents), closed(), (more, other_documents), replaced],
            "",
        ),
        "more than its kind has": (
            [("note.added", {**entry_of(Note(AT, "eve", "x"))[1], "hidden": "y"})],
            "of a note and who wrote it",
        ),
        "a head that is none": ([("workspace.noted", {"head": {"a": 1}, "entries": 1, "by": "x"})], "expected text"),
    }  # fmt: skip


@pytest.mark.parametrize("name", rules_broken())
def test_what_comes_in_makes_as_much_sense_as_what_is_added(
    lite: CaseStore, tmp_path: Path, name: str
) -> None:
    parts, words = rules_broken()[name]
    entries: list[Any] = [opening()]
    documents: dict[tuple[str, str], bytes] = {}
    for part in parts:
        if isinstance(part[0], tuple):
            entries.append(part[0])
            documents |= part[1]
        else:
            entries.append(part)
    blobs = [b"x"] if "evidence.added" in {kind for kind, _ in entries} else []
    path = written(tmp_path / "c.zip", forged(entries, documents, blobs))
    if not words:
        lite.import_file(path)
        assert all_followups([lite.get("C-7")], date(2026, 11, 24)) == []
        return
    with pytest.raises(StillwatchError, match=words):
        checked(path)
    with pytest.raises(StillwatchError, match=words):
        lite.import_file(path)
    assert lite.list() == ()


def test_the_order_of_members_is_that_of_the_journal(lite: CaseStore, tmp_path: Path) -> None:
    path = export(lite, filled(lite), tmp_path / "c.zip")
    members = unpacked(path.read_bytes())
    names = [name for name in members if not name.startswith("manifest")]
    turned = [*reversed(names), "manifest.json", "manifest.sig"]
    swapped = [names[0], names[2], names[1], *names[3:], "manifest.json", "manifest.sig"]
    for order in (turned, swapped):
        path.write_bytes(packed({name: members[name] for name in order}))
        with pytest.raises(IntegrityError, match="in the order of the journal"):
            checked(path, public_key=lite.public_key)


def test_a_title_fits_an_entry(store: CaseStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stillwatch.cases.events.MAX_ENTRY", 2000)
    with pytest.raises(InputError, match=r"an entry of .* MiB"):
        store.open("x" * 2000)
    assert store.list() == ()


def test_text_of_a_document_is_what_its_entry_says(lite: CaseStore, tmp_path: Path) -> None:
    one = finding(run="")
    entry = ("finding.added", {"finding": one.id, "run": run().id, "by": "eve"})
    planned = events.plan(run(), "eve")
    documents = {("run", run().id): text_of(run()).encode(), ("finding", one.id): text_of(one).encode()}
    path = written(tmp_path / "c.zip", forged([opening(), (planned.kind, planned.body), entry], documents))
    with pytest.raises(IntegrityError, match="run of the finding"):
        checked(path)
