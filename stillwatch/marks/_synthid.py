"""The hash of SynthID-Text over windows of ids, its g-values in the two published forms, and the tournament.

Formulas as in google-deepmind/synthid-text (Apache-2.0; hashing_function.py and logits_processing.py, wheel 0.2.1 and
main at addb4a1) and transformers 5.23 (Apache-2.0; generation/logits_process.py), written anew. 64-bit numbers wrap.
All loops are in this file, see `_compiled`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stillwatch.marks._compiled import compiled

U = np.uint64
FACTOR = U(6364136223846793005)
BLOCK = 256


@compiled
def window_hashes(ids, stops, width, start, missing, out, whole):
    """out[i] = hash of the `width` ids before token i, from `start`; whole[i]: the document holds them all."""
    begin = 0
    for stop in stops:
        for i in range(begin, stop):
            h = start
            for j in range(i - width, i):
                h = (h + U(ids[j] if j >= begin else missing)) * FACTOR + U(1)
            out[i] = h
            whole[i] = i - begin >= width
        begin = stop


@compiled
def step(hashes, ids, out):
    """out[i] = hashes[i] with one more id."""
    for i in range(len(hashes)):
        out[i] = (hashes[i] + U(ids[i])) * FACTOR + U(1)


@compiled
def table_g_values(hashes, keys, table, out):
    """out[i, layer] = the g-value of one hash (context and token) in the table form; only low bits matter."""
    mask, factor = np.uint32(len(table) - 1), np.uint32(FACTOR & U(0xFFFFFFFF))
    shifts = np.empty(len(keys), np.uint32)
    for layer in range(len(keys)):
        shifts[layer] = np.uint32((keys[layer] * FACTOR + U(1)) & U(mask))
    for i in range(len(hashes)):
        place = np.uint32((np.uint32(hashes[i] & U(mask)) * factor) & mask)
        for layer in range(len(keys)):
            out[i, layer] = table[(place + shifts[layer]) & mask]


@compiled
def _bits(states, m):
    """Twelve rounds of the hash with a shift by 5 in place; bit 30 is then the g-value."""
    for _ in range(12):
        for i in range(m):
            states[i] = U(np.int64((states[i] + U(1)) * FACTOR + U(1)) >> 5)


@compiled
def hash_counts(linear, carry, starts, keys, out):
    """out[k] = ones among the g-values of all pairs and layers; the hash of pair i is starts[k] carry + linear[i]."""
    states, n = np.empty(BLOCK, U), len(linear)
    for k in range(len(keys)):
        total = 0
        for layer in range(keys.shape[1]):
            shift = starts[k] * carry + keys[k, layer]
            for low in range(0, n, BLOCK):
                m = min(BLOCK, n - low)
                for i in range(m):
                    states[i] = (linear[low + i] + shift) * FACTOR + U(1)
                _bits(states, m)
                for i in range(m):
                    total += np.int64((states[i] >> U(30)) & U(1))
        out[k] = total


@compiled
def hash_g_values(hashes, keys, out):
    """out[i, layer] = the g-value of one hash (context and token) in the hash form."""
    states = np.empty(1, U)
    for i in range(len(hashes)):
        for layer in range(len(keys)):
            states[0] = (hashes[i] + keys[layer]) * FACTOR + U(1)
            _bits(states, 1)
            out[i, layer] = (states[0] >> U(30)) & U(1)


def tournament(logits: NDArray[np.floating], g_values: NDArray[np.uint8]) -> NDArray[np.floating]:
    """The logarithm of the probabilities after all layers, in the type of `logits`.

    Parameters
    ----------
    logits
        (B, V), temperature and truncation applied.
    g_values
        0 or 1, (B, V, layers).

    Returns
    -------
    (B, V). Where the probability is 0 the smallest number of the type stands, as in the engines.
    """
    scores = logits.astype(np.float64)
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    _layers(p, np.ascontiguousarray(g_values))
    least = np.finfo(logits.dtype).min
    with np.errstate(divide="ignore"):
        return np.where(p > 0.0, np.log(p), least).astype(logits.dtype)


@compiled
def _layers(p, g_values):
    """p (B, V) after all layers, in place; the g-values of 32 layers are packed into one word a token."""
    size, depth = p.shape[1], g_values.shape[2]
    packed = np.empty(size, np.uint32)
    for row in range(len(p)):
        for low in range(0, depth, 32):
            count = min(32, depth - low)
            for v in range(size):
                word = np.uint32(0)
                for j in range(count):
                    word |= np.uint32(g_values[row, v, low + j]) << np.uint32(j)
                packed[v] = word
            for j in range(count):
                ones = 0.0
                for v in range(size):
                    ones += p[row, v] * np.float64((packed[v] >> np.uint32(j)) & np.uint32(1))
                ones = min(ones, 1.0)  # a little above 1 by rounding, which would make a probability negative
                for v in range(size):
                    p[row, v] *= 1.0 + np.float64((packed[v] >> np.uint32(j)) & np.uint32(1)) - ones
