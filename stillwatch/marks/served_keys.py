"""Keys of the register with the way each is read, and keys that were drawn like them and never served.

The one place that decides which keys can be read here: `detecting` asks it for a corpus, `attribution` for a model.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from inspect import Parameter, signature
from typing import Any

from stillwatch.errors import InputError
from stillwatch.marks.keys import MarkKey, Master, Scope
from stillwatch.marks.register import Serving
from stillwatch.marks.widths import for_windows, reader


@dataclass(frozen=True, slots=True)
class Candidate:
    """A key that served, and how its mark is read."""

    serving: Serving
    key: MarkKey
    parameters: dict[str, Any]
    """Of the scheme's `read`."""

    @property
    def way(self) -> str:
        """The same for keys that are read together: scheme and parameters."""
        return json.dumps([self.serving.scheme, self.parameters], sort_keys=True, default=str)


@dataclass(frozen=True, slots=True)
class Unread:
    """A key of the register that cannot be read here."""

    serving: Serving
    why: str


def candidates(
    servings: Iterable[Serving],
    master: Master,
    *,
    fingerprints: Sequence[str] = (),
    schemes: Sequence[str] = (),
    parameters: Mapping[str, Any] | None = None,
    cut_outs: bool = False,
) -> tuple[list[Candidate], list[Unread]]:
    """Keys of the register, each with the way it is read, and those that cannot be read with the reason.

    Parameters
    ----------
    servings
        Of the register, ended ones too. A key that served twice with the same settings is read once.
    master
        From which the keys are derived.
    fingerprints, schemes
        Only keys whose fingerprint begins with one of these, and of these schemes; all where empty.
    parameters
        Taken where the register lacks one, such as `vocab_size`; what the register has stands.
    cut_outs
        Documents are pieces of answers: tokens without a whole context are left out.

    Raises
    ------
    InputError
        No key is left, or a fingerprint that was asked for begins no key.
    """
    found: dict[str, Candidate] = {}
    unread: list[Unread] = []
    asked = [
        s for s in servings
        if (not schemes or s.scheme in schemes)
        and (not fingerprints or any(s.fingerprint.startswith(f) for f in fingerprints))
    ]  # fmt: skip
    for wanted in fingerprints:
        if not wanted or not any(s.fingerprint.startswith(wanted) for s in asked):
            raise InputError(
                f"no key of the register begins with {wanted!r}; see: stillwatch watermark key list --all"
            )
    for serving in asked:
        one = _candidate(serving, master, parameters or {}, cut_outs)
        if isinstance(one, Unread):
            unread.append(one)
        else:
            found.setdefault(f"{serving.fingerprint} {one.way}", one)
    if not asked:
        named = f" of {', '.join(schemes)}" if schemes else ""
        raise InputError(f"the register has no key{named}; see: stillwatch watermark key scope SCHEME")
    return list(found.values()), unread


def _candidate(
    serving: Serving, master: Master, added: Mapping[str, Any], cut_outs: bool
) -> Candidate | Unread:
    if serving.master != master.fingerprint:
        return Unread(serving, f"comes from master {serving.master}, the one given is {master.fingerprint}")
    module = reader(serving.scheme)
    key = master.key(serving.scheme, serving.scope)
    if key.fingerprint != serving.fingerprint:
        return Unread(serving, "its shape has changed since it was entered")
    if serving.device != "cpu" and any("CUDA generator" in text for text in module.CARD.assumptions):
        return Unread(serving, "marked on a GPU, whose generator draws other lists than can be read here")
    parameters = replace(serving, parameters={**added, **serving.parameters}).for_reader(module.read)
    for name, parameter in signature(module.read).parameters.items():
        if parameter.default is Parameter.empty and name not in (*parameters, "tokens", "keys"):
            return Unread(serving, f"the register has no {name} for it; add --param {name}=VALUE")
    if cut_outs:
        parameters = for_windows(serving.scheme, parameters)
    return Candidate(serving, key, parameters)


def decoys(master: Master, scheme: str, number: int) -> tuple[MarkKey, ...]:
    """Keys of a scheme that never serve, the same for every key of it: a scope has no part in how they are drawn."""
    return tuple(master.decoys(scheme, Scope(), number))
