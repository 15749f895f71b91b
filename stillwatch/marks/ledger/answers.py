"""What the ledger holds of one answer, and its bytes.

Layout of an answer's record, little-endian: kind (1 byte, 1), flags (1), lengths of exchange id, of shingles and of
the note (2 each), time and account (8 each), mark (8), digest of the text and of the tokens (32 each), number of
tokens and of bytes kept (4 each), nonce (12) and tag (16) of what is kept; then exchange id, shingles (8 each), note.
Other kinds: 2, texts were erased; 3, a torn write was cut off; both a line of JSON.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stillwatch.errors import InputError

ANSWER, ERASED, TORN = 1, 2, 3
FIXED = struct.Struct("<BBHHHqq8s32s32sII12s16s")
HAS_TEXT, HAS_TOKENS, KEPT, WITHHELD = 1, 2, 4, 8
MOST_SHINGLES = 512
MOST_NOTE = 60_000
CONVERSATION = "conversation"
"""Where the note holds the digest of the conversation, so that the format of records is what it was."""
MOST_BYTES = 64 << 20
"""Bytes of text and tokens that one answer may keep."""

_PARTS = struct.Struct("<4q")


@dataclass(frozen=True, slots=True)
class Answer:
    """One served answer, as it goes into the ledger.

    Raises
    ------
    InputError
        Neither text nor tokens, an id that is too long, or numbers out of range.
    """

    exchange_id: str
    """Names the exchange in the logs; at most 1,000 bytes. Not encrypted."""
    time: int
    """When it was served: microseconds since 1970, UTC."""
    account: int
    """Pseudonym of the account, 0 <= account < 2**63."""
    text: str | None = field(default=None, repr=False)
    tokens: Sequence[int] | None = field(default=None, repr=False)
    """The token ids that were served, 0 <= id < 2**32: encoding the text again need not give them back."""
    mark: str = ""
    """Fingerprint of the key it was marked with (16 hexadecimal digits), or empty."""
    withheld_text: str | None = field(default=None, repr=False)
    """The twin: a second answer that a coin kept back."""
    withheld_tokens: Sequence[int] | None = field(default=None, repr=False)
    keep: bool | None = None
    """Keep text and tokens, whatever the share of the policy says; None: let the policy decide."""
    note: Mapping[str, Any] = field(default_factory=dict)
    """A few JSON values, not encrypted, such as those of a drawn twin; never text."""
    conversation: str = field(default="", repr=False)
    """Names the conversation that the answer is a turn of, at most 1,000 bytes; kept as a keyed digest, in the note."""

    def __post_init__(self) -> None:
        if self.text is None and self.tokens is None:
            raise InputError(f"answer {self.exchange_id[:60]!r}: neither text nor tokens were given")
        if not 1 <= len(self.exchange_id.encode()) <= 1000:
            raise InputError(f"an exchange id has 1 to 1,000 bytes, found {self.exchange_id[:60]!r}")
        if len(text_bytes(self.conversation)) > 1000:
            raise InputError(
                f"answer {self.exchange_id[:60]!r}: a conversation has a name of 1,000 bytes at most"
            )
        if self.conversation and CONVERSATION in self.note:
            raise InputError(
                f"answer {self.exchange_id[:60]!r}: the note has a {CONVERSATION} of its own; give one of the two"
            )
        if not 0 <= self.account < 1 << 63 or not 0 <= self.time < 1 << 62:
            raise InputError(f"answer {self.exchange_id[:60]!r}: account or time is out of range")
        if self.mark and (len(self.mark) != 16 or not _is_hex(self.mark)):
            raise InputError(f"answer {self.exchange_id[:60]!r}: a mark is 16 hexadecimal digits")


@dataclass(frozen=True, slots=True)
class Entry:
    """One answer as the ledger knows it."""

    number: int
    """Counts records from 0, over all segments."""
    exchange_id: str
    time: int
    account: int
    mark: str
    text_digest: str
    """HMAC-SHA256 of the text under a key of the master, hexadecimal; empty if there was no text."""
    token_digest: str
    n_tokens: int
    shingles: tuple[int, ...]
    """The keyed shingles by which it can be looked up."""
    kept: bool
    """Text or tokens were kept; they may be erased by now."""
    withheld: bool
    """It has a twin."""
    note: Mapping[str, Any]

    @property
    def conversation(self) -> str:
        """The same for every turn of one conversation: a keyed digest; empty where it was not given."""
        said = self.note.get(CONVERSATION, "")
        return said if isinstance(said, str) else ""


@dataclass(frozen=True, slots=True)
class Kept:
    """Text and tokens of an answer and of its twin, as far as they were kept."""

    text: str | None = field(repr=False)
    tokens: tuple[int, ...] | None = field(repr=False)
    withheld_text: str | None = field(repr=False)
    withheld_tokens: tuple[int, ...] | None = field(repr=False)


def pack_kept(answer: Answer, *, text: bool, tokens: bool) -> bytes:
    """What is encrypted: four parts, each with its length; a part that is not there has length -1."""
    parts = [
        text_bytes(answer.text) if text and answer.text is not None else None,
        token_bytes(answer.tokens) if tokens and answer.tokens is not None else None,
        text_bytes(answer.withheld_text) if answer.withheld_text is not None else None,
        token_bytes(answer.withheld_tokens) if answer.withheld_tokens is not None else None,
    ]
    if all(part is None for part in parts):
        return b""
    lengths = _PARTS.pack(*(-1 if part is None else len(part) for part in parts))
    blob = b"".join([lengths, *(part for part in parts if part is not None)])
    if len(blob) > MOST_BYTES:
        raise InputError(f"answer {answer.exchange_id[:60]!r}: {len(blob):,} bytes, more than {MOST_BYTES:,}")
    return blob


def unpack_kept(blob: bytes) -> Kept:
    """The parts of what was encrypted."""
    lengths = _PARTS.unpack_from(blob)
    at, parts = _PARTS.size, []
    for length in lengths:
        parts.append(None if length < 0 else blob[at : at + length])
        at += max(length, 0)
    texts = [None if p is None else p.decode("utf-8", "surrogatepass") for p in (parts[0], parts[2])]
    ids = [None if p is None else struct.unpack(f"<{len(p) // 4}I", p) for p in (parts[1], parts[3])]
    return Kept(texts[0], ids[0], texts[1], ids[1])


def text_bytes(text: str) -> bytes:
    """UTF-8, with halves of characters as they come out of broken JSON."""
    return text.encode("utf-8", "surrogatepass")


def token_bytes(tokens: Sequence[int]) -> bytes:
    """Token ids as 4 bytes each, little-endian.

    Raises
    ------
    InputError
        An id is no whole number below 2**32.
    """
    try:
        return struct.pack(f"<{len(tokens)}I", *tokens)
    except struct.error:
        raise InputError("token ids are whole numbers from 0 to 2**32 - 1") from None


@dataclass(frozen=True, slots=True)
class Waiting:
    """An answer with everything that its record needs but its shingles; those are made for many at once."""

    answer: Answer
    text: bytes | None
    text_digest: bytes
    token_digest: bytes
    note: bytes
    content: bytes
    """What is to be sealed; empty where nothing is kept."""
    nonce: bytes


def note_bytes(answer: Answer, conversation: str = "") -> bytes:
    """The note as it is stored, with the keyed digest of the conversation if there is one.

    Raises
    ------
    InputError
        It is not JSON, or too long.
    """
    try:
        said = {**answer.note, CONVERSATION: conversation} if conversation else dict(answer.note)
        note = json.dumps(said, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError) as problem:
        raise InputError(f"answer {answer.exchange_id[:60]!r}: its note is not JSON: {problem}") from problem
    if len(note) > MOST_NOTE:
        raise InputError(
            f"answer {answer.exchange_id[:60]!r}: its note has {len(note):,} bytes and is too long"
        )
    return b"" if note == b"{}" else note


def pack(waiting: Waiting, shingles: Sequence[int]) -> tuple[bytes, bytes]:
    """Bytes of a record before and after the tag of what is kept; the tag is drawn over both."""
    answer = waiting.answer
    exchange = answer.exchange_id.encode()
    withheld = answer.withheld_text is not None or answer.withheld_tokens is not None
    flags = HAS_TEXT * (answer.text is not None) | HAS_TOKENS * (answer.tokens is not None)
    flags |= KEPT * bool(waiting.content) | WITHHELD * withheld
    head = FIXED.pack(
        ANSWER, flags, len(exchange), len(shingles), len(waiting.note), answer.time, answer.account,
        bytes.fromhex(answer.mark) if answer.mark else bytes(8), waiting.text_digest, waiting.token_digest,
        len(answer.tokens) if answer.tokens is not None else 0, len(waiting.content), waiting.nonce, bytes(16),
    )  # fmt: skip
    return head[:-16], exchange + struct.pack(f"<{len(shingles)}Q", *shingles) + waiting.note


def unpack(record: bytes, number: int) -> Entry:
    """An answer's record as an entry."""
    _, flags, id_bytes, n, note_length, time, account, mark, text, tokens, n_tokens, *_ = FIXED.unpack_from(
        record
    )
    at = FIXED.size
    exchange = record[at : at + id_bytes].decode()
    shingles = struct.unpack_from(f"<{n}Q", record, at + id_bytes)
    note = record[at + id_bytes + 8 * n :]
    if len(note) != note_length:
        raise InputError(f"record {number}: {len(note)} bytes of note, expected {note_length}")
    return Entry(
        number, exchange, time, account, mark.hex() if any(mark) else "", text.hex() if flags & HAS_TEXT else "",
        tokens.hex() if flags & HAS_TOKENS else "", n_tokens, shingles, bool(flags & KEPT), bool(flags & WITHHELD),
        json.loads(note) if note else {},
    )  # fmt: skip


def sealing_of(record: bytes) -> tuple[int, bytes, bytes, bytes]:
    """Number of bytes kept, nonce, tag, and the rest of the record that the tag was drawn over."""
    kept, nonce, tag = FIXED.unpack_from(record)[11:14]
    return kept, nonce, tag, record[: FIXED.size - 16] + record[FIXED.size :]


def time_of(record: bytes) -> int:
    """When an answer was served; 0 for other records."""
    return (
        int(FIXED.unpack_from(record)[5])
        if record[:1] == bytes([ANSWER]) and len(record) >= FIXED.size
        else 0
    )


def keys_of(record: bytes) -> tuple[list[int], int, tuple[int, ...]]:
    """What a record is looked up by: first 8 bytes of each digest, account, shingles."""
    _, flags, id_bytes, n, _, _, account, _, text, tokens, *_ = FIXED.unpack_from(record)
    digests = [int.from_bytes(text[:8], "little")] if flags & HAS_TEXT else []
    if flags & HAS_TOKENS:
        digests.append(int.from_bytes(tokens[:8], "little"))
    return digests, account, struct.unpack_from(f"<{n}Q", record, FIXED.size + id_bytes)


def _is_hex(text: str) -> bool:
    return all(c in "0123456789abcdef" for c in text)
