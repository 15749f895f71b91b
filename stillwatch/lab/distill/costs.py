"""The cost sheet: tokens and seconds as they were counted, money and energy from prices that somebody stated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from stillwatch.errors import InputError

MILLION = 1e6


@dataclass(frozen=True, slots=True)
class Prices:
    """What was stated; None where nothing was. Any currency, the same for all."""

    input: float | None = None
    """Of a million tokens that the teacher reads, at whoever offers it."""
    output: float | None = None
    """Of a million tokens that it answers."""
    hour: float | None = None
    """Of an hour of this machine."""
    watts: float | None = None
    """That it draws while it works."""

    def check(self) -> None:
        """
        Raises
        ------
        InputError
            A price is below 0.
        """
        for name, price in asdict(self).items():
            if price is not None and not 0 <= price < float("inf"):
                raise InputError(f"a price is 0 or more, found {price} for {name}")


def sheet(stages: Mapping[str, Mapping[str, float]], prices: Prices, *, device: str) -> dict[str, Any]:
    """What each stage took, and what that comes to.

    Parameters
    ----------
    stages
        As `spending.Spent` counted them.
    device
        Where the models ran, ``cpu`` or a GPU's name.

    Returns
    -------
    ``stages``; ``stated``, the prices; ``machine``, money of all stages here; ``teacher``, money of the same prompts
    and answers at the teacher's price; ``kilowatt_hours``. None: not stated.
    """
    found = {
        name: {
            **{k: round(v, 2) if "seconds" in k else int(v) for k, v in amounts.items()},
            **_of(amounts, prices),
        }
        for name, amounts in stages.items()
    }
    asked = stages.get("answers", {})
    read, written = asked.get("prompt_tokens", 0), asked.get("answer_tokens", 0)
    wall = sum(amounts.get("wall_seconds", 0) for amounts in stages.values())
    served = None
    if prices.input is not None and prices.output is not None and asked:
        served = round((read * prices.input + written * prices.output) / MILLION, 6)
    return {
        "device": device,
        "stages": found,
        "stated": asdict(prices),
        "wall_seconds": round(wall, 2),
        "machine": _of({"wall_seconds": wall}, prices)["machine"],
        "kilowatt_hours": _of({"wall_seconds": wall}, prices)["kilowatt_hours"],
        "teacher": served,
    }


def _of(amounts: Mapping[str, float], prices: Prices) -> dict[str, float | None]:
    hours = amounts.get("wall_seconds", 0) / 3600
    return {
        "machine": None if prices.hour is None else round(hours * prices.hour, 6),
        "kilowatt_hours": None if prices.watts is None else round(hours * prices.watts / 1000, 6),
    }
