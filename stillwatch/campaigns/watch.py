"""Watching a log that grows: each day costs that day and a window, and what was proposed is tested on later days only.

A day is processed once: the groups frozen earlier are tested on it, then groups are proposed from the window that ends
with it and frozen. Times are the exchanges' own; no step looks at the clock. See `stillwatch.campaigns.frozen` for
what the numbers guarantee.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stillwatch import __version__, plugins
from stillwatch.campaigns.alternatives import read_facts
from stillwatch.campaigns.daily import DAY, Days, WindowEngine, aggregate, files_of, read_days
from stillwatch.campaigns.explain import name_of
from stillwatch.campaigns.fresh import Block, load_facts, lookup_tables, test_groups
from stillwatch.campaigns.frozen import (
    MOST_OPEN,
    Frozen,
    Look,
    decide_frozen,
    from_json,
    is_open,
    kinds_of,
    look_of,
    planned_looks,
    same_as,
    spent,
    to_json,
    weighted_e_bh,
)
from stillwatch.campaigns.groups import Group
from stillwatch.campaigns.members import read_accounts
from stillwatch.campaigns.scan import BASE, propose
from stillwatch.engine.tables import Workspace
from stillwatch.errors import InputError, IntegrityError
from stillwatch.identity.keys import sync_folder
from stillwatch.records import Decision, Run

VERSION = 1
OnDay = Callable[[str, int, int], None]
"""Told each day as it begins, its number among those to do and how many there are."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What is known of one frozen group."""

    group: Frozen
    decision: Decision
    reason: str
    log_needed: float
    members: tuple[int, ...]
    """Account ids, while the group may pass or has passed; of others nothing but the number is kept."""

    @property
    def days_tested(self) -> int:
        return self.group.looks[-1].days if self.group.looks else 0


@dataclass(frozen=True, slots=True)
class Watch:
    """What a run of `watch` did and what is known after it.

    Parameters
    ----------
    groups
        Every group ever frozen: supported ones first, then by e-value.
    days
        Days that this run processed.
    waiting
        The newest day with exchanges, if it may still get more of them and was left alone.
    late
        Day -> exchanges that arrived after it was processed, in all runs.
    unplaced
        Proposals of this run that found no place among `frozen.MOST_OPEN` open groups.
    state
        sha256 of the state: equal digests, equal everything.
    """

    run: Run
    groups: tuple[Watched, ...]
    days: tuple[str, ...]
    waiting: str
    late: dict[str, int]
    unplaced: int
    alpha: float
    last_day: str
    state: str

    @property
    def supported(self) -> tuple[Watched, ...]:
        return tuple(w for w in self.groups if w.decision == "supported")


@dataclass(slots=True)
class State:
    """Everything that is kept between runs but the aggregates and the accounts of frozen groups."""

    settings: dict[str, Any]
    days: dict[str, int] = field(default_factory=dict)
    """Processed day -> exchanges it had."""
    late: dict[str, int] = field(default_factory=dict)
    freezing_days: int = 0
    unplaced: int = 0
    groups: list[Frozen] = field(default_factory=list)

    @property
    def last(self) -> str:
        return max(self.days, default="")

    def text(self) -> str:
        body = {
            "version": VERSION, "settings": self.settings, "days": self.days, "late": self.late,
            "freezing_days": self.freezing_days, "unplaced": self.unplaced, "groups": [to_json(g) for g in self.groups],
        }  # fmt: skip
        return json.dumps(body, sort_keys=True, ensure_ascii=False, allow_nan=False)

    def digest(self) -> str:
        return sha256(self.text().encode()).hexdigest()


