"""A scan as it comes out of a log: one campaign, its innocent twin, one group too small to tell, many others."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from store_samples import postgres_is_here, postgres_server

from stillwatch.cases.store import CaseStore
from stillwatch.records import Assumption, Card, Excluded, Finding, Null, Run, TestResult


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a PostgreSQL server that is there for these tests only, without a database."""
    if not postgres_is_here():
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with postgres_server() as url:
        yield url


@pytest.fixture
def fresh_database(postgres: str, tmp_path: Path) -> str:
    """URL of an empty database."""
    from sqlalchemy import create_engine, text

    name = f"d{abs(hash(tmp_path)):x}"
    engine = create_engine(f"{postgres}/postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"create database {name}"))
    engine.dispose()
    return f"{postgres}/{name}"


@pytest.fixture(params=["sqlite", "postgresql"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], CaseStore]]:
    """Opens one store, as often as it is called, as programs would one after another."""
    opened: list[CaseStore] = []
    url = request.getfixturevalue("fresh_database") if request.param == "postgresql" else ""

    def again() -> CaseStore:
        place = tmp_path / "workspace"
        opened.append(CaseStore(url, folder=place / "cases") if url else CaseStore(place))
        return opened[-1]

    yield again
    for store in opened:
        store.close()


@pytest.fixture
def store(reopen: Callable[[], CaseStore]) -> CaseStore:
    """An empty store: in SQLite, and once more in PostgreSQL."""
    return reopen()


@pytest.fixture
def lite(tmp_path: Path) -> Iterator[CaseStore]:
    """An empty store in SQLite, for what no database has a part in."""
    with CaseStore(tmp_path / "workspace") as opened:
        yield opened


@pytest.fixture
def scan() -> dict[str, Any]:
    """The arguments of `write_report`."""
    return build()


def build() -> dict[str, Any]:
    run = Run(
        version="0.1.0",
        command="stillwatch campaigns scan --report report.html",
        config={
            "alpha": 0.01,
            "memory_limit": "1GB",
            "threads": 2,
            "signals": ["shared_prompt", "infrastructure"],
        },
        inputs={f"exchanges/day=2026-11-{d:02d}": f"{d:064x}" for d in range(2, 9)},
        seed=1,
    )
    findings = [campaign(run), twin(run), small(run), *[other(run, n) for n in range(38)]]
    return {
        "title": "Campaigns in this log",
        "run": run,
        "findings": findings,
        "cards": [
            card("shared_prompt", "Shared prompt text"),
            card("infrastructure", "Shared infrastructure"),
        ],
        "summary": {
            "proposed": 41,
            "accounts": 20_200,
            "exchanges": 1_204_332,
            "first": "2026-11-01",
            "last": "2026-11-14",
            "quarantined": 17,
            "alpha": 0.01,
            "not_tested": [
                {"name": "signature replay", "why": "the log has no reasoning signatures"},
                {"name": "model pivot", "why": "one model only"},
            ],
        },
    }


def card(name: str, title: str) -> Card:
    return Card(
        name=name,
        version="1",
        title=title,
        question="acts as one",
        null="The accounts of the group share no more than random groups of the same volume and model mix.",
        unit="account",
        access=("exchanges.shingles", "exchanges.account_id"),
        sources=("Hooi et al., FRAUDAR, KDD 2016, section 4",),
        assumptions=("Popular material weighs nothing.",),
        looks_same=("One company behind one gateway.", "Users of a popular framework."),
    )


def result(name: str, log_e: float, **more: Any) -> TestResult:
    values: dict[str, Any] = {
        "test": name,
        "statistic": 4.25,
        "null": Null("registration times are those of random groups matched on volume", "betting", "account"),
        "n": 198,
        "unit": "accounts",
        "log_evalue": log_e,
        "effect": 0.83,
        "effect_name": "difference of medians, as a share of the matched groups",
        "interval": (0.79, 0.88),
        "assumptions": (
            Assumption("accounts of matched groups are exchangeable", "checked", "balance within 0.1 sd"),
            Assumption("registration times are the provider's own", "not checked"),
        ),
        "seed": 1,
    }
    return TestResult(**{**values, **more})


NEEDED = math.log(4100)


