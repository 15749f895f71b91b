"""A suspect whose tokenizer cuts in another way is asked all the same, and the null stays what it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from stillwatch.attribution.across import HALF, predicted, same
from stillwatch.attribution.predictions import predictions
from stillwatch.attribution.suspect import Document, Suspect
from stillwatch.errors import InputError
from stillwatch.models.protocol import Forced


class Pairs:
    """Cuts text every `n` letters; an id is what they spell and the `n` of its tokenizer."""

    def __init__(self, n: int) -> None:
        self.n = n

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        cut = [[text[i : i + self.n] for i in range(0, len(text), self.n)] for text in texts]
        return [np.array([self.id_of(part) for part in parts], np.int64) for parts in cut]

    def decode(self, documents: Sequence[NDArray[np.int64]]) -> list[str]:
        return ["".join(self.text_of(int(i)) for i in d) for d in documents]

    def id_of(self, part: str) -> int:
        return 10 * int.from_bytes(part.encode(), "big") + self.n

    def text_of(self, number: int) -> str:
        spelled, n = divmod(number, 10)
        return spelled.to_bytes((spelled.bit_length() + 7) // 8, "big").decode() if n == self.n else "?"


class Says:
    """Predicts the token "z" everywhere."""

    name = "says"

    def __init__(self, cutting: Pairs) -> None:
        self.cutting = cutting

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        return self.cutting.encode(texts)

    def forced(self, documents: Sequence[NDArray[np.int64]], *, starts: Sequence[int] = ()) -> list[Forced]:
        best = self.cutting.id_of("z" * self.cutting.n)
        return [
            Forced(d, np.full(len(d), -1.0), np.where(np.arange(len(d)) > 0, best, -1)) for d in documents
        ]

    def following(self, contexts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
        return np.full(len(contexts), self.cutting.id_of("z" * self.cutting.n))


def test_every_place_is_predicted_from_what_stands_before_it() -> None:
    suspect, teacher = Pairs(3), Pairs(2)
    (ids,) = teacher.encode(["abcdefghijkl"])
    asked: list[str] = []

    def following(contexts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
        asked.extend(suspect.decode(contexts))
        return np.full(len(contexts), suspect.id_of("zzz"))

    (found,) = predicted([ids], following, suspect, teacher)
    assert asked == ["ab", "abcd", "abcdef", "abcdefgh", "abcdefghij"]
    assert found.tokens.tolist() == ids.tolist() and np.isnan(found.log_probability).all()
    assert found.best.tolist() == [-1, *[teacher.id_of("zz")] * 5]


def test_what_comes_later_changes_no_prediction() -> None:
    suspect, teacher = Pairs(3), Pairs(2)
    says = Says(suspect)

    def following(contexts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
        return np.array([suspect.id_of(f"{int(c.sum()) % 997:03d}") for c in contexts])

    texts = ["abcdefghijkl", "abcdefgXYZUV"]
    (one, other) = predicted(teacher.encode(texts), following, suspect, teacher)
    assert one.best[:4].tolist() == other.best[:4].tolist() and one.best[5] != other.best[5]
    head = suspect.encode(["ask"])
    (after,) = predicted(teacher.encode(texts[:1]), says.following, suspect, teacher, before=head)
    assert after.best[0] == teacher.id_of("zz")  # its first place stands behind a prompt


def test_half_a_character_is_no_prediction() -> None:
    class Broken(Pairs):
        def decode(self, documents: Sequence[NDArray[np.int64]]) -> list[str]:
            return ["".join(HALF if i > 10**10 else self.text_of(int(i)) for i in d) for d in documents]

    suspect, teacher = Broken(4), Pairs(2)
    (found,) = predicted(teacher.encode(["abcdefghijkl"]), Says(suspect).following, suspect, teacher)
    assert (found.best == -1).all()

    class Halves(Pairs):
        def decode(self, documents: Sequence[NDArray[np.int64]]) -> list[str]:
            return [text[:-1] + HALF if len(text) == 6 else text for text in super().decode(documents)]

    cut = Halves(2)
    (found,) = predicted(cut.encode(["abcdefghijkl"]), Says(Pairs(3)).following, Pairs(3), cut)
    assert np.flatnonzero(found.best < 0).tolist() == [0, 3]


def test_a_suspect_notices_by_itself_that_its_tokenizer_is_another() -> None:
    teacher, other = Pairs(2), Pairs(3)
    texts = ["abcdefghijkl", "mnopqrstuvwx"]
    documents = [Document(t, ids, marked=True) for t, ids in zip(texts, teacher.encode(texts), strict=True)]
    assert same(teacher.encode(texts), texts, teacher) and not same(teacher.encode(texts), texts, other)
    alike = Suspect(Says(teacher), teacher).read(documents)  # type: ignore[arg-type]
    assert [f.asked.sum() for f in alike] == [5, 5]
    (one, _) = Suspect(Says(other), other, teacher).read(documents)  # type: ignore[arg-type]
    assert one.asked.sum() == 5
    with pytest.raises(InputError, match="--tokenizer"):
        Suspect(Says(other), other).read(documents)  # type: ignore[arg-type]
    ids_only = [Document(None, d.tokens, marked=True) for d in documents]
    assert Suspect(Says(other), other, teacher).read(ids_only)[0].asked.sum() == 5  # type: ignore[arg-type]


def test_text_without_ids_is_cut_by_the_teacher() -> None:
    teacher = Pairs(2)
    suspect = Suspect(Says(teacher), teacher, teacher)  # type: ignore[arg-type]
    (ids,) = suspect.cut([Document("abcd", None)])
    assert ids.tolist() == teacher.encode(["abcd"])[0].tolist()
    assert suspect.read([Document("", None)])[0].asked.sum() == 0


LETTERS = "abcdefghijkl"
PIECES = [a + b for a in LETTERS for b in LETTERS]
SIZE = len(PIECES)
LOGITS = np.random.default_rng(3).normal(0.0, 3.0, (SIZE, SIZE))


def asked_about_marked_text(seed: int, learned: float) -> tuple[float, float]:
    """Standard deviations by which favoured predictions exceed chance, and how often a prediction is right.

    A teacher of two-letter tokens writes under lists drawn anew; the suspect, of three letters, is the teacher with a
    part of the preference for what is listed: none is an innocent model that predicts marked text well.
    """
    rng = np.random.default_rng(seed)
    suspect, teacher = Pairs(3), Pairs(2)
    spelled = np.array([teacher.id_of(piece) for piece in PIECES])
    green = np.argsort(rng.random((SIZE, SIZE)), axis=1) < SIZE // 4
    ids = rng.integers(0, SIZE, (8, 1))
    for _ in range(40):
        drawn = LOGITS[ids[:, -1]] + 3.0 * green[ids[:, -1]] + rng.gumbel(size=(8, SIZE))
        ids = np.column_stack([ids, drawn.argmax(axis=1)])
    likely = (LOGITS + learned * green).argmax(axis=1)
    says = {piece: PIECES[k] for piece, k in zip(PIECES, likely, strict=True)}

    def following(contexts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
        return np.array([suspect.id_of(says[text[-2:]] + "z") for text in suspect.decode(contexts)])

    read = predicted(list(spelled[ids]), following, suspect, teacher)
    pairs = np.unique(predictions(read, 1).ids, axis=0)
    before, token = (np.searchsorted(spelled, part) for part in pairs.T)
    n = len(pairs)
    score = (green[before, token].sum() - n / 4) / np.sqrt(n * 3 / 16)
    return float(score), float(np.mean([np.mean(f.best[1:] == f.tokens[1:]) for f in read]))


def test_an_innocent_model_that_predicts_marked_text_well_is_not_accused() -> None:
    runs = 300
    scores, right = np.array([asked_about_marked_text(seed, 0.0) for seed in range(runs)]).T
    assert right.mean() > 0.15
    assert abs(scores.mean()) < 3.3 / np.sqrt(runs)
    assert (scores > 1.645).mean() < 0.05 + 3.3 * np.sqrt(0.05 * 0.95 / runs)


def test_one_that_learned_a_third_of_the_preference_is() -> None:
    assert min(asked_about_marked_text(seed, 1.0)[0] for seed in range(20)) > 2.0
