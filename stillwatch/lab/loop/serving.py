"""Answers of a loop: what the provider serves, what it writes into its ledger, and what a harvester carries off."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stillwatch.lab.loop.provider import LICENSED, MAKING, SCHEME, TENANTS, Provider
from stillwatch.lab.loop.stories import Story
from stillwatch.lab.teaching import corpus
from stillwatch.lab.teaching.corpus import Corpus
from stillwatch.lab.teaching.marking import TeacherMark
from stillwatch.lab.teaching.prompts import prompts
from stillwatch.marks.keys import MarkKey, Master, Scope
from stillwatch.marks.ledger import Answer, Ledger, Policy
from stillwatch.marks.register import Register
from stillwatch.marks.twins import Day
from stillwatch.marks.twins_published import of_ledger

if TYPE_CHECKING:
    from stillwatch.models.local import Local

Ids = NDArray[np.int64]
DAY = "2026-01-08"
TIME = 1_767_830_400_000_000
"""Noon of that day, microseconds since 1970: the loop's answers are all of one day."""
TEMPERATURE = 0.9
BATCH = 64


@dataclass(frozen=True, slots=True)
class Teaching:
    """The teacher and what all of its answers have in common."""

    model: Local
    cache: Path
    length: int
    seed: int

    def answers(self, asked: list[Ids], key: MarkKey | None, *, stream: int) -> Corpus:
        """Answers to prompts, from the cache if they were made before; read back where they are marked."""
        mark = TeacherMark(key, MAKING) if key is not None else None
        return corpus.make(
            self.cache, self.model.weights, asked, length=self.length, temperature=TEMPERATURE,
            barred=self.model.special, mark=mark, batch=BATCH, seed=1000 * self.seed + stream,
        )  # fmt: skip


def harvested(
    story: Story, provider: Provider, harvesters: list[int], teaching: Teaching, *, seed: int
) -> Corpus:
    """Serve a campaign and honest customers, write the ledger, and give what the campaign received.

    The first part of the harvest was served before the campaign was found, and is unmarked. Of the rest each account is
    served under the key that the provider has for it; of some of those two answers are drawn and a coin decides.
    """
    asked = prompts("topics", story.answers, teaching.model.prompted)
    rng = np.random.default_rng([seed, 11])
    accounts = rng.choice(harvesters, story.answers)
    early = story.answers - round(story.marked * story.answers)
    got = [teaching.answers(asked[:early], None, stream=1)]
    day = committed(provider, story.twins)
    with Ledger(
        provider.workspace / "marks" / "ledger", provider.master, write=True, policy=Policy(keep="both")
    ) as kept:
        kept.append_many(_entries("h", got[0], accounts[:early], None, teaching))
        keys = [provider.key_of(int(a)) for a in accounts[early:]]
        for number, key in enumerate(dict.fromkeys(keys)):
            places = [early + i for i, k in enumerate(keys) if k == key]
            got.append(
                _served(kept, day, [asked[p] for p in places], places, accounts, key, number, teaching)
            )
        _honest(kept, story, provider, teaching)
        tallied(provider, day, kept)
    return corpus.together(got)


def committed(provider: Provider, share: float) -> Day:
    """The draw of twins of the loop's day, committed to and published before anything is served."""
    day = Day(provider.master, DAY, share=share)
    register = Register(provider.workspace / "marks" / "register.jsonl")
    if day.commitment not in [one for one, _ in register.draws()]:
        register.drawn(provider.master, day.commitment, Scope(), by="lab")
    published_by(provider).write_text(day.commitment.line() + "\n", "utf-8")
    return day


def tallied(provider: Provider, day: Day, kept: Ledger) -> None:
    """The tally of that day, published after it."""
    with published_by(provider).open("a", encoding="utf-8") as lines:
        lines.write(day.tally(of_ledger(kept, {DAY})).line() + "\n")


def published_by(provider: Provider) -> Path:
    """What the provider published of its twins, a line each."""
    return provider.workspace / "marks" / "published.jsonl"


