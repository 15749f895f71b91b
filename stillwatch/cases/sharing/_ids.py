"""Ids and versions of what leaves: the same on every machine, and another for every other case, producer or content."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

import stillwatch
from stillwatch.cases.indicators import VERBATIM, Shared, withheld
from stillwatch.errors import InputError
from stillwatch.records import Case, Finding, Indicator, digest

NAMESPACE = UUID("5d0e9a52-7c4b-5e55-9d0e-4f7f5c9f2b61")
"""Of every id that is made here."""
MADE = datetime(2026, 11, 24, tzinfo=UTC)
"""When what is the same in every document was defined, and every producer with it."""


def fixed(*parts: str) -> UUID:
    """The id of something that is the same whoever shares it."""
    return uuid5(NAMESPACE, "\0".join(parts))


class Ids:
    """Ids of what one producer says of one case.

    Every store has a first case ``C-1``, so its name is no seed: its first entry is, which holds a random number. And
    who shares it is: only who created an object may take it back.

    Raises
    ------
    InputError
        The case does not say with which entry it began.
    """

    def __init__(self, case: Case, producer: str) -> None:
        if not case.opened:
            raise InputError(
                f"case {case.id} does not say with which entry it began; read it from its store to share it"
            )
        self._seed = (case.opened, producer)

    def of(self, *parts: str) -> UUID:
        """The id of something of the case, from what it is."""
        return fixed(*self._seed, *parts)

    def indicator(self, indicator: Indicator) -> UUID:
        """Of an indicator: another TLP, another end or its text withheld is the same indicator."""
        pattern = withheld(indicator.pattern) if indicator.language == VERBATIM else indicator.pattern
        return self.of("indicator", *indicator.derived_from, indicator.kind, indicator.language, pattern)


def state_of(case: Case, shared: Shared) -> str:
    """Digest of what decides what a document says: the last change of the case, the options, the program."""
    return digest([case.changed_at, newest(case).isoformat(), dict(shared.options), stillwatch.__version__])


def version_of(case: Case, shared: Shared, producer: str) -> datetime:
    """The time that a document gives to what it says, in whole seconds, since MISP counts in those.

    Another content than the last time has a later one, whatever made it another. The same content has the same, so that
    sharing twice gives the same bytes.
    """
    changed, before = newest(case), [s for s in case.shares if s.state and s.producer == producer]
    if not before:
        return changed
    last = utc(before[-1].version)
    return last if before[-1].state == state_of(case, shared) else max(changed, last + timedelta(seconds=1))


def told_before(case: Case, shared: Shared, producer: str, finding: Finding) -> bool:
    """Whether this producer shared something else of a finding before."""
    state = state_of(case, shared)
    return any(s.producer == producer and finding.id in s.findings and s.state != state for s in case.shares)


def newest(case: Case) -> datetime:
    """When the case last changed in what may leave. Notes, seals and exports do not, so they change nothing."""
    times = [
        case.opened_at,
        *([case.changed_at] if case.changed_at else []),
        *(w.at for w in case.withdrawals),
        *([case.closing.at] if case.closing and case.closing.withdrawn else []),
        *(a.received_at for a in case.answers),
        *(a.at for a in case.asked),
    ]
    return max(utc(t) for t in times)


def utc(text: str) -> datetime:
    """A time of a case, which are all ISO 8601; without a zone it is UTC. Cut to seconds.

    Raises
    ------
    InputError
        It is no time.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError as bad:
        raise InputError(f"expected a time in ISO 8601, found {text[:40]!r}") from bad
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    return found.astimezone(UTC).replace(microsecond=0)
