"""Near misses of every signal: what it was made for gives evidence, what merely looks like it gives none.

A pool of 600 accounts in two strata and a group of 30 of it. "None" is an e-value below 1.5 (1 is what a coin says);
"much" is one above 1,000; "refused" is InsufficientData, never a number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

from stillwatch.campaigns.signals import (
    account_class,
    day_rhythm,
    even_rates,
    harvesting_shape,
    paraphrased_prompt,
    registration,
    shared_infrastructure,
    shared_prompt,
)
from stillwatch.errors import InsufficientData

POOL, GROUP = 600, 30
MEMBERS = np.arange(0, POOL, POOL // GROUP)
FIVE = MEMBERS[:5]
STRATA = np.arange(POOL) % 2
MUCH, LITTLE, NONE = math.log(1000), math.log(20), math.log(1.5)

Case = tuple[str, ModuleType, Callable[[np.random.Generator], NDArray], str]


def numbers(low: float, high: float, **members: object) -> Callable[[np.random.Generator], NDArray]:
    """Uniform numbers, the members' replaced by ``members["are"](rng, how many)``."""

    def make(rng: np.random.Generator) -> NDArray:
        values = rng.uniform(low, high, POOL)
        who = members.get("who", MEMBERS)
        values[who] = members["are"](rng, len(who))  # type: ignore[operator, arg-type, index]
        return values

    return make


def near(centre: float, width: float) -> Callable[[np.random.Generator, int], NDArray]:
    return lambda rng, n: centre + width * (rng.random(n) - 0.5)


def missing(
    values: Callable[[np.random.Generator], NDArray], left: int
) -> Callable[[np.random.Generator], NDArray]:
    """The same, but only `left` members have a value."""

    def make(rng: np.random.Generator) -> NDArray:
        made = values(rng)
        made[MEMBERS[left:]] = np.nan if made.dtype.kind == "f" else -1
        return made

    return make


def one_off(
    values: Callable[[np.random.Generator], NDArray], value: float
) -> Callable[[np.random.Generator], NDArray]:
    def make(rng: np.random.Generator) -> NDArray:
        made = values(rng)
        made[MEMBERS[0]] = value
        return made

    return make


def codes(
    kinds: int, share: float, held: int, everywhere: float = 0.0
) -> Callable[[np.random.Generator], NDArray]:
    """`kinds` columns of values of one's own; in column 0 the `share` of members holds one of `held` values.

    The share `everywhere` of all other accounts holds one of them too.
    """

    def make(rng: np.random.Generator) -> NDArray:
        values = 1000 + np.tile(np.arange(POOL)[:, None], (1, kinds))
        others = rng.random(POOL) < everywhere
        values[others, 0] = rng.integers(0, held, others.sum())
        chosen = MEMBERS[: round(share * GROUP)]
        values[chosen, 0] = rng.integers(0, held, len(chosen))
        return values if kinds > 1 else values[:, 0]

    return make


def classes(shares: list[float], alike: float) -> Callable[[np.random.Generator], NDArray]:
    """E-mail classes with these shares in the pool; the share `alike` of members has the last one. Cards: unknown."""

    def make(rng: np.random.Generator) -> NDArray:
        values = np.full((POOL, 2), -1)
        values[:, 0] = rng.choice(len(shares), POOL, p=shares)
        values[MEMBERS[: round(alike * GROUP)], 0] = len(shares) - 1
        return values

    return make


def events(members: float, others: float) -> Callable[[np.random.Generator], NDArray]:
    def make(rng: np.random.Generator) -> NDArray:
        values = (rng.random(POOL) < others).astype(np.int8)
        values[MEMBERS] = 0
        values[MEMBERS[: round(members * GROUP)]] = 1
        return values

    return make


rate, flat, week = near(math.log(26), 0.1), near(0.05, 0.06), near(655, 9)
honest_rates, honest_rhythm, honest_days = (0.0, 5.0), (0.0, 0.9), (0.0, 700.0)

