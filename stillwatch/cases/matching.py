"""Two providers find out which values both hold, without showing each other the rest.

Values are texts: windows of a wrapper (`offered_windows`, `sought_windows`), payment tokens of one processor, device
tokens. Both agree out of band on a secret for this exchange alone, digest with HMAC-SHA256 under a key that depends on
secret, exchange and kind, and swap the digests. Values that fewer than `LEAST` accounts hold take no part. The
protocol step by step, and what it leaks, stand in docs/guides/sharing.md; in short:

- Both hold the key, so each can test guesses against what the other offers. Values that can be listed (card numbers,
  telephone numbers) are refused, and what remains must have the entropy of a random token or of a sentence.
- Each learns a bound on how many values the other offers (padded to a power of two), and, with one secret used twice,
  which values stayed. A new exchange needs a new secret.
- Nothing shows that a party really holds what it offers. Swapping `commitment` first keeps the second from choosing
  its values after it saw the first one's.

Not chosen: private set intersection with an oblivious function would take the first leak away for values that the
other does not hold. The permissive library for it (openmined-psi) brings a compiled dependency and a server for each
exchange; two key holders who would guess at each other's customers are better stopped by their contract.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256

from stillwatch.cases.indicators import WINDOW
from stillwatch.cases.leaving import LEAST
from stillwatch.cases.sharing._bounded import parse_json, text_of
from stillwatch.errors import FormatError, InputError

SECRET_BYTES = 32
SHORTEST = 16
"""Bytes of the shortest value that takes part."""
FEWEST = 64
"""An offer holds at least so many digests; more are padded to the next power of two."""
MOST = 1 << 18
_LISTABLE = re.compile(r"[\d\s().+-]{1,40}")
_DIGEST = re.compile(r"[0-9a-f]{32}")
_NAMED = re.compile(r"[\w .,:/-]{1,100}")


@dataclass(frozen=True, slots=True)
class Offer:
    """What one party sends: digests in ascending order, some of them padding."""

    exchange: str
    kind: str
    least: int
    """Every value is held by at least so many accounts of the sender."""
    key_check: str
    """Equal under one key; says nothing of it."""
    digests: tuple[str, ...]

    def as_json(self) -> bytes:
        """The document that is sent."""
        return json.dumps(asdict(self), sort_keys=True).encode() + b"\n"

    @property
    def commitment(self) -> str:
        """sha256 of the document, swapped before the documents are."""
        return sha256(self.as_json()).hexdigest()


@dataclass(frozen=True, slots=True)
class Match:
    """What one party learns."""

    values: tuple[str, ...]
    """Its own values that the other offers too, in ascending order."""
    sought: int
    """How many of its own took part."""
    held_back: int
    """How many did not, because fewer than `LEAST` accounts hold them."""
    offered: int
    """Digests of the other party, padding included."""


def exchange_key(secret: bytes, *, exchange: str, kind: str) -> bytes:
    """The key of one exchange and one kind of value (HKDF-SHA256, RFC 5869).

    Parameters
    ----------
    secret
        32 random bytes that both parties agreed on out of band, for this exchange alone.
    exchange
        What both call it, such as ``a and b, 2026-11-24``.
    kind
        What the values are, such as ``wrapper windows``; equal values of two kinds have unrelated digests.

    Raises
    ------
    InputError
        The secret has another length, or a name is empty or has unusual characters.
    """
    if len(secret) != SECRET_BYTES:
        raise InputError(f"an exchange secret has {SECRET_BYTES} random bytes, found {len(secret)}")
    for what, text in (("exchange", exchange), ("kind", kind)):
        if not _NAMED.fullmatch(text):
            raise InputError(f"{what}: expected 1 to 100 letters, digits or . , : / -, found {text[:60]!r}")
    drawn = hmac.digest(b"stillwatch matching 1", secret, "sha256")
    return hmac.digest(drawn, f"{exchange}\0{kind}".encode() + b"\x01", "sha256")


def offer(
    values: Mapping[str, int],
    key: bytes,
    *,
    exchange: str,
    kind: str,
    draw: Callable[[int], bytes] = secrets.token_bytes,
) -> Offer:
    """The offer of one party.

    Parameters
    ----------
    values
        Value -> how many accounts hold it. Those of fewer than `LEAST` take no part.
    key
        From `exchange_key`.
    draw
        Gives so many random bytes, for the padding.

    Raises
    ------
    InputError
        A value could be listed and tried (digits only, or shorter than `SHORTEST` bytes), there are too many, or
        `draw` repeats itself.

    Examples
    --------
    >>> key = exchange_key(bytes(32), exchange="a and b", kind="payment tokens")
    >>> ours = offer({"tok_5f0c2a9be1d44c77": 9, "tok_77aa01c3d2b19e08": 2}, key, exchange="a and b",
    ...              kind="payment tokens")
    >>> len(ours.digests)
    64
    >>> matches({"tok_5f0c2a9be1d44c77": 6, "tok_c0ffee00c0ffee00": 30}, ours, key).values
    ('tok_5f0c2a9be1d44c77',)

    "Both hold one payment token; of the other 63 digests nothing can be said, and most are padding."
    """
    found = {digest(v, key) for v, accounts in values.items() if _takes_part(v, accounts)}
    if len(found) > MOST:
        raise InputError(f"an offer holds up to {MOST:,} values, found {len(found):,}; offer them by day")
    size = FEWEST
    while size < len(found):
        size *= 2
    found |= {draw(16).hex() for _ in range(size - len(found))}
    if len(found) < size:  # 128 random bits do not repeat
        raise InputError(
            "the source of random bytes repeats itself; padding would show which digests are real"
        )
    return Offer(exchange, kind, LEAST, _key_check(key), tuple(sorted(found)))


def matches(values: Mapping[str, int], theirs: Offer, key: bytes) -> Match:
    """Which of one's own values the other offers too.

    Raises
    ------
    InputError
        The offer was made under another key; a value could be listed and tried.
    """
    if not hmac.compare_digest(theirs.key_check, _key_check(key)):
        raise InputError(
            f"the offer {theirs.exchange!r} of {theirs.kind!r} was made under another secret, exchange or kind"
        )
    sought = {digest(v, key): v for v, accounts in values.items() if _takes_part(v, accounts)}
    common = sorted(sought[d] for d in theirs.digests if d in sought)
    return Match(tuple(common), len(sought), len(values) - len(sought), len(theirs.digests))


def read_offer(data: bytes, *, source: str) -> Offer:
    """An offer as it was sent.

    Raises
    ------
    FormatError
        It is none, or broken; names the place.
    """
    found = parse_json(text_of(data, source), source)
    fields = {"exchange", "kind", "least", "key_check", "digests"}
    if not isinstance(found, dict) or set(found) != fields:
        raise FormatError(f"expected an offer, an object with {', '.join(sorted(fields))}", source)
    digests = found["digests"]
    if not isinstance(digests, list) or len(digests) > MOST:
        raise FormatError(f"digests: expected a list of at most {MOST:,}", source)
    for i, one in enumerate(digests):
        if not isinstance(one, str) or not _DIGEST.fullmatch(one) or (i and one <= digests[i - 1]):
            raise FormatError(f"digests[{i}]: expected 32 hexadecimal digits, in ascending order", source)
    for field in ("exchange", "kind"):
        if not isinstance(found[field], str) or not _NAMED.fullmatch(found[field]):
            raise FormatError(f"{field}: expected a short name", source)
    if type(found["least"]) is not int or found["least"] < LEAST:
        raise FormatError(f"least: expected a whole number from {LEAST} on", source)
    if not isinstance(found["key_check"], str) or not _DIGEST.fullmatch(found["key_check"]):
        raise FormatError("key_check: expected 32 hexadecimal digits", source)
    return Offer(found["exchange"], found["kind"], found["least"], found["key_check"], tuple(digests))


def digest(value: str, key: bytes) -> str:
    """HMAC-SHA256 of a value, cut to 128 bits."""
    return hmac.digest(key, b"value\0" + value.encode(), "sha256")[:16].hex()


def offered_windows(texts: Iterable[str]) -> set[str]:
    """Windows of `WINDOW` bytes of normalised texts, end to end: what is offered of a wrapper."""
    return {
        data[i : i + WINDOW].hex()
        for data in map(_bytes, texts)
        for i in range(0, len(data) - WINDOW + 1, WINDOW)
    }


def sought_windows(texts: Iterable[str]) -> set[str]:
    """Windows at every byte: what is looked for, since the other's texts were cut elsewhere."""
    return {data[i : i + WINDOW].hex() for data in map(_bytes, texts) for i in range(len(data) - WINDOW + 1)}


def _bytes(text: str) -> bytes:
    return text.strip(" \ufffd").encode()


def _takes_part(value: str, accounts: int) -> bool:
    if len(value.encode()) < SHORTEST or _LISTABLE.fullmatch(value):
        raise InputError(
            f"a value of {len(value)} characters could be listed and tried by whoever holds the key: values need at "
            f"least {SHORTEST} bytes and more than digits"
        )
    return accounts >= LEAST


def _key_check(key: bytes) -> str:
    return hmac.digest(key, b"key check", "sha256")[:16].hex()
