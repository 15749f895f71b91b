"""A campaign in the manner that providers reported, resold honest traffic in its accounts, and its innocent twin.

The rate (26 requests an account and day), the one prompt in every request, residential proxies, virtual cards and
disposable mail follow provider disclosures of February and June 2026 as reported by the press; the numbers of
accounts to a card and of days of registration are chosen.
"""

from __future__ import annotations

import numpy as np

from stillwatch.lab.arrivals import DAY
from stillwatch.lab.people import CAMPAIGN, RESIDENTIAL, people
from stillwatch.lab.population import honest
from stillwatch.lab.rows import converse, own_text, serve
from stillwatch.lab.scenarios.enterprise import ACCOUNTS, size, twin
from stillwatch.lab.world import NONE, START, World

SCENARIO = "hydra"
SUMMARY = "200 accounts act as one, harvest reasoning and resell the rest; an innocent twin stands beside"

RATE = 26.0
ACCOUNTS_PER_CARD = 14


def build(world: World) -> None:
    """Fill `world` with honest accounts, the twin and one campaign called ``hydra``."""
    honest(world, world.honest_accounts)
    twin(world, size(world, ACCOUNTS))
    campaign(world, size(world, ACCOUNTS))


def campaign(world: World, n: int, name: str = "hydra") -> None:
    """One campaign: one wrapper around a list of tasks that is split over `n` accounts, day and night."""
    rng = world.rng(name)
    created = START - (2 + 10 * rng.random(n)) * DAY
    columns = people(world, rng, n, CAMPAIGN, created=created)
    cards = max(1, round(n / ACCOUNTS_PER_CARD))
    columns["payment"] = world.take("payment", cards)[rng.integers(cards, size=n)]
    columns["card"] = np.where(columns["card"] == NONE, 2, columns["card"])
    proxies = 3000 + rng.choice(RESIDENTIAL, (3, n), replace=False)
    columns["home"], columns["second"] = proxies[0], proxies[1]
    columns["signup_prefix"] = np.where(rng.random(n) < 0.7, proxies[0], proxies[2])
    who = world.add_accounts("campaign", columns, campaign=name, group=name)
    wrapper = np.repeat(own_text(world, rng, 1, "wrapper", (1, 1)), n)
    before = rng.random(n) < 0.5
    serve(
        world,
        rng,
        who,
        np.full(n, RATE * world.share),
        body=world.prompts["campaign"],
        flat=True,
        head=np.where(before, wrapper, NONE),
        tail=np.where(before, NONE, wrapper),
        output=620.0,
        campaign=True,
    )
    # What is resold looks like the people it comes from.
    converse(world, rng, who, np.full(n, RATE * (1 - world.share)))
