"""The world that scenarios fill: accounts and requests as columns of integers, nothing written yet."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from stillwatch.lab.arrivals import DAY, Clients
from stillwatch.lab.prompts import Prompts
from stillwatch.lab.texts import Range

START = int(datetime(2026, 11, 2, tzinfo=UTC).timestamp())
"""First second of every composed log: a Monday. A log says when it happened, never when it was made."""

NONE = -1

ACCOUNT_COLUMNS = {
    "created": np.int64,  # seconds
    "organization": np.int32,
    "plan": np.int8,
    "payment": np.int32,
    "card": np.int8,
    "email": np.int8,
    "device": np.int32,
    "signup_prefix": np.int32,
    "verification": np.int8,
    "contract": np.float64,  # requests a month, 0 without contract
    "exempt": np.int8,  # a place in people.EXEMPTIONS, NONE without one
    "zone": np.int8,  # hours east of UTC
    "home": np.int32,  # the account's prefixes
    "second": np.int32,
    "agent": np.int8,
    "model": np.int8,
    "temperature": np.float32,  # NaN: not sent
    "max_tokens": np.int32,  # 0: not sent
    "opens": np.float64,  # seconds since the start between which it sends at all
    "closes": np.float64,
    "adopts": np.float64,  # seconds since the start at which it moves to a new model; NaN: like everybody
    "refusal": np.float32,  # chance that a request is refused; NaN: like everybody
    "sampling": np.float32,  # chance that it asks for several choices, and for logprobs; NaN: like everybody
    "keys": np.int8,  # credentials; 0: as many as anybody
}

DEFAULTS: dict[str, float] = {
    "opens": -np.inf,
    "closes": np.inf,
    "adopts": np.nan,
    "refusal": np.nan,
    "sampling": np.nan,
    "keys": 0,
}
"""Of columns that most kinds of accounts leave out."""

ROW_COLUMNS = {
    "account": np.int32,
    "time": np.int64,  # microseconds
    "conversation": np.int32,
    "turn": np.int16,
    "system": np.int32,  # constant text
    "head": np.int32,
    "tail": np.int32,
    "lo": np.int32,  # body of the last user message, as in lab.texts
    "span": np.int32,
    "k": np.int16,
    "seed": np.uint64,
    "prefix": np.int32,
    "output": np.float32,  # median output tokens
    "campaign": np.bool_,
}


@dataclass(slots=True)
class World:
    """Everything a scenario needs. `rng(name)` gives one stream per purpose, so parts do not disturb each other."""

    seed: int
    days: int
    honest_accounts: int
    sharing: float
    share: float
    prompts: Prompts
    clients: Clients
    n_accounts: int = 0
    conversations: int = 0
    roles: list[tuple[int, str, str, str]] = field(default_factory=list)
    """(number of accounts, role, campaign, group), in the order in which they were added."""
    accounts: list[dict[str, np.ndarray]] = field(default_factory=list)
    rows: list[dict[str, np.ndarray]] = field(default_factory=list)
    constants: list[np.ndarray] = field(default_factory=list)
    n_constants: int = 0
    counters: dict[str, int] = field(default_factory=dict)
    release: float | None = None
    """Seconds since the start at which a new model comes out."""
    actions: list[tuple[int, float, float, str, str]] = field(default_factory=list)
    """What the provider did: (account, seconds since the start, seconds when it was lifted or inf, rung, reason)."""

    @property
    def seconds(self) -> float:
        """Length of the log."""
        return float(self.days * DAY)

    def rng(self, name: str) -> np.random.Generator:
        """A stream of its own for `name`; the same seed and name give the same stream."""
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])

    def take(self, kind: str, n: int = 1) -> np.ndarray:
        """`n` fresh integers of one kind of identifier (payment tokens, organisations, devices, prefixes)."""
        first = self.counters.get(kind, 0)
        self.counters[kind] = first + n
        return np.arange(first, first + n)

    def add_accounts(
        self, role: str, columns: Mapping[str, np.ndarray], *, group: str = "", campaign: str = ""
    ) -> np.ndarray:
        """Add accounts that have one role; gives their indices."""
        n = len(columns["created"])
        full = {**DEFAULTS, **columns}
        self.accounts.append({c: np.broadcast_to(full[c], n).astype(t) for c, t in ACCOUNT_COLUMNS.items()})
        self.roles.append((n, role, campaign, group))
        self.n_accounts += n
        return np.arange(self.n_accounts - n, self.n_accounts)

    def account(self, column: str, index: np.ndarray) -> np.ndarray:
        """Values of an account column for indices that `add_accounts` gave."""
        return np.concatenate([a[column] for a in self.accounts])[index]

    def act(self, account: int, seconds: float, rung: str, reason: str, lifted: float = np.inf) -> None:
        """Note that the provider did something to an account; what follows from it is the caller's to compose."""
        self.actions.append((int(account), float(seconds), float(lifted), rung, reason))

    def constant(self, where: Range, k: int | np.ndarray, seed: np.ndarray) -> np.ndarray:
        """Name texts that stand in many requests (system prompts, wrappers, templates); gives their indices.

        `seed` 0 is the original wording of one template of `where`, chosen by nobody: give a `Range` of span 1.
        """
        n = len(seed)
        block = np.empty((n, 4), np.uint64)
        block[:, 0], block[:, 1], block[:, 2], block[:, 3] = where.lo, where.span, k, seed
        self.constants.append(block)
        self.n_constants += n
        return np.arange(self.n_constants - n, self.n_constants)

    def public(self, which: np.ndarray) -> np.ndarray:
        """Constant texts that are copies of public text number `which`."""
        where = self.prompts["public"]
        block = np.zeros((len(which), 4), np.uint64)
        block[:, 0], block[:, 1], block[:, 2] = where.lo + which % where.span, 1, 1
        self.constants.append(block)
        self.n_constants += len(which)
        return np.arange(self.n_constants - len(which), self.n_constants)

    def constant_table(self) -> np.ndarray:
        """All constant texts: rows of (lo, span, k, seed)."""
        if len(self.constants) > 1:
            self.constants[:] = [np.concatenate(self.constants)]
        return self.constants[0] if self.constants else np.zeros((0, 4), np.uint64)

    def add_rows(
        self,
        rng: np.random.Generator,
        account: np.ndarray,
        seconds: np.ndarray,
        body: Range,
        *,
        k: int | np.ndarray = 1,
        seed: np.ndarray | None = None,
        session: np.ndarray | None = None,
        turn: np.ndarray | None = None,
        follow: Range | None = None,
        system: int | np.ndarray = NONE,
        head: int | np.ndarray = NONE,
        tail: int | np.ndarray = NONE,
        prefix: np.ndarray | None = None,
        output: float | np.ndarray = 250.0,
        campaign: bool = False,
    ) -> None:
        """Add requests. Rows of one session must stand next to each other, turns in order.

        Rows after the end of the log or after their account closed, and whole sessions that start before their
        account existed or opened, are left out.
        A later turn takes its body from `follow` and has no head or tail: those stand in the history.
        """
        n = len(account)
        if n == 0:
            return
        turn = np.ones(n, np.int16) if turn is None else turn
        born = np.maximum(self.account("created", account) - START, self.account("opens", account))
        begins = np.maximum.accumulate(np.where(turn == 1, np.arange(n), 0))
        keep = (seconds < self.seconds) & (seconds >= 0) & (seconds[begins] >= born)
        keep &= seconds < self.account("closes", account)
        later = turn > 1
        lo = np.full(n, body.lo)
        span = np.full(n, body.span)
        k = np.broadcast_to(k, n).copy()
        if follow is not None:
            lo[later], span[later], k[later] = follow.lo, follow.span, 1
        drawn = rng.integers(1, 2**63, n).astype(np.uint64)
        if seed is not None:
            drawn = np.where(later, drawn, seed)
        if session is None:
            conversation = np.full(n, NONE)
        else:
            conversation = self.conversations + session
            self.conversations += int(session.max()) + 1
        if prefix is None:
            home, second = self.account("home", account), self.account("second", account)
            prefix = np.where(rng.random(n) < 0.15, second, home)
        values = {
            "account": account,
            "time": START * 1_000_000 + (seconds * 1e6).astype(np.int64),
            "conversation": conversation,
            "turn": turn,
            "system": np.broadcast_to(system, n),
            "head": np.where(later, NONE, head),
            "tail": np.where(later, NONE, tail),
            "lo": lo,
            "span": span,
            "k": k,
            "seed": drawn,
            "prefix": prefix,
            "output": np.broadcast_to(output, n),
            "campaign": np.full(n, campaign),
        }
        self.rows.append({c: np.ascontiguousarray(values[c][keep]).astype(t) for c, t in ROW_COLUMNS.items()})
