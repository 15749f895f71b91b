"""What counts as the same text.

Two texts are the same for every signal if they have the same normalised form. In this order:

1. Bytes that are no UTF-8, lone surrogates among them, become U+FFFD, one for each maximal ill-formed part
   (Unicode 3.9, as `bytes.decode(errors="replace")` does).
2. Default-ignorable characters are dropped: zero-width spaces and joiners, byte order marks, soft hyphens, bidi
   controls, variation selectors, tag characters. They show nothing, so they would hide a shared text for free.
3. Unicode NFKC (Arrow's utf8proc), which also turns full-width and styled letters into plain ones.
4. Simple lower case, character by character (one to one: no final sigma, U+0130 becomes i).
5. Every other control character, NUL among them, and all Unicode white space: each run becomes one space.
6. Every run of Unicode decimal digits becomes "0".
7. No space at the ends.

The form is not always a fixed point: a letter lowered in step 4 may compose with a mark if normalised again.
Characters assigned after the Unicode version of the installed Arrow stay as they are, so two machines agree on
every character that both know. Nothing here knows of look-alike letters of two scripts.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stillwatch.errors import SchemaError

# Unicode 17, DerivedCoreProperties.txt, Default_Ignorable_Code_Point
IGNORABLE = np.array(
    [
        (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F),
        (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F),
        (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A),
        (0xE0000, 0xE0FFF),
    ],
    np.int32,
)  # fmt: skip

# Unicode 17, PropList.txt, White_Space, above ASCII; the control characters are in step 5 anyway
WHITE_SPACE = (0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000)

# Unicode 17, the zeros of the decimal digits (Nd) that NFKC leaves alone; nine more follow each
ZEROS = (
    0x30, 0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66, 0xDE6,
    0xE50, 0xED0, 0xF20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50, 0x1BB0,
    0x1C40, 0x1C50, 0xA620, 0xA8D0, 0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0, 0x104A0, 0x10D30, 0x10D40,
    0x11066, 0x110F0, 0x11136, 0x111D0, 0x112F0, 0x11450, 0x114D0, 0x11650, 0x116C0, 0x116D0, 0x116DA,
    0x11730, 0x118E0, 0x11950, 0x11BF0, 0x11C50, 0x11D50, 0x11DA0, 0x11DE0, 0x11F50, 0x16130, 0x16A60,
    0x16AC0, 0x16B50, 0x16D70, 0x1E140, 0x1E2F0, 0x1E4F0, 0x1E5F1, 0x1E950,
)  # fmt: skip

BELOW = 0x3100  # code points below are looked up in a table; those above are handled by ranges
SPACE, DIGIT = 32, 48


@dataclass(frozen=True)
class Pieces:
    """Rows of text as bytes: row i is data[start[i]:end[i]], clean and NFKC; is_utf8[i] = 0 where it is ASCII."""

    data: np.ndarray
    start: np.ndarray
    end: np.ndarray
    is_utf8: np.ndarray


@lru_cache(maxsize=1)
def digit_ranges() -> np.ndarray:
    """Sorted [first, last] of the decimal digits, shape (ranges, 2), int32."""
    return np.array([(zero, zero + 9) for zero in ZEROS], np.int32)


@lru_cache(maxsize=1)
def fold_table() -> np.ndarray:
    """For each code point below 0x3100 its lower case, or SPACE, or DIGIT; shape (0x3100,), int32."""
    lower = pc.utf8_lower(pa.array([chr(cp) for cp in range(BELOW)])).to_pylist()
    table = np.array([ord(c) for c in lower], np.int32)
    table[[*range(0x20), *range(0x7F, 0xA0), *WHITE_SPACE]] = SPACE
    table[0x30:0x3A] = DIGIT
    for zero in ZEROS:
        if zero < BELOW:
            table[zero : zero + 10] = DIGIT
    return table


@lru_cache(maxsize=1)
def special_bytes() -> np.ndarray:
    """The bytes of normalised text at which a slot may begin; shape (256,), bool."""
    table = np.zeros(256, np.bool_)
    table[list(b"0\"'`:w" + "\u201c\u00ab\u300c".encode())] = True
    return table


@lru_cache(maxsize=1)
def inert_table() -> np.ndarray:
    """For each code point below 0x3100: 1 NFKC never touches it, 2 ignorable, 0 anything else; uint8.

    Inert: it is its own NFKC form, no mark and no jamo (only those have a combining class or compose with what
    stands before them, Unicode annex 15), so a row of inert characters is its own NFKC form.
    """
    chars = [chr(cp) for cp in range(BELOW)]
    same = pc.equal(pc.utf8_normalize(pa.array(chars), "NFKC"), pa.array(chars)).to_numpy(
        zero_copy_only=False
    )
    kinds = [unicodedata.category(c)[0] for c in chars]
    table = (same & [k not in "MC" or c < "\xa0" for c, k in zip(chars, kinds, strict=True)]).astype(np.uint8)
    table[0x1100:0x1200] = 0
    for first, last in IGNORABLE:
        if last < BELOW:
            table[first : last + 1] = 2
    return table


def _as_binary(texts: pa.Array | pa.ChunkedArray, name: str) -> pa.LargeBinaryArray:
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()  # a single array
    kind = texts.type
    if pa.types.is_dictionary(kind):
        texts, kind = texts.dictionary_decode(), kind.value_type
    if pa.types.is_null(kind):
        return texts.cast(pa.large_binary())
    text_like = (
        pa.types.is_string(kind), pa.types.is_large_string(kind), pa.types.is_string_view(kind),
        pa.types.is_binary(kind), pa.types.is_large_binary(kind), pa.types.is_binary_view(kind),
    )  # fmt: skip
    if not any(text_like):
        raise SchemaError(name, "text (string or binary)", str(kind), "sketch")
    if kind == pa.string() or kind == pa.string_view():
        texts = texts.cast(pa.large_string())
    return texts.cast(pa.large_binary())


@dataclass(frozen=True)
class Column:
    """A text column as its bytes, n + 1 offsets (int64) and validity (bool)."""

    data: np.ndarray
    offsets: np.ndarray
    valid: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """Bytes of each row, 0 where it is null; shape (n,), int64."""
        return np.where(self.valid, np.diff(self.offsets), 0)


def column(texts: pa.Array | pa.ChunkedArray, name: str) -> Column:
    """The bytes of an Arrow text column (string, binary, their large, view and dictionary forms, or null).

    Raises
    ------
    SchemaError
        The column holds something else.
    """
    array = _as_binary(texts, name)
    n = len(array)
    _, offsets, data = array.buffers()
    raw = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    places = (
        np.frombuffer(offsets, np.int64)[array.offset : array.offset + n + 1] if n else np.zeros(1, np.int64)
    )
    return Column(raw, places, array.is_valid().to_numpy(zero_copy_only=False))


def pieces(text: Column, first: int, last: int) -> Pieces:
    """Rows first to last - 1, through steps 1 to 3; the compiled loop does the other steps.

    ASCII rows are not touched. Memory: about five bytes for each byte of the rows that are not ASCII.
    """
    from stillwatch.text import _kernel

    base, stop = text.offsets[first], text.offsets[last]
    data = text.data[base:stop]
    start = (text.offsets[first:last] - base).astype(np.int64)
    end = start + text.lengths[first:last] if last > first else start
    is_utf8 = np.zeros(len(start), np.uint8)
    _kernel.not_ascii(data, start, end, is_utf8)
    rows = np.flatnonzero(is_utf8)
    if not len(rows):
        return Pieces(data, start, end, is_utf8)
    size = end[rows] - start[rows]
    clean = np.empty(3 * int(size.sum()), np.uint8)
    clean_end, settled = np.empty(len(rows), np.int64), np.empty(len(rows), np.bool_)
    _kernel.clean(data, start[rows], end[rows], IGNORABLE, inert_table(), clean, clean_end, settled)
    clean = clean[: clean_end[-1]]
    clean_start = np.concatenate([[0], clean_end[:-1]])
    parts, offset = [data, clean], len(data)
    start[rows], end[rows] = clean_start + offset, clean_end + offset
    if not settled.all():
        offset += len(clean)
        offsets = pa.py_buffer(np.concatenate([[0], clean_end]))
        cleaned = pa.LargeStringArray.from_buffers(len(rows), offsets, pa.py_buffer(clean))
        composed = pc.utf8_lower(pc.utf8_normalize(cleaned.filter(pa.array(~settled)), "NFKC"))
        slow = column(composed, "normalised")
        parts.append(slow.data[: slow.offsets[-1]])
        start[rows[~settled]], end[rows[~settled]] = slow.offsets[:-1] + offset, slow.offsets[1:] + offset
    return Pieces(np.concatenate(parts), start, end, is_utf8)
