"""What a model makes of documents that it is made to read; only the places of answers get logits, in float32.

A model in bfloat16 rounds its logits to 3 digits, so that the two likeliest tokens are often equal; here the last
product is made in float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwatch.extras import need
from stillwatch.models.protocol import Forced

Ids = NDArray[np.int64]


def distributions(
    model: Any, documents: Sequence[Ids], starts: Sequence[int], *, batch: int = 8
) -> Iterator[NDArray[np.float32]]:
    """For each document the log-probabilities of every token at each place from its start on: (places, vocabulary)."""
    torch = need("torch")
    head = model.get_output_embeddings().weight.detach().float()
    for first in range(0, len(documents), batch):
        held = documents[first : first + batch]
        longest = max(len(d) for d in held)
        ids = torch.zeros((len(held), longest), dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for row, document in enumerate(held):
            ids[row, : len(document)] = torch.from_numpy(np.asarray(document, np.int64))
            mask[row, : len(document)] = 1
        with torch.inference_mode():
            inner = model.base_model(
                input_ids=ids.to(head.device), attention_mask=mask.to(head.device), use_cache=False
            ).last_hidden_state
            for row, document in enumerate(held):
                asked = inner[row, starts[first + row] - 1 : len(document) - 1].float()
                yield torch.log_softmax(asked @ head.T, dim=-1).cpu().numpy()


def forced(document: Ids, start: int, logs: NDArray[np.float32]) -> Forced:
    """What `Local.forced` gives for one document, from its `distributions`."""
    likely, best = np.full(len(document), np.nan), np.full(len(document), -1, np.int64)
    likely[start:] = logs[np.arange(len(logs)), document[start:]]
    best[start:] = logs.argmax(axis=1)
    return Forced(document, likely, best)


def read(model: Any, documents: Sequence[Ids], starts: Sequence[int], *, batch: int = 8) -> list[Forced]:
    """`Local.forced` for models in bfloat16."""
    made = distributions(model, documents, starts, batch=batch)
    return [
        forced(document, start, logs) for document, start, logs in zip(documents, starts, made, strict=True)
    ]


def later(read: Forced, start: int) -> Forced:
    """The same, asked only from a later place on."""
    likely, best = read.log_probability.copy(), read.best.copy()
    likely[:start], best[:start] = np.nan, -1
    return Forced(read.tokens, likely, best)


def keep(path: Path, parts: Mapping[str, Sequence[Forced]]) -> None:
    """Several lists of what was read in one file."""
    held: dict[str, NDArray[Any]] = {}
    for name, read_ in parts.items():
        held[f"{name}_ends"] = np.cumsum([len(f.tokens) for f in read_])
        held[f"{name}_tokens"] = np.concatenate([f.tokens for f in read_]).astype(np.int32)
        held[f"{name}_best"] = np.concatenate([f.best for f in read_]).astype(np.int32)
        held[f"{name}_log_probability"] = np.concatenate([f.log_probability for f in read_])
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **held)


def kept(path: Path) -> dict[str, list[Forced]]:
    """What `keep` wrote."""
    found: dict[str, list[Forced]] = {}
    with np.load(path) as held:
        for name in (n.removesuffix("_ends") for n in held.files if n.endswith("_ends")):
            ends = held[f"{name}_ends"]
            columns = [
                np.split(held[f"{name}_{column}"], ends[:-1])
                for column in ("tokens", "log_probability", "best")
            ]
            found[name] = [
                Forced(tokens.astype(np.int64), likely, best.astype(np.int64))
                for tokens, likely, best in zip(*columns, strict=True)
            ]
    return found
