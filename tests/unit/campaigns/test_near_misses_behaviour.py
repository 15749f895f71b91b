"""Near misses of the signals of behaviour: moving together, failing over, replaying, probing.

First what the tests say of values, as in `test_campaign_signals`: a pool of 600 accounts in two strata, a group of 30;
"none" is an e-value below 1.5, "much" one above 1,000, "refused" is InsufficientData. Then what the steps make of logs
small enough to be read.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from stillwatch.campaigns import steps as shared_steps
from stillwatch.campaigns.groups import groups_of_values
from stillwatch.campaigns.signals import ban_failover, model_pivot, probing_run, signature_replay
from stillwatch.engine import schema
from stillwatch.engine.duckdb import Engine
from stillwatch.engine.steps import Step
from stillwatch.errors import InsufficientData
from stillwatch.records import TestResult
from stillwatch.text.sketch import ELICITATION

POOL, GROUP = 600, 30
MEMBERS = np.arange(0, POOL, POOL // GROUP)
STRATA = np.arange(POOL) % 2
MUCH, NONE = math.log(1000), math.log(1.5)
HOUR, DAY = 3_600_000_000, 86_400_000_000

Values = Callable[[np.random.Generator], NDArray]


def holds(result: TestResult, says: str) -> None:
    assert result.log_evalue is not None and result.log_evalue_ceiling is not None
    assert result.log_evalue <= result.log_evalue_ceiling + 1e-9
    if says == "much":
        assert result.log_evalue > MUCH
        assert result.effect is not None and result.effect > 0.3
    else:
        assert result.log_evalue < NONE


# --- moving to a new model -------------------------------------------------------------------------------------------


def moves(
    members: Callable[[np.random.Generator, int], NDArray],
    others: Callable[[np.random.Generator, int], NDArray] = lambda rng, n: 10 + rng.exponential(12, n),
    *,
    moved: int = GROUP,
) -> Values:
    """Days of the move; only the first `moved` members have one."""

    def make(rng: np.random.Generator) -> NDArray:
        values = others(rng, POOL)
        values[MEMBERS] = members(rng, GROUP)
        values[MEMBERS[moved:]] = np.nan
        return values

    return make


def at_once(rng: np.random.Generator, n: int) -> NDArray:
    return 10 + rng.random(n)


def slowly(rng: np.random.Generator, n: int) -> NDArray:
    return 10 + rng.exponential(12, n)


def late_but_together(rng: np.random.Generator, n: int) -> NDArray:
    return 31 + 0.5 * rng.random(n)


def nobody_else(rng: np.random.Generator, n: int) -> NDArray:
    return np.full(n, np.nan)


PIVOTS = [
    ("within a day of the release", moves(at_once), "much"),
    ("within half a day, three weeks after the release", moves(late_but_together), "much"),
    ("five members never moved", moves(at_once, moved=25), "much"),
    ("gradually, as everybody", moves(slowly), "none"),
    ("within a day, and so does everybody", moves(at_once, at_once), "none"),
    ("within a day, and so do most", moves(at_once, lambda rng, n: 10 + rng.exponential(0.4, n)), "none"),
    ("a model that only the group may use", moves(at_once, nobody_else), "none"),
    ("all in the same second, group and pool", moves(lambda rng, n: np.full(n, 10.0), lambda rng, n: np.full(n, 10.0)),
     "refused"),
    ("four members moved", moves(at_once, moved=4), "refused"),
    ("no member moved", moves(at_once, moved=0), "refused"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "says"), [c[1:] for c in PIVOTS], ids=[c[0] for c in PIVOTS])
def test_pivot(make: Values, says: str) -> None:
    values = make(np.random.default_rng(11))
    if says == "refused":
        with pytest.raises(InsufficientData):
            model_pivot.test(values, MEMBERS, STRATA, seed=1)
        return
    holds(model_pivot.test(values, MEMBERS, STRATA, seed=1), says)


# --- failover --------------------------------------------------------------------------------------------------------

STOPS = np.array([20 * DAY, 20 * DAY + 3 * HOUR])
Starts = Callable[[np.random.Generator], NDArray]


def begins(
    low: float, high: float, *, before: int = 0, others: tuple[float, float] = (0, 60), never: int = 0
) -> Starts:
    """Members begin between days `low` and `high`, the first `before` of them on day 5, the last `never` never."""

    def make(rng: np.random.Generator) -> NDArray:
        starts = rng.uniform(others[0] * DAY, others[1] * DAY, POOL)
        starts[MEMBERS] = rng.uniform(low * DAY, high * DAY, GROUP)
        starts[MEMBERS[:before]] = 5 * DAY
        starts[MEMBERS[GROUP - never :]] = np.nan
        return starts

    return make


EVERY_DAY = np.arange(1, 60) * DAY
FAILOVERS = [
    ("a second pool the day after", begins(20.2, 21.2), STOPS, "much"),
    ("fifteen had begun before and were stopped", begins(20.2, 21.2, before=15), STOPS, "much"),
    ("a second pool three weeks later", begins(41, 42), STOPS, "none"),
    ("at any time", begins(0, 60), STOPS, "none"),
    ("the day after, as everybody who is new", begins(20.2, 21.2, others=(20.2, 22.5)), STOPS, "none"),
    ("the day before", begins(19, 20), STOPS, "refused"),
    ("all had begun before, stopped ones included", begins(20.2, 21.2, before=30), STOPS, "refused"),
    ("four began after", begins(20.2, 21.2, before=26), STOPS, "refused"),
    ("four are known", begins(20.2, 21.2, never=26), STOPS, "refused"),
    ("stops on every day: everybody begins after one", begins(20.2, 21.2), EVERY_DAY, "refused"),
    ("nobody was stopped", begins(20.2, 21.2), STOPS[:0], "refused"),
]


@pytest.mark.parametrize(("make", "stops", "says"), [c[1:] for c in FAILOVERS], ids=[c[0] for c in FAILOVERS])
def test_failover(make: Starts, stops: NDArray, says: str) -> None:
    starts = make(np.random.default_rng(11))
    if says == "refused":
        with pytest.raises(InsufficientData):
            ban_failover.test(starts, MEMBERS, STRATA, interventions=stops, seed=1)
        return
    holds(ban_failover.test(starts, MEMBERS, STRATA, interventions=stops, seed=1), says)


def test_the_window_is_open_at_the_stop_and_closed_after_two_days() -> None:
    stops = np.array([100 * HOUR, 200 * HOUR])
    starts = np.array([99, 100, 100.001, 148, 148.001, 200, 200.001, 248, 249, np.nan]) * HOUR
    since = ban_failover._since(starts, stops)
    assert np.isnan(since).tolist() == [True, True] + [False] * 7 + [True]
    assert (since <= ban_failover.HOURS * HOUR).tolist() == [
        False, False, True, True, False, False, True, True, False, False
    ]  # fmt: skip


def test_a_wave_is_told_by_the_hours_before() -> None:
    """A prompt that spreads for four days, with a stop in the middle, is evidence all the same: the note shows it."""
    wave = begins(18, 22)(np.random.default_rng(3))
    result = ban_failover.test(wave, MEMBERS, STRATA, interventions=STOPS[:1], seed=1)
    after, before = (int(part.split()[0]) for part in result.note.split("; ")[0].split(", "))
    assert after + before == GROUP
    assert min(after, before) > 8
    failover = ban_failover.test(
        begins(20.2, 21.2)(np.random.default_rng(3)), MEMBERS, STRATA, interventions=STOPS[:1], seed=1
    )
    assert failover.note.startswith(
        "30 members began within 48 hours after a stop, 0 within 48 hours before one;"
    )


def test_pseudo_interventions_are_a_permutation_p_value() -> None:
    """Starts at any time: p is uniform, so never small more often than it says; and never 0."""
    ps = []
    for trial in range(60):
        rng = np.random.default_rng(trial)
        stops = np.sort(rng.uniform(0, 60 * DAY, 5)).astype(np.int64)
        result = ban_failover.test(begins(0, 60)(rng), MEMBERS, STRATA, interventions=stops, seed=trial)
        ps.append(float(result.note.rpartition("p = ")[2]))
    assert min(ps) >= 1 / 1000
    assert sum(p <= 0.1 for p in ps) <= 13
    assert sum(p <= 0.5 for p in ps) <= 43


def test_members_beyond_the_block_are_counted_the_same() -> None:
    starts = np.random.default_rng(2).uniform(0, 60 * DAY, 4000)
    whole = ban_failover._note(starts, starts, STOPS, np.random.default_rng(1))
    small = pytest.MonkeyPatch()
    with small.context() as patch:
        patch.setattr(ban_failover, "_AT_ONCE", 5000)
        assert ban_failover._note(starts, starts, STOPS, np.random.default_rng(1)) == whole


@pytest.mark.parametrize("rung", ["suspend", "ban", "blocked", "terminated"])
def test_what_stops(rung: str) -> None:
    assert rung in ban_failover.STOPPING


@pytest.mark.parametrize("rung", ["lower burst", "step-up verification", "quota", "observe", "unblock", ""])
def test_what_does_not_stop(rung: str) -> None:
    assert rung not in ban_failover.STOPPING


# --- events ----------------------------------------------------------------------------------------------------------


def events(members: float, others: float, *, known: int = GROUP) -> Values:
    def make(rng: np.random.Generator) -> NDArray:
        values = (rng.random(POOL) < others).astype(np.int8)
        values[MEMBERS] = 0
        values[MEMBERS[: round(members * GROUP)]] = 1
        values[MEMBERS[known:]] = -1
        return values

    return make


EVENTS = [
    ("all", events(1.0, 0.02), "much"),
    ("two thirds", events(0.67, 0.02), "much"),
    ("two members", events(0.07, 0.02), "none"),
    ("as many as of the pool", events(0.1, 0.1), "none"),
    ("all, and the pool too", events(1.0, 0.97), "none"),
    ("none of the group", events(0.0, 0.1), "none"),
    ("nobody anywhere", events(0.0, 0.0), "refused"),
    ("four known", events(1.0, 0.02, known=4), "refused"),
]


@pytest.mark.parametrize("signal", [signature_replay, probing_run], ids=lambda s: s.CARD.name)
@pytest.mark.parametrize(("make", "says"), [c[1:] for c in EVENTS], ids=[c[0] for c in EVENTS])
def test_events(signal: Any, make: Values, says: str) -> None:
    values = make(np.random.default_rng(11))
    if says == "refused":
        with pytest.raises(InsufficientData):
            signal.test(values, MEMBERS, STRATA, seed=1)
        return
    holds(signal.test(values, MEMBERS, STRATA, seed=1), says)


# --- the steps -------------------------------------------------------------------------------------------------------


class Log:
    """Exchanges, one call each; times in hours."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.accounts: list[dict[str, Any]] = []
        self._ids = count(1)

    def add(self, account: int, hour: float, **columns: Any) -> None:
        self.rows.append(
            {"exchange_id": next(self._ids), "account_id": account, "time": round(hour * HOUR), **columns}
        )

    def organization(self, organization: int, *accounts: int) -> None:
        self.accounts += [{"account_id": a, "organization_id": organization} for a in accounts]

    def run(self, steps: list[Step], *read: str) -> list[list[tuple[Any, ...]]]:
        with Engine(threads=1) as engine:
            engine.table("exchanges", _table(self.rows, schema.EXCHANGES))
            engine.table("accounts", _table(self.accounts, schema.ACCOUNTS))
            engine.run([shared_steps.POPULATION, shared_steps.ORGANIZATIONS, *steps])
            return [
                [tuple(row.values()) for row in engine.read(f"select * from {name} order by all").to_pylist()]
                for name in read
            ]


