"""Who is distilling us? Groups of accounts that act as one and have the shape of harvesting."""

from stillwatch.campaigns.findings import MEMBERS
from stillwatch.campaigns.scan import Scan, planned_sql, scan
from stillwatch.campaigns.store import latest, save

__all__ = ["MEMBERS", "Scan", "latest", "planned_sql", "save", "scan"]
