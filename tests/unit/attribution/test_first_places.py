"""Marked text does not give its key away to a model that predicts it well, where a context counts once a document.

A small teacher with a memory of two tokens writes under lists drawn anew for each run, and reads its own text without
any of them: half of its predictions are right, and favoured tokens come out exactly as often as chance has it.
"""

from __future__ import annotations

import numpy as np
import pytest

from stillwatch.attribution.predictions import predictions
from stillwatch.models.protocol import Forced

SIZE, SHARE, BIAS, PROMPT, LENGTH, ANSWERS, RUNS = 96, 0.25, 3.0, 4, 40, 12, 500


def run(seed: int, one: np.ndarray, two: np.ndarray, *, right_left_out: bool) -> tuple[float, float]:
    """Standard deviations by which favoured predictions exceed chance, and how often predictions are right."""
    rng = np.random.default_rng(seed)
    lists = np.argsort(rng.random((SIZE, SIZE)), axis=1) < SHARE * SIZE
    ids = np.empty((ANSWERS, PROMPT + LENGTH), np.int64)
    ids[:, :PROMPT] = rng.integers(0, SIZE, (ANSWERS, PROMPT))
    best = np.full(ids.shape, -1, np.int64)
    for at in range(PROMPT, PROMPT + LENGTH):
        logits = one[ids[:, at - 1]] + two[ids[:, at - 2]]
        best[:, at] = logits.argmax(axis=1)
        drawn = logits + BIAS * lists[ids[:, at - 1]] + rng.gumbel(size=logits.shape)
        ids[:, at] = drawn.argmax(axis=1)
    read = [Forced(i, np.where(b < 0, np.nan, 0.0), b) for i, b in zip(ids, best, strict=True)]
    pairs = np.unique(predictions(read, 1, marked=right_left_out).ids, axis=0)
    favoured = lists[pairs[:, 0], pairs[:, 1]].sum()
    n = len(pairs)
    score = (favoured - SHARE * n) / np.sqrt(n * SHARE * (1 - SHARE))
    return float(score), float((best == ids)[:, PROMPT:].mean())


@pytest.fixture(scope="module")
def teacher() -> tuple[np.ndarray, np.ndarray]:
    one, two = np.random.default_rng(7).normal(0.0, 3.5, (2, SIZE, SIZE))
    return one, two


def test_predictions_at_first_places_are_favoured_as_often_as_chance_has_it(
    teacher: tuple[np.ndarray, np.ndarray],
) -> None:
    scores, right = np.array([run(s, *teacher, right_left_out=False) for s in range(RUNS)]).T
    assert right.mean() > 0.4
    assert abs(scores.mean()) < 3.3 / np.sqrt(RUNS)
    assert abs(scores.std() - 1) < 3.3 / np.sqrt(2 * RUNS)
    assert (scores > 1.645).mean() < 0.05 + 3.3 * np.sqrt(0.05 * 0.95 / RUNS)


def test_without_the_right_ones_the_key_is_counted_against(teacher: tuple[np.ndarray, np.ndarray]) -> None:
    scores, _ = np.array([run(s, *teacher, right_left_out=True) for s in range(50)]).T
    assert scores.mean() < -2
