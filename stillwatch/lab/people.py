"""Who signs up: dates, cards, mail, prefixes, clients. One mixture serves everybody; kinds differ in weights only.

Residential prefixes, disposable mail and virtual cards are reported of campaigns; they occur among honest accounts
too, so that no value of any column tells a campaign account by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stillwatch.lab.arrivals import DAY
from stillwatch.lab.world import NONE, START, World

PLANS = ("free", "pay-as-you-go", "pro", "team", "enterprise")
CARDS = ("credit", "debit", "virtual", "prepaid", "invoice")
EMAILS = ("free mail", "own domain", "company", "education", "disposable")
VERIFICATION = ("email", "phone", "card", "identity document", "contract")
AGENTS = (
    "OpenAI/Python 1.109.1",
    "OpenAI/Python 2.8.0",
    "AsyncOpenAI/Python 2.8.0",
    "OpenAI/JS 6.9.0",
    "langchain-openai/1.0.3",
    "python-httpx/0.28.1",
    "python-requests/2.32.5",
    "node-fetch/3.3.2",
    "Go-http-client/2.0",
    "curl/8.16.0",
    "okhttp/5.1.0",
    "open-webui/0.6.36",
)
MODELS = ("meridian-large", "meridian-mini", "meridian-reason", "meridian-large-2026-06", "meridian-next")
REASONING = 2
RELEASED = 4
"""The model that comes out during a log, if one does; nobody uses it before."""
SIGNING = (REASONING, RELEASED)
"""Models that sign their reasoning, so that it can be handed back in the next turn."""
EXEMPTIONS = (
    ("research", "safety evaluation, agreed in writing"),
    ("synthetic data", "synthetic-data contract, agreed in writing"),
)

ZONES = np.array([-8, -7, -6, -5, -3, 0, 1, 2, 3, 5, 7, 8, 9, 10])
ZONE_WEIGHTS = np.array([9, 4, 8, 14, 6, 9, 12, 8, 4, 9, 4, 7, 4, 2], float) / 100


@dataclass(frozen=True, slots=True)
class Kind:
    """Mixture weights of one kind of account; sequences are in the order of the tuples above."""

    cards: tuple[float, ...]
    emails: tuple[float, ...]
    plans: tuple[float, ...]
    agents: tuple[float, ...]
    hosted: float
    """Share whose requests come from data centres."""


PRIVATE = Kind(
    (0.44, 0.36, 0.12, 0.08, 0.0),
    (0.80, 0.08, 0.03, 0.05, 0.04),
    (0.35, 0.35, 0.30, 0.0, 0.0),
    (6, 6, 3, 8, 3, 3, 3, 4, 1, 2, 9, 25),
    0.04,
)
BUILDER = Kind(
    (0.50, 0.25, 0.18, 0.06, 0.01),
    (0.52, 0.26, 0.12, 0.05, 0.05),
    (0.12, 0.68, 0.14, 0.05, 0.01),
    (18, 20, 14, 18, 9, 6, 5, 5, 3, 2, 3, 1),
    0.55,
)
COMPANY = Kind(
    (0.35, 0.05, 0.18, 0.02, 0.40),
    (0.02, 0.10, 0.88, 0.0, 0.0),
    (0.0, 0.15, 0.05, 0.45, 0.35),
    (16, 22, 15, 16, 10, 6, 4, 5, 3, 1, 2, 4),
    0.6,
)
SCHOOL = Kind(
    (0.50, 0.30, 0.08, 0.12, 0.0),
    (0.25, 0.0, 0.0, 0.74, 0.01),
    (0.75, 0.15, 0.10, 0.0, 0.0),
    PRIVATE.agents,
    0.02,
)
# The reported campaigns: virtual cards and disposable mail above all, residential proxies. Never only those.
CAMPAIGN = Kind(
    (0.05, 0.05, 0.82, 0.08, 0.0),
    (0.42, 0.04, 0.0, 0.02, 0.52),
    (0.10, 0.75, 0.15, 0.0, 0.0),
    BUILDER.agents,
    0.0,
)

RESIDENTIAL = 400_000
"""Number of residential prefixes that honest people come from; a few are busy (carrier NAT), most hold one account."""


def people(
    world: World,
    rng: np.random.Generator,
    n: int,
    kind: Kind,
    *,
    created: np.ndarray | None = None,
    zones: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Columns of `n` unrelated accounts of one kind; change what a scenario relates before adding them.

    `created` is seconds; by default sign-ups grow over two years and one in twenty comes during the log.
    """
    if created is None:
        back = rng.exponential(240 * DAY, n) % (730 * DAY)
        created = START - back
        late = rng.random(n) < 0.05
        created = np.where(late, START + rng.random(n) * world.seconds * 0.9, created)
    card = _choose(rng, kind.cards, n)
    email = _choose(rng, kind.emails, n)
    plan = _choose(rng, kind.plans, n)
    payment = world.take("payment", n)
    # Families, freelancers and agencies: a few accounts pay with somebody else's card.
    borrowed = rng.random(n) < 0.03
    payment[borrowed] = payment[np.maximum(np.arange(n) - rng.integers(1, 4, n), 0)][borrowed]
    free = (plan == 0) & (rng.random(n) < 0.7)
    payment[free] = NONE
    card = np.where(free, NONE, card)
    hosted = rng.random(n) < kind.hosted
    home = np.where(hosted, hosting(rng, n), residential(rng, n))
    second = np.where(rng.random(n) < 0.5, residential(rng, n), home)
    temperature = rng.choice(
        [np.nan, 0.0, 0.2, 0.3, 0.5, 0.7, 1.0], n, p=[0.38, 0.14, 0.09, 0.06, 0.05, 0.18, 0.10]
    )
    return {
        "created": created.astype(np.int64),
        "organization": np.full(n, NONE),
        "plan": plan,
        "payment": payment,
        "card": card,
        "email": email,
        "device": np.where(rng.random(n) < 0.3, NONE, world.take("device", n)),
        "signup_prefix": np.where(rng.random(n) < 0.7, home, residential(rng, n)),
        "verification": _choose(rng, (0.42, 0.28, 0.22, 0.07, 0.01), n),
        "contract": np.where(plan == 4, np.round(rng.lognormal(9, 1, n), -2), 0.0),
        "exempt": np.full(n, NONE),
        "zone": rng.choice(ZONES, n, p=ZONE_WEIGHTS) if zones is None else zones,
        "home": home,
        "second": second,
        "agent": _choose(rng, kind.agents, n),
        "model": _choose(rng, (0.42, 0.30, 0.18, 0.10), n),
        "temperature": temperature,
        "max_tokens": rng.choice([0, 256, 512, 1024, 2048, 4096], n, p=[0.5, 0.06, 0.1, 0.14, 0.1, 0.1]),
    }


