"""Indicators of others in a case: told apart from ours, and no longer valid once their producer takes them back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from stillwatch.cases.indicators import withheld
from stillwatch.errors import InputError
from stillwatch.records import Case, Indicator, digest

DOCUMENT, THEIRS = "sha256:", "theirs:"
"""How the sources of an imported indicator begin: the document it came in, and what that document derives it from."""
_FINDING = re.compile("[0-9a-f]{64}")


def imported(indicator: Indicator) -> bool:
    """Whether it came from somebody else's document, whatever it says of itself."""
    return any(source.startswith((DOCUMENT, THEIRS)) for source in indicator.derived_from)


def standing(case: Case) -> tuple[Indicator, ...]:
    """Indicators of a case that nobody took back."""
    gone = {r.indicator for r in case.revocations}
    return tuple(i for i in case.indicators if not gone or digest(i) not in gone)


def check_takes(case: Case, given: Sequence[Indicator]) -> None:
    """Refuse indicators for a case that takes none any more.

    Raises
    ------
    InputError
        The case is closed or withdrawn.
    """
    if given and case.status in ("closed", "withdrawn"):
        raise InputError(f"case {case.id} is {case.status}; open another: stillwatch case open TITLE")


def revoked_by(case: Case, given: Iterable[Indicator], producer: str) -> tuple[list[str], int]:
    """Digests of the imported indicators of a case that a producer takes back, and how many others it may not.

    An indicator is known again by the id that its producer gave it. The id of a finding stands for several: then kind,
    language and pattern count as well, of which the pattern may be withheld. Only who produced an indicator may take
    it back; a document says itself who that is.

    Parameters
    ----------
    given
        As the document that takes them back says them.
    """
    alone: set[str] = set()
    several: set[tuple[str, str, str, str]] = set()
    for one in given:
        for source in one.derived_from:
            if _FINDING.fullmatch(source):
                several.add((THEIRS + source, one.kind, one.language, one.pattern))
            else:
                alone.add(THEIRS + source)
    origins = {DOCUMENT + e.sha256: e.origin for e in case.evidence}
    found, others = [], 0
    for held in case.indicators if alone or several else ():
        patterns = (held.pattern, withheld(held.pattern))
        if not any(
            source in alone or any((source, held.kind, held.language, p) in several for p in patterns)
            for source in held.derived_from
        ):
            continue
        if any(origins.get(source, "").startswith(f"{producer}, ") for source in held.derived_from):
            found.append(digest(held))
        else:
            others += 1
    return found, others
