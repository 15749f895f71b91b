"""The portable file: the same bytes for the same state, labels and retention, hostile files, and what may be merged."""

from __future__ import annotations

import hashlib
import io
import json
import stat
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from portable_changes import listed_anew, packed, unpacked
from store_samples import AT, filled, finding, indicator, notice, run

from stillwatch.cases import archive, portable
from stillwatch.cases.archive import Packer, Unpacker
from stillwatch.cases.portable import Portable, check_file
from stillwatch.cases.sealing import Signer, fingerprint
from stillwatch.cases.store import CaseStore
from stillwatch.errors import FormatError, InputError, IntegrityError, StillwatchError
from stillwatch.records import Note

ABOUT: dict[str, Any] = {"media_type": "text/plain", "role": "log", "origin": "a.log", "by": "ann"}


def export(store: CaseStore, case: str, path: Path, **more: Any) -> Path:
    return store.export(case, path, by="ann", **more).path


def checked(path: Path, **more: Any) -> portable.Verified:
    with portable.opened(path) as source:
        return check_file(source, **more)


@pytest.fixture
def other(tmp_path: Path) -> CaseStore:
    """Somebody else's store."""
    return CaseStore(tmp_path / "theirs")


# -- what it holds ----------------------------------------------------------------------------------------------------


def test_a_case_comes_back_whole_elsewhere(store: CaseStore, other: CaseStore, tmp_path: Path) -> None:
    case = filled(store)
    before = store.get(case)
    path = export(store, case, tmp_path / "c.zip")
    assert other.import_file(path, by="bob")[:2] == (case, 16)
    found = other.get(case)
    taken = [step for step in found.custody if step.action == "imported"]
    assert [step.evidence for step in taken] == [item.sha256 for item in before.evidence]
    assert {(step.by, step.note) for step in taken} == {
        ("bob", f"in a file that {fingerprint(store.public_key)} signed")
    }
    assert replace(found, custody=tuple(step for step in found.custody if step not in taken)) == before
    assert other.verify(case).entries == 16
    for item in before.evidence:
        assert b"".join(other.evidence(case, item.sha256)) == b"".join(store.evidence(case, item.sha256))


def test_the_same_state_gives_the_same_bytes(store: CaseStore, tmp_path: Path) -> None:
    case = filled(store)
    with store._stored(case) as source:
        for name in ("a", "b"):
            portable.write(source, tmp_path / name, signer=store._signer())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_any_tool_can_read_it(lite: CaseStore, tmp_path: Path) -> None:
    path = export(lite, filled(lite), tmp_path / "c.zip")
    with zipfile.ZipFile(path) as opened:
        assert opened.testzip() is None
        manifest = json.loads(opened.read("manifest.json"))
        for member in manifest["members"]:
            data = opened.read(member["name"])
            assert (hashlib.sha256(data).hexdigest(), len(data)) == (member["sha256"], member["size"])
        roles = {m["role"] for m in manifest["members"]}
        assert roles == {"journal", "finding", "run", "notice", "indicator", "evidence", "seals"}
        assert json.loads(opened.read(f"findings/{finding(1).id}.json"))["id"] == finding(1).id
        assert len(opened.read("journal.jsonl").splitlines()) == manifest["seq"] == 16
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_journal_notes_that_a_file_left(lite: CaseStore, tmp_path: Path) -> None:
    case = filled(lite)
    written = lite.export(case, tmp_path / "c.zip", by="bob")
    assert written.sha256 == hashlib.sha256((tmp_path / "c.zip").read_bytes()).hexdigest()
    with lite._stored(case) as source:
        last = json.loads(list(source.lines())[-1])
    assert (last["kind"], last["body"]["sha256"], last["body"]["by"]) == (
        "case.exported",
        written.sha256,
        "bob",
    )
    assert lite.get(case).status == "sealed"


