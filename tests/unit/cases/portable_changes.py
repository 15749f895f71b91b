"""Random changes to a portable file, as somebody who wants to be believed would make them."""

from __future__ import annotations

import hashlib
import io
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from stillwatch.cases.archive import Packer, Unpacker
from stillwatch.cases.manifest import LeftOut, Manifest, Member
from stillwatch.cases.portable import Portable, check_file
from stillwatch.cases.reading import read
from stillwatch.cases.sealing import Signer
from stillwatch.cases.store import CaseStore
from stillwatch.errors import StillwatchError

Members = dict[str, bytes]
_OWN = ("manifest.json", "manifest.sig")


def unpacked(data: bytes) -> Members:
    archive = Unpacker(io.BytesIO(data), "file")
    return {name: b"".join(archive.blocks(name)) for name in archive.members}


def packed(members: Members) -> bytes:
    out = io.BytesIO()
    packer = Packer(out)
    for name, data in members.items():
        packer.add(name, [data], len(data))
    packer.finish()
    return out.getvalue()


def listed_anew(members: Members, signer: Signer | None = None) -> Members:
    """With a manifest that lists these members, signed with a key of the forger's own or with the old signature."""
    values = json.loads(members["manifest.json"])
    roles = {m["name"]: m["role"] for m in values["members"]}
    held = sorted(name for name in members if name not in _OWN)
    fresh = tuple(
        Member(n, roles.get(n, "evidence"), hashlib.sha256(members[n]).hexdigest(), len(members[n]))
        for n in held
    )
    manifest = read(Manifest, values, "x")
    manifest = replace(
        manifest, members=fresh, public_key=signer.public_key if signer else manifest.public_key
    )
    signature = manifest.signature(signer).encode() + b"\n" if signer else members["manifest.sig"]
    rest = {name: data for name, data in members.items() if name not in _OWN}
    return {**rest, "manifest.json": manifest.encoded(), "manifest.sig": signature}


def flip_anywhere(rng: random.Random, whole: bytes, _: bytes) -> bytes:
    data = bytearray(whole)
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def byte_anywhere(rng: random.Random, whole: bytes, _: bytes) -> bytes:
    data = bytearray(whole)
    place = rng.randrange(len(data))
    data[place] = (data[place] + rng.randrange(1, 256)) % 256
    return bytes(data)


def remove_bytes(rng: random.Random, whole: bytes, _: bytes) -> bytes:
    place = rng.randrange(len(whole))
    return whole[:place] + whole[place + rng.randrange(1, 200) :]


def insert_bytes(rng: random.Random, whole: bytes, _: bytes) -> bytes:
    place = rng.randrange(len(whole) + 1)
    return whole[:place] + rng.randbytes(rng.randrange(1, 50)) + whole[place:]


def truncate(rng: random.Random, whole: bytes, _: bytes) -> bytes:
    return whole[: rng.randrange(len(whole))]


def swap_bytes(rng: random.Random, whole: bytes, _: bytes) -> bytes:
    length = rng.randrange(1, 60)
    a, b = sorted(rng.sample(range(len(whole) - length), 2))
    b = max(b, a + length)
    changed = (
        whole[:a]
        + whole[b : b + length]
        + whole[a + length : b]
        + whole[a : a + length]
        + whole[b + length :]
    )
    return changed if changed != whole else flip_anywhere(rng, whole, b"")


def _content(rng: random.Random, members: Members) -> str:
    return rng.choice([name for name in members if name not in _OWN and members[name]])


def flip_in_a_member(rng: random.Random, whole: bytes, _: bytes) -> bytes:
    """The archive, its checksums and the manifest are made to fit; only the signature is the old one."""
    members = unpacked(whole)
    name = _content(rng, members)
    members[name] = flip_anywhere(rng, members[name], b"")
    return packed(listed_anew(members))


def flip_and_sign(rng: random.Random, whole: bytes, _: bytes) -> bytes:
    """Everything is made to fit and signed with another key: the chain and the ids of records remain."""
    members = unpacked(whole)
    name = _content(rng, members)
    members[name] = flip_anywhere(rng, members[name], b"")
    return packed(listed_anew(members, Signer.derived(lambda label: b"e" * 32)))


def remove_a_member(rng: random.Random, whole: bytes, _: bytes) -> bytes:
    members = unpacked(whole)
    del members[rng.choice(list(members))]
    return (
        packed(listed_anew(members)) if rng.random() < 0.5 and set(_OWN) <= set(members) else packed(members)
    )