def _table(rows: list[dict[str, Any]], columns: pa.Schema) -> pa.Table:
    return pa.table({f.name: pa.array([r.get(f.name) for r in rows], f.type) for f in columns})


def pivots(log: Log) -> dict[int, float]:
    (rows,) = log.run(model_pivot.steps(), "model_pivot")
    return dict(rows)  # type: ignore[arg-type]


def asks(log: Log, account: int, hours: list[float], model: str, **columns: Any) -> None:
    for hour in hours:
        log.add(account, hour, request_model=model, **columns)


def everybody(accounts: int = 20) -> Log:
    """Accounts 1 to `accounts` ask `old` for days 0 to 3 and move to `new` on day 10, an hour after one another."""
    log = Log()
    for account in range(1, accounts + 1):
        asks(log, account, [1, 30, 50, 70], "old")
        asks(log, account, [240 + account, 260, 280, 300], "new")
    return log


def test_the_day_of_the_move() -> None:
    assert pivots(everybody()) == {a: pytest.approx((240 + a) / 24) for a in range(1, 21)}


def test_a_try_a_newcomer_and_a_visitor_do_not_move() -> None:
    log = everybody()
    asks(log, 101, [1, 30, 50], "old")  # tried it, went back to the old one
    asks(log, 101, [241, 242, 243], "new")
    asks(log, 101, [250, 251, 252, 253], "old")
    asks(log, 102, [241, 242, 243, 244], "new")  # came after the release
    asks(log, 103, [1, 30], "old")  # too little before
    asks(log, 103, [241, 242, 243, 244], "new")
    asks(log, 104, [1, 30, 50], "old")  # too little after
    asks(log, 104, [241, 242], "new")
    asks(log, 105, [1, 30, 50], "old")  # a request in vain before the release is no move
    asks(log, 105, [100], "new", status_code=404)
    asks(log, 105, [250, 251, 252], "new")
    assert {a: d for a, d in pivots(log).items() if a > 100} == {105: pytest.approx(250 / 24)}


