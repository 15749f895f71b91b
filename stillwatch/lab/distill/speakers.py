"""Teacher and student as they are run: weights, tokenizer, how a prompt is put, and how an answer ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwatch.errors import InputError
from stillwatch.extras import need
from stillwatch.lab.distill.asking import Answer
from stillwatch.lab.distill.places import Lesson
from stillwatch.lab.distill.settings import Settings
from stillwatch.lab.teaching import training
from stillwatch.models.local import Local

Ids = NDArray[np.int64]


@dataclass(slots=True)
class Speaker:
    """A model and its words."""

    weights: Any
    tokenizer: Any
    prompted: Callable[[str], Ids]
    """Ids that stand before an answer to a prompt."""

    @property
    def ends(self) -> tuple[int, ...]:
        """Ids that end an answer; the first is written where an answer of text ends."""
        told = self.weights.generation_config.eos_token_id
        known = told if isinstance(told, list) else [] if told is None else [told]
        own = self.tokenizer.eos_token_id
        return tuple(dict.fromkeys([*([] if own is None else [own]), *known]))

    @property
    def room(self) -> int:
        """Most ids that it reads at once; 0 where it does not say."""
        return int(getattr(self.weights.config, "max_position_embeddings", 0) or 0)


def device() -> Any:
    """A GPU where there is one."""
    torch = need("torch")
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def teacher(path: Path, dtype: str) -> Speaker:
    """A model that is asked and not changed."""
    held = Local(path, name="teacher", dtype=dtype)
    held.weights.requires_grad_(False)
    return Speaker(held.weights.to(device()), held.tokenizer, held.prompted)


def student(path: Path | None, settings: Settings, model: Speaker | None) -> Speaker:
    """A model to be trained, in float32; from scratch with a teacher's tokenizer where there is no path.

    Raises
    ------
    InputError
        There is no such model, or no teacher whose tokenizer a student from scratch could have.
    """
    if path is not None:
        held = Local(path, name="student", dtype="float32")
        return Speaker(held.weights.to(device()), held.tokenizer, held.prompted)
    if model is None:
        raise InputError("a student from scratch has the tokenizer of a teacher; name one with --teacher")
    made = training.scratch(
        int(model.weights.config.vocab_size),
        hidden=settings.hidden,
        layers=settings.layers,
        heads=settings.heads,
        seed=settings.seed,
    )
    special = {
        f"{name}_token_id": getattr(model.tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")
    }
    special["eos_token_id"] = list(model.ends) or None
    for name, token in special.items():
        setattr(made.config, name, token)
    made.generation_config = need("transformers").GenerationConfig(**special)
    return Speaker(made.to(device()), model.tokenizer, model.prompted)


def adapted(weights: Any, settings: Settings) -> Any:
    """The same with adapters around every linear layer but the last; the weights themselves stay as they are.

    References
    ----------
    Hu, E. et al. (2022). LoRA: low-rank adaptation of large language models. ICLR. arXiv:2106.09685.
    """
    torch, peft = need("torch"), need("peft")
    torch.manual_seed(settings.seed)
    return peft.get_peft_model(
        weights,
        peft.LoraConfig(
            r=settings.lora,
            lora_alpha=2 * settings.lora,
            lora_dropout=0.0,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        ),
    )


def difference(one: Speaker, other: Speaker) -> str:
    """In what two vocabularies differ; empty where they are the same, so that probabilities can be held together."""
    ours, theirs = one.tokenizer.get_vocab(), other.tokenizer.get_vocab()
    if ours != theirs:
        odd = sum(ours.get(word) != place for word, place in theirs.items())
        return f"{odd:,} of the teacher's {len(theirs):,} tokens have another id or none in the student's {len(ours):,}"
    widths = [int(m.weights.config.vocab_size) for m in (other, one)]
    if widths[0] != widths[1]:
        return f"the teacher gives {widths[0]:,} probabilities and the student {widths[1]:,}"
    return ""


def asked_alike(one: Speaker, other: Speaker, answers: Sequence[Answer]) -> bool:
    """Whether both put these prompts in the same ids."""
    return all(np.array_equal(one.prompted(a.prompt), other.prompted(a.prompt)) for a in answers)


def lessons(
    answers: Sequence[Answer], model: Speaker, *, length: int, sampled: bool
) -> tuple[list[Lesson], int]:
    """Answers as ids, and how many of them do not end by themselves: they were cut, now at `length` or before.

    Parameters
    ----------
    model
        Whose tokenizer, and whose form of a prompt.
    sampled
        Whether ids of a teacher with the same vocabulary stand; else the text is encoded, with an end where it ended.

    Raises
    ------
    InputError
        A prompt or an answer has no token, or both do not fit into the model.
    """
    found, cut = [], 0
    ends = model.ends[:1]
    for one in answers:
        prompt = model.prompted(one.prompt)
        ids = list(one.ids)
        if not (sampled and ids):
            ids = list(model.tokenizer.encode(one.text, add_special_tokens=False))
            ids += list(ends) if one.ended else []
        cut += len(ids) > length or not one.ended
        ids = ids[:length]
        if not ids:
            raise InputError(f"an answer has no token, not even one that ends it: {one.prompt[:60]!r}")
        if not len(prompt) or (model.room and len(prompt) + len(ids) > model.room):
            raise InputError(
                f"a prompt of {len(prompt):,} tokens and an answer of {len(ids):,} do not fit into {model.room:,}: "
                f"{one.prompt[:60]!r}"
            )
        found.append(Lesson(prompt, np.array(ids, np.int64)))
    return found, cut
