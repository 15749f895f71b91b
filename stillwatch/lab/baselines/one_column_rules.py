"""Every rule that looks at one column: what a stump would do, and whether a composed log gives itself away."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stillwatch.lab.baselines._reading import DAY, everybody, opened, table

NAME = "one-column rules"
SOURCE = (
    "No single paper: rules as press and advisory quote them (virtual card, disposable mail, requests a day, day "
    "and night, many addresses, asks for reasoning, new account), and for every column of the log both directions "
    "of its value by account. The latter have no thresholds: whoever holds them against the truth may choose each "
    "threshold and the best rule in hindsight, which no real detector can. A rule that wins even so shows a leak "
    "in the composed log, not a detector."
)
QUOTED = {
    "card_type = virtual": 0.5,
    "email_class = disposable": 0.5,
    "requests a day, high": 100.0,
    "hours of the day seen, high": 23.5,
    "addresses, high": 20.0,
    "share that asks for training material, high": 0.5,
    "age in days, low": -14.0,
}
"""Rules that are quoted, and the threshold at which each fires; the numbers are ours."""
ENOUGH = 3
"""An account is flagged where so many quoted rules fire."""
MOST_VALUES = 30

MEASURES = {
    "requests a day": "count(*) / any_value(s.days)",
    "requests on the active days": "count(*) / count(distinct x.time // {day})",
    "active days": "count(distinct x.time // {day}) / any_value(s.days)",
    "hours of the day seen": "count(distinct x.time // 3600000000 % 24)",
    "share at night (UTC)": "avg((x.time // 3600000000 % 24 < 6)::int)",
    "addresses": "count(distinct x.client_prefix)",
    "addresses a request": "count(distinct x.client_prefix) / nullif(count(x.client_prefix), 0)",
    "networks": "nullif(count(distinct x.client_asn), 0)",
    "client agents": "nullif(count(distinct x.client_agent), 0)",
    "TLS fingerprints": "nullif(count(distinct x.tls_fingerprint), 0)",
    "credentials": "nullif(count(distinct x.credential_id), 0)",
    "end users": "nullif(count(distinct x.end_user_id), 0)",
    "models": "count(distinct x.request_model)",
    "routes": "nullif(count(distinct x.route), 0)",
    "share that asks for training material": "avg((x.elicitation > 0)::int)",
    "share with log-probabilities": "avg(x.logprobs::int)",
    "choices asked for": "avg(x.n_choices)",
    "share without conversation": "avg((x.conversation_id is null)::int)",
    "share of first questions": "avg((x.turns <= 1)::int)",
    "share with system text": "avg((x.system_digest is not null)::int)",
    "different system texts a request": "count(distinct x.system_digest) / nullif(count(x.system_digest), 0)",
    "different prompts a request": "count(distinct x.prompt_digest) / nullif(count(x.prompt_digest), 0)",
    "different templates a request": "count(distinct x.template_digest) / nullif(count(x.template_digest), 0)",
    "share with tools": "avg((x.tool_schema_digest is not null)::int)",
    "prompt bytes": "avg(x.prompt_bytes)",
    "input tokens": "avg(x.input_tokens)",
    "output tokens": "avg(x.output_tokens)",
    "output tokens for each of input": "sum(x.output_tokens) / nullif(sum(x.input_tokens), 0)",
    "reasoning tokens": "avg(x.reasoning_tokens)",
    "temperature": "avg(x.temperature)",
    "share without temperature": "avg((x.temperature is null)::int)",
    "top_p": "avg(x.top_p)",
    "max_tokens": "avg(x.max_tokens)",
    "share without max_tokens": "avg((x.max_tokens is null)::int)",
    "latency": "avg(x.latency_ms)",
    "share refused": "avg(x.refused::int)",
    "share failed": "avg((x.status_code >= 400)::int)",
    "reasoning visible": "avg(x.reasoning_visible::int)",
}
"""SQL aggregates over one account's exchanges, each of one column (or of one and its like)."""
FACTS = {
    "age in days": "(s.begins - a.created_at) / {day}",
    "contract volume": "coalesce(a.contract_volume, 0)",
    "accounts on the payment token": "case when a.payment_token is not null then "
    "count(*) over (partition by a.payment_token) end",
    "accounts on the device": "case when a.device_token is not null then "
    "count(*) over (partition by a.device_token) end",
    "accounts on the signup prefix": "case when a.signup_prefix is not null then "
    "count(*) over (partition by a.signup_prefix) end",
    "no payment token": "(a.payment_token is null)::int",
    "no device": "(a.device_token is null)::int",
    "no organisation": "(a.organization_id is null)::int",
}
CATEGORIES = ("card_type", "email_class", "plan", "verification_level")


def flag(workspace: Path, *, log: Path | None, seed: int) -> pa.Table:
    """Accounts at which three quoted rules fire; score: how many do. ``rule:<name>``: each rule's own score.

    A measure makes two rules, ``<measure>, high`` and ``<measure>, low`` (its negative); a value of a category makes
    one, 1 where the account has it. Null where the column says nothing of the account.
    """
    with opened(workspace) as engine:
        accounts = everybody(engine)
        scale = "select min(time) as begins, greatest((max(time) - min(time)) / {day}, 1.0) as days from exchanges"
        measured = engine.read(
            "select x.account_id as account_id, "
            + ", ".join(f'{sql}::double as "{name}"' for name, sql in MEASURES.items()).format(day=DAY)
            + f" from exchanges as x cross join ({scale.format(day=DAY)}) as s group by x.account_id"
        )
        facts = engine.read(
            f"select a.account_id as account_id, {', '.join('a.' + c for c in CATEGORIES)}, "
            + ", ".join(f'({sql})::double as "{name}"' for name, sql in FACTS.items()).format(day=DAY)
            + f" from accounts as a cross join ({scale.format(day=DAY)}) as s"
        )
    rules: dict[str, NDArray[np.float64]] = {}
    for source, names in ((measured, MEASURES), (facts, FACTS)):
        for name in names:
            values = _placed(accounts, source, source[name].to_numpy())
            if np.isfinite(values).any():
                rules[f"{name}, high"], rules[f"{name}, low"] = values, -values
    for column in CATEGORIES:
        known = source[column].to_numpy()
        for value in sorted(source[column].drop_null().unique().to_pylist())[:MOST_VALUES]:
            rules[f"{column} = {value}"] = _placed(accounts, source, (known == value).astype(float))
    fires = np.zeros(len(accounts))
    for name, least in QUOTED.items():
        if name in rules:
            fires += np.nan_to_num(rules[name], nan=-np.inf) > least
    return table(accounts, fires, fires >= ENOUGH, more={f"rule:{name}": v for name, v in rules.items()})


def _placed(accounts: NDArray[np.int64], source: pa.Table, values: NDArray) -> NDArray[np.float64]:
    """Values by account, in the order of `accounts`; NaN where the source has no row."""
    out = np.full(len(accounts), np.nan)
    ids = source["account_id"].to_numpy()
    place = np.searchsorted(accounts, ids)
    here = (place < len(accounts)) & (accounts[np.minimum(place, len(accounts) - 1)] == ids)
    out[place[here]] = np.asarray(values, float)[here]
    return out
