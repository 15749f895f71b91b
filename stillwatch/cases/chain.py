"""A chain of entries: what one entry is, how it is spelled, and what must hold between it and the one before.

`digest` is the sha256 of the canonical JSON (ASCII, sorted keys, no spaces) of the other five fields; `previous` is the
digest of the entry before; the construction is that of a linked timestamp [1]_. The journal of a workspace (a file) and
the journal of a case (rows of a table) are both such chains.

.. [1] Haber and Stornetta, "How to time-stamp a digital document", Journal of Cryptology 3 (1991), section 5.1.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from stillwatch.errors import InputError, IntegrityError

START = "0" * 64
"""`previous` of the first entry."""

FIELDS = ("body", "digest", "kind", "previous", "seq", "time")
"""In the order in which a line has them."""
_TEXTS = ("digest", "kind", "previous", "time")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a chain, one line of a journal."""

    seq: int
    """Counts from 1."""
    time: str
    """When it was written: ISO 8601, UTC, microseconds."""
    kind: str
    """What happened, as ``noun.verb``: ``vault.revealed``, ``scan.finished``."""
    body: dict[str, Any]
    """JSON values."""
    previous: str
    """Digest of the entry before; `START` for the first."""
    digest: str
    """sha256 of the canonical JSON of the other five fields."""


def canonical(values: Any) -> bytes:
    """The one spelling of a JSON value: ASCII, sorted keys, no spaces, neither NaN nor infinity."""
    return _dumps(values).encode()


def moment(at: datetime | None = None) -> str:
    """The time of an entry, as it is written; now if `at` is not given.

    Raises
    ------
    InputError
        `at` has no time zone.
    """
    if at is not None and at.tzinfo is None:
        raise InputError(f"the time of a journal entry needs a time zone, found {at.isoformat()}")
    return (at or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="microseconds")


def check_body(kind: str, body: Mapping[str, Any]) -> None:
    """Refuse what JSON does not give back as it was.

    Raises
    ------
    InputError
        The kind is empty, or the body is not JSON (NaN, bytes, keys that are not text).
    """
    if not kind:
        raise InputError("a journal entry needs a kind, such as 'scan.finished'")
    values = {"kind": kind, "body": dict(body)}
    try:
        # Keys that are not text would come back as text, so the digest would still match but the body would not.
        if json.loads(_dumps(values)) != _lists(values):
            raise InputError(f"journal entry {kind!r}: the body does not survive JSON; use text keys")
    except (TypeError, ValueError, RecursionError) as problem:
        if isinstance(problem, InputError):
            raise
        raise InputError(f"journal entry {kind!r}: the body is not JSON: {problem}") from problem


def link(seq: int, previous: str, time: str, kind: str, body: Mapping[str, Any]) -> tuple[str, bytes]:
    """Digest and line (without its line end) of a new entry after the one whose digest is `previous`."""
    unsigned, around = _spelled({"body": body, "kind": kind, "previous": previous, "seq": seq, "time": time})
    digest = hashlib.sha256(unsigned).hexdigest()
    return digest, around[0] + b',"digest":"' + digest.encode() + b'"' + around[1]


def parse(line: bytes, item: str) -> Entry:
    """The entry of one line (without its line end), which must match its own digest.

    Parameters
    ----------
    item
        What the line is, for the error: ``journal.jsonl: entry 3 (line 3)``.

    Raises
    ------
    IntegrityError
        It is no JSON, has other fields, another digest, or another spelling.
    """
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as problem:
        raise IntegrityError(item, "of a line of JSON", f"something else ({problem})") from problem
    if not isinstance(values, dict) or set(values) != set(FIELDS) or not isinstance(values["body"], dict):
        raise IntegrityError(item, f"of a line with the fields {', '.join(FIELDS)}", "others")
    try:
        unsigned, around = _spelled(values)
    except (TypeError, ValueError, RecursionError) as problem:
        raise IntegrityError(item, "of a line of JSON", f"something else ({problem})") from problem
    found = hashlib.sha256(unsigned).hexdigest()
    if values["digest"] != found:
        raise IntegrityError(item, str(values["digest"]), found)
    # One entry has one spelling: other spaces, key orders or a key given twice would hide text from a reader.
    if around[0] + b',"digest":"' + found.encode() + b'"' + around[1] != line:
        raise IntegrityError(item, "of the line in canonical form", "another spelling of the same values")
    if type(values["seq"]) is not int or any(type(values[name]) is not str for name in _TEXTS):
        raise IntegrityError(item, "of an entry with a number and texts", "other kinds of values")
    return Entry(**values)


def unchecked(line: bytes, item: str) -> Entry:
    """The entry of one line, without its digest checked: for reading what `parse` has seen or will see.

    Raises
    ------
    IntegrityError
        It is no entry.
    """
    try:
        return Entry(**json.loads(line))
    except (ValueError, TypeError, RecursionError) as problem:
        raise IntegrityError(item, "of a line of JSON", "something else") from problem


def linked(lines: Iterable[bytes], name: str) -> Iterator[Entry]:
    """The entries of a journal from the first on, each checked against its digest and the one before.

    Raises
    ------
    IntegrityError
        At the first entry that does not fit.
    """
    previous = START
    for seq, line in enumerate(lines, 1):
        item = f"{name}: entry {seq}"
        entry = parse(line, item)
        check_link(entry, seq, previous, item)
        previous = entry.digest
        yield entry


def check_link(entry: Entry, seq: int, previous: str, item: str) -> None:
    """The entry is number `seq` and follows the one whose digest is `previous`.

    Raises
    ------
    IntegrityError
        It is not; an entry was removed, added or moved here.
    """
    if entry.previous != previous:
        raise IntegrityError(
            item,
            f"{previous} of the entry before it",
            f"{entry.previous}; an entry was removed, added or moved here",
        )
    if entry.seq != seq:
        raise IntegrityError(item, f"with seq {seq}", str(entry.seq))


def _dumps(values: Any) -> str:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _spelled(values: Mapping[str, Any]) -> tuple[bytes, tuple[bytes, bytes]]:
    """Canonical JSON of an entry without its digest, and what stands before and after the digest in its line."""
    body = f'{{"body":{_dumps(values["body"])}'.encode()
    rest = ",".join(f'"{name}":{_dumps(values[name])}' for name in ("kind", "previous", "seq", "time"))
    after = f",{rest}}}".encode()
    return body + after, (body, after)


def _lists(value: Any) -> Any:
    """The value as JSON gives it back: tuples become lists."""
    if isinstance(value, Mapping):
        return {key: _lists(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_lists(item) for item in value]
    return value
