"""Which key, by its fingerprint, of which scheme served whom, from when until when, with what settings.

A test of a suspect has to try every configuration that ever served, and no other; and somebody must be able to check
later that a key was in use before the suspect was trained. So the register is a `Chain`: append-only, under the
master's seal. It holds fingerprints and never a key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from inspect import signature
from pathlib import Path
from typing import Any

from stillwatch.errors import InputError, IntegrityError
from stillwatch.marks.chain import Chain
from stillwatch.marks.keys import MarkKey, Master, Scope
from stillwatch.marks.twins import Commitment

MADE, BEGINS, ENDS = "master.made", "serving.begins", "serving.ends"
DRAWN = "twins.committed"


@dataclass(frozen=True, slots=True)
class Serving:
    """One key in use, with the settings a reader needs to read its mark."""

    fingerprint: str
    """Of the key."""
    scheme: str
    scope: Scope
    parameters: dict[str, Any]
    """Keyword arguments of the scheme's `read`, beside tokens and keys, and of the engine."""
    device: str
    """``cpu`` or ``cuda``: some marks made on one cannot be read on the other."""
    engine: str
    """Program and version that served, as somebody said."""
    master: str
    """Fingerprint of the master that the key comes from."""
    begins: str
    """ISO 8601, UTC."""
    ends: str = ""
    """Empty: it still serves."""

    def active(self, at: datetime) -> bool:
        """Whether it served at that moment."""
        return _time(self.begins) <= at and (not self.ends or at < _time(self.ends))

    def for_reader(self, read: Callable[..., Any]) -> dict[str, Any]:
        """Those of the parameters that a scheme's `read` takes; the others are the engine's own affair."""
        taken = signature(read).parameters
        return {name: value for name, value in self.parameters.items() if name in taken}


class Register:
    """The register in one file; see the module's docstring.

    Parameters
    ----------
    path
        Such as ``stillwatch-data/marks/register.jsonl``; its folder is made by the first entry.
    """

    def __init__(self, path: Path) -> None:
        self.chain = Chain(path)

    def made(self, master: Master, how: str, *, by: str) -> None:
        """Note that a master key is in use from now on; `how` is ``file`` or ``command``."""
        self.chain.append(master, [(MADE, {"how": how, "by": by})])

    def begin(
        self,
        master: Master,
        key: MarkKey,
        parameters: Mapping[str, Any],
        *,
        device: str,
        engine: str = "",
        at: datetime | None = None,
        by: str,
    ) -> Serving:
        """Note that a key serves from `at` (now if not given) on.

        Raises
        ------
        InputError
            The key is a decoy, serves already, or a parameter gives it away.
        """
        serving = _new(master, key, parameters, device=device, engine=engine, at=_moment(at))
        if any(one.fingerprint == key.fingerprint and not one.ends for one in self.servings()):
            raise InputError(f"key {key.fingerprint} ({key.scope}) serves already; end or rotate it first")
        self.chain.append(master, [(BEGINS, _body(serving, by))])
        return serving

    def end(
        self, master: Master, fingerprint: str, *, at: datetime | None = None, by: str, why: str
    ) -> Serving:
        """Note that a key no longer serves."""
        serving = self.current(fingerprint)
        ended = replace(serving, ends=_after(serving, _moment(at)))
        self.chain.append(master, [(ENDS, _end_body(ended, by, why))])
        return ended

    def rotate(
        self, master: Master, old: str, new: MarkKey, *, at: datetime | None = None, by: str, why: str
    ) -> Serving:
        """One key ends and another begins with the same settings, in one step."""
        serving = self.current(old)
        if new.scheme != serving.scheme or new.fingerprint == serving.fingerprint:
            raise InputError(f"key {new.fingerprint} ({new.scheme}) cannot follow {old} ({serving.scheme})")
        ended = replace(serving, ends=_after(serving, _moment(at)))
        begun = _new(
            master, new, serving.parameters, device=serving.device, engine=serving.engine, at=ended.ends
        )
        if any(one.fingerprint == begun.fingerprint and not one.ends for one in self.servings()):
            raise InputError(f"key {begun.fingerprint} ({begun.scope}) serves already")
        self.chain.append(master, [(ENDS, _end_body(ended, by, why)), (BEGINS, _body(begun, by))])
        return begun

    def drawn(self, master: Master, commitment: Commitment, scope: Scope, *, by: str) -> None:
        """Note the commitment to a day's twins, and whom the draw is for: what is published names him by a digest.

        Raises
        ------
        InputError
            The day's draw for this scope was committed with another share.
        """
        for before, whom in self.draws():
            if before.day == commitment.day and whom == scope:
                if before.digest == commitment.digest:
                    return
                raise InputError(
                    f"the twins of {before.day} for {scope} were committed with a share of {before.share:g} already"
                )
        body = asdict(commitment) | {"whom": asdict(scope), "by": by}
        self.chain.append(master, [(DRAWN, body)])

    def draws(self) -> list[tuple[Commitment, Scope]]:
        """Every draw of twins that was committed, and whom it is for."""
        names = Commitment.__slots__
        return [
            (Commitment(**{name: entry.body[name] for name in names}), Scope(**entry.body["whom"]))
            for entry in self.chain.entries()
            if entry.kind == DRAWN
        ]

    def scopes(self) -> list[Scope]:
        """Everybody whom a key or a draw of twins was ever for."""
        return list(dict.fromkeys([s.scope for s in self.servings()] + [whom for _, whom in self.draws()]))

    def servings(self) -> list[Serving]:
        """Every key that ever served, in the order in which they began.

        Raises
        ------
        IntegrityError
            The chain is broken.
        """
        return [one for _, one in self._numbered()]

    def entered_after(self, head: str) -> list[Serving]:
        """Servings whose entries follow the one with this digest, whenever they say that they began.

        Raises
        ------
        IntegrityError
            No entry has it: the register was written anew, or is another one.
        """
        place = next((entry.seq for entry in self.chain.entries() if entry.digest == head), None)
        if place is None:
            raise IntegrityError(
                f"{self.chain.path}: the entry noted elsewhere", head, "none of the entries has it"
            )
        return [one for seq, one in self._numbered() if seq > place]

    def _numbered(self) -> list[tuple[int, Serving]]:
        """Each serving with the number of the entry by which it began."""
        found: list[tuple[int, Serving]] = []
        for entry in self.chain.entries():
            body = entry.body
            if entry.kind == BEGINS:
                values = {name: body[name] for name in Serving.__slots__ if name in body}
                own = {"scope": Scope(**body["scope"]), "master": entry.master}
                found.append((entry.seq, Serving(**values | own)))
            elif entry.kind == ENDS:
                for i, (seq, one) in enumerate(found):
                    if one.fingerprint == body["fingerprint"] and not one.ends:
                        found[i] = (seq, replace(one, ends=body["ends"]))
        return found

    def current(self, fingerprint: str) -> Serving:
        """The serving of a key that is not ended; the fingerprint may be cut.

        Raises
        ------
        InputError
            None, or several, begin so.
        """
        found = [
            s for s in self.servings() if fingerprint and s.fingerprint.startswith(fingerprint) and not s.ends
        ]
        if len(found) != 1:
            raise InputError(
                f"{len(found)} keys in use have a fingerprint that begins with {fingerprint!r}; see: "
                "stillwatch watermark key list"
            )
        return found[0]

    def verify(self, masters: Sequence[Master] = (), *, head: str = "") -> int:
        """Check the chain, see `Chain.verify`; the number of entries whose seal was checked."""
        return self.chain.verify(masters, head=head)