def watch(
    workspace: Path | str,
    *,
    until: str | None = None,
    window_days: int | None = None,
    alpha: float | None = None,
    gamma: float | None = None,
    seed: int | None = None,
    memory_limit: str = "1GB",
    threads: int = 2,
    on_day: OnDay | None = None,
) -> Watch:
    """Process every complete day that was not processed yet, and say what is known of every group ever frozen.

    Parameters
    ----------
    workspace
        Folder that `stillwatch.logs.ingest` filled; more logs may be imported between runs.
    until
        ISO date. Days up to it are complete; None: a day is complete when a later one has exchanges.
    window_days, alpha, gamma, seed
        As for `scan`; the window is the number of days from which groups are proposed. The first run fixes them (14,
        0.01, 3 and 1 unless given); None: as the first run did.
    on_day
        Told each day as it begins.

    Raises
    ------
    InputError
        No log was imported here, a setting is out of range or not that of the first run, or another run is going on.
    IntegrityError
        The state was damaged.
    """
    place = Workspace(Path(workspace)).must_exist()
    home = place.root / "watch"
    asked = {"window_days": window_days, "alpha": alpha, "gamma": gamma, "seed": seed}
    with _only_one(home):
        state = _read(home, asked)
        watcher = _Watcher(place, home, state, read_days(place), memory_limit, threads)
        watcher.begin()
        todo = _complete(watcher.days, state.last, until)
        before = state.unplaced
        for number, day in enumerate(todo):
            if on_day:
                on_day(day, number, len(todo))
            watcher.process(day)
        newest = max(watcher.days.rows, default="")
        settings = {**state.settings, "days": len(todo), "groups": len(state.groups)}
        return Watch(
            run=Run(
                __version__, "campaigns watch", settings, {"watch": state.digest()}, state.settings["seed"]
            ),
            groups=watcher.report(),
            days=tuple(todo),
            waiting=newest if newest > state.last else "",
            late=dict(state.late),
            unplaced=state.unplaced - before,
            alpha=state.settings["alpha"],
            last_day=state.last,
            state=state.digest(),
        )


def _rank(shown: Watched) -> tuple[int, float, str]:
    order = {"supported": 0, "inconclusive": 1, "not supported": 2, "not tested": 3}
    best = shown.group.log_evalue
    return order[shown.decision], np.inf if best is None else -best, shown.group.key


def _complete(days: Days, last: str, until: str | None) -> list[str]:
    """Days with exchanges after `last` to which nothing will be added, oldest first."""
    if until is not None:
        try:
            until = str(np.datetime64(until, "D"))
        except ValueError:
            raise InputError(f"--until takes a day such as 2026-11-30, found {until!r}") from None
    newest = max(days.rows, default="")
    return sorted(d for d in days.rows if d > last and (d < newest or (until is not None and d <= until)))