CASES: list[Case] = [
    ("one rate", even_rates, numbers(*honest_rates, are=rate), "much"),
    ("one rate but for one member", even_rates, one_off(numbers(*honest_rates, are=rate), 0.1), "much"),
    ("one rate, but it is everybody's", even_rates, numbers(3.2, 3.3, are=rate), "none"),
    ("rates spread as the pool's", even_rates, numbers(*honest_rates, are=near(2.5, 5)), "none"),
    ("half of the pool's spread", even_rates, numbers(*honest_rates, are=near(2.5, 2.5)), "none"),
    ("two members at one rate", even_rates, numbers(*honest_rates, are=rate, who=MEMBERS[:2]), "none"),
    ("seen on two days: four members", even_rates, missing(numbers(*honest_rates, are=rate), 4), "refused"),
    ("seen on two days: nobody", even_rates, missing(numbers(*honest_rates, are=rate), 0), "refused"),
    ("no rhythm in all", day_rhythm, numbers(*honest_rhythm, are=flat), "much"),
    ("no rhythm in the pool either", day_rhythm, numbers(0.02, 0.08, are=flat), "none"),
    ("rhythms as people's", day_rhythm, numbers(*honest_rhythm, are=near(0.45, 0.9)), "none"),
    ("five without rhythm", day_rhythm, numbers(*honest_rhythm, are=flat, who=FIVE), "none"),
    ("four members asked often enough", day_rhythm, missing(numbers(*honest_rhythm, are=flat), 4), "refused"),
    ("opened within nine days", registration, numbers(*honest_days, are=week), "much"),
    (
        "all but one opened within nine days",
        registration,
        one_off(numbers(*honest_days, are=week), 3.0),
        "much",
    ),
    ("everybody opened within nine days", registration, numbers(650, 660, are=week), "none"),
    ("opened over a year of two", registration, numbers(*honest_days, are=near(350, 350)), "none"),
    ("five opened together", registration, numbers(*honest_days, are=week, who=FIVE), "none"),
    ("registration known of four", registration, missing(numbers(*honest_days, are=week), 4), "refused"),
    ("three cards", shared_infrastructure, codes(5, 0.9, 3), "much"),
    ("three cards for half of them", shared_infrastructure, codes(5, 0.5, 3), "much"),
    ("three cards, the pool's too", shared_infrastructure, codes(5, 0.9, 3, everywhere=0.9), "none"),
    ("two on one card", shared_infrastructure, codes(5, 2 / GROUP, 1), "little"),
    ("a value for each", shared_infrastructure, codes(5, 0.0, 1), "refused"),
    ("cards known of four", shared_infrastructure, missing(codes(5, 0.9, 3), 4), "refused"),
    ("nothing known", shared_infrastructure, missing(codes(5, 0.9, 3), 0), "refused"),
    ("one rare class of e-mail", account_class, classes([0.6, 0.37, 0.03], 0.95), "much"),
    ("one usual class of e-mail", account_class, classes([0.05, 0.05, 0.9], 0.95), "none"),
    ("classes as the pool's", account_class, classes([0.5, 0.3, 0.2], 0.2), "none"),
    ("class known of four", account_class, missing(classes([0.6, 0.37, 0.03], 0.95), 4), "refused"),
    ("one text in all", shared_prompt, codes(1, 0.95, 1), "much"),
    ("one text, the pool's too", shared_prompt, codes(1, 0.95, 1, everywhere=0.9), "none"),
    ("a text for each", shared_prompt, codes(1, 0.0, 1), "refused"),
    ("text known of four", shared_prompt, missing(codes(1, 0.95, 1), 4), "refused"),
    ("one wrapper, re-worded", paraphrased_prompt, codes(1, 0.95, 1), "much"),
    ("re-worded by the pool too", paraphrased_prompt, codes(1, 0.95, 1, everywhere=0.9), "none"),
    ("re-worded text known of four", paraphrased_prompt, missing(codes(1, 0.95, 1), 4), "refused"),
    ("all harvest", harvesting_shape, events(1.0, 0.1), "much"),
    ("all but three harvest", harvesting_shape, events(0.9, 0.1), "much"),
    ("a third harvests, of the pool a tenth", harvesting_shape, events(0.3, 0.1), "none"),
    ("all harvest, so does the pool", harvesting_shape, events(1.0, 0.97), "none"),
    ("nobody harvests", harvesting_shape, events(0.0, 0.1), "none"),
    ("nobody harvests anywhere", harvesting_shape, events(0.0, 0.0), "refused"),
    ("known of four", harvesting_shape, missing(events(1.0, 0.1), 4), "refused"),
]


