"""One short digest over a list, from which nothing can be taken away, and short proofs that one thing is in it.

The tree of RFC 6962, section 2.1: leaves and inner nodes are told apart by a first byte, so that neither can be taken
for the other; a list is never padded with copies, so that two lists never share a root.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def leaf(data: bytes) -> bytes:
    """Digest of one entry, 32 bytes."""
    return hashlib.sha256(b"\0" + data).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """Digest of a list of leaves, 32 bytes; of an empty one the digest of nothing.

    Parameters
    ----------
    leaves
        What `leaf` gave, in order.
    """
    if not leaves:
        return hashlib.sha256(b"").digest()
    # The left part of a tree is the largest full one, which is what a stack of full trees builds from left to right.
    stack: list[tuple[int, bytes]] = []
    for one in leaves:
        size, node = 1, one
        while stack and stack[-1][0] == size:
            node = _join(stack.pop()[1], node)
            size *= 2
        stack.append((size, node))
    node = stack.pop()[1]
    while stack:
        node = _join(stack.pop()[1], node)
    return node


def path(leaves: Sequence[bytes], place: int) -> list[bytes]:
    """The digests with which the leaf at a place leads to the root, from below."""
    if len(leaves) <= 1:
        return []
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if place < split:
        return [*path(leaves[:split], place), root(leaves[split:])]
    return [*path(leaves[split:], place - split), root(leaves[:split])]


def leads_to(one: bytes, place: int, count: int, steps: Sequence[bytes], wanted: bytes) -> bool:
    """Whether a leaf at this place of so many leads to the root (RFC 9162, section 2.1.3.2)."""
    if not 0 <= place < count:
        return False
    low, high, node = place, count - 1, one
    for step in steps:
        if high == 0:
            return False
        if low & 1 or low == high:
            node = _join(step, node)
            while not low & 1 and low:
                low, high = low >> 1, high >> 1
        else:
            node = _join(node, step)
        low, high = low >> 1, high >> 1
    return high == 0 and node == wanted


def _join(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()
