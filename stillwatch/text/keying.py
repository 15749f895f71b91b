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
    """uint64 throughout: letters (256), gone (256), shingle (4: finaliser and base), gram (3), dense (3), sip (6)."""

    letters: np.ndarray
    gone: np.ndarray
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
    words = np.frombuffer(shake_256(LABEL + key).digest(8 * 272), "<u8").astype(np.uint64)
    letters, rest = words[:256], words[256:]
    odd = rest | np.uint64(1)
    shingle = np.array([rest[0], odd[1], odd[2], odd[3]], np.uint64)
    gone = letters * np.uint64(pow(int(odd[3]), 32, 1 << 64))
    gram, dense = np.array([rest[4], odd[5], odd[6]]), np.array([rest[7], odd[8], odd[9]])
    return Secrets(letters, gone, shingle, gram, dense, rest[10:16].copy())
