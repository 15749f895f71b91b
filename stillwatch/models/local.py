"""A model on this machine: a folder in Hugging Face's format or one GGUF file, run with transformers.

Nothing is fetched: a name that is no folder or file is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stillwatch.errors import InputError
from stillwatch.extras import need
from stillwatch.models import _branches, _forced
from stillwatch.models.marking import Marking, for_transformers
from stillwatch.models.protocol import Answer, Forced

Mark = Callable[[NDArray[np.float32], NDArray[np.int64]], NDArray[np.float32]]
"""Logits (vocabulary,) and all ids so far -> logits: what a scheme of `stillwatch.marks` does to the next token."""


class Local:
    """A causal language model, read and sampled in batches.

    Parameters
    ----------
    path
        A folder with weights and tokenizer, or a GGUF file.
    dtype
        ``float32`` or ``bfloat16``; the latter is faster where the processor has it, and rounds.
    batch
        Documents or prompts at a time; memory is about `batch` times the longest times the vocabulary times 4 bytes.
    chat
        Whether a prompt is put into the model's chat template, if it has one.
    mark
        A mark as its engine makes it (`stillwatch.marks.generation.marking`), or any function that changes the logits
        of every sampled token, before temperature and truncation; None samples as the model is.

    Raises
    ------
    InputError
        There is no model there.
    MissingExtra
        torch or transformers are not installed.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        name: str = "",
        dtype: str = "float32",
        batch: int = 8,
        chat: bool = True,
        mark: Mark | Marking | None = None,
    ) -> None:
        self.path = Path(path)
        self.batch = batch
        self.chat = chat
        self.mark = mark
        self._name = name or self.path.stem
        self._model, self._tokenizer = load(self.path, dtype=dtype)
        # The longest row of branches that was held against reading alone; False: it reads no such row.
        self._branches: int | Literal[False] = 0

    @property
    def name(self) -> str:
        return self._name

    @property
    def vocabulary(self) -> int:
        return int(self._model.config.vocab_size)

    @property
    def weights(self) -> Any:
        """The model of transformers itself, for whoever trains it or samples from it in another way."""
        return self._model

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of transformers itself."""
        return self._tokenizer

    @property
    def special(self) -> tuple[int, ...]:
        """Ids of special tokens: ends, paddings, roles."""
        return tuple(sorted(self._tokenizer.all_special_ids))

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        return [np.array(self._tokenizer.encode(t, add_special_tokens=False), np.int64) for t in texts]

    def decode(self, documents: Sequence[NDArray[np.int64]]) -> list[str]:
        """The text of each document of ids, special tokens left out."""
        return [str(self._tokenizer.decode(d.tolist(), skip_special_tokens=True)) for d in documents]

    def prompted(self, prompt: str) -> NDArray[np.int64]:
        """The ids that stand before an answer to this prompt."""
        if self.chat and self._tokenizer.chat_template:
            words = self._tokenizer.apply_chat_template(
                [{"role": "user", "content": prompt}], add_generation_prompt=True, tokenize=False
            )
            return np.array(self._tokenizer.encode(words, add_special_tokens=False), np.int64)
        return np.array(self._tokenizer.encode(prompt), np.int64)

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
        """See `stillwatch.models.protocol.Model`. A batch of one seed is sampled from one stream."""
        torch = need("torch")
        torch.manual_seed(seed)
        work = [(i, self.prompted(p)) for i, p in enumerate(prompts) for _ in range(samples)]
        found: list[list[Answer]] = [[] for _ in prompts]
        # Prompts of like length stand together: less padding. Each answer goes back to its place.
        order = sorted(range(len(work)), key=lambda k: len(work[k][1]))
        for first in range(0, len(order), self.batch):
            taken = [work[k] for k in order[first : first + self.batch]]
            answers = self._sampled([ids for _, ids in taken], max_tokens, temperature, top_p)
            for (i, _), answer in zip(taken, answers, strict=True):
                found[i].append(answer)
        return found

    def forced(self, documents: Sequence[NDArray[np.int64]], *, starts: Sequence[int] = ()) -> list[Forced]:
        return _forced.forced(self, documents, starts)

    def following(self, contexts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
        """See `stillwatch.models.protocol.Model`. A model that cannot branch is asked one context after the other."""
        found = np.full(len(contexts), -1, np.int64)
        for places, row in _branches.rows(contexts):
            logs = self._together([contexts[i] for i in places], row)
            if logs is None:
                found[places] = _forced.following(self, [contexts[i] for i in places])
            else:
                found[places] = logs.argmax(axis=1)
        return found

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[Forced]:
        return _forced.score(self, pairs)

    def distributions(self, documents: Sequence[NDArray[np.int64]]) -> Iterator[NDArray[np.float32]]:
        torch = need("torch")
        for first in range(0, len(documents), self.batch):
            held = documents[first : first + self.batch]
            longest = max(len(d) for d in held)
            ids = torch.zeros((len(held), longest), dtype=torch.int64)
            mask = torch.zeros_like(ids)
            for row, document in enumerate(held):  # padded on the right: what comes later is not seen
                ids[row, : len(document)] = torch.from_numpy(np.asarray(document, np.int64))
                mask[row, : len(document)] = 1
            with torch.inference_mode():
                logits = self._model(input_ids=ids, attention_mask=mask, use_cache=False).logits
            for row, document in enumerate(held):
                part = logits[row, : len(document) - 1].float()
                yield torch.log_softmax(part, dim=-1).numpy()

    def _sampled(
        self, prompts: list[NDArray[np.int64]], max_tokens: int, temperature: float, top_p: float
    ) -> list[Answer]:
        torch = need("torch")
        longest = max(len(p) for p in prompts)
        filler = self._tokenizer.pad_token_id
        filler = self._tokenizer.eos_token_id if filler is None else filler
        ids = torch.full((len(prompts), longest), filler, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):  # padded on the left: the answer follows the prompt
            ids[row, longest - len(prompt) :] = torch.from_numpy(prompt)
            mask[row, longest - len(prompt) :] = 1
        how: dict[str, Any] = {"do_sample": temperature > 0}
        if temperature > 0:
            how |= {"temperature": temperature, "top_p": top_p, "top_k": 0}
        if isinstance(self.mark, Marking):  # it takes temperature and truncation upon itself
            process = for_transformers(self.mark, temperature=temperature, top_p=top_p, attention_mask=mask)
            how |= {"logits_processor": [process]}
            how |= {"temperature": 1.0, "top_p": 1.0} if temperature > 0 else {}
        elif self.mark is not None:
            how["logits_processor"] = [_marking(self.mark, [longest - len(p) for p in prompts])]
        with torch.inference_mode():
            made = self._model.generate(
                input_ids=ids, attention_mask=mask, max_new_tokens=max_tokens, pad_token_id=filler, **how
            )
        answers = []
        for row in made[:, longest:].tolist():
            ended = next((i for i, t in enumerate(row) if t in self._ends()), None)
            tokens = tuple(row if ended is None else row[:ended])
            text = str(self._tokenizer.decode(tokens, skip_special_tokens=True))
            answers.append(Answer(text, tokens, "length" if ended is None else "stop"))
        return answers

    def _together(
        self, contexts: Sequence[NDArray[np.int64]], row: _branches.Row
    ) -> NDArray[np.float32] | None:
        """Log-probabilities after the contexts of a row; None where the model cannot read them in one.

        Whether it can is found out by one branch that is read alone as well, and again in longer rows: some models see
        a part of a long text only.
        """
        if row.branched and self._branches is False:
            return None
        try:
            logs = _branches.best(self._model, row)
        except (
            AttributeError,
            IndexError,
            KeyError,
            NotImplementedError,
            RuntimeError,
            TypeError,
            ValueError,
        ):
            if not row.branched:
                raise
            self._branches = False
            return None
        if row.branched and len(row.ids) > 1.25 * self._branches:
            at = int(np.argmax(row.last))
            (alone,) = self.distributions([np.append(contexts[at], 0)])
            if not _branches.alike(alone[-1], logs[at]):
                self._branches = False
                return None
            self._branches = len(row.ids)
        return logs

    def _ends(self) -> set[int]:
        ends = self._model.generation_config.eos_token_id
        return set(ends if isinstance(ends, list) else [ends])


def load(path: Path | str, *, dtype: str = "float32") -> tuple[Any, Any]:
    """A model and its tokenizer, ready to be run or trained.

    A GGUF file is unpacked into plain weights: transformers marks such a model as quantised and refuses to train it.

    Raises
    ------
    InputError
        There is no model there, or it cannot be read.
    """
    torch, transformers = need("torch"), need("transformers")
    place = Path(path)
    if dtype not in ("float32", "bfloat16"):
        raise InputError(f"a model runs in float32 or bfloat16, found {dtype!r}")
    if place.suffix == ".gguf" and place.is_file():
        need("gguf")
        where: tuple[str, dict[str, Any]] = (str(place.parent), {"gguf_file": place.name})
    elif (place / "config.json").is_file():
        where = (str(place), {})
    else:
        raise InputError(f"{place}: neither a GGUF file nor a folder with config.json")
    folder, how = where
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, **how)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, dtype=torch.float32, **how
        )
    except (OSError, ValueError, KeyError) as problem:
        raise InputError(f"{place}: cannot be read as a model: {problem}") from problem
    if how:
        model = _plain(model, transformers)
    return model.to(getattr(torch, dtype)).eval(), tokenizer


def _plain(model: Any, transformers: Any) -> Any:
    config = model.config.__class__.from_dict(
        {k: v for k, v in model.config.to_dict().items() if k != "quantization_config"}
    )
    fresh = transformers.AutoModelForCausalLM.from_config(config)
    fresh.load_state_dict(model.state_dict())
    fresh.tie_weights()
    fresh.generation_config = model.generation_config
    return fresh


def _marking(mark: Mark, padding: Sequence[int]) -> Callable[[Any, Any], Any]:
    """A pure mark as a logits processor of transformers; the padding on the left is no context."""
    torch = need("torch")

    def process(input_ids: Any, scores: Any) -> Any:
        ids, logits = input_ids.numpy(), scores.float().numpy()
        rows = [mark(logits[i], ids[i, padding[i] :]) for i in range(len(ids))]
        return torch.from_numpy(np.stack(rows))

    return process
