"""What continues a conversation, what was carried in, and the shape that this gives, on small tables."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from taken_samples import DAY, MONDAY, exchange

from stillwatch.campaigns import steps
from stillwatch.campaigns.signals import harvesting_shape
from stillwatch.campaigns.signals.harvesting_shape import BEGAN, LEAST_EXCHANGES
from stillwatch.engine import schema
from stillwatch.engine.duckdb import Engine

HOUR = DAY // 24
SECOND = 1_000_000
FOLLOWS, CARRIED, BEGINS = (True, False), (False, True), (False, False)


def engine_of(rows: list[dict[str, Any]], organizations: dict[int, int] | None = None) -> Engine:
    engine = Engine(threads=1)
    engine.table("exchanges", pa.Table.from_pylist(rows, schema=schema.EXCHANGES))
    known = [dict.fromkeys(schema.ACCOUNTS.names) | {"account_id": a, "organization_id": o}
             for a, o in (organizations or {}).items()]  # fmt: skip
    engine.table("accounts", pa.Table.from_pylist(known, schema=schema.ACCOUNTS))
    engine.run([steps.POPULATION, steps.ORGANIZATIONS, steps.CONVERSATIONS, steps.OPENINGS])
    return engine


def by_account(rows: list[dict[str, Any]], **more: Any) -> list[tuple[bool, bool]]:
    """(follow_up, carried_in) of each row, in the order given."""
    with engine_of(rows, **more) as engine:
        engine.run([steps.ACCOUNT_SCOPE])
        found = engine.read("select time, prompt_digest, follow_up, carried_in from scope").to_pylist()
    told = {(f["time"], f["prompt_digest"]): (f["follow_up"], f["carried_in"]) for f in found}
    assert len(found) == len(told) == len(rows)
    return [told[r["time"], r["prompt_digest"]] for r in rows]


def turn(number: int, account: int, after: int, turns: int | None, opening: int | None, **more: Any) -> dict:
    return exchange(number, account, MONDAY + after * SECOND, turns=turns, opening_digest=opening, **more)


# --------------------------------------------------------------------------------------------------- openings


def test_a_conversation_continued_in_its_own_account_is_follow_up() -> None:
    rows = [turn(0, 1, 0, 1, 77), turn(1, 1, 60, 2, 77), turn(2, 1, 120, 3, 77)]
    assert by_account(rows) == [BEGINS, FOLLOWS, FOLLOWS]


def test_continued_in_another_account_of_the_organisation_it_is_follow_up() -> None:
    rows = [turn(0, 1, 0, 1, 77), turn(1, 2, 60, 2, 77)]
    assert by_account(rows, organizations={1: 500, 2: 500}) == [BEGINS, FOLLOWS]
    assert by_account(rows, organizations={1: 500, 2: 501}) == [BEGINS, CARRIED]
    named = [row | {"organization_id": 9} for row in rows]  # the log names it, no table of accounts does
    assert by_account(named) == [BEGINS, FOLLOWS]


def test_in_an_unrelated_account_it_is_carried_in_once_and_then_goes_on() -> None:
    rows = [turn(0, 1, 0, 1, 77), turn(1, 2, 60, 2, 77), turn(2, 2, 120, 3, 77), turn(3, 3, 180, 4, 77)]
    assert by_account(rows) == [BEGINS, CARRIED, FOLLOWS, CARRIED]


def test_two_conversations_of_one_account_are_told_apart() -> None:
    rows = [turn(0, 1, 0, 1, 77), turn(1, 1, 60, 2, 77), turn(2, 1, 70, 5, 88), turn(3, 1, 80, 6, 88)]
    assert by_account(rows) == [BEGINS, FOLLOWS, CARRIED, FOLLOWS]


def test_a_first_question_asked_again_begins_again() -> None:
    rows = [turn(0, 1, 0, 1, 77), turn(1, 1, 60, 1, 77), turn(2, 1, 120, None, 77)]
    assert by_account(rows) == [BEGINS, BEGINS, BEGINS]


def test_what_was_never_continued_is_in_no_table() -> None:
    with engine_of([turn(0, 1, 0, 1, 77), turn(1, 1, 9, 1, 77), turn(2, 2, 0, 3, 88)]) as engine:
        assert engine.read("select holder, opening_digest, start from openings").to_pylist() == [
            {"holder": 2, "opening_digest": 88, "start": MONDAY}
        ]


def test_a_log_without_openings_goes_by_turns() -> None:
    rows = [
        turn(0, 1, 0, 1, None),
        turn(1, 1, 60, 2, None),
        turn(2, 2, 120, 3, None),
        turn(3, 2, 9, None, None),
    ]
    assert by_account(rows) == [BEGINS, FOLLOWS, FOLLOWS, BEGINS]


@pytest.mark.parametrize("turns", [1, None])
def test_conversations_that_the_provider_keeps_are_followed_by_their_id(turns: int | None) -> None:
    """The request holds the new message alone, so each seems a first question."""
    rows = [
        turn(0, 1, 0, turns, 10, conversation_id=5),
        turn(1, 1, 60, turns, 11, conversation_id=5),
        turn(2, 1, 70, turns, 12, conversation_id=6),
        turn(3, 1, 80, turns, 13),
    ]
    assert by_account(rows) == [BEGINS, FOLLOWS, BEGINS, BEGINS]


def test_an_id_and_a_history_together_go_by_the_history() -> None:
    """A client's id for a talk that began elsewhere does not make its first request here a follow-up."""
    rows = [turn(0, 1, 0, 3, 77, conversation_id=5), turn(1, 1, 60, 4, 77, conversation_id=5)]
    assert by_account(rows) == [CARRIED, FOLLOWS]


