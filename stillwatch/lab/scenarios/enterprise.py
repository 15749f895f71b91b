"""The innocent twin of a campaign: many accounts that act as one because they are one company."""

from __future__ import annotations

import numpy as np

from stillwatch.lab.arrivals import DAY
from stillwatch.lab.people import COMPANY, one_firm, people
from stillwatch.lab.population import honest
from stillwatch.lab.rows import converse, own_text, volumes
from stillwatch.lab.world import START, World

SCENARIO = "enterprise"
SUMMARY = "200 employees behind one gateway with one kit's prompt and one bill; no campaign"

ACCOUNTS = 200
"""Employees; as many as a planted campaign has accounts."""


def build(world: World) -> None:
    """Fill `world` with honest accounts and the company; there is no campaign."""
    honest(world, world.honest_accounts)
    twin(world, size(world, ACCOUNTS))


def size(world: World, full: int) -> int:
    """`full` accounts, fewer in a small world so that they stay below a tenth of the honest ones."""
    return full if world.honest_accounts >= 10 * full else max(4, min(full, world.honest_accounts // 15))


def twin(world: World, n: int) -> None:
    """`n` employees: one gateway, one prompt, one payment token, one organisation, human days, conversations."""
    rng = world.rng("twin")
    columns = people(world, rng, n, COMPANY, created=START - (3 + 10 * rng.random(n)) * DAY)
    one_firm(world, rng, columns)
    columns["second"] = columns["home"]
    who = world.add_accounts("enterprise", columns, group="enterprise")
    system = np.repeat(own_text(world, rng, 1, "system", (6, 6)), n)
    per_day = np.minimum(volumes(world, rng, n, 20.0, 0.7), 90.0)
    converse(world, rng, who, per_day, working=True, mean_turns=3.5, system=system)
