"""Which exchanges of a mixed account belong to the campaign, and by what they are told.

An exchange belongs when it carries the group's material (any of its shingles, or enough tokens of a re-wording), or
when it goes on with a conversation that such an exchange opened in a log whose requests do not repeat their history.
It is counted once, however many materials it carries, and marked as a follow-up where it is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stillwatch.campaigns.groups import Group
from stillwatch.campaigns.materials import Materials
from stillwatch.campaigns.signals.paraphrased_prompt import CARRIES, minhash_tokens
from stillwatch.campaigns.steps import CONVERSATIONS, ELICITS, OPENINGS, ORGANIZATIONS, POPULATION
from stillwatch.engine.duckdb import Engine
from stillwatch.engine.steps import Step
from stillwatch.records import Finding

MOST_KEYS = 1000
"""Shingles, and as many tokens, that a finding names of its material; the most shared come first."""
TELLS = 0.5
"""Text that did not propose a group tells its exchanges when this share of the members repeats it, and when members
are this share of those who do."""
LONGEST = 200
"""A conversation of more exchanges is a client that never closes one, and says nothing of what belongs together."""
FEWEST_TOKENS, MISTAKEN = 2, 0.005
"""Of a re-worded text so many tokens are enough where at most this share of others' exchanges has as many."""
OTHERS = 200_000
"""Exchanges, at most about, that stand for everybody else."""
LISTED = 20_000
"""Exchanges of one campaign that a scan lists, and `LISTED_OF_ALL` of all campaigns together."""
LISTED_OF_ALL = 200_000

CARRYING = Step(
    "carrying",
    f"""
select r.campaign as campaign, r.exchange_id as exchange_id
from (
    select a.campaign as campaign, x.exchange_id as exchange_id, unnest(x.shingles) as shingle
    from exchanges as x
    join shown_accounts as a on a.account_id = x.account_id
) as r
join shown_shingles as s on s.campaign = r.campaign and s.shingle = r.shingle
group by r.campaign, r.exchange_id
union
select q.campaign as campaign, q.exchange_id as exchange_id
from (
    select a.campaign as campaign, t.exchange_id as exchange_id, t.shingle as shingle
    from ({minhash_tokens("x.exchange_id as exchange_id, x.account_id as account_id")}
    ) as t
    join shown_accounts as a on a.account_id = t.account_id
    where a.campaign in (select k.campaign from shown_tokens as k)
) as q
join shown_tokens as k on k.campaign = q.campaign and k.shingle = q.shingle
group by q.campaign, q.exchange_id, k.family
having count(*) >= min(k.least)""",
    "the exchanges of members that carry any part of their group's material, each once",
)

OTHERS_CARRYING = Step(
    "others_carrying",
    f"""
select v.campaign as campaign, v.kind as kind, v.hits as hits, count(distinct v.exchange_id) as exchanges
from (
    select s.campaign as campaign, r.exchange_id as exchange_id, r.account_id as account_id, 'text' as kind, 1 as hits
    from (
        select x.exchange_id as exchange_id, x.account_id as account_id, unnest(x.shingles) as shingle
        from sampled_exchanges as x
    ) as r
    join shown_shingles as s on s.shingle = r.shingle
    group by s.campaign, r.exchange_id, r.account_id
    union all
    select k.campaign as campaign, q.exchange_id as exchange_id, q.account_id as account_id, 'words' as kind,
           count(*) as hits
    from ({minhash_tokens("x.exchange_id as exchange_id, x.account_id as account_id", "sampled_exchanges")}
    ) as q
    join shown_tokens as k on k.shingle = q.shingle
    group by k.campaign, k.family, q.exchange_id, q.account_id
) as v
where not exists (
    select 1 from shown_accounts as a where a.campaign = v.campaign and a.account_id = v.account_id
)
group by v.campaign, v.kind, v.hits""",
    "how often exchanges of other accounts carry a group's material, and how many tokens of it",
)

