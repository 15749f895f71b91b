"""No campaign and no planted twin: what is found here is a false positive."""

from __future__ import annotations

from stillwatch.lab.population import honest
from stillwatch.lab.world import World

SCENARIO = "honest"
SUMMARY = "honest accounts only; every supported campaign is a false one"


def build(world: World) -> None:
    """Fill `world` with honest accounts."""
    honest(world, world.honest_accounts)
