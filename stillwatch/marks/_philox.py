"""Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011) as vLLM calls it, and the sums that its detectors make.

Formulas as in vLLM (Apache-2.0; vllm/v1/watermarking/prfs/philox.py, gumbel.py of 0.33.0, sbw.py at caaac7c,
synthid.py at 0265d6b), written anew. Words are 32-bit numbers in uint64, because numba makes uint64 of a product of two
uint32 anyway. The rounds run over blocks of pairs, so that the compiler makes vector code of the inner loops. All loops
are in this file, see `_compiled`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from stillwatch.marks._compiled import compiled

U = np.uint64
LOW = U(0xFFFFFFFF)
M0, M1 = U(0xD2511F53), U(0xCD9E8D57)
W0, W1 = U(0x9E3779B9), U(0xBB67AE85)
CONTEXT, TOKEN = U(0x574D4358), U(0x574D544B)
BLOCK = 256
FACTORS = 32  # of at least 2^-24 each: their product is no subnormal number
STEP = 2.0**-24
REACH, STEPS = 17.5, 8
"""No ``-log(1 - u)`` of 24 bits is above `REACH`; steps of a whole in which `gumbel_limits` counts."""


@compiled
def _rounds(a, b, c, d, k0, k1, m):
    """Ten rounds on words a..d[:m] with the key words k0, k1[:m]; everything in place."""
    for _ in range(10):
        for i in range(m):
            p, q = M0 * a[i], M1 * c[i]
            a[i] = (q >> U(32)) ^ b[i] ^ k0[i]
            c[i] = (p >> U(32)) ^ d[i] ^ k1[i]
            b[i], d[i] = q & LOW, p & LOW
            k0[i], k1[i] = (k0[i] + W0) & LOW, (k1[i] + W1) & LOW


@compiled
def _pick(a, b, c, d, tokens, low, m):
    """a[i] becomes the word of token i: its id mod 4 names it."""
    for i in range(m):
        s = tokens[low + i] & U(3)
        x = b[i] if s & U(1) else a[i]
        y = d[i] if s & U(1) else c[i]
        a[i] = y if s & U(2) else x


@compiled
def _block(contexts, tokens, low, m, key, a, b, c, d, k0, k1):
    """a[:m] becomes the words of the pairs low .. low + m under one key."""
    width, first, second = contexts.shape[0], key & LOW, key >> U(32)
    for i in range(m):
        a[i], b[i], c[i], d[i] = CONTEXT, U(width), U(0), U(0)
    for offset in range(0, width, 4):
        for j in range(4):
            w = a if j == 0 else b if j == 1 else c if j == 2 else d
            if offset + j < width:
                row = contexts[offset + j]
                for i in range(m):
                    w[i] ^= row[low + i]
            else:
                for i in range(m):
                    w[i] ^= LOW - U(j)
        for i in range(m):
            k0[i], k1[i] = first ^ U(offset), second
        _rounds(a, b, c, d, k0, k1, m)
    for i in range(m):
        k0[i], k1[i] = first ^ d[i], second ^ TOKEN
        d[i], c[i], b[i] = c[i], b[i], a[i]
        a[i] = (tokens[low + i] & LOW) >> U(2)
    _rounds(a, b, c, d, k0, k1, m)
    _pick(a, b, c, d, tokens, low, m)


@compiled
def words(contexts, tokens, key, out):
    """out[i] = the 32-bit word of (contexts[:, i], tokens[i])."""
    a, b, c = np.empty(BLOCK, U), np.empty(BLOCK, U), np.empty(BLOCK, U)
    d, k0, k1 = np.empty(BLOCK, U), np.empty(BLOCK, U), np.empty(BLOCK, U)
    for low in range(0, len(tokens), BLOCK):
        m = min(BLOCK, len(tokens) - low)
        _block(contexts, tokens, low, m, key, a, b, c, d, k0, k1)
        for i in range(m):
            out[low + i] = a[i]


@compiled
def _state(contexts, at, key, a, b, c, d, k0, k1):
    """a[0] .. d[0] become the four words of one context, contexts[:, at]."""
    width, first, second = contexts.shape[0], key & LOW, key >> U(32)
    a[0], b[0], c[0], d[0] = CONTEXT, U(width), U(0), U(0)
    for offset in range(0, width, 4):
        for j in range(4):
            w = a if j == 0 else b if j == 1 else c if j == 2 else d
            w[0] ^= contexts[offset + j, at] if offset + j < width else LOW - U(j)
        k0[0], k1[0] = first ^ U(offset), second
        _rounds(a, b, c, d, k0, k1, 1)


@compiled
def gumbel_choices(contexts, key, logits, most, out):
    """out[r] = the token with the largest ``logits[r, t] - log(-log u)`` after contexts[:, r]; the first of equals.

    Logarithms are only taken where the token can win: ``-log(-log u)`` is below ``-log(1 - u)``, so its word must be
    one of the `most` highest by how far its logit lies below the best sum so far (see `gumbel_limits`).
    """
    a, b, c = np.empty(BLOCK, U), np.empty(BLOCK, U), np.empty(BLOCK, U)
    d, k0, k1 = np.empty(BLOCK, U), np.empty(BLOCK, U), np.empty(BLOCK, U)
    four = np.empty((4, BLOCK), U)
    size = logits.shape[1]
    first, second = key & LOW, key >> U(32)
    for row in range(len(logits)):
        _state(contexts, row, key, a, b, c, d, k0, k1)
        s0, s1, s2, s3 = a[0], b[0], c[0], d[0]
        best, chosen = -np.inf, 0
        for low in range(0, (size + 3) // 4, BLOCK):
            m = min(BLOCK, (size + 3) // 4 - low)
            for i in range(m):
                a[i], b[i], c[i], d[i] = U(low + i), s0, s1, s2
                k0[i], k1[i] = first ^ s3, second ^ TOKEN
            _rounds(a, b, c, d, k0, k1, m)
            for i in range(m):
                four[0, i], four[1, i], four[2, i], four[3, i] = a[i], b[i], c[i], d[i]
            for i in range(m):
                for j in range(min(4, size - 4 * (low + i))):
                    logit = float(logits[row, 4 * (low + i) + j])
                    gap = best - logit
                    if gap < REACH:
                        left = (U(1) << U(24)) - (four[j, i] >> U(8))
                        if left <= most[max(0, int(gap * STEPS))] or gap < 0.0:
                            u = np.float64(np.float32((float(four[j, i] >> U(8)) + 1.0) / 16777217.0))
                            total = logit - math.log(-math.log(u))
                            if total > best:
                                best, chosen = total, 4 * (low + i) + j
        out[row] = chosen


@compiled
def gumbel_sums(contexts, tokens, keys, out):
    """out[k] = sum of -log(1 - v), v = the upper 24 bits of the word as a fraction; one logarithm for 32 pairs."""
    a, b, c = np.empty(BLOCK, U), np.empty(BLOCK, U), np.empty(BLOCK, U)
    d, k0, k1 = np.empty(BLOCK, U), np.empty(BLOCK, U), np.empty(BLOCK, U)
    for k in range(len(keys)):
        total = 0.0
        for low in range(0, len(tokens), BLOCK):
            m = min(BLOCK, len(tokens) - low)
            _block(contexts, tokens, low, m, keys[k], a, b, c, d, k0, k1)
            for first in range(0, m, FACTORS):
                product = 1.0
                for i in range(first, min(first + FACTORS, m)):
                    product *= float(U(1 << 24) - (a[i] >> U(8))) * STEP
                total -= math.log(product)
        out[k] = total


@compiled
def dual_sums(contexts, tokens, keys_a, keys_b, alpha, out, fused):
    """For two keys at once: fused[k] = the engine's sum of (1 - alpha) s_A + alpha s_B, out[k] = the sum of the scores
    -log P(such a weighted sum >= the one seen), each standard exponential."""
    a, b, c = np.empty(BLOCK, U), np.empty(BLOCK, U), np.empty(BLOCK, U)
    d, k0, k1 = np.empty(BLOCK, U), np.empty(BLOCK, U), np.empty(BLOCK, U)
    other = np.empty(BLOCK, U)
    small, large = min(alpha, 1.0 - alpha), max(alpha, 1.0 - alpha)
    gap = 1.0 - 2.0 * small
    for k in range(len(keys_a)):
        total, plain = 0.0, 0.0
        for low in range(0, len(tokens), BLOCK):
            m = min(BLOCK, len(tokens) - low)
            _block(contexts, tokens, low, m, keys_a[k] if alpha <= 0.5 else keys_b[k], a, b, c, d, k0, k1)
            for i in range(m):
                other[i] = a[i]
            _block(contexts, tokens, low, m, keys_b[k] if alpha <= 0.5 else keys_a[k], a, b, c, d, k0, k1)
            for first in range(0, m, FACTORS):
                product = 1.0  # of numbers from 1 to 2 mean: one logarithm for all of them
                for i in range(first, min(first + FACTORS, m)):
                    heavy = -math.log(float(U(1 << 24) - (other[i] >> U(8))) * STEP)
                    mean = large * heavy
                    if small > 0.0:
                        mean -= small * math.log(float(U(1 << 24) - (a[i] >> U(8))) * STEP)
                        if gap > 1e-9:
                            product *= 1.0 - math.expm1(-mean * gap / (small * large)) * small / gap
                        else:
                            product *= 1.0 + 2.0 * mean
                    plain += mean
                    total += mean / large
                total -= math.log(product)
        out[k], fused[k] = total, plain


@compiled
def bit_counts(contexts, tokens, keys, depth, out):
    """out[k] = how many of the `depth` lowest bits of all words are 1."""
    a, b, c = np.empty(BLOCK, U), np.empty(BLOCK, U), np.empty(BLOCK, U)
    d, k0, k1 = np.empty(BLOCK, U), np.empty(BLOCK, U), np.empty(BLOCK, U)
    mask = (U(1) << U(depth)) - U(1)
    for k in range(len(keys)):
        total = 0
        for low in range(0, len(tokens), BLOCK):
            m = min(BLOCK, len(tokens) - low)
            _block(contexts, tokens, low, m, keys[k], a, b, c, d, k0, k1)
            for i in range(m):
                x = a[i] & mask
                x -= (x >> U(1)) & U(0x55555555)
                x = (x & U(0x33333333)) + ((x >> U(2)) & U(0x33333333))
                x = (x + (x >> U(4))) & U(0x0F0F0F0F)
                total += np.int64(((x * U(0x01010101)) >> U(24)) & U(0xFF))
        out[k] = total


@compiled
def jenkins(x):
    """SBW's hash of an id: shifts and differences of a signed 32-bit number, as a signed 64-bit one."""
    i = np.int64(np.int32(x + 1))
    i = np.int64(np.int32(i - (i << 6)))
    i = i ^ (i >> 17)
    i = np.int64(np.int32(i - (i << 9)))
    i = np.int64(np.int32(i ^ (i << 4)))
    i = np.int64(np.int32(i - (i << 3)))
    i = np.int64(np.int32(i ^ (i << 10)))
    return i ^ (i >> 15)


