"""What is taken from the ledger: the first answer of each conversation, whatever else is kept of it."""

from __future__ import annotations

from pathlib import Path

from stillwatch.attribution import asking
from stillwatch.attribution.asking import Asked, from_ledger
from stillwatch.attribution.served import later_turns, marked
from stillwatch.marks.keys import Master
from stillwatch.marks.ledger import Answer, Ledger, Policy
from stillwatch.marks.twins import Day

MASTER = Master(bytes(range(32)))
TIME, MARK = 1_780_000_000_000_000, "0123456789abcdef"


def served(n: int, conversation: str = "", *, minute: int | None = None, **more: object) -> Answer:
    given: dict[str, object] = {"text": f"answer {n}", "tokens": [n], "mark": MARK, "keep": True} | more
    at = TIME + 60_000_000 * (n if minute is None else minute)
    return Answer(f"x-{n}", at, 1, conversation=conversation, **given)  # type: ignore[arg-type]


def filled(folder: Path, answers: list[Answer]) -> Path:
    with Ledger(folder / "ledger", MASTER, write=True, policy=Policy(keep="both")) as ledger:
        ledger.append_many(answers)
    return folder / "ledger"


def test_only_the_first_answer_of_a_conversation_is_taken(tmp_path: Path) -> None:
    rows = [
        served(0),
        served(1, "a"),
        served(2, "b", minute=9),  # written first, served later
        served(3, "a"),
        served(4, "b", minute=8),
        served(5, "c", keep=False),  # the first is not kept: the second is no less a later turn
        served(6, "c"),
        served(7, "d", mark="f" * 16),  # the same under another key
        served(8, "d"),
        served(9),
        served(10, "a"),
    ]
    folder = filled(tmp_path, rows)
    with Ledger(folder, MASTER) as ledger:
        without = later_turns(ledger)
        assert without.tolist() == [2, 3, 6, 8, 10]
        found = [one.exchange_id for one in marked(ledger, [MARK], limit=100, without=without)]
        assert found == ["x-0", "x-1", "x-4", "x-9"]
    asked = Asked()
    notes = from_ledger(asked, folder, MASTER, [MARK], limit=100)
    assert len(asked.served) == 4 and len(notes) == 1 and notes[0].startswith("5 answers are later turns")


def test_twins_of_later_turns_are_left_out_too_and_without_conversations_nothing_is(tmp_path: Path) -> None:
    day = Day(MASTER, "2026-05-28", share=1.0)

    def pair(n: int, conversation: str) -> Answer:
        both = (f"one {n}", f"other {n}")
        chosen, twin = day.draw(f"x-{n}", *both) or (0, None)
        assert twin is not None
        return served(n, conversation, text=both[chosen], withheld_text=both[1 - chosen], note=twin.note())

    asked = Asked()
    names = ["a", "a", "b", "", ""]
    folder = filled(tmp_path / "1", [pair(n, c) for n, c in enumerate(names)])
    notes = from_ledger(asked, folder, MASTER, [MARK], limit=9)
    assert (
        len(asked.twins) == 4
        and notes[0].startswith("1 answers are later turns")
        and notes[1] == asking.UNHELD
    )
    asked = Asked()
    notes = from_ledger(
        asked, filled(tmp_path / "2", [pair(n, "") for n in range(5)]), MASTER, [MARK], limit=9
    )
    assert len(asked.twins) == len(asked.served) == 5 and notes == [asking.UNHELD]
