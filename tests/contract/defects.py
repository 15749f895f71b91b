"""Methods broken on purpose, each in one way that published detectors of this field are broken in.

All look for a mean above 0 in `n` standard normal values. `SOUND` does it properly; the others differ from it by one
function, and `DEFECTS` names the check that has to catch each.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from stillwatch.errors import InsufficientData
from stillwatch.records import Card, Null, TestResult
from stillwatch.stats.combine import soft_rank_evalue
from stillwatch.stats.permutation import sign_flip_test

CARD = Card(
    name="example",
    version="1",
    title="example",
    question="is the mean above 0",
    null="Every value is as likely to have the other sign.",
    unit="value",
    access=("values",),
    sources=("made for these tests",),
    assumptions=("values are independent",),
    looks_same=("nothing innocent",),
)
Values = NDArray[np.float64]


def sound(values: Values, *, seed: int) -> TestResult:
    """Sign flips, p = (1 + c) / (1 + B)."""
    flips = sign_flip_test(values, n_resamples=1_999, rng=np.random.default_rng(seed))
    return _result(flips.statistic, len(values), log_pvalue=flips.log_pvalue, resamples=flips.n_resamples)


def sound_evalue(values: Values, *, seed: int) -> TestResult:
    """Soft rank of exp(z) among 999 resamples."""
    _need(values)
    rank = soft_rank_evalue(math.exp(_z(values)), np.exp(_null(values, 999, seed)))
    return _result(
        _z(values),
        len(values),
        log_evalue=float(rank.log_evalue),
        log_evalue_ceiling=rank.log_ceiling,
        resamples=999,
    )


def draw(rng: np.random.Generator, *, effect: float, n: int) -> dict[str, Any]:
    """Normal values with mean `effect`."""
    return {"values": rng.normal(effect, 1.0, n), "seed": int(rng.integers(2**31))}


def count_over_b(values: Values, *, seed: int) -> TestResult:
    """p = c / B: is 0 in one null run of 51."""
    _need(values)
    count = int((_null(values, 50, seed) >= _z(values)).sum())
    return _result(_z(values), len(values), log_pvalue=math.log(count / 50) if count else -math.inf)


def floored(values: Values, *, seed: int) -> TestResult:
    """p = max(c / B, 1e-200): the floor hides the zero, not the wrong size."""
    result = count_over_b(values, seed=seed)
    assert result.log_pvalue is not None
    return dataclasses.replace(result, log_pvalue=max(result.log_pvalue, math.log(1e-200)))


def repeats_counted(values: Values, *, seed: int) -> TestResult:
    """Each value counted four times as if it were four: what repeated n-grams do to a watermark test."""
    _need(values)
    z = 2.0 * _z(values)
    return _result(z, len(values), log_pvalue=float(stats.norm.logsf(z)))


def other_arguments(values: Values, *, seed: int) -> TestResult:
    """The data are trimmed of their lowest fifth, the resamples are not."""
    _need(values)
    trimmed = np.sort(values)[len(values) // 5 :]
    count = int((_null(values, 999, seed) >= _z(trimmed)).sum())
    return _result(_z(trimmed), len(values), log_pvalue=math.log((1 + count) / 1000), resamples=999)


def maximised_ratio(values: Values, *, seed: int) -> TestResult:
    """The likelihood ratio at the best-fitting alternative, called an e-value: the size is fine, the mean infinite."""
    _need(values)
    return _result(_z(values), len(values), log_evalue=_z(values) ** 2 / 2)


def product_of_dependent(values: Values, *, seed: int) -> TestResult:
    """Two e-values of the same data multiplied."""
    one = sound_evalue(values, seed=seed)
    assert one.log_evalue is not None
    return _result(one.statistic, one.n, log_evalue=2 * one.log_evalue)


def sentinel(values: Values, *, seed: int) -> TestResult:
    """p = 1 where there are too few values."""
    if len(values) < 5:
        return _result(0.0, len(values), log_pvalue=0.0)
    return sound(values, seed=seed)


def not_a_number(values: Values, *, seed: int) -> TestResult:
    """NaN where there are too few values; the record refuses it, but that is no refusal of the method."""
    if len(values) < 5:
        return _result(0.0, len(values), log_pvalue=math.nan)
    return sound(values, seed=seed)


def global_state(values: Values, *, seed: int) -> TestResult:
    """Draws from the global generator."""
    return sound(values, seed=int(np.random.randint(2**31)))  # noqa: NPY002 - the defect


def global_seed(values: Values, *, seed: int) -> TestResult:
    """Seeds the global generator: repeatable, and everybody else's numbers change."""
    np.random.seed(seed)  # noqa: NPY002 - the defect
    return global_state(values, seed=seed)


