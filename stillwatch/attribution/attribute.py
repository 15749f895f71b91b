"""From a suspect's answers to one finding: was it trained on what we served, and through whose accounts did that leave?

Every test that was planned stands in the result, those that could not run as well. p-values are adjusted by Holm over
all tests and keys together.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwatch.attribution.candidates import Candidates, apart
from stillwatch.attribution.plan import Plan
from stillwatch.attribution.predictions import Predictions, predictions
from stillwatch.attribution.randomized import radioactivity
from stillwatch.errors import InsufficientData
from stillwatch.marks.tape import Tape
from stillwatch.marks.widths import for_windows, reader, width_of
from stillwatch.models.protocol import Forced
from stillwatch.records import Decision, Excluded, Finding, TestResult
from stillwatch.stats.combine import p_to_e
from stillwatch.stats.multiplicity import holm

WRITTEN = ("its own text", "its own answers")
"""Tests of what a suspect writes: it may pass on answers of ours without having been trained on any."""
SHARED = "contexts share draws under this key: answers with its mark cannot be used to ask a model"
DOUBT = 0.05
"""An adjusted p between the threshold and this is "inconclusive"; above it "not supported"."""


@dataclass(frozen=True, slots=True)
class Row:
    """One test of the plan."""

    kind: str
    """Such as ``served answers``."""
    key: str = ""
    """Fingerprint of the key; empty where the test is of no single key."""
    scope: str = ""
    scheme: str = ""
    result: TestResult | None = None
    why: str = ""
    """Why there is no result."""
    log_adjusted: float | None = None
    """Natural logarithm of p after Holm over all rows of the plan."""
    late: bool = False
    """The key was entered in the register after the head of it that was noted elsewhere."""
    claims: bool = True
    """False for a control, which must find nothing and supports nothing."""


def of_predictions(
    kind: str, read: Sequence[Forced], groups: Iterable[Candidates], *, carried: bool = False
) -> list[Row]:
    """One row for every key: what a suspect predicts after the contexts of documents that it read.

    Parameters
    ----------
    read
        In the ids of the teacher's tokenizer.
    carried
        The documents carry marks of these keys. Schemes whose contexts share draws are then not tested.
    """
    rows = []
    for group in groups:
        if carried:
            group, sharing = apart(group)
            rows += _refused(kind, group, SHARED, sharing)
            if not group.keys:
                continue
        found = _within(predictions(read, width_of(group.scheme, group.parameters)), group)
        how = for_windows(group.scheme, group.parameters)
        rows += _rows(kind, group, lambda g=group, f=found, h=how: _read(g, f.tokens, f.ends, h), carried)
    return rows


def of_texts(
    kind: str,
    answers: Sequence[NDArray[np.int64]],
    groups: Iterable[Candidates],
    *,
    prompts: Sequence[NDArray[np.int64]] = (),
) -> list[Row]:
    """One row for every key: text that a suspect wrote by itself.

    Parameters
    ----------
    answers
        In the ids of the teacher's tokenizer.
    prompts
        What it was asked; pairs that stand in them are left out, because a model repeats its prompt.
    """
    rows = []
    for group in groups:
        rows += _rows(kind, group, lambda g=group: _read_texts(g, answers, prompts))
    return rows


def one(kind: str, make: Any, *, claims: bool = True) -> Row:
    """The row of a test that is of no single key; `make()` gives its result, or has too little data."""
    try:
        return Row(kind, result=make(), claims=claims)
    except InsufficientData as few:
        return Row(kind, why=f"too little: {few}", claims=claims)


def adjusted(rows: Sequence[Row]) -> list[Row]:
    """The rows with p after Holm over all that claim something."""
    told = [
        i for i, row in enumerate(rows) if row.claims and row.result and row.result.log_pvalue is not None
    ]
    logs = holm(np.array([rows[i].result.log_pvalue for i in told])) if told else []  # type: ignore[union-attr]
    by_place = dict(zip(told, (float(x) for x in logs), strict=True))
    return [replace(row, log_adjusted=by_place.get(i)) for i, row in enumerate(rows)]


def finding(
    rows: Sequence[Row], plan: Plan, *, run: str, notes: Sequence[str] = (), evidence: Sequence[str] = ()
) -> Finding:
    """One finding of all rows (`adjusted`): supported, not supported, inconclusive or not tested.

    Parameters
    ----------
    notes
        What could not be read or asked, in sentences.
    evidence
        SHA-256 of what was filed before, such as the plan.
    """
    told = [row for row in rows if row.log_adjusted is not None]
    passed = [row for row in told if row.log_adjusted <= math.log(plan.alpha)]  # type: ignore[operator]
    broken = [row for row in rows if not row.claims and row.result and _found(row.result)]
    scopes = list(dict.fromkeys(row.scope for row in passed if row.scope))
    decision = _decision(told, passed, broken)
    # Bonferroni for the smallest of all is a p-value of "it depends on nothing of ours"; reports speak of e-values.
    least = float(min((row.log_adjusted for row in told), default=0.0))  # type: ignore[type-var]
    return Finding(
        subject=plan.suspect["name"],
        claim=_claim(decision, scopes, all(row.kind in WRITTEN for row in passed)),
        decision=decision,
        results=tuple(row.result for row in _shown(rows) if row.result),
        family=f"{len(told)} tests and keys of the plan, Holm; supported at {plan.alpha:g} or below",
        log_evalue=p_to_e(least) if told else None,
        log_evalue_needed=p_to_e(math.log(plan.alpha)) if told else None,
        alternatives=_alternatives(decision),
        limits=tuple(_limits(decision, rows, passed, broken, notes)),
        evidence=tuple(evidence),
        run=run,
        details={
            "about": "model",
            "plan": plan.commitment(),
            "smallest_log10_p_after_holm": round(least / math.log(10), 2),
            "scopes": scopes,
            "tests": [_as_json(row) for row in rows],
        },
    )


def _rows(kind: str, group: Candidates, read: Any, carried: bool = False) -> list[Row]:
    try:
        found = radioactivity.results(read(), list(group.keys), carried=carried)
    except InsufficientData as few:
        return _refused(kind, group, f"too little: {few}")
    return [
        Row(kind, key, group.scopes[key], group.scheme, found[key], late=key in group.late)
        for key in group.keys
    ]


def _refused(kind: str, group: Candidates, why: str, keys: Iterable[str] | None = None) -> list[Row]:
    named = group.keys if keys is None else keys
    return [Row(kind, key, group.scopes[key], group.scheme, why=why) for key in named]


def _within(found: Predictions, group: Candidates) -> Predictions:
    """Without predictions that the teacher's vocabulary does not have: a student can have more tokens."""
    size = group.parameters.get("vocab_size")
    return found if size is None else replace(found, ids=found.ids[(found.ids < int(size)).all(axis=1)])