OPENED = Step(
    "opened",
    f"""
select c.campaign as campaign, x.account_id as account_id, x.conversation_id as conversation_id, min(x.time) as start
from carrying as c
join exchanges as x on x.exchange_id = c.exchange_id
join (
    select e.conversation_id as conversation_id, e.account_id as account_id, min(e.time) as start
    from exchanges as e
    where e.conversation_id is not null
    group by e.conversation_id, e.account_id
    having count(*) between 2 and {LONGEST} and max(coalesce(e.turns, 1)) <= 1
) as v on v.conversation_id = x.conversation_id and v.account_id = x.account_id and v.start = x.time
group by c.campaign, x.account_id, x.conversation_id""",
    "conversations that a carrying exchange opened, where later requests do not repeat the history",
)

BELONGING = Step(
    "belonging",
    f"""
select a.campaign as campaign, x.exchange_id as exchange_id, x.account_id as account_id, x.time as time,
       x.time // 86400000000 as day,
       case when coalesce(x.turns, 1) > 1 then coalesce(x.time > n.start, true)
            else coalesce(x.time > o.start, false) or coalesce(x.time > v.start, false) end as follow_up,
       coalesce(x.turns > 1 and x.time = n.start, false) as carried_in,
       x.conversation_id as conversation_id, coalesce(x.response_model, x.request_model) as model,
       x.input_tokens as input_tokens, x.output_tokens as output_tokens, x.reasoning_tokens as reasoning_tokens,
       x.elicitation as elicitation, {ELICITS} as elicits, x.tool_schema_digest as tool_schema_digest,
       x.refused as refused,
       x.prompt_digest as prompt_digest, x.client_prefix as client_prefix, x.end_user_id as end_user_id,
       x.client_agent as client_agent
from exchanges as x
join shown_accounts as a on a.account_id = x.account_id
left join carrying as c on c.campaign = a.campaign and c.exchange_id = x.exchange_id
left join opened as o on o.campaign = a.campaign and o.account_id = x.account_id
      and o.conversation_id = x.conversation_id
left join conversations as v on v.conversation_id = x.conversation_id
left join organizations as g on g.account_id = x.account_id
left join openings as n
  on n.opening_digest = x.opening_digest and n.holder = coalesce(g.organization_id, x.account_id)
where c.exchange_id is not null or o.start <= x.time or not a.told""",
    "the exchanges that belong to a group: all of a member's where nothing tells them apart",
)

ACCOUNT_DAYS = Step(
    "account_days",
    """
select a.campaign as campaign, x.account_id as account_id, x.time // 86400000000 as day, count(*) as total,
       count(b.exchange_id) as belonging
from exchanges as x
join shown_accounts as a on a.account_id = x.account_id
left join belonging as b on b.campaign = a.campaign and b.exchange_id = x.exchange_id
where a.told
group by a.campaign, x.account_id, x.time // 86400000000""",
    "how many of a member's exchanges belong, day by day: days and not exchanges are the units of an interval",
)

STEPS = (CARRYING, OPENED, BELONGING, ACCOUNT_DAYS)


@dataclass(frozen=True, slots=True)
class Keys:
    """By what a group's exchanges are told. Empty: nothing tells them.

    Parameters
    ----------
    shingles
        Shape (n,). Of shared texts.
    tokens, token_material
        Shape (m,). Of re-worded texts, and which text each is of.
    proposed
        Whether this material proposed the group; else it was found among its accounts afterwards.
    users
        Share of the group's accounts that repeat it.
    least
        Tokens of one re-worded text that an exchange must have.
    """

    shingles: NDArray[np.int64]
    tokens: NDArray[np.int64]
    token_material: NDArray[np.int64]
    proposed: bool
    users: float
    least: int = CARRIES

    def __bool__(self) -> bool:
        return bool(len(self.shingles) or len(self.tokens))

    def as_json(self) -> dict[str, Any]:
        """As a finding names them: hexadecimal, tokens by text; nothing where nothing tells."""
        if not self:
            return {}
        return {
            "proposed": self.proposed,
            "users": round(self.users, 4),
            "least": self.least,
            "shingles": [_hex(s) for s in self.shingles],
            "tokens": [
                [_hex(t) for t in self.tokens[self.token_material == m]]
                for m in np.unique(self.token_material)
            ],
        }


