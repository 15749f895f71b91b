"""A suspect with another tokenizer: what it predicts at each place of ours, in the ids of the teacher's tokenizer.

At each place of an answer the text up to there is cut by the suspect's tokenizer and by nothing that comes after it;
the suspect's likeliest next token is a piece of text, and the first token that the teacher's tokenizer makes of that
piece is its prediction. It depends on what stands before the place alone, as with one tokenizer, so the tests and their
null are the same, on text with a mark too. To read the whole text in the suspect's own cut would not do: whether one of
its tokens begins at a place depends on the token that stands there, which the key chose. What it costs is power, where
the suspect's pieces are shorter than the teacher's tokens, and time (`Model.following`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stillwatch.models.protocol import Forced

Ids = NDArray[np.int64]
Following = Callable[[Sequence[Ids]], Ids]
HALF = "\N{REPLACEMENT CHARACTER}"
"""What a tokenizer gives for a character of which bytes are missing."""


class Cutting(Protocol):
    """What cuts text into ids and joins them: `stillwatch.models.tokenizer.Tokenizer`, or a local model."""

    def encode(self, texts: Sequence[str]) -> list[Ids]: ...

    def decode(self, documents: Sequence[Ids]) -> list[str]: ...


def same(ids: Sequence[Ids], texts: Sequence[str], suspect: Cutting) -> bool:
    """Whether these ids say these texts in the suspect's vocabulary too, white space aside.

    Asked in this direction because ids that a model sampled are seldom those that its own tokenizer would make of the
    text. One text in five may differ: the last character of an answer can be cut in half.
    """
    found = suspect.decode(list(ids))
    alike = sum("".join(a.split()) == "".join(b.split()) for a, b in zip(found, texts, strict=True))
    return 5 * alike >= 4 * len(texts)


def predicted(
    documents: Sequence[Ids],
    following: Following,
    suspect: Cutting,
    teacher: Cutting,
    *,
    before: Sequence[Ids] = (),
) -> list[Forced]:
    """What a suspect predicts at each place of documents of the teacher's ids.

    Parameters
    ----------
    following
        `Model.following` of the suspect.
    before
        For each document ids of the suspect's that stand before it, such as its prompt; none where it is empty.

    Returns
    -------
    list
        `best` is the prediction in the teacher's ids; -1 where nothing stands before, where the teacher's cut halves a
        character, or where the suspect's piece is a half one. `log_probability` is NaN: the two count different tokens.
    """
    heads = list(before) or [np.empty(0, np.int64)] * len(documents)
    found = []
    for ids, head in zip(documents, heads, strict=True):
        asked, contexts = _contexts(ids, head, suspect, teacher)
        best = np.full(len(ids), -1, np.int64)
        if len(asked):
            best[asked] = following(contexts)
        found.append(best)
    known = np.unique(np.concatenate([f[f >= 0] for f in found] or [np.empty(0, np.int64)]))
    first = _first_ids(known, suspect, teacher)
    for best in found:
        best[best >= 0] = first[np.searchsorted(known, best[best >= 0])]
    return [Forced(ids, np.full(len(ids), np.nan), best) for ids, best in zip(documents, found, strict=True)]


def _contexts(ids: Ids, head: Ids, suspect: Cutting, teacher: Cutting) -> tuple[Ids, list[Ids]]:
    """Places that can be asked, and the suspect's ids of what stands before each."""
    texts = teacher.decode([ids[:i] for i in range(len(ids))])
    asked = [i for i, text in enumerate(texts) if not text.endswith(HALF) and (text or len(head))]
    contexts = [np.concatenate([head, cut]) for cut in suspect.encode([texts[i] for i in asked])]
    kept = [(i, c) for i, c in zip(asked, contexts, strict=True) if len(c)]
    return np.array([i for i, _ in kept], np.int64), [c for _, c in kept]


def _first_ids(known: Ids, suspect: Cutting, teacher: Cutting) -> Ids:
    """For each predicted id of the suspect's the teacher's first id of its text; -1: half a character, or nothing."""
    # Decoded behind another token: some tokenizers leave out a space at the start of a text.
    anchor = suspect.encode(["a"])[0][-1:]
    (start,) = suspect.decode([anchor])
    pieces = [text[len(start) :] for text in suspect.decode([np.append(anchor, i) for i in known])]
    cut = teacher.encode([piece if HALF not in piece else "" for piece in pieces])
    return np.array([ids[0] if len(ids) else -1 for ids in cut], np.int64)