def test_the_scope_of_a_material_says_the_same_and_leaves_out_the_day_of_joining() -> None:
    joining = [turn(i, 1, i, 1, 10 + i) for i in range(3)]
    day = DAY // SECOND
    later = [
        turn(10, 1, day, 1, 77),
        turn(11, 1, day + 60, 2, 77),
        turn(12, 1, day + 90, 3, 88),
        turn(13, 1, day + 95, 2, None),
    ]
    rows = [row | {"shingles": [4]} for row in joining + later]
    rows += [turn(20, 1, day + 99, 1, 99), turn(21, 2, day, 1, 98, shingles=[4])]  # no text; used once
    none = pa.table({"shingle": pa.array([], pa.int64()), "family": pa.array([], pa.int64())})
    with engine_of(rows) as engine:
        engine.table("family_shingles", pa.table({"shingle": [4], "family": [3]}))
        engine.table("family_tokens", none)
        engine.run([steps.TEXT_CARRIERS, steps.WORD_CARRIERS, steps.MATERIAL_EXCHANGES, steps.MATERIAL_USES])
        engine.run([steps.MATERIAL_SCOPE])
        found = engine.read("select * from scope order by time").to_pylist()
    assert {(f["account_id"], f["family"]) for f in found} == {(1, 3)}
    assert [f["prompt_digest"] for f in found] == [10, 11, 12, 13]
    assert [(f["follow_up"], f["carried_in"]) for f in found] == [BEGINS, FOLLOWS, CARRIED, FOLLOWS]


# ------------------------------------------------------------------------------------------------------ shape


def day_of(n: int, *, hours: range = range(24), opening: int | None = None, **more: Any) -> list[dict]:
    """`n` requests of account 1 spread over those hours of a week."""
    rows = []
    for i in range(n):
        at = MONDAY + (i % 7) * DAY + hours[i * 5 % len(hours)] * HOUR + i * SECOND
        columns = {k: v(i) if callable(v) else v for k, v in more.items()}
        rows.append(exchange(i, 1, at, **({"opening_digest": 1_000 + i} | columns)))
    return rows


def shape_of(rows: list[dict]) -> dict[str, Any] | None:
    with engine_of(rows) as engine:
        engine.run([steps.ACCOUNT_SCOPE, *harvesting_shape.steps()])
        found = engine.read("select * from harvesting_shape").to_pylist()
    assert len(found) <= 1
    return found[0] if found else None


def value_of(rows: list[dict]) -> int | None:
    found = shape_of(rows)
    assert found is not None
    return found["value"]


TASKS = {"turns": 1, "input_tokens": 50, "output_tokens": 400}
JUDGE = {"turns": 1, "input_tokens": 2_000, "output_tokens": 150}


