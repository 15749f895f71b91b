"""What is drawn for every account alike, campaign or not: parameters, keys, refusals, suspensions, new models.

Nothing here looks at who belongs to a campaign. A scenario that wants an account to differ says so in its columns
(`refusal`, `sampling`, `keys`, `adopts`), and honest kinds say so too.
"""

from __future__ import annotations

import numpy as np

from stillwatch.lab.arrivals import DAY
from stillwatch.lab.people import RELEASED
from stillwatch.lab.texts import mix
from stillwatch.lab.world import NONE, START, World

Columns = dict[str, np.ndarray]

REFUSAL = 0.012
"""Median share of an ordinary account's requests that are refused. Chosen: no provider prints one."""
SAMPLING = 0.03
SUSPENDED = 0.004
"""Share of all accounts that the provider suspends for a reason of their own during a log."""
UNPAID = 0.04
"""Share of companies whose accounts are all suspended at one second, until somebody pays."""
WITHOUT_SESSIONS = 0.12
"""Share of accounts whose client sends no session: their requests carry the history, and nothing else says so."""
ADOPTS = 0.7
ADOPTION_DAYS = 10.0
HANDS_BACK = 0.6
"""Share of conversations whose client hands signed reasoning back in the next turn."""


def parameters(world: World, accounts: Columns) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Choices asked for (0: not said), whether log-probabilities are, and the number of keys, by account."""
    rng = world.rng("parameters")
    n = len(accounts["created"])
    chance = _or(accounts["sampling"], SAMPLING)
    choices = np.where(rng.random(n) < chance, rng.choice([1, 2, 4, 5, 8], n), 0)
    logprobs = rng.random(n) < chance
    keys = rng.choice([1, 2, 3, 5], n, p=[0.82, 0.11, 0.05, 0.02])
    keys = np.where(accounts["keys"] > 0, accounts["keys"], keys)
    return choices.astype(np.int8), logprobs, keys.astype(np.int64)


def refused(world: World, accounts: Columns, who: np.ndarray) -> np.ndarray:
    """Which requests are refused, by row."""
    rng = world.rng("refusals")
    n = len(accounts["created"])
    usual = np.minimum(REFUSAL * rng.lognormal(0, 0.7, n), 0.15)
    return rng.random(len(who)) < _or(accounts["refusal"], usual)[who]


def suspend(world: World, accounts: Columns, rows: Columns) -> None:
    """Suspend accounts for reasons of their own, note it, and take their requests out of `rows` in place."""
    rng = world.rng("suspensions")
    n = len(accounts["created"])
    begin, end = np.full(n, np.inf), np.full(n, np.inf)
    reason = np.full(n, "abuse", object)
    alone = np.flatnonzero(rng.random(n) < SUSPENDED)
    begin[alone] = rng.random(len(alone)) * world.seconds
    lifted = rng.random(len(alone)) < 0.5
    end[alone] = np.where(lifted, begin[alone] + DAY * (0.3 + 4 * rng.random(len(alone))), np.inf)
    reason[alone] = np.where(lifted, "unpaid invoice", "abuse")
    firms = np.unique(accounts["organization"][accounts["organization"] >= 0])
    for firm in firms[rng.random(len(firms)) < UNPAID]:
        here = accounts["organization"] == firm
        begin[here] = rng.random() * world.seconds
        end[here] = begin[here] + DAY * (0.3 + 2.5 * rng.random())
        reason[here] = "unpaid invoice"
    for i in np.flatnonzero(np.isfinite(begin)):
        # Somebody whom the scenario has closed by then cannot be suspended once more.
        if begin[i] < min(world.seconds, accounts["closes"][i]):
            world.act(i, begin[i], "suspend", str(reason[i]), end[i])
        else:
            begin[i] = end[i] = np.inf
    if not np.isfinite(begin).any():
        return
    who, seconds = rows["account"], rows["time"] / 1e6 - START
    out = (seconds >= begin[who]) & (seconds < end[who])
    # A session that was cut does not go on: histories stay whole.
    place = np.arange(len(out))
    last = np.maximum.accumulate(np.where(out, place, -1))
    keep = last < place - rows["turn"] + 1
    for column in rows:
        rows[column] = rows[column][keep]


def forget_sessions(world: World, accounts: Columns, rows: Columns) -> None:
    """Some clients send no session; changes `rows` in place."""
    silent = world.rng("sessions").random(len(accounts["created"])) < WITHOUT_SESSIONS
    rows["conversation"] = np.where(silent[rows["account"]], np.int32(NONE), rows["conversation"])


def models(world: World, accounts: Columns, rows: Columns) -> np.ndarray:
    """The usual model of each row's account at that time: a new one is adopted gradually, by companies as one."""
    usual = accounts["model"][rows["account"]]
    if world.release is None:
        return usual
    rng = world.rng("adoption")
    n = len(accounts["model"])
    firm = accounts["organization"].astype(np.int64)
    owner = np.where(firm >= 0, firm, firm.max(initial=0) + 1 + np.arange(n))
    draws = rng.random((2, int(owner.max(initial=0)) + 1))
    wait = np.where(draws[0] < ADOPTS, -ADOPTION_DAYS * DAY * np.log1p(-draws[1]), np.inf)
    adopts = _or(accounts["adopts"], world.release + wait[owner])
    seconds = rows["time"] / 1e6 - START
    return np.where(seconds >= adopts[rows["account"]], RELEASED, usual)


def signatures(rows: Columns, signing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which answers carry a signature, and the row whose signature a request hands back.

    A later turn hands back what the turn before it minted, in whatever account that was: a conversation that moves
    between accounts takes its signatures along. Accounts do not choose this here; conversations do.
    """
    place = np.arange(len(signing))
    turn = rows["turn"].astype(np.int64)
    client = mix(rows["seed"][place - turn + 1] ^ np.uint64(0x736967)) % np.uint64(1000)
    before = np.maximum(place - 1, 0)
    hands = (turn > 1) & signing[before] & (client < np.uint64(1000 * HANDS_BACK))
    return signing, np.where(hands, before, NONE)


def _or(values: np.ndarray, usual: np.ndarray | float) -> np.ndarray:
    return np.where(np.isnan(values), usual, values)
