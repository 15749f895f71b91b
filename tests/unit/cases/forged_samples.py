"""What a stranger makes who knows the format well and has a key of her own, and never one of ours."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from portable_changes import packed, unpacked
from sqlalchemy import Connection, text
from store_samples import AT

from stillwatch.cases import chain, portable
from stillwatch.cases.manifest import FORMAT, LeftOut, Manifest, Member
from stillwatch.cases.sealing import Signer, head_values, make_seal
from stillwatch.cases.store import CaseStore
from stillwatch.records import Evidence

Change = Callable[[dict[str, Any], dict[str, bytes]], None]


def eve() -> Signer:
    return Signer.derived(lambda label: b"e" * 32)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def opening(
    case: str = "C-7", *, tlp: str = "TLP:AMBER", title: str = "Theirs"
) -> tuple[str, dict[str, Any]]:
    return "case.opened", {
        "case": case, "title": title, "tlp": tlp, "subjects": [], "by": "eve", "nonce": "00",
    }  # fmt: skip


def item(data: bytes, **more: Any) -> tuple[str, dict[str, Any]]:
    record = Evidence(sha(data), "text/plain", len(data), "log", "a page", AT, "eve", **more)
    return "evidence.added", {"evidence": json.loads(json.dumps(asdict(record))), "by": "eve"}


def forged(
    entries: Sequence[tuple[str, dict[str, Any]]],
    documents: Mapping[tuple[str, str], bytes] | None = None,
    evidence: Sequence[bytes] = (),
    *,
    left_out: Sequence[LeftOut] = (),
    tlp: str = "TLP:AMBER",
    signer: Signer | None = None,
) -> bytes:
    """A portable file of these entries, hashed and signed so that it holds together."""
    previous, lines, opened = chain.START, [], ""
    for number, (kind, body) in enumerate(entries, 1):
        previous, line = chain.link(number, previous, "2026-11-24T09:00:00.000000+00:00", kind, body)
        lines.append(line + b"\n")
        opened = opened or previous
    members = {"journal.jsonl": b"".join(lines)}
    members |= {f"{portable.FOLDERS[k]}/{i}.json": data for (k, i), data in (documents or {}).items()}
    members |= {f"evidence/{sha(data)}": data for data in evidence}
    members["seals.json"] = b"[]\n"
    case = entries[0][1]["case"]
    return signed_file(members, case, opened, len(lines), previous, left_out, tlp, signer or eve())


def signed_file(
    members: dict[str, bytes],
    case: str,
    opened: str,
    seq: int,
    head: str,
    left_out: Sequence[LeftOut],
    tlp: str,
    signer: Signer,
) -> bytes:
    roles = {"journal.jsonl": "journal", "seals.json": "seals", "evidence": "evidence"}
    roles |= {folder: kind for kind, folder in portable.FOLDERS.items()}
    listed = [Member(n, roles[n.partition("/")[0]], sha(data), len(data)) for n, data in members.items()]
    manifest = Manifest(
        FORMAT, 1, case, opened, seq, head, tlp, signer.public_key, tuple(sorted(listed, key=lambda m: m.name)),
        tuple(sorted(left_out, key=lambda one: (one.kind, one.id))),
    )  # fmt: skip
    own = {"manifest.json": manifest.encoded(), "manifest.sig": manifest.signature(signer).encode() + b"\n"}
    return packed({**members, **own})


def stripped(whole: bytes, extra: Sequence[tuple[str, dict[str, Any]]], keep: Callable[[str], bool]) -> bytes:
    """Somebody else's file with members taken out and entries added, signed by Eve."""
    members = unpacked(whole)
    lines = [json.loads(line) for line in members["journal.jsonl"].splitlines()]
    seq, head = lines[-1]["seq"], lines[-1]["digest"]
    journal = members["journal.jsonl"]
    for kind, body in extra:
        seq += 1
        head, line = chain.link(seq, head, "2026-11-24T09:00:00.000000+00:00", kind, body)
        journal += line + b"\n"
    members["journal.jsonl"] = journal
    gone = [n for n in members if "/" in n and not keep(n)]
    kinds = {folder: kind for kind, folder in portable.FOLDERS.items()} | {"evidence": "evidence"}
    left = [
        LeftOut(kinds[n.partition("/")[0]], n.partition("/")[2].removesuffix(".json"), REASON) for n in gone
    ]
    rest = {n: data for n, data in members.items() if n not in gone and not n.startswith("manifest")}
    old = json.loads(members["manifest.json"])
    return signed_file(rest, old["case"], old["opened"], seq, head, left, old["tlp"], eve())


REASON = "TLP:RED is stricter than TLP:AMBER"


def take_over(store: CaseStore, case: str) -> None:
    """Rewrite a note of the case, hash and sign everything anew with Eve's key, seals and mark included."""
    with store._database.writing() as connection:
        seq, head = rewrite(connection, case)
        sign_head(connection, case, seq, head)
    put_mark(store, case, seq, head)


def rewrite(connection: Connection, case: str) -> tuple[int, str]:
    asked = text("select line from entries where case_id = :case order by seq")
    entries = [json.loads(line) for line in connection.execute(asked, {"case": case}).scalars()]
    head = chain.START
    for entry in entries:
        body = entry["body"]
        if entry["kind"] == "note.added":
            body["note"]["text"] = "Do not ask the reseller."
        if entry["kind"] == "case.sealed":
            old = body["seal"]
            seal = make_seal(
                eve(), case=old["case"], seq=entry["seq"] - 1, head=head, at=old["at"], by=old["by"]
            )
            body["seal"] = asdict(seal)
        head, line = chain.link(entry["seq"], head, entry["time"], entry["kind"], body)
        connection.execute(
            text("update entries set line = :line where case_id = :case and seq = :seq"),
            {"line": line.decode(), "case": case, "seq": entry["seq"]},
        )
    return len(entries), head


def sign_head(connection: Connection, case: str, seq: int, head: str) -> None:
    values = head_values(case, seq, head, eve().public_key)
    connection.execute(
        text(
            "update cases set seq = :seq, head = :head, public_key = :key, signature = :signature where id = :case"
        ),
        {"seq": seq, "head": head, "key": eve().public_key, "signature": eve().sign(values), "case": case},
    )


def put_mark(store: CaseStore, case: str, seq: int, head: str) -> None:
    signature = eve().sign(head_values(case, seq, head, eve().public_key))
    mark = {"case": case, "seq": seq, "head": head, "public_key": eve().public_key, "signature": signature}
    (store._marks.folder / f"{case}.json").write_bytes(chain.canonical(mark) + b"\n")
