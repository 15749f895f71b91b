"""A log whose truth is known, and what a scan found in it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from stillwatch.campaigns import Scan
from stillwatch.engine.tables import Workspace
from stillwatch.identity import Keys, Pseudonyms
from stillwatch.lab import Built
from stillwatch.records import Finding


@dataclass(frozen=True)
class Journey:
    """A built log, its workspace and what a scan of it found."""

    built: Built
    workspace: Path
    scan: Scan

    @cached_property
    def truth(self) -> dict[str, dict]:
        return {row["account"]: row for row in pq.read_table(self.built.truth).to_pylist()}

    def real_names(self, finding: Finding, scan: Scan | None = None) -> set[str]:
        members = (scan or self.scan).members
        ids = members.filter(pc.equal(members["campaign"], finding.subject))["account_id"].to_pylist()
        place = Workspace(self.workspace)
        return set(Pseudonyms(Keys(place.key_file), place.vault).reveal("account", ids).values())

    def accounts(self, **facts: str) -> set[str]:
        """Real names of the accounts of which the truth says this."""
        return {name for name, row in self.truth.items() if all(row[k] == v for k, v in facts.items())}

    def copy(self, folder: Path) -> Path:
        """The same workspace once more, to change."""
        return Path(shutil.copytree(self.workspace, folder))