@compiled
def selfhash_products(contexts, tokens, out):
    """out[j, i] = h(c_j) h(token) for the ids after the first of the window, and last h(token)^2; wrapping int64."""
    last = out.shape[0] - 1
    for i in range(len(tokens)):
        h = jenkins(np.int64(tokens[i]))
        for j in range(last):
            out[j, i] = jenkins(np.int64(contexts[j + 1, i])) * h
        out[last, i] = h * h


@compiled
def _seed(products, key, i):
    """The least of key times the products, as signed 64-bit numbers that wrap."""
    least = np.int64(key) * products[0, i]
    for j in range(1, products.shape[0]):
        least = min(least, np.int64(key) * products[j, i])
    return U(least)


@compiled
def _sbw_block(seeds, tokens, low, m, a, b, c, d, k0, k1):
    for i in range(m):
        a[i], b[i], c[i], d[i] = tokens[low + i] >> U(2), U(0), U(0), U(0)
        k0[i], k1[i] = seeds[low + i] & LOW, seeds[low + i] >> U(32)
    _rounds(a, b, c, d, k0, k1, m)
    _pick(a, b, c, d, tokens, low, m)


@compiled
def sbw_seeds(products, key, out):
    """out[i] = SBW's seed of pair i: the least of key * products[:, i]."""
    for i in range(len(out)):
        out[i] = _seed(products, key, i)


