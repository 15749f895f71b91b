"""Builds a log whose truth is known: arrival processes and prompts, put together; no row of it happened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from stillwatch.errors import InputError
from stillwatch.lab import arrivals, compose, write
from stillwatch.lab.names import names_of
from stillwatch.lab.payload import write_litellm
from stillwatch.lab.prompts import prompts
from stillwatch.lab.world import World
from stillwatch.plugins import find

README = """\
This log was composed by `stillwatch {name}`. Nothing in it happened: no account, company, address or
request is real. Arrival processes: {clients}. Prompts: {prompts}.

scenario        {summary}
seed            {seed}
days            {days}
accounts        {accounts}, of which {honest} ordinary honest ones were asked for
exchanges       {exchanges}
sharing         {sharing:g}: how often unrelated accounts send the same public text. This is unanchored: no public log
                tells how often that happens. Figures from this log hold for this amount of sharing.
campaign share  {share:g} of a campaign account's requests belong to the campaign, the rest is resold

log*            the log
accounts.csv    one line an account
actions.csv     what the provider did to accounts
truth.parquet   who is who; nothing but `stillwatch lab score` may read it
"""


@dataclass(frozen=True, slots=True)
class Built:
    """What was built."""

    out: Path
    logs: tuple[Path, ...]
    accounts: Path
    actions: Path
    truth: Path
    n_accounts: int
    n_exchanges: int
    n_campaign_accounts: int
    arrivals: str
    prompts: str
    harvesters: tuple[str, ...] = ()
    """Accounts of the planted campaigns, as those who hold them know them: for a lab that goes on from here."""


def build(
    scenario: str,
    out: Path,
    *,
    seed: int,
    honest_accounts: int = 2000,
    days: int = 14,
    format: Literal["litellm", "parquet"] = "litellm",
    data: Path | None = None,
    sharing: float = 1.0,
    share: float = 0.8,
    on_progress: Callable[[int, int], None] | None = None,
) -> Built:
    """Compose a log with truth.

    Memory is about 150 bytes an exchange plus the text of 50,000 exchanges.

    Parameters
    ----------
    scenario
        Name of a module of `stillwatch.lab.scenarios` (or of the entry points ``stillwatch.lab.scenarios``).
    out
        Folder for the files; made if missing. Must not hold a log yet.
    seed
        The same arguments give the same bytes (with real data: on the same data).
    honest_accounts
        Ordinary accounts, 20 or more; what the scenario plants comes on top.
    days
        Length of the log, 1 to 366.
    data
        Folder with ``traffic/servegen_clients.parquet`` and ``prompts/*.parquet``; None for the built-in
        generator.
    sharing
        How often unrelated accounts send the same public text; 1 is the default amount, 10 a stress.
    share
        Share of a campaign account's requests that belong to the campaign, above 0 and up to 1.
    on_progress
        Called with (exchanges written, exchanges in all).

    Raises
    ------
    InputError
        Unknown scenario, a number out of range, a folder that holds a log already, or data that is not there.
    """
    scenarios = find("lab.scenarios")
    if scenario not in scenarios:
        raise InputError(f"no scenario is called {scenario!r}; there are: {', '.join(scenarios)}")
    _within("share", share, 0.01, 1)
    module = scenarios[scenario]
    return build_with(
        module.build,
        out,
        seed=seed,
        honest_accounts=honest_accounts,
        days=days,
        format=format,
        data=data,
        sharing=sharing,
        share=share,
        name=f"lab build {scenario}",
        summary=f"{scenario}: {module.SUMMARY}",
        on_progress=on_progress,
    )


def build_with(
    fill: Callable[[World], None],
    out: Path,
    *,
    seed: int,
    honest_accounts: int,
    days: int,
    format: Literal["litellm", "parquet"] = "parquet",
    data: Path | None = None,
    sharing: float = 1.0,
    share: float = 0.8,
    name: str,
    summary: str,
    on_progress: Callable[[int, int], None] | None = None,
) -> Built:
    """Compose a log of whatever `fill` puts into an empty world; see `build`.

    Parameters
    ----------
    name, summary
        For the README of the folder: which command composed it, and what it is.
    """
    _within("honest_accounts", honest_accounts, 20, 5_000_000)
    _within("days", days, 1, 366)
    _within("sharing", sharing, 0, 200)
    if format not in ("litellm", "parquet"):
        raise InputError(f"format is litellm or parquet, found {format!r}")
    out.mkdir(parents=True, exist_ok=True)
    held = sorted(p.name for p in out.glob("log*"))
    if held:
        raise InputError(f"{out}: holds {held[0]} already; give an empty folder")
    rng = np.random.default_rng([seed, 1])
    clients = arrivals.real_clients(data) if data else arrivals.own_clients(rng)
    world = World(seed, days, honest_accounts, sharing, share, prompts(rng, data), clients)
    fill(world)
    log = compose.compose(world)
    total = len(log.order)

    def progress(done: int) -> None:
        if on_progress is not None:
            on_progress(done, total)

    names = names_of(log)
    writer = write_litellm if format == "litellm" else write.write_parquet
    paths = writer(log, names, out, progress)
    built = Built(
        out,
        tuple(paths),
        write.write_accounts(log, names, out),
        write.write_actions(log, names, out),
        write.write_truth(log, names, out),
        world.n_accounts,
        total,
        sum(n for n, _, campaign, _ in world.roles if campaign),
        clients.source,
        world.prompts.source,
        _harvesters(world, names.account.to_pylist()),
    )
    (out / "README.txt").write_text(
        README.format(
            name=name,
            summary=summary,
            seed=seed,
            days=days,
            accounts=world.n_accounts,
            honest=honest_accounts,
            exchanges=total,
            sharing=sharing,
            share=share,
            clients=clients.source,
            prompts=world.prompts.source,
        )
    )
    return built


def _within(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise InputError(f"{name} is {least:g} to {most:g}, found {value:g}")


def _harvesters(world: World, accounts: list[str]) -> tuple[str, ...]:
    found, begin = [], 0
    for count, _, campaign, _ in world.roles:
        if campaign:
            found += accounts[begin : begin + count]
        begin += count
    return tuple(found)
