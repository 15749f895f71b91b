"""Which answers are turns of one conversation: kept as a keyed digest, and an older ledger reads as it did."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger_samples import CLOCK, MASTER, answer, quick_folder

from stillwatch.errors import InputError
from stillwatch.marks.ledger import Ledger, Policy, verify

OLD = Path(__file__).resolve().parents[2] / "golden" / "ledger_1.tar.xz"
"""Three answers as the program wrote them before there were conversations; one has a note of that name of its own."""
HEAD = "3:fb713923240c69b71f77f123508ac16d58f0cc5ed750abc365d39d24f734cded"


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    yield from quick_folder()


def test_a_conversation_is_kept_as_a_digest_and_its_name_nowhere(tmp_path: Path) -> None:
    with Ledger(tmp_path / "a", MASTER, write=True, clock=CLOCK, policy=Policy(keep="both")) as ledger:
        for n, name in enumerate(["thread-of-ann", "thread-of-ben", "thread-of-ann", ""]):
            ledger.append(answer(n, conversation=name))
        said = [entry.conversation for entry in ledger.entries()]
    assert said[0] == said[2] != said[1] and said[3] == "" and len(said[0]) == 32
    with Ledger(tmp_path / "a", MASTER) as again:
        assert [entry.conversation for entry in again.entries()] == said
        assert next(e.note.get("twin") for e in again.entries()) == {"coin": 0}  # the note's own values stay
    assert not any(b"thread-of" in p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    assert verify(tmp_path / "a", MASTER).answers == 4


def test_a_name_is_short_and_a_note_has_no_other_of_it() -> None:
    with pytest.raises(InputError, match="1,000 bytes"):
        answer(1, conversation="x" * 1001)
    with pytest.raises(InputError, match="of its own"):
        answer(1, conversation="x", note={"conversation": "y"})


def test_an_older_ledger_reads_verifies_and_goes_on(tmp_path: Path) -> None:
    with tarfile.open(OLD) as packed:
        # Pythons before 3.11.4 know no filter; the archive is ours.
        packed.extractall(tmp_path, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    assert verify(tmp_path / "ledger", MASTER, head=HEAD).texts == 3
    with Ledger(tmp_path / "ledger", MASTER, write=True, clock=CLOCK, policy=Policy(keep="both")) as ledger:
        assert [e.conversation for e in ledger.entries()] == ["", "", "own"]
        (found,) = ledger.by_tokens([1, 2, 3])
        kept = ledger.kept(found)
        assert found.exchange_id == "x-1" and kept and kept.text and kept.text.startswith("answer number 1")
        ledger.append(answer(5, conversation="thread"))
        assert [bool(e.conversation) for e in ledger.entries()] == [False, False, True, True]
    assert verify(tmp_path / "ledger", MASTER, head=HEAD).answers == 4
