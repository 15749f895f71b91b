"""Logs that several tests look at, built once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from stillwatch.engine.schema import RAW
from stillwatch.lab import Built, build
from stillwatch.lab.campaign import Plan, plant
from stillwatch.lab.lookalikes import plant as plant_lookalikes
from stillwatch.lab.population import honest
from stillwatch.lab.traffic import build_with
from stillwatch.lab.world import World


@dataclass(frozen=True)
class Sample:
    built: Built
    log: pa.Table
    accounts: pa.Table
    truth: pa.Table

    def joined(self) -> pa.Table:
        """The log's rows with the truth about their account."""
        columns = [
            "account",
            "time",
            "turns",
            "system",
            "prompt",
            "client_address",
            "request_model",
            "refused",
        ]
        return self.log.select(columns).join(
            self.truth.select(["account", "role", "campaign", "group", "share"]), "account"
        )

    def described(self, role: str) -> pa.Table:
        """The account table of one role."""
        here = self.truth.filter(pc.equal(self.truth["role"], role))["account"]
        return self.accounts.filter(pc.is_in(self.accounts["account_id"], here.combine_chunks()))


def sample(out: Path, scenario: str = "hydra", **options: object) -> Sample:
    return read(build(scenario, out, seed=11, format="parquet", **options))  # type: ignore[arg-type]


def planted(
    out: Path,
    *plans: Plan,
    honest_accounts: int = 60,
    days: int = 4,
    lookalikes: int = 0,
    release: float | None = None,
    **options: object,
) -> Sample:
    """A log with these campaigns and nothing else but what is asked for."""

    def fill(world: World) -> None:
        world.release = None if release is None else release * world.seconds
        honest(world, honest_accounts)
        plant_lookalikes(world, lookalikes)
        for plan in plans:
            plant(world, plan)

    built = build_with(
        fill, out, seed=11, honest_accounts=honest_accounts, days=days, name="test", summary="test", **options
    )  # type: ignore[arg-type]
    return read(built)


def read(built: Built) -> Sample:
    columns = [f.name for f in RAW if not pa.types.is_list(f.type)]  # Arrow joins no lists
    log = pq.read_table(built.logs[0], columns=columns)
    facts = pa.csv.read_csv(built.accounts, convert_options=pa.csv.ConvertOptions(strings_can_be_null=True))
    return Sample(built, log, facts, pq.read_table(built.truth))
