"""Runs the baselines on the workspace of one log and holds them against its truth."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stillwatch import plugins
from stillwatch.engine.tables import Workspace
from stillwatch.errors import InsufficientData
from stillwatch.identity import Keys, Pseudonyms
from stillwatch.lab.score import Truth, hold

ROOM = "lab.baselines"


def compare(
    workspace: Path, truth: Truth, *, seed: int, on_stage: Callable[[str], None] = lambda stage: None
) -> dict[str, dict[str, Any]]:
    """Module of a baseline -> its name, seconds, and what it flagged, as JSON can hold it.

    A method gets the workspace and nothing else of the log. One that has too little data has ``insufficient``, a
    sentence, in place of ``flagged``. ``forms`` are its ``form:`` columns, and ``best_rule`` the one of its ``rule:``
    columns that does best in hindsight, None where none can.
    """
    out: dict[str, dict[str, Any]] = {}
    for name, method in plugins.find(ROOM).items():
        on_stage(f"baseline {method.NAME}")
        begin = time.perf_counter()
        try:
            table = method.flag(workspace, log=None, seed=seed)
        except InsufficientData as error:
            out[name] = {"name": method.NAME, "seconds": _since(begin), "insufficient": str(error)}
            continue
        out[name] = {"name": method.NAME, "seconds": _since(begin), **held(table, workspace, truth)}
    return out


def held(table: pa.Table, workspace: Path, truth: Truth) -> dict[str, Any]:
    """Hold the table of one baseline against the truth."""
    place = Workspace(workspace)
    ids = table["account_id"].to_pylist()
    names = Pseudonyms(Keys(place.key_file), place.vault).reveal("account", ids)
    at = np.fromiter((truth.place[names[i]] for i in ids), int, len(ids))
    columns = [c for c in table.column_names if c.startswith("form:")]
    rules = {
        c.removeprefix("rule:"): table[c].to_numpy() for c in table.column_names if c.startswith("rule:")
    }
    notes = (table.schema.metadata or {}).get(b"stillwatch.notes")
    return {
        "flagged": _counts(truth, at[table["flagged"].to_numpy()]),
        "forms": {c.removeprefix("form:"): _counts(truth, at[table[c].to_numpy()]) for c in columns},
        "best_rule": best_rule(rules, at, truth),
        "notes": json.loads(notes) if notes else {},
    }


def best_rule(rules: dict[str, NDArray], at: NDArray, truth: Truth) -> dict[str, Any] | None:
    """The rule and threshold with the highest F1, chosen with the truth in hand, which no detector can.

    Parameters
    ----------
    rules
        Name -> score of each account; NaN is never flagged.
    at
        Place of each account in `truth`.

    Returns
    -------
    dict or None
        What `score` gives of accounts whose score is `threshold` or more, with ``rule`` and ``f1``. None without
        rules or without campaign accounts. Of equal ones the first in the order of `rules`, at its highest threshold.
    """
    guilty = truth.campaign[at] != ""
    of = int((truth.campaign != "").sum())
    best: tuple[float, str, float] | None = None
    for name, values in rules.items():
        known = np.flatnonzero(np.isfinite(values))
        order = known[np.argsort(-values[known], kind="stable")]
        if not of or not len(order):
            continue
        # equal scores are flagged together
        last = np.flatnonzero(np.append(np.diff(values[order]) != 0, True))
        f1 = 2 * np.cumsum(guilty[order])[last] / (last + 1 + of)
        top = int(np.argmax(f1))
        if best is None or f1[top] > best[0]:
            best = (float(f1[top]), name, float(values[order[last[top]]]))
    if best is None:
        return None
    f1, name, threshold = best
    return {
        "rule": name,
        "threshold": threshold,
        "f1": f1,
        **_counts(truth, at[np.nan_to_num(rules[name], nan=-np.inf) >= threshold]),
    }


def _counts(truth: Truth, flagged: NDArray) -> dict[str, Any]:
    score = asdict(hold(truth, {"flagged": dict.fromkeys(flagged.tolist())}))
    return {k: score[k] for k in ("recall", "precision", "honest_flagged", "honest_flagged_by_role")}


def _since(begin: float) -> float:
    return round(time.perf_counter() - begin, 2)