def _read(
    group: Candidates,
    tokens: NDArray[np.int64],
    ends: NDArray[np.int64],
    parameters: Mapping[str, Any],
    tape: Tape | None = None,
) -> Any:
    if not len(ends):
        raise InsufficientData(1, 0, "places with a whole context")
    keys = [*group.keys.values(), *group.decoys]
    more = {} if tape is None else {"tape": tape}
    return reader(group.scheme).read(tokens, keys, ends=ends, **parameters, **more)


def _read_texts(
    group: Candidates, answers: Sequence[NDArray[np.int64]], prompts: Sequence[NDArray[np.int64]]
) -> Any:
    tape = Tape()
    if prompts:
        _read(group, *_joined(prompts), for_windows(group.scheme, group.parameters), tape)
    return _read(group, *_joined(answers), group.parameters, tape)


def _joined(documents: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    filled = [d for d in documents if len(d)]
    if not filled:
        raise InsufficientData(1, 0, "documents with a token")
    return np.concatenate(filled), np.cumsum([len(d) for d in filled]).astype(np.int64)


def _decision(told: Sequence[Row], passed: Sequence[Row], broken: Sequence[Row]) -> Decision:
    if not told:
        return "not tested"
    if passed:
        return "inconclusive" if broken else "supported"
    least = min(row.log_adjusted for row in told)  # type: ignore[type-var]
    return "inconclusive" if least <= math.log(DOUBT) or broken else "not supported"  # type: ignore[operator]


def _found(control: TestResult) -> bool:
    return control.log_pvalue is not None and control.log_pvalue <= math.log(0.001)


def _shown(rows: Sequence[Row]) -> list[Row]:
    """Of each kind the row with the smallest p, and every row that stands below the doubt."""
    best: dict[str, Row] = {}
    for row in rows:
        if row.result and (row.kind not in best or _log(row) < _log(best[row.kind])):
            best[row.kind] = row
    low = [r for r in rows if r.log_adjusted is not None and r.log_adjusted <= math.log(DOUBT)]
    return [row for row in rows if row in low or row is best.get(row.kind)]


def _log(row: Row) -> float:
    found = row.result.log_pvalue if row.result else None
    return 0.0 if found is None else found


def _claim(decision: Decision, scopes: Sequence[str], only_written: bool) -> str:
    if decision == "supported":
        whom = " and to ".join(scopes) if scopes else "accounts of ours"
        if only_written:
            return f"What this model writes carries a mark of answers that were served to {whom}."
        return f"This model was trained on answers that were served to {whom}."
    if decision == "not tested":
        return "No test that rests on our randomness could be made of this model."
    if decision == "inconclusive":
        return "Whether this model was trained on answers that we served cannot be decided from these tests."
    return "No test that rests on our randomness shows that this model was trained on answers that we served."


def _alternatives(decision: Decision) -> tuple[Excluded, ...]:
    stands = "the same trace comes about in either way"
    alike = "keys and coins were drawn at random, and no model can guess them"
    return (
        Excluded("our answers were published, and it was trained on what was published", None, stands),
        Excluded("a customer who may train on what it received", None, "the contract decides, not the data"),
        Excluded("a model that was trained on such a model", None, "a trace can pass on; it then is weaker"),
        Excluded(
            "it passes on answers of ours: a relay, retrieval, a quotation",
            None,
            "weights on hand rule it out",
        ),
        Excluded("it resembles us by itself", True, alike)
        if decision == "supported"
        else Excluded("it resembles us by itself", None, "nothing was shown"),
    )


def _limits(
    decision: Decision,
    rows: Sequence[Row],
    passed: Sequence[Row],
    broken: Sequence[Row],
    notes: Sequence[str],
) -> Iterable[str]:
    yield "It does not say by whom, nor how the answers reached the training set."
    if decision != "supported":
        yield (
            "Absence of a trace proves nothing: little of what we served among its data, paraphrase, neutralised "
            "decoding or later tuning leave none that can be seen."
        )
    for row in broken:
        yield f"{row.kind}: a control found something, so what it controls is not believed."
    for row in rows:
        if row.result and any(a.status == "violated" for a in row.result.assumptions):
            yield f"{row.kind}: the exact tail did not hold under drawn keys; p is the rank among them."
            break
    for row in rows:
        if row.result is None:
            yield f"not tested: {row.kind}{f', {row.scope}' if row.scope else ''}: {row.why}"
    yield from _late(rows, passed)
    yield from notes


def _late(rows: Sequence[Row], passed: Sequence[Row]) -> Iterable[str]:
    """Keys of which nothing shows that they were chosen before the model was there."""
    late = {row.key: row.scope for row in rows if row.late}
    if not late:
        return
    why = "entered in the register after the head of it that was noted: nothing shows that it was before the model."
    for key in dict.fromkeys(row.key for row in passed if row.late):
        yield f"Key {key} ({late.pop(key)}) was {why}"
    if passed and all(row.late for row in passed):
        yield "The claim rests on such keys alone. Whoever holds the master could have tried scopes until one passed."
    if late:
        yield f"Of the other keys {len(late)} were entered after that head as well: {', '.join(sorted(late))}."


def _as_json(row: Row) -> dict[str, Any]:
    told: dict[str, Any] = {"kind": row.kind}
    for name in ("key", "scope", "scheme", "why"):
        if getattr(row, name):
            told[name] = getattr(row, name)
    if row.late:
        told["entered_after_head"] = True
    if row.result is not None:
        told |= {
            "n": row.result.n,
            "unit": row.result.unit,
            "log10_p": round((row.result.log_pvalue or 0.0) / math.log(10), 3),
            "effect": None if row.result.effect is None else round(row.result.effect, 5),
            "note": row.result.note,
        }
    if row.log_adjusted is not None:
        told["log10_p_after_holm"] = round(row.log_adjusted / math.log(10), 3)
    return told