def leave_a_member_out(rng: random.Random, whole: bytes, _: bytes) -> bytes:
    """Say in the manifest that a member was left out on purpose; the signature is the old one."""
    members = unpacked(whole)
    name = rng.choice([n for n in members if "/" in n])
    del members[name]
    kind, _, identity = name.partition("/")
    manifest = read(Manifest, json.loads(members["manifest.json"]), "x")
    kept = tuple(m for m in manifest.members if m.name != name)
    gone = LeftOut(
        kind.removesuffix("s"), identity.removesuffix(".json"), "TLP:RED is stricter than TLP:AMBER"
    )
    manifest = replace(manifest, members=kept, left_out=(*manifest.left_out, gone))
    members["manifest.json"] = manifest.encoded()
    return packed(members)


def swap_members(rng: random.Random, whole: bytes, _: bytes) -> bytes:
    """Two members' bytes in each other's place."""
    members = unpacked(whole)
    a, b = rng.sample([name for name in members if name not in _OWN], 2)
    members[a], members[b] = members[b], members[a]
    return packed(listed_anew(members)) if rng.random() < 0.5 else packed(members)


def reorder_members(rng: random.Random, whole: bytes, _: bytes) -> bytes:
    members = unpacked(whole)
    names = list(members)
    while names == list(members):
        rng.shuffle(names)
    return packed({name: members[name] for name in names})


def cut_the_journal(rng: random.Random, whole: bytes, _: bytes) -> bytes:
    """The last entries are gone, cleanly; manifest and archive fit, the signature is the old one."""
    members = unpacked(whole)
    lines = members["journal.jsonl"].splitlines(keepends=True)
    members["journal.jsonl"] = b"".join(lines[: rng.randrange(1, len(lines))])
    return packed(listed_anew(members))


def change_the_journal(rng: random.Random, whole: bytes, _: bytes) -> bytes:
    """A line removed, doubled or moved; signed with another key."""
    members = unpacked(whole)
    lines = members["journal.jsonl"].splitlines(keepends=True)
    place = rng.randrange(len(lines) - 1)
    how = rng.randrange(3)
    if how == 0:
        del lines[place]
    elif how == 1:
        lines.insert(place, lines[place])
    else:
        lines[place], lines[place + 1] = lines[place + 1], lines[place]
    members["journal.jsonl"] = b"".join(lines)
    return packed(listed_anew(members, Signer.derived(lambda label: b"e" * 32)))


def roll_back_parts(rng: random.Random, whole: bytes, earlier: bytes) -> bytes:
    """Some members are those of an earlier export."""
    members, old = unpacked(whole), unpacked(earlier)
    names = [
        n for n in ("journal.jsonl", "seals.json", "manifest.json", "manifest.sig") if old[n] != members[n]
    ]
    for name in rng.sample(names, rng.randrange(1, len(names))):
        members[name] = old[name]
    return packed(members)


def roll_back(_: random.Random, __: bytes, earlier: bytes) -> bytes:
    """The whole file is an earlier export, signed by us: only a head that was noted shows it."""
    return earlier


CHANGES: tuple[Callable[[random.Random, bytes, bytes], bytes], ...] = (
    flip_anywhere, flip_anywhere, byte_anywhere, remove_bytes, insert_bytes, truncate, swap_bytes, flip_in_a_member,
    flip_and_sign, remove_a_member, leave_a_member_out, swap_members, reorder_members, cut_the_journal,
    change_the_journal, roll_back_parts, roll_back,
)  # fmt: skip


def two_exports(folder: Path, fill: Callable[[CaseStore], str]) -> tuple[bytes, bytes, str, str]:
    """A portable file, an earlier one of the same case, the head of the later one, and the key of both."""
    with CaseStore(folder / "workspace") as store:
        case = fill(store)
        store.export(case, folder / "earlier.zip", by="ann")
        store.note(case, "One more thing.", by="ann")
        head = store.seal(case, by="ann").head
        store.export(case, folder / "later.zip", by="ann")
        return (
            (folder / "later.zip").read_bytes(),
            (folder / "earlier.zip").read_bytes(),
            head,
            store.public_key,
        )


def unnoticed(trials: int, seed: int, whole: bytes, earlier: bytes, head: str, public_key: str) -> list[str]:
    """Make that many changes, in turn of each kind; the ones that verification did not find, by name and number."""
    missed = []
    for number in range(trials):
        rng = random.Random(f"{seed}/{number}")
        change = CHANGES[number % len(CHANGES)]
        changed = change(rng, whole, earlier)
        if changed == whole:
            raise AssertionError(f"{change.__name__} {number} changed nothing")
        try:
            check_file(Portable(io.BytesIO(changed), "file.zip"), public_key=public_key, heads=(head,))
        except StillwatchError:
            continue
        missed.append(f"{change.__name__} {number}")
    return missed
