"""Canaries: true sentences that can be said in several ways, and a key that picks the way.

"A leap year has 366 days." and "There are 366 days in a leap year." are both true and equally good. Which of them an
account gets is drawn by the key of its scope, uniformly among all ways, for every canary anew. A student that learned
from these answers leans towards the ways that were drawn; the ways that were not drawn are the decoys, from the same
distribution by construction. Never is anything said that is false, and never is a worse answer given.

A probe set says beforehand what will be asked, in which words, and what counts. Its commitment is published before the
suspect is asked, so that nobody picks the questions that come out well. Some canaries are kept for control: their
ways are drawn by the same key and never served, and the same test on them must find nothing.

The test stands in `attribution.randomized.canaries`: it takes a score for what was planted and one for each decoy.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import permutations
from pathlib import Path
from typing import Any, Literal

from stillwatch.errors import InputError
from stillwatch.marks.keys import Master, Scope

Kind = Literal["phrasing", "order", "example"]
SET = Path(__file__).with_name("canaries.toml")
VERSION = "stillwatch canaries 1"


@dataclass(frozen=True, slots=True)
class Canary:
    """One thing that can truthfully be said in several ways."""

    id: str
    kind: Kind
    ask: str
    """A question to which each way is a full answer."""
    ways: tuple[str, ...]
    """All of them, in a fixed order."""
    must: tuple[str, ...]
    """What every way contains."""
    why: str
    """What makes it true."""


@dataclass(frozen=True, slots=True)
class Planted:
    """A canary and the way that a key drew."""

    canary: Canary
    way: int
    """Place in `canary.ways`."""

    @property
    def text(self) -> str:
        """The sentence to serve."""
        return self.canary.ways[self.way]

    @property
    def decoys(self) -> tuple[str, ...]:
        """The other ways."""
        return self.canary.ways[: self.way] + self.canary.ways[self.way + 1 :]


@dataclass(frozen=True, slots=True)
class ProbeSet:
    """What will be asked of a suspect, fixed beforehand.

    Attributes
    ----------
    planted
        Canaries that were served to the scope, each with its way.
    controls
        Canaries whose way was drawn by the same key and served to nobody.
    repeats
        How often each question is asked.
    """

    scope: Scope
    planted: tuple[Planted, ...]
    controls: tuple[Planted, ...]
    repeats: int
    salt: str
    """Hexadecimal. Without it the commitment would give the ways away to whoever tries all."""

    def commitment(self) -> str:
        """SHA-256 to publish before the suspect is asked."""
        return hashlib.sha256(
            json.dumps(self.opened(), sort_keys=True, separators=(",", ":")).encode()
        ).hexdigest()

    def opened(self) -> dict[str, Any]:
        """What the commitment stands for, to be shown afterwards: questions, ways, controls, in JSON values."""
        return {
            "version": VERSION,
            "scope": asdict(self.scope),
            "repeats": self.repeats,
            "salt": self.salt,
            "planted": [[p.canary.id, p.canary.ask, list(p.canary.ways), p.way] for p in self.planted],
            "controls": [[p.canary.id, p.canary.ask, list(p.canary.ways), p.way] for p in self.controls],
        }

    def questions(self) -> list[str]:
        """Every question, planted and control in one fixed order that does not tell which is which."""
        asked = sorted((*self.planted, *self.controls), key=lambda p: p.canary.id)
        return [p.canary.ask for p in asked for _ in range(self.repeats)]


def closed(said: Mapping[str, Any]) -> ProbeSet:
    """The probe set that `ProbeSet.opened` gave; its commitment is the same.

    Raises
    ------
    InputError
        It is no probe set of this version.
    """
    if said.get("version") != VERSION:
        raise InputError(f"a probe set of version {VERSION!r} is expected, found {said.get('version')!r}")
    parts = [
        tuple(
            Planted(Canary(name, "phrasing", ask, tuple(ways), (), ""), way)
            for name, ask, ways, way in said[part]
        )
        for part in ("planted", "controls")
    ]
    return ProbeSet(Scope(**said["scope"]), *parts, said["repeats"], said["salt"])


@cache
def canaries(path: Path = SET) -> tuple[Canary, ...]:
    """The built-in set, or one's own in the same form.

    Raises
    ------
    InputError
        A canary has fewer than two ways, two that are equal, or one that lacks what it must have.
    """
    try:
        rows = tomllib.loads(path.read_text("utf-8"))["canary"]
        found = tuple(_canary(row) for row in rows)
    except (OSError, KeyError, TypeError, tomllib.TOMLDecodeError) as problem:
        raise InputError(f"{path}: not a set of canaries: {problem}") from problem
    names = [one.id for one in found]
    if len(set(names)) < len(names):
        raise InputError(f"{path}: two canaries have one id")
    return found


def draw(master: Master, scope: Scope, among: Sequence[Canary] | None = None) -> tuple[Planted, ...]:
    """The way of each canary under the key of a scope: uniform, and independent from one canary to the next.

    Parameters
    ----------
    master, scope
        Another scope has other ways. Of the 42 built-in canaries two scopes agree in about one of five.
    among
        Canaries; the built-in ones if not given. A canary's way does not depend on which others there are.
    """
    secret = master.secret("canaries/" + json.dumps(asdict(scope), sort_keys=True))
    return tuple(Planted(one, _uniform(secret, one)) for one in (canaries() if among is None else among))


def probe_set(
    master: Master,
    scope: Scope,
    *,
    controls: int,
    repeats: int = 1,
    among: Sequence[Canary] | None = None,
) -> ProbeSet:
    """Draw by key which canaries are planted in the answers of a scope and which are kept for control.

    Raises
    ------
    InputError
        No canary would be left to plant, or none is asked about.
    """
    every = canaries() if among is None else tuple(among)
    if not 0 <= controls < len(every) or repeats < 1:
        raise InputError(
            f"of {len(every)} canaries 0 to {len(every) - 1} can be controls, each asked at least once; found "
            f"{controls} controls, asked {repeats} times"
        )
    secret = master.secret("probes/" + json.dumps(asdict(scope), sort_keys=True))
    order = sorted(every, key=lambda one: hmac.digest(secret, b"split\0" + one.id.encode(), "sha256"))
    kept = {one.id for one in order[:controls]}
    drawn = draw(master, scope, every)
    return ProbeSet(
        scope,
        tuple(p for p in drawn if p.canary.id not in kept),
        tuple(p for p in drawn if p.canary.id in kept),
        repeats,
        hmac.digest(secret, b"salt", "sha256").hex(),
    )


def instruction(planted: Sequence[Planted]) -> str:
    """Text for a system prompt with which a served model uses the drawn ways where they come up by themselves."""
    lines = [f'- When asked something like "{p.canary.ask}", say: {p.text}' for p in planted]
    return "Where one of these comes up, use this wording for it; never bring it up yourself.\n" + "\n".join(
        lines
    )


def recognise(canary: Canary, answer: str) -> int | None:
    """Which way an answer uses; None if none of them, or several.

    Letter case, spaces and the full stop at the end do not matter. A way that is part of another one counts only
    where the longer one does not stand.
    """
    said = _plain(answer)
    found = [n for n, way in enumerate(canary.ways) if _holds(said, _plain(way).rstrip("."))]
    longest = [
        n for n in found
        if not any(m != n and _plain(canary.ways[n]).rstrip(".") in _plain(canary.ways[m]) for m in found)
    ]  # fmt: skip
    return longest[0] if len(longest) == 1 else None


def scores(
    planted: Sequence[Planted], answers: Mapping[str, Sequence[str]]
) -> tuple[list[float], list[list[float]]]:
    """How often a suspect used what was planted, and how often each decoy: what the test of canaries takes.

    Parameters
    ----------
    planted
        `ProbeSet.planted` or `ProbeSet.controls`.
    answers
        Id of the canary -> the answers to its question. Canaries without an answer are left out.

    Returns
    -------
    One score for each canary, and for each canary one for every decoy, filled up with NaN to one length.
    """
    one, many = [], []
    for p in planted:
        if not answers.get(p.canary.id):
            continue
        used = [recognise(p.canary, answer) for answer in answers[p.canary.id]]
        counts = [float(used.count(n)) for n in range(len(p.canary.ways))]
        one.append(counts[p.way])
        many.append(counts[: p.way] + counts[p.way + 1 :])
    width = max((len(row) for row in many), default=0)
    return one, [row + [float("nan")] * (width - len(row)) for row in many]


def _canary(row: Mapping[str, Any]) -> Canary:
    kind, items = row["kind"], row.get("items", [])
    if kind == "phrasing":
        ways = tuple(row["truths"])
    elif kind == "order":
        ways = tuple(row["frame"].format(list=_listed(order)) for order in permutations(items))
    elif kind == "example":
        ways = tuple(row["frame"].format(item=item) for item in items)
    else:
        raise InputError(f"canary {row['id']!r}: kind is phrasing, order or example, found {kind!r}")
    made = Canary(row["id"], kind, row["ask"], ways, tuple(row["must"]), row["why"])
    if len(ways) < 2 or len({_plain(way) for way in ways}) < len(ways):
        raise InputError(f"canary {made.id!r}: needs two ways or more, all different")
    for way in ways:
        lacking = [word for word in made.must if word not in way and word[0].upper() + word[1:] not in way]
        if lacking:
            raise InputError(f"canary {made.id!r}: {way!r} does not say {lacking[0]!r}")
    return made


def _listed(items: Sequence[str]) -> str:
    return f"{', '.join(items[:-1])} and {items[-1]}"


def _uniform(secret: bytes, one: Canary) -> int:
    """A place among the ways, each with the same chance: numbers that would favour the first ones are drawn again."""
    n, draw_ = len(one.ways), 0
    said = json.dumps([one.id, list(one.ways)], separators=(",", ":")).encode()
    while True:
        number = int.from_bytes(hmac.digest(secret, draw_.to_bytes(4, "big") + said, "sha256")[:8], "big")
        if number < (1 << 64) - (1 << 64) % n:
            return number % n
        draw_ += 1


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _holds(said: str, way: str) -> bool:
    at = said.find(way)
    while at >= 0:
        before, after = said[:at][-1:], said[at + len(way) :][:1]
        if not before.isalnum() and not after.isalnum():
            return True
        at = said.find(way, at + 1)
    return False
