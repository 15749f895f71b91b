"""The whole sketch again, slow and plain, from its description; shares nothing with the kernel but the secrets."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from hashlib import shake_256

MASK = (1 << 64) - 1
IGNORABLE = re.compile(
    "[\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
WHITE = "\x20\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
WORD = rb"a-z0\x80-\xff"
SLOT = re.compile(
    rb"0(?:[,\-./:]0)*"
    rb'|"[^"]*"'
    rb"|(?<![%(w)s])'(?! )..*?'(?![%(w)s])"
    rb"|`{3,}(?!`).*?(?<!`)`{3,}"
    rb"|`{1,2}(?!`).*?(?<!`)`{1,2}(?!`)"
    rb"|(?P<bare>`+)"
    rb"|\xe2\x80\x9c.*?\xe2\x80\x9d|\xc2\xab.*?\xc2\xbb|\xe3\x80\x8c.*?\xe3\x80\x8d"
    rb"|(?<![%(w)s])(?:https?://|www\.)[^\x00- \"')<>\]`]*" % {b"w": WORD},
    re.DOTALL,
)


def lower(c: str) -> str:
    return "i" if c == "\u0130" else c.lower()


def normalise(raw: bytes) -> bytes:
    text = IGNORABLE.sub("", raw.decode("utf-8", "replace"))
    out = []
    for c in map(lower, unicodedata.normalize("NFKC", text)):
        kind = unicodedata.category(c)
        folded = "0" if kind == "Nd" else " " if kind == "Cc" or c in WHITE else c
        if not (folded in "0 " and out and out[-1] == folded):
            out.append(folded)
    return "".join(out).strip(" ").encode()


def signed(x: int) -> int:
    return x - (1 << 64) if x >> 63 else x


class Secrets:
    def __init__(self, key: bytes) -> None:
        raw = shake_256(b"stillwatch text sketch 1\0" + key).digest(8 * 16)
        words = [int.from_bytes(raw[i : i + 8], "little") for i in range(0, len(raw), 8)]
        self.base, self.factor = words[0] | 1, words[1] | 1
        self.gram = (words[2], words[3] | 1, words[4] | 1)
        self.dense = (words[5], words[6] | 1, words[7] | 1)
        self.sip = [(words[i], words[i + 1]) for i in range(8, 16, 2)]


@lru_cache(maxsize=4)
def secrets(key: bytes) -> Secrets:
    return Secrets(key)


def finish(h: int, s: tuple[int, int, int]) -> int:
    h = ((h ^ s[0]) * s[1]) & MASK
    h ^= h >> 32
    h = (h * s[2]) & MASK
    return h ^ h >> 29


def siphash(text: bytes, k0: int, k1: int) -> int:
    def rotate(x: int, by: int) -> int:
        return (x << by | x >> (64 - by)) & MASK

    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def rounds(n: int) -> None:
        for _ in range(n):
            v[0] = (v[0] + v[1]) & MASK
            v[1] = rotate(v[1], 13) ^ v[0]
            v[0] = rotate(v[0], 32)
            v[2] = (v[2] + v[3]) & MASK
            v[3] = rotate(v[3], 16) ^ v[2]
            v[0] = (v[0] + v[3]) & MASK
            v[3] = rotate(v[3], 21) ^ v[0]
            v[2] = (v[2] + v[1]) & MASK
            v[1] = rotate(v[1], 17) ^ v[2]
            v[2] = rotate(v[2], 32)

    padded = text + bytes(7 - len(text) % 8) + bytes([len(text) & 0xFF])
    for i in range(0, len(padded), 8):
        m = int.from_bytes(padded[i : i + 8], "little")
        v[3] ^= m
        rounds(2)
        v[0] ^= m
    v[2] ^= 0xFF
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def template(text: bytes) -> bytes:
    return SLOT.sub(lambda m: m["bare"] or b"\x01", text)


def shingles(text: bytes, s: Secrets) -> list[tuple[int, int]]:
    """(hash, offset), in order."""

    def hashed(part: bytes) -> int:
        if len(part) < 32:
            return signed(siphash(part, *s.sip[3]))
        h = 0
        for i in range(0, 32, 8):
            h = (h * s.base + finish(int.from_bytes(part[i : i + 8], "little"), s.gram)) & MASK
        h = ((h ^ h >> 32) * s.factor) & MASK
        return signed(h ^ h >> 29)

    if not text:
        return []
    values = [hashed(text[i : i + 32]) for i in range(max(1, len(text) - 31))]
    found: dict[int, int] = {}
    for first in range(max(1, len(values) - 31)):
        window = values[first : first + 32]
        least = min(window)
        place = first + max(i for i, v in enumerate(window) if v == least)
        found.setdefault(least, place)
    every = list(found.items())
    if len(every) <= 512:
        return every
    smallest = sorted(every[128:-128])[:256]
    return every[:128] + sorted(smallest, key=every.index) + every[-128:]


def grams(text: bytes) -> set[bytes]:
    return {text[i : i + 8] for i in range(max(1, len(text) - 7))} if text else set()


def minhash(text: bytes, s: Secrets) -> list[int]:
    bins: dict[int, int] = {}
    for gram in grams(text):
        word = int.from_bytes(gram, "little") | (len(text) << 56 if len(text) < 8 else 0)
        x = finish(word, s.gram)
        bins[x >> 59] = min(x, bins.get(x >> 59, MASK))
    if not bins:
        return []
    out = []
    for k in range(32):
        j, attempt = k, 0
        while j not in bins:
            attempt += 1
            j = finish(k * 65536 + attempt, s.dense) >> 59
        low = bins[j] & 0xFFFFFFFF
        out.append(low - (1 << 32) if low >> 31 else low)
    return out


def sketch(prompt: bytes | None, system: bytes | None, key: bytes, patterns) -> dict:
    """One row; `patterns` is a list of (bit, phrases)."""
    names = ["system_digest", "template_digest", "prompt_digest", "shingles", "minhash", "elicitation"]
    names += ["prompt_bytes", "normalised", "offsets"]
    row: dict = dict.fromkeys(names)
    if prompt is None and system is None:
        return row
    s = secrets(key)
    user, rules = normalise(prompt or b""), normalise(system or b"")
    text = b"\n".join(part for part in (rules, user) if part)
    shape = b"\n".join(template(part) for part in (rules, user) if part)
    if system is not None:
        row["system_digest"] = signed(siphash(rules, *s.sip[0]))
    if prompt is not None:
        row["prompt_digest"] = signed(siphash(user, *s.sip[1]))
        row["prompt_bytes"] = len(prompt)
    row["template_digest"] = signed(siphash(shape, *s.sip[2]))
    found = shingles(text, s)
    row["shingles"], row["offsets"] = [h for h, _ in found], [p for _, p in found]
    row["minhash"] = minhash(text, s)
    row["elicitation"] = 0
    for bit, phrases in patterns:
        if all(phrase.encode() in text for phrase in phrases):
            row["elicitation"] |= bit
    row["normalised"] = text
    return row
