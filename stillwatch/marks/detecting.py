"""Does a corpus carry a mark of one of our keys? Every key that ever served is tried, and all are adjusted for.

A corpus is read in pieces: sums are added up, and a tape for each scheme remembers which pairs were counted, so that
memory depends on the distinct pairs and not on the text. Keys that were drawn and never served are read beside the
true ones: where they score as the exact law has it, its tail is the p-value; where they do not, the rank among them is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from stillwatch.errors import InputError
from stillwatch.marks import drawn_keys, served_keys, table_reading
from stillwatch.marks import reading as readings
from stillwatch.marks.keys import Master
from stillwatch.marks.reading import NEED, Reading
from stillwatch.marks.register import Serving
from stillwatch.marks.served_keys import Candidate
from stillwatch.marks.table_reading import TableReading
from stillwatch.marks.tape import LIMIT, Ids, Tape
from stillwatch.marks.widths import reader
from stillwatch.stats.multiplicity import holm

ALPHA = 0.01
"""Chance, over all keys together, of naming one although the text carries none."""
POWER = 0.9
LISTS_TOGETHER = 1 << 21
"""Tokens that wait until a scheme of permuted lists is read: a list costs the same for one token as for a thousand."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a corpus says of one key."""

    serving: Serving
    pairs: int
    """Scored: distinct pairs of context and token, or distinct contexts."""
    need: int
    """Pairs below which no number is given."""
    mean: float | None = None
    """Share of favoured tokens, or the mean score; None with too few pairs, as everything that follows."""
    chance: float | None = None
    """What `mean` is expected to be without the mark."""
    spread: float | None = None
    """Standard deviation of what one pair adds to `mean`, without the mark."""
    log_p: float | None = None
    """Natural logarithm. Of the exact tail, or of the rank where drawn keys say that the tail is not to be believed."""
    log_p_adjusted: float | None = None
    """Adjusted over all keys of all schemes that were read (Holm: any dependence)."""
    exact: bool = True
    """Whether `log_p` is of the exact tail."""
    rank: int | None = None
    """1: no drawn key scores higher on the same text."""
    drawn: int = 0
    """Keys drawn for the null."""
    drawn_say: str = ""

    def carries(self, alpha: float = ALPHA) -> bool:
        """Whether the text carries this key's mark, as far as an error in a share `alpha` of corpora allows."""
        return self.log_p_adjusted is not None and self.log_p_adjusted <= math.log(alpha)


