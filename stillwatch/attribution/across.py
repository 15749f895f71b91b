"""A suspect with another tokenizer: its predictions in the ids of the teacher's.

Both tokenizers cut the same text. Where a token of the teacher's begins at a character where one of the suspect's
begins too, the suspect's prediction there is a piece of text, and the first token that the teacher's tokenizer makes
of that piece is taken for its prediction. On text without a mark this depends on the suspect and on no key, so the null
is the same; what it costs is power, where pieces are shorter than the teacher's tokens and where no two cuts meet. On
text with a mark it must not be used: whether a token begins at a place depends on the token there, which the key chose.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stillwatch.models.protocol import Forced


class Cutting(Protocol):
    """What cuts text into ids and says where: `stillwatch.models.tokenizer.Tokenizer`, or a local model."""

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int64]]: ...

    def places(self, texts: Sequence[str]) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]: ...

    def decode(self, documents: Sequence[NDArray[np.int64]]) -> list[str]: ...


def same(ids: Sequence[NDArray[np.int64]], texts: Sequence[str], suspect: Cutting) -> bool:
    """Whether these ids say these texts in the suspect's vocabulary too, white space aside.

    Asked in this direction because ids that a model sampled are seldom those that its own tokenizer would make of the
    text. One text in five may differ: the last character of an answer can be cut in half.
    """
    found = suspect.decode(list(ids))
    alike = sum("".join(a.split()) == "".join(b.split()) for a, b in zip(found, texts, strict=True))
    return 5 * alike >= 4 * len(texts)


def translated(
    texts: Sequence[str], read: Sequence[Forced], suspect: Cutting, teacher: Cutting
) -> list[Forced]:
    """What a suspect holds of texts, place by place of the teacher's tokens.

    Parameters
    ----------
    texts
        What both read.
    read
        What the suspect gave for `suspect.encode(texts)`.

    Returns
    -------
    list
        `tokens` are the teacher's ids, `best` the prediction in the teacher's ids or -1 where the cuts do not meet;
        `log_probability` is NaN everywhere: the two count different tokens.
    """
    first = _first_ids(read, suspect, teacher)
    cut = zip(suspect.places(texts), teacher.places(texts), read, strict=True)
    return [_one(own, theirs, forced, first) for own, theirs, forced in cut]


def _one(
    own: tuple[NDArray[np.int64], NDArray[np.int64]],
    theirs: tuple[NDArray[np.int64], NDArray[np.int64]],
    forced: Forced,
    first: dict[int, int],
) -> Forced:
    (_, at), (ids, begins) = own, theirs
    # Several tokens of one character share its place; the first of them is where the cut is.
    fresh = np.append(True, at[1:] > at[:-1]) if len(at) else np.empty(0, bool)
    where = dict(zip(at[fresh].tolist(), np.flatnonzero(fresh).tolist(), strict=True))
    best = np.full(len(ids), -1, np.int64)
    for i in range(1, len(ids)):
        j = where.get(int(begins[i]))
        if j is not None and begins[i] > begins[i - 1] and forced.best[j] >= 0:
            best[i] = first[int(forced.best[j])]
    return Forced(ids, np.full(len(ids), np.nan), best)


def _first_ids(read: Sequence[Forced], suspect: Cutting, teacher: Cutting) -> dict[int, int]:
    """Each predicted id of the suspect's -> the teacher's first id of its text; -1: half a character, or nothing."""
    known = np.unique(np.concatenate([f.best[f.best >= 0] for f in read] or [np.empty(0, np.int64)]))
    # Decoded behind another token: some tokenizers leave out a space at the start of a text.
    anchor = suspect.encode(["a"])[0][-1:]
    (start,) = suspect.decode([anchor])
    pieces = [text[len(start) :] for text in suspect.decode([np.append(anchor, i) for i in known])]
    whole = [piece if piece and "\N{REPLACEMENT CHARACTER}" not in piece else "" for piece in pieces]
    cut = teacher.encode(whole)
    return {int(i): int(ids[0]) if len(ids) else -1 for i, ids in zip(known, cut, strict=True)}