def python_seed(values: Values, *, seed: int) -> TestResult:
    """The same with the standard library's generator."""
    random.seed(seed)
    return sound(values, seed=random.getrandbits(31))


def in_place(values: Values, *, seed: int) -> TestResult:
    """Sorts what it was given."""
    values.sort()
    return sound(values, seed=seed)


def never(values: Values, *, seed: int) -> TestResult:
    """Has the right size by never rejecting."""
    _need(values)
    return _result(0.0, len(values), log_pvalue=0.0)


def always_refuses(values: Values, *, seed: int) -> TestResult:
    """Has the right size by never answering."""
    raise InsufficientData(10_000, len(values), "values")


def above_ceiling(values: Values, *, seed: int) -> TestResult:
    """States a ceiling that its own e-value exceeds."""
    return dataclasses.replace(sound_evalue(values, seed=seed), log_evalue_ceiling=-1.0)


def unsigned(values: Values, *, seed: int) -> TestResult:
    """Signs with another version than the card's."""
    return dataclasses.replace(sound(values, seed=seed), test="example@0")


def hidden(**kwargs: Any) -> TestResult:
    """Hides its arguments."""
    return sound(**kwargs)


def _method(test: Callable[..., TestResult], card: Card = CARD) -> ModuleType:
    module = ModuleType(test.__name__)
    module.__dict__.update(CARD=card, test=test, simulate=draw)
    return module


SOUND = [_method(sound), _method(sound_evalue)]
DEFECTS = [
    (_method(count_over_b), "size"),
    (_method(floored), "size"),
    (_method(repeats_counted), "size"),
    (_method(other_arguments), "size"),
    (_method(always_refuses), "size"),
    (_method(above_ceiling), "size"),
    (_method(unsigned), "size"),
    (_method(maximised_ratio), "evalue mean"),
    (_method(product_of_dependent), "evalue mean"),
    (_method(never), "power"),
    (_method(sentinel), "refusal"),
    (_method(not_a_number), "refusal"),
    (_method(global_state), "same seed"),
    (_method(global_seed), "same seed"),
    (_method(python_seed), "same seed"),
    (_method(in_place), "same seed"),
    (_method(hidden), "names"),
    (_method(sound, dataclasses.replace(CARD, looks_same=())), "names"),
    (_method(sound, dataclasses.replace(CARD, null=" ")), "names"),
]


def _need(values: Values) -> None:
    if len(values) < 5:
        raise InsufficientData(5, len(values), "values")


def _z(values: Values) -> float:
    return float(values.sum() / math.sqrt(len(values)))


def _null(values: Values, resamples: int, seed: int) -> Values:
    """z of `resamples` sign-flipped copies."""
    signs = np.random.default_rng(seed).integers(0, 2, (resamples, len(values)), dtype=np.int8) * 2.0 - 1.0
    return signs @ values / math.sqrt(len(values))


def _result(
    statistic: float,
    n: int,
    *,
    log_pvalue: float | None = None,
    log_evalue: float | None = None,
    log_evalue_ceiling: float | None = None,
    resamples: int | None = None,
) -> TestResult:
    return TestResult(
        "example@1",
        statistic,
        Null(CARD.null, "permutation", "value", resamples),
        n,
        "value",
        log_pvalue=log_pvalue,
        log_evalue=log_evalue,
        log_evalue_ceiling=log_evalue_ceiling,
    )
