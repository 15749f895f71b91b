"""A suspect held against the checkpoint that it is said to have been trained from: where did probability move?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from stillwatch.attribution.attribute import Row
from stillwatch.attribution.candidates import Candidates, apart
from stillwatch.attribution.randomized import green_mass
from stillwatch.attribution.randomized.green_mass import Shift
from stillwatch.attribution.suspect import Document, Suspect
from stillwatch.errors import AccessError, InputError, InsufficientData
from stillwatch.marks.favoured import favoured
from stillwatch.marks.widths import width_of
from stillwatch.models.protocol import Model
from stillwatch.records import TestResult

KIND = "green mass"
SHARED = "contexts share lists under this key: what moved after them cannot be added up"
NO_LISTS = "no key of ours favours a list of tokens that the context alone decides"
Ids = NDArray[np.int64]


def fitting(suspect: Suspect, base: Model, documents: Sequence[Document]) -> int:
    """Tokens of the one vocabulary that suspect, base and the model that served have.

    Raises
    ------
    InputError
        One of them gives no probabilities of all tokens, or vocabularies or tokenizers differ.
    """
    sizes = [_size(model, what) for model, what in ((suspect.model, "the suspect"), (base, "the base"))]
    if sizes[0] != sizes[1]:
        raise InputError(
            f"--base: the suspect has {sizes[0]:,} tokens and the base {sizes[1]:,}; probabilities can be held against "
            "each other only over one vocabulary"
        )
    ids = suspect.cut(documents)
    if suspect.other(documents, ids):
        raise InputError("--base: the suspect's tokenizer is not that of the model that served")
    own = suspect.cutting
    if own is not None:
        texts = [d.text or own.decode([i])[0] for d, i in list(zip(documents, ids, strict=True))[:50]]
        both = zip(own.encode(texts), base.encode(texts), strict=True)
        if not all(np.array_equal(ours, theirs) for ours, theirs in both):
            raise InputError("--base: the suspect and the base cut the same text in different ways")
    return sizes[0]


def shifts(
    documents: Sequence[Ids],
    model: Model,
    base: Model,
    widths: Iterable[int],
    *,
    on_read: Callable[[int], None] = lambda n: None,
) -> dict[int, Shift]:
    """`green_mass.shift` for contexts of each of these widths, each document read once by either model.

    Memory: the probabilities of one document under both, length times vocabulary times 4 bytes each, and about 3 kB for
    each place and width.
    """
    found: dict[int, list[Shift]] = {width: [] for width in widths}
    for document in documents:
        if len(document) > 1:
            ours, theirs = (next(iter(one.distributions([document]))) for one in (model, base))
            for width, parts in found.items():
                parts.append(green_mass.shift([document], [1], [ours], [theirs], width=width))
        on_read(1)
    return {width: _joined(parts, width) for width, parts in found.items()}


def rows(
    documents: Sequence[Document],
    suspect: Suspect,
    base: Model,
    groups: Sequence[Candidates],
    *,
    on_read: Callable[[int], None] = lambda n: None,
) -> list[Row]:
    """One row for each key whose scheme favours lists of tokens; keys of other schemes have no part in this test."""
    vocabulary = fitting(suspect, base, documents)
    listed = list(_with_lists(groups, vocabulary))
    if not listed:
        return [Row(KIND, why=NO_LISTS)]
    found = []
    for place, group in enumerate(listed):
        listed[place], sharing = apart(group)
        found += [Row(KIND, key, group.scopes[key], group.scheme, why=SHARED) for key in sharing]
    listed = [group for group in listed if group.keys]
    widths = {width_of(group.scheme, group.parameters) for group in listed}
    read = shifts(suspect.cut(documents), suspect.model, base, widths, on_read=on_read)
    for group in listed:
        moved = _within(read[width_of(group.scheme, group.parameters)], _size_of(group, vocabulary))
        try:
            results: Mapping[str, TestResult] = green_mass.every(
                moved.contexts, moved.tokens, moved.weights, group.keys, decoys=group.decoys, scheme=group.scheme,
                parameters=group.parameters, vocabulary=_size_of(group, vocabulary),
            )  # fmt: skip
            why = ""
        except InsufficientData as few:
            results, why = {}, f"too little: {few}"
        for key in group.keys:
            row = Row(
                KIND, key, group.scopes[key], group.scheme, results.get(key), why, late=key in group.late
            )
            found.append(row)
    return found


def _size(model: Model, what: str) -> int:
    try:
        return int(next(iter(model.distributions([np.zeros(2, np.int64)]))).shape[1])
    except AccessError as refused:
        raise InputError(f"--base needs the weights of both on hand; {what}: {refused}") from refused


def _size_of(group: Candidates, vocabulary: int) -> int:
    return int(group.parameters.get("vocab_size", vocabulary))


def _with_lists(groups: Sequence[Candidates], vocabulary: int) -> Iterator[Candidates]:
    for group in groups:
        try:
            green_mass.gamma_of(group.scheme, group.parameters, vocabulary)
            favoured(group.scheme, group.parameters, vocabulary)
        except InputError:
            continue
        yield group


def _joined(parts: Sequence[Shift], width: int) -> Shift:
    if not parts:
        return green_mass.shift([], [], [], [], width=width)
    return Shift(
        np.concatenate([p.contexts for p in parts]),
        np.concatenate([p.tokens for p in parts]),
        np.concatenate([p.weights for p in parts]),
    )


def _within(moved: Shift, size: int) -> Shift:
    """Without ids that the teacher's vocabulary does not have: a student can have more tokens."""
    kept = (moved.contexts < size).all(axis=1)
    tokens, weights = moved.tokens[kept], moved.weights[kept]
    beyond = tokens >= size
    return Shift(moved.contexts[kept], np.where(beyond, 0, tokens), np.where(beyond, np.float32(0), weights))
