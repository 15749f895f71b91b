"""What decides a student, and the file that keeps two runs from sharing a folder by mistake."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from stillwatch.errors import InputError
from stillwatch.stats.intervals import FEWEST_UNITS

FILE, ANSWERS = "settings.json", "answers.jsonl"
SCRATCH = "scratch"
"""In place of a student's path: a small model with random weights."""
EVALUATION, COSTS = "evaluation.json", "costs.json"
WEIGHTS = (".safetensors", ".bin", ".gguf", ".json", ".model", ".jinja")


@dataclass(frozen=True, slots=True)
class Settings:
    """All that decides a student besides the models and the prompts."""

    level: str = "sequence"
    """``sequence``: sampled answers. ``logits``: the teacher's probability of every token at each place of them."""
    divergence: str = ""
    """At the level of logits ``forward``, KL(teacher, student), or ``reverse``, KL(student, teacher)."""
    on_policy: float = 0.0
    """Share of batches whose answers the student samples itself, in [0, 1]; at the level of logits only."""
    lora: int = 0
    """Rank of the adapters; 0: every weight is trained."""
    epochs: int = 1
    batch: int = 8
    rate: float = 1e-4
    warmup: int = 8
    length: int = 128
    """Most tokens of an answer."""
    temperature: float = 1.0
    """Of every sampled answer, the teacher's and the student's; the divergence is always taken at 1."""
    held_out: int = 32
    """Prompts that are asked before and after, and never trained on."""
    limit: int = 0
    """Most prompts for training; 0: all."""
    seed: int = 0
    dtype: str = "bfloat16"
    """``bfloat16``: products in bfloat16, weights trained in float32 and saved in bfloat16. ``float32``: throughout."""
    hidden: int = 64
    layers: int = 4
    heads: int = 4
    """Size of a student from scratch."""

    def check(self) -> None:
        """Refuse what cannot be.

        Raises
        ------
        InputError
            A setting is out of range, or two do not go together.
        """
        logits = self.level == "logits"
        rules = [
            (self.level in ("sequence", "logits"), f"the level is sequence or logits, found {self.level!r}"),
            (
                self.divergence in (("forward", "reverse") if logits else ("",)),
                f"a divergence belongs to the level of logits, and is forward or reverse; found {self.divergence!r} "
                f"at the level {self.level!r}",
            ),
            (0 <= self.on_policy <= 1, f"the on-policy share lies in 0 to 1, found {self.on_policy}"),
            (
                logits or not self.on_policy,
                "answers of the student itself are judged by the teacher's logits: on-policy needs the level logits",
            ),
            (self.lora >= 0, f"the rank of adapters is 1 or more, found {self.lora}"),
            (min(self.epochs, self.batch, self.length) >= 1, "epochs, batch and length are 1 or more"),
            (self.rate > 0, f"the rate is above 0, found {self.rate}"),
            (self.temperature > 0, f"the temperature is above 0, found {self.temperature}"),
            (
                self.held_out >= FEWEST_UNITS,
                f"an interval needs at least {FEWEST_UNITS} held-out prompts, found {self.held_out}",
            ),
            (
                self.limit >= 0 and self.seed >= 0 and self.warmup >= 0,
                "limit, seed and warm-up are 0 or more",
            ),
            (
                self.dtype in ("bfloat16", "float32"),
                f"products are made in bfloat16 or float32, found {self.dtype!r}",
            ),
            (
                min(self.hidden, self.layers, self.heads) >= 1 and self.hidden % (2 * self.heads) == 0,
                f"a student from scratch has a width that is a multiple of twice its heads, found {self.hidden} and "
                f"{self.heads}",
            ),
        ]
        for holds, message in rules:
            if not holds:
                raise InputError(message)


def of_model(path: Path | str) -> str:
    """Digest of all files of a model, by name and content; 16 hexadecimal digits.

    Raises
    ------
    InputError
        There is no file or folder.
    """
    place = Path(path)
    files = [place] if place.is_file() else sorted(place.glob("*")) if place.is_dir() else []
    # What a run wrote beside a student says nothing about it: other prices make no other model.
    files = [
        f for f in files if f.suffix in WEIGHTS and f.name not in (FILE, EVALUATION, COSTS) and f.is_file()
    ]
    if not files:
        raise InputError(f"{place}: neither a GGUF file nor a folder with config.json")
    said = sha256()
    for file in files:
        said.update(f"{file.name if place.is_dir() else ''} {of_file(file)}".encode())
    return said.hexdigest()[:16]


def of_file(path: Path) -> str:
    """SHA-256 of a file; 64 hexadecimal digits.

    Raises
    ------
    InputError
        It cannot be read.
    """
    said = sha256()
    try:
        with path.open("rb") as held:
            while part := held.read(1 << 20):
                said.update(part)
    except OSError as problem:
        raise InputError(f"{path}: cannot be read: {problem.strerror}") from problem
    return said.hexdigest()


def claim(folder: Path, settings: Settings, inputs: Mapping[str, str]) -> dict[str, Any]:
    """Find that a folder is free, or this run's; what is to be written there once the run has begun.

    Parameters
    ----------
    inputs
        Digests of teacher, student, prompts and answers, as far as there are any.

    Raises
    ------
    InputError
        Another run stands there, or something that is none.
    """
    told = {"settings": asdict(settings), "inputs": dict(inputs)}
    digest = sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
    path = folder / FILE
    if path.is_file():
        there = read(path)
        if there.get("digest") != digest:
            raise InputError(f"{folder} holds another run: {_difference(there, told)}; take another folder")
    # Answers stand under all that decides them: those of another run may be laid here, and fit or do not count.
    elif folder.exists() and (not folder.is_dir() or {p.name for p in folder.iterdir()} - {ANSWERS}):
        raise InputError(f"{folder} is there and holds no run of lab distill; take another folder")
    return {"digest": digest, **told}


def write(path: Path, told: Any) -> None:
    """JSON that is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.part")
    draft.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    draft.replace(path)


def read(path: Path) -> dict[str, Any]:
    """What `write` wrote.

    Raises
    ------
    InputError
        It is something else.
    """
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise InputError(f"{path}: cannot be read: {problem}") from problem
    if not isinstance(told, dict):
        raise InputError(f"{path}: a JSON object is expected")
    return told


def _difference(there: Mapping[str, Any], told: Mapping[str, Any]) -> str:
    for part in ("settings", "inputs"):
        old, new = there.get(part) or {}, told[part]
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) != new.get(name):
                what = name if part == "settings" else f"digest of the {name}"
                return f"{what} is {old.get(name)!r} there and {new.get(name)!r} now"
    return "its file does not say which"
