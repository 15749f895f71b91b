"""Honest groups that resemble a campaign, many of each kind, among ordinary accounts; no campaign."""

from __future__ import annotations

import numpy as np

from stillwatch.lab import population
from stillwatch.lab.world import World

SCENARIO = "lookalikes"
SUMMARY = (
    "a dozen honest groups of each kind that resembles a campaign; every supported campaign is a false one"
)

GROUPS = 12
"""Groups of each kind."""

FEW = 3
"""Frameworks whose public prompt asks for written-out reasoning: the hardest innocent thing in the log."""


def _asks(world: World, rng: np.random.Generator, n: int, group: str) -> None:
    population.one_framework(world, rng, n, group, asks_reasoning=True)


def build(world: World) -> None:
    """Fill `world` with `GROUPS` look-alikes of each kind and with ordinary accounts.

    Group sizes follow `World.honest_accounts`; the ordinary accounts are as many as are left, at least a third.
    """
    unit = max(1.0, world.honest_accounts / 4000)
    plans = (
        ("evaluation", population.one_evaluation, (3, 8)),
        ("retrieval", population.one_retrieval, (3, 8)),
        ("runner", population.one_build_runner, (4, 12)),
        ("class", population.one_class, (20, 36)),
        ("framework", population.one_framework, (25, 90)),
        ("rationale framework", _asks, (20, 60)),
        ("gateway", population.one_organisation, (20, 60)),
        ("batch", population.one_batch, (4, 16)),
    )
    first = world.n_accounts
    for name, one, (least, most) in plans:
        rng = world.rng("lookalike " + name)
        for i in range(FEW if one is _asks else GROUPS):
            n = int(rng.integers(least, int(most * min(unit, 4.0)) + 1))
            one(world, rng, n, f"alike {name} {i + 1}")
    used = world.n_accounts - first
    population.honest(world, max(world.honest_accounts - used, world.honest_accounts // 3))
