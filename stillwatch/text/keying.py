"""The secret constants of the sketch, all from one key."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import shake_256

import numpy as np

from stillwatch.errors import InputError

KEY_BYTES = 32
# Part of every constant: change it when normalisation or hashing changes, so that old and new never look alike.
LABEL = b"stillwatch text sketch 1\0"


@dataclass(frozen=True)
class Secrets:
    """uint64 throughout: shingle (2: base and finaliser), gram (3), dense (3), sip (8: four keys of two words)."""

    shingle: np.ndarray
    gram: np.ndarray
    dense: np.ndarray
    sip: np.ndarray


@lru_cache(maxsize=16)
def secrets(key: bytes) -> Secrets:
    """Draw the constants with SHAKE-256 from the key (32 bytes); multipliers are made odd.

    Raises
    ------
    InputError
        The key is not 32 bytes long.
    """
    if not isinstance(key, bytes) or len(key) != KEY_BYTES:
        got = f"{len(key)} bytes" if isinstance(key, bytes) else type(key).__name__
        raise InputError(
            f"a sketch key has {KEY_BYTES} bytes, found {got}; draw one with secrets.token_bytes(32)"
        )
    words = np.frombuffer(shake_256(LABEL + key).digest(8 * 16), "<u8").astype(np.uint64)
    words[[0, 1, 3, 4, 6, 7]] |= np.uint64(1)
    return Secrets(*(np.ascontiguousarray(part) for part in np.split(words, [2, 5, 8])))
