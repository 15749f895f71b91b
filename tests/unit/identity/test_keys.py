"""The key file: made once, private, whole; and what is derived from it."""

from __future__ import annotations

import multiprocessing
import os
import stat

import pytest

from stillwatch.errors import InputError
from stillwatch.identity import Keys


def test_a_key_file_is_made_private_and_then_kept(tmp_path):
    first = Keys(tmp_path / "key").derive("pseudonyms")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert Keys(tmp_path / "key").derive("pseudonyms") == first
    assert [p.name for p in tmp_path.iterdir()] == ["key"]


def test_labels_and_keys_give_unrelated_bytes(tmp_path):
    one, other = Keys(tmp_path / "one"), Keys(tmp_path / "other")
    derived = {one.derive("a"), one.derive("b"), other.derive("a"), other.derive("b")}
    assert len(derived) == 4
    assert all(len(d) == 32 for d in derived)


def test_derivation_is_hkdf_sha256(tmp_path):
    # RFC 5869 written out: extract with a salt of zeros, one block of expand.
    import hashlib
    import hmac

    (tmp_path / "key").touch(0o600)
    (tmp_path / "key").write_bytes(bytes(range(32)))
    extracted = hmac.digest(bytes(32), bytes(range(32)), hashlib.sha256)
    expected = hmac.digest(extracted, b"stillwatch/vault" + b"\x01", hashlib.sha256)
    assert Keys(tmp_path / "key").derive("vault") == expected


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666])
def test_a_key_that_others_can_read_is_refused(tmp_path, mode):
    Keys(tmp_path / "key")
    (tmp_path / "key").chmod(mode)
    with pytest.raises(InputError, match=f"{mode:04o}.*chmod 600"):
        Keys(tmp_path / "key")


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_of_another_length_is_refused(tmp_path, size):
    (tmp_path / "key").touch(0o600)
    (tmp_path / "key").write_bytes(b"x" * size)
    with pytest.raises(InputError, match=f"32 bytes, this has {size}"):
        Keys(tmp_path / "key")


def test_a_key_that_cannot_be_read_or_made_is_said_in_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be read or made: Not a directory"):
        Keys(tmp_path / "file" / "key")
    Keys(tmp_path / "key")

    def refused(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_bytes", refused)
    with pytest.raises(InputError, match="cannot be read or made: Permission denied"):
        Keys(tmp_path / "key")


def test_a_folder_is_no_key(tmp_path):
    (tmp_path / "key").mkdir(0o700)
    with pytest.raises(InputError, match="not a regular file"):
        Keys(tmp_path / "key")


def test_the_secret_is_not_shown(tmp_path):
    keys = Keys(tmp_path / "key")
    secret = (tmp_path / "key").read_bytes()
    assert repr(secret)[2:-1] not in repr(keys)
    assert secret.hex() not in repr(keys)


def _derive(path, queue):
    queue.put(Keys(path).derive("x"))


def test_processes_that_start_at_once_agree_on_one_key(tmp_path):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    workers = [context.Process(target=_derive, args=(tmp_path / "key", queue)) for _ in range(3)]
    for worker in workers:
        worker.start()
    found = {queue.get(timeout=60) for _ in workers}
    for worker in workers:
        worker.join()
    assert len(found) == 1
    assert os.listdir(tmp_path) == ["key"]  # noqa: PTH208
