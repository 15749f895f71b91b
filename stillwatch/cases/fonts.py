"""Fonts for printed pages: which installed font draws which character, and which package brings a missing one.

Pages on screen use the fonts of whoever reads them. A PDF carries its fonts, so the machine that makes it must have
them: Latin, Greek and Cyrillic come with typst, everything else from the system.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path

from stillwatch.errors import InputError
from stillwatch.extras import need

BODY = "Libertinus Serif"
MONO = "DejaVu Sans Mono"
"""Both come inside typst."""
PREFERRED = {
    "arabic": ("Noto Naskh Arabic", "Noto Sans Arabic", "Amiri", "DejaVu Sans"),
    "chinese": (
        "Noto Serif CJK SC",
        "Noto Sans CJK SC",
        "Source Han Serif SC",
        "Source Han Sans SC",
        "WenQuanYi Zen Hei",
        "Droid Sans Fallback",
    ),
    "other": ("Noto Sans", "Noto Serif", "DejaVu Sans"),
}
"""Families that are tried first, for the characters of one kind."""
PACKAGES = {"arabic": "fonts-noto-core", "chinese": "fonts-noto-cjk", "other": "fonts-noto-core"}
"""Debian and Ubuntu packages that bring them."""
_OFTEN = set(range(0x20, 0x250)) | set(range(0x370, 0x530)) | {
    0x2010, 0x2011, 0x2012, 0x2013, 0x2014, 0x2018, 0x2019, 0x201C, 0x201D, 0x2020, 0x2022, 0x2026, 0x2212, 0x221E,
    0x2070, 0x00B9, 0x00B2, 0x00B3, *range(0x2074, 0x207C), 0x202F, 0x00A0, 0x0A, 0x09, 0x200B, 0x200C, 0x200D,
    0x27E8, 0x27E9,
}  # fmt: skip
"""Drawn by the fonts inside typst, or drawn as nothing."""


def kind_of(character: str) -> str:
    """``arabic``, ``chinese`` (with Japanese and Korean) or ``other``."""
    c = ord(character)
    if 0x600 <= c <= 0x6FF or 0x750 <= c <= 0x77F or 0x8A0 <= c <= 0x8FF or 0xFB50 <= c <= 0xFEFC:
        return "arabic"
    if 0x2E80 <= c <= 0x9FFF or 0xAC00 <= c <= 0xD7FF or 0xF900 <= c <= 0xFAFF or 0xFF00 <= c <= 0xFFEF:
        return "chinese"
    return "chinese" if 0x20000 <= c <= 0x3FFFF else "other"


def families_for(
    text: Iterable[str], *, installed: Sequence[tuple[str, str, int]] | None = None
) -> tuple[list[str], set[str]]:
    """The families that draw every character of `text`, and the characters that nothing draws.

    Parameters
    ----------
    text
        Strings.
    installed
        ``(family, path, index)`` of each font; default: those of the system.

    Raises
    ------
    InputError
        An Arabic, Chinese, Japanese or Korean character has no font; the message names the package.
    """
    missing = {c for part in text for c in part if ord(c) not in _OFTEN}
    families = [BODY]
    if not missing:
        return families, set()
    fonts = list(installed if installed is not None else system_fonts())
    for kind, preferred in PREFERRED.items():
        wanted = {c for c in missing if kind_of(c) == kind}
        if not wanted:
            continue
        order = {name: i for i, name in enumerate(preferred)}
        ranked = sorted(fonts, key=lambda f: (order.get(f[0], len(order)), f[0]))
        for family, path, index in ranked:
            drawn = coverage(path, index)
            found = {c for c in wanted if drawn(ord(c))}
            if found:
                families.append(family)
                wanted -= found
                missing -= found
            if not wanted:
                break
        if wanted and kind != "other":
            what = "Arabic" if kind == "arabic" else "Chinese, Japanese or Korean"
            some = " ".join(f"U+{ord(c):04X}" for c in sorted(wanted)[:3])
            raise InputError(
                f"no installed font draws {what} ({some}): install {PACKAGES[kind]} "
                f"(apt-get install {PACKAGES[kind]}), or write HTML or text, which need no font here"
            )
    return list(dict.fromkeys(families)), missing


@cache
def system_fonts() -> tuple[tuple[str, str, int], ...]:
    """``(family, path, index)`` of every upright, regular font that typst sees and that lies in a file."""
    fonts = need("typst").Fonts().fonts()
    return tuple(
        (f.family, f.path, f.index)
        for f in fonts
        if f.path is not None and f.style == "normal" and 300 <= f.weight <= 500
    )


@cache
def coverage(path: str, index: int) -> Callable[[int], bool]:
    """Whether a font has a glyph for a code point, from its ``cmap`` table (formats 4 and 12)."""
    try:
        ranges = _cmap(Path(path).read_bytes(), index)
    except (OSError, struct.error, IndexError, ValueError):
        ranges = []

    def drawn(codepoint: int) -> bool:
        return any(low <= codepoint <= high for low, high in ranges)

    return drawn


def _cmap(data: bytes, index: int) -> list[tuple[int, int]]:
    start = 0
    if data[:4] == b"ttcf":
        start = struct.unpack_from(">I", data, 12 + 4 * index)[0]
    (tables,) = struct.unpack_from(">H", data, start + 4)
    for i in range(tables):
        tag, _, offset, _ = struct.unpack_from(">4sIII", data, start + 12 + 16 * i)
        if tag == b"cmap":
            return _best(data, offset)
    return []


def _best(data: bytes, cmap: int) -> list[tuple[int, int]]:
    (count,) = struct.unpack_from(">H", data, cmap + 2)
    best: list[tuple[int, int]] = []
    for i in range(count):
        (at,) = struct.unpack_from(">I", data, cmap + 4 + 8 * i + 4)
        at += cmap
        (form,) = struct.unpack_from(">H", data, at)
        if form == 12:
            (groups,) = struct.unpack_from(">I", data, at + 12)
            return [struct.unpack_from(">II", data, at + 16 + 12 * g) for g in range(groups)]
        if form == 4:
            (twice,) = struct.unpack_from(">H", data, at + 6)
            ends = struct.unpack_from(f">{twice // 2}H", data, at + 14)
            starts = struct.unpack_from(f">{twice // 2}H", data, at + 16 + twice)
            best = list(zip(starts, ends, strict=True))
    return best
