"""How many ids before a token its draw depends on, and how a scheme reads windows of them instead of whole answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from inspect import signature
from typing import Any

from stillwatch import plugins
from stillwatch.errors import InputError

_NAMES = {"context_width": 0, "context_window": 0, "prefix_length": 0, "ngram": 0, "ngram_len": 1}
"""What schemes call the width -> ids of it that are not before the token."""


def width_of(scheme: str, parameters: Mapping[str, Any]) -> int:
    """Ids before a token that its draw depends on, 1 or more.

    Parameters
    ----------
    scheme
        Name of a module of `stillwatch.marks.schemes`.
    parameters
        Of its `read`; what is not given is as the scheme has it.

    Raises
    ------
    InputError
        No such scheme, or the draw depends on the token alone.
    """
    taken = signature(reader(scheme).read).parameters
    given = {name: parameters.get(name, taken[name].default) for name in taken}
    name = next(n for n in _NAMES if n in taken)
    if scheme == "transformers_red_green":
        # The left hash takes the last id whatever the width says; the self hash counts the token itself.
        width = 1 if given["scheme"] == "lefthash" else int(given[name]) - 1
    elif given[name] is None:  # vllm_sbw: by its own scheme
        width = 1 if given["scheme"] == "lefthash" else 4
    else:
        width = int(given[name]) - _NAMES[name]
    if width < 1:
        raise InputError(
            f"{scheme}: the draw depends on the token alone, so a model has no context to be asked after"
        )
    return width


def for_windows(scheme: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with which `read` takes windows of `width_of` ids and one token: cut-outs, not whole answers."""
    cut = {"from_start": False} if "from_start" in signature(reader(scheme).read).parameters else {}
    return {**parameters, **cut}


def own_draws(scheme: str, parameters: Mapping[str, Any], key: Any = None) -> bool:
    """Whether two contexts that differ never share a draw under this key, but for hashes that happen to be equal.

    Where they can (the least of several products, a product or sum of ids), what stands before a context that is new as
    ids may have been shaped by the same draw: answers with such a mark cannot be used to ask a model.
    """
    taken = signature(reader(scheme).read).parameters
    given = {name: parameters.get(name, taken[name].default) for name in taken}
    if scheme in ("transformers_red_green", "vllm_sbw"):
        return given["scheme"] == "lefthash" and (scheme != "vllm_sbw" or width_of(scheme, parameters) == 1)
    if scheme in ("markllm_kgw", "markllm_exp"):
        # The engine multiplies modulo the vocabulary: a key that shares a divisor with it reaches a part of its lists.
        whole = scheme == "markllm_exp" or key is None or math.gcd(int(key), int(given["vocab_size"])) == 1
        return int(given["prefix_length"]) == 1 and whole
    if scheme == "textseal_gumbel":
        return int(given["ngram"]) == 1
    return True


def reader(scheme: str) -> Any:
    """The module of a scheme.

    Raises
    ------
    InputError
        There is no such scheme; names those there are.
    """
    known = plugins.find("marks.schemes")
    if scheme not in known:
        raise InputError(f"there is no scheme {scheme!r}; there are: {', '.join(known)}")
    return known[scheme]
