"""Two providers find out which values both hold, without showing each other the rest.

Values are texts: windows of a wrapper (`offered_windows`, `sought_windows`), payment tokens of one processor, device
tokens. Both agree out of band on a secret for this exchange alone, digest with HMAC-SHA256 under a key that depends on
secret, exchange, kind and sender, swap commitments and then the digests. Values that fewer than `LEAST` accounts hold
take no part. The protocol step by step, and what it leaks, stand in docs/guides/sharing.md; in short:

- Both hold the key, so each can test guesses against what the other offers. Values that can be listed (card and
  telephone numbers, addresses) are refused, and what remains must have the entropy of a random token or of a sentence.
- Each learns a bound on how many values the other offers (padded to a power of two), and, with one secret used twice,
  which values stayed. A new exchange needs a new secret.
- Nothing shows that a party really holds what it offers. `check_commitment` shows that it chose before it saw what the
  other chose. Digests are of one sender, so an offer that is sent back under another name has nothing in common.
- Whoever gets the other's offer first may stop there, and has then learned alone.

Not chosen: private set intersection with an oblivious function would take the first leak away for values that the
other does not hold. The permissive library for it (openmined-psi) brings a compiled dependency and a server for each
exchange; two key holders who would guess at each other's customers are better stopped by their contract.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256

from stillwatch.cases.indicators import WINDOW
from stillwatch.cases.leaving import LEAST
from stillwatch.cases.sharing._bounded import parse_json, text_of
from stillwatch.errors import FormatError, InputError, IntegrityError

SECRET_BYTES = 32
SHORTEST = 16
"""Bytes of the shortest value that takes part."""
FEWEST = 64
"""An offer holds at least so many digests; more are padded to the next power of two."""
MOST = 1 << 18
_RANDOM = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_LISTABLE = re.compile(
    r"""[^\s@]+@[^\s@]+\.[^\s@]+                             # an e-mail address
    | (?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.])           # an IPv4 address
    | (?<![\w:])(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}(?![\w:]) # an IPv6 or a hardware address
    | (?<![0-9a-f])\d(?:[\s().+/-]{0,3}\d){8,}(?![0-9a-f])   # a number, and no piece of a random token
    """,
    re.IGNORECASE | re.VERBOSE,
)
_DIGEST = re.compile(r"[0-9a-f]{32}")
_NAMED = re.compile(r"[\w .,:/-]{1,100}")


@dataclass(frozen=True, slots=True)
class Offer:
    """What one party sends: digests in ascending order, some of them padding."""

    exchange: str
    kind: str
    sender: str
    nonce: str
    """Random, so that a commitment tells nothing and no two offers have a digest in common."""
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
    _check_names(exchange=exchange, kind=kind)
    drawn = hmac.digest(b"stillwatch matching 2", secret, "sha256")
    return hmac.digest(drawn, f"{exchange}\0{kind}".encode() + b"\x01", "sha256")


def offer(
    values: Mapping[str, int],
    key: bytes,
    *,
    exchange: str,
    kind: str,
    sender: str,
    draw: Callable[[int], bytes] = secrets.token_bytes,
) -> Offer:
    """The offer of one party.

    Parameters
    ----------
    values
        Value -> how many accounts hold it. Those of fewer than `LEAST` take no part.
    key
        From `exchange_key`.
    sender
        Who offers, as the other knows it.
    draw
        Gives so many random bytes, for the nonce and the padding.

    Raises
    ------
    InputError
        A value could be listed and tried (shorter than `SHORTEST` bytes, or with an address or a long number in it),
        there are too many, or `draw` repeats itself.

    Examples
    --------
    >>> about = {"exchange": "a and b", "kind": "payment tokens"}
    >>> key = exchange_key(bytes(32), **about)
    >>> of_a = offer({"tok_5f0c2a9be1d44c77": 9, "tok_77aa01c3d2b19e08": 2}, key, sender="a", **about)
    >>> len(of_a.digests)
    64
    >>> matches({"tok_5f0c2a9be1d44c77": 6, "tok_c0ffee00c0ffee00": 30}, of_a, key, receiver="b").values
    ('tok_5f0c2a9be1d44c77',)

    "Both hold one payment token; of the other 63 digests nothing can be said, and most are padding."
    """
    _check_names(sender=sender)
    nonce = draw(16).hex()
    own = _sender_key(key, sender, nonce)
    found = {_digest(v, own) for v, accounts in values.items() if _takes_part(v, accounts)}
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
    return Offer(exchange, kind, sender, nonce, LEAST, _key_check(key), tuple(sorted(found)))


def check_commitment(theirs: Offer, commitment: str) -> None:
    """Refuse an offer that is not the one its sender committed to before it saw ours.

    Raises
    ------
    IntegrityError
        It is another one.
    """
    if not hmac.compare_digest(theirs.commitment.encode(), commitment.strip().lower().encode()):
        raise IntegrityError(
            f"the offer of {theirs.sender!r}", f"with the commitment {commitment[:64]}", theirs.commitment
        )


def matches(values: Mapping[str, int], theirs: Offer, key: bytes, *, receiver: str) -> Match:
    """Which of one's own values the other offers too.

    Parameters
    ----------
    receiver
        Who asks, as its own offer says.

    Raises
    ------
    InputError
        The offer was made under another key, or is one's own; a value could be listed and tried.
    """
    if theirs.sender.casefold() == receiver.casefold():
        raise InputError(f"the offer is by {theirs.sender!r}, who would be compared with itself")
    if not hmac.compare_digest(theirs.key_check, _key_check(key)):
        raise InputError(
            f"the offer {theirs.exchange!r} of {theirs.kind!r} was made under another secret, exchange or kind"
        )
    other = _sender_key(key, theirs.sender, theirs.nonce)
    sought = {_digest(v, other): v for v, accounts in values.items() if _takes_part(v, accounts)}
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
    fields = {"exchange", "kind", "sender", "nonce", "least", "key_check", "digests"}
    if not isinstance(found, dict) or set(found) != fields:
        raise FormatError(f"expected an offer, an object with {', '.join(sorted(fields))}", source)
    digests = found["digests"]
    if not isinstance(digests, list) or len(digests) > MOST:
        raise FormatError(f"digests: expected a list of at most {MOST:,}", source)
    for i, one in enumerate(digests):
        if not isinstance(one, str) or not _DIGEST.fullmatch(one) or (i and one <= digests[i - 1]):
            raise FormatError(f"digests[{i}]: expected 32 hexadecimal digits, in ascending order", source)
    for field in ("exchange", "kind", "sender"):
        if not isinstance(found[field], str) or not _NAMED.fullmatch(found[field]):
            raise FormatError(f"{field}: expected a short name", source)
    if type(found["least"]) is not int or found["least"] < LEAST:
        raise FormatError(f"least: expected a whole number from {LEAST} on", source)
    for field in ("key_check", "nonce"):
        if not isinstance(found[field], str) or not _DIGEST.fullmatch(found[field]):
            raise FormatError(f"{field}: expected 32 hexadecimal digits", source)
    return Offer(**{**found, "digests": tuple(digests)})


def offered_windows(texts: Iterable[str]) -> set[str]:
    """Windows of `WINDOW` bytes of normalised texts, end to end: what is offered of a wrapper.

    One character stands for each byte; what could be listed is no window.
    """
    return _windows(texts, WINDOW)


def sought_windows(texts: Iterable[str]) -> set[str]:
    """Windows at every byte: what is looked for, since the other's texts were cut elsewhere."""
    return _windows(texts, 1)


