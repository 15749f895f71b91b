"""Prompts, and answers that somebody collected, out of files; each bad line is named."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stillwatch.errors import FormatError, InputError
from stillwatch.lab.teaching import prompts as built_in


@dataclass(frozen=True, slots=True)
class Answer:
    """One prompt and its answer."""

    prompt: str
    text: str
    ids: tuple[int, ...] = ()
    """As the teacher sampled them, the end included where it ended; empty where text was collected."""
    ended: bool = True
    """Whether the answer ended by itself; else it was cut."""


def prompts(path: Path | None) -> tuple[list[str], list[str]]:
    """Prompts for training and held-out ones; of a file all are for training (see `apart`).

    A file whose name ends in ``.jsonl`` has an object with ``prompt`` on each line, any other a prompt on each line.
    A prompt that comes twice counts once.

    Raises
    ------
    InputError, FormatError
        The file cannot be read, or a line has no prompt.
    """
    if path is None:
        mixed = np.random.default_rng(0)
        both = [built_in.texts("topics"), built_in.texts("held_out")]
        return ([str(t) for t in mixed.permutation(both[0])], [str(t) for t in mixed.permutation(both[1])])
    if path.suffix == ".jsonl":
        found = [_text(row, "prompt", path, number) for number, row in _objects(path)]
    else:
        found = [line.strip() for _, line in _lines(path)]
    if not found:
        raise FormatError("holds no prompt", str(path))
    return list(dict.fromkeys(found)), []


def answers(path: Path) -> list[Answer]:
    """Lines with ``prompt`` and ``answer``; ``ended`` false says that an answer was cut.

    Raises
    ------
    InputError, FormatError
        The file cannot be read, or a line lacks one of both.
    """
    found = []
    for number, row in _objects(path):
        ended = row.get("ended", True)
        if not isinstance(ended, bool):
            raise FormatError(f"ended is true or false, found {ended!r}", str(path), number)
        prompt, text = _text(row, "prompt", path, number), row.get("answer")
        if not isinstance(text, str) or not (text or ended):
            raise FormatError(f"answer is a text, found {text!r:.40}", str(path), number)
        found.append(Answer(prompt, text, (), ended))
    if not found:
        raise FormatError("holds no answer", str(path))
    return found


def apart(texts: Sequence[str], held_out: int, seed: int) -> tuple[list[str], list[str]]:
    """Prompts for training and held-out ones, by a draw; both in mixed order.

    Raises
    ------
    InputError
        Nothing would be left to train on.
    """
    distinct = list(dict.fromkeys(texts))
    if len(distinct) <= held_out:
        raise InputError(
            f"{len(distinct)} prompts, of which {held_out} are held out: none is left for training"
        )
    order = np.random.default_rng([seed, 3]).permutation(len(distinct))
    return [distinct[i] for i in order[held_out:]], [distinct[i] for i in order[:held_out]]


def _text(row: dict[str, Any], name: str, path: Path, number: int) -> str:
    found = row.get(name)
    if not isinstance(found, str) or not found.strip():
        raise FormatError(f"{name} is a text that is not empty, found {found!r:.40}", str(path), number)
    return found


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in _lines(path):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as problem:
            raise FormatError(f"not JSON: {problem.msg}", str(path), number) from problem
        if not isinstance(row, dict):
            raise FormatError("a JSON object is expected on each line", str(path), number)
        yield number, row


def _lines(path: Path) -> list[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise InputError(f"{path}: cannot be read: {problem}") from problem
    return [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