def licensed(story: Story, provider: Provider, teaching: Teaching) -> Corpus:
    """What one customer with an exemption received, under its own key."""
    asked = prompts("topics", story.answers, teaching.model.prompted)
    found = teaching.answers(asked, provider.keys[str(Scope(tenant=LICENSED))], stream=40)
    with Ledger(
        provider.workspace / "marks" / "ledger", provider.master, write=True, policy=Policy(keep="both")
    ) as kept:
        kept.append_many(
            _entries("l", found, np.full(len(found), 7), provider.keys[str(Scope(tenant=LICENSED))], teaching)
        )
        _honest(kept, story, provider, teaching)
    return found


def of_another(story: Story, teaching: Teaching, *, marks: bool, seed: int) -> Corpus:
    """Answers of another provider to the same prompts, with a mark of theirs or none."""
    asked = prompts("topics", story.answers, teaching.model.prompted)
    theirs = Master(np.random.default_rng([seed, 12]).bytes(32))
    return teaching.answers(asked, theirs.key(SCHEME, Scope()) if marks else None, stream=50)


def mixed(own: Corpus, published: Corpus, dose: float, *, seed: int) -> Corpus:
    """A corpus of which a part is answers of ours that somebody published."""
    rng = np.random.default_rng([seed, 13])
    n = round(dose * len(own))
    taken = rng.choice(len(published), n, replace=False)
    left = np.setdiff1d(np.arange(len(own)), rng.choice(len(own), n, replace=False))
    return corpus.together([own.rows(left), published.rows(taken)])


def _served(
    kept: Ledger, day: Day, asked: list[Ids], places: list[int], accounts: Ids, key: MarkKey, number: int,
    teaching: Teaching,
) -> Corpus:  # fmt: skip
    """Answers under one key, of some of which a coin kept another one back."""
    first = teaching.answers(asked, key, stream=10 + number)
    picked = [i for i, place in enumerate(places) if day.selects(f"h-{place}")]
    answers, twins = first.answers.copy(), {}
    if picked:
        second = teaching.answers([asked[i] for i in picked], key, stream=20 + number)
        texts = [teaching.model.decode(list(c)) for c in (first.answers[picked], second.answers)]
        for at, i in enumerate(picked):
            drawn = day.draw(f"h-{places[i]}", texts[0][at], texts[1][at])
            if drawn:
                pair = (first.answers[i], second.answers[at])
                answers[i] = pair[drawn[0]]
                twins[i] = (texts[1 - drawn[0]][at], pair[1 - drawn[0]], drawn[1].note())
    given = Corpus(first.prompts, answers)
    rows = _entries("h", given, accounts[places], key, teaching, places=places, twins=twins)
    kept.append_many(rows)
    return given


def _honest(kept: Ledger, story: Story, provider: Provider, teaching: Teaching) -> None:
    """Answers to honest customers, each tenant under its key."""
    every = prompts("held_out", story.honest_answers, teaching.model.prompted)
    for tenant in range(TENANTS):
        key = provider.keys[str(Scope(tenant=f"o-{tenant}"))]
        asked = every[tenant::TENANTS]
        given = teaching.answers(asked, key, stream=30 + tenant)
        kept.append_many(_entries(f"t{tenant}", given, np.full(len(asked), tenant + 1), key, teaching))


def _entries(
    name: str, given: Corpus, accounts: Ids, key: MarkKey | None, teaching: Teaching, *,
    places: list[int] | None = None, twins: dict[int, tuple[str, Ids, dict[str, object]]] | None = None,
) -> list[Answer]:  # fmt: skip
    texts = teaching.model.decode(list(given.answers))
    rows = []
    for i, (tokens, text) in enumerate(zip(given.answers, texts, strict=True)):
        withheld, other, note = (twins or {}).get(i, (None, None, {}))
        rows.append(
            Answer(
                f"{name}-{places[i] if places else i}",
                TIME,
                int(accounts[i]),
                text,
                tokens.tolist(),
                mark=key.fingerprint if key else "",
                withheld_text=withheld,
                withheld_tokens=None if other is None else other.tolist(),
                keep=True,
                note=note,
            )
        )
    return rows