@compiled
def sbw_words(seeds, tokens, out):
    """out[i] = SBW's 32-bit word of seed and token i."""
    a, b, c = np.empty(BLOCK, U), np.empty(BLOCK, U), np.empty(BLOCK, U)
    d, k0, k1 = np.empty(BLOCK, U), np.empty(BLOCK, U), np.empty(BLOCK, U)
    for low in range(0, len(tokens), BLOCK):
        m = min(BLOCK, len(tokens) - low)
        _sbw_block(seeds, tokens, low, m, a, b, c, d, k0, k1)
        for i in range(m):
            out[low + i] = a[i]


@compiled
def sbw_counts(products, tokens, keys, threshold, scored, out):
    """Green pairs of each key, every (seed, token) once and seed 0 never: such a list would not depend on the key."""
    n, size = len(tokens), 16
    while size < 2 * n:
        size *= 2
    table, owner, mask = np.empty(size, U), np.full(size, -1, np.int64), U(size - 1)
    seeds, kept = np.empty(n, U), np.empty(n, U)
    a, b, c = np.empty(BLOCK, U), np.empty(BLOCK, U), np.empty(BLOCK, U)
    d, k0, k1 = np.empty(BLOCK, U), np.empty(BLOCK, U), np.empty(BLOCK, U)
    for k in range(len(keys)):
        count, green = 0, 0
        for i in range(n):
            seed = _seed(products, keys[k], i)
            if seed == U(0):
                continue
            x = (seed ^ (seed >> U(29))) * U(0xBF58476D1CE4E5B9) + tokens[i] * U(0x9E3779B97F4A7C15)
            x = (x ^ (x >> U(32))) * U(0x94D049BB133111EB)
            slot = (x >> U(20)) & mask
            while owner[slot] == k and table[slot] != x:
                slot = (slot + U(1)) & mask
            if owner[slot] != k:
                owner[slot], table[slot] = k, x
                seeds[count], kept[count] = seed, tokens[i]
                count += 1
        for low in range(0, count, BLOCK):
            m = min(BLOCK, count - low)
            _sbw_block(seeds, kept, low, m, a, b, c, d, k0, k1)
            for i in range(m):
                green += (a[i] & U(0x7FFFFFFF)) < threshold
        scored[k], out[k] = count, green


def vocabulary_words(windows: NDArray[np.int64], key: np.uint64, vocab_size: int) -> NDArray[np.uint64]:
    """The word of every token after each window of ids: windows (B, width), words (B, V)."""
    rows = len(windows)
    columns = np.repeat((windows.T.astype(np.uint64) & LOW), vocab_size, axis=1)
    out = np.empty(rows * vocab_size, np.uint64)
    words(columns, np.tile(np.arange(vocab_size, dtype=np.uint64), rows), key, out)
    return out.reshape(rows, vocab_size)


def as_uniform(drawn: NDArray[np.uint64]) -> NDArray[np.float32]:
    """vLLM's u of a word: one more than its upper 24 bits, over 2^24 + 1."""
    return (((drawn >> U(8)).astype(np.float64) + 1.0) / (2**24 + 1)).astype(np.float32)


def gumbel_limits() -> NDArray[np.uint64]:
    """How many of the 2^24 highest upper parts of a word can lift a logit by i / STEPS; a little more than so many."""
    lift = np.arange(int(REACH * STEPS) + 1) / STEPS
    return (np.exp(-lift) * 2**24 * (1 + 1e-6) + 2).astype(np.uint64)
