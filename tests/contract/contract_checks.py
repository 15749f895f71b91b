"""What every method promises, as one function per promise; each raises AssertionError with what was found.

`test_methods.py` holds every method of every room against them, `test_defects.py` shows that they catch what goes
wrong in practice.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import math
import os
import pickle
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from stillwatch.errors import InsufficientData
from stillwatch.records import Card, TestResult

ALPHAS = (0.05, 0.01, 0.001)
SIZES = (12, 40)
"""Units in a simulated group or sample: few, where approximations break, and a usual number."""
USUAL = SIZES[-1]
TRIALS = int(os.environ.get("STILLWATCH_TRIALS", "400"))
TOLERANCE = 0.999
HEAVY = ("torch", "transformers", "pyspark", "chdb")
TRUNCATED_AT = 20.0


def check_names(method: Any) -> None:
    """`CARD` with every field filled; `test` and `simulate`, callable, with named arguments only."""
    card = getattr(method, "CARD", None)
    assert isinstance(card, Card), f"{method.__name__} has no CARD of type records.Card"
    empty = [f.name for f in dataclasses.fields(card) if not getattr(card, f.name)]
    assert not empty, f"{method.__name__}: CARD leaves these empty: {', '.join(empty)}"
    blank = [f.name for f in dataclasses.fields(card) if _blank(getattr(card, f.name))]
    assert not blank, f"{method.__name__}: CARD has blank text in: {', '.join(blank)}"
    for name in ("test", "simulate"):
        function = getattr(method, name, None)
        assert callable(function), f"{method.__name__} has no {name}()"
        kinds = {p.kind for p in inspect.signature(function).parameters.values()}
        assert not kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}, (
            f"{method.__name__}.{name} hides its arguments behind * or **"
        )
        assert (function.__doc__ or "").strip(), f"{method.__name__}.{name} has no docstring"


def check_docs(room: str, name: str, docs: Path) -> None:
    """A page of the method, written by its author."""
    page = docs / "methods" / Path(*room.split(".")) / f"{name}.md"
    assert page.is_file(), f"no docs page for {room}.{name}; write {page.relative_to(docs.parent)}"
    assert len(page.read_text(encoding="utf-8").split()) >= 50, f"{page.name} says next to nothing"


def check_result(method: Any, result: Any) -> None:
    """A TestResult of this method with a finite p-value, and no e-value above its ceiling."""
    assert isinstance(result, TestResult), (
        f"{method.__name__}.test gave {type(result).__name__}, not TestResult"
    )
    assert result.test == f"{method.CARD.name}@{method.CARD.version}", (
        f"result is signed {result.test!r}, the card says {method.CARD.name}@{method.CARD.version}"
    )
    if result.log_pvalue is not None:
        assert math.isfinite(result.log_pvalue), f"{result.test}: p = 0 is never a p-value"
    if result.log_evalue is not None:
        assert result.log_evalue < math.inf, f"{result.test}: an infinite e-value"
        ceiling = result.log_evalue_ceiling
        assert ceiling is None or result.log_evalue <= ceiling + 1e-9, (
            f"{result.test}: e-value above its ceiling"
        )


def check_size(method: Any, n: int, trials: int = TRIALS) -> None:
    """The share of null runs rejecting at alpha is at most alpha, within a binomial 99.9% tolerance.

    Where `test` has a sensitivity parameter `gamma` (1 or more; a share of green tokens of that name lies below 1),
    it is set to 1: ``simulate(effect=0)`` draws plain exchangeability, and a bound that forgives more would hide a
    wrong size.
    """
    results = runs(method, effect=0.0, n=n, trials=trials, sharp=True)
    if n == USUAL:
        assert len(results) >= trials / 2, (
            f"{method.__name__} refused {trials - len(results)} of {trials} null runs of {n} units: size unknown"
        )
    for result in results:
        check_result(method, result)
    for alpha in ALPHAS:
        rejected = sum(rejects(r, alpha) for r in results)
        allowed = int(stats.binom.ppf(TOLERANCE, trials, alpha))
        assert rejected <= allowed, (
            f"{method.__name__}: {rejected} of {trials} null runs of {n} units rejected at alpha = {alpha}; "
            f"at most {allowed} would be chance"
        )


def check_evalue_mean(method: Any, n: int, trials: int = TRIALS) -> None:
    """The mean e-value of null runs is at most 1.

    Sharper than the size: a likelihood ratio maximised over the alternative rejects seldom and still has an infinite
    mean. Truncated at 20, which only lowers the mean, so that its error can be known.
    """
    results = runs(method, effect=0.0, n=n, trials=trials, sharp=True)
    logs = np.array([r.log_evalue for r in results if r.log_evalue is not None])
    if not logs.size:
        return  # p-values only, or too few units: nothing to average
    evalues = np.exp(np.minimum(logs, math.log(TRUNCATED_AT)))
    slack = float(stats.norm.ppf(TOLERANCE)) * float(evalues.std()) / math.sqrt(evalues.size)
    assert evalues.mean() <= 1.0 + slack + 1e-9, (
        f"{method.__name__}: mean e-value of {evalues.size} null runs is {evalues.mean():.3f} > 1 (chance: {slack:.3f})"
    )


def check_power(method: Any, trials: int = min(TRIALS, 200)) -> None:
    """At the usual strength of the alternative more than half the runs reject at 0.05, and more than under the null."""
    share = {
        effect: sum(rejects(r, 0.05) for r in runs(method, effect=effect, n=USUAL, trials=trials)) / trials
        for effect in (0.0, 1.0)
    }
    assert share[1.0] > max(0.5, share[0.0]), (
        f"{method.__name__}: rejects {share[1.0]:.2f} of runs with effect 1, {share[0.0]:.2f} with effect 0"
    )


def check_refusal(method: Any) -> None:
    """One unit is too little for a number."""
    arguments = method.simulate(np.random.default_rng(5), effect=0.0, n=1)
    try:
        result = method.test(**arguments)
    except InsufficientData:
        return
    except Exception as other:
        raise AssertionError(
            f"{method.__name__}: one unit must raise InsufficientData, it raised {type(other).__name__}: {other}"
        ) from other
    raise AssertionError(f"{method.__name__}: gave a number for one unit (log p {result.log_pvalue})")


def check_same_seed(method: Any) -> None:
    """The same arguments give the same answer, bit for bit, whatever the global random state; nothing is changed."""
    answers = []
    for state in (1, 2):
        np.random.seed(state)  # noqa: NPY002 - to show that nobody reads it
        random.seed(state)
        before = pickle.dumps(np.random.get_state()), random.getstate()  # noqa: NPY002
        arguments = method.simulate(np.random.default_rng(11), effect=1.0, n=USUAL)
        given = pickle.dumps(arguments)
        answers.append((given, pickle.dumps(method.test(**arguments))))
        assert pickle.dumps(arguments) == given, f"{method.__name__}.test changes what it was given"
        after = pickle.dumps(np.random.get_state()), random.getstate()  # noqa: NPY002
        assert after == before, f"{method.__name__} touches the global random state"
    assert answers[0] == answers[1], f"{method.__name__}: same seed, another answer"


def check_light_imports(modules: list[str], path: str = "") -> None:
    """Importing the methods in a fresh interpreter, one after the other, brings no heavy library along."""
    code = (
        "import importlib, json, sys\n"
        f"found = {{}}\nfor name in {modules!r}:\n"
        "    importlib.import_module(name)\n"
        f"    found[name] = [m for m in {HEAVY!r} if m in sys.modules]\n"
        "print(json.dumps(found))"
    )
    environment = os.environ | ({"PYTHONPATH": path} if path else {})
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, f"importing {', '.join(modules)} failed: {done.stderr.strip()[-500:]}"
    guilty = next(((name, heavy) for name, heavy in json.loads(done.stdout).items() if heavy), None)
    assert guilty is None, f"importing {guilty[0]} imports {', '.join(guilty[1])}; use extras.need in test()"


@functools.lru_cache(maxsize=2)  # the size and the mean e-value are read off the same runs
def runs(method: Any, *, effect: float, n: int, trials: int, sharp: bool = False) -> list[TestResult]:
    """Results of seeded simulated runs; a run that is refused for too little data is none."""
    gamma = inspect.signature(method.test).parameters.get("gamma")
    given = {"gamma": 1.0} if sharp and gamma is not None and gamma.default >= 1 else {}
    results = []
    for trial in range(trials):
        arguments = method.simulate(
            np.random.default_rng([n, round(effect * 100), trial]), effect=effect, n=n
        )
        try:
            results.append(method.test(**(arguments | given)))
        except InsufficientData:
            continue
    return results


def rejects(result: TestResult, alpha: float) -> bool:
    """A p-value at most alpha, or an e-value of at least 1 / alpha."""
    by_p = result.log_pvalue is not None and result.log_pvalue <= math.log(alpha) + 1e-12
    by_e = result.log_evalue is not None and result.log_evalue >= -math.log(alpha) - 1e-12
    return by_p or by_e


def _blank(value: Any) -> bool:
    texts = value if isinstance(value, tuple) else (value,)
    return any(isinstance(t, str) and not t.strip() for t in texts)