class Corpus:
    """A corpus that is read under many keys, in pieces.

    Parameters
    ----------
    tried
        Keys of any schemes; see `candidates`.
    master
        Where the drawn keys come from.
    decoys
        Drawn keys for each way of reading: 200 or more, or 0 for none. With none the exact tails stand unchecked.
    limit
        Distinct pairs to remember, over all schemes together: 16 to 32 bytes each. Behind it pairs are left out and
        counted in `dropped`.

    Attributes
    ----------
    documents, tokens
        Read so far.
    """

    def __init__(
        self, tried: Sequence[Candidate], master: Master, *, decoys: int = 200, limit: int = LIMIT
    ) -> None:
        if decoys and decoys < drawn_keys.FEWEST_DECOYS:
            raise InputError(f"at least {drawn_keys.FEWEST_DECOYS} decoys are needed, or 0; found {decoys}")
        self.documents = self.tokens = 0
        by_way: dict[str, list[Candidate]] = {}
        for one in tried:
            by_way.setdefault(one.way, []).append(one)
        room = max(1, limit // max(1, len(by_way)))
        self._ways = [_Way(together, master, decoys, room) for together in by_way.values()]

    @property
    def memory(self) -> int:
        """Bytes of what is remembered of the text."""
        return sum(way.tape.memory for way in self._ways)

    @property
    def dropped(self) -> int:
        """Pairs that were left out because there was no room to remember them."""
        return sum(way.tape.dropped for way in self._ways)

    @property
    def vocabulary(self) -> int | None:
        """Ids have to lie below this; None: no scheme says."""
        sizes = [way.parameters["vocab_size"] for way in self._ways if "vocab_size" in way.parameters]
        return min(sizes, default=None)

    def add(self, tokens: Ids, ends: Ids) -> None:
        """Read some documents, int64 ids one after the other and where each document ends.

        The arrays may be read later; do not change them.

        Raises
        ------
        InputError
            An id is below 0 or outside of a vocabulary.
        """
        if not tokens.size:
            self.documents += len(ends)
            return
        for way in self._ways:
            way.add(tokens, ends)
        self.documents += len(ends)
        self.tokens += len(tokens)

    def found(self) -> list[Found]:
        """What the corpus says of each key so far, in the order of `tried` within each way of reading."""
        found = [one for way in self._ways for one in way.found()]
        tested = [i for i, one in enumerate(found) if one.log_p is not None]
        adjusted = holm(np.array([found[i].log_p for i in tested], np.float64)).tolist()
        for i, value in zip(tested, adjusted, strict=True):
            found[i] = replace(found[i], log_p_adjusted=value)
        return found

    def best(self, tokens: Ids) -> tuple[Found | None, int]:
        """The key with the smallest p on one document by itself, and how many keys had enough text there.

        The p is that of the exact tail for this key alone; it is of the smallest of so many. Nothing is remembered.
        """
        each = [way.best(tokens) for way in self._ways] if tokens.size else []
        found = [one for one, _ in each if one is not None and one.log_p is not None]
        return min(found, key=lambda one: one.log_p or 0.0, default=None), sum(n for _, n in each)


class _Way:
    """Keys of one scheme with one set of parameters, read together."""

    def __init__(self, tried: Sequence[Candidate], master: Master, decoys: int, limit: int) -> None:
        first = tried[0]
        self.tried, self.parameters = tried, first.parameters
        self.module: ModuleType = reader(first.serving.scheme)
        self.true = [one.key.as_read() for one in tried]
        drawn = served_keys.decoys(master, first.serving.scheme, decoys) if decoys else ()
        self.keys = [*self.true, *(key.as_read() for key in drawn)]
        self.tape = Tape(limit)
        self.sum: Reading | TableReading | None = None
        self._together = LISTS_TOGETHER if "vocab_size" in self.parameters else 1
        self._waiting: list[tuple[Ids, Ids]] = []
        self._tokens = 0

    def add(self, tokens: Ids, ends: Ids) -> None:
        self._waiting.append((tokens, ends))
        self._tokens += tokens.size
        if self._tokens >= self._together:
            self._read()

    def _read(self) -> None:
        if not self._waiting:
            return
        begins = np.cumsum([0, *(tokens.size for tokens, _ in self._waiting[:-1])])
        tokens = np.concatenate([tokens for tokens, _ in self._waiting])
        ends = np.concatenate([e + begin for (_, e), begin in zip(self._waiting, begins, strict=True)])
        self._waiting, self._tokens = [], 0
        read = self.module.read(tokens, self.keys, ends=ends, tape=self.tape, **self.parameters)
        self.sum = read if self.sum is None else together([self.sum, read])

    def found(self) -> list[Found]:
        self._read()
        return _judged(self.sum, self.tried)

    def best(self, tokens: Ids) -> tuple[Found | None, int]:
        read = self.module.read(tokens, self.true, **self.parameters)
        enough = np.flatnonzero(read.scored >= NEED)
        if not enough.size:
            return None, 0
        if (read.scored[enough] == read.scored[enough[0]]).all():  # then p falls as the statistic rises
            kept = enough[np.argmax(read.statistic[enough])][None]
        else:
            kept = enough
        found = _judged(only(read, kept), [self.tried[i] for i in kept.tolist()])
        return min(found, key=lambda one: one.log_p or 0.0), int(enough.size)


def _judged(read: Reading | TableReading | None, tried: Sequence[Candidate]) -> list[Found]:
    """What a reading of the true keys, and of drawn ones behind them, says of each of the former."""
    n = len(tried)
    if read is None:
        return [Found(one.serving, 0, NEED) for one in tried]
    enough = np.flatnonzero(read.scored >= NEED)
    found = [Found(one.serving, int(read.scored[i]), NEED) for i, one in enumerate(tried)]
    if not (enough < n).any():
        return found
    some = only(read, enough)
    logs, means = drawn_keys.log_pvalues(some), some.statistic / (some.scored * some.draws)
    chance, spread = drawn_keys.chance_of(some), drawn_keys.spread_of(some)
    drawn = np.sort(logs[enough >= n])
    sound, said = True, ""
    if drawn.size > 1:
        sound, said = drawn_keys.calibrated(drawn_keys.standardised(some)[enough >= n])
    for place, i in enumerate(enough[enough < n].tolist()):
        rank = 1 + int(np.searchsorted(drawn, logs[place], "right")) if drawn.size else None
        by_rank = not sound and rank is not None
        log_p = math.log(rank / (drawn.size + 1)) if by_rank and rank else float(logs[place])
        found[i] = replace(
            found[i], mean=float(means[place]), chance=chance, spread=spread, log_p=log_p,
            exact=not by_rank, rank=rank, drawn=int(drawn.size), drawn_say=said,
        )  # fmt: skip
    return found


def together(parts: Sequence[Reading | TableReading]) -> Reading | TableReading:
    """The readings of pieces as one; see `reading.together`."""
    if any(isinstance(part, TableReading) for part in parts):
        return table_reading.together([part for part in parts if isinstance(part, TableReading)])
    return readings.together([part for part in parts if isinstance(part, Reading)])


def only(read: Reading | TableReading, keys: NDArray[np.intp]) -> Reading | TableReading:
    """A reading of some of its keys."""
    return replace(read, scored=read.scored[keys], statistic=read.statistic[keys])


def detectable(found: Found, keys: int, *, alpha: float = ALPHA, power: float = POWER) -> float | None:
    """By how much `mean` would have to lie above `chance` for this key to be named with probability `power`.

    By the normal approximation, so about; None where the pairs are too few for a number.
    """
    if found.spread is None:
        return None
    return _sum_of_quantiles(keys, alpha, power) * found.spread / math.sqrt(found.pairs)


def pairs_needed(
    found: Found, strength: float, keys: int, *, alpha: float = ALPHA, power: float = POWER
) -> int | None:
    """Pairs at which a mark of this strength (`mean` less `chance`) is named with probability `power`; about."""
    if found.spread is None or strength <= 0:
        return None
    return max(found.need, math.ceil((_sum_of_quantiles(keys, alpha, power) * found.spread / strength) ** 2))


def _sum_of_quantiles(keys: int, alpha: float, power: float) -> float:
    from scipy.stats import norm

    return float(norm.isf(alpha / max(1, keys)) + norm.isf(1 - power))
