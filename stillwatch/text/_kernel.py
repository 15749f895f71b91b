"""The compiled loops of the sketch. Text is bytes here; every table comes in as an argument, because numba keeps
globals as constants in its cache. All in one file: the cache looks at the date of the caller's file only.

The cache lies beside this file, else in the user's cache directory. Where neither can be written the loops are
compiled anew in every process (ten seconds and more) and everything else stays the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

U = np.uint64
FULL = U(0xFFFFFFFFFFFFFFFF)
BELOW = 0x3100  # code points below this are looked up, those above are handled by ranges
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
        for b in data[start[i] : end[i]]:
            seen |= b
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
            elif cp < BELOW:
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
def _fold_ascii(data, fold, out):
    """Case, white space, digits and control characters folded; returns the length."""
    n, last = 0, np.uint8(SPACE)
    for j in range(len(data)):
        c = fold[data[j]]
        out[n] = c
        n += not ((c == last) & ((c == SPACE) | (c == DIGIT)))
        last = c
    return n - 1 if n > 0 and out[n - 1] == SPACE else n


@_jit
def _fold_utf8(data, fold, digits, out):
    """The same for well-formed UTF-8 in NFKC; fold[cp] is the lower-case code point, SPACE or DIGIT."""
    n, j, last = 0, 0, SPACE
    while j < len(data):
        if data[j] < 0x80:
            c = fold[data[j]]
            out[n] = c
            n += not ((c == last) & ((c == SPACE) | (c == DIGIT)))
            j, last = j + 1, c
            continue
        c, length = _decode(data, j, len(data))
        if c < BELOW:
            c = fold[c]
        elif (0xA620 <= c < 0xABFA or 0x104A0 <= c < 0x1E960) and _inside(c, digits):
            c = np.int32(DIGIT)
        j += length
        if not (c == last and (c in (SPACE, DIGIT))):
            n = _encode(c, out, n)
        last = c
    return n - 1 if n > 0 and out[n - 1] == SPACE else n


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
def _word(t):
    """Eight bytes, little end first."""
    low = U(t[0]) | U(t[1]) << U(8) | U(t[2]) << U(16) | U(t[3]) << U(24)
    return low | U(t[4]) << U(32) | U(t[5]) << U(40) | U(t[6]) << U(48) | U(t[7]) << U(56)


@_jit
def siphash(text, k0, k1):
    """SipHash-2-4 (Aumasson and Bernstein 2012)."""
    a, b = k0 ^ U(0x736F6D6570736575), k1 ^ U(0x646F72616E646F6D)
    c, d = k0 ^ U(0x6C7967656E657261), k1 ^ U(0x7465646279746573)
    for q in range(len(text) >> 3):
        m = _word(text[8 * q : 8 * q + 8])
        d ^= m
        a, b, c, d = _round(a, b, c, d)
        a, b, c, d = _round(a, b, c, d)
        a ^= m
    m = U(len(text) & 0xFF) << U(56)
    for j in range(len(text) & 7):
        m |= U(text[(len(text) >> 3 << 3) + j]) << U(8 * j)
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
def _after(text, j, x, y, z):
    """The place after the next bytes x y z at or behind j, or -1; y = 0: x alone; z = 0: x y."""
    wide = 0 if y == 0 else (1 if z == 0 else 2)
    while j + wide < len(text):
        if text[j] == x and (wide < 1 or text[j + 1] == y) and (wide < 2 or text[j + 2] == z):
            return j + wide + 1
        j += 1
    return -1


@_jit
def _run(text, j):
    """The end of the run of back-ticks at j."""
    while j < len(text) and text[j] == 96:
        j += 1
    return j


@_jit
def _after_ticks(text, j, fence):
    """The place after the next run of back-ticks of the same kind (1 or 2: code, 3 and more: fence), or -1."""
    while j < len(text):
        k = _run(text, j)
        if k > j and (k - j >= 3) == fence:
            return k
        j = max(k, j + 1)
    return -1


@_jit
def _link(text, j):
    """Where a link begins whose :// or www. stands at j, or -1."""
    n, k = len(text), -1
    if text[j] == 119:
        if j + 3 < n and text[j + 1] == 119 and text[j + 2] == 119 and text[j + 3] == 46:
            k = j
    elif j + 2 < n and text[j + 1] == 47 and text[j + 2] == 47 and j >= 4:
        k = j - 4 - (text[j - 1] == 115)
        http = k >= 0 and text[k] == 104 and text[k + 1] == 116 and text[k + 2] == 116 and text[k + 3] == 112
        k = k if http else -1
    return -1 if k < 0 or (k > 0 and _is_word(text[k - 1])) else k


