"""Honest groups that resemble a campaign, many of each kind, among ordinary accounts; no campaign."""

from __future__ import annotations

from stillwatch.lab import lookalikes, population
from stillwatch.lab.world import World

SCENARIO = "lookalikes"
SUMMARY = (
    "a dozen honest groups of each kind that resembles a campaign; every supported campaign is a false one"
)

GROUPS = 12
"""Groups of each kind."""


def build(world: World) -> None:
    """Fill `world` with `GROUPS` look-alikes of each kind and with ordinary accounts; a new model comes out midway.

    The ordinary accounts are as many as are left of `World.honest_accounts`, at least a third.
    """
    world.release = 0.5 * world.seconds
    first = world.n_accounts
    lookalikes.plant(world, GROUPS)
    used = world.n_accounts - first
    population.honest(world, max(world.honest_accounts - used, world.honest_accounts // 3))