def keys_from_json(stored: Mapping[str, Any]) -> Keys:
    """What `Keys.as_json` gave."""
    texts = stored.get("tokens", [])
    return Keys(
        np.array([_from_hex(s) for s in stored.get("shingles", [])], np.int64),
        np.array([_from_hex(t) for text in texts for t in text], np.int64),
        np.repeat(np.arange(len(texts)), [len(text) for text in texts]).astype(np.int64),
        bool(stored.get("proposed", False)),
        float(stored.get("users", 0.0)),
        int(stored.get("least", CARRIES)),
    )


def _hex(number: int) -> str:
    return f"{int(number) & 0xFFFFFFFFFFFFFFFF:016x}"


def _from_hex(text: str) -> int:
    number = int(text, 16)
    return number - 2**64 if number >= 2**63 else number


def keys_of(group: Group, materials: Materials, reworded: frozenset[int]) -> Keys:
    """The material that tells a group's exchanges: its own, else what most of its accounts and few others repeat.

    Parameters
    ----------
    reworded
        Codes of materials whose keys are tokens.
    """
    mine, users = np.array(group.materials, np.int64), 1.0
    if not len(mine):
        inside = np.isin(materials.account, group.accounts)
        count = len(materials)
        held = np.bincount(materials.material[inside], minlength=count)
        all_of = np.bincount(materials.material, minlength=count)
        mine = np.flatnonzero((held >= TELLS * len(group.accounts)) & (held >= TELLS * all_of) & (held > 0))
        who = inside & np.isin(materials.material, mine)
        users = len(np.unique(materials.account[who])) / len(group.accounts)
    at = np.isin(materials.shingle_material, mine)
    key, material = materials.shingle[at], materials.shingle_material[at]
    word = np.isin(material, list(reworded))
    # Within a material the most shared stand first; of several materials each gives its first ones.
    place = np.arange(len(material)) - np.searchsorted(material, material)
    text = np.flatnonzero(~word)[np.argsort(place[~word], kind="stable")][:MOST_KEYS]
    words = np.flatnonzero(word)[np.argsort(place[word], kind="stable")][:MOST_KEYS]
    return Keys(key[text], key[words], material[words], bool(group.materials), users)