@pytest.mark.parametrize(
    ("signal", "make", "says"), [c[1:] for c in CASES], ids=[f"{c[1].CARD.name}: {c[0]}" for c in CASES]
)
def test_near_misses(signal: ModuleType, make: Callable[[np.random.Generator], NDArray], says: str) -> None:
    values = make(np.random.default_rng(11))
    if says == "refused":
        with pytest.raises(InsufficientData):
            signal.test(values, MEMBERS, STRATA, seed=1)
        return
    result = signal.test(values, MEMBERS, STRATA, seed=1)
    assert result.log_evalue <= result.log_evalue_ceiling + 1e-9
    if says == "much":
        assert result.log_evalue > MUCH
        assert result.effect > 0.3
    else:
        assert result.log_evalue < (NONE if says == "none" else LITTLE)


def test_every_signal_has_a_near_miss_of_each_sort() -> None:
    from stillwatch import plugins

    said: dict[str, set[str]] = {}
    for _, signal, _, says in CASES:
        said.setdefault(signal.CARD.name, set()).add(says)
    # Signals of behaviour and of co-timing have tables of their own beside this one.
    beside = {"model_pivot", "ban_failover", "signature_replay", "probing_run", "synchrony", "load_balancing"}
    assert set(said) | beside == set(plugins.find("campaigns.signals"))
    assert not set(said) & beside
    assert all(sorts >= {"much", "none", "refused"} for sorts in said.values())


def test_a_match_in_the_group_but_in_another_stratum_is_measured_against_its_own() -> None:
    """The members' value is common in their stratum and unknown in the other: only their own counts."""
    values = np.arange(1000, 1000 + POOL)
    values[STRATA == 0] = 7
    values[MEMBERS] = 7
    with pytest.raises(InsufficientData):  # all members lie in stratum 0, where everybody holds it
        shared_prompt.test(values, MEMBERS, STRATA, seed=1)
    mixed = shared_prompt.test(values, MEMBERS, np.zeros(POOL, np.int64), seed=1)
    assert (
        mixed.log_evalue > NONE
    )  # compared with accounts of another volume it would have passed for evidence


def test_a_larger_gamma_never_finds_more() -> None:
    values = codes(5, 0.9, 3, everywhere=0.05)(np.random.default_rng(2))
    logs = [
        shared_infrastructure.test(values, MEMBERS, STRATA, seed=1, gamma=g).log_evalue
        for g in (1.0, 3.0, 10.0, 40.0)
    ]
    assert logs == sorted(logs, reverse=True)
    assert logs[0] > MUCH > logs[-1]


def test_the_result_says_what_it_is() -> None:
    result = registration.test(
        numbers(*honest_days, are=week)(np.random.default_rng(1)), MEMBERS, STRATA, seed=5
    )
    assert result.test == "registration@1"
    assert "at most 3 times as likely" in result.null.hypothesis
    assert (result.null.method, result.seed) == ("betting", 5)
    assert 0 < result.statistic <= result.n <= GROUP - 3
    low, high = result.interval
    assert low < result.effect < high or result.effect == pytest.approx(high)


def test_the_average_over_kinds_is_an_average() -> None:
    """One kind speaks and one says nothing: half of the first. A kind on which no bet can be placed is not counted."""
    one = codes(1, 0.9, 3)(np.random.default_rng(1))
    alone = shared_infrastructure.test(one[:, None], MEMBERS, STRATA, seed=1)
    dull = np.random.default_rng(1).integers(0, 9, POOL)
    same = np.zeros(POOL, np.int64)
    both = shared_infrastructure.test(np.stack([one, dull, same], axis=1), MEMBERS, STRATA, seed=1)
    assert both.note == "average over 2 kinds of value"
    assert both.log_evalue == pytest.approx(alone.log_evalue - math.log(2), abs=0.05)
