"""Other wordings of one text: most words and short phrases stay, no long run does.

The text is cut into phrases of up to `PHRASE` bytes. A wording puts them in another order, joins them in other ways,
and says every second one a little differently. So a run of 63 bytes hardly ever comes again and one of 32 in one
request of a hundred, while two wordings still have about a quarter of their 8-byte pieces in common.
"""

from __future__ import annotations

from zlib import crc32

import numpy as np

from stillwatch.lab.texts import Range, Texts
from stillwatch.lab.world import World

PHRASE = 22
ORDERS = 256
"""Orders of the phrases; every one has its own template."""

_JOINTS = (
    ", ",
    "; ",
    ". ",
    " and ",
    " then ",
    " also ",
    " - ",
    ": ",
    " please ",
    " so ",
    " plus ",
    " (next) ",
)

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
    """Add templates to `texts` whose every filling is another wording of `original`."""
    phrases = _phrases(original)
    name = f"w{crc32(original.encode())}"
    texts.words(f"{name}_joint", _JOINTS)
    for i, phrase in enumerate(phrases):
        texts.words(f"{name}_{i}", _variants(phrase))
    rng = np.random.default_rng(crc32(original.encode()))
    orders = (rng.permutation(len(phrases)).tolist() for _ in range(ORDERS))
    joint = "{" + name + "_joint}"
    return texts.add([joint.join("{" + f"{name}_{i}" + "}" for i in order) for order in orders])


def _phrases(text: str) -> list[str]:
    """Words put together up to `PHRASE` bytes, without the stops at their ends."""
    phrases: list[str] = []
    for word in text.split():
        if phrases and len(f"{phrases[-1]} {word}".encode()) <= PHRASE and phrases[-1][-1] not in ".,:;":
            phrases[-1] += f" {word}"
        else:
            phrases.append(word)
    return [phrase.rstrip(".,:;") or phrase for phrase in phrases]


def _variants(phrase: str) -> list[str]:
    """The phrase itself half of the time, else with other words or turned round in the middle."""
    words = phrase.split()
    other = " ".join(_other(w) for w in words)
    turned = " ".join([*words[1:], words[0]]) if len(words) > 1 else phrase
    return [phrase, phrase, other, turned]


def _other(word: str) -> str:
    bare = word.strip(",.:;<>").lower()
    return word.lower().replace(bare, _OTHER[bare]) if bare in _OTHER else word