def test_an_alias_that_is_pointed_elsewhere_moves_nobody() -> None:
    log = Log()
    for account in range(1, 31):
        asks(log, account, [1, 30, 50, 70], "latest", response_model="model-1")
        asks(log, account, [240, 260, 280, 300], "latest", response_model="model-2")
    assert pivots(log) == {}


def test_few_accounts_make_no_release_and_of_several_the_most_used_counts() -> None:
    assert pivots(everybody(19)) == {}
    log = everybody(21)
    for account in range(1, 21):  # a second release, of twenty accounts
        asks(log, account, [400, 401, 402, 403, 404, 405, 406], "newer")
    moved, release = log.run(model_pivot.steps(), "release_uses", "release")
    assert release == [("new", 241 * HOUR, 21)]
    assert len(moved) == 21


def test_a_model_of_the_first_day_is_no_release() -> None:
    log = everybody()
    asks(log, 99, [23.9], "new")
    asks(log, 99, [0], "old")
    assert pivots(log) == {}
    assert pivots(Log()) == {}


def ledger(log: Log) -> dict[str, list[tuple[Any, ...]]]:
    names = ("signature_replay", "signature_links", "replays", "unseen_signatures")
    return dict(zip(names, log.run(signature_replay.steps(), *names), strict=True))


