"""From a log to findings: each guilty journey with its innocent twin."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from journey_samples import Journey

from stillwatch import campaigns, logs
from stillwatch.cases.own_words import known
from stillwatch.engine.tables import Workspace
from stillwatch.errors import InputError
from stillwatch.records import Finding

TWENTY = math.log(20)


def whole(journey: Journey, accounts: set[str], share: float = 0.9) -> Finding:
    """The finding about nearly all of these accounts and nearly nobody else."""
    fits = [
        f
        for f in journey.scan.findings
        if len(accounts & (names := journey.real_names(f))) >= share * max(len(names), len(accounts))
    ]
    assert fits, f"no group holds these {len(accounts)} accounts"
    return fits[0]


def test_the_planted_campaign_is_found_and_nobody_else(hydra: Journey) -> None:
    planted = hydra.accounts(campaign="hydra")
    flagged = set().union(*(hydra.real_names(f) for f in hydra.scan.supported))
    assert len(planted) >= 40
    assert len(planted & flagged) >= 0.95 * len(planted)
    assert flagged <= planted, "honest accounts stand in a supported campaign"
    assert len(hydra.scan.supported) == 1


def test_the_campaign_is_supported_by_evidence_that_did_not_propose_it(hydra: Journey) -> None:
    (found,) = hydra.scan.supported
    assert found.details["proposed_by"] == "shared_prompt"
    tests = {t.test.partition("@")[0]: t for t in found.results}
    assert "shared_prompt" not in tests
    speaking = [n for n, t in tests.items() if n != "harvesting_shape" and t.log_evalue > 0]
    assert len(speaking) >= 2
    assert found.log_evalue == min(found.details["acts_as_one"], found.details["harvesting"])
    assert found.log_evalue >= found.log_evalue_needed or len(hydra.scan.supported) > 1
    assert found.details["share"] < 0.95, "the accounts also resell, and the finding should show it"
    resold = next(a for a in found.alternatives if a.name.startswith("a reseller"))
    assert resold.excluded is False


def test_the_shared_text_is_shown(hydra: Journey) -> None:
    (found,) = hydra.scan.supported
    assert found.details["texts"], "the text that proposed the campaign was kept and should be shown"
    assert len(found.details["texts"][0]) > 40


def test_the_twin_acts_as_one_and_does_not_harvest(hydra: Journey) -> None:
    twin = whole(hydra, hydra.accounts(role="enterprise"))
    assert twin.decision == "not supported"
    assert twin.details["acts_as_one"] >= hydra.scan.log_needed
    assert twin.details["harvesting"] < TWENTY
    assert twin.claim.endswith("accounts act as one, but what they do does not have the shape of harvesting.")
    assert twin.details["reason"].startswith("one organisation")
    company = next(a for a in twin.alternatives if a.name.startswith("one company"))
    assert company.excluded is False


def test_the_company_alone_is_no_campaign(enterprise: Journey) -> None:
    assert not enterprise.scan.supported
    assert len(enterprise.scan.findings) > 5, "nothing was proposed, so nothing was tested"


def test_honest_accounts_alone_are_no_campaign(honest: Journey) -> None:
    assert not honest.scan.supported
    assert len(honest.scan.findings) > 5, "nothing was proposed, so nothing was tested"


def test_shared_text_alone_is_never_enough(first_day: Journey) -> None:
    """One day of a campaign and no table of accounts: the group is proposed, and that is all."""
    found = whole(first_day, first_day.accounts(campaign="hydra"), 0.8)
    assert found.details["proposed_by"] == "shared_prompt"
    assert {f.decision for f in first_day.scan.findings} <= {"inconclusive", "not supported"}
    assert found.decision == "inconclusive"
    assert found.details["reason"] == "too little data"
    limits = " ".join(found.limits)
    for missing in (
        "registration times",
        "kinds of e-mail and card",
        "even rates",
        "day rhythm",
        "shape of harvesting",
    ):
        assert f"not tested: {missing}" in limits


def test_without_a_table_of_accounts_a_scan_runs_and_says_what_is_missing(
    hydra: Journey, tmp_path: Path
) -> None:
    workspace = hydra.copy(tmp_path / "workspace")
    (workspace / "accounts.parquet").unlink()
    found = campaigns.scan(workspace)
    proposed = next(f for f in found.findings if f.subject == hydra.scan.supported[0].subject)
    limits = " ".join(proposed.limits)
    assert "not tested: registration times: needs at least 5 members" in limits
    assert "not tested: kinds of e-mail and card" in limits
    unknown = {a.name for a in proposed.alternatives if a.excluded is None}
    assert {"an authorised project", "one company or class behind all accounts"} <= unknown
    for f in found.supported:
        kinds = [t for t in f.results if not t.test.startswith("harvesting_shape") and t.log_evalue > 0]
        assert len(kinds) >= 2, "supported by less than two kinds of evidence besides the text"


def test_exempt_accounts_are_not_a_supported_campaign(
    hydra: Journey, exempted: Callable[[set[str]], Path]
) -> None:
    planted = hydra.real_names(hydra.scan.supported[0])
    found = campaigns.scan(exempted(planted))
    assert not found.supported
    same = next(f for f in found.findings if f.subject == hydra.scan.supported[0].subject)
    assert same.decision == "not supported"
    assert same.details["reason"] == "exempt: a study agreed in writing"
    assert same.log_evalue is None, "exempt accounts are not tested"
    assert found.run.id != hydra.scan.run.id, "another table of accounts is another run"


def test_a_few_exempt_accounts_stand_apart_and_do_not_shield_the_rest(
    hydra: Journey, exempted: Callable[[set[str]], Path]
) -> None:
    first = hydra.scan.supported[0]
    planted = sorted(hydra.real_names(first))
    found = campaigns.scan(exempted(set(planted[:4])))
    (same,) = found.supported
    assert same.subject == first.subject
    assert same.details["accounts"] == len(planted) - 4
    assert same.details["exempt"] == {"a study agreed in writing": 4}
    assert same.details["taken"]["accounts"] == len(planted) - 4
    assert same.details["exchanges"] < first.details["exchanges"]
    assert same.claim.startswith(f"{len(planted) - 4} accounts")
    rows = found.members.filter(pc.equal(found.members["campaign"], same.subject)).to_pylist()
    assert sorted(r["decision"] for r in rows) == ["exempt"] * 4 + ["supported"] * (len(planted) - 4)
    assert {r["exemption"] for r in rows if r["decision"] == "exempt"} == {"a study agreed in writing"}


def test_what_a_campaign_took_and_what_the_company_did_not(hydra: Journey) -> None:
    found = hydra.scan.supported[0]
    took = found.details["taken"]
    assert took["exchanges"] == found.details["exchanges"] == took["tasks"]
    assert next(iter(took["kinds"])) == "reasoning"
    assert took["asked_by_several"] == 0, "one list, split without overlap"
    assert sum(m["exchanges"] for m in took["models"]) == took["exchanges"]
    truth = [hydra.truth[name] for name in hydra.real_names(found)]
    true = sum(row["share"] * row["exchanges"] for row in truth) / sum(row["exchanges"] for row in truth)
    assert found.details["share"] == pytest.approx(true, abs=0.005)
    assert found.details["share_low"] <= true <= found.details["share_high"]
    company = hydra.accounts(role="enterprise")
    others = [
        f.details["taken"]
        for f in hydra.scan.findings
        if f.details["taken"] and len(hydra.real_names(f) & company) > 0.8 * len(company)
    ]
    assert others, "the company acts as one, by its text or by its card"
    assert all(other["follow_ups"] > 0.3 * other["exchanges"] for other in others)


def test_the_look_alikes_of_a_campaign_are_excluded(hydra: Journey) -> None:
    said = {a.name: a.excluded for a in hydra.scan.supported[0].alternatives}
    for name in (
        "evaluation",
        "monitor",
        "runners",
        "document store",
        "came out",
        "class with one",
        "batch job",
    ):
        (verdict,) = [v for n, v in said.items() if name in n]
        assert verdict is True, name


def test_importing_again_and_one_thread_change_nothing(enterprise: Journey) -> None:
    again = logs.ingest(
        list(enterprise.built.logs),
        enterprise.workspace,
        accounts=enterprise.built.accounts,
        actions=enterprise.built.actions,
    )
    assert again.added == 0
    once, same = enterprise.scan, campaigns.scan(enterprise.workspace, threads=1)
    # The first scan showed kept texts, this one was given none; everything else is to be equal, bit by bit.
    for a, b in zip(once.findings, same.findings, strict=True):
        assert (a.subject, a.decision, a.results, a.limits, a.run) == (
            b.subject,
            b.decision,
            b.results,
            b.limits,
            b.run,
        )
        assert a.details | {"texts": []} == b.details | {"texts": []}
    assert once.members == same.members
    assert once.run == same.run


def test_another_seed_draws_other_orders_and_decides_the_same(hydra: Journey) -> None:
    other = campaigns.scan(hydra.workspace, seed=2)
    (first,), (second,) = hydra.scan.supported, other.supported
    assert first.subject == second.subject
    assert first.log_evalue != second.log_evalue
    assert other.run.id != hydra.scan.run.id


@pytest.mark.parametrize(
    ("option", "words"), [({"alpha": 0.0}, "alpha"), ({"alpha": 1.0}, "alpha"), ({"gamma": 0.5}, "gamma")]
)
def test_settings_out_of_range_are_refused(hydra: Journey, option: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        campaigns.scan(hydra.workspace, **option)


def test_what_a_scan_says_in_a_finding_is_known_in_every_language_of_a_report(hydra: Journey) -> None:
    said = [
        text
        for f in hydra.scan.findings
        for text in (
            f.claim, f.family, f.details["reason"], f.details["takes"], *f.limits,
            *(a.name for a in f.alternatives), *(a.by for a in f.alternatives),
        )
        if text
    ]  # fmt: skip
    assert len(said) > 100
    assert {text for text in said if not known(text)} == set()


def test_a_run_says_how_large_the_log_was_and_which_days_it_spans(hydra: Journey) -> None:
    config = hydra.scan.run.config
    rows = pa.concat_tables(
        [pq.read_table(p, columns=["account_id"]) for p in Workspace(hydra.workspace).parts()]
    )
    assert config["population"] == len(rows["account_id"].unique())
    assert config["exchanges"] == len(rows)
    assert config["first"] < config["last"]
    assert hydra.scan.supported[0].details["gamma"] == config["gamma"]
