"""Near misses of every innocent explanation: what excludes it, what does not, and what cannot tell.

Twenty members, each with 100 exchanges of a campaign as reported: separate tasks at all hours from two addresses, long
answers, no conversation. Every row changes only what it says.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stillwatch.campaigns import alternatives
from stillwatch.campaigns.alternatives import (
    Facts,
    Look,
    Subject,
    asked_first,
    authorised,
    build_runners,
    drift_monitor,
    evaluation,
    framework,
    look_alikes,
    one_company,
    release_day,
    reseller,
    retrieval,
    school_class,
    single_task,
)
from stillwatch.campaigns.explain import decide
from stillwatch.campaigns.habits import COLUMNS, Habits
from stillwatch.campaigns.scoring import Score

N = 20
CAMPAIGN = {
    "exchanges": 100, "asked": 100, "distinct_prompts": 100, "repeated_later": 0, "repeated_soon": 0,
    "asked_by_others": 0, "days": 7, "span": 7, "follow_ups": 0, "input_tokens": 9_000, "output_tokens": 60_000,
    "answered": 100, "short_answers": 1, "elicited": 97, "located": 100, "prefixes": 2, "in_bursts": 3, "on_release": 0,
    "named_users": 0, "end_users": 0, "clients": 2,
}  # fmt: skip
STRANGERS = Facts(
    members=N,
    organisation_share=None,
    prefix_share=0.05,
    payer_share=0.1,
    prefixes=N,
    cards=12,
    with_card=N,
    registered_days=8.0,
    exempt=0,
    exempt_reasons=(),
    described=N,
    education=0.0,
)
MACHINE, OFFICE = [4] * 24, [0] * 8 + [10] * 8 + [2] * 8
ACCEPTED = Score(9.0, 9.0, 20.0, 20.0, (), ())


def habits(hours: list[int] = MACHINE, who: int = N, **changed: float) -> Habits:
    """Members like `CAMPAIGN`, the first `who` of them changed."""
    counts = {c: np.full(N, float(CAMPAIGN[c])) for c in COLUMNS}
    for name, value in changed.items():
        counts[name][:who] = value
    return Habits(np.arange(N), counts, np.tile(np.array(hours, np.int64), (N, 1)), 0)


def facts(**changed: object) -> Facts:
    return replace(STRANGERS, **changed)


CASES = [
    # a nightly evaluation
    ("separate tasks", evaluation, facts(), habits(), True),
    ("one list on two nights of three", evaluation, facts(), habits(repeated_later=33), False),
    ("one list every night", evaluation, facts(), habits(repeated_later=85), False),
    ("one list every night in one account of twenty", evaluation, facts(), habits(who=1, repeated_later=85), True),
    ("one list every night in half of the accounts", evaluation, facts(), habits(who=10, repeated_later=85), False),
    ("a tenth asked again", evaluation, facts(), habits(repeated_later=10), None),
    ("two days only", evaluation, facts(), habits(days=2), None),
    ("no prompts in the log", evaluation, facts(), habits(asked=0, repeated_later=0), None),
    ("eleven exchanges an account", evaluation, facts(), habits(exchanges=11, asked=11), None),
    # a drift monitor
    ("separate tasks", drift_monitor, facts(), habits(), True),
    ("one list four times a day", drift_monitor, facts(), habits(repeated_soon=100), False),
    ("one list once a night", drift_monitor, facts(), habits(repeated_later=85), True),
    ("retries of failed calls", drift_monitor, facts(), habits(repeated_soon=5), True),
    ("many retries", drift_monitor, facts(), habits(repeated_soon=15), None),
    # build runners
    ("two addresses", build_runners, facts(), habits(), True),
    ("an address a job, code in", build_runners, facts(), habits(prefixes=60, output_tokens=8_000), False),
    ("rotating proxies, much written", build_runners, facts(), habits(prefixes=90), True),
    ("rotating proxies, long tasks", build_runners, facts(), habits(prefixes=90, output_tokens=8_000), False),
    ("two addresses, code in", build_runners, facts(), habits(output_tokens=8_000), True),
    ("an address for four requests, code in", build_runners, facts(), habits(prefixes=25, output_tokens=8_000), None),
    ("addresses not known", build_runners, facts(), habits(prefixes=0, located=0, output_tokens=8_000), None),
    # a backfill
    ("long answers", retrieval, facts(), habits(), True),
    ("long documents, short answers", retrieval, facts(), habits(output_tokens=900, elicited=0), False),
    ("long answers to grade, short grades", retrieval, facts(), habits(output_tokens=900), True),
    ("summaries of a third", retrieval, facts(), habits(output_tokens=3_000, elicited=0), None),
    ("rewriting at full length", retrieval, facts(), habits(output_tokens=9_000), True),
    ("no token counts", retrieval, facts(), habits(output_tokens=np.nan, input_tokens=np.nan, elicited=0), None),
    # a benchmark on the day of a release
    ("a week's work", release_day, facts(), habits(), True),
    ("one list in several hands on two days", release_day, facts(), habits(on_release=90, asked_by_others=80), False),
    ("a campaign that moves to the new model", release_day, facts(), habits(on_release=90, asked_by_others=0), True),
    ("one list, but all week", release_day, facts(), habits(asked_by_others=80), True),
    ("three days of one list, release not known", release_day, facts(), habits(days=2, asked_by_others=80), None),
    # a class
    ("a machine that holds no conversation", school_class, facts(), habits(), True),
    ("conversations by day, school mail", school_class, facts(education=0.7), habits(OFFICE, follow_ups=60), False),
    ("the same, mail not known", school_class, facts(education=None), habits(OFFICE, follow_ups=60), False),
    ("the same, but free mail", school_class, facts(education=0.05), habits(OFFICE, follow_ups=60), True),
    ("school mail and conversations, round the clock", school_class, facts(education=0.7),
     habits(MACHINE, follow_ups=60), True),
    ("school mail by day, single questions", school_class, facts(education=0.7), habits(OFFICE), True),
    ("the same over three weeks", school_class, facts(education=0.7), habits(OFFICE, follow_ups=60, span=21), True),
    ("some conversations", school_class, facts(education=0.7), habits(OFFICE, follow_ups=15), None),
    # one task
    ("long answers", single_task, facts(payer_share=1.0), habits(), True),
    ("labels, one payer", single_task, facts(payer_share=1.0), habits(short_answers=100), False),
    ("grades, two cards", single_task, facts(payer_share=0.6), habits(short_answers=100), None),
    ("labels, one organisation", single_task, facts(organisation_share=0.9), habits(short_answers=100), False),
    ("labels, twelve cards", single_task, facts(), habits(short_answers=100), True),
    ("labels, payer not known", single_task, facts(payer_share=None), habits(short_answers=100), None),
    ("some short answers, one payer", single_task, facts(payer_share=1.0), habits(short_answers=70), None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("what", "look", "about", "seen", "excluded"), CASES, ids=[f"{c[1].__name__}: {c[0]}" for c in CASES]
)
def test_what_the_members_do(what: str, look, about: Facts, seen: Habits, excluded: bool | None) -> None:
    told = look(about, seen)
    assert told.excluded is excluded, told.by
    assert told.by, "every verdict says what it rests on"


def test_what_the_log_does_not_hold_is_no_zero() -> None:
    nowhere = build_runners(facts(), habits(prefixes=0, located=0, output_tokens=np.nan))
    assert "an unknown number of addresses" in nowhere.by and "an unknown number of tokens" in nowhere.by
    assert "an unknown part" in single_task(facts(), habits(answered=0, short_answers=0)).by


def test_every_look_alike_has_a_near_miss_of_each_sort() -> None:
    for look in alternatives.HABITUAL:
        assert {c[4] for c in CASES if c[1] is look} == {True, False, None}, look.__name__


@pytest.mark.parametrize(
    ("changed", "excluded"),
    [
        ({}, True),
        ({"payer_share": 0.6}, False),
        ({"organisation_share": 1.0}, False),
        ({"prefix_share": 0.6}, False),
        ({"payer_share": 0.4}, None),
        ({"payer_share": None}, None),
        ({"payer_share": None, "prefix_share": None}, None),
    ],
)
def test_one_company(changed: dict, excluded: bool | None) -> None:
    assert one_company(facts(**changed)).excluded is excluded


@pytest.mark.parametrize(("acts", "excluded"), [(9.0, True), (2.0, False), (None, None)])
def test_a_framework(acts: float | None, excluded: bool | None) -> None:
    assert framework(replace(ACCEPTED, acts_as_one=acts), 8.0).excluded is excluded


@pytest.mark.parametrize(
    ("shares", "changed", "excluded", "open_for"),
    [
        (np.full(N, 0.99), {}, True, 0.0),
        (np.r_[np.full(4, 0.5), np.full(16, 0.99)], {}, False, 0.2),
        (np.full(N, 0.3), {}, False, 1.0),
        (np.full(N, np.nan), {}, None, 0.0),
        (np.r_[np.full(4, np.nan), np.full(16, 0.99)], {}, None, 0.0),
        (np.full(N, 0.99), {"end_users": 40, "named_users": 100}, False, 1.0),
        (np.full(N, np.nan), {"clients": 50}, False, 1.0),
    ],
)
def test_a_reseller(shares, changed: dict, excluded: bool | None, open_for: float) -> None:
    told = reseller(shares, habits(**changed))
    assert (told.excluded, told.open_for) == (excluded, open_for)


@pytest.mark.parametrize(
    ("changed", "excluded", "words"),
    [
        ({}, True, "no account of the group is exempt"),
        ({"exempt": 2, "exempt_reasons": ("a study",)}, True, "2 exempt accounts stand apart: a study"),
        ({"exempt": 15, "exempt_reasons": ("a study",)}, False, "15 of 20 accounts are exempt: a study"),
        ({"contracts": 18}, False, "18 of 20 accounts have a contracted volume"),
        ({"contracts": 1}, True, "no account"),
        ({"described": 12}, None, "8 accounts are not described anywhere"),
    ],
)
def test_an_authorised_project(changed: dict, excluded: bool | None, words: str) -> None:
    told = authorised(facts(**changed))
    assert told.excluded is excluded
    assert words in told.by


def subject(about: Facts, seen: Habits | None) -> Subject:
    return Subject(about, ACCEPTED, 8.0, np.full(N, 0.97), seen)


def decided(about: Facts, seen: Habits | None, *, rejected: bool = True) -> tuple[str, str]:
    return decide(ACCEPTED, about, look_alikes(subject(about, seen)), rejected=rejected, log_needed=8.0)


def test_the_campaign_as_reported_is_supported_and_all_look_alikes_are_excluded() -> None:
    assert {look.name: look.excluded for look in look_alikes(subject(facts(), habits()))} == dict.fromkeys(
        [look.name for look in look_alikes(subject(facts(), habits()))], True
    )
    assert decided(facts(), habits()) == ("supported", "")


@pytest.mark.parametrize(
    ("about", "seen", "word"),
    [
        (facts(organisation_share=0.9), habits(), "one organisation or payer"),
        (facts(), habits(repeated_later=85), "evaluation"),
        (facts(), habits(output_tokens=900, elicited=0), "document store"),
        (facts(contracts=N), habits(), "authorised"),
    ],
)
def test_what_fits_nearly_all_members_as_well_is_asked_about_first(
    about: Facts, seen: Habits, word: str
) -> None:
    decision, reason = decided(about, seen)
    assert decision == "inconclusive"
    assert word in reason
    assert "ask" in reason


@pytest.mark.parametrize(
    ("about", "seen"),
    [
        (facts(), habits(who=15, repeated_later=85)),
        (facts(), habits(prefixes=90, output_tokens=8_000)),
        (facts(payer_share=0.7), habits()),
        (facts(payer_share=0.7), habits(short_answers=100, output_tokens=900)),
        (facts(prefix_share=1.0), habits()),
        (facts(payer_share=None, described=0, education=None), habits(asked=0, located=0, days=2)),
        (facts(), None),
    ],
)
def test_what_fits_some_members_or_cannot_be_told_does_not_hold_a_finding_back(about: Facts, seen) -> None:
    assert decided(about, seen) == ("supported", "")


def test_resold_traffic_beside_the_campaign_is_shown_and_does_not_hold_it_back() -> None:
    mixed = Subject(facts(), ACCEPTED, 8.0, np.full(N, 0.2), habits())
    looks = look_alikes(mixed)
    assert [x.name for x in looks if x.open_for >= 0.8] == ["a reseller whose customers ask for themselves"]
    assert asked_first(looks) is None


def test_the_largest_of_several_is_asked_about() -> None:
    looks = [
        Look("few", False, "", 0.85),
        Look("all", False, "", 1.0),
        Look("shown only", False, "", 1.0, asks=False),
    ]
    assert asked_first(looks).name == "all"


def test_a_few_exempt_accounts_do_not_shield_the_rest() -> None:
    some = facts(exempt=4, exempt_reasons=("a study",))
    assert decided(some, habits()) == ("supported", "")
    most = facts(exempt=10, exempt_reasons=("a study",))
    assert decided(most, habits()) == ("not supported", "exempt: a study")
