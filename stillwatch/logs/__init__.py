"""From anybody's log to exchanges."""

from stillwatch.logs.ingest import ImportSummary, Progress, ingest
from stillwatch.logs.texts import texts

__all__ = ["ImportSummary", "Progress", "ingest", "texts"]
