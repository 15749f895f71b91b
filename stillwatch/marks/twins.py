"""The draw of twins: two answers, a coin that was fixed beforehand, one is served and the other is kept.

Of a chosen share of the exchanges the caller draws two answers. A fair coin says which is served; the other goes into
the ledger and to nobody. A model that leans towards the served ones has seen them: no answer that a coin withheld can
be told from one it served by anything but that (`attribution.randomized.twins`).

So that nobody can say later that the coins were chosen:

1. *Before the day* its `Commitment` is published: the digest of the day's seed and of the share. Which exchanges have
   a twin and how each coin falls is then fixed by the exchange id alone.
2. *After the day* its `Tally` is published: how many twins there were, and the root of a Merkle tree over them. Which
   pairs there are is then fixed; none can be left out, added or turned later.
3. *When it comes to a test* the day's seed is opened, and `verify` checks all of it. A day's seed opens no other day.

The two answers of a pair are put into the order of their digests before the coin falls, so that calling the other
one "the first" changes nothing. What remains: whoever holds the seed could invent exchange ids, or draw answers again,
until a coin falls as wished. It gains nothing from it as long as the tally was published (with a time stamp, RFC 3161)
before the model that is tested existed, because nobody can know which of the two that model will prefer.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from stillwatch.errors import InputError, IntegrityError
from stillwatch.marks import merkle
from stillwatch.marks.keys import Master, Scope

VERSION = "stillwatch twins 1"


@dataclass(frozen=True, slots=True)
class Commitment:
    """What is published before a day."""

    day: str
    """``2026-12-01``, UTC."""
    share: float
    """Share of the exchanges that get a twin."""
    scope: str
    """Whom the day's draw is for, as a digest: 16 hexadecimal digits."""
    digest: str
    """SHA-256 over all of it and the day's seed."""

    def line(self) -> str:
        """One line to publish and to have time-stamped."""
        return json.dumps(asdict(self), sort_keys=True)


@dataclass(frozen=True, slots=True)
class Tally:
    """What is published after a day."""

    day: str
    twins: int
    root: str
    """Merkle root over the day's twins, in the order in which they were drawn."""
    commitment: str
    """`Commitment.digest` of that day."""

    def line(self) -> str:
        """One line to publish and to have time-stamped."""
        return json.dumps(asdict(self), sort_keys=True)