@_jit
def slots(text, special, out):
    """Copy the text, each slot replaced by the byte SLOT; returns the length. `special`: bytes that begin one.

    Each kind of quotation that found no end is not looked for again, so the time is linear.
    """
    n, j, size = 0, 0, len(text)
    endless = 0  # a bit for each kind of quotation that has no end behind here
    while j < size:
        b, stop = text[j], -1
        if not special[b]:
            out[n] = b
            n, j = n + 1, j + 1
            continue
        if b == DIGIT:  # 0, 0.0, 0-0-0, 0:0
            stop = j + 1
            while (
                stop + 1 < size and text[stop + 1] == DIGIT and (44 <= text[stop] <= 47 or text[stop] == 58)
            ):
                stop += 2
        elif b == 34 and not endless & 1:  # "..."
            stop = _after(text, j + 1, 34, 0, 0)
            endless |= 1 * (stop < 0)
        elif b == 39 and not endless & 2:  # '...', but not the apostrophe
            if (j == 0 or not _is_word(text[j - 1])) and j + 1 < size and text[j + 1] != SPACE:
                k = j + 2
                while k < size and not (text[k] == 39 and (k + 1 == size or not _is_word(text[k + 1]))):
                    k += 1
                stop = k + 1 if k < size else -1
                endless |= 2 * (stop < 0)
        elif b == 96:
            k = _run(text, j)
            kind = 4 if k - j >= 3 else 8
            if not endless & kind:
                stop = _after_ticks(text, k, k - j >= 3)
                endless |= kind * (stop < 0)
            if stop < 0:  # the whole run at once, or the time would be quadratic
                out[n : n + k - j] = b
                n, j = n + k - j, k
                continue
        elif b == 0xE2 and j + 2 < size and text[j + 1] == 0x80 and text[j + 2] == 0x9C and not endless & 16:
            stop = _after(text, j + 3, 0xE2, 0x80, 0x9D)  # U+201C ... U+201D
            endless |= 16 * (stop < 0)
        elif b == 0xC2 and j + 1 < size and text[j + 1] == 0xAB and not endless & 32:
            stop = _after(text, j + 2, 0xC2, 0xBB, 0)  # U+00AB ... U+00BB
            endless |= 32 * (stop < 0)
        elif b == 0xE3 and j + 2 < size and text[j + 1] == 0x80 and text[j + 2] == 0x8C and not endless & 64:
            stop = _after(text, j + 3, 0xE3, 0x80, 0x8D)  # U+300C ... U+300D
            endless |= 64 * (stop < 0)
        elif b in (58, 119):
            k = _link(text, j)
            if k >= 0:
                n -= j - k  # http or https, just copied
                stop = j + 3
                while stop < size and text[stop] > SPACE and text[stop] not in (34, 39, 41, 60, 62, 93, 96):
                    stop += 1
        if stop > 0:
            out[n] = SLOT
            n, j = n + 1, stop
        else:
            out[n] = b
            n, j = n + 1, j + 1
    return n


@_jit
def _finish(h, s0, s1, s2):
    """Keyed 64-bit finaliser: two multiplications by secret odd numbers with shifts between."""
    h = (h ^ s0) * s1
    h ^= h >> U(32)
    h *= s2
    return h ^ h >> U(29)


@_jit
def _hash(grams, s, value):
    """Hash of every 32 bytes from those of the 8-byte grams in it, as int64; returns how many.

    A polynomial of degree 3 in the secret odd base s[0] over letters of 8 bytes that are keyed hashes themselves,
    then a finaliser with the secret odd factor s[1].
    """
    m, base, factor = len(grams) - 24, s[0], s[1]
    square = base * base
    cube = square * base
    one, two, three, four, out = (
        grams[:m],
        grams[8 : 8 + m],
        grams[16 : 16 + m],
        grams[24 : 24 + m],
        value[:m],
    )
    for i in range(m):
        h = one[i] * cube + two[i] * square + three[i] * base + four[i]
        h = (h ^ h >> U(32)) * factor
        out[i] = np.int64(h ^ h >> U(29))
    return m