def talk(n: int, each: int, **more: Any) -> list[dict]:
    """`n` conversations of `each` turns, all in account 1."""
    rows = []
    for c in range(n):
        at = MONDAY + (c % 7) * DAY + (c * 5 % 24) * HOUR
        rows += [exchange(c * each + t, 1, at + t * 60 * SECOND, turns=1 + t, opening_digest=1_000 + c, **more)
                 for t in range(each)]  # fmt: skip
    return rows


def relay(n: int, **more: Any) -> list[dict]:
    """One turn each of conversations that others lead: every history began elsewhere."""
    return day_of(n, turns=lambda i: 2 + i % 4, **more)


def test_single_tasks_round_the_clock() -> None:
    found = shape_of(day_of(96, **TASKS))
    assert found is not None and found["value"] == 1
    assert (found["follow_ups"], found["carried_in"], found["distinct_prompts"]) == (0, 0, 1)
    assert found["hours"] == pytest.approx(1 / (1 - (23 / 24) ** 96)) and found["token_yield"] == 8


@pytest.mark.parametrize(
    ("rows", "value"),
    [
        pytest.param(day_of(96, **TASKS, hours=range(9, 18)), 0, id="tasks of working hours"),
        pytest.param(talk(24, 4), 0, id="honest talk"),
        pytest.param(talk(24, 4, elicitation=1), 1, id="talk for its reasoning"),
        pytest.param(relay(96), 0, id="a reseller of talk"),
        pytest.param(relay(96, elicitation=1), 1, id="a relay that elicits"),
        pytest.param(
            relay(96, elicitation=lambda i: int(i % 3 == 0)), 0, id="a relay of which a third elicits"
        ),
        pytest.param(day_of(96, **JUDGE, elicitation=2), 1, id="a judge"),
        pytest.param(day_of(96, **JUDGE), 0, id="documents summed up"),
        pytest.param(day_of(96, **JUDGE, logprobs=True), 1, id="short answers with their probabilities"),
        pytest.param(day_of(96, **JUDGE, n_choices=4), 1, id="several choices"),
        pytest.param(day_of(96, **JUDGE, n_choices=1, logprobs=False), 0, id="one choice, asked for by name"),
        pytest.param(
            day_of(96, **JUDGE, logprobs=lambda i: i % 3 == 0), 0, id="probabilities for a third of them"
        ),
        pytest.param(day_of(96, **TASKS, prompt_digest=lambda i: i % 24), 0, id="one list repeated"),
        pytest.param(
            day_of(96, **TASKS, prompt_digest=lambda i: i % 24, elicitation=1), 0, id="one list of reasoning"
        ),
        pytest.param(day_of(96, **TASKS, prompt_digest=None), None, id="prompts unknown"),
        pytest.param(day_of(96, **TASKS | {"input_tokens": None}), 1, id="tokens unknown"),
        pytest.param(talk(BEGAN - 1, 8, elicitation=1), 0, id="too few beginnings"),
        pytest.param(talk(BEGAN, 8, elicitation=1), 1, id="as many beginnings as it takes"),
        pytest.param(day_of(96, turns=2, opening_digest=None, elicitation=1), 0, id="nothing ever begins"),
    ],
)
def test_the_value_of_a_shape(rows: list[dict], value: int | None) -> None:
    assert value_of(rows) == value


def test_one_request_fewer_than_it_takes_says_nothing() -> None:
    assert shape_of(day_of(LEAST_EXCHANGES - 1, **TASKS)) is None
    assert value_of(day_of(LEAST_EXCHANGES, **TASKS)) == 1


def test_carried_in_and_follow_ups_count_together() -> None:
    """Neither is above a quarter alone."""
    tasks, talks = day_of(72, **TASKS), talk(6, 4)
    numbered = [r | {"prompt_digest": 5_000 + i, "exchange_id": 10**9 + i} for i, r in enumerate(talks)]
    assert value_of(tasks + numbered) == 1
    carried = [
        exchange(9_000 + i, 1, MONDAY + i * HOUR + 7, turns=3, opening_digest=20_000 + i) for i in range(18)
    ]
    found = shape_of(tasks + numbered + carried)
    assert found is not None and found["value"] == 0
    assert max(found["follow_ups"], found["carried_in"]) < harvesting_shape.FOLLOW_UPS
