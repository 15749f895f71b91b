"""Keyed pseudonyms, and the encrypted vault that gives the real identifiers back.

A pseudonym is HMAC-SHA256 of kind and value under a key of this workspace, cut to 63 bits: it joins rows inside the
workspace, and says nothing without its key file. Two of n values share a pseudonym by chance with probability about
``n**2 / 2**64`` (n = 10 million: one in 180,000).
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from stillwatch.errors import InputError, IntegrityError
from stillwatch.identity.digests import digests
from stillwatch.identity.keys import Keys

PREFIX: dict[str, str] = {
    "account": "a",
    "credential": "k",
    "organization": "o",
    "end_user": "u",
    "conversation": "v",
    "client_prefix": "n",
    "payment": "p",
    "device": "d",
    "tls": "t",
    "agent": "g",
}
"""Kind of identifier -> the letter that its pseudonyms are shown with."""

KEPT = frozenset({"account", "credential", "organization", "end_user", "client_prefix", "payment"})
"""Kinds whose real values go to the vault; of the others only the pseudonym is kept."""

_NONCE = 12
_SHOWN = re.compile(r"([a-z])-([0-9a-f]{16})")


class Pseudonyms:
    """Maps real identifiers of one workspace to pseudonyms and, for the kinds in KEPT, back.

    Parameters
    ----------
    keys
        The workspace's key file.
    vault_path
        SQLite file of encrypted pairs; created if absent. Each value is sealed with AES-256-GCM bound to its kind and
        pseudonym, so an entry cannot be moved to another row unnoticed.
    """

    def __init__(self, keys: Keys, vault_path: Path) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._mac_key = keys.derive("pseudonyms")
        self._seal = AESGCM(keys.derive("vault"))
        self._vault_path = vault_path

    def __repr__(self) -> str:
        return f"Pseudonyms({str(self._vault_path)!r})"

    def map(self, kind: str, values: pa.Array | pa.ChunkedArray) -> pa.Array:
        """Pseudonyms of `values` (string, nulls stay null), int64, 0 <= p < 2**63, in the same order.

        New pairs of a kept kind are in the vault, durably, when this returns.
        """
        _known(kind)
        if isinstance(values, pa.ChunkedArray):
            values = values.combine_chunks()
        values = values.cast(pa.large_string())
        distinct = values.unique().drop_null()
        ids = digests(self._mac_key, kind, distinct)
        if kind in KEPT and len(distinct):
            self._keep(kind, distinct, ids)
        return (
            ids.take(pc.index_in(values, value_set=distinct))
            if len(distinct)
            else pa.nulls(len(values), pa.int64())
        )

    def _keep(self, kind: str, values: pa.Array, ids: pa.Array) -> None:
        with closing(self._open()) as vault:
            known = set()
            numbers = ids.to_pylist()
            for start in range(0, len(numbers), 30_000):
                some = numbers[start : start + 30_000]
                marks = ",".join("?" * len(some))
                known.update(
                    i
                    for (i,) in vault.execute(
                        f"select id from pairs where kind = ? and id in ({marks})", (kind, *some)
                    )
                )
            fresh = [(i, v) for i, v in zip(numbers, values.to_pylist(), strict=True) if i not in known]
            if fresh:
                with vault:
                    vault.executemany(
                        "insert or ignore into pairs (kind, id, sealed) values (?, ?, ?)",
                        ((kind, i, self._sealed(kind, i, v)) for i, v in fresh),
                    )

    def reveal(self, kind: str, ids: Sequence[int]) -> dict[int, str]:
        """Real values of the pseudonyms that the vault holds; unknown ones are left out.

        Raises
        ------
        IntegrityError
            An entry does not open: another key, or somebody changed the vault.
        """
        from cryptography.exceptions import InvalidTag

        _known(kind)
        found: dict[int, str] = {}
        if not self._vault_path.exists():
            return found
        wanted = list(dict.fromkeys(int(i) for i in ids))
        with closing(self._open()) as vault:
            for start in range(0, len(wanted), 30_000):
                some = wanted[start : start + 30_000]
                marks = ",".join("?" * len(some))
                rows = vault.execute(
                    f"select id, sealed from pairs where kind = ? and id in ({marks})", (kind, *some)
                )
                for identifier, sealed in rows:
                    try:
                        text = self._seal.decrypt(sealed[:_NONCE], sealed[_NONCE:], _bound(kind, identifier))
                    except InvalidTag as bad:
                        raise IntegrityError(
                            f"vault entry {show(kind, identifier)}",
                            "sealed with this workspace's key",
                            "another",
                        ) from bad
                    found[identifier] = text.decode()
        return found

    def _sealed(self, kind: str, identifier: int, value: str) -> bytes:
        nonce = os.urandom(_NONCE)
        return nonce + self._seal.encrypt(nonce, value.encode(), _bound(kind, identifier))

    def _open(self) -> sqlite3.Connection:
        vault = sqlite3.connect(self._vault_path, timeout=60)
        vault.execute("pragma journal_mode = wal")
        vault.execute("pragma synchronous = full")
        vault.execute(
            "create table if not exists pairs (kind text not null, id integer not null, sealed blob not null, "
            "primary key (kind, id)) without rowid"
        )
        self._vault_path.chmod(0o600)
        return vault


def show(kind: str, identifier: int) -> str:
    """The printed form of a pseudonym, such as ``a-0123456789abcdef``."""
    _known(kind)
    return f"{PREFIX[kind]}-{identifier:016x}"


def parse(text: str) -> tuple[str, int]:
    """Kind and pseudonym of a printed form.

    Raises
    ------
    InputError
        It is no pseudonym.
    """
    match = _SHOWN.fullmatch(text.strip().lower())
    kinds = {letter: kind for kind, letter in PREFIX.items()}
    if match is None or match[1] not in kinds or int(match[2], 16) >= 1 << 63:
        raise InputError(f"expected a pseudonym such as a-0123456789abcdef, found {text[:40]!r}")
    return kinds[match[1]], int(match[2], 16)


def _bound(kind: str, identifier: int) -> bytes:
    return f"{kind}\0{identifier}".encode()


def _known(kind: str) -> None:
    if kind not in PREFIX:
        raise InputError(f"unknown kind of identifier {kind!r}; known: {', '.join(PREFIX)}")
