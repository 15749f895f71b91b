"""Which tokens a key favours after given contexts, for schemes that add to the logits of a list."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwatch.errors import InputError
from stillwatch.marks.widths import reader

ROWS = 64


Asked = Callable[[Any, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]], NDArray[np.bool_]]


def favoured(scheme: str, parameters: Mapping[str, Any], vocabulary: int) -> Asked:
    """A function of a key, contexts (c, width), first (c + 1,) and tokens: which of the tokens the key favours.

    Context i, each another one, is asked about ``tokens[first[i] : first[i + 1]]``, which differ. The function gives
    bool (tokens,).

    Parameters
    ----------
    parameters
        Of the scheme's `read`.
    vocabulary
        Tokens of the marked model.

    Raises
    ------
    InputError
        The scheme chooses tokens itself, or favours only those that are likely already (selfhash).
    """
    module = reader(scheme)
    if parameters.get("scheme") == "selfhash" or "gamma" not in signature(module.mark).parameters:
        raise InputError(f"{scheme} with these settings favours no list of tokens that contexts alone decide")
    taken = {k: v for k, v in parameters.items() if k in signature(module.mark).parameters}

    def quick(
        key: Any, contexts: NDArray[np.int64], first: NDArray[np.int64], tokens: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = module.green(contexts, first, tokens, key, **parameters)
        return found

    def by_mark(
        key: Any, contexts: NDArray[np.int64], first: NDArray[np.int64], tokens: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        out = np.empty(len(tokens), bool)
        for low in range(0, len(contexts), ROWS):
            part = contexts[low : low + ROWS]
            lists = module.mark(np.zeros((len(part), vocabulary), np.float32), part, key, **taken) > 0
            begin, end = first[low], first[low + len(part)]
            rows = np.repeat(np.arange(len(part)), np.diff(first[low : low + len(part) + 1]))
            out[begin:end] = lists[rows, tokens[begin:end]]
        return out

    return quick if hasattr(module, "green") else by_mark
