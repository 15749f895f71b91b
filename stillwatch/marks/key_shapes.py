"""How many integers of how many bits a scheme takes as its key.

The rule is one integer of 63 bits: engines hold keys as signed 64-bit integers, and a negative one is refused here
and wrapped there. `EXCEPTIONS` has what differs, each with the reason. A scheme that is not in it follows the rule.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shape:
    """What a key of a scheme looks like."""

    bits: int = 63
    """Of each integer, 1 to 64."""
    count: int = 1
    """Integers in one key."""
    distinct_modulo: int = 0
    """Integers of one key that are equal modulo this would be one and the same to the engine; 0: only equal ones."""

    odd: bool = False
    """Only odd integers."""

    def fit(self, random: bytes) -> int:
        """An integer of `bits` bits from at least 8 random bytes."""
        return int.from_bytes(random[:8], "big") >> (64 - self.bits) | int(self.odd)

    def seen_as(self, number: int) -> int:
        """What the engine makes of an integer."""
        return number % self.distinct_modulo if self.distinct_modulo else number

    def usable(self, number: int, seen: Set[int]) -> bool:
        """Whether it may be the next integer of a key: not 0, which several engines take for "none", nor a twin."""
        return number != 0 and self.seen_as(number) != 0 and self.seen_as(number) not in seen


EXCEPTIONS: dict[str, Shape] = {
    # Unsigned, all 64 bits (vllm/config/watermarking.py: ge 0, at most 2**64 - 1).
    "vllm_gumbel": Shape(bits=64),
    "vllm_dual_gumbel": Shape(bits=64),
    # 1 to 16 hexadecimal digits.
    "sglang_gumbel": Shape(bits=64),
    "sglang_dual_gumbel": Shape(bits=64, count=2),
    # One key a layer. Only the low 16 bits reach the table of transformers: layers that are equal there would be one.
    "synthid_table": Shape(count=30, distinct_modulo=1 << 16),
    "synthid_hash": Shape(count=30),
    # torch seeds its generator with the key times a token id, which has to fit into 64 bits; and mod the size of the
    # vocabulary, which is even, so that an even key would reach half of the lists.
    "markllm_kgw": Shape(bits=32, odd=True),
    "markllm_exp": Shape(bits=32, odd=True),
    # The key is multiplied by 500001713 in signed 64-bit integers before it is hashed.
    "textseal_gumbel": Shape(bits=32),
    # A 32-bit hash.
    "lab": Shape(bits=32),
}


def shape_of(scheme: str) -> Shape:
    """The shape of a scheme's keys."""
    return EXCEPTIONS.get(scheme, Shape())
