"""What a group's numbers and facts decide, whom a finding is part of, and what is told of whoever was set apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from taken_samples import MONDAY, exchange

from stillwatch import plugins
from stillwatch.campaigns import steps
from stillwatch.campaigns.alternatives import Facts
from stillwatch.campaigns.explain import decide
from stillwatch.campaigns.findings import _parents, _untold
from stillwatch.campaigns.groups import Group
from stillwatch.campaigns.pool import read_pool
from stillwatch.campaigns.scoring import Score
from stillwatch.engine import schema
from stillwatch.engine.duckdb import Engine

LINE = 8.0
STRANGERS = Facts(
    members=100, organisation_share=None, prefix_share=0.02, payer_share=0.05, prefixes=100, cards=40, with_card=100,
    registered_days=8.0, exempt=0, exempt_reasons=(), described=100,
)  # fmt: skip
PASSED = Score(9.0, 9.0, 20.0, 20.0, (), ())
FIRM = replace(STRANGERS, payer_share=0.82)
HALF_EXEMPT = replace(STRANGERS, exempt=50, exempt_reasons=("a study",))
FEW_EXEMPT = replace(STRANGERS, exempt=30, exempt_reasons=("a study",))


@pytest.mark.parametrize(
    ("result", "rejected", "given", "decision", "why"),
    [
        (PASSED, True, {}, "supported", ""),
        (PASSED, True, {"placed": False}, "inconclusive", "those that harvest are not those that act as one"),
        # the firm was set apart, or the strangers beside it: ask it in both cases
        (PASSED, True, {"proposed": FIRM}, "inconclusive", "one organisation or payer: ask it"),
        # 30 exempt of 100 are few; that 40 others were set apart does not make them half
        (PASSED, True, {"facts": replace(FEW_EXEMPT, members=60), "proposed": FEW_EXEMPT}, "supported", ""),
        (PASSED, True, {"proposed": HALF_EXEMPT}, "not supported", "exempt: a study"),
        (Score(1.0, 9.0, 12.0, 20.0, (), (), {}, 9.0), False, {}, "inconclusive",
         "those that harvest do not act as one by themselves"),
        (Score(1.0, 9.0, 5.0, 20.0, (), (), {}, 9.0), False, {}, "inconclusive",
         "too few of its accounts harvest to tell"),
        # nothing could be asked of those that harvest
        (Score(None, 9.0, None, 20.0, (), (), {}, 9.0), False, {}, "inconclusive",
         "too few of its accounts harvest to tell"),
        (Score(None, 5.0, None, 20.0, (), (), {}, 5.0), False, {}, "inconclusive",
         "too few of its accounts harvest to tell"),
        (Score(None, 5.0, None, 20.0, (), (), {}, 1.0), False, {}, "not supported",
         "no more alike than matched accounts"),
        (Score(None, 1.0, None, 20.0, (), (), {}, 5.0), False, {}, "not supported", "no shape of harvesting"),
        (Score(None, 9.0, None, 20.0, (), ()), False, {}, "inconclusive", "too little data"),
        (Score(1.0, 9.0, 12.0, 20.0, (), (), {}, 5.0), False, {}, "not supported",
         "no more alike than matched accounts"),
    ],
)  # fmt: skip
def test_decisions(result: Score, rejected: bool, given: dict, decision: str, why: str) -> None:
    given = dict(given)
    facts = given.pop("facts", STRANGERS)
    assert decide(result, facts, rejected=rejected, log_needed=LINE, **given) == (decision, why)


@pytest.mark.parametrize(
    ("decisions", "examined", "parent"),
    [
        (("supported", "supported"), {0, 1}, "large"),
        (("not supported", "supported"), {0, 1}, ""),
        (("not supported", "not supported"), {0, 1}, "large"),
        (("not supported", "not supported"), {1}, ""),  # what was examined is not hidden in what was not
        (("not supported", "not supported"), set(), "large"),
    ],
)
def test_which_group_is_shown_as_part_of_a_larger_one(
    decisions: tuple[str, str], examined: set[int], parent: str
) -> None:
    groups = [Group("shared_infrastructure", np.arange(50)), Group("shared_prompt", np.arange(40))]
    assert _parents(groups, ["large", "small"], decisions, examined) == ["", parent]


def test_of_accounts_that_were_set_apart_only_the_proposer_is_told() -> None:
    rows = pa.table(
        {
            "account_id": [1, 2],
            "evidence": [["shared_prompt", "registration"], ["shared_prompt"]],
            "share": [0.5, 0.1],
            "share_low": [0.4, 0.0],
            "share_high": [0.6, 0.2],
        }
    )
    told = _untold(rows, "shared_prompt").to_pylist()
    assert [row["evidence"] for row in told] == [["shared_prompt"]] * 2
    assert {row[c] for row in told for c in ("share", "share_low", "share_high")} == {None}


def test_exempt_accounts_are_in_no_pool() -> None:
    rows = [exchange(i, i % 7, MONDAY + i) for i in range(70)]
    accounts = [dict.fromkeys(schema.ACCOUNTS.names) | {"account_id": a} for a in range(7)]
    accounts[3]["exemption"], accounts[5]["exemption"] = "research", "contract"
    with Engine(threads=1) as engine:
        engine.table("exchanges", pa.Table.from_pylist(rows, schema=schema.EXCHANGES))
        engine.table("accounts", pa.Table.from_pylist(accounts, schema=schema.ACCOUNTS))
        engine.run([steps.POPULATION])
        signal = {"registration": plugins.find("campaigns.signals")["registration"]}
        engine.run(signal["registration"].steps())
        pool = read_pool(engine, signal, None)
    assert pool.account.tolist() == [0, 1, 2, 4, 6]
    assert pool.is_exempt(np.arange(7)).nonzero()[0].tolist() == [3, 5]
    rows_, members, _ = pool.for_group(Group("x", np.array([2, 3, 4])))
    assert pool.account[rows_[members]].tolist() == [2, 4]
