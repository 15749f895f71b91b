"""A suspect as the tests ask it: what it holds of our answers, in the ids of the tokenizer that served them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stillwatch.attribution.across import Cutting, predicted, same
from stillwatch.errors import InputError
from stillwatch.models.protocol import Forced, Model

Ids = NDArray[np.int64]
Told = Callable[[int], None]
"""Called with the number of documents that were read since the last call."""
AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Document:
    """An answer of ours, or a probe: text, ids of the teacher's tokenizer, or both."""

    text: str | None
    tokens: Ids | None
    marked: bool = False
    """Whether it carries a mark of ours."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """A model and the tokenizers around it.

    Attributes
    ----------
    cutting
        The suspect's tokenizer; None where only its recorded answers are there.
    teacher
        The tokenizer of the model that served; None: the suspect's is the same.
    """

    model: Model
    cutting: Cutting | None = None
    teacher: Cutting | None = None

    def cut(self, documents: Sequence[Document]) -> list[Ids]:
        """The teacher's ids of each document: those that were served, or else its text cut anew."""
        texts = [d.text or "" for d in documents if d.tokens is None]
        made = iter((self.teacher or self.model).encode(texts)) if texts else iter(())
        return [next(made) if d.tokens is None else d.tokens for d in documents]

    def other(self, documents: Sequence[Document], ids: Sequence[Ids]) -> bool:
        """Whether its tokenizer is another than the teacher's, as these documents show.

        Raises
        ------
        InputError
            It is, and the teacher's is not there.
        """
        held = list(zip(documents, ids, strict=True))[:50]
        if self.teacher is not None:
            texts = iter(self.teacher.decode([i for d, i in held if d.text is None]))
            both = [(next(texts) if d.text is None else d.text, i) for d, i in held]
        else:
            both = [(d.text, i) for d, i in held if d.text is not None]
        # What was recorded was asked in some ids; other documents are not found there.
        if not both or self.cutting is None or same([i for _, i in both], [t for t, _ in both], self.cutting):
            return False
        if self.teacher is None:
            raise InputError(
                "the suspect's tokenizer cuts our answers in another way than they were served; give the tokenizer of "
                "the model that served: --tokenizer"
            )
        return True

    def read(self, documents: Sequence[Document], *, on_read: Told = lambda n: None) -> list[Forced]:
        """What it holds of documents, in the teacher's ids.

        Raises
        ------
        InputError
            Its tokenizer is another one, and the teacher's is not there.
        """
        ids = self.cut(documents)
        if not self.other(documents, ids):
            asked = [d if len(d) else np.zeros(1, np.int64) for d in ids]
            return self._in_pieces(asked, self.model.forced, on_read)
        suspect, teacher = self.cutting, self.teacher
        assert suspect is not None and teacher is not None

        def across(piece: Sequence[Ids]) -> list[Forced]:
            return predicted(piece, self.model.following, suspect, teacher)

        return self._in_pieces(ids, across, on_read)

    @staticmethod
    def _in_pieces(
        documents: Sequence[Ids], read: Callable[[Sequence[Ids]], list[Forced]], on_read: Told
    ) -> list[Forced]:
        found: list[Forced] = []
        for first in range(0, len(documents), AT_ONCE):
            piece = documents[first : first + AT_ONCE]
            found += read(piece)
            on_read(len(piece))
        return found
