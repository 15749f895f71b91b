"""Which exchanges of a mixed account belong: recovered at every share, and for every way to blur them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom
from taken_samples import DAY, MONDAY, WRAPPERS, engine_of, exchange

from stillwatch.campaigns.belonging import (
    STEPS,
    Keys,
    calibrated,
    find_belonging,
    keys_from_json,
    keys_of,
)
from stillwatch.campaigns.groups import Group
from stillwatch.campaigns.materials import Materials
from stillwatch.campaigns.share import Shares, read_shares, shares_by_day
from stillwatch.stats.intervals import clopper_pearson

NONE = np.empty(0, np.int64)
WHOLE = Keys(WRAPPERS.ravel(), NONE, NONE, True, 1.0)
ACCOUNTS = np.arange(12)
SHARES = (0.05, 0.10, 0.25, 0.50, 0.80)


def log(share: float, manner: str, seed: int = 1) -> tuple[list[dict], dict[int, float]]:
    """A dozen accounts for a week, 26 exchanges a day, of which `share` belong, blurred in one manner; the truth."""
    rng = np.random.default_rng(seed)
    rows: list[dict] = []
    truth = {}
    for account in ACCOUNTS:
        mine, n = 0, 0
        for at in np.sort(MONDAY + (rng.random(182) * 7 * DAY).astype(np.int64)):
            belongs = rng.random() < share
            shingles = [int(s) for s in rng.integers(10**12, 10**15, 6)]
            group = [(shingles, {})]
            if belongs:
                group = _campaign(shingles, manner, rng, len(rows))
            elif rng.random() < 0.3:  # people talk, and what they said before stands in the request again
                group = [(shingles, {}), ([*shingles, int(rng.integers(10**15))], {"turns": 2})]
            for i, (text, more) in enumerate(group):
                rows.append(exchange(len(rows), int(account), int(at) + i, shingles=text, **more))
            mine += belongs * len(group)
            n += len(group)
        truth[int(account)] = mine / n
    for i in range(2_000):  # other people
        text = [int(s) for s in rng.integers(10**12, 10**15, 6)]
        rows.append(exchange(len(rows), 1_000 + i % 300, int(MONDAY + rng.random() * 7 * DAY), shingles=text))
    return rows, truth


def _campaign(
    body: list[int], manner: str, rng: np.random.Generator, number: int
) -> list[tuple[list[int], dict]]:
    wrapper = [int(s) for s in WRAPPERS[0]]
    if manner == "rotating wrappers":
        wrapper = [int(s) for s in WRAPPERS[rng.integers(2)]]
    if manner == "a part of the wrapper":
        start = int(rng.integers(0, 36))
        wrapper = wrapper[start : start + 4]
    first = (wrapper + body, {})
    if manner == "history repeated":
        return [first, ([*wrapper, *body, int(rng.integers(10**15))], {"turns": 2})]
    if manner == "history kept by the provider":
        talk = {"conversation_id": 10_000_000 + number}
        return [(first[0], talk), ([int(rng.integers(10**12, 10**15))], talk)]
    return [first]


def shares_of(rows: list[dict], keys: Keys = WHOLE) -> Shares:
    members = np.unique([row["account_id"] for row in rows if row["account_id"] < 1_000])
    with engine_of(rows) as engine:
        told, behind = calibrated(engine, [members], [keys])
        find_belonging(engine, [members], told)
        (found,) = read_shares(engine, told, behind)
    return found


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize(
    "manner",
    [
        "one wrapper",
        "rotating wrappers",
        "a part of the wrapper",
        "history repeated",
        "history kept by the provider",
    ],
)
def test_the_share_is_recovered(share: float, manner: str) -> None:
    rows, truth = log(share, manner)
    found = shares_of(rows)
    true = np.array([truth[int(a)] for a in found.account])
    assert np.abs(found.share - true).max() < 1e-9
    value, low, high = found.of_group
    assert low <= value <= high
    assert high - low < 0.2
    if manner.startswith("history"):
        assert found.follow_ups == found.belonging.sum() // 2, "each turn once, and as what it is"


@pytest.mark.parametrize("share", SHARES)
def test_intervals_by_day_cover_what_an_account_is_set_to(share: float) -> None:
    """The unit is the day: with bursty days the interval by exchange covers far too seldom."""
    rng = np.random.default_rng(5)
    accounts, days = 400, 14
    who = np.repeat(np.arange(accounts), days)
    total = 1 + rng.poisson(20, accounts * days)
    daily = rng.beta(4 * share, 4 * (1 - share), accounts * days)  # the mixture of a day is drawn anew
    belonging = rng.binomial(total, daily)
    _, low, high = shares_by_day(belonging, total, who, accounts)
    covered = np.mean((low <= share) & (share <= high))
    assert covered >= 0.89
    by_exchange = [
        clopper_pearson(int(k), int(n))
        for k, n in zip(np.bincount(who, belonging), np.bincount(who, total), strict=True)
    ]
    narrow = np.mean([a <= share <= b for a, b in by_exchange])
    assert narrow < 0.75, "exchanges are no units: these intervals miss in one case of four and more"


def test_an_account_of_one_day_has_a_share_and_no_interval() -> None:
    share, low, high = shares_by_day(np.array([3]), np.array([4]), np.array([0]), 1)
    assert share[0] == 0.75
    assert np.isnan([low[0], high[0]]).all()


def test_all_or_nothing_has_an_interval_with_one_open_end() -> None:
    share, low, high = shares_by_day(
        np.array([9, 9, 9, 0, 0, 0]), np.array([9] * 6), np.array([0, 0, 0, 1, 1, 1]), 2
    )
    assert share.tolist() == [1.0, 0.0]
    assert 0 < low[0] < 1 == high[0]
    assert low[1] == 0 < high[1] < 1


def test_what_others_carry_by_chance_is_taken_off() -> None:
    rows, truth = log(0.25, "one wrapper")
    rng = np.random.default_rng(4)
    for row in rows:
        if WRAPPERS[0][0] not in row["shingles"] and rng.random() < 0.05:
            row["shingles"] = [*row["shingles"], int(WRAPPERS[0][0])]
    found = shares_of(rows)
    true = np.array([truth[int(a)] for a in found.account])
    raw = found.belonging / found.total
    assert found.background == pytest.approx(0.05, abs=0.015)
    assert (raw - true).mean() > 0.03
    assert abs((found.share - true).mean()) < 0.012


def test_a_client_that_never_ends_its_conversation_says_nothing() -> None:
    """One id for everything an account does is no conversation: only what carries the text belongs."""
    wrapper = [int(s) for s in WRAPPERS[0]]
    rows = [
        exchange(
            i, 0, MONDAY + i * DAY // 50, conversation_id=77, shingles=wrapper if i % 4 == 0 else [i + 1]
        )
        for i in range(240)
    ]
    found = shares_of(rows)
    assert found.belonging[found.account == 0] == 60


def test_a_conversation_that_the_wrapper_did_not_open_does_not_belong() -> None:
    wrapper = [int(s) for s in WRAPPERS[0]]
    texts = [[1], [2], wrapper, [3]]
    rows = [exchange(i, 0, MONDAY + i, conversation_id=77, shingles=text) for i, text in enumerate(texts)]
    assert shares_of(rows).belonging[0] == 1


def materials(users: dict[int, list[int]]) -> Materials:
    """Materials 0, 1 ... with these accounts, ten shingles each."""
    pairs = [(a, m) for m, accounts in users.items() for a in accounts]
    shingles = np.arange(10 * len(users))
    return Materials(
        account=np.array([a for a, _ in pairs]),
        material=np.array([m for _, m in pairs]),
        uses=np.full(len(pairs), 9),
        shingle=shingles,
        shingle_material=shingles // 10,
        stands=shingles % 10 < 5,
    )


def test_a_group_without_text_is_told_by_text_that_its_accounts_and_few_others_repeat() -> None:
    group = Group("shared_infrastructure", np.arange(10))
    many, few = (
        materials({0: list(range(8)), 1: [0, 1]}),
        materials({0: list(range(8)) + list(range(50, 70))}),
    )
    told = keys_of(group, many, frozenset())
    assert set(told.shingles) == set(range(10))
    assert (told.proposed, told.users) == (False, 0.8)
    assert not keys_of(group, few, frozenset()), "everybody's text tells nothing of the group"


def test_accounts_without_that_text_are_not_known_rather_than_zero() -> None:
    wrapper = [int(s) for s in WRAPPERS[0]]
    rows = [
        exchange(i, a, MONDAY + i * DAY // 20, shingles=wrapper if a < 8 and i % 2 else [i + 1])
        for a in range(10)
        for i in range(60)
    ]
    for i, row in enumerate(rows):
        row["exchange_id"] = i
    found = shares_of(rows, replace(WHOLE, proposed=False, users=0.8))
    assert np.isnan(found.share[8:10]).all()
    assert found.share[:8] == pytest.approx(0.5)
    assert found.of_group[0] == pytest.approx(0.5)


def test_a_group_that_nothing_tells_has_all_its_exchanges_and_no_share() -> None:
    rows, _ = log(0.5, "one wrapper")
    found = shares_of(rows, Keys(NONE, NONE, NONE, False, 0.0))
    assert np.array_equal(found.belonging, found.total)
    assert np.isnan(found.share).all()
    assert found.of_group is None


TOKENS = np.array([place * 2**32 + 7 for place in range(1, 17)])


@pytest.mark.parametrize(("chance", "least"), [(0.0, 2), (0.05, 2), (0.2, 3), (0.5, 4)])
@pytest.mark.parametrize("share", SHARES)
def test_reworded_text_is_told_by_as_many_tokens_as_chance_asks_for(
    share: float, chance: float, least: int
) -> None:
    """A re-wording keeps five tokens of sixteen on average, and other texts each with a chance of `chance` / 2."""
    rng = np.random.default_rng(7)
    keys = Keys(NONE, TOKENS, np.zeros(16, np.int64), True, 1.0)
    rows, truth = [], dict.fromkeys(range(10), 0)
    for i in range(6_000):
        account = i % 10 if i < 2_000 else 1_000 + i % 400
        belongs = account < 1_000 and rng.random() < share
        kept = rng.random(16) < (5 / 16 if belongs else 0)
        kept[:4] |= rng.random(4) < chance / 2
        values = np.where(np.r_[kept, np.zeros(16, bool)], 7, rng.integers(100, 2**31, 32))
        rows.append(exchange(i, account, MONDAY + i % 7 * DAY + i, minhash=values.tolist()))
        if account < 1_000:
            truth[account] += belongs / 200
    with engine_of(rows) as engine:
        ((told,), _) = calibrated(engine, [np.arange(10)], [keys])
    assert told.least == least
    found = shares_of(rows, keys)
    true = np.array([truth[int(a)] for a in found.account])
    missed = binom.cdf(least - 1, 16, 5 / 16)
    # What falls short of `least` is missed, save where chance adds a token; nothing is counted too much.
    assert -missed * share - 0.015 <= (found.share - true).mean() <= 0.015


def test_keys_survive_the_finding_that_names_them() -> None:
    keys = Keys(np.array([-5, 2**62]), np.array([2**32 + 9, 3]), np.array([4, 9]), True, 0.75)
    again = keys_from_json(keys.as_json())
    assert again.shingles.tolist() == [-5, 2**62]
    assert again.tokens.tolist() == [2**32 + 9, 3]
    assert len(set(again.token_material)) == 2
    assert (again.proposed, again.users) == (True, 0.75)


def test_the_steps_are_named_selects() -> None:
    assert [s.name for s in STEPS] == ["carrying", "opened", "belonging", "account_days"]
    assert all(s.why and "now()" not in s.sql for s in STEPS)
