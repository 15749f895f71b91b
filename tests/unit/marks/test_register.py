"""The register: who was served under which key, and nobody can change it unnoticed."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stillwatch.errors import InputError, IntegrityError
from stillwatch.marks.keys import Master, Scope
from stillwatch.marks.register import Register

T = datetime(2026, 12, 1, tzinfo=UTC)


@pytest.fixture
def master() -> Master:
    return Master(bytes(range(32)))


def filled(path: Path, master: Master) -> Register:
    register = Register(path / "register.jsonl")
    register.made(master, "file", by="ann")
    for n in range(4):
        key = master.key("vllm_gumbel", Scope(tenant=f"o-{n}", epoch="1"))
        register.begin(master, key, {"context_width": n + 1}, device="cuda", at=T, by="ann")
    register.rotate(
        master, register.servings()[0].fingerprint, master.key("vllm_gumbel", Scope(tenant="o-0", epoch="2")),
        at=T + timedelta(days=3), by="ann", why="rotation",
    )  # fmt: skip
    register.end(
        master, register.servings()[1].fingerprint, at=T + timedelta(days=5), by="ann", why="contract ended"
    )
    return register


def test_who_was_served_when(tmp_path: Path, master: Master) -> None:
    register = filled(tmp_path, master)
    rows = register.servings()
    assert [(s.scope.tenant, s.scope.epoch, bool(s.ends)) for s in rows] == [
        ("o-0", "1", True), ("o-1", "1", True), ("o-2", "1", False), ("o-3", "1", False), ("o-0", "2", False),
    ]  # fmt: skip
    assert rows[4].parameters == {"context_width": 1}
    assert [s.active(T + timedelta(days=4)) for s in rows] == [False, True, True, True, True]
    assert not rows[0].active(T - timedelta(seconds=1))
    assert register.verify([master]) == 8
    assert register.verify() == 0
    assert register.current(rows[2].fingerprint[:9]).scope.tenant == "o-2"


def test_what_a_reader_takes(tmp_path: Path, master: Master) -> None:
    def read(tokens: list[int], keys: list[int], *, context_width: int = 4) -> None: ...

    register = Register(tmp_path / "r.jsonl")
    key = master.key("vllm_gumbel", Scope())
    serving = register.begin(master, key, {"context_width": 2, "delta": 3.0}, device="cpu", by="ann")
    assert serving.for_reader(read) == {"context_width": 2}


@pytest.mark.parametrize("spelling", [lambda n: n, str, hex, lambda n: {"a": [f"{n:X}"]}])
def test_a_key_never_gets_in(tmp_path: Path, master: Master, spelling: object) -> None:
    register = Register(tmp_path / "r.jsonl")
    key = master.key("vllm_gumbel", Scope())
    with pytest.raises(InputError, match="holds the key itself") as refused:
        register.begin(master, key, {"x": spelling(key.reveal()[0])}, device="cpu", by="ann")  # type: ignore[operator]
    assert str(key.reveal()[0]) not in str(refused.value)
    assert not (tmp_path / "r.jsonl").exists()


def test_no_file_of_the_register_has_a_key(tmp_path: Path, master: Master) -> None:
    filled(tmp_path, master)
    text = "".join(p.read_text() for p in tmp_path.iterdir())
    for n in range(4):
        (number,) = master.key("vllm_gumbel", Scope(tenant=f"o-{n}", epoch="1")).reveal()
        assert str(number) not in text
        assert f"{number:x}" not in text
    assert master._secret.hex() not in text


def test_what_is_refused(tmp_path: Path, master: Master) -> None:
    register = filled(tmp_path, master)
    serving = register.servings()[2]
    key = master.key("vllm_gumbel", serving.scope)
    with pytest.raises(InputError, match="serves already"):
        register.begin(master, key, {}, device="cuda", by="ann")
    with pytest.raises(InputError, match="is a decoy"):
        register.begin(master, master.decoys("vllm_gumbel", Scope(), 1)[0], {}, device="cuda", by="ann")
    with pytest.raises(InputError, match="cannot end at"):
        register.end(master, serving.fingerprint, at=T - timedelta(days=1), by="ann", why="")
    with pytest.raises(InputError, match="cannot follow"):
        register.rotate(master, serving.fingerprint, master.key("synthid_table", Scope()), by="ann", why="")
    with pytest.raises(InputError, match="0 keys in use"):
        register.current("ffff")
    with pytest.raises(InputError, match="0 keys in use"):
        register.current("")
    with pytest.raises(InputError, match="needs a time zone"):
        register.end(master, serving.fingerprint, at=datetime(2027, 1, 1), by="ann", why="")
    assert register.verify([master]) == 8


def changes(lines: list[str], rng: random.Random) -> tuple[str, list[str]]:
    """One change of the kinds that somebody would make."""
    i = rng.randrange(len(lines))
    kind = rng.choice(["byte", "drop", "swap", "twice", "cut", "respell", "body"])
    new = list(lines)
    if kind == "byte":
        j = rng.randrange(len(lines[i]) - 1)
        new[i] = lines[i][:j] + chr(ord(lines[i][j]) ^ 1) + lines[i][j + 1 :]
    elif kind == "drop":
        del new[i]
    elif kind == "swap":
        new[i], new[i - 1] = new[i - 1], new[i]
    elif kind == "twice":
        new.insert(i, lines[i])
    elif kind == "cut":
        new = new[:i]
    elif kind == "respell":
        new[i] = lines[i].replace(",", ", ", 1)
    else:
        new[i] = lines[i].replace("o-", "p-", 1) if "o-" in lines[i] else lines[i].replace("ann", "bob", 1)
    return kind, new


def test_every_change_is_found(tmp_path: Path, master: Master) -> None:
    register = filled(tmp_path, master)
    path = tmp_path / "register.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    rng = random.Random(1)
    for _ in range(200):
        kind, new = changes(lines, rng)
        if new == lines:
            continue
        path.write_text("".join(new))
        with pytest.raises(IntegrityError):
            register.verify([master])
            raise AssertionError(f"{kind} was not noticed")
        with pytest.raises((IntegrityError, InputError)):
            register.made(master, "file", by="eve")
    path.write_text("".join(lines))
    assert register.verify([master]) == 8


def test_a_chain_that_somebody_wrote_anew_lacks_the_seal(tmp_path: Path, master: Master) -> None:
    eve = Master(b"e" * 32)
    register = filled(tmp_path, eve)
    for name in ("register.jsonl", "register.head"):
        text = (tmp_path / name).read_text()
        (tmp_path / name).write_text(text.replace(eve.fingerprint, master.fingerprint))
    with pytest.raises(IntegrityError):
        register.verify([master])


def test_a_clean_cut_at_the_end_and_a_lost_head(tmp_path: Path, master: Master) -> None:
    register = filled(tmp_path, master)
    path, head = tmp_path / "register.jsonl", tmp_path / "register.head"
    whole, early = path.read_bytes(), None
    lines = whole.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:5]))
    with pytest.raises(IntegrityError, match=r"entry 6: .*the end after 5; it was cut"):
        register.verify([master])
    path.write_bytes(whole)
    early = head.read_bytes()
    last = json.loads(lines[-1])["digest"]
    assert register.verify([master], head=last) == 8
    register.made(master, "file", by="ann")
    # Both files as they once were: only a head noted elsewhere tells.
    noted = list(register.chain.entries())[-1].digest
    path.write_bytes(whole)
    head.write_bytes(early)
    assert register.verify([master]) == 8
    with pytest.raises(IntegrityError, match="noted elsewhere"):
        register.verify([master], head=noted)
    head.unlink()
    with pytest.raises(IntegrityError, match="no file"):
        register.verify([master])
    path.unlink()
    head.write_bytes(early)
    with pytest.raises(IntegrityError):
        register.verify([master])


def test_a_write_that_was_cut_off_is_passed_over(tmp_path: Path, master: Master) -> None:
    register = filled(tmp_path, master)
    path = tmp_path / "register.jsonl"
    path.write_bytes(path.read_bytes() + b'{"body":{"how":"fi')
    assert register.verify([master]) == 8
    register.made(master, "file", by="ann")
    assert register.verify([master]) == 9


def test_a_full_disk_changes_nothing(tmp_path: Path, master: Master) -> None:
    register = filled(tmp_path, master)
    size = (tmp_path / "register.jsonl").stat().st_size
    code = (
        "import resource, signal, sys\nfrom pathlib import Path\n"
        "from stillwatch.marks.keys import Master\nfrom stillwatch.marks.register import Register\n"
        "from stillwatch.errors import InputError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size + 100}, resource.RLIM_INFINITY))\n"
        "try:\n    Register(Path(sys.argv[1])).made(Master(bytes(range(32))), 'file', by='ann')\n"
        "except InputError as told:\n    print(told); sys.exit(3)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "register.jsonl")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert "not written" in done.stdout
    assert register.verify([master]) == 8


def test_two_masters_in_one_register(tmp_path: Path, master: Master) -> None:
    register = filled(tmp_path, master)
    new = Master(b"n" * 32)
    register.made(new, "command", by="ann")
    assert register.verify([master]) == 8
    assert register.verify([new]) == 1
    assert register.verify([master, new]) == 9
