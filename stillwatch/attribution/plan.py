"""What will be asked of a suspect, fixed before it is asked, and the digest of it.

Whoever tries tests, keys and probes until one of them passes proves nothing. So the list of all of them is written
down first, and its digest is shown (and filed in a case) before the first question. Afterwards the plan is opened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwatch import __version__, records
from stillwatch.attribution.candidates import Candidates

ALPHA = 1e-5
"""Below it, after correction for every test and key of the plan, a claim is supported."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Tests, keys, probes and threshold. JSON values only, and no key: fingerprints."""

    suspect: dict[str, str]
    """``name`` and ``sha256`` of its weights or recorded answers."""
    alpha: float
    keys: tuple[dict[str, Any], ...]
    """For each group of keys: scheme, parameters, scopes by fingerprint, digest over the decoys' fingerprints."""
    probes: dict[str, dict[str, Any]]
    """For each test what is asked: how many, and the digest of it."""
    settings: dict[str, Any]
    """All else that decides a result: digests of reference and tokenizers, lengths, and what was known beforehand."""
    seed: int = 0
    version: str = __version__

    def commitment(self) -> str:
        """SHA-256 of the plan, to be shown before the suspect is asked."""
        return records.digest(asdict(self))


def keys_of(groups: Sequence[Candidates]) -> tuple[dict[str, Any], ...]:
    """The part of a plan that names keys."""
    return tuple(
        {
            "scheme": g.scheme,
            "parameters": g.parameters,
            "scopes": g.scopes,
            "decoys": len(g.decoys),
            "decoys_sha256": records.digest(list(g.decoy_names)),
        }
        for g in groups
    )


def probe(what: str, items: Sequence[NDArray[np.int64] | str | Sequence[str]]) -> dict[str, Any]:
    """The part of a plan that names what is asked: its kind, how much of it, and the digest over all of it."""
    total = hashlib.sha256()
    for item in items:
        parts = [item] if isinstance(item, str) else list(item)
        total.update(records.digest([p if isinstance(p, str) else int(p) for p in parts]).encode())
    return {"what": what, "items": len(items), "sha256": total.hexdigest()}


def digest_of_model(path: Path) -> str:
    """SHA-256 over the files of a model: one file, or every file of a folder with its name, in order."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    total = hashlib.sha256()
    for file in files:
        with file.open("rb") as handle:
            total.update(f"{file.relative_to(path.parent)}\0".encode("utf-8", "surrogateescape"))
            total.update(hashlib.file_digest(handle, "sha256").digest())
    return total.hexdigest()
