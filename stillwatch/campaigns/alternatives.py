"""Innocent explanations, each a named look-alike with a test that excludes it, does not, or cannot tell.

A look-alike is judged account by account where it can be, for a group may be a campaign in its large part and a
customer's work in its small one. Thresholds leave room between "excluded" and "not excluded": what lies there cannot
be told. Why each stands where it does: docs/methods/campaigns/innocent-explanations.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stillwatch.campaigns.habits import QUIET_HOURS, Habits
from stillwatch.campaigns.members import Accounts
from stillwatch.campaigns.scoring import Score
from stillwatch.records import Excluded

ONE_COMPANY = 0.5
"""Share of members in one organisation (or behind one prefix) from which one company explains the group."""
FEW = 0.2
"""Below this share of members in any one organisation and behind any one prefix, one company is excluded."""
MIXED = 0.9
"""A member with a smaller share than this may resell honest traffic beside the rest."""
LEAST_EXCHANGES = 12
"""Exchanges of a member that belong to the group, below which its habits are not judged."""
SOME = 0.05
"""A look-alike that is not excluded for more than this share of the members is not excluded."""
NEARLY_ALL = 0.8
"""Excluded for this share of the members: excluded. Not excluded for it, and it is asked about before anything is
supported."""
REPEATED, SELDOM = 0.3, 0.05
"""Shares of prompts asked again: a list that is run on two days of three gives 0.33; separate tasks give 0."""
LEAST_DAYS = 3
MOVING, STAYING = 0.3, 0.2
"""Distinct addresses for each exchange of a client that changes them with every job, and of one that does not."""
CODE_IN, WORDS_OUT = 1.5, 2.0
"""Output tokens for each input token of a client that has code reviewed, and of one that has text written."""
LONG_INPUT, BALANCED = 0.25, 0.5
"""Output tokens for each input token."""
ELICITED = 0.5
"""Share of requests that ask for reasoning, grades or rewriting, from which they are more than an extraction."""
RELEASE, NO_RELEASE = 0.5, 0.2
SAME_LIST = 0.3
TALKS, NO_TALKS = 0.25, 0.10
NIGHT, NO_NIGHT = 0.10, 0.20
"""Share of the exchanges in the eight quietest hours; a third for a machine."""
WEEKS = 10
"""Days over which one assignment may be spread."""
SHORT, NOT_SHORT = 0.9, 0.5
"""Share of answers of at most `habits.SHORT` tokens."""
END_USERS = 3
CLIENTS = 20
"""Kinds of client of one account; in composed logs ordinary accounts have five, and the busiest a dozen."""

EXCLUDED, UNKNOWN, OPEN = 1, 0, -1


@dataclass(frozen=True, slots=True)
class Facts:
    """What the accounts table and the log say of the members. All but `exempt` is about those that are not exempt.

    Parameters
    ----------
    members
        All of them, exempt ones included.
    organisation_share, prefix_share, payer_share
        Largest share of members in one organisation, behind one client prefix, on one payment token; None: not known
        for any.
    prefixes
        Number of distinct client prefixes.
    cards
        Distinct payment tokens, and how many members have one.
    exempt
        Members with an exemption, and its reasons.
    described
        Members of whom the table of accounts says anything, exempt ones included.
    education
        Share of members with mail of a school or university; None: not known for any.
    contracts
        Members with a contracted volume.
    """

    members: int
    organisation_share: float | None
    prefix_share: float | None
    payer_share: float | None
    prefixes: int
    cards: int
    with_card: int
    registered_days: float | None
    exempt: int
    exempt_reasons: tuple[str, ...]
    described: int
    education: float | None = None
    contracts: int = 0
    exempt_at: tuple[int, ...] = field(default=(), repr=False)
    """Positions of the exempt among the members."""


def read_facts(accounts: Accounts, members: NDArray[np.int64]) -> Facts:
    """Facts about the members of one group, from the tables that are read once a scan."""
    every = np.searchsorted(accounts.account, members)
    reasons = accounts.exemption.take(pa.array(every)).to_pylist()
    exempt = np.array([r is not None for r in reasons], bool)
    at = every if exempt.all() else every[~exempt]
    created = accounts.created[at]
    created = created[~np.isnan(created)]
    days = float(np.subtract(*np.quantile(created, [0.9, 0.1]))) if len(created) else None
    cards = accounts.payment_token[at]
    prefixes = accounts.client_prefix[at]
    mail = accounts.education[at]
    return Facts(
        members=len(members),
        organisation_share=_largest(accounts.organization[at]),
        prefix_share=_largest(prefixes),
        payer_share=_largest(cards),
        prefixes=len(np.unique(prefixes[prefixes >= 0])),
        cards=len(np.unique(cards[cards >= 0])),
        with_card=int((cards >= 0).sum()),
        registered_days=days,
        exempt=int(exempt.sum()),
        exempt_reasons=tuple(sorted({r for r in reasons if r is not None})),
        described=int(accounts.described[every].sum()),
        education=float((mail == 1).sum() / (mail >= 0).sum()) if (mail >= 0).any() else None,
        contracts=int((accounts.contract[at] > 0).sum()),
        exempt_at=tuple(int(i) for i in np.flatnonzero(exempt)),
    )


def _largest(codes: NDArray[np.int64]) -> float | None:
    """Largest share of members that hold one value; None when no member has any."""
    known = codes[codes >= 0]
    return float(np.unique(known, return_counts=True)[1].max() / len(codes)) if len(known) else None


@dataclass(frozen=True, slots=True)
class Look:
    """One innocent explanation of one group.

    Parameters
    ----------
    name
        What it is.
    excluded
        None: the data cannot tell.
    by
        What it rests on.
    open_for
        Share of the members for which it is not excluded.
    asks
        Whether it has to be asked about before a group is supported, where it is open for nearly all members.
    """

    name: str
    excluded: bool | None
    by: str
    open_for: float = 0.0
    asks: bool = True

    def as_excluded(self) -> Excluded:
        return Excluded(self.name, self.excluded, self.by)


@dataclass(frozen=True, slots=True)
class Subject:
    """What the look-alikes of one group are told from.

    Parameters
    ----------
    shares
        Shape (members,). Share of each member's exchanges that belong to the group; NaN: cannot be told.
    habits
        None: the group does not act as one, and its habits were not measured.
    """

    facts: Facts
    result: Score
    needed: float
    shares: NDArray[np.float64]
    habits: Habits | None


def look_alikes(group: Subject) -> list[Look]:
    """Every innocent explanation of one group with what the data says of it.

    Those that rest on habits are left out where these were not measured.
    """
    looks = [one_company(group.facts), framework(group.result, group.needed)]
    if group.habits is not None and len(group.habits.account):
        looks += [look(group.facts, group.habits) for look in HABITUAL]
    looks += [reseller(group.shares, group.habits), authorised(group.facts)]
    return looks


def asked_first(looks: Sequence[Look]) -> Look | None:
    """The look-alike that nearly all members fit as well, and that therefore has to be asked about; or None."""
    fitting = [look for look in looks if look.asks and look.excluded is False and look.open_for >= NEARLY_ALL]
    return max(fitting, key=lambda look: look.open_for, default=None)


def _judged(
    name: str, state: NDArray[np.int8], *, excluded: str, standing: str, unknown: str, asks: bool = True
) -> Look:
    """One verdict on the group from those on its members."""
    count = max(1, len(state))
    against, ruled_out = (state == OPEN).sum(), (state == EXCLUDED).sum()
    if against > SOME * count:
        who = "all" if against == count else f"{against} of {count}"
        return Look(name, False, f"for {who} accounts: {standing}", float(against / count), asks)
    if ruled_out >= NEARLY_ALL * count:
        rest = "" if ruled_out == count else f" ({ruled_out} of {count} accounts)"
        return Look(name, True, excluded + rest, float(against / count), asks)
    told = f"; excluded for {ruled_out} of {count} accounts" if ruled_out else ""
    return Look(name, None, unknown + told, float(against / count), asks)


def _states(habits: Habits, excluded: NDArray[np.bool_], standing: NDArray[np.bool_]) -> NDArray[np.int8]:
    """Verdict on each member; one with too few exchanges cannot be told. Comparisons with NaN are false."""
    enough = habits.counts["exchanges"] >= LEAST_EXCHANGES
    return np.where(enough & excluded, EXCLUDED, np.where(enough & standing, OPEN, UNKNOWN)).astype(np.int8)


def _median(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else np.nan


def _part(values: NDArray[np.float64]) -> str:
    typical = _median(values)
    return "an unknown part" if np.isnan(typical) else f"{typical:.0%}"


def _number(values: NDArray[np.float64], digits: int) -> str:
    typical = _median(values)
    return "an unknown number of" if np.isnan(typical) else f"{typical:.{digits}f}"


def one_company(facts: Facts) -> Look:
    """One employer, school or gateway behind all accounts: they share an organisation, a payer or an address."""
    name = "one company or class behind all accounts"
    kinds = {
        "organisation": facts.organisation_share,
        "payment token": facts.payer_share,
        "client prefix": facts.prefix_share,
    }
    shares = {kind: share for kind, share in kinds.items() if share is not None}
    if not shares:
        return Look(name, None, "the log names no organisation, payment or client prefix", asks=False)
    what, largest = max(shares.items(), key=lambda item: item[1])
    said = f"{largest:.0%} of the accounts share one {what}"
    if largest >= ONE_COMPANY:
        return Look(name, False, said, largest, asks=False)
    if largest >= FEW:
        return Look(name, None, said, asks=False)
    if set(shares) == {"client prefix"}:
        # People of one company who work from home look just like this.
        return Look(name, None, "addresses differ, but nobody's organisation or payment is known", asks=False)
    missing = "" if facts.organisation_share is not None else ", though none is declared"
    return Look(
        name,
        True,
        f"no shared organisation{missing}; {facts.prefixes} client prefixes for "
        f"{facts.members - facts.exempt or facts.members} accounts",
        asks=False,
    )


def framework(result: Score, needed: float) -> Look:
    """Strangers who use one public prompt: alike in the text, and in nothing else."""
    name = "users of a popular framework or prompt"
    if result.acts_as_one is None:
        return Look(name, None, "too few kinds of evidence besides the one that proposed the group")
    if result.acts_as_one >= needed:
        return Look(
            name, True, "in at least two other ways the accounts are more alike than matched accounts are"
        )
    return Look(
        name, False, "apart from what proposed the group, its accounts are no more alike than others", 1.0
    )


def evaluation(facts: Facts, habits: Habits) -> Look:
    """One list of prompts that is put to the model night after night."""
    again, days = habits.share("repeated_later", "asked"), habits.counts["days"]
    return _judged(
        "an evaluation that is run again and again",
        _states(habits, (again <= SELDOM) & (days >= LEAST_DAYS), again >= REPEATED),
        excluded=f"{_part(1 - again)} of a typical account's prompts are not asked again on a later day",
        standing=f"{_part(again)} of a typical account's prompts were asked on an earlier day",
        unknown=f"needs prompts of at least {LEAST_DAYS} days and {LEAST_EXCHANGES} exchanges of an account",
    )


def drift_monitor(facts: Facts, habits: Habits) -> Look:
    """One fixed list every few hours, to notice when a model changes."""
    again = habits.share("repeated_soon", "asked")
    return _judged(
        "a monitor that asks one list every few hours",
        _states(habits, again <= SELDOM, again >= REPEATED),
        excluded=f"{_part(1 - again)} of a typical account's prompts are asked once a day at most",
        standing=f"{_part(again)} of a typical account's prompts are asked several times a day",
        unknown=f"needs prompts and {LEAST_EXCHANGES} exchanges of an account",
    )


def build_runners(facts: Facts, habits: Habits) -> Look:
    """Review and test bots of one build system: a new address for every job, code in and not much more out, bursts.

    Whether the input is code cannot be read from the integers that are kept, and proxies that rotate look the same in
    addresses: it is shown, and a group is supported all the same.
    """
    moving, bursts = habits.share("prefixes", "located"), habits.share("in_bursts", "exchanges")
    taken = habits.share("output_tokens", "input_tokens")
    seen = (
        f"{_number(moving, 2)} addresses a request, {_part(bursts)} within two minutes of the one before, "
        f"{_number(taken, 1)} tokens taken for each given (a typical account)"
    )
    return _judged(
        "build runners on changing addresses",
        _states(
            habits,
            (moving <= STAYING) | (taken >= WORDS_OUT),
            (moving >= MOVING) & (taken <= CODE_IN),
        ),
        excluded=seen,
        standing=seen,
        unknown=f"addresses and tokens do not decide: {seen}",
        asks=False,
    )


def retrieval(facts: Facts, habits: Habits) -> Look:
    """A document store that is filled: long inputs, short answers, and nobody asks for reasoning or grades."""
    taken, asks = habits.share("output_tokens", "input_tokens"), habits.share("elicited", "exchanges")
    seen = f"a typical account takes {_number(taken, 2)} tokens for each token it gives"
    if _median(asks) >= ELICITED:
        seen += f", and {_part(asks)} of its requests ask for more than an answer"
    return _judged(
        "a document store being filled",
        _states(habits, (taken >= BALANCED) | (asks >= ELICITED), taken <= LONG_INPUT),
        excluded=seen,
        standing=seen,
        unknown="the log has no token counts"
        if np.isnan(taken).all()
        else "inputs and outputs are of like length",
    )


def release_day(facts: Facts, habits: Habits) -> Look:
    """A benchmark of a new model: the days of its release, one list in several hands."""
    early, same = habits.share("on_release", "exchanges"), habits.share("asked_by_others", "asked")
    long_enough = habits.counts["days"] > LEAST_DAYS
    return _judged(
        "a benchmark of a model on the day it came out",
        _states(
            habits,
            ((early <= NO_RELEASE) & long_enough) | (same <= SELDOM),
            (early >= RELEASE) & (same >= SAME_LIST),
        ),
        excluded=f"{_part(early)} of a typical account's requests fall on a model's first days, and "
        f"{_part(same)} of its prompts are another account's as well",
        standing=f"{_part(early)} of a typical account's requests fall on a model's first days, and "
        f"{_part(same)} of its prompts are another account's as well",
        unknown="too few days, or no prompts, to see whether a model's first days and one list explain it",
    )


def school_class(facts: Facts, habits: Habits) -> Look:
    """Pupils with one assignment: school mail, conversations by day, within a week or so."""
    name = "a class with one assignment"
    talks = habits.share("follow_ups", "exchanges")
    pooled = Habits(habits.account[:1], {}, habits.hours.sum(axis=0, keepdims=True), 0).quiet()[0]
    enough = habits.hours.sum() >= 2 * LEAST_EXCHANGES
    mail = facts.education
    excluded = (talks <= NO_TALKS) | (habits.counts["span"] > WEEKS) | (enough and pooled >= NO_NIGHT)
    excluded |= mail is not None and mail < FEW
    standing = (talks >= TALKS) & (enough and pooled <= NIGHT)
    known = "not known" if mail is None else f"{mail:.0%}"
    seen = (
        f"{_part(talks)} of a typical account's requests go on with a conversation, {pooled:.0%} fall into the "
        f"quietest {QUIET_HOURS} hours, school mail {known}"
    )
    return _judged(
        name, _states(habits, excluded, standing), excluded=seen, standing=seen, unknown=f"between: {seen}"
    )


def single_task(facts: Facts, habits: Habits) -> Look:
    """One customer with one template who labels, scores or extracts: one payer, answers of a few tokens."""
    short = habits.share("short_answers", "answered")
    payers = [p for p in (facts.payer_share, facts.organisation_share) if p is not None]
    one, several = max(payers, default=0.0) >= NEARLY_ALL, bool(payers) and max(payers) < FEW
    paid = "payer not known" if not payers else f"at most {max(payers):.0%} share a payer"
    seen = f"{_part(short)} of a typical account's answers are of 100 tokens or less; {paid}"
    return _judged(
        "one customer's batch job with one task",
        _states(habits, (short <= NOT_SHORT) | several, (short >= SHORT) & one),
        excluded=seen,
        standing=seen,
        unknown=seen if not np.isnan(short).all() else f"the log has no token counts; {paid}",
    )


HABITUAL: tuple[Callable[[Facts, Habits], Look], ...] = (
    evaluation,
    drift_monitor,
    build_runners,
    retrieval,
    release_day,
    school_class,
    single_task,
)
"""Look-alikes that are told by what the members do."""


def reseller(shares: NDArray[np.float64], habits: Habits | None) -> Look:
    """An account that carries the requests of others: traffic beside the group's, end users, many kinds of client."""
    name = "a reseller whose customers ask for themselves"
    count = max(1, len(shares))
    mixed = shares < MIXED
    known, many = ~np.isnan(shares), np.zeros(len(shares), bool)
    if habits is not None and len(habits.account) == len(shares):
        many = (habits.counts["end_users"] >= END_USERS) | (habits.counts["clients"] >= CLIENTS)
    against = mixed | many
    if against.any():
        parts = [f"{mixed.sum()} carry other traffic as well"] if mixed.any() else []
        parts += [f"{many.sum()} name several end users or kinds of client"] if many.any() else []
        return Look(
            name,
            False,
            f"for {'all' if against.all() else f'{against.sum()} of {count}'} accounts: {'; '.join(parts)}",
            float(against.sum() / count),
            asks=False,
        )
    if not known.any():
        return Look(name, None, "no text tells which exchanges belong to the group", asks=False)
    if not known.all():
        said = f"text tells the exchanges of {known.sum()} of {count} accounts only"
        return Look(name, None, said, asks=False)
    return Look(name, True, "every account carries the group's text in nearly all its requests", asks=False)


def authorised(facts: Facts) -> Look:
    """A customer who may do this: an exemption, or a contract over a volume."""
    name = "an authorised project"
    rest = facts.members - facts.exempt
    reasons = "; ".join(facts.exempt_reasons)
    if facts.exempt > ONE_COMPANY * facts.members:
        said = f"{facts.exempt} of {facts.members} accounts are exempt: {reasons}"
        return Look(name, False, said, facts.exempt / facts.members)
    apart = f"; {facts.exempt} exempt accounts stand apart: {reasons}" if facts.exempt else ""
    if facts.contracts > SOME * max(1, rest):
        said = f"{facts.contracts} of {rest} accounts have a contracted volume: ask whether it covers this"
        return Look(name, False, said + apart, facts.contracts / max(1, rest))
    if facts.described < facts.members:
        unknown = facts.members - facts.described
        return Look(
            name, None, f"no exemption known, but {unknown} accounts are not described anywhere{apart}"
        )
    return Look(name, True, (f"no other account of the group is exempt{apart}" if apart else
                             "no account of the group is exempt"))  # fmt: skip
