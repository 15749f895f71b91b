"""Names for the integers of a world: identifiers, addresses, labels. None of them tells who is who."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stillwatch.lab.compose import Chunk, Log
from stillwatch.lab.people import AGENTS, MODELS
from stillwatch.lab.texts import mix
from stillwatch.lab.world import NONE, World

_PREFIXES = 1 << 20
_IPV6 = 60_000
_HEX = np.array([f"{i:02x}" for i in range(256)], "S2")


@dataclass(slots=True)
class Names:
    """Names of a log; those of accounts are made once, in the order of the accounts."""

    log: Log
    account: pa.LargeStringArray
    credential: pa.LargeStringArray
    """Of all accounts one after the other; `holder` is the account of each, `first_key` where those of one begin."""
    holder: np.ndarray
    first_key: np.ndarray
    organization: pa.LargeStringArray
    agents: tuple[str, ...] = AGENTS
    models: tuple[str, ...] = MODELS

    def key(self, rows: np.ndarray) -> np.ndarray:
        """Places in `credential`, by row."""
        return self.first_key[self.log.rows["account"][rows]] + self.log.key[rows]

    def signature(self, rows: np.ndarray) -> pa.LargeStringArray:
        """Signature of the reasoning behind the answer to a row; null where `rows` is `NONE`."""
        return named(self.log.world, "signature", rows.astype(np.int64), "", 4)

    def record(self, chunk: Chunk) -> pa.LargeStringArray:
        """Ids of calls."""
        return named(self.log.world, "record", chunk.rows, "chatcmpl-", 2)

    def trace(self, chunk: Chunk) -> pa.LargeStringArray:
        """One name per session, and one per single call: a gateway gives every call a trace."""
        session = self.log.rows["conversation"][chunk.rows].astype(np.int64)
        return named(self.log.world, "trace", np.where(session < 0, chunk.rows + (1 << 40), session), "", 2)

    def address(self, chunk: Chunk) -> pa.LargeStringArray:
        """Client addresses; an account has one host in a prefix."""
        prefix = self.log.rows["prefix"][chunk.rows].astype(np.int64)
        account = self.log.rows["account"][chunk.rows].astype(np.int64)
        host = mix((prefix << 32) + account) % np.uint64(254) + np.uint64(1)
        used, place = np.unique(prefix, return_inverse=True)
        stems = [
            f"2001:db8:{v:x}::" if v < _IPV6 else f"{240 + (v >> 16)}.{v >> 8 & 255}.{v & 255}."
            for v in _scatter(self.log.world, used)
        ]
        return cat(pa.array(stems, pa.large_string()).take(pa.array(place)), text(pa.array(host)))

    def constants(self, index: np.ndarray) -> pa.LargeStringArray:
        """Constant texts by index."""
        block = self.log.world.constant_table()[index]
        return self.log.world.prompts.texts.render(
            *(block[:, i].astype(np.int64) for i in range(3)), block[:, 3]
        )

    def input_tokens(self, chunk: Chunk) -> np.ndarray:
        """About one token for four bytes of the request, and some for its frame."""
        units = pc.binary_length(chunk.units).to_numpy()[chunk.history]
        used, place = np.unique(chunk.system, return_inverse=True)
        systems = np.zeros(len(used), np.int64)
        systems[used >= 0] = pc.binary_length(self.constants(used[used >= 0])).to_numpy()
        return (np.add.reduceat(units, chunk.offsets[:-1]) + systems[place]) // 4 + 7


def names_of(log: Log) -> Names:
    """The names of a log's accounts."""
    every = np.arange(len(log.accounts["created"]))
    holder = np.repeat(every, log.keys)
    first = np.cumsum(log.keys) - log.keys
    number = np.arange(len(holder)) - first[holder]
    return Names(
        log,
        named(log.world, "account", every, "user_"),
        named(log.world, "credential", holder + number * len(every), "", 4),
        holder,
        first,
        named(log.world, "organization", log.accounts["organization"], "org_"),
    )


def named(world: World, kind: str, index: np.ndarray, prefix: str, words: int = 1) -> pa.LargeStringArray:
    """Random-looking names: `prefix` and `words` times 16 hexadecimal digits; null where `index` is negative."""
    salt = np.uint64(world.rng("identifier " + kind).integers(2**63))
    n = len(index)
    bits = np.empty((n, words), ">u8")
    for w in range(words):
        bits[:, w] = mix(mix(index.astype(np.uint64) ^ salt) + np.uint64(w))
    width = len(prefix) + 16 * words
    letters = np.empty((n, width), np.uint8)
    letters[:, : len(prefix)] = np.frombuffer(prefix.encode(), np.uint8)
    letters[:, len(prefix) :] = _HEX[bits.view(np.uint8)].view(np.uint8).reshape(n, 16 * words)
    ends = pa.py_buffer(np.arange(n + 1, dtype=np.int64) * width)
    names = pa.LargeStringArray.from_buffers(n, ends, pa.py_buffer(letters))
    return (
        names
        if np.all(index >= 0)
        else pc.if_else(pa.array(index >= 0), names, pa.scalar(None, pa.large_string()))
    )


def prefixes(world: World, index: np.ndarray) -> pa.Array:
    """Network prefixes as text: /24 or /48."""
    return pa.array(
        [
            f"2001:db8:{v:x}::/48" if v < _IPV6 else f"{240 + (v >> 16)}.{v >> 8 & 255}.{v & 255}.0/24"
            for v in _scatter(world, index)
        ]
    )


def labels(values: tuple[str, ...], codes: np.ndarray) -> pa.Array:
    """Words for codes; null for `NONE`."""
    codes = codes.astype(np.int64)
    return pa.array(values, pa.string()).take(pa.array(np.maximum(codes, 0), mask=codes == NONE))


def text(values: pa.Array) -> pa.LargeStringArray:
    """The values as text."""
    return values if values.type == pa.large_string() else values.cast(pa.large_string())


def cat(*parts: str | pa.Array) -> pa.LargeStringArray:
    """Texts put together row by row; null where any part is."""
    big = pa.large_string()
    return pc.binary_join_element_wise(
        *(pa.scalar(p, big) if isinstance(p, str) else p for p in parts), pa.scalar("", big)
    )


def quoted(values: pa.LargeStringArray) -> pa.LargeStringArray:
    """JSON strings, and null without quotes."""
    return pc.fill_null(cat('"', values, '"'), "null")


def _scatter(world: World, index: np.ndarray) -> list[int]:
    """A permutation of 2**20 prefixes, so that neither neighbours nor kinds can be told.

    240.0.0.0/4 is reserved and 2001:db8::/32 is for documentation: no composed row names anybody's network.
    """
    shift = int(world.rng("prefixes").integers(_PREFIXES))
    return ((index.astype(np.int64) * 735_229 + shift) % _PREFIXES).tolist()
