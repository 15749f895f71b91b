"""A teacher's answers to prompts: made once, kept by what decides them, and read back before the mark is trusted."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwatch.errors import AssumptionViolated
from stillwatch.lab.teaching.marking import TeacherMark
from stillwatch.lab.teaching.sampling import sample
from stillwatch.marks.drawn_keys import log_pvalues

Ids = NDArray[np.int64]
MOST_LOG_P = math.log(1e-10)
"""A marked corpus whose own mark is not shown at this level is refused."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """Prompts and their answers in token ids."""

    prompts: tuple[Ids, ...]
    answers: Ids
    """int64 (prompts, length)."""

    def __len__(self) -> int:
        return len(self.prompts)

    def documents(self) -> list[Ids]:
        """Each prompt followed by its answer."""
        return _joined(self.prompts, self.answers)

    def rows(self, places: Sequence[int] | NDArray[np.int64]) -> Corpus:
        """Only these, in this order."""
        return Corpus(tuple(self.prompts[p] for p in places), self.answers[list(places)])


@dataclass(frozen=True, slots=True)
class Lessons:
    """Prompts and answers of any lengths, in the ids of whoever learns from them."""

    prompts: tuple[Ids, ...]
    answers: tuple[Ids, ...]

    def documents(self) -> list[Ids]:
        """Each prompt followed by its answer."""
        return _joined(self.prompts, self.answers)


def together(parts: Sequence[Corpus]) -> Corpus:
    """Several corpora of one length as one."""
    return Corpus(
        tuple(prompt for part in parts for prompt in part.prompts),
        np.concatenate([part.answers for part in parts]),
    )


def make(
    folder: Path,
    model: Any,
    prompts: Sequence[Ids],
    *,
    length: int,
    temperature: float,
    barred: Sequence[int] = (),
    mark: TeacherMark | None = None,
    batch: int = 128,
    seed: int = 0,
) -> Corpus:
    """The answers, from the folder if they are there; else sampled, read back, and kept.

    Parameters
    ----------
    folder
        Where ``<digest>.npz`` stands. The digest is of weights, prompts, sampling and mark (by the key's fingerprint);
        nothing in the folder holds or shows a key.
    model, prompts, length, temperature, barred, mark, batch, seed
        As in `sampling.sample`. The size of a batch decides which stream a prompt draws from, so it counts too.

    Raises
    ------
    AssumptionViolated
        The answers do not carry their mark; they are not kept.
    """
    told = {
        "model": weights_digest(model),
        "prompts": _digest(prompts),
        "sampling": [length, temperature, sorted(barred), batch, seed],
        "mark": mark.digest if mark else None,
    }
    path = folder / f"{sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:24]}.npz"
    if path.exists():
        with np.load(path) as kept:
            return Corpus(tuple(prompts), kept["answers"].astype(np.int64))
    answers = sample(
        model,
        prompts,
        length=length,
        temperature=temperature,
        barred=barred,
        mark=mark,
        batch=batch,
        seed=seed,
    )
    if mark is not None:
        read_back(answers, mark, int(model.config.vocab_size))
    folder.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}.part")
    with draft.open("wb") as out:
        np.savez_compressed(
            out, answers=answers.astype(np.int32), told=np.array(json.dumps(told, sort_keys=True))
        )
    draft.replace(path)
    return Corpus(tuple(prompts), answers)


def read_back(answers: Ids, mark: TeacherMark, vocabulary: int) -> tuple[int, float, float]:
    """Pairs scored, their mean score (the share of favoured tokens, or 1 without a mark) and the natural log of p.

    Raises
    ------
    AssumptionViolated
        The mark is not there at `MOST_LOG_P`: a mistake in the mark, or answers without room for one. A student of such
        answers would show that a test finds nothing, whatever the test.
    """
    ends = answers.shape[1] * np.arange(1, len(answers) + 1)
    reading = mark.scheme.read(answers.ravel(), [mark.key.as_read()], ends=ends, **mark.settings(vocabulary))
    scored, log_p = int(reading.scored[0]), float(log_pvalues(reading)[0])
    mean = float(reading.statistic[0]) / (scored * reading.draws)
    if log_p > MOST_LOG_P:
        raise AssumptionViolated(
            "a teacher's corpus read back",
            f"{answers.size} tokens marked with {mark.key.scheme} show their mark",
            f"{scored} pairs, mean score {mean:.4f}, log10 p {log_p / math.log(10):.1f} (at most "
            f"{MOST_LOG_P / math.log(10):.0f} is asked)",
        )
    return scored, mean, log_p


def weights_digest(model: Any) -> str:
    """Of all weights of a model and their type; 16 hexadecimal digits."""
    said = sha256()
    for name, weight in sorted(model.state_dict().items()):
        said.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
        said.update(weight.detach().cpu().float().numpy().tobytes())
    return said.hexdigest()[:16]


def _joined(prompts: Sequence[Ids], answers: Iterable[Ids]) -> list[Ids]:
    return [np.concatenate(both) for both in zip(prompts, answers, strict=True)]


def _digest(prompts: Sequence[Ids]) -> str:
    said = sha256()
    for prompt in prompts:
        said.update(len(prompt).to_bytes(4, "little") + np.ascontiguousarray(prompt, np.int64).tobytes())
    return said.hexdigest()[:16]