def store(
    log: Log, minter: int, signatures: range, *, conversation: int | None = 1, model: str = "big"
) -> None:
    for signature in signatures:
        log.add(minter, 1, signatures_minted=[signature], conversation_id=conversation, request_model=model)


def linked(log_links: list[tuple[Any, ...]]) -> list[list[int]]:
    columns = ("account_id", "kind", "value", "degree")
    links = pa.table({c: [row[i] for row in log_links] for i, c in enumerate(columns)})
    return [g.accounts.tolist() for g in groups_of_values(links, proposer="signature_replay", seed=1)]


def test_replay_in_a_new_conversation() -> None:
    """One account's reasoning, read out by five others in conversations of their own; and again elsewhere."""
    log = Log()
    for minter in (1, 21):
        store(log, minter, range(100 * minter, 100 * minter + 15))
        for i in range(5):
            mine = [100 * minter + 3 * i + k for k in range(3)]
            log.add(minter + 1 + i, 5, signatures_presented=mine, conversation_id=minter + 1 + i)
    log.add(99, 5, signatures_minted=[999])
    found = ledger(log)
    assert found["signature_replay"] == [
        (1, 0), *((a, 1) for a in range(2, 7)), (21, 0), *((a, 1) for a in range(22, 27)), (99, 0)
    ]  # fmt: skip
    assert found["signature_links"] == [(m + i, 0, m, 6) for m in (1, 21) for i in range(6)]
    assert found["replays"] == [(m + i, m, 3, 3, 5 * HOUR, 5 * HOUR) for m in (1, 21) for i in range(1, 6)]
    assert linked(found["signature_links"]) == [list(range(1, 7)), list(range(21, 27))]


