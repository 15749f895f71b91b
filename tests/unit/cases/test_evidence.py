"""Evidence files: named by their bytes, whole or not there."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stillwatch.cases.evidence import Files, write_whole
from stillwatch.errors import InputError, IntegrityError


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "evidence")


def blocks_of(*parts: bytes) -> Iterator[bytes]:
    return iter(parts)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=3000))
def test_bytes_come_back(files: Files, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    for form in (data, tmp_path / "x", blocks_of(data[:7], data[7:])):
        assert files.put(form) == (sha256, len(data))
    assert b"".join(files.checked(sha256)) == data
    assert files.size(sha256) == len(data)
    assert files.path(sha256) == files.folder / sha256[:2] / sha256


def test_the_same_bytes_are_one_file(files: Files) -> None:
    assert files.put(b"a") == files.put(b"a")
    assert len([p for p in files.folder.rglob("*") if p.is_file()]) == 1


def test_many_at_once_are_in_their_order(files: Files) -> None:
    given_ = [str(n).encode() for n in range(2500)] + [b"0"]
    kept = files.put_many(given_)
    assert [sha for sha, _ in kept] == [hashlib.sha256(data).hexdigest() for data in given_]
    assert len([p for p in files.folder.rglob("*") if p.is_file()]) == 2500


def test_bytes_that_are_others_than_expected_are_not_kept(files: Files) -> None:
    with pytest.raises(IntegrityError, match="a" * 64):
        files.put(b"x", expected="a" * 64)
    assert not [p for p in files.folder.rglob("*") if p.is_file()]


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "A" * 64, "g" * 64, "a" * 63, "/" * 64])
def test_a_name_that_is_no_digest_is_refused(files: Files, name: str) -> None:
    for ask in (files.path, files.has, files.size):
        with pytest.raises(InputError, match="expected a sha256"):
            ask(name)


def test_what_cannot_be_read_is_said_and_leaves_nothing(files: Files, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        files.put(tmp_path / "nothing")
    with pytest.raises(InputError, match="Is a directory"):
        files.put(tmp_path)
    with pytest.raises(InputError, match="No such file"):
        files.put_many([b"a", tmp_path / "nothing"])
    with pytest.raises(InputError, match="not in this store"):
        list(files.chunks("a" * 64))
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_only_the_owner_may_read_it(files: Files) -> None:
    sha256, _ = files.put(b"a")
    assert files.path(sha256).stat().st_mode & 0o777 == 0o600
    assert files.folder.stat().st_mode & 0o777 == 0o700


def test_a_damaged_file_is_whole_again_when_the_bytes_come_again(files: Files) -> None:
    sha256, _ = files.put(b"abc")
    files.path(sha256).write_bytes(b"abd")
    with pytest.raises(IntegrityError):
        list(files.checked(sha256))
    files.put(b"abc")
    assert b"".join(files.checked(sha256)) == b"abc"


def test_what_a_killed_writer_left_is_removed_a_day_later(files: Files) -> None:
    files.put(b"a")
    old, fresh = files.folder / ".1-ab.tmp", files.folder / ".2-ab.tmp"
    for draft in (old, fresh):
        draft.write_bytes(b"half")
    os.utime(old, (0, 0))
    Files(files.folder).put(b"b")
    assert (old.exists(), fresh.exists()) == (False, True)


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    write_whole(tmp_path / "x", b"one")
    write_whole(tmp_path / "x", b"two")
    assert (tmp_path / "x").read_bytes() == b"two"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    with pytest.raises(InputError, match="was not written"):
        write_whole(tmp_path / "nowhere" / "x", b"")
