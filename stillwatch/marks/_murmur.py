"""The 32-bit mix that SGLang makes of words, and the sums that its detector makes.

Formulas as in SGLang 0.5.23 (Apache-2.0; python/sglang/srt/sampling/watermarking/detector.py), written anew: the body
and the finaliser of MurmurHash3 x86 32 (Appleby, public domain) over 32-bit words. The state after the two words of a
key is 32 bits wide, so two keys of 64 bits with one such state are one key. All loops stand here, see `_compiled`.
"""

from __future__ import annotations

import math

import numpy as np

from stillwatch.marks._compiled import compiled

U = np.uint64
LOW = U(0xFFFFFFFF)
BLOCK = 512
FACTORS = 24  # of at least 2^-32 each: their product is no subnormal number
STEP = 2.0**-32


@compiled
def mix(state, word):
    """The state after one more word."""
    x = (word * U(0xCC9E2D51)) & LOW
    x = ((x << U(15)) | (x >> U(17))) & LOW
    x = state ^ ((x * U(0x1B873593)) & LOW)
    x = ((x << U(13)) | (x >> U(19))) & LOW
    return (x * U(5) + U(0xE6546B64)) & LOW


@compiled
def finish(state, words):
    """The hash of what was mixed, `words` words in all."""
    x = state ^ U(4 * words)
    x = ((x ^ (x >> U(16))) * U(0x85EBCA6B)) & LOW
    x = ((x ^ (x >> U(13))) * U(0xC2B2AE35)) & LOW
    return x ^ (x >> U(16))


@compiled
def context_hashes(ids, stops, width, out):
    """out[i] = hash of the up to `width` ids before token i in its document: fewer at its start."""
    begin = 0
    for stop in stops:
        for i in range(begin, stop):
            first = max(begin, i - width)
            state = U(0)
            for j in range(first, i):
                state = mix(state, U(ids[j]) & LOW)
            out[i] = finish(state, i - first)
        begin = stop


@compiled
def keyed(key):
    """The state after the two words of a key."""
    return mix(mix(U(0), key & LOW), key >> U(32))


@compiled
def hashes(contexts, tokens, key, out):
    """out[i] = the 32-bit hash of (key, contexts[i], tokens[i])."""
    state = keyed(key)
    for i in range(len(tokens)):
        out[i] = finish(mix(mix(state, contexts[i]), tokens[i]), 4)


@compiled
def coins(contexts, key_a, key_b, out):
    """out[i] = the hash that says which of two keys marks a context."""
    state = mix(mix(keyed(key_a), key_b & LOW), key_b >> U(32))
    for i in range(len(contexts)):
        out[i] = finish(mix(state, contexts[i]), 5)


@compiled
def _add(hashed, m):
    """Sum of -log(1 - v) over hashed[:m], v = the hash as a fraction; one logarithm for 24 of them."""
    total = 0.0
    for first in range(0, m, FACTORS):
        product = 1.0
        for i in range(first, min(first + FACTORS, m)):
            product *= float(U(1 << 32) - hashed[i]) * STEP
        total -= math.log(product)
    return total


@compiled
def gumbel_sums(contexts, tokens, keys, out):
    """out[k] = the sum of the scores under one key."""
    hashed = np.empty(BLOCK, U)
    for k in range(len(keys)):
        total = 0.0
        for low in range(0, len(tokens), BLOCK):
            m = min(BLOCK, len(tokens) - low)
            hashes(contexts[low : low + m], tokens[low : low + m], keys[k], hashed)
            total += _add(hashed, m)
        out[k] = total


@compiled
def dual_sums(contexts, tokens, keys_a, keys_b, threshold, out):
    """out[k] = the sum of the scores, each under the key that the coin of its context names."""
    one, two, coin = np.empty(BLOCK, U), np.empty(BLOCK, U), np.empty(BLOCK, U)
    for k in range(len(keys_a)):
        total = 0.0
        for low in range(0, len(tokens), BLOCK):
            m = min(BLOCK, len(tokens) - low)
            c, t = contexts[low : low + m], tokens[low : low + m]
            hashes(c, t, keys_a[k], one)
            hashes(c, t, keys_b[k], two)
            coins(c, keys_a[k], keys_b[k], coin)
            for i in range(m):
                one[i] = one[i] if coin[i] < threshold else two[i]
            total += _add(one, m)
        out[k] = total