def test_a_file_that_is_there_is_not_replaced(lite: CaseStore, tmp_path: Path) -> None:
    case = filled(lite)
    (tmp_path / "c.zip").write_bytes(b"precious")
    with pytest.raises(InputError, match="is there already"):
        export(lite, case, tmp_path / "c.zip")
    assert (tmp_path / "c.zip").read_bytes() == b"precious"
    assert checked(export(lite, case, tmp_path / "c.zip", replace_it=True))
    with pytest.raises(InputError, match="was not written"):
        export(lite, case, tmp_path / "nowhere" / "c.zip")


def test_a_broken_case_does_not_go_out(lite: CaseStore, tmp_path: Path) -> None:
    case = filled(lite)
    lite.files.path(lite.get(case).evidence[0].sha256).write_bytes(b"line two\n" * 40)
    with pytest.raises(IntegrityError):
        export(lite, case, tmp_path / "c.zip")
    assert not list(tmp_path.glob("*.zip*"))
    assert not list(tmp_path.glob(".*"))


# -- labels and retention ---------------------------------------------------------------------------------------------


def labelled(store: CaseStore) -> str:
    case = store.open("One", tlp="TLP:GREEN", by="ann").id
    store.add_many(case, [run(), finding()], by="ann")
    for tlp in ("TLP:CLEAR", "TLP:GREEN", "TLP:AMBER", "TLP:AMBER+STRICT", "TLP:RED"):
        store.add_evidence(case, tlp.encode(), tlp=tlp, **ABOUT)  # type: ignore[arg-type]
    store.add(case, notice(finding(), tlp="TLP:RED"))
    store.add(case, notice(finding(), tlp="TLP:GREEN"))
    store.add(case, indicator(tlp="TLP:AMBER"))
    return case


@pytest.mark.parametrize(
    ("tlp", "evidence", "notices", "indicators"),
    [
        ("", 2, 1, 0),
        ("TLP:GREEN", 2, 1, 0),
        ("TLP:AMBER", 3, 1, 1),
        ("TLP:AMBER+STRICT", 4, 1, 1),
        ("TLP:RED", 5, 2, 1),
    ],
)
def test_nothing_stricter_goes_out(
    lite: CaseStore, other: CaseStore, tmp_path: Path, tlp: str, evidence: int, notices: int, indicators: int
) -> None:
    case = labelled(lite)
    written = lite.export(case, tmp_path / "c.zip", by="ann", tlp=tlp)
    found = checked(tmp_path / "c.zip", public_key=lite.public_key)
    names = list(zipfile.ZipFile(tmp_path / "c.zip").namelist())
    assert sum(n.startswith("evidence/") for n in names) == evidence
    assert sum(n.startswith("notices/") for n in names) == notices
    assert sum(n.startswith("indicators/") for n in names) == indicators
    assert len(found.left_out) == len(written.left_out) == 8 - evidence - notices - indicators
    assert all("is stricter than" in reason for _, _, reason in found.left_out)
    assert tlp == "TLP:RED" or b"TLP:RED" not in b"".join(
        data
        for name, data in unpacked((tmp_path / "c.zip").read_bytes()).items()
        if name.startswith("evidence/")
    )
    other.import_file(tmp_path / "c.zip")
    theirs = other.get(case)
    assert (len(theirs.evidence), len(theirs.notices)) == (5, notices)  # the record of every item stays
    assert other.verify(case).left_out == found.left_out
    again = other.export(case, tmp_path / "again.zip", by="eve", tlp="TLP:RED")
    assert {item.id for item in again.left_out} == {identity for _, identity, _ in found.left_out}
    checked(tmp_path / "again.zip")


def test_a_case_does_not_go_out_under_a_laxer_label(lite: CaseStore, tmp_path: Path) -> None:
    case = lite.open("One", tlp="TLP:AMBER").id
    for tlp in ("TLP:GREEN", "TLP:CLEAR"):
        with pytest.raises(InputError, match=f"cannot go out as {tlp}"):
            export(lite, case, tmp_path / "c.zip", tlp=tlp)
    with pytest.raises(InputError, match="expected one of TLP:CLEAR"):
        export(lite, case, tmp_path / "c.zip", tlp="GREEN")
    assert not (tmp_path / "c.zip").exists()