def residential(rng: np.random.Generator, n: int) -> np.ndarray:
    """Residential and mobile prefixes: a tenth of the draws falls on carriers with many customers."""
    carrier = rng.random(n) < 0.10
    return np.where(carrier, rng.zipf(1.6, n) % 3000, 3000 + rng.integers(RESIDENTIAL, size=n))


def hosting(rng: np.random.Generator, n: int) -> np.ndarray:
    """Prefixes of clouds, with big regions."""
    return 3000 + RESIDENTIAL + np.minimum((rng.pareto(0.7, n) * 40).astype(np.int64), 30_000)


def one_firm(
    world: World, rng: np.random.Generator, columns: dict[str, np.ndarray], *, prefixes: int = 1
) -> None:
    """Turn accounts into one organisation: its id, one payment token, one mail class, one gateway, one zone."""
    n = len(columns["created"])
    columns["organization"] = np.full(n, world.take("organization")[0])
    columns["payment"] = np.full(n, world.take("payment")[0])
    columns["card"] = np.full(n, _choose(rng, COMPANY.cards, 1)[0])
    columns["email"] = np.full(n, 2)
    columns["plan"] = np.full(n, rng.choice([3, 4]))
    columns["verification"] = np.full(n, rng.choice([2, 4]))
    columns["contract"] = np.full(n, float(np.round(rng.lognormal(10, 1), -2)))
    columns["zone"] = np.full(n, rng.choice(ZONES, p=ZONE_WEIGHTS))
    gateway = hosting(rng, prefixes) if rng.random() < 0.5 else residential(rng, prefixes)
    columns["home"] = gateway[rng.integers(prefixes, size=n)]
    columns["second"] = np.where(rng.random(n) < 0.8, columns["home"], columns["second"])
    columns["signup_prefix"] = np.where(rng.random(n) < 0.8, columns["home"], columns["signup_prefix"])
    columns["agent"] = np.where(rng.random(n) < 0.8, columns["agent"][0], columns["agent"])


def _choose(rng: np.random.Generator, weights: tuple[float, ...], n: int) -> np.ndarray:
    p = np.array(weights, float)
    return rng.choice(len(p), n, p=p / p.sum())