@pytest.mark.parametrize(
    ("conversation", "model", "value"),
    [
        (1, "big", 0),  # a gateway that spreads one conversation over accounts
        (1, "small", 0),  # and over models
        (2, "big", 1),
        (None, "small", 1),  # read out by a weaker sibling, in a log without conversations
        (None, "big", 0),  # cannot be told from the gateway
        (None, None, 0),
    ],
)
def test_out_of_its_place(conversation: int | None, model: str | None, value: int) -> None:
    log = Log()
    store(log, 1, range(100, 103))
    log.add(
        2, 5, signatures_minted=[200], signatures_presented=[100, 101, 102],
        conversation_id=conversation, request_model=model,
    )  # fmt: skip
    found = ledger(log)
    assert found["signature_replay"] == [(1, 0), (2, value)]
    assert found["signature_links"] == [(1, 0, 1, 2), (2, 0, 1, 2)]  # linked in any case: one store


def test_two_accounts_are_no_group() -> None:
    assert linked([(1, 0, 1, 2), (2, 0, 1, 2)]) == []


REPLAYS_NOT: list[tuple[str, Callable[[Log], None]]] = [
    ("its own", lambda log: log.add(1, 5, signatures_presented=[100, 101, 102], conversation_id=7)),
    ("a workspace of one organisation", lambda log: log.organization(50, 1, 2)),
    ("before it was minted", lambda log: log.add(3, 0.5, signatures_presented=[100, 101, 102], conversation_id=7)),
    ("two only", lambda log: log.add(3, 5, signatures_presented=[100, 101], conversation_id=7)),
    ("the same one again and again",
     lambda log: [log.add(3, h, signatures_presented=[100], conversation_id=7) for h in range(2, 9)]),
    ("minted for it as well", lambda log: [
        log.add(3, 2, signatures_minted=[100, 101, 102], conversation_id=7),
        log.add(3, 5, signatures_presented=[100, 101, 102], conversation_id=8)]),
    ("never seen minted", lambda log: log.add(3, 5, signatures_presented=[900, 901, 902], conversation_id=7)),
    ("empty lists", lambda log: log.add(3, 5, signatures_minted=[], signatures_presented=[], conversation_id=7)),
]  # fmt: skip


@pytest.mark.parametrize("add", [c[1] for c in REPLAYS_NOT], ids=[c[0] for c in REPLAYS_NOT])
def test_what_is_no_replay(add: Callable[[Log], Any]) -> None:
    log = Log()
    store(log, 1, range(100, 103))
    add(log)
    if log.accounts:
        log.add(2, 5, signatures_presented=[100, 101, 102], conversation_id=7)
    found = ledger(log)
    assert 1 not in dict(found["signature_replay"]).values()
    assert found["signature_links"] == []


def test_published_reasoning_is_nobodys() -> None:
    """A framework ships a recorded conversation: its users all present the same signatures."""
    for users, value in ((20, 1), (21, 0)):
        log = Log()
        store(log, 1, range(100, 104))
        for account in range(2, 2 + users):
            log.add(
                account,
                5,
                signatures_minted=[account],
                signatures_presented=[100, 101, 102, 103],
                conversation_id=9,
            )
        found = ledger(log)
        assert {v for a, v in found["signature_replay"] if a > 1} == {value}
        assert len(found["signature_links"]) == (21 if value else 0)