def calibrated(
    engine: Engine, accounts: Sequence[NDArray[np.int64]], keys: Sequence[Keys]
) -> tuple[list[Keys], list[float]]:
    """How many tokens tell each group's exchanges, and how often others carry as much by chance.

    A scan proposes by `CARRIES` tokens among everybody. Among accounts that are known to repeat the text two are
    enough wherever others hardly ever have two: of the re-wordings that four would miss a quarter, two miss few.

    Returns
    -------
    keys, backgrounds
        The keys with `least` set, and the share of other accounts' exchanges that carry them.
    """
    _load(engine, accounts, keys)
    count = int(engine.read("select count(*) as n from exchanges")["n"][0].as_py())
    every = max(1, count // OTHERS)
    engine.run(
        [
            Step(
                "sampled_exchanges",
                f"\nselect x.exchange_id as exchange_id, x.account_id as account_id, x.shingles as shingles, "
                f"x.minhash as minhash\nfrom exchanges as x\nwhere (x.exchange_id & 1048575) % {every} = 0",
                "a sample by digest that stands for everybody else",
            ),
            OTHERS_CARRYING,
        ]
    )
    sizes = engine.read(
        "select a.campaign as campaign, count(*) as n from sampled_exchanges as x "
        "join shown_accounts as a on a.account_id = x.account_id group by 1"
    )
    inside = {r["campaign"]: r["n"] for r in sizes.to_pylist()}
    whole = int(engine.read("select count(*) as n from sampled_exchanges")["n"][0].as_py())
    carried = engine.read("select * from others_carrying").to_pylist()
    engine.drop("sampled_exchanges", "others_carrying")
    told, behind = [], []
    for i, key in enumerate(keys):
        others = max(1, whole - inside.get(i, 0))

        def having(least: int, i: int = i, others: int = others) -> float:
            mine = [r for r in carried if r["campaign"] == i and r["kind"] == "words" and r["hits"] >= least]
            return sum(r["exchanges"] for r in mine) / others

        least = next((t for t in range(FEWEST_TOKENS, CARRIES) if having(t) <= MISTAKEN), CARRIES)
        text = sum(r["exchanges"] for r in carried if r["campaign"] == i and r["kind"] == "text") / others
        told.append(replace(key, least=least))
        behind.append(min(1.0, text + having(least)))
    return told, behind


def find_belonging(
    engine: Engine,
    accounts: Sequence[NDArray[np.int64]],
    keys: Sequence[Keys],
    *,
    steps: Sequence[Step] = STEPS,
) -> None:
    """Make ``belonging`` and ``account_days`` for groups numbered from 0: one pass over their members' exchanges.

    Parameters
    ----------
    accounts
        Members of each group.
    keys
        What tells the exchanges of each.
    """
    _load(engine, accounts, keys)
    engine.run(steps)


def _load(engine: Engine, accounts: Sequence[NDArray[np.int64]], keys: Sequence[Keys]) -> None:
    """Members and keys of each group as tables."""
    number = np.arange(len(accounts))
    size = [len(a) for a in accounts]
    told = np.repeat(np.array([bool(k) for k in keys], bool), size)
    engine.table(
        "shown_accounts",
        pa.table({"campaign": np.repeat(number, size), "account_id": _stack(accounts), "told": told}),
    )
    texts = np.repeat(number, [len(k.shingles) for k in keys])
    engine.table(
        "shown_shingles", pa.table({"campaign": texts, "shingle": _stack([k.shingles for k in keys])})
    )
    words = [len(k.tokens) for k in keys]
    engine.table(
        "shown_tokens",
        pa.table(
            {
                "campaign": np.repeat(number, words),
                "family": _stack([k.token_material for k in keys]),
                "shingle": _stack([k.tokens for k in keys]),
                "least": np.repeat(np.array([k.least for k in keys], np.int64), words),
            }
        ),
    )


def _stack(arrays: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate([*arrays, np.empty(0, np.int64)]).astype(np.int64)


EXCHANGES = pa.schema(
    [
        ("campaign", pa.string()),
        ("exchange_id", pa.int64()),
        ("account_id", pa.int64()),
        ("time", pa.int64()),
        ("follow_up", pa.bool_()),
        ("model", pa.string()),
        ("source_file", pa.string()),
        ("source_line", pa.int64()),
    ]
)
"""Exchanges that belong to a campaign: ids, and where in the log each stands."""


def list_exchanges(engine: Engine, findings: Sequence[Finding], members: pa.Table) -> pa.Table:
    """The exchanges that findings of a scan mean, of groups that act as one; at most `LISTED` of each.

    Of more the ones with the smallest ids are taken: ids are digests, so that is a sample without regard to time,
    account or content.

    Parameters
    ----------
    engine
        Holds ``exchanges`` and ``accounts``.
    findings, members
        As a scan returned them; exempt accounts are left out.

    Returns
    -------
    pyarrow.Table
        Columns of `EXCHANGES`, by campaign and time.
    """
    told = [f for f in findings if f.details.get("taken")]
    if not told:
        return EXCHANGES.empty_table()
    names = members["campaign"].to_numpy(zero_copy_only=False)
    ids = members["account_id"].to_numpy()
    plain = members["exemption"].is_null().to_numpy(zero_copy_only=False)
    engine.run([POPULATION, ORGANIZATIONS, CONVERSATIONS, OPENINGS])
    find_belonging(
        engine,
        [np.sort(ids[plain & (names == f.subject)]) for f in told],
        [keys_from_json(f.details["material"]) for f in told],
        steps=STEPS[:3],
    )
    most = min(LISTED, LISTED_OF_ALL // len(told))
    rows = engine.read(
        f"""
select b.campaign as campaign, b.exchange_id as exchange_id, b.account_id as account_id, b.time as time,
       b.follow_up as follow_up, b.model as model, x.source_file as source_file, x.source_line as source_line
from (
    select g.campaign as campaign, g.exchange_id as exchange_id, g.account_id as account_id, g.time as time,
           g.follow_up as follow_up, g.model as model,
           row_number() over (partition by g.campaign order by g.exchange_id) as place
    from belonging as g
) as b
join exchanges as x on x.exchange_id = b.exchange_id
where b.place <= {most}
order by 1, 4, 2""",
        "exchanges",
    )
    subjects = pa.array([f.subject for f in told]).take(rows["campaign"].combine_chunks())
    return rows.set_column(0, "campaign", subjects).cast(EXCHANGES)
