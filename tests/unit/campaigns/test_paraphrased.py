"""Re-worded text end to end: from prompts through their sketches to a family, its accounts and its exchanges."""

from __future__ import annotations

from functools import cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from taken_samples import DAY, MONDAY

from stillwatch import plugins
from stillwatch.campaigns import steps
from stillwatch.campaigns.groups import LEAST_ACCOUNTS, POPULAR_FLOOR, groups_of_materials
from stillwatch.campaigns.materials import Materials, find_materials
from stillwatch.campaigns.scan import BASE, propose
from stillwatch.campaigns.signals import paraphrased_prompt
from stillwatch.campaigns.signals.paraphrased_prompt import CARRIES, LEAST_TOKENS, POSITIONS
from stillwatch.engine import schema
from stillwatch.engine.duckdb import Engine
from stillwatch.text.sketch import sketch

CLAUSES = (
    "Work through the problem below slowly and write out every single step before you commit to a result",
    "Number the intermediate steps and check each of them against the facts that were given in the task itself",
    "State the assumptions that you make and name the alternatives which you considered and set aside on the way",
    "Close with one line that begins with the word Result and contains nothing but the final value or sentence",
)
SYNONYMS = {
    "problem": ("problem", "question", "exercise"),
    "slowly": ("slowly", "calmly", "patiently"),
    "commit to": ("commit to", "settle on"),
    "intermediate": ("intermediate", "single", "separate"),
    "facts": ("facts", "data"),
    "name": ("name", "list"),
    "considered": ("considered", "weighed"),
    "way": ("way", "path"),
    "begins": ("begins", "opens"),
    "contains": ("contains", "holds"),
}
FIXED = ". ".join(CLAUSES) + ".\n\n"
MEMBERS, OTHERS, EACH = 12, 60, 20


@cache
def vocabulary() -> list[str]:
    rng = np.random.default_rng(99)
    return ["".join(chr(97 + int(c)) for c in rng.integers(0, 26, rng.integers(3, 10))) for _ in range(5_000)]


def question(rng: np.random.Generator, words: int = 12) -> str:
    return " ".join(vocabulary()[i] for i in rng.integers(0, 5_000, words))


def reworded(rng: np.random.Generator) -> str:
    """The wrapper once more: clauses in another order, a synonym here and there."""
    said = []
    for i in rng.permutation(len(CLAUSES)):
        clause = CLAUSES[i]
        for word, others in SYNONYMS.items():
            clause = clause.replace(word, others[rng.integers(len(others))])
        said.append(clause)
    return ". ".join(said) + ".\n\n"


