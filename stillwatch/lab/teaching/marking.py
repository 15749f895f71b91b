"""The mark of a teacher: a scheme, its settings at generation and at reading, and a key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from inspect import signature
from typing import Any

import numpy as np

from stillwatch.marks.generation import marking
from stillwatch.marks.keys import MarkKey
from stillwatch.marks.widths import reader, width_of
from stillwatch.models.marking import Process


@dataclass(frozen=True, slots=True)
class TeacherMark:
    """What a teacher's answers carry, as an engine applies it.

    Parameters
    ----------
    key
        Of the scheme.
    making
        Settings of `stillwatch.marks.generation.marking`.
    reading
        Settings of the scheme's `read`, without `vocab_size`.
    """

    key: MarkKey
    making: Mapping[str, Any] = field(default_factory=dict)
    reading: Mapping[str, Any] = field(default_factory=dict)

    @property
    def scheme(self) -> Any:
        return reader(self.key.scheme)

    @property
    def lists(self) -> bool:
        """Whether it favours a list of tokens after each context; else it chooses the token."""
        return "gamma" in signature(self.scheme.mark).parameters

    @property
    def width(self) -> int:
        """Ids before a token that its mark depends on."""
        return width_of(self.key.scheme, self.reading)

    @property
    def digest(self) -> str:
        """Of scheme, settings and the key's fingerprint, never of the key itself; 16 hexadecimal digits."""
        told = [self.key.scheme, self.key.fingerprint, sorted(self.making.items())]
        return sha256(json.dumps(told).encode()).hexdigest()[:16]

    def settings(self, vocabulary: int) -> dict[str, Any]:
        """Of the scheme's `read`, for a model with this vocabulary."""
        wants = "vocab_size" in signature(self.scheme.read).parameters
        return {**self.reading, **({"vocab_size": vocabulary} if wants else {})}

    def begins(self, prompt: int) -> int:
        """Where a document of a prompt of so many ids and an answer has its first marked token with a whole context."""
        runs_back = marking(self.key.scheme, self.key, self.making).prompt
        return prompt if runs_back else prompt + self.width

    def process(self, temperature: float, rng: np.random.Generator) -> Process:
        """Temperature and mark of one batch of answers."""
        return Process(marking(self.key.scheme, self.key, self.making, rng=rng), temperature=temperature)
