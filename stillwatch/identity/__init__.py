"""Keyed pseudonyms, and the encrypted vault that gives the real identifiers back."""

from stillwatch.identity.keys import Keys
from stillwatch.identity.pseudonyms import KEPT, PREFIX, Pseudonyms, parse, show

__all__ = ["KEPT", "PREFIX", "Keys", "Pseudonyms", "parse", "show"]
