"""A model's answers, recorded and given again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from stillwatch.errors import AccessError, FormatError, InputError
from stillwatch.models.protocol import Answer, Forced, Model
from stillwatch.models.recorded import Recorded, Recorder


class Parrot:
    """Says the prompt again, and holds every token as likely as its number says."""

    name = "parrot"

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        return [np.frombuffer(t.encode(), np.uint8).astype(np.int64) for t in texts]

    def complete(
        self, prompts: Sequence[str], *, max_tokens: int, temperature: float = 1.0, top_p: float = 1.0,
        samples: int = 1, seed: int = 0,
    ) -> list[list[Answer]]:  # fmt: skip
        return [[Answer(f"{p} {seed} {i}", (1, i), "stop") for i in range(samples)] for p in prompts]

    def forced(self, documents: Sequence[NDArray[np.int64]], *, starts: Sequence[int] = ()) -> list[Forced]:
        found = []
        for document, start in zip(documents, list(starts) or [1] * len(documents), strict=True):
            asked = np.arange(len(document)) >= start
            found.append(
                Forced(document, np.where(asked, -document / 7, np.nan), np.where(asked, document + 1, -1))
            )
        return found

    def following(self, contexts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
        return np.array([c[-1] + 1 for c in contexts], np.int64)

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[Forced]:
        return self.forced(self.encode([a for _, a in pairs]), starts=[0] * len(pairs))

    def distributions(self, documents: Sequence[NDArray[np.int64]]) -> Iterator[NDArray[np.float32]]:
        yield from (np.zeros((len(d) - 1, 3), np.float32) for d in documents)


def test_what_was_recorded_is_given_again_to_the_last_digit(tmp_path: Path) -> None:
    recorder = Recorder(Parrot(), tmp_path / "deep" / "parrot.jsonl")
    assert isinstance(recorder, Model)
    document = np.array([5, 6, 7])
    said = recorder.complete(["héllo\n", "b"], max_tokens=4, samples=2, seed=9)
    read, scored = recorder.forced([document], starts=[2]), recorder.score([("p", "answer")])
    ids = recorder.encode(["abc"])
    contexts = [document[:1], document]
    follow = recorder.following(contexts)
    again = Recorded(recorder.path)
    assert isinstance(again, Model) and again.name == "parrot"
    assert again.complete(["b", "héllo\n"], max_tokens=4, samples=2, seed=9) == said[::-1]
    for one, other in zip(
        read + scored, again.forced([document], starts=[2]) + again.score([("p", "answer")]), strict=True
    ):
        for part in ("tokens", "log_probability", "best"):
            np.testing.assert_array_equal(getattr(one, part), getattr(other, part))
        assert one.total == other.total
    np.testing.assert_array_equal(again.encode(["abc"])[0], ids[0])
    assert follow.tolist() == [6, 8] == again.following(contexts).tolist()
    with pytest.raises(AccessError, match="what follows"):
        again.following(contexts[:1])


def test_what_was_not_recorded_is_refused_and_not_made_up(tmp_path: Path) -> None:
    recorder = Recorder(Parrot(), tmp_path / "parrot.jsonl")
    recorder.complete(["a"], max_tokens=4)
    again = Recorded(recorder.path)
    with pytest.raises(AccessError, match="an answer to this prompt was not recorded"):
        again.complete(["a"], max_tokens=4, temperature=0.5)
    with pytest.raises(AccessError, match="1 answers were recorded, 2 are asked for"):
        again.complete(["a"], max_tokens=4, samples=2)
    for ask in (
        lambda: again.score([("a", "b")]),
        lambda: again.forced([np.arange(3)]),
        lambda: again.encode(["x"]),
    ):
        with pytest.raises(AccessError, match="was not recorded"):
            ask()
    with pytest.raises(AccessError, match="distributions"):
        again.distributions([np.arange(3)])


@pytest.mark.parametrize(
    "line",
    [
        "nothing",
        "[1]",
        '{"read": "x"}',
        '{"ask": "x", "answers": [1]}',
        '{"other": 1}',
        '{"text": "x", "ids": ["a"]}',
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "said.jsonl"
    path.write_text(f'{{"ask": "x", "answers": []}}\n\n{line}\n')
    with pytest.raises(FormatError, match=r"said\.jsonl:3"):
        Recorded(path)
    with pytest.raises(InputError, match="cannot be read"):
        Recorded(tmp_path / "none.jsonl")