def test_what_was_to_be_kept_until_yesterday_stays(lite: CaseStore, tmp_path: Path) -> None:
    case = lite.open("One").id
    for day in ("2026-11-23", "2026-11-24", "2026-11-25"):
        lite.add_evidence(case, day.encode(), retain_until=day, **ABOUT)
    written = lite.export(case, tmp_path / "c.zip", by="ann", today=date(2026, 11, 24))
    assert [item.reason for item in written.left_out] == ["was to be kept until 2026-11-23"]
    assert checked(tmp_path / "c.zip").left_out[0][2] == "was to be kept until 2026-11-23"


def test_deleted_evidence_is_not_in_the_file(lite: CaseStore, tmp_path: Path) -> None:
    case = filled(lite)
    lite.delete_evidence(case, lite.get(case).evidence[0].sha256, "retention", by="ann")
    written = lite.export(case, tmp_path / "c.zip", by="ann")
    assert [item.reason for item in written.left_out] == ["deleted, as the journal says"]
    checked(tmp_path / "c.zip")


# -- hostile files ----------------------------------------------------------------------------------------------------


def zipped(entries: list[tuple[zipfile.ZipInfo | str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as made:
        for info, data in entries:
            made.writestr(info, data)
    return out.getvalue()


def with_member(name: str) -> bytes:
    return zipped([("journal.jsonl", b"{}\n"), (name, b"x")])


def symlink() -> bytes:
    info = zipfile.ZipInfo("journal.jsonl")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return zipped([(info, b"/etc/passwd")])


def encrypted() -> bytes:
    data = bytearray(zipped([("journal.jsonl", b"x")]))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def bomb() -> bytes:
    return zipped([("journal.jsonl", bytes(30_000_000))], zipfile.ZIP_DEFLATED)


def lying_sizes() -> bytes:
    data = bytearray(zipped([("journal.jsonl", b"x" * 10)]))
    struct.pack_into("<I", data, data.index(b"PK\x01\x02") + 24, 1 << 30)
    return bytes(data)


def both_sizes_lie() -> bytes:
    data = bytearray(zipped([("journal.jsonl", b"x" * 10)]))
    for place in (20, 24):
        struct.pack_into("<I", data, data.index(b"PK\x01\x02") + place, 1 << 30)
    return bytes(data)


def overlapping() -> bytes:
    data = bytearray(zipped([("a/b", b"x" * 10), ("journal.jsonl", b"x" * 10)]))
    last = data.rindex(b"PK\x01\x02")
    struct.pack_into("<I", data, last + 42, 0)
    return bytes(data)


def many_members() -> bytes:
    data = bytearray(packed({"journal.jsonl": b""}))
    struct.pack_into("<HH", data, len(data) - 14, 65535, 65535)
    return bytes(data)


def many_in_zip64() -> bytes:
    body = packed({"journal.jsonl": b""})[:-22]
    start = body.index(b"PK\x01\x02")
    end64 = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 0x32D, 45, 0, 0, 1 << 60, 1 << 60, 1 << 62, start)
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, len(body), 1)
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 65535, 65535, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return body + end64 + locator + end


def commented() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr("journal.jsonl", b"{}")
        made.comment = b"hidden"
    return out.getvalue()


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "up": (lambda: with_member("../evil"), "unsafe name"),
    "up in the middle": (lambda: with_member("evidence/../../evil"), "unsafe name"),
    "absolute": (lambda: with_member("/etc/cron.d/evil"), "unsafe name"),
    "backslash": (lambda: with_member("evidence\\..\\evil"), "unsafe name"),
    "drive": (lambda: with_member("C:/evil"), "unsafe name"),
    "dot": (lambda: with_member("./journal.jsonl"), "unsafe name"),
    "folder": (lambda: with_member("evidence/"), "unsafe name"),
    "not ASCII": (lambda: with_member("evidence/\u202egnp.exe"), "unsafe name"),
    "control character": (lambda: with_member("evidence/\x1b[2J"), "unsafe name"),
    "long": (lambda: with_member("e" * 300), "unsafe name"),
    "symbolic link": (symlink, "symbolic link"),
    "encrypted": (encrypted, "is encrypted"),
    "bomb": (bomb, r"compressed \(method 8\)"),
    "other compression": (
        lambda: zipped([("journal.jsonl", b"x")], zipfile.ZIP_LZMA),
        r"compressed \(method 14\)",
    ),
    "sizes that lie": (lying_sizes, "claim to be"),
    "both sizes lie": (both_sizes_lie, "its directory"),
    "overlapping": (overlapping, "its directory"),
    "capitals": (lambda: zipped([("A", b""), ("a", b"")]), "differ in capitals only"),
    "unknown member": (
        lambda: packed({"journal.jsonl": b"", "run.sh": b"rm"}),
        "no portable case has: 'run.sh'",
    ),
    "too many": (many_members, "its directory"),
    "too many, ZIP64": (many_in_zip64, "members, at most"),
    "comment": (commented, "after the end"),
    "prefix": (lambda: b"#!/bin/sh\n" + packed({"journal.jsonl": b""}), "does not fit"),
    "suffix": (lambda: packed({"journal.jsonl": b""}) + b"\n", "after the end"),
    "empty archive": (lambda: packed({}), "no manifest.json"),
    "no manifest": (lambda: packed({"journal.jsonl": b""}), "no manifest.json"),
    "no archive": (lambda: b"words " * 100, "no ZIP archive"),
    "empty": (lambda: b"", "no ZIP archive"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_before_anything_is_written(name: str, tmp_path: Path) -> None:
    make, words = HOSTILE[name]
    path = tmp_path / "evil.zip"
    path.write_bytes(make())
    with CaseStore(tmp_path / "w") as store:
        before = sorted(p for p in tmp_path.rglob("*") if p.is_file())
        with pytest.raises((FormatError, IntegrityError), match=words) as caught:
            store.import_file(path)
        assert str(path) in str(caught.value)
        assert sorted(p for p in tmp_path.rglob("*") if p.is_file()) == before
        assert store.list() == ()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(zipped([("journal.jsonl", b"a"), ("journal.jsonl", b"b")]))
    with pytest.raises(FormatError, match="two members of the name"):
        checked(tmp_path / "x.zip")


def eve() -> Signer:
    return Signer.derived(lambda label: b"e" * 32)


def forged(whole: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """With another manifest, signed with the forger's key."""
    members = unpacked(whole)
    values = json.loads(members["manifest.json"])
    values["public_key"] = eve().public_key
    change(values)
    data = json.dumps(values, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    signed = {"what": "manifest", "sha256": hashlib.sha256(data).hexdigest(), "public_key": eve().public_key}
    members["manifest.json"] = data
    members["manifest.sig"] = eve().sign(signed).encode() + b"\n"
    return packed(members)


FORGED: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "another format": (lambda m: m.update(format="zip"), "no manifest of the format"),
    "a newer version": (lambda m: m.update(version=2), "format version 2, this program reads 1"),
    "a field more": (lambda m: m.update(more=1), "has .*'more'.* besides"),
    "a field less": (lambda m: m.pop("tlp"), "lacks tlp"),
    "another head": (lambda m: m.update(head="0" * 64), "head in the manifest"),
    "fewer entries": (lambda m: m.update(seq=3), "seq in the manifest"),
    "another case": (lambda m: m.update(case="C-9"), "case in the manifest"),
    "a laxer label": (lambda m: m.update(tlp="TLP:CLEAR"), "its label"),
    "no label": (lambda m: m.update(tlp="x"), "expected one of TLP:CLEAR"),
    "a member that is not there": (
        lambda m: m["members"].append({**m["members"][0], "name": "runs/" + "0" * 64 + ".json"}),
        "the members",
    ),
    "a member less": (lambda m: m["members"].pop(), "the members"),
    "a member twice": (lambda m: m["members"].append(m["members"][-1]), "the members"),
    "another role": (lambda m: m["members"][0].update(role="seals"), "of the role evidence"),
    "another size": (lambda m: m["members"][0].update(size=7), "of 7 bytes"),
    "another digest of evidence": (lambda m: m["members"][0].update(sha256="0" * 64), "evidence/"),
    "another digest of a finding": (lambda m: m["members"][2].update(sha256="0" * 64), "findings/"),
    "something left out that is there": (
        lambda m: m["left_out"].append({"kind": "finding", "id": finding(1).id, "reason": "x"}),
        "left out, as the manifest says",
    ),
    "something left out that never was": (
        lambda m: m["left_out"].append({"kind": "finding", "id": "0" * 64, "reason": "x"}),
        "of an entry in the journal",
    ),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_manifest_that_lies_is_refused_even_if_it_is_signed(
    lite: CaseStore, tmp_path: Path, name: str
) -> None:
    path = export(lite, filled(lite), tmp_path / "c.zip")
    change, words = FORGED[name]
    (tmp_path / "forged.zip").write_bytes(forged(path.read_bytes(), change))
    with pytest.raises(StillwatchError, match=words):
        checked(tmp_path / "forged.zip")


def test_a_signature_by_somebody_else(lite: CaseStore, other: CaseStore, tmp_path: Path) -> None:
    path = export(lite, filled(lite), tmp_path / "c.zip")
    members = unpacked(path.read_bytes())
    path.write_bytes(packed({**members, "manifest.sig": b"00" * 64 + b"\n"}))
    with pytest.raises(IntegrityError, match="the signature"):
        other.import_file(path)
    path.write_bytes(packed(listed_anew(members, eve())))
    # The seal inside is ours and over everything before it; the file as a whole is Eve's, but leaves nothing out.
    found = checked(path, public_key=lite.public_key)
    assert (found.vouched, found.pinned) == (eve().public_key, False)
    assert "the given key sealed entries 1 to 15" in found.notes
    unsealed = lite.open("Two").id
    path = export(lite, unsealed, tmp_path / "two.zip")
    path.write_bytes(packed(listed_anew(unpacked(path.read_bytes()), eve())))
    with pytest.raises(IntegrityError, match=f"by the key {lite.public_key}"):
        other.import_file(path, public_key=lite.public_key)
    assert other.list() == ()


def test_a_stowaway_is_refused(lite: CaseStore, tmp_path: Path) -> None:
    path = export(lite, filled(lite), tmp_path / "c.zip")
    members = unpacked(path.read_bytes())
    data = b"not evidence of anything"
    path.write_bytes(
        packed(listed_anew({f"evidence/{hashlib.sha256(data).hexdigest()}": data, **members}, eve()))
    )
    with pytest.raises(IntegrityError, match="of an entry in the journal"):
        checked(path)


def test_an_archive_with_very_many_and_very_large_members(tmp_path: Path) -> None:
    """Over the bounds of plain ZIP, on both counts; the large one is a hole in the file."""
    path = tmp_path / "big.zip"
    with path.open("wb") as out:
        packer = Packer(out)
        for number in range(65_600):
            packer.add(f"e/{number}", [], 0)
        packer.finish()
    with path.open("rb") as file:
        assert len(Unpacker(file, "x").members) == 65_600
    with zipfile.ZipFile(path) as made:
        assert len(made.namelist()) == 65_600
    big = archive.Stored("x", (1 << 32) + 5, 0, 1 << 33)
    assert len(archive._local(big)) == 30 + 1 + 20
    with path.open("wb") as out:
        packer = Packer(out)
        packer.add("a", [], 0)
        packer._offset = out.seek(1 << 33)
        packer._members = [archive.Stored("a", (1 << 33) - 31 - 20, 0, 0)]
        out.seek(0)
        out.write(archive._local(packer._members[0]))
        out.seek(1 << 33)
        packer.add("b", [b"x"], 1)
        packer.finish()
    with path.open("rb") as file:
        members = Unpacker(file, "x").members
        assert [(m.name, m.size) for m in members.values()] == [("a", (1 << 33) - 51), ("b", 1)]
    with zipfile.ZipFile(path) as made:
        assert made.getinfo("b").header_offset == 1 << 33
        assert made.read("b") == b"x"


# -- merging ----------------------------------------------------------------------------------------------------------


def test_a_longer_journal_continues_and_an_equal_one_adds_nothing(
    store: CaseStore, other: CaseStore, tmp_path: Path
) -> None:
    case = filled(store)
    other.import_file(export(store, case, tmp_path / "1.zip"))
    store.note(case, "later", by="ann")
    store.add_evidence(case, b"new", **ABOUT)
    second = export(store, case, tmp_path / "2.zip")
    assert other.import_file(second)[:2] == (case, 3)
    assert other.import_file(second)[:2] == (case, 0)
    assert [n.text for n in other.get(case).notes][-1] == "later"
    assert other.verify(case).entries == 19
    # And on from there, and back: a file of theirs continues ours once ours has nothing that theirs lacks.
    other.import_file(export(store, case, tmp_path / "3.zip"))
    with pytest.raises(InputError, match=r"20 entries, C-1 has 21 here already"):
        store.import_file(export(other, case, tmp_path / "4.zip"))


def test_an_older_or_another_continuation_is_refused(
    lite: CaseStore, other: CaseStore, tmp_path: Path
) -> None:
    case = filled(lite)
    first = export(lite, case, tmp_path / "1.zip")
    other.import_file(first)
    lite.note(case, "ours", by="ann")
    with pytest.raises(InputError, match="an older export, or another continuation"):
        lite.import_file(first)
    other.note(case, "theirs", by="bob")
    other.note(case, "theirs", by="bob")
    with pytest.raises(InputError, match=r"entry 17 is not that of C-1 here: both continued one case apart"):
        lite.import_file(export(other, case, tmp_path / "2.zip"), public_key=other.public_key)
    assert lite.verify(case)


def test_a_stranger_does_not_continue_our_case(lite: CaseStore, other: CaseStore, tmp_path: Path) -> None:
    case = filled(lite)
    with lite._stored(case) as source:
        portable.write(source, tmp_path / "1.zip", signer=lite._signer())
    other.import_file(tmp_path / "1.zip")
    other.note(case, "We confess.", by="eve")
    longer = export(other, case, tmp_path / "2.zip")
    with pytest.raises(InputError, match=f"not known here for this case, {other.public_key}"):
        lite.import_file(longer)
    assert lite.verify(case).entries == 16
    assert lite.import_file(longer, public_key=other.public_key)[:2] == (case, 1)
    assert lite.verify(case).entries == 17


def test_another_case_of_the_same_id_is_given_another(
    lite: CaseStore, other: CaseStore, tmp_path: Path
) -> None:
    path = export(lite, filled(lite), tmp_path / "c.zip")
    other.open("Ours")
    with pytest.raises(InputError, match="another case is C-1 here; import this one with --as C-2"):
        other.import_file(path)
    for wrong in ("C-0", "X", "C-1; drop", "C-12345678901"):
        with pytest.raises(InputError, match="C- and a number"):
            other.import_file(path, as_case=wrong)
    assert other.import_file(path, as_case="C-7")[0] == "C-7"
    case = other.get("C-7")
    assert (case.id, case.seals[0].case) == ("C-7", "C-1")
    assert other.verify("C-7").case == "C-1"
    with pytest.raises(InputError, match="is here already, as C-7"):
        other.import_file(path, as_case="C-8")
    assert other.import_file(path)[0] == "C-7"
    assert other.seal("C-7", by="bob").case == "C-1"
    assert other.verify("C-7")
    assert other.open("Next").id == "C-8"


def test_a_later_import_brings_what_an_earlier_one_was_without(
    lite: CaseStore, other: CaseStore, tmp_path: Path
) -> None:
    case = labelled(lite)
    other.import_file(export(lite, case, tmp_path / "green.zip"))
    assert len(other.verify(case).left_out) == 5
    other.import_file(export(lite, case, tmp_path / "red.zip", tlp="TLP:RED"))
    assert other.verify(case).left_out == ()
    assert len(other.get(case).notices) == 2


def test_a_record_that_is_gone_is_not_excused_by_saying_so(
    lite: CaseStore, other: CaseStore, tmp_path: Path
) -> None:
    """What an import left out is what its signed manifest says, and nothing else."""
    from sqlalchemy import text

    case = labelled(lite)
    other.import_file(export(lite, case, tmp_path / "green.zip"))
    with other._database.writing() as connection:
        connection.execute(text("update things set content = null where kind = 'finding'"))
    with pytest.raises(IntegrityError, match="the record is gone"):
        other.verify(case)
    with other._database.writing() as connection:
        connection.execute(text("update imports set content = replace(content, 'indicator', 'finding')"))
    with pytest.raises(IntegrityError, match="the manifest of import 1"):
        other.verify(case)


def test_an_import_that_fails_late_writes_nothing_to_the_database(
    lite: CaseStore, other: CaseStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = export(lite, filled(lite), tmp_path / "c.zip")

    def broken(*_: Any) -> None:
        raise InputError("the disk is full")

    monkeypatch.setattr("stillwatch.cases.importing._note_import", broken)
    with pytest.raises(InputError, match="disk is full"):
        other.import_file(path)
    assert other.list() == ()
    monkeypatch.undo()
    assert other.import_file(path)[1] == 16


def test_a_head_that_was_noted_shows_an_older_export(lite: CaseStore, tmp_path: Path) -> None:
    case = filled(lite)
    older = export(lite, case, tmp_path / "1.zip")
    head = lite.seal(case, by="ann").head
    newer = export(lite, case, tmp_path / "2.zip")
    assert checked(newer, heads=(head,))
    with pytest.raises(IntegrityError, match="noted elsewhere"):
        checked(older, heads=(head,))


def test_it_verifies_with_the_core_install_alone(lite: CaseStore, tmp_path: Path) -> None:
    path = export(lite, filled(lite), tmp_path / "c.zip")
    code = (
        "import sys\n"
        "for name in ('typst', 'stix2', 'pymisp', 'pg8000', 'rfc3161_client', 'sqlalchemy', 'numpy', 'pyarrow', "
        "'duckdb', 'jinja2'):\n    sys.modules[name] = None\n"
        "from stillwatch.cli import main\n"
        f"sys.argv = ['stillwatch', 'case', 'verify', {str(path)!r}, '--public-key', {lite.public_key!r}]\n"
        "main.run()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "whole; 16 entries, 3 findings, 2 items of evidence" in done.stdout


def test_a_large_number_of_findings_goes_there_and_back(
    store: CaseStore, other: CaseStore, tmp_path: Path
) -> None:
    case = store.open("One").id
    notes = [Note(AT, "ann", str(n)) for n in range(2100)]
    store.add_many(case, [run(), *(replace(finding(), subject=str(n)) for n in range(300)), *notes], by="ann")
    other.import_file(export(store, case, tmp_path / "c.zip"))
    assert other.get(case).findings == store.get(case).findings
    assert other.verify(case).entries == 2402


def test_a_portable_source_is_read_twice(lite: CaseStore, tmp_path: Path) -> None:
    path = export(lite, filled(lite), tmp_path / "c.zip")
    with path.open("rb") as file:
        source = Portable(file, "x")
        one, two = source.lines(), source.lines()
        pairs = [(a, b) for a, b in zip(one, two, strict=True)]
    assert all(a == b for a, b in pairs)
