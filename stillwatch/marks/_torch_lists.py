"""The randomness of torch's CPU generator without torch, and the lists that marks draw from it.

``torch.Generator().manual_seed(s)`` is the Mersenne Twister MT19937 (Matsumoto and Nishimura 1998) seeded with s mod
2^32; w_0, w_1, .. are its 32-bit words.

``randperm(V)``     r = 0 .. V-1; for i = 0, 1, ..: swap r[i] and r[i + w_i mod (V - i)].
``rand(V)``         float32, u_i = (w_i mod 2^24) / 2^24.

A green list is the first m places of such a permutation. They are settled after m swaps, and to ask for one token no
permutation is needed at all: token x begins at place x, moves when its place is the i of a swap, and is green when
the other end of a swap, i + w_i mod (V - i), is where it stands. So only the ends of the swaps are computed, and
compared with the places of the tokens in question. All loops are in this file, see `_compiled`.
"""

from __future__ import annotations

import numpy as np

from stillwatch.marks._compiled import compiled

U4 = np.uint32
WORDS = 624
MIDDLE = 397
FEW = 24  # tokens after one context up to which each is looked for by itself


@compiled
def _seed(state, seed):
    x = np.uint64(seed) & np.uint64(0xFFFFFFFF)
    state[0] = U4(x)
    for i in range(1, WORDS):
        x = (np.uint64(1812433253) * (x ^ (x >> np.uint64(30))) + np.uint64(i)) & np.uint64(0xFFFFFFFF)
        state[i] = U4(x)


@compiled
def _twist(state):
    """The next 624 untempered words, in place; three loops, because each reads what an earlier one wrote."""
    last = state[0]
    for k in range(WORDS - MIDDLE):
        y = (state[k] & U4(0x80000000)) | (state[k + 1] & U4(0x7FFFFFFF))
        state[k] = state[k + MIDDLE] ^ (y >> U4(1)) ^ (U4(0x9908B0DF) if y & U4(1) else U4(0))
    for k in range(WORDS - MIDDLE, WORDS - 1):
        y = (state[k] & U4(0x80000000)) | (state[k + 1] & U4(0x7FFFFFFF))
        state[k] = state[k + MIDDLE - WORDS] ^ (y >> U4(1)) ^ (U4(0x9908B0DF) if y & U4(1) else U4(0))
    y = (state[WORDS - 1] & U4(0x80000000)) | (state[0] & U4(0x7FFFFFFF))
    state[WORDS - 1] = state[MIDDLE - 1] ^ (y >> U4(1)) ^ (U4(0x9908B0DF) if y & U4(1) else U4(0))
    return last


@compiled
def _temper(y):
    y = y ^ (y >> U4(11))
    y = y ^ ((y << U4(7)) & U4(0x9D2C5680))
    y = y ^ ((y << U4(15)) & U4(0xEFC60000))
    return U4((y ^ (y >> U4(18))) & 0xFFFFFFFF)


@compiled
def _swap_ends(state, begin, size, inverse, ends):
    """ends[i] = the other end of swap begin + i, from the words in `state`; the remainder through floats, exactly.

    `inverse` lies a little below 1 / (size - begin - i), so that the quotient is right or one too small; every
    product is a whole number below 2^53.
    """
    for i in range(len(inverse)):
        word = float(_temper(state[i]))
        left = float(size - begin - i)
        rest = word - np.floor(word * inverse[i]) * left
        rest = rest - left if rest >= left else rest
        ends[i] = np.int32(rest) + np.int32(begin + i)


@compiled
def _find(ends, place):
    """Whether a swap ends at `place`. 32 bits and no offset throughout, or the loop is ten times slower."""
    hits = np.int32(0)
    for i in range(len(ends)):
        hits = np.int32(hits + np.int32(ends[i] == place))
    return hits != 0


@compiled
def _few(seed, tokens, size, green_size, inverse, state, ends, places, green):
    """Green or not, for a few tokens after one context; places[t] is where token t stands, -1 once it is settled."""
    _seed(state, seed)
    open_ = len(tokens)
    for t in range(len(tokens)):
        places[t] = tokens[t]
        green[t] = False
    begin = 0
    while begin < green_size and open_ > 0:
        count = min(WORDS, green_size - begin)
        _twist(state)
        _swap_ends(state, begin, size, inverse[begin : begin + count], ends)
        for t in range(len(tokens)):
            at = 0
            while places[t] >= 0 and at < count:
                own = places[t] - begin  # the swap that begins where the token stands, if it is one of these
                stop = own if at <= own < count else count
                if _find(ends[at:stop], places[t]) or (stop < count and ends[stop] == places[t]):
                    green[t] = True  # swapped into the list, or with itself
                    places[t] = -1
                    open_ -= 1
                elif stop < count:
                    places[t] = ends[stop]
                at = stop + 1
        begin += count


