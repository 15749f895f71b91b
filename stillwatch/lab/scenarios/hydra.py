"""A campaign in the manner that providers reported, resold honest traffic in its accounts, and its innocent twin.

The rate (26 requests an account and day), the one prompt in every request, residential proxies, virtual cards and
disposable mail follow provider disclosures of February and June 2026 as reported by the press; the numbers of
accounts to a card and of days of registration are chosen.
"""

from __future__ import annotations

from stillwatch.lab.campaign import Plan, plant
from stillwatch.lab.population import honest
from stillwatch.lab.scenarios.enterprise import ACCOUNTS, size, twin
from stillwatch.lab.world import World

SCENARIO = "hydra"
SUMMARY = "200 accounts act as one, harvest reasoning and resell the rest; an innocent twin stands beside"


def build(world: World) -> None:
    """Fill `world` with honest accounts, the twin and one campaign called ``hydra``."""
    honest(world, world.honest_accounts)
    twin(world, size(world, ACCOUNTS))
    plant(world, Plan(accounts=size(world, ACCOUNTS), share=world.share))
