"""The compiled loops of the sketch. Text is bytes here; every table comes in as an argument, because numba keeps
globals as constants in its cache. All in one file: the cache looks at the date of the caller's file only.

The cache lies beside this file, else in the user's cache directory. Where neither can be written the loops are
compiled anew in every process (some seconds) and everything else stays the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

U = np.uint64
BITS8, BITS29, BITS32, BITS56, BITS59 = U(8), U(29), U(32), U(56), U(59)
FULL = U(0xFFFFFFFFFFFFFFFF)
LOW32 = U(0xFFFFFFFF)
BELOW31 = 0x3100  # code points below this are looked up, those above are handled by ranges
SPACE, DIGIT, SLOT, NEWLINE = 32, 48, 1, 10


def _jit(function: Callable[..., Any]) -> Callable[..., Any]:
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:  # numba: "cannot cache function: no locator available", nothing is writable
        return njit(nogil=True)(function)


@_jit
def not_ascii(data, start, end, flags):
    """flags[i] = 1 where row i holds a byte above 127."""
    for i in range(len(start)):
        seen = np.uint8(0)
        for j in range(start[i], end[i]):
            seen |= data[j]
        flags[i] = seen >> 7


@_jit
def _decode(data, j, end):
    """Code point at j and its length; -1 for one maximal ill-formed part (Unicode 3.9, table 3-7)."""
    b = data[j]
    if b < 0x80:
        return np.int32(b), 1
    low, high, more, cp = 0x80, 0xBF, 0, 0
    if 0xC2 <= b <= 0xDF:
        more, cp = 1, b & 0x1F
    elif 0xE0 <= b <= 0xEF:
        more, cp = 2, b & 0x0F
        if b == 0xE0:
            low = 0xA0
        elif b == 0xED:
            high = 0x9F  # surrogates are not characters
    elif 0xF0 <= b <= 0xF4:
        more, cp = 3, b & 0x07
        if b == 0xF0:
            low = 0x90
        elif b == 0xF4:
            high = 0x8F
    else:
        return np.int32(-1), 1
    for k in range(1, more + 1):
        if j + k >= end or not low <= data[j + k] <= high:
            return np.int32(-1), k
        cp = cp << 6 | (data[j + k] & 0x3F)
        low, high = 0x80, 0xBF
    return np.int32(cp), more + 1


@_jit
def _encode(cp, out, n):
    """Write one code point at out[n]; returns the next free place."""
    if cp < 0x80:
        out[n] = cp
        return n + 1
    if cp < 0x800:
        out[n] = 0xC0 | cp >> 6
        out[n + 1] = 0x80 | (cp & 0x3F)
        return n + 2
    if cp < 0x10000:
        out[n] = 0xE0 | cp >> 12
        out[n + 1] = 0x80 | (cp >> 6 & 0x3F)
        out[n + 2] = 0x80 | (cp & 0x3F)
        return n + 3
    out[n] = 0xF0 | cp >> 18
    out[n + 1] = 0x80 | (cp >> 12 & 0x3F)
    out[n + 2] = 0x80 | (cp >> 6 & 0x3F)
    out[n + 3] = 0x80 | (cp & 0x3F)
    return n + 4


@_jit
def _inside(cp, ranges):
    """Whether cp lies in one of the sorted [first, last] ranges."""
    low, high = 0, len(ranges)
    while low < high:
        middle = (low + high) >> 1
        if ranges[middle, 1] < cp:
            low = middle + 1
        else:
            high = middle
    return low < len(ranges) and ranges[low, 0] <= cp


@_jit
def _is_inert(cp):
    """Unified ideographs, Hangul syllables and pictographs; what might compose with them is not inert itself."""
    return (
        0x3400 <= cp <= 0x4DBF or 0x4E00 <= cp <= 0x9FFC or 0xAC00 <= cp <= 0xD7A3 or 0x1F300 <= cp <= 0x1FAFF
    )


@_jit
def clean(data, start, end, ignorable, inert, out, out_end, settled):
    """Ill-formed bytes -> U+FFFD, ignorable characters dropped; row i ends at out_end[i].

    settled[i] = 1 where every character is inert under NFKC (`inert`: one byte a code point below 0x3100), so that
    the row need not pass through the normaliser.
    """
    n = 0
    for i in range(len(start)):
        j, quiet = start[i], True
        while j < end[i]:
            b = data[j]
            if b < 0x80:
                out[n] = b
                n, j = n + 1, j + 1
                continue
            cp, length = _decode(data, j, end[i])
            if cp < 0:
                out[n], out[n + 1], out[n + 2] = 0xEF, 0xBF, 0xBD
                n += 3
            elif cp < BELOW31:
                kind = inert[cp]
                if kind != 2:
                    quiet = quiet and kind == 1
                    for k in range(length):
                        out[n + k] = data[j + k]
                    n += length
            elif not _inside(cp, ignorable):
                quiet = quiet and _is_inert(cp)
                for k in range(length):
                    out[n + k] = data[j + k]
                n += length
            j += length
        out_end[i] = n
        settled[i] = quiet


@_jit
def _fold(data, start, end, is_utf8, fold, digits, out, at):
    """Case, white space, digits and control characters folded; writes from out[at], returns the end.

    fold[cp] for cp < 0x3100 is the lower-case code point, SPACE or DIGIT. The input is well-formed and NFKC.
    """
    n, last = at, SPACE
    if not is_utf8:
        for j in range(start, end):
            c = fold[data[j]]
            out[n] = c
            n += not (c == last and (c in (SPACE, DIGIT)))
            last = c
    else:
        j = start
        while j < end:
            b = data[j]
            if b < 0x80:
                c, length = fold[b], 1
            else:
                c, length = _decode(data, j, end)
                if c < BELOW31:
                    c = fold[c]
                elif (0xA620 <= c < 0xABFA or 0x104A0 <= c < 0x1E960) and _inside(c, digits):
                    c = np.int32(DIGIT)
            j += length
            if not (c == last and (c in (SPACE, DIGIT))):
                n = _encode(c, out, n)
            last = c
    if n > at and out[n - 1] == SPACE:
        n -= 1
    return n


@_jit
def _rotate(x, by):
    return x << U(by) | x >> U(64 - by)


@_jit
def _round(a, b, c, d):
    a += b
    b = _rotate(b, 13) ^ a
    a = _rotate(a, 32)
    c += d
    d = _rotate(d, 16) ^ c
    a += d
    d = _rotate(d, 21) ^ a
    c += b
    b = _rotate(b, 17) ^ c
    c = _rotate(c, 32)
    return a, b, c, d


@_jit
def siphash(text, start, end, k0, k1):
    """SipHash-2-4 of text[start:end] (Aumasson and Bernstein 2012)."""
    a, b = k0 ^ U(0x736F6D6570736575), k1 ^ U(0x646F72616E646F6D)
    c, d = k0 ^ U(0x6C7967656E657261), k1 ^ U(0x7465646279746573)
    whole = start + ((end - start) >> 3 << 3)
    for j in range(start, whole, 8):
        m = (
            U(text[j])
            | U(text[j + 1]) << U(8)
            | U(text[j + 2]) << U(16)
            | U(text[j + 3]) << U(24)
            | U(text[j + 4]) << U(32)
            | U(text[j + 5]) << U(40)
            | U(text[j + 6]) << U(48)
            | U(text[j + 7]) << U(56)
        )
        d ^= m
        a, b, c, d = _round(a, b, c, d)
        a, b, c, d = _round(a, b, c, d)
        a ^= m
    m = U((end - start) & 0xFF) << BITS56
    for j in range(whole, end):
        m |= U(text[j]) << U(8 * (j - whole))
    d ^= m
    a, b, c, d = _round(a, b, c, d)
    a, b, c, d = _round(a, b, c, d)
    a ^= m
    c ^= U(0xFF)
    for _ in range(4):
        a, b, c, d = _round(a, b, c, d)
    return a ^ b ^ c ^ d


@_jit
def _is_word(b):
    return 97 <= b <= 122 or b == DIGIT or b >= 0x80


@_jit
def _after(text, j, end, x, y, z):
    """The place after the next three bytes x y z at or behind j, or -1; y = 0: a single byte x; z = 0: two bytes."""
    wide = 0 if y == 0 else (1 if z == 0 else 2)
    while j + wide < end:
        if text[j] == x and (wide < 1 or text[j + 1] == y) and (wide < 2 or text[j + 2] == z):
            return j + wide + 1
        j += 1
    return -1


@_jit
def _after_ticks(text, j, end, fence):
    """The place after the next run of back-ticks of the same kind (1 or 2: code, 3 and more: fence), or -1."""
    while j < end:
        if text[j] == 96:
            k = j
            while k < end and text[k] == 96:
                k += 1
            if (k - j >= 3) == fence:
                return k
            j = k
        else:
            j += 1
    return -1


@_jit
def slots(text, start, end, out, at):
    """Copy text[start:end] to out[at:], each slot replaced by the byte SLOT; returns the end.

    Each kind of quotation that found no end is not looked for again, so the time is linear.
    """
    n, j = at, start
    closed = np.ones(7, np.bool_)
    while j < end:
        b, stop = text[j], -1
        if b > 96 and b != 104 and b != 119 and b < 0xC2:  # the usual letter
            out[n] = b
            n, j = n + 1, j + 1
            continue
        if b == DIGIT:
            stop = j + 1
            while stop + 1 < end and text[stop + 1] == DIGIT and (44 <= text[stop] <= 47 or text[stop] == 58):
                stop += 2
        elif b == 34 and closed[0]:  # "..."
            stop = _after(text, j + 1, end, 34, 0, 0)
            closed[0] = stop > 0
        elif b == 39 and closed[1]:  # '...', but not the apostrophe
            if (j == start or not _is_word(text[j - 1])) and j + 1 < end and text[j + 1] != SPACE:
                k = j + 2
                while k < end and not (text[k] == 39 and (k + 1 == end or not _is_word(text[k + 1]))):
                    k += 1
                stop = k + 1 if k < end else -1
                closed[1] = stop > 0
        elif b == 96:
            k = j
            while k < end and text[k] == 96:
                k += 1
            kind = 2 if k - j >= 3 else 3
            if closed[kind]:
                stop = _after_ticks(text, k, end, k - j >= 3)
                closed[kind] = stop > 0
            if stop < 0:  # the whole run at once, or the time would be quadratic
                for _ in range(k - j):
                    out[n] = b
                    n += 1
                j = k
                continue
        elif b == 0xE2 and j + 2 < end and text[j + 1] == 0x80 and text[j + 2] == 0x9C and closed[4]:
            stop = _after(text, j + 3, end, 0xE2, 0x80, 0x9D)  # U+201C ... U+201D
            closed[4] = stop > 0
        elif b == 0xC2 and j + 1 < end and text[j + 1] == 0xAB and closed[5]:
            stop = _after(text, j + 2, end, 0xC2, 0xBB, 0)  # U+00AB ... U+00BB
            closed[5] = stop > 0
        elif b == 0xE3 and j + 2 < end and text[j + 1] == 0x80 and text[j + 2] == 0x8C and closed[6]:
            stop = _after(text, j + 3, end, 0xE3, 0x80, 0x8D)  # U+300C ... U+300D
            closed[6] = stop > 0
        elif (b == 104 or b == 119) and (j == start or not _is_word(text[j - 1])):
            url = 0
            if b == 119 and j + 3 < end and text[j + 1] == 119 and text[j + 2] == 119 and text[j + 3] == 46:
                url = 4  # www.
            elif j + 6 < end and text[j + 1] == 116 and text[j + 2] == 116 and text[j + 3] == 112:
                k = j + 4 + (text[j + 4] == 115)
                if k + 2 < end and text[k] == 58 and text[k + 1] == 47 and text[k + 2] == 47:
                    url = k + 3 - j  # http:// and https://
            if url:
                stop = j + url
                while stop < end and text[stop] > SPACE and text[stop] not in (34, 39, 41, 60, 62, 93, 96):
                    stop += 1
        if stop > 0:
            out[n] = SLOT
            n, j = n + 1, stop
        else:
            out[n] = b
            n, j = n + 1, j + 1
    return n


@_jit
def _finish(h, s):
    """Keyed 64-bit finaliser: two multiplications by secret odd numbers with shifts between."""
    h = (h ^ s[0]) * s[1]
    h ^= h >> BITS32
    h *= s[2]
    return h ^ h >> BITS29


@_jit
def _scan(text, n, letters, gone, s, g, trans, classes, first, width, said, heard, bins, value, place):
    """One pass over text[:n]: winnowed shingles, MinHash bins, phrases heard; returns how many were winnowed.

    s: finaliser (3) and base of the shingles; g: finaliser of the 8-grams. `gone[b]` is letters[b] * base^32.
    """
    base, h, word = s[3], U(0), U(0)
    ring = np.empty(32, np.uint64)
    least, where, state, m, kept = FULL, -1, 0, 0, FULL
    for i in range(n):
        b = text[i]
        state = trans[state + classes[b]]
        if state >= first:
            for k in range(heard.shape[0]):
                heard[k] |= said[(state - first) // width, k]
        word = word >> BITS8 | U(b) << BITS56
        if i >= 7:
            x = _finish(word, g)
            k = np.int64(x >> BITS59)
            if x < bins[k]:
                bins[k] = x
        h = h * base + letters[b]
        if i < 31:
            continue
        if i >= 32:
            h -= gone[text[i - 32]]
        p = i - 31
        v = _finish(h, s)
        ring[p & 31] = v
        if v <= least:
            least, where = v, p
        elif where + 32 <= p:
            least = FULL
            for q in range(p - 31, p + 1):
                if ring[q & 31] <= least:
                    least, where = ring[q & 31], q
        if p >= 31 and (least != kept or m == 0):
            value[m], place[m], kept = least, where, least
            m += 1
    if 0 < n < 32:
        value[0], place[0] = _finish(h, s), 0
        return 1
    if 32 <= n < 63:
        value[0], place[0] = least, where
        return 1
    return m


@_jit
def _short_gram(text, n, g, bins):
    """A text shorter than 8 bytes is one gram, told from longer ones by its length in the top byte."""
    word = U(n) << BITS56
    for i in range(n):
        word |= U(text[i]) << U(8 * i)
    x = _finish(word, g)
    bins[np.int64(x >> BITS59)] = x


@_jit
def _densify(bins, key, out):
    """32 values from the bins; an empty one copies a full one drawn by (bin, attempt) (Shrivastava 2017, alg. 1)."""
    for k in range(32):
        j, attempt = k, 0
        while bins[j] == FULL:
            attempt += 1
            j = np.int64(_finish(U(k * 65536 + attempt), key) >> BITS59)
        out[k] = np.int32(np.uint32(bins[j] & LOW32))


@_jit
def _distinct(value, place, m, table, owner, row):
    """Keep the first of equal values, in order; returns how many. `owner` says which row filled a cell."""
    mask, n = len(table) - 1, 0
    for i in range(m):
        v = value[i]
        k = np.int64(v & U(mask))
        while owner[k] == row and table[k] != v:
            k = (k + 1) & mask
        if owner[k] != row:
            owner[k], table[k] = row, v
            value[n], place[n] = v, place[i]
            n += 1
    return n


@_jit
def _select(value, place, n, most, ends):
    """Of n distinct values keep the first and last `ends` and the smallest of the rest, `most` in all, in order."""
    if n <= most:
        return n
    middle = np.sort(value[ends : n - ends])
    line, m = middle[most - 2 * ends - 1], ends
    for i in range(ends, n):
        if i >= n - ends or value[i] <= line:
            value[m], place[m] = value[i], place[i]
            m += 1
    return m


@_jit
def sketch_rows(
    row, rows, data, start, end, is_utf8, sdata, sstart, send, sis_utf8, fold, digits, letters, gone, s, g, dense,
    sip, trans, classes, first, width, said, needs, fires, text, template, value, place, most, ends,
    system_digest, template_digest, prompt_digest, minhash, elicitation, count, shingles, places, keep, kept_end,
):  # fmt: skip
    """Rows from `row` on until `rows` or until `shingles` is full; returns (next row, shingles).

    `data, start, end, is_utf8` is the prompt, the same with s in front the system text; an absent text has
    start == end. `keep` of length 0: the normalised text is not kept. A text of no bytes gives 32 zeros in minhash.
    """
    used, kept = 0, kept_end[row - 1] if row > 0 else 0
    table, owner = np.empty(2048, np.uint64), np.full(2048, -1, np.int64)
    heard, bins = np.zeros(said.shape[1], np.uint64), np.empty(32, np.uint64)
    for i in range(row, rows):
        if used + most > len(shingles):
            return i, used
        # normalised text: system, newline, prompt
        middle = _fold(sdata, sstart[i], send[i], sis_utf8[i], fold, digits, text, 0)
        after = middle
        if middle > 0 and end[i] > start[i]:
            text[middle] = NEWLINE
            after = middle + 1
        n = _fold(data, start[i], end[i], is_utf8[i], fold, digits, text, after)
        if n == after:  # a prompt of white space only: no separator
            n = after = middle
        system_digest[i] = np.int64(siphash(text, 0, middle, sip[0], sip[1]))
        prompt_digest[i] = np.int64(siphash(text, after, n, sip[2], sip[3]))
        t = slots(text, 0, middle, template, 0)
        if after > middle:
            template[t] = NEWLINE
            t += 1
        t = slots(text, after, n, template, t)
        template_digest[i] = np.int64(siphash(template, 0, t, sip[4], sip[5]))
        if len(keep):
            keep[kept : kept + n] = text[:n]
            kept += n
            kept_end[i] = kept
        heard[:], bins[:] = U(0), FULL
        m = _scan(text, n, letters, gone, s, g, trans, classes, first, width, said, heard, bins, value, place)
        if 0 < n < 8:
            _short_gram(text, n, g, bins)
        if n > 0:
            _densify(bins, dense, minhash[i])
        else:
            minhash[i, :] = 0
        flags = np.int32(0)
        for p in range(len(fires)):
            there = True
            for k in range(len(heard)):
                there = there and (heard[k] & needs[p, k]) == needs[p, k]
            if there:
                flags |= fires[p]
        elicitation[i] = flags
        if 2 * m > len(table):
            size = len(table)
            while size < 2 * m:
                size *= 2
            table, owner = np.empty(size, np.uint64), np.full(size, -1, np.int64)
        m = _select(value, place, _distinct(value, place, m, table, owner, i), most, ends)
        for k in range(m):
            shingles[used + k] = np.int64(value[k])
            places[used + k] = place[k]
        count[i] = m
        used += m
    return rows, used
