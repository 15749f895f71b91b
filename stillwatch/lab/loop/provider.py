"""The provider of a loop: its log, what it finds in it, and the keys under which it serves from then on.

It never sees who is in a campaign: it has the log, and what `campaigns.scan` says of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from stillwatch import campaigns, logs
from stillwatch.campaigns.store import save
from stillwatch.engine.tables import Workspace
from stillwatch.identity.keys import Keys
from stillwatch.identity.pseudonyms import Pseudonyms, show
from stillwatch.lab.loop.stories import Story
from stillwatch.lab.traffic import Built, build
from stillwatch.marks.keys import MarkKey, Master, Scope
from stillwatch.marks.register import Register

SCHEME = "transformers_red_green"
MAKING = {"delta": 3.0}
"""Stronger than the library's default; what strength and width do to the tests is measured in the grid of students."""
TENANTS = 3
LICENSED = "o-licensed"


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider after it looked at its log."""

    workspace: Path
    master: Master
    scan: campaigns.Scan
    campaign_of: dict[int, str]
    """Account -> the supported campaign that it belongs to, as the scan has it."""
    keys: dict[str, MarkKey]
    """Scope in words -> key: everybody, each campaign, each tenant."""

    def key_of(self, account: int) -> MarkKey:
        """Under which key an account is served now."""
        campaign = self.campaign_of.get(account)
        return self.keys[str(Scope(campaign=campaign))] if campaign else self.keys[str(Scope())]


def log_of(story: Story, folder: Path, *, seed: int, data: Path | None = None) -> Built:
    """The log of a loop, composed."""
    return build(
        story.scenario, folder, seed=seed, honest_accounts=story.honest_accounts, days=story.days,
        format="parquet", data=data,
    )  # fmt: skip


def look(built: Built, workspace: Path, *, vocabulary: int) -> Provider:
    """Import and scan the log, and open a key for whatever was found.

    Parameters
    ----------
    vocabulary
        Of the teacher's model.
    """
    logs.ingest(built.logs, workspace, accounts=built.accounts, actions=built.actions, keep_text="none")
    scan = campaigns.scan(workspace)
    save(scan, workspace)
    rows = scan.members.select(["campaign", "decision", "account_id"]).to_pylist()
    campaign_of = {r["account_id"]: r["campaign"] for r in rows if r["decision"] == "supported"}
    master = Master.create(workspace / "marks" / "key")
    register = Register(workspace / "marks" / "register.jsonl")
    register.made(master, "file", by="lab")
    scopes = [Scope(), *(Scope(tenant=f"o-{n}") for n in range(TENANTS)), Scope(tenant=LICENSED)]
    scopes += [Scope(campaign=name) for name in dict.fromkeys(campaign_of.values())]
    keys = {}
    for scope in scopes:
        key = master.key(SCHEME, scope)
        register.begin(
            master, key, {"vocab_size": vocabulary, **MAKING}, device="cpu", engine="lab", by="lab"
        )
        keys[str(scope)] = key
    return Provider(workspace, master, scan, campaign_of, keys)


def again(workspace: Path) -> Provider:
    """A provider that looked before."""
    scan = campaigns.latest(workspace)
    master = Master.from_file(workspace / "marks" / "key")
    rows = scan.members.select(["campaign", "decision", "account_id"]).to_pylist()
    campaign_of = {r["account_id"]: r["campaign"] for r in rows if r["decision"] == "supported"}
    servings = Register(workspace / "marks" / "register.jsonl").servings()
    keys = {str(s.scope): master.key(s.scheme, s.scope) for s in servings}
    return Provider(workspace, master, scan, campaign_of, keys)


def accounts_of(workspace: Path, names: tuple[str, ...]) -> list[int]:
    """The provider's pseudonyms of accounts."""
    place = Workspace(workspace)
    known = Pseudonyms(Keys(place.key_file), place.vault)
    return [int(i) for i in known.map("account", pa.array(names, pa.string())).to_pylist()]


def named(account: int) -> str:
    """An account as reports show it."""
    return show("account", account)
