"""The ledger: what goes in is found by every door, and only what the policy keeps lies there, sealed."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger_samples import CLOCK, MASTER, NOW, answer, quick_folder, text_of

from stillwatch.errors import InputError
from stillwatch.marks.keys import Master
from stillwatch.marks.ledger import Answer, Ledger, Policy, verify

BOTH = Policy(keep="both")


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    yield from quick_folder()


def opened(folder: Path, policy: Policy = BOTH, **more: object) -> Ledger:
    return Ledger(folder, MASTER, write=True, clock=CLOCK, policy=policy, **more)  # type: ignore[arg-type]


def filled(folder: Path, n: int = 60, segment_bytes: int = 8000) -> None:
    with opened(folder, segment_bytes=segment_bytes) as ledger:
        ledger.append_many([answer(i) for i in range(n // 2)])
        for i in range(n // 2, n):
            ledger.append(answer(i))


# -- finding ------------------------------------------------------------------------------------------------------


def test_found_by_text_tokens_account_and_shingles(tmp_path: Path) -> None:
    filled(tmp_path)
    for ledger in (opened(tmp_path), Ledger(tmp_path, MASTER)):
        with ledger:
            (found,) = ledger.by_text(text_of(33))
            assert (found.exchange_id, found.account, found.mark, found.n_tokens) == (
                "x-33",
                3,
                "0123456789abcdef",
                3,
            )
            assert ledger.by_tokens([33, 34, 35]) == ledger.by_digest(found.token_digest) == [found]
            assert ledger.by_digest(found.text_digest) == [found]
            assert ledger.by_text(text_of(33) + " ") == ledger.by_tokens([33, 34]) == []
            assert [e.exchange_id for e in ledger.by_account(2)] == [f"x-{n}" for n in range(2, 60, 5)]
            assert list(ledger.by_account(77)) == []
            assert [e.exchange_id for e in ledger.entries(55)] == [f"x-{n}" for n in range(55, 60)]
            altered = "Please note: " + text_of(12)[:200] + " and so on, " + text_of(12)[240:]
            (best, *_) = ledger.by_shingles(altered)
            assert best.entry.exchange_id == "x-12"
            assert 2 <= best.shared <= best.asked
            assert (
                ledger.by_shingles(
                    "nothing of this was ever served to anybody, as far as the ledger can tell"
                )
                == []
            )


def test_the_same_answer_twice_is_two_entries(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        for account in (1, 2, 1):
            ledger.append(Answer("x", NOW, account, text="A leap year has 366 days."))
        assert [e.account for e in ledger.by_text("A leap year has 366 days.")] == [1, 2, 1]
        assert len(ledger.by_shingles("a leap year has 366 days.")) == 3


def test_what_was_kept_comes_back(tmp_path: Path) -> None:
    filled(tmp_path, 8)
    with Ledger(tmp_path, MASTER) as ledger:
        kept = ledger.kept(ledger.entry(7))
        assert kept
        assert (kept.text, kept.tokens, kept.withheld_text, kept.withheld_tokens) == (
            text_of(7), (7, 8, 9), text_of(-8), None,
        )  # fmt: skip
        assert ledger.entry(7).withheld
        assert ledger.entry(7).note == {"twin": {"coin": 1}}
        assert not ledger.entry(6).withheld


@pytest.mark.parametrize(
    ("policy", "has"),
    [
        (Policy(), (False, False)), (Policy(keep="text"), (True, False)), (Policy(keep="tokens"), (False, True)),
        (BOTH, (True, True)), (Policy(keep="both", share=0), (False, False)),
    ],
)  # fmt: skip
def test_what_a_policy_keeps(tmp_path: Path, policy: Policy, has: tuple[bool, bool]) -> None:
    with opened(tmp_path, policy) as ledger:
        ledger.append(answer(1))
        ledger.append(answer(2, keep=True))
        ledger.append(answer(3, keep=False))
        kept = ledger.kept(ledger.entry(0))
        assert (
            kept is not None and kept.text is not None,
            kept is not None and kept.tokens is not None,
        ) == has
        assert ledger.kept(ledger.entry(1)) is not None
        assert ledger.kept(ledger.entry(2)) is None
        assert ledger.by_text(text_of(3))


def test_a_share_is_drawn_by_exchange(tmp_path: Path) -> None:
    with opened(tmp_path, Policy(keep="text", share=0.25)) as ledger:
        ledger.append_many([Answer(f"x-{n}", NOW, 1, text=f"t{n}") for n in range(2000)])
        kept = [e.exchange_id for e in ledger.entries() if e.kept]
        assert abs(len(kept) - 500) < 4 * (2000 * 0.25 * 0.75) ** 0.5
        ledger.append_many([Answer(f"x-{n}", NOW, 2, text="another") for n in range(2000)])
        assert [e.exchange_id for e in ledger.by_account(2) if e.kept] == kept


def test_a_ledger_without_shingles_and_without_text(tmp_path: Path) -> None:
    with opened(tmp_path, Policy(shingle_every=0)) as ledger:
        ledger.append(Answer("x", NOW, 1, tokens=[1, 2, 3]))
        ledger.append(answer(5))
        assert ledger.entry(1).shingles == ()
        assert ledger.entry(0).text_digest == ""
    with opened(tmp_path) as ledger:
        assert [e.exchange_id for e in ledger.by_tokens([1, 2, 3])] == ["x"]


def test_text_in_any_language_and_ids_of_any_kind(tmp_path: Path) -> None:
    text = "Ein Schaltjahr hat 366 Tage. 闰年有366天。 السنة الكبيسة 🌍 \x00 \ud800 half a character"
    with opened(tmp_path) as ledger:
        ledger.append(Answer("交換-1\n", 0, (1 << 63) - 1, text=text, tokens=[0, (1 << 32) - 1]))
        (found,) = ledger.by_text(text)
        assert (found.exchange_id, found.account) == ("交換-1\n", (1 << 63) - 1)
        kept = ledger.kept(found)
        assert kept
        assert kept.text == text
        ledger.append(Answer("y", NOW, 1, text=""))
        assert [e.exchange_id for e in ledger.by_text("")] == ["y"]
    assert verify(tmp_path, MASTER).texts == 2


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"text": None}, "neither text nor tokens"), ({"exchange_id": ""}, "1 to 1,000 bytes"),
        ({"account": -1}, "out of range"), ({"account": 1 << 63}, "out of range"), ({"mark": "zz"}, "16 hexadecimal"),
    ],
)  # fmt: skip
def test_an_answer_that_is_none(given: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Answer(**{"exchange_id": "x", "time": NOW, "account": 1, "text": "a"} | given)  # type: ignore[arg-type]


def test_what_cannot_be_kept_leaves_nothing_behind(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        for wrong, says in (
            (answer(1, tokens=[-1]), "token ids"),
            (answer(1, note={"x": "y" * 70_000}), "too long"),
            (answer(1, days_ago=-2), "ahead of the clock"),
        ):
            with pytest.raises(InputError, match=says):
                ledger.append_many([answer(0), wrong])
        assert len(ledger) == 0
        with pytest.raises(InputError, match="there is no record 3"):
            ledger.entry(3)
    with Ledger(tmp_path, MASTER) as reader, pytest.raises(InputError, match="open for reading"):
        reader.append(answer(1))


def test_a_reader_sees_what_was_there_and_then_what_came(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=3000) as ledger:
        ledger.append_many([answer(n) for n in range(10)])
        with Ledger(tmp_path, MASTER) as reader:
            ledger.append_many([answer(n) for n in range(10, 20)])
            assert len(reader) == 10
            assert reader.by_text(text_of(15)) == []
            reader.refresh()
            assert [e.exchange_id for e in reader.by_text(text_of(15))] == ["x-15"]


# -- who may open it ----------------------------------------------------------------------------------------------


def test_another_master_and_no_ledger(tmp_path: Path) -> None:
    filled(tmp_path / "l", 4)
    other = Master(b"o" * 32)
    for open_it in (lambda: Ledger(tmp_path / "l", other), lambda: verify(tmp_path / "l", other)):
        with pytest.raises(
            InputError, match=f"begun under master key {MASTER.fingerprint}, the one given is"
        ):
            open_it()
    with pytest.raises(InputError, match="there is no ledger here"):
        Ledger(tmp_path / "none", MASTER)
    assert not (tmp_path / "none").exists()


def test_one_writer(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        ledger.append(answer(1))
        with pytest.raises(InputError, match=f"another writer .*process {os.getpid()}"):
            opened(tmp_path)
        with Ledger(tmp_path, MASTER) as reader:
            assert len(reader) == 1
    with opened(tmp_path) as again:
        again.append(answer(2))


def test_a_folder_that_is_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path, 4)
    real = os.open

    def read_only(path: object, flags: int, mode: int = 0o777, **more: object) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(30, "Read-only file system")
        return real(path, flags, mode, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "open", read_only)
    with pytest.raises(InputError, match="cannot be opened: Read-only file system"):
        opened(tmp_path)
    with Ledger(tmp_path, MASTER) as reader:
        assert [e.exchange_id for e in reader.by_text(text_of(2))] == ["x-2"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    filled(tmp_path, 4)
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="Permission denied"):
        opened(tmp_path)


def test_nothing_readable_lies_in_the_folder(tmp_path: Path) -> None:
    filled(tmp_path)
    data = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    for n in (0, 7, 33):
        for piece in (text_of(n), text_of(-n - 1), text_of(n)[:24]):
            assert piece.encode() not in data
    assert MASTER._secret not in data
    for path in tmp_path.rglob("*"):
        assert (
            path.stat().st_mode & 0o077 == 0 or path.suffix in (".run", ".places", ".json") or path.is_dir()
        )


def test_neither_repr_nor_pickle_shows_a_key(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        ledger.append(answer(1))
        assert "river" not in repr(answer(1))
        assert repr(ledger) == f"Ledger({str(tmp_path)!r})"
        assert repr(ledger.secrets) == "Secrets(...)"
        assert repr(ledger.sealer(1)) == "Sealer(...)"
        with pytest.raises(TypeError):
            pickle.dumps(ledger.secrets)
        with pytest.raises(TypeError):
            pickle.dumps(ledger)


def test_shingles_are_found_whatever_the_policy_was(tmp_path: Path) -> None:
    for every in (3, 1, 7):
        with opened(tmp_path, Policy(shingle_every=every)) as ledger:
            ledger.append(answer(every, words=200))
    for policy in (Policy(shingle_every=0), Policy(shingle_every=5)):
        with Ledger(tmp_path, MASTER, policy=policy) as ledger:
            for every in (3, 1, 7):
                (like,) = ledger.by_shingles("Look: " + text_of(every, 200)[:900])
                assert like.entry.exchange_id == f"x-{every}"
                assert like.asked / every / 3 < like.shared <= like.asked


def test_what_answers_are_is_known_without_numpy() -> None:
    code = "import sys, stillwatch.marks.ledger; print('numpy' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "False\n"
    )
