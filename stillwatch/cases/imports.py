"""What a store took in from portable files, and what follows from it: who vouched, and which bytes came with it.

An import adds nothing to the journal of the case, or the next file from the same source would not continue it. It is
noted in a list beside the journal instead; the signature over the head of the case covers that list, and so does the
head that is noted outside the database.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from sqlalchemy import Connection, insert, select

from stillwatch.cases.chain import canonical
from stillwatch.cases.manifest import Imported, Manifest
from stillwatch.cases.schema import IMPORTS
from stillwatch.errors import IntegrityError


def imports_of(connection: Connection, case: str) -> tuple[Imported, ...]:
    """The imports of a case, the first one first."""
    columns = [c for c in IMPORTS.c if c.name not in ("case_id", "content", "signature")]
    asked = select(*columns).where(IMPORTS.c.case_id == case).order_by(IMPORTS.c.number)
    return tuple(
        Imported(**{**row, "named": bool(row["named"])}) for row in connection.execute(asked).mappings()
    )


def keep_import(
    connection: Connection, case: str, imported: Imported, *, content: bytes, signature: str
) -> None:
    """Note an import with the manifest of the file and the signature over it."""
    values = {"case_id": case, "content": content.decode(), "signature": signature}
    connection.execute(insert(IMPORTS).values(**asdict(imported), **values))


def chained(imports: Iterable[Imported]) -> list[str]:
    """Digest of the list when it was empty (no text), after its first import, and so on."""
    found = [""]
    for imported in imports:
        found.append(hashlib.sha256(canonical([found[-1], asdict(imported)])).hexdigest())
    return found


def signers(imports: Sequence[Imported]) -> set[str]:
    """Keys that may continue a case: those that somebody named for it; before anybody did, the one that brought it."""
    named = {i.public_key for i in imports if i.named}
    return named or {i.public_key for i in imports[:1]}


class Contents:
    """What the imported files of a case held and left out, by their manifests.

    Parameters
    ----------
    imports
        Checked against the signature over the head.
    name
        How errors call the case.

    Raises
    ------
    IntegrityError
        A manifest is not the one that was taken in.
    """

    def __init__(self, connection: Connection, case: str, imports: Sequence[Imported], name: str) -> None:
        self.brought: dict[tuple[str, str], Imported] = {}
        """What is here -> the first import that had it."""
        self._left: dict[tuple[str, str], list[tuple[Imported, str]]] = {}
        for imported in imports:
            manifest = _manifest(connection, case, imported, name)
            for thing in manifest.holds():
                self.brought.setdefault(thing, imported)
            for thing, reason in manifest.reasons().items():
                self._left.setdefault(thing, []).append((imported, reason))

    def left_out(self, kind: str, identity: str, seq: int) -> str | None:
        """Why the file that brought entry `seq` came without its document or bytes, and no other had them."""
        if (kind, identity) in self.brought:
            return None
        for imported, reason in self._left.get((kind, identity), ()):
            if imported.first <= seq <= imported.last:
                return reason
        return None


def _manifest(connection: Connection, case: str, imported: Imported, name: str) -> Manifest:
    place = f"{name}: the manifest of import {imported.number}"
    asked = select(IMPORTS.c.content, IMPORTS.c.signature).where(
        IMPORTS.c.case_id == case, IMPORTS.c.number == imported.number
    )
    row = connection.execute(asked).one()
    found = hashlib.sha256(row.content.encode()).hexdigest()
    if found != imported.manifest:
        raise IntegrityError(place, imported.manifest, found)
    manifest = Manifest.of(row.content.encode(), row.signature, place)
    if manifest.public_key != imported.public_key:
        raise IntegrityError(place, f"by the key {imported.public_key}", f"by {manifest.public_key}")
    return manifest