@_jit
def _winnow(value, m, kept, place):
    """The least hash of each 32 neighbours, written when it changes; returns how many. The rightmost of equals."""
    least, where, n = value[0], 0, 1
    for p in range(1, min(m, 32)):
        if value[p] <= least:
            least, where = value[p], p
    kept[0], place[0] = least, where
    p = 32
    while p < m:
        stop = min(where + 32, m)
        while p < stop and value[p] > least:
            p += 1
        if p < stop:
            least, where = value[p], p
        elif (
            p < m
        ):  # the least one fell out of the window: look through it, four at a time and without a branch
            t = value[p - 31 : p + 1]
            a, b, c, d = t[0], t[1], t[2], t[3]
            for q in range(4, 32, 4):
                a, b, c, d = min(a, t[q]), min(b, t[q + 1]), min(c, t[q + 2]), min(d, t[q + 3])
            least, where = min(min(a, b), min(c, d)), p
            while value[where] != least:
                where -= 1
        if least != kept[n - 1]:
            kept[n], place[n] = least, where
            n += 1
        p += 1
    return n


@_jit
def _note(state, first, width, said, heard):
    """Add the phrases that end in this state, if any."""
    if state >= U(first):
        for k in range(len(heard)):
            heard[k] |= said[(np.int64(state) - first) // width, k]


@_jit
def _hear(text, trans, classes, first, width, reach, said, heard):
    """Run the automaton over the text, four quarters at once so that their waits for memory overlap.

    All but the last run on for `reach` bytes, the longest phrase, into the next quarter.
    """
    n, limit = len(text), U(first)
    quarter = n >> 2 if n >= 4 * reach else 0
    a = b = c = d = U(0)
    text1, text2, text3 = text[quarter:], text[2 * quarter :], text[3 * quarter :]
    for i in range(quarter):
        a = U(trans[a + U(classes[text[i]])])
        b = U(trans[b + U(classes[text1[i]])])
        c = U(trans[c + U(classes[text2[i]])])
        d = U(trans[d + U(classes[text3[i]])])
        if max(max(a, b), max(c, d)) >= limit:
            for state in (a, b, c, d):
                _note(state, first, width, said, heard)
    for i in range(quarter, quarter + reach if quarter > 0 else 0):
        a = U(trans[a + U(classes[text[i]])])
        b = U(trans[b + U(classes[text1[i]])])
        c = U(trans[c + U(classes[text2[i]])])
        if max(max(a, b), c) >= limit:
            for state in (a, b, c):
                _note(state, first, width, said, heard)
    for i in range(quarter, len(text3)):  # the last quarter's odd bytes, or all of a short text
        d = U(trans[d + U(classes[text3[i]])])
        if d >= limit:
            _note(d, first, width, said, heard)


@_jit
def _grams(text, g, out):
    """Keyed hash of every 8 neighbouring bytes; returns how many.

    A text shorter than that is one gram, told from longer ones by its length in the top byte.
    """
    n, g0, g1, g2 = len(text), g[0], g[1], g[2]
    if 0 < n < 8:
        word = U(n) << U(56)
        for i in range(n):
            word |= U(text[i]) << U(8 * i)
        out[0] = _finish(word, g0, g1, g2)
    for i in range(n - 7):  # written out, so that the compiler makes one load of eight bytes
        low = U(text[i]) | U(text[i + 1]) << U(8) | U(text[i + 2]) << U(16) | U(text[i + 3]) << U(24)
        high = U(text[i + 4]) | U(text[i + 5]) << U(8) | U(text[i + 6]) << U(16) | U(text[i + 7]) << U(24)
        out[i] = _finish(low | high << U(32), g0, g1, g2)
    return max(n - 7, min(n, 1))


@_jit
def _bins(grams, bins):
    """The least hash in each of 32 bins; the bin is the top five bits."""
    bins[:] = FULL
    for i in range(len(grams)):
        k = grams[i] >> U(59)
        bins[k] = min(bins[k], grams[i])


@_jit
def _densify(bins, key, out):
    """32 values from the bins; an empty one copies a full one drawn by (bin, attempt) (Shrivastava 2017, alg. 1)."""
    for k in range(32):
        j, attempt = k, 0
        while bins[j] == FULL:
            attempt += 1
            j = np.int64(_finish(U(k * 65536 + attempt), key[0], key[1], key[2]) >> U(59))
        out[k] = np.int32(np.uint32(bins[j] & U(0xFFFFFFFF)))


@_jit
def _distinct(value, place, m, table, owner, row):
    """Keep the first of equal values, in order; returns how many. `owner` says which row filled a cell."""
    size, n = 64, 0
    while size < 2 * m:  # no larger than it must be: it shares the nearest cache with everything else
        size *= 2
    mask = size - 1
    for i in range(m):
        v = value[i]
        k = v & mask
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
    # the (most - 2 ends)th smallest of the middle, by halving the range of int64: np.sort costs seconds to compile
    low, line, m = np.int64(-(2**63)), np.int64(2**63 - 1), ends
    while low < line:
        half, fewer = (low & line) + ((low ^ line) >> 1), 0
        for v in value[ends : n - ends]:
            fewer += v <= half
        if fewer >= most - 2 * ends:
            line = half
        else:
            low = half + 1
    for i in range(ends, n):
        if i >= n - ends or value[i] <= line:
            value[m], place[m] = value[i], place[i]
            m += 1
    return m


@_jit
def _fold(data, is_utf8, ascii_fold, fold, digits, out):
    return _fold_utf8(data, fold, digits, out) if is_utf8 else _fold_ascii(data, ascii_fold, out)


@_jit
def sketch_rows(
    row, data, start, end, is_utf8, sdata, sstart, send, sis_utf8, ascii_fold, fold, digits, special, s, g, dense, sip,
    trans, classes, first, width, reach, said, needs, fires, space, template, grams, value, kept, place, most, ends,
    system_digest, template_digest, prompt_digest, minhash, elicitation, count, shingles, places, keep, keep_end,
):  # fmt: skip
    """Rows from `row` on until the last or until `shingles` is full; returns (next row, shingles).

    `data, start, end, is_utf8` is the prompt, the same with s in front the system text; an absent text has
    start == end. `keep` of length 0: the normalised text is not kept. A text of no bytes gives 32 zeros in minhash.
    """
    used, at = 0, keep_end[row - 1] if row > 0 else 0
    table, owner = np.empty(2048, np.int64), np.full(2048, -1, np.int64)
    heard, bins = np.zeros(said.shape[1], np.uint64), np.empty(32, np.uint64)
    for i in range(row, len(start)):
        if used + most > len(shingles):
            return i, used
        # normalised text: system, newline, prompt
        middle = _fold(sdata[sstart[i] : send[i]], sis_utf8[i], ascii_fold, fold, digits, space)
        after = middle
        if middle > 0:
            space[middle] = NEWLINE
            after = middle + 1
        n = _fold(data[start[i] : end[i]], is_utf8[i], ascii_fold, fold, digits, space[after:])
        if n == 0:  # no prompt, no separator
            after = middle
        n += after
        text = space[:n]
        t = slots(text[:middle], special, template)
        if after > middle:
            template[t] = NEWLINE
            t += 1
        t += slots(text[after:], special, template[t:])
        system_digest[i] = np.int64(siphash(text[:middle], sip[0], sip[1]))
        prompt_digest[i] = np.int64(siphash(text[after:], sip[2], sip[3]))
        template_digest[i] = np.int64(siphash(template[:t], sip[4], sip[5]))
        if len(keep):
            for k in range(n):
                keep[at + k] = text[k]
            at += n
            keep_end[i] = at
        found = grams[: _grams(text, g, grams)]
        if n > 0:
            _bins(found, bins)
            _densify(bins, dense, minhash[i])
        else:
            minhash[i, :] = 0
        heard[:] = U(0)
        _hear(text, trans, classes, first, width, reach, said, heard)
        flags = np.int32(0)
        for p in range(len(fires)):
            there = True
            for k in range(len(heard)):
                there = there and (heard[k] & needs[p, k]) == needs[p, k]
            if there:
                flags |= fires[p]
        elicitation[i] = flags
        m = 0
        if n >= 32:
            m = _winnow(value, _hash(found, s, value), kept, place)
        elif n > 0:
            m, kept[0], place[0] = 1, np.int64(siphash(text, sip[6], sip[7])), 0
        if 2 * m > len(table):
            size = len(table)
            while size < 2 * m:
                size *= 2
            table, owner = np.empty(size, np.int64), np.full(size, -1, np.int64)
        m = _select(kept, place, _distinct(kept, place, m, table, owner, i), most, ends)
        for k in range(m):
            shingles[used + k], places[used + k] = kept[k], place[k]
        count[i] = m
        used += m
    return len(start), used
