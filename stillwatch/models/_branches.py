"""The likeliest token after each of many contexts that begin alike: one reading of what they share, and of what not.

The longest context is the trunk. Another one that leaves it early is a branch: its last ids are read with the trunk up
to there before them, and with nothing else of what stands in the same row. What comes out is what the contexts give one
by one, rounding aside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwatch.errors import InputError
from stillwatch.extras import need

Ids = NDArray[np.int64]
LONGEST = 2048
"""Ids of a row; its mask takes the square of it in numbers of the model's kind: 8 or 16 MB."""
TOLERANCE = 0.5
"""Nats by which a likely token may differ from a context that is read alone: rounding in bfloat16 is below 0.1."""


@dataclass(frozen=True, slots=True)
class Row:
    """Contexts that are read together.

    Attributes
    ----------
    ids, positions
        Trunk, then branches; shape (n,).
    seen
        Which ids each one looks back on, itself among them; bool (n, n).
    last
        Where each context ends; shape (contexts,).
    """

    ids: Ids
    positions: Ids
    seen: NDArray[np.bool_]
    last: Ids

    @property
    def branched(self) -> bool:
        """Whether more stands in it than a trunk."""
        return not np.array_equal(self.positions, np.arange(len(self.positions)))


def rows(contexts: Sequence[Ids], *, longest: int = 0) -> Iterator[tuple[list[int], Row]]:
    """Rows of at most `longest` ids (0: `LONGEST`), and the numbers of their contexts.

    A trunk of more has rows with a quarter of that for branches, or one branch that is longer.

    Raises
    ------
    InputError
        A context is empty.
    """
    if any(len(c) == 0 for c in contexts):
        raise InputError("a context has one id at least")
    if not len(contexts):
        return
    trunk = max(contexts, key=len)
    shared = [_shared(c, trunk) for c in contexts]
    most, taken = longest or LONGEST, list[int]()
    most = max(most, len(trunk) + most // 4)
    size = len(trunk)
    for i, (context, at) in enumerate(zip(contexts, shared, strict=True)):
        more = len(context) - at
        if taken and more and size + more > most:
            yield taken, _row(trunk, [(contexts[k], shared[k]) for k in taken])
            taken, size = [], len(trunk)
        taken.append(i)
        size += more
    yield taken, _row(trunk, [(contexts[k], shared[k]) for k in taken])


def best(model: Any, row: Row) -> NDArray[np.float32]:
    """Log-probabilities after each context of a row; shape (contexts, vocabulary)."""
    torch = need("torch")
    kind, device = model.dtype, model.device
    if not row.branched:  # a document as any other
        with torch.inference_mode():
            logits = model(
                input_ids=torch.from_numpy(row.ids)[None].to(device),
                use_cache=False,
                logits_to_keep=torch.from_numpy(row.last).to(device),
            ).logits
        return _logs(torch, logits)
    barred = torch.zeros(row.seen.shape, dtype=kind)
    barred.masked_fill_(torch.from_numpy(~row.seen), torch.finfo(kind).min)
    with torch.inference_mode():
        logits = model(
            input_ids=torch.from_numpy(row.ids)[None].to(device),
            position_ids=torch.from_numpy(row.positions)[None].to(device),
            attention_mask=barred[None, None].to(device),
            use_cache=False,
            logits_to_keep=torch.from_numpy(row.last).to(device),
        ).logits
    return _logs(torch, logits)


def alike(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    """Whether two rows of log-probabilities are one, rounding aside, over the 20 likeliest tokens of the first."""
    likely = np.argsort(one)[-20:]
    return bool(np.abs(one[likely] - other[likely]).max() <= TOLERANCE)


def _logs(torch: Any, logits: Any) -> NDArray[np.float32]:
    found: NDArray[np.float32] = torch.log_softmax(logits[0].float(), dim=-1).cpu().numpy()
    return found


def _shared(context: Ids, trunk: Ids) -> int:
    differ = np.flatnonzero(context != trunk[: len(context)])
    return int(differ[0]) if len(differ) else len(context)


def _row(trunk: Ids, taken: Sequence[tuple[Ids, int]]) -> Row:
    longest = max(at for _, at in taken)
    size = longest + sum(len(context) - at for context, at in taken)
    ids, positions = np.empty(size, np.int64), np.empty(size, np.int64)
    seen = np.zeros((size, size), bool)
    ids[:longest], positions[:longest] = trunk[:longest], np.arange(longest)
    seen[:longest, :longest] = np.tri(longest, dtype=bool)
    last, end = [], longest
    for context, at in taken:
        more = len(context) - at
        if not more:
            last.append(at - 1)
            continue
        own = slice(end, end + more)
        ids[own], positions[own] = context[at:], np.arange(at, len(context))
        seen[own, :at] = True
        seen[own, own] = np.tri(more, dtype=bool)
        end += more
        last.append(end - 1)
    return Row(ids, positions, seen, np.array(last, np.int64))
