"""The keys that a suspect's predictions are held against: every one that served, and as many that never did."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from stillwatch.errors import InputError
from stillwatch.marks import served_keys
from stillwatch.marks.keys import Master
from stillwatch.marks.register import Serving
from stillwatch.marks.served_keys import Candidate
from stillwatch.marks.widths import own_draws

DECOYS = 200


@dataclass(frozen=True, slots=True)
class Candidates:
    """Keys of one scheme with the same parameters, which are read together."""

    scheme: str
    parameters: dict[str, Any]
    """Of the scheme's `read`."""
    scopes: dict[str, str]
    """Fingerprint -> whom the key served, in words."""
    keys: dict[str, Any] = field(repr=False)
    """Fingerprint -> the key as `read` takes it."""
    decoys: tuple[Any, ...] = field(repr=False)
    decoy_names: tuple[str, ...] = field(repr=False)
    """Fingerprints of the decoys."""
    late: frozenset[str] = frozenset()
    """Fingerprints of keys that were entered in the register after the head of it that was noted elsewhere."""


def candidates(
    servings: Sequence[Serving], master: Master, *, decoys: int = DECOYS, late: Collection[Serving] = ()
) -> tuple[list[Candidates], list[str]]:
    """Group what the register holds by scheme and parameters, and draw decoys for each group.

    Parameters
    ----------
    servings
        Those whose keys are to be tried: all that ever served, or those somebody chose before asking the suspect.
    decoys
        Keys of the null for each group, at least 200.
    late
        Those of `servings` that were entered after the head of the register that was noted elsewhere.

    Returns
    -------
    The groups, and a sentence for each serving that cannot be read: its key comes from another master, or its lists
    were drawn on a GPU.

    Raises
    ------
    InputError
        Fewer than 200 decoys.
    """
    if decoys < DECOYS:
        raise InputError(f"at least {DECOYS} decoy keys make a null, found {decoys}")
    if not servings:
        return [], []
    found, unread = served_keys.candidates(servings, master)
    groups: dict[str, list[Candidate]] = {}
    for one in found:
        groups.setdefault(one.way, []).append(one)
    return (
        [_with_decoys(groups[way], master, decoys, late) for way in sorted(groups)],
        [f"key {one.serving.fingerprint} ({one.serving.scheme}) was not read: {one.why}" for one in unread],
    )


def _with_decoys(
    group: Sequence[Candidate], master: Master, number: int, late: Collection[Serving]
) -> Candidates:
    scheme, drawn = group[0].serving.scheme, served_keys.decoys(master, group[0].serving.scheme, number)
    return Candidates(
        scheme,
        group[0].parameters,
        {one.serving.fingerprint: str(one.serving.scope) for one in group},
        {one.serving.fingerprint: one.key.as_read() for one in group},
        tuple(key.as_read() for key in drawn),
        tuple(key.fingerprint for key in drawn),
        frozenset(one.serving.fingerprint for one in group if one.serving in late),
    )


def apart(group: Candidates) -> tuple[Candidates, list[str]]:
    """The group with the keys under which every context has a draw of its own, and the fingerprints of the others."""
    own = {name: key for name, key in group.keys.items() if own_draws(group.scheme, group.parameters, key)}
    return replace(group, keys=own), [name for name in group.keys if name not in own]