def _new(
    master: Master, key: MarkKey, parameters: Mapping[str, Any], *, device: str, engine: str, at: str
) -> Serving:
    if key.decoy is not None:
        raise InputError(f"{key.fingerprint} is a decoy: it never serves, or it would be no null")
    if set(_numbers(dict(parameters))) & set(key.reveal()):
        raise InputError("a parameter holds the key itself; the register keeps fingerprints only")
    return Serving(
        key.fingerprint, key.scheme, key.scope, dict(parameters), device, engine, master.fingerprint, at
    )


def _numbers(value: Any) -> list[int]:
    """Whole numbers of a JSON value that are large enough to be a key, in any of their spellings."""
    if isinstance(value, dict):
        return [n for part in value.values() for n in _numbers(part)]
    if isinstance(value, (list, tuple)):
        return [n for part in value for n in _numbers(part)]
    found = [value] if isinstance(value, int) and not isinstance(value, bool) else []
    if isinstance(value, str):
        for base in (10, 16):
            try:
                found.append(int(value, base))
            except ValueError:
                continue
    return found


def _body(serving: Serving, by: str) -> dict[str, Any]:
    return asdict(serving) | {"by": by}


def _end_body(serving: Serving, by: str, why: str) -> dict[str, Any]:
    return {"fingerprint": serving.fingerprint, "ends": serving.ends, "why": why, "by": by}


def _after(serving: Serving, at: str) -> str:
    if _time(at) <= _time(serving.begins):
        raise InputError(f"key {serving.fingerprint} began at {serving.begins}; it cannot end at {at}")
    return at


def _moment(at: datetime | None) -> str:
    if at is not None and at.tzinfo is None:
        raise InputError(f"a time needs a time zone, found {at.isoformat()}")
    return (at or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="microseconds")


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
