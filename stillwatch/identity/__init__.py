"""Keyed pseudonyms, and the encrypted vault that gives the real identifiers back."""

from typing import TYPE_CHECKING, Any

from stillwatch.identity.keys import Keys

if TYPE_CHECKING:
    from stillwatch.identity.pseudonyms import KEPT, PREFIX, Pseudonyms, parse, show

__all__ = ["KEPT", "PREFIX", "Keys", "Pseudonyms", "parse", "show"]


def __getattr__(name: str) -> Any:
    # Pseudonyms need Arrow; who only needs a key, such as a case that is sealed, must not load it.
    if name in __all__:
        from stillwatch.identity import pseudonyms

        return getattr(pseudonyms, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
