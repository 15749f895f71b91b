"""Keys by scope: the same everywhere, one opens no other, and none leaves by accident."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import stat
import sys
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from stillwatch.errors import InputError
from stillwatch.marks.key_shapes import EXCEPTIONS, Shape
from stillwatch.marks.keys import MarkKey, Master, Scope

SECRET = "5e" * 31 + "a7"
SCOPE = Scope(tenant="o-0123456789abcdef", rung="1", campaign="c-7f3a104b", epoch="2026-12")


@pytest.fixture
def master(tmp_path: Path) -> Master:
    return Master.create(tmp_path / "key")


def test_the_same_key_from_the_same_master_and_no_other(tmp_path: Path, master: Master) -> None:
    again = Master.from_file(tmp_path / "key")
    assert again.fingerprint == master.fingerprint
    assert again.key("vllm_gumbel", SCOPE) == master.key("vllm_gumbel", SCOPE)
    assert again.key("vllm_gumbel", SCOPE).reveal() == master.key("vllm_gumbel", SCOPE).reveal()
    other = Master.create(tmp_path / "other")
    assert other.key("vllm_gumbel", SCOPE).reveal() != master.key("vllm_gumbel", SCOPE).reveal()


def test_pinned() -> None:
    """Keys of masters that are in use must never change."""
    master = Master(bytes(range(32)))
    key = master.key("vllm_gumbel", Scope(tenant="t", epoch="1"))
    assert (master.fingerprint, key.fingerprint) == PINNED[:2]
    assert key.reveal() == PINNED[2]


PINNED = ("8a8a2a3c7c243474", "c80bf42c7ef6f7b2", (9961471017544276334,))


def test_every_part_of_a_scope_and_the_scheme_change_the_key(master: Master) -> None:
    scopes = [
        Scope(), SCOPE, Scope(tenant="a"), Scope(rung="a"), Scope(campaign="a"), Scope(epoch="a"),
        Scope(tenant="a b"), Scope(tenant="a", rung="b"), Scope(tenant="ab"), Scope(tenant='a","rung":"b'),
    ]  # fmt: skip
    keys = [master.key(scheme, scope) for scope in scopes for scheme in ("vllm_gumbel", "vllm_sbw")]
    keys += master.decoys("vllm_gumbel", SCOPE, 5)
    assert len({k.reveal() for k in keys}) == len({k.fingerprint for k in keys}) == len(keys)


def test_two_spellings_of_one_name_are_one_scope() -> None:
    assert Scope(tenant="caf\u00e9") == Scope(tenant="cafe\u0301")


@pytest.mark.parametrize("part", [" a", "a\n", "a" * 201, "\u202eabc"])
def test_a_scope_that_is_none(part: str) -> None:
    with pytest.raises(InputError, match="campaign of a scope"):
        Scope(campaign=part)


@pytest.mark.parametrize("scheme", [*EXCEPTIONS, "anything"])
def test_width(master: Master, scheme: str) -> None:
    shape = EXCEPTIONS.get(scheme, Shape())
    keys = [master.key(scheme, SCOPE), *master.decoys(scheme, SCOPE, 60)]
    numbers = [n for key in keys for n in key.reveal()]
    assert all(len(key.reveal()) == shape.count for key in keys)
    assert all(0 < n < 1 << shape.bits for n in numbers)
    # The highest bit is used, and about half of all bits are set.
    assert max(numbers) >> (shape.bits - 1) == 1
    share = sum(n.bit_count() for n in numbers) / (shape.bits * len(numbers))
    assert abs(share - 0.5) < 4 * (0.25 / (shape.bits * len(numbers))) ** 0.5


def test_layers_that_one_engine_would_take_for_one_are_drawn_again(master: Master) -> None:
    crowded = Shape(bits=63, count=30, distinct_modulo=64)
    for key in master.decoys("synthid_table", SCOPE, 20, shape=crowded):
        assert len({n % 64 for n in key.reveal()}) == 30
        assert all(n % 64 for n in key.reveal())
    assert master.key("synthid_table", SCOPE, crowded) != master.key("synthid_table", SCOPE)


def test_decoys_are_the_same_each_time_and_never_the_key(master: Master) -> None:
    first = master.decoys("vllm_gumbel", SCOPE, 200)
    assert [k.reveal() for k in first[50:]] == [
        k.reveal() for k in master.decoys("vllm_gumbel", SCOPE, 150, first=50)
    ]
    assert master.key("vllm_gumbel", SCOPE) not in first
    assert [k.decoy for k in first] == list(range(200))
    with pytest.raises(InputError, match="decoys"):
        master.decoys("vllm_gumbel", SCOPE, 0)


# -- nothing leaves by accident ---------------------------------------------------------------------------------


def spellings(key: MarkKey) -> list[str]:
    return [s for n in key.reveal() for s in (str(n), f"{n:x}", f"{n:X}")]


@dataclass
class Holder:
    key: MarkKey
    master: Master


def test_no_printed_form_shows_a_key(master: Master, caplog: pytest.LogCaptureFixture) -> None:
    key = master.key("synthid_table", SCOPE)
    holder = Holder(key, master)
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("x").warning("%s %r %s", key, [key], {"m": master})
    said = [
        str(key), repr(key), f"{key}", repr({"k": key}), str(master), repr(holder), str(asdict(holder)), caplog.text,
        json.dumps({"k": key, "m": master}, default=str), repr(sys.exc_info()),
    ]  # fmt: skip
    secret = master._secret
    for text in said:
        assert not any(s in text for s in spellings(key))
        assert secret.hex() not in text
        assert repr(secret) not in text
    assert key.fingerprint in repr(key)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_neither_pickle_nor_json(master: Master, protocol: int) -> None:
    key = master.key("vllm_gumbel", SCOPE)
    for thing in (key, master, [key], Holder(key, master)):
        with pytest.raises(InputError, match="not pickled"):
            pickle.dumps(thing, protocol)
    for thing in (key, master):
        with pytest.raises(TypeError, match="not JSON serializable"):
            json.dumps(thing)
        assert not hasattr(thing, "__dict__")
    assert copy.copy(key) is key
    assert copy.deepcopy(holder := Holder(key, master)).key is holder.key


def test_a_fingerprint_is_no_digest_of_the_key() -> None:
    """A key of 32 bits could be found from a plain digest by trying all: under another master it differs."""
    one, two = Master(b"1" * 32), Master(b"2" * 32)
    shape = Shape(bits=1)
    assert one.key("x", SCOPE, shape).reveal() == two.key("x", SCOPE, shape).reveal() == (1,)
    assert one.key("x", SCOPE, shape).fingerprint != two.key("x", SCOPE, shape).fingerprint


def whole_story(call: object, *given: object) -> str:
    """What a tool that collects errors would keep: message, causes, and the variables of every frame below ours."""
    try:
        call(*given)  # type: ignore[operator]
    except InputError as error:
        error.__traceback__ = error.__traceback__.tb_next if error.__traceback__ else None
        return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    raise AssertionError("no error")


@pytest.mark.parametrize(
    ("prints", "says"),
    [
        (f"{SECRET}zz", "something else than one hexadecimal number"),
        (SECRET[:20], "10 bytes, fewer than 32"),
        ("", "0 bytes"),
    ],
)
def test_a_wrong_answer_of_the_kms_is_in_no_error(tmp_path: Path, prints: str, says: str) -> None:
    answer = tmp_path / "answer"
    answer.write_text(prints)
    story = whole_story(Master.from_command, f"cat {answer}")
    assert says in story
    assert SECRET[:20] not in story


def test_a_kms_that_fails_or_talks_on_stderr(tmp_path: Path) -> None:
    script = tmp_path / "kms.py"
    script.write_text(f"import sys; print('{SECRET}'); print('{SECRET}', file=sys.stderr); sys.exit(3)")
    story = whole_story(Master.from_command, f"{sys.executable} {script}")
    assert "ended with code 3" in story
    assert SECRET not in story
    assert "cannot be started" in whole_story(Master.from_command, str(tmp_path / "none"))
    assert "is empty" in whole_story(Master.from_command, " ")
    assert "quotes" in whole_story(Master.from_command, "cat 'x")
    assert "took more than" in whole_story(lambda: Master.from_command("sleep 5", seconds=0.1))


def test_a_kms_is_asked_once_and_without_a_shell(tmp_path: Path) -> None:
    script, count = tmp_path / "kms.py", tmp_path / "count"
    script.write_text(f"open({str(count)!r}, 'a').write('x'); print('{SECRET}')")
    master = Master.from_command(f"{sys.executable} {script} '$(touch {tmp_path}/shell)' ; true")
    for n in range(5):
        master.key("vllm_gumbel", Scope(epoch=str(n)))
    assert count.read_text() == "x"
    assert not (tmp_path / "shell").exists()
    assert master.fingerprint == Master.from_command(f"echo {SECRET.upper()}").fingerprint


# -- the file -----------------------------------------------------------------------------------------------------


def test_the_file_is_for_its_owner_only_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "new" / "key"
    master = Master.create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(InputError, match="never overwritten"):
        Master.create(path)
    path.chmod(0o640)
    with pytest.raises(InputError, match="can be read by others"):
        Master.from_file(path)
    path.chmod(0o600)
    assert Master.from_file(path).fingerprint == master.fingerprint
    path.write_bytes(b"short")
    with pytest.raises(InputError, match="32 bytes, this has 5"):
        Master.from_file(path)
    with pytest.raises(InputError, match="there is no master key"):
        Master.from_file(tmp_path / "none")


def test_what_the_file_holds_is_not_what_the_workspace_s_other_keys_come_from(tmp_path: Path) -> None:
    from stillwatch.identity.keys import Keys

    master = Master.create(tmp_path / "key")
    keys = Keys(tmp_path / "key")
    assert master.secret("vault") != keys.derive("vault")
    assert master._secret != (tmp_path / "key").read_bytes()