def campaign(run: Run) -> Finding:
    rng = random.Random(7)
    kinds = ["shared prompt", "registration", "funding", "even rates", "no day rhythm", "split of prompts"]
    odds = [0.995, 0.96, 0.84, 0.93, 0.9, 0.97]
    members = [
        {
            "account": f"a-{rng.getrandbits(63):016x}",
            "exchanges": rng.randint(300, 420),
            "share": rng.uniform(0.9, 1.0),
            "first": f"2026-11-{rng.randint(2, 9):02d}",
            "evidence": {kind: rng.random() < p for kind, p in zip(kinds, odds, strict=True)},
        }
        for _ in range(198)
    ]
    daily = {f"2026-11-{d:02d}": round(5100 * min(1, d / 5) + rng.gauss(0, 120)) for d in range(2, 15)}
    return Finding(
        subject="campaign c-7f3a",
        claim="198 accounts act as one, and what they do has the shape of harvesting.",
        decision="supported",
        results=(
            result("registration@1", math.log(3e41)),
            result(
                "harvest_shape@1",
                math.log(8e12),
                log_evalue_ceiling=math.log(1e15),
                note="rows of one account are one unit",
            ),
            result(
                "rates@1",
                3.2,
                log_pvalue=-9.0,
                null=Null("rates are spread as in matched groups", "permutation", "account", 9999),
            ),
        ),
        family="41 groups were proposed; one e-BH runs over all of them at a false discovery rate of 1%.",
        log_evalue=math.log(8e12),
        log_evalue_needed=NEEDED,
        alternatives=(
            Excluded("one company", True, "no shared organisation, 188 network prefixes"),
            Excluded("users of a popular framework", True, "no unrelated account has this text"),
            Excluded("evaluation run", True, "no task is repeated on another day"),
            Excluded("reseller", False, "4 accounts also carry ordinary conversations"),
            Excluded("school class", None, "the log has no e-mail classes"),
        ),
        limits=("The log has no device data.", "9 accounts joined on the last day and rest on one signal."),
        run=run.id,
        details={
            "campaign": "c-7f3a",
            "accounts": 198,
            "exchanges": 71_204,
            "share": 0.97,
            "since": "2026-11-02",
            "until": "2026-11-14",
            "takes": "reasoning, maths and code",
            "daily": daily,
            "proposed_by": "shared prompt",
            "acts_as_one": math.log(3e41),
            "harvesting": math.log(8e12),
            "confirmed_by": [
                "registered a median of 5 days apart; matched groups 210",
                "14 card tokens pay for 198 accounts",
                "one list of tasks split among them without overlap",
            ],
            "harvest_words": [
                "reasoning is asked for in 97% of requests",
                "61,880 distinct tasks, no conversation",
            ],
            "texts": [
                "you are an expert problem solver. think through the task in detail, write down every step of your "
                "reasoning between the marks, then give the final answer on a line of its own. task:",
            ],
            "members": members,
            "also": ["41 million output tokens"],
        },
    )


def twin(run: Run) -> Finding:
    members = [
        {
            "account": f"a-{n:016x}",
            "exchanges": 260,
            "share": 0.5,
            "first": "2026-11-01",
            "evidence": {"shared prompt": True, "network": True},
        }
        for n in range(203)
    ]
    return Finding(
        subject="campaign c-91d0",
        claim="203 accounts act as one; what they do does not have the shape of harvesting.",
        decision="not supported",
        results=(result("network@1", math.log(2e33)), result("harvest_shape@1", math.log(0.4))),
        family="41 groups were proposed.",
        log_evalue=math.log(0.4),
        log_evalue_needed=NEEDED,
        alternatives=(Excluded("one company", False, "one organisation, one gateway"),),
        run=run.id,
        details={
            "campaign": "c-91d0",
            "accounts": 203,
            "exchanges": 54_110,
            "since": "2026-11-01",
            "until": "2026-11-14",
            "daily": {f"2026-11-{d:02d}": 4800 if d % 7 not in (0, 1) else 300 for d in range(1, 15)},
            "proposed_by": "shared prompt",
            "acts_as_one": math.log(2e33),
            "harvesting": math.log(0.4),
            "confirmed_by": ["one network prefix for 203 accounts"],
            "members": members,
        },
    )


def small(run: Run) -> Finding:
    return Finding(
        subject="campaign c-0be2",
        claim="12 accounts share a text; too few accounts to tell (needs about 20).",
        decision="inconclusive",
        results=(result("registration@1", math.log(9e3), n=12, log_evalue_ceiling=math.log(1e4)),),
        family="41 groups were proposed.",
        log_evalue=math.log(6),
        log_evalue_needed=NEEDED,
        run=run.id,
        details={
            "campaign": "c-0be2",
            "accounts": 12,
            "exchanges": 1904,
            "since": "2026-11-11",
            "acts_as_one": math.log(9e3),
            "harvesting": math.log(6),
        },
    )


def other(run: Run, number: int) -> Finding:
    return Finding(
        subject=f"campaign c-{number:04x}",
        claim="These accounts share a text; nothing that the text did not bring up ties them together.",
        decision="not supported",
        results=(),
        family="41 groups were proposed.",
        log_evalue=-0.5 - number / 10,
        log_evalue_needed=NEEDED,
        run=run.id,
        details={
            "campaign": f"c-{number:04x}",
            "accounts": 6 + number,
            "exchanges": 80 * (number + 1),
            "acts_as_one": 0.1,
            "harvesting": -0.5 - number / 10,
        },
    )