@dataclass(frozen=True, slots=True)
class Twin:
    """One pair of answers and how its coin fell."""

    day: str
    exchange_id: str
    low: str
    """SHA-256 of the answer whose digest is the smaller."""
    high: str
    coin: int
    """0: the answer `low` was served; 1: the answer `high`."""
    scope: str = ""
    """`Commitment.scope` of its draw; empty in older notes. A day can have a draw for each of several scopes."""

    def note(self) -> dict[str, Any]:
        """As the note of the answer's ledger entry."""
        said = {"day": self.day, "low": self.low, "high": self.high, "coin": self.coin}
        return {"twin": said | ({"scope": self.scope} if self.scope else {})}

    @classmethod
    def from_note(cls, exchange_id: str, note: Mapping[str, Any]) -> Twin | None:
        """The twin of a ledger entry, if it has one.

        Raises
        ------
        InputError
            The note has something else in its place.
        """
        said = note.get("twin")
        if said is None:
            return None
        try:
            return cls(
                said["day"], exchange_id, said["low"], said["high"], int(said["coin"]), said.get("scope", "")
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            raise InputError(
                f"exchange {exchange_id[:60]!r}: its note has no twin as `Twin.note` writes it"
            ) from None


class Day:
    """The draw of one day: its seed is in here, so it is printed as its commitment and never pickled.

    Parameters
    ----------
    master
        The master key.
    day
        ``2026-12-01``. The day of the exchange's own time, UTC, not of the clock of who writes it down.
    share
        Share of the exchanges that get a twin, 0 to 1. Answers cost twice there.
    scope
        Whom it is for; other scopes have other seeds.
    """

    __slots__ = ("_seed", "commitment", "day", "share")

    def __init__(self, master: Master, day: str, *, share: float, scope: Scope | None = None) -> None:
        _check_day(day, share)
        named = json.dumps(asdict(scope or Scope()), sort_keys=True)
        self.day, self.share = day, float(share)
        self._seed = master.secret(f"twins/{day}/{self.share!r}/{named}")
        shown = hashlib.sha256(b"twins scope\0" + self._seed + named.encode()).hexdigest()[:16]
        self.commitment = Commitment(day, self.share, shown, _commit(day, self.share, shown, self._seed))

    def selects(self, exchange_id: str) -> bool:
        """Whether this exchange gets a twin: say so before any answer is drawn."""
        return _selects(self._seed, self.share, exchange_id)

    def coin(self, exchange_id: str) -> int:
        """How the coin of an exchange falls, whatever its two answers are; see `Twin.coin`."""
        return _coin(self._seed, exchange_id)

    def draw(self, exchange_id: str, first: str, second: str) -> tuple[int, Twin] | None:
        """Let the coin fall over two answers to one exchange.

        Parameters
        ----------
        exchange_id
            One that `selects` picked.
        first, second
            The two answers, drawn in the same way, one independent of the other.

        Returns
        -------
        Which to serve (0: the first, 1: the second) and the twin, or None where both are the same text: then there is
        nothing to withhold.

        Raises
        ------
        InputError
            The exchange was not picked.
        """
        if not self.selects(exchange_id):
            raise InputError(f"exchange {exchange_id[:60]!r} is none of those that get a twin on {self.day}")
        one, two = digest_of(first), digest_of(second)
        if one == two:
            return None
        coin = self.coin(exchange_id)
        twin = Twin(self.day, exchange_id, min(one, two), max(one, two), coin, self.commitment.scope)
        served = twin.low if twin.coin == 0 else twin.high
        return (0 if served == one else 1), twin

    def tally(self, twins: Iterable[Twin]) -> Tally:
        """What to publish after the day: over all its twins, in the order in which they were drawn.

        Raises
        ------
        InputError
            A twin is of another day, or an exchange has two.
        """
        listed = list(twins)
        names = {twin.exchange_id for twin in listed}
        if len(names) < len(listed) or any(twin.day != self.day for twin in listed):
            raise InputError(f"the twins of {self.day}: one of another day, or an exchange with two")
        root = merkle.root([_leaf(self._seed, twin) for twin in listed])
        return Tally(self.day, len(listed), root.hex(), self.commitment.digest)

    def open(self) -> str:
        """The day's seed in hexadecimal, for whoever checks the coins. It opens this day and no other."""
        return self._seed.hex()

    def __repr__(self) -> str:
        return f"Day({self.commitment})"

    def __reduce_ex__(self, protocol: object) -> str:
        raise InputError("the seed of a day is not pickled; hand on the master's path, the day and the share")


def verify(
    commitment: Commitment,
    tally: Tally,
    twins: Sequence[Twin],
    seed: str,
) -> int:
    """Check that every coin of a day fell as it was committed, and that no pair was left out; the number of pairs.

    Needs no key: whoever was shown the opened seed can run it.

    Parameters
    ----------
    commitment, tally
        As they were published.
    twins
        All twins of the day, in the order of the tally.
    seed
        What `Day.open` gave.

    Raises
    ------
    IntegrityError
        Names what does not fit: the seed, the first pair that is wrong, the number of pairs, or the list as a whole.
    """
    raw = _seed(seed)
    found = _commit(commitment.day, commitment.share, commitment.scope, raw)
    if not hmac.compare_digest(found, commitment.digest):
        raise IntegrityError(f"seed of {commitment.day}", commitment.digest, found)
    if tally.commitment != commitment.digest or tally.day != commitment.day:
        raise IntegrityError(f"tally of {tally.day}", f"for {commitment.digest}", f"for {tally.commitment}")
    seen: set[str] = set()
    for n, twin in enumerate(twins):
        item = f"twin {n} of {commitment.day} ({twin.exchange_id[:60]})"
        own = twin.day == commitment.day and twin.scope in ("", commitment.scope)
        if not own or twin.exchange_id in seen or not twin.low < twin.high:
            raise IntegrityError(item, "of one pair of that day, in order", "another")
        if not _selects(raw, commitment.share, twin.exchange_id):
            raise IntegrityError(item, "of an exchange that was picked", "one that was not")
        if twin.coin != (coin := _coin(raw, twin.exchange_id)):
            raise IntegrityError(item, f"with coin {coin}", f"coin {twin.coin}")
        seen.add(twin.exchange_id)
    if len(twins) != tally.twins:
        raise IntegrityError(f"twins of {tally.day}", f"of {tally.twins} pairs", f"{len(twins)}")
    root = merkle.root([_leaf(raw, twin) for twin in twins]).hex()
    if root != tally.root:
        raise IntegrityError(f"twins of {tally.day}", tally.root, root)
    return len(twins)


def without_twin(
    commitment: Commitment, twins: Iterable[Twin], seed: str, exchanges: Iterable[str]
) -> list[str]:
    """Exchanges that the draw picked and that have no pair: the two answers were equal, or somebody left them out.

    Parameters
    ----------
    exchanges
        Ids of all exchanges of the day.
    """
    raw, have = _seed(seed), {twin.exchange_id for twin in twins}
    return [x for x in exchanges if x not in have and _selects(raw, commitment.share, x)]


def digest_of(answer: str) -> str:
    """SHA-256 of an answer's text."""
    return hashlib.sha256(answer.encode("utf-8", "surrogatepass")).hexdigest()


def _seed(text: str) -> bytes:
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise InputError("the seed of a day is 64 hexadecimal digits, as `Day.open` gives it")
    return raw


def _commit(day: str, share: float, scope: str, seed: bytes) -> str:
    said = json.dumps([VERSION, day, float(share), scope], separators=(",", ":")).encode()
    return hashlib.sha256(said + b"\0" + seed).hexdigest()


def _selects(seed: bytes, share: float, exchange_id: str) -> bool:
    drawn = int.from_bytes(hmac.digest(seed, b"pick\0" + exchange_id.encode(), "sha256")[:8], "big")
    return drawn < share * 2.0**64


def _coin(seed: bytes, exchange_id: str) -> int:
    return hmac.digest(seed, b"coin\0" + exchange_id.encode(), "sha256")[0] & 1


def _leaf(seed: bytes, twin: Twin) -> bytes:
    # Keyed, so that a published root says nothing of the answers until the seed is opened.
    said = json.dumps([twin.day, twin.exchange_id, twin.low, twin.high, twin.coin], separators=(",", ":"))
    return merkle.leaf(hmac.digest(seed, b"leaf\0" + said.encode(), "sha256"))


def _check_day(day: str, share: float) -> None:
    try:
        date.fromisoformat(day)
    except ValueError:
        raise InputError(f"a day such as 2026-12-01 is expected, found {day[:40]!r}") from None
    if not 0 <= share <= 1 or len(day) != 10:
        raise InputError(f"the share of twins lies between 0 and 1, found {share}")
