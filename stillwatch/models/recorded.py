"""A model's answers that were kept: one JSON object a line, so that a test is repeated without asking again.

`Recorder` writes what a model said; `Recorded` answers the same questions from the file, and refuses all others. A line
is found by the digest of what was asked, so prompts need not be in the file.

==========  ====================================================================================
key         beside it
==========  ====================================================================================
``ask``     ``answers``: list of ``text``, ``tokens``, ``finish_reason``
``read``    ``log_probability``, ``best``: lists; null for a place that was not asked
``text``    ``ids``: the text's tokens
``model``   nothing; its value is the digest of the model, in the first line
==========  ====================================================================================
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwatch.errors import AccessError, FormatError, InputError
from stillwatch.models.protocol import Answer, Forced, Model


class Recorded:
    """Answers from a file that `record` or another program wrote.

    Raises
    ------
    InputError
        There is no such file.
    FormatError
        A line is none of the two kinds; the message names it.
    """

    def __init__(self, path: Path | str, *, name: str = "") -> None:
        self.path = Path(path)
        self._name = name or self.path.stem
        self._answers: dict[str, list[Answer]] = {}
        self._read: dict[str, Forced] = {}
        self._ids: dict[str, NDArray[np.int64]] = {}
        self.digest = ""
        """Of the model that answered, if it was written down."""
        try:
            text = self.path.read_text("utf-8")
        except OSError as problem:
            raise InputError(f"{self.path}: cannot be read: {problem.strerror}") from problem
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                self._take(line, number)

    @property
    def name(self) -> str:
        return self._name

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        found = [self._ids.get(_digest("text", t)) for t in texts]
        return [self._there(ids, "the ids of this text") for ids in found]

    def complete(
        self,
        prompts: Sequence[str],
        *,
        max_tokens: int,
        temperature: float = 1.0,
        top_p: float = 1.0,
        samples: int = 1,
        seed: int = 0,
    ) -> list[list[Answer]]:
        """The first `samples` recorded answers to each prompt that was asked in this way."""
        how = _how(max_tokens, temperature, top_p, seed)
        found = []
        for prompt in prompts:
            answers = self._there(self._answers.get(_digest("ask", prompt, how)), "an answer to this prompt")
            if len(answers) < samples:
                raise AccessError(
                    f"{self.name}: {len(answers)} answers were recorded, {samples} are asked for"
                )
            found.append(answers[:samples])
        return found

    def forced(self, documents: Sequence[NDArray[np.int64]], *, starts: Sequence[int] = ()) -> list[Forced]:
        places = list(starts) or [1] * len(documents)
        keys = [_digest("forced", d.tolist(), s) for d, s in zip(documents, places, strict=True)]
        found = [self._there(self._read.get(k), "this document") for k in keys]
        for document, forced in zip(documents, found, strict=True):
            if len(forced.best) != len(document):
                raise InputError(
                    f"{self.path}: a record of {len(forced.best)} places for {len(document)} tokens"
                )
        return [Forced(d, f.log_probability, f.best) for d, f in zip(documents, found, strict=True)]

    def following(self, contexts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
        found = self._there(self._read.get(_following(contexts)), "what follows these contexts")
        if len(found.best) != len(contexts):
            raise InputError(
                f"{self.path}: a record of {len(found.best)} places for {len(contexts)} contexts"
            )
        return np.asarray(found.best, np.int64)

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[Forced]:
        """Without the ids of the answers: those are not recorded."""
        return [self._there(self._read.get(_digest("score", *pair)), "this answer") for pair in pairs]

    def distributions(self, documents: Sequence[NDArray[np.int64]]) -> Iterator[NDArray[np.float32]]:
        raise AccessError(f"{self.name}: whole distributions are not recorded")

    def _there(self, found: Any, what: str) -> Any:
        if found is None:
            raise AccessError(f"{self.name}: {what} was not recorded")
        return found

    def has(self, key: str) -> bool:
        """Whether a document, an answer that was read, or a text is there under this digest."""
        return key in self._read or key in self._ids

    @property
    def size(self) -> int:
        """Documents and questions that it has an answer to."""
        return len(self._read) + len(self._answers)

    def answers(self, key: str) -> int:
        """How many answers there are under this digest."""
        return len(self._answers.get(key, ()))

    def take(self, row: dict[str, Any]) -> None:
        """One more line, as a JSON value."""
        if "ask" in row:
            self._answers[row["ask"]] = [
                Answer(str(a["text"]), tuple(map(int, a.get("tokens", ()))), str(a.get("finish_reason", "")))
                for a in row["answers"]
            ]
        elif "read" in row:
            self._read[row["read"]] = Forced(
                np.full(len(row["best"]), -1, np.int64),
                np.array([np.nan if x is None else x for x in row["log_probability"]], np.float64),
                np.array([-1 if x is None else x for x in row["best"]], np.int64),
            )
        elif "model" in row:
            self.digest = str(row["model"])
        else:
            self._ids[row["text"]] = np.array(row["ids"], np.int64)

    def _take(self, line: str, number: int) -> None:
        try:
            self.take(json.loads(line))
        except (json.JSONDecodeError, KeyError, TypeError, ValueError) as problem:
            raise FormatError(
                f"not a line of recorded answers ({problem!r})", str(self.path), number
            ) from problem


class Recorder:
    """A model whose answers are written to a file as it gives them; it answers like the model itself.

    What the file holds already is not asked again, so that what was interrupted goes on where it stopped. A last line
    that was cut off is left out and asked again.

    Parameters
    ----------
    digest
        Of the model's weights; stands in the first line, so that answers of two models never come into one file.

    Raises
    ------
    InputError
        The file holds answers of another model, or cannot be written.
    """

    def __init__(self, model: Model, path: Path | str, *, digest: str = "") -> None:
        self._model = model
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch(mode=0o600)
        _cut_torn_line(self.path)
        self._held = Recorded(self.path, name=model.name)
        self._known = self._held.size
        if digest and not self.path.stat().st_size:
            self._write([{"model": digest}])
        if digest and self._held.digest != digest:
            raise InputError(f"{self.path}: holds answers of another model; name a new file")

    @property
    def name(self) -> str:
        return self._model.name

    @property
    def known(self) -> int:
        """Documents and questions that the file had an answer to when it was opened."""
        return self._known

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        found = self._model.encode(texts)
        rows = [(_digest("text", t), i) for t, i in zip(texts, found, strict=True)]
        self._write([{"text": key, "ids": i.tolist()} for key, i in rows if not self._held.has(key)])
        return found

    def complete(
        self,
        prompts: Sequence[str],
        *,
        max_tokens: int,
        temperature: float = 1.0,
        top_p: float = 1.0,
        samples: int = 1,
        seed: int = 0,
    ) -> list[list[Answer]]:
        how = _how(max_tokens, temperature, top_p, seed)
        keys = [_digest("ask", prompt, how) for prompt in prompts]
        new = [i for i, key in enumerate(keys) if self._held.answers(key) < samples]
        found = self._model.complete(
            [prompts[i] for i in new],
            max_tokens=max_tokens, temperature=temperature, top_p=top_p, samples=samples, seed=seed,
        )  # fmt: skip
        self._write([_asked(keys[i], answers) for i, answers in zip(new, found, strict=True)])
        return self._held.complete(
            prompts, max_tokens=max_tokens, temperature=temperature, top_p=top_p, samples=samples, seed=seed
        )

    def forced(self, documents: Sequence[NDArray[np.int64]], *, starts: Sequence[int] = ()) -> list[Forced]:
        places = list(starts) or [1] * len(documents)
        keys = [_digest("forced", d.tolist(), s) for d, s in zip(documents, places, strict=True)]
        new = [i for i, key in enumerate(keys) if not self._held.has(key)]
        if new:
            found = self._model.forced([documents[i] for i in new], starts=[places[i] for i in new])
            self._write([_read(keys[i], f) for i, f in zip(new, found, strict=True)])
        return self._held.forced(documents, starts=starts)

    def following(self, contexts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
        key = _following(contexts)
        if not self._held.has(key):
            best = self._model.following(contexts)
            self._write([_read(key, Forced(best, np.full(len(best), np.nan), best))])
        return self._held.following(contexts)

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[Forced]:
        keys = [_digest("score", *pair) for pair in pairs]
        new = [i for i, key in enumerate(keys) if not self._held.has(key)]
        if new:
            found = self._model.score([pairs[i] for i in new])
            self._write([_read(keys[i], f) for i, f in zip(new, found, strict=True)])
        return self._held.score(pairs)

    def distributions(self, documents: Sequence[NDArray[np.int64]]) -> Iterator[NDArray[np.float32]]:
        """Of the model; nothing is written: one document's would take megabytes."""
        return self._model.distributions(documents)

    def _write(self, rows: list[dict[str, Any]]) -> None:
        with self.path.open("a", encoding="utf-8") as lines:
            lines.writelines(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
        for row in rows:
            self._held.take(row)


def _cut_torn_line(path: Path) -> None:
    with path.open("rb+") as file:
        data = file.read()
        file.truncate(data.rfind(b"\n") + 1)


def _asked(key: str, answers: Sequence[Answer]) -> dict[str, Any]:
    told = [{"text": a.text, "tokens": list(a.tokens), "finish_reason": a.finish_reason} for a in answers]
    return {"ask": key, "answers": told}


def _read(key: str, found: Forced) -> dict[str, Any]:
    return {
        "read": key,
        "log_probability": [None if np.isnan(x) else x for x in found.log_probability.tolist()],
        "best": [None if x < 0 else x for x in found.best.tolist()],
    }


def _following(contexts: Sequence[NDArray[np.int64]]) -> str:
    return _digest("following", [c.tolist() for c in contexts])


def _how(max_tokens: int, temperature: float, top_p: float, seed: int) -> list[float]:
    return [max_tokens, float(temperature), float(top_p), seed]


def _digest(*parts: Any) -> str:
    return sha256(json.dumps(parts, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()
