"""What was taken, from tables whose truth is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from taken_samples import DAY, MONDAY, WRAPPERS, engine_of, exchange

from stillwatch.campaigns import words
from stillwatch.campaigns.belonging import Keys, find_belonging
from stillwatch.campaigns.taken import families, read_taken

NONE = np.empty(0, np.int64)
KEYS = Keys(WRAPPERS.ravel(), NONE, NONE, True, 1.0)
WRAPPER = [int(s) for s in WRAPPERS[0]]


def taken(rows: list[dict[str, Any]], texts: dict[int, str] | None = None) -> dict[str, Any]:
    with engine_of(rows) as engine:
        members = np.unique([row["account_id"] for row in rows if row["account_id"] < 1_000])
        find_belonging(engine, [members], [KEYS])
        read = None if texts is None else (lambda wanted: {s: texts[s] for s in wanted if s in texts})
        (found,) = read_taken(engine, [0], [KEYS.shingles], read)
    return found


def campaign(
    days: range | list[int], accounts: int = 10, each: int = 4, **columns: Any
) -> list[dict[str, Any]]:
    rows = []
    for day in days:
        for account in range(accounts):
            for i in range(each):
                at = MONDAY + day * DAY + i * DAY // 8 + account
                more = {k: v(day, account, i) if callable(v) else v for k, v in columns.items()}
                number = (day * accounts + account) * each + i
                rows.append(
                    exchange(number, account, at, **{"shingles": WRAPPER, "client_prefix": account, **more})
                )
    return rows


def test_counts_are_those_of_the_rows_that_belong() -> None:
    rows = [*campaign(range(3)), exchange(9_999, 0, MONDAY, output_tokens=7), exchange(9_998, 2_000, MONDAY)]
    found = taken(rows)
    assert (found["exchanges"], found["accounts"], found["output_tokens"]) == (120, 10, 48_000)
    assert (found["tasks"], found["asked_by_several"], found["follow_ups"]) == (120, 0, 0)
    assert found["kinds"] == {"answers": 120}
    assert found["models"] == [
        {"model": "m", "accounts": 10, "exchanges": 120, "output_tokens": 48_000, "first": "2026-11-02",
         "last": "2026-11-04"}
    ]  # fmt: skip
    assert found["moves"] == found["pauses"] == found["families"] == []


def test_models_and_kinds_say_how_many_accounts_had_them() -> None:
    """Many exchanges of one account are no reason to tell others of its model."""
    found = taken(campaign(range(2), response_model=lambda day, account, i: "own" if account == 3 else "m"))
    assert {m["model"]: (m["accounts"], m["exchanges"]) for m in found["models"]} == {
        "m": (9, 72),
        "own": (1, 8),
    }
    assert found["kind_accounts"] == {"answers": 10}


def test_kinds_follow_the_bits_and_the_tools() -> None:
    found = taken(
        campaign(
            range(2),
            elicitation=lambda day, account, i: [1, 1, 2, 0][i],
            tool_schema_digest=lambda day, account, i: 5 if i == 3 and account < 5 else None,
        )
    )
    assert found["kinds"] == {"reasoning": 40, "grading": 20, "tool traces": 10, "answers": 10}
    assert found["kind_accounts"] == {"reasoning": 10, "grading": 10, "tool traces": 5, "answers": 5}


def test_one_list_in_two_hands_and_unknown_numbers_are_said() -> None:
    twice = taken(campaign(range(2), prompt_digest=lambda day, account, i: day * 100 + account // 2 * 4 + i))
    assert (twice["tasks"], twice["asked_by_several"]) == (40, 40)
    blind = taken(campaign(range(2), prompt_digest=None, output_tokens=None))
    assert (blind["tasks"], blind["output_tokens"]) == (None, None)
    said = dict(map(tuple, words.what_was_taken(blind)))
    assert said["taken"] == "80 exchanges; its prompts are not known"
    assert "tasks" not in said


def test_a_follow_up_is_no_task() -> None:
    found = taken(campaign(range(2), turns=lambda day, account, i: 1 + i % 2))
    assert (found["exchanges"], found["tasks"], found["follow_ups"]) == (80, 40, 40)


def test_a_stored_conversation_is_a_task_where_its_beginning_was_nowhere() -> None:
    """Turn 3 of a talk that nobody here opened is brought in; turn 5 of it goes on with it."""
    found = taken(campaign(range(2), turns=lambda day, account, i: 3 + 2 * (i % 2),
                           opening_digest=lambda day, account, i: (day * 10 + account) * 4 + i // 2 + 1))  # fmt: skip
    assert (found["exchanges"], found["tasks"], found["follow_ups"], found["carried_in"]) == (80, 40, 40, 40)
    assert ("replayed", "50% of the exchanges bring a conversation that did not begin in this log") in [
        tuple(pair) for pair in words.what_was_taken(found)
    ]


@pytest.mark.parametrize(
    ("columns", "moves"),
    [
        (
            {"request_model": lambda day, account, i: "new" if day >= 4 else "old"},
            [("2026-11-06", "100% of the exchanges go to new, none before")],
        ),
        (
            {"client_prefix": lambda day, account, i: account + (100 if day >= 4 else 0)},
            [("2026-11-06", "100% of the exchanges come from addresses new to the group")],
        ),
        (
            {"client_prefix": lambda day, account, i: day * 1000 + account},
            [("2026-11-03", "on 5 days most exchanges come from addresses new to the group")],
        ),
        ({"request_model": lambda day, account, i: "new" if i < day else "old"}, []),
    ],
)
def test_when_it_moved(columns: dict[str, Any], moves: list[tuple[str, str]]) -> None:
    found = taken(campaign(range(6), **columns))
    assert [(m["day"], m["what"]) for m in found["moves"]] == moves


def test_accounts_that_come_and_go_and_days_of_silence() -> None:
    pool = campaign([0, 1, 5, 6, 7])
    rows = [
        row
        for row in pool
        if (row["account_id"] < 5 or row["time"] >= MONDAY + 5 * DAY)
        and (row["account_id"] >= 5 or row["time"] < MONDAY + 6 * DAY)
    ]
    found = taken(rows)
    assert [(m["day"], m["what"]) for m in found["moves"] if "accounts" in m["what"]] == [
        ("2026-11-07", "5 accounts join"),
        ("2026-11-07", "5 accounts send their last request"),
    ]
    assert found["pauses"] == [{"first": "2026-11-04", "last": "2026-11-06", "days": 3}]
    said = [text for label, text in words.what_was_taken(found) if label == "paused"]
    assert said == ["2026-11-04 to 2026-11-06, 3 days"]


def minhashes(topic: int | None, number: int) -> list[int]:
    """Half of the positions are the wrapper's; of the rest a topic gives three of four."""
    rng = np.random.default_rng(number)
    values = rng.integers(0, 2**31 - 1, 32)
    values[:16] = np.arange(16)
    if topic is not None:
        values[16:28] = topic * 1000 + np.arange(12)
    return values.tolist()


