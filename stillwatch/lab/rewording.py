"""Other wordings of one text: most words stay, no long run does.

Words are taken two at a time, and each pair becomes a slot with many variants: turned round, set apart, with a small
word between or after, or with one word replaced. A run of 32 bytes then comes again in about one of a hundred
requests, whichever it is, and a run of 63 bytes hardly ever.
"""

from __future__ import annotations

from zlib import crc32

import numpy as np

from stillwatch.lab.texts import Range, Texts
from stillwatch.lab.world import World

_SMALL = ("so", "then", "please", "just", "now", "also", "again", "still", "here", "well")

_OTHER = {
    "imagine": "picture",
    "articulate": "spell out",
    "internal": "inner",
    "reasoning": "thinking",
    "behind": "that led to",
    "response": "reply",
    "step": "stage",
    "by": "after",
    "answer": "final answer",
    "keep": "retain",
    "give": "hand over",
    "write": "put",
    "task": "job",
    "below": "underneath",
    "mark": "label",
    "would": "might",
    "all": "every",
    "each": "any",
    "the": "this",
    "of": "for",
    "with": "using",
    "first": "initially",
    "next": "afterwards",
}


def reworded(world: World, constant: int) -> Range:
    """Other wordings of one constant text of a world."""
    lo, span, k, seed = world.constant_table()[[constant]].T
    texts = world.prompts.texts
    numbers = (x.astype(np.int64) for x in (lo, span, k))
    return reword(texts, texts.render(*numbers, seed)[0].as_py())


def reword(texts: Texts, original: str) -> Range:
    """Add a template to `texts` whose every filling is another wording of `original`."""
    words = original.split()
    slots = [f"w{crc32(original.encode())}x{i}" for i in range(0, len(words), 2)]
    for i, slot in enumerate(slots):
        texts.words(slot, _variants(words[2 * i : 2 * i + 2], 2 * i))
    return texts.add([" ".join("{" + slot + "}" for slot in slots)])


def _variants(pair: list[str], place: int) -> list[str]:
    """Several dozen ways to say one or two words."""
    small = [_SMALL[(place + j) % len(_SMALL)] for j in range(7)]
    after = ["", "", f" {small[0]}", f" {small[1]}"]
    if len(pair) == 1:
        said = [pair[0], _other(pair[0]), *(f"{s} {pair[0]}" for s in small)]
    else:
        a, b = pair
        between = [" ", ", ", *(f" {s} " for s in small[2:])]
        said = [
            f"{x}{gap}{y}" for x, y in ((a, b), (b, a), (_other(a), b), (_other(b), a)) for gap in between
        ]
    return [words + end for words in said for end in after]


def _other(word: str) -> str:
    bare = word.strip(",.:;<>").lower()
    return word.lower().replace(bare, _OTHER[bare]) if bare in _OTHER else word
