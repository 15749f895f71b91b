"""What the ledger keeps beside digests, of which share of the exchanges, and for how long."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Literal

from stillwatch.errors import InputError

Keep = Literal["digests", "text", "tokens", "both"]


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy of keeping. The narrowest is the default: digests only.

    Raises
    ------
    InputError
        A value is out of its range.
    """

    keep: Keep = "digests"
    """What is kept, encrypted, of the exchanges that `share` picks; digests are always kept."""
    share: float = 1.0
    """Share of the exchanges of which text or tokens are kept, 0 to 1, drawn by a keyed hash of the exchange id."""
    retain_days: int = 30
    """Days after serving after which `Ledger.expire` destroys text and tokens; digests stay."""
    shingle_every: int = 4
    """One in so many keyed shingles is kept, always the same ones, for look-up of altered text; 0: none."""

    def __post_init__(self) -> None:
        if self.keep not in ("digests", "text", "tokens", "both"):
            raise InputError(f"keep is digests, text, tokens or both, found {self.keep!r}")
        if not 0 <= self.share <= 1:
            raise InputError(f"share lies between 0 and 1, found {self.share}")
        if self.retain_days < 0 or self.shingle_every < 0:
            raise InputError("retain_days and shingle_every are 0 or more")

    def picks(self, key: bytes, exchange_id: str) -> bool:
        """Whether this exchange is one of the share; the same id always gives the same answer."""
        if self.keep == "digests" or not self.share:
            return False
        drawn = int.from_bytes(hmac.digest(key, exchange_id.encode(), "sha256")[:8], "big")
        return drawn < self.share * 2.0**64