@dataclass(slots=True)
class _Watcher:
    place: Workspace
    home: Path
    state: State
    days: Days
    memory_limit: str
    threads: int
    signals: dict[str, ModuleType] = field(init=False)

    def __post_init__(self) -> None:
        # An account begins once: on days after a group was frozen all its accounts had begun, so that kind is silent.
        found = plugins.find("campaigns.signals")
        self.signals = {name: s for name, s in found.items() if s.VALUES.kind != "starts"}

    def begin(self) -> None:
        """Finish what a killed run left, and count exchanges that came for days that were processed.

        Days of the window are aggregated anew with them.
        """
        if not self.state.last:
            return
        self._forget(self.state.last)
        oldest = _shifted(self.state.last, 1 - self.state.settings["window_days"])
        changed = False
        for day, rows in self.days.rows.items():
            had = self.state.days.get(day, 0)
            if day > self.state.last or rows == had:
                continue
            if day >= oldest:
                self._aggregate(day)
            self.state.days[day] = rows
            self.state.late[day] = self.state.late.get(day, 0) + rows - had
            changed = True
        if changed:
            self._commit()

    def process(self, day: str) -> None:
        """One day: aggregate it, test on it, propose from the window, commit, forget."""
        self._aggregate(day)
        self.state.days[day] = self.days.rows[day]
        self._look(day)
        alpha = self.state.settings["alpha"]
        for group, passes in zip(self.state.groups, weighted_e_bh(self.state.groups, alpha), strict=True):
            if passes and not group.passed:
                group.passed = day
        self._freeze(day)
        self._commit()
        self._forget(day)

    def report(self) -> tuple[Watched, ...]:
        alpha = self.state.settings["alpha"]
        exempt = self._exempt()
        rejected = weighted_e_bh(self.state.groups, alpha)
        shown = []
        for group, reject in zip(self.state.groups, rejected, strict=True):
            accounts = self._accounts(group) if group.may_pass else np.empty(0, np.int64)
            reasons = [exempt[a] for a in accounts.tolist() if a in exempt]
            decision, why = decide_frozen(
                group, rejected=reject, exempt=len(reasons), reasons=sorted(set(reasons)), alpha=alpha
            )
            shown.append(Watched(group, decision, why, group.log_needed(alpha), tuple(accounts.tolist())))
        return tuple(sorted(shown, key=_rank))

    def _aggregate(self, day: str) -> None:
        aggregate(
            self.home / "days",
            day,
            self.days.parts([day]),
            memory_limit=self.memory_limit,
            threads=self.threads,
        )

    def _look(self, day: str) -> None:
        """Test every frozen group that is due: those of one day together, on the days since."""
        due: dict[str, list[Frozen]] = {}
        for group in self.state.groups:
            if not group.done and _shifted(group.frozen, group.planned[len(group.looks)]) <= day:
                due.setdefault(group.frozen, []).append(group)
        for since, groups in due.items():
            fresh = [d for d in self.state.days if since < d <= day]
            block = Block(
                self.days.parts(sorted(fresh)),
                self.place.accounts,
                self.place.actions,
                _start(day) + DAY,
                {
                    path.name.split(".")[1]: path
                    for path in sorted(self._frozen().glob(f"{since}.family_*.parquet"))
                },
            )
            held = [Group(g.proposer, self._accounts(g), tuple(g.materials)) for g in groups]
            scores = test_groups(
                block, held, self.signals, gamma=self.state.settings["gamma"], seed=self.state.settings["seed"],
                memory_limit=self.memory_limit, threads=self.threads,
            )  # fmt: skip
            for group, found in zip(groups, scores, strict=True):
                blank = Look(day, len(fresh), {})
                group.looks.append(look_of(day, len(fresh), found) if found else blank)
                if group.done:
                    group.materials = []

    def _freeze(self, day: str) -> None:
        """Propose groups from the window and freeze those that no open group is."""
        settings = self.state.settings
        window = [d for d in self.state.days if _shifted(day, 1 - settings["window_days"]) <= d <= day]
        with WindowEngine(memory_limit=self.memory_limit, threads=self.threads) as engine:
            engine.load(self.home / "days", sorted(window), self.days.parts(sorted(window)))
            load_facts(engine, self.place.accounts, self.place.actions, _start(day) + DAY)
            engine.run(BASE)
            population = engine.read("select count(*) as n from population")["n"][0].as_py()
            proposed = propose(engine, self.signals, population, seed=settings["seed"]).groups
            accounts = read_accounts(engine)
            lookup = lookup_tables(engine)
        still_open = [g for g in self.state.groups if self._open(g)]
        known = [(g.proposer, self._accounts(g)) for g in still_open]
        fresh = []
        for group, at in zip(proposed, same_as(proposed, known), strict=True):
            if at >= 0:
                still_open[at].seen = day
            else:
                fresh.append(group)
        fresh.sort(key=lambda g: (-len(g.accounts), g.proposer, name_of(g)))
        places = max(0, MOST_OPEN - len(still_open))
        self.state.unplaced += len(fresh[places:])
        fresh = fresh[:places]
        if not fresh:
            return
        self.state.freezing_days += 1
        weight = spent(self.state.freezing_days) / len(fresh)
        for place, group in enumerate(fresh):
            facts = read_facts(accounts, group.accounts)
            acts, harvest = kinds_of(self.signals, group.proposer)
            self.state.groups.append(
                Frozen(
                    name=name_of(group),
                    frozen=day,
                    proposer=group.proposer,
                    accounts=len(group.accounts),
                    materials=[int(m) for m in group.materials],
                    weight=weight,
                    planned=planned_looks(settings["window_days"]),
                    acts_kinds=acts,
                    harvest_kinds=harvest,
                    facts={"organisation": facts.organisation_share, "payer": facts.payer_share},
                    place=place,
                    seen=day,
                )
            )
        members = pa.table(
            {
                "place": np.repeat(np.arange(len(fresh)), [len(g.accounts) for g in fresh]),
                "account_id": np.concatenate([g.accounts for g in fresh]),
            }
        )
        for name, table in {"accounts": members, **lookup}.items():
            _write_table(self._frozen() / f"{day}.{name}.parquet", table)

    def _forget(self, day: str) -> None:
        """Delete aggregates before the window and the files of groups that are no longer open."""
        oldest = _shifted(day, 1 - self.state.settings["window_days"])
        kept = {path.name for d in self.state.days if d >= oldest for path in files_of(self.home / "days", d)}
        needed = {g.frozen for g in self.state.groups if g.may_pass}
        for path in (self.home / "days").iterdir():
            if path.name not in kept:
                path.unlink()
        if self._frozen().exists():
            for path in self._frozen().iterdir():
                if path.name.split(".")[0] not in needed:
                    path.unlink()

    def _open(self, group: Frozen) -> bool:
        return is_open(group, _shifted(self.state.last, 1 - self.state.settings["window_days"]))

    def _frozen(self) -> Path:
        return self.home / "frozen"

    def _accounts(self, group: Frozen) -> NDArray[np.int64]:
        path = self._frozen() / f"{group.frozen}.accounts.parquet"
        # A dull group whose day was forgotten passes only beside hundreds of others; nothing but its number is known.
        if not path.exists():
            return np.empty(0, np.int64)
        return pq.read_table(path, filters=[("place", "=", group.place)])["account_id"].to_numpy()

    def _exempt(self) -> dict[int, str]:
        if not self.place.accounts.exists():
            return {}
        rows = pq.read_table(self.place.accounts, columns=["account_id", "exemption", "exemption_reason"])
        return {
            r["account_id"]: r["exemption_reason"] or r["exemption"]
            for r in rows.filter(rows["exemption"].is_valid()).to_pylist()
        }

    def _commit(self) -> None:
        """From here on the day counts. Everything that the state names was made durable before."""
        self.home.mkdir(parents=True, exist_ok=True)
        draft = self.home / ".state.tmp"
        text = self.state.text()
        with draft.open("w", encoding="utf-8") as sink:
            sink.write(f"{sha256(text.encode()).hexdigest()}\n{text}\n")
            sink.flush()
            os.fsync(sink.fileno())
        draft.replace(self.home / "state.json")
        sync_folder(self.home)


