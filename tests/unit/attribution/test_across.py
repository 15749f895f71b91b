"""A suspect whose tokenizer cuts in another way is asked all the same, and the null stays what it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from stillwatch.attribution.across import same, translated
from stillwatch.attribution.suspect import Document, Suspect
from stillwatch.errors import InputError
from stillwatch.models.protocol import Forced


class Pairs:
    """Cuts text every `n` letters; an id is what they spell and the `n` of its tokenizer."""

    def __init__(self, n: int) -> None:
        self.n = n

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        return [ids for ids, _ in self.places(texts)]

    def places(self, texts: Sequence[str]) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        found = []
        for text in texts:
            at = np.arange(0, len(text), self.n)
            parts = [text[i : i + self.n] for i in at]
            found.append((np.array([self.id_of(p) for p in parts], np.int64), at.astype(np.int64)))
        return found

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


def test_predictions_stand_where_both_cuts_meet() -> None:
    suspect, teacher = Pairs(3), Pairs(2)
    texts = ["abcdefghijkl"]
    read = Says(suspect).forced(suspect.encode(texts))
    (found,) = translated(texts, read, suspect, teacher)
    assert found.tokens.tolist() == teacher.encode(texts)[0].tolist()
    # The teacher cuts at 0 2 4 6 8 10, the suspect at 0 3 6 9: they meet at 6, where it says "zzz", so "zz".
    assert np.flatnonzero(found.best >= 0).tolist() == [3]
    assert found.best[3] == teacher.id_of("zz") and np.isnan(found.log_probability).all()


def test_half_a_character_is_no_prediction() -> None:
    class Broken(Pairs):
        def decode(self, documents: Sequence[NDArray[np.int64]]) -> list[str]:
            return ["".join("\N{REPLACEMENT CHARACTER}" if i > 10**10 else self.text_of(int(i)) for i in d)
                    for d in documents]  # fmt: skip

    suspect = Broken(4)
    texts = ["abcdefghijkl"]
    (found,) = translated(texts, Says(suspect).forced(suspect.encode(texts)), suspect, Pairs(2))
    assert (found.best == -1).all()


def test_a_suspect_notices_by_itself_that_its_tokenizer_is_another() -> None:
    teacher, other = Pairs(2), Pairs(3)
    texts = ["abcdefghijkl", "mnopqrstuvwx"]
    documents = [Document(t, ids, marked=True) for t, ids in zip(texts, teacher.encode(texts), strict=True)]
    assert same(teacher.encode(texts), texts, teacher) and not same(teacher.encode(texts), texts, other)
    alike = Suspect(Says(teacher), teacher).read(documents)  # type: ignore[arg-type]
    assert [f.asked.sum() for f in alike] == [5, 5]
    (one, _) = Suspect(Says(other), other, teacher).read(documents)  # type: ignore[arg-type]
    assert one.asked.sum() == 1
    with pytest.raises(InputError, match="--tokenizer"):
        Suspect(Says(other), other).read(documents)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="token ids only"):
        Suspect(Says(other), other, teacher).read([*documents, Document(None, documents[0].tokens)])  # type: ignore[arg-type]


def test_text_without_ids_is_cut_by_the_teacher() -> None:
    teacher = Pairs(2)
    suspect = Suspect(Says(teacher), teacher, teacher)  # type: ignore[arg-type]
    (ids,) = suspect.cut([Document("abcd", None)])
    assert ids.tolist() == teacher.encode(["abcd"])[0].tolist()
    assert suspect.read([Document("", None)])[0].asked.sum() == 0
