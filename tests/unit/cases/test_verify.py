"""Whatever is changed in a store is found, and the first thing that is broken is named."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text
from store_samples import AT, filled, finding

from stillwatch.cases import chain
from stillwatch.cases.journal import Journal
from stillwatch.cases.sealing import Signer, head_values, make_seal
from stillwatch.cases.store import CaseStore
from stillwatch.errors import InputError, IntegrityError

Change = Callable[[CaseStore, Connection], str]


def lines(connection: Connection) -> list[dict[str, Any]]:
    rows = connection.execute(text("select line from entries where case_id = 'C-1' order by seq"))
    return [json.loads(line) for (line,) in rows]


def put_line(connection: Connection, seq: int, line: str) -> None:
    connection.execute(
        text("update entries set line = :line where case_id = 'C-1' and seq = :seq"),
        {"line": line, "seq": seq},
    )


def run_sql(sql: str, says: str) -> Change:
    def change(_: CaseStore, connection: Connection) -> str:
        assert connection.execute(text(sql)).rowcount > 0
        return says

    return change


def words_of_an_answer(_: CaseStore, connection: Connection) -> str:
    entry = next(e for e in lines(connection) if e["kind"] == "answer.received")
    line = chain.canonical(entry).decode().replace("These are our", "These are not our")
    put_line(connection, entry["seq"], line)
    return rf"entry {entry['seq']}: expected digest {entry['digest']}"


def an_entry_with_a_digest_that_fits(_: CaseStore, connection: Connection) -> str:
    entry = lines(connection)[5]
    digest, line = chain.link(
        6, entry["previous"], entry["time"], entry["kind"], {**entry["body"], "by": "eve"}
    )
    assert digest != entry["digest"]
    put_line(connection, 6, line.decode())
    return r"entry 7 .*removed, added or moved here"


def two_entries_swapped(_: CaseStore, connection: Connection) -> str:
    all_of_them = lines(connection)
    put_line(connection, 3, chain.canonical(all_of_them[3]).decode())
    put_line(connection, 4, chain.canonical(all_of_them[2]).decode())
    return r"entry 3 .*removed, added or moved here"


def another_spelling(_: CaseStore, connection: Connection) -> str:
    put_line(connection, 2, json.dumps(lines(connection)[1]))
    return "entry 2: .*canonical form"


def evidence_bytes(store: CaseStore, _: Connection) -> str:
    sha256 = hashlib.sha256(b"line one\n" * 40).hexdigest()
    path = store.files.path(sha256)
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    return rf"entry 5 \(evidence.added\): evidence {sha256}: expected digest {sha256}"


def evidence_gone(store: CaseStore, _: Connection) -> str:
    sha256 = hashlib.sha256(b"line one\n" * 40).hexdigest()
    store.files.path(sha256).unlink()
    return rf"entry 5 .*evidence {sha256}.*the bytes are gone"


def evidence_longer(store: CaseStore, _: Connection) -> str:
    sha256 = hashlib.sha256(b"").hexdigest()
    store.files.path(sha256).write_bytes(b"\0")
    return rf"entry 6 .*evidence {sha256}"


CHANGES: dict[str, Change] = {
    "words of an answer": words_of_an_answer,
    "an entry with a digest that fits": an_entry_with_a_digest_that_fits,
    "two entries swapped": two_entries_swapped,
    "another spelling": another_spelling,
    "an entry removed": run_sql("delete from entries where seq = 8", r"entry 8 .*removed, added or moved"),
    "the first entry removed": run_sql(
        "delete from entries where seq = 1", r"entry 1 .*removed, added or moved"
    ),
    "a finding's words": run_sql(
        f"update things set content = replace(content, '1 accounts', '9 accounts') where id = '{finding(1).id}'",
        rf"entry 3 \(finding.added\).*{finding(1).id}",
    ),
    "a finding's spelling": run_sql(
        f"update things set content = replace(content, ',', ', ') where id = '{finding(1).id}'",
        r"entry 3 .*canonical form",
    ),
    "a finding for another": run_sql(
        f"update things set content = (select content from things where id = '{finding(3).id}') "
        f"where id = '{finding(1).id}'",
        rf"entry 3 .*expected digest {finding(1).id}, found {finding(3).id}",
    ),
    "a finding gone": run_sql(
        f"delete from things where id = '{finding(2).id}'", r"entry 4 .*row is gone or another"
    ),
    "a finding's words gone": run_sql(
        f"update things set content = null where id = '{finding(2).id}'", r"entry 4 .*the record is gone"
    ),
    "a run's words": run_sql(
        "update things set content = replace(content, '0.1.0', '0.2.0') where kind = 'run'", "entry 2 .*run"
    ),
    "a notice's words": run_sql(
        "update things set content = replace(content, 'Desk B', 'Desk C') where kind = 'notice'", "notice"
    ),
    "an indicator's words": run_sql(
        "update things set content = replace(content, '60', '99') where kind = 'indicator'", "indicator"
    ),
    "a thing that no entry brought": run_sql(
        "insert into things (case_id, kind, id, seq) values ('C-1', 'finding', 'f00', 1)",
        "table of its things",
    ),
    "the row of an answer gone": run_sql(
        "delete from things where kind = 'answer'", r"answer.received.*row is gone"
    ),
    "the row of evidence moved": run_sql(
        "update things set seq = 1 where kind = 'evidence' and seq = 5", r"entry 5 .*row is gone or another"
    ),
    "the title": run_sql("update cases set title = 'Another'", "its title in the table"),
    "the status": run_sql("update cases set status = 'withdrawn'", "its status in the table"),
    "the label": run_sql("update cases set tlp = 'TLP:CLEAR'", "its tlp in the table"),
    "the date": run_sql("update cases set opened_at = '2020-01-01'", "its opened_at in the table"),
    "the head": run_sql(f"update cases set head = '{'a' * 64}'", "the head of entry"),
    "the number of entries": run_sql("update cases set seq = seq - 1", "the head of entry"),
    "the signature": run_sql("update cases set signature = replace(signature, 'a', 'b')", "the signature"),
    "evidence bytes": evidence_bytes,
    "evidence gone": evidence_gone,
    "evidence longer": evidence_longer,
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_first_broken_thing_is_named(store: CaseStore, name: str) -> None:
    case = filled(store)
    store.verify(case)
    with store._database.writing() as connection:
        says = CHANGES[name](store, connection)
    with pytest.raises(IntegrityError, match=says) as caught:
        store.verify(case)
    assert caught.value.exit_code == 5


def cut(connection: Connection, keep: int, signer: Signer | None = None) -> None:
    """The case as it was after entry `keep`, as well as somebody with the database can make it."""
    kept = lines(connection)[keep - 1]
    for table in ("entries", "things"):
        connection.execute(text(f"delete from {table} where case_id = 'C-1' and seq > {keep}"))
    connection.execute(text(f"update cases set seq = {keep}, head = '{kept['digest']}', status = 'open'"))
    if signer:
        sign(connection, keep, kept["digest"], signer)


def sign(connection: Connection, seq: int, head: str, signer: Signer) -> None:
    values = head_values("C-1", seq, head, signer.public_key)
    connection.execute(
        text("update cases set public_key = :key, signature = :signature"),
        {"key": signer.public_key, "signature": signer.sign(values)},
    )


def eve() -> Signer:
    return Signer.derived(lambda label: b"e" * 32)


def test_a_clean_cut_at_the_end_is_found(store: CaseStore) -> None:
    filled(store)
    with store._database.writing() as connection:
        cut(connection, 9)
    with pytest.raises(IntegrityError, match="the head of entry 9: the signature"):
        store.verify("C-1")
    with pytest.raises(IntegrityError, match="the head of entry 9"):
        store.note("C-1", "on top", by="ann")  # nothing is added to a broken chain


def test_a_cut_that_somebody_else_signed_is_found(store: CaseStore) -> None:
    filled(store)
    with store._database.writing() as connection:
        cut(connection, 9, eve())
    for _ in range(2):
        with pytest.raises(IntegrityError, match=f"by a key that is known here, .* by {eve().public_key}"):
            store.verify("C-1")
        shutil.rmtree(store._marks.folder, ignore_errors=True)


def rewritten(connection: Connection, signer: Signer) -> str:
    """The whole chain once more from entry 3 on, with other words in it, seals included."""
    previous, digest = chain.START, ""
    for entry in lines(connection):
        body = entry["body"]
        if entry["kind"] == "note.added":
            body["note"]["text"] = "Do not ask the reseller."
        if entry["kind"] == "case.sealed":
            old = body["seal"]
            seal = make_seal(
                signer, case="C-1", seq=entry["seq"] - 1, head=previous, at=old["at"], by=old["by"]
            )
            body["seal"] = {
                **old,
                "head": seal.head,
                "public_key": seal.public_key,
                "signature": seal.signature,
            }
        digest, line = chain.link(entry["seq"], previous, entry["time"], entry["kind"], body)
        put_line(connection, entry["seq"], line.decode())
        previous = digest
    connection.execute(text(f"update cases set head = '{digest}'"))
    return digest


def test_a_chain_that_was_hashed_anew_is_found(store: CaseStore) -> None:
    case = filled(store)
    noted, own = store.get(case).seals[0], store.public_key
    with store._database.writing() as connection:
        rewritten(connection, eve())
    with pytest.raises(IntegrityError, match=r"the head of entry \d+: the signature"):
        store.verify(case)
    with store._database.writing() as connection:
        sign(connection, len(lines(connection)), lines(connection)[-1]["digest"], eve())
    with pytest.raises(IntegrityError, match="by a key that is known here"):
        store.verify(case)
    with pytest.raises(IntegrityError, match="noted outside the database"):
        store.verify(case, public_key=eve().public_key)
    shutil.rmtree(store._marks.folder)
    with pytest.raises(IntegrityError, match="by a key that is known here"):
        store.verify(case)
    # Somebody who has no key of ours cannot be told from us without one of these:
    assert store.verify(case, public_key=eve().public_key).entries > 0
    with pytest.raises(IntegrityError, match=f"a key that is known here, {own}"):
        store.verify(case, public_key=own)
    with pytest.raises(IntegrityError, match="noted elsewhere"):
        store.verify(case, public_key=eve().public_key, heads=(noted.head,))


def test_what_the_key_can_do_only_a_noted_head_shows(store: CaseStore) -> None:
    case = filled(store)
    noted = store.get(case).seals[0]
    with store._database.writing() as connection:
        head = rewritten(connection, store._signer())
        sign(connection, len(lines(connection)), head, store._signer())
    shutil.rmtree(store._marks.folder)
    assert store.verify(case).pinned  # a limit that the guide states
    with pytest.raises(IntegrityError, match="noted elsewhere"):
        store.verify(case, heads=(noted.head,))


def test_an_older_copy_of_the_database_is_found(tmp_path: Path) -> None:
    place = tmp_path / "workspace"
    with CaseStore(place) as store:
        case = filled(store)
    shutil.copytree(place / "cases", tmp_path / "before")
    with CaseStore(place) as store:
        store.note(case, "This is to be forgotten.", by="ann")
        head = store.seal(case, by="ann").head
    for path in (place / "cases").glob("cases.db*"):
        path.unlink()
    shutil.copy(tmp_path / "before" / "cases.db", place / "cases" / "cases.db")
    with CaseStore(place) as store:
        with pytest.raises(
            IntegrityError, match=r"noted outside the database.*older one than was written here"
        ):
            store.verify(case)
        with pytest.raises(IntegrityError, match="noted outside the database"):
            store.note(case, "on top", by="ann")
        # The whole folder as it was, marks included: only what was noted elsewhere tells.
        shutil.rmtree(place / "cases" / "heads")
        shutil.copytree(tmp_path / "before" / "heads", place / "cases" / "heads")
        assert store.verify(case)
        with pytest.raises(IntegrityError, match="noted elsewhere"):
            store.verify(case, heads=(head,))


def test_a_mark_that_was_changed_is_found(lite: CaseStore) -> None:
    case = filled(lite)
    path = lite._marks.folder / f"{case}.json"
    whole = path.read_bytes()
    seq = json.loads(whole)["seq"]
    for changed in (whole.replace(f'"seq":{seq}'.encode(), b'"seq":3'), whole[:-9], b"", b"[]", b"\xff"):
        path.write_bytes(changed)
        with pytest.raises(IntegrityError):
            lite.verify(case)
    path.unlink()
    assert any("no head is noted" in note for note in lite.verify(case).notes)


def test_a_pinned_key_vouches_for_what_it_sealed(lite: CaseStore) -> None:
    case = lite.open("One").id
    other = Signer.derived(lambda label: b"o" * 32)
    with pytest.raises(IntegrityError, match=f"by the key {other.public_key}"):
        lite.verify(case, public_key=other.public_key)
    lite.seal(case, by="ann", signer=other)
    lite.note(case, "later", by="ann")
    found = lite.verify(case, public_key=other.public_key)
    assert found.pinned
    assert any("sealed entries 1 to 1; 1 later entry: only" in note for note in found.notes)
    assert lite.verify(case, public_key=lite.public_key).pinned
    with pytest.raises(InputError, match="64 hexadecimal digits"):
        lite.verify(case, public_key="abc")


def test_a_head_that_was_noted_stays_in_the_chain(lite: CaseStore) -> None:
    case = filled(lite)
    heads = [lite.get(case).head, lite.get(case).seals[0].head]
    lite.note(case, "more", by="ann")
    assert lite.verify(case, heads=heads)
    with pytest.raises(IntegrityError, match="noted elsewhere"):
        lite.verify(case, heads=[*heads, "a" * 64])


def test_the_workspace_journal_is_vouched_for(lite: CaseStore, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "workspace" / "journal.jsonl")
    for number in range(3):
        journal.append("scan", {"number": number})
    case = lite.open("One").id
    lite.note_workspace(case, journal.head(), 3, by="ann")
    journal.append("scan", {"number": 4})
    assert lite.verify(case).noted
    whole = journal.path.read_bytes().splitlines(keepends=True)
    journal.path.write_bytes(b"".join(whole[:2]))
    with pytest.raises(IntegrityError, match=r"journal\.jsonl: the entry noted in case C-1"):
        lite.verify(case)


def test_a_seal_over_something_else_is_found(lite: CaseStore) -> None:
    case = filled(lite)
    with lite._chain(case) as writer:
        from stillwatch.cases.events import plan_seal

        writer.add(plan_seal(make_seal(lite._signer(), case=case, seq=1, head=writer.head, at=AT, by="ann")))
    with pytest.raises(IntegrityError, match=r"\(case.sealed\): the seal"):
        lite.verify(case)
