"""Who is distilling us? Groups of accounts that act as one and have the shape of harvesting."""

from stillwatch.campaigns.findings import MEMBERS
from stillwatch.campaigns.scan import Scan, planned_sql, scan
from stillwatch.campaigns.store import latest, save
from stillwatch.campaigns.watch import Watch, watch

__all__ = ["MEMBERS", "Scan", "Watch", "latest", "planned_sql", "save", "scan", "watch"]
