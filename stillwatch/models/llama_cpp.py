"""A GGUF file run by llama.cpp, through llama-cpp-python: quantised weights stay quantised, and memory stays small.

The library is compiled when it is installed, so it is an extra of its own (``llama-cpp``). One answer at a time: for
many answers at once `local` is quicker, which unpacks the file into plain weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwatch.errors import InputError
from stillwatch.extras import need
from stillwatch.models import _forced
from stillwatch.models.marking import Marking, Process, warped
from stillwatch.models.protocol import Answer, Forced

_CHAT = "tokenizer.chat_template"


class LlamaCpp:
    """A causal language model in one GGUF file.

    Parameters
    ----------
    path
        A GGUF file.
    context
        Most ids of prompt and answer together. Where documents are read, logits take `context` times the vocabulary
        times 4 bytes.
    threads
        Of llama.cpp; 0 leaves it to the library.
    chat
        Whether a prompt is put into the model's chat template, if it has one.
    mark
        A mark as its engine makes it (`stillwatch.marks.generation.marking`).

    Raises
    ------
    InputError
        There is no GGUF file there, or it cannot be read.
    MissingExtra
        llama-cpp-python is not installed.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        name: str = "",
        context: int = 2048,
        threads: int = 0,
        chat: bool = True,
        mark: Marking | None = None,
    ) -> None:
        self.path = Path(path)
        if self.path.suffix != ".gguf" or not self.path.is_file():
            raise InputError(f"{self.path}: not a GGUF file")
        self.context, self.threads, self.chat, self.mark = context, threads, chat, mark
        self._name = name or self.path.stem
        self._writer = self._open(logits_all=False)
        self._reader: Any = None

    @property
    def name(self) -> str:
        return self._name

    @property
    def vocabulary(self) -> int:
        return int(self._writer.n_vocab())

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        return [np.array(self._writer.tokenize(t.encode(), add_bos=False), np.int64) for t in texts]

    def decode(self, documents: Sequence[NDArray[np.int64]]) -> list[str]:
        """The text of each document of ids, special tokens left out."""
        return [self._writer.detokenize(d.tolist()).decode("utf-8", "replace") for d in documents]

    def prompted(self, prompt: str) -> NDArray[np.int64]:
        """The ids that stand before an answer to this prompt."""
        if self.chat and _CHAT in self._writer.metadata:
            formatter = need("llama_cpp.llama_chat_format").Jinja2ChatFormatter(
                self._writer.metadata[_CHAT], eos_token=self._piece("eos"), bos_token=self._piece("bos")
            )
            words = formatter(messages=[{"role": "user", "content": prompt}]).prompt
            return np.array(self._writer.tokenize(words.encode(), add_bos=False, special=True), np.int64)
        return np.array(self._writer.tokenize(prompt.encode()), np.int64)

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
        """See `stillwatch.models.protocol.Model`. Each answer is sampled from a stream of its own."""
        found = []
        for number, prompt in enumerate(prompts):
            ids = self.prompted(prompt)
            if len(ids) + max_tokens > self.context:
                raise InputError(
                    f"a prompt of {len(ids)} ids and {max_tokens} tokens need a context of "
                    f"{len(ids) + max_tokens}, found {self.context}"
                )
            streams = [np.random.default_rng([seed, number, sample]) for sample in range(samples)]
            found.append([self._sampled(ids, max_tokens, temperature, top_p, rng) for rng in streams])
        return found

    def forced(self, documents: Sequence[NDArray[np.int64]], *, starts: Sequence[int] = ()) -> list[Forced]:
        return _forced.forced(self, documents, starts)

    def following(self, contexts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
        """See `stillwatch.models.protocol.Model`. One after the other: slow, where there are many."""
        return _forced.following(self, contexts)

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[Forced]:
        return _forced.score(self, pairs)

    def distributions(self, documents: Sequence[NDArray[np.int64]]) -> Iterator[NDArray[np.float32]]:
        if self._reader is None:
            self._reader = self._open(logits_all=True)
        for document in documents:
            if len(document) > self.context:
                raise InputError(f"a document of {len(document)} ids, found a context of {self.context}")
            self._reader.reset()
            self._reader.eval(document.tolist())
            logits = self._reader.scores[: len(document) - 1]
            logs = logits - logits.max(axis=1, keepdims=True)
            logs -= np.log(np.exp(logs).sum(axis=1, keepdims=True, dtype=np.float64)).astype(np.float32)
            yield logs

    def _open(self, *, logits_all: bool) -> Any:
        try:
            return need("llama_cpp").Llama(
                str(self.path), n_ctx=self.context, n_threads=self.threads or None, logits_all=logits_all,
                n_threads_batch=self.threads or None, verbose=False,
            )  # fmt: skip
        except (ValueError, OSError) as problem:
            raise InputError(f"{self.path}: cannot be read as a model: {problem}") from problem

    def _piece(self, which: str) -> str:
        number = int(self._writer.metadata.get(f"tokenizer.ggml.{which}_token_id", -1))
        if number < 0:
            return ""
        return str(self._writer.detokenize([number], special=True).decode("utf-8", "replace"))

    def _sampled(
        self,
        ids: NDArray[np.int64],
        max_tokens: int,
        temperature: float,
        top_p: float,
        rng: np.random.Generator,
    ) -> Answer:
        """Everything is chosen here; the library is left one finite logit and takes the largest."""
        mark = Process(self.mark, temperature=temperature, top_p=top_p) if self.mark else None
        step = _Step(mark, temperature, top_p, rng)
        # Its cache of the last prompt would make an answer depend on the one before, by rounding.
        self._writer.reset()
        tokens: list[int] = []
        ended = False
        for token in self._writer.generate(ids.tolist(), temp=0.0, logits_processor=[step]):
            step.check()
            ended = token in self._ends()
            if not ended:
                tokens.append(token)
            if ended or len(tokens) == max_tokens:
                break
        text = self._writer.detokenize(tokens).decode("utf-8", "replace")
        return Answer(text, tuple(tokens), "stop" if ended else "length")

    def _ends(self) -> set[int]:
        told = self._writer.metadata.get("tokenizer.ggml.eot_token_id")
        return {int(self._writer.token_eos())} | ({int(told)} if told else set())


class _Step:
    """A logits processor that leaves the sampled token only. The library calls it from C, where an error is lost."""

    def __init__(
        self,
        mark: Callable[[NDArray[Any], NDArray[Any]], NDArray[np.float32]] | None,
        temperature: float,
        top_p: float,
        rng: np.random.Generator,
    ) -> None:
        self.mark, self.temperature, self.top_p, self.rng = mark, temperature, top_p, rng
        self.problem: Exception | None = None

    def __call__(self, ids: NDArray[np.intc], logits: NDArray[np.single]) -> NDArray[np.single]:
        try:
            given = np.array(logits, np.float32)
            if self.mark is None:
                scores = warped(given[None], self.temperature, self.top_p)[0]
            else:
                scores = self.mark(ids, given)
            out = np.full(scores.shape, -np.inf, np.float32)
            out[self._chosen(scores)] = 0.0
            return out
        except Exception as problem:
            self.problem = problem
            return logits

    def check(self) -> None:
        """Raise what went wrong in a call."""
        if self.problem is not None:
            raise self.problem

    def _chosen(self, scores: NDArray[np.float32]) -> int:
        if self.temperature == 0.0:
            return int(scores.argmax())
        parts = np.cumsum(np.exp(scores.astype(np.float64) - scores.max()))
        return int(np.searchsorted(parts, self.rng.random() * parts[-1], side="right"))