@compiled
def _many(seed, tokens, size, green_size, inverse, state, ends, who, green):
    """The same for many tokens; who[place] is 1 + the token that stands there, all 0 before and after."""
    _seed(state, seed)
    for t in range(len(tokens)):
        who[tokens[t]] = t + 1
        green[t] = False
    begin = 0
    while begin < green_size:
        count = min(WORDS, green_size - begin)
        _twist(state)
        _swap_ends(state, begin, size, inverse[begin : begin + count], ends)
        for i in range(count):
            here, there = who[begin + i], who[ends[i]]
            if here | there:
                if there > 0:
                    green[there - 1] = True
                who[begin + i] = 0
                if ends[i] != begin + i:
                    who[ends[i]] = here
        begin += count
    for place in range(size):
        who[place] = 0


@compiled
def green_flags(seeds, first, tokens, size, green_size, green):
    """Whether tokens are among the first `green_size` places of the permutation of each seed.

    seeds uint64 (lists,), mod 2^32; first int64 (lists + 1,): list i is asked about tokens[first[i] : first[i + 1]],
    int64, distinct, below `size` (int32); green bool (tokens,) is written.
    """
    state, ends = np.empty(WORDS, U4), np.empty(WORDS, np.int32)
    places, who = np.empty(FEW, np.int32), np.zeros(size, np.int32)
    inverse = np.empty(green_size)
    for i in range(green_size):
        inverse[i] = (1.0 - 2.0**-50) / float(size - i)
    for i in range(len(seeds)):
        a, b = first[i], first[i + 1]
        if b - a <= FEW:
            _few(seeds[i], tokens[a:b], size, green_size, inverse, state, ends, places, green[a:b])
        else:
            _many(seeds[i], tokens[a:b], size, green_size, inverse, state, ends, who, green[a:b])


@compiled
def permutation(seed, size, settled, out):
    """The first `settled` places of ``randperm(size)`` into out[:settled]; out int64 (size,) is used up."""
    state = np.empty(WORDS, U4)
    _seed(state, seed)
    for i in range(size):
        out[i] = i
    for i in range(settled):
        if i % WORDS == 0:
            _twist(state)
        other = i + np.int64(_temper(state[i % WORDS])) % (size - i)
        out[i], out[other] = out[other], out[i]


@compiled
def uniforms_at(seeds, tokens, out):
    """out[i] float32 = ``rand(V)[tokens[i]]`` of seeds[i], for any V above the token."""
    state = np.empty(WORDS, U4)
    for i in range(len(seeds)):
        _seed(state, seeds[i])
        for _ in range(tokens[i] // WORDS + 1):
            _twist(state)
        out[i] = np.float32(_temper(state[tokens[i] % WORDS]) & U4(0xFFFFFF)) * np.float32(2.0**-24)


@compiled
def uniforms(seed, out):
    """out float32 (V,) = ``rand(V)`` of the seed."""
    state = np.empty(WORDS, U4)
    _seed(state, seed)
    for i in range(len(out)):
        if i % WORDS == 0:
            _twist(state)
        out[i] = np.float32(_temper(state[i % WORDS]) & U4(0xFFFFFF)) * np.float32(2.0**-24)


@compiled
def lefthash_seeds(key, contexts, out):
    """out[i] uint64 = ``(key * contexts[i]) mod (2^64 - 1) mod 2^32``; key uint64 < 2^64 - 1, contexts < 2^32."""
    high, low = key >> np.uint64(32), key & np.uint64(0xFFFFFFFF)
    for i in range(len(contexts)):
        context = np.uint64(contexts[i])
        upper, lower = high * context, low * context
        turned = upper << np.uint64(32) | upper >> np.uint64(32)  # times 2^32, as 2^64 is 1 here
        total = turned + lower
        if total < turned:
            total += np.uint64(1)
        out[i] = np.uint64(0) if total == np.uint64(0xFFFFFFFFFFFFFFFF) else total & np.uint64(0xFFFFFFFF)


@compiled
def selfhash_seeds(key, table, windows, out):
    """out[i] uint64 = the least of ``key * (table[id] + 1) * (table[last] + 1)`` over the ids of window i, mod 2^32.

    The products wrap in 64 signed bits and the least of them is taken mod (2^64 - 1), as in the engine. windows
    int64 (n, width), already mod 1,000,003; the last id is the token in question.
    """
    for i in range(len(windows)):
        last = np.uint64(table[windows[i, -1]] + 1)
        least = np.int64(0x7FFFFFFFFFFFFFFF)
        for j in range(windows.shape[1]):
            least = min(least, np.int64(key * np.uint64(table[windows[i, j]] + 1) * last))
        seed = np.uint64(least) - (np.uint64(1) if least < 0 else np.uint64(0))
        out[i] = seed & np.uint64(0xFFFFFFFF)