def test_families_see_through_the_wrapper() -> None:
    signature = np.array([minhashes(i % 20 if i % 4 == 0 else None, i) for i in range(400)], np.int32)
    label = families(signature)
    assert (label[1::4] == -1).all(), "the wrapper alone makes nothing alike"
    assert len(np.unique(label[::4])) == 5
    assert (np.bincount(label[::4]) == 20).all()


def test_families_have_a_name_only_where_text_was_kept() -> None:
    def about(day: int, account: int, i: int) -> list[int]:
        return minhashes(i if i < 2 else None, (day * 10 + account) * 4 + i)

    rows = campaign(range(3), minhash=about, shingles=lambda day, account, i: [*WRAPPER, 77_000 + i])
    found = taken(
        rows, {77_000: "prove that the sum of two odd numbers is even", WRAPPER[0]: "think step by step"}
    )
    assert {f["text"] for f in found["families"]} == {"prove that the sum of two odd numbers is even", ""}
    said = [text for label, text in words.what_was_taken(found) if label == "topics"]
    assert "“prove that" in said[0]
    assert said[-1].endswith("naming them needs kept text")
    assert {f["text"] for f in taken(rows)["families"]} == {""}


def test_numbers_are_short_and_never_round_up_to_all() -> None:
    assert [words.many(n) for n in (950, 71_204, 3_100_000, 41_000_000)] == ["950", "71 k", "3.1 M", "41 M"]
    assert [words.part(p) for p in (0, 0.001, 0.5, 0.999, 1)] == ["0%", "under 1%", "50%", "over 99%", "100%"]
    assert words.between(0.8, 0.751, 0.84) == "80% (75 to 84%)"
