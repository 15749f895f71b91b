"""File it, prove it, tell them. Readable and verifiable without any of the analyses."""

from stillwatch.cases.journal import Entry, Journal
from stillwatch.cases.report import write_report

__all__ = ["Entry", "Journal", "write_report"]
