"""From anybody's log to exchanges."""

from stillwatch.logs.ingest import ImportSummary, Progress, ingest
from stillwatch.logs.overview import (
    Column,
    Description,
    Model,
    Need,
    Readiness,
    check,
    describe,
    quarantined,
)
from stillwatch.logs.texts import texts

__all__ = [
    "Column",
    "Description",
    "ImportSummary",
    "Model",
    "Need",
    "Progress",
    "Readiness",
    "check",
    "describe",
    "ingest",
    "quarantined",
    "texts",
]
