"""The prompts of teacher and students: templates times topics, from the reviewed file beside this module."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stillwatch.errors import InputError

FILE = Path(__file__).with_name("prompts.toml")


def texts(which: Literal["topics", "held_out"], path: Path = FILE) -> list[str]:
    """Every template with every topic of one list, topic by topic.

    Raises
    ------
    InputError
        The file cannot be read, or the two lists of topics have one in common.
    """
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
        templates, topics, held_out = told["templates"], told["topics"], told["held_out"]
    except (OSError, tomllib.TOMLDecodeError, KeyError) as problem:
        raise InputError(f"{path}: {problem}") from problem
    if both := set(topics) & set(held_out):
        raise InputError(f"{path}: {sorted(both)[0]!r} is held out and a topic of training too")
    return [t.format(topic) for topic in (topics if which == "topics" else held_out) for t in templates]


def prompts(
    which: Literal["topics", "held_out"], number: int, encode: Callable[[str], NDArray[np.int64]]
) -> list[NDArray[np.int64]]:
    """Ids of `number` prompts: those of the commonest lengths, so that many can be answered at once.

    The order is mixed, the same each time: any first part of it has many topics.

    Parameters
    ----------
    encode
        Such as `stillwatch.models.local.Local.prompted`.

    Raises
    ------
    InputError
        There are fewer.
    """
    all_ = [encode(text) for text in texts(which)]
    if number > len(all_):
        raise InputError(f"{which} has {len(all_)} prompts, {number} were asked for")
    common = Counter(len(ids) for ids in all_)
    chosen = sorted(range(len(all_)), key=lambda place: -common[len(all_[place])])[:number]
    return [all_[place] for place in np.random.default_rng(0).permutation(chosen)]
