"""File it, prove it, tell them. Readable and verifiable without any of the analyses."""

from stillwatch.cases.journal import Entry, Journal

__all__ = ["Entry", "Journal"]
