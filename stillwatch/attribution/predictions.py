"""What a model predicts after the ids it was made to read: windows of a context and the predicted token.

A mark is a preference of certain tokens after certain contexts. A model trained on marked answers predicts those tokens
more often than chance has it, so its predictions are read as a text is: each window is a document
of its own, whose last token is the prediction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stillwatch.errors import InputError
from stillwatch.marks.tape import first_of, windows
from stillwatch.models.protocol import Forced


@dataclass(frozen=True, slots=True)
class Predictions:
    """Windows of `width` ids and the token that the model held most likely after them; shape (n, width + 1)."""

    ids: NDArray[np.int64]
    asked: int
    """Places that the model was asked about."""
    repeated: int
    """Left out: the context stood earlier in the document, from where the model may have copied."""
    read_off: int
    """Left out: the prediction is the token that stands there, which the mark itself chose."""

    @property
    def tokens(self) -> NDArray[np.int64]:
        """All windows one after the other, as a scheme of `stillwatch.marks` reads them."""
        return np.ascontiguousarray(self.ids.ravel())

    @property
    def ends(self) -> NDArray[np.int64]:
        return np.arange(1, len(self.ids) + 1, dtype=np.int64) * self.ids.shape[1]


def predictions(read: Sequence[Forced], width: int, *, marked: bool = False) -> Predictions:
    """The predictions of a model on documents that it read, one for each context of a document.

    Documents may carry the mark that is looked for. A prediction is made from what stands before it, and where its
    context is new in the document nothing before it was chosen by what the key draws after this context. So a model
    that does not depend on the key predicts a favoured token there exactly as often as by chance, however often it is
    right. A context that stood before is left out: its draw may have shaped what the model reads.

    Parameters
    ----------
    read
        What `stillwatch.models.Model.forced` gave, in the ids of the marked model's tokenizer.
    width
        Ids of the context that the mark's randomness is drawn from, 1 or more.
    marked
        Leave out what the model predicts rightly as well. It then predicts too few favoured tokens among the others
        (had the prediction been favoured, it would more likely stand there): far too conservative, and kept only so
        that this can be shown.

    Raises
    ------
    InputError
        `width` is below 1.
    """
    if width < 1:
        raise InputError(f"a context has 1 id or more, found {width}")
    found, asked, repeated, read_off = [np.empty((0, width + 1), np.int64)], 0, 0, 0
    for document in read:
        prints, whole = windows(document.tokens, width)
        places = np.flatnonzero(document.asked & whole)
        # A context is old where it stood anywhere before in the document, asked or not.
        new = np.zeros(len(prints), bool)
        new[whole] = first_of(prints[whole])
        kept = places[new[places]]
        asked, repeated = asked + len(places), repeated + len(places) - len(kept)
        if marked:
            free = document.best[kept] != document.tokens[kept]
            read_off += int((~free).sum())
            kept = kept[free]
        before = kept[:, None] + np.arange(-width, 0)
        found.append(np.column_stack([document.tokens[before], document.best[kept]]))
    return Predictions(np.concatenate(found), asked, repeated, read_off)
