"""Verification finds every change: random ones over all bytes of a portable file.

`STILLWATCH_TRIALS` says how many; `make calibrate` makes 1,000.
"""

from __future__ import annotations

import io
import os
import random

import pytest
from portable_changes import CHANGES, listed_anew, packed, two_exports, unnoticed, unpacked
from store_samples import filled

from stillwatch.cases.portable import Portable, check_file
from stillwatch.cases.sealing import Signer

TRIALS = min(int(os.environ.get("STILLWATCH_TRIALS", "170")), 1000)


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes, str, str]:
    return two_exports(tmp_path_factory.mktemp("exports"), filled)


def test_nothing_goes_unnoticed(exports: tuple[bytes, bytes, str, str]) -> None:
    assert unnoticed(TRIALS, 1, *exports) == []


def test_every_single_byte_counts(exports: tuple[bytes, bytes, str, str]) -> None:
    """Not only random ones: each byte of the first and last kilobyte, where the archive says what it is."""
    whole, _, head, key = exports
    for place in [*range(1024), *range(len(whole) - 1024, len(whole))][:: 1 if TRIALS == 1000 else 9]:
        changed = bytearray(whole)
        changed[place] ^= 1 << (place % 8)
        with pytest.raises(Exception, match=r"file\.zip"):
            check_file(Portable(io.BytesIO(bytes(changed)), "file.zip"), public_key=key, heads=(head,))


def test_the_trials_can_fail(exports: tuple[bytes, bytes, str, str]) -> None:
    """Without a change the file verifies, taken apart and put together again it is the same, and what the guide
    states as a limit is one: without a noted head an earlier export passes, without a known key a forger's file."""
    whole, earlier, head, key = exports
    assert check_file(Portable(io.BytesIO(whole), "x"), public_key=key, heads=(head,)).pinned
    assert packed(unpacked(whole)) == whole
    assert packed(listed_anew(unpacked(whole))) == whole
    assert check_file(Portable(io.BytesIO(earlier), "x"), public_key=key)
    forged = packed(listed_anew(unpacked(whole), Signer.derived(lambda label: b"e" * 32)))
    assert not check_file(Portable(io.BytesIO(forged), "x"), heads=(head,)).pinned
    assert all(change(random.Random(1), whole, earlier) != whole for change in CHANGES)
