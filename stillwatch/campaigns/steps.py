"""Steps that no single signal owns: the population, and the exchanges that a signal looks at."""

from __future__ import annotations

from stillwatch.campaigns.signals.paraphrased_prompt import CARRIES, minhash_tokens
from stillwatch.campaigns.signals.shared_prompt import LEAST_USES
from stillwatch.engine.steps import Step, most_frequent

ELICITS = "(coalesce(x.elicitation, 0) > 0 or coalesce(x.logprobs, false) or coalesce(x.n_choices, 1) > 1)"
"""Whether an exchange asks for more than an answer: reasoning, grades, rewritings, probabilities, several choices."""

_COLUMNS = "x.time as time, x.time // 86400000000 as day, x.prompt_digest as prompt_digest, "\
    "x.input_tokens as input_tokens, x.output_tokens as output_tokens, "\
    f"{ELICITS} as elicits, "\
    "case when coalesce(x.turns, 1) > 1 then coalesce(x.time > n.start, true) "\
    "else coalesce(x.time > c.start, false) end as follow_up, "\
    "coalesce(x.turns > 1 and x.time = n.start, false) as carried_in, "\
    "x.turns is not null or x.conversation_id is not null as told"  # fmt: skip

POPULATION = Step(
    "population",
    f"""
select c.account_id as account_id, c.exchanges as exchanges, c.first_time as first_time, c.last_time as last_time,
       m.value as model
from (
    select x.account_id as account_id, count(*) as exchanges, min(x.time) as first_time, max(x.time) as last_time
    from exchanges as x
    group by x.account_id
) as c
left join ({most_frequent("exchanges", "account_id", "coalesce(e.response_model, e.request_model)")}
) as m on m.account_id = c.account_id""",
    "one row an account: how much, when, and mostly of which model",
)

CONVERSATIONS = Step(
    "conversations",
    """
select x.conversation_id as conversation_id, min(x.time) as start
from exchanges as x
where x.conversation_id is not null and coalesce(x.turns, 1) <= 1
group by x.conversation_id
having count(*) > 1""",
    "when a conversation began, where the request does not carry its own history",
)

OPENINGS = Step(
    "openings",
    """
select coalesce(g.organization_id, x.account_id) as holder, x.opening_digest as opening_digest, min(x.time) as start
from exchanges as x
join organizations as g on g.account_id = x.account_id
where x.opening_digest is not null
group by coalesce(g.organization_id, x.account_id), x.opening_digest
having max(coalesce(x.turns, 1)) > 1""",
    "when a conversation was first seen here: a request whose history began nowhere carried it in",
)

ORGANIZATIONS = Step(
    "organizations",
    f"""
select p.account_id as account_id, coalesce(a.organization_id, x.value) as organization_id
from population as p
left join accounts as a on a.account_id = p.account_id
left join ({most_frequent("exchanges", "account_id", "e.organization_id")}
) as x on x.account_id = p.account_id""",
    "the declared organisation of each account",
)

TEXT_CARRIERS = Step(
    "text_carriers",
    """
select r.exchange_id as exchange_id, r.account_id as account_id, m.family as family, min(r.time) as time
from (
    select x.exchange_id as exchange_id, x.account_id as account_id, x.time as time, unnest(x.shingles) as shingle
    from exchanges as x
) as r
join family_shingles as m on m.shingle = r.shingle
group by r.exchange_id, r.account_id, m.family""",
    "the exchanges that carry a shared text",
)

WORD_CARRIERS = Step(
    "word_carriers",
    f"""
select r.exchange_id as exchange_id, r.account_id as account_id, m.family as family, min(r.time) as time
from ({minhash_tokens("x.exchange_id as exchange_id, x.account_id as account_id, x.time as time")}
) as r
join family_tokens as m on m.shingle = r.shingle
group by r.exchange_id, r.account_id, m.family
having count(*) >= {CARRIES}""",
    "the exchanges that carry a re-wording of a shared text: one token in common is chance, several are not",
)

MATERIAL_EXCHANGES = Step(
    "material_exchanges",
    """
select t.exchange_id as exchange_id, t.account_id as account_id, t.family as family, t.time as time
from text_carriers as t
union all
select w.exchange_id as exchange_id, w.account_id as account_id, w.family as family, w.time as time
from word_carriers as w""",
    "the exchanges that carry a shared material of either kind",
)

MATERIAL_USES = Step(
    "material_uses",
    f"""
select k.account_id as account_id, k.family as family, max(k.place) as uses, min(k.time) as first_time,
       max(k.time) as last_time,
       min(case when k.place >= {LEAST_USES} then k.time // 86400000000 end) as joined_day
from (
    select e.account_id as account_id, e.family as family, e.time as time,
           row_number() over (partition by e.account_id, e.family order by e.time, e.exchange_id) as place
    from material_exchanges as e
) as k
group by k.account_id, k.family
having max(k.place) >= {LEAST_USES}""",
    "how often an account used a material, and the day on which that made it a member",
)


def _main(name: str, families: str, why: str) -> Step:
    return Step(
        name,
        f"""
select t.account_id as account_id, t.family as family
from (
    select u.account_id as account_id, u.family as family,
           row_number() over (partition by u.account_id order by u.uses desc, u.family) as place
    from material_uses as u
    where u.family in (select f.family from {families} as f)
) as t
where t.place = 1""",
        why,
    )


MAIN_TEXT = _main("main_text", "family_shingles", "the shared text that each account uses most")
MAIN_WORDS = _main("main_words", "family_tokens", "the re-worded text that each account uses most")

MATERIAL_FIRST = Step(
    "first_seen",
    """
select u.account_id as account_id, u.family as family, u.first_time as first_time from material_uses as u""",
    "when an account first used a material",
)

ACCOUNT_FIRST = Step(
    "first_seen",
    """
select p.account_id as account_id, -1 as family, p.first_time as first_time from population as p""",
    "when an account was first seen",
)

MATERIAL_SCOPE = Step(
    "scope",
    f"""
select e.account_id as account_id, e.family as family, {_COLUMNS}
from material_exchanges as e
join material_uses as u on u.account_id = e.account_id and u.family = e.family
join exchanges as x on x.exchange_id = e.exchange_id
left join conversations as c on c.conversation_id = x.conversation_id
left join organizations as g on g.account_id = x.account_id
left join openings as n
  on n.opening_digest = x.opening_digest and n.holder = coalesce(g.organization_id, x.account_id)
where e.time // 86400000000 > u.joined_day""",
    "only days after the account's third use of the material: the uses that made it a member are no evidence",
)

ACCOUNT_SCOPE = Step(
    "scope",
    f"""
select x.account_id as account_id, -1 as family, {_COLUMNS}
from exchanges as x
left join conversations as c on c.conversation_id = x.conversation_id
left join organizations as g on g.account_id = x.account_id
left join openings as n
  on n.opening_digest = x.opening_digest and n.holder = coalesce(g.organization_id, x.account_id)""",
    "all exchanges of every account",
)
