"""Where a workspace keeps its tables. One folder; delete it and nothing is left behind."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from stillwatch.errors import InputError


@dataclass(frozen=True, slots=True)
class Workspace:
    """Paths of one workspace.

    `exchanges/` holds Parquet parts by day (``day=YYYY-MM-DD/*.parquet``); only parts that `ledger` lists count.
    """

    root: Path

    @property
    def key_file(self) -> Path:
        return self.root / "key"

    @property
    def vault(self) -> Path:
        return self.root / "vault.db"

    @property
    def ledger(self) -> Path:
        return self.root / "ledger.db"

    @property
    def exchanges(self) -> Path:
        return self.root / "exchanges"

    @property
    def accounts(self) -> Path:
        return self.root / "accounts.parquet"

    @property
    def actions(self) -> Path:
        return self.root / "actions.parquet"

    @property
    def texts(self) -> Path:
        """Encrypted texts of shingles that enough accounts share."""
        return self.root / "texts"

    @property
    def quarantine(self) -> Path:
        return self.root / "quarantine"

    @property
    def scans(self) -> Path:
        return self.root / "scans"

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    @property
    def cases(self) -> Path:
        """The case store: ``cases.db``, ``evidence/``, ``heads/``."""
        return self.root / "cases"

    @property
    def journal(self) -> Path:
        return self.root / "journal.jsonl"

    def must_exist(self) -> Workspace:
        """This workspace, if a log was imported into it.

        Raises
        ------
        InputError
            There is no workspace here.
        """
        if not self.ledger.exists():
            raise InputError(
                f"{self.root}: no log was imported here yet; start with: stillwatch logs import FILE"
            )
        return self

    def parts(self) -> list[Path]:
        """The Parquet parts of exchanges that count: those the ledger lists, oldest day first."""
        if not self.ledger.exists():
            return []
        with closing(
            sqlite3.connect(f"{self.ledger.resolve().as_uri()}?mode=ro", uri=True, timeout=60)
        ) as ledger:
            rows = ledger.execute("select path from parts order by day, first_time, path").fetchall()
        return [self.exchanges / path for (path,) in rows]