def log_of(asked: list[tuple[int, str]]) -> pa.Table:
    """Exchanges of (account, prompt), spread over four days."""
    n = len(asked)
    rng = np.random.default_rng(7)
    table = sketch(pa.array([prompt for _, prompt in asked]), None, key=bytes(range(32))).table
    given = {
        "exchange_id": rng.permutation(10**9)[:n] if n > 10**9 else rng.choice(2**50, n, replace=False),
        "account_id": np.array([account for account, _ in asked]),
        "time": MONDAY + np.arange(n) * 17 % 97 * (4 * DAY // 97),
        "turns": np.ones(n, np.int32),
        "input_tokens": np.full(n, 100),
        "output_tokens": np.full(n, 300),
        "source_line": np.arange(n),
    }
    columns = [
        table[f.name].cast(f.type)
        if f.name in table.column_names
        else pa.array(given[f.name], f.type)
        if f.name in given
        else pa.nulls(n, f.type)
        for f in schema.EXCHANGES
    ]
    return pa.Table.from_arrays([pa.chunked_array(c) if isinstance(c, pa.Array) else c for c in columns],
                                schema=schema.EXCHANGES)  # fmt: skip


def campaign(wrapper, *, others: int = OTHERS, share: float = 0.6) -> tuple[pa.Table, NDArray[np.bool_]]:
    """Members who put the wrapper before a part of their questions, others who only ask; which rows have it."""
    rng = np.random.default_rng(5)
    asked, has = [], []
    for account in range(MEMBERS + others):
        for _ in range(EACH):
            wraps = account < MEMBERS and rng.random() < share
            plain = question(rng, int(rng.integers(15, 80)))
            asked.append((account, wrapper(rng) + question(rng) if wraps else plain))
            has.append(wraps)
    return log_of(asked), np.array(has)


def engine_of(log: pa.Table) -> Engine:
    engine = Engine(threads=1)
    engine.table("exchanges", log)
    engine.table("accounts", schema.ACCOUNTS.empty_table())
    engine.table("actions", schema.ACTIONS.empty_table())
    engine.run(BASE)
    return engine


def families(engine: Engine, passes: int = 1) -> Materials:
    engine.run(paraphrased_prompt.steps(passes))
    links = engine.read("select account_id, shingle, uses from word_links")
    return find_materials(links, least_accounts=LEAST_ACCOUNTS, least_shingles=LEAST_TOKENS, reworded=True)


def carriers(engine: Engine, found: Materials) -> set[int]:
    keys = pa.table({"shingle": found.shingle, "family": found.shingle_material})
    engine.table("family_tokens", keys)
    engine.run([steps.WORD_CARRIERS])
    rows = engine.read("select exchange_id from word_carriers")
    assert rows.num_rows == len(set(rows["exchange_id"].to_pylist()))
    return set(rows["exchange_id"].to_pylist())


def test_a_wrapper_worded_anew_in_every_request_is_one_family() -> None:
    log, has = campaign(reworded)
    with engine_of(log) as engine:
        found = families(engine)
        carried = carriers(engine, found)
    assert len(found) == 1
    assert len(found.shingle) >= LEAST_TOKENS
    assert found.accounts_of(0).tolist() == list(range(MEMBERS))
    ids = log["exchange_id"].to_numpy()
    mine, others = set(ids[has].tolist()), set(ids[~has].tolist())
    assert len(carried & mine) >= 0.9 * len(mine)
    assert len(carried & others) <= 0.01 * len(others)
    (group,) = groups_of_materials(found, proposer="paraphrased_prompt", population=72, seed=1, first=3)
    assert group.materials == (3,) and group.accounts.tolist() == list(range(MEMBERS))


def test_passes_find_the_same_family() -> None:
    log, _ = campaign(reworded, others=10)
    made = []
    for passes in (1, 3):
        with engine_of(log) as engine:
            made.append(families(engine, passes))
    assert np.array_equal(made[0].shingle, made[1].shingle)
    assert np.array_equal(made[0].account, made[1].account) and np.array_equal(made[0].uses, made[1].uses)


def test_one_who_words_a_text_anew_is_no_family() -> None:
    """Four accounts are too few, however much they have in common."""
    log, _ = campaign(reworded, others=10)
    few = log.filter(pa.array(~np.isin(log["account_id"].to_numpy(), range(4, MEMBERS))))
    with engine_of(few) as engine:
        assert len(families(engine)) == 0


def test_unrelated_prompts_of_busy_accounts_are_no_family() -> None:
    """Tokens come back by chance in whoever asks two hundred times, and nobody is linked by that."""
    rng = np.random.default_rng(8)
    asked = [(account, question(rng, 60)) for account in range(15) for _ in range(200)]
    with engine_of(log_of(asked)) as engine:
        found = families(engine)
        repeated = engine.read("select count(*) as n from repeated")["n"][0].as_py()
    assert len(found) == 0
    # the same accounts with one wrapper in their prompts are one: the log is not too small to tell
    wrapped = [
        (account, reworded(rng) + text) if i % 2 else (account, text)
        for i, (account, text) in enumerate(asked)
    ]
    with engine_of(log_of(wrapped)) as engine:
        assert len(families(engine)) == 1
        assert engine.read("select count(*) as n from repeated")["n"][0].as_py() > repeated


def test_words_that_everybody_uses_are_no_group() -> None:
    """With so few words the commonest tokens are a family of all accounts, which is popular."""
    rng = np.random.default_rng(9)
    accounts = POPULAR_FLOOR + 20
    chance = 1 / np.arange(1, 301)
    drawn = rng.choice(300, (accounts * 20, 60), p=chance / chance.sum())
    asked = [(i % accounts, " ".join(vocabulary()[w] for w in words)) for i, words in enumerate(drawn)]
    with engine_of(log_of(asked)) as engine:
        found = families(engine)
    assert len(found) >= 1 and len(found.accounts_of(0)) > POPULAR_FLOOR
    assert groups_of_materials(found, proposer="paraphrased_prompt", population=accounts, seed=1) == []


def test_an_exchange_carries_a_family_by_several_tokens_and_not_by_one() -> None:
    tokens = np.arange(1, POSITIONS + 1) * 2**32 + 5
    rows = [[5] * n + [9] * (POSITIONS - n) + [5] * 16 for n in (0, 1, CARRIES - 1, CARRIES, POSITIONS)]
    log = log_of([(1, question(np.random.default_rng(i))) for i in range(len(rows))])
    at = log.schema.get_field_index("minhash")
    log = log.set_column(at, schema.EXCHANGES.field(at), [pa.array(rows, pa.list_(pa.int32()))])
    codes = np.zeros(POSITIONS, np.int64)
    none = np.empty(0, np.int64)
    with engine_of(log) as engine:
        found = carriers(engine, Materials(none, none, none, tokens, codes, codes.astype(bool)))
    assert found == set(log["exchange_id"].to_pylist()[3:])


def proposed(log: pa.Table) -> list[tuple[str, list[int]]]:
    with engine_of(log) as engine:
        found = propose(engine, plugins.find("campaigns.signals"), MEMBERS + OTHERS, seed=1)
    return [(g.proposer, g.accounts.tolist()) for g in found.groups]


def test_a_fixed_text_is_one_group_and_not_one_of_rewordings_besides() -> None:
    log, _ = campaign(lambda rng: FIXED)
    with engine_of(log) as engine:
        assert len(families(engine)) == 1, (
            "the fixed text is seen as re-worded too, so that there is one to join"
        )
    assert proposed(log) == [("shared_prompt", list(range(MEMBERS)))]


def test_nobody_is_proposed_where_nothing_is_shared() -> None:
    log, _ = campaign(lambda rng: question(rng, 40))
    assert proposed(log) == []
