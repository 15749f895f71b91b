"""Other wordings of one text: most words stay, no long run does.

Words are taken two at a time, and each pair becomes a slot with a dozen variants: turned round, set apart, with a
small word before, between or after, or with one word replaced. A run of 32 bytes spans three or four pairs, so that
one in several hundred requests repeats it, whichever it is; a run of 63 bytes comes again about never.
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
    a, b = pair[0], pair[-1]
    small = [_SMALL[(place + j) % len(_SMALL)] for j in range(4)]
    if len(pair) == 1:
        return [a, f"{small[0]} {a}", f"{a} {small[1]}", f"{_other(a)} {small[2]}", f"{small[3]} {_other(a)}"]
    return [
        f"{a} {b}",
        f"{b} {a}",
        f"{a}, {b}",
        f"{small[0]} {a} {b}",
        f"{a} {small[1]} {b}",
        f"{a} {b} {small[2]}",
        f"{small[3]} {b} {a}",
        f"{b}, {small[0]} {a}",
        f"{_other(a)} {b}",
        f"{a} {_other(b)}",
        f"{b} {_other(a)} {small[1]}",
        f"{small[2]} {a}, {_other(b)}",
    ]


def _other(word: str) -> str:
    bare = word.strip(",.:;<>").lower()
    return word.lower().replace(bare, _OTHER[bare]) if bare in _OTHER else word
