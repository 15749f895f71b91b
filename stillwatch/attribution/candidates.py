"""The keys that a suspect's predictions are held against: every one that served, and as many that never did."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

from stillwatch.errors import InputError
from stillwatch.marks.keys import MarkKey, Master, Scope
from stillwatch.marks.register import Serving
from stillwatch.marks.widths import reader

DECOYS = 200
FROM_A_GENERATOR = ("markllm_exp", "markllm_kgw", "synthid_table", "transformers_red_green")
"""Schemes whose lists come from torch's generator: drawn on a GPU they are others, which no reader here makes."""


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


def candidates(
    servings: Sequence[Serving], master: Master, *, decoys: int = DECOYS
) -> tuple[list[Candidates], list[str]]:
    """Group what the register holds by scheme and parameters, and draw decoys for each group.

    Parameters
    ----------
    servings
        Those whose keys are to be tried: all that ever served, or those somebody chose before asking the suspect.
    decoys
        Keys of the null for each group, at least 200.

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
    groups: dict[str, tuple[str, dict[str, Any], dict[str, str], dict[str, MarkKey]]] = {}
    left_out = []
    for serving in servings:
        key = master.key(serving.scheme, serving.scope)
        if key.fingerprint != serving.fingerprint:
            left_out.append(
                f"key {serving.fingerprint} of master {serving.master} is not derived from this one"
            )
            continue
        if serving.scheme in FROM_A_GENERATOR and serving.device != "cpu":
            left_out.append(
                f"key {serving.fingerprint} marked on {serving.device}: {serving.scheme} draws other lists there"
            )
            continue
        parameters = serving.for_reader(reader(serving.scheme).read)
        if lacking := _lacking(serving.scheme, parameters):
            left_out.append(
                f"key {serving.fingerprint}: the register lacks {lacking}, which {serving.scheme} needs"
            )
            continue
        name = json.dumps([serving.scheme, parameters], sort_keys=True)
        _, _, scopes, keys = groups.setdefault(name, (serving.scheme, parameters, {}, {}))
        scopes[serving.fingerprint], keys[serving.fingerprint] = str(serving.scope), key
    return [_with_decoys(*groups[name], master, decoys) for name in sorted(groups)], left_out


def _lacking(scheme: str, parameters: dict[str, Any]) -> str:
    """Settings without which the scheme cannot read."""
    taken = signature(reader(scheme).read).parameters.values()
    needed = [p.name for p in taken if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    return ", ".join(name for name in needed if name not in parameters)


def _with_decoys(
    scheme: str,
    parameters: dict[str, Any],
    scopes: dict[str, str],
    keys: dict[str, MarkKey],
    master: Master,
    number: int,
) -> Candidates:
    drawn = master.decoys(scheme, Scope(), number)
    return Candidates(
        scheme,
        parameters,
        scopes,
        {name: key.as_read() for name, key in keys.items()},
        tuple(key.as_read() for key in drawn),
        tuple(key.fingerprint for key in drawn),
    )
