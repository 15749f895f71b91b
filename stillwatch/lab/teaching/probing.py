"""Every test of one student against the mark of its teacher, from the strongest access to the weakest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwatch.attribution.predictions import Predictions, predictions
from stillwatch.attribution.randomized import green_mass, radioactivity
from stillwatch.errors import InsufficientData
from stillwatch.lab.teaching import reading
from stillwatch.lab.teaching.corpus import Corpus
from stillwatch.lab.teaching.marking import TeacherMark
from stillwatch.lab.teaching.sampling import sample
from stillwatch.marks.favoured import favoured
from stillwatch.marks.keys import MarkKey
from stillwatch.marks.reading import Reading
from stillwatch.marks.widths import for_windows
from stillwatch.models.protocol import Forced
from stillwatch.records import TestResult

Ids = NDArray[np.int64]
OVERLAPS = (0.1, 0.25, 0.5)
"""Shares of a probe that lie in the student's data; 0 and 1 are probes of their own."""


@dataclass(frozen=True, slots=True)
class Probes:
    """What a student is asked about.

    Attributes
    ----------
    served
        Marked answers that it was trained on; for a student without any, marked answers that it was not trained on.
    fresh
        Marked answers to held-out prompts.
    plain
        Answers to held-out prompts without a mark.
    """

    served: Corpus
    fresh: Corpus
    plain: Corpus


def starts(corpus: Corpus) -> list[int]:
    """The first place of each answer."""
    return [len(prompt) for prompt in corpus.prompts]


def write(
    model: Any, prompts: Sequence[Ids], *, length: int, temperature: float, barred: Sequence[int], seed: int
) -> Ids:
    """What the student itself answers, without any mark: int64 (prompts, length)."""
    return sample(model, prompts, length=length, temperature=temperature, barred=barred, seed=seed)


@dataclass(frozen=True, slots=True)
class Text:
    """What one test reads: token ids, where documents end, and whether they are windows of a model's predictions."""

    tokens: Ids
    ends: Ids
    windows: bool


def texts(
    read: Mapping[str, Sequence[Forced]], written: Mapping[str, Sequence[Ids]], mark: TeacherMark, keep: Path
) -> dict[str, Text]:
    """What each test reads; the windows of predictions are kept as ``<test>.npz`` in a folder.

    Parameters
    ----------
    read
        What the model made of each part of its `Probes`.
    written
        Documents that it wrote itself, by the name of their test.
    """
    made = {
        name: [reading.later(f, mark.begins(int(f.asked.argmax()))) for f in read[name]]
        for name in ("served", "fresh", "plain")
    }
    number = min(len(made["served"]), len(made["fresh"]))
    asked = {"supervised": (made["served"], False)}
    for overlap in OVERLAPS:
        inside = round(overlap * number)
        mixed = [*made["served"][:inside], *made["fresh"][: number - inside]]
        asked[f"supervised, overlap {overlap:g}"] = (mixed, False)
    asked |= {
        "fresh marked": (made["fresh"], False),
        "plain": (made["plain"], False),
        "supervised, read off left out": (made["served"], True),
    }
    keep.mkdir(parents=True, exist_ok=True)
    found = {}
    for name, (documents, left_out) in asked.items():
        windows = predictions(documents, mark.width, marked=left_out)
        _keep(windows, keep / f"{name.replace(', ', '_').replace(' ', '_')}.npz")
        found[name] = Text(windows.tokens, windows.ends, True)
    for name, answers in written.items():
        found[name] = Text(np.concatenate(answers), np.cumsum([len(a) for a in answers]), False)
    return found


def tested(
    given: Mapping[str, Text], mark: TeacherMark, decoys: Sequence[MarkKey], vocabulary: int
) -> dict[str, TestResult | InsufficientData]:
    """`radioactivity.test` of each text under the mark's key and the drawn ones.

    Texts share most of their contexts. Where a scheme draws a list for each, lists are drawn once for all texts; what
    comes out is the same.
    """
    keys = [key.as_read() for key in (mark.key, *decoys)]
    settings = mark.settings(vocabulary)
    if mark.key.scheme == "transformers_red_green":
        readings = _read_together(given, keys, settings)
    else:
        readings = {
            name: mark.scheme.read(
                text.tokens,
                keys,
                ends=text.ends,
                **(for_windows(mark.key.scheme, settings) if text.windows else settings),
            )
            for name, text in given.items()
        }
    found: dict[str, TestResult | InsufficientData] = {}
    for name, made in readings.items():
        try:
            found[name] = radioactivity.results(made, [name])[name]
        except InsufficientData as little:
            found[name] = little
    return found


def mass(
    moved: green_mass.Shift, mark: TeacherMark, decoys: Sequence[MarkKey], vocabulary: int
) -> TestResult | InsufficientData:
    """The test of how the student's probabilities differ from those of the model that it was trained from."""
    try:
        return green_mass.test(
            moved.contexts,
            moved.tokens,
            moved.weights,
            mark.key.as_read(),
            decoys=[key.as_read() for key in decoys],
            scheme=mark.key.scheme,
            parameters=mark.settings(vocabulary),
            vocabulary=vocabulary,
        )
    except InsufficientData as little:
        return little


def row(name: str, result: TestResult | InsufficientData) -> dict[str, Any]:
    """One test as a line of results: log10 of p, and the rank among the drawn keys."""
    if isinstance(result, InsufficientData):
        return {"test": name, "refused": str(result)}
    assert result.log_pvalue is not None
    return {
        "test": name,
        "n": result.n,
        "log10_p": round(result.log_pvalue / math.log(10), 3),
        "rank": result.note.rpartition(": ")[2],
        "z": round(result.statistic, 3),
        "effect": round(result.effect or 0.0, 5),
        "null": result.null.method,
        "drawn keys": result.assumptions[0].observed if result.assumptions else "",
    }


def _read_together(
    given: Mapping[str, Text], keys: Sequence[Any], settings: Mapping[str, Any]
) -> dict[str, Reading]:
    """`transformers_red_green.read` of each text (left hash: the context is the id before a token)."""
    size = settings["vocab_size"]
    pairs = {}
    for name, text in given.items():
        inner = np.ones(len(text.tokens), bool)
        inner[np.concatenate([[0], text.ends[:-1]])] = False
        before, token = np.roll(text.tokens, 1)[inner], text.tokens[inner]
        pairs[name] = np.unique((before * size + token)[before > 0])
    every = np.unique(np.concatenate(list(pairs.values())))
    contexts, first = np.unique(every // size, return_index=True)
    first = np.append(first, len(every))
    tokens = np.ascontiguousarray(every % size)
    green = favoured("transformers_red_green", settings, size)
    flags = [green(key, contexts[:, None], first, tokens) for key in keys]
    found = {}
    for name, own in pairs.items():
        at = np.searchsorted(every, own)
        found[name] = Reading(
            "binomial",
            np.full(len(keys), len(own)),
            np.array([float(f[at].sum()) for f in flags]),
            green_mass.gamma_of("transformers_red_green", settings, size),
        )
    return found


def _keep(windows: Predictions, path: Path) -> None:
    np.savez_compressed(
        path,
        ids=windows.ids.astype(np.int32),
        asked=windows.asked,
        repeated=windows.repeated,
        read_off=windows.read_off,
    )
