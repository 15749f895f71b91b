"""The mark of a teacher: a scheme, its settings and a key, as an engine applies them while it samples."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwatch.marks.keys import MarkKey
from stillwatch.marks.widths import reader, width_of

CHOOSES = ("vllm_gumbel", "vllm_dual_gumbel", "sglang_gumbel", "sglang_dual_gumbel")
"""Schemes whose `mark` gives the token and not the logits, and which leave a context that repeats unmarked."""
READS_PROMPT = ("transformers_red_green", "markllm_kgw", "sglang_gumbel", "sglang_dual_gumbel")
"""Schemes whose context runs back into the prompt; for the others it begins with the answer."""


@dataclass(frozen=True, slots=True)
class TeacherMark:
    """What a teacher's answers carry.

    Parameters
    ----------
    key
        Of the scheme.
    making
        Settings of the scheme's `mark`.
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
    def chooses(self) -> bool:
        return self.key.scheme in CHOOSES

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
        return prompt if self.key.scheme in READS_PROMPT else prompt + self.width

    def applied(self, logits: NDArray[np.float32], ids: NDArray[np.int64], prompt: int) -> NDArray[Any]:
        """The scheme's `mark` on logits (rows, vocabulary) after `ids` (rows, so far) with prompts of one length."""
        context = ids if self.key.scheme in READS_PROMPT else ids[:, prompt:]
        found: NDArray[Any] = self.scheme.mark(logits, context, self.key.as_read(), **self.making)
        return found
