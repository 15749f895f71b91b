"""A key that a seed gives, so that the scan of a composed log can be made again bit for bit.

Pseudonyms and the hashes of text depend on the key of the workspace, and a MinHash estimate that lies near a line may
fall on either side of it. Nothing in a composed log is worth a secret.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path


def key_of_seed(workspace: Path, seed: int) -> None:
    """Give a workspace that does not exist yet the key of `seed`."""
    workspace.mkdir(parents=True)
    path = workspace / "key"
    path.touch(0o600)
    path.write_bytes(sha256(f"composed log {seed}".encode()).digest())