def test_unseen_signatures_are_counted_apart_and_say_nothing_of_the_account() -> None:
    log = Log()
    store(log, 1, range(100, 103))
    log.add(3, 5, signatures_presented=[900, 901, 902, 903])
    log.add(3, 6, signatures_presented=[900])
    found = ledger(log)
    assert dict(found["signature_replay"]) == {1: 0, 3: None}
    assert sum(n for _, n in found["unseen_signatures"]) == 4
    assert {a for a, _ in found["unseen_signatures"]} == {3}


def test_a_log_without_signatures_tells_nothing() -> None:
    log = Log()
    log.add(1, 1)
    found = ledger(log)
    assert found == {
        "signature_replay": [(1, None)], "signature_links": [], "replays": [], "unseen_signatures": []
    }  # fmt: skip


A, B, C = (
    ELICITATION["articulated_reasoning"],
    ELICITATION["rubric_grading"],
    ELICITATION["translation_laundering"],
)
Request = tuple[bool | None, int | None, int | None]
"""refused, elicitation, template"""

FIVE: list[Request] = [(True, A, 1), (True, B, 2), (True, C, 3), (True, A, 4), (True, B, 5)]
PROBES: list[tuple[str, list[Request], int | None]] = [
    ("three techniques, one passes",
     [(True, A, 1), (True, B, 2), (True, A, 3), (True, B, 4), (True, 0, 5), (False, C, 6)], 1),
    ("sets of flags are techniques", [(True, A, 1), (True, A | B, 2), (True, A | C, 3)] + [(True, A, 4)] * 2, 1),
    ("one wrapper that raises three flags", [(True, A | B | C, i) for i in range(9)], 0),
    ("refused for other things", [(True, 0, i) for i in range(9)], 0),
    ("one judge prompt", [(True, B, i) for i in range(9)], 0),
    ("two techniques", [(True, A, 1), (True, B, 2)] * 4 + [(True, 0, 3)], 0),
    ("a client that retries", [(True, A, 1)] * 5 + [(False, B, 2), (False, C, 3)], 0),
    ("four refusals", [(True, A, 1), (True, B, 2), (True, C, 3), (True, A, 4), (False, A, 5)], 0),
    ("a fifth refused", FIVE + [(False, 0, 9)] * 20, 0),
    ("a little more than a fifth", FIVE + [(False, 0, 9)] * 19, 1),
    ("techniques that are never refused", [(False, A, 1), (False, B, 2), (False, C, 3)] * 3, 0),
    ("four outcomes", [(True, A, 1), (True, B, 2), (True, C, 3), (True, A, 4)], None),
    ("outcomes are not logged", [(None, A, 1), (None, B, 2), (None, C, 3)] * 3, None),
    ("texts were not read", [(True, None, None)] * 9, None),
]  # fmt: skip


@pytest.mark.parametrize("by", ["refused", "finish_reason"])
@pytest.mark.parametrize(("requests", "value"), [c[1:] for c in PROBES], ids=[c[0] for c in PROBES])
def test_probing(requests: list[Request], value: int | None, by: str) -> None:
    log = Log()
    for hour, (refused, elicitation, template) in enumerate(requests):
        said: dict[str, Any] = {"refused": refused}
        if by == "finish_reason":
            said = {"finish_reason": {True: "refusal", False: "stop", None: None}[refused]}
        log.add(1, hour, elicitation=elicitation, template_digest=template, **said)
    (rows,) = log.run(probing_run.steps(), "probing_run")
    assert rows == [(1, value)]


def test_first_seen_is_what_failover_reads() -> None:
    """The table is made for both scopes by steps that belong to no signal."""
    how = ban_failover.VALUES
    assert (how.kind, how.table, how.columns, how.scoped) == ("starts", "first_seen", ("first_time",), True)
    log = Log()
    log.add(4, 3)
    log.add(4, 2)
    (rows,) = log.run([shared_steps.ACCOUNT_FIRST, *ban_failover.steps()], how.table)
    assert rows == [(4, -1, 2 * HOUR)]
