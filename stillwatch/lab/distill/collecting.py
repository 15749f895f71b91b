"""A teacher's answers, kept batch by batch as they come; what is in the file is not asked again."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwatch.errors import InputError
from stillwatch.lab.distill.asking import Answer
from stillwatch.lab.distill.speakers import Speaker
from stillwatch.lab.distill.spending import Spent
from stillwatch.lab.teaching.corpus import weights_digest
from stillwatch.lab.teaching.sampling import sample

Ids = NDArray[np.int64]
BATCH = 64
"""Prompts of one length that are answered together."""


def collect(
    teacher: Speaker,
    prompts: Sequence[str],
    path: Path,
    *,
    length: int,
    temperature: float,
    seed: int,
    spent: Spent,
    on_progress: Callable[[int, int], None] = lambda done, of: None,
) -> list[Answer]:
    """An answer to each prompt, in their order; each batch is kept under the digest of all that decides it.

    Parameters
    ----------
    path
        JSON lines: ``prompt``, ``answer``, ``ended``, ``ids``, ``batch``. It is a file of answers for `asking.answers`.
    length
        Most tokens of an answer, its end included.
    temperature
        Above 0.

    Raises
    ------
    InputError
        A prompt and its answer do not fit into the teacher.
    """
    asked = [teacher.prompted(prompt) for prompt in prompts]
    longest = max(len(ids) for ids in asked) + length
    if teacher.room and longest > teacher.room:
        raise InputError(
            f"a prompt and an answer of {longest:,} tokens do not fit into the teacher's {teacher.room:,}"
        )
    kept = _kept(path)
    whose = weights_digest(teacher.weights)
    found: dict[int, Answer] = {}
    for rows in _batches(asked):
        told: list[Any] = [whose, [asked[r].tolist() for r in rows], length, temperature, seed]
        name = sha256(json.dumps(told).encode()).hexdigest()[:24]
        if [one.prompt for one in kept.get(name, [])] != [prompts[r] for r in rows]:
            with spent.clock("answers") as amounts:
                made = sample(
                    teacher.weights,
                    [asked[r] for r in rows],
                    length=length,
                    temperature=temperature,
                    batch=len(rows),
                    seed=int(name[:12], 16),
                )
                kept[name] = [
                    _answer(prompts[r], ids, teacher) for r, ids in zip(rows, made.tolist(), strict=True)
                ]
                amounts["prompt_tokens"] = sum(len(asked[r]) for r in rows)
                amounts["answer_tokens"] = sum(len(one.ids) for one in kept[name])
                amounts["sampled_tokens"] = made.size
            _keep(path, name, kept[name])
        found.update(zip(rows, kept[name], strict=True))
        on_progress(len(found), len(prompts))
    return [found[row] for row in range(len(prompts))]


def _answer(prompt: str, ids: list[int], teacher: Speaker) -> Answer:
    """What came after an end was sampled because others of the batch went on; it is no part of the answer."""
    end = next((place for place, token in enumerate(ids) if token in teacher.ends), None)
    ids = ids if end is None else ids[: end + 1]
    return Answer(
        prompt, str(teacher.tokenizer.decode(ids, skip_special_tokens=True)), tuple(ids), end is not None
    )


def _batches(asked: Sequence[Ids]) -> Iterator[list[int]]:
    by_length: dict[int, list[int]] = defaultdict(list)
    for place, ids in enumerate(asked):
        by_length[len(ids)].append(place)
    for _, places in sorted(by_length.items()):
        for first in range(0, len(places), BATCH):
            yield places[first : first + BATCH]


def _keep(path: Path, name: str, answers: Sequence[Answer]) -> None:
    with path.open("a", encoding="utf-8") as out:
        out.write("".join(_line(name, len(answers), answer) for answer in answers))


def _line(name: str, size: int, answer: Answer) -> str:
    row = {"prompt": answer.prompt, "answer": answer.text, "ended": answer.ended, "ids": list(answer.ids)}
    return json.dumps({**row, "batch": f"{name}-{size}"}, ensure_ascii=False) + "\n"


def _kept(path: Path) -> dict[str, list[Answer]]:
    """Whole batches by digest; what was broken off while it was written leaves the file."""
    found: dict[tuple[str, int], list[Answer]] = defaultdict(list)
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.is_file() else []
    for line in lines:
        try:
            row = json.loads(line)
            name, _, size = row["batch"].partition("-")
            one = Answer(row["prompt"], row["answer"], tuple(row["ids"]), row["ended"])
            found[name, int(size)].append(one)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    whole = {(name, size): held for (name, size), held in found.items() if len(held) == size}
    if sum(size for _, size in whole) != sum(bool(line) for line in lines):
        draft = path.with_suffix(".part")
        draft.write_text(
            "".join(_line(name, size, one) for (name, size), held in whole.items() for one in held),
            encoding="utf-8",
        )
        draft.replace(path)
    return {name: held for (name, _), held in whole.items()}
