"""What each account received: digests always, text where the policy keeps it; see `store.Ledger`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stillwatch.marks.ledger.answers import Answer, Entry, Kept
from stillwatch.marks.ledger.policy import Policy

if TYPE_CHECKING:
    from stillwatch.marks.ledger.retention import expire
    from stillwatch.marks.ledger.store import Ledger, Likeness
    from stillwatch.marks.ledger.verifying import Verified, verify

__all__ = ["Answer", "Entry", "Kept", "Ledger", "Likeness", "Policy", "Verified", "expire", "verify"]

_MODULES = {
    "Ledger": "store",
    "Likeness": "store",
    "Verified": "verifying",
    "verify": "verifying",
    "expire": "retention",
}


def __getattr__(name: str) -> Any:
    # The ledger needs numpy; who only makes answers must not load it.
    if name in _MODULES:
        from importlib import import_module

        return getattr(import_module(f"stillwatch.marks.ledger.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
