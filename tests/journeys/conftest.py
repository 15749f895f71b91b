"""Logs whose truth is known, built, imported and scanned once for all journeys."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from journey_samples import Journey

from stillwatch import campaigns, logs
from stillwatch.lab import build
from stillwatch.lab.keyed import key_of_seed

Travel = Callable[..., Journey]


@pytest.fixture(scope="session")
def travel(tmp_path_factory: pytest.TempPathFactory) -> Travel:
    def go(scenario: str, *, honest_accounts: int, days: int, seed: int, described: bool = True) -> Journey:
        folder = tmp_path_factory.mktemp(scenario)
        built = build(
            scenario, folder / "log", seed=seed, honest_accounts=honest_accounts, days=days, format="parquet"
        )
        workspace = folder / "workspace"
        key_of_seed(workspace, seed)  # what lies near a line falls on one side of it, every time
        facts = {"accounts": built.accounts, "actions": built.actions} if described else {}
        logs.ingest(list(built.logs), workspace, **facts)
        found = campaigns.scan(workspace, read_texts=lambda shingles: logs.texts(workspace, shingles))
        campaigns.save(found, workspace)
        return Journey(built, workspace, found)

    return go


@pytest.fixture(scope="session")
def hydra(travel: Travel) -> Journey:
    return travel("hydra", honest_accounts=900, days=7, seed=1)


@pytest.fixture(scope="session")
def enterprise(travel: Travel) -> Journey:
    return travel("enterprise", honest_accounts=300, days=6, seed=2)


@pytest.fixture(scope="session")
def honest(travel: Travel) -> Journey:
    return travel("honest", honest_accounts=300, days=6, seed=4)


@pytest.fixture(scope="session")
def first_day(travel: Travel) -> Journey:
    """A campaign on its first day, and nobody knows anything of the accounts."""
    return travel("hydra", honest_accounts=300, days=1, seed=5, described=False)


@pytest.fixture
def exempted(hydra: Journey, tmp_path: Path) -> Callable[[set[str]], Path]:
    """A copy of the hydra workspace in which these accounts are exempt."""

    def exempt(names: set[str]) -> Path:
        with hydra.built.accounts.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            if row["account_id"] in names:
                row["exemption"], row["exemption_reason"] = "research", "a study agreed in writing"
        changed = tmp_path / "accounts.csv"
        with changed.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        workspace = hydra.copy(tmp_path / "workspace")
        logs.ingest([], workspace, accounts=changed)
        return workspace

    return exempt