def _read(home: Path, asked: dict[str, Any]) -> State:
    path = home / "state.json"
    given = {name: value for name, value in asked.items() if value is not None}
    if not path.exists():
        settings = {"window_days": 14, "alpha": 0.01, "gamma": 3.0, "seed": 1, **given}
        if not 0 < settings["alpha"] < 1:
            raise InputError(f"alpha must lie between 0 and 1, found {settings['alpha']}")
        if settings["gamma"] < 1:
            raise InputError(f"gamma must be 1 or above, found {settings['gamma']}")
        if settings["window_days"] < 2:
            raise InputError(f"the window must be 2 days or more, found {settings['window_days']}")
        return State(settings)
    digest, _, text = path.read_text("utf-8").partition("\n")
    text = text.rstrip("\n")
    if (found := sha256(text.encode()).hexdigest()) != digest:
        raise IntegrityError(str(path), digest, found)
    stored = json.loads(text)
    for name, value in given.items():
        if value != stored["settings"][name]:
            raise InputError(
                f"{home}: began with {name} {stored['settings'][name]}, found {value}; what was frozen counts with the "
                "settings it was frozen with. Leave it out, or delete that folder to begin anew"
            )
    return State(
        stored["settings"], stored["days"], stored["late"], stored["freezing_days"], stored["unplaced"],
        [from_json(g) for g in stored["groups"]],
    )  # fmt: skip


def _write_table(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.tmp")
    with draft.open("wb") as sink:
        pq.write_table(table, sink, compression="zstd")
        sink.flush()
        os.fsync(sink.fileno())
    draft.replace(path)
    sync_folder(path.parent)


@contextmanager
def _only_one(home: Path) -> Iterator[None]:
    home.mkdir(parents=True, exist_ok=True)
    handle = os.open(home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{home}: another run is watching here; wait for it to end") from None
        yield
    finally:
        os.close(handle)


def _shifted(day: str, by: int) -> str:
    return str(np.datetime64(day, "D") + by)


def _start(day: str) -> int:
    return int(np.datetime64(day, "D").astype(np.int64)) * DAY
