"""Text to token ids and back, without the model: the tokenizer of the teacher that served."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwatch.errors import InputError
from stillwatch.extras import need


class Tokenizer:
    """A tokenizer of Hugging Face's format.

    Parameters
    ----------
    path
        A `tokenizer.json`, a folder that holds one, or a GGUF file (which needs transformers).

    Raises
    ------
    InputError
        There is none, or it cannot be read.
    MissingExtra
        The library is not installed.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._raw = _load(self.path)

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """The ids of each text, without special tokens."""
        found = self._raw.encode_batch(list(texts), add_special_tokens=False)
        return [np.array(one.ids, np.int64) for one in found]

    def decode(self, documents: Sequence[NDArray[np.int64]]) -> list[str]:
        """The text of each document of ids, special tokens left out."""
        return [str(self._raw.decode(d.tolist(), skip_special_tokens=True)) for d in documents]

    @property
    def size(self) -> int:
        """Number of ids, those of special tokens among them."""
        return int(self._raw.get_vocab_size(with_added_tokens=True))


def _load(path: Path) -> Any:
    if path.suffix == ".gguf" and path.is_file():
        transformers = need("transformers")
        need("gguf")
        try:
            loaded = transformers.AutoTokenizer.from_pretrained(
                str(path.parent), gguf_file=path.name, local_files_only=True
            )
        except (OSError, ValueError, KeyError) as problem:
            raise InputError(f"{path}: its tokenizer cannot be read: {problem}") from problem
        return loaded.backend_tokenizer
    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        raise InputError(f"{path}: neither a tokenizer.json, a folder with one, nor a GGUF file")
    tokenizers = need("tokenizers")
    try:
        return tokenizers.Tokenizer.from_file(str(file))
    except Exception as problem:  # the library raises bare Exception
        raise InputError(f"{file}: cannot be read as a tokenizer: {problem}") from problem
