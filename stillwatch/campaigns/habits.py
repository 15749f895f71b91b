"""What the members of a group do, account by account: the measurements that innocent explanations rest on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stillwatch.engine.duckdb import Engine

SHORT = 100
"""Output tokens up to which an answer is a label, a score or a field, and no text to learn from."""
SOON = 120_000_000
"""Microseconds after the one before within which an exchange is of the same burst: two minutes."""
RELEASE_DAYS = 2
"""A model is new on the day of its first exchange in the log and on the one after. Models of the log's first day are
not new: when they came is not known."""
QUIET_HOURS = 8

_HABITS = f"""
select h.campaign as campaign, h.account_id as account, count(*) as exchanges,
       count(h.prompt_digest) as asked, count(distinct h.prompt_digest) as distinct_prompts,
       count(case when h.day > h.first_day then h.prompt_digest end) as repeated_later,
       count(case when h.runs > 1 then h.prompt_digest end) as repeated_soon,
       count(case when h.askers > 1 then h.prompt_digest end) as asked_by_others,
       count(distinct h.day) as days, max(h.day) - min(h.day) + 1 as span,
       count(case when h.follow_up then 1 end) as follow_ups,
       sum(h.input_tokens) as input_tokens, sum(h.output_tokens) as output_tokens,
       count(h.output_tokens) as answered, count(case when h.output_tokens <= {SHORT} then 1 end) as short_answers,
       count(case when h.elicits then 1 end) as elicited,
       count(h.client_prefix) as located, count(distinct h.client_prefix) as prefixes,
       count(case when h.gap <= {SOON} then 1 end) as in_bursts,
       count(case when h.new_model then 1 end) as on_release, count(h.end_user_id) as named_users,
       count(distinct h.end_user_id) as end_users, count(distinct h.client_agent) as clients
from (
    select b.*, b.time - lag(b.time) over (partition by b.campaign, b.account_id order by b.time, b.exchange_id) as gap,
           min(b.day) over (partition by b.campaign, b.account_id, b.prompt_digest) as first_day,
           count(*) over (partition by b.campaign, b.account_id, b.prompt_digest, b.day) as runs,
           r.askers as askers, b.day < m.first + {RELEASE_DAYS} as new_model
    from belonging as b
    left join (
        select p.campaign as campaign, p.prompt_digest as prompt_digest, count(distinct p.account_id) as askers
        from belonging as p
        where p.prompt_digest is not null
        group by p.campaign, p.prompt_digest
    ) as r on r.campaign = b.campaign and r.prompt_digest = b.prompt_digest
    left join new_models as m on m.model = b.model
) as h
group by h.campaign, h.account_id
order by 1, 2"""
_NEW_MODELS = """
select f.model as model, f.first as first
from (
    select coalesce(x.response_model, x.request_model) as model, min(x.time) // 86400000000 as first
    from exchanges as x
    group by 1
) as f
where f.model is not null and f.first > (select min(p.first_time) // 86400000000 from population as p)"""
_HOURS = """
select b.campaign as campaign, b.account_id as account, b.time // 3600000000 % 24 as hour, count(*) as n
from belonging as b
group by 1, 2, 3"""

COLUMNS = (
    "exchanges", "asked", "distinct_prompts", "repeated_later", "repeated_soon", "asked_by_others", "days", "span",
    "follow_ups", "input_tokens", "output_tokens", "answered", "short_answers", "elicited", "located", "prefixes",
    "in_bursts", "on_release", "named_users", "end_users", "clients",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Habits:
    """Counts over the exchanges of each member that belong to the group.

    Parameters
    ----------
    account
        Shape (accounts,), sorted.
    counts
        Column of `COLUMNS` -> shape (accounts,), float64; NaN for tokens that the log does not hold.
    hours
        Shape (accounts, 24): exchanges by hour of the day, UTC.
    new_models
        Models that came up during the log.
    """

    account: NDArray[np.int64]
    counts: dict[str, NDArray[np.float64]]
    hours: NDArray[np.int64]
    new_models: int

    def share(self, part: str, whole: str) -> NDArray[np.float64]:
        """One count as a share of another, NaN where there is none."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.counts[whole] > 0, self.counts[part] / self.counts[whole], np.nan)

    def quiet(self) -> NDArray[np.float64]:
        """Share of each member's exchanges in its `QUIET_HOURS` quietest neighbouring hours; a third for a machine."""
        doubled = np.concatenate([self.hours, self.hours[:, : QUIET_HOURS - 1]], axis=1)
        windows = np.lib.stride_tricks.sliding_window_view(doubled, QUIET_HOURS, axis=1).sum(axis=2)
        return windows.min(axis=1, initial=np.iinfo(np.int64).max) / np.maximum(self.hours.sum(axis=1), 1)


def read_habits(engine: Engine, count: int) -> list[Habits]:
    """Habits of the members of `count` groups, from ``belonging`` (see `stillwatch.campaigns.belonging`)."""
    engine.table("new_models", engine.read(_NEW_MODELS, "new_models"))
    new_models = int(engine.read("select count(*) as n from new_models")["n"][0].as_py())
    rows = engine.read(_HABITS, "habits")
    column = {
        name: rows[name].to_numpy(zero_copy_only=False).astype(float)
        for name in ("campaign", "account", *COLUMNS)
    }
    accounts = rows["account"].to_numpy()
    hours = engine.read(_HOURS, "hours").to_pydict()
    of, who, hour, n = (np.array(hours[c], np.int64) for c in ("campaign", "account", "hour", "n"))
    found = []
    for i in range(count):
        mine, here = column["campaign"] == i, of == i
        account = accounts[mine]
        table = np.zeros((len(account), 24), np.int64)
        table[np.searchsorted(account, who[here]), hour[here]] = n[here]
        found.append(Habits(account, {c: column[c][mine] for c in COLUMNS}, table, new_models))
    engine.drop("new_models")
    return found