def listable(value: str) -> bool:
    """Whether a value could be listed and tried: it is short, or has an address or a long number in it."""
    plain = _RANDOM.sub(" ", unicodedata.normalize("NFKC", value))
    return len(value.encode()) < SHORTEST or _LISTABLE.search(plain) is not None


def _windows(texts: Iterable[str], step: int) -> set[str]:
    whole = (text.strip(" \ufffd").encode().decode("latin-1") for text in texts)
    found = {t[i : i + WINDOW] for t in whole for i in range(0, len(t) - WINDOW + 1, step)}
    return {window for window in found if not listable(window)}


def _takes_part(value: str, accounts: int) -> bool:
    if listable(value):
        raise InputError(
            f"a value of {len(value)} characters could be listed and tried by whoever holds the key: values need at "
            f"least {SHORTEST} bytes, and no address or long number in them"
        )
    return accounts >= LEAST


def _sender_key(key: bytes, sender: str, nonce: str) -> bytes:
    # Of one offer: what is sent back, under whatever name, has no digest of the one who gets it.
    return hmac.digest(key, f"sender\0{sender}\0{nonce}".encode(), "sha256")


def _digest(value: str, key: bytes) -> str:
    """HMAC-SHA256 of a value, cut to 128 bits."""
    return hmac.digest(key, b"value\0" + value.encode(), "sha256")[:16].hex()


def _check_names(**names: str) -> None:
    for what, text in names.items():
        if not _NAMED.fullmatch(text):
            raise InputError(f"{what}: expected 1 to 100 letters, digits or . , : / -, found {text[:60]!r}")


def _key_check(key: bytes) -> str:
    return hmac.digest(key, b"key check", "sha256")[:16].hex()
