"""Text as integers: templates of fixed pieces and slots, rendered for many rows at once.

A text is named by four integers, ``(lo, span, k, seed)``: `k` sentences, each drawn from the templates
``lo .. lo + span - 1`` by a hash of `seed`, each of their slots filled by the same hash. So a row of a log
carries 24 bytes in place of its text until it is written, and the same name always gives the same text.
Seed 0 is special: template `lo` itself with every slot as it stood in the original.

Why slots at all: prompts drawn again and again from a small pool make unrelated accounts share long runs of
text as they never do. A template leaves at most `LONGEST` bytes between two slots, fewer than the 32 bytes
of one shingle, so two texts of one template share a shingle only if their slots agree as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from stillwatch.lab.gather import joined

LONGEST = 24
"""Bytes of fixed text between two slots of a varied template."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_SLOT = re.compile(r"\{(\w+)\}")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f\ud800-\udfff]+")


def mix(x: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea & Flood 2014): 64 bits in, 64 well-mixed bits out."""
    z = x.astype(np.uint64) + _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@dataclass(frozen=True, slots=True)
class Range:
    """Templates ``lo .. lo + span - 1``."""

    lo: int
    span: int


@dataclass(slots=True)
class Texts:
    """Templates and the words of their slots. Fill it with `words`, `add` and `vary`, then `render`."""

    _pieces: list[str] = field(default_factory=lambda: ["", " ", "\n"])
    _index: dict[str, int] = field(default_factory=dict)
    _classes: dict[str, Range] = field(default_factory=dict)
    _lo: list[int] = field(default_factory=list)
    _span: list[int] = field(default_factory=list)
    _default: list[int] = field(default_factory=list)
    _ends: list[int] = field(default_factory=lambda: [0])
    _ready: tuple[pa.Array, np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None = None

    def words(self, name: str, values: Sequence[str]) -> None:
        """Declare the class `name` of slots: any of `values` may fill it."""
        self._ready = None
        self._classes[name] = Range(len(self._pieces), len(values))
        self._pieces.extend(values)

    def add(self, templates: Iterable[str]) -> Range:
        """Add templates with slots written ``{class}``; the default of a slot is its class's first word."""
        first = len(self._ends) - 1
        for template in templates:
            for n, part in enumerate(_SLOT.split(template)):
                if n % 2:
                    c = self._classes[part]
                    self._code(c.lo, c.span, c.lo)
                elif part:
                    p = self._piece(part)
                    self._code(p, 1, p)
            self._ends.append(len(self._lo))
        return Range(first, len(self._ends) - 1 - first)

    def vary(self, originals: Iterable[str], name: str) -> Range:
        """Add original texts with a slot of class `name` (and ``name + "_capital"``) at least every `LONGEST` bytes.

        Control characters other than the line feed become spaces. A text that cannot be varied so is left out:
        tables of numbers, much code, scripts without spaces.
        """
        first = len(self._ends) - 1
        small, capital = self._classes[name], self._classes[name + "_capital"]
        for original in originals:
            parts = _slots(_CONTROL.sub(" ", original))
            if any(len(text.encode()) > LONGEST for text in parts[::2]):
                continue
            for n, part in enumerate(parts):
                if n % 2:
                    c = capital if part[0].isupper() else small
                    self._code(c.lo, c.span, self._piece(part))
                elif part:
                    p = self._piece(part)
                    self._code(p, 1, p)
            self._ends.append(len(self._lo))
        return Range(first, len(self._ends) - 1 - first)

    def copy(self, originals: Iterable[str]) -> Range:
        """Add texts without slots, each one piece; control characters other than the line feed become spaces."""
        first = len(self._ends) - 1
        for original in originals:
            p = self._piece(_CONTROL.sub(" ", original))
            self._code(p, 1, p)
            self._ends.append(len(self._lo))
        return Range(first, len(self._ends) - 1 - first)

    def render(
        self, lo: np.ndarray, span: np.ndarray, k: np.ndarray, seed: np.ndarray
    ) -> pa.LargeStringArray:
        """The texts named by equally long arrays; memory is about 40 bytes a piece besides the text."""
        if self._ready is None:
            self._ready = (
                pa.array(self._pieces, pa.large_string()),
                np.array(self._lo, np.int64),
                np.array(self._span, np.int32),
                np.array(self._default, np.int64),
                np.array(self._ends, np.int64),
            )
        pieces, code_lo, code_span, code_default, ends = self._ready
        n = len(lo)
        sentence_row = np.repeat(np.arange(n), k)
        nth = _within(k)
        seeds = seed.astype(np.uint64)[sentence_row]
        drawn = mix(seeds + nth.astype(np.uint64) * np.uint64(0xD1342543DE82EF95))
        template = lo[sentence_row] + (drawn % span.astype(np.uint64)[sentence_row]).astype(np.int64)
        template = np.where(seeds == 0, lo[sentence_row], template)
        length = ends[template + 1] - ends[template] + 1  # and one for the space before the sentence
        place = _within(length)
        code = np.repeat(ends[template], length) + place - 1
        opens = place == 0
        code[opens] = 0
        slot = mix(np.repeat(drawn, length) + place.astype(np.uint64) * np.uint64(0xA0761D6478BD642F))
        piece = code_lo[code] + (slot % code_span[code].astype(np.uint64)).astype(np.int64)
        piece = np.where(np.repeat(seeds == 0, length), code_default[code], piece)
        piece[opens] = np.where(nth > 0, 1, 0)
        return joined(pieces, piece, np.bincount(sentence_row, weights=length, minlength=n).astype(np.int64))

    def _piece(self, text: str) -> int:
        found = self._index.get(text)
        if found is None:
            found = self._index[text] = len(self._pieces)
            self._pieces.append(text)
        return found

    def _code(self, lo: int, span: int, default: int) -> None:
        self._ready = None
        self._lo.append(lo)
        self._span.append(span)
        self._default.append(default)


def _slots(text: str) -> list[str]:
    """`text` cut into fixed, slot, fixed, slot, ..., fixed; fixed parts are as long as `LONGEST` allows."""
    parts: list[str] = []
    start = 0
    plain = text.isascii()
    words = [m.span() for m in _WORD.finditer(text)]
    for i, (begin, end) in enumerate(words):
        following = words[i + 1][1] if i + 1 < len(words) else len(text)
        # A word becomes a slot if the fixed text would grow too long with it and the next word; words of three
        # letters or less stay where they can, because they hold a sentence together.
        held = following - start if plain else len(text[start:following].encode())
        if held <= LONGEST and (end - begin < 4 or begin - start < 9):
            continue
        parts += [text[start:begin], text[begin:end]]
        start = end
    return [*parts, text[start:]]


def _within(counts: np.ndarray) -> np.ndarray:
    """0 .. c-1 for every c of `counts`, one after the other."""
    total = int(counts.sum())
    starts = np.cumsum(counts) - counts
    return np.arange(total) - np.repeat(starts, counts)
