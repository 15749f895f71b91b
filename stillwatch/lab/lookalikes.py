"""Honest groups that resemble a campaign, each kind with a role of its own in the truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stillwatch.lab import population
from stillwatch.lab.world import World

One = Callable[[World, np.random.Generator, int, str], None]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind: who adds one group of `n` accounts, and the least and the largest size of a group."""

    one: One
    least: int
    most: int


KINDS: dict[str, Kind] = {
    "evaluation": Kind(population.one_evaluation, 5, 9),
    "build runner": Kind(population.one_build_runner, 5, 12),
    "retrieval": Kind(population.one_retrieval, 5, 9),
    "gateway": Kind(population.one_organisation, 8, 30),
    "class": Kind(population.one_class, 18, 30),
    "framework": Kind(population.one_framework, 20, 50),
    "batch": Kind(population.one_batch, 5, 14),
}


def plant(world: World, groups: int) -> None:
    """Add `groups` groups of every kind, called ``alike <kind> <number>``; their role is ``alike <kind>``."""
    for name, kind in KINDS.items():
        rng = world.rng("lookalike " + name)
        for i in range(groups):
            first = len(world.roles)
            kind.one(world, rng, int(rng.integers(kind.least, kind.most + 1)), f"alike {name} {i + 1}")
            world.roles[first:] = [
                (n, f"alike {name}", campaign, group) for n, _, campaign, group in world.roles[first:]
            ]
