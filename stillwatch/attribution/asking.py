"""Everything that a suspect is asked, and the rows of results that come of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwatch.attribution import moved
from stillwatch.attribution.attribute import Row, of_predictions, of_texts, one
from stillwatch.attribution.candidates import Candidates
from stillwatch.attribution.plan import probe
from stillwatch.attribution.preferences import preferences
from stillwatch.attribution.randomized import canaries as ranked
from stillwatch.attribution.randomized import twins
from stillwatch.attribution.served import later_turns, marked, with_twins
from stillwatch.attribution.suspect import Document, Suspect
from stillwatch.errors import AccessError
from stillwatch.marks.canaries import ProbeSet, scores
from stillwatch.marks.keys import Master, Scope
from stillwatch.marks.ledger import Ledger
from stillwatch.marks.twins import Twin
from stillwatch.marks.twins_published import Published, held, of_ledger
from stillwatch.models.protocol import Model
from stillwatch.records import TestResult

ANSWER_TOKENS = 160
"""Tokens of an answer that a suspect is asked for."""
SAMPLES = 4
"""Answers to each prompt of a twin, where text is all that a suspect gives."""
AT_ONCE = 8
UNHELD = "The coins of served twins are as the ledger notes them; nothing that was published was held against them."
HELD = (
    "The coins of the served twins that were asked about, and which pairs their days have, are as published. When that "
    "was published, before the model or after it, is for its time stamps to show."
)
Told = Callable[[int, int], None]
"""Called with the number of documents asked so far, and of all."""


@dataclass
class Asked:
    """Everything that the tests of a plan ask."""

    served: list[Document] = field(default_factory=list)
    plain: list[Document] = field(default_factory=list)
    fresh: list[Document] = field(default_factory=list)
    """Probes that carry a mark and were served to nobody."""
    twins: list[tuple[str, str, str]] = field(default_factory=list)
    written: list[Document] = field(default_factory=list)
    """Text that the suspect wrote before."""
    written_after: list[str] = field(default_factory=list)
    """The prompts of `written`, or none at all."""
    prompts: list[str] = field(default_factory=list)
    """To be asked now."""
    canaries: ProbeSet | None = None
    moved: list[Document] = field(default_factory=list)
    """Plain text that both the suspect and its base read."""

    @property
    def total(self) -> int:
        """Documents that the suspect reads or writes."""
        return sum(map(len, (self.served, self.fresh, self.plain, self.twins, self.prompts, self.moved)))

    def probes(self) -> dict[str, dict[str, Any]]:
        """The part of a plan that names them."""
        lists: dict[str, tuple[str, Sequence[Any]]] = {
            "served answers": ("predictions after what was served", [_said(d) for d in self.served]),
            "fresh marked text": ("predictions after it", [_said(d) for d in self.fresh]),
            "plain text": ("predictions after it", [_said(d) for d in self.plain]),
            moved.KIND: ("how its probabilities differ from its base's", [_said(d) for d in self.moved]),
            "its own text": ("marks in it", [_said(d) for d in self.written]),
            "its own answers": ("marks in answers to these prompts", self.prompts),
            "served twins": ("which of the two it prefers", self.twins),
        }
        found = {name: probe(what, items) for name, (what, items) in lists.items() if items}
        if self.written_after:
            found["its own text"]["prompts"] = probe("what it was asked", self.written_after)
        if self.canaries:
            found["canaries"] = probe("which way it says them", self.canaries.questions())
            found["canaries"]["commitment"] = self.canaries.commitment()
        return found


def from_ledger(
    asked: Asked,
    folder: Path,
    master: Master,
    marks: Sequence[str],
    *,
    limit: int,
    seed: int = 0,
    prompts: Mapping[str, str] | None = None,
    said: Published | None = None,
    scopes: Collection[Scope] = (),
) -> list[str]:
    """Add the served answers and twins of a ledger; a sentence for each thing that a reader has to know of them.

    Parameters
    ----------
    marks
        Fingerprints of the keys whose answers are taken, at most `limit` of each; ten times as many twins.
    prompts
        Exchange id -> prompt, for twins, as far as they are known.
    said
        What was published of the days of twins: pairs that do not fit it are left out. None: no coin is held against
        anything.
    scopes
        Whom draws of twins may have been for.

    Raises
    ------
    InputError, IntegrityError
        As `stillwatch.marks.ledger.Ledger`; a twin that is not as its coin fell.
    """
    known: Mapping[str, str] = prompts or {}
    coins: set[str] = set()
    with Ledger(folder, master) as ledger:
        without = later_turns(ledger)
        for one_ in marked(ledger, marks, limit=limit, seed=seed, without=without):
            asked.served.append(Document(one_.text, one_.tokens, marked=True))
        fits: set[Twin] | None = None
        notes: list[str] = []
        if said is not None:
            fits, notes = held(said, of_ledger(ledger), master, scopes)
        for one_ in with_twins(ledger, limit=10 * limit, seed=seed, without=without):
            if one_.exchange_id in coins or (fits is not None and one_.twin not in fits):
                continue  # one coin an exchange, however often it was served
            coins.add(one_.exchange_id)
            asked.twins.append((known.get(one_.exchange_id, ""), one_.text or "", one_.withheld or ""))
    if len(without):
        notes.append(
            f"{len(without):,} answers are later turns of their conversations and were left out: what they say depends "
            "on what a key or a coin chose before."
        )
    if asked.twins:
        notes.append(UNHELD if said is None else HELD)
    return notes


def tests(
    asked: Asked,
    suspect: Suspect,
    groups: Sequence[Candidates],
    *,
    reference: Model | None = None,
    base: Model | None = None,
    seed: int = 0,
    on_asked: Told = lambda done, total: None,
) -> list[Row]:
    """Ask all of it; one row for each test and key, see `attribute.adjusted`.

    Parameters
    ----------
    reference
        A model that saw none of our answers, for the test of twins.
    base
        What the suspect is said to have been trained from, for `Asked.moved`.
    seed
        Of the suspect's sampling.
    """
    done = 0

    def read(n: int) -> None:
        nonlocal done
        done += n
        on_asked(done, asked.total)

    rows: list[Row] = []
    for kind, documents, carried in (
        ("served answers", asked.served, True),
        ("fresh marked text", asked.fresh, True),
        ("plain text", asked.plain, False),
    ):
        if documents:
            rows += _predictions(kind, documents, suspect, groups, read, carried=carried)
    if asked.moved and base is not None:
        rows += moved.rows(asked.moved, suspect, base, groups, on_read=read)
    if asked.written:
        before = suspect.cut([Document(p, None) for p in asked.written_after])
        rows += of_texts("its own text", suspect.cut(asked.written), groups, prompts=before)
    if asked.prompts:
        rows += _own_answers(asked.prompts, suspect, groups, seed, read)
    if asked.twins:
        rows.append(_twins(asked, suspect, reference, seed, read))
    if asked.canaries:
        try:
            rows += _canaries(asked.canaries, suspect, seed)
        except AccessError as refused:
            rows.append(Row("canaries", why=str(refused)))
    return rows


def _predictions(
    kind: str,
    documents: Sequence[Document],
    suspect: Suspect,
    groups: Sequence[Candidates],
    read: Callable[[int], None],
    *,
    carried: bool,
) -> list[Row]:
    """Marked documents are read in the ids that were served, and in no others.

    Where a text is cut anew, whether a token begins at a place depends on the token that stands there, and so on the
    key.
    """
    if carried:
        documents = [d for d in documents if d.tokens is not None]
        if not documents:
            return [
                Row(kind, why="token ids were not kept; text cut anew has its places where the key put them")
            ]
    try:
        return of_predictions(kind, suspect.read(documents, on_read=read), groups, carried=carried)
    except AccessError as refused:
        return [Row(kind, why=str(refused))]


def _own_answers(
    prompts: Sequence[str],
    suspect: Suspect,
    groups: Sequence[Candidates],
    seed: int,
    read: Callable[[int], None],
) -> list[Row]:
    try:
        before = suspect.cut([Document(p, None) for p in prompts])
        answers = _answers(suspect, prompts, seed, read)
    except AccessError as refused:
        return [Row("its own answers", why=str(refused))]
    return of_texts("its own answers", answers, groups, prompts=before)


def _twins(
    asked: Asked, suspect: Suspect, reference: Model | None, seed: int, read: Callable[[int], None]
) -> Row:
    """By log-probabilities, or, where the suspect gives none, by what it answers to the prompts that are known."""
    try:
        liked = preferences(suspect.model, asked.twins, reference=reference, on_read=read)
    except AccessError as refused:
        known = [pair for pair in asked.twins if pair[0]]
        if not known:
            return Row("served twins", why=f"{refused}; and no prompt is known that it could answer")
        prompts, served, withheld = (list(part) for part in zip(*known, strict=True))
        given = suspect.model.complete(prompts, max_tokens=ANSWER_TOKENS, samples=SAMPLES, seed=seed)
        read(len(asked.twins))
        nearer = twins.nearer([[a.text for a in answers] for answers in given], served, withheld)
        return one("served twins, by text", lambda: twins.test(nearer))
    return one("served twins", lambda: twins.test(liked))


def _answers(
    suspect: Suspect, prompts: Sequence[str], seed: int, read: Callable[[int], None]
) -> list[NDArray[np.int64]]:
    """The suspect's answers to prompts, in the teacher's ids."""
    texts = []
    for first in range(0, len(prompts), AT_ONCE):
        piece = prompts[first : first + AT_ONCE]
        given = suspect.model.complete(piece, max_tokens=ANSWER_TOKENS, seed=seed + first)
        texts += [answers[0].text for answers in given]
        read(len(piece))
    return suspect.cut([Document(t, None) for t in texts])


def _canaries(probes: ProbeSet, suspect: Suspect, seed: int) -> list[Row]:
    every = (*probes.planted, *probes.controls)
    questions = list(dict.fromkeys(p.canary.ask for p in every))
    given = suspect.model.complete(questions, max_tokens=ANSWER_TOKENS, samples=probes.repeats, seed=seed)
    said = {ask: [a.text for a in g] for ask, g in zip(questions, given, strict=True)}
    answers = {p.canary.id: said[p.canary.ask] for p in every}

    def ranked_of(part: Any) -> TestResult:
        planted, decoys = scores(part, answers)
        return ranked.test(np.array(planted), np.array(decoys).reshape(len(planted), -1))

    return [
        replace(one("canaries", lambda: ranked_of(probes.planted)), scope=str(probes.scope)),
        one("canaries, controls", lambda: ranked_of(probes.controls), claims=False),
    ]


def _said(document: Document) -> NDArray[np.int64] | str:
    return document.text or "" if document.tokens is None else document.tokens
