"""A student held against its teacher on answers that it was not trained on, with intervals over prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwatch.extras import need
from stillwatch.lab.distill.divergence import divergence
from stillwatch.lab.distill.places import Lesson, keeps_last, logits, padded, reading, targets
from stillwatch.stats.intervals import bootstrap_by_unit

Sums = dict[str, list[float]]
"""By measure, the sum over the places of each answer; ``tokens`` are the places."""
WORDS = {
    "loss": "loss",
    "forward": "KL(teacher, student)",
    "reverse": "KL(student, teacher)",
    "agreement": "same likeliest token",
}
BATCH = 4


def read(student: Any, teacher: Any, lessons: Sequence[Lesson], dtype: str) -> Sums:
    """What a student, and its teacher if there is one with the same vocabulary, says at each place; summed by answer.

    Parameters
    ----------
    student, teacher
        Models of transformers; the teacher or None.
    """
    torch = need("torch")
    names = ["tokens", "loss"] + (
        ["forward", "reverse", "agreement", "teacher"] if teacher is not None else []
    )
    found: Sums = {name: [] for name in names}
    for first in range(0, len(lessons), BATCH):
        given = padded(lessons[first : first + BATCH])
        tokens = given["asked"].sum(dim=1).tolist()
        found["tokens"] += tokens
        with reading(student, dtype) as where:
            moved = {name: part.to(where) for name, part in given.items()}
            ours = logits(student, moved, keeps=keeps_last(student)).float()
        wanted = targets(moved)
        by_place = {"loss": torch.nn.functional.cross_entropy(ours, wanted, reduction="none")}
        if teacher is not None:
            with reading(teacher, dtype):
                theirs = logits(teacher, moved, keeps=keeps_last(teacher)).float()
            by_place["teacher"] = torch.nn.functional.cross_entropy(theirs, wanted, reduction="none")
            by_place["agreement"] = (ours.argmax(dim=-1) == theirs.argmax(dim=-1)).float()
            for kind in ("forward", "reverse"):
                by_place[kind] = divergence(ours, theirs, kind)
        for name, values in by_place.items():
            found[name] += [float(part.double().sum()) for part in values.cpu().split(tokens)]
    return found


def held_together(before: Sums, after: Sums, *, seed: int) -> dict[str, Any]:
    """Each measure before, after, and by how much it changed, each with its 95% interval; prompts are the units.

    Returns
    -------
    ``prompts``, ``tokens``, and by measure ``before``, ``after``, ``change``, and where there is a teacher its own
    loss on the answers. Where these are its own, sampled at temperature 1, no student can be expected below that.
    """
    tokens = np.array(after["tokens"])
    told: dict[str, Any] = {"prompts": len(tokens), "tokens": int(tokens.sum()), "measures": {}}
    for name in WORDS:
        if name not in after:
            continue
        first, last = np.array(before[name]), np.array(after[name])
        told["measures"][name] = {
            part: _mean(values, tokens, seed)
            for part, values in (("before", first), ("after", last), ("change", last - first))
        }
    if "teacher" in after:
        told["loss of the teacher"] = _mean(np.array(after["teacher"]), tokens, seed)
    return told


def _mean(sums: NDArray[np.float64], tokens: NDArray[np.int64], seed: int) -> Mapping[str, float]:
    low, high = bootstrap_by_unit(
        np.column_stack([sums, tokens]),
        np.arange(len(tokens)),
        lambda rows: float(rows[:, 0].sum() / rows[:, 1].sum()),
        np.random.default_rng([seed, 5]),
    )
    return {
        "value": round(float(sums.sum() / tokens.sum()), 6),
        "low": round(low, 6),
        "high": round(high, 6),
    }
