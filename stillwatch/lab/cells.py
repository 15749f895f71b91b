"""The cells of the benchmark: read from the reviewed file beside this module, and built as one log each."""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from stillwatch.errors import InputError
from stillwatch.lab import lookalikes
from stillwatch.lab.campaign import Plan, plant
from stillwatch.lab.population import honest
from stillwatch.lab.world import World

CELLS = Path(__file__).with_name("cells.toml")


@dataclass(frozen=True, slots=True)
class Log:
    """What stands around a campaign.

    Parameters
    ----------
    honest_accounts
        Ordinary ones; look-alikes come on top.
    lookalikes
        Groups of each kind of `stillwatch.lab.lookalikes.kinds`.
    sharing
        As in `stillwatch.lab.build`.
    release
        The part of the log after which a new model comes out; 0: none does.
    """

    honest_accounts: int
    days: int
    lookalikes: int
    sharing: float
    release: float


@dataclass(frozen=True, slots=True)
class Cell:
    """One setting of the benchmark."""

    name: str
    says: str
    log: Log
    campaign: Plan | None
    once: bool = False
    on_request: bool = False

    @property
    def digest(self) -> str:
        """Of everything that decides what is built, and of nothing else; 16 hexadecimal digits."""
        campaign = asdict(self.campaign) if self.campaign else None
        if campaign and campaign["cover"] == "none":
            del campaign["cover"]  # it came later: results of before go on to count
        facts = {"log": asdict(self.log), "campaign": campaign}
        return sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def fill(self, world: World) -> None:
        """Put the cell's accounts and requests into a world."""
        if self.log.release:
            world.release = self.log.release * world.seconds
        honest(world, self.log.honest_accounts)
        rate = self.campaign.rate if self.campaign else 26.0
        lookalikes.plant(world, self.log.lookalikes, rate=rate)
        if self.campaign is not None:
            plant(world, self.campaign)


def cells(path: Path = CELLS) -> dict[str, Cell]:
    """All cells of a file, by name, in its order.

    Raises
    ------
    InputError
        The file is no TOML, or says something that no log or campaign has.
    """
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: {error}") from error
    centre = told.get("centre", {})
    return {name: _cell(path, name, facts, centre) for name, facts in told.get("cell", {}).items()}


def chosen(names: list[str], known: dict[str, Cell]) -> list[Cell]:
    """The cells of these names; without names all that are not on request.

    Raises
    ------
    InputError
        There is no such cell.
    """
    for name in names:
        if name not in known:
            raise InputError(f"no cell is called {name!r}; there are: {', '.join(known)}")
    return [known[n] for n in dict.fromkeys(names)] or [c for c in known.values() if not c.on_request]


def _cell(path: Path, name: str, facts: dict[str, Any], centre: dict[str, Any]) -> Cell:
    unknown = set(facts) - {"says", "log", "campaign", "once", "on_request"}
    if unknown:
        raise InputError(f"{path}: cell {name!r} has no key {sorted(unknown)[0]!r}")
    own = facts.get("campaign", {})
    try:
        log = Log(**{**centre["log"], **facts.get("log", {})})
        plan = None if own is False else Plan(**{**centre["campaign"], "name": "campaign", **own})
        flags = {k: bool(facts[k]) for k in ("once", "on_request") if k in facts}
        return Cell(name, str(facts["says"]), log, plan, **flags)
    except (KeyError, TypeError, InputError) as error:
        raise InputError(f"{path}: cell {name!r}: {error}") from error
